// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Where new replicas go. Deterministic: the random number is an argument.
#include "metaserver/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace cairn {
namespace {

constexpr uint64_t GIB = 1ull << 30;

PlacementCandidate store(uint32_t id, kj::StringPtr host, kj::StringPtr rack, uint64_t free = 50 * GIB,
                         uint32_t creations = 0) {
  return {ServerId(id), host, rack, 100 * GIB, free, creations};
}

std::set<uint32_t> placed(std::initializer_list<PlacementCandidate> candidates, uint32_t count,
                          uint64_t random = 1, kj::StringPtr writer = "") {
  std::set<uint32_t> result;
  for (auto id : place({count, writer, random}, kj::arrayPtr(candidates.begin(), candidates.size()))) {
    EXPECT_TRUE(result.insert(id.value()).second) << "twice on one store";
  }
  return result;
}

TEST(Placement, DifferentHostsBeforeAnythingElse) {
  for (uint64_t random = 0; random < 50; ++random) {
    auto chosen = placed({store(1, "a", "r1"), store(2, "a", "r1"), store(3, "b", "r1", 6 * GIB),
                          store(4, "c", "r1", 6 * GIB, 100)},
                         3, random);
    EXPECT_TRUE(chosen.count(3) && chosen.count(4)) << "fuller and busier, but on other hosts";
  }
}

TEST(Placement, DifferentRacksAmongDifferentHosts) {
  for (uint64_t random = 0; random < 50; ++random) {
    auto chosen =
        placed({store(1, "a", "r1"), store(2, "b", "r1"), store(3, "c", "r2", 10 * GIB)}, 2, random);
    EXPECT_TRUE(chosen.count(3));
  }
}

TEST(Placement, OneHostIsBetterThanTooFewReplicas) {
  EXPECT_EQ(placed({store(1, "a", ""), store(2, "a", ""), store(3, "a", "")}, 3).size(), 3u);
}

TEST(Placement, FewerThanAskedWhenThereAreNotMore) {
  EXPECT_EQ(placed({store(1, "a", ""), store(2, "b", "")}, 3).size(), 2u);
  EXPECT_EQ(placed({}, 3).size(), 0u);
  EXPECT_EQ(placed({store(1, "a", "")}, 0).size(), 0u);
}

TEST(Placement, AFullStoreGetsNothing) {
  EXPECT_EQ(placed({store(1, "a", "", GIB), store(2, "b", "", 1), store(3, "c", "")}, 3),
            std::set<uint32_t>{3})
      << "1 GiB is the reserve of a large store";
  EXPECT_TRUE(hasRoom(100 << 20, 6 << 20));
  EXPECT_FALSE(hasRoom(100 << 20, 5 << 20)) << "5 % of a small one";
  EXPECT_FALSE(hasRoom(0, 0)) << "a store that has not told its size";
}

TEST(Placement, BelowAverageUseGoesFirst) {
  for (uint64_t random = 0; random < 50; ++random) {
    auto chosen = placed(
        {store(1, "a", "", 10 * GIB), store(2, "b", "", 60 * GIB), store(3, "c", "", 60 * GIB)}, 2, random);
    EXPECT_FALSE(chosen.count(1));
  }
}

TEST(Placement, AnEmptyStoreThatJustJoinedIsNotFlooded) {
  for (uint64_t random = 0; random < 50; ++random) {
    auto chosen =
        placed({store(1, "a", "", 99 * GIB, 40), store(2, "b", "", 50 * GIB), store(3, "c", "", 50 * GIB)}, 2,
               random);
    EXPECT_FALSE(chosen.count(1));
  }
}

TEST(Placement, TheWritersOwnHostHoldsThePrimary) {
  PlacementCandidate stores[] = {store(1, "a", ""), store(2, "b", ""), store(3, "c", "")};
  for (uint64_t random = 0; random < 50; ++random) {
    EXPECT_EQ(place({3, "b", random}, stores)[0], ServerId(2));
  }
}

TEST(Placement, EqualStoresShareTheLoad) {
  PlacementCandidate stores[] = {store(1, "a", ""), store(2, "b", ""), store(3, "c", ""), store(4, "d", "")};
  std::map<uint32_t, int> primaries, replicas;
  for (uint64_t random = 0; random < 4000; ++random) {
    auto chosen = place({3, "", random}, stores);
    ++primaries[chosen[0].value()];
    for (auto id : chosen) ++replicas[id.value()];
  }
  for (uint32_t id = 1; id <= 4; ++id) {
    EXPECT_NEAR(primaries[id], 1000, 150);
    EXPECT_NEAR(replicas[id], 3000, 150);
  }
}

TEST(Placement, TheSameQuestionGetsTheSameAnswerWhateverTheOrder) {
  PlacementCandidate forward[] = {store(1, "a", ""), store(2, "b", ""), store(3, "c", ""), store(4, "d", "")};
  PlacementCandidate backward[] = {store(4, "d", ""), store(3, "c", ""), store(2, "b", ""),
                                   store(1, "a", "")};
  for (uint64_t random = 0; random < 100; ++random) {
    auto one = place({3, "", random}, forward), two = place({3, "", random}, backward);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), two.begin(), two.end()));
  }
}

}  // namespace
}  // namespace cairn
