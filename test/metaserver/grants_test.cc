// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How chunks get versions, replicas and primaries, with stores that obey, refuse, hang, are slow or die.
// Virtual time.
#include <algorithm>

#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

using Mood = FakeStore::Mood;

class Grants : public FleetTest {
 protected:
  FakeMount* client = nullptr;
  uint64_t file = 0;

  Located created() {
    // A file with one chunk on three stores, under a running lease.
    joinAll();
    client = &mount();
    file = createFile(*client, "f");
    auto location = locate(*client, file, For::WRITE);
    EXPECT_EQ(location.status, Status::OK);
    return location;
  }
  Located again(std::vector<uint32_t> suspects = {}) { return locate(*client, file, For::WRITE, suspects); }
  Located read() { return locate(*client, file, For::READ); }
  void leaseRunsOut() {
    for (auto& store : stores) store.leases.clear();  // not extended any more
    advance(61'000);
    EXPECT_EQ(renew(*client), Status::SESSION_EXPIRED) << "the client slept as well";
    client->id = 0;
    EXPECT_EQ(openSession(*client), Status::OK);
  }
  FakeStore& other(const Located& location, uint32_t not1, uint32_t not2 = 0) {
    for (auto id : location.replicas) {
      if (id != not1 && id != not2) return byId(id);
    }
    KJ_FAIL_REQUIRE("no other replica");
  }
};

TEST_F(Grants, ANewChunkIsOnThreeStoresBeforeTheClientHearsOfIt) {
  auto location = created();
  EXPECT_EQ(location.version, ChunkVersion(1));
  ASSERT_EQ(location.replicas.size(), 3u);
  EXPECT_EQ(location.replicas[0], location.primary);
  for (uint32_t i = 1; i <= 3; ++i) EXPECT_EQ(store(i).versionOf(location.handle), 1u);
  auto& primary = byId(location.primary);
  EXPECT_EQ(primary.leases[location.handle.value()], 1u);
  EXPECT_EQ(primary.chains[location.handle.value()].size(), 2u);
  EXPECT_EQ(primary.epochSeen, log->epoch().value());
  EXPECT_EQ(record(location.handle).floor, ChunkVersion(1));
}

TEST_F(Grants, WithoutAnyGoodReplicaItIsAnErrorOnceAllStoresAreThereAndAPauseBefore) {
  auto location = created();
  EXPECT_TRUE(record(location.handle).uncovered);
  EXPECT_EQ(sync(*client, {location.handle}), Status::OK);
  EXPECT_FALSE(record(location.handle).uncovered);
  EXPECT_EQ(log->durableUpTo(), log->last()) << "before it was answered";
  restart();
  for (uint32_t i = 1; i <= 3; ++i) store(i).chunks.clear();  // their disks were exchanged
  joinAll(2);
  client->session = nullptr;
  EXPECT_EQ(openSession(*client, {file}), Status::OK);
  EXPECT_EQ(read().status, Status::NOT_READY);
  advance(11'000);
  EXPECT_FALSE(service->view.safeMode.on());
  EXPECT_EQ(read().status, Status::NO_REPLICA) << "store 3 may bring one";
  EXPECT_EQ(again().status, Status::NO_REPLICA);
  join(store(3));
  EXPECT_EQ(read().status, Status::IO_ERROR);
  EXPECT_EQ(again().status, Status::IO_ERROR);
}

TEST_F(Grants, AChunkThatNoSyncHasCoveredIsMadeAnewWhenEveryStoreHasLostIt) {
  for (auto purpose : {For::READ, For::WRITE}) {
    auto location = created();
    restart();
    for (uint32_t i = 1; i <= 3; ++i) store(i).chunks.clear();  // its entry was in no index on stable storage
    joinAll(2);
    client->session = nullptr;
    EXPECT_EQ(openSession(*client, {file}), Status::OK);
    advance(11'000);
    EXPECT_EQ(locate(*client, file, purpose).status, Status::NO_REPLICA) << "store 3 may bring one";
    join(store(3));
    auto anew = locate(*client, file, purpose);
    ASSERT_EQ(anew.status, Status::OK);
    EXPECT_EQ(anew.handle, location.handle);
    EXPECT_EQ(anew.replicas.size(), 3u);
    EXPECT_GT(anew.version, location.version);
    EXPECT_GT(anew.lostAt, location.asOf) << "who wrote before it is told";
    EXPECT_LE(anew.lostAt, anew.asOf) << "who writes from now on is not";
    EXPECT_EQ(record(location.handle).floor, anew.version);
    EXPECT_TRUE(record(location.handle).uncovered) << "it may happen once more";
    EXPECT_EQ(unlink(*client, "f"), Status::OK);
    release(*client, file);
    advance(1000);
  }
}

TEST_F(Grants, NothingIsMadeAnewThatAStoreHoldsAfterAll) {
  auto location = created();
  restart();
  FakeStore::Chunk left = store(2).chunks[location.handle.value()];
  for (uint32_t i = 1; i <= 3; ++i) store(i).chunks.clear();
  joinAll();
  client->session = nullptr;
  EXPECT_EQ(openSession(*client, {file}), Status::OK);
  store(2).chunks[location.handle.value()] = left;  // its report had overtaken the adopt
  auto found = read();
  ASSERT_EQ(found.status, Status::OK);
  EXPECT_EQ(found.replicas, std::vector<uint32_t>{store(2).server});
  EXPECT_EQ(found.lostAt, LogIndex());
}

TEST_F(Grants, NothingIsMadeAnewWhileAStoreDoesNotAnswer) {
  auto location = created();
  restart();
  for (uint32_t i = 1; i <= 3; ++i) store(i).chunks.clear();
  joinAll();
  client->session = nullptr;
  EXPECT_EQ(openSession(*client, {file}), Status::OK);
  store(3).mood = Mood::HANGS;
  EXPECT_NE(read().status, Status::OK);
  EXPECT_EQ(record(location.handle).version, location.version);
  EXPECT_EQ(record(location.handle).lostAt, LogIndex());
}

TEST_F(Grants, AClientThatDoesNotTellWhatItSyncsIsRefused) {
  joinAll();
  FakeMount old;
  old.tellsSyncs = false;
  EXPECT_EQ(openSession(old), Status::WRONG_PROTOCOL);
}

TEST_F(Grants, BadBytesThatAClientReportsTakeAReplicaOutOnceItsStoreFindsThemToo) {
  auto location = created();
  auto reportBad = [&](uint32_t server) {
    auto request = client->session.reportCorruptRequest();
    request.getChunk().setHandle(location.handle.value());
    request.getChunk().setVersion(location.version.value());
    request.setServer(server);
    await(request.send().ignoreResult());
  };
  auto liar = location.replicas[1], victim = location.replicas[2];
  reportBad(liar);
  EXPECT_EQ(byId(liar).verifies, 1u);
  EXPECT_EQ(read().replicas.size(), 3u) << "on a client's word alone nothing is taken out";
  for (auto server : {victim, liar, location.replicas[0]}) {
    byId(server).chunks[location.handle.value()].rotten = true;
    reportBad(server);
    auto left = read();
    EXPECT_EQ(std::count(left.replicas.begin(), left.replicas.end(), server), 0);
  }
  EXPECT_EQ(read().status, Status::IO_ERROR) << "all three are bad, and no store is away";
}

TEST_F(Grants, TwoClientsAtOnceGetTheSameChunkUnderOneLease) {
  joinAll();
  auto& one = mount();
  auto& two = mount();
  auto inode = createFile(one, "f");
  auto first = locating(one, inode, For::WRITE);
  auto second = locating(two, inode, For::WRITE);
  auto a = await(kj::mv(first)), b = await(kj::mv(second));
  EXPECT_EQ(a.status, Status::OK);
  EXPECT_EQ(b.status, Status::OK);
  EXPECT_EQ(a.handle, b.handle);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.primary, b.primary);
  EXPECT_EQ(store(1).chunks.size(), 1u) << "no second chunk was made";
}

TEST_F(Grants, ARunningLeaseIsSharedWithoutANewVersion) {
  auto location = created();
  auto next = again();
  EXPECT_EQ(next.version, location.version);
  EXPECT_EQ(next.primary, location.primary);
  EXPECT_EQ(store(1).adopts, 1u);
}

TEST_F(Grants, AHeartbeatKeepsTheLeaseForAsLongAsThePrimaryWants) {
  auto location = created();
  for (int i = 0; i < 4; ++i) {
    advance(40'000);
    EXPECT_EQ(renew(*client), Status::OK);
  }
  EXPECT_EQ(again().version, location.version) << "160 s later";
}

TEST_F(Grants, AfterTheLeaseTheVersionRisesOnAllReplicasBeforeTheClientHears) {
  auto location = created();
  leaseRunsOut();
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.handle, location.handle);
  EXPECT_EQ(next.version, ChunkVersion(2));
  for (uint32_t i = 1; i <= 3; ++i) EXPECT_EQ(store(i).versionOf(location.handle), 2u);
  EXPECT_EQ(record(location.handle).version, ChunkVersion(2));
  EXPECT_EQ(record(location.handle).floor, ChunkVersion(2));
}

TEST_F(Grants, AStoreThatHangsAtTheCreationIsLeftOutUnderAnotherHandle) {
  joinAll();
  store(2).mood = Mood::HANGS;
  auto& mounted = mount();
  auto inode = createFile(mounted, "f");
  auto location = locate(mounted, inode, For::WRITE);
  EXPECT_EQ(location.status, Status::OK);
  ASSERT_EQ(location.replicas.size(), 2u);
  EXPECT_EQ(std::count(location.replicas.begin(), location.replicas.end(), store(2).server), 0);
  EXPECT_EQ(store(1).chunks.size(), 1u) << "the replica under the handle given up is removed";
  EXPECT_EQ(store(2).versionOf(location.handle), 0u)
      << "it may have adopted the first one: it must not count";
}

TEST_F(Grants, AStoreThatHasLostItsReplicaIsLeftOutUntilItHasACopy) {
  auto location = created();
  auto& lost = other(location, location.primary);
  leaseRunsOut();
  lost.onlyAdopt = Mood::REFUSES;
  lost.refusal = Status::NO_REPLICA;
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(std::count(next.replicas.begin(), next.replicas.end(), lost.server), 0);
  lost.onlyAdopt = Mood::OBEYS;
  leaseRunsOut();
  EXPECT_EQ(again().replicas.size(), 3u);
  EXPECT_GT(lost.commits, 0u) << "it was given a copy, and did not come back with what it has not";
}

TEST_F(Grants, AFourthStoreTakesThePlaceOfOneThatRefuses) {
  joinAll(4);
  auto& mounted = mount();
  for (int i = 0; i < 8; ++i) {
    store(1).mood = Mood::REFUSES;
    auto location = locate(mounted, createFile(mounted, kj::str("f", i)), For::WRITE);
    EXPECT_EQ(location.status, Status::OK);
    EXPECT_EQ(location.replicas.size(), 3u);
    EXPECT_EQ(std::count(location.replicas.begin(), location.replicas.end(), store(1).server), 0);
  }
}

TEST_F(Grants, FullStoresAreNoSpaceAndMissingOnesAreNotReady) {
  auto& mounted = mount();
  auto inode = createFile(mounted, "f");
  EXPECT_EQ(locate(mounted, inode, For::WRITE).status, Status::NOT_READY) << "no chunk daemon at all";
  for (uint32_t i = 1; i <= 3; ++i) store(i).bytesFree = 1000;
  joinAll();
  EXPECT_EQ(locate(mounted, inode, For::WRITE).status, Status::NO_SPACE);
  store(1).bytesFree = store(2).bytesFree = 50ull << 30;
  advance(2000);
  auto location = locate(mounted, inode, For::WRITE);
  EXPECT_EQ(location.status, Status::OK);
  EXPECT_EQ(location.replicas.size(), 2u) << "one full store: two copies, the minimum";
}

TEST_F(Grants, AStoreThatSaysItIsFullIsNoSpaceWhenItIsNeeded) {
  joinAll(2);
  store(1).onlyAdopt = Mood::REFUSES;
  store(1).refusal = Status::NO_SPACE;
  auto& mounted = mount();
  EXPECT_EQ(locate(mounted, createFile(mounted, "f"), For::WRITE).status, Status::NO_SPACE);
  EXPECT_EQ(store(2).chunks.size(), 0u) << "nothing stays behind";
}

TEST_F(Grants, AHungReplicaIsLeftOutAndTheVersionRisesOnceMore) {
  auto location = created();
  auto& hung = other(location, location.primary);
  leaseRunsOut();
  hung.onlyAdopt = Mood::HANGS;
  hung.adoptsBeforeItHangs = true;
  hung.heartbeats = false;
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 2u);
  EXPECT_EQ(hung.versionOf(location.handle), 2u) << "it has adopted version 2 without our hearing";
  EXPECT_EQ(next.version, ChunkVersion(3)) << "so version 2 is not the one that counts";
  EXPECT_EQ(record(location.handle).floor, ChunkVersion(3));
}

TEST_F(Grants, ASlowStoreWhoseHeartbeatsArriveIsWaitedFor) {
  auto location = created();
  leaseRunsOut();
  store(1).onlyAdopt = Mood::SLOW;
  auto next = again();
  EXPECT_EQ(next.replicas.size(), 3u);
  EXPECT_EQ(next.version, ChunkVersion(2));
}

TEST_F(Grants, AKilledPrimaryHasASuccessorWithinTwoSeconds) {
  auto location = created();
  auto& primary = byId(location.primary);
  kill(primary);
  auto before = timer.now();
  auto next = again({location.primary});
  EXPECT_LE((timer.now() - before) / kj::MILLISECONDS, 2000);
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_NE(next.primary, location.primary);
  EXPECT_EQ(next.replicas.size(), 2u);
  EXPECT_GT(next.version, location.version);
}

TEST_F(Grants, AStoppedPrimaryHasASuccessorWithinTwoSeconds) {
  auto location = created();
  auto& primary = byId(location.primary);
  primary.mood = Mood::HANGS;  // connected, and silent
  auto before = timer.now();
  auto next = again({location.primary});
  EXPECT_LE((timer.now() - before) / kj::MILLISECONDS, 2000);
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_NE(next.primary, location.primary);
  EXPECT_EQ(primary.leases.count(location.handle.value()), 1u) << "it still believes, and nobody follows it:";
  for (auto id : next.replicas) EXPECT_GT(byId(id).versionOf(location.handle), location.version.value());
}

TEST_F(Grants, ASuspectThatAnswersUsKeepsItsLease) {
  auto location = created();
  auto next = again({location.primary});
  EXPECT_EQ(next.version, location.version);
  EXPECT_EQ(next.primary, location.primary);
  EXPECT_GT(byId(location.primary).probes, 0u);
}

TEST_F(Grants, APrimaryThatClientsCannotUseRepeatedlyIsReplacedThoughItAnswersUs) {
  auto location = created();
  again({location.primary});
  auto next = again({location.primary});
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_NE(next.primary, location.primary);
  EXPECT_EQ(next.replicas.size(), 3u) << "it stays a replica";
}

TEST_F(Grants, AReplicaThatItsPrimaryReportsIsLeftOut) {
  auto location = created();
  auto& primary = byId(location.primary);
  auto& failed = other(location, location.primary);
  primaryFailed(primary, location, {failed.server});
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 2u);
  EXPECT_EQ(std::count(next.replicas.begin(), next.replicas.end(), failed.server), 0);
}

