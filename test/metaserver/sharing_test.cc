// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Sharing chunks between files, with stores that obey, refuse, hang or die: a shared chunk has no lease and
// is never written, and whoever wants to write one gets a clone on the stores that have it. Virtual time.
#include <algorithm>

#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

using Mood = FakeStore::Mood;

class Sharing : public FleetTest {
 protected:
  FakeMount* client = nullptr;
  uint64_t source = 0, target = 0;

  Located written(uint32_t storeCount = 3) {
    // A file with one chunk under a running lease, and another without any.
    joinAll(storeCount);
    client = &mount();
    source = createFile(*client, "source");
    target = createFile(*client, "target");
    auto location = locate(*client, source, For::WRITE);
    EXPECT_EQ(location.status, Status::OK);
    EXPECT_EQ(publish(*client, source, 5000), Status::OK);
    return location;
  }
  Status share() { return FleetTest::share(*client, source, target, 5000); }
  Located write(uint64_t inode) { return locate(*client, inode, For::WRITE); }
  Located read(uint64_t inode) { return locate(*client, inode, For::READ); }
  bool anyLease(ChunkHandle chunk) {
    for (auto& store : stores) {
      if (store.leases.count(chunk.value()) > 0) return true;
    }
    return service->view.leases.find(chunk) != nullptr;
  }
  uint32_t clones() {
    uint32_t count = 0;
    for (auto& store : stores) count += store.clones;
    return count;
  }
};

