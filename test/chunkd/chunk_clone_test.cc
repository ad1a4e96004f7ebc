// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A store makes a second chunk of a replica it has: with a filesystem that shares blocks and with one that
// does not, cut short, damaged, full, and dying at every step.
#include <errno.h>

#include "test/chunkd/chunk_cluster.h"

namespace cairn {
namespace {

enum class Blocks { SHARED, COPIED };

struct ChunkClone : testing::TestWithParam<Blocks> {
  ChunkCluster c{1};
  static constexpr uint64_t CLONE = 77;
  static constexpr ChunkKey CLONED{ChunkHandle(CLONE), ChunkVersion(1)};

  ChunkClone() {
    if (GetParam() == Blocks::SHARED) disk().allowClones();
  }
  ~ChunkClone() noexcept override {
    KJ_IF_MAYBE (server, c.daemon(1).server) (*server)->chunkStore().checkInvariants();
  }
  env::MemoryDisk& disk() { return c.daemon(1).disk; }
  ChunkKey written(size_t size = 3'000'000) {
    auto chunk = c.grant(1, 0, {1});
    auto data = pattern(size, 1);
    for (size_t at = 0; at < size; at += TRANSFER_SIZE_MAX) {
      auto piece = kj::heapArray<kj::byte>(data.slice(at, kj::min(size, at + TRANSFER_SIZE_MAX)));
      EXPECT_EQ(c.write(1, chunk, uint32_t(at), kj::mv(piece)).status, Status::OK);
    }
    return chunk;
  }
  kj::Maybe<ChunkState> state(ChunkHandle handle) { return c.store(1).describe(handle); }
};

TEST_P(ChunkClone, AWriteToEitherLeavesTheOtherAsItWas) {
  auto chunk = written();
  auto answer = c.clone(1, chunk, CLONE);
  EXPECT_EQ(answer.status, Status::OK);
  EXPECT_EQ(answer.length, 3'000'000u);
  EXPECT_EQ(disk().counters().clones, GetParam() == Blocks::SHARED ? 1u : 0u);
  auto before = text(pattern(3'000'000, 1));
  EXPECT_TRUE(c.wholeChunk(1, CLONED) == before);
  EXPECT_TRUE(c.wholeChunk(1, chunk) == before);
  EXPECT_EQ(c.clone(1, chunk, CLONE).status, Status::OK) << "the same order again";

  ASSERT_EQ(c.lease(1, CLONED, {}), Status::OK);
  ASSERT_EQ(c.write(1, CLONED, 1'000'001, pattern(5000, 2)).status, Status::OK);
  EXPECT_TRUE(c.wholeChunk(1, chunk) == before);
  auto after = before;
  after.replace(1'000'001, 5000, text(pattern(5000, 2)));
  EXPECT_TRUE(c.wholeChunk(1, CLONED) == after);
}

TEST_P(ChunkClone, EndsTheLeaseOfTheSource) {
  auto chunk = written(5000);
  ASSERT_EQ(c.clone(1, chunk, CLONE).status, Status::OK);
  auto status = c.write(1, chunk, 0, pattern(10, 3)).status;
  EXPECT_TRUE(status == Status::NOT_PRIMARY || status == Status::LEASE_EXPIRED);
}

TEST_P(ChunkClone, IsCutAtAnyByte) {
  auto chunk = written(300'000);
  uint64_t target = CLONE;
  for (uint32_t bytes : {0u, 1u, 4095u, 4096u, 4097u, 200'000u, 299'999u, 300'000u, 300'001u}) {
    SCOPED_TRACE(bytes);
    auto answer = c.clone(1, chunk, ++target, bytes);
    ASSERT_EQ(answer.status, Status::OK);
    EXPECT_EQ(answer.length, kj::min(bytes, 300'000u));
    ChunkKey key{ChunkHandle(target), ChunkVersion(1)};
    EXPECT_TRUE(c.wholeChunk(1, key) == text(pattern(300'000, 1)).substr(0, bytes));
    EXPECT_EQ(c.time.run(c.store(1).verify(key), c.scope).status, Status::OK);
  }
}

TEST_P(ChunkClone, HolesStayHoles) {
  auto chunk = c.grant(1, 0, {1});
  ASSERT_EQ(c.write(1, chunk, 40 << 20, pattern(5000, 1)).status, Status::OK);
  auto written = disk().counters().bytesWritten;
  ASSERT_EQ(c.clone(1, chunk, CLONE).status, Status::OK);
  EXPECT_LT(disk().counters().bytesWritten - written, 1u << 20);
  EXPECT_TRUE(c.wholeChunk(1, CLONED) == c.wholeChunk(1, chunk));

  auto empty = c.grant(2, 0, {1});
  EXPECT_EQ(c.clone(1, empty, CLONE + 1).status, Status::OK);
  EXPECT_EQ(c.wholeChunk(1, {ChunkHandle(CLONE + 1), ChunkVersion(1)}), "");
}

TEST_P(ChunkClone, IsOnStableStorageWhenItIsAnswered) {
  auto chunk = written(300'000);
  ASSERT_EQ(c.clone(1, chunk, CLONE).status, Status::OK);
  c.kill(1);
  disk().losePower(9);
  c.start(1, SECOND_BOOT);
  EXPECT_TRUE(c.wholeChunk(1, CLONED) == text(pattern(300'000, 1)));
  EXPECT_EQ(KJ_ASSERT_NONNULL(state(CLONED.handle)).flags, 0) << "nothing about it is in doubt";
}

TEST_P(ChunkClone, ADeathAtAnyStepLeavesAWholeCloneOrNone) {
  // One step per disk operation, until one order gets to its end.
  bool done = false;
  int none = 0;
  const ChunkKey chunk = written(300'000);
  ASSERT_EQ(c.sync(1, chunk), Status::OK);
  c.pass(15 * kj::SECONDS);  // it has lost its mark: no suspect when the power goes
  for (uint64_t steps = 0; !done; steps++) {
    SCOPED_TRACE(steps);
    ASSERT_LT(steps, 200u);
    uint64_t target = CLONE + steps;
    ChunkKey key{ChunkHandle(target), ChunkVersion(1)};
    disk().setDelay(c.time.timer(), 1 * kj::MILLISECONDS);
    auto order = c.startClone(1, chunk, target, 250'000).eagerlyEvaluate([](kj::Exception&&) {
      return ChunkCluster::CloneResult{Status::IO_ERROR, 0};
    });
    c.pass(steps * 500 * kj::MICROSECONDS);
    done = order.poll(c.scope);
    disk().setDelay(c.time.timer(), 0 * kj::SECONDS);
    c.kill(1);
    if (steps % 2 == 0) disk().losePower(steps);
    c.start(1, steps % 2 == 0 ? kj::str("boot-", steps) : kj::str("boot-", steps - 1));
    bool there = state(key.handle) != nullptr;
    none += !there;
    if (done) EXPECT_TRUE(there);
    if (there) EXPECT_TRUE(c.wholeChunk(1, key) == text(pattern(300'000, 1)).substr(0, 250'000));
    EXPECT_TRUE(c.wholeChunk(1, chunk) == text(pattern(300'000, 1)));
  }
  EXPECT_GT(none, 3) << "the test must reach the middle of it";
}

TEST_P(ChunkClone, RefusesOtherVersionsAndWhatIsNotThere) {
  auto chunk = written(5000);
  EXPECT_EQ(c.clone(1, {chunk.handle, ChunkVersion(2)}, CLONE).status, Status::BEHIND_VERSION);
  EXPECT_EQ(c.clone(1, {ChunkHandle(9), ChunkVersion(1)}, CLONE).status, Status::NO_REPLICA);
  EXPECT_EQ(c.clone(1, chunk, chunk.handle.value()).status, Status::INVALID);
  EXPECT_TRUE(state(CLONED.handle) == nullptr);
  auto next = c.grant(1, 1, {1});
  EXPECT_EQ(c.clone(1, chunk, CLONE).status, Status::STALE_VERSION);
  EXPECT_EQ(c.clone(1, next, CLONE).status, Status::OK);
}

TEST_P(ChunkClone, AFullDiskIsSaidAndLeavesNothing) {
  if (GetParam() == Blocks::SHARED) GTEST_SKIP() << "shared blocks take no space";
  auto chunk = written(3'000'000);
  c.store(1).space();
  disk().failWrites(ENOSPC);
  EXPECT_EQ(c.clone(1, chunk, CLONE).status, Status::NO_SPACE);
  disk().failWrites(0);
  EXPECT_TRUE(state(CLONED.handle) == nullptr);
  EXPECT_EQ(c.clone(1, chunk, CLONE).status, Status::OK) << "once there is room again";
}

TEST_P(ChunkClone, ARottenBlockIsNotCopiedIntoAGoodOne) {
  auto chunk = written(3'000'000);
  disk().flipBit(dataPath(chunk.handle), 2'000'000 * 8);
  auto status = c.clone(1, chunk, CLONE).status;
  if (GetParam() == Blocks::COPIED) {
    EXPECT_EQ(status, Status::CORRUPT) << "it is read anyway";
    EXPECT_TRUE(state(CLONED.handle) == nullptr);
  } else {
    EXPECT_EQ(status, Status::OK) << "nothing is read";
    EXPECT_EQ(c.time.run(c.store(1).verify(CLONED), c.scope).status, Status::CORRUPT) << "and it shows later";
  }
}

INSTANTIATE_TEST_SUITE_P(Filesystems, ChunkClone, testing::Values(Blocks::SHARED, Blocks::COPIED),
                         [](auto& info) { return info.param == Blocks::SHARED ? "Shared" : "Copied"; });

}  // namespace
}  // namespace cairn
