// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/chunk_store.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>

#include <array>

#include "chunkd/live_chunk.h"
#include "env/checksum.h"
#include "env/mutation.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

alignas(64) constexpr kj::byte ZEROS[BLOCK_SIZE] = {};

bool isPureStaging(const IndexRecord& record) {
  return record.has(STAGING) && !record.has(CORRUPT);
}

constexpr uint32_t firstBlockOf(uint32_t offset) {
  return offset / BLOCK_SIZE;
}
constexpr uint32_t endBlockOf(uint32_t offset, size_t size) {
  return uint32_t((offset + size + BLOCK_SIZE - 1) / BLOCK_SIZE);
}

kj::ArrayPtr<const kj::byte> pieceOf(kj::ArrayPtr<const kj::byte> data, uint32_t offset, uint32_t block) {
  // The part of a write at `offset` that lies in `block`.
  uint64_t start = kj::max(uint64_t(offset), uint64_t(block) * BLOCK_SIZE);
  uint64_t end = kj::min(uint64_t(offset) + data.size(), uint64_t(block + 1) * BLOCK_SIZE);
  return data.slice(start - offset, end - offset);
}

bool matchChecksums(kj::ArrayPtr<const kj::byte> data, uint32_t offset,
                    kj::ArrayPtr<const uint32_t> checksums) {
  uint32_t first = firstBlockOf(offset);
  for (uint32_t i = 0; i < checksums.size(); i++) {
    if (env::crc32c(pieceOf(data, offset, first + i)) != checksums[i]) return false;
  }
  return true;
}

}  // namespace

kj::String KJ_STRINGIFY(const ChunkKey& key) {
  return kj::str("chunk ", key.handle, " v", key.version);
}

ChunkStore::ChunkStore(StoreEnvironment environment, StoreOptions optionsParam, StoreIdentity identity,
                       kj::Own<env::DiskLock> lock, kj::Own<StoreIndex> index, kj::Own<Intents> intents)
    : environment(environment),
      options(optionsParam),
      path(kj::str(optionsParam.path)),
      self(kj::mv(identity)),
      lock(kj::mv(lock)),
      index(kj::mv(index)),
      intents(kj::mv(intents)),
      tasks(*this) {
  options.path = path;
  options.boot = nullptr;  // it has gone into the identity
}

ChunkStore::~ChunkStore() noexcept(false) = default;

void ChunkStore::taskFailed(kj::Exception&& exception) {
  environment.log.error("store ", path, ": background work failed: ", exception.getDescription(),
                        " -> chunks keep their unsynced marks");
}

// -- who may

kj::Maybe<Status> ChunkStore::refuse(ChunkKey chunk, Suspects suspects) const {
  auto* record = index->find(chunk.handle);
  if (record == nullptr || record->has(DELETING)) return Status::NO_REPLICA;
  if (record->has(CORRUPT)) return Status::CORRUPT;
  if (record->has(STAGING)) return Status::NO_REPLICA;
  if (chunk.version < record->version) return Status::STALE_VERSION;
  if (chunk.version > record->version) return Status::BEHIND_VERSION;
  if (record->has(SUSPECT) && suspects == Suspects::REFUSED) return Status::REBOOTED;
  return nullptr;
}

kj::Own<ChunkStore::Live> ChunkStore::enliven(ChunkHandle handle) {
  auto found = live.find(handle);
  if (found != live.end()) {
    liveByUse.splice(liveByUse.begin(), liveByUse, found->second->use);
    return kj::addRef(*found->second);
  }
  if (live.size() >= options.liveChunks) retire();
  auto fresh = kj::refcounted<Live>(handle);
  liveByUse.push_front(handle);
  fresh->use = liveByUse.begin();
  auto reference = kj::addRef(*fresh);
  live.emplace(handle, kj::mv(fresh));
  return reference;
}

void ChunkStore::retire() {
  // The least recently used one that nobody is using; under very many at once the limit gives way.
  for (auto oldest = liveByUse.rbegin(); oldest != liveByUse.rend(); ++oldest) {
    auto found = live.find(*oldest);
    if (found->second->isShared()) continue;
    liveByUse.erase(found->second->use);
    live.erase(found);
    return;
  }
}

