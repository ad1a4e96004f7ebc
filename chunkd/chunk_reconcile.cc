// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkStore that makes a replica equal to another one in place (`reconcile` in
// rpc/chunkd.capnp), and ends the suspicion of one whose machine went down. INVARIANT: a suspect is one until
// all of its bytes are what they are to be, and on stable storage. A crash in the middle leaves some blocks
// of the one content and some of the other: each has what was acknowledged (or the chunk is still a suspect),
// and the next reconcile starts over.
#include "chunkd/chunk_store.h"
#include "chunkd/live_chunk.h"
#include "rpc/coroutine.h"

namespace cairn {

Async<Status> ChunkStore::writeReconciled(ChunkKey key, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                                          kj::ArrayPtr<const uint32_t> checksums) {
  if (!wellFormed(offset, data, checksums)) co_return Status::INVALID;
  auto chunk = enliven(key.handle);
  uint32_t first = offset / BLOCK_SIZE, end = first + uint32_t(checksums.size());
  auto hold = chunk->locks.enter(first, end, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  KJ_IF_MAYBE (refusal, refuse(key, Suspects::ALLOWED)) co_return *refusal;
  co_return co_await writeHeld(*chunk, key, offset, data, checksums);
}

Async<Status> ChunkStore::resizeReconciled(ChunkKey key, uint32_t length) {
  auto chunk = enliven(key.handle);
  auto hold = chunk->locks.enter(0, BLOCKS_PER_CHUNK + 1, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  KJ_IF_MAYBE (refusal, refuse(key, Suspects::ALLOWED)) co_return *refusal;
  auto before = index->find(key.handle)->length;
  if (before == length) co_return Status::OK;
  auto marked = co_await markUnsynced(key.handle);
  if (!ok(marked)) co_return marked;
  auto opened = co_await openFiles(*chunk, Want::WRITE);
  if (!ok(opened)) co_return opened;
  if (length < before) {
    auto done = co_await cut(*chunk, key.version, length);
    if (!ok(done)) co_return done;
  } else {
    auto outcome = co_await chunk->dataFile().truncate(length);  // a hole at the end
    if (!outcome.ok()) co_return failed(key.handle, "making it as long as the others", outcome);
  }
  index->find(key.handle)->length = length;
  auto entry = dirty.find(key.handle);
  if (entry != dirty.end()) entry->second.writes++;
  co_return Status::OK;
}

Async<Status> ChunkStore::endSuspicion(ChunkKey key) {
  auto synced = co_await sync(key, Suspects::ALLOWED);
  if (!ok(synced)) co_return synced;
  KJ_IF_MAYBE (refusal, refuse(key, Suspects::ALLOWED)) co_return *refusal;
  auto known = *index->find(key.handle);
  if (!known.has(SUSPECT)) co_return Status::OK;
  known.clear(SUSPECT);
  auto put = index->put(key.handle, known);
  if (!ok(put)) co_return put;
  co_return co_await index->sync();
}

}  // namespace cairn
