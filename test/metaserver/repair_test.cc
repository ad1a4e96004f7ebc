// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How a chunk gets its replicas back, with stores that obey, hang, refuse or die, while clients want to
// write. Virtual time.
#include <algorithm>

#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

using Mood = FakeStore::Mood;

class RepairTest : public FleetTest {
 protected:
  FakeMount* client = nullptr;
  uint64_t file = 0;

  Located created() {
    // One chunk on stores 1 to 3; store 4 joins empty.
    joinAll();
    client = &mount();
    file = createFile(*client, "f");
    auto location = locate(*client, file, For::WRITE);
    EXPECT_EQ(location.status, Status::OK);
    join(store(4));
    return location;
  }
  void live(int64_t seconds) {
    for (int64_t done = 0; done < seconds; done += 5) {
      advance(kj::min(int64_t(5), seconds - done) * 1000);
      EXPECT_EQ(renew(*client), Status::OK);
    }
  }
  Located again() { return locate(*client, file, For::WRITE); }
  std::vector<uint32_t> holders(const Located& location) {
    // Who has the chunk at its present version.
    std::vector<uint32_t> result;
    for (auto& one : stores) {
      if (one.versionOf(location.handle) == record(location.handle).version.value())
        result.push_back(one.number);
    }
    return result;
  }
  FakeStore& secondary(const Located& location) { return byId(location.replicas.back()); }
  RepairProgress progress() { return service->repair.progress(); }
};

TEST_F(RepairTest, AStoreLostForGoodIsReplacedAfterItsGrace) {
  auto location = created();
  auto& lost = secondary(location);
  kill(lost);
  live(25);
  EXPECT_EQ(store(4).copies, 0u);
  EXPECT_EQ(progress().waiting, 1u);
  live(10);
  EXPECT_EQ(holders(location).size(), 3u);
  EXPECT_GT(store(4).copies, 1u) << "in slices";
  EXPECT_EQ(store(4).commits, 1u);
  EXPECT_EQ(record(location.handle).floor, record(location.handle).version)
      << "the lost one is stale from now on";
  EXPECT_EQ(progress().copied, 1u);
  EXPECT_EQ(progress().under, 0u);
  EXPECT_EQ(progress().copiedBytes, 20u << 20);
}

TEST_F(RepairTest, AStoreThatIsBackInTimeKeepsItsReplicas) {
  auto location = created();
  auto& away = secondary(location);
  kill(away);
  live(15);
  join(away);
  live(60);
  EXPECT_EQ(store(4).copies, 0u);
  EXPECT_EQ(record(location.handle).version, location.version) << "and nothing was raised for it";
}

TEST_F(RepairTest, OneCopyLeftDoesNotWait) {
  auto location = created();
  for (auto id : location.replicas) {
    if (id != location.primary) kill(byId(id));
  }
  live(5);
  EXPECT_EQ(holders(location).size(), 2u);
}

TEST_F(RepairTest, TheNextWriterHasTheNewReplicaInItsChain) {
  auto location = created();
  kill(secondary(location));
  live(40);
  auto next = again();
  ASSERT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 3u);
  EXPECT_EQ(std::count(next.replicas.begin(), next.replicas.end(), store(4).server), 1);
  EXPECT_EQ(byId(location.primary).leases.count(location.handle.value()),
            byId(next.primary).server == location.primary ? 1u : 0u);
}

TEST_F(RepairTest, TheLeaseIsTakenBackBeforeTheCopyIsCommitted) {
  auto location = created();
  kill(secondary(location));
  live(25);
  auto& primary = byId(location.primary);
  EXPECT_EQ(primary.leases.count(location.handle.value()), 1u);
  live(10);
  EXPECT_EQ(primary.revokes, 1u) << "its accepted writes are done everywhere before the version is raised";
  EXPECT_EQ(primary.leases.count(location.handle.value()), 0u);
}

