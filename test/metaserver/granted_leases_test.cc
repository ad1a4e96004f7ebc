// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Who may believe in a lease, and when another may be granted. Time is set by hand.
#include "metaserver/granted_leases.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

namespace cairn {
namespace {

constexpr ChunkHandle CHUNK{7};
constexpr ServerId ONE{1}, TWO{2}, THREE{3};
constexpr ChunkVersion V1{1}, V2{2}, V3{3};

class GrantedLeasesTest : public testing::Test {
 public:
  ~GrantedLeasesTest() noexcept override { table.checkInvariants(); }

 protected:
  using Replace = GrantedLeases::Replace;
  GrantedLeases table;

  static kj::TimePoint at(int64_t ms) { return kj::origin<kj::TimePoint>() + ms * kj::MILLISECONDS; }
  void grant(ChunkVersion version, std::initializer_list<ServerId> members, int64_t sent, int64_t answered) {
    table.ordered(CHUNK, version, kj::arrayPtr(members.begin(), members.size()), at(sent));
    table.confirmed(CHUNK, version, at(answered));
  }
  bool usable(int64_t ms) { return table.usable(CHUNK, at(ms)) != nullptr; }
  GrantedLeases::ReplaceAnswer mayReplace(std::initializer_list<ServerId> adopted, int64_t ms) {
    return table.mayReplace(CHUNK, kj::arrayPtr(adopted.begin(), adopted.size()), at(ms));
  }
};

TEST_F(GrantedLeasesTest, ClientsSeeALeaseOnlyOnceItsHolderHasAnswered) {
  ServerId members[] = {ONE, TWO};
  table.ordered(CHUNK, V1, members, at(0));
  EXPECT_FALSE(usable(1));
  table.confirmed(CHUNK, V1, at(10));
  EXPECT_TRUE(usable(10));
  KJ_IF_MAYBE (lease, table.usable(CHUNK, at(10))) {
    EXPECT_EQ(lease->primary, ONE);
    EXPECT_EQ(lease->version, V1);
  }
}

TEST_F(GrantedLeasesTest, ClientsStopTrustingItBeforeItsHolderDoes) {
  grant(V1, {ONE}, 0, 200);
  EXPECT_TRUE(usable(59'499));
  EXPECT_FALSE(usable(59'500)) << "sent + 60 s - the clock error";
  EXPECT_EQ(table.expire(at(60'699)).size(), 0u);
  EXPECT_EQ(table.expire(at(60'700)).size(), 1u) << "answered + 60 s + the clock error";
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(GrantedLeasesTest, AnExtensionCountsFromTheHeartbeat) {
  grant(V1, {ONE, TWO}, 0, 0);
  EXPECT_TRUE(table.extend(CHUNK, V1, ONE, at(30'000)));
  EXPECT_TRUE(usable(89'499));
  EXPECT_FALSE(usable(89'500));
  EXPECT_EQ(table.expire(at(90'499)).size(), 0u);
  EXPECT_EQ(table.expire(at(90'500)).size(), 1u);
}

TEST_F(GrantedLeasesTest, OnlyTheHolderOfThatVersionMayExtend) {
  grant(V2, {ONE, TWO}, 0, 0);
  EXPECT_FALSE(table.extend(CHUNK, V1, ONE, at(1)));
  EXPECT_FALSE(table.extend(CHUNK, V3, ONE, at(1)));
  EXPECT_FALSE(table.extend(CHUNK, V2, TWO, at(1)));
  EXPECT_FALSE(table.extend(ChunkHandle(8), V2, ONE, at(1)));
  EXPECT_TRUE(table.extend(CHUNK, V2, ONE, at(1)));
}

TEST_F(GrantedLeasesTest, ARecalledLeaseIsNeitherShownNorExtendedButStillFeared) {
  grant(V1, {ONE}, 0, 0);
  table.recall(CHUNK);
  EXPECT_FALSE(usable(1));
  EXPECT_FALSE(table.extend(CHUNK, V1, ONE, at(1)));
  EXPECT_EQ(mayReplace({TWO}, 1).verdict, Replace::WAIT);
}

TEST_F(GrantedLeasesTest, OneOldMemberThatAdoptedAHigherVersionIsEnough) {
  grant(V1, {ONE, TWO, THREE}, 0, 0);
  EXPECT_EQ(mayReplace({TWO}, 1).verdict, Replace::NOW) << "it refuses the old primary's writes";
  EXPECT_EQ(mayReplace({ONE}, 1).verdict, Replace::NOW) << "the holder itself ended its lease";
}

TEST_F(GrantedLeasesTest, AStrangersAdoptionStopsNobody) {
  grant(V1, {ONE, TWO}, 0, 0);
  auto answer = mayReplace({THREE}, 1);
  EXPECT_EQ(answer.verdict, Replace::WAIT);
  EXPECT_EQ(answer.until, at(60'500));
}

TEST_F(GrantedLeasesTest, ASoleHolderIsWaitedOut) {
  grant(V1, {ONE}, 0, 100);
  auto answer = mayReplace({TWO}, 30'000);
  EXPECT_EQ(answer.verdict, Replace::WAIT);
  EXPECT_EQ(answer.until, at(60'600));
  EXPECT_EQ(mayReplace({TWO}, 60'600).verdict, Replace::NOW);
}

TEST_F(GrantedLeasesTest, AnOrderWithoutAnswerNeverRunsOut) {
  ServerId members[] = {ONE};
  table.ordered(CHUNK, V1, members, at(0));
  EXPECT_EQ(mayReplace({TWO}, 1'000'000).verdict, Replace::NEVER_KNOWN)
      << "it may lie in a queue and arrive now";
  EXPECT_EQ(table.expire(at(1'000'000)).size(), 0u);
  EXPECT_EQ(mayReplace({ONE}, 1).verdict, Replace::NOW);
}

TEST_F(GrantedLeasesTest, ANewProcessEndsItsLeasesAndThoseItIsAMemberOfAreGivenToNobodyAnyMore) {
  grant(V1, {ONE, TWO}, 0, 0);
  ServerId others[] = {TWO, ONE}, strangers[] = {TWO, THREE};
  table.ordered(ChunkHandle(8), V1, others, at(0));
  table.confirmed(ChunkHandle(8), V1, at(0));
  table.ordered(ChunkHandle(9), V1, strangers, at(0));
  table.confirmed(ChunkHandle(9), V1, at(0));
  auto ended = table.processEnded(ONE);
  EXPECT_EQ(ended.size(), 2u);
  EXPECT_EQ(table.find(CHUNK), nullptr);
  EXPECT_NE(table.find(ChunkHandle(8)), nullptr) << "its primary may still believe in it";
  EXPECT_EQ(table.usable(ChunkHandle(8), at(1)), nullptr);
  EXPECT_NE(table.usable(ChunkHandle(9), at(1)), nullptr);
  EXPECT_EQ(mayReplace({THREE}, 1).verdict, Replace::NOW);
}

TEST_F(GrantedLeasesTest, ALateWordAboutAnOldLeaseDoesNotEndTheNewOne) {
  grant(V2, {ONE, TWO}, 0, 0);
  table.ended(CHUNK, V1);
  EXPECT_TRUE(usable(1));
  table.confirmed(CHUNK, V1, at(5'000));
  EXPECT_FALSE(usable(59'500)) << "nor prolong it";
  table.ended(CHUNK, V2);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(GrantedLeasesTest, ALeaseIsNeverReplacedUnderTheSameOrAnOlderVersion) {
  grant(V2, {ONE}, 0, 0);
  ServerId members[] = {TWO};
  EXPECT_THROW(table.ordered(CHUNK, V2, members, at(1)), kj::Exception);
  EXPECT_THROW(table.ordered(CHUNK, V1, members, at(1)), kj::Exception);
}

// The invariant itself: whatever the order of events, the old holder's belief (by its own clock, at worst
// CLOCK_ERROR_MAX off) is over, or powerless, when a successor may be told.
TEST_F(GrantedLeasesTest, NoSuccessorWhileASoleHolderMayBelieve) {
  for (int64_t sent : {0, 100}) {
    for (int64_t delay : {0, 1, 500, 999}) {  // until the order arrived
      for (int64_t answer : {0, 1, 300}) {    // from then until its answer arrived
        for (int64_t heartbeat : {-1, 20'000, 59'000}) {
          GrantedLeases fresh;
          ServerId members[] = {ONE};
          fresh.ordered(CHUNK, V1, members, at(sent));
          fresh.confirmed(CHUNK, V1, at(sent + delay + answer));
          int64_t holderUntil = sent + delay + 60'000;
          if (heartbeat >= 0 && fresh.extend(CHUNK, V1, ONE, at(heartbeat + 50))) {
            holderUntil = heartbeat + 60'000;  // counted from when it was sent
          }
          ServerId adopted[] = {TWO};
          int64_t latest = holderUntil + CLOCK_ERROR_MAX / kj::MILLISECONDS;
          for (int64_t now : {int64_t(0), holderUntil - 1, latest - 1}) {
            EXPECT_EQ(fresh.mayReplace(CHUNK, adopted, at(now)).verdict, Replace::WAIT) << now;
          }
          fresh.checkInvariants();
        }
      }
    }
  }
}

}  // namespace
}  // namespace cairn
