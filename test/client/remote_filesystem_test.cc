// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What an application may rely on, whatever daemons do: they die, hang, lie, come back, lose answers.
#include "client/remote_filesystem.h"

#include <gtest/gtest.h>

#include "client/writer.h"
#include "test/client/fake_cluster.h"

namespace cairn::client {
namespace {

constexpr uint64_t KIB = 1 << 10, MIB = 1 << 20;

struct RemoteFilesystemTest : testing::Test {
  ~RemoteFilesystemTest() noexcept override {}
  FakeCluster cluster;
  kj::Own<Filesystem> filesystem = cluster.mount();

  kj::Own<OpenFile> create(kj::StringPtr name = "a") { return cluster.create(*filesystem, name); }
  Status flush(OpenFile& file) { return cluster.run(file.flush()); }
  Status sync(OpenFile& file) { return cluster.run(file.sync()); }
  std::string stored(OpenFile& file, uint32_t store, uint64_t index = 0) {
    return cluster.stored(store, file.inode(), index);
  }
  static std::string pattern(size_t size, char first = 'a') {
    std::string text(size, ' ');
    for (size_t i = 0; i < size; ++i) text[i] = char(first + i / 997 % 23);
    return text;
  }
};

// ------------------------------------------------------------ reading and writing

TEST_F(RemoteFilesystemTest, AReadSeesAWriteThatIsStillHere) {
  auto file = create();
  EXPECT_EQ(cluster.write(*file, 0, "hello"), Status::OK);
  EXPECT_EQ(file->attributes().size, 5u);
  EXPECT_EQ(cluster.read(*file, 0, 100), "hello");
  EXPECT_EQ(cluster.locates, 0u) << "nobody had to be asked";
}

TEST_F(RemoteFilesystemTest, AFlushBringsItToEveryReplicaAndPublishesTheLength) {
  auto file = create();
  cluster.write(*file, 0, "hello");
  EXPECT_EQ(flush(*file), Status::OK);
  for (uint32_t store = 1; store <= 3; ++store) EXPECT_EQ(stored(*file, store), "hello");
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, 5u);
  EXPECT_EQ(cluster.publishes, 1u);
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(cluster.publishes, 1u) << "nothing is new";
}

TEST_F(RemoteFilesystemTest, TenMebibytesInSmallWritesAreTenMessages) {
  auto file = create();
  auto block = pattern(4 * KIB);
  for (int i = 0; i < 2560; ++i) ASSERT_EQ(cluster.write(*file, i * 4 * KIB, block), Status::OK);
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(cluster.primaryOf(file->inode(), 0).writes, 10u);
  EXPECT_GT(cluster.primaryOf(file->inode(), 0).writesInFlightMax, 1u);
}

TEST_F(RemoteFilesystemTest, RandomSmallWritesAreManyInFlight) {
  auto file = create();
  for (int i = 0; i < 200; ++i) cluster.write(*file, i * 16 * KIB, "x");
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_GE(cluster.primaryOf(file->inode(), 0).writesInFlightMax, 100u);
}

TEST_F(RemoteFilesystemTest, ASmallWriteLeavesByItselfAfterAWhileAndItsLengthWithinASecond) {
  auto file = create();
  cluster.write(*file, 0, "hello");
  cluster.pass(100 * kj::MILLISECONDS);
  EXPECT_EQ(stored(*file, 1), "hello");
  cluster.pass(1 * kj::SECONDS);
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, 5u);
}

TEST_F(RemoteFilesystemTest, ReadsOfAnyAlignmentFindTheBytes) {
  auto file = create();
  auto all = pattern(3 * MIB + 777);
  cluster.write(*file, 0, all);
  flush(*file);
  EXPECT_EQ(cluster.read(*file, 0, 4 * MIB), all);
  EXPECT_EQ(cluster.read(*file, 1, 10), all.substr(1, 10));
  EXPECT_EQ(cluster.read(*file, 4095, 2), all.substr(4095, 2));
  EXPECT_EQ(cluster.read(*file, MIB - 5, MIB + 10), all.substr(MIB - 5, MIB + 10));
  EXPECT_EQ(cluster.read(*file, 3 * MIB, 5000), all.substr(3 * MIB));
  EXPECT_EQ(cluster.read(*file, 4 * MIB, 10), "");
}

