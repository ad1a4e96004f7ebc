// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What every disk promises, run on the three there are; then what the disk in memory can do to its user.
#include "env/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "env/memory_disk.h"
#include "env/shared_sync.h"
#include "test/support/resource_limit.h"

namespace cairn::env {
namespace {

kj::Array<kj::byte> pattern(size_t size, unsigned seed) {
  auto bytes = kj::heapArray<kj::byte>(size);
  for (size_t i = 0; i < size; i++) bytes[i] = kj::byte(seed + i * 31 + i / 4096);
  return bytes;
}

std::string text(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.asChars().begin(), bytes.size());
}

struct Pages {
  // Whole pages on a page boundary: such transfers may go past the page cache.
  kj::Array<kj::byte> space;
  kj::ArrayPtr<kj::byte> bytes;
  explicit Pages(size_t size) : space(kj::heapArray<kj::byte>(size + 4096)) {
    auto start = (4096 - reinterpret_cast<uintptr_t>(space.begin()) % 4096) % 4096;
    bytes = space.slice(start, start + size);
  }
  Pages(size_t size, unsigned seed) : Pages(size) {
    auto wanted = pattern(size, seed);
    std::copy(wanted.begin(), wanted.end(), bytes.begin());
  }
};

struct TemporaryDirectory {
  std::string path = "/tmp/cairn-env-test-XXXXXX";
  TemporaryDirectory() { KJ_ASSERT(mkdtemp(path.data()) != nullptr); }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
};

template <IoEngineChoice CHOICE>
struct RealDisk {
  TemporaryDirectory directory;
  kj::Own<Disk> disk;
  explicit RealDisk(kj::AsyncIoContext& io)
      : disk(newDisk(directory.path.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock(), CHOICE)) {}
  Disk& get() { return *disk; }
  int errorOfSyncingEverything() {
    struct statfs info;
    KJ_ASSERT(statfs(directory.path.c_str(), &info) == 0);
    constexpr long KNOWN[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC};
    return std::count(std::begin(KNOWN), std::end(KNOWN), long(info.f_type)) > 0 ? 0 : EOPNOTSUPP;
  }
};

struct DiskInMemory {
  MemoryDisk disk;
  explicit DiskInMemory(kj::AsyncIoContext&) {}
  Disk& get() { return disk; }
  int errorOfSyncingEverything() { return 0; }
};

template <typename Kind>
struct DiskTest : testing::Test {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  Kind kind{io};
  Disk& disk = kind.get();
  ~DiskTest() noexcept override {}

