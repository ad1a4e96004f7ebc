// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What may be deleted. Every test that lets something go has a sibling that holds it back.
#include "metaserver/garbage_plan.h"

#include <gtest/gtest.h>

#include <string>

namespace cairn {
namespace {

constexpr ServerId STORE{1}, OTHER{2};
constexpr LogIndex DURABLE{100};

ChunkFacts live(uint64_t version, uint64_t floor, uint32_t elsewhere = 1) {
  ChunkFacts facts;
  ChunkRecord record;
  record.version = ChunkVersion(version);
  record.floor = ChunkVersion(floor);
  facts.record = record;
  facts.nextHandle = ChunkHandle(1000);
  facts.currentElsewhere = elsewhere;
  return facts;
}
ChunkFacts dropped(uint64_t version) {
  ChunkFacts facts;
  facts.dropped = ChunkVersion(version);
  facts.nextHandle = ChunkHandle(1000);
  return facts;
}
ChunkFacts unknown() {
  ChunkFacts facts;
  facts.nextHandle = ChunkHandle(1000);
  return facts;
}
Verdict verdict(uint64_t held, const ChunkFacts& facts) {
  return judge(ChunkHandle(7), ChunkVersion(held), facts);
}

TEST(Judge, VersionsFromTheFloorOnAreKept) {
  EXPECT_EQ(verdict(3, live(4, 3)), Verdict::KEEP);
  EXPECT_EQ(verdict(4, live(4, 3)), Verdict::KEEP);
}
TEST(Judge, BelowTheFloorIsStaleIfACurrentReplicaIsKnown) {
  EXPECT_EQ(verdict(2, live(4, 3, 1)), Verdict::STALE);
  EXPECT_EQ(verdict(2, live(4, 3, 0)), Verdict::KEEP) << "the last replica of a live chunk, old as it is";
}
TEST(Judge, NewerThanTheNamespaceIsNeverGarbage) {
  EXPECT_EQ(verdict(5, live(4, 3)), Verdict::AHEAD);
  EXPECT_EQ(verdict(5, dropped(4)), Verdict::AHEAD);
  EXPECT_EQ(judge(ChunkHandle(1000), ChunkVersion(1), unknown()), Verdict::AHEAD)
      << "a handle never given out";
}
TEST(Judge, OfADroppedChunkUpToTheRecordedVersion) {
  EXPECT_EQ(verdict(4, dropped(4)), Verdict::GARBAGE);
  EXPECT_EQ(verdict(1, dropped(4)), Verdict::GARBAGE);
}
ChunkFacts restored(ChunkFacts facts, Restored state = Restored::KEEPING) {
  facts.restored = state;
  facts.restoredFloor = facts.nextHandle.value();
  return facts;
}
TEST(Judge, InARestoredNamespaceVersionsFromBeforeItAreNewerAndNotAhead) {
  EXPECT_EQ(verdict(5, restored(live(4, 3))), Verdict::NEWER);
  EXPECT_EQ(verdict(4, restored(live(4, 3))), Verdict::KEEP);
  EXPECT_EQ(verdict(2, restored(live(4, 3))), Verdict::STALE);
  EXPECT_EQ(verdict(1000, restored(live(4, 3))), Verdict::AHEAD)
      << "of a restore that this one does not know";
  auto later = restored(live(4, 3));
  later.nextHandle = ChunkHandle(3000);
  EXPECT_EQ(judge(ChunkHandle(2000), ChunkVersion(5), later), Verdict::AHEAD)
      << "a chunk of after the restore";
}
TEST(Judge, InARestoredNamespaceChunksOfNoFileAreKeptUntilTheyAreReleased) {
  EXPECT_EQ(verdict(3, restored(unknown())), Verdict::KEPT);
  EXPECT_EQ(verdict(3, restored(unknown(), Restored::TAKING_OVER)), Verdict::KEPT);
  EXPECT_EQ(verdict(3, restored(unknown(), Restored::RELEASED)), Verdict::GARBAGE);
  EXPECT_EQ(verdict(4, restored(dropped(4))), Verdict::GARBAGE) << "deleted before the backup";
  EXPECT_EQ(verdict(5, restored(dropped(4))), Verdict::KEPT);
  EXPECT_EQ(verdict(5, restored(dropped(4), Restored::RELEASED)), Verdict::GARBAGE);
  auto later = restored(unknown());
  later.nextHandle = ChunkHandle(3000);
  EXPECT_EQ(judge(ChunkHandle(2000), ChunkVersion(1), later), Verdict::UNKNOWN) << "a create cut off since";
  later = restored(later, Restored::RELEASED);
  later.restoredFloor = 1000;
  EXPECT_EQ(judge(ChunkHandle(2000), ChunkVersion(1), later), Verdict::UNKNOWN)
      << "the same, after a release";
}
TEST(Judge, AHandleGivenOutThatNoFileHasIsUnknown) {
  EXPECT_EQ(verdict(1, unknown()), Verdict::UNKNOWN);
}

class GarbagePlanTest : public testing::Test {
 public:
  ~GarbagePlanTest() noexcept override {}

