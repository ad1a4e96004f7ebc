// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// punch: whole chunks of a file become a hole (Linux fallocate(2) PUNCH_HOLE, ZERO_RANGE; the client writes
// zeros into the parts of chunks at both ends).
//  - The length only grows, to `atLeast`; mtime and ctime move, dataVersion rises.
//  - A range of more than CHUNKS_PER_OPERATION_MAX chunks of a file that has as many is invalid: clients ask
//  in pieces.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

Outcome punch(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getPunch();
  auto inode = transaction.liveInode(InodeId(request.getHollow()));
  if (!inode.ok()) return refusal(inode.status());
  if (!inode->attributes.isRegular() || request.getFirstChunk() > request.getEndChunk()) {
    return refusal(Status::INVALID);
  }
  if (request.getAtLeast() > FILE_SIZE_MAX) return refusal(Status::TOO_BIG);
  if (request.getEndChunk() - request.getFirstChunk() > CHUNKS_PER_OPERATION_MAX &&
      inode->chunks > CHUNKS_PER_OPERATION_MAX) {
    return refusal(Status::INVALID);  // in pieces, please
  }

  kj::Vector<ChunkReference> chunks;
  if (inode->chunks > 0 && request.getFirstChunk() < request.getEndChunk()) {
    transaction.settle();
    chunks = transaction.chunksOf(inode->id(), ChunkIndex(request.getFirstChunk()), CHUNKS_PER_OPERATION_MAX);
  }
  for (auto& reference : chunks) {
    if (reference.index.value() >= request.getEndChunk()) break;
    dropChunk(*inode, reference, transaction);
  }
  auto& attributes = inode->attributes;
  if (attributes.extended & rpc::HAS_CAPABILITY) removeXattr(*inode, CAPABILITY, transaction);
  attributes.size = kj::max(attributes.size, request.getAtLeast());
  attributes.mtime = attributes.ctime = transaction.now();
  attributes.dataVersion = transaction.nextDataVersion(attributes.dataVersion);
  Outcome outcome;
  outcome.attributes = transaction.put(*inode);
  return outcome;
}

}  // namespace cairn::ops
