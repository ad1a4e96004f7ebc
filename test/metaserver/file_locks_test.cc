// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The lock table and the ranges in it: the rules of fcntl(2) and flock(2).
#include "metaserver/file_locks.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <random>
#include <string>

namespace cairn {
namespace {

std::string text(const LockRanges& ranges) {
  std::string result;
  for (auto& range : ranges.all()) {
    result += (result.empty() ? "" : " ") + std::to_string(range.start) + "-" +
              (range.end == LOCK_END_MAX ? "end" : std::to_string(range.end)) +
              (range.type == LockType::EXCLUSIVE ? "x" : "s");
  }
  return result;
}

TEST(LockRanges, UnlockingTheMiddleLeavesTheEnds) {
  LockRanges ranges;
  ranges.set({0, 99, LockType::EXCLUSIVE});
  ranges.set({40, 59, LockType::UNLOCK});
  EXPECT_EQ(text(ranges), "0-39x 60-99x");
  ranges.set({0, LOCK_END_MAX, LockType::UNLOCK});
  EXPECT_TRUE(ranges.isEmpty());
}

TEST(LockRanges, NeighboursOfOneTypeAreOne) {
  LockRanges ranges;
  ranges.set({0, 9, LockType::SHARED});
  ranges.set({20, LOCK_END_MAX, LockType::SHARED});
  ranges.set({10, 19, LockType::SHARED});
  EXPECT_EQ(text(ranges), "0-ends");
  ranges.set({5, 6, LockType::EXCLUSIVE});
  EXPECT_EQ(text(ranges), "0-4s 5-6x 7-ends");
  ranges.set({4, 7, LockType::SHARED});
  EXPECT_EQ(text(ranges), "0-ends");
}

struct FileLocksTest : testing::Test {
  FileLocks locks;
  static LockRequest request(uint64_t owner, LockType type, uint64_t start = 0, uint64_t end = LOCK_END_MAX,
                             uint64_t inode = 1, LockKind kind = LockKind::POSIX) {
    return {InodeId(inode), kind, {SessionId(owner / 100), owner}, {start, end, type}, uint32_t(owner)};
  }
  bool take(const LockRequest& wanted) {
    if (locks.conflict(wanted) != nullptr) return false;
    locks.set(wanted);
    locks.checkInvariants();
    return true;
  }
  LockTicket wait(const LockRequest& wanted) {
    LockTicket ticket{wanted.owner.session, wanted.owner.number};
    locks.wait(ticket, wanted);
    locks.checkInvariants();
    return ticket;
  }
  size_t grantedOn(uint64_t inode, LockKind kind = LockKind::POSIX) {
    auto granted = locks.grant(InodeId(inode), kind).size();
    locks.checkInvariants();
    return granted;
  }
};
constexpr auto SHARED = LockType::SHARED, EXCLUSIVE = LockType::EXCLUSIVE, UNLOCK = LockType::UNLOCK;

TEST_F(FileLocksTest, SharedLocksLiveTogetherAndExclusiveOnesDoNot) {
  EXPECT_TRUE(take(request(101, SHARED)));
  EXPECT_TRUE(take(request(201, SHARED)));
  EXPECT_FALSE(take(request(301, EXCLUSIVE)));
  EXPECT_TRUE(take(request(101, UNLOCK)));
  EXPECT_TRUE(take(request(201, EXCLUSIVE))) << "the last reader may become the writer";
  EXPECT_FALSE(take(request(101, SHARED)));
  EXPECT_TRUE(take(request(101, EXCLUSIVE, 0, LOCK_END_MAX, 2))) << "another file";
  EXPECT_TRUE(take(request(101, EXCLUSIVE, 0, LOCK_END_MAX, 1, LockKind::WHOLE)))
      << "flock and fcntl do not meet";
}

TEST_F(FileLocksTest, RangesMeetOnlyWhereTheyOverlap) {
  EXPECT_TRUE(take(request(101, EXCLUSIVE, 0, 9)));
  EXPECT_TRUE(take(request(201, EXCLUSIVE, 10, 19)));
  EXPECT_FALSE(take(request(301, SHARED, 9, 10)));
  auto conflict = locks.conflict(request(301, SHARED, 5, 30));
  EXPECT_EQ(KJ_REQUIRE_NONNULL(conflict).pid, 101u) << "the first byte that is taken";
  EXPECT_TRUE(take(request(301, SHARED, 20, LOCK_END_MAX)));
}

TEST_F(FileLocksTest, WaitersGetTheirTurnInOrderWhenItIsFree) {
  ASSERT_TRUE(take(request(101, EXCLUSIVE)));
  wait(request(201, EXCLUSIVE));
  wait(request(301, SHARED));
  EXPECT_EQ(grantedOn(1), 0u);
  locks.set(request(101, UNLOCK));
  auto granted = locks.grant(InodeId(1), LockKind::POSIX);
  ASSERT_EQ(granted.size(), 1u);
  EXPECT_EQ(granted[0].session, SessionId(2));
  locks.set(request(201, SHARED));
  EXPECT_EQ(grantedOn(1), 1u) << "made weaker, it lets the reader in";
}

TEST_F(FileLocksTest, AWaitThatIsGivenUpIsNotGranted) {
  ASSERT_TRUE(take(request(101, EXCLUSIVE)));
  auto ticket = wait(request(201, EXCLUSIVE));
  locks.giveUp(ticket);
  locks.set(request(101, UNLOCK));
  EXPECT_EQ(grantedOn(1), 0u);
  EXPECT_EQ(locks.fileCount(), 0u);
}

TEST_F(FileLocksTest, TheLocksAndWaitsOfASessionEndWithIt) {
  ASSERT_TRUE(take(request(101, EXCLUSIVE)));
  ASSERT_TRUE(take(request(102, EXCLUSIVE, 0, 5, 2)));
  wait(request(201, SHARED));
  wait(request(202, EXCLUSIVE, 0, 5, 2));
  EXPECT_EQ(locks.ended(SessionId(1)).size(), 2u);
  locks.checkInvariants();
  EXPECT_EQ(locks.ended(SessionId(2)).size(), 0u);
  EXPECT_EQ(locks.fileCount(), 0u);
  EXPECT_EQ(locks.waitingCount(), 0u);
}

TEST_F(FileLocksTest, ACircleOfWaitsIsSeenBeforeItCloses) {
  ASSERT_TRUE(take(request(101, EXCLUSIVE, 0, 0)));
  ASSERT_TRUE(take(request(201, EXCLUSIVE, 1, 1)));
  ASSERT_TRUE(take(request(301, EXCLUSIVE, 2, 2)));
  EXPECT_FALSE(locks.wouldDeadlock(request(101, EXCLUSIVE, 1, 1)));
  wait(request(101, EXCLUSIVE, 1, 1));
  EXPECT_FALSE(locks.wouldDeadlock(request(201, EXCLUSIVE, 2, 2)));
  wait(request(201, EXCLUSIVE, 2, 2));
  EXPECT_TRUE(locks.wouldDeadlock(request(301, EXCLUSIVE, 0, 0)));
  EXPECT_FALSE(locks.wouldDeadlock(request(401, EXCLUSIVE, 0, 0))) << "who holds nothing closes no circle";
}

TEST_F(FileLocksTest, RandomRequestsKeepTheRules) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    auto start = random() % 20, end = start + random() % 10;
    const LockType types[] = {SHARED, EXCLUSIVE, UNLOCK};
    auto wanted =
        request(100 * (1 + random() % 3) + random() % 2, types[random() % 3], start, end, 1 + random() % 2);
    if (locks.conflict(wanted) == nullptr) {
      locks.set(wanted);
      locks.grant(wanted.inode, wanted.kind);
    } else if (locks.waitingCount() < 5) {
      locks.wait({wanted.owner.session, random() % 4}, wanted);
    }
    if (random() % 500 == 0) locks.ended(SessionId(1 + random() % 3));
    locks.checkInvariants();
  }
}

}  // namespace
}  // namespace cairn