Status ChunkStore::failed(ChunkHandle handle, kj::StringPtr doing, env::IoOutcome outcome) {
  if (outcome.error == ENOSPC || outcome.error == EDQUOT) return Status::NO_SPACE;
  environment.log.error("chunk ", handle, ": ", doing, ": ", outcome, " -> ioError");
  return Status::IO_ERROR;
}

Status ChunkStore::noIntent(ChunkHandle handle) {
  environment.log.error(
      "chunk ", handle, ": ", INTENT_SLOTS,
      " writes of this store have failed and could not be settled -> it takes no more until "
      "chunks of them are removed, or it is started anew");
  return Status::IO_ERROR;
}

Async<Status> ChunkStore::markUnsynced(ChunkHandle handle) {
  auto* record = index->find(handle);
  if (!record->has(UNSYNCED)) {
    auto marked = *record;
    marked.set(UNSYNCED);
    auto status = index->put(handle, marked);
    if (!ok(status)) co_return status;
  }
  auto& entry = dirty[handle];
  entry.writes++;
  entry.lastWrite = environment.timer.now();
  if (entry.markDurable || record->has(FRESH))
    co_return Status::OK;  // nobody relies on a FRESH chunk's bytes yet
  auto status = co_await index->sync();
  // The caller holds blocks of the chunk, so it has not been removed, and not been cleaned: it has a write
  // begun.
  if (ok(status)) dirty[handle].markDurable = true;
  co_return status;
}

// -- write

kj::Promise<Status> ChunkStore::write(ChunkKey key, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                                      kj::ArrayPtr<const uint32_t> checksums) {
  KJ_IF_MAYBE (refusal, refuseWrite(key, offset, data, checksums)) return *refusal;
  return writeVerified(key, offset, data, checksums);
}

kj::Maybe<Status> ChunkStore::refuseWrite(ChunkKey key, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                                          kj::ArrayPtr<const uint32_t> checksums) const {
  if (!wellFormed(offset, data, checksums)) return Status::INVALID;
  KJ_IF_MAYBE (refusal, refuse(key)) return *refusal;
  if (!matchChecksums(data, offset, checksums)) return Status::BAD_CHECKSUM;
  return nullptr;
}

bool ChunkStore::wellFormed(uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                            kj::ArrayPtr<const uint32_t> checksums) {
  if (data.size() == 0 || data.size() > TRANSFER_SIZE_MAX || offset + uint64_t(data.size()) > CHUNK_SIZE) {
    return false;
  }
  return checksums.size() == endBlockOf(offset, data.size()) - firstBlockOf(offset);
}