TEST_F(RepairTest, AWriterWaitsNoLongerThanTheFreezeWhenTheTargetHangs) {
  auto location = created();
  kill(secondary(location));
  store(4).onlyCommit = Mood::HANGS;
  live(25);
  while (store(4).commits == 0) advance(50);
  auto start = timer.now();
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 2u);
  EXPECT_LE(timer.now() - start, 1200 * kj::MILLISECONDS);
}

TEST_F(RepairTest, ReadersDoNotWaitForTheFreeze) {
  auto location = created();
  kill(secondary(location));
  store(4).onlyCommit = Mood::HANGS;
  live(25);
  while (store(4).commits == 0) advance(50);
  auto start = timer.now();
  auto reading = locate(*client, file, For::READ);
  EXPECT_EQ(reading.status, Status::OK);
  EXPECT_EQ(reading.version, record(location.handle).version);
  EXPECT_LE(timer.now() - start, 100 * kj::MILLISECONDS);
}

TEST_F(RepairTest, ACommitWhoseAnswerWasLostIsFoundOut) {
  auto location = created();
  kill(secondary(location));
  store(4).onlyCommit = Mood::HANGS;
  store(4).copiesBeforeItHangs = true;
  live(25);
  while (store(4).commits == 0) advance(50);
  store(4).onlyCommit = Mood::OBEYS;
  live(120);
  EXPECT_EQ(holders(location).size(), 3u);
  EXPECT_EQ(progress().under, 0u);
  EXPECT_EQ(store(4).commits, 1u);
}

TEST_F(RepairTest, ACopyThatIsOvertakenByAGrantIsFinishedUnderALaterVersion) {
  auto location = created();
  kill(secondary(location));
  store(4).onlyCommit = Mood::SLOW;  // slower than a freeze lasts
  live(25);
  while (store(4).commits == 0) advance(50);
  auto next = again();
  ASSERT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 2u);
  advance(3000);
  EXPECT_LT(store(4).versionOf(location.handle), next.version.value()) << "what it has is stale";
  store(4).onlyCommit = Mood::OBEYS;
  live(20);
  EXPECT_EQ(holders(location).size(), 3u);
}

TEST_F(RepairTest, AReplicaThatItsStoreFindsDamagedIsReplacedInItsPlace) {
  joinAll();
  client = &mount();
  file = createFile(*client, "f");
  auto location = locate(*client, file, For::WRITE);
  auto& damaged = secondary(location);
  damaged.chunks[location.handle.value()].corrupt = true;
  auto request = KJ_ASSERT_NONNULL(damaged.fleet).heartbeatRequest();
  request.setBytesTotal(damaged.bytesTotal);
  request.setBytesFree(damaged.bytesFree);
  request.initRemoved(1).set(0, location.handle.value());
  await(request.send().ignoreResult());
  live(5);
  EXPECT_FALSE(damaged.chunks[location.handle.value()].corrupt);
  EXPECT_EQ(holders(location).size(), 3u);
}

TEST_F(RepairTest, AReplicaThatIsReportedDamagedIsReplacedInItsPlace) {
  joinAll();
  client = &mount();
  file = createFile(*client, "f");
  auto location = locate(*client, file, For::WRITE);
  auto& damaged = secondary(location);
  kill(damaged);
  damaged.chunks[location.handle.value()].corrupt = true;
  join(damaged);
  live(5);
  EXPECT_FALSE(damaged.chunks[location.handle.value()].corrupt);
  EXPECT_EQ(holders(location).size(), 3u);
}

TEST_F(RepairTest, BytesOfASourceThatATargetFindsBadAreNotReadAnyMore) {
  auto location = created();
  kill(secondary(location));
  auto bad = location.replicas[1];
  store(4).findsBad = {bad};
  bool isOut = false;
  for (int seconds = 0; seconds < 60 && !isOut; ++seconds) {
    live(1);
    auto replicas = locate(*client, file, For::READ).replicas;
    EXPECT_GE(replicas.size(), 1u) << "there are others";
    isOut = std::count(replicas.begin(), replicas.end(), bad) == 0;
  }
  EXPECT_TRUE(isOut);
  store(4).findsBad.clear();
  live(120);
  EXPECT_EQ(locate(*client, file, For::READ).replicas.size(), 3u) << "it has been replaced";
}

