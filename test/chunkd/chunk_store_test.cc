// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a store promises while nothing crashes, on a disk in memory and on the two real engines; then bad
// input.
#include "chunkd/chunk_store.h"

#include <errno.h>

#include "test/chunkd/store_house.h"

namespace cairn {
namespace {

template <env::IoEngineChoice CHOICE>
struct RealHouse {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  TemporaryDirectory directory;
  kj::Own<env::Disk> disk =
      env::newDisk(directory.path.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock(), CHOICE);
  StoreHouse house{*disk, directory.path.c_str(), *rocksdb::Env::Default(), io.waitScope};
  RealHouse() { house.worker = env::newThreadWorker(io.unixEventPort, 1); }
  ~RealHouse() noexcept(false) { house.current = nullptr; }
};

template <typename House>
struct ChunkStoreTest : testing::Test {
  House place;
  StoreHouse& house = place.house;
  ChunkStoreTest() { house.open(); }
  ~ChunkStoreTest() noexcept override {
    if (house.current != nullptr) house.store().checkInvariants();
    house.current = nullptr;
  }
};

using Houses =
    testing::Types<MemoryHouse, RealHouse<env::IoEngineChoice::URING>, RealHouse<env::IoEngineChoice::POOL>>;
struct HouseNames {
  template <typename T>
  static std::string GetName(int index) {
    return index == 0 ? "Memory" : index == 1 ? "Uring" : "Pool";
  }
};
TYPED_TEST_SUITE(ChunkStoreTest, Houses, HouseNames);

TYPED_TEST(ChunkStoreTest, AFreshChunkIsEmpty) {
  auto& house = this->house;
  auto chunk = house.create(1);
  EXPECT_EQ(house.read(chunk, 0, 8192).bytes, "");
  EXPECT_EQ(house.sync(chunk), Status::OK);
  EXPECT_EQ(house.verify(chunk), Status::OK);
}

TYPED_TEST(ChunkStoreTest, WhatIsWrittenAtAnyOffsetIsReadWithValidChecksums) {
  auto& house = this->house;
  auto chunk = house.create(1);
  std::string model;
  std::mt19937 random(11);
  for (int i = 0; i < 120; i++) {
    uint32_t size = i % 3 == 0 ? 1 + random() % 100 : 1 + random() % 20000;
    uint32_t offset = random() % 100000;
    if (i % 5 == 0) offset &= ~(BLOCK_SIZE - 1);
    auto data = pattern(size, unsigned(i));
    ASSERT_EQ(house.write(chunk, offset, data), Status::OK);
    if (model.size() < offset + size) model.resize(offset + size);
    model.replace(offset, size, text(data));
  }
  auto all = house.read(chunk, 0, TRANSFER_SIZE_MAX);
  EXPECT_TRUE(all.valid);
  EXPECT_TRUE(all.bytes == model);
  EXPECT_EQ(house.verify(chunk), Status::OK);
  house.open();
  auto after = house.read(chunk, 0, TRANSFER_SIZE_MAX);
  EXPECT_TRUE(after.valid);
  EXPECT_TRUE(after.bytes == model);
}

TYPED_TEST(ChunkStoreTest, AHoleReadsAsZerosAndCostsNothing) {
  auto& house = this->house;
  auto chunk = house.create(1);
  auto data = pattern(100, 1);
  ASSERT_EQ(house.write(chunk, CHUNK_SIZE - 100, data), Status::OK);
  auto hole = house.read(chunk, 1 << 20, 8192);
  EXPECT_TRUE(hole.valid);
  EXPECT_EQ(hole.bytes, std::string(8192, '\0'));
  auto tail = house.read(chunk, CHUNK_SIZE - BLOCK_SIZE, BLOCK_SIZE);
  EXPECT_TRUE(tail.valid);
  EXPECT_EQ(tail.bytes.substr(BLOCK_SIZE - 100), text(data));
  EXPECT_EQ(house.verify(chunk), Status::OK);
}

TYPED_TEST(ChunkStoreTest, ManyWritesAtOnceEndAsIfDoneInTheOrderOfTheCalls) {
  auto& house = this->house;
  auto chunk = house.create(1);
  std::mt19937 random(5);
  std::string model;
  kj::Vector<kj::Array<kj::byte>> kept;
  kj::Vector<kj::Array<uint32_t>> sums;
  kj::Vector<kj::Promise<void>> writes;
  for (int i = 0; i < 200; i++) {
    uint32_t offset = random() % 50000, size = 1 + random() % 9000;
    auto& data = kept.add(pattern(size, unsigned(i)));
    auto& sum = sums.add(pieceSums(data, offset));
    if (model.size() < offset + size) model.resize(offset + size);
    model.replace(offset, size, text(data));
    writes.add(house.store().write(chunk, offset, data, sum).then([](Status status) {
      KJ_ASSERT(status == Status::OK, status);
    }));
  }
  kj::joinPromises(writes.releaseAsArray()).wait(house.waitScope);
  auto all = house.read(chunk, 0, 1 << 17);
  EXPECT_TRUE(all.valid);
  EXPECT_TRUE(all.bytes == model);
}

TYPED_TEST(ChunkStoreTest, VersionsAreCheckedBothWays) {
  auto& house = this->house;
  auto chunk = house.create(1, 5);
  auto data = pattern(10, 1);
  EXPECT_EQ(house.write({chunk.handle, ChunkVersion(4)}, 0, data), Status::STALE_VERSION);
  EXPECT_EQ(house.write({chunk.handle, ChunkVersion(6)}, 0, data), Status::BEHIND_VERSION);
  EXPECT_EQ(house.write({ChunkHandle(2), ChunkVersion(5)}, 0, data), Status::NO_REPLICA);
  auto raised = house.raise(chunk, 7);
  EXPECT_EQ(house.write(chunk, 0, data), Status::STALE_VERSION);
  EXPECT_EQ(house.write(raised, 0, data), Status::OK);
  EXPECT_EQ(house.read(chunk, 0, 4096).status, Status::STALE_VERSION);
  house.open();
  EXPECT_EQ(house.read(raised, 0, 4096).bytes, text(data));
}

TYPED_TEST(ChunkStoreTest, AdoptAnswersAsTheContractSays) {
  auto& house = this->house;
  auto adopt = [&](uint64_t handle, uint64_t from, uint64_t version) {
    return house.store()
        .adopt({ChunkHandle(handle), ChunkVersion(from), ChunkVersion(version), nullptr})
        .wait(house.waitScope)
        .status;
  };
  EXPECT_EQ(adopt(1, 3, 4), Status::NO_REPLICA);
  EXPECT_EQ(adopt(1, 0, 4), Status::OK);
  EXPECT_EQ(adopt(1, 0, 4), Status::OK) << "again";
  EXPECT_EQ(adopt(1, 3, 4), Status::OK) << "it is there already";
  EXPECT_EQ(adopt(1, 0, 3), Status::STALE_VERSION);
  EXPECT_EQ(adopt(1, 6, 7), Status::BEHIND_VERSION);
  EXPECT_EQ(adopt(1, 4, 5), Status::OK);
  EXPECT_EQ(adopt(1, 4, 6), Status::OK) << "an earlier try got as far as 5 here";
  EXPECT_EQ(adopt(1, 6, 6), Status::INVALID);
  ASSERT_EQ(house.write({ChunkHandle(1), ChunkVersion(6)}, 0, pattern(5000, 1)), Status::OK);
  EXPECT_EQ(adopt(1, 0, 9), Status::OK) << "an old replica gives way to a new, empty one";
  EXPECT_EQ(house.read({ChunkHandle(1), ChunkVersion(9)}, 0, 8192).bytes, "");
  ASSERT_EQ(house.write({ChunkHandle(1), ChunkVersion(9)}, 0, pattern(50, 2)), Status::OK);
  EXPECT_EQ(house.read({ChunkHandle(1), ChunkVersion(9)}, 0, 8192).bytes, text(pattern(50, 2)));
}

TYPED_TEST(ChunkStoreTest, TruncationCutsInsideABlockAndWhatGrowsBackIsZero) {
  auto& house = this->house;
  auto chunk = house.create(1);
  auto data = pattern(30000, 1);
  ASSERT_EQ(house.write(chunk, 0, data), Status::OK);
  chunk = house.raise(chunk, 2, 10000u);
  EXPECT_EQ(house.read(chunk, 0, 1 << 16).bytes, text(data).substr(0, 10000));
  EXPECT_EQ(house.verify(chunk), Status::OK);
  ASSERT_EQ(house.write(chunk, 20000, pattern(1, 9)), Status::OK);
  auto grown = house.read(chunk, 8192, 1 << 15);
  EXPECT_TRUE(grown.valid);
  EXPECT_EQ(grown.bytes.substr(10000 - 8192, 10000), std::string(10000, '\0'));
  chunk = house.raise(chunk, 3, 0u);
  EXPECT_EQ(house.read(chunk, 0, 4096).bytes, "");
  house.open();
  EXPECT_EQ(house.read(chunk, 0, 4096).status, Status::OK);
}

TYPED_TEST(ChunkStoreTest, ARemovedReplicaIsGoneAndANewerOneStays) {
  auto& house = this->house;
  auto chunk = house.create(1, 5);
  ASSERT_EQ(house.write(chunk, 0, pattern(5000, 1)), Status::OK);
  EXPECT_EQ(house.store().remove({chunk.handle, ChunkVersion(4)}).wait(house.waitScope), Status::OK);
  EXPECT_EQ(house.read(chunk, 0, 4096).status, Status::OK);
  EXPECT_EQ(house.store().remove(chunk).wait(house.waitScope), Status::OK);
  EXPECT_EQ(house.read(chunk, 0, 4096).status, Status::NO_REPLICA);
  EXPECT_EQ(house.store().count(), 0u);
  auto listing = house.disk.list(chunkDirectory(chunk.handle)).wait(house.waitScope);
  EXPECT_EQ(listing.names.size(), 0u);
  EXPECT_EQ(house.store().remove(chunk).wait(house.waitScope), Status::OK) << "again";
  house.open();
  EXPECT_EQ(house.store().count(), 0u);
}

TYPED_TEST(ChunkStoreTest, ChunksAreListedInBatchesWithTheirLengths) {
  auto& house = this->house;
  for (uint64_t handle = 1; handle <= 25; handle++) {
    auto chunk = house.create(handle, 2);
    ASSERT_EQ(house.write(chunk, 0, pattern(handle * 100, unsigned(handle))), Status::OK);
  }
  house.open();
  uint64_t expected = 1;
  for (ChunkHandle after(0);;) {
    auto batch = house.store().list(after, 10);
    if (batch.size() == 0) break;
    EXPECT_LE(batch.size(), 10u);
    for (auto& state : batch) {
      EXPECT_EQ(state.handle, ChunkHandle(expected));
      EXPECT_EQ(state.length, expected * 100);
      EXPECT_EQ(state.version, ChunkVersion(2));
      expected++;
    }
    after = batch.back().handle;
  }
  EXPECT_EQ(expected, 26u);
}

TYPED_TEST(ChunkStoreTest, MoreChunksThanMayBeOpenAtATimeAllServe) {
  auto& house = this->house;
  house.liveChunks = 4;
  house.open();
  for (uint64_t handle = 1; handle <= 20; handle++) {
    ASSERT_EQ(house.write(house.create(handle), 0, pattern(5000, unsigned(handle))), Status::OK);
  }
  for (uint64_t handle = 1; handle <= 20; handle++) {
    ChunkKey chunk{ChunkHandle(handle), ChunkVersion(1)};
    EXPECT_EQ(house.read(chunk, 0, 8192).bytes, text(pattern(5000, unsigned(handle))));
    EXPECT_EQ(house.sync(chunk), Status::OK);
  }
}

TYPED_TEST(ChunkStoreTest, TheChecksumTableIsThatOfTheBytes) {
  auto& house = this->house;
  auto chunk = house.create(1);
  auto data = pattern(10000, 1);
  ASSERT_EQ(house.write(chunk, 0, data), Status::OK);
  auto table = house.store().checksums(chunk).wait(house.waitScope);
  EXPECT_EQ(table.length, 10000u);
  auto expected = env::checksumBlocks(data);
  ASSERT_EQ(table.checksums.size(), expected.size());
  for (size_t i = 0; i < expected.size(); i++) EXPECT_EQ(table.checksums[i], expected[i]);
}

// -- refusals that change nothing

using StoreRefusal = ChunkStoreTest<MemoryHouse>;

TEST_F(StoreRefusal, DataThatDoesNotMatchItsChecksumsIsNotWritten) {
  auto chunk = house.create(1);
  auto before = pattern(10000, 1);
  ASSERT_EQ(house.write(chunk, 0, before), Status::OK);
  auto data = pattern(10000, 2);
  auto sums = pieceSums(data, 0);
  for (size_t i = 0; i < sums.size(); i++) {
    sums[i] ^= 1;
    EXPECT_EQ(house.store().write(chunk, 0, data, sums).wait(house.waitScope), Status::BAD_CHECKSUM);
    sums[i] ^= 1;
  }
  EXPECT_EQ(house.read(chunk, 0, 1 << 14).bytes, text(before));
}

TEST_F(StoreRefusal, WritesAndReadsThatContradictTheLimitsAreInvalid) {
  auto chunk = house.create(1);
  auto byte = pattern(1, 1);
  EXPECT_EQ(house.write(chunk, CHUNK_SIZE, byte), Status::INVALID);
  EXPECT_EQ(house.write(chunk, UINT32_MAX, byte), Status::INVALID);
  EXPECT_EQ(house.write(chunk, CHUNK_SIZE - 1, pattern(2, 1)), Status::INVALID);
  EXPECT_EQ(house.write(chunk, CHUNK_SIZE - 1, byte), Status::OK);
  EXPECT_EQ(house.write(chunk, 0, nullptr), Status::INVALID);
  EXPECT_EQ(house.write(chunk, 0, pattern(TRANSFER_SIZE_MAX + 1, 1)), Status::INVALID);
  EXPECT_EQ(house.store().write(chunk, 0, byte, nullptr).wait(house.waitScope), Status::INVALID);
  EXPECT_EQ(house.read(chunk, 1, 4096).status, Status::INVALID);
  EXPECT_EQ(house.read(chunk, CHUNK_SIZE - BLOCK_SIZE, 2 * BLOCK_SIZE).status, Status::INVALID);
}

TEST_F(StoreRefusal, AFullDiskRefusesTheWriteAndKeepsTheOldBytesValid) {
  auto chunk = house.create(1);
  auto before = pattern(64 << 10, 1);
  ASSERT_EQ(house.write(chunk, 0, before), Status::OK);
  uint64_t used = place.disk.space().totalBytes - place.disk.space().freeBytes;
  for (uint64_t room = 0; room < 32; room += 1) {  // full at the checksums, at the data, in the middle of it
    place.disk.setCapacity(used + room * 4096);
    auto status = house.write(chunk, 60 << 10, pattern(300 << 10, unsigned(room)));
    EXPECT_EQ(status, Status::NO_SPACE) << room;
    EXPECT_EQ(house.verify(chunk), Status::OK) << room;
    EXPECT_EQ(house.read(chunk, 0, 60 << 10).bytes, text(before).substr(0, 60 << 10));
  }
  place.disk.setCapacity(UINT64_MAX);
  EXPECT_EQ(house.write(chunk, 60 << 10, pattern(300 << 10, 77)), Status::OK);
  house.open();
  EXPECT_EQ(house.verify(chunk), Status::OK);
}

TEST_F(StoreRefusal, TheReserveIsKeptFreeForTheIndex) {
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(8192, 1)), Status::OK);
  uint64_t used = place.disk.space().totalBytes - place.disk.space().freeBytes;
  place.disk.setCapacity(used + (1 << 20));
  house.reserveBytes = 1 << 20;
  house.open();
  EXPECT_EQ(house.store().space().freeBytes, 0u);
  EXPECT_EQ(house.write(chunk, 8192, pattern(4096, 2)), Status::NO_SPACE);
  EXPECT_EQ(house.write(chunk, 0, pattern(8192, 3)), Status::OK) << "overwriting needs no room";
  EXPECT_EQ(house.store()
                .adopt({ChunkHandle(2), ChunkVersion(0), ChunkVersion(1), nullptr})
                .wait(house.waitScope)
                .status,
            Status::NO_SPACE);
}

