// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkStore that compares its index with its files, without reading data: both files of each
// chunk are there, are those of this chunk, and the data is as long as the index says; and every file belongs
// to a chunk. For `cairn fsck`. A chunk that changes meanwhile may be told of wrongly; whoever asks asks
// twice.
#include <errno.h>
#include <kj/debug.h>

#include <charconv>

#include "chunkd/chunk_store.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t CHUNKS_MAX = 1000;  // of one call
constexpr size_t STRAYS_MAX = 1000;

kj::Maybe<ChunkHandle> handleOf(kj::StringPtr name) {
  // Of HANDLE.data and HANDLE.sum as store_format.h writes them; no other name is that of a chunk's file.
  uint64_t handle = 0;
  (void)std::from_chars(name.begin(), name.end(), handle, 16);
  for (auto& path : {dataPath(ChunkHandle(handle)), sumPath(ChunkHandle(handle))}) {
    if (path.endsWith(kj::str("/", name))) return ChunkHandle(handle);
  }
  return nullptr;
}

}  // namespace

Async<ChunkStore::FileCheck> ChunkStore::checkFiles(ChunkHandle after, uint32_t limit) {
  FileCheck check;
  limit = kj::max(1u, kj::min(limit, CHUNKS_MAX));
  auto batch = list(after, limit);
  for (auto& state : batch) {
    check.next = state.handle;
    ++check.checked;
    auto problem = co_await checkFilesOf(state.handle);
    KJ_IF_MAYBE (text, problem) check.problems.add(FileProblem{state.handle, state.version, kj::mv(*text)});
  }
  check.end = batch.size() < limit;
  if (check.end) co_await findStrays(check);
  co_return kj::mv(check);
}

Async<kj::Maybe<kj::String>> ChunkStore::checkFilesOf(ChunkHandle handle) {
  using Problem = kj::Maybe<kj::String>;
  auto data = co_await environment.disk.open(dataPath(handle), env::OpenMode::READ);
  auto sums = co_await environment.disk.open(sumPath(handle), env::OpenMode::READ);
  uint64_t bytes = 0;
  KJ_IF_MAYBE (file, data.file) bytes = (co_await (*file)->size()).bytes;
  kj::byte header[SUM_HEADER_BYTES];
  size_t headerBytes = 0;
  KJ_IF_MAYBE (file, sums.file)
    headerBytes = (co_await (*file)->read(0, kj::arrayPtr(header, sizeof(header)))).bytes;

  auto* record = index->find(handle);  // as it is now, behind all of the looks
  if (record == nullptr || record->has(CORRUPT) || record->has(DELETING) || record->has(STAGING))
    co_return nullptr;
  bool unmade = record->has(FRESH) && !record->has(CREATED) && record->length == 0;
  if (unmade) co_return nullptr;
  if (data.error == ENOENT) co_return Problem(kj::str("its data file is missing"));
  if (sums.error == ENOENT) co_return Problem(kj::str("its checksum file is missing"));
  for (auto error : {data.error, sums.error}) {
    if (error != 0) co_return Problem(kj::str("a file cannot be opened: ", env::describeError(error)));
  }
  auto decoded = decodeSumHeader(kj::arrayPtr(header, headerBytes));
  KJ_IF_MAYBE (found, decoded.header) {
    if (found->handle != handle)
      co_return Problem(kj::str("its checksum file is that of chunk ", found->handle));
    if (found->cluster != self.cluster)
      co_return Problem(kj::str("its checksum file is of cluster ", found->cluster));
  } else {
    co_return Problem(kj::str("its checksum file ", decoded.reason));
  }
  if (!record->has(UNSYNCED) && bytes != record->length) {
    co_return Problem(kj::str("its data file has ", bytes, " bytes, the index says ", record->length));
  }
  co_return nullptr;
}

Async<void> ChunkStore::findStrays(FileCheck& check) {
  constexpr const char* DIGITS = "0123456789abcdef";
  for (unsigned i = 0; i < 256; ++i) {
    auto directory = kj::str("chunks/", DIGITS[i / 16], DIGITS[i % 16]);
    auto listing = co_await environment.disk.list(directory);
    for (auto& name : listing.names) {
      if (check.problems.size() >= STRAYS_MAX) co_return;
      auto handle = handleOf(name);
      bool known = handle.map([&](ChunkHandle it) { return index->find(it) != nullptr; }).orDefault(false);
      if (!known)
        check.problems.add(FileProblem{ChunkHandle(), ChunkVersion(), kj::str(directory, "/", name)});
    }
  }
}

}  // namespace cairn