TEST_F(Grants, WhenTooFewOthersAreLeftAReportedReplicaThatAnswersIsTakenBack) {
  auto location = created();
  auto& primary = byId(location.primary);
  auto& b = other(location, location.primary);
  auto& c = other(location, location.primary, b.server);
  primaryFailed(primary, location, {b.server, c.server});
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 3u);
}

TEST_F(Grants, OnlyTheHolderMayEndALease) {
  auto location = created();
  auto& secondary = other(location, location.primary);
  primaryFailed(secondary, location, {location.primary});
  EXPECT_EQ(again().version, location.version);
}

TEST_F(Grants, BelowTheMinimumNothingIsRaised) {
  auto location = created();
  auto& b = other(location, location.primary);
  auto& c = other(location, location.primary, b.server);
  kill(b);
  kill(c);
  primaryFailed(byId(location.primary), location, {b.server, c.server});
  EXPECT_EQ(again().status, Status::NOT_READY);
  EXPECT_EQ(record(location.handle).version, location.version);
  join(b);
  auto next = again();
  EXPECT_EQ(next.status, Status::OK) << "as soon as one is back";
  EXPECT_EQ(next.replicas.size(), 2u);
}

TEST_F(Grants, ANewProcessOfThePrimaryGetsANewLeaseWithAllReplicas) {
  auto location = created();
  auto& primary = byId(location.primary);
  kill(primary);
  join(primary);
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.version, ChunkVersion(2));
  EXPECT_EQ(next.replicas.size(), 3u);
}