TEST_F(StoreRefusal, ADiskThatCannotSyncEndsTheReplicaNotTheTruth) {
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(8192, 1)), Status::OK);
  place.disk.failSyncs(EIO);
  EXPECT_EQ(house.sync(chunk), Status::IO_ERROR);
  place.disk.failSyncs(0);
  EXPECT_EQ(house.sync(chunk), Status::CORRUPT) << "a retry must not be told that all is well";
  EXPECT_EQ(house.store().takeQuarantined().size(), 1u);
}

// -- damage

TEST_F(StoreRefusal, AFlippedBitInTheDataIsFoundByTheReaderAndByVerify) {
  auto chunk = house.create(1), other = house.create(2);
  ASSERT_EQ(house.write(chunk, 0, pattern(20000, 1)), Status::OK);
  ASSERT_EQ(house.write(other, 0, pattern(20000, 2)), Status::OK);
  place.disk.flipBit(dataPath(chunk.handle), 8 * 9000);
  EXPECT_FALSE(house.read(chunk, 8192, 4096).valid);
  auto answer = house.store().verify(chunk).wait(house.waitScope);
  EXPECT_EQ(answer.status, Status::CORRUPT);
  ASSERT_EQ(answer.badBlocks.size(), 1u);
  EXPECT_EQ(answer.badBlocks[0], 2u);
  EXPECT_EQ(house.read(chunk, 0, 4096).status, Status::CORRUPT);
  EXPECT_TRUE(place.disk.exists("quarantine/0000000000000001-v1.data"));
  EXPECT_TRUE(house.log.has("1 blocks do not match their checksums, the first is 2 -> quarantined"));
  EXPECT_EQ(house.verify(other), Status::OK);
  house.open();
  EXPECT_EQ(house.read(chunk, 0, 4096).status, Status::CORRUPT);
  EXPECT_EQ(house.verify(other), Status::OK);
}

