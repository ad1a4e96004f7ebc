// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The survey: walks the known chunks in slices, round and round, judges each replica for the garbage plan,
// and counts the chunks by health, so that `cairn status` need not walk anything. Also walks the namespace's
// records of dropped chunks, and lets those go of which no store can hold a replica any more. Sends what the
// garbage plan says is due, judging it once more. Driver of garbage_plan.h; run by meta_service.cc.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include "env/log.h"
#include "metaserver/cluster_view.h"
#include "metaserver/namespace_reader.h"
#include "metaserver/operation_log.h"
#include "metaserver/repair.h"
#include "metaserver/store_orders.h"
#include "rpc/coroutine.h"

namespace cairn {

struct ChunkHealth {
  uint64_t healthy = 0, under = 0, missing = 0;
};

class ChunkSurvey : private kj::TaskSet::ErrorHandler {
 public:
  ChunkSurvey(ClusterView& view, StoreOrders& orders, OperationLog& log, const NamespaceReader& names,
              Repair& repair, kj::Timer& timer, env::Logger logger);
  KJ_DISALLOW_COPY(ChunkSurvey);

  void judgeReplica(ChunkHandle chunk, const ReplicaFacts& replica);  // as the store reports it
  ChunkFacts facts(ChunkHandle chunk, ServerId server) const;         // what such a replica is judged by
  ChunkHealth health() const { return latest; }
  kj::Maybe<uint64_t> leaving(ServerId server) const;
  // Chunks that count on that drained store, as of the last round; null: no round has ended since it is
  // drained.
  void startAnew();  // with counting

  Async<void> run();  // for ever

 private:
  void slice();
  Async<void> collectRecords();
  Async<void> followStores();
  Async<void> deleteAt(ServerId server);
  void taskFailed(kj::Exception&& exception) override;

  ClusterView& view;
  StoreOrders& orders;
  OperationLog& operations;
  const NamespaceReader& names;
  Repair& repair;
  kj::Timer& timer;
  env::Logger log;
  ChunkHandle cursor, garbageCursor;
  ChunkHealth counting, latest;
  std::map<ChunkHandle, ChunkVersion> newer;  // versions on stores that a restored namespace does not have
  std::map<ServerId, uint64_t> leavingCounting, leavingLatest;  // of drained stores
  kj::TaskSet tasks;
};

}  // namespace cairn
