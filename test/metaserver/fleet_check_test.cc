// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What stores hold against what the namespace says: each kind of difference, and what is none.
#include <gtest/gtest.h>

#include "metaserver/fleet_check.h"

namespace cairn {
namespace {

constexpr ChunkHandle CHUNK{7};

ChunkRecord record(uint64_t version = 5, uint64_t floor = 4, uint8_t replicas = 3) {
  ChunkRecord result;
  result.version = ChunkVersion(version);
  result.floor = ChunkVersion(floor);
  result.replicas = replicas;
  return result;
}
SeenReplica on(uint32_t server, uint64_t version, ReplicaFacts::State state = ReplicaFacts::State::GOOD,
               SeenReplica::Store store = SeenReplica::Store::ANSWERS) {
  SeenReplica seen;
  seen.facts.server = ServerId(server);
  seen.facts.version = ChunkVersion(version);
  seen.facts.state = state;
  seen.store = store;
  return seen;
}
std::string judged(const ChunkRecord& record, std::vector<SeenReplica> replicas) {
  std::string text;
  for (auto& finding : judgeReplicas(CHUNK, record, kj::arrayPtr(replicas.data(), replicas.size()))) {
    text += std::string(text.empty() ? "" : ", ") + kj::str(finding.trouble).cStr();
    if (finding.server) text += "@" + std::to_string(finding.server.value());
    if (finding.right) text += " " + std::to_string(finding.found) + "/" + std::to_string(finding.right);
  }
  return text;
}

using State = ReplicaFacts::State;
constexpr auto AWAY = SeenReplica::Store::AWAY;

TEST(FleetCheck, AllReplicasFromTheFloorOnAreWell) {
  EXPECT_EQ(judged(record(), {on(1, 5), on(2, 4), on(3, 5)}), "");
  EXPECT_EQ(judged(record(), {on(1, 5), on(2, 5), on(3, 5), on(4, 3)}), "") << "an old one more is garbage";
  EXPECT_EQ(judged(record(), {on(1, 5, State::SUSPECT), on(2, 5), on(3, 5)}), "") << "it is made equal";
}
TEST(FleetCheck, TooFew) {
  EXPECT_EQ(judged(record(), {on(1, 5), on(2, 5)}), "chunk-under 2/3");
  EXPECT_EQ(judged(record(), {on(1, 5), on(2, 5), on(3, 3)}), "chunk-under 2/3")
      << "a stale one does not count";
  EXPECT_EQ(judged(record(), {on(1, 5), on(2, 5), on(3, 5, State::GOOD, AWAY)}), "chunk-under 2/3");
}
TEST(FleetCheck, None) {
  EXPECT_EQ(judged(record(), {}), "chunk-missing 0/3");
  EXPECT_EQ(judged(record(), {on(1, 3)}), "chunk-missing 0/3");
  EXPECT_EQ(judged(record(), {on(1, 5, State::GOOD, AWAY)}), "chunk-under 0/3") << "it is known where it is";
}
TEST(FleetCheck, DamagedOnesAreNamed) {
  EXPECT_EQ(judged(record(), {on(1, 5), on(2, 5, State::CORRUPT), on(3, 5)}),
            "replica-corrupt@2, chunk-under 2/3");
  EXPECT_EQ(judged(record(), {on(2, 5, State::CORRUPT)}), "replica-corrupt@2, chunk-missing 0/3");
}

std::string foreign(uint64_t held, ChunkFacts facts) {
  facts.nextHandle = ChunkHandle(1000);
  ReplicaFacts replica;
  replica.server = ServerId(2);
  replica.version = ChunkVersion(held);
  auto finding = judgeForeign(CHUNK, replica, facts);
  return finding.map([](auto& it) { return std::string(kj::str(it.trouble).cStr()); }).orDefault("");
}

TEST(FleetCheck, ChunksThatNoFileHas) {
  EXPECT_EQ(foreign(3, {}), "chunk-unknown");
  ChunkFacts dropped;
  dropped.dropped = ChunkVersion(3);
  EXPECT_EQ(foreign(3, dropped), "") << "it waits to be deleted";
  EXPECT_EQ(foreign(4, dropped), "chunk-ahead");
  ChunkFacts restored;
  restored.restored = Restored::KEEPING;
  restored.restoredFloor = 1000;
  EXPECT_EQ(foreign(3, restored), "chunk-kept");
  ChunkFacts live;
  live.record = record();
  EXPECT_EQ(foreign(5, live), "");
  EXPECT_EQ(foreign(6, live), "chunk-ahead");
}

TEST(FleetCheck, ReplicasAreComparedWithTheFirstThatAnswers) {
  std::vector<ServerId> servers{ServerId(1), ServerId(2), ServerId(3)};
  auto content = [](kj::StringPtr sums) -> kj::Maybe<StoreOrders::Content> {
    return StoreOrders::Content{100, kj::heapArray<kj::byte>(sums.asBytes())};
  };
  auto judge = [&](std::initializer_list<const char*> sums) {
    kj::Vector<kj::Maybe<StoreOrders::Content>> contents;
    for (auto one : sums) {
      if (one == nullptr) {
        contents.add(nullptr);
      } else {
        contents.add(content(one));
      }
    }
    std::string text;
    for (auto& finding : judgeContents(CHUNK, kj::arrayPtr(servers.data(), servers.size()), contents)) {
      EXPECT_EQ(finding.trouble, Trouble::REPLICAS_DIFFER);
      text += std::to_string(finding.server.value());
    }
    return text;
  };
  EXPECT_EQ(judge({"a", "a", "a"}), "");
  EXPECT_EQ(judge({"a", "b", "a"}), "2");
  EXPECT_EQ(judge({nullptr, "b", "a"}), "3");
  EXPECT_EQ(judge({nullptr, nullptr, "a"}), "");
}

TEST(Findings, EachHasANameForProgramsASentenceAndARemedyOrAdvice) {
  std::set<std::string> names;
  for (uint16_t number = 0; number <= uint16_t(Trouble::STORE_SILENT); ++number) {
    Finding finding;
    finding.trouble = Trouble(number);
    finding.inode = InodeId(3);
    finding.chunk = ChunkHandle(4);
    finding.server = ServerId(2);
    finding.name = "x";
    std::string name = kj::str(finding.trouble).cStr();
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_NE(describe(finding), name);
    EXPECT_FALSE(advise(finding).empty()) << name;
  }
}

}  // namespace
}  // namespace cairn
