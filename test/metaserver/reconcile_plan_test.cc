// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Which replicas are equal, and which one the others are made equal to.
#include "metaserver/reconcile_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace cairn {
namespace {

using Machine = AdoptedReplica::Machine;

constexpr ServerId ONE(1), TWO(2), THREE(3);
constexpr ChunkVersion V4(4), V5(5);

AdoptedReplica replica(ServerId server, ContentMark content, Machine machine = Machine::UNBROKEN,
                       uint32_t length = 100) {
  return {server, content, length, machine};
}

ReconcilePlan plan(std::initializer_list<AdoptedReplica> replicas) {
  return planReconcile(kj::arrayPtr(replicas.begin(), replicas.size()));
}

bool has(const ReconcilePlan& plan, ServerId server) {
  return std::find(plan.unequal.begin(), plan.unequal.end(), server) != plan.unequal.end();
}

TEST(ReconcilePlanTest, ReplicasThatHaveAppliedTheSameWritesNeedNoLook) {
  EXPECT_FALSE(plan({replica(ONE, {V4, 7}), replica(TWO, {V4, 7}), replica(THREE, {V4, 7})}).needed());
  EXPECT_FALSE(plan({replica(ONE, {V4, 7})}).needed());
  EXPECT_FALSE(plan({}).needed());
}

TEST(ReconcilePlanTest, TheOneThatGotFurthestIsTheReference) {
  auto made = plan({replica(ONE, {V4, 7}), replica(TWO, {V4, 8}), replica(THREE, {V4, 8})});
  EXPECT_EQ(made.reference, TWO);
  EXPECT_EQ(made.unequal.size(), 1u);
  EXPECT_TRUE(has(made, ONE));
  auto later = plan({replica(ONE, {V4, 90}), replica(TWO, {V5, 1}), replica(THREE, {V4, 90})});
  EXPECT_EQ(later.reference, TWO) << "a version begins where the one before it has ended";
  EXPECT_EQ(later.unequal.size(), 2u);
}

TEST(ReconcilePlanTest, WhatIsNotKnownIsCompared) {
  auto made = plan({replica(ONE, {}), replica(TWO, {V4, 2}), replica(THREE, {})});
  EXPECT_EQ(made.reference, TWO);
  EXPECT_TRUE(has(made, ONE) && has(made, THREE));
  auto nobody = plan({replica(ONE, {}), replica(TWO, {}), replica(THREE, {})});
  EXPECT_TRUE(nobody.needed());
  EXPECT_EQ(nobody.unequal.size(), 2u) << "not known is not the same";
}

TEST(ReconcilePlanTest, ASuspectIsMadeEqualToOneThatIsNone) {
  auto made = plan({replica(ONE, {V5, 9}, Machine::SUSPECT), replica(TWO, {}, Machine::UNBROKEN, 10),
                    replica(THREE, {}, Machine::SUSPECT)});
  EXPECT_EQ(made.reference, TWO) << "whatever the suspects say";
  EXPECT_EQ(made.kind, ReconcilePlan::Reference::UNBROKEN);
  EXPECT_TRUE(has(made, ONE) && has(made, THREE));
}

TEST(ReconcilePlanTest, SuspectsAloneAreMadeEqualToTheLongestOfThem) {
  auto made = plan({replica(ONE, {}, Machine::SUSPECT, 10), replica(TWO, {}, Machine::SUSPECT, 30),
                    replica(THREE, {}, Machine::SUSPECT, 20)});
  EXPECT_EQ(made.reference, TWO);
  EXPECT_EQ(made.kind, ReconcilePlan::Reference::SUSPECT);
  EXPECT_EQ(made.unequal.size(), 2u);
  auto alone = plan({replica(ONE, {}, Machine::SUSPECT)});
  EXPECT_TRUE(alone.needed()) << "its doubt has to be ended";
  EXPECT_EQ(alone.unequal.size(), 0u);
}

}  // namespace
}  // namespace cairn
