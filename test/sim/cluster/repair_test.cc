// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What is lost for good comes back: a whole cluster loses a store, or a disk rots, while users write, and
// then every chunk has its three replicas again, all the same.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include <algorithm>

#include "chunkd/store_format.h"
#include "test/sim/cluster/sim_cluster.h"
#include "test/sim/cluster/workload.h"

namespace cairn::sim {
namespace {

class RepairStory : public testing::Test {
 public:
  ~RepairStory() noexcept override {}

 protected:
  void expectThree(SimCluster& cluster, InodeId inode, const char* without = nullptr) {
    for (auto& chunk : cluster.chunks(inode)) {
      uint32_t current = 0;
      for (auto& replica : chunk.replicas) {
        bool counts = replica.state == "current";
        current += counts;
        if (without != nullptr && counts) {
          EXPECT_EQ(replica.host.find(without), std::string::npos) << "chunk " << chunk.handle.value();
        }
      }
      EXPECT_EQ(current, 3u) << "chunk " << chunk.handle.value() << "\n" << cluster.transcript.last(40);
    }
    for (auto& problem : cluster.compareReplicas(inode)) ADD_FAILURE() << problem.cStr();
  }
};

TEST_F(RepairStory, AStoreLostForGoodIsReplacedAndTheBytesAreRight) {
  SimCluster cluster({.seed = 3, .chunkServers = 4, .clients = 2});
  std::string content(700'000, 'x');
  for (size_t i = 0; i < content.size(); i += 97) content[i] = char('a' + i % 26);
  for (auto name : {"/a", "/b", "/c", "/d", "/e"}) cluster.write(name, content.c_str());
  cluster.advance(5 * kj::SECONDS);
  cluster.kill("chunkd-2");
  auto start = cluster.time.elapsed();
  cluster.advance(10 * kj::SECONDS);
  EXPECT_GT(cluster.repair().under, 0u);
  cluster.waitRepaired();
  EXPECT_LT(cluster.time.elapsed() - start, 60 * kj::SECONDS);
  EXPECT_GT(cluster.repair().copied, 0u);
  for (auto name : {"/a", "/b", "/c", "/d", "/e"}) {
    expectThree(cluster, cluster.find(name), "chunkd-2");
    EXPECT_TRUE(cluster.read(name, 2) == content) << name;
  }
  // What was saved is as good as what was there: another loss is survived as well.
  cluster.kill("chunkd-1");
  for (auto name : {"/a", "/b", "/c", "/d", "/e"}) EXPECT_TRUE(cluster.read(name, 1) == content) << name;
}

TEST_F(RepairStory, AStoreThatComesBackAfterAllWasRepairedIsCleanedUp) {
  SimCluster cluster({.seed = 5, .chunkServers = 4});
  for (auto name : {"/a", "/b", "/c"}) cluster.write(name, "content");
  cluster.kill("chunkd-3");
  cluster.advance(10 * kj::SECONDS);
  cluster.waitRepaired();
  cluster.write("/a", "CONTENT");
  cluster.restart("chunkd-3");
  cluster.advance(20 * kj::SECONDS);
  cluster.waitRepaired();
  for (auto name : {"/a", "/b", "/c"}) {
    auto chunks = cluster.chunks(cluster.find(name));
    ASSERT_EQ(chunks.size(), 1u);
    EXPECT_EQ(chunks[0].replicas.size(), 3u) << name;
    expectThree(cluster, cluster.find(name));
  }
  EXPECT_EQ(cluster.read("/a"), "CONTENT");
}

TEST_F(RepairStory, AStoreThatMissedWritesIsBroughtUpToDate) {
  SimCluster cluster({.seed = 9});
  std::string large(3'000'000, 'x');
  cluster.write("/f", large.c_str());
  cluster.sync("/f");
  cluster.kill("chunkd-3");
  cluster.write("/f", "changed meanwhile", 1'000'000);
  cluster.restart("chunkd-3");
  auto before = cluster.host("chunkd-3").disk.counters().bytesWritten;
  cluster.advance(10 * kj::SECONDS);
  cluster.waitRepaired();
  expectThree(cluster, cluster.find("/f"));
  EXPECT_LT(cluster.host("chunkd-3").disk.counters().bytesWritten - before, 200'000u)
      << "it read what differs, not all of it";
  large.replace(1'000'000, 17, "changed meanwhile");
  EXPECT_TRUE(cluster.read("/f") == large);
}

TEST_F(RepairStory, ARottenReplicaIsFoundByItsReaderAndReplaced) {
  SimCluster cluster({.seed = 11, .clients = 2});
  std::string content(200'000, 'r');
  cluster.write("/f", content.c_str());
  cluster.sync("/f");
  cluster.advance(20 * kj::SECONDS);
  auto chunk = cluster.chunks(cluster.find("/f")).at(0);
  for (auto name : {"chunkd-1", "chunkd-2"}) {
    auto path = dataPath(chunk.handle);
    cluster.host(name).disk.flipBit(path, 8 * 50'000);
    // Read until somebody has come across it.
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(cluster.read("/f", uint32_t(1 + i % 2)) == content);
    cluster.advance(15 * kj::SECONDS);
    cluster.waitRepaired();
  }
  expectThree(cluster, cluster.find("/f"));
}

TEST_F(RepairStory, WhatRotsUnreadIsFoundByScrubbing) {
  SimCluster cluster({.seed = 13, .scrubBytesPerSecond = 8 << 20});
  std::string content(200'000, 's');
  cluster.write("/f", content.c_str());
  cluster.sync("/f");
  cluster.advance(20 * kj::SECONDS);
  auto path = dataPath(cluster.chunks(cluster.find("/f")).at(0).handle);
  cluster.host("chunkd-1").disk.flipBit(path, 8 * 150'000);
  cluster.host("chunkd-3").disk.flipBit(path, 8 * 20'000);
  cluster.advance(60 * kj::SECONDS);
  cluster.waitRepaired();
  expectThree(cluster, cluster.find("/f"));
  EXPECT_TRUE(cluster.read("/f") == content);
}

// A store dies for good in the middle of it, and its users see nothing. Then there are three of everything.
class RepairUnderLoad : public RepairStory, public testing::WithParamInterface<uint64_t> {};

TEST_P(RepairUnderLoad, UsersSeeNoneOfIt) {
  auto seed = GetParam();
  SeededEntropy chance(seed);
  SimCluster cluster({.seed = seed, .chunkServers = 5, .clients = 2});
  if (std::getenv("SIM_ECHO") != nullptr) cluster.transcript.echo();
  Workload users(cluster.time.timer(), cluster.transcript, {.seed = chance.next(), .operations = 900});
  for (uint32_t i = 1; i <= 2; ++i) users.addClient(cluster.client(i));
  auto work = users.run().eagerlyEvaluate(nullptr);
  auto pass = [&](uint64_t most) { cluster.advance(int64_t(1 + chance.below(most)) * kj::SECONDS); };
  pass(8);
  auto lost = kj::str("chunkd-", chance.between(1, 5));
  cluster.kill(lost);
  pass(8);
  auto restarted = kj::str("chunkd-", chance.between(1, 5));
  if (restarted != lost) {
    cluster.kill(restarted);
    pass(6);
    cluster.restart(restarted);
  }
  cluster.run(kj::mv(work));
  cluster.advance(10 * kj::SECONDS);
  cluster.waitRepaired();
  cluster.run(users.verify(cluster.client(1)));
  for (auto inode : users.inodes()) expectThree(cluster, inode, lost.cStr());
  for (auto& violation : users.violations()) ADD_FAILURE() << violation.cStr();
  EXPECT_GT(cluster.repair().copied, 0u);
  if (HasFailure())
    std::printf("---- seed %llu\n%s", (unsigned long long)seed, cluster.transcript.last(150).c_str());
}

TEST_P(RepairUnderLoad, AStoreIsDrainedAndNobodyNotices) {
  auto seed = GetParam();
  SeededEntropy chance(seed + 2000);
  SimCluster cluster({.seed = seed + 2000, .chunkServers = 4, .clients = 2});
  Workload users(cluster.time.timer(), cluster.transcript, {.seed = chance.next(), .operations = 400});
  for (uint32_t i = 1; i <= 2; ++i) users.addClient(cluster.client(i));
  auto work = users.run().eagerlyEvaluate(nullptr);
  cluster.advance(int64_t(3 + chance.below(8)) * kj::SECONDS);
  auto leaver = kj::str("chunkd-", chance.between(1, 4));
  cluster.drain(leaver);
  cluster.kill(leaver);
  cluster.run(kj::mv(work));
  cluster.advance(5 * kj::SECONDS);
  cluster.waitRepaired();
  cluster.run(users.verify(cluster.client(1)));
  for (auto inode : users.inodes()) expectThree(cluster, inode, leaver.cStr());
  for (auto& violation : users.violations()) ADD_FAILURE() << violation.cStr();
  if (HasFailure())
    std::printf("---- seed %llu\n%s", (unsigned long long)seed, cluster.transcript.last(150).c_str());
}

INSTANTIATE_TEST_SUITE_P(Seed, RepairUnderLoad, testing::Range(uint64_t(1), uint64_t(5)),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace cairn::sim
