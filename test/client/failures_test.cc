// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What an application may rely on, whatever daemons do: they die, hang, lie, come back, lose answers.
#include <functional>

#include "test/client/remote_filesystem_fixture.h"

namespace cairn::client {
namespace {

// ------------------------------------------------------------ failing disks

TEST_F(RemoteFilesystemTest, APrimaryThatDiesDuringAWriteIsReplaced) {
  auto file = written("first");
  auto dead = cluster.primaryOf(file->inode(), 0).id;
  cluster.killStore(dead);
  cluster.write(*file, 5, " second");
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_NE(cluster.primaryOf(file->inode(), 0).id, dead);
  EXPECT_EQ(stored(*file, cluster.primaryOf(file->inode(), 0).id), "first second");
}

TEST_F(RemoteFilesystemTest, AHungPrimaryCostsLessThanTwoSeconds) {
  auto file = written("first");
  cluster.hangStore(cluster.primaryOf(file->inode(), 0).id);
  auto before = cluster.time.elapsed();
  cluster.write(*file, 5, " second");
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_LT(cluster.time.elapsed() - before, 2 * kj::SECONDS);
}

TEST_F(RemoteFilesystemTest, ASecondaryThatFailsLeavesTheSetAndTheWriteCompletes) {
  auto file = written("first");
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
  EXPECT_EQ(flush(*file), Status::OK);
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
  auto file = written("x");
  for (uint32_t id = 1; id <= 3; ++id) cluster.killStore(id);
  cluster.write(*file, 0, "y");
  auto before = cluster.time.elapsed();
  EXPECT_EQ(flush(*file), Status::IO_ERROR);
  EXPECT_GE(cluster.time.elapsed() - before, cluster.timing.patience);
  EXPECT_LT(cluster.time.elapsed() - before, 3 * cluster.timing.patience);
}

// ------------------------------------------------------------ failing replicas

TEST_F(RemoteFilesystemTest, BytesWithAWrongChecksumAreNeverReturnedAndReported) {
  auto all = pattern(10'000);
  auto file = written(all);
  cluster.stores.at(1).isCorrupt = true;
  EXPECT_EQ(cluster.read(*file, 0, 10'000), all);
  cluster.pass(10 * kj::MILLISECONDS);
  EXPECT_EQ(cluster.corruptReports, std::vector<uint32_t>{1});
}

TEST_F(RemoteFilesystemTest, WhenEveryReplicaLiesThereIsAnError) {
  auto file = written("hello");
  for (auto& [id, store] : cluster.stores) store.isCorrupt = true;
  EXPECT_EQ(cluster.read(*file, 0, 5), "<ioError>");
}

TEST_F(RemoteFilesystemTest, ADeadReplicaCostsAReadAlmostNothing) {
  auto file = written("hello");
  cluster.killStore(1);
  auto before = cluster.time.elapsed();
  EXPECT_EQ(cluster.read(*file, 0, 5), "hello");
  EXPECT_LT(cluster.time.elapsed() - before, 100 * kj::MILLISECONDS);
}

TEST_F(RemoteFilesystemTest, ASlowReplicaIsHedged) {
  auto file = written("hello");
  cluster.hangStore(1);
  auto before = cluster.time.elapsed();
  EXPECT_EQ(cluster.read(*file, 0, 5), "hello");
  EXPECT_LT(cluster.time.elapsed() - before, 700 * kj::MILLISECONDS);
}

TEST_F(RemoteFilesystemTest, AReplicaOfAnotherVersionSendsTheReaderBackToTheMetaserver) {
  auto file = written("hello");
  EXPECT_EQ(cluster.read(*file, 0, 5), "hello");
  raisedElsewhere(*file);
  auto locates = cluster.locates;
  EXPECT_EQ(cluster.read(*file, 0, 5), "hello");
  EXPECT_EQ(cluster.locates, locates + 1);
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

TEST_F(RemoteFilesystemTest, WhoIsHeldUpByASnapshotWaitsForItHoweverLongItTakes) {
  auto file = create();
  ASSERT_EQ(cluster.write(*file, 0, "before"), Status::OK);
  auto other = cluster.mount();
  auto reader = cluster.run(other->open(file->inode(), Access::READ)).value();
  EXPECT_EQ(cluster.read(*reader, 0, 6), "before") << "which takes the write lease away";
  cluster.heldUp = true;
  kj::Promise<Result<FileAttributes>> making = filesystem->make(ROOT_INODE, "b", {}, {});
  auto made = making.eagerlyEvaluate(nullptr);
  kj::Promise<Status> writing = file->write(FileOffset(0), FakeCluster::bytes("later"));
  auto written = writing.eagerlyEvaluate(nullptr);
  cluster.pass(3 * cluster.timing.patience);
  EXPECT_FALSE(made.poll(cluster.scope));
  EXPECT_FALSE(written.poll(cluster.scope));
  cluster.heldUp = false;
  EXPECT_TRUE(cluster.run(kj::mv(made)).ok());
  EXPECT_EQ(cluster.run(kj::mv(written)), Status::OK);
  EXPECT_EQ(flush(*file), Status::OK);
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

// ------------------------------------------------------------ what is refused for good

TEST_F(RemoteFilesystemTest, AStoreThatIsNeverReadyCostsAWriteItsPatienceAndThenAnError) {
  auto file = create();
  for (auto& [id, store] : cluster.stores) store.refuseWrites = Status::NOT_READY;
  EXPECT_EQ(cluster.write(*file, 0, "hello"), Status::OK);
  auto before = cluster.time.elapsed();
  EXPECT_EQ(flush(*file), Status::IO_ERROR);
  EXPECT_GE(cluster.time.elapsed() - before, cluster.timing.patience);
  cluster.pass(1 * kj::SECONDS);  // the last attempt is answered
}

TEST_F(RemoteFilesystemTest, ARecordThatHasNoPlaceIsRefusedAndTheNextOneIsAppended) {
  auto file = create();
  auto append = [&]() { return cluster.run(file->recordAppend(kj::StringPtr("record").asBytes())); };
  cluster.locateRefusal = Status::NO_SPACE;
  EXPECT_EQ(append().status(), Status::NO_SPACE);
  EXPECT_EQ(cluster.spaceWanted, 1u) << "the trash was asked";
  cluster.locateRefusal = Status::OVER_QUOTA;
  EXPECT_EQ(append().status(), Status::OVER_QUOTA);
  cluster.locateRefusal = Status::OK;
  EXPECT_TRUE(append().ok());
  EXPECT_EQ(cluster.read(*file, 0, 6), "record");
}

TEST_F(RemoteFilesystemTest, ACopyTellsWhatIsWrongWithItsSourceOrItsTarget) {
  auto source = create("source"), target = create("target");
  cluster.write(*source, 0, pattern(2 * MIB));
  ASSERT_EQ(sync(*source), Status::OK);
  auto copy = [&](uint64_t from, uint64_t length) {
    return cluster.run(target->copyFrom(*source, {FileOffset(from), FileOffset(from), length})).status();
  };
  // Whole: shared, and not copied when the metaserver says no for a reason that copying does not mend.
  uint64_t call = 1;
  for (; call < 20; ++call) {
    cluster.write(*target, 100, "something to publish first");
    cluster.metaserverRefuses.refuse(call, Status::NO_SPACE);
    auto status = copy(0, 2 * MIB);
    if (cluster.metaserverRefuses.method() == "") break;
    EXPECT_TRUE(status == Status::NO_SPACE || status == Status::OK) << call;
  }
  EXPECT_GT(call, 2u);
  cluster.metaserverRefuses.stop();

  // An error of the target that has not been told yet.
  cluster.locateRefusal = Status::NO_SPACE;
  cluster.write(*target, 5 * CHUNK_SIZE, "x");
  cluster.pass(1 * kj::SECONDS);
  cluster.locateRefusal = Status::OK;
  EXPECT_EQ(copy(0, 2 * MIB), Status::NO_SPACE);
  cluster.locateRefusal = Status::NO_SPACE;
  cluster.write(*target, 5 * CHUNK_SIZE, "x");
  cluster.pass(1 * kj::SECONDS);
  cluster.locateRefusal = Status::OK;
  EXPECT_EQ(copy(100, 200), Status::NO_SPACE) << "as of any write";

  for (auto& [id, store] : cluster.stores) store.isCorrupt = true;
  EXPECT_EQ(copy(100, 200), Status::IO_ERROR) << "no good replica of the source";
  for (auto& [id, store] : cluster.stores) store.isCorrupt = false;
  EXPECT_EQ(copy(100, 200), Status::OK);
  EXPECT_EQ(cluster.read(*target, 100, 200), pattern(2 * MIB).substr(100, 200));
}

TEST_F(RemoteFilesystemTest, WhatIsRefusedOfASpaceCallFailsItAndTheNextOneWorks) {
  // Of each call, all that it asks the metaserver for is refused in turn; there is something to publish
  // before.
  auto source = create("source"), file = create("file");
  cluster.write(*source, 0, "x");
  AttributeChange longer;
  longer.size = 3 * MIB;
  ASSERT_TRUE(cluster.run(filesystem->setAttributes(source->inode(), kj::mv(longer))).ok());
  using Call = std::function<Status()>;
  std::vector<Call> calls{
      [&]() { return cluster.run(file->zero(FileOffset(0), 2 * CHUNK_SIZE, Growth::YES)); },
      [&]() { return cluster.run(file->allocate(FileOffset(0), 10, Growth::YES)); },
      [&]() { return cluster.run(file->seek(FileOffset(0), Sought::HOLE)).status(); },
      [&]() {  // a hole at the end, beyond the end of the target
        return cluster.run(file->copyFrom(*source, {FileOffset(MIB), FileOffset(3 * CHUNK_SIZE), MIB}))
            .status();
      },
  };
  for (size_t i = 0; i < calls.size(); ++i) {
    for (auto how : {RefusedCalls::How::STATUS, RefusedCalls::How::EXCEPTION}) {
      uint64_t number = 1;
      for (bool hit = true; hit; ++number) {
        ASSERT_LT(number, 50u);
        cluster.write(*file, 0, "to be published");
        cluster.metaserverRefuses.refuse(number, Status::IO_ERROR, how);
        auto status = calls[i]();
        hit = cluster.metaserverRefuses.method() != "";
        cluster.metaserverRefuses.stop();
        if (!hit) EXPECT_EQ(status, Status::OK) << i;
        EXPECT_TRUE(status == Status::OK || status == Status::IO_ERROR)
            << i << ": " << kj::str(status).cStr();
        (void)flush(*file);
      }
      EXPECT_GT(number, 2u) << i;
    }
  }
}

TEST_F(RemoteFilesystemTest, AWriteThatCannotAskHowMuchTheQuotaLeavesFails) {
  auto file = create();
  cluster.quotaLeft = 2 * BLOCK_SIZE;
  cluster.write(*file, 0, "x");
  ASSERT_EQ(flush(*file), Status::OK);
  cluster.metaserverRefuses.refuse(1, Status::OK, RefusedCalls::How::EXCEPTION);
  EXPECT_EQ(cluster.write(*file, BLOCK_SIZE, std::string(3 * BLOCK_SIZE, 'y')), Status::IO_ERROR);
  EXPECT_EQ(cluster.metaserverRefuses.method(), "statistics");
  cluster.metaserverRefuses.stop();
  EXPECT_EQ(cluster.write(*file, BLOCK_SIZE, std::string(BLOCK_SIZE, 'y')), Status::OK);
}

TEST_F(RemoteFilesystemTest, OneBadPieceFailsALargeRead) {
  auto file = create();
  auto all = pattern(3 * MIB);
  cluster.write(*file, 0, all);
  ASSERT_EQ(sync(*file), Status::OK);
  for (auto& [id, store] : cluster.stores) store.isCorrupt = true;
  EXPECT_EQ(cluster.read(*file, 0, 3 * MIB), "<ioError>");
}

TEST_F(RemoteFilesystemTest, ZeroingTellsAnErrorOfAnEarlierWrite) {
  auto file = create();
  cluster.locateRefusal = Status::NO_SPACE;
  cluster.write(*file, 0, "hello");
  cluster.pass(1 * kj::SECONDS);
  cluster.locateRefusal = Status::OK;
  EXPECT_EQ(cluster.run(file->zero(FileOffset(0), 10, Growth::YES)), Status::NO_SPACE);
  EXPECT_EQ(cluster.run(file->zero(FileOffset(0), 10, Growth::YES)), Status::OK);
}

TEST_F(RemoteFilesystemTest, ABadReplicaThatCannotBeReportedIsStillNotReturned) {
  auto file = written("hello");
  cluster.stores.at(1).isCorrupt = true;
  cluster.metaserverRefuses.refuse(1, Status::OK, RefusedCalls::How::EXCEPTION);
  EXPECT_EQ(cluster.read(*file, 0, 5), "hello");
  cluster.pass(1 * kj::SECONDS);
  EXPECT_EQ(cluster.metaserverRefuses.method(), "reportCorrupt");
  EXPECT_TRUE(cluster.corruptReports.empty());
}

TEST_F(RemoteFilesystemTest, AFileThatCannotBeFlushedAtTheEndIsTold) {
  auto file = create();
  cluster.write(*file, 0, "hello");
  cluster.pass(100 * kj::MILLISECONDS);
  cluster.metaserverRefuses.refuse(1, Status::IO_ERROR);
  cluster.run(filesystem->shutdown());
  EXPECT_EQ(cluster.metaserverRefuses.method(), "change");
  bool told = false;
  for (auto& line : cluster.warnings)
    told |= line.find("could not be flushed at shutdown: ioError") != std::string::npos;
  EXPECT_TRUE(told);
}

TEST_F(RemoteFilesystemTest, WhatTheMetaserverDoesNotKnowIsNotSupported) {
  // As an older one. It is an answer, and no reason to try for a minute.
  auto before = cluster.time.elapsed();
  EXPECT_EQ(cluster.run(filesystem->readLink(ROOT_INODE)).status(), Status::NOT_SUPPORTED);
  EXPECT_EQ(cluster.run(filesystem->readDirectory(ROOT_INODE, 0, 10, Detail::NAMES)).status(),
            Status::NOT_SUPPORTED);
  EXPECT_EQ(cluster.run(filesystem->getXattr(ROOT_INODE, "user.a")).status(), Status::NOT_SUPPORTED);
  EXPECT_EQ(cluster.run(filesystem->listXattr(ROOT_INODE)).status(), Status::NOT_SUPPORTED);
  EXPECT_EQ(cluster.run(filesystem->testLock({ROOT_INODE, LockKind::POSIX, 1, {}, 1})).status(),
            Status::NOT_SUPPORTED);
  cluster.metaserverRefuses.refuse(1, Status::NOT_SUPPORTED);
  EXPECT_EQ(cluster.run(filesystem->createTemporary(ROOT_INODE, 0644, {})).status(), Status::NOT_SUPPORTED);
  EXPECT_LT(cluster.time.elapsed() - before, 1 * kj::SECONDS);
}

TEST_F(RemoteFilesystemTest, AMetaserverOfAnotherClusterAtTheSameAddressIsRefusedAndTheOwnOneHealsIt) {
  auto own = cluster.cluster;
  cluster.killMetaserver();
  cluster.cluster = {8, 9};
  cluster.startMetaserver();
  EXPECT_EQ(cluster.run(filesystem->lookup(ROOT_INODE, "a")).status(), Status::WRONG_CLUSTER);
  cluster.killMetaserver();
  cluster.cluster = own;
  cluster.startMetaserver();
  cluster.pass(30 * kj::SECONDS);
  EXPECT_EQ(cluster.run(filesystem->lookup(ROOT_INODE, "a")).status(), Status::NOT_FOUND);
}

TEST_F(RemoteFilesystemTest, LeasesThatCannotBeRenewedFailWhoNeedsThemAndAreThereAgainLater) {
  auto file = create();
  cluster.write(*file, 0, "x");
  ASSERT_EQ(sync(*file), Status::OK);
  bool met = false;
  for (uint64_t call = 1; call < 12 && !met; ++call) {
    cluster.network.cut("c", "meta");
    cluster.pass(15 * kj::SECONDS);  // longer than the term of leases
    cluster.metaserverRefuses.refuse(call, Status::IO_ERROR);
    auto written = file->write(FileOffset(0), FakeCluster::bytes("y"));
    cluster.network.heal("c", "meta");
    auto status = cluster.run(kj::Promise<Status>(kj::mv(written)));
    met = cluster.metaserverRefuses.method() == "renew" && !ok(status);
    cluster.metaserverRefuses.stop();
    (void)flush(*file);
    EXPECT_EQ(cluster.write(*file, 0, "z"), Status::OK);
    EXPECT_EQ(flush(*file), Status::OK);
  }
  EXPECT_TRUE(met) << "a renewal that was refused while somebody waited for it";
}

// ------------------------------------------------------------ locks

TEST_F(RemoteFilesystemTest, LocksThatARestartedMetaserverHasGivenToOthersAreToldInTheLog) {
  auto file = create();
  FileLock lock{file->inode(), LockKind::POSIX, 1, {0, 10, LockType::EXCLUSIVE}, 1};
  ASSERT_EQ(cluster.run(filesystem->setLock(lock, nullptr)), Status::OK);
  cluster.reclaimAnswer = Status::WOULD_BLOCK;
  cluster.killMetaserver();
  cluster.startMetaserver();
  EXPECT_EQ(flush(*file), Status::OK);
  cluster.pass(5 * kj::SECONDS);
  bool told = false;
  for (auto& line : cluster.warnings)
    told |= line.find("could not have all of its 1 file locks again: wouldBlock") != std::string::npos;
  EXPECT_TRUE(told);
}

TEST_F(RemoteFilesystemTest, AWaitForALockThatIsGivenUpEndsThoughItCannotBeCancelled) {
  auto file = create();
  cluster.lockAnswer = Status::WOULD_BLOCK;
  cluster.cancelAnswer = Status::IO_ERROR;
  FileLock lock{file->inode(), LockKind::POSIX, 1, {0, 10, LockType::EXCLUSIVE}, 1};
  auto waiting = filesystem->setLock(lock, cluster.time.timer().afterDelay(100 * kj::MILLISECONDS));
  auto before = cluster.time.elapsed();
  EXPECT_EQ(cluster.run(kj::mv(waiting)), Status::WOULD_BLOCK);
  EXPECT_LT(cluster.time.elapsed() - before, 3 * kj::SECONDS);
}

}  // namespace
}  // namespace cairn::client
