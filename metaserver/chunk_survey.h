// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The survey: walks the known chunks in slices, round after round, judges each replica for the garbage plan,
// and counts the chunks by health, so that `cairn status` need not walk anything. A round tells what the one
// before it has told while nothing has changed that it looks at, so there is none then. Also walks the
// namespace's records of dropped chunks, and lets those go of which no store can hold a replica any more.
// Sends what the garbage plan says is due, judging it once more. Driver of garbage_plan.h; run by
// meta_service.cc.
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
  void startAnew();                          // with counting
  uint64_t rounds() const { return begun; }  // since the start

  Async<void> run();  // for ever

 private:
  ChunkFacts recorded(ChunkHandle chunk) const;  // all but what there is elsewhere
  ChunkFacts beside(ChunkHandle chunk, ServerId server, ChunkFacts recorded) const;  // with that
  void judgeReplica(ChunkHandle chunk, const ReplicaFacts& replica, const ChunkFacts& recorded);
  bool isDue();
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
  struct Basis {
    // All that a round depends on.
    uint64_t replicas;
    LogIndex operation;
    uint64_t stores;
    bool operator==(const Basis&) const = default;
  };
  uint64_t begun = 0;
  kj::TimePoint began = kj::origin<kj::TimePoint>();
  kj::Maybe<Basis> basis;  // of the last round, as of its beginning; null: there must be another one
  std::map<ChunkHandle, ChunkVersion> newer;  // versions on stores that a restored namespace does not have
  std::map<ServerId, uint64_t> leavingCounting, leavingLatest;  // of drained stores
  kj::TaskSet tasks;
};

}  // namespace cairn