TEST_F(Grants, AReconnectOfTheSameProcessKeepsItsLease) {
  auto location = created();
  auto& primary = byId(location.primary);
  disconnect(primary);
  join(primary);
  EXPECT_EQ(again().version, location.version);
}

// A crash of the metaserver between raise and the adopts, and in the middle of them.
TEST_F(Grants, AfterACrashInTheMiddleOfAGrantAllVersionsFromTheFloorOnAreCandidates) {
  auto location = created();
  leaseRunsOut();
  auto& lagging = other(location, location.primary);
  lagging.onlyAdopt = Mood::HANGS;
  auto grant = locating(*client, file, For::WRITE);
  advance(300);
  EXPECT_EQ(record(location.handle).version, ChunkVersion(2));
  EXPECT_EQ(record(location.handle).floor, ChunkVersion(1));
  {
    auto drop KJ_UNUSED = kj::mv(grant);
  }
  restart();
  lagging.onlyAdopt = Mood::OBEYS;
  for (uint32_t i = 1; i <= 3; ++i) join(store(i));
  EXPECT_EQ(openSession(*client), Status::OK);
  EXPECT_EQ(lagging.versionOf(location.handle), 1u);

  auto reading = read();
  EXPECT_EQ(reading.version, ChunkVersion(2)) << "readers go to the highest";
  EXPECT_EQ(reading.replicas.size(), 2u);
  advance(5000);
  EXPECT_TRUE(lagging.deleted.empty()) << "it is as good as the others: nothing was written under version 2";
  auto next = again();
  EXPECT_EQ(next.version, ChunkVersion(3));
  EXPECT_EQ(next.replicas.size(), 3u);
}