  kj::Own<DiskFile> create(kj::StringPtr path) { return open(path, OpenMode::CREATE); }
  kj::Own<DiskFile> open(kj::StringPtr path, OpenMode mode) {
    auto outcome = disk.open(path, mode).wait(io.waitScope);
    return kj::mv(KJ_ASSERT_NONNULL(outcome.file, path, outcome.error));
  }
  int errorOf(kj::Promise<OpenOutcome> promise) { return promise.wait(io.waitScope).error; }
  IoOutcome outcomeOf(kj::Promise<IoOutcome> promise) { return promise.wait(io.waitScope); }
  std::string read(DiskFile& file, uint64_t offset, size_t size) {
    auto bytes = kj::heapArray<kj::byte>(size);
    auto outcome = outcomeOf(file.read(offset, bytes));
    EXPECT_TRUE(outcome.ok());
    return text(bytes.slice(0, outcome.bytes));
  }
  void write(DiskFile& file, uint64_t offset, kj::ArrayPtr<const kj::byte> bytes) {
    auto outcome = outcomeOf(file.write(offset, bytes));
    EXPECT_TRUE(outcome.ok());
    EXPECT_EQ(outcome.bytes, bytes.size());
  }
};

using Kinds = testing::Types<RealDisk<IoEngineChoice::URING>, RealDisk<IoEngineChoice::POOL>, DiskInMemory>;
struct KindNames {
  template <typename T>
  static std::string GetName(int index) {
    return index == 0 ? "Uring" : index == 1 ? "Pool" : "Memory";
  }
};
TYPED_TEST_SUITE(DiskTest, Kinds, KindNames);

TYPED_TEST(DiskTest, WhatIsWrittenIsReadBackAndHolesAreZeros) {
  auto file = this->create("a");
  auto bytes = pattern(10000, 1);
  this->write(*file, 8192 + 7, bytes);
  EXPECT_EQ(this->read(*file, 8199, 10000), text(bytes));
  EXPECT_EQ(this->read(*file, 100, 3000), std::string(3000, '\0'));
  EXPECT_EQ(this->outcomeOf(file->size()).bytes, 18199u);
}

TYPED_TEST(DiskTest, PiecesAreWrittenOneAfterTheOther) {
  auto file = this->create("a");
  auto first = pattern(1000, 1), second = pattern(5000, 2);
  kj::Vector<kj::ArrayPtr<const kj::byte>> pieces;
  pieces.add(first);
  pieces.add(nullptr);
  pieces.add(second);
  auto outcome = this->outcomeOf(file->write(10, pieces.asPtr()));
  EXPECT_EQ(outcome.bytes, 6000u);
  EXPECT_EQ(this->read(*file, 10, 6000), text(first) + text(second));
}

TYPED_TEST(DiskTest, MorePiecesThanOneCallTakesAreAllWritten) {
  auto file = this->create("a");
  auto bytes = pattern(3000, 3);
  kj::Vector<kj::ArrayPtr<const kj::byte>> pieces;
  for (size_t i = 0; i < bytes.size(); i++) pieces.add(bytes.slice(i, i + 1));
  EXPECT_EQ(this->outcomeOf(file->write(0, pieces.asPtr())).bytes, 3000u);
  EXPECT_EQ(this->read(*file, 0, 3000), text(bytes));
}

TYPED_TEST(DiskTest, LargeTransfersOfWholePagesAndSmallOnesSeeEachOther) {
  constexpr size_t SIZE = 1 << 20;
  auto file = this->create("a");
  std::string expected = text(Pages(SIZE, 1).bytes) + text(pattern(100, 2));
  this->write(*file, SIZE, pattern(100, 2));
  this->write(*file, 0, Pages(SIZE, 1).bytes);
  EXPECT_EQ(this->read(*file, 3, SIZE + 97), expected.substr(3));  // through the page cache

  auto small = pattern(5000, 3);
  this->write(*file, 6001, small);
  expected.replace(6001, 5000, text(small));
  Pages large(SIZE);
  EXPECT_EQ(this->outcomeOf(file->read(0, large.bytes)).bytes, SIZE);
  EXPECT_EQ(text(large.bytes), expected.substr(0, SIZE));

  this->write(*file, 4096, Pages(SIZE / 2, 4).bytes);
  expected.replace(4096, SIZE / 2, text(Pages(SIZE / 2, 4).bytes));
  EXPECT_EQ(this->read(*file, 0, SIZE + 100), expected);
}

TYPED_TEST(DiskTest, ALargeTransferMayEndInsideAPage) {
  constexpr size_t SIZE = (256 << 10) + 777;
  auto file = this->create("a");
  this->write(*file, 4096, Pages(SIZE, 5).bytes);
  EXPECT_EQ(this->outcomeOf(file->size()).bytes, 4096 + SIZE);
  Pages large(512 << 10);
  EXPECT_EQ(this->outcomeOf(file->read(4096, large.bytes)).bytes, SIZE);
  EXPECT_EQ(text(large.bytes.slice(0, SIZE)), text(Pages(SIZE, 5).bytes));
  EXPECT_EQ(this->outcomeOf(file->read(512 << 10, large.bytes)).bytes, 0u);
}

TYPED_TEST(DiskTest, AReadAtTheEndIsShortAndBeyondItEmpty) {
  auto file = this->create("a");
  this->write(*file, 0, pattern(100, 1));
  EXPECT_EQ(this->read(*file, 50, 100).size(), 50u);
  EXPECT_EQ(this->read(*file, 100, 100).size(), 0u);
  EXPECT_EQ(this->read(*file, 1 << 20, 100).size(), 0u);
}

TYPED_TEST(DiskTest, OpenAnswersWhatIsThereAndWhatIsNot) {
  EXPECT_EQ(this->errorOf(this->disk.open("a", OpenMode::READ)), ENOENT);
  EXPECT_EQ(this->errorOf(this->disk.open("a", OpenMode::WRITE)), ENOENT);
  EXPECT_EQ(this->errorOf(this->disk.open("no/a", OpenMode::CREATE)), ENOENT);
  this->create("a");
  EXPECT_EQ(this->errorOf(this->disk.open("a", OpenMode::CREATE)), EEXIST);
  EXPECT_EQ(this->errorOf(this->disk.open("a", OpenMode::CREATE_OR_OPEN)), 0);
}

TYPED_TEST(DiskTest, WhatIsBelowNoDirectoryIsAnAnswerWhateverTheCall) {
  auto& disk = this->disk;
  auto& scope = this->io.waitScope;
  EXPECT_EQ(disk.makeDirectory("no/a").wait(scope).error, ENOENT);
  EXPECT_EQ(disk.list("no").wait(scope).error, ENOENT);
  EXPECT_EQ(disk.syncDirectory("no").wait(scope).error, ENOENT);
  EXPECT_EQ(disk.remove("no/a").wait(scope).error, ENOENT);
  EXPECT_EQ(disk.rename("no/a", "b").wait(scope).error, ENOENT);
  EXPECT_EQ(disk.map("no/a", 4096).error, ENOENT);
  auto locked = disk.lock("no/a");
  EXPECT_EQ(locked.error, ENOENT);
  EXPECT_EQ(locked.lock, nullptr);
}

TYPED_TEST(DiskTest, TruncateCutsAndWhatComesBackIsZero) {
  auto file = this->create("a");
  this->write(*file, 0, pattern(10000, 1));
  EXPECT_TRUE(this->outcomeOf(file->truncate(5000)).ok());
  EXPECT_EQ(this->outcomeOf(file->size()).bytes, 5000u);
  EXPECT_TRUE(this->outcomeOf(file->truncate(10000)).ok());
  EXPECT_EQ(this->read(*file, 5000, 5000), std::string(5000, '\0'));
}

TYPED_TEST(DiskTest, APunchedRangeReadsAsZerosAndTheSizeStays) {
  auto file = this->create("a");
  this->write(*file, 0, pattern(16384, 1));
  auto outcome = this->outcomeOf(file->punch(4096, 8192));
  if (outcome.error == EOPNOTSUPP) GTEST_SKIP() << "the filesystem of /tmp cannot punch holes";
  EXPECT_EQ(this->read(*file, 4096, 8192), std::string(8192, '\0'));
  EXPECT_EQ(this->outcomeOf(file->size()).bytes, 16384u);
}

TYPED_TEST(DiskTest, DirectoriesAreMadeListedAndRenamedIn) {
  EXPECT_TRUE(this->outcomeOf(this->disk.makeDirectory("d")).ok());
  EXPECT_TRUE(this->outcomeOf(this->disk.makeDirectory("d")).ok());
  this->create("d/a");
  this->create("d/b");
  this->create("c");
  EXPECT_TRUE(this->outcomeOf(this->disk.rename("c", "d/b")).ok());
  EXPECT_TRUE(this->outcomeOf(this->disk.remove("d/a")).ok());
  EXPECT_EQ(this->outcomeOf(this->disk.remove("d/a")).error, ENOENT);
  EXPECT_TRUE(this->outcomeOf(this->disk.syncDirectory("d")).ok());
  EXPECT_EQ(this->outcomeOf(this->disk.syncEverything()).error, this->kind.errorOfSyncingEverything());
  auto names = this->disk.list("d").wait(this->io.waitScope).names;
  ASSERT_EQ(names.size(), 1u);
  EXPECT_EQ(names[0], "b");
  EXPECT_EQ(this->disk.list("d").wait(this->io.waitScope).error, 0);
  EXPECT_EQ(this->disk.list("none").wait(this->io.waitScope).error, ENOENT);
}

TYPED_TEST(DiskTest, ManyWritesReadsAndSyncsMayBeUnderWayAtOnce) {
  auto file = this->create("a");
  constexpr size_t COUNT = 300, SIZE = 4096;  // more than a ring holds
  auto bytes = pattern(COUNT * SIZE, 5);
  kj::Vector<kj::Promise<void>> writes;
  for (size_t i = 0; i < COUNT; i++) {
    writes.add(file->write(i * SIZE, bytes.slice(i * SIZE, (i + 1) * SIZE))
                   .then([&file](IoOutcome outcome) {
                     KJ_ASSERT(outcome.ok());
                     return file->sync();
                   })
                   .then([](IoOutcome outcome) { KJ_ASSERT(outcome.ok()); }));
  }
  kj::joinPromises(writes.releaseAsArray()).wait(this->io.waitScope);
  EXPECT_EQ(this->read(*file, 0, bytes.size()), text(bytes));
}

TYPED_TEST(DiskTest, APromiseMayBeDroppedWithItsBuffer) {
  auto file = this->create("a");
  this->write(*file, 0, pattern(1 << 20, 1));
  for (int i = 0; i < 50; i++) {
    auto buffer = kj::heapArray<kj::byte>(1 << 20);
    auto promise = file->read(0, buffer);
    auto barrier = file->sync();
    promise = nullptr;  // buffer is freed after this
  }
  EXPECT_EQ(this->read(*file, 0, 4096), text(pattern(4096, 1)));
}

TYPED_TEST(DiskTest, AMappedFileIsAsLargeAsAskedAndKeepsItsBytes) {
  {
    auto outcome = this->disk.map("intents", 8192);
    auto bytes = KJ_ASSERT_NONNULL(outcome.mapping)->bytes();
    ASSERT_EQ(bytes.size(), 8192u);
    bytes[5000] = 42;
  }
  auto outcome = this->disk.map("intents", 8192);
  EXPECT_EQ(KJ_ASSERT_NONNULL(outcome.mapping)->bytes()[5000], 42);
  auto file = this->open("intents", OpenMode::READ);
  EXPECT_EQ(this->read(*file, 5000, 1), std::string(1, 42));
}

TYPED_TEST(DiskTest, ALockHasOneHolderAndGoesWithIt) {
  auto first = this->disk.lock("lock");
  ASSERT_EQ(first.error, 0);
  auto second = this->disk.lock("lock");
  EXPECT_EQ(second.error, EWOULDBLOCK);
  EXPECT_NE(second.holder.size(), 0u);
  first.lock = nullptr;
  EXPECT_EQ(this->disk.lock("lock").error, 0);
}

TYPED_TEST(DiskTest, SpaceIsKnown) {
  auto space = this->disk.space();
  EXPECT_EQ(space.error, 0);
  EXPECT_GT(space.totalBytes, 0u);
  EXPECT_LE(space.freeBytes, space.totalBytes);
}

// -- group commit

struct Gate {
  kj::Vector<kj::Own<kj::PromiseFulfiller<IoOutcome>>> begun;
  kj::Function<kj::Promise<IoOutcome>()> starter() {
    return [this]() -> kj::Promise<IoOutcome> {
      auto pair = kj::newPromiseAndFulfiller<IoOutcome>();
      begun.add(kj::mv(pair.fulfiller));
      return kj::mv(pair.promise);
    };
  }
};

TEST(SharedSync, CallersDuringASyncShareTheNextOne) {
  auto io = kj::setupAsyncIo();
  Gate gate;
  SharedSync syncs;
  auto first = syncs.join(gate.starter());
  auto sameTurn = syncs.join(gate.starter());
  EXPECT_FALSE(first.poll(io.waitScope));
  EXPECT_EQ(gate.begun.size(), 1u);

  auto second = syncs.join(gate.starter());
  auto third = syncs.join(gate.starter());
  EXPECT_FALSE(second.poll(io.waitScope));
  EXPECT_EQ(gate.begun.size(), 1u) << "a second sync waits for the first";

  gate.begun[0]->fulfill(IoOutcome{});
  EXPECT_TRUE(first.wait(io.waitScope).ok());
  EXPECT_TRUE(sameTurn.wait(io.waitScope).ok());
  EXPECT_FALSE(second.poll(io.waitScope)) << "it must not be answered from a sync that began before it";
  ASSERT_EQ(gate.begun.size(), 2u);

  gate.begun[1]->fulfill(IoOutcome{0, EIO});
  EXPECT_EQ(second.wait(io.waitScope).error, EIO);
  EXPECT_EQ(third.wait(io.waitScope).error, EIO);
  auto fourth = syncs.join(gate.starter());
  EXPECT_FALSE(fourth.poll(io.waitScope));
  EXPECT_EQ(gate.begun.size(), 3u);
  gate.begun[2]->fulfill(IoOutcome{});
  EXPECT_TRUE(fourth.wait(io.waitScope).ok());
}

// -- the real lock, between processes

TEST(RealDiskLock, NamesTheProcessThatHoldsIt) {
  TemporaryDirectory directory;
  int ready[2], leave[2];
  KJ_SYSCALL(pipe(ready));
  KJ_SYSCALL(pipe(leave));
  pid_t child = fork();
  if (child == 0) {
    auto childIo = kj::setupAsyncIo();
    auto disk = newDisk(directory.path.c_str(), childIo.unixEventPort, kj::systemPreciseMonotonicClock());
    auto lock = disk->lock("lock");
    char byte = lock.error == 0 ? 1 : 0;
    (void)!::write(ready[1], &byte, 1);
    (void)!::read(leave[0], &byte, 1);
    _exit(0);
  }
  char byte = 0;
  KJ_SYSCALL(::read(ready[0], &byte, 1));
  ASSERT_EQ(byte, 1);
  auto io = kj::setupAsyncIo();
  auto disk = newDisk(directory.path.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock());
  auto refused = disk->lock("lock");
  EXPECT_EQ(refused.error, EWOULDBLOCK);
  EXPECT_EQ(refused.holder, kj::str(child));
  KJ_SYSCALL(kill(child, SIGKILL));
  int status;
  KJ_SYSCALL(waitpid(child, &status, 0));
  EXPECT_EQ(disk->lock("lock").error, 0);
  for (int fd : {ready[0], ready[1], leave[0], leave[1]}) close(fd);
}

TEST(RealDiskLock, IsNoneWhereTheHolderCannotBeWrittenDown) {
  TemporaryDirectory directory;
  auto io = kj::setupAsyncIo();
  auto disk = newDisk(directory.path.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock());
  {
    auto limit = test::ResourceLimit::emptyFiles();
    EXPECT_EQ(disk->lock("lock").error, EFBIG);
  }
  EXPECT_EQ(disk->lock("lock").error, 0);
}

// -- what only the real disk does

template <typename Kind>
struct RealDiskTest : DiskTest<Kind> {
  // The files are a few MiB that the page cache knows nothing of.
  static constexpr size_t SIZE = 4 << 20;
  kj::Own<DiskFile> file;
  int fd = -1;
  ~RealDiskTest() noexcept override {}

