// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The two volatile tables: stores and the replicas they have told of.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include "metaserver/chunk_table.h"
#include "metaserver/server_table.h"

namespace cairn {
namespace {

constexpr ServerId ONE{1}, TWO{2};
constexpr ChunkHandle CHUNK{7};

class TablesTest : public testing::Test {
 public:
  ~TablesTest() noexcept override {}
  TablesTest() {
    servers.known(ONE, "store-one");
    servers.known(TWO, "store-two");
  }

 protected:
  ServerTable servers;
  ChunkTable chunks{servers};

  static kj::TimePoint at(int64_t ms) {
    return kj::origin<kj::TimePoint>() + (10'000 + ms) * kj::MILLISECONDS;
  }
  uint32_t join(ServerId id, uint32_t pid = 100, int64_t ms = 0) {
    return servers.registered({id, {kj::str("h:1"), kj::str(), kj::str("h")}, kj::str("r"), {1, pid}, {}},
                              at(ms));
  }
  ServerState state(ServerId id, int64_t ms) { return KJ_ASSERT_NONNULL(servers.find(id)).state(at(ms)); }
  void put(ServerId server, uint32_t registration, uint64_t version,
           ReplicaFacts::State state = ReplicaFacts::State::GOOD) {
    chunks.put(CHUNK, {server, registration, ChunkVersion(version), 0, state});
  }
  static ChunkRecord record(uint64_t version, uint64_t floor) {
    ChunkRecord record;
    record.version = ChunkVersion(version);
    record.floor = ChunkVersion(floor);
    return record;
  }
};

TEST_F(TablesTest, AKnownStoreIsDownUntilItComes) {
  EXPECT_EQ(state(ONE, 0), ServerState::DOWN);
  auto registration = join(ONE);
  EXPECT_EQ(state(ONE, 0), ServerState::REPORTING);
  servers.reportComplete(ONE, registration, at(1));
  EXPECT_EQ(state(ONE, 1), ServerState::UP);
  servers.disconnected(ONE, registration);
  EXPECT_EQ(state(ONE, 1), ServerState::DOWN);
}

TEST_F(TablesTest, ThreeMissedHeartbeatsAreSilenceAndTheNextOneEndsIt) {
  auto registration = join(ONE);
  servers.reportComplete(ONE, registration, at(0));
  EXPECT_EQ(state(ONE, 2999), ServerState::UP);
  EXPECT_EQ(state(ONE, 3000), ServerState::SILENT);
  EXPECT_TRUE(servers.heartbeat(ONE, registration, {}, at(9000)));
  EXPECT_EQ(state(ONE, 9001), ServerState::UP);
}

TEST_F(TablesTest, AnUnansweredOrderIsSilenceAtOnceUntilSomethingIsHeard) {
  auto registration = join(ONE);
  servers.reportComplete(ONE, registration, at(0));
  servers.missed(ONE, registration);
  EXPECT_EQ(state(ONE, 1), ServerState::SILENT);
  servers.heartbeat(ONE, registration, {}, at(500));
  EXPECT_EQ(state(ONE, 501), ServerState::UP);
}

TEST_F(TablesTest, EventsOfAnOldConnectionAreIgnored) {
  auto old = join(ONE);
  auto fresh = join(ONE, 101);
  EXPECT_FALSE(servers.disconnected(ONE, old)) << "the end of the old connection is noticed late";
  EXPECT_EQ(state(ONE, 0), ServerState::REPORTING);
  EXPECT_FALSE(servers.heartbeat(ONE, old, {}, at(1)));
  EXPECT_TRUE(servers.heartbeat(ONE, fresh, {}, at(1)));
}

TEST_F(TablesTest, TwoLivingProcessesCannotServeOneStore) {
  using Admission = ServerTable::Admission;
  EXPECT_EQ(servers.admits(ONE, {1, 100}, at(0)), Admission::NEW_PROCESS);
  auto registration = join(ONE, 100);
  EXPECT_EQ(servers.admits(ONE, {1, 100}, at(1)), Admission::SAME_PROCESS);
  EXPECT_EQ(servers.admits(ONE, {1, 101}, at(1)), Admission::REFUSED);
  EXPECT_EQ(servers.admits(ONE, {1, 101}, at(3000)), Admission::NEW_PROCESS) << "the other one is silent";
  servers.heartbeat(ONE, registration, {}, at(3000));
  servers.disconnected(ONE, registration);
  EXPECT_EQ(servers.admits(ONE, {1, 101}, at(3000)), Admission::NEW_PROCESS) << "the other one is gone";
}

TEST_F(TablesTest, ReportedStoresStayCountedWhenTheyLeave) {
  auto registration = join(ONE);
  EXPECT_EQ(servers.reported(), 0u);
  servers.reportComplete(ONE, registration, at(0));
  servers.disconnected(ONE, registration);
  EXPECT_EQ(servers.reported(), 1u);
  servers.removed(ONE);
  EXPECT_EQ(servers.reported(), 0u);
  EXPECT_EQ(servers.size(), 1u);
}

TEST_F(TablesTest, CreationsAreForgottenAfterAMinute) {
  join(ONE);
  servers.created(ONE, at(0));
  servers.created(ONE, at(30'000));
  EXPECT_EQ(servers.recentCreations(ONE, at(59'999)), 2u);
  EXPECT_EQ(servers.recentCreations(ONE, at(60'000)), 1u);
  EXPECT_EQ(servers.recentCreations(ONE, at(90'000)), 0u);
}

TEST_F(TablesTest, ReplicasAreThoseToldInTheCurrentRegistration) {
  auto old = join(ONE);
  put(ONE, old, 1);
  EXPECT_EQ(chunks.replicas(CHUNK).size(), 1u);
  auto fresh = join(ONE);
  EXPECT_EQ(chunks.replicas(CHUNK).size(), 0u) << "void until reported again";
  put(ONE, fresh, 2);
  ASSERT_EQ(chunks.replicas(CHUNK).size(), 1u);
  EXPECT_EQ(chunks.replicas(CHUNK)[0].version, ChunkVersion(2));
}

TEST_F(TablesTest, CandidatesAreWithinFloorAndVersion) {
  put(ONE, join(ONE), 3);
  auto two = join(TWO);
  put(TWO, two, 4);
  EXPECT_EQ(chunks.candidates(CHUNK, record(4, 3)).size(), 2u) << "a raise that was not confirmed";
  EXPECT_EQ(chunks.candidates(CHUNK, record(4, 4)).size(), 1u);
  EXPECT_EQ(chunks.candidates(CHUNK, record(3, 3)).size(), 1u) << "one from the future is not served";
  put(TWO, two, 4, ReplicaFacts::State::CORRUPT);
  EXPECT_EQ(chunks.candidates(CHUNK, record(4, 3)).size(), 1u);
}

TEST_F(TablesTest, OnlyAnsweringUnsuspectedReplicasProtectAChunk) {
  put(ONE, join(ONE), 3);
  auto two = join(TWO);
  put(TWO, two, 3);
  EXPECT_EQ(chunks.currentElsewhere(CHUNK, record(3, 3), ONE, at(0)), 1u);
  EXPECT_EQ(chunks.currentElsewhere(CHUNK, record(3, 3), ONE, at(3000)), 0u) << "silent";
  put(TWO, two, 3, ReplicaFacts::State::SUSPECT);
  EXPECT_EQ(chunks.currentElsewhere(CHUNK, record(3, 3), ONE, at(0)), 0u);
}

TEST_F(TablesTest, ARemovedReplicaIsGone) {
  put(ONE, join(ONE), 3);
  put(TWO, join(TWO), 3);
  chunks.remove(CHUNK, ONE);
  ASSERT_EQ(chunks.replicas(CHUNK).size(), 1u);
  EXPECT_EQ(chunks.replicas(CHUNK)[0].server, TWO);
  chunks.remove(CHUNK, TWO);
  EXPECT_EQ(chunks.chunks(), 0u);
}

}  // namespace
}  // namespace cairn
