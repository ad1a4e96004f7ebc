// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The driver of repair_plan.h: tells it how chunks are, and has the stores do what it plans. How one chunk
// gets one more replica:
//
//   1. The target copies from a good replica, in slices, as fast as the plan allows, while clients write the
//   chunk as
//      ever. What they change meanwhile differs at the next comparison of checksums, and is copied again.
//   2. When little is left: the chunk is frozen (chunk_grants.h: lease ended, version raised, good replicas
//   adopt),
//      the target copies the rest and commits under the new version, which nobody ever writes under. Writers
//      wait that long, at most FREEZE_MAX; then they go on without the new replica, and it is tried again.
//   3. When as many good replicas as wanted hold the new version, it is confirmed: older ones are stale.
//
// INVARIANT: a copy that is committed is of a frozen version: it has every acknowledged write up to the
// freeze, and if there were any after it, it is stale. A metaserver that dies in the middle leaves an
// unconfirmed version, or a replica that reports itself. Deficits are found as they arise (look()), by a
// sweep over all known chunks whenever a store comes or goes, and by the survey. Nothing is done in safe
// mode. Run by meta_service.cc.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include "env/log.h"
#include "metaserver/chunk_grants.h"
#include "metaserver/cluster_view.h"
#include "metaserver/namespace_reader.h"
#include "metaserver/repair_plan.h"
#include "metaserver/store_orders.h"
#include "rpc/coroutine.h"

namespace cairn {

class Repair : private kj::TaskSet::ErrorHandler {
 public:
  Repair(RepairOptions options, ClusterView& view, StoreOrders& orders, ChunkGrants& grants,
         const NamespaceReader& names, kj::Timer& timer, env::Logger logger);
  KJ_DISALLOW_COPY(Repair);

  void look(ChunkHandle chunk);                                        // something about it has changed
  void look(ChunkHandle chunk, const kj::Maybe<ChunkRecord>& record);  // which the caller has just read
  void move(ChunkHandle chunk, ServerId from, ServerId to);            // for balance
  bool wants(ChunkHandle chunk) const { return plan.wants(chunk); }
  bool mayBuildOn(ChunkHandle chunk, ServerId server) const;
  // A stale replica there may save a copy from reading most of the chunk: it is not to be deleted yet.

  Async<void> run();  // for ever
  RepairProgress progress() const { return plan.progress(timer.now()); }
  bool surveyed() const { return !sweeping && !sweepWanted && !view.safeMode.on(); }
  uint32_t copiesTo(ServerId server) const { return plan.copiesTo(server); }
  void checkInvariants() const { plan.checkInvariants(); }

 private:
  RepairFacts facts(ChunkHandle chunk, const ChunkRecord& record) const;
  kj::Array<RepairStore> stores() const;
  void noticeChanges(kj::ArrayPtr<const RepairStore> present);
  void sweepSlice();
  kj::Duration pause() const;
  void beginWhatIsNext();
  Async<void> carryOut(RepairJob job);
  Async<RepairPlan::Outcome> copy(const RepairJob& job);
  Async<RepairPlan::Outcome> trim(const RepairJob& job);
  kj::Maybe<CopyRequest> request(const RepairJob& job) const;
  Async<CopyReport> slice(const RepairJob& job, CopyRequest request);
  Async<RepairPlan::Outcome> finish(const RepairJob& job);
  void leaveOutBad(const RepairJob& job, const CopyReport& report);
  Async<RepairPlan::Outcome> judge(const RepairJob& job, const CopyReport& report);
  void useUp(ChunkHandle chunk, ServerId target);
  bool enoughHold(ChunkHandle chunk, ChunkVersion version) const;
  void taskFailed(kj::Exception&& exception) override;

  ClusterView& view;
  StoreOrders& orders;
  ChunkGrants& grants;
  const NamespaceReader& names;
  kj::Timer& timer;
  env::Logger log;
  RepairPlan plan;
  bool sweeping = false;
  bool sweepWanted = true;
  ChunkHandle sweepCursor;
  uint64_t takersBefore = 0,
           statesBefore = 0;  // digests of which stores could take a copy, and of how they all are
  kj::TaskSet tasks;
};

}  // namespace cairn