TEST_F(Grants, AfterACrashRightAfterTheRaiseReadersGetTheVersionTheReplicasHave) {
  auto location = created();
  leaseRunsOut();
  for (auto& each : stores) each.onlyAdopt = Mood::HANGS;
  auto grant = locating(*client, file, For::WRITE);
  advance(300);
  {
    auto drop KJ_UNUSED = kj::mv(grant);
  }
  restart();
  for (auto& each : stores) each.onlyAdopt = Mood::OBEYS;
  joinAll();
  EXPECT_EQ(openSession(*client), Status::OK);
  auto reading = read();
  EXPECT_EQ(reading.version, ChunkVersion(1));
  EXPECT_EQ(reading.replicas.size(), 3u);
}

TEST_F(Grants, AGrantGoesOnWhenItsClientHasGone) {
  auto location = created();
  leaseRunsOut();
  store(1).onlyAdopt = Mood::SLOW;
  {
    auto grant = locating(*client, file, For::WRITE);
    advance(100);
  }
  advance(4000);
  EXPECT_EQ(record(location.handle).floor, ChunkVersion(2));
}

TEST_F(Grants, InSafeModeAChunkOfWhichReplicasAreMissingIsNotRaised) {
  auto location = created();
  restart();
  join(store(1));
  join(store(2));
  EXPECT_EQ(openSession(*client), Status::OK);
  EXPECT_EQ(again().status, Status::NOT_READY) << "the third may only be late";
  EXPECT_EQ(read().status, Status::OK) << "reads need not wait";
  join(store(3));
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 3u);
  EXPECT_EQ(next.version, ChunkVersion(2));
}

