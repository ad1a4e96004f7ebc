// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The metaserver as one object without a network: namespace and log below, tables, drivers and handlers
// above. Everything it needs from the world comes through the constructor, so that tests and the simulator
// run it on a virtual clock. The handlers are in fleet_handlers.cc, session_handlers.cc and
// metaserver_handlers.cc; what they share is here. Lives longer than the capabilities it hands out. Made by
// meta_server.cc.
#pragma once

#include <kj/async.h>
#include <kj/compat/http.h>  // EntropySource
#include <kj/timer.h>

#include <set>

#include "env/log.h"
#include "metaserver/change_gate.h"
#include "metaserver/chunk_grants.h"
#include "metaserver/chunk_survey.h"
#include "metaserver/cluster_view.h"
#include "metaserver/lease_recalls.h"
#include "metaserver/lock_service.h"
#include "metaserver/ops/rules.h"
#include "metaserver/quota_keeper.h"
#include "metaserver/rebalance.h"
#include "metaserver/repair.h"
#include "metaserver/sessions.h"
#include "metaserver/staging_keeper.h"
#include "metaserver/store_orders.h"
#include "metaserver/trash_keeper.h"
#include "rpc/coroutine.h"
#include "rpc/metaserver.capnp.h"

namespace cairn {

class Archive;
class NamespaceScan;

struct SnapshotLimits {
  size_t inodes = ops::SNAPSHOT_INODES_MAX;  // a larger tree is copied in steps; and so is one
  size_t chunks = ops::SNAPSHOT_CHUNKS_MAX;  // of more chunks
  uint32_t step = 2000;                      // in the measure of copyStaged: some tens of milliseconds
};

struct MetaServiceOptions {
  uint32_t minimumReplicas = 2;
  enum class Brake { KEEP, RELEASE } brake = Brake::KEEP;
  RepairOptions repair;
  RebalancePlan::Automatic rebalance = RebalancePlan::Automatic::YES;
  SnapshotLimits snapshots;
};

class MetaService final : private kj::TaskSet::ErrorHandler {
 public:
  MetaService(const MetaServiceOptions& options, OperationLog& operationLog, const NamespaceReader& names,
              kj::Timer& timer, kj::EntropySource& entropy, env::Logger logger);
  ~MetaService() noexcept(false);
  KJ_DISALLOW_COPY(MetaService);

  rpc::Metaserver::Client newConnection(kj::StringPtr caller);
  // The service for one connection.

  struct Membership {
    ServerId server;
    uint32_t registration = 0;
    Status status = Status::OK;
    kj::String message;  // why it was refused
  };
  Async<Membership> join(rpc::StoreDescription::Reader store, rpc::ChunkServer::Client orders);
  // `store` lives until it answers.
  kj::Promise<void> whenOutrun() { return outrunFork.addBranch(); }
  // Fails, with a sentence, when a restored namespace has learnt of a later epoch: it has to begin another.
  void left(ServerId server, uint32_t registration);  // its connection is gone
  void reportsChanged();                              // a store has reported, or come: safe mode may end

  void writeReplica(rpc::Replica::Builder builder, ServerId server) const;
  void writeLocation(rpc::Location::Builder builder, const ChunkLocation& location) const;
  void writeStatus(rpc::ClusterStatus::Builder builder) const;
  void writeRepairStatus(rpc::RepairStatus::Builder builder) const;
  void writeLeaseStatus(rpc::ClusterStatus::Builder builder) const;
  void writeSnapshotStatus(rpc::SnapshotStatus::Builder builder) const;

  bool hasRestarted(ServerId id, rpc::StoreDescription::Reader newcomer) const;
  void doubt(ServerId server);
  // Somebody says that it did not answer: asked at once, so that a hung store counts as silent for all.

  Async<Status> corruptReplica(ChunkHandle chunk, ServerId server, kj::StringPtr why);
  // Somebody says so. CORRUPT: the store finds the same, and the replica counts no more. Else it stays.

  kj::Promise<void> guard(kj::Promise<void> handler) { return canceler.wrap(kj::mv(handler)); }
  // Cap'n Proto lets a call run to its end though its caller has gone. What waits runs in here, and ends with
  // the service.

  const NamespaceReader& names;
  kj::Timer& timer;
  env::Logger log;
  ChangeGate gate;
  OperationLog& operations;  // behind the gate
  const SnapshotLimits snapshotLimits;
  ClusterView view;
  StoreOrders orders;
  ChunkGrants grants;
  Repair repair;
  Rebalance rebalance;
  ChunkSurvey survey;
  Sessions sessions;
  LockService locks;
  TrashKeeper trash;
  LeaseRecalls leases;
  QuotaKeeper quotas;
  StagingKeeper stagings;
  kj::Maybe<Archive&> archive;  // null: this service has no storage of its own (in tests)
  kj::Maybe<kj::Function<kj::Own<NamespaceScan>()>> scan;  // of the namespace, for checks; null: likewise
  bool checking = false;                                   // one check at a time
  std::set<std::pair<SessionId, uint64_t>> publishing;     // changes that are under way, by sequence

 private:
  Async<void> watch();
  kj::Maybe<ReplicaFacts> replicaAt(ChunkHandle chunk, ServerId server) const;  // if it is a candidate
  std::set<std::pair<ChunkHandle, ServerId>> verified;  // by their stores, at this moment
  Async<void> learnEpoch(Epoch seen, kj::StringPtr store);
  void taskFailed(kj::Exception&& exception) override;
  kj::PromiseFulfillerPair<void> outrun = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> outrunFork = outrun.promise.fork();
  kj::TaskSet tasks;
  kj::Canceler canceler;  // last: handlers go before what they use
};

}  // namespace cairn
