// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The promises of the design that need a whole cluster and a misfortune, one story each.
#include <gtest/gtest.h>

#include "test/sim/cluster/sim_cluster.h"

namespace cairn::sim {
namespace {

class Promises : public testing::Test {
 public:
  ~Promises() noexcept override {}

 protected:
  SimCluster cluster{{.seed = 7, .clients = 2}};

  void lightsOut() {
    cluster.powerCutAll();
    cluster.advance(1 * kj::SECONDS);
    kj::Vector<kj::Promise<void>> starts;
    for (auto& name : cluster.daemons()) starts.add(cluster.host(name.c_str()).start());
    cluster.run(kj::joinPromises(starts.releaseAsArray()));
    cluster.waitHealthy();
  }
};

TEST_F(Promises, WhatWasSyncedSurvivesAPowerCutOfEverything) {
  cluster.write("/f", "synced");
  cluster.sync("/f");
  lightsOut();
  EXPECT_EQ(cluster.read("/f"), "synced") << cluster.transcript.last(40);
}

TEST_F(Promises, FsyncThroughALaterOpenCoversWhatWasWrittenAndClosedBefore) {
  cluster.write("/f", "closed, and opened again to be synced");
  cluster.advance(2 * kj::SECONDS);
  auto before = cluster.host("chunkd-1").disk.counters().syncs;
  cluster.sync("/f");
  EXPECT_GT(cluster.host("chunkd-1").disk.counters().syncs, before) << "nothing was synced";
  lightsOut();
  EXPECT_EQ(cluster.read("/f"), "closed, and opened again to be synced") << cluster.transcript.last(40);
}

TEST_F(Promises, SyncfsCoversFilesThatAreClosed) {
  cluster.write("/f", "closed");
  cluster.write("/g", "closed as well");
  cluster.advance(2 * kj::SECONDS);
  EXPECT_EQ(cluster.run(cluster.client().syncAll()), Status::OK);
  lightsOut();
  EXPECT_EQ(cluster.read("/f"), "closed");
  EXPECT_EQ(cluster.read("/g"), "closed as well");
}

TEST_F(Promises, AWriteThatWasFlushedSurvivesTheDeathOfEveryProcess) {
  cluster.write("/f", "flushed");
  for (auto& name : cluster.daemons()) cluster.kill(name.c_str());
  kj::Vector<kj::Promise<void>> starts;
  for (auto& name : cluster.daemons()) starts.add(cluster.host(name.c_str()).start());
  cluster.run(kj::joinPromises(starts.releaseAsArray()));
  cluster.waitHealthy();
  EXPECT_EQ(cluster.read("/f", 2), "flushed");
}

TEST_F(Promises, OneHungChunkDaemonIsAPauseOfSeconds) {
  cluster.write("/f", "before");
  cluster.stop("chunkd-1");
  auto begin = cluster.time.elapsed();
  cluster.write("/f", "during");
  EXPECT_EQ(cluster.read("/f", 2), "during");
  EXPECT_LT(cluster.time.elapsed() - begin, 10 * kj::SECONDS);
  cluster.resume("chunkd-1");
}

TEST_F(Promises, ReplicasOfAFileAreTheSame) {
  std::string large(3'000'000, 'x');
  cluster.write("/f", large.c_str());
  auto chunks = cluster.chunks(cluster.find("/f"));
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].replicas.size(), 3u);
  EXPECT_EQ(cluster.compareReplicas(cluster.find("/f")).size(), 0u);
}

}  // namespace
}  // namespace cairn::sim