  void SetUp() override {
    file = this->create("f");
    this->write(*file, 0, pattern(SIZE, 1));
    ASSERT_TRUE(this->outcomeOf(file->sync()).ok());
    fd = KJ_ASSERT_NONNULL(file->descriptor());
    ASSERT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    if (cachedPages(0, SIZE) != 0) GTEST_SKIP() << "the filesystem of /tmp keeps its files in memory";
  }

  size_t cachedPages(uint64_t offset, size_t size) {
    void* memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, off_t(offset));
    KJ_REQUIRE(memory != MAP_FAILED);
    std::vector<unsigned char> pages(size / 4096);
    KJ_SYSCALL(mincore(memory, size, pages.data()));
    munmap(memory, size);
    return size_t(std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; }));
  }
};

using RealKinds = testing::Types<RealDisk<IoEngineChoice::URING>, RealDisk<IoEngineChoice::POOL>>;
TYPED_TEST_SUITE(RealDiskTest, RealKinds, KindNames);

TYPED_TEST(RealDiskTest, ASmallReadOfAnIdleDeviceBringsItsNeighboursAlong) {
  uint64_t offset = (1 << 20) + (24 << 10);
  EXPECT_EQ(this->read(*this->file, offset, 4096), text(pattern(this->SIZE, 1)).substr(offset, 4096));
  // What lies around it has been begun, and is there when a read of it has come back.
  EXPECT_EQ(this->read(*this->file, 1 << 20, 64 << 10),
            text(pattern(this->SIZE, 1)).substr(1 << 20, 64 << 10));
  EXPECT_EQ(this->cachedPages(0, this->SIZE), 16u) << "the 64 KiB around it, and nothing else";
}

