// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The data half of fsync: one parallel round over every replica of every dirty chunk. INVARIANT: a chunk
// counts as synced only when every replica of one version has said so under that version, and no other
// replica counts under it. One that does not say so (it broke, hangs, or its machine went down since the
// write) is taken out of the set by the metaserver, under a higher version, before the others are asked again
// under that one; if too few would be left, it is made equal to a good one instead, and asked as well. Bytes
// that went with the power of every replica's machine are told as an error, once. Called by open_file.cc and
// unsynced_files.cc.
#pragma once

#include <set>

#include "client/writer.h"
#include "rpc/coroutine.h"

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

  struct Outcome {
    DirtyChunks left;                                  // not on stable storage: none when all is well
    enum class Loss { NONE, SOME } loss = Loss::NONE;  // of bytes that were not synced before; not in `left`
  };
  Async<Outcome> sync(InodeId inode, DirtyChunks chunks);

  Async<Status> recall(InodeId inode, uint64_t size, DirtyChunks& chunks);
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

  Async<void> syncAt(const DirtyChunks& chunks, Target target, Round& round);
  Async<Tried<capnp::Response<rpc::ChunkServer::SyncResults>>> ask(const DirtyChunks& chunks,
                                                                   const Target& target, ChunkPeer& peer);
  Async<void> lookAgain(InodeId inode, ChunkIndex index, DirtyChunk& chunk, const Round& round,
                        Patience& patience);
};

}  // namespace cairn::client
