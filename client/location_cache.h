// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What this client believes about where chunks are: (inode, index) -> handle, version, replicas, primary.
// Beliefs may be wrong: chunk daemons refuse wrong versions, and whoever is refused forgets and asks again.
// So an entry lives long; only holes are short-lived, because nobody refuses the read of a chunk that is not
// there. Decides also how far ahead to ask, so that a sequential reader asks the metaserver once per many
// chunks. Pure: the caller passes `now`. Called by locator.cc.
#pragma once

#include <kj/array.h>
#include <kj/common.h>
#include <kj/time.h>

#include <map>
#include <unordered_map>

#include "rpc/units.h"

namespace cairn::client {

constexpr uint32_t LOCATE_COUNT_MAX = 64;  // of Session.locate

struct ChunkLocation {
  // One answer of Session.locate. No handle: a hole. Addresses of servers are kept apart, in ChunkServers.
  ChunkIndex index;
  ChunkHandle handle;
  ChunkVersion version;
  kj::Array<ServerId> replicas;  // nearest first
  ServerId primary;              // none: no lease is out
  kj::TimePoint leaseEnd = kj::origin<kj::TimePoint>();
  uint32_t validBytes = UINT32_MAX;  // bytes from here on are zeros
  LogIndex lostAt;                   // what was written as of an earlier operation and not synced may be lost
  LogIndex asOf;                     // of the log, when this was so
  uint32_t age = 0;                  // Session::age(), likewise
  enum class Complete { NO, YES } complete = Complete::NO;  // no other replica counts

  bool isHole() const { return !handle; }
  ChunkLocation clone() const;
};

class LocationCache {
 public:
  struct Limits {
    kj::Duration lifetime = 30 * kj::SECONDS;
    kj::Duration holeLifetime = 1 * kj::SECONDS;
    kj::Duration leaseProof = 10 * kj::SECONDS;  // an accepted write shows that the lease is still extended
    size_t entriesMax = 1 << 16;                 // 4 TiB of file; about 10 MiB of memory
  };
  LocationCache() : LocationCache(Limits()) {}
  explicit LocationCache(Limits limits) : limits(limits) {}

  kj::Maybe<const ChunkLocation&> forReading(InodeId inode, ChunkIndex index, kj::TimePoint now) const;
  kj::Maybe<const ChunkLocation&> forWriting(InodeId inode, ChunkIndex index, kj::TimePoint now) const;
  // References are valid until the next call that is not const.

  uint32_t countToAsk(InodeId inode, ChunkIndex index, uint64_t fileSize);
  // How many chunks from `index` on to ask for after a miss: more with each miss that continues the last
  // answer.

  void learn(InodeId inode, ChunkLocation location, kj::TimePoint now);
  void leaseProven(InodeId inode, ChunkIndex index, ChunkVersion version, kj::TimePoint now);
  void leaseLost(InodeId inode, ChunkIndex index, ChunkVersion version);
  // The primary refused: not for writing any more, but the replicas may still be read.

  void forget(InodeId inode, ChunkIndex index);
  void forget(InodeId inode);
  void forgetFrom(InodeId inode, ChunkIndex index);  // after a cut
  void forgetAll();
  size_t size() const { return entries; }

 private:
  struct Entry {
    ChunkLocation location;
    kj::TimePoint expiry;
  };
  struct File {
    std::map<ChunkIndex, Entry> chunks;
    ChunkIndex askedEnd;  // end of what was last asked for
    uint32_t lastCount = 0;
  };
  Limits limits;
  std::unordered_map<InodeId, File> files;
  size_t entries = 0;

  const Entry* find(InodeId inode, ChunkIndex index, kj::TimePoint now) const;
  void makeRoom(InodeId keep, kj::TimePoint now);
};

}  // namespace cairn::client
