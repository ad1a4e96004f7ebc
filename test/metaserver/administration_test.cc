// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What an operator asks for, and that the cluster does it: stores are emptied and forgotten, files get more
// copies or fewer, chunks move for balance. Virtual time.
#include <algorithm>

#include "rpc/administration.capnp.h"
#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

class AdministrationTest : public FleetTest {
 protected:
  FakeMount* client = nullptr;

  void SetUp() override {
    joinAll(4);
    client = &mount();
  }
  Status drain(FakeStore& store, bool undo = false) {
    auto request = administration().drainRequest();
    request.setServer(store.server);
    request.setUndo(undo);
    return await(kj::Promise<capnp::Response<rpc::Administration::DrainResults>>(request.send())).getStatus();
  }
  struct Removed {
    Status status;
    uint64_t chunks;
  };
  Removed remove(uint32_t server, bool force = false) {
    auto request = administration().removeRequest();
    request.setServer(server);
    request.setForce(force);
    auto answer = await(kj::Promise<capnp::Response<rpc::Administration::RemoveResults>>(request.send()));
    return {answer.getStatus(), answer.getChunks()};
  }
  struct Changed {
    Status status;
    uint64_t files, chunks;
  };
  Changed setReplicas(kj::StringPtr path, uint8_t replicas, bool recursive = false, uint64_t inode = 0) {
    auto request = administration().setReplicasRequest();
    request.setPath(path);
    request.setReplicas(replicas);
    request.setRecursive(recursive);
    request.setInode(inode);
    auto answer =
        await(kj::Promise<capnp::Response<rpc::Administration::SetReplicasResults>>(request.send()));
    return {answer.getStatus(), answer.getFiles(), answer.getChunks()};
  }
  struct ServerView {
    bool draining = false;
    uint64_t leaving = 0;
  };
  ServerView look(FakeStore& store) {
    auto request = service->newConnection("cli").statusRequest();
    auto answer = await(kj::Promise<capnp::Response<rpc::Metaserver::StatusResults>>(request.send()));
    for (auto server : answer.getStatus().getServers()) {
      if (server.getServer() == store.server) return {server.getDraining(), server.getLeaving()};
    }
    return {};
  }
  void live(int64_t seconds) {
    for (int64_t done = 0; done < seconds; done += 5) {
      advance(kj::min(int64_t(5), seconds - done) * 1000);
      EXPECT_EQ(renew(*client), Status::OK);
    }
  }
  Located written(kj::StringPtr name) {
    auto location = locate(*client, createFile(*client, name), For::WRITE);
    EXPECT_EQ(location.status, Status::OK);
    return location;
  }
  size_t held(const Located& location) {
    return size_t(std::count_if(stores.begin(), stores.end(), [&](auto& store) {
      return store.chunks.count(location.handle.value()) > 0;
    }));
  }
};

TEST_F(AdministrationTest, ADrainedStoreEndsUpEmptyAndEveryChunkHasItsCopies) {
  std::vector<Located> chunks;
  for (auto name : {"a", "b", "c", "d", "e"}) chunks.push_back(written(name));
  auto& leaver = byId(chunks[0].replicas.back());
  EXPECT_EQ(drain(leaver), Status::OK);
  EXPECT_TRUE(look(leaver).draining);
  EXPECT_GT(look(leaver).leaving, 0u);
  live(60);
  EXPECT_EQ(look(leaver).leaving, 0u);
  EXPECT_EQ(leaver.chunks.size(), 0u) << "left behind, then deleted as anything stale is";
  for (auto& chunk : chunks) EXPECT_EQ(held(chunk), 3u);
  auto fresh = written("new");
  EXPECT_EQ(std::count(fresh.replicas.begin(), fresh.replicas.end(), leaver.server), 0);
}

