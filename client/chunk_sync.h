// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The data half of fsync: one parallel round over every replica of every dirty chunk. A replica that does not
// make it (it broke, hangs, or its machine rebooted since the write) is taken out of the set by the
// metaserver before it may be left out of the count. INVARIANT: a chunk counts as synced only when every
// replica in its current set has said so, naming the boot in which it applied our writes; with none left it
// does not. Called by open_file.cc only.
#pragma once

#include <set>

#include "client/writer.h"

namespace cairn::client {

class ChunkSync {
 public:
  ChunkSync(kj::Timer& timer, kj::EntropySource& entropy, const Timing& timing, env::Logger log,
            Locator& locator, ChunkServers& servers)
      : timer(timer),
        entropy(entropy),
        timing(timing),
        log(kj::mv(log)),
        locator(locator),
        servers(servers) {}
  KJ_DISALLOW_COPY(ChunkSync);

  kj::Promise<DirtyChunks> sync(InodeId inode, DirtyChunks chunks);
  // Answers those that are not on stable storage: none when all is well.

  kj::Promise<Status> recall(InodeId inode, uint64_t size, DirtyChunks& chunks);
  // Adds the file's other chunks, applied in whichever boot. fsync(2) is about the file, not about this open
  // of it: what an earlier open wrote, here or on another mount, may not be on stable storage yet. A clean
  // chunk costs its replicas a look at their index. `chunks` outlives the promise.

 private:
  struct Target {
    ServerId server;
    uint64_t boot;
    std::vector<ChunkIndex> chunks;
  };
  struct Round {
    // Whose word we have, for each chunk. `stale`: our version of it is old, which is nobody's failure.
    std::map<ChunkIndex, std::set<ServerId>> good, bad, stale;
  };

  kj::Timer& timer;
  kj::EntropySource& entropy;
  const Timing& timing;
  env::Logger log;
  Locator& locator;
  ChunkServers& servers;

  kj::Promise<void> syncAt(const DirtyChunks& chunks, Target target, Round& round);
  kj::Promise<Tried<capnp::Response<rpc::ChunkServer::SyncResults>>> ask(const DirtyChunks& chunks,
                                                                         const Target& target,
                                                                         ChunkPeer& peer);
  kj::Promise<void> leaveOutTheBad(InodeId inode, ChunkIndex index, DirtyChunk& chunk, Round& round,
                                   Patience& patience);
};

}  // namespace cairn::client
