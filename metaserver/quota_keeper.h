// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What quotas need in the background: the count of the tree after the first one has been set, in steps
// between which others have their turn; and space back from the trash of directories that are over their
// quota with it. Run by meta_service.cc.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include "env/log.h"
#include "metaserver/namespace_reader.h"
#include "metaserver/operation_log.h"
#include "metaserver/trash_keeper.h"
#include "rpc/coroutine.h"

namespace cairn {

class QuotaKeeper {
 public:
  QuotaKeeper(OperationLog& log, const NamespaceReader& names, TrashKeeper& trash, kj::Timer& timer,
              env::Logger logger)
      : operations(log), names(names), trash(trash), timer(timer), log(kj::mv(logger)) {}
  KJ_DISALLOW_COPY(QuotaKeeper);

  Async<void> run();  // for ever

 private:
  Async<void> countTree();
  Async<void> relieve();
  Async<void> relieve(NamespaceReader::DirectoryQuota quota);

  OperationLog& operations;
  const NamespaceReader& names;
  TrashKeeper& trash;
  kj::Timer& timer;
  env::Logger log;
};

}  // namespace cairn
