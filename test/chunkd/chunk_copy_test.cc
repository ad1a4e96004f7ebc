// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A store takes a copy of a chunk from others: what it may use up, what it believes, and what is left when it
// dies in the middle.
#include "test/chunkd/chunk_cluster.h"

namespace cairn {
namespace {

using Ids = std::set<uint32_t>;

struct ChunkCopyTest : testing::Test {
  ChunkCluster c{3};
  ~ChunkCopyTest() noexcept override {
    for (auto& daemon : c.daemons) {
      KJ_IF_MAYBE (server, daemon->server) (*server)->chunkStore().checkInvariants();
    }
  }

  ChunkKey written(std::vector<uint32_t> replicas, size_t size = 300'000, unsigned seed = 1) {
    auto chunk = c.grant(1, 0, replicas);
    auto data = pattern(size, seed);
    for (size_t at = 0; at < size; at += TRANSFER_SIZE_MAX) {
      auto piece = kj::heapArray<kj::byte>(data.slice(at, kj::min(size, at + TRANSFER_SIZE_MAX)));
      EXPECT_EQ(c.write(replicas[0], chunk, uint32_t(at), kj::mv(piece)).status, Status::OK);
    }
    return chunk;
  }
  bool reported(uint32_t id, ChunkHandle handle) { return c.store(id).describe(handle) != nullptr; }
  ChunkState state(uint32_t id, ChunkHandle handle) {
    return KJ_ASSERT_NONNULL(c.store(id).describe(handle));
  }
  void flip(uint32_t id, ChunkHandle handle, uint64_t byte) {
    c.daemon(id).disk.flipBit(dataPath(handle), byte * 8 + 3);
  }
};

TEST_F(ChunkCopyTest, ACopyIsAReplicaOnceItIsCommittedAndNotBefore) {
  auto chunk = written({1, 2});
  auto open = c.copy(3, chunk, {1}, {.commit = false});
  EXPECT_EQ(open.status, Status::OK);
  EXPECT_EQ(open.copied, 300'000u);
  EXPECT_EQ(open.left, 0u);
  EXPECT_EQ(open.length, 300'000u);
  EXPECT_FALSE(reported(3, chunk.handle));
  EXPECT_EQ(c.read(3, chunk, 0, 4096).status, Status::NO_REPLICA);
  EXPECT_EQ(c.adopt(3, {chunk.handle, ChunkVersion(2)}, 1), Status::NO_REPLICA);

  auto committed = c.copy(3, chunk, {1});
  EXPECT_EQ(committed.status, Status::OK);
  EXPECT_EQ(committed.copied, 0u) << "all was there";
  EXPECT_TRUE(c.wholeChunk(3, chunk) == text(pattern(300'000, 1)));
  EXPECT_EQ(state(3, chunk.handle).version, chunk.version);
  EXPECT_EQ(c.copy(3, chunk, {1}).status, Status::OK) << "the same order again";
  EXPECT_EQ(c.adopt(3, {chunk.handle, ChunkVersion(2)}, 1), Status::OK) << "it takes part from now on";
}

TEST_F(ChunkCopyTest, ACommittedCopySurvivesAPowerCut) {
  auto chunk = written({1});
  ASSERT_EQ(c.copy(3, chunk, {1}).status, Status::OK);
  c.kill(3);
  c.daemon(3).disk.losePower(5);
  c.start(3, SECOND_BOOT);
  EXPECT_TRUE(c.wholeChunk(3, chunk) == text(pattern(300'000, 1)));
  EXPECT_EQ(state(3, chunk.handle).flags, 0) << "nothing about it is in doubt";
}

TEST_F(ChunkCopyTest, HolesAndAnEmptyChunkAreCopiedAsSuch) {
  auto empty = c.grant(2, 0, {1});
  EXPECT_EQ(c.copy(3, empty, {1}).status, Status::OK);
  EXPECT_EQ(c.wholeChunk(3, empty), "");

  auto chunk = c.grant(1, 0, {1});
  ASSERT_EQ(c.write(1, chunk, 40 << 20, pattern(5000, 1)).status, Status::OK);
  auto copy = c.copy(3, chunk, {1});
  EXPECT_EQ(copy.status, Status::OK);
  EXPECT_EQ(copy.copied, 5000u);
  EXPECT_EQ(copy.length, (40u << 20) + 5000);
  EXPECT_TRUE(c.wholeChunk(3, chunk) == c.wholeChunk(1, chunk));

  // A hole at the end, as a truncate upwards within a chunk leaves it.
  auto tail = c.grant(3, 0, {1});
  ASSERT_EQ(c.write(1, tail, 0, pattern(100, 1)).status, Status::OK);
  ASSERT_EQ(c.write(1, tail, 50'000, kj::heapArray<kj::byte>(10)).status, Status::OK);
  EXPECT_EQ(c.copy(3, tail, {1}).status, Status::OK);
  EXPECT_TRUE(c.wholeChunk(3, tail) == c.wholeChunk(1, tail));
}

TEST_F(ChunkCopyTest, AStaleReplicaIsBroughtUpToDateByReadingWhatDiffers) {
  auto chunk = written({1, 2, 3}, 3'000'000);
  auto next = c.grant(1, 1, {1, 2});
  ASSERT_EQ(c.write(1, next, 1'000'000, pattern(10'000, 2)).status, Status::OK);
  EXPECT_EQ(c.copy(3, next, {1}, {.replace = 0}).status, Status::EXISTS) << "nobody has allowed it";
  EXPECT_EQ(c.read(3, chunk, 0, 4096).status, Status::OK);
  auto copy = c.copy(3, next, {1}, {.replace = 1});
  EXPECT_EQ(copy.status, Status::OK);
  EXPECT_LE(copy.copied, 4u * BLOCK_SIZE);
  EXPECT_TRUE(c.wholeChunk(3, next) == c.wholeChunk(1, next));
}

TEST_F(ChunkCopyTest, ALongerReplicaIsCut) {
  auto chunk = written({1, 3}, 20'000);
  c.adopt(1, {chunk.handle, ChunkVersion(2)}, 1);
  auto request = c.orders(1).adoptRequest();
  request.setEpoch(1);
  auto adoption = request.initChunks(1)[0];
  adoption.setHandle(1);
  adoption.setFrom(2);
  adoption.setVersion(3);
  adoption.setTruncate(5000);
  ASSERT_EQ(request.send().wait(c.scope).getResults()[0].getStatus(), Status::OK);
  ChunkKey cut{chunk.handle, ChunkVersion(3)};
  EXPECT_EQ(c.copy(3, cut, {1}, {.replace = 1}).status, Status::OK);
  EXPECT_TRUE(c.wholeChunk(3, cut) == text(pattern(20'000, 1)).substr(0, 5000));
}

TEST_F(ChunkCopyTest, ABaseWithRottenBytesIsNotBuiltUpon) {
  auto chunk = written({1, 2, 3});
  auto next = c.grant(1, 1, {1, 2});
  ASSERT_EQ(c.write(1, next, 0, pattern(10, 2)).status, Status::OK);
  flip(3, chunk.handle, 200'000);
  auto copy = c.copy(3, next, {1}, {.replace = 1});
  EXPECT_EQ(copy.status, Status::OK);
  EXPECT_EQ(copy.copied, 300'000u) << "all of it, anew";
  EXPECT_TRUE(c.wholeChunk(3, next) == c.wholeChunk(1, next));
}

TEST_F(ChunkCopyTest, ANewerReplicaIsNeverOverwritten) {
  auto chunk = written({1, 3});
  ASSERT_EQ(c.adopt(3, {chunk.handle, ChunkVersion(5)}, 1), Status::OK);
  EXPECT_EQ(c.copy(3, chunk, {1}, {.replace = 1}).status, Status::STALE_VERSION);
  EXPECT_TRUE(c.wholeChunk(3, {chunk.handle, ChunkVersion(5)}) == text(pattern(300'000, 1)));
}

TEST_F(ChunkCopyTest, WhatHasChangedSinceTheLastLookIsCopiedAgain) {
  auto chunk = written({1, 2}, 2'000'000);
  ASSERT_EQ(c.copy(3, chunk, {1}, {.commit = false}).left, 0u);
  ASSERT_EQ(c.write(1, chunk, 500'000, pattern(8192, 3)).status, Status::OK);
  auto again = c.copy(3, chunk, {2}, {.commit = false});
  EXPECT_GT(again.copied, 0u);
  EXPECT_LE(again.copied, 3u * BLOCK_SIZE);
  ASSERT_EQ(c.adopt(2, {chunk.handle, ChunkVersion(2)}, 1), Status::OK);
  ChunkKey frozen{chunk.handle, ChunkVersion(2)};
  auto committed = c.copy(3, frozen, {1, 2});
  EXPECT_EQ(committed.status, Status::OK) << "the first does not have that version, the second does";
  EXPECT_EQ(committed.copied, 0u);
  EXPECT_TRUE(c.wholeChunk(3, frozen) == c.wholeChunk(2, frozen));
}

TEST_F(ChunkCopyTest, NoMoreThanTheLimitIsCopiedAtATime) {
  auto chunk = written({1}, 3'000'000);
  uint64_t copied = 0;
  for (int i = 0; i < 3; i++) {
    auto part = c.copy(3, chunk, {1}, {.limit = 1'000'000});
    EXPECT_EQ(part.status, Status::OK);
    EXPECT_LE(part.copied, 1'000'000u);
    EXPECT_GT(part.left, 0u);
    EXPECT_FALSE(reported(3, chunk.handle)) << "what is not complete is not committed";
    copied += part.copied;
  }
  auto last = c.copy(3, chunk, {1});
  EXPECT_EQ(last.left, 0u);
  EXPECT_EQ(copied + last.copied, 3'000'000u);
  EXPECT_TRUE(c.wholeChunk(3, chunk) == text(pattern(3'000'000, 1)));
}

TEST_F(ChunkCopyTest, BytesThatDoNotMatchTheirChecksumsAreNotTakenFromAnybody) {
  auto chunk = written({1, 2});
  flip(1, chunk.handle, 100'000);
  auto copy = c.copy(3, chunk, {1, 2});
  EXPECT_EQ(copy.status, Status::OK);
  EXPECT_EQ(copy.bad, (Ids{1}));
  EXPECT_TRUE(c.wholeChunk(3, chunk) == text(pattern(300'000, 1)));
}

TEST_F(ChunkCopyTest, WithAllSourcesBadNothingIsCommitted) {
  auto chunk = written({1, 2});
  flip(1, chunk.handle, 100'000);
  flip(2, chunk.handle, 1);
  auto copy = c.copy(3, chunk, {1, 2});
  EXPECT_EQ(copy.status, Status::CORRUPT);
  EXPECT_EQ(copy.bad, (Ids{1, 2}));
  EXPECT_FALSE(reported(3, chunk.handle));
}

TEST_F(ChunkCopyTest, ASourceThatIsAwayOrHasAnotherVersionIsPassedOver) {
  auto chunk = written({1, 2});
  c.kill(1);
  EXPECT_EQ(c.copy(3, chunk, {1, 2}).status, Status::OK);
  EXPECT_EQ(c.copy(3, {ChunkHandle(77), ChunkVersion(1)}, {2}).status, Status::NO_REPLICA);
  EXPECT_EQ(c.copy(3, {ChunkHandle(77), ChunkVersion(1)}, {1}).status, Status::REPLICA_FAILED);
  EXPECT_EQ(c.copy(3, {ChunkHandle(77), ChunkVersion(1)}, {}).status, Status::NO_REPLICA);
  EXPECT_EQ(c.copy(3, {ChunkHandle(0), ChunkVersion(1)}, {2}).status, Status::INVALID);
  EXPECT_EQ(c.copy(3, {ChunkHandle(5), ChunkVersion(0)}, {2}).status, Status::INVALID);
}

TEST_F(ChunkCopyTest, ACorruptReplicaStaysInQuarantineUntilTheNewOneIsComplete) {
  auto chunk = written({1, 3});
  flip(3, chunk.handle, 1000);
  EXPECT_EQ(c.time.run(c.store(3).verify(chunk), c.scope).status, Status::CORRUPT);
  auto& disk = c.daemon(3).disk;
  auto kept = quarantinePath(chunk.handle, chunk.version, "data");
  ASSERT_TRUE(disk.exists(kept));
  ASSERT_EQ(c.copy(3, chunk, {1}, {.commit = false}).status, Status::OK);
  EXPECT_TRUE(disk.exists(kept));
  EXPECT_EQ(state(3, chunk.handle).flags & CORRUPT, CORRUPT) << "and the metaserver is told of it still";
  c.kill(3);
  c.start(3);
  EXPECT_TRUE(disk.exists(kept));
  EXPECT_EQ(state(3, chunk.handle).flags, CORRUPT);
  EXPECT_EQ(c.copy(3, chunk, {1}).status, Status::OK);
  EXPECT_FALSE(disk.exists(kept));
  EXPECT_EQ(state(3, chunk.handle).flags, 0);
  EXPECT_TRUE(c.wholeChunk(3, chunk) == text(pattern(300'000, 1)));
}

TEST_F(ChunkCopyTest, AFullDiskIsSaidAndLeavesNoReplica) {
  auto chunk = written({1}, 3'000'000);
  auto space = c.daemon(3).disk.space();
  c.daemon(3).disk.setCapacity(space.totalBytes - space.freeBytes + 1'000'000);
  c.pass(2 * kj::SECONDS);
  EXPECT_EQ(c.copy(3, chunk, {1}).status, Status::NO_SPACE);
  EXPECT_FALSE(reported(3, chunk.handle));
  c.daemon(3).disk.setCapacity(UINT64_MAX);
  c.pass(2 * kj::SECONDS);
  EXPECT_EQ(c.copy(3, chunk, {1}).status, Status::OK);
  EXPECT_TRUE(c.wholeChunk(3, chunk) == text(pattern(3'000'000, 1)));
}

TEST_F(ChunkCopyTest, AnOrderOfAnOldMetaserverIsRefused) {
  auto chunk = written({1});
  c.meta.epoch = Epoch(7);
  c.pass(2 * kj::SECONDS);
  EXPECT_EQ(c.copy(3, chunk, {1}, {.epoch = Epoch(6)}).status, Status::STALE_EPOCH);
  EXPECT_FALSE(c.store(3).isStaging(chunk.handle));
}

TEST_F(ChunkCopyTest, ACopyThatNobodyGoesOnWithIsDropped) {
  auto chunk = written({1});
  ASSERT_EQ(c.copy(3, chunk, {1}, {.commit = false}).status, Status::OK);
  c.pass(3 * kj::MINUTES);
  EXPECT_FALSE(c.store(3).isStaging(chunk.handle));
  EXPECT_FALSE(c.daemon(3).disk.exists(dataPath(chunk.handle)));
  EXPECT_EQ(c.copy(3, chunk, {1}).copied, 300'000u);
}

TEST_F(ChunkCopyTest, TwoOrdersForOneChunkDoNotMix) {
  auto chunk = written({1}, 1'000'000);
  auto first = c.startCopy(3, chunk, {1}, {}).eagerlyEvaluate(nullptr);
  auto second = c.startCopy(3, chunk, {1}, {}).eagerlyEvaluate(nullptr);
  EXPECT_EQ(c.time.run(kj::mv(first), c.scope).status, Status::OK);
  EXPECT_EQ(c.time.run(kj::mv(second), c.scope).status, Status::BUSY);
}

TEST_F(ChunkCopyTest, ADeleteEndsACopy) {
  auto chunk = written({1});
  ASSERT_EQ(c.copy(3, chunk, {1}, {.commit = false}).status, Status::OK);
  auto request = c.orders(3).deleteRequest();
  request.setEpoch(1);
  auto doomed = request.initChunks(1)[0];
  doomed.setHandle(chunk.handle.value());
  doomed.setVersion(chunk.version.value());
  EXPECT_EQ(request.send().wait(c.scope).getStatus(), Status::OK);
  EXPECT_FALSE(c.store(3).isStaging(chunk.handle));
  EXPECT_FALSE(c.daemon(3).disk.exists(dataPath(chunk.handle)));
}

// Wherever it dies, what is found is the whole copy or none, and the next attempt completes it. Once with a
// store that has nothing, once with a stale replica that is used up for it; killed, and without power.
struct Death {
  bool stale, power;
};
class ChunkCopyCrash : public ChunkCopyTest, public testing::WithParamInterface<Death> {};

TEST_P(ChunkCopyCrash, WholeOrNot) {
  auto chunk = written(GetParam().stale ? std::vector<uint32_t>{1, 3} : std::vector<uint32_t>{1}, 2'500'000);
  auto next = c.grant(1, 1, {1});
  ASSERT_EQ(c.write(1, next, 700'000, pattern(900'000, 9)).status, Status::OK);
  auto expected = c.wholeChunk(1, next);
  uint32_t none = 0, whole = 0;
  for (int step = 0; whole < 2 && step < 400; step++) {
    c.daemon(3).disk.setDelay(c.time.timer(), 1 * kj::MILLISECONDS);
    auto copying =
        c.startCopy(3, next, {1}, {.replace = 1}).ignoreResult().eagerlyEvaluate([](kj::Exception&&) {});
    c.pass(step * 1 * kj::MILLISECONDS);
    c.kill(3);
    copying = nullptr;
    if (GetParam().power) c.daemon(3).disk.losePower(unsigned(step));
    c.daemon(3).disk.setDelay(c.time.timer(), 0 * kj::MILLISECONDS);
    c.start(3, GetParam().power ? kj::str("boot-", step) : kj::str(FIRST_BOOT));
    auto found = c.store(3).describe(next.handle);
    bool complete = false;
    KJ_IF_MAYBE (state, found) complete = state->version == next.version;
    if (complete) {
      ++whole;
      EXPECT_TRUE(c.wholeChunk(3, next) == expected) << "step " << step;
      ASSERT_EQ(c.time.run(c.store(3).remove(next), c.scope), Status::OK);
    } else {
      ++none;
      KJ_IF_MAYBE (state, found) {
        EXPECT_TRUE(GetParam().stale && state->version == chunk.version) << "step " << step;
      }
    }
    EXPECT_FALSE(c.store(3).isStaging(next.handle));
  }
  EXPECT_GT(none, 5u);
  EXPECT_EQ(whole, 2u);
  EXPECT_EQ(c.copy(3, next, {1}, {.replace = 1}).status, Status::OK);
  EXPECT_TRUE(c.wholeChunk(3, next) == expected);
}

INSTANTIATE_TEST_SUITE_P(Deaths, ChunkCopyCrash,
                         testing::Values(Death{false, false}, Death{false, true}, Death{true, false},
                                         Death{true, true}));

}  // namespace
}  // namespace cairn
