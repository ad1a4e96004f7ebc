// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/lease_table.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

namespace cairn {
namespace {

constexpr auto START = kj::origin<kj::TimePoint>();
ChunkKey key(uint64_t handle, uint64_t version) {
  return {ChunkHandle(handle), ChunkVersion(version)};
}

struct Leases : testing::Test {
  LeaseTable leases;
  void grant(ChunkKey chunk, kj::Duration until) { leases.grant(chunk, START + until, {}, 0); }
  Status refusal(ChunkKey chunk, kj::Duration now) {
    return leases.refuse(chunk, START + now).orDefault(Status::OK);
  }
};

TEST_F(Leases, WithoutOneEveryWriteIsRefused) {
  EXPECT_EQ(refusal(key(1, 1), 0 * kj::SECONDS), Status::NOT_PRIMARY);
}

TEST_F(Leases, LetWritesThroughUntilTheInstantTheyEnd) {
  grant(key(1, 2), 60 * kj::SECONDS);
  EXPECT_EQ(refusal(key(1, 2), 60 * kj::SECONDS - 1 * kj::NANOSECONDS), Status::OK);
  EXPECT_EQ(refusal(key(1, 2), 60 * kj::SECONDS), Status::LEASE_EXPIRED);
  EXPECT_EQ(refusal(key(1, 1), 1 * kj::SECONDS), Status::STALE_VERSION);
  EXPECT_EQ(refusal(key(1, 3), 1 * kj::SECONDS), Status::NOT_PRIMARY);
}

TEST_F(Leases, AreAskedToBeExtendedOnlyWhenUsedAndHalfOver) {
  grant(key(1, 1), 60 * kj::SECONDS);
  grant(key(2, 1), 60 * kj::SECONDS);
  leases.at(ChunkHandle(1));
  EXPECT_EQ(leases.toExtend(START + 29 * kj::SECONDS).size(), 0u);
  auto wanted = leases.toExtend(START + 31 * kj::SECONDS);
  ASSERT_EQ(wanted.size(), 1u);
  EXPECT_EQ(wanted[0].handle, ChunkHandle(1));
  leases.extend(wanted[0], START + 91 * kj::SECONDS);
  EXPECT_EQ(refusal(key(1, 1), 90 * kj::SECONDS), Status::OK);
  EXPECT_EQ(refusal(key(2, 1), 90 * kj::SECONDS), Status::LEASE_EXPIRED);
  EXPECT_EQ(leases.toExtend(START + 80 * kj::SECONDS).size(), 0u) << "not used since";
}

TEST_F(Leases, AreNeverShortenedNorRevivedByAnAnswerThatComesLate) {
  grant(key(1, 1), 60 * kj::SECONDS);
  leases.extend(key(1, 1), START + 50 * kj::SECONDS);
  EXPECT_EQ(refusal(key(1, 1), 55 * kj::SECONDS), Status::OK);
  leases.endUpTo(key(1, 1));
  leases.extend(key(1, 1), START + 99 * kj::SECONDS);
  EXPECT_EQ(refusal(key(1, 1), 55 * kj::SECONDS), Status::NOT_PRIMARY);
  grant(key(1, 3), 60 * kj::SECONDS);
  leases.extend(key(1, 1), START + 99 * kj::SECONDS);
  EXPECT_EQ(refusal(key(1, 3), 61 * kj::SECONDS), Status::LEASE_EXPIRED);
  leases.endUpTo(key(1, 2));
  EXPECT_EQ(refusal(key(1, 3), 1 * kj::SECONDS), Status::OK) << "an order about an older version";
}

TEST_F(Leases, GoOnWithTheOrderUnderTheSameVersionAndBeginANewOneUnderTheNext) {
  leases.grant(key(1, 1), START + 60 * kj::SECONDS, {}, 100);
  leases.at(ChunkHandle(1)).nextSerial = 8;
  leases.at(ChunkHandle(1)).end = 500;
  leases.grant(key(1, 1), START + 99 * kj::SECONDS, {}, 100);
  EXPECT_EQ(leases.at(ChunkHandle(1)).nextSerial, 8u);
  EXPECT_EQ(leases.at(ChunkHandle(1)).end, 500u);
  leases.grant(key(1, 2), START + 99 * kj::SECONDS, {}, 300);
  EXPECT_EQ(leases.at(ChunkHandle(1)).nextSerial, 1u);
  EXPECT_EQ(leases.at(ChunkHandle(1)).end, 300u);
}

TEST_F(Leases, AreForgottenAWhileAfterTheirEnd) {
  grant(key(1, 1), 60 * kj::SECONDS);
  leases.dropExpired(START + 119 * kj::SECONDS);
  EXPECT_EQ(refusal(key(1, 1), 119 * kj::SECONDS), Status::LEASE_EXPIRED);
  leases.dropExpired(START + 120 * kj::SECONDS);
  EXPECT_EQ(leases.size(), 0u);
}

TEST(ApplyOrder, TakesWritesOneAfterTheOtherAndNothingAfterAGap) {
  ApplyOrder order;
  EXPECT_EQ(order.take(key(1, 1), 1), ApplyOrder::Turn::NEXT);
  EXPECT_EQ(order.take(key(1, 1), 2), ApplyOrder::Turn::NEXT);
  EXPECT_EQ(order.take(key(1, 1), 4), ApplyOrder::Turn::OUT_OF_ORDER);
  EXPECT_EQ(order.take(key(1, 1), 3), ApplyOrder::Turn::OUT_OF_ORDER);
  EXPECT_EQ(order.take(key(1, 2), 1), ApplyOrder::Turn::NEXT) << "a new version begins anew";
}

TEST(ApplyOrder, WhoHasForgottenWhereItWasTakesNothing) {
  ApplyOrder order;  // the daemon has restarted in the middle of a lease
  EXPECT_EQ(order.take(key(1, 1), 17), ApplyOrder::Turn::OUT_OF_ORDER);
}

TEST(ApplyOrder, AWriteThatCouldNotBeAppliedIsAGap) {
  ApplyOrder order;
  EXPECT_EQ(order.take(key(1, 1), 1), ApplyOrder::Turn::NEXT);
  order.missed(key(1, 1));
  EXPECT_EQ(order.take(key(1, 1), 2), ApplyOrder::Turn::OUT_OF_ORDER);
}

}  // namespace
}  // namespace cairn
