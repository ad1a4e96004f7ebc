// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkStore that takes a copy of a chunk from another store: a staging, which is nobody's
// replica until commitStaged() has put all of it on stable storage under a version. INVARIANTS: a replica
// that is used up for a staging carries the STAGING mark, on stable storage, before its first byte changes; a
// staging serves nothing, is reported to nobody and survives no start, so that a crash at any point leaves
// either what was there before it began to change, or nothing, or the whole copy. What was quarantined under
// the same handle stays in quarantine until the commit.
#include <errno.h>
#include <kj/debug.h>

#include "chunkd/chunk_store.h"
#include "chunkd/live_chunk.h"
#include "env/checksum.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration STAGING_PATIENCE = 2 * kj::MINUTES;  // rpc/chunkd.capnp says so

}  // namespace

kj::Maybe<Status> ChunkStore::refuseStaging(ChunkHandle handle, ChunkVersion wanted,
                                            ChunkVersion replace) const {
  auto* record = index->find(handle);
  if (record == nullptr || record->has(STAGING)) return nullptr;
  if (record->has(DELETING)) return Status::BUSY;
  if (record->version > wanted) return Status::STALE_VERSION;
  if (record->has(CORRUPT) || record->version <= replace) return nullptr;
  return record->version == wanted ? Status::OK : Status::EXISTS;
}