TEST_F(AdministrationTest, ADrainIsRememberedAndUndone) {
  EXPECT_EQ(drain(store(2)), Status::OK);
  restart();
  for (auto& one : stores) join(one);
  EXPECT_EQ(openSession(*client), Status::OK);
  EXPECT_TRUE(look(store(2)).draining);
  EXPECT_EQ(drain(store(2), true), Status::OK);
  EXPECT_FALSE(look(store(2)).draining);
  restart();
  for (auto& one : stores) join(one);
  EXPECT_FALSE(look(store(2)).draining);
}

TEST_F(AdministrationTest, ADrainWithNowhereToGoWaitsAndLosesNothing) {
  kill(store(4));
  auto chunk = written("a");
  ASSERT_EQ(chunk.replicas.size(), 3u);
  EXPECT_EQ(drain(store(1)), Status::OK);
  live(30);
  EXPECT_EQ(held(chunk), 3u);
  EXPECT_EQ(look(store(1)).leaving, 1u);
  EXPECT_EQ(service->repair.progress().stuck, 1u);
  join(store(4));
  live(20);
  EXPECT_EQ(look(store(1)).leaving, 0u);
  EXPECT_EQ(held(chunk), 3u);
}

TEST_F(AdministrationTest, ThereIsNoSuchStore) {
  auto request = administration().drainRequest();
  request.setServer(77);
  EXPECT_EQ(
      await(kj::Promise<capnp::Response<rpc::Administration::DrainResults>>(request.send())).getStatus(),
      Status::NOT_FOUND);
  EXPECT_EQ(remove(77).status, Status::NOT_FOUND);
}

TEST_F(AdministrationTest, AStoreIsForgottenOnlyWhenItIsGoneAndNothingIsLostByIt) {
  auto chunk = written("a");
  auto& one = byId(chunk.replicas[0]);
  EXPECT_EQ(remove(one.server).status, Status::BUSY) << "it is connected";
  auto& two = byId(chunk.replicas[1]);
  auto& three = byId(chunk.replicas[2]);
  auto id = one.server;
  kill(one);
  kill(two);
  kill(three);
  advance(1000);
  auto refused = remove(id);
  EXPECT_EQ(refused.status, Status::NOT_EMPTY);
  EXPECT_GT(refused.chunks, 0u);
  join(two);
  advance(1000);  // the survey goes round
  EXPECT_EQ(remove(id).status, Status::OK) << "there is another";
  EXPECT_EQ(names->read().stores().size(), 3u);
  EXPECT_EQ(remove(id).status, Status::NOT_FOUND);
}

TEST_F(AdministrationTest, ByForceAStoreIsForgottenWithWhatItHad) {
  auto chunk = written("a");
  for (auto id : chunk.replicas) kill(byId(id));
  auto forced = remove(chunk.replicas[0], true);
  EXPECT_EQ(forced.status, Status::OK);
  EXPECT_GT(forced.chunks, 0u);
}

TEST_F(AdministrationTest, AFileGetsMoreCopiesAndFewer) {
  auto chunk = written("a");
  auto more = setReplicas("/a", 4);
  EXPECT_EQ(more.status, Status::OK);
  EXPECT_EQ(more.files, 1u);
  EXPECT_EQ(more.chunks, 1u);
  live(20);
  EXPECT_EQ(held(chunk), 4u);
  EXPECT_EQ(setReplicas("/a", 2).status, Status::OK);
  live(20);
  EXPECT_EQ(held(chunk), 2u);
  EXPECT_EQ(record(chunk.handle).replicas, 2u);
}