TYPED_TEST(RealDiskTest, WhatTheKernelRefusesIsAnAnswer) {
  auto& scope = this->io.waitScope;
  ASSERT_TRUE(this->disk.makeDirectory("directory").wait(scope).ok());
  auto opened = this->disk.open("directory", OpenMode::READ).wait(scope);
  ASSERT_EQ(opened.error, 0);
  kj::byte bytes[100];
  EXPECT_EQ(KJ_ASSERT_NONNULL(opened.file)->read(0, kj::arrayPtr(bytes, sizeof(bytes))).wait(scope).error,
            EISDIR);
  uint64_t nowhere = uint64_t(1) << 63;  // in no file
  EXPECT_EQ(this->file->read(nowhere, kj::arrayPtr(bytes, sizeof(bytes))).wait(scope).error, EINVAL);
  EXPECT_EQ(this->disk.map("large", size_t(1) << 62).error, EFBIG);
  EXPECT_EQ(this->disk.lock("directory").error, EISDIR);
}

TYPED_TEST(RealDiskTest, WithoutADescriptorToGoPastThePageCacheALargeReadGoesThroughIt) {
  if (!test::ResourceLimit::DESCRIPTORS_ARE_OURS) GTEST_SKIP() << "a sanitizer needs descriptors, too";
  auto limit = test::ResourceLimit::noDescriptors();
  Pages large(1 << 20);
  EXPECT_EQ(this->outcomeOf(this->file->read(0, large.bytes)).bytes, 1u << 20);
  EXPECT_EQ(text(large.bytes), text(pattern(this->SIZE, 1)).substr(0, 1 << 20));
  EXPECT_GE(this->cachedPages(0, 1 << 20), 256u);
}