TEST_F(Grants, SafeModeDoesNotWaitForeverForADeadStore) {
  auto location = created();
  restart();
  join(store(1));
  join(store(2));
  EXPECT_EQ(openSession(*client), Status::OK);
  advance(11'000);
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 2u);
}

TEST_F(Grants, ReplicasOfUncleanMachinesAreUsedOnlyWhenThereAreNoOthers) {
  auto location = created();
  for (uint32_t i = 1; i <= 3; ++i) store(i).chunks[location.handle.value()].suspect = i == 1;
  restart();
  joinAll();
  EXPECT_EQ(openSession(*client), Status::OK);
  auto reading = read();
  EXPECT_EQ(reading.replicas.size(), 2u);
  auto next = again();
  EXPECT_EQ(next.replicas.size(), 2u);
  EXPECT_EQ(std::count(next.replicas.begin(), next.replicas.end(), store(1).server), 0);
}

TEST_F(Grants, AfterAPowerCutOfEverythingSuspectsAreMadeEqualBeforeTheyServe) {
  auto location = created();
  auto handle = location.handle.value();
  for (uint32_t i = 1; i <= 3; ++i) store(i).chunks[handle].suspect = true;
  restart();
  joinAll();
  EXPECT_EQ(openSession(*client), Status::OK);
  auto reading = read();
  EXPECT_EQ(reading.replicas.size(), 3u);
  for (uint32_t i = 1; i <= 3; ++i) {
    EXPECT_FALSE(store(i).chunks[handle].suspect);
    EXPECT_EQ(store(i).reconciles, 1u);
  }
  EXPECT_GT(record(location.handle).lostAt, location.asOf) << "who wrote before it and did not sync is told";
  EXPECT_LE(record(location.handle).lostAt, reading.asOf) << "who writes from now on is not";
  EXPECT_EQ(record(location.handle).floor, reading.version);
  EXPECT_EQ(again().replicas.size(), 3u);
}

