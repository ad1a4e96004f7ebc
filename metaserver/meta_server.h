// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A metaserver in its directory: opens it, the namespace and the log, begins an epoch, and only then listens.
// Everything comes from outside, so that the simulator runs many of these in one thread, with a virtual
// clock, on disks of its own. Layout of the directory: IDENTITY, LOCK (identity.h), log/ (local_log.h),
// names/ (namespace.h). Called by main.cc and the simulator.
#pragma once

#include <kj/async-io.h>
#include <kj/compat/http.h>  // EntropySource
#include <kj/timer.h>

#include "env/disk.h"
#include "env/log.h"
#include "env/worker.h"
#include "metaserver/archive.h"
#include "metaserver/identity.h"
#include "metaserver/local_log.h"
#include "metaserver/meta_service.h"
#include "metaserver/namespace.h"
#include "rpc/coroutine.h"

namespace rocksdb {
class Env;
}

namespace cairn {

class Acceptor;
class BufferPool;

struct MetaServerEnvironment {
  // The world. Outlives the server.
  kj::Timer& timer;
  const kj::Clock& clock;
  kj::Network& network;
  env::Disk& disk;      // the server's directory
  rocksdb::Env* rocks;  // null: the local filesystem
  kj::EntropySource& entropy;
  BufferPool& pool;
  env::Logger log;
  kj::Maybe<env::Worker&> worker = nullptr;  // null: blocking work of operators is done in the loop
};

struct TrashOptions {
  uint32_t keepSeconds = 24 * 3600;  // 0: no trash
  uint32_t ageSeconds = 60;          // what has lived less does not go there
};

struct MetaServerOptions {
  kj::StringPtr directory;  // path of the directory, as RocksDB is to open it, and for sentences
  CommitMode commit = CommitMode::MEMORY;
  uint64_t boot = 0;                    // of the machine: what it had not synced is lost when that changes
  uint8_t replicas = 3;                 // of a new cluster
  kj::Maybe<uint32_t> minimumReplicas;  // null: 2, or 1 when files want 1
  MetaServiceOptions::Brake brake = MetaServiceOptions::Brake::KEEP;
  RepairOptions repair;
  RebalancePlan::Automatic rebalance = RebalancePlan::Automatic::YES;
  SnapshotLimits snapshots;
  kj::Maybe<TrashOptions> trash;                              // null: as it was; a new cluster has none
  uint64_t verifiedBytes = NamespaceOptions().verifiedBytes;  // of a store that is read whole at the start
};

class MetaServer {
 public:
  static Async<kj::Own<MetaServer>> start(MetaServerEnvironment environment, MetaServerOptions options);
  // Throws with a sentence for the user when it must not start. `options` lives until it answers.

  explicit MetaServer(MetaServerEnvironment environment);  // use start()
  ~MetaServer() noexcept(false);                           // as a crash: connections go, nothing is flushed
  KJ_DISALLOW_COPY(MetaServer);

  kj::Promise<uint16_t> listen(kj::StringPtr address);  // answers the port
  kj::Promise<void> whenBroken();  // fails, with a sentence, when it can only be started again
  Async<void> stop();              // refuses new connections, drops the others, makes everything durable

  ClusterId cluster() const { return identity.cluster; }
  Epoch epoch() const { return currentEpoch; }
  MetaService& service() { return *metaService; }
  Archive& archive() { return *ownArchive; }

 private:
  Async<void> configureTrash(TrashOptions wanted);
  Async<void> verifyInBackground();

  MetaServerEnvironment environment;
  DirectoryIdentity identity;
  Epoch currentEpoch;
  kj::Own<Namespace> names;
  kj::Own<LocalLog> log;
  kj::Own<env::Worker> inlineWorker;
  kj::Own<Archive> ownArchive;
  kj::Own<MetaService> metaService;
  kj::Promise<void> checking = nullptr;
  kj::Own<Acceptor> acceptor;  // goes first: its connections hold capabilities into the service
};

}  // namespace cairn