TEST_F(AdministrationTest, TheSurveyMakesARoundWhenSomethingHasChangedAndElseNone) {
  auto chunk = written("a");
  auto& last = byId(chunk.replicas.back());
  auto isTold = [&](uint64_t healthy, uint64_t under) {
    advance(1300);  // a round a second, and a slice each 250 ms
    auto health = service->survey.health();
    return health.healthy == healthy && health.under == under;
  };
  live(5);
  EXPECT_TRUE(isTold(1, 0));
  auto rounds = service->survey.rounds();
  live(60);
  EXPECT_EQ(service->survey.rounds(), rounds) << "nothing has changed";
  last.heartbeats = false;
  live(5);
  EXPECT_EQ(service->survey.rounds(), rounds + 1) << "a store has fallen silent";
  kill(last);
  EXPECT_TRUE(isTold(0, 1)) << "it has gone";
  EXPECT_EQ(setReplicas("/a", 2).status, Status::OK);
  EXPECT_TRUE(isTold(1, 0)) << "an operation has changed what is wanted";
  for (auto& one : stores) one.onlyCopy = FakeStore::Mood::HANGS;
  auto facts = service->view.chunks.replicas(chunk.handle)[0];
  facts.state = ReplicaFacts::State::CORRUPT;
  service->view.chunks.put(chunk.handle, facts);
  EXPECT_TRUE(isTold(0, 1)) << "a replica has gone bad";
}

TEST_F(AdministrationTest, ADirectorySaysWhatIsMadeInItAndRecursivelyWhatIsThere) {
  auto parent = createDirectory(*client, "d");
  auto old = createFile(*client, "old", Create::CLOSED, InodeId(parent));
  EXPECT_EQ(setReplicas("/d", 2).files, 1u);
  auto fresh = createFile(*client, "fresh", Create::CLOSED, InodeId(parent));
  EXPECT_EQ(names->read().inode(InodeId(fresh))->attributes.replicas, 2);
  EXPECT_EQ(names->read().inode(InodeId(old))->attributes.replicas, 3);
  auto all = setReplicas("/d", 4, true);
  EXPECT_EQ(all.status, Status::OK);
  EXPECT_EQ(all.files, 3u);
  EXPECT_EQ(names->read().inode(InodeId(old))->attributes.replicas, 4);
  EXPECT_EQ(setReplicas("", 1, false, old).status, Status::OK) << "by inode";
  EXPECT_EQ(names->read().inode(InodeId(old))->attributes.replicas, 1);
}

TEST_F(AdministrationTest, ImpossibleCountsAndPathsAreRefused) {
  written("a");
  EXPECT_EQ(setReplicas("/a", 0).status, Status::INVALID);
  EXPECT_EQ(setReplicas("/a", 17).status, Status::INVALID);
  EXPECT_EQ(setReplicas("/b", 2).status, Status::NOT_FOUND);
  EXPECT_EQ(setReplicas("/a/b", 2).status, Status::NOT_DIRECTORY);
}

TEST_F(AdministrationTest, AnEmptyStoreThatJoinsIsFilled) {
  kill(store(4));
  std::vector<Located> chunks;
  for (int i = 0; i < 8; ++i) chunks.push_back(written(kj::str("f", i)));
  for (auto& one : stores) {
    // Each chunk is 20 MiB to these stores: that is much of their disks.
    one.bytesTotal = 400ull << 20;
    one.bytesFree = one.bytesTotal - one.chunks.size() * (20ull << 20);
    for (auto& [handle, chunk] : one.chunks) {
      chunk.length = 20u << 20;
      if (one.number == 4) continue;
      service->view.chunks.put(ChunkHandle(handle), {ServerId(one.server), 1, ChunkVersion(chunk.version),
                                                     chunk.length, ReplicaFacts::State::GOOD});
    }
  }
  join(store(4));
  for (int i = 0; i < 60; ++i) {
    for (auto& one : stores) one.bytesFree = one.bytesTotal - one.chunks.size() * (20ull << 20);
    live(5);
  }
  EXPECT_GE(store(4).chunks.size(), 4u);
  for (auto& chunk : chunks) EXPECT_EQ(held(chunk), 3u);
  EXPECT_FALSE(service->rebalance.running());
  EXPECT_LE(service->rebalance.spread(), 1000u);
}

}  // namespace
}  // namespace cairn