TEST_F(RepairTest, AStaleReplicaOfAChunkThatLacksOneIsBuiltUponAndNotDeleted) {
  joinAll();
  client = &mount();
  file = createFile(*client, "f");
  auto location = locate(*client, file, For::WRITE);
  auto& behind = secondary(location);
  kill(behind);
  primaryFailed(byId(location.primary), location, {behind.server});
  auto next = again();
  EXPECT_EQ(next.replicas.size(), 2u);
  join(behind);
  live(10);
  EXPECT_EQ(behind.deleted.size(), 0u);
  EXPECT_EQ(holders(location).size(), 3u);
}

TEST_F(RepairTest, InSafeModeNothingIsCopied) {
  auto location = created();
  kill(secondary(location));
  restart();
  EXPECT_EQ(openSession(*client), Status::OK);
  std::vector<uint32_t> back;
  for (auto& one : stores) {
    if (one.server == secondary(location).server) continue;
    if (back.size() == 1) break;
    join(one);
    back.push_back(one.number);
  }
  advance(55'000);
  EXPECT_TRUE(service->view.safeMode.on());
  for (auto& one : stores) EXPECT_EQ(one.copies, 0u);
}

TEST_F(RepairTest, AMetaserverThatDiesInTheMiddleLosesNothing) {
  auto location = created();
  auto& lost = secondary(location);
  kill(lost);
  store(4).onlyCommit = Mood::HANGS;
  live(25);
  while (store(4).commits == 0) advance(50);
  EXPECT_LT(record(location.handle).floor, record(location.handle).version)
      << "the lost one may still come back";
  restart();
  EXPECT_EQ(openSession(*client, {file}), Status::OK);
  store(4).onlyCommit = Mood::OBEYS;
  for (auto& one : stores) join(one);
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 3u) << "and so it does";
}

TEST_F(RepairTest, AFileThatIsDeletedDuringTheCopyLeavesNothing) {
  auto location = created();
  kill(secondary(location));
  store(4).onlyCopy = Mood::SLOW;
  live(25);
  while (store(4).copies == 0) advance(50);
  release(*client, file);
  EXPECT_EQ(unlink(*client, "f"), Status::OK);
  live(20);
  EXPECT_EQ(store(4).versionOf(location.handle), 0u);
  EXPECT_EQ(progress().under, 0u);
}

TEST_F(RepairTest, MoreThanWantedAreTrimmedByANewVersion) {
  auto location = created();
  auto& away = secondary(location);
  kill(away);
  // It comes back in the very moment in which the copy is complete and not yet confirmed: both count.
  store(4).chunks[location.handle.value()].version = 1;
  kill(store(4));
  join(store(4));
  join(away);
  live(10);
  EXPECT_EQ(holders(location).size(), 3u);
  uint32_t held = 0;
  for (auto& one : stores) held += one.chunks.count(location.handle.value());
  EXPECT_EQ(held, 3u) << "the fourth was left behind, and then deleted as any stale one is";
}

TEST_F(RepairTest, AStoreThatCannotTakeItIsTriedAgainLater) {
  auto location = created();
  kill(secondary(location));
  store(4).onlyCopy = Mood::REFUSES;
  live(60);
  EXPECT_GT(progress().failed, 1u);
  EXPECT_LT(progress().failed, 10u) << "with pauses that grow";
  store(4).onlyCopy = Mood::OBEYS;
  live(60);
  EXPECT_EQ(holders(location).size(), 3u);
}

TEST_F(RepairTest, StatusTellsOfIt) {
  auto location = created();
  kill(secondary(location));
  live(5);
  auto request = service->newConnection("cli").statusRequest();
  auto answer = await(kj::Promise<capnp::Response<rpc::Metaserver::StatusResults>>(request.send()));
  auto repair = answer.getStatus().getRepair();
  EXPECT_EQ(repair.getUnder(), 1u);
  EXPECT_EQ(repair.getWaiting(), 1u);
  EXPECT_TRUE(repair.getSurveyed());
}

}  // namespace
}  // namespace cairn
