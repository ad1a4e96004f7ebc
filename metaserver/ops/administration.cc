// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What an operator changes: that a store is to be emptied, and how many copies files want.
//  - drainStore: a mark with the store's id. Nothing moves by it; placement and repair look at it.
//  - setReplicas: of a directory, what is made in it from now on; of a file, itself and its chunks, as many
//  as go into one
//    operation: Outcome.number is the chunk index to go on with, 0 when all are done. A chunk that several
//    files share wants as many as the one that wants most. Times do not move: the content is the same.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

namespace {
constexpr size_t CHUNKS_PER_OPERATION = 1000;
constexpr uint8_t REPLICAS_MAX = 16;
}  // namespace

Outcome drainStore(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getDrainStore();
  transaction.settle();
  for (auto& [uuid, server] : transaction.allStores()) {
    if (server.value() != request.getDrained()) continue;
    transaction.putStore(uuid, server, request.getDraining() ? Draining::YES : Draining::NO);
    return Outcome();
  }
  return refusal(Status::NOT_FOUND);
}

Outcome setReplicas(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getSetReplicas();
  auto count = request.getCopies();
  if (count < 1 || count > REPLICAS_MAX) return refusal(Status::INVALID);
  auto inode = transaction.liveInode(InodeId(request.getSubject()));
  if (!inode.ok()) return refusal(inode.status());
  if (!inode->attributes.isRegular() && !inode->attributes.isDirectory()) return refusal(Status::INVALID);

  Outcome outcome;
  kj::Vector<ChunkReference> chunks;
  if (inode->attributes.isRegular() && inode->chunks > 0) {
    transaction.settle();
    chunks = transaction.chunksOf(inode->id(), ChunkIndex(request.getFromChunk()), CHUNKS_PER_OPERATION + 1);
  }
  for (size_t i = 0; i < chunks.size(); ++i) {
    auto& [index, handle, valid] = chunks[i];
    if (i == CHUNKS_PER_OPERATION) {
      outcome.number = index.value();
      break;
    }
    auto record =
        KJ_REQUIRE_NONNULL(transaction.chunk(handle), "a file names a chunk that has no record", handle);
    record.replicas = record.references > 1 ? kj::max(record.replicas, count) : count;
    transaction.putChunk(handle, record);
  }
  inode->attributes.replicas = count;
  outcome.attributes = transaction.put(*inode);
  return outcome;
}

}  // namespace cairn::ops
