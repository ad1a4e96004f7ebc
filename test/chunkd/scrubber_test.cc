// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What rots unread is found, in a time that can be told, without being in anybody's way.
#include "chunkd/scrubber.h"

#include <errno.h>

#include "test/chunkd/chunk_cluster.h"

namespace cairn {
namespace {

struct ScrubberTest : testing::Test {
  ChunkCluster c{1};
  ~ScrubberTest() noexcept override {}

  void scrubFrom(uint64_t bytesPerSecond) {
    c.kill(1);
    c.scrub.bytesPerSecond = bytesPerSecond;
    c.start(1);
  }
  ChunkKey written(uint64_t handle, size_t size) {
    auto chunk = c.grant(handle, 0, {1});
    EXPECT_EQ(c.write(1, chunk, 0, pattern(size, unsigned(handle))).status, Status::OK);
    return chunk;
  }
  void flip(ChunkKey chunk, uint64_t byte) { c.daemon(1).disk.flipBit(dataPath(chunk.handle), byte * 8); }
  CheckTime checked(ChunkKey chunk) { return KJ_ASSERT_NONNULL(c.store(1).describe(chunk.handle)).checked; }
  bool corrupt(ChunkKey chunk) {
    return (KJ_ASSERT_NONNULL(c.store(1).describe(chunk.handle)).flags & CORRUPT) != 0;
  }
};

TEST_F(ScrubberTest, ARottenBlockIsFoundAndTheMetaserverIsTold) {
  auto good = written(1, 100'000), rotten = written(2, 500'000);
  flip(rotten, 499'999);
  c.pass(30 * kj::SECONDS);
  EXPECT_FALSE(corrupt(rotten)) << "nobody has looked";
  scrubFrom(1 << 20);
  c.pass(30 * kj::SECONDS);
  EXPECT_TRUE(corrupt(rotten));
  EXPECT_FALSE(corrupt(good));
  EXPECT_EQ(c.meta.stores[1].removed, (std::set<uint64_t>{2}));
  EXPECT_EQ(c.read(1, rotten, 0, 4096).status, Status::CORRUPT);
  EXPECT_EQ(c.read(1, good, 0, 4096).status, Status::OK);
}

TEST_F(ScrubberTest, ABlockThatCannotBeReadIsAsBadAsARottenOne) {
  written(1, 100'000);
  auto unreadable = written(2, 500'000);
  scrubFrom(1 << 20);
  c.pass(9 * kj::SECONDS);  // it begins after ten
  ASSERT_EQ(c.read(1, unreadable, 0, 4096).status, Status::OK) << "its checksums have been read";
  c.store(1).markChecked(unreadable.handle, CheckTime(1));  // it comes first
  c.daemon(1).disk.failReads(EIO);
  c.pass(1500 * kj::MILLISECONDS);
  c.daemon(1).disk.failReads(0);
  c.pass(30 * kj::SECONDS);
  EXPECT_TRUE(corrupt(unreadable));
  EXPECT_EQ(c.meta.stores[1].removed.count(2), 1u);
}

TEST_F(ScrubberTest, ItReadsNoFasterThanItIsAllowedTo) {
  for (uint64_t i = 1; i <= 8; ++i) written(i, 1 << 20);
  scrubFrom(1 << 20);
  c.pass(10 * kj::SECONDS);  // it begins after ten
  auto before = c.daemon(1).disk.counters().reads;
  c.pass(3 * kj::SECONDS);
  auto reads = c.daemon(1).disk.counters().reads - before;
  EXPECT_GE(reads, 2u);
  EXPECT_LE(reads, 4u * 3) << "a read of the bytes a second, and what opening a chunk takes";
}

TEST_F(ScrubberTest, WhatHasWaitedLongestComesFirstAlsoAfterARestart) {
  std::vector<ChunkKey> chunks;
  for (uint64_t i = 1; i <= 4; ++i) chunks.push_back(written(i, 1 << 20));
  // Checked at different times, not in the order of their handles.
  auto store = [&]() -> ChunkStore& { return c.store(1); };
  store().markChecked(chunks[0].handle, CheckTime(400));
  store().markChecked(chunks[1].handle, CheckTime(100));
  store().markChecked(chunks[2].handle, CheckTime(300));
  store().markChecked(chunks[3].handle, CheckTime(200));
  scrubFrom(1 << 20);
  EXPECT_EQ(checked(chunks[1]), CheckTime(100)) << "kept in the index";
  std::vector<size_t> order;
  std::set<size_t> seen;
  for (int step = 0; step < 2000 && seen.size() < 4; ++step) {
    c.pass(10 * kj::MILLISECONDS);
    for (size_t i = 0; i < 4; ++i) {
      if (checked(chunks[i]).value() < 100 && seen.insert(i).second) order.push_back(i);
    }
  }
  EXPECT_EQ(order, (std::vector<size_t>{1, 3, 2, 0}));
}

TEST_F(ScrubberTest, WhatHasBeenReadIsNotReadAgainBeforeItsTime) {
  c.time.limit(24 * kj::HOURS);
  auto today = written(1, 1 << 20), before = written(2, 1 << 20);
  c.pass(200 * kj::MINUTES);
  c.scrub.every = 3 * kj::HOURS;
  scrubFrom(1 << 20);
  auto now = checkTimeOf(c.time.now());
  c.store(1).markChecked(today.handle, now);
  c.store(1).markChecked(before.handle, CheckTime(1));
  c.pass(30 * kj::SECONDS);
  EXPECT_EQ(checked(before), now) << "it was due";
  auto reads = c.daemon(1).disk.counters().reads;
  c.pass(140 * kj::MINUTES);
  EXPECT_EQ(c.daemon(1).disk.counters().reads, reads);
  c.pass(40 * kj::MINUTES);
  EXPECT_GT(c.daemon(1).disk.counters().reads, reads) << "three hours on";
  EXPECT_EQ(checked(today), checkTimeOf(c.time.now()));
  EXPECT_EQ(checked(before), checkTimeOf(c.time.now()));
}

TEST_F(ScrubberTest, ANewChunkIsNotedAndWaitsItsTurn) {
  scrubFrom(1 << 20);
  auto chunk = written(1, 1000);
  EXPECT_FALSE(bool(checked(chunk)));
  c.pass(25 * kj::SECONDS);
  EXPECT_TRUE(bool(checked(chunk)));
}

TEST_F(ScrubberTest, AChunkThatIsWrittenMeanwhileIsNoFalseAlarm) {
  auto chunk = written(1, 1 << 20);
  scrubFrom(4 << 20);
  chunk = c.grant(1, 1, {1});
  for (unsigned i = 0; i < 400; ++i) {
    EXPECT_EQ(c.write(1, chunk, (i * 7919) % 900'000, pattern(5000, i)).status, Status::OK);
    c.pass(50 * kj::MILLISECONDS);
  }
  EXPECT_FALSE(corrupt(chunk));
}

TEST(CheckTime, CountsInUnitsOfThreeHoursFromTheStartOf2026) {
  auto start = kj::UNIX_EPOCH + 20454 * kj::DAYS;
  EXPECT_EQ(checkTimeOf(start), CheckTime(1));
  EXPECT_EQ(checkTimeOf(start + 3 * kj::HOURS), CheckTime(2));
  EXPECT_EQ(checkTimeOf(kj::UNIX_EPOCH), CheckTime(1)) << "never 0, which is not known";
  EXPECT_EQ(checkTimeOf(start + 365 * 100 * kj::DAYS), CheckTime(UINT16_MAX));
  EXPECT_EQ(secondsBetween(CheckTime(1), CheckTime(9)), 24u * 3600);
  EXPECT_EQ(secondsBetween(CheckTime(9), CheckTime(1)), 0u);
}

}  // namespace
}  // namespace cairn
