// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Garbage: which replicas a store is told to delete, and when (GFS paper, section 4.4).
// INVARIANT: nothing is deleted on stale authority. A replica goes only as (handle, version), when
//   GARBAGE   the namespace has recorded that its chunk was dropped, up to that version;
//   STALE     its version is below the chunk's floor, and a current replica is known on another live store;
//   UNKNOWN   its handle was given out by this namespace, but no file has it (a create that a crash cut off),
//             for longer than UNKNOWN_GRACE;
// A namespace that was restored from a backup does not know what was done after it. There, of chunks and
// versions from before the restore:
//   NEWER     a higher version than on record is one that was raised after the backup: the record follows it;
//   KEPT      a chunk that no file has may be that of a file made after the backup: it stays until an
//   operator
//             lets it go, and is garbage then.
// Neither pulls the brake.
// and always: out of safe mode, the operation that condemned it is on stable storage (a power cut must not
// bring back the file without its data), and the brake is off. AHEAD, a version or handle that this namespace
// never gave out, means that the namespace is an old copy or another's: never deleted, and it pulls the
// brake. So does a store whose chunks are mostly UNKNOWN. Recorded and stale ones do not: rm -r and a long
// absence are no accidents, and each of those deletes has its own evidence. Pure: the caller judges with
// facts from the namespace, sends what is due, judging once more, and reports what was done. Called by
// chunk_survey.cc.
#pragma once

#include <kj/string.h>
#include <kj/vector.h>

#include <map>
#include <set>
#include <unordered_map>

#include "metaserver/inode.h"
#include "rpc/units.h"

namespace cairn {

constexpr kj::Duration UNKNOWN_GRACE = 60 * kj::SECONDS;
constexpr uint32_t DELETES_PER_SECOND = 100;  // of one store
constexpr uint32_t BRAKE_CHUNKS_MIN = 16;     // fewer unknown chunks than this never pull the brake

enum class Verdict { KEEP, GARBAGE, STALE, UNKNOWN, AHEAD, NEWER, KEPT };
constexpr size_t VERDICTS = 7;
kj::StringPtr KJ_STRINGIFY(Verdict verdict);

struct ChunkFacts {
  // What the namespace and the chunk table know about the chunk of a reported replica.
  kj::Maybe<ChunkRecord> record;    // null: no file has it
  kj::Maybe<ChunkVersion> dropped;  // of its garbage record
  ChunkHandle nextHandle;           // handles from here on were never given out
  uint32_t currentElsewhere = 0;    // current replicas on other live stores
  Restored restored = Restored::NEVER;
  uint64_t restoredFloor = 0;  // NamespaceState

  bool fromBefore(ChunkHandle chunk, ChunkVersion held) const {  // the last restore
    return chunk.value() < restoredFloor && held.value() < restoredFloor;
  }
};
Verdict judge(ChunkHandle chunk, ChunkVersion held, const ChunkFacts& facts);

struct DoomedReplica {
  ChunkHandle chunk;
  ChunkVersion version;
  Verdict verdict;
};

class GarbagePlan {
 public:
  void reportBegins(ServerId server);
  // A store starts to tell what it holds: what was known of it is void.

  void seen(ServerId server, ChunkHandle chunk, ChunkVersion held, Verdict verdict, LogIndex asOf,
            kj::TimePoint now);
  // A replica was judged when `asOf` was the last operation. KEEP takes it off the list.

  enum class Brake { OFF, PULLED };
  Brake reportEnds(ServerId server);

  kj::Vector<DoomedReplica> due(ServerId server, kj::TimePoint now, LogIndex durable);
  // At most DELETES_PER_SECOND in a second. The caller judges each again and calls seen() or done().

  void done(ServerId server, ChunkHandle chunk);
  void forget(ServerId server);  // the store is gone for good

  void releaseBrake();          // an operator has looked: what is unknown may go. AHEAD stays where it is
  kj::StringPtr brake() const;  // why everything is held back; empty: it is not
  uint64_t waiting() const;     // replicas on the list
  bool anyWaiting(ServerId server) const;
  uint64_t kept() const;  // replicas that are KEPT, as of the last report of each store

 private:
  struct Entry {
    ChunkVersion version;
    Verdict verdict;
    LogIndex asOf;
    kj::TimePoint since;
  };
  struct Store {
    std::map<ChunkHandle, Entry> doomed;
    uint64_t reported = 0, unknown = 0, ahead = 0;
    std::set<ChunkHandle> kept;
    ChunkHandle aheadExample;
    ChunkHandle cursor;  // `due` goes round, so that one that fails does not block the others
    kj::TimePoint window = kj::origin<kj::TimePoint>();
    uint32_t sentInWindow = 0;
    kj::String brake;
  };
  Brake pull(Store& store, ServerId server);

  std::map<ServerId, Store> stores;
  enum class Released { NO, YES } released = Released::NO;
};

}  // namespace cairn