TEST_F(StoreRefusal, APartialWriteDoesNotHideRottenBytesUnderANewChecksum) {
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(20000, 1)), Status::OK);
  place.disk.flipBit(dataPath(chunk.handle), 8 * 5000);
  EXPECT_EQ(house.write(chunk, 4096 + 10, pattern(10, 2)), Status::CORRUPT);
}

TEST_F(StoreRefusal, AWholeBlockWriteReplacesRottenBytesWithoutReadingThem) {
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(20000, 1)), Status::OK);
  place.disk.flipBit(dataPath(chunk.handle), 8 * 5000);
  auto reads = place.disk.counters().reads;
  EXPECT_EQ(house.write(chunk, 4096, pattern(4096, 2)), Status::OK);
  EXPECT_EQ(place.disk.counters().reads, reads);
  EXPECT_EQ(house.verify(chunk), Status::OK);
}

struct Damage {
  const char* name;
  void (*inflict)(env::MemoryDisk& disk, kj::WaitScope& waitScope);
  bool found;  // at the first read; else by whoever compares checksums
};

void cutFile(env::MemoryDisk& disk, kj::StringPtr path, uint64_t size) {
  auto bytes = disk.contents(path);
  disk.replaceContents(path, bytes.slice(0, size));
}

const Damage DAMAGES[] = {
    {"DataMissing", [](auto& disk, auto& ws) { (void)disk.remove(dataPath(ChunkHandle(1))).wait(ws); }, true},
    {"SumsMissing", [](auto& disk, auto& ws) { (void)disk.remove(sumPath(ChunkHandle(1))).wait(ws); }, true},
    {"DataCut", [](auto& disk, auto&) { cutFile(disk, dataPath(ChunkHandle(1)), 5000); }, true},
    {"DataEmpty", [](auto& disk, auto&) { cutFile(disk, dataPath(ChunkHandle(1)), 0); }, true},
    {"SumsCut", [](auto& disk, auto&) { cutFile(disk, sumPath(ChunkHandle(1)), 4100); }, false},
    {"SumsCutInTheHeader", [](auto& disk, auto&) { cutFile(disk, sumPath(ChunkHandle(1)), 20); }, true},
    {"SumsEmpty", [](auto& disk, auto&) { cutFile(disk, sumPath(ChunkHandle(1)), 0); }, true},
    {"HeaderFlipped", [](auto& disk, auto&) { disk.flipBit(sumPath(ChunkHandle(1)), 8 * 33); }, true},
    {"WordFlipped", [](auto& disk, auto&) { disk.flipBit(sumPath(ChunkHandle(1)), 8 * 4098); }, false},
    {"DataFlipped", [](auto& disk, auto&) { disk.flipBit(dataPath(ChunkHandle(1)), 77); }, false},
};