TYPED_TEST(RealDiskTest, ReadsThatShareTheDeviceAreNotWidened) {
  // Several before it: the kernel may answer one of a fast device at once.
  auto many = kj::heapArray<kj::byte>(16 * 4096), other = kj::heapArray<kj::byte>(4096);
  kj::Vector<kj::Promise<IoOutcome>> first;
  for (size_t i = 0; i < 16; ++i) {
    first.add(this->file->read(i * (64 << 10), many.slice(i * 4096, (i + 1) * 4096)));
  }
  auto second = this->file->read(2 << 20, other);
  for (auto& one : first) EXPECT_TRUE(this->outcomeOf(kj::mv(one)).ok());
  EXPECT_TRUE(this->outcomeOf(kj::mv(second)).ok());
  EXPECT_EQ(text(other), text(pattern(this->SIZE, 1)).substr(2 << 20, 4096));
  EXPECT_EQ(this->cachedPages(2 << 20, 1 << 20), 1u);
}

TYPED_TEST(RealDiskTest, ALargeReadTakesWhatItAsksForOnly) {
  EXPECT_EQ(this->read(*this->file, 1 << 20, 36 << 10),
            text(pattern(this->SIZE, 1)).substr(1 << 20, 36 << 10));
  EXPECT_EQ(this->cachedPages(1 << 20, 64 << 10), 9u);
}

