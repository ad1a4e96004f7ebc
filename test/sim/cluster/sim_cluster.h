// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A whole cluster in one thread, from one seed: a metaserver, chunk daemons and clients as the programs make
// them, on virtual time, a simulated network and disks in memory. The vocabulary of tests that tell a story.
// Hosts are called "metaserver", "chunkd-1", ..., "client-1", ...
// INVARIANT: two clusters with the same options, to which the same is done, have the same transcript.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "client/filesystem.h"
#include "metaserver/meta_service.h"
#include "rpc/buffer_pool.h"
#include "rpc/chunkd.capnp.h"
#include "rpc/coroutine.h"
#include "rpc/peer.h"
#include "test/sim/cluster/sim_host.h"

namespace cairn::sim {

struct SimClusterOptions {
  uint64_t seed = 1;
  uint32_t chunkServers = 3;
  uint32_t clients = 1;
  uint8_t replicas = 3;
  uint32_t minimumReplicas = 2;
  uint64_t diskBytes = 64ull << 30;  // of each chunk daemon
  uint64_t scrubBytesPerSecond = 1 << 20;
  kj::Duration lifeMax = 2 * 60 * kj::MINUTES;                 // longer is a livelock
  enum class Commit { MEMORY, DISK } commit = Commit::MEMORY;  // of the metaserver
  SnapshotLimits snapshots;
  std::function<ClockError(kj::StringPtr host)> clocks = [](kj::StringPtr) { return ClockError(); };
};

std::function<ClockError(kj::StringPtr host)> clocksApart(std::string slow);
// As far apart as is tolerated: the metaserver's is the fastest, that host's the slowest, all others are
// right.

class SimCluster {
 public:
  explicit SimCluster(SimClusterOptions options = {});  // all serve when it returns
  ~SimCluster() noexcept(false);
  KJ_DISALLOW_COPY(SimCluster);

  // -- what happens to it
  void kill(kj::StringPtr host);
  void powerCut(kj::StringPtr host);
  void powerCutAll();                // but not the clients
  void restart(kj::StringPtr host);  // and wait until it serves
  void stop(kj::StringPtr host);
  void resume(kj::StringPtr host);
  void cut(kj::StringPtr a, kj::StringPtr b) { network.cut(a, b); }
  void heal(kj::StringPtr a, kj::StringPtr b) { network.heal(a, b); }
  void misdeliverDelete(kj::StringPtr host, ChunkHandle chunk, ChunkVersion version);
  // An order of the metaserver's that was on its way for long.
  void advance(kj::Duration duration) { time.run(time.timer().afterDelay(duration), scope); }
  SimHost& host(kj::StringPtr name);
  uint64_t diskBytes() const { return options.diskBytes; }
  std::vector<std::string> daemons() const;    // metaserver first
  std::vector<std::string> hostNames() const;  // clients as well

  // -- what users do; each fails the test when the answer is not ok
  Filesystem& client(uint32_t number = 1);
  void write(kj::StringPtr path, kj::StringPtr content, uint64_t offset = 0);  // and flush
  void sync(kj::StringPtr path);
  kj::Own<OpenFile> open(kj::StringPtr path);                 // made when missing
  std::string read(kj::StringPtr path, uint32_t client = 1);  // all of it, opened afresh
  void makeDirectory(kj::StringPtr path);
  Status tryWrite(kj::StringPtr path, kj::StringPtr content, uint64_t offset = 0);
  InodeId find(kj::StringPtr path, uint32_t client = 1);

  // -- how it is
  struct Replica {
    ServerId server;
    std::string host;
    ChunkVersion version;
    std::string state;  // current, stale, corrupt, silent
  };
  struct Chunk {
    ChunkIndex index;
    ChunkHandle handle;
    ChunkVersion version;
    ServerId primary;
    std::vector<Replica> replicas;
  };
  std::vector<Chunk> chunks(InodeId inode);
  struct Repair {
    uint64_t under = 0;   // chunks with fewer good replicas than wanted
    uint64_t excess = 0;  // with more
    uint64_t moving = 0;
    uint64_t copied = 0;    // since the metaserver started
    bool surveyed = false;  // all have been looked at
  };
  Repair repair();
  void drain(kj::StringPtr host);  // as `cairn drain` does, and returns when nothing counts on it any more
  Async<Status> snapshot(InodeId original, InodeId directory, kj::StringPtr name,
                         kj::Maybe<kj::Duration> patience = nullptr);
  // As `cairn snapshot` does. EXISTS: perhaps by an earlier call whose answer was lost. BUSY also when
  // nothing answers, and when it takes steps and is not done for so long: then it is given up.

  std::string findings();      // of `cairn fsck`, but what is only noted; waits until it can be asked
  uint64_t inodes();           // as the metaserver counts them
  uint64_t inodesWithNames();  // as a client finds them

  void waitRepaired();  // until every chunk has exactly the replicas it wants, as far as the metaserver knows

  void waitHealthy();  // until all daemons are up for the metaserver and it is not in safe mode

  kj::Vector<kj::String> compareReplicas(InodeId inode);
  // What is wrong: current replicas of a chunk that differ, bytes that fail their checksum.

  template <typename Promise>
  auto run(Promise&& promise) {
    return time.run(kj::mv(promise), scope);
  }

  BufferPool pool;
  VirtualTime time;
  kj::EventLoop loop{time};
  kj::WaitScope scope{loop};
  SeededEntropy entropy;
  SimNetwork network;
  Transcript transcript{time};

 private:
  SimClusterOptions options;
  std::vector<kj::Own<SimHost>> hosts;
  std::map<uint32_t, SimHost*> clientHosts;
  struct Inspector;
  kj::Own<Inspector> inspector;  // asks the daemons as a tool does

  Async<kj::Own<OpenFile>> openOrCreate(kj::StringPtr path);
  Async<bool> isHealthy();
};

// The programs, as their main() puts them together.
kj::Own<SimHost> newMetaserverHost(World world, uint64_t seed, const SimClusterOptions& options);
kj::Own<SimHost> newChunkdHost(World world, uint32_t number, uint64_t seed, const SimClusterOptions& options);

class ClientHost : public SimHost {
 public:
  using SimHost::SimHost;
  virtual Filesystem& filesystem() = 0;
};
kj::Own<ClientHost> newClientHost(World world, uint32_t number, uint64_t seed);

class StoreHost : public SimHost {
 public:
  using SimHost::SimHost;
  virtual rpc::ChunkServer::Client orders() = 0;  // as the metaserver has them
  virtual Epoch epoch() = 0;                      // the highest that the store has seen
};

constexpr kj::StringPtr METASERVER = "metaserver"_kj;
constexpr kj::StringPtr METASERVER_ADDRESS = "metaserver:9400"_kj;

}  // namespace cairn::sim