struct DamagedChunk : testing::TestWithParam<Damage> {
  MemoryHouse place;
  StoreHouse& house = place.house;
  ~DamagedChunk() noexcept override { house.current = nullptr; }
};

TEST_P(DamagedChunk, IsNamedAndQuarantinedAndTheRestServes) {
  house.open();
  auto chunk = house.create(1), other = house.create(2);
  for (auto key : {chunk, other}) {
    ASSERT_EQ(house.write(key, 0, pattern(20000, 1)), Status::OK);
    ASSERT_EQ(house.sync(key), Status::OK);
  }
  house.advance(12 * kj::SECONDS);  // the mark is cleared: what is found now is no crash's trace
  ASSERT_EQ(KJ_ASSERT_NONNULL(house.store().describe(chunk.handle)).flags, 0);
  house.current = nullptr;
  GetParam().inflict(place.disk, house.waitScope);
  house.open();
  auto answer = house.read(chunk, 0, 1 << 15);
  if (GetParam().found) {
    EXPECT_EQ(answer.status, Status::CORRUPT);
  } else {
    EXPECT_FALSE(answer.valid);
  }
  EXPECT_EQ(house.verify(chunk), Status::CORRUPT);
  EXPECT_TRUE(house.log.has("-> quarantined; another replica serves")) << house.log.lines;
  EXPECT_EQ(KJ_ASSERT_NONNULL(house.store().describe(chunk.handle)).flags & CORRUPT, CORRUPT);
  EXPECT_EQ(house.verify(other), Status::OK);
  EXPECT_EQ(house.write(chunk, 0, pattern(1, 1)), Status::CORRUPT);
  EXPECT_EQ(house.store().remove(chunk).wait(house.waitScope), Status::OK);
  EXPECT_EQ(house.disk.list("quarantine").wait(house.waitScope).names.size(), 0u);
}