Async<Status> ChunkStore::stage(ChunkHandle handle, ChunkVersion wanted, ChunkVersion replace) {
  if (!handle || !wanted) co_return Status::INVALID;
  KJ_IF_MAYBE (refusal, refuseStaging(handle, wanted, replace)) co_return *refusal;
  auto* record = index->find(handle);
  if (record != nullptr && !record->has(STAGING) && !record->has(CORRUPT)) {
    // Only blocks whose bytes are what their checksums say are worth keeping: one that is not would be kept
    // for good. A replica with such a block is quarantined by this, and the copy begins with nothing.
    co_await verify({handle, record->version});
  }
  auto chunk = enliven(handle);
  auto hold = chunk->locks.enter(0, BLOCKS_PER_CHUNK + 1, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  KJ_IF_MAYBE (refusal, refuseStaging(handle, wanted, replace)) co_return *refusal;
  stagings[handle].touched = environment.timer.now();
  record = index->find(handle);
  if (record != nullptr && record->has(STAGING)) co_return Status::OK;

  IndexRecord staging;
  if (record != nullptr && !record->has(CORRUPT)) {
    staging = *record;
    staging.set(STAGING);
    staging.set(UNSYNCED);
    staging.clear(SUSPECT);
  } else {
    // What is in the way: of a corrupt replica that could not be moved to quarantine, or of a copy whose
    // record a power cut took back.
    for (auto& file : {dataPath(handle), sumPath(handle)}) {
      auto outcome = co_await environment.disk.remove(file);
      if (!outcome.ok() && outcome.error != ENOENT)
        co_return failed(handle, "making room for a copy", outcome);
    }
    intents->forget(handle);
    chunk->data = nullptr;
    chunk->sums = nullptr;
    chunk->words.clear();
    staging.flags = STAGING | UNSYNCED | FRESH;
    if (record != nullptr) {
      staging.version = record->version;  // in quarantine under that name
      staging.set(CORRUPT);
    }
  }
  bool keepsBytes = !staging.has(FRESH);
  auto status = index->put(handle, staging);
  if (ok(status) && keepsBytes) status = co_await index->sync();
  if (!ok(status)) co_return status;
  auto& entry = dirty[handle];
  entry.lastWrite = environment.timer.now();
  entry.markDurable = entry.markDurable || keepsBytes;
  co_return Status::OK;
}

kj::Maybe<ChunkStore::Staging&> ChunkStore::staging(ChunkHandle handle) {
  auto* record = index->find(handle);
  auto found = stagings.find(handle);
  if (record == nullptr || !record->has(STAGING) || found == stagings.end()) return nullptr;
  found->second.touched = environment.timer.now();
  return found->second;
}

Async<ChunkStore::TableAnswer> ChunkStore::stagedTable(ChunkHandle handle) {
  if (staging(handle) == nullptr) co_return TableAnswer{Status::NO_REPLICA};
  auto chunk = enliven(handle);
  auto hold = chunk->locks.enter(0, BLOCKS_PER_CHUNK, RangeLocks::Mode::SHARED);
  if (!hold->granted()) co_await hold->whenGranted();
  if (staging(handle) == nullptr) co_return TableAnswer{Status::NO_REPLICA};
  auto opened = co_await openFiles(*chunk, Want::READ);
  if (!ok(opened)) co_return TableAnswer{opened};
  uint32_t length = index->find(handle)->length;
  auto sums = kj::heapArray<uint32_t>(env::blocksOf(length));
  for (uint32_t block = 0; block < sums.size(); block++) {
    sums[block] = chunk->word(block) ^ env::ZERO_BLOCK_CRC;
  }
  co_return TableAnswer{Status::OK, length, kj::mv(sums)};
}

Async<Status> ChunkStore::writeStaged(ChunkHandle handle, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                                      kj::ArrayPtr<const uint32_t> checksums) {
  if (staging(handle) == nullptr) co_return Status::NO_REPLICA;
  if (!wellFormed(offset, data, checksums)) co_return Status::INVALID;
  auto chunk = enliven(handle);
  uint32_t first = offset / BLOCK_SIZE, end = first + uint32_t(checksums.size());
  auto hold = chunk->locks.enter(first, end, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  if (staging(handle) == nullptr) co_return Status::NO_REPLICA;
  co_return co_await writeHeld(*chunk, {handle, index->find(handle)->version}, offset, data, checksums);
}

Async<Status> ChunkStore::cutStaged(ChunkHandle handle, uint32_t length) {
  auto chunk = enliven(handle);
  auto hold = chunk->locks.enter(0, BLOCKS_PER_CHUNK + 1, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  if (staging(handle) == nullptr) co_return Status::NO_REPLICA;
  if (index->find(handle)->length <= length) co_return Status::OK;
  auto opened = co_await openFiles(*chunk, Want::READ);
  if (!ok(opened)) co_return opened;
  auto done = co_await cut(*chunk, index->find(handle)->version, length);
  if (!ok(done)) co_return done;
  index->find(handle)->length = length;
  co_return Status::OK;
}

Async<Status> ChunkStore::syncStaged(ChunkHandle handle) {
  auto chunk = enliven(handle);
  auto hold = chunk->locks.enter(BLOCKS_PER_CHUNK, BLOCKS_PER_CHUNK + 1, RangeLocks::Mode::SHARED);
  if (!hold->granted()) co_await hold->whenGranted();
  if (staging(handle) == nullptr) co_return Status::NO_REPLICA;
  if (!chunk->open()) co_return Status::OK;
  auto dataSync = chunk->dataFile().sync();
  auto sumSync = chunk->sumFile().sync();
  auto data = co_await dataSync;
  auto sums = co_await sumSync;
  if (!data.ok() || !sums.ok()) co_return failed(handle, "syncing a copy", data.ok() ? sums : data);
  co_return Status::OK;
}

Async<Status> ChunkStore::commitStaged(ChunkHandle handle, ChunkVersion version, uint32_t length,
                                       kj::ArrayPtr<const uint32_t> table) {
  if (length > CHUNK_SIZE || table.size() != env::blocksOf(length)) co_return Status::INVALID;
  auto chunk = enliven(handle);
  auto hold = chunk->locks.enter(0, BLOCKS_PER_CHUNK + 1, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  if (staging(handle) == nullptr) co_return Status::NO_REPLICA;
  auto opened = co_await openFiles(*chunk, Want::WRITE);
  if (!ok(opened)) co_return opened;
  auto before = *index->find(handle);
  if (before.length > length) co_return Status::INVALID;  // the caller cuts first
  for (uint32_t block = 0; block < table.size(); block++) {
    if ((chunk->word(block) ^ env::ZERO_BLOCK_CRC) != table[block]) co_return Status::BAD_CHECKSUM;
  }
  if (before.length < length) {
    auto outcome = co_await chunk->dataFile().truncate(length);  // a hole at the end
    if (!outcome.ok()) co_return failed(handle, "completing a copy", outcome);
    index->find(handle)->length = length;
  }
  kj::byte header[SUM_HEADER_BYTES];
  encodeSumHeader({self.cluster, handle, version}, header);
  auto outcome = co_await chunk->sumFile().write(0, kj::arrayPtr(header, sizeof(header)));
  if (!outcome.ok()) co_return failed(handle, "completing a copy", outcome);
  auto dataSync = chunk->dataFile().sync();
  auto sumSync = chunk->sumFile().sync();
  auto nameSync = environment.disk.syncDirectory(chunkDirectory(handle));
  auto data = co_await dataSync;
  auto sums = co_await sumSync;
  auto names = co_await nameSync;
  for (auto& synced : {data, sums, names}) {
    if (!synced.ok()) co_return failed(handle, "syncing a copy", synced);
  }
  // All of it is on stable storage, and nobody has been told.
  auto status = index->put(handle, IndexRecord{version, length, 0});
  if (ok(status)) status = co_await index->sync();
  dirty.erase(handle);
  stagings.erase(handle);
  if (!ok(status)) co_return status;
  if (before.has(CORRUPT)) {
    for (auto extension : {"data", "sum"}) {
      auto removed = co_await environment.disk.remove(quarantinePath(handle, before.version, extension));
      if (!removed.ok() && removed.error != ENOENT) (void)failed(handle, "emptying the quarantine", removed);
    }
  }
  environment.log.info("chunk ", handle, " v", version, ": a copy of ", length,
                       " bytes is complete -> it is a replica");
  co_return Status::OK;
}

Async<Status> ChunkStore::dropStaging(ChunkHandle handle) {
  auto chunk = enliven(handle);
  auto hold = chunk->locks.enter(0, BLOCKS_PER_CHUNK + 1, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  auto* record = index->find(handle);
  stagings.erase(handle);
  if (record == nullptr || !record->has(STAGING)) co_return Status::OK;
  chunk->data = nullptr;
  chunk->sums = nullptr;
  chunk->words.clear();
  dirty.erase(handle);
  for (auto& file : {dataPath(handle), sumPath(handle)}) {
    auto outcome = co_await environment.disk.remove(file);
    if (!outcome.ok() && outcome.error != ENOENT) co_return failed(handle, "dropping a copy", outcome);
  }
  intents->forget(handle);
  if (record->has(CORRUPT)) co_return index->put(handle, IndexRecord{record->version, 0, CORRUPT});
  co_return index->remove(handle);
}

Async<void> ChunkStore::dropIdleStagings() {
  kj::Vector<ChunkHandle> idle;
  for (auto& [handle, staging] : stagings) {
    if (environment.timer.now() - staging.touched >= STAGING_PATIENCE) idle.add(handle);
  }
  for (auto handle : idle) {
    auto status = co_await dropStaging(handle);
    environment.log.info("chunk ", handle,
                         ": nobody goes on with the copy that was begun here -> dropped: ", status);
  }
}

}  // namespace cairn
