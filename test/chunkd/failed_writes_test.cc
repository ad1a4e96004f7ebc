// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What is left behind by a write, a cut or a removal in which the disk failed more than once, and what the
// next start makes of it.
#include <errno.h>
#include <rocksdb/db.h>

#include "test/chunkd/failing_house.h"

namespace cairn {
namespace {

using Until = FailingDisk::Until;

struct FailedWrites : testing::Test, FailingHouse {
  FailedWrites() { house.open(); }
  ~FailedWrites() noexcept override {
    KJ_IF_MAYBE (store, house.current) (*store)->checkInvariants();
    house.current = nullptr;
  }
  ChunkKey synced(uint64_t handle, size_t size) {
    auto chunk = house.create(handle);
    EXPECT_EQ(house.write(chunk, 0, pattern(size, unsigned(handle))), Status::OK);
    EXPECT_EQ(house.sync(chunk), Status::OK);
    return chunk;
  }
  Status wait(Async<Status> asked) { return kj::Promise<Status>(kj::mv(asked)).wait(waitScope); }
  ChunkStore::AdoptAnswer cut(ChunkKey key, uint32_t length) {
    auto asked = house.store().adopt({key.handle, key.version, key.version.next(), length});
    return kj::Promise<ChunkStore::AdoptAnswer>(kj::mv(asked)).wait(waitScope);
  }
  ChunkKey copied(ChunkHandle handle, uint64_t version, kj::ArrayPtr<const kj::byte> bytes) {
    // From another store, in place of a corrupt one.
    ChunkKey key{handle, ChunkVersion(version)};
    auto table = kj::heapArray<uint32_t>(env::blocksOf(bytes.size()));
    for (size_t i = 0; i < table.size(); i++)
      table[i] = env::blockChecksum(bytes.slice(i * BLOCK_SIZE, kj::min((i + 1) * BLOCK_SIZE, bytes.size())));
    EXPECT_EQ(wait(house.store().stage(handle, key.version, ChunkVersion())), Status::OK);
    EXPECT_EQ(wait(house.store().writeStaged(handle, 0, bytes, pieceSums(bytes, 0))), Status::OK);
    EXPECT_EQ(wait(house.store().commitStaged(handle, key.version, uint32_t(bytes.size()), table)),
              Status::OK);
    return key;
  }
  void dieAndStart() {
    house.current = nullptr;
    memory.killProcess(1);
    house.open();
  }
  bool isWhole(ChunkKey key, kj::ArrayPtr<const kj::byte> bytes) {
    auto got = house.read(key, 0, TRANSFER_SIZE_MAX);
    return got.status == Status::OK && got.valid && got.bytes == text(bytes);
  }
};

TEST_F(FailedWrites, ACutThatFailedDoesNotCutTheReplicaThatIsMadeInItsPlace) {
  auto chunk = synced(1, 50'000);
  disk.failFrom(2, EIO, Until::ONCE);  // the last block has been read
  EXPECT_EQ(cut(chunk, 10'000).status, Status::IO_ERROR);
  disk.recover();
  EXPECT_TRUE(disk.hasFailed());
  EXPECT_EQ(house.verify(chunk), Status::CORRUPT);
  auto bytes = pattern(70'000, 2);
  auto anew = copied(chunk.handle, 7, bytes);
  dieAndStart();
  EXPECT_TRUE(isWhole(anew, bytes));
}

TEST_F(FailedWrites, AWriteThatCouldNotBeSettledDoesNotHideBadBytesOfTheReplicaThatIsMadeInItsPlace) {
  auto chunk = synced(1, 50'000);
  disk.failFrom(2, EIO, Until::CHANGES_FOR_GOOD);  // the checksums have been written
  EXPECT_EQ(house.write(chunk, 0, pattern(20'000, 2)), Status::IO_ERROR);
  disk.recover();
  EXPECT_EQ(wait(house.store().remove(chunk)), Status::OK);
  auto bytes = pattern(70'000, 3);
  auto anew = copied(chunk.handle, 7, bytes);
  memory.flipBit(dataPath(chunk.handle), 5000 * 8);
  dieAndStart();
  EXPECT_FALSE(house.read(anew, 0, TRANSFER_SIZE_MAX).valid);
  EXPECT_EQ(house.verify(anew), Status::CORRUPT);
}

TEST_F(FailedWrites, TheNextStartSettlesWhatCouldNotBeSettled) {
  uint64_t handle = 0;
  for (auto until : {Until::ONCE, Until::CHANGES_FOR_GOOD, Until::READS_FOR_GOOD, Until::FOR_GOOD}) {
    for (uint64_t call = 2; call <= 3; call++) {  // of the checksums, of the bytes: the edge has been read
      SCOPED_TRACE(testing::Message() << "call " << call << ", until " << int(until));
      auto chunk = synced(++handle, 50'000);
      disk.failFrom(call, EIO, until);
      EXPECT_EQ(house.write(chunk, 0, pattern(20'000, 2)), Status::IO_ERROR);
      disk.recover();
      dieAndStart();
      EXPECT_EQ(house.verify(chunk), Status::OK);
      EXPECT_EQ(house.read(chunk, 20'480, 16'384).bytes,
                text(pattern(50'000, unsigned(handle))).substr(20'480, 16'384));
    }
  }
}

// As many as there are slots for writes under way, each of which stays taken.
TEST_F(FailedWrites, HoweverManyCouldNotBeSettledAWriteIsAnsweredAndRemovingTheirChunkMakesRoom) {
  auto bad = synced(1, 50'000), good = synced(2, 50'000);
  auto bytes = pattern(20'000, 3);
  for (size_t i = 0; i < INTENT_SLOTS; i++) {
    disk.failFrom(2, EIO, Until::CHANGES_FOR_GOOD);
    ASSERT_EQ(house.write(bad, 0, bytes), Status::IO_ERROR);
  }
  disk.recover();
  auto sums = pieceSums(bytes, 0);
  auto refused = house.store().write(good, 0, bytes, sums);
  ASSERT_TRUE(refused.poll(waitScope)) << "it would wait for ever";
  EXPECT_EQ(refused.wait(waitScope), Status::IO_ERROR);
  EXPECT_EQ(cut(good, 100).status, Status::IO_ERROR);
  EXPECT_TRUE(isWhole(good, pattern(50'000, 2))) << "nothing has changed";
  EXPECT_EQ(wait(house.store().remove(bad)), Status::OK);
  EXPECT_EQ(house.write(good, 0, bytes), Status::OK);
}

TEST_F(FailedWrites, ARaiseOfWhichTheIndexTakesNoPartLeavesAReplicaThatIsWholeOrCut) {
  bool wasCut = false, failed = true;
  for (uint64_t write = 1; failed; write++) {
    SCOPED_TRACE(write);
    auto chunk = synced(write, 50'000);
    house.advance(30 * kj::SECONDS);  // its mark is gone
    rocks.failFrom(write, EIO, FailingRocks::Until::ONCE);
    auto status = cut(chunk, 10'000).status;
    failed = rocks.hasFailed();
    rocks.recover();
    EXPECT_EQ(status, failed ? Status::IO_ERROR : Status::OK);
    for (bool restarted : {false, true}) {
      if (restarted) dieAndStart();
      auto version = KJ_ASSERT_NONNULL(house.store().describe(chunk.handle)).version;
      ChunkKey now{chunk.handle, version};
      auto whole = pattern(50'000, unsigned(write)), part = kj::heapArray(whole.slice(0, 10'000));
      bool isCut = isWhole(now, part);
      EXPECT_TRUE(isCut || (failed && isWhole(now, whole))) << (restarted ? "restarted" : "");
      wasCut |= failed && isCut;
    }
  }
  EXPECT_TRUE(wasCut) << "a write behind the cut has failed";
}

TEST_F(FailedWrites, ARemovalThatFailsIsFinishedByTheFirstStartThatCan) {
  auto chunk = synced(1, 50'000);
  disk.failFrom(2, EIO, Until::CHANGES_FOR_GOOD);  // one of the two files is gone
  EXPECT_EQ(wait(house.store().remove(chunk)), Status::IO_ERROR);
  disk.recover();
  EXPECT_EQ(house.read(chunk, 0, BLOCK_SIZE).status, Status::NO_REPLICA);
  bool told = false;
  for (uint64_t call = 255; call < 290 && !told; call++) {  // behind the directories
    house.current = nullptr;
    memory.killProcess(call);
    disk.failFrom(call, EIO, Until::ONCE);
    (void)house.tryOpen();
    disk.recover();
    told = house.log.has("its removal cannot be finished: ioError -> tried at the next start");
  }
  EXPECT_TRUE(told);
  EXPECT_EQ(house.store().describe(chunk.handle), nullptr) << "though it is there";
  dieAndStart();
  EXPECT_EQ(memory.filesEndingWith(".sum").size() + memory.filesEndingWith(".data").size(), 0u);
  EXPECT_EQ(house.store().count(), 0u);
}

TEST_F(FailedWrites, AWriteUnderWayWhoseFilesCannotBeSettledByTheStartIsQuarantined) {
  // Each call of the start behind the directories fails in turn.
  bool notOpened = false, notSettled = false;
  for (uint64_t call = 255; call < 290 && !(notOpened && notSettled); call++) {
    SCOPED_TRACE(call);
    auto chunk = synced(call, 50'000);
    disk.failFrom(2, EIO, Until::CHANGES_FOR_GOOD);
    EXPECT_EQ(house.write(chunk, 0, pattern(20'000, 2)), Status::IO_ERROR);
    disk.recover();
    house.current = nullptr;
    memory.killProcess(call);
    house.log.lines.clear();
    disk.failFrom(call, EIO, Until::ONCE);
    auto refusal = house.tryOpen();
    disk.recover();
    bool unopened = house.log.has("its files cannot be opened to settle a write: Input/output error (EIO)");
    bool unsettled = house.log.has("a write that was under way cannot be settled: ioError");
    notOpened |= unopened, notSettled |= unsettled;
    if (unopened || unsettled) EXPECT_EQ(house.verify(chunk), Status::CORRUPT);
    house.open();
    (void)wait(house.store().remove(chunk));
  }
  EXPECT_TRUE(notOpened);
  EXPECT_TRUE(notSettled);
}

TEST_F(FailedWrites, AnIndexRecordOfAnotherFormatIsToldAndTheRestServes) {
  auto chunk = synced(1, 50'000), other = synced(2, 1'000);
  house.current = nullptr;
  rocksdb::DB* opened = nullptr;
  rocksdb::Options options;
  options.env = rocksdbEnv.get();
  ASSERT_TRUE(rocksdb::DB::Open(options, "/store/index", &opened).ok());
  std::unique_ptr<rocksdb::DB> database(opened);
  kj::byte key[INDEX_KEY_SIZE];
  encodeIndexKey(chunk.handle, key);
  rocksdb::Slice name(reinterpret_cast<char*>(key), sizeof(key));
  ASSERT_TRUE(database->Put(rocksdb::WriteOptions(), name, "of the future").ok());
  database = nullptr;
  house.open();
  EXPECT_TRUE(house.log.has("chunk 1: its index record is not of this program's format -> not served"));
  EXPECT_EQ(house.read(chunk, 0, BLOCK_SIZE).status, Status::NO_REPLICA);
  EXPECT_TRUE(isWhole(other, pattern(1'000, 2)));
}

TEST(FirstStart, ThatFailsAnywhereIsRefusedWithASentenceAndTheNextOneMakesTheStore) {
  bool refused = true;
  for (uint64_t call = 1; refused; call++) {
    SCOPED_TRACE(call);
    ASSERT_LT(call, 1000u);
    if (call == 20) call = 255;  // directories, all alike
    MemoryHouse place;
    FailingDisk disk(place.disk);
    StoreHouse house(disk, "/store", *place.rocksdbEnv, place.waitScope);
    disk.failFrom(call, EIO, Until::ONCE);
    auto refusal = house.tryOpen();
    refused = disk.hasFailed();
    if (refused && house.current == nullptr) EXPECT_GT(refusal.size(), 40u) << refusal.cStr();
    house.current = nullptr;
    disk.recover();
    place.disk.killProcess(call);
    EXPECT_EQ(house.tryOpen(), "");
    house.current = nullptr;
  }
}

}  // namespace
}  // namespace cairn