// -- what only the disk in memory does

struct MemoryDiskTest : DiskTest<DiskInMemory> {
  MemoryDisk& memory = kind.disk;
};

TEST_F(MemoryDiskTest, PowerLossKeepsWhatWasSyncedWithEverything) {
  auto one = create("one"), two = create("two");
  write(*one, 0, pattern(4096, 1));
  write(*two, 0, pattern(4096, 2));
  ASSERT_TRUE(outcomeOf(disk.syncEverything()).ok());
  write(*two, 0, pattern(4096, 3));
  auto late = create("late");
  memory.losePower(1, MemoryDisk::Unsynced::LOST);
  EXPECT_EQ(text(memory.contents("one")), text(pattern(4096, 1)));
  EXPECT_EQ(text(memory.contents("two")), text(pattern(4096, 2)));
  EXPECT_FALSE(memory.exists("late"));
  memory.failSyncs(EIO);
  EXPECT_EQ(outcomeOf(disk.syncEverything()).error, EIO);
}

TEST_F(MemoryDiskTest, PowerLossKeepsWhatWasSyncedAndMayLoseTheRest) {
  int lost = 0, kept = 0;
  for (uint64_t seed = 0; seed < 40; seed++) {
    auto name = kj::str("f", seed);
    auto file = create(name);
    write(*file, 0, pattern(4096, 1));
    ASSERT_TRUE(outcomeOf(file->sync()).ok());
    ASSERT_TRUE(outcomeOf(disk.syncDirectory("")).ok());
    write(*file, 4096, pattern(4096, 2));
    memory.losePower(seed);
    EXPECT_FALSE(outcomeOf(file->sync()).ok()) << "the file was open in a machine that is gone";
    auto after = memory.contents(name);
    ASSERT_GE(after.size(), 4096u);
    EXPECT_EQ(text(after.slice(0, 4096)), text(pattern(4096, 1)));
    bool whole = after.size() == 8192 && text(after.slice(4096, 8192)) == text(pattern(4096, 2));
    (whole ? kept : lost)++;
  }
  EXPECT_GT(lost, 5);
  EXPECT_GT(kept, 2);
}