TEST_F(Grants, ALoneSuspectWaitsForAGoodOneThatHasJustGone) {
  auto location = created();
  auto& good = store(1);
  for (uint32_t i = 2; i <= 3; ++i) {
    kill(store(i));
    store(i).chunks[location.handle.value()].suspect = true;
  }
  kill(good);
  join(store(2));
  join(store(3));
  EXPECT_EQ(again().status, Status::NOT_READY);
  EXPECT_EQ(record(location.handle).lostAt, LogIndex()) << "nothing is given up";
  join(good);
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(record(location.handle).lostAt, LogIndex());
  EXPECT_GE(next.replicas.size(), 2u) << "a suspect is taken in, made equal to the good one";
  EXPECT_EQ(store(1).reconciles, 0u);
  EXPECT_EQ(store(2).reconciles, 1u);
}

TEST_F(Grants, AReplicaThatMissedAWriteIsMadeEqualBeforeTheLease) {
  auto location = created();
  auto& primary = byId(location.primary);
  auto& b = other(location, location.primary);
  auto& c = other(location, location.primary, b.server);
  primary.chunks[location.handle.value()].serial = 8;
  b.chunks[location.handle.value()].serial = 7;
  c.chunks[location.handle.value()].serial = 8;
  kill(primary);
  join(primary);  // its memory is gone
  primary.chunks[location.handle.value()].written = 0;
  auto next = again();
  EXPECT_EQ(next.replicas.size(), 3u);
  EXPECT_EQ(b.reconciles, 1u);
  EXPECT_EQ(primary.reconciles, 1u) << "what it has is not known";
  EXPECT_EQ(c.reconciles, 0u) << "the others are made equal to it";
}

