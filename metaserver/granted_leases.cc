// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See granted_leases.h.
#include "metaserver/granted_leases.h"

#include <kj/debug.h>

#include <algorithm>

namespace cairn {

bool Lease::isMember(ServerId server) const {
  return std::find(members.begin(), members.end(), server) != members.end();
}

void GrantedLeases::ordered(ChunkHandle chunk, ChunkVersion version, kj::ArrayPtr<const ServerId> members,
                            kj::TimePoint sent) {
  KJ_REQUIRE(members.size() > 0, "a lease needs a primary", chunk);
  auto& entry = leases[chunk];
  KJ_REQUIRE(entry.version < version, "a lease is granted under a version of its own", chunk, entry.version,
             version);
  entry = Entry();
  entry.version = version;
  entry.primary = members[0];
  entry.members.addAll(members);
  entry.usable = sent + LEASE_TERM - CLOCK_ERROR_MAX;
}

void GrantedLeases::confirmed(ChunkHandle chunk, ChunkVersion version, kj::TimePoint answered) {
  auto found = leases.find(chunk);
  if (found == leases.end() || found->second.version != version) return;
  if (found->second.state == Entry::State::ORDERED) found->second.state = Entry::State::HELD;
  found->second.believed = answered + LEASE_TERM + CLOCK_ERROR_MAX;
}

kj::Maybe<const Lease&> GrantedLeases::usable(ChunkHandle chunk, kj::TimePoint now) const {
  auto found = leases.find(chunk);
  if (found == leases.end()) return nullptr;
  auto& entry = found->second;
  if (entry.state != Entry::State::HELD || entry.usable <= now) return nullptr;
  return entry;
}

bool GrantedLeases::extend(ChunkHandle chunk, ChunkVersion version, ServerId primary,
                           kj::TimePoint received) {
  auto found = leases.find(chunk);
  if (found == leases.end()) return false;
  auto& entry = found->second;
  if (entry.state != Entry::State::HELD || entry.version != version || entry.primary != primary) return false;
  entry.usable = received + LEASE_TERM - CLOCK_ERROR_MAX;
  entry.believed = received + LEASE_TERM + CLOCK_ERROR_MAX;
  return true;
}

void GrantedLeases::recall(ChunkHandle chunk) {
  auto found = leases.find(chunk);
  if (found != leases.end()) found->second.state = Entry::State::RECALLED;
}

void GrantedLeases::ended(ChunkHandle chunk, ChunkVersion version) {
  auto found = leases.find(chunk);
  if (found != leases.end() && found->second.version <= version) leases.erase(found);
}

kj::Vector<ChunkHandle> GrantedLeases::processEnded(ServerId server) {
  kj::Vector<ChunkHandle> ended;
  for (auto it = leases.begin(); it != leases.end();) {
    bool member = it->second.isMember(server);
    if (member) ended.add(it->first);
    if (it->second.primary == server) {
      it = leases.erase(it);
      continue;
    }
    if (member) it->second.state = Entry::State::RECALLED;
    ++it;
  }
  return ended;
}

kj::Vector<GrantedLeases::Expired> GrantedLeases::expire(kj::TimePoint now) {
  kj::Vector<Expired> over;
  for (auto it = leases.begin(); it != leases.end();) {
    bool ended = false;
    KJ_IF_MAYBE (believed, it->second.believed) ended = *believed <= now;
    if (ended) {
      over.add(Expired{it->first, it->second.primary});
      it = leases.erase(it);
    } else {
      ++it;
    }
  }
  return over;
}

GrantedLeases::ReplaceAnswer GrantedLeases::mayReplace(ChunkHandle chunk,
                                                       kj::ArrayPtr<const ServerId> adopted,
                                                       kj::TimePoint now) const {
  auto found = leases.find(chunk);
  if (found == leases.end()) return {Replace::NOW, now};
  auto& lease = found->second;
  for (auto server : adopted) {
    if (lease.isMember(server)) return {Replace::NOW, now};
  }
  KJ_IF_MAYBE (believed, lease.believed) {
    if (*believed <= now) return {Replace::NOW, now};
    return {Replace::WAIT, *believed};
  }
  return {Replace::NEVER_KNOWN, now};
}

kj::Maybe<const Lease&> GrantedLeases::find(ChunkHandle chunk) const {
  auto found = leases.find(chunk);
  if (found == leases.end()) return nullptr;
  return found->second;
}

void GrantedLeases::checkInvariants() const {
  for (auto& [chunk, lease] : leases) {
    KJ_ASSERT(lease.members.size() > 0 && lease.members[0] == lease.primary, chunk);
    KJ_ASSERT(bool(lease.version), chunk);
    KJ_IF_MAYBE (believed, lease.believed) {
      KJ_ASSERT(lease.usable < *believed, "a client must never trust a lease longer than its holder", chunk);
    } else {
      KJ_ASSERT(lease.state != Entry::State::HELD, chunk);
    }
  }
}

}  // namespace cairn
