// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The persistent half of the chunk table (GFS paper, sections 2.6.1 and 4.5): which chunks a file has and at
// which version.
//  - Handles are reserved in ranges, so that naming a new chunk costs no operation; a range that a crash
//  leaves
//    unused is never used.
//  - raiseVersion is committed before any chunk daemon hears of the version: after a crash the record is
//  never behind
//    a replica. confirmVersion follows when all replicas that count have it: `floor` then rules out those
//    that have not.
//  - The first raise of a chunk that is older than a restore goes beyond all versions that it may have had
//  after the
//    backup (restore.cc): a replica of one of these that turns up late is not taken for a new one.
//  - A chunk that a truncate cut (validBytes) is whole again when the replicas that count have done the
//  truncate: that of the
//    round which is confirmed. If another truncate cut deeper meanwhile, the round is void (staleVersion).
//  - A chunk is uncovered until a sync may have been answered for it. The mark is taken off by an operation
//  that is on
//    stable storage before the sync is answered, so what still has it was never promised to survive a loss
//    of power.
#include <algorithm>

#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

Outcome reserveHandles(rpc::Operation::Reader operation, Transaction& transaction) {
  auto& next = transaction.counters().nextHandle;
  Outcome outcome;
  outcome.number = next.value();
  next = ChunkHandle(next.value() + operation.getReserveHandles());
  return outcome;
}

Outcome attachChunk(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getAttachChunk();
  ChunkIndex index(request.getChunkIndex());
  ChunkHandle handle(request.getHandle());
  auto inode = transaction.liveInode(InodeId(request.getInode()));
  if (!inode.ok()) return refusal(inode.status());
  if (!inode->attributes.isRegular()) return refusal(Status::INVALID);
  if (index.value() > FILE_SIZE_MAX / CHUNK_SIZE) return refusal(Status::TOO_BIG);
  auto existing = transaction.chunkAt(inode->id(), index).handle;
  if (existing) {
    Outcome outcome = refusal(Status::EXISTS);
    outcome.chunk = existing;
    return outcome;
  }
  bool reserved = handle && handle < std::as_const(transaction).counters().nextHandle;
  if (!reserved || transaction.chunk(handle) != nullptr || transaction.isGarbage(handle)) {
    return refusal(Status::INVALID);
  }

  ChunkRecord record;
  record.version = record.floor = ChunkVersion(1);
  record.replicas = request.getReplicas() > 0 ? request.getReplicas() : inode->attributes.replicas;
  record.zeroBlocks = BLOCKS_PER_CHUNK;
  record.uncovered = request.getUncovered();
  transaction.putChunk(handle, record);
  transaction.putChunkAt(inode->id(), {index, handle});
  inode->zeroBlocks += record.zeroBlocks;
  ++transaction.counters().chunks;
  ++inode->chunks;
  inode->chunksEnd = kj::max(inode->chunksEnd, index.value() + 1);
  Outcome outcome;
  outcome.attributes = transaction.put(*inode);
  outcome.chunk = handle;
  outcome.number = record.version.value();
  return outcome;
}

namespace {

ChunkVersion raisedVersion(ChunkHandle handle, ChunkVersion version, const NamespaceState& state) {
  bool old = handle.value() < state.restoredFloor;
  return old ? std::max(version.next(), ChunkVersion(state.restoredFloor)) : version.next();
}

}  // namespace

Outcome raiseVersion(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getRaiseVersion();
  ChunkHandle handle(request.getRaised());
  auto found = transaction.chunk(handle);
  if (found == nullptr) return refusal(Status::NOT_FOUND);
  ChunkRecord record = KJ_REQUIRE_NONNULL(found);
  if (record.version.value() != request.getFrom()) return refusal(Status::STALE_VERSION);

  record.version = raisedVersion(handle, record.version, std::as_const(transaction).counters());
  if (request.getLossy()) record.lostAt = LogIndex(operation.getIndex());
  transaction.putChunk(handle, record);
  Outcome outcome;
  outcome.chunk = handle;
  outcome.number = record.version.value();
  return outcome;
}

Outcome confirmVersion(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getConfirmVersion();
  ChunkHandle handle(request.getConfirmed());
  auto found = transaction.chunk(handle);
  if (found == nullptr) return refusal(Status::NOT_FOUND);
  ChunkRecord record = KJ_REQUIRE_NONNULL(found);
  if (record.version.value() != request.getVersion()) return refusal(Status::STALE_VERSION);
  if (record.validBytes != request.getTruncated()) return refusal(Status::STALE_VERSION);

  record.floor = record.version;
  record.validBytes = ALL_BYTES_VALID;
  transaction.putChunk(handle, record);
  Outcome outcome;
  outcome.chunk = handle;
  outcome.number = record.version.value();
  return outcome;
}

Outcome coverChunks(rpc::Operation::Reader operation, Transaction& transaction) {
  for (auto covered : operation.getCoverChunks()) {
    auto found = transaction.chunk(ChunkHandle(covered));
    KJ_IF_MAYBE (record, found) {
      if (!record->uncovered) continue;
      auto marked = *record;
      marked.uncovered = false;
      transaction.putChunk(ChunkHandle(covered), marked);
    }
  }
  return Outcome();
}

}  // namespace cairn::ops