TEST_F(Grants, AReplicaThatCannotBeMadeEqualIsLeftOutUnderAHigherVersion) {
  auto location = created();
  auto& b = other(location, location.primary);
  b.chunks[location.handle.value()].written = 0;
  b.onlyReconcile = Mood::REFUSES;
  leaseRunsOut();
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.replicas.size(), 2u);
  EXPECT_EQ(b.versionOf(location.handle), 2u) << "it has adopted that version, and is not equal";
  EXPECT_EQ(next.version, ChunkVersion(3));
  EXPECT_EQ(record(location.handle).floor, ChunkVersion(3));
}

TEST_F(Grants, AReplicaThatDidNotSyncForAClientLeavesTheSetUnderAHigherVersion) {
  auto location = created();
  auto& b = other(location, location.primary);
  auto next = locateUnsynced(*client, file, location.version, {b.server});
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_GT(next.version, location.version);
  EXPECT_EQ(next.replicas.size(), 2u);
  EXPECT_EQ(std::count(next.replicas.begin(), next.replicas.end(), b.server), 0);
  auto late = locateUnsynced(*client, file, location.version, {next.replicas[1]});
  EXPECT_EQ(late.version, next.version) << "it was about the version before";
}

TEST_F(Grants, ASyncDoesWithoutASuspectThatAnswersNobodyWithinTwoSeconds) {
  auto location = created();
  auto& b = other(location, location.primary);
  auto& c = other(location, location.primary, b.server);
  c.mood = Mood::HANGS;
  auto before = timer.now();
  auto next = locateUnsynced(*client, file, location.version, {b.server}, {c.server});
  EXPECT_LE((timer.now() - before) / kj::MILLISECONDS, 2000);
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(std::count(next.replicas.begin(), next.replicas.end(), c.server), 0);
}

TEST_F(Grants, WhenTooFewOthersAreLeftOneThatDidNotSyncIsAskedAgainUnderAHigherVersion) {
  auto location = created();
  auto& b = other(location, location.primary);
  auto& c = other(location, location.primary, b.server);
  auto next = locateUnsynced(*client, file, location.version, {b.server, c.server});
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_GT(next.version, location.version);
  EXPECT_EQ(next.replicas.size(), 3u);
}

TEST_F(Grants, ChunksWhosePrimaryHasDiedComeToRestEqualThoughNobodyWrites) {
  auto location = created();
  auto handle = location.handle.value();
  auto& primary = byId(location.primary);
  auto& b = other(location, location.primary);
  b.chunks[handle].serial = 7;  // a write that the others do not have
  kill(primary);
  join(primary);
  advance(4000);
  EXPECT_EQ(b.reconciles, 0u);
  for (auto& each : stores) {
    if (each.versionOf(location.handle) == 0) continue;
    EXPECT_EQ(each.versionOf(location.handle), 2u);
    if (each.server != b.server) EXPECT_EQ(each.reconciles, 1u) << "made equal to the one that got furthest";
  }
  EXPECT_EQ(service->grants.unsettledCount(), 0u);
}