TEST_P(DamagedChunk, IsFoundAlsoWhenItWasNeverSynced) {
  house.open();
  auto chunk = house.create(1), untouched = house.create(3);
  ASSERT_EQ(house.write(chunk, 0, pattern(20000, 1)), Status::OK);
  house.current = nullptr;
  GetParam().inflict(place.disk, house.waitScope);
  house.open();
  auto answer = house.read(chunk, 0, 1 << 15);
  EXPECT_TRUE(answer.status == Status::CORRUPT || !answer.valid) << "bytes that nobody wrote";
  EXPECT_EQ(house.read(untouched, 0, 1 << 15).status, Status::OK) << "no file is no damage before a write";
}

TEST_F(StoreRefusal, AFreshChunkWhoseFilesAreAllGoneIsDamagedNotEmpty) {
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(20000, 1)), Status::OK);
  house.current = nullptr;
  ASSERT_TRUE(place.disk.remove(dataPath(chunk.handle)).wait(house.waitScope).ok());
  ASSERT_TRUE(place.disk.remove(sumPath(chunk.handle)).wait(house.waitScope).ok());
  house.open();
  EXPECT_EQ(house.read(chunk, 0, 1 << 15).status, Status::CORRUPT);
}

INSTANTIATE_TEST_SUITE_P(Each, DamagedChunk, testing::ValuesIn(DAMAGES),
                         [](auto& info) { return std::string(info.param.name); });

