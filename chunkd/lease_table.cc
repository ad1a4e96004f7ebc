// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/lease_table.h"

#include <kj/debug.h>

namespace cairn {

void LeaseTable::grant(ChunkKey chunk, kj::TimePoint until, kj::Vector<ReplicaAddress> secondaries,
                       uint32_t length) {
  auto& lease = leases[chunk.handle];
  if (lease.version != chunk.version) {
    lease.nextSerial = 1;
    lease.end = length;
  }
  lease.version = chunk.version;
  lease.until = until;
  lease.secondaries = kj::mv(secondaries);
  lease.used = false;
}

void LeaseTable::endUpTo(ChunkKey chunk) {
  auto found = leases.find(chunk.handle);
  if (found != leases.end() && found->second.version <= chunk.version) leases.erase(found);
}

kj::Maybe<Status> LeaseTable::refuse(ChunkKey chunk, kj::TimePoint now) const {
  auto found = leases.find(chunk.handle);
  if (found == leases.end()) return Status::NOT_PRIMARY;
  auto& lease = found->second;
  if (chunk.version < lease.version) return Status::STALE_VERSION;
  if (chunk.version > lease.version) return Status::NOT_PRIMARY;
  if (now >= lease.until) return Status::LEASE_EXPIRED;
  return nullptr;
}

LeaseTable::Lease& LeaseTable::at(ChunkHandle chunk) {
  auto found = leases.find(chunk);
  KJ_REQUIRE(found != leases.end(), "refuse() was not asked", chunk);
  found->second.used = true;
  return found->second;
}

kj::Vector<ChunkKey> LeaseTable::toExtend(kj::TimePoint now) const {
  kj::Vector<ChunkKey> wanted;
  for (auto& [handle, lease] : leases) {
    if (lease.used && now < lease.until && lease.until - now < LEASE_TERM / 2)
      wanted.add(ChunkKey{handle, lease.version});
  }
  return wanted;
}

void LeaseTable::extend(ChunkKey chunk, kj::TimePoint until) {
  auto found = leases.find(chunk.handle);
  if (found == leases.end() || found->second.version != chunk.version || found->second.until >= until) return;
  found->second.until = until;
  found->second.used = false;
}

void LeaseTable::dropExpired(kj::TimePoint now) {
  // A while after their end, so that a late writer hears leaseExpired and not notPrimary.
  for (auto at = leases.begin(); at != leases.end();) {
    at = now >= at->second.until + LEASE_TERM ? leases.erase(at) : ++at;
  }
}

ApplyOrder::Turn ApplyOrder::take(ChunkKey chunk, uint64_t serial) {
  auto& place = places[chunk.handle];
  if (place.version != chunk.version) place = Place{chunk.version, 1};
  if (serial != place.next) {
    place.next = 0;  // it has missed one: no serial is 0
    return Turn::OUT_OF_ORDER;
  }
  place.next++;
  return Turn::NEXT;
}

void ApplyOrder::applied(ChunkKey chunk) {
  auto found = places.find(chunk.handle);
  if (found != places.end() && found->second.version == chunk.version) found->second.applied++;
}

void ApplyOrder::made(ChunkKey chunk) {
  places.try_emplace(chunk.handle, Place{chunk.version});
}

kj::Maybe<ApplyOrder::Mark> ApplyOrder::mark(ChunkHandle chunk) const {
  auto found = places.find(chunk);
  if (found == places.end()) return nullptr;
  auto& place = found->second;
  if (place.applied + 1 != place.next) return nullptr;
  return Mark{place.version, place.applied};
}

void ApplyOrder::missed(ChunkKey chunk) {
  auto found = places.find(chunk.handle);
  if (found != places.end() && found->second.version == chunk.version) found->second.next = 0;
}

}  // namespace cairn