TEST_F(MemoryDiskTest, PowerLossKeepsAPrefixOfTheDirectoryChanges) {
  bool sawNone = false, sawAll = false;
  for (uint64_t seed = 0; seed < 40; seed++) {
    MemoryDisk fresh;
    for (auto name : {"1", "2", "3"}) {
      (void)fresh.open(name, OpenMode::CREATE).wait(io.waitScope);
    }
    fresh.losePower(seed);
    EXPECT_GE(fresh.exists("1"), fresh.exists("2"));
    EXPECT_GE(fresh.exists("2"), fresh.exists("3"));
    sawNone |= !fresh.exists("1");
    sawAll |= fresh.exists("3");
  }
  EXPECT_TRUE(sawNone && sawAll);
}

TEST_F(MemoryDiskTest, AKilledProcessLosesNothingButTearsItsLastWrite) {
  auto file = create("a");
  write(*file, 0, pattern(4096, 1));
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  memory.setDelay(timer, 1 * kj::MILLISECONDS);
  auto bytes = pattern(4096, 2);
  auto underWay = file->write(0, bytes);
  memory.killProcess(3);
  auto after = memory.contents("a");
  size_t torn = 0;
  while (torn < 4096 && after[torn] == bytes[torn]) torn++;
  EXPECT_GT(torn, 0u);
  EXPECT_LT(torn, 4096u);
  EXPECT_EQ(text(after.slice(torn + 1, 4096)), text(pattern(4096, 1).slice(torn + 1, 4096)));
}

TEST_F(MemoryDiskTest, ItCanBeFullFailAndFlipBits) {
  auto file = create("a");
  memory.setCapacity(8192);
  write(*file, 0, pattern(8192, 1));
  EXPECT_EQ(outcomeOf(file->write(8192, pattern(1, 1))).error, ENOSPC);
  write(*file, 0, pattern(8192, 2));
  memory.flipBit("a", 8 * 100 + 3);
  EXPECT_EQ(read(*file, 100, 1)[0] ^ char(pattern(101, 2)[100]), 1 << 3);
  memory.failWrites(EIO);
  EXPECT_EQ(outcomeOf(file->write(0, pattern(1, 1))).error, EIO);
  memory.failSyncs(EIO);
  EXPECT_EQ(outcomeOf(file->sync()).error, EIO);
  memory.failReads(EIO);
  kj::byte byte;
  EXPECT_EQ(outcomeOf(file->read(0, kj::arrayPtr(&byte, 1))).error, EIO);
}

}  // namespace
}  // namespace cairn::env
