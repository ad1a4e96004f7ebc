// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a sync promises, whoever has died, rebooted or lost its power since the write.
#include "client/writer.h"
#include "test/client/remote_filesystem_fixture.h"

namespace cairn::client {
namespace {

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
  auto file = written("a");
  cluster.stores.at(2).boot = 200;
  EXPECT_EQ(sync(*file), Status::OK) << "two others have it";
  EXPECT_EQ(cluster.file(file->inode()).chunks.at(0).replicas, (std::set<uint32_t>{1, 3}));
}

TEST_F(RemoteFilesystemTest, AHungReplicaIsLeftOutOfASyncWithinTwoSeconds) {
  auto file = written("a");
  cluster.hangStore(2);
  auto before = cluster.time.elapsed();
  EXPECT_EQ(sync(*file), Status::OK);
  EXPECT_LE(cluster.time.elapsed() - before, 2100 * kj::MILLISECONDS);
  EXPECT_EQ(cluster.file(file->inode()).chunks.at(0).replicas, (std::set<uint32_t>{1, 3}));
}

TEST_F(RemoteFilesystemTest, WhenNoReplicaCountsASyncFailsAndDoesNotForgetIt) {
  auto file = written("a");
  for (auto& [id, store] : cluster.stores) store.refuseSyncs = Status::IO_ERROR;
  EXPECT_EQ(sync(*file), Status::IO_ERROR);
  EXPECT_EQ(sync(*file), Status::IO_ERROR);
}

TEST_F(RemoteFilesystemTest, AReplicaThatCannotBeReachedStaysInNoSetOfAFinishedSync) {
  auto file = written("a");
  cluster.network.cut("c", "s2");  // the metaserver reaches it all the same
  EXPECT_EQ(sync(*file), Status::OK);
  EXPECT_EQ(cluster.file(file->inode()).chunks.at(0).replicas, (std::set<uint32_t>{1, 3}));
  EXPECT_GT(cluster.file(file->inode()).chunks.at(0).version, 1u);
}

TEST_F(RemoteFilesystemTest, WhatWentWithThePowerOfEveryReplicaIsToldOnce) {
  auto file = written("a");
  raisedElsewhere(*file).lostAt = ++cluster.operations;
  EXPECT_EQ(sync(*file), Status::IO_ERROR);
  EXPECT_EQ(sync(*file), Status::OK) << "once";
  cluster.write(*file, 0, "b");
  EXPECT_EQ(sync(*file), Status::OK) << "this was written after it";
}

TEST_F(RemoteFilesystemTest, WhatAChunkHadLostIsToldThroughItsClone) {
  auto file = written("a");
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
  auto file = written("a");
  auto handle = cluster.file(file->inode()).chunks.at(0).handle;
  file = nullptr;
  cluster.pass(60 * kj::SECONDS);  // swept
  cluster.covered.clear();
  EXPECT_EQ(cluster.run(filesystem->syncAll()), Status::OK);
  bool told = false;
  for (auto& chunks : cluster.covered) told |= chunks.count(handle) > 0;
  EXPECT_TRUE(told);
}

TEST_F(RemoteFilesystemTest, WhatAnotherMountHasRemovedNeedsNoSync) {
  auto inode = written("a")->inode();
  cluster.pass(100 * kj::MILLISECONDS);
  cluster.files.erase(inode.value());
  for (auto& [id, store] : cluster.stores) store.chunks.clear();
  EXPECT_EQ(cluster.run(filesystem->syncAll()), Status::OK);
  EXPECT_EQ(cluster.warnings, std::vector<std::string>{});

  inode = written("b", "b")->inode();
  cluster.pass(100 * kj::MILLISECONDS);
  cluster.files.erase(inode.value());
  for (auto& [id, store] : cluster.stores) store.chunks.clear();
  auto locates = cluster.locates;
  cluster.pass(60 * kj::SECONDS);  // synced on our own account
  EXPECT_EQ(cluster.locates, locates + 1);
  EXPECT_EQ(cluster.warnings, std::vector<std::string>{});
}

TEST_F(RemoteFilesystemTest, AFileWithoutANameNeedsNoSyncOnceItIsClosed) {
  auto file = written("a");
  cluster.file(file->inode()).attributes.links = 0;
  EXPECT_EQ(cluster.write(*file, 1, "b"), Status::OK);
  EXPECT_EQ(flush(*file), Status::OK);  // which tells us
  file = nullptr;
  cluster.pass(60 * kj::SECONDS);
  EXPECT_EQ(cluster.run(filesystem->syncAll()), Status::OK);
  for (auto& [id, store] : cluster.stores) EXPECT_EQ(store.syncs, 0u);
}

TEST_F(RemoteFilesystemTest, AServerThatAnswersASyncIsNotSuspectedForWhatItAnswers) {
  auto file = written("a");
  cluster.stores.at(2).refuseSyncs = Status::IO_ERROR;
  EXPECT_EQ(sync(*file), Status::OK) << "two others have it";
  (void)written("b", "b");
  EXPECT_EQ(cluster.suspected, std::set<uint32_t>{});
  cluster.stores.at(2).refuseSyncs = Status::OK;

  auto other = written("c", "c");
  cluster.hangStore(2);
  EXPECT_EQ(sync(*other), Status::OK);
  (void)written("d", "d");
  EXPECT_EQ(cluster.suspected, std::set<uint32_t>{2});
}

TEST_F(RemoteFilesystemTest, ASyncOfAFileWithAReplicaAwayFindsOutWhoCounts) {
  auto file = written("a");
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

TEST_F(RemoteFilesystemTest, AFirstSyncThatCannotFindOutWhatIsThereFails) {
  for (auto [refusal, expected] :
       {std::pair(Status::OVER_QUOTA, Status::OVER_QUOTA), std::pair(Status::NOT_FOUND, Status::IO_ERROR),
        std::pair(Status::STALE, Status::OK)}) {  // of a file that is deleted there is nothing to sync
    auto file = create(kj::str("f", uint16_t(refusal)));
    auto inode = file->inode();
    cluster.write(*file, 0, "a");
    ASSERT_EQ(sync(*file), Status::OK);
    file = nullptr;
    cluster.pass(100 * kj::SECONDS);
    auto opened = cluster.run(filesystem->open(inode));
    ASSERT_TRUE(opened.ok());
    cluster.locateRefusal = refusal;
    EXPECT_EQ(sync(**opened), expected) << kj::str(refusal).cStr();
    cluster.locateRefusal = Status::OK;
    if (refusal == Status::NOT_FOUND)
      EXPECT_EQ(cluster.write(**opened, 0, "b"), Status::STALE) << "there is no file";
    if (refusal == Status::OVER_QUOTA) EXPECT_EQ(sync(**opened), Status::OK);
  }
}

TEST_F(RemoteFilesystemTest, ASyncThatFailedAndCannotFindOutWhoCountsFails) {
  auto file = written("a");
  cluster.stores.at(2).refuseSyncs = Status::IO_ERROR;
  cluster.locateRefusal = Status::OVER_QUOTA;
  EXPECT_EQ(sync(*file), Status::IO_ERROR);
  cluster.locateRefusal = Status::OK;
  EXPECT_EQ(sync(*file), Status::OK) << "it is found out now, and two others have it";
  EXPECT_EQ(cluster.file(file->inode()).chunks.at(0).replicas, (std::set<uint32_t>{1, 3}));
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
  auto file = written("a");
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
  auto file = written("a");
  auto& chunk = raisedElsewhere(*file);
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

}  // namespace
}  // namespace cairn::client
