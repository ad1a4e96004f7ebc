// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The chain: a write goes from the primary to the nearest secondary, and from each to the next, while each
// applies it itself. The payload is sent from the message it arrived in, without a copy. INVARIANT: writes of
// one chunk leave towards a hop in the order in which forward() was called. A hop that is slow but answers a
// probe is waited for; one that does not answer is dropped within 0.9 s. Used by chunk_service.cc.
#pragma once

#include <kj/async.h>

#include <memory>
#include <unordered_map>

#include "chunkd/lease_table.h"
#include "env/log.h"
#include "rpc/chunkd.capnp.h"
#include "rpc/coroutine.h"
#include "rpc/peer.h"

namespace cairn {

struct AppliedBy {
  ServerId server;
  uint64_t boot = 0;
};

struct ChainOutcome {
  kj::Vector<AppliedBy> applied;
  kj::Vector<ServerId> failed;  // known not to have applied it; those behind a failed hop are in neither list
  bool onlyForSpace = true;     // each failure was noSpace
};

struct WriteExtent {
  // One of the runs of bytes of a write.
  uint32_t offset = 0;  // from the start of the chunk
  kj::ArrayPtr<const kj::byte> data;
  kj::ArrayPtr<const uint32_t> checksums;  // one per piece of `data` cut at block boundaries of the chunk

  uint32_t end() const { return offset + uint32_t(data.size()); }
};

struct ForwardedWrite {
  ChunkKey chunk;
  uint64_t serial = 0;
  kj::ArrayPtr<const WriteExtent> extents;
  kj::ArrayPtr<const kj::byte> data;       // of all extents, one after the other
  kj::ArrayPtr<const uint32_t> checksums;  // likewise
};

class Replication {
 public:
  Replication(PeerEnvironment& environment, const env::Logger& log) : environment(environment), log(log) {}

  kj::Promise<ChainOutcome> forward(kj::ArrayPtr<const ReplicaAddress> chain, ForwardedWrite write);
  // Sends to chain[0], which takes care of the rest. `chain` is read in this call only; what the write points
  // to must stay until the promise resolves. Resolves when all have answered or failed; never fails.

 private:
  struct Hop {
    explicit Hop(kj::Own<Peer<rpc::ChunkServer>> peer) : peer(kj::mv(peer)) {}
    kj::Own<Peer<rpc::ChunkServer>> peer;
    uint32_t underWay = 0;
    uint64_t answers = 0;
    kj::Promise<void> watch = kj::READY_NOW;  // runs while something is under way
  };

  PeerEnvironment& environment;
  const env::Logger& log;
  std::unordered_map<ServerId, std::unique_ptr<Hop>> hops;

  Hop& hopTo(const ReplicaAddress& replica);
  Async<ChainOutcome> forwardTo(Hop& hop, ServerId server, kj::Array<ReplicaAddress> rest,
                                ForwardedWrite write);
  Async<void> watchHop(Hop& hop);
};

}  // namespace cairn
