// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A chunk while it is in use: who is at which blocks, its two open files, its checksum words in memory.
// Private to the files that ChunkStore is in.
#pragma once

#include <kj/refcount.h>

#include <algorithm>
#include <vector>

#include "chunkd/chunk_store.h"

namespace cairn {

struct ChunkStore::Live : public kj::Refcounted {
  explicit Live(ChunkHandle handle) : handle(handle) {}

  const ChunkHandle handle;
  RangeLocks locks;
  kj::Maybe<kj::Own<env::DiskFile>> data;  // INVARIANT: both files are open or neither is
  kj::Maybe<kj::Own<env::DiskFile>> sums;
  std::vector<uint32_t> words;  // as stored; a block beyond the end has word 0
  kj::Maybe<kj::ForkedPromise<Status>> opening;
  bool openingDone = false;  // `opening` has its answer; the next to open replaces it
  std::list<ChunkHandle>::iterator use;

  bool open() const { return data != nullptr; }
  env::DiskFile& dataFile() { return *KJ_ASSERT_NONNULL(data); }
  env::DiskFile& sumFile() { return *KJ_ASSERT_NONNULL(sums); }
  uint32_t word(uint32_t block) const { return block < words.size() ? words[block] : 0; }
  uint32_t nonzeroBlocks() const {
    // Counted anew each time: 64 KiB in a few microseconds, and nothing that could fall out of step.
    return uint32_t(std::count_if(words.begin(), words.end(), [](uint32_t word) { return word != 0; }));
  }
  void setWord(uint32_t block, uint32_t word) {
    if (block >= words.size()) words.resize(block + 1);
    words[block] = word;
  }
};

}  // namespace cairn
