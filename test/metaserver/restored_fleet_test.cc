// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A namespace that was restored from an old backup, among stores and mounts that have seen more than it:
// nothing is deleted, nothing is given out twice, and what was written after the backup to files that it
// knows is there. The "backup" is a copy of the namespace in the middle of a test.
#include <algorithm>
#include <string>

#include "metaserver/namespace_image.h"
#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

constexpr uint64_t FLOOR = 1'000'000'000;

class RestoredTest : public FleetTest {
 protected:
  FakeMount* client = nullptr;

  struct File {
    uint64_t inode;
    Located at;
  };
  File written(kj::StringPtr name) {
    if (client == nullptr) {
      joinAll();
      client = &mount();
    }
    auto inode = createFile(*client, name, Create::CLOSED);
    return {inode, locate(*client, inode, For::WRITE)};
  }
  void backUp() { names->copyTo("/backup"); }

  void restore(uint64_t epochs = 100) {
    // As `cairn-metaserver restore` does it, and a start.
    crash();
    names = nullptr;
    NamespaceOptions options;
    options.path = "/backup";
    options.env = memory.get();
    names = Namespace::open(options);
    LoggedOperation operation;
    operation.body().setIndex(names->state().applied.next().value());
    auto restored = operation.body().initRestored();
    restored.setFloor(FLOOR);
    restored.setEpochs(epochs);
    EXPECT_TRUE(names->apply(operation.body().asReader()).ok());
    names->commit();
    for (auto& store : stores) store.leases.clear();
    client = nullptr;
    start();
  }
  Located read(uint64_t inode) { return locate(mount(), inode, For::READ); }
  void writeAgain(const File& file) {
    // A lease anew: the version is raised.
    for (uint32_t i = 1; i <= 3; ++i) kill(store(i));
    for (uint32_t i = 1; i <= 3; ++i) join(store(i));
    EXPECT_EQ(locate(*client, file.inode, For::WRITE).status, Status::OK);
  }
};

TEST_F(RestoredTest, AChunkThatWasWrittenAfterTheBackupIsReadAsItIs) {
  auto file = written("f");
  backUp();
  writeAgain(file);
  auto latest = record(file.at.handle).version;
  ASSERT_GT(latest, file.at.version);
  restore();
  joinAll();
  advance(500);
  auto found = read(file.inode);
  EXPECT_EQ(found.status, Status::OK);
  EXPECT_EQ(found.version, latest);
  EXPECT_EQ(found.replicas.size(), 3u);
  EXPECT_EQ(std::string(service->view.garbage.brake().cStr()), "");
}

