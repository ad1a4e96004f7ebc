// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Replicas of one version that differ are made equal in place, and marks tell which need not be looked at.
#include "test/chunkd/chunk_cluster.h"

namespace cairn {
namespace {

struct ReconcileTest : testing::Test {
  ChunkCluster c{3};
  ~ReconcileTest() noexcept override {
    for (auto& daemon : c.daemons) {
      KJ_IF_MAYBE (server, daemon->server) (*server)->chunkStore().checkInvariants();
    }
  }
  ChunkKey raise(ChunkKey key, std::vector<uint32_t> replicas) {
    ChunkKey next{key.handle, key.version.next()};
    for (auto id : replicas) EXPECT_EQ(c.adopt(id, next, key.version.value()), Status::OK);
    return next;
  }
  bool suspect(uint32_t id, ChunkHandle handle) {
    return (KJ_ASSERT_NONNULL(c.store(id).describe(handle)).flags & SUSPECT) != 0;
  }
};

using Mark = ChunkCluster::Mark;

TEST_F(ReconcileTest, MarksOfReplicasThatAppliedTheSameWritesAreTheSame) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  for (uint32_t id : {1, 2, 3}) EXPECT_EQ(c.mark(id, chunk.handle), (Mark{1, 0}));
  for (uint32_t i = 0; i < 5; ++i)
    ASSERT_EQ(c.write(1, chunk, i * 1000, pattern(1000, i)).status, Status::OK);
  for (uint32_t id : {1, 2, 3}) EXPECT_EQ(c.mark(id, chunk.handle), (Mark{1, 5}));
  auto next = raise(chunk, {1, 2, 3});
  for (uint32_t id : {1, 2, 3})
    EXPECT_EQ(c.mark(id, next.handle), (Mark{1, 5})) << "nothing was written since";
}

TEST_F(ReconcileTest, WhoMissedAWriteOrHasANewProcessHasNoMark) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(1000, 1)).status, Status::OK);
  c.daemon(2).disk.failWrites(EIO);
  EXPECT_EQ(c.write(1, chunk, 5000, pattern(1000, 2)).status, Status::REPLICA_FAILED);
  c.daemon(2).disk.failWrites(0);
  EXPECT_EQ(c.mark(2, chunk.handle), (Mark{0, 0}));
  EXPECT_EQ(c.mark(3, chunk.handle), (Mark{1, 2}));
  c.kill(3);
  c.start(3);
  EXPECT_EQ(c.mark(3, chunk.handle), (Mark{0, 0}));
}

TEST_F(ReconcileTest, ReplicasThatDifferAreMadeEqualByReadingWhatDiffers) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(1'000'000, 1)).status, Status::OK);
  c.kill(3);
  EXPECT_EQ(c.write(1, chunk, 500'000, pattern(10'000, 2)).status, Status::REPLICA_FAILED);
  EXPECT_EQ(c.write(2, chunk, 0, pattern(10, 3)).status, Status::NOT_PRIMARY);
  c.start(3);
  auto next = raise(chunk, {1, 2, 3});
  EXPECT_TRUE(c.wholeChunk(3, next) != c.wholeChunk(1, next));
  auto done = c.reconcile(3, next, {1});
  EXPECT_EQ(done.status, Status::OK);
  EXPECT_LE(done.copied, 4u * BLOCK_SIZE);
  EXPECT_EQ(done.length, 1'000'000u);
  EXPECT_TRUE(c.wholeChunk(3, next) == c.wholeChunk(1, next));
  EXPECT_EQ(c.reconcile(3, next, {1}).copied, 0u) << "again";
}

