// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Repair: which chunks have fewer good replicas than wanted, which of them is copied next, from where and to
// where, and how fast (GFS paper, section 4.3). In this order: one copy left; fewer than the minimum, so that
// nobody can write; fewer than wanted, by how many; on a store that is drained; moved for balance. A replica
// whose store is merely away is given a grace first: most that go come back in a moment.
// INVARIANTS: a copy is only planned from a replica that is good to a store that holds none; no store takes
// part in more than `copiesPerStore` copies in either direction, nor gives or takes more than
// `bytesPerSecond`; a chunk is trimmed only when as many good replicas as wanted remain on stores that are
// not drained. Nothing here is O(all chunks): the plan holds the chunks that need something, in order. Pure:
// the caller tells facts with `now`, carries out what is planned and tells the outcome. Called by repair.cc.
#pragma once

#include <kj/string.h>
#include <kj/vector.h>

#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "rpc/units.h"

namespace cairn {

struct RepairOptions {
  kj::Duration grace = 30 * kj::SECONDS;  // for a store that is away
  kj::Duration lastCopyGrace =
      2 * kj::SECONDS;                     // the same, when one good replica is left: what a restart takes
  uint32_t copiesPerStore = 2;             // at a time, from it, and to it
  uint64_t bytesPerSecond = 100ull << 20;  // from a store, and to it
};

enum class Urgency : uint8_t { LAST_COPY, BLOCKING, UNDER, DRAIN, BALANCE, EXCESS, NONE };
kj::StringPtr KJ_STRINGIFY(Urgency urgency);

enum class Standing {
  GOOD,      // current, and its store answers
  LEAVING,   // as GOOD, and its store is drained
  AWAY,      // current, and its store does not answer
  DOUBTFUL,  // its store answers; it may lack a write (failed, suspect)
  STALE,     // its store answers; of an old version
  CORRUPT,   // its store answers; quarantined
};

struct RepairReplica {
  ServerId server;
  Standing standing;
  kj::TimePoint heard = kj::origin<kj::TimePoint>();  // when its store was, for AWAY
};

struct RepairFacts {
  // All that is known of one chunk.
  uint32_t wanted = 0;
  uint32_t minimum = 1;  // fewer than that: no lease
  uint32_t length = 0;   // bytes, the longest replica
  kj::Vector<RepairReplica> replicas;
};

struct RepairStore {
  ServerId server;
  kj::StringPtr host, rack;
  uint64_t bytesTotal = 0, bytesFree = 0;
  bool takes = false;  // it is up, has room, and is not drained
};

struct RepairJob {
  enum class Kind { COPY, TRIM } kind;
  ChunkHandle chunk;
  Urgency urgency;
  ServerId target;                  // of a copy
  kj::Vector<ServerId> sources;     // of a copy, the one that is counted first
  kj::Vector<ServerId> leftBehind;  // of a trim: these go
};

struct RepairProgress {
  uint64_t lastCopy = 0, blocking = 0, under = 0, waiting = 0, stuck = 0, moving = 0, excess = 0;
  uint32_t copying = 0;
  uint64_t bytesPerSecond = 0, bytesLeft = 0, etaSeconds = 0;
  uint64_t copied = 0, copiedBytes = 0, failed = 0;
  kj::String stuckBecause;
};

class RepairPlan {
 public:
  explicit RepairPlan(RepairOptions options) : options(options) {}

  void note(ChunkHandle chunk, const RepairFacts& facts, kj::TimePoint now);  // as they are now
  void forget(ChunkHandle chunk);                                             // it is gone
  void move(ChunkHandle chunk, ServerId from, ServerId to, kj::TimePoint now);
  // For balance: one more copy at `to`, then `from` is left behind. Given up if anything more urgent comes.
  // Ignored for a chunk that needs something else.

