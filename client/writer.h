// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Brings extents of one chunk to all replicas of it: makes the checksums, finds the primary, sends, and when
// the view was stale or a daemon failed, finds out anew and repeats the very same write (which is harmless)
// until patience runs out. The application sees nothing of that. Called by open_file.cc only.
#pragma once

#include <map>

#include "client/buffer_budget.h"
#include "client/locator.h"
#include "client/write_buffer.h"
#include "rpc/coroutine.h"

namespace cairn::client {

struct DirtyChunk {
  // What must reach stable storage before a sync of the file may answer. INVARIANT: `boots` names every
  // replica that counts under `version`, and none that came to the set under it: those of a lease are named
  // by the answer to a write, those of a higher version were made equal to a good one when it began
  // (metaserver/chunk_grants.h).
  ChunkHandle handle;
  ChunkVersion version;                // the highest under which we have written, or have looked
  std::map<ServerId, uint64_t> boots;  // in which it applied our write under `version`; 0: we wrote before it
  uint32_t blocks = 0;                 // of the chunk that hold anything but zeros, after the last write
  LogIndex oldest;   // Location.asOf of our first write that is not known to be synced; 0: none
                     // is ours
  LogIndex lostAt;   // Location.lostAt, the highest that we were told
  uint32_t age = 0;  // Session::age() of the location under which it was just written

  void add(const DirtyChunk& later);
  void answersLost(LogIndex from);  // operations from there on are numbered anew
  bool isLost() const { return oldest && oldest < lostAt; }
};
using DirtyChunks = std::map<ChunkIndex, DirtyChunk>;
void merge(DirtyChunks& into, DirtyChunks&& later);

class Writer {
 public:
  Writer(kj::Timer& timer, kj::EntropySource& entropy, const Timing& timing, env::Logger log,
         Locator& locator, ChunkServers& servers)
      : timer(timer),
        entropy(entropy),
        timing(timing),
        log(kj::mv(log)),
        locator(locator),
        servers(servers) {}
  KJ_DISALLOW_COPY(Writer);

  Async<Result<DirtyChunk>> write(InodeId inode, const WriteBuffer::Outgoing& outgoing);
  // Applied on every replica of the lease. NO_SPACE and the answers of locate surface; IO_ERROR when out of
  // patience. The caller keeps `outgoing` until it has the answer.

 private:
  enum class Verdict { DONE, RETRY, FAIL };

  kj::Timer& timer;
  kj::EntropySource& entropy;
  const Timing& timing;
  env::Logger log;
  Locator& locator;
  ChunkServers& servers;

  Verdict judge(InodeId inode, const ChunkLocation& location,
                Tried<capnp::Response<rpc::ChunkServer::WriteResults>>& tried, Status& status);
};

}  // namespace cairn::client
