// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How long the client believes a location, and how far ahead it asks.
#include "client/location_cache.h"

#include <gtest/gtest.h>

namespace cairn::client {
namespace {

constexpr InodeId FILE_A{7}, FILE_B{8};
const kj::TimePoint START = kj::origin<kj::TimePoint>() + 100 * kj::SECONDS;

ChunkLocation chunk(uint64_t index, uint64_t version = 1, uint32_t primary = 0) {
  ChunkLocation location;
  location.index = ChunkIndex(index);
  location.handle = ChunkHandle(1000 + index);
  location.version = ChunkVersion(version);
  location.replicas = kj::heapArray<ServerId>({ServerId(1), ServerId(2)});
  location.primary = ServerId(primary);
  location.leaseEnd = START + 60 * kj::SECONDS;
  return location;
}
ChunkLocation hole(uint64_t index) {
  ChunkLocation location;
  location.index = ChunkIndex(index);
  return location;
}

struct LocationCacheTest : testing::Test {
  LocationCache cache;
  bool readable(InodeId inode, uint64_t index, kj::TimePoint now = START) {
    return cache.forReading(inode, ChunkIndex(index), now) != nullptr;
  }
  bool writable(InodeId inode, uint64_t index, kj::TimePoint now = START) {
    return cache.forWriting(inode, ChunkIndex(index), now) != nullptr;
  }
};

TEST_F(LocationCacheTest, KnowsOnlyWhatItLearned) {
  cache.learn(FILE_A, chunk(3), START);
  EXPECT_TRUE(readable(FILE_A, 3));
  EXPECT_FALSE(readable(FILE_A, 2));
  EXPECT_FALSE(readable(FILE_B, 3));
  EXPECT_FALSE(writable(FILE_A, 3)) << "nobody holds a lease";
}

TEST_F(LocationCacheTest, AHoleIsBelievedForOneSecondAndAChunkForThirty) {
  cache.learn(FILE_A, hole(0), START);
  cache.learn(FILE_A, chunk(1), START);
  EXPECT_TRUE(readable(FILE_A, 0, START + 999 * kj::MILLISECONDS));
  EXPECT_FALSE(readable(FILE_A, 0, START + 1 * kj::SECONDS));
  EXPECT_TRUE(readable(FILE_A, 1, START + 29 * kj::SECONDS));
  EXPECT_FALSE(readable(FILE_A, 1, START + 30 * kj::SECONDS));
}

TEST_F(LocationCacheTest, AHoleIsNeverForWriting) {
  cache.learn(FILE_A, hole(0), START);
  EXPECT_FALSE(writable(FILE_A, 0));
}

TEST_F(LocationCacheTest, AWriteThatWasAcceptedShowsThatTheLeaseGoesOn) {
  cache.learn(FILE_A, chunk(0, 1, 2), START);
  auto late = START + 29 * kj::SECONDS;
  EXPECT_TRUE(writable(FILE_A, 0, late));
  cache.leaseProven(FILE_A, ChunkIndex(0), ChunkVersion(1), START + 55 * kj::SECONDS);
  EXPECT_TRUE(writable(FILE_A, 0, START + 64 * kj::SECONDS));
  EXPECT_FALSE(writable(FILE_A, 0, START + 65 * kj::SECONDS));
}

TEST_F(LocationCacheTest, ALostLeaseLeavesTheChunkReadable) {
  cache.learn(FILE_A, chunk(0, 4, 2), START);
  cache.leaseLost(FILE_A, ChunkIndex(0), ChunkVersion(3));
  EXPECT_TRUE(writable(FILE_A, 0)) << "news of an older version";
  cache.leaseLost(FILE_A, ChunkIndex(0), ChunkVersion(4));
  EXPECT_FALSE(writable(FILE_A, 0));
  EXPECT_TRUE(readable(FILE_A, 0));
}

TEST_F(LocationCacheTest, AnOlderVersionDoesNotReplaceANewerOne) {
  cache.learn(FILE_A, chunk(0, 5, 2), START);
  cache.learn(FILE_A, chunk(0, 4, 1), START);
  KJ_IF_MAYBE (known, cache.forReading(FILE_A, ChunkIndex(0), START)) {
    EXPECT_EQ(known->version, ChunkVersion(5));
  } else {
    FAIL();
  }
}

TEST_F(LocationCacheTest, AnAnswerForReadingKeepsTheKnownPrimary) {
  cache.learn(FILE_A, chunk(0, 5, 2), START);
  cache.learn(FILE_A, chunk(0, 5, 0), START);
  EXPECT_TRUE(writable(FILE_A, 0));
}

TEST_F(LocationCacheTest, AnotherHandleReplacesWhateverItsVersion) {
  cache.learn(FILE_A, chunk(0, 5, 2), START);
  auto remade = chunk(0, 1, 1);
  remade.handle = ChunkHandle(4711);
  cache.learn(FILE_A, kj::mv(remade), START);
  KJ_IF_MAYBE (known, cache.forReading(FILE_A, ChunkIndex(0), START)) {
    EXPECT_EQ(known->handle, ChunkHandle(4711));
  } else {
    FAIL();
  }
}

TEST_F(LocationCacheTest, ACutForgetsWhatIsBehindIt) {
  for (uint64_t i = 0; i < 5; ++i) cache.learn(FILE_A, chunk(i), START);
  cache.learn(FILE_B, chunk(4), START);
  cache.forgetFrom(FILE_A, ChunkIndex(2));
  EXPECT_TRUE(readable(FILE_A, 1));
  EXPECT_FALSE(readable(FILE_A, 2));
  EXPECT_TRUE(readable(FILE_B, 4));
  EXPECT_EQ(cache.size(), 3u);
  cache.forget(FILE_A);
  EXPECT_EQ(cache.size(), 1u);
}

TEST_F(LocationCacheTest, ASequentialReaderAsksForMoreEachTimeAndARandomOneDoesNot) {
  constexpr uint64_t SIZE = 1000ull * CHUNK_SIZE;
  EXPECT_EQ(cache.countToAsk(FILE_A, ChunkIndex(0), SIZE), 4u);
  EXPECT_EQ(cache.countToAsk(FILE_A, ChunkIndex(4), SIZE), 16u);
  EXPECT_EQ(cache.countToAsk(FILE_A, ChunkIndex(20), SIZE), 64u);
  EXPECT_EQ(cache.countToAsk(FILE_A, ChunkIndex(84), SIZE), 64u) << "the most that locate answers";
  EXPECT_EQ(cache.countToAsk(FILE_A, ChunkIndex(500), SIZE), 4u);
}

TEST_F(LocationCacheTest, NothingIsAskedForBeyondTheEndOfTheFile) {
  EXPECT_EQ(cache.countToAsk(FILE_A, ChunkIndex(0), 2ull * CHUNK_SIZE + 1), 3u);
  EXPECT_EQ(cache.countToAsk(FILE_B, ChunkIndex(0), 0), 1u);
  EXPECT_EQ(cache.countToAsk(FILE_B, ChunkIndex(9), CHUNK_SIZE), 1u);
}

TEST_F(LocationCacheTest, IsBounded) {
  LocationCache::Limits limits;
  limits.entriesMax = 100;
  LocationCache small(limits);
  for (uint64_t inode = 1; inode <= 50; ++inode) {
    for (uint64_t i = 0; i < 10; ++i) small.learn(InodeId(inode), chunk(i), START);
  }
  EXPECT_LE(small.size(), 100u);
  for (uint64_t i = 0; i < 1000; ++i) small.learn(FILE_A, chunk(i), START);
  EXPECT_LE(small.size(), 100u);
  EXPECT_NE(small.forReading(FILE_A, ChunkIndex(999), START), nullptr);
}

}  // namespace
}  // namespace cairn::client