  kj::Vector<RepairJob> next(kj::ArrayPtr<const RepairStore> stores, kj::TimePoint now);
  // What to begin now. The caller calls began() and ended() for each it carries out.
  kj::Maybe<kj::TimePoint> due() const;
  // When next() may have something, as things are; null: when somebody has told something new.
  void began(const RepairJob& job);
  enum class Outcome { DONE, AGAIN, FAILED };
  void ended(const RepairJob& job, Outcome outcome, kj::TimePoint now);
  // Then note() the chunk again. FAILED: not before a pause that grows. AGAIN: it was overtaken by events.

  void storesChanged(
      kj::TimePoint now);  // one came, went, filled or emptied: chunks that were stuck are looked at again

  kj::TimePoint reserve(ServerId source, ServerId target, uint64_t bytes, kj::TimePoint now);
  // When these bytes may be copied, with all that was reserved before.
  void transferred(uint64_t bytes, kj::TimePoint now);

  bool wants(ChunkHandle chunk) const { return entries.find(chunk) != entries.end(); }
  bool underWay(ChunkHandle chunk) const;
  uint32_t copiesTo(ServerId server) const;
  uint32_t movesOpen() const { return counts[size_t(Urgency::BALANCE)]; }
  RepairProgress progress(kj::TimePoint now) const;
  void checkInvariants() const;

 private:
  struct Place {
    // Where an entry stands in the order; the smallest is next.
    Urgency urgency = Urgency::NONE;
    uint32_t present = 0;  // of UNDER: the fewer the sooner
    kj::TimePoint since = kj::origin<kj::TimePoint>();
    ChunkHandle chunk;
    bool operator<(const Place& other) const;
  };
  struct Move {
    ServerId from, to;
  };
  struct Entry {
    RepairFacts facts;
    Place place;
    kj::TimePoint due = kj::origin<kj::TimePoint>();
    uint32_t lacking = 0;
    enum class State { READY, WAITING, STUCK, RUNNING } state = State::WAITING;
    enum class Why { GRACE, PAUSE } why = Why::PAUSE;  // of WAITING
    uint32_t failures = 0;
    kj::Maybe<Move> move;
  };
  struct Slots {
    uint32_t from = 0, to = 0;
    kj::TimePoint freeFrom = kj::origin<kj::TimePoint>(), freeTo = kj::origin<kj::TimePoint>();
  };
  struct Assessment {
    Urgency urgency = Urgency::NONE;
    uint32_t present = 0, lacking = 0;
    kj::TimePoint due = kj::origin<kj::TimePoint>();
    Entry::Why why = Entry::Why::PAUSE;
  };

  Assessment assess(const Entry& entry, kj::TimePoint now) const;
  void enqueue(Entry& entry, Entry::State state);
  void dequeue(Entry& entry);
  void erase(std::unordered_map<ChunkHandle, Entry>::iterator at);
  enum class Chosen { JOB, BUSY, STUCK };
  Chosen choose(const Entry& entry, kj::ArrayPtr<const RepairStore> stores, RepairJob& job,
                std::map<ServerId, Slots>& taken) const;
  kj::Vector<ServerId> chooseVictims(const Entry& entry, kj::ArrayPtr<const RepairStore> stores) const;
  uint64_t bytesOf(const Entry& entry) const { return uint64_t(entry.facts.length) * entry.lacking; }

  const RepairOptions options;
  std::unordered_map<ChunkHandle, Entry> entries;
  std::set<Place> ready;
  std::set<std::pair<kj::TimePoint, ChunkHandle>> waiting;
  std::set<ChunkHandle> stuck;
  std::map<ServerId, Slots> slots;
  uint64_t counts[size_t(Urgency::NONE) + 1] = {};
  uint64_t inGrace = 0, bytesLeft = 0;
  uint32_t running = 0, trimming = 0;
  uint64_t copied = 0, copiedBytes = 0, failed = 0;
  kj::String stuckBecause;

  struct Second {
    int64_t number = 0;
    uint64_t bytes = 0;
  };
  std::deque<Second> recent;  // of the last RATE_WINDOW
};

}  // namespace cairn