 protected:
  GarbagePlan plan;
  static kj::TimePoint at(int64_t ms) {
    return kj::origin<kj::TimePoint>() + (1'000'000 + ms) * kj::MILLISECONDS;
  }
  void seen(uint64_t handle, Verdict verdict, int64_t ms = 0, ServerId store = STORE,
            LogIndex asOf = LogIndex(1)) {
    plan.seen(store, ChunkHandle(handle), ChunkVersion(1), verdict, asOf, at(ms));
  }
  void seenMany(uint64_t first, uint32_t count, Verdict verdict, ServerId store = STORE) {
    for (uint64_t i = 0; i < count; ++i) seen(first + i, verdict, 0, store);
  }
  size_t due(int64_t ms, ServerId store = STORE, LogIndex durable = DURABLE) {
    return plan.due(store, at(ms), durable).size();
  }
};

TEST_F(GarbagePlanTest, RecordedGarbageAndStaleReplicasGoAtOnce) {
  seen(1, Verdict::GARBAGE);
  seen(2, Verdict::STALE);
  EXPECT_EQ(due(0), 2u);
  EXPECT_EQ(due(0, OTHER), 0u);
}

TEST_F(GarbagePlanTest, UnknownOnesWaitForTheirGrace) {
  seen(1, Verdict::UNKNOWN);
  EXPECT_EQ(due(59'999), 0u);
  EXPECT_EQ(due(60'000), 1u);
}

TEST_F(GarbagePlanTest, TheGraceRunsFromTheFirstSightNotFromEachReport) {
  seen(1, Verdict::UNKNOWN, 0);
  seen(1, Verdict::UNKNOWN, 50'000);
  EXPECT_EQ(due(60'000), 1u);
}

TEST_F(GarbagePlanTest, AChunkThatGotItsFileMeanwhileIsSpared) {
  seen(1, Verdict::UNKNOWN);
  seen(1, Verdict::KEEP, 1);
  EXPECT_EQ(due(60'000), 0u);
  EXPECT_EQ(plan.waiting(), 0u);
}

TEST_F(GarbagePlanTest, NothingGoesBeforeTheLogThatCondemnedItIsOnStableStorage) {
  seen(1, Verdict::GARBAGE, 0, STORE, LogIndex(50));
  EXPECT_EQ(due(0, STORE, LogIndex(49)), 0u);
  EXPECT_EQ(due(0, STORE, LogIndex(50)), 1u);
}

TEST_F(GarbagePlanTest, AtMostAHundredASecondAStore) {
  seenMany(1, 250, Verdict::GARBAGE);
  seenMany(1, 250, Verdict::GARBAGE, OTHER);
  EXPECT_EQ(due(0), 100u);
  EXPECT_EQ(due(500), 0u);
  EXPECT_EQ(due(0, OTHER), 100u);
  EXPECT_EQ(due(1000), 100u);
}

TEST_F(GarbagePlanTest, GoesRoundSoThatOnesThatFailBlockNobody) {
  seenMany(1, 150, Verdict::GARBAGE);
  EXPECT_EQ(due(0), 100u);
  auto next = plan.due(STORE, at(1000), DURABLE);
  EXPECT_EQ(next[0].chunk, ChunkHandle(101));
  EXPECT_EQ(next[50].chunk, ChunkHandle(1));
}

TEST_F(GarbagePlanTest, WhatIsDoneLeavesTheList) {
  seenMany(1, 3, Verdict::GARBAGE);
  for (auto& doomed : plan.due(STORE, at(0), DURABLE)) plan.done(STORE, doomed.chunk);
  EXPECT_EQ(plan.waiting(), 0u);
}

TEST_F(GarbagePlanTest, AStoreThatIsMostlyUnknownPullsTheBrakeForAll) {
  plan.reportBegins(STORE);
  seenMany(1, 40, Verdict::KEEP);
  seenMany(100, 41, Verdict::UNKNOWN);
  seen(1, Verdict::GARBAGE, 0, OTHER);
  EXPECT_EQ(plan.reportEnds(STORE), GarbagePlan::Brake::PULLED);
  EXPECT_EQ(due(1'000'000), 0u);
  EXPECT_EQ(due(0, OTHER), 0u) << "whatever is wrong with the metaserver is wrong for every store";
  EXPECT_NE(std::string(plan.brake().cStr()).find("41"), std::string::npos) << plan.brake().cStr();
}

TEST_F(GarbagePlanTest, AMinorityOrAHandfulOfUnknownsDoesNot) {
  plan.reportBegins(STORE);
  seenMany(1, 41, Verdict::KEEP);
  seenMany(100, 40, Verdict::UNKNOWN);
  EXPECT_EQ(plan.reportEnds(STORE), GarbagePlan::Brake::OFF);
  plan.reportBegins(OTHER);
  seenMany(1, BRAKE_CHUNKS_MIN - 1, Verdict::UNKNOWN, OTHER);
  EXPECT_EQ(plan.reportEnds(OTHER), GarbagePlan::Brake::OFF);
}

TEST_F(GarbagePlanTest, AWholeStoreOfDeletedFilesIsNoAccident) {
  plan.reportBegins(STORE);
  seenMany(1, 500, Verdict::GARBAGE);
  EXPECT_EQ(plan.reportEnds(STORE), GarbagePlan::Brake::OFF);
  EXPECT_EQ(due(0), 100u);
}

TEST_F(GarbagePlanTest, TheOperatorMayReleaseIt) {
  plan.reportBegins(STORE);
  seenMany(1, 100, Verdict::UNKNOWN);
  EXPECT_EQ(plan.reportEnds(STORE), GarbagePlan::Brake::PULLED);
  plan.releaseBrake();
  EXPECT_EQ(plan.brake().size(), 0u);
  EXPECT_EQ(due(60'000), 100u);
}

TEST_F(GarbagePlanTest, OneChunkNewerThanTheNamespaceStopsEverythingAndNoReleaseHelps) {
  plan.reportBegins(STORE);
  seenMany(1, 100, Verdict::GARBAGE);
  seen(500, Verdict::AHEAD);
  EXPECT_EQ(due(0), 0u);
  plan.releaseBrake();
  EXPECT_EQ(due(0), 0u);
  EXPECT_NE(std::string(plan.brake().cStr()).find("500"), std::string::npos) << plan.brake().cStr();
}

TEST_F(GarbagePlanTest, ANewReportOrTheStoresDepartureEndsItsBrake) {
  plan.reportBegins(STORE);
  seen(500, Verdict::AHEAD);
  EXPECT_NE(plan.brake().size(), 0u);
  plan.reportBegins(STORE);
  EXPECT_EQ(plan.brake().size(), 0u);
  seen(500, Verdict::AHEAD);
  plan.forget(STORE);
  EXPECT_EQ(plan.brake().size(), 0u);
}

}  // namespace
}  // namespace cairn