TEST_F(RemoteFilesystemTest, UnsentBytesLieOverStoredOnes) {
  auto file = create();
  cluster.write(*file, 0, std::string(20'000, 'a'));
  flush(*file);
  cluster.write(*file, 5'000, "bb");
  cluster.write(*file, 9'000, "cc");
  std::string wanted(20'000, 'a');
  wanted.replace(5'000, 2, "bb").replace(9'000, 2, "cc");
  EXPECT_EQ(cluster.read(*file, 0, 20'000), wanted);
  EXPECT_EQ(cluster.read(*file, 4'999, 4'003), wanted.substr(4'999, 4'003));
  EXPECT_EQ(cluster.read(*file, 5'000, 2), "bb");
}

TEST_F(RemoteFilesystemTest, HolesAreZerosAcrossChunks) {
  auto file = create();
  cluster.write(*file, 2ull * CHUNK_SIZE + 100, "end");
  flush(*file);
  EXPECT_EQ(file->attributes().size, 2ull * CHUNK_SIZE + 103);
  EXPECT_EQ(cluster.read(*file, CHUNK_SIZE - 10, 20), std::string(20, '\0'));
  EXPECT_EQ(cluster.read(*file, 2ull * CHUNK_SIZE + 98, 100), std::string("\0\0end", 5));
}

TEST_F(RemoteFilesystemTest, AWriteAcrossAChunkBoundaryReachesBothChunks) {
  auto file = create();
  cluster.write(*file, CHUNK_SIZE - 3, "abcdef");
  flush(*file);
  EXPECT_EQ(stored(*file, 1, 0).substr(CHUNK_SIZE - 3), "abc");
  EXPECT_EQ(stored(*file, 1, 1), "def");
  EXPECT_EQ(cluster.read(*file, CHUNK_SIZE - 3, 6), "abcdef");
}

TEST_F(RemoteFilesystemTest, ASequentialReaderAsksOncePerManyChunks) {
  auto file = create();
  auto inode = file->inode();
  for (uint64_t i = 0; i < 40; ++i) cluster.grant(cluster.file(inode), i, {});
  cluster.file(inode).attributes.size = 40ull * CHUNK_SIZE;
  cluster.file(inode).attributes.dataVersion = 9;
  auto other = cluster.mount();
  auto reader = cluster.run(other->open(inode)).value();
  for (uint64_t i = 0; i < 40; ++i) ASSERT_EQ(cluster.read(*reader, i * CHUNK_SIZE, 3), std::string(3, '\0'));
  EXPECT_LE(cluster.locates, 4u);
}

TEST_F(RemoteFilesystemTest, BufferedMemoryIsBounded) {
  filesystem = nullptr;
  cluster.bufferBytesMax = 4 * MIB;
  filesystem = cluster.mount();
  auto file = create();
  cluster.write(*file, 0, "x");
  flush(*file);
  for (int i = 1; i <= 3; ++i) cluster.hangStore(i);
  std::vector<kj::Promise<Status>> writes;
  uint32_t accepted = 0;
  for (int i = 0; i < 50; ++i) {
    writes.push_back(file->write(FileOffset(i * MIB), FakeCluster::bytes(std::string(MIB, 'x')))
                         .then([&](Status status) {
                           ++accepted;
                           return status;
                         })
                         .eagerlyEvaluate(nullptr));
  }
  cluster.pass(1 * kj::SECONDS);
  EXPECT_LE(accepted, 5u) << "4 MiB, and one piece on top";
  for (int i = 1; i <= 3; ++i) {
    cluster.network.resume(kj::str("s", i));
    cluster.stores.at(i).isHung = false;
  }
  for (auto& write : writes) EXPECT_EQ(cluster.run(kj::mv(write)), Status::OK);
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(stored(*file, 2), std::string(50 * MIB, 'x'));
}

TEST_F(RemoteFilesystemTest, AWriteLargerThanAllBufferMemoryGoesThrough) {
  filesystem = nullptr;
  cluster.bufferBytesMax = 2 * MIB;
  filesystem = cluster.mount();
  auto file = create();
  auto all = pattern(9 * MIB + 13);
  EXPECT_EQ(cluster.write(*file, 100, all), Status::OK);
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(stored(*file, 1).substr(100), all);
}

// ------------------------------------------------------------ failing disks

TEST_F(RemoteFilesystemTest, APrimaryThatDiesDuringAWriteIsReplaced) {
  auto file = create();
  cluster.write(*file, 0, "first");
  flush(*file);
  auto dead = cluster.primaryOf(file->inode(), 0).id;
  cluster.killStore(dead);
  cluster.write(*file, 5, " second");
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_NE(cluster.primaryOf(file->inode(), 0).id, dead);
  EXPECT_EQ(stored(*file, cluster.primaryOf(file->inode(), 0).id), "first second");
}

TEST_F(RemoteFilesystemTest, AHungPrimaryCostsLessThanTwoSeconds) {
  auto file = create();
  cluster.write(*file, 0, "first");
  flush(*file);
  cluster.hangStore(cluster.primaryOf(file->inode(), 0).id);
  auto before = cluster.time.elapsed();
  cluster.write(*file, 5, " second");
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_LT(cluster.time.elapsed() - before, 2 * kj::SECONDS);
}

TEST_F(RemoteFilesystemTest, ASecondaryThatFailsLeavesTheSetAndTheWriteCompletes) {
  auto file = create();
  cluster.write(*file, 0, "first");
  flush(*file);
  auto& primary = cluster.primaryOf(file->inode(), 0);
  auto version = cluster.file(file->inode()).chunks.at(0).version;
  cluster.killStore(primary.id == 3 ? 2 : 3);
  cluster.write(*file, 5, " second");
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_GT(cluster.file(file->inode()).chunks.at(0).version, version);
  EXPECT_EQ(cluster.file(file->inode()).chunks.at(0).replicas.size(), 2u);
}

TEST_F(RemoteFilesystemTest, ManyWritesInFlightSurviveTheLossOfTheirPrimary) {
  auto file = create();
  auto all = pattern(12 * MIB);
  cluster.write(*file, 0, "x");
  flush(*file);
  auto dead = cluster.primaryOf(file->inode(), 0).id;
  for (uint64_t i = 0; i < 12; ++i) cluster.write(*file, i * MIB, all.substr(i * MIB, MIB));
  cluster.killStore(dead);
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_TRUE(stored(*file, cluster.primaryOf(file->inode(), 0).id) == all);
}

TEST_F(RemoteFilesystemTest, AFullDiskIsToldAtTheNextFlushOnce) {
  auto file = create();
  for (auto& [id, store] : cluster.stores) store.refuseWrites = Status::NO_SPACE;
  EXPECT_EQ(cluster.write(*file, 0, "hello"), Status::OK);
  EXPECT_EQ(flush(*file), Status::NO_SPACE);
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(file->attributes().size, 0u) << "a length without data is not claimed";
}

TEST_F(RemoteFilesystemTest, WhoIsRefusedSpaceTriesAgainWhileTheTrashGivesSomeBack) {
  auto file = create();
  cluster.moreSpace = Status::OK;
  for (auto& [id, store] : cluster.stores) store.refuseWrites = Status::NO_SPACE;
  EXPECT_EQ(cluster.write(*file, 0, "hello"), Status::OK);
  auto flushed = file->flush().eagerlyEvaluate(nullptr);
  cluster.pass(5 * kj::SECONDS);
  EXPECT_GT(cluster.spaceWanted, 1u);
  for (auto& [id, store] : cluster.stores) store.refuseWrites = Status::OK;
  cluster.locateRefusal = Status::NO_SPACE;
  cluster.pass(5 * kj::SECONDS);
  cluster.locateRefusal = Status::OK;
  EXPECT_EQ(cluster.run(kj::mv(flushed)), Status::OK);
  EXPECT_EQ(cluster.stored(1, file->inode(), 0), "hello");

  for (auto& [id, store] : cluster.stores) store.refuseWrites = Status::NO_SPACE;
  EXPECT_EQ(cluster.write(*file, 0, "again"), Status::OK);
  flushed = file->flush().eagerlyEvaluate(nullptr);
  cluster.pass(5 * kj::SECONDS);
  cluster.moreSpace = Status::NO_SPACE;
  EXPECT_EQ(cluster.run(kj::mv(flushed)), Status::NO_SPACE) << "the trash is empty";
}

TEST_F(RemoteFilesystemTest, AWriteBeyondTheQuotaIsRefusedAtOnceAndAfterwardsWhenThereIsRoomNot) {
  cluster.quotaLeft = 8 * BLOCK_SIZE;
  auto file = create();
  EXPECT_EQ(cluster.write(*file, 0, std::string(6 * BLOCK_SIZE, 'a')), Status::OK);
  EXPECT_EQ(cluster.publishes, 0u) << "it fits, whatever is already there";
  cluster.quotaLeft = 2 * BLOCK_SIZE;  // as it will be then
  EXPECT_EQ(cluster.write(*file, 6 * BLOCK_SIZE, std::string(3 * BLOCK_SIZE, 'b')), Status::OVER_QUOTA);
  EXPECT_EQ(cluster.publishes, 1u) << "to know how much is left";
  EXPECT_EQ(cluster.write(*file, 6 * BLOCK_SIZE, std::string(2 * BLOCK_SIZE, 'b')), Status::OK);
  cluster.quotaLeft = 0;
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(cluster.write(*file, 8 * BLOCK_SIZE, "c"), Status::OVER_QUOTA);
  EXPECT_GT(cluster.spaceAsked, 0u) << "somebody may have made room";
  cluster.file(file->inode()).attributes.bytesUsed = 8 * BLOCK_SIZE;
  ++cluster.file(file->inode()).attributes.dataVersion;
  file = nullptr;
  cluster.pass(1 * kj::SECONDS);
  file = cluster.run(filesystem->open(InodeId(cluster.lastInode))).value();
  EXPECT_EQ(cluster.write(*file, 0, std::string(BLOCK_SIZE, 'd')), Status::OK) << "overwriting takes nothing";
  cluster.quotaLeft = UINT64_MAX;
  EXPECT_EQ(cluster.write(*file, 8 * BLOCK_SIZE, "c"), Status::OK);
  EXPECT_EQ(flush(*file), Status::OK);
}

TEST_F(RemoteFilesystemTest, ASyncTellsOfLostBytesAlsoWhenACloseHasAndTheFileWasOpenedAnew) {
  // As `echo x > f; sync f`: the shell may not look at what close says.
  auto file = create();
  auto inode = file->inode();
  cluster.locateRefusal = Status::NO_SPACE;
  EXPECT_EQ(cluster.write(*file, 0, "hello"), Status::OK);
  EXPECT_EQ(flush(*file), Status::NO_SPACE);
  file = nullptr;
  cluster.pass(100 * kj::SECONDS);  // however long it lay there
  cluster.locateRefusal = Status::OK;
  file = cluster.run(filesystem->open(inode)).value();
  EXPECT_EQ(sync(*file), Status::NO_SPACE);
  EXPECT_EQ(sync(*file), Status::OK) << "once";
}

TEST_F(RemoteFilesystemTest, SyncAllTellsOfBytesThatClosedFilesHaveLost) {
  auto file = create();
  cluster.locateRefusal = Status::NO_SPACE;
  cluster.write(*file, 0, "hello");
  EXPECT_EQ(flush(*file), Status::NO_SPACE);
  file = nullptr;
  cluster.pass(1 * kj::SECONDS);
  cluster.locateRefusal = Status::OK;
  EXPECT_EQ(cluster.run(filesystem->syncAll()), Status::NO_SPACE);
  EXPECT_EQ(cluster.run(filesystem->syncAll()), Status::OK);
}

TEST_F(RemoteFilesystemTest, AnErrorIsToldByTheNextWriteToo) {
  auto file = create();
  cluster.locateRefusal = Status::NO_SPACE;
  EXPECT_EQ(cluster.write(*file, 0, "hello"), Status::OK);
  cluster.pass(1 * kj::SECONDS);
  EXPECT_EQ(cluster.write(*file, 5, "world"), Status::NO_SPACE);
  cluster.locateRefusal = Status::OK;
  EXPECT_EQ(cluster.write(*file, 0, "again"), Status::OK);
  EXPECT_EQ(flush(*file), Status::OK);
}

TEST_F(RemoteFilesystemTest, WithoutAnyChunkDaemonAWriteFailsWhenPatienceEnds) {
  auto file = create();
  cluster.write(*file, 0, "x");
  flush(*file);
  for (uint32_t id = 1; id <= 3; ++id) cluster.killStore(id);
  cluster.write(*file, 0, "y");
  auto before = cluster.time.elapsed();
  EXPECT_EQ(flush(*file), Status::IO_ERROR);
  EXPECT_GE(cluster.time.elapsed() - before, cluster.timing.patience);
  EXPECT_LT(cluster.time.elapsed() - before, 3 * cluster.timing.patience);
}

// ------------------------------------------------------------ failing replicas

TEST_F(RemoteFilesystemTest, BytesWithAWrongChecksumAreNeverReturnedAndReported) {
  auto file = create();
  auto all = pattern(10'000);
  cluster.write(*file, 0, all);
  flush(*file);
  cluster.stores.at(1).isCorrupt = true;
  EXPECT_EQ(cluster.read(*file, 0, 10'000), all);
  cluster.pass(10 * kj::MILLISECONDS);
  EXPECT_EQ(cluster.corruptReports, std::vector<uint32_t>{1});
}

TEST_F(RemoteFilesystemTest, WhenEveryReplicaLiesThereIsAnError) {
  auto file = create();
  cluster.write(*file, 0, "hello");
  flush(*file);
  for (auto& [id, store] : cluster.stores) store.isCorrupt = true;
  EXPECT_EQ(cluster.read(*file, 0, 5), "<ioError>");
}

TEST_F(RemoteFilesystemTest, ADeadReplicaCostsAReadAlmostNothing) {
  auto file = create();
  cluster.write(*file, 0, "hello");
  flush(*file);
  cluster.killStore(1);
  auto before = cluster.time.elapsed();
  EXPECT_EQ(cluster.read(*file, 0, 5), "hello");
  EXPECT_LT(cluster.time.elapsed() - before, 100 * kj::MILLISECONDS);
}

TEST_F(RemoteFilesystemTest, ASlowReplicaIsHedged) {
  auto file = create();
  cluster.write(*file, 0, "hello");
  flush(*file);
  cluster.hangStore(1);
  auto before = cluster.time.elapsed();
  EXPECT_EQ(cluster.read(*file, 0, 5), "hello");
  EXPECT_LT(cluster.time.elapsed() - before, 700 * kj::MILLISECONDS);
}

TEST_F(RemoteFilesystemTest, AReplicaOfAnotherVersionSendsTheReaderBackToTheMetaserver) {
  auto file = create();
  cluster.write(*file, 0, "hello");
  flush(*file);
  EXPECT_EQ(cluster.read(*file, 0, 5), "hello");
  auto& chunk = cluster.file(file->inode()).chunks.at(0);
  chunk.version += 1;  // another client's write had it raised
  for (auto server : chunk.replicas)
    cluster.stores.at(server).chunks.at(chunk.handle).version = chunk.version;
  auto locates = cluster.locates;
  EXPECT_EQ(cluster.read(*file, 0, 5), "hello");
  EXPECT_EQ(cluster.locates, locates + 1);
}

// ------------------------------------------------------------ fsync

TEST_F(RemoteFilesystemTest, ASyncAsksEveryReplicaOnceForAllChunksAndTheLogWithTheLength) {
  auto file = create();
  cluster.write(*file, 0, "a");
  cluster.write(*file, CHUNK_SIZE, "b");
  EXPECT_EQ(sync(*file), Status::OK);
  for (auto& [id, store] : cluster.stores) EXPECT_EQ(store.syncs, 1u);
  EXPECT_EQ(cluster.publishes, 1u);
  EXPECT_EQ(cluster.syncs, 1u) << "in the same call";
  EXPECT_EQ(sync(*file), Status::OK);
  EXPECT_EQ(cluster.stores.at(1).syncs, 1u) << "nothing is dirty";
  EXPECT_EQ(cluster.publishes, 1u);
  EXPECT_EQ(cluster.syncs, 2u) << "names and attributes may have changed";
}

TEST_F(RemoteFilesystemTest, TheFirstSyncOfAnOpenCoversWhatEarlierOpensWrote) {
  auto inode = [&] {
    auto file = create();
    cluster.write(*file, 0, "a");
    cluster.write(*file, CHUNK_SIZE, "b");
    EXPECT_EQ(cluster.run(file->flush()), Status::OK);
    return file->inode();
  }();
  cluster.pass(1 * kj::SECONDS);  // released: nothing of that open is left
  auto file = cluster.run(filesystem->open(inode));
  ASSERT_TRUE(file.ok());
  auto before = cluster.stores.at(1).syncs;
  EXPECT_EQ(sync(**file), Status::OK);
  EXPECT_EQ(cluster.stores.at(1).syncs, before + 1) << "both chunks in one call";
  EXPECT_EQ(sync(**file), Status::OK);
  EXPECT_EQ(cluster.stores.at(1).syncs, before + 1) << "now they are known to be clean";
}

TEST_F(RemoteFilesystemTest, AReplicaThatRebootedSinceTheWriteDoesNotCount) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  cluster.stores.at(2).boot = 200;
  EXPECT_EQ(sync(*file), Status::OK) << "two others have it";
  EXPECT_EQ(cluster.file(file->inode()).chunks.at(0).replicas, (std::set<uint32_t>{1, 3}));
}

TEST_F(RemoteFilesystemTest, AHungReplicaIsLeftOutOfASyncWithinTwoSeconds) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  cluster.hangStore(2);
  auto before = cluster.time.elapsed();
  EXPECT_EQ(sync(*file), Status::OK);
  EXPECT_LE(cluster.time.elapsed() - before, 2100 * kj::MILLISECONDS);
  EXPECT_EQ(cluster.file(file->inode()).chunks.at(0).replicas, (std::set<uint32_t>{1, 3}));
}

TEST_F(RemoteFilesystemTest, WhenNoReplicaCountsASyncFailsAndDoesNotForgetIt) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  for (auto& [id, store] : cluster.stores) store.refuseSyncs = Status::IO_ERROR;
  EXPECT_EQ(sync(*file), Status::IO_ERROR);
  EXPECT_EQ(sync(*file), Status::IO_ERROR);
}

TEST_F(RemoteFilesystemTest, AReplicaThatCannotBeReachedStaysInNoSetOfAFinishedSync) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  cluster.network.cut("c", "s2");  // the metaserver reaches it all the same
  EXPECT_EQ(sync(*file), Status::OK);
  EXPECT_EQ(cluster.file(file->inode()).chunks.at(0).replicas, (std::set<uint32_t>{1, 3}));
  EXPECT_GT(cluster.file(file->inode()).chunks.at(0).version, 1u);
}

TEST_F(RemoteFilesystemTest, WhatWentWithThePowerOfEveryReplicaIsToldOnce) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  auto& chunk = cluster.file(file->inode()).chunks.at(0);
  chunk.version += 1;
  chunk.lostAt = ++cluster.operations;
  for (auto server : chunk.replicas)
    cluster.stores.at(server).chunks.at(chunk.handle).version = chunk.version;
  EXPECT_EQ(sync(*file), Status::IO_ERROR);
  EXPECT_EQ(sync(*file), Status::OK) << "once";
  cluster.write(*file, 0, "b");
  EXPECT_EQ(sync(*file), Status::OK) << "this was written after it";
}

TEST_F(RemoteFilesystemTest, WhatAChunkHadLostIsToldThroughItsClone) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  auto& chunk = cluster.file(file->inode()).chunks.at(0);
  auto old = chunk.handle;
  chunk.handle = 7777;  // somebody has written to a copy that shared it
  chunk.lostAt = ++cluster.operations;
  for (auto server : chunk.replicas) {
    cluster.stores.at(server).chunks[7777] = cluster.stores.at(server).chunks.at(old);
    cluster.stores.at(server).chunks.erase(old);
  }
  EXPECT_EQ(sync(*file), Status::IO_ERROR);
  EXPECT_EQ(sync(*file), Status::OK) << "once";
}

TEST_F(RemoteFilesystemTest, TheMetaserverIsToldOnceWhichChunksSyncsCover) {
  auto file = create();
  cluster.write(*file, 0, "a");
  EXPECT_EQ(sync(*file), Status::OK);
  auto handle = cluster.file(file->inode()).chunks.at(0).handle;
  ASSERT_FALSE(cluster.covered.empty());
  EXPECT_EQ(cluster.covered.back(), std::set<uint64_t>{handle}) << "with the publish, or the barrier";
  cluster.write(*file, 0, "b");
  EXPECT_EQ(sync(*file), Status::OK);
  EXPECT_EQ(cluster.covered.back(), std::set<uint64_t>{});
}

TEST_F(RemoteFilesystemTest, SyncfsTellsOfClosedFilesThatWereSyncedOnOurOwnAccountToo) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  auto handle = cluster.file(file->inode()).chunks.at(0).handle;
  file = nullptr;
  cluster.pass(60 * kj::SECONDS);  // swept
  cluster.covered.clear();
  EXPECT_EQ(cluster.run(filesystem->syncAll()), Status::OK);
  bool told = false;
  for (auto& chunks : cluster.covered) told |= chunks.count(handle) > 0;
  EXPECT_TRUE(told);
}

TEST_F(RemoteFilesystemTest, ASyncOfAFileWithAReplicaAwayFindsOutWhoCounts) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  auto inode = file->inode();
  file = nullptr;
  cluster.pass(100 * kj::MILLISECONDS);
  filesystem = cluster.mount();  // which knows nothing of the write
  cluster.file(inode).chunks.at(0).isComplete = false;
  auto opened = cluster.run(filesystem->open(inode));
  ASSERT_TRUE(opened.ok());
  auto locates = cluster.locates;
  EXPECT_EQ(sync(**opened), Status::OK);
  EXPECT_GT(cluster.locates, locates + 1) << "the replicas that it was told for reading may not be all";
}

TEST_F(RemoteFilesystemTest, ServersThatJoinedLaterAreNoWitnessesOfEarlierWrites) {
  DirtyChunk chunk{
      ChunkHandle(7), ChunkVersion(1), {{ServerId(1), 10}, {ServerId(2), 20}}, 1, LogIndex(1), {}};
  chunk.add({ChunkHandle(7), ChunkVersion(2), {{ServerId(1), 11}, {ServerId(3), 30}}, 2, LogIndex(2), {}});
  EXPECT_EQ(chunk.version, ChunkVersion(2));
  EXPECT_EQ(chunk.oldest, LogIndex(1)) << "what was written then is not synced yet";
  EXPECT_EQ(chunk.boots, (std::map<ServerId, uint64_t>{{ServerId(1), 11}, {ServerId(3), 30}}))
      << "these were equal when version 2 began, or something was lost before it";
  EXPECT_FALSE(chunk.isLost());
  chunk.add({ChunkHandle(7), ChunkVersion(1), {{ServerId(2), 20}}, 2, LogIndex(1), {}});
  EXPECT_EQ(chunk.boots.count(ServerId(2)), 0u) << "an answer that was overtaken";
  chunk.add({ChunkHandle(7), ChunkVersion(2), {{ServerId(1), 12}, {ServerId(3), 30}}, 2, LogIndex(2), {}});
  EXPECT_EQ(chunk.boots.at(ServerId(1)), 11u) << "under one version the first boot counts";
  chunk.add({ChunkHandle(7), ChunkVersion(4), {{ServerId(1), 12}}, 2, LogIndex(4), LogIndex(3)});
  EXPECT_TRUE(chunk.isLost()) << "operations 1 and 2 are before 3";
  chunk.add({ChunkHandle(8), ChunkVersion(1), {{ServerId(1), 12}}, 2, LogIndex(1), {}});
  EXPECT_FALSE(chunk.isLost()) << "another chunk: that one was cut away";
  chunk.add({ChunkHandle(9), ChunkVersion(1), {{ServerId(1), 12}}, 2, LogIndex(6), LogIndex(3)});
  EXPECT_TRUE(chunk.isLost()) << "a clone of what had lost something by then";
}

TEST_F(RemoteFilesystemTest, ASyncWhoseCallerWentAwayDoesNotMakeTheNextOneLie) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  {
    auto abandoned = file->sync().eagerlyEvaluate(nullptr);
    cluster.pass(1 * kj::MICROSECONDS);
  }
  cluster.pass(10 * kj::MILLISECONDS);
  auto before = cluster.stores.at(1).syncs;
  EXPECT_EQ(sync(*file), Status::OK);
  EXPECT_EQ(cluster.stores.at(1).syncs, before + 1);
}

TEST_F(RemoteFilesystemTest, AFlushWhoseCallerWentAwayStillGetsItsLengthPublished) {
  auto file = create();
  auto inode = file->inode();
  cluster.write(*file, 0, "hello");
  cluster.pass(100 * kj::MILLISECONDS);
  cluster.killMetaserver();
  {
    auto abandoned = file->flush().eagerlyEvaluate(nullptr);
    cluster.pass(100 * kj::MILLISECONDS);
  }
  cluster.startMetaserver();
  file = nullptr;
  cluster.pass(3 * kj::SECONDS);
  EXPECT_EQ(cluster.file(inode).attributes.size, 5u);
}

TEST_F(RemoteFilesystemTest, AVersionThatAnotherClientHadRaisedIsNoFailureOfASync) {
  auto file = create();
  cluster.write(*file, 0, "a");
  flush(*file);
  auto& chunk = cluster.file(file->inode()).chunks.at(0);
  chunk.version += 1;
  for (auto server : chunk.replicas)
    cluster.stores.at(server).chunks.at(chunk.handle).version = chunk.version;
  EXPECT_EQ(sync(*file), Status::OK);
  EXPECT_EQ(chunk.replicas.size(), 3u);
}

TEST_F(RemoteFilesystemTest, SyncAllSyncsEveryOpenFileAndTheLog) {
  auto a = create("a"), b = create("b");
  cluster.write(*a, 0, "a");
  cluster.write(*b, 0, "b");
  EXPECT_EQ(cluster.run(filesystem->syncAll()), Status::OK);
  EXPECT_EQ(stored(*a, 1), "a");
  EXPECT_EQ(stored(*b, 1), "b");
  EXPECT_EQ(cluster.stores.at(1).syncs, 2u);
}

// ------------------------------------------------------------ lengths and cuts

TEST_F(RemoteFilesystemTest, ALengthIsNeverPublishedAheadOfData) {
  auto file = create();
  cluster.write(*file, 0, std::string(4 * KIB, 'a'));
  flush(*file);
  // The second chunk's bytes are applied, those before them are not.
  cluster.write(*file, 4 * KIB, std::string(4 * KIB, 'b'));
  cluster.write(*file, CHUNK_SIZE, "c");
  for (uint32_t id = 1; id <= 3; ++id) cluster.stores.at(id).refuseWrites = Status::NOT_PRIMARY;
  cluster.pass(5 * kj::SECONDS);
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, 4 * KIB);
  for (uint32_t id = 1; id <= 3; ++id) cluster.stores.at(id).refuseWrites = Status::OK;
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, CHUNK_SIZE + 1);
}

TEST_F(RemoteFilesystemTest, ACutDropsWhatWasWrittenBehindItAndKeepsTheRest) {
  auto file = create();
  cluster.write(*file, 0, pattern(10'000));
  AttributeChange change;
  change.size = uint64_t(5'000);
  auto after = cluster.run(filesystem->setAttributes(file->inode(), kj::mv(change)));
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(after->size, 5'000u);
  EXPECT_EQ(cluster.read(*file, 0, 10'000), pattern(10'000).substr(0, 5'000));
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, 5'000u);
}

TEST_F(RemoteFilesystemTest, BytesBehindACutReadAsZerosAfterTheFileGrowsAgain) {
  auto file = create();
  cluster.write(*file, 0, std::string(10'000, 'a'));
  flush(*file);
  AttributeChange cut, grow;
  cut.size = uint64_t(100);
  grow.size = uint64_t(10'000);
  EXPECT_TRUE(cluster.run(filesystem->setAttributes(file->inode(), kj::mv(cut))).ok());
  EXPECT_TRUE(cluster.run(filesystem->setAttributes(file->inode(), kj::mv(grow))).ok());
  EXPECT_EQ(cluster.read(*file, 0, 10'000), std::string(100, 'a') + std::string(9'900, '\0'));
}

TEST_F(RemoteFilesystemTest, WritesInFlightDoNotGrowAFileBackAfterACut) {
  auto file = create();
  for (int i = 0; i < 4; ++i) cluster.write(*file, i * MIB, std::string(MIB, 'x'));
  AttributeChange cut;
  cut.size = uint64_t(0);
  EXPECT_TRUE(cluster.run(filesystem->setAttributes(file->inode(), kj::mv(cut))).ok());
  cluster.pass(3 * kj::SECONDS);
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, 0u);
  EXPECT_EQ(cluster.read(*file, 0, 10), "");
  cluster.write(*file, 0, "new");
  flush(*file);
  EXPECT_EQ(cluster.read(*file, 0, 10), "new");
}

TEST_F(RemoteFilesystemTest, AGivenModificationTimeIsNotOverwrittenByBufferedWrites) {
  auto file = create();
  cluster.write(*file, 0, "hello");
  AttributeChange touch;
  touch.mtime = Timestamp{12345};
  EXPECT_TRUE(cluster.run(filesystem->setAttributes(file->inode(), kj::mv(touch))).ok());
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(cluster.file(file->inode()).attributes.mtime.ns, 12345);
  EXPECT_EQ(file->attributes().mtime.ns, 12345);
}

TEST_F(RemoteFilesystemTest, LookupAndAttributesShowWhatIsNotPublishedYet) {
  auto file = create("a");
  cluster.write(*file, 0, "hello");
  EXPECT_EQ(cluster.run(filesystem->lookup(ROOT_INODE, "a")).value().size, 5u);
  EXPECT_EQ(cluster.run(filesystem->getAttributes(file->inode())).value().size, 5u);
}

TEST_F(RemoteFilesystemTest, TooFarIsRefused) {
  auto file = create();
  EXPECT_EQ(cluster.write(*file, FILE_SIZE_MAX, "x"), Status::TOO_BIG);
  EXPECT_EQ(cluster.write(*file, UINT64_MAX, "x"), Status::TOO_BIG);
}

// ------------------------------------------------------------ record append

TEST_F(RemoteFilesystemTest, RecordsAreAppendedAtTheEnd) {
  auto file = create();
  EXPECT_EQ(cluster.run(file->recordAppend(kj::StringPtr("one").asBytes())).value(), FileOffset(0));
  EXPECT_EQ(cluster.run(file->recordAppend(kj::StringPtr("three").asBytes())).value(), FileOffset(3));
  EXPECT_EQ(cluster.read(*file, 0, 100), "onethree");
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, 8u);
}

TEST_F(RemoteFilesystemTest, ARecordThatDoesNotFitGoesToTheNextChunk) {
  auto file = create();
  for (auto& [id, store] : cluster.stores) store.appendLimit = 10;
  EXPECT_EQ(cluster.run(file->recordAppend(kj::StringPtr("12345678").asBytes())).value(), FileOffset(0));
  EXPECT_EQ(cluster.run(file->recordAppend(kj::StringPtr("abcdefgh").asBytes())).value(),
            FileOffset(CHUNK_SIZE));
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, CHUNK_SIZE + 8);
}

TEST_F(RemoteFilesystemTest, ARecordSurvivesTheLossOfThePrimary) {
  auto file = create();
  cluster.run(file->recordAppend(kj::StringPtr("one").asBytes())).value();
  cluster.killStore(cluster.primaryOf(file->inode(), 0).id);
  EXPECT_EQ(cluster.run(file->recordAppend(kj::StringPtr("two").asBytes())).value(), FileOffset(3));
  EXPECT_EQ(cluster.read(*file, 0, 100), "onetwo");
}

TEST_F(RemoteFilesystemTest, ARecordLargerThanAQuarterChunkIsRefused) {
  auto file = create();
  auto record = kj::heapArray<kj::byte>(RECORD_SIZE_MAX + 1);
  EXPECT_EQ(cluster.run(file->recordAppend(record)).status(), Status::TOO_BIG);
}

// ------------------------------------------------------------ metaserver

TEST_F(RemoteFilesystemTest, AMetaserverThatIsRestartedWhileWeWriteCausesNoError) {
  auto file = create();
  for (int i = 0; i < 8; ++i) cluster.write(*file, i * MIB, std::string(MIB, 'x'));
  cluster.killMetaserver();
  auto flushing = file->flush().eagerlyEvaluate(nullptr);
  cluster.pass(5 * kj::SECONDS);
  cluster.startMetaserver();
  EXPECT_EQ(cluster.run(kj::mv(flushing)), Status::OK);
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, 8 * MIB);
  EXPECT_EQ(cluster.sessions.size(), 1u);
  EXPECT_EQ(cluster.sessions.begin()->second.open, (std::set<uint64_t>{file->inode().value()}));
}

TEST_F(RemoteFilesystemTest, AChangeWhoseAnswerWasLostIsDoneOnce) {
  cluster.loseAnswers = 1;
  auto made = filesystem->make(ROOT_INODE, "a", {}, {}).eagerlyEvaluate(nullptr);
  cluster.pass(100 * kj::MILLISECONDS);
  cluster.killMetaserver();
  cluster.startMetaserver();
  EXPECT_TRUE(cluster.run(kj::mv(made)).ok()) << "done again it would answer exists";
  EXPECT_EQ(cluster.changes, 1u);
  EXPECT_EQ(cluster.repeated, 1u);
}

TEST_F(RemoteFilesystemTest, NotReadyIsWaitedFor) {
  cluster.notReady = 5;
  EXPECT_TRUE(cluster.run(filesystem->make(ROOT_INODE, "a", {}, {})).ok());
}

TEST_F(RemoteFilesystemTest, AFencedSessionIsFollowedByANewOneAndOpenFilesGoOn) {
  auto file = create();
  cluster.write(*file, 0, "hello");
  cluster.sessions.clear();
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(cluster.sessions.size(), 1u);
  EXPECT_EQ(cluster.sessions.begin()->first, 2u);
  EXPECT_EQ(cluster.sessions.begin()->second.open, (std::set<uint64_t>{file->inode().value()}));
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, 5u);
}

TEST_F(RemoteFilesystemTest, AnOrphanOfAFencedSessionIsStale) {
  auto file = create();
  cluster.files.erase(file->inode().value());
  cluster.sessions.clear();
  EXPECT_TRUE(cluster.run(filesystem->make(ROOT_INODE, "b", {}, {})).ok());
  EXPECT_EQ(cluster.write(*file, 0, "x"), Status::STALE);
  EXPECT_EQ(flush(*file), Status::STALE);
}

TEST_F(RemoteFilesystemTest, WithoutAMetaserverACallFailsWhenPatienceEnds) {
  cluster.killMetaserver();
  EXPECT_EQ(cluster.run(filesystem->lookup(ROOT_INODE, "a")).status(), Status::IO_ERROR);
  cluster.startMetaserver();
  EXPECT_EQ(cluster.run(filesystem->lookup(ROOT_INODE, "a")).status(), Status::NOT_FOUND);
}

// ------------------------------------------------------------ opening and closing

TEST_F(RemoteFilesystemTest, ClosingWritesTheRestAndThenReleases) {
  auto file = create();
  auto inode = file->inode();
  cluster.write(*file, 0, "hello");
  file = nullptr;
  cluster.pass(1 * kj::SECONDS);
  EXPECT_EQ(cluster.stored(1, inode, 0), "hello");
  EXPECT_EQ(cluster.file(inode).attributes.size, 5u);
  EXPECT_EQ(cluster.released, std::vector<uint64_t>{inode.value()});
}

TEST_F(RemoteFilesystemTest, AFileThatIsOpenedAgainSoonIsNotReleased) {
  auto file = create();
  auto inode = file->inode();
  cluster.write(*file, 0, "hello");
  file = nullptr;
  auto again = cluster.run(filesystem->open(inode)).value();
  EXPECT_EQ(cluster.read(*again, 0, 5), "hello");
  cluster.pass(1 * kj::SECONDS);
  EXPECT_EQ(cluster.released.size(), 0u);
}

TEST_F(RemoteFilesystemTest, TwoOpensShareOneFile) {
  auto file = create();
  auto other = cluster.run(filesystem->open(file->inode())).value();
  EXPECT_EQ(file.get(), other.get());
  file = nullptr;
  cluster.pass(1 * kj::SECONDS);
  EXPECT_EQ(cluster.released.size(), 0u);
}

TEST_F(RemoteFilesystemTest, ShutdownFlushesAndClosesTheSession) {
  auto file = create();
  auto inode = file->inode();
  cluster.write(*file, 0, "hello");
  file = nullptr;
  cluster.run(filesystem->shutdown());
  EXPECT_EQ(cluster.stored(1, inode, 0), "hello");
  EXPECT_EQ(cluster.sessions.size(), 0u);
}

TEST_F(RemoteFilesystemTest, AMountWithoutAMetaserverFailsWithASentence) {
  filesystem = nullptr;
  cluster.killMetaserver();
  auto options = cluster.options();
  EXPECT_THROW(cluster.run(connectFilesystem(kj::mv(options))), kj::Exception);
}

}  // namespace
}  // namespace cairn::client
