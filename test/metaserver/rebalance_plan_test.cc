// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// When chunks move for balance, between which stores, and when it ends.
#include "metaserver/rebalance_plan.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <vector>

namespace cairn {
namespace {

constexpr uint64_t GIB = 1ull << 30;

class Balance : public testing::Test {
 protected:
  RebalancePlan plan{RebalancePlan::Automatic::YES};
  std::vector<BalanceStore> stores;

  void use(std::vector<uint32_t> percent) {
    stores.clear();
    for (uint32_t i = 0; i < percent.size(); ++i) {
      stores.push_back({ServerId(i + 1), 100 * GIB, (100 - percent[i]) * GIB, true, percent[i] < 99});
    }
  }
  kj::Maybe<RebalancePlan::Wish> next() { return plan.next(kj::arrayPtr(stores.data(), stores.size())); }
  bool idle() { return next() == nullptr; }
};

TEST_F(Balance, StoresThatAreNearlyEqualAreLeftAlone) {
  use({50, 52, 54});
  EXPECT_TRUE(idle());
  use({50, 60, 70});
  EXPECT_TRUE(idle()) << "apart by a fifth: an operator may ask, it does not begin by itself";
  EXPECT_FALSE(plan.running());
}

TEST_F(Balance, AnEmptyStoreThatJoinsIsFilledFromTheFullest) {
  use({50, 60, 40, 0});
  auto wish = KJ_ASSERT_NONNULL(next());
  EXPECT_EQ(wish.from, ServerId(2));
  EXPECT_EQ(wish.to, ServerId(4));
  EXPECT_EQ(wish.bytesMax, 30 * GIB);
}

TEST_F(Balance, AFullStoreIsEmptied) {
  use({50, 99, 50});
  EXPECT_EQ(KJ_ASSERT_NONNULL(next()).from, ServerId(2));
}

TEST_F(Balance, AnOperatorMayAskForLess) {
  use({50, 60, 70});
  plan.begin();
  EXPECT_TRUE(plan.running());
  EXPECT_EQ(KJ_ASSERT_NONNULL(next()).from, ServerId(3));
}

TEST_F(Balance, WhatIsUnderWayCountsAsDone) {
  use({70, 50});
  plan.begin();
  auto wish = KJ_ASSERT_NONNULL(next());
  plan.began(ChunkHandle(1), wish, 8 * GIB);
  EXPECT_TRUE(idle()) << "58 and 62 are near enough";
  EXPECT_TRUE(plan.running()) << "but it is not over yet";
  plan.ended(ChunkHandle(1));
  use({62, 58});
  EXPECT_TRUE(idle());
  EXPECT_FALSE(plan.running());
  EXPECT_EQ(plan.moves(), 1u);
}

TEST_F(Balance, OnlySoManyAreUnderWayAtATime) {
  use({90, 10});
  for (uint64_t chunk = 1; chunk <= MOVES_AT_ONCE; ++chunk) {
    plan.began(ChunkHandle(chunk), KJ_ASSERT_NONNULL(next()), 64 << 20);
  }
  EXPECT_TRUE(idle());
  plan.ended(ChunkHandle(1));
  EXPECT_FALSE(idle());
}

TEST_F(Balance, WhenNothingFitsItEndsAndDoesNotBeginAgainByItself) {
  use({90, 10});
  EXPECT_FALSE(idle());
  plan.nothingFits();
  EXPECT_TRUE(idle());
  EXPECT_FALSE(plan.running());
  plan.begin();
  EXPECT_FALSE(idle()) << "an operator may insist";
}

TEST_F(Balance, AStoreThatIsAwayOrDrainedHasNoPartInIt) {
  use({90, 50, 10});
  stores[2].takes = stores[2].present = false;
  auto wish = KJ_ASSERT_NONNULL(next());
  EXPECT_EQ(wish.to, ServerId(2));
}

// However chunks come out, it comes to an end, and nearer than it was.
TEST_F(Balance, ItEnds) {
  use({95, 80, 5, 0, 60});
  plan.begin();
  uint64_t chunk = 0;
  for (int step = 0; step < 1000; ++step) {
    auto wish = next();
    if (wish == nullptr) break;
    auto& move = KJ_ASSERT_NONNULL(wish);
    auto bytes = std::min<uint64_t>(move.bytesMax, (1 + chunk % 4) * GIB);
    ASSERT_GT(bytes, 0u);
    plan.began(ChunkHandle(++chunk), move, bytes);
    for (auto& store : stores) {
      if (store.server == move.from) store.bytesFree += bytes;
      if (store.server == move.to) store.bytesFree -= bytes;
      store.takes = store.bytesFree > GIB;
    }
    plan.ended(ChunkHandle(chunk));
  }
  EXPECT_TRUE(idle());
  EXPECT_FALSE(plan.running());
  EXPECT_LE(plan.spread(kj::arrayPtr(stores.data(), stores.size())), SPREAD_END);
}

}  // namespace
}  // namespace cairn
