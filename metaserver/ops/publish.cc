// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// publish: a client tells what it has written and all replicas have applied (POSIX write(): mtime and ctime
// move).
//  - The length only grows: two writers of one file publish in any order.
//  - mtime is when the client took the write; ctime is that too, unless it has moved beyond already: what
//  stat(2) showed
//    on the writer's mount before publishing stands after it.
//  - dataVersion rises each time: what another client has cached of the file is old.
//  - An orphan is published as any file; one that is gone, or in the trash, is notFound, which the writer of
//  an unlinked file ignores.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

namespace {

void countBlocks(Inode& inode, rpc::Change::Reader change, Transaction& transaction) {
  auto handles = change.getPublish().getChunks();
  auto blocks = change.getChunkBlocks();
  auto indexes = change.getChunkIndexes();
  for (unsigned i = 0; i < handles.size() && i < blocks.size(); ++i) {
    ChunkHandle handle(handles[i]);
    if (i < indexes.size()) {  // a client from before chunks were shared does not say
      auto reference = transaction.chunkAt(inode.id(), ChunkIndex(indexes[i]));
      if (reference.handle != handle || reference.validBytes != ALL_BYTES_VALID) continue;
    }
    auto found = transaction.chunk(handle);
    KJ_IF_MAYBE (record, found) {
      // A chunk that was dropped or shared meanwhile counts as it was.
      if (transaction.isShared(handle, *record) || blocks[i] > BLOCKS_PER_CHUNK) continue;
      auto zeros = BLOCKS_PER_CHUNK - blocks[i];
      if (zeros == record->zeroBlocks) continue;
      setZeroBlocks(inode, *record, zeros);
      transaction.putChunk(handle, *record);
    }
  }
}

}  // namespace

Outcome publish(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getPublish();
  auto found = transaction.inode(InodeId(request.getFile()));
  if (found == nullptr) return refusal(Status::NOT_FOUND);
  Inode inode = KJ_REQUIRE_NONNULL(found);
  if (inode.has(TRASHED)) return refusal(Status::NOT_FOUND);
  auto& attributes = inode.attributes;
  if (attributes.isDirectory()) return refusal(Status::IS_DIRECTORY);
  if (!attributes.isRegular()) return refusal(Status::INVALID);
  if (request.getLength() > FILE_SIZE_MAX) return refusal(Status::TOO_BIG);

  countBlocks(inode, change, transaction);
  attributes.size = kj::max(attributes.size, request.getLength());
  attributes.mtime = request.getModified() != 0 ? request.getModified() : transaction.now();
  attributes.ctime = kj::max(attributes.ctime, attributes.mtime);
  attributes.dataVersion = transaction.nextDataVersion(attributes.dataVersion);
  Outcome outcome;
  outcome.attributes = transaction.put(inode);
  return outcome;
}

}  // namespace cairn::ops
