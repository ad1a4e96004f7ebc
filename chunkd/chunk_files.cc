// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkStore that handles a chunk's two files: opening with every check that costs no read of
// data, creating, settling blocks whose write did not end well, quarantine.
#include <errno.h>
#include <kj/debug.h>
#include <string.h>

#include "chunkd/chunk_store.h"
#include "chunkd/live_chunk.h"
#include "env/checksum.h"
#include "rpc/coroutine.h"

namespace cairn {

Async<Status> ChunkStore::openFiles(Live& chunk, Want want) {
  // On READ a FRESH chunk without files stays closed: it is empty.
  while (!chunk.open()) {
    auto* record = index->find(chunk.handle);
    if (record == nullptr) co_return Status::NO_REPLICA;
    if (record->has(CORRUPT) && !record->has(STAGING)) co_return Status::CORRUPT;
    if (want == Want::READ && record->has(FRESH) && !record->has(CREATED) && record->length == 0)
      co_return Status::OK;
    if (chunk.opening == nullptr || chunk.openingDone) {
      chunk.openingDone = false;
      chunk.opening = openFilesOnce(chunk, want).fork();
    }
    auto opened = KJ_ASSERT_NONNULL(chunk.opening).addBranch();
    auto status = co_await opened;
    if (!ok(status)) co_return status;
  }
  co_return Status::OK;
}

Async<Status> ChunkStore::openFilesOnce(Live& chunk, Want want) {
  KJ_DEFER(chunk.openingDone = true);
  auto handle = chunk.handle;
  auto data = co_await environment.disk.open(dataPath(handle), env::OpenMode::WRITE);
  auto sums = co_await environment.disk.open(sumPath(handle), env::OpenMode::WRITE);
  for (auto error : {data.error, sums.error}) {
    if (error != 0 && error != ENOENT) {
      co_return failed(handle, "opening", env::IoOutcome{0, error});
    }
  }
  auto* record = index->find(handle);
  if (record == nullptr) co_return Status::NO_REPLICA;
  if (data.error == ENOENT && record->has(FRESH) && !record->has(CREATED) && record->length == 0) {
    if (want == Want::READ) co_return Status::OK;
    co_return co_await createFiles(chunk);
  }
  if (data.error == ENOENT) co_return co_await damaged(handle, kj::str("its data file is missing"));
  if (sums.error == ENOENT) co_return co_await damaged(handle, kj::str("its checksum file is missing"));
  auto& dataFile = *KJ_ASSERT_NONNULL(data.file);
  auto& sumFile = *KJ_ASSERT_NONNULL(sums.file);
  std::vector<uint32_t> words;
  auto status = co_await loadWords(handle, dataFile, sumFile, words);
  if (!ok(status)) co_return status;
  chunk.data = kj::mv(data.file);
  chunk.sums = kj::mv(sums.file);
  chunk.words = std::move(words);
  co_return Status::OK;
}

Async<Status> ChunkStore::createFiles(Live& chunk) {
  // The checksum file first, so that a data file never stands alone. What a crash left of an earlier attempt
  // holds no bytes and is taken over.
  auto handle = chunk.handle;
  auto sums = co_await environment.disk.open(sumPath(handle), env::OpenMode::CREATE_OR_OPEN);
  KJ_IF_MAYBE (file, sums.file) {
    kj::byte header[SUM_HEADER_BYTES];
    encodeSumHeader({self.cluster, handle, index->find(handle)->version}, header);
    auto outcome = co_await file->get()->truncate(0);
    if (outcome.ok()) outcome = co_await file->get()->write(0, kj::arrayPtr(header, sizeof(header)));
    if (!outcome.ok()) co_return failed(handle, "creating its checksum file", outcome);
    auto data = co_await environment.disk.open(dataPath(handle), env::OpenMode::CREATE_OR_OPEN);
    if (data.error != 0) co_return failed(handle, "creating its data file", env::IoOutcome{0, data.error});
    // Before any byte is acknowledged: a start that finds no file then knows that there was one.
    auto* record = index->find(handle);
    if (record == nullptr) co_return Status::NO_REPLICA;
    auto created = *record;
    created.set(CREATED);
    auto status = index->put(handle, created);
    if (!ok(status)) co_return status;
    chunk.data = kj::mv(data.file);
    chunk.sums = kj::mv(*file);
    chunk.words.clear();
    co_return Status::OK;
  }
  co_return failed(handle, "creating its checksum file", env::IoOutcome{0, sums.error});
}

Async<Status> ChunkStore::loadWords(ChunkHandle handle, env::DiskFile& dataFile, env::DiskFile& sumFile,
                                    std::vector<uint32_t>& words) {
  kj::byte header[SUM_HEADER_BYTES];
  auto outcome = co_await sumFile.read(0, kj::arrayPtr(header, sizeof(header)));
  if (!outcome.ok())
    co_return co_await damaged(handle, kj::str("its checksum file cannot be read: ", outcome));
  auto decoded = decodeSumHeader(kj::arrayPtr(header, outcome.bytes));
  KJ_IF_MAYBE (found, decoded.header) {
    if (found->handle != handle || found->cluster != self.cluster) {
      co_return co_await damaged(handle, kj::str("its checksum file is that of chunk ", found->handle,
                                                 " of cluster ", found->cluster));
    }
  } else {
    co_return co_await damaged(handle, kj::str("its checksum file ", decoded.reason));
  }

  auto sumSize = co_await sumFile.size();
  auto dataSize = co_await dataFile.size();
  if (!sumSize.ok() || !dataSize.ok()) co_return failed(handle, "opening", sumSize.ok() ? dataSize : sumSize);
  auto* record = index->find(handle);
  if (record == nullptr) co_return Status::NO_REPLICA;
  if (dataSize.bytes != record->length) {
    co_return co_await damaged(
        handle, kj::str("its data file has ", dataSize.bytes, " bytes, its index says ", record->length));
  }
  uint64_t wordBytes = sumSize.bytes <= SUM_HEADER_SIZE ? 0 : sumSize.bytes - SUM_HEADER_SIZE;
  words.resize(kj::min(wordBytes / sizeof(uint32_t), BLOCKS_PER_CHUNK));
  auto bytes = kj::arrayPtr(words.data(), words.size()).asBytes();
  outcome = co_await sumFile.read(SUM_HEADER_SIZE, bytes);
  if (!outcome.ok() || outcome.bytes < bytes.size()) {
    co_return co_await damaged(handle, kj::str("its checksum file cannot be read: ", outcome));
  }
  for (size_t block = env::blocksOf(record->length); block < words.size(); block++) {
    if (words[block] == 0) continue;
    co_return co_await damaged(
        handle, kj::str("its checksum file names block ", block, ", its data file ends at ", record->length));
  }
  co_return Status::OK;
}

kj::Promise<env::IoOutcome> ChunkStore::writeWords(Live& chunk, uint32_t firstBlock,
                                                   kj::ArrayPtr<const uint32_t> words) {
  if (words.size() == 0) return env::IoOutcome{};
  return chunk.sumFile().write(sumOffset(firstBlock), words.asBytes());
}

Async<Status> ChunkStore::settle(Live& chunk, uint32_t firstBlock, kj::ArrayPtr<const uint32_t> intended,
                                 kj::ArrayPtr<const uint32_t> before, bool& torn) {
  // A write to these blocks did not end well: make each word match the bytes that are there. Bytes that match
  // neither the old word nor the intended one are a mix of the two; the write was never acknowledged, so any
  // mix is a legal outcome of it, but another replica may have another.
  auto size = co_await chunk.dataFile().size();
  if (!size.ok()) co_return failed(chunk.handle, "settling", size);
  auto words = kj::heapArray<uint32_t>(intended.size());
  auto bytes = kj::heapArray<kj::byte>(BLOCK_SIZE);
  for (uint32_t i = 0; i < words.size(); i++) {
    uint32_t block = firstBlock + i;
    memset(bytes.begin(), 0, BLOCK_SIZE);
    auto outcome = co_await chunk.dataFile().read(uint64_t(block) * BLOCK_SIZE, bytes);
    if (!outcome.ok()) co_return failed(chunk.handle, "settling", outcome);
    words[i] = env::crc32c(bytes) ^ env::ZERO_BLOCK_CRC;
    if (words[i] != intended[i] && words[i] != before[i]) torn = true;
  }
  // Beyond the end of the data the bytes are zeros, and so are the words.
  auto outcome = co_await writeWords(chunk, firstBlock, words);
  if (!outcome.ok()) co_return failed(chunk.handle, "settling", outcome);
  for (uint32_t i = 0; i < words.size(); i++) chunk.setWord(firstBlock + i, words[i]);
  if (auto* record = index->find(chunk.handle)) record->length = uint32_t(size.bytes);
  co_return Status::OK;
}

Async<Status> ChunkStore::damaged(ChunkHandle handle, kj::String reason) {
  co_await quarantine(handle, kj::mv(reason));
  co_return Status::CORRUPT;
}

Async<void> ChunkStore::quarantine(ChunkHandle handle, kj::String reason) {
  auto* record = index->find(handle);
  if (record == nullptr) co_return;
  if (record->has(STAGING)) {
    // Of a copy nobody needs the remains. Whoever takes it finds it gone and begins anew.
    environment.log.error("chunk ", handle, ": in a copy that is being taken: ", reason, " -> dropped");
    stagings.erase(handle);
    tasks.add(dropStaging(handle).ignoreResult());
    co_return;
  }
  if (record->has(CORRUPT)) co_return;
  auto version = record->version;
  environment.log.error("chunk ", handle, " v", version, ": ", reason,
                        " -> quarantined; another replica serves");
  auto marked = *record;
  marked.set(CORRUPT);
  if (ok(index->put(handle, marked))) {
    intents->forget(handle);
  } else {
    record->set(CORRUPT);  // at least while this process lives
  }
  dirty.erase(handle);
  quarantined.add(handle);
  // Operations under way end on the open files; nobody new gets in.
  auto renamed = co_await environment.disk.rename(dataPath(handle), quarantinePath(handle, version, "data"));
  auto renamedSums =
      co_await environment.disk.rename(sumPath(handle), quarantinePath(handle, version, "sum"));
  for (auto& outcome : {renamed, renamedSums}) {
    if (!outcome.ok() && outcome.error != ENOENT) {
      environment.log.warning("chunk ", handle, ": moving a file to quarantine/: ", outcome,
                              " -> it stays in place");
    }
  }
}

Async<Status> ChunkStore::removeFiles(ChunkHandle handle, ChunkVersion version) {
  // The caller holds the whole chunk. The record says DELETING before the first file goes.
  auto* record = index->find(handle);
  if (!record->has(DELETING)) {
    auto deleting = *record;
    deleting.set(DELETING);
    auto status = index->put(handle, deleting);
    if (!ok(status)) co_return status;
  }
  dirty.erase(handle);
  for (auto& file : {dataPath(handle), sumPath(handle), quarantinePath(handle, version, "data"),
                     quarantinePath(handle, version, "sum")}) {
    auto outcome = co_await environment.disk.remove(file);
    if (!outcome.ok() && outcome.error != ENOENT) co_return failed(handle, "removing its files", outcome);
  }
  intents->forget(handle);
  co_return Status::OK;
}

}  // namespace cairn
