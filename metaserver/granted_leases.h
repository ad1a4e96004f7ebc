// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Leases: which replica of a chunk orders its writes, and until when.
// INVARIANT: at most one holder can believe in its lease at any instant, given CLOCK_ERROR_MAX.
//
// Two ends of one lease are kept, because what we may promise and what we must fear differ:
//   usable    what a client may count on. The primary's term runs from the arrival of the order, which is not
//             before we sent it: usable until sent + LEASE_TERM - CLOCK_ERROR_MAX.
//   believed  what the primary may still believe. The order arrived before its answer did: believed until
//             answered + LEASE_TERM + CLOCK_ERROR_MAX. Without an answer the order may lie in a queue for
//             ever, so there is no such time.
//
// When may another lease be granted? A write is acknowledged only when every member of its lease has applied
// it, and `adopt` with a higher version makes a replica refuse the chain writes of lower ones, for ever. So
// from the moment ONE member has adopted a higher version, no write can complete under the old lease: its
// primary, dead, cut off or merely slow, holds a piece of paper. Only when the primary was the sole member
// (nobody else's refusal can stop it) must `believed` be waited out, unless it adopted the version itself
// (which ends its lease) or has registered again as another process (a lease lives in memory and died with
// the old one). A closed connection proves nothing. Reads need no lease: a client's location runs out by
// itself.
//
// Pure: the caller passes `now` and carries out what is answered. Called by chunk_grants.cc and
// meta_service.cc.
#pragma once

#include <kj/vector.h>

#include <unordered_map>

#include "rpc/units.h"

namespace cairn {

constexpr int64_t CLOCK_DRIFT_MAX = 4'000;  // ppm that any machine's clock may run fast or slow
static_assert(LEASE_TERM * (1'000'000 + CLOCK_DRIFT_MAX) <
              (LEASE_TERM + CLOCK_ERROR_MAX) * (1'000'000 - CLOCK_DRIFT_MAX));
// So a holder with the slowest clock is done before a granter with the fastest one gives to another: of
// chunks, and of what mounts cache, whose term is shorter.
static_assert(LEASE_CACHE_TERM < LEASE_TERM);

struct Lease {
  ChunkVersion version;
  ServerId primary;
  kj::Vector<ServerId> members;  // all replicas of the lease, the primary first
  kj::TimePoint usable = kj::origin<kj::TimePoint>();
  kj::Maybe<kj::TimePoint> believed;  // null: for ever, the order has not been answered

  bool isMember(ServerId server) const;
};

class GrantedLeases {
 public:
  void ordered(ChunkHandle chunk, ChunkVersion version, kj::ArrayPtr<const ServerId> members,
               kj::TimePoint sent);
  // The order goes out now, to members[0]. Replaces an earlier lease of the chunk: mayReplace() has allowed
  // it.

  void confirmed(ChunkHandle chunk, ChunkVersion version, kj::TimePoint answered);
  // The primary has answered that it holds the lease.

  kj::Maybe<const Lease&> usable(ChunkHandle chunk, kj::TimePoint now) const;
  // The lease that clients may be sent to: answered, and running for a while yet.

  bool extend(ChunkHandle chunk, ChunkVersion version, ServerId primary, kj::TimePoint received);
  // The primary asks to keep it. False: it has no such lease here, or a recall is under way.

  void recall(ChunkHandle chunk);
  // It is not given to clients nor extended any more. The primary may believe in it until it is over.

  void ended(ChunkHandle chunk, ChunkVersion version);
  // The primary itself has said that it no longer acts (revoked, adopted a higher version, failed).

  kj::Vector<ChunkHandle> processEnded(ServerId server);
  // The process that served this store is known to be gone: its leases died with its memory. Answers all
  // chunks of whose lease it was a member: those of other primaries are recalled, for it takes no write of
  // them any more.

  struct Expired {
    ChunkHandle chunk;
    ServerId primary;
  };
  kj::Vector<Expired> expire(kj::TimePoint now);
  // Forgets leases that nobody can believe in any more.

  enum class Replace { NOW, WAIT, NEVER_KNOWN };
  struct ReplaceAnswer {
    Replace verdict;
    kj::TimePoint until;  // with WAIT
  };
  ReplaceAnswer mayReplace(ChunkHandle chunk, kj::ArrayPtr<const ServerId> adopted, kj::TimePoint now) const;
  // May a lease under a higher version be granted, now that these replicas have adopted it?
  // NEVER_KNOWN: the sole holder has not answered its order; only its word or its new process helps.

  kj::Maybe<const Lease&> find(ChunkHandle chunk) const;
  size_t size() const { return leases.size(); }
  void checkInvariants() const;

 private:
  struct Entry : Lease {
    enum class State { ORDERED, HELD, RECALLED } state = State::ORDERED;
  };
  std::unordered_map<ChunkHandle, Entry> leases;
};

}  // namespace cairn
