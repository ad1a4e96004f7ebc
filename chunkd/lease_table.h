// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The leases this store holds: for which chunks it is the primary, until when, and the order of their writes.
// INVARIANT: after `until` nothing is accepted, whatever the metaserver or the network does meanwhile.
// Pure: the caller passes `now`. Used by chunk_service.cc.
#pragma once

#include <kj/time.h>
#include <kj/vector.h>

#include <unordered_map>

#include "chunkd/chunk_store.h"

namespace cairn {

struct ReplicaAddress {
  ServerId server;
  kj::String network, local, host;  // as rpc::Address

  ReplicaAddress clone() const { return {server, kj::str(network), kj::str(local), kj::str(host)}; }
};

class LeaseTable {
 public:
  struct Lease {
    ChunkVersion version;
    kj::TimePoint until = kj::origin<kj::TimePoint>();
    kj::Vector<ReplicaAddress> secondaries;  // in chain order
    uint64_t nextSerial = 1;                 // of the next write under this version
    uint32_t end = 0;                        // bytes, counting writes under way: where the next append goes
    bool used = false;                       // since it was granted or last extended
  };

  void grant(ChunkKey chunk, kj::TimePoint until, kj::Vector<ReplicaAddress> secondaries, uint32_t length);
  // Replaces a lease on the same chunk; under the same version the order goes on where it was.

  void end(ChunkHandle chunk) { leases.erase(chunk); }
  void endUpTo(ChunkKey chunk);  // if its version is not above the named one

  kj::Maybe<Status> refuse(ChunkKey chunk, kj::TimePoint now) const;
  // Why a write may not be accepted: notPrimary, leaseExpired, staleVersion.

  Lease& at(ChunkHandle chunk);  // only after refuse() has let it through in this turn

  kj::Vector<ChunkKey> toExtend(kj::TimePoint now) const;
  // Used ones of which less than half the term is left: what a heartbeat asks for.

  void extend(ChunkKey chunk, kj::TimePoint until);  // never shortens; ignored if it has ended meanwhile
  void dropExpired(kj::TimePoint now);
  size_t size() const { return leases.size(); }

 private:
  std::unordered_map<ChunkHandle, Lease> leases;
};

class ApplyOrder {
  // What a replica has taken of each chunk's order, and applied. INVARIANT: a write is taken only directly
  // after the one before it; who has missed one takes none until the version is raised. Memory of this
  // process: what an earlier one has applied is not known.
 public:
  enum class Turn { NEXT, OUT_OF_ORDER };
  Turn take(ChunkKey chunk, uint64_t serial);
  void applied(ChunkKey chunk);  // one that was taken
  void missed(ChunkKey chunk);   // one that was taken could not be applied
  void made(ChunkKey chunk);     // it is new, and empty
  void forget(ChunkHandle chunk) { places.erase(chunk); }

  struct Mark {
    ChunkVersion version;
    uint64_t serial = 0;
  };
  kj::Maybe<Mark> mark(ChunkHandle chunk) const;
  // The last write of its order that was applied, as were all before it under that version, and none is under
  // way. Null: not known.

 private:
  struct Place {
    ChunkVersion version;
    uint64_t next = 1;
    uint64_t applied = 0;
  };
  std::unordered_map<ChunkHandle, Place> places;
};

}  // namespace cairn
