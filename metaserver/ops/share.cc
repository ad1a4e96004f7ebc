// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// share, ownChunk: chunks that several files have (GFS paper, section 3.4; Linux copy_file_range(2)).
//  - share gives the target the source's chunks, and each of them one reference more. A chunk with more than
//    one reference is never written: the proposer has made those in `handles` stand still before, and any
//    that are not there any more when this is applied refuse it all.
//  - The last chunk may be shared in part, when nothing of the target lies behind: the target's place then
//  says
//    how many of its bytes are valid. That also hides what a writer has applied and not published.
//  - Quotas count the bytes of each file that has a chunk, and refuse (overQuota) what makes too many of
//  them.
//  - A shared chunk wants as many copies as the file that wants most.
//  - A clone is on stable storage from the beginning: it is never uncovered. What the shared chunk has lost
//  it has
//    lost as well.
//  - ownChunk ends the sharing for one place: it gets a clone, or keeps the chunk when it is the last that
//  has
//    it. The clone was made under `sharedVersion`: a chunk that was written meanwhile has a higher one.
#include <map>

#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"
#include "metaserver/ops/tree_count.h"

namespace cairn::ops {

namespace {

constexpr uint64_t SHARED_CHUNKS_MAX = 1024;  // of one operation: 64 GiB

struct Range {
  // Of chunks, in one file.
  uint64_t first = 0, count = 0;
  uint64_t end() const { return first + count; }
};

Status check(rpc::Change::Share::Reader request, const Inode& source, const Inode& target) {
  if (!source.attributes.isRegular() || !target.attributes.isRegular()) return Status::INVALID;
  auto bytes = request.getBytes();
  auto count = (bytes + CHUNK_SIZE - 1) / CHUNK_SIZE;
  constexpr uint64_t INDEX_MAX = FILE_SIZE_MAX / CHUNK_SIZE;
  if (bytes == 0 || count > SHARED_CHUNKS_MAX || request.getHandles().size() != count) return Status::INVALID;
  if (request.getFromChunk() > INDEX_MAX - count) return Status::INVALID;
  if (request.getToChunk() > INDEX_MAX - count) return Status::TOO_BIG;
  if (startOf(ChunkIndex(request.getFromChunk())).value() + bytes > source.attributes.size) {
    return Status::INVALID;
  }
  bool partly = bytes % CHUNK_SIZE > 0;
  if (partly && startOf(ChunkIndex(request.getToChunk())).value() + bytes < target.attributes.size) {
    return Status::INVALID;
  }
  Range from{request.getFromChunk(), count}, to{request.getToChunk(), count};
  bool overlap = from.first < to.end() && to.first < from.end();
  return source.id() == target.id() && overlap ? Status::INVALID : Status::OK;
}

using Places = std::map<uint64_t, ChunkReference>;

Places placesIn(InodeId inode, Range range, Transaction& transaction) {
  Places places;
  for (auto& reference : transaction.chunksOf(inode, ChunkIndex(range.first), range.count)) {
    if (reference.index.value() < range.end()) places.emplace(reference.index.value(), reference);
  }
  return places;
}

uint64_t bytesIn(const ChunkReference& reference, Transaction& transaction) {
  auto record = KJ_REQUIRE_NONNULL(transaction.chunk(reference.handle),
                                   "a file names a chunk that has no record", reference.handle);
  return uint64_t(BLOCKS_PER_CHUNK - reference.zeroBlocksIn(record)) * BLOCK_SIZE;
}

}  // namespace

Outcome share(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getShare();
  auto source = transaction.liveInode(InodeId(request.getSource()));
  if (!source.ok()) return refusal(source.status());
  auto target = transaction.liveInode(InodeId(request.getTarget()));
  if (!target.ok()) return refusal(target.status());
  auto status = check(request, *source, *target);
  if (!ok(status)) return refusal(status);

  transaction.settle();
  auto handles = request.getHandles();
  Range from{request.getFromChunk(), handles.size()}, to{request.getToChunk(), handles.size()};
  auto sources = placesIn(source->id(), from, transaction);
  auto targets = placesIn(target->id(), to, transaction);
  for (unsigned i = 0; i < handles.size(); ++i) {
    auto found = sources.find(from.first + i);
    auto handle = found == sources.end() ? ChunkHandle() : found->second.handle;
    if (handle.value() != handles[i]) return refusal(Status::STALE_VERSION);
  }

  Usage gained, lost;
  for (auto& [index, reference] : sources) gained.bytes += bytesIn(reference, transaction);
  for (auto& [index, reference] : targets) lost.bytes += bytesIn(reference, transaction);
  gained.bytes -= kj::min(gained.bytes, lost.bytes);
  status = target->has(COUNTED) ? checkRoom(target->parent, gained, transaction) : Status::OK;
  if (!ok(status)) return refusal(status);

  transaction.counters().format = kj::max(std::as_const(transaction).counters().format, 2u);
  // New references first: a chunk that moves to where it was already is not to become garbage in between.
  kj::Vector<ChunkReference> old;
  for (auto& [index, reference] : targets) old.add(reference);
  for (auto& reference : old) {
    auto record = KJ_REQUIRE_NONNULL(transaction.chunk(reference.handle));
    countZeros(*target, reference.zeroBlocksIn(record), 0);
    --target->chunks;
    transaction.dropChunkAt(target->id(), reference.index);
  }
  auto tail = uint32_t(request.getBytes() % CHUNK_SIZE);
  for (auto& [index, reference] : sources) {
    ChunkReference copy = reference;
    copy.index = ChunkIndex(to.first + (index - from.first));
    if (tail > 0 && index + 1 == from.end()) copy.validBytes = kj::min(copy.validBytes, tail);
    addReference(*target, copy, transaction);
  }
  for (auto& reference : old) transaction.discardChunk(reference.handle);

  auto& attributes = target->attributes;
  if (attributes.extended & rpc::HAS_CAPABILITY) removeXattr(*target, CAPABILITY, transaction);
  attributes.size = kj::max(attributes.size, startOf(ChunkIndex(to.first)).value() + request.getBytes());
  attributes.mtime = attributes.ctime = transaction.now();
  attributes.dataVersion = transaction.nextDataVersion(attributes.dataVersion);
  Outcome outcome;
  outcome.attributes = transaction.put(*target);
  return outcome;
}

Outcome ownChunk(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getOwnChunk();
  ChunkHandle shared(request.getShared()), own(request.getOwn());
  auto inode = transaction.liveInode(InodeId(request.getOwner()));
  if (!inode.ok()) return refusal(inode.status());
  auto reference = transaction.chunkAt(inode->id(), ChunkIndex(request.getPlace()));
  if (!shared || reference.handle != shared) return refusal(Status::STALE_VERSION);
  auto record =
      KJ_REQUIRE_NONNULL(transaction.chunk(shared), "a file names a chunk that has no record", shared);
  if (record.version.value() != request.getSharedVersion()) return refusal(Status::STALE_VERSION);

  Outcome outcome;
  auto zeros = reference.zeroBlocksIn(record);
  if (!own) {
    if (transaction.isShared(shared, record)) return refusal(Status::STALE_VERSION);
    record.validBytes = reference.validIn(record);
    record.zeroBlocks = zeros;
    transaction.putChunk(shared, record);
    transaction.putChunkAt(inode->id(), {reference.index, shared});
    outcome.chunk = shared;
    return outcome;
  }
  bool reserved = own < std::as_const(transaction).counters().nextHandle;
  if (!reserved || transaction.chunk(own) != nullptr || transaction.isGarbage(own)) {
    return refusal(Status::INVALID);
  }
  ChunkRecord clone;
  clone.version = clone.floor = ChunkVersion(1);
  clone.replicas = inode->attributes.replicas;
  clone.zeroBlocks = zeros;
  clone.lostAt = record.lostAt;  // who wrote to the chunk before it was shared asks about the clone now
  transaction.putChunk(own, clone);
  ++transaction.counters().chunks;
  transaction.putChunkAt(inode->id(), {reference.index, own});
  transaction.discardChunk(shared);
  outcome.chunk = own;
  outcome.number = clone.version.value();
  return outcome;
}

}  // namespace cairn::ops
