// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The programs of a cluster as their main() puts them together, on what the simulator has instead of a
// machine.
#include <kj/debug.h>

#include "chunkd/chunk_server.h"
#include "client/remote_filesystem.h"
#include "metaserver/meta_server.h"
#include "rpc/coroutine.h"
#include "test/sim/cluster/sim_cluster.h"

namespace cairn::sim {

namespace {

class MetaserverHost final : public SimHost {
 public:
  MetaserverHost(World world, uint64_t seed, const SimClusterOptions& cluster)
      : SimHost(world, METASERVER, seed) {
    options.directory = "/metaserver";
    options.replicas = cluster.replicas;
    options.minimumReplicas = cluster.minimumReplicas;
    options.snapshots = cluster.snapshots;
    if (cluster.commit == SimClusterOptions::Commit::DISK) options.commit = CommitMode::DISK;
  }
  ~MetaserverHost() noexcept(false) { kill(); }

 private:
  struct Running final : Process {
    kj::Own<MetaServer> server;
  };
  MetaServerOptions options;

  Async<kj::Own<Process>> run() override {
    auto process = kj::heap<Running>();
    options.boot = boot();
    process->server = co_await MetaServer::start(
        {timer, calendar, world.network.at(name()), disk, rocks.newLife(), entropy, world.pool, log},
        options);
    co_await process->server->listen("*:9400");
    co_return kj::Own<Process>(kj::mv(process));
  }
};

class ChunkdHost final : public StoreHost {
 public:
  ChunkdHost(World world, uint32_t number, uint64_t seed, const SimClusterOptions& cluster)
      : StoreHost(world, kj::str("chunkd-", number), seed), worker(env::newInlineWorker()) {
    disk.setCapacity(cluster.diskBytes);
    scrub.bytesPerSecond = cluster.scrubBytesPerSecond;
    scrub.every = 0 * kj::SECONDS;
  }
  ~ChunkdHost() noexcept(false) { kill(); }

  rpc::ChunkServer::Client orders() override {
    return KJ_REQUIRE_NONNULL(running, "the store is down").chunkService().newOrderHandlers();
  }
  Epoch epoch() override { return KJ_REQUIRE_NONNULL(running).chunkStore().identity().epoch; }

 private:
  struct Running final : Process {
    kj::Own<ChunkServer> server;
  };
  kj::Own<env::Worker> worker;
  kj::Maybe<ChunkServer&> running;
  uint32_t lastPid = 100;
  ScrubOptions scrub;

  void gone() override { running = nullptr; }
  Async<kj::Own<Process>> run() override {
    ChunkServerOptions options;
    options.directory = kj::str("/store");
    options.boot = kj::str("boot-", boot());
    options.host = kj::str(name());
    options.metaserver = kj::str(METASERVER_ADDRESS);
    options.listen = kj::str(name(), ":9410");
    options.pid = ++lastPid;
    options.reserveBytes = uint64_t(0);
    options.scrub = scrub;
    auto started = co_await ChunkServer::start({timer, world.network.at(name()), disk, *rocks.newLife(),
                                                *worker, entropy, world.pool, log, calendar},
                                               kj::mv(options));
    KJ_IF_MAYBE (server, started.server) {
      auto process = kj::heap<Running>();
      process->server = kj::mv(*server);
      co_await process->server->whenRegistered();
      running = *process->server;
      co_return kj::Own<Process>(kj::mv(process));
    }
    kj::throwFatalException(KJ_EXCEPTION(FAILED, started.refusal));
  }
};

class RealClientHost final : public ClientHost {
 public:
  RealClientHost(World world, uint32_t number, uint64_t seed)
      : ClientHost(world, kj::str("client-", number), seed) {}
  ~RealClientHost() noexcept(false) { kill(); }

  Filesystem& filesystem() override { return KJ_REQUIRE_NONNULL(running, "the client is down", name()); }

 private:
  struct Running final : Process {
    kj::Own<Filesystem> filesystem;
  };
  kj::Maybe<Filesystem&> running;

  void gone() override { running = nullptr; }
  Async<kj::Own<Process>> run() override {
    auto process = kj::heap<Running>();
    FilesystemOptions options{.timer = timer,
                              .clock = calendar,
                              .network = world.network.at(name()),
                              .entropy = entropy,
                              .pool = world.pool,
                              .log = log,
                              .metaservers = kj::heapArray<kj::String>(1),
                              .name = kj::str(name()),
                              .host = kj::str(name())};
    options.metaservers[0] = kj::str(METASERVER_ADDRESS);
    process->filesystem = co_await connectFilesystem(kj::mv(options));
    running = *process->filesystem;
    co_return kj::Own<Process>(kj::mv(process));
  }
};

}  // namespace

kj::Own<SimHost> newMetaserverHost(World world, uint64_t seed, const SimClusterOptions& options) {
  return kj::heap<MetaserverHost>(world, seed, options);
}

kj::Own<SimHost> newChunkdHost(World world, uint32_t number, uint64_t seed,
                               const SimClusterOptions& options) {
  return kj::heap<ChunkdHost>(world, number, seed, options);
}

kj::Own<ClientHost> newClientHost(World world, uint32_t number, uint64_t seed) {
  return kj::heap<RealClientHost>(world, number, seed);
}

}  // namespace cairn::sim
