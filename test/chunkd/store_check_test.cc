// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A store compares its index with its files: each difference has a sentence, and what is as it should be has
// none, in every state that a chunk is in.
#include <gtest/gtest.h>

#include "test/chunkd/store_house.h"

namespace cairn {
namespace {

struct StoreCheck : testing::Test {
  MemoryHouse memory;
  StoreHouse& house = memory.house;
  StoreCheck() { house.open(); }
  ~StoreCheck() noexcept override {}

  ChunkKey written(uint64_t handle, size_t size = 20'000) {
    auto key = house.create(handle);
    EXPECT_EQ(house.write(key, 0, pattern(size, unsigned(handle))), Status::OK);
    EXPECT_EQ(house.sync(key), Status::OK);
    return key;
  }
  void settle() {  // of quiet: the marks go, the lengths are in the index
    house.advance(30 * kj::SECONDS);
  }
  std::string check(uint32_t limit = 1000) {
    std::string problems;
    ChunkHandle after;
    for (;;) {
      auto answer = house.store().checkFiles(after, limit).wait(memory.waitScope);
      for (auto& problem : answer.problems) {
        problems += std::to_string(problem.handle.value()) + ": " + problem.text.cStr() + "\n";
      }
      if (answer.end) return problems;
      EXPECT_EQ(answer.checked, limit);
      after = answer.next;
    }
  }
  kj::Array<kj::byte> content(kj::StringPtr path) { return memory.disk.contents(path); }
};

TEST_F(StoreCheck, ChunksInEveryStateAreAsTheyShouldBe) {
  house.create(1);  // never written: it has no files yet
  auto unsynced = house.create(2);
  ASSERT_EQ(house.write(unsynced, 0, pattern(5'000, 1)), Status::OK);
  written(3);
  auto raised = house.raise(written(4), 2);
  ASSERT_EQ(house.write(raised, 20'000, pattern(10, 2)), Status::OK);
  house.raise(written(5), 2, uint32_t(100));
  EXPECT_EQ(check(), "");
  EXPECT_EQ(check(2), "") << "in pieces";
  settle();
  EXPECT_EQ(check(), "");
  house.open();
  EXPECT_EQ(check(), "") << "after a start";
}

TEST_F(StoreCheck, AFileThatIsGoneIsNamed) {
  auto data = written(1), sums = written(2);
  settle();
  ASSERT_TRUE(memory.disk.remove(dataPath(data.handle)).wait(memory.waitScope).ok());
  ASSERT_TRUE(memory.disk.remove(sumPath(sums.handle)).wait(memory.waitScope).ok());
  EXPECT_EQ(check(), "1: its data file is missing\n2: its checksum file is missing\n");
}

TEST_F(StoreCheck, AFileOfAnotherLengthIsNamed) {
  auto key = written(1);
  settle();
  auto bytes = content(dataPath(key.handle));
  memory.disk.replaceContents(dataPath(key.handle), bytes.slice(0, 100));
  EXPECT_EQ(check(), "1: its data file has 100 bytes, the index says 20000\n");
}

TEST_F(StoreCheck, AChecksumFileOfAnotherChunkOrADamagedOneIsNamed) {
  auto one = written(1), two = written(2);
  settle();
  memory.disk.replaceContents(sumPath(one.handle), content(sumPath(two.handle)));
  memory.disk.flipBit(sumPath(two.handle), 100);
  auto problems = check();
  EXPECT_NE(problems.find("1: its checksum file is that of chunk 2"), std::string::npos) << problems;
  EXPECT_NE(problems.find("2: its checksum file "), std::string::npos) << problems;
}

TEST_F(StoreCheck, AFileThatBelongsToNoChunkIsNamed) {
  auto key = written(0x1200);
  settle();
  memory.disk.replaceContents("chunks/00/0000000000ffff00.data", kj::StringPtr("stray").asBytes());
  memory.disk.replaceContents("chunks/00/notes.txt", kj::StringPtr("stray").asBytes());
  EXPECT_EQ(check(), "0: chunks/00/0000000000ffff00.data\n0: chunks/00/notes.txt\n");
  EXPECT_TRUE(memory.disk.exists(dataPath(key.handle))) << "and nothing was changed";
  EXPECT_TRUE(memory.disk.exists("chunks/00/notes.txt"));
}

TEST_F(StoreCheck, WhatIsInQuarantineIsToldOfElsewhere) {
  auto key = written(1);
  house.store().quarantine(key.handle, kj::str("a test")).wait(memory.waitScope);
  EXPECT_EQ(check(), "");
}

}  // namespace
}  // namespace cairn