TEST_F(ReconcileTest, ALongerOneIsCutAndAShorterOneGrows) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(10'000, 1)).status, Status::OK);
  c.kill(2);
  EXPECT_EQ(c.write(1, chunk, 300'000, kj::heapArray<kj::byte>(500)).status, Status::REPLICA_FAILED);
  c.start(2);
  auto next = raise(chunk, {1, 2});
  auto longer = c.wholeChunk(1, next), shorter = c.wholeChunk(2, next);
  EXPECT_EQ(c.reconcile(2, next, {1}).status, Status::OK);
  EXPECT_TRUE(c.wholeChunk(2, next) == longer);
  auto third = raise(next, {1, 2});
  auto lease = c.lease(2, third, {});
  ASSERT_EQ(lease, Status::OK);
  ASSERT_EQ(c.write(2, third, 400'000, pattern(5000, 4)).status, Status::OK);
  ChunkKey fourth{third.handle, third.version.next()};
  for (uint32_t id : {1, 2}) ASSERT_EQ(c.adopt(id, fourth, third.version.value()), Status::OK);
  EXPECT_EQ(c.reconcile(2, fourth, {1}).status, Status::OK);
  EXPECT_TRUE(c.wholeChunk(2, fourth) == longer) << "cut";
}

TEST_F(ReconcileTest, ASuspectServesNothingUntilItIsEqualAndThenSurvivesAPowerCut) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(400'000, 1)).status, Status::OK);
  c.kill(3);
  c.daemon(3).disk.losePower(8);
  c.start(3, SECOND_BOOT);
  ASSERT_TRUE(suspect(3, chunk.handle));
  EXPECT_EQ(c.read(3, chunk, 0, BLOCK_SIZE).status, Status::REBOOTED);
  EXPECT_EQ(c.sync(3, chunk), Status::REBOOTED) << "also under no boot in particular";
  auto next = raise(chunk, {1, 2, 3});
  EXPECT_EQ(c.lease(3, next, {1, 2}), Status::STALE_VERSION) << "it orders no writes";
  ASSERT_EQ(c.reconcile(3, next, {1}).status, Status::OK);
  EXPECT_FALSE(suspect(3, chunk.handle));
  EXPECT_TRUE(c.wholeChunk(3, next) == text(pattern(400'000, 1)));
  c.kill(3);
  c.daemon(3).disk.losePower(9);
  c.start(3, FIRST_BOOT);
  ASSERT_EQ(c.reconcile(3, next, {}).status, Status::OK);
  EXPECT_TRUE(c.wholeChunk(3, next) == text(pattern(400'000, 1))) << "it was on stable storage";
}

TEST_F(ReconcileTest, AReconcileThatEndsInTheMiddleLeavesASuspectOne) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(900'000, 1)).status, Status::OK);
  c.kill(2);
  c.daemon(2).disk.losePower(3);
  c.start(2, SECOND_BOOT);
  auto next = raise(chunk, {1, 2});
  c.daemon(2).disk.failWrites(ENOSPC);
  EXPECT_EQ(c.reconcile(2, next, {1}).status, Status::NO_SPACE);
  EXPECT_TRUE(suspect(2, chunk.handle));
  c.daemon(2).disk.failWrites(0);
  auto running = c.startReconcile(2, next, {1}).eagerlyEvaluate(nullptr);
  running.poll(c.scope);
  c.kill(2);
  running = nullptr;
  c.start(2, SECOND_BOOT);
  EXPECT_TRUE(suspect(2, chunk.handle));
  EXPECT_EQ(c.reconcile(2, next, {1}).status, Status::OK);
  EXPECT_TRUE(c.wholeChunk(2, next) == text(pattern(900'000, 1)));
}

TEST_F(ReconcileTest, BadBytesOfTheReferenceAreNotTaken) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(100'000, 1)).status, Status::OK);
  c.kill(2);
  EXPECT_EQ(c.write(1, chunk, 0, pattern(BLOCK_SIZE, 2)).status, Status::REPLICA_FAILED);
  c.start(2);
  auto next = raise(chunk, {1, 2});
  c.daemon(1).disk.flipBit(dataPath(chunk.handle), 800);
  auto answer = c.reconcile(2, next, {1});
  EXPECT_EQ(answer.status, Status::CORRUPT);
  EXPECT_EQ(answer.bad, (std::set<uint32_t>{1}));
  EXPECT_TRUE(c.wholeChunk(2, next) == text(pattern(100'000, 1))) << "as it was";
}

TEST_F(ReconcileTest, AnotherVersionIsRefused) {
  auto chunk = c.grant(1, 0, {1, 2});
  auto next = raise(chunk, {1});
  EXPECT_EQ(c.reconcile(2, next, {1}).status, Status::BEHIND_VERSION);
  EXPECT_EQ(c.reconcile(1, chunk, {2}).status, Status::STALE_VERSION);
  EXPECT_EQ(c.reconcile(3, chunk, {1}).status, Status::STALE_VERSION) << "what its source says comes first";
}

}  // namespace
}  // namespace cairn
