// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What an application may rely on: reading, writing, lengths, records, opening and closing.
#include "test/client/remote_filesystem_fixture.h"

namespace cairn::client {
namespace {

// ------------------------------------------------------------ reading and writing

TEST_F(RemoteFilesystemTest, AReadSeesAWriteThatIsStillHere) {
  auto file = create();
  EXPECT_EQ(cluster.write(*file, 0, "hello"), Status::OK);
  EXPECT_EQ(file->attributes().size, 5u);
  EXPECT_EQ(cluster.read(*file, 0, 100), "hello");
  EXPECT_EQ(cluster.locates, 0u) << "nobody had to be asked";
}

TEST_F(RemoteFilesystemTest, AFlushBringsItToEveryReplicaAndPublishesTheLength) {
  auto file = written("hello");
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

TEST_F(RemoteFilesystemTest, ScatteredSmallWritesAreFewMessagesSeveralInFlight) {
  auto file = create();
  std::string expected(199 * 16 * KIB + 3, '\0');
  for (int i = 0; i < 200; ++i) {
    auto bytes = std::to_string(100 + i);
    cluster.write(*file, i * 16 * KIB, bytes);
    expected.replace(i * 16 * KIB, 3, bytes);
  }
  EXPECT_EQ(flush(*file), Status::OK);
  auto& primary = cluster.primaryOf(file->inode(), 0);
  EXPECT_EQ(primary.writes, 5u) << "three full ones, the rest, and the last write, which might have gone on";
  EXPECT_EQ(primary.writesInFlightMax, 5u);
  for (uint32_t store = 1; store <= 3; ++store) EXPECT_TRUE(stored(*file, store) == expected) << store;
  EXPECT_EQ(file->attributes().size, expected.size());
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
  auto all = pattern(3 * MIB + 777);
  auto file = written(all);
  EXPECT_EQ(cluster.read(*file, 0, 4 * MIB), all);
  EXPECT_EQ(cluster.read(*file, 1, 10), all.substr(1, 10));
  EXPECT_EQ(cluster.read(*file, 4095, 2), all.substr(4095, 2));
  EXPECT_EQ(cluster.read(*file, MIB - 5, MIB + 10), all.substr(MIB - 5, MIB + 10));
  EXPECT_EQ(cluster.read(*file, 3 * MIB, 5000), all.substr(3 * MIB));
  EXPECT_EQ(cluster.read(*file, 4 * MIB, 10), "");
}

TEST_F(RemoteFilesystemTest, UnsentBytesLieOverStoredOnes) {
  auto file = written(std::string(20'000, 'a'));
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
  EXPECT_EQ(flush(*file), Status::OK);
  EXPECT_EQ(file->attributes().size, 2ull * CHUNK_SIZE + 103);
  EXPECT_EQ(cluster.read(*file, CHUNK_SIZE - 10, 20), std::string(20, '\0'));
  EXPECT_EQ(cluster.read(*file, 2ull * CHUNK_SIZE + 98, 100), std::string("\0\0end", 5));
}

TEST_F(RemoteFilesystemTest, AWriteAcrossAChunkBoundaryReachesBothChunks) {
  auto file = create();
  cluster.write(*file, CHUNK_SIZE - 3, "abcdef");
  EXPECT_EQ(flush(*file), Status::OK);
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
  auto file = written("x");
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

// ------------------------------------------------------------ lengths and cuts

TEST_F(RemoteFilesystemTest, ALengthIsNeverPublishedAheadOfData) {
  auto file = written(std::string(4 * KIB, 'a'));
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
  auto file = written(std::string(10'000, 'a'));
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
  EXPECT_EQ(flush(*file), Status::OK);
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
