// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Copies of chunks from other stores, as the metaserver orders them (`copy` and `reconcile` in
// rpc/chunkd.capnp): compares the source's table of checksums with that of our staging or replica, reads what
// differs, a few reads at a time, verifies each block and writes it, and at the end, if told so, commits.
// INVARIANT: only bytes that match the source's checksums are written, and only a staging that matches its
// whole table is committed, only a replica that does is reconciled. Used by
// chunk_service.cc.
#pragma once

#include <kj/async.h>

#include <memory>
#include <set>
#include <unordered_map>

#include "chunkd/lease_table.h"
#include "env/log.h"
#include "rpc/chunkd.capnp.h"
#include "rpc/coroutine.h"
#include "rpc/peer.h"

namespace cairn {

struct CopyOrder {
  ChunkKey chunk;
  kj::Vector<ReplicaAddress> sources;  // nearest first
  ChunkVersion replace;                // a replica of ours up to this version may be used up
  uint64_t limit = UINT64_MAX;         // bytes
  enum class End { OPEN, COMMIT } end = End::OPEN;
};

struct CopyAnswer {
  Status status = Status::OK;
  uint64_t copied = 0;  // bytes
  uint64_t left = 0;    // bytes that differ still
  uint32_t length = 0;
  kj::Vector<ServerId> bad;  // sources whose bytes do not match their checksums
};

class ChunkCopier {
 public:
  ChunkCopier(ChunkStore& store, PeerEnvironment& environment, const env::Logger& log)
      : store(store), environment(environment), log(log) {}
  KJ_DISALLOW_COPY(ChunkCopier);

  Async<CopyAnswer> copy(CopyOrder order);
  Async<CopyAnswer> reconcile(ChunkKey chunk, kj::Vector<ReplicaAddress> sources);

 private:
  using Source = Peer<rpc::ChunkServer>;
  struct Table {
    uint32_t length = 0;
    kj::Vector<uint32_t> sums;  // one per block
  };
  struct Piece {
    uint32_t offset = 0, size = 0;  // whole blocks
  };
  struct Pull {
    // One round of reads from one source; in the frame of copyFrom().
    ChunkKey chunk;
    ServerId server;
    Source& source;
    const Table& table;
    kj::Vector<Piece> pieces;
    size_t next = 0;
    uint64_t copied = 0;
    Status status = Status::OK;  // the first failure ends all
    enum class Bytes { MAY_CHANGE, FINAL } bytes = Bytes::MAY_CHANGE;
    enum class Into { STAGING, REPLICA } into = Into::STAGING;
    uint64_t left = 0;  // bytes that differ beyond the limit
  };

  ChunkStore& store;
  PeerEnvironment& environment;
  const env::Logger& log;
  std::unordered_map<ServerId, std::unique_ptr<Source>> sources;
  std::set<ChunkHandle> underWay;

  Source& sourceAt(const ReplicaAddress& replica);
  Async<CopyAnswer> copyFrom(const CopyOrder& order, ServerId server, Source& source);
  Async<CopyAnswer> reconcileWith(ChunkKey chunk, ServerId server, Source& source);
  static void compare(Pull& pull, kj::ArrayPtr<const uint32_t> ours, uint64_t limit);
  Async<Result<Table>> tableOf(ChunkKey chunk, Source& source);
  Async<Status> pull(Pull& pull);
  Async<void> pullPieces(Pull& pull);
  Async<Status> pullPiece(Pull& pull, Piece piece);
};

}  // namespace cairn