TEST_F(Grants, ATruncateEndsTheLeaseAndTheNextGrantCutsTheReplicas) {
  auto location = created();
  EXPECT_EQ(publish(*client, file, 100'000), Status::OK);
  EXPECT_EQ(resize(*client, file, 5000), Status::OK);
  EXPECT_EQ(byId(location.primary).revokes, 1u);
  EXPECT_EQ(byId(location.primary).leases.size(), 0u) << "before the truncate was answered";
  EXPECT_EQ(read().validBytes, 5000u);
  auto next = again();
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.validBytes, ALL_BYTES_VALID);
  for (uint32_t i = 1; i <= 3; ++i) EXPECT_EQ(store(i).chunks[location.handle.value()].truncated, 5000u);
  EXPECT_EQ(record(location.handle).validBytes, ALL_BYTES_VALID);
  EXPECT_EQ(read().validBytes, ALL_BYTES_VALID);
}

TEST_F(Grants, ATruncateWhosePrimaryHangsTakesItsPowerAway) {
  auto location = created();
  publish(*client, file, 100'000);
  byId(location.primary).mood = Mood::HANGS;
  EXPECT_EQ(resize(*client, file, 5000), Status::OK);
  EXPECT_GT(record(location.handle).floor, location.version) << "the others have adopted a higher version";
}

TEST_F(Grants, ReadersAreSentToTheNearestAndLastToThoseThatMayNotAnswer) {
  store(1).host = "a";
  store(2).host = "client-host";
  store(3).host = "c";
  auto location = created();
  EXPECT_EQ(location.primary, store(2).server) << "the writer's own host";
  for (int i = 0; i < 10; ++i) EXPECT_EQ(read().replicas.front(), store(2).server);
  store(2).heartbeats = false;
  advance(3000);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(read().replicas.back(), store(2).server);
  disconnect(store(3));
  EXPECT_EQ(read().replicas.back(), store(3).server);
  EXPECT_EQ(read().replicas.front(), store(1).server);
}

TEST_F(Grants, AHoleHasNoHandleAndNoReplicas) {
  created();
  auto request = client->session.locateRequest();
  request.setInode(file);
  request.setFirst(7);
  request.setCount(1);
  auto response = await(kj::Promise<capnp::Response<rpc::Session::LocateResults>>(request.send()));
  ASSERT_EQ(response.getStatus(), Status::OK);
  ASSERT_EQ(response.getLocations().size(), 1u);
  EXPECT_EQ(response.getLocations()[0].getChunk().getHandle(), 0u);
}

TEST_F(Grants, ImpossibleRequestsAreRefused) {
  created();
  for (uint64_t first : {uint64_t(1) << 40, ~uint64_t(0)}) {
    auto request = client->session.locateRequest();
    request.setInode(file);
    request.setFirst(first);
    request.setCount(1);
    request.setForWrite(true);
    EXPECT_EQ(await(kj::Promise<capnp::Response<rpc::Session::LocateResults>>(request.send())).getStatus(),
              Status::INVALID);
  }
  EXPECT_EQ(locate(*client, ROOT_INODE.value(), For::WRITE).status, Status::INVALID);
  EXPECT_EQ(locate(*client, 12345, For::WRITE).status, Status::NOT_FOUND);
}

TEST_F(Grants, ALogThatRefusesIsAnAnswerAndTheNextTryWorks) {
  joinAll();
  client = &mount();
  file = createFile(*client, "f");
  log->refuse = Status::NO_SPACE;
  EXPECT_EQ(again().status, Status::NO_SPACE);
  log->refuse = Status::OK;
  EXPECT_EQ(again().status, Status::OK);
}

}  // namespace
}  // namespace cairn
