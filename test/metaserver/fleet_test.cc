// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Stores joining, leaving, lying and being cleaned up after.
#include <algorithm>
#include <string>

#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

class StoresTest : public FleetTest {
 protected:
  FakeMount* client = nullptr;
  uint64_t file = 0;

  Located created(kj::StringPtr name = "f") {
    if (client == nullptr) {
      joinAll();
      client = &mount();
    }
    file = createFile(*client, name, Create::CLOSED);
    return locate(*client, file, For::WRITE);
  }
  void live(int64_t seconds) {
    for (int64_t i = 0; i < seconds; i += 10) {
      advance(10'000);
      EXPECT_EQ(renew(*client), Status::OK);
    }
  }
};

TEST_F(StoresTest, AServerIdIsForEver) {
  joinAll();
  auto id = store(2).server;
  store(2).server = 0;  // it has lost its note
  kill(store(2));
  EXPECT_EQ(connect(store(2)), Status::OK);
  EXPECT_EQ(store(2).server, id);
  restart();
  EXPECT_EQ(connect(store(2)), Status::OK);
  EXPECT_EQ(store(2).server, id);
}

TEST_F(StoresTest, ASecondProcessOnOneStoreIsRefusedWhileTheFirstIsHeard) {
  joinAll();
  FakeStore copy(1);
  copy.server = store(1).server;
  copy.pid = 999;
  EXPECT_EQ(connect(copy), Status::EXISTS);
  store(1).heartbeats = false;
  advance(4000);
  EXPECT_EQ(connect(copy), Status::OK) << "the first has fallen silent";
}

TEST_F(StoresTest, ChunksOfADeletedFileAreDeletedEverywhereAndTheRecordGoesLast) {
  auto location = created();
  EXPECT_EQ(unlink(*client, "f"), Status::OK);
  advance(3000);
  for (uint32_t i = 1; i <= 3; ++i) EXPECT_EQ(store(i).chunks.size(), 0u);
  advance(3000);
  EXPECT_EQ(names->state().garbage, 0u);
}

TEST_F(StoresTest, NothingIsDeletedWhileItsDeletionCouldBeLostToAPowerCut) {
  auto location = created();
  log->durableLag = 100;
  EXPECT_EQ(unlink(*client, "f"), Status::OK);
  live(10);
  EXPECT_EQ(store(1).chunks.size(), 1u);
  log->durableLag = 0;
  advance(3000);
  EXPECT_EQ(store(1).chunks.size(), 0u);
}

TEST_F(StoresTest, AStoreThatWasAwayDeletesWhatWasDeletedMeanwhile) {
  auto location = created();
  kill(store(1));
  EXPECT_EQ(unlink(*client, "f"), Status::OK);
  live(10);
  EXPECT_EQ(names->state().garbage, 1u) << "kept for the one that is away";
  join(store(1));
  advance(3000);
  EXPECT_EQ(store(1).chunks.size(), 0u);
  advance(3000);
  EXPECT_EQ(names->state().garbage, 0u);
}

TEST_F(StoresTest, AReplicaLeftBehindOfAChunkThatHasEnoughIsDeletedWhenItsStoreComesBack) {
  auto location = created();
  auto left = location.replicas.back();
  auto& behind = byId(left);
  kill(behind);
  join(store(4));
  auto primary = location.primary;
  primaryFailed(byId(primary), location, {left});
  auto next = locate(*client, file, For::WRITE);
  EXPECT_EQ(next.replicas.size(), 2u);
  live(40);
  EXPECT_GT(store(4).versionOf(location.handle), 0u) << "repaired";
  join(behind);
  advance(3000);
  EXPECT_EQ(behind.versionOf(location.handle), 0u);
  EXPECT_EQ(behind.deleted.size(), 1u);
}

TEST_F(StoresTest, AStaleReplicaIsKeptWhileNoCurrentOneIsInReach) {
  auto location = created();
  auto& behind = byId(location.replicas.back());
  kill(behind);
  primaryFailed(byId(location.primary), location, {behind.server});
  auto next = locate(*client, file, For::WRITE);
  ASSERT_EQ(next.status, Status::OK);
  for (auto id : next.replicas) kill(byId(id));
  join(behind);
  live(20);
  EXPECT_EQ(behind.versionOf(location.handle), 1u);
  auto reading = locate(*client, file, For::READ);
  EXPECT_EQ(std::count(reading.replicas.begin(), reading.replicas.end(), behind.server), 0)
      << "nor is it served";
}

TEST_F(StoresTest, AChunkOfNoFileGoesAfterItsGrace) {
  auto location = created();
  auto reserved = location.handle.value() + 1;  // given out by the same reservation, never attached
  kill(store(1));
  store(1).chunks[reserved].version = 1;
  join(store(1));
  live(50);
  EXPECT_EQ(store(1).versionOf(ChunkHandle(reserved)), 1u);
  live(20);
  EXPECT_EQ(store(1).versionOf(ChunkHandle(reserved)), 0u);
}

TEST_F(StoresTest, AStoreThatKnowsMoreThanTheNamespaceStopsAllDeletes) {
  auto location = created();
  kill(store(1));
  store(1).chunks[location.handle.value()].version = 99;
  join(store(1));
  created("g");
  EXPECT_EQ(unlink(*client, "g"), Status::OK);
  live(20);
  EXPECT_EQ(store(1).versionOf(location.handle), 99u);
  EXPECT_EQ(store(2).chunks.size(), 2u) << "not even what is garbage for certain";
  auto request = service->newConnection("cli").statusRequest();
  auto status = await(kj::Promise<capnp::Response<rpc::Metaserver::StatusResults>>(request.send()));
  EXPECT_NE(std::string(status.getStatus().getBrake().cStr()).find("store 1"), std::string::npos);
}

TEST_F(StoresTest, AStoreFullOfStrangersPullsTheBrake) {
  auto location = created();
  kill(store(1));
  for (uint64_t i = 1; i <= 40; ++i) store(1).chunks[location.handle.value() + i].version = 1;
  join(store(1));
  live(80);
  EXPECT_EQ(store(1).chunks.size(), 41u);
  EXPECT_EQ(store(1).deleted.size(), 0u);
}

TEST_F(StoresTest, InSafeModeNothingIsDeleted) {
  auto location = created();
  EXPECT_EQ(unlink(*client, "f"), Status::OK);
  restart();
  join(store(1));
  EXPECT_EQ(openSession(*client), Status::OK);
  advance(5000);
  EXPECT_EQ(store(1).chunks.size(), 1u);
  EXPECT_TRUE(service->view.safeMode.on());
  join(store(2));
  join(store(3));
  EXPECT_FALSE(service->view.safeMode.on());
  advance(3000);
  EXPECT_EQ(store(1).chunks.size(), 0u);
}

TEST_F(StoresTest, StatusCountsChunksByHealth) {
  auto location = created();
  advance(1000);
  auto status = [&]() {
    auto request = service->newConnection("cli").statusRequest();
    return await(kj::Promise<capnp::Response<rpc::Metaserver::StatusResults>>(request.send()));
  };
  {
    auto answer = status();
    EXPECT_EQ(answer.getStatus().getChunksHealthy(), 1u);
    EXPECT_EQ(answer.getStatus().getServers().size(), 3u);
    EXPECT_EQ(std::string(answer.getStatus().getServers()[0].getState().cStr()), "up");
  }
  disconnect(store(1));
  advance(1000);
  EXPECT_EQ(status().getStatus().getChunksUnder(), 1u);
  disconnect(store(2));
  disconnect(store(3));
  advance(1000);
  EXPECT_EQ(status().getStatus().getChunksMissing(), 1u);
}

TEST_F(StoresTest, StatusNeverTellsOfMoreChunksThanThereAre) {
  auto location = created();
  advance(1000);
  EXPECT_EQ(unlink(*client, "f"), Status::OK);
  uint64_t chunks = 1;
  for (int step = 0; step < 100; ++step) {
    auto request = service->newConnection("cli").statusRequest();
    auto answer = await(kj::Promise<capnp::Response<rpc::Metaserver::StatusResults>>(request.send()));
    auto status = answer.getStatus();
    chunks = status.getChunks();
    ASSERT_LE(status.getChunksHealthy() + status.getChunksUnder() + status.getChunksMissing(), chunks);
    advance(50);
  }
  EXPECT_EQ(chunks, 0u);
}

TEST_F(StoresTest, AMachineThatIsBackAtOnceTakesOverFromItsProcessOfBefore) {
  joinAll();
  FakeStore back(store(1).number);  // the same directory
  back.server = store(1).server;
  store(1).mood = FakeStore::Mood::HANGS;  // it went with the power: its connection looks as ever
  back.boot = 2;
  back.pid = 7;
  auto before = timer.now();
  EXPECT_EQ(connect(back), Status::OK);
  EXPECT_LT(timer.now() - before, 1 * kj::SECONDS) << "heartbeats are not waited for";
  KJ_IF_MAYBE (known, service->view.servers.find(ServerId(back.server))) EXPECT_EQ(known->identity.pid, 7u);
}

TEST_F(StoresTest, AProcessThatAnswersIsTakenOverByNobody) {
  joinAll();
  FakeStore copy(store(1).number);
  copy.server = store(1).server;
  copy.boot = 2;
  copy.pid = 7;
  EXPECT_EQ(connect(copy), Status::EXISTS) << "it lives, on a machine of the same name";
  store(1).mood = FakeStore::Mood::HANGS;
  copy.host = "another";
  EXPECT_EQ(connect(copy), Status::EXISTS) << "a copy of the directory, it seems";
  copy.host = store(1).host;
  copy.boot = 1;
  EXPECT_EQ(connect(copy), Status::EXISTS) << "in the same boot its end would have been noticed";
}

TEST_F(StoresTest, AHeartbeatOfAnOldConnectionIsToldToRegisterAgain) {
  joinAll();
  auto old = KJ_ASSERT_NONNULL(store(1).fleet);
  EXPECT_EQ(connect(store(1)), Status::OK) << "the same process, connected anew";
  auto answer =
      await(kj::Promise<capnp::Response<rpc::Fleet::HeartbeatResults>>(old.heartbeatRequest().send()));
  EXPECT_EQ(answer.getStatus(), Status::NOT_READY);
}

}  // namespace
}  // namespace cairn
