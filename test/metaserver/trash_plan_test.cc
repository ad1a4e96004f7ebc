// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// When the trash gives space back before its time.
#include "metaserver/trash_plan.h"

#include <gtest/gtest.h>

#include <vector>

#include "metaserver/placement.h"

namespace cairn {
namespace {

constexpr uint64_t GIB = 1ull << 30;

class TrashPlanTest : public testing::Test {
 protected:
  kj::TimePoint now = kj::origin<kj::TimePoint>() + 1000 * kj::SECONDS;
  TrashPlan plan;
  std::vector<TrashStore> stores{{100 * GIB, 50 * GIB}, {100 * GIB, 50 * GIB}, {100 * GIB, 50 * GIB}};
  uint64_t garbage = 0;

  uint64_t due(uint32_t copies = 3) {
    return plan.due(kj::arrayPtr(stores.data(), stores.size()), copies, garbage, now);
  }
};

TEST_F(TrashPlanTest, ItsReserveIsAboveThatOfPlacement) {
  for (uint64_t total : {GIB / 4, GIB, 20 * GIB, 1000 * GIB}) {
    EXPECT_TRUE(hasRoom(total, trashReserve(total) - 1))
        << "nobody has been refused when the trash gives way";
  }
}

TEST_F(TrashPlanTest, NothingIsDueWhileAsManyStoresAsAChunkWantsHaveRoom) {
  EXPECT_EQ(due(), 0u);
  stores.push_back({100 * GIB, 0});
  EXPECT_EQ(due(), 0u) << "the fourth need not have any";
  EXPECT_GT(due(4), 0u);
  stores.clear();
  EXPECT_EQ(due(), 0u) << "nobody tells how it is";
}

TEST_F(TrashPlanTest, WhatTheRoomiestStoresLackIsDueForEachCopy) {
  stores = {{100 * GIB, 50 * GIB}, {100 * GIB, 7 * GIB}, {100 * GIB, 4 * GIB}, {100 * GIB, 0}};
  EXPECT_EQ(due(), 3 * GIB) << "3 GiB and 6 GiB, over three copies";
}

TEST_F(TrashPlanTest, TheEffectOfAStepIsWaitedFor) {
  stores[0].bytesFree = stores[1].bytesFree = stores[2].bytesFree = 0;
  EXPECT_EQ(due(), 10 * GIB);
  plan.purged(now);
  EXPECT_EQ(due(), 0u) << "heartbeats have yet to tell";
  garbage = 5;
  now += 3 * kj::SECONDS;
  EXPECT_EQ(due(), 0u) << "stores are deleting";
  garbage = 0;
  EXPECT_EQ(due(), 10 * GIB) << "all is deleted, and it was not enough";
  plan.purged(now);
  garbage = 5;
  now += TRASH_EFFECT;
  EXPECT_EQ(due(), 10 * GIB) << "a store that is away must not stop it";
}

TEST_F(TrashPlanTest, WhoWasRefusedCountsWhateverTheStoresSay) {
  plan.refused(now);
  EXPECT_EQ(due(), TRASH_STEP);
  now += TRASH_WANTED;
  EXPECT_EQ(due(), 0u);
}

TEST_F(TrashPlanTest, SpaceMayComeWhileTheTrashHasSomethingOrWhatItGaveIsOnItsWay) {
  EXPECT_FALSE(plan.spaceMayCome(0, 7, now)) << "garbage of others: nobody knows when it goes";
  EXPECT_TRUE(plan.spaceMayCome(1, 0, now));
  plan.purged(now);
  EXPECT_TRUE(plan.spaceMayCome(0, 0, now)) << "until heartbeats have told";
  now += TRASH_EFFECT;
  EXPECT_FALSE(plan.spaceMayCome(0, 0, now));
  EXPECT_TRUE(plan.spaceMayCome(0, 3, now));
  now += TRASH_WANTED;
  EXPECT_FALSE(plan.spaceMayCome(0, 3, now)) << "for ever is too long";
}

}  // namespace
}  // namespace cairn