TEST_F(Sharing, TheLeaseOfAChunkEndsBeforeItIsSharedAndNoVersionIsRaisedForIt) {
  auto location = written();
  ASSERT_TRUE(anyLease(location.handle));
  advance(62'000);  // since the metaserver's start, so that it knows of all leases there are
  ASSERT_EQ(renew(*client), Status::SESSION_EXPIRED);
  client->id = 0;
  ASSERT_EQ(openSession(*client), Status::OK);
  client->sequence = 0;
  location = write(source);
  auto revokes = byId(location.primary).revokes;
  ASSERT_EQ(share(), Status::OK);
  EXPECT_EQ(byId(location.primary).revokes, revokes + 1);
  EXPECT_FALSE(anyLease(location.handle));
  EXPECT_EQ(record(location.handle).references, 2u);
  EXPECT_EQ(record(location.handle).version, location.version);
  EXPECT_EQ(read(target).handle, location.handle);
  EXPECT_EQ(read(target).validBytes, 5000u);
}

TEST_F(Sharing, SoonAfterAStartALeaseMayBeOutThatNobodyKnowsOfSoTheVersionIsRaised) {
  auto location = written();
  restart();
  joinAll();
  client->session = nullptr;
  ASSERT_EQ(openSession(*client, {source, target}), Status::OK);
  advance(11'000);
  EXPECT_TRUE(byId(location.primary).leases.count(location.handle.value()) > 0) << "from before";
  ASSERT_EQ(share(), Status::OK);
  EXPECT_GT(record(location.handle).version, location.version);
  EXPECT_EQ(record(location.handle).floor, record(location.handle).version);
  EXPECT_FALSE(anyLease(location.handle));
}

TEST_F(Sharing, TheFirstWriteToEitherSideGetsACloneAndTheOtherKeepsTheChunk) {
  for (bool writeSource : {true, false}) {
    SCOPED_TRACE(writeSource ? "source" : "target");
    auto location = writeSource ? written() : write(source);
    if (!writeSource) ASSERT_EQ(resize(*client, target, 0), Status::OK);
    ASSERT_EQ(share(), Status::OK);
    auto before = clones();
    auto one = write(writeSource ? source : target);
    ASSERT_EQ(one.status, Status::OK);
    EXPECT_NE(one.handle, location.handle);
    EXPECT_EQ(one.version, ChunkVersion(1));
    EXPECT_EQ(one.replicas.size(), 3u);
    EXPECT_EQ(clones() - before, 3u);
    EXPECT_EQ(read(writeSource ? target : source).handle, location.handle);
    EXPECT_EQ(record(location.handle).references, 1u);
    auto other = write(writeSource ? target : source);
    EXPECT_EQ(other.handle, location.handle) << "nobody else has it: no clone is needed";
    EXPECT_EQ(clones() - before, 3u);
  }
}

TEST_F(Sharing, ACloneOfAChunkThatHasLostBytesTellsItToo) {
  auto location = written();
  EXPECT_EQ(sync(*client, {location.handle}), Status::OK);
  ASSERT_EQ(share(), Status::OK);
  restart();
  for (uint32_t i = 1; i <= 3; ++i) store(i).chunks[location.handle.value()].suspect = true;
  joinAll();
  client->session = nullptr;
  ASSERT_EQ(openSession(*client, {source, target}), Status::OK);
  auto clone = write(target);
  ASSERT_EQ(clone.status, Status::OK);
  EXPECT_NE(clone.handle, location.handle);
  EXPECT_GT(clone.lostAt, location.asOf) << "who wrote to it before it was shared";
  EXPECT_LE(clone.lostAt, clone.asOf);
  EXPECT_FALSE(record(clone.handle).uncovered) << "it is on stable storage";
}

TEST_F(Sharing, TheLastOwnerOfACutChunkHasItCutBeforeItWrites) {
  auto location = written();
  ASSERT_EQ(share(), Status::OK);
  ASSERT_EQ(write(source).status, Status::OK);  // gets a clone, so the target is the only one
  auto own = write(target);
  ASSERT_EQ(own.handle, location.handle);
  EXPECT_EQ(own.validBytes, ALL_BYTES_VALID);
  for (auto server : own.replicas) {
    EXPECT_EQ(byId(server).chunks[location.handle.value()].truncated, 5000u);
  }
}

TEST_F(Sharing, TwoWritersAtOnceGetTwoChunksAndNoneIsLeftOver) {
  auto location = written();
  ASSERT_EQ(share(), Status::OK);
  auto first = locating(*client, source, For::WRITE);
  auto second = locating(*client, target, For::WRITE);
  auto a = await(kj::mv(first)), b = await(kj::mv(second));
  EXPECT_EQ(a.status, Status::OK);
  EXPECT_EQ(b.status, Status::OK);
  EXPECT_NE(a.handle, b.handle);
  EXPECT_EQ(names->state().chunks + names->state().garbage, names->state().garbage + 2);
  EXPECT_EQ(record(a.handle).references, 1u);
  EXPECT_EQ(record(b.handle).references, 1u);
  EXPECT_TRUE(names->read().chunk(location.handle) == nullptr || a.handle == location.handle ||
              b.handle == location.handle);
}

TEST_F(Sharing, AStoreThatDoesNotCloneIsLeftOutAndTheOthersCloneUnderAnotherHandle) {
  auto location = written();
  ASSERT_EQ(share(), Status::OK);
  store(2).onlyClone = Mood::REFUSES;
  auto own = write(source);
  ASSERT_EQ(own.status, Status::OK);
  EXPECT_EQ(own.replicas.size(), 2u);
  EXPECT_EQ(std::count(own.replicas.begin(), own.replicas.end(), store(2).server), 0);
  EXPECT_EQ(store(2).versionOf(own.handle), 0u);
  EXPECT_EQ(store(1).chunks.size(), 2u) << "the handle that was given up is not left there";
  EXPECT_EQ(read(target).handle, location.handle);
  EXPECT_EQ(read(target).replicas.size(), 3u);
}

TEST_F(Sharing, AStoreThatHangsWhileItClonesIsLeftOutToo) {
  written();
  ASSERT_EQ(share(), Status::OK);
  store(3).mood = Mood::HANGS;
  auto own = write(source);
  ASSERT_EQ(own.status, Status::OK);
  EXPECT_EQ(own.replicas.size(), 2u);
}

TEST_F(Sharing, WithoutRoomForTheCloneTheWriterIsTold) {
  written();
  ASSERT_EQ(share(), Status::OK);
  for (auto& store : stores) {
    store.onlyClone = Mood::REFUSES;
    store.refusal = Status::NO_SPACE;
  }
  auto own = write(source);
  EXPECT_EQ(own.status, Status::NO_SPACE);
  EXPECT_EQ(read(source).status, Status::OK) << "and what is there is there";
}

TEST_F(Sharing, AMetaserverThatDiesBetweenTheClonesAndTheOperationLeavesThemAsChunksOfNoFile) {
  auto location = written();
  ASSERT_EQ(share(), Status::OK);
  log->refuse = Status::NOT_READY;  // nothing gets into its log any more
  auto unanswered = locating(*client, source, For::WRITE);
  advance(1000);
  restart();
  joinAll();
  client->session = nullptr;
  ASSERT_EQ(openSession(*client, {source, target}), Status::OK);
  advance(11'000);
  EXPECT_EQ(record(location.handle).references, 2u);
  EXPECT_EQ(read(source).handle, location.handle);
  auto own = write(source);
  EXPECT_EQ(own.status, Status::OK);
  EXPECT_NE(own.handle, location.handle);
  EXPECT_EQ(record(location.handle).references, 1u);
}

TEST_F(Sharing, AReplicaThatHasMissedAWriteIsOutBeforeTheChunkIsShared) {
  auto location = written();
  auto& primary = byId(location.primary);
  auto failed = location.replicas[2];
  primaryFailed(primary, location, {failed});
  ASSERT_EQ(share(), Status::OK);
  auto located = read(target);
  if (std::count(located.replicas.begin(), located.replicas.end(), failed) > 0) {
    EXPECT_EQ(byId(failed).versionOf(location.handle), record(location.handle).version.value());
  }
  for (auto& replica : service->view.chunks.candidates(location.handle, record(location.handle))) {
    EXPECT_EQ(replica.state, ReplicaFacts::State::GOOD);
  }
}

TEST_F(Sharing, APrimaryThatHangsIsNotWaitedForForEver) {
  auto location = written();
  byId(location.primary).mood = Mood::HANGS;
  auto status = share();
  EXPECT_TRUE(ok(status) || status == Status::BUSY) << kj::str(status).cStr();
  if (ok(status)) {
    EXPECT_GT(record(location.handle).version, location.version) << "it cannot write any more";
    EXPECT_EQ(service->view.leases.find(location.handle), nullptr);
  } else {
    EXPECT_EQ(record(location.handle).references, 1u);
  }
}

TEST_F(Sharing, AChunkThatNobodyHoldsAnyMoreIsNotShared) {
  auto location = written();
  for (uint32_t i = 1; i <= 3; ++i) kill(store(i));
  advance(2'000);
  EXPECT_EQ(share(), Status::BUSY) << "the caller copies the bytes, or finds out that there are none";
  EXPECT_EQ(record(location.handle).references, 1u);
  for (uint32_t i = 1; i <= 3; ++i) join(store(i));
  EXPECT_EQ(share(), Status::OK);
}

TEST_F(Sharing, SharingAndWritingAtOnceNeverLeavesALeaseOnASharedChunk) {
  written();
  for (int round = 0; round < 20; ++round) {
    auto sharing = this->sharing(*client, source, target, 5000);
    auto one = locating(*client, source, For::WRITE);
    auto two = locating(*client, target, For::WRITE);
    auto status = await(kj::mv(sharing));
    EXPECT_TRUE(ok(status) || status == Status::STALE_VERSION || status == Status::BUSY);
    auto a = await(kj::mv(one)), b = await(kj::mv(two));
    for (auto& [handle, version] : store(1).leases) {
      auto known = names->read().chunk(ChunkHandle(handle));
      KJ_IF_MAYBE (record, known) EXPECT_EQ(record->references, 1u) << "round " << round;
    }
    settle();
    auto sourceRecord = record(names->read().chunkAt(InodeId(source), ChunkIndex(0)));
    if (sourceRecord.references > 1) {
      EXPECT_FALSE(anyLease(names->read().chunkAt(InodeId(source), ChunkIndex(0)))) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace cairn