Async<Status> ChunkStore::writeVerified(ChunkKey key, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                                        kj::ArrayPtr<const uint32_t> checksums) {
  uint32_t first = firstBlockOf(offset), end = endBlockOf(offset, data.size());
  auto chunk = enliven(key.handle);
  auto hold = chunk->locks.enter(first, end, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  // Meanwhile the chunk may have been adopted, removed or quarantined; from here on our hold keeps it.
  KJ_IF_MAYBE (refusal, refuse(key)) co_return *refusal;
  co_return co_await writeHeld(*chunk, key, offset, data, checksums);
}

Async<Status> ChunkStore::writeHeld(Live& chunk, ChunkKey key, uint32_t offset,
                                    kj::ArrayPtr<const kj::byte> data,
                                    kj::ArrayPtr<const uint32_t> checksums) {
  // The caller holds the blocks.
  if (offset + data.size() > index->find(key.handle)->length && freeBytesLeft < data.size()) {
    co_return Status::NO_SPACE;
  }
  auto marked = co_await markUnsynced(key.handle);
  if (!ok(marked)) co_return marked;
  auto opened = co_await openFiles(chunk, Want::WRITE);
  if (!ok(opened)) co_return opened;
  auto applied = co_await apply(chunk, key, offset, data, checksums);
  // Counted again: a sync that began while this was under way has not covered it.
  auto entry = dirty.find(key.handle);
  if (entry != dirty.end()) {
    entry->second.writes++;
    entry->second.lastWrite = environment.timer.now();
  }
  co_return applied;
}

Async<Status> ChunkStore::apply(Live& chunk, ChunkKey key, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                                kj::ArrayPtr<const uint32_t> checksums) {
  uint32_t first = firstBlockOf(offset), end = endBlockOf(offset, data.size());
  std::array<uint32_t, INTENT_BLOCKS_MAX> space;
  auto words = kj::arrayPtr(space.data(), end - first);
  for (uint32_t block = first; block < end; block++) {
    auto piece = pieceOf(data, offset, block);
    uint32_t& word = words[block - first];
    if (piece.size() == BLOCK_SIZE) {
      word = checksums[block - first] ^ env::ZERO_BLOCK_CRC;
      continue;
    }
    uint32_t within = uint32_t(piece.begin() - data.begin()) + offset - block * BLOCK_SIZE;
    auto merged = co_await mergeEdge(chunk, block, within, piece, checksums[block - first], word);
    if (!ok(merged)) co_return merged;
  }

  std::array<uint32_t, INTENT_BLOCKS_MAX> oldSpace;
  for (uint32_t block = first; block < end; block++) oldSpace[block - first] = chunk.word(block);
  auto before = kj::arrayPtr(oldSpace.data(), end - first);
  Intents::Intent wanted{IntentKind::WRITE, key.handle, key.version, first, 0, words, before};
  auto armed = intents->arm(wanted);
  if (armed == nullptr) armed = co_await intents->armInTurn(wanted);
  if (armed == nullptr) co_return noIntent(key.handle);
  auto& intent = KJ_ASSERT_NONNULL(armed);

  // Words first: when the disk is full, that shows while no byte has changed.
  auto outcome = co_await writeWords(chunk, first, words);
  if (!outcome.ok()) {
    size_t written = (outcome.bytes + sizeof(uint32_t) - 1) / sizeof(uint32_t);
    auto undone = co_await writeWords(chunk, first, before.slice(0, written));
    undone.ok() ? intent.clear() : intent.leave();
    co_return failed(key.handle, "writing checksums", outcome);
  }
  outcome = co_await chunk.dataFile().write(offset, data);
  if (!outcome.ok()) {
    bool torn = false;
    auto settled = co_await settle(chunk, first, words, before, torn);
    ok(settled) ? intent.clear() : intent.leave();
    co_return failed(key.handle, "writing", outcome);
  }
  intent.clear();
  for (uint32_t block = first; block < end; block++) chunk.setWord(block, words[block - first]);
  if (auto* record = index->find(key.handle)) {
    if (offset + data.size() > record->length) {
      uint64_t grown = offset + data.size() - record->length;
      freeBytesLeft -= kj::min(freeBytesLeft, grown);
      record->length = uint32_t(offset + data.size());
    }
  }
  co_return Status::OK;
}

Async<Status> ChunkStore::mergeEdge(Live& chunk, uint32_t block, uint32_t within,
                                    kj::ArrayPtr<const kj::byte> piece, uint32_t pieceSum, uint32_t& word) {
  // The word of a block of which only `piece` is written. What stays of the old bytes must match the old word
  // first: a new checksum over rotten bytes would hide them for ever.
  uint32_t length = index->find(chunk.handle)->length;
  uint32_t start = block * BLOCK_SIZE;
  uint32_t oldSize = length <= start ? 0 : kj::min(length - start, BLOCK_SIZE);
  if (within == 0 && piece.size() >= oldSize) {
    auto padding = kj::arrayPtr(ZEROS, BLOCK_SIZE - piece.size());
    word = env::crc32cExtend(pieceSum, padding) ^ env::ZERO_BLOCK_CRC;
    co_return Status::OK;
  }
  auto bytes = kj::heapArray<kj::byte>(BLOCK_SIZE);
  memset(bytes.begin(), 0, BLOCK_SIZE);
  if (oldSize > 0 && chunk.word(block) != 0) {
    auto outcome = co_await chunk.dataFile().read(start, bytes.slice(0, oldSize));
    if (!outcome.ok()) {
      co_return co_await damaged(chunk.handle, kj::str("block ", block, " cannot be read: ", outcome));
    }
    if ((env::crc32c(bytes) ^ env::ZERO_BLOCK_CRC) != chunk.word(block)) {
      co_return co_await damaged(chunk.handle, kj::str("block ", block, " does not match its checksum"));
    }
  }
  memcpy(bytes.begin() + within, piece.begin(), piece.size());
  word = env::crc32c(bytes) ^ env::ZERO_BLOCK_CRC;
  co_return Status::OK;
}

// -- read

uint32_t ChunkStore::blocksInUse(ChunkHandle handle) const {
  auto found = live.find(handle);
  return found == live.end() ? 0 : found->second->nonzeroBlocks();
}

Async<ChunkStore::ReadAnswer> ChunkStore::read(ChunkKey key, uint32_t offset, kj::ArrayPtr<kj::byte> into,
                                               kj::ArrayPtr<uint32_t> checksums, Suspects suspects) {
  return read(
      key, offset, uint32_t(into.size()), [into](uint32_t bytes) mutable { return into.slice(0, bytes); },
      checksums, suspects);
}

Async<ChunkStore::ReadAnswer> ChunkStore::read(ChunkKey key, uint32_t offset, uint32_t size, Room room,
                                               kj::ArrayPtr<uint32_t> checksums, Suspects suspects) {
  if (offset % BLOCK_SIZE != 0 || size % BLOCK_SIZE != 0 || offset + uint64_t(size) > CHUNK_SIZE ||
      checksums.size() < size / BLOCK_SIZE) {
    co_return ReadAnswer{Status::INVALID};
  }
  KJ_IF_MAYBE (refusal, refuse(key, suspects)) co_return ReadAnswer{*refusal};
  auto chunk = enliven(key.handle);
  uint32_t first = firstBlockOf(offset);
  auto hold = chunk->locks.enter(first, endBlockOf(offset, size), RangeLocks::Mode::SHARED);
  if (!hold->granted()) co_await hold->whenGranted();
  KJ_IF_MAYBE (refusal, refuse(key, suspects)) co_return ReadAnswer{*refusal};
  auto opened = co_await openFiles(*chunk, Want::READ);
  if (!ok(opened)) co_return ReadAnswer{opened};

  auto* record = index->find(key.handle);
  uint32_t there = record == nullptr || record->length <= offset ? 0 : kj::min(size, record->length - offset);
  if (there == 0) co_return ReadAnswer{Status::OK};
  auto outcome = co_await chunk->dataFile().read(offset, room(there));
  if (!outcome.ok() || outcome.bytes < there) {
    auto reason = outcome.ok() ? kj::str("its data file ends at ", offset + outcome.bytes)
                               : kj::str("bytes from ", offset, " cannot be read: ", outcome);
    co_return ReadAnswer{co_await damaged(key.handle, kj::mv(reason))};
  }
  for (uint32_t block = first; block < endBlockOf(offset, there); block++) {
    checksums[block - first] = chunk->word(block) ^ env::ZERO_BLOCK_CRC;
  }
  co_return ReadAnswer{Status::OK, there};
}

Async<ChunkStore::VerifyAnswer> ChunkStore::verify(ChunkKey key) {
  VerifyAnswer answer{Status::OK, {}};
  auto buffer = kj::heapArray<kj::byte>(TRANSFER_SIZE_MAX);
  auto sums = kj::heapArray<uint32_t>(TRANSFER_SIZE_MAX / BLOCK_SIZE);
  for (uint32_t offset = 0; offset < CHUNK_SIZE; offset += TRANSFER_SIZE_MAX) {
    auto got = co_await read(key, offset, buffer, sums, Suspects::ALLOWED);
    answer.status = got.status;
    if (!ok(got.status) || got.bytes == 0) break;
    for (uint32_t at = 0; at < got.bytes; at += BLOCK_SIZE) {
      auto block = buffer.slice(at, kj::min(at + BLOCK_SIZE, got.bytes));
      if (env::blockChecksum(block) != sums[at / BLOCK_SIZE]) answer.badBlocks.add(firstBlockOf(offset + at));
    }
  }
  if (answer.badBlocks.size() > 0) {
    answer.status = co_await damaged(
        key.handle, kj::str(answer.badBlocks.size(), " blocks do not match their checksums, the first is ",
                            answer.badBlocks[0]));
  }
  co_return kj::mv(answer);
}

Async<ChunkStore::TableAnswer> ChunkStore::checksums(ChunkKey key, Suspects suspects) {
  KJ_IF_MAYBE (refusal, refuse(key, suspects)) co_return TableAnswer{*refusal};
  auto chunk = enliven(key.handle);
  auto hold = chunk->locks.enter(0, BLOCKS_PER_CHUNK, RangeLocks::Mode::SHARED);
  if (!hold->granted()) co_await hold->whenGranted();
  KJ_IF_MAYBE (refusal, refuse(key, suspects)) co_return TableAnswer{*refusal};
  auto opened = co_await openFiles(*chunk, Want::READ);
  if (!ok(opened)) co_return TableAnswer{opened};
  uint32_t length = index->find(key.handle)->length;
  auto sums = kj::heapArray<uint32_t>(env::blocksOf(length));
  for (uint32_t block = 0; block < sums.size(); block++)
    sums[block] = chunk->word(block) ^ env::ZERO_BLOCK_CRC;
  co_return TableAnswer{Status::OK, length, kj::mv(sums)};
}

// -- sync

Async<Status> ChunkStore::sync(ChunkKey key, Suspects suspects) {
  KJ_IF_MAYBE (refusal, refuse(key, suspects)) co_return *refusal;
  auto chunk = enliven(key.handle);
  // Does not wait for writes nor hold them up; but the files must stay open until the disk has answered.
  auto hold = chunk->locks.enter(BLOCKS_PER_CHUNK, BLOCKS_PER_CHUNK + 1, RangeLocks::Mode::SHARED);
  if (!hold->granted()) co_await hold->whenGranted();
  auto opened = co_await openFiles(*chunk, Want::READ);
  if (!ok(opened)) co_return opened;
  KJ_IF_MAYBE (refusal, refuse(key, suspects)) co_return *refusal;

  auto* record = index->find(key.handle);
  bool fresh = record->has(FRESH);
  auto entry = dirty.find(key.handle);
  uint64_t covered = entry == dirty.end() ? 0 : entry->second.writes;
  bool bytesToSync = chunk->open() && entry != dirty.end() && (fresh || entry->second.writesSynced < covered);

  // All at once: the disk merges them into few journal commits.
  auto indexSync = index->sync();
  if (bytesToSync) {
    auto dataSync = chunk->dataFile().sync();
    auto sumSync = chunk->sumFile().sync();
    auto nameSync = fresh ? environment.disk.syncDirectory(chunkDirectory(key.handle))
                          : kj::Promise<env::IoOutcome>(env::IoOutcome{});
    auto data = co_await dataSync;
    auto sums = co_await sumSync;
    auto names = co_await nameSync;
    if (!data.ok() || !sums.ok() || !names.ok()) {
      auto& bad = !data.ok() ? data : !sums.ok() ? sums : names;
      co_await quarantine(key.handle, kj::str("syncing failed, unsynced writes may be lost: ", bad));
      co_return Status::IO_ERROR;
    }
  }
  auto synced = co_await indexSync;
  if (!ok(synced)) co_return synced;

  // It may have been removed or made anew meanwhile, but not under the same version.
  record = index->find(key.handle);
  if (record == nullptr || record->version != key.version || record->has(CORRUPT)) co_return Status::OK;
  entry = dirty.find(key.handle);
  if (entry != dirty.end() && bytesToSync) {
    entry->second.writesSynced = kj::max(entry->second.writesSynced, covered);
  }
  if (fresh && bytesToSync) {
    auto known = *record;
    known.clear(FRESH);
    known.clear(CREATED);                      // of no more use: no file may be missing from now on
    auto put = index->put(key.handle, known);  // may come late: FRESH only allows files to be missing
    if (!ok(put)) co_return put;
  }
  co_return Status::OK;
}

// -- versions

Async<ChunkStore::AdoptAnswer> ChunkStore::adopt(Adoption adoption) {
  auto handle = adoption.handle;
  if (!handle || !adoption.version || adoption.from >= adoption.version)
    co_return AdoptAnswer{Status::INVALID};
  auto chunk = enliven(handle);
  // Waits for the writes under the old version, and makes later ones look at the new.
  uint32_t end =
      adoption.from ? BLOCKS_PER_CHUNK : BLOCKS_PER_CHUNK + 1;  // making it anew closes files: no sync either
  auto hold = chunk->locks.enter(0, end, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();

  auto* record = index->find(handle);
  if (record != nullptr && record->has(CORRUPT)) co_return AdoptAnswer{Status::CORRUPT};
  if (record != nullptr && record->has(STAGING)) co_return AdoptAnswer{Status::NO_REPLICA};
  if (record != nullptr && record->version > adoption.version)
    co_return AdoptAnswer{Status::STALE_VERSION, record->length};
  if (record != nullptr && record->version == adoption.version) {
    auto length = record->length;
    auto synced = Status::OK;
    if (adoption.from) synced = co_await index->sync();
    co_return AdoptAnswer{synced, length};
  }
  if (!adoption.from) {
    if (record != nullptr) {
      auto removed = co_await removeFiles(handle, record->version);  // garbage of an older version
      if (!ok(removed)) co_return AdoptAnswer{removed};
      chunk->data = nullptr;
      chunk->sums = nullptr;
      chunk->words.clear();
    }
    if (freeBytesLeft == 0) co_return AdoptAnswer{Status::NO_SPACE};
    auto status = index->put(handle, IndexRecord{adoption.version, 0, UNSYNCED | FRESH});
    if (ok(status)) dirty[handle] = Dirty{0, 0, false, environment.timer.now()};
    co_return AdoptAnswer{status};
  }
  if (record == nullptr || record->has(DELETING)) co_return AdoptAnswer{Status::NO_REPLICA};
  if (record->version < adoption.from) co_return AdoptAnswer{Status::BEHIND_VERSION, record->length};

  auto opened = co_await openFiles(*chunk, Want::READ);
  if (!ok(opened)) co_return AdoptAnswer{opened};
  // The mark goes with the version in one sync, so that the first write under it need not wait again.
  auto marked = *index->find(handle);
  marked.set(UNSYNCED);
  auto put = index->put(handle, marked);
  if (!ok(put)) co_return AdoptAnswer{put};
  auto& entry = dirty[handle];
  entry.writes++;
  entry.lastWrite = environment.timer.now();
  bool hasCut = false;
  KJ_IF_MAYBE (length, adoption.truncate) {
    if (*length < marked.length) {
      auto synced = co_await index->sync();
      if (!ok(synced)) co_return AdoptAnswer{synced};
      auto done = co_await cut(*chunk, marked.version, *length);
      if (!ok(done)) co_return AdoptAnswer{done};
      marked.length = *length;
      hasCut = true;
    }
  }
  marked.version = adoption.version;
  if (isMutant(Mutant::SKIP_RECONCILE)) marked.clear(SUSPECT);
  put = index->put(handle, marked);
  if (!ok(put)) co_return AdoptAnswer{put};
  if (chunk->open()) {
    kj::byte header[SUM_HEADER_BYTES];
    encodeSumHeader({self.cluster, handle, adoption.version}, header);
    auto outcome = co_await chunk->sumFile().write(0, kj::arrayPtr(header, sizeof(header)));
    if (!outcome.ok()) co_return AdoptAnswer{failed(handle, "writing the version", outcome)};
  }
  if (hasCut) {
    auto done = co_await syncCut(*chunk);
    if (!ok(done)) co_return AdoptAnswer{done};
  }
  auto synced = co_await index->sync();
  auto state = dirty.find(handle);
  if (state != dirty.end()) {
    state->second.writes++;
    state->second.markDurable = state->second.markDurable || ok(synced);
  }
  co_return AdoptAnswer{synced, marked.length};
}

Async<Status> ChunkStore::cut(Live& chunk, ChunkVersion version, uint32_t length) {
  // The caller holds the whole chunk, and the mark is set.
  uint32_t block = firstBlockOf(length), rest = length % BLOCK_SIZE;
  uint32_t word = 0;
  if (!chunk.open()) co_return Status::OK;
  if (rest > 0) {
    auto bytes = kj::heapArray<kj::byte>(BLOCK_SIZE);
    memset(bytes.begin(), 0, BLOCK_SIZE);
    auto outcome = co_await chunk.dataFile().read(uint64_t(block) * BLOCK_SIZE, bytes);
    if (!outcome.ok() || (env::crc32c(bytes) ^ env::ZERO_BLOCK_CRC) != chunk.word(block)) {
      co_return co_await damaged(chunk.handle, kj::str("block ", block, " does not match its checksum"));
    }
    memset(bytes.begin() + rest, 0, BLOCK_SIZE - rest);
    word = env::crc32c(bytes) ^ env::ZERO_BLOCK_CRC;
  }
  auto words = kj::arrayPtr(&word, rest > 0 ? 1 : 0);
  auto armed =
      co_await intents->armInTurn({IntentKind::TRUNCATE, chunk.handle, version, block, length, words, words});
  if (armed == nullptr) co_return noIntent(chunk.handle);
  auto& intent = KJ_ASSERT_NONNULL(armed);
  auto outcome = co_await chunk.dataFile().truncate(length);
  if (outcome.ok()) outcome = co_await chunk.sumFile().truncate(sumOffset(block));
  if (outcome.ok()) outcome = co_await writeWords(chunk, block, words);
  if (!outcome.ok()) {
    intent.leave();
    co_await quarantine(chunk.handle, kj::str("truncating it failed: ", outcome));
    co_return Status::IO_ERROR;
  }
  intent.clear();
  if (auto* record = index->find(chunk.handle)) record->length = length;
  chunk.words.resize(kj::min(chunk.words.size(), size_t(block)));
  if (rest > 0) chunk.setWord(block, word);
  co_return Status::OK;
}

Async<Status> ChunkStore::syncCut(Live& chunk) {
  // The metaserver forgets the truncate once we have adopted: what was cut off must not come back with the
  // power.
  if (!chunk.open()) co_return Status::OK;
  auto dataSync = chunk.dataFile().sync();
  auto sumSync = chunk.sumFile().sync();
  auto data = co_await dataSync;
  auto sums = co_await sumSync;
  if (data.ok() && sums.ok()) co_return Status::OK;
  co_await quarantine(chunk.handle,
                      kj::str("syncing a truncate failed, writes may be lost: ", data.ok() ? sums : data));
  co_return Status::IO_ERROR;
}

Async<Status> ChunkStore::remove(ChunkKey key) {
  auto chunk = enliven(key.handle);
  auto hold = chunk->locks.enter(0, BLOCKS_PER_CHUNK + 1, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  auto* record = index->find(key.handle);
  if (record == nullptr) co_return Status::OK;
  if (record->version > key.version && !isMutant(Mutant::DELETE_BY_HANDLE)) co_return Status::OK;
  auto status = co_await removeFiles(key.handle, record->version);
  if (!ok(status)) co_return status;
  chunk->data = nullptr;
  chunk->sums = nullptr;
  chunk->words.clear();
  stagings.erase(key.handle);
  co_return index->remove(key.handle);
}

// -- what there is

void ChunkStore::markChecked(ChunkHandle handle, CheckTime when) {
  auto* record = index->find(handle);
  if (record == nullptr || record->has(DELETING) || record->has(CORRUPT) || record->has(STAGING)) return;
  auto checked = *record;
  checked.checked = when;
  (void)index->put(handle, checked);  // lost, it is checked earlier than it need be
}

kj::Maybe<ChunkState> ChunkStore::describe(ChunkHandle handle) const {
  auto* record = index->find(handle);
  if (record == nullptr || record->has(DELETING) || isPureStaging(*record)) return nullptr;
  return ChunkState{handle, record->version, record->length, record->flags, record->checked};
}

kj::Vector<ChunkState> ChunkStore::list(ChunkHandle after, size_t limit) const {
  kj::Vector<ChunkState> states;
  auto& table = index->table();
  for (auto at = table.upper_bound(after); at != table.end() && states.size() < limit; ++at) {
    if (at->second.has(DELETING) || isPureStaging(at->second)) continue;
    states.add(
        ChunkState{at->first, at->second.version, at->second.length, at->second.flags, at->second.checked});
  }
  return states;
}

kj::Vector<ChunkHandle> ChunkStore::takeQuarantined() {
  auto taken = kj::mv(quarantined);
  quarantined = kj::Vector<ChunkHandle>();
  return taken;
}

ChunkStore::Space ChunkStore::space() {
  auto found = environment.disk.space();
  if (found.error != 0) {
    environment.log.warning("store ", path, ": free space is not known: ", env::describeError(found.error),
                            " -> taken as none");
    freeBytesLeft = 0;
    return {};
  }
  freeBytesLeft = found.freeBytes > options.reserveBytes ? found.freeBytes - options.reserveBytes : 0;
  return {found.totalBytes, freeBytesLeft};
}

void ChunkStore::checkInvariants() const {
  for (auto& entry : dirty) {
    auto* record = index->find(entry.first);
    KJ_ASSERT(record != nullptr && record->has(UNSYNCED), "dirty without its mark", entry.first);
    KJ_ASSERT(entry.second.writesSynced <= entry.second.writes);
  }
  for (auto& entry : live) {
    KJ_ASSERT((entry.second->data == nullptr) == (entry.second->sums == nullptr));
    auto* record = index->find(entry.first);
    if (record == nullptr || !entry.second->open()) continue;
    KJ_ASSERT(entry.second->words.size() <= BLOCKS_PER_CHUNK);
  }
}

}  // namespace cairn