// -- the directory

struct StoreDirectory : testing::Test {
  MemoryHouse place;
  StoreHouse& house = place.house;
  ~StoreDirectory() noexcept override { house.current = nullptr; }
  bool refusedBecause(const char* part) {
    auto refusal = house.tryOpen();
    return house.current == nullptr && std::string(refusal.cStr()).find(part) != std::string::npos;
  }
};

TEST_F(StoreDirectory, RemembersWhoItIs) {
  house.open();
  auto uuid = kj::str(house.store().identity().uuid);
  EXPECT_EQ(uuid.size(), 32u);
  EXPECT_EQ(house.store().join(TEST_CLUSTER, ServerId(3), Epoch(9)).wait(house.waitScope), Status::OK);
  house.open();
  EXPECT_EQ(house.store().identity().uuid, uuid);
  EXPECT_EQ(house.store().identity().cluster, TEST_CLUSTER);
  EXPECT_EQ(house.store().identity().server, ServerId(3));
  EXPECT_EQ(house.store().identity().epoch, Epoch(9));
}

TEST_F(StoreDirectory, StaysWithItsClusterAndItsHighestEpoch) {
  house.open();
  ASSERT_EQ(house.store().join(TEST_CLUSTER, ServerId(3), Epoch(9)).wait(house.waitScope), Status::OK);
  EXPECT_EQ(house.store().join({8, 8}, ServerId(3), Epoch(10)).wait(house.waitScope), Status::WRONG_CLUSTER);
  EXPECT_EQ(house.store().join(TEST_CLUSTER, ServerId(3), Epoch(8)).wait(house.waitScope),
            Status::STALE_EPOCH);
  EXPECT_EQ(house.store().identity().epoch, Epoch(9));
}