TEST_F(RestoredTest, UntilAllStoresHaveToldAReaderIsAskedToWait) {
  auto file = written("f");
  backUp();
  writeAgain(file);
  restore();
  join(store(1));
  join(store(2));
  advance(120'000);
  EXPECT_TRUE(service->view.safeMode.on());
  EXPECT_EQ(read(file.inode).status, Status::NOT_READY);
  join(store(3));
  advance(500);
  EXPECT_FALSE(service->view.safeMode.on());
  EXPECT_EQ(read(file.inode).status, Status::OK);
}

struct RestoredAndRefused : RestoredTest, testing::WithParamInterface<uint64_t> {};

TEST_P(RestoredAndRefused, WhatTheLogDoesNotTakeOfWhatStoresHoldIsNotedLater) {
  auto file = written("f");
  backUp();
  writeAgain(file);
  auto latest = record(file.at.handle).version;
  restore();
  for (uint32_t i = 1; i <= 3; ++i) ASSERT_EQ(connect(store(i)), Status::OK);
  log->refuseOnce(GetParam(), Status::NO_SPACE);
  for (uint32_t i = 1; i <= 3; ++i) report(store(i));
  advance(500);
  EXPECT_EQ(log->refused, 1u);
  log->refuse = Status::OK;
  advance(60'000);
  auto found = read(file.inode);
  EXPECT_EQ(found.status, Status::OK);
  EXPECT_EQ(found.version, latest);
  EXPECT_FALSE(service->view.safeMode.on());
}

INSTANTIATE_TEST_SUITE_P(Proposal, RestoredAndRefused, testing::Values(1, 2));

TEST_F(RestoredTest, AReplicaThatIsOlderThanWhatWasWrittenAfterTheBackupDoesNotCount) {
  auto file = written("f");
  backUp();
  kill(store(3));
  advance(5'000);
  EXPECT_EQ(locate(*client, file.inode, For::WRITE, {store(3).server}).status, Status::OK);
  auto latest = record(file.at.handle).version;
  ASSERT_EQ(store(3).versionOf(file.at.handle), file.at.version.value());
  ASSERT_EQ(store(1).versionOf(file.at.handle), latest.value());
  restore();
  joinAll();
  advance(500);
  auto found = read(file.inode);
  EXPECT_EQ(found.version, latest);
  EXPECT_EQ(std::count(found.replicas.begin(), found.replicas.end(), store(3).server), 0);
}

TEST_F(RestoredTest, VersionsGivenOutAfterTheRestoreAreAboveAllOfBefore) {
  auto file = written("f");
  backUp();
  writeAgain(file);
  restore();
  joinAll();
  advance(500);
  auto& again = mount();
  auto found = locate(again, file.inode, For::WRITE);
  EXPECT_EQ(found.status, Status::OK);
  EXPECT_GE(found.version.value(), FLOOR);
  auto fresh = createFile(again, "new", Create::CLOSED);
  EXPECT_GE(fresh, FLOOR);
  auto chunk = locate(again, fresh, For::WRITE);
  EXPECT_GE(chunk.handle.value(), FLOOR);
  EXPECT_EQ(chunk.version, ChunkVersion(1)) << "a handle of after the restore needs no jump";
}

TEST_F(RestoredTest, ChunksOfFilesMadeAfterTheBackupAreKeptUntilAnOperatorLetsThemGo) {
  written("before");
  backUp();
  std::vector<ChunkHandle> after;
  for (int i = 0; i < 40; ++i) after.push_back(written(kj::str("after-", i)).at.handle);
  restore();
  joinAll();
  advance(200'000);
  for (auto handle : after) {
    for (uint32_t i = 1; i <= 3; ++i) {
      ASSERT_EQ(store(i).versionOf(handle) > 0,
                std::count(store(i).deleted.begin(), store(i).deleted.end(), handle.value()) == 0);
    }
  }
  for (uint32_t i = 1; i <= 3; ++i) EXPECT_TRUE(store(i).deleted.empty());
  EXPECT_EQ(std::string(service->view.garbage.brake().cStr()), "")
      << "that is to be expected after a restore";
  EXPECT_EQ(service->view.garbage.kept(), 120u);

  auto released = await(kj::Promise<capnp::Response<rpc::Administration::ReleaseKeptResults>>(
      administration().releaseKeptRequest().send()));
  EXPECT_EQ(released.getStatus(), Status::OK);
  EXPECT_EQ(released.getKept(), 120u);
  advance(90'000);
  for (auto handle : after) {
    for (uint32_t i = 1; i <= 3; ++i) ASSERT_EQ(store(i).versionOf(handle), 0u);
  }
  EXPECT_EQ(service->view.garbage.kept(), 0u);
}

TEST_F(RestoredTest, WhatIsKeptStaysKeptThroughRestarts) {
  written("before");
  backUp();
  auto after = written("after").at.handle;
  restore();
  joinAll();
  advance(2'000);
  restart();
  joinAll();
  advance(200'000);
  EXPECT_GT(store(1).versionOf(after), 0u);
}

TEST_F(RestoredTest, GarbageOfAfterTheRestoreGoesAsAlways) {
  written("before");
  backUp();
  restore();
  joinAll();
  advance(2'000);
  client = &mount();
  auto file = written("new");
  EXPECT_EQ(unlink(*client, "new"), Status::OK);
  advance(5'000);
  EXPECT_EQ(store(1).versionOf(file.at.handle), 0u);
}

TEST_F(RestoredTest, AllSessionsOfBeforeAreOver) {
  written("f");
  backUp();
  auto id = client->id;
  restore();
  FakeMount old;
  old.id = id;
  EXPECT_EQ(openSession(old), Status::SESSION_EXPIRED);
  old.id = 0;
  EXPECT_EQ(openSession(old), Status::OK);
  EXPECT_GE(old.id, FLOOR);
}

TEST_F(RestoredTest, AStoreThatHasObeyedALaterEpochTeachesItWhileItTakesOver) {
  written("f");
  backUp();
  restore(1);
  auto ours = log->epoch();
  store(1).epochSeen = ours.value() + 5;
  auto outrun = service->whenOutrun();
  EXPECT_FALSE(outrun.poll(scope));
  connect(store(1));
  settle();
  ASSERT_TRUE(outrun.poll(scope));
  EXPECT_THROW(outrun.wait(scope), kj::Exception);
  restart();
  EXPECT_GT(log->epoch().value(), ours.value() + 5);
}

TEST_F(RestoredTest, ALaterEpochThatTheLogCannotNoteIsNotedWhenTheStoreComesAgain) {
  written("f");
  backUp();
  restore(1);
  store(1).epochSeen = log->epoch().value() + 5;
  auto outrun = service->whenOutrun();
  log->refuse = Status::NO_SPACE;
  (void)connect(store(1));
  advance(1'000);
  EXPECT_FALSE(outrun.poll(scope));
  log->refuse = Status::OK;
  disconnect(store(1));
  (void)connect(store(1));
  advance(1'000);
  EXPECT_TRUE(outrun.poll(scope));
}

TEST_F(RestoredTest, ANamespaceInChargeDoesNotFollowALaterEpoch) {
  // Else an old metaserver that is started by mistake would take the cluster from the right one.
  written("f");
  backUp();
  restore(1);
  joinAll();
  advance(2'000);
  ASSERT_EQ(names->state().restored, Restored::KEEPING);
  auto ours = log->epoch();
  kill(store(1));
  store(1).epochSeen = ours.value() + 5;
  auto outrun = service->whenOutrun();
  connect(store(1));
  settle();
  EXPECT_FALSE(outrun.poll(scope));
  restart();
  EXPECT_EQ(log->epoch(), ours.next());
}

TEST_F(RestoredTest, ANamespaceThatWasNotRestoredStillPullsTheBrakeAtWhatIsNewer) {
  auto file = written("f");
  kill(store(1));
  store(1).chunks[file.at.handle.value()].version = 77;
  join(store(1));
  EXPECT_NE(std::string(service->view.garbage.brake().cStr()), "");
  advance(1'000);
  EXPECT_LT(record(file.at.handle).version.value(), 77u);
}

TEST_F(RestoredTest, ACorruptReplicaDoesNotSayWhatIsCurrent) {
  auto file = written("f");
  backUp();
  restore();
  store(1).chunks[file.at.handle.value()].version = 9;
  store(1).chunks[file.at.handle.value()].corrupt = true;
  joinAll();
  advance(500);
  EXPECT_NE(record(file.at.handle).version, ChunkVersion(9));
  EXPECT_EQ(read(file.inode).status, Status::OK);
}

TEST_F(RestoredTest, AReplicaOfBeforeTheRestoreThatComesWhenTheChunkHasBeenWrittenAgainIsStale) {
  auto file = written("f");
  backUp();
  writeAgain(file);
  restore();
  for (uint32_t i = 1; i <= 3; ++i) join(store(i));
  advance(500);
  auto& again = mount();
  EXPECT_EQ(locate(again, file.inode, For::WRITE).status, Status::OK);
  store(4).chunks[file.at.handle.value()].version = 500;  // of the history that is lost
  join(store(4));
  advance(5'000);
  EXPECT_GE(record(file.at.handle).version.value(), FLOOR);
  EXPECT_EQ(std::count(store(4).deleted.begin(), store(4).deleted.end(), file.at.handle.value()), 1);
}

}  // namespace
}  // namespace cairn
