// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The driver of rebalance_plan.h: finds chunks that fit what it wishes for, and hands them to repair as
// moves. Run by meta_service.cc.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include "env/log.h"
#include "metaserver/cluster_view.h"
#include "metaserver/namespace_reader.h"
#include "metaserver/rebalance_plan.h"
#include "metaserver/repair.h"
#include "rpc/coroutine.h"

namespace cairn {

class Rebalance {
 public:
  Rebalance(RebalancePlan::Automatic automatic, ClusterView& view, Repair& repair,
            const NamespaceReader& names, kj::Timer& timer, env::Logger logger)
      : plan(automatic), view(view), repair(repair), names(names), timer(timer), log(kj::mv(logger)) {}
  KJ_DISALLOW_COPY(Rebalance);

  Async<void> run();  // for ever
  void begin();
  bool running() const { return plan.running(); }
  uint64_t moves() const { return plan.moves(); }
  uint32_t spread() const { return plan.spread(stores()); }

 private:
  kj::Array<BalanceStore> stores() const;
  void turn();
  enum class Search { FOUND, GOES_ON, NONE };
  Search search(const RebalancePlan::Wish& wish);
  bool fits(ChunkHandle chunk, const RebalancePlan::Wish& wish, uint64_t& bytes) const;

  RebalancePlan plan;
  ClusterView& view;
  Repair& repair;
  const NamespaceReader& names;
  kj::Timer& timer;
  env::Logger log;
  ChunkHandle cursor;
  uint64_t passedOver = 0;  // chunks since the last one that fitted
};

}  // namespace cairn