TEST_F(StoreDirectory, OfAnotherDaemonIsRefusedWithItsPid) {
  house.open();
  StoreHouse second(place.disk, "/store", *place.rocksdbEnv, place.waitScope);
  auto refusal = std::string(second.tryOpen().cStr());
  EXPECT_NE(refusal.find("is being served by another process (pid 1)"), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("Nothing was changed"), std::string::npos);
}

TEST_F(StoreDirectory, OfANewerFormatIsRefused) {
  house.open();
  house.current = nullptr;
  auto text = std::string(place.disk.contents(IDENTITY_PATH).asChars().begin(),
                          place.disk.contents(IDENTITY_PATH).size());
  text.replace(text.find("store 1"), 7, "store 9");
  place.disk.replaceContents(IDENTITY_PATH, kj::StringPtr(text.c_str()).asBytes());
  EXPECT_TRUE(refusedBecause("is of format 9, and this program knows formats up to 1"));
  EXPECT_EQ(std::string(place.disk.contents(IDENTITY_PATH).asChars().begin(), text.size()), text);
}

TEST_F(StoreDirectory, OfSomethingElseIsRefusedAndUntouched) {
  place.disk.replaceContents("holiday.jpg", kj::StringPtr("x").asBytes());
  EXPECT_TRUE(refusedBecause("is not empty (it holds \"holiday.jpg\")"));
  EXPECT_FALSE(place.disk.exists(IDENTITY_PATH));
}

TEST_F(StoreDirectory, WhoseIdentityIsLostIsNotMadeAnew) {
  house.open();
  house.current = nullptr;
  ASSERT_TRUE(place.disk.remove(IDENTITY_PATH).wait(house.waitScope).ok());
  EXPECT_TRUE(refusedBecause("restore that file if this was a store"));
}

TEST_F(StoreDirectory, OnAFullDiskIsRefusedWithTheReason) {
  place.disk.failWrites(ENOSPC);
  EXPECT_TRUE(refusedBecause("ENOSPC"));
}

}  // namespace
}  // namespace cairn
