// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Empties the trash: what is due, and, under space pressure, what goes next anyway, before its time. Driver
// of trash_plan.h; each step is one operation of bounded size. Run by meta_service.cc.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include "env/log.h"
#include "metaserver/cluster_view.h"
#include "metaserver/namespace_reader.h"
#include "metaserver/operation_log.h"
#include "metaserver/trash_plan.h"
#include "rpc/coroutine.h"

namespace cairn {

class TrashKeeper {
 public:
  TrashKeeper(const ClusterView& view, OperationLog& log, const NamespaceReader& names, kj::Timer& timer,
              env::Logger logger)
      : view(view), operations(log), names(names), timer(timer), log(kj::mv(logger)) {}
  KJ_DISALLOW_COPY(TrashKeeper);

  Status needSpace();
  // Somebody was refused space. OK: some may come. NO_SPACE: none will.

  Async<Result<uint64_t>> purge(kj::Array<TrashedFile> files);  // how many went
  uint64_t reclaimed() const { return early; }  // files that went before their time since the start

  Async<void> run();  // for ever

 private:
  Async<void> purgeDue();
  Async<void> relieve();

  const ClusterView& view;
  OperationLog& operations;
  const NamespaceReader& names;
  kj::Timer& timer;
  env::Logger log;
  TrashPlan plan;
  uint64_t early = 0;
  LogIndex lookedAt;            // after that operation nothing in the trash was due
  int64_t nothingDueUntil = 0;  // ns since 1970
};

}  // namespace cairn
