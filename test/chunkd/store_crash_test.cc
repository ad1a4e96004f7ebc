// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The crash table of chunkd/store_format.h, line by line: the process dies, the machine dies, at any moment.
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/chunkd/failing_house.h"
#include "test/chunkd/store_house.h"

namespace cairn {
namespace {

struct StoreCrash : testing::Test {
  MemoryHouse place;
  StoreHouse& house = place.house;
  env::MemoryDisk& disk = place.disk;
  StoreCrash() { house.open(); }
  ~StoreCrash() noexcept override { house.current = nullptr; }
  uint8_t flagsOf(ChunkKey key) { return KJ_ASSERT_NONNULL(house.store().describe(key.handle)).flags; }
};

TEST_F(StoreCrash, AnAnsweredWriteSurvivesTheDeathOfTheProcess) {
  auto chunk = house.create(1);
  auto data = pattern(100000, 1);
  ASSERT_EQ(house.write(chunk, 0, data), Status::OK);
  disk.killProcess(1);
  house.open();
  EXPECT_EQ(house.read(chunk, 0, 1 << 17).bytes, text(data));
  EXPECT_EQ(house.verify(chunk), Status::OK);
  EXPECT_EQ(flagsOf(chunk) & SUSPECT, 0);
}

// A write is cut at any byte of its checksums or its data. Afterwards each block is old or new and matches
// its checksum; a torn block is a mix of the two.
TEST_F(StoreCrash, AWriteTornByTheDeathOfTheProcessLeavesOnlyValidBlocks) {
  int tornSeen = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    auto chunk = house.create(seed);
    auto before = pattern(40000, 1), after = pattern(30000, 2);
    ASSERT_EQ(house.write(chunk, 0, before), Status::OK);
    auto sums = pieceSums(after, 5000);
    disk.setDelay(house.timer, 1 * kj::MILLISECONDS);
    auto underWay = house.store().write(chunk, 5000, after, sums);
    // One step per disk operation: reads of the edges, checksums, data.
    uint64_t steps = seed % 5;
    for (uint64_t i = 0; i < steps; i++) {
      underWay.poll(house.waitScope);
      house.timer.advanceTo(house.timer.now() + 1 * kj::MILLISECONDS);
    }
    underWay.poll(house.waitScope);
    disk.killProcess(seed);
    underWay = nullptr;
    disk.setDelay(house.timer, 0 * kj::SECONDS);
    house.open();
    EXPECT_EQ(house.verify(chunk), Status::OK) << "seed " << seed;
    auto found = house.read(chunk, 0, 1 << 16);
    ASSERT_EQ(found.bytes.size(), 40000u);
    bool torn = false;
    for (uint32_t at = 0; at < 40000; at += BLOCK_SIZE) {
      auto oldBlock = text(before).substr(at, BLOCK_SIZE);
      auto whole = text(before);
      whole.replace(5000, 30000, text(after));
      auto newBlock = whole.substr(at, BLOCK_SIZE);
      auto block = found.bytes.substr(at, BLOCK_SIZE);
      if (block == oldBlock || block == newBlock) continue;
      torn = true;
      for (size_t i = 0; i < block.size(); i++)
        EXPECT_TRUE(block[i] == oldBlock[i] || block[i] == newBlock[i]);
    }
    EXPECT_EQ(flagsOf(chunk) & SUSPECT, 0) << "it has all that was acknowledged, seed " << seed;
    if (steps == 0 || steps == 1) EXPECT_FALSE(torn) << "nothing was written yet, seed " << seed;
    tornSeen += torn;
  }
  EXPECT_GT(tornSeen, 3) << "the test must reach the case it is about";
}

TEST_F(StoreCrash, ATruncationCutOffByTheDeathOfTheProcessIsDoneAgain) {
  for (uint64_t steps = 0; steps <= 6; steps++) {
    auto chunk = house.create(steps + 1);
    auto data = pattern(40000, 1);
    ASSERT_EQ(house.write(chunk, 0, data), Status::OK);
    disk.setDelay(house.timer, 1 * kj::MILLISECONDS);
    kj::Promise<ChunkStore::AdoptAnswer> underWay =
        house.store().adopt({chunk.handle, chunk.version, chunk.version.next(), 10000u});
    for (uint64_t i = 0; i < steps; i++) {
      underWay.poll(house.waitScope);
      house.timer.advanceTo(house.timer.now() + 1 * kj::MILLISECONDS);
    }
    underWay.poll(house.waitScope);
    disk.killProcess(steps);
    underWay = nullptr;
    disk.setDelay(house.timer, 0 * kj::SECONDS);
    house.open();
    auto state = KJ_ASSERT_NONNULL(house.store().describe(chunk.handle));
    EXPECT_TRUE(state.length == 40000 || state.length == 10000) << state.length;
    EXPECT_EQ(house.verify({chunk.handle, state.version}), Status::OK) << steps;
    if (state.version > chunk.version) EXPECT_EQ(state.length, 10000u);
  }
}

TEST_F(StoreCrash, WhatATruncateHasCutOffDoesNotComeBackWithThePower) {
  for (uint64_t seed = 1; seed <= 30; seed++) {
    auto chunk = house.create(seed);
    auto data = pattern(50000, 1);
    ASSERT_EQ(house.write(chunk, 0, data), Status::OK);
    ASSERT_EQ(house.sync(chunk), Status::OK);
    auto raised = house.raise(chunk, 2, 10000u);
    house.current = nullptr;
    disk.losePower(seed);
    house.open(seed % 2 == 0 ? FIRST_BOOT : SECOND_BOOT);
    EXPECT_EQ(house.verify(raised), Status::OK) << "seed " << seed;
    ASSERT_EQ(house.store().endSuspicion(raised).wait(house.waitScope), Status::OK);
    EXPECT_EQ(house.read(raised, 0, 1 << 20).bytes, text(data).substr(0, 10000)) << "seed " << seed;
  }
}

TEST_F(StoreCrash, WhatWasSyncedSurvivesPowerLossAndTheChunkIsSuspectUntilItIsReconciled) {
  for (uint64_t seed = 1; seed <= 30; seed++) {
    auto chunk = house.create(seed);
    auto synced = pattern(50000, 1);
    ASSERT_EQ(house.write(chunk, 0, synced), Status::OK);
    ASSERT_EQ(house.sync(chunk), Status::OK);
    ASSERT_EQ(house.write(chunk, 80000, pattern(50000, 2)), Status::OK);
    house.current = nullptr;
    disk.losePower(seed);
    house.open(seed % 2 == 0 ? FIRST_BOOT : SECOND_BOOT);
    EXPECT_TRUE(house.store().rebooted());
    EXPECT_EQ(house.verify(chunk), Status::OK) << "checksums match whatever is there, seed " << seed;
    EXPECT_NE(flagsOf(chunk) & SUSPECT, 0);
    EXPECT_EQ(house.read(chunk, 0, 1 << 20).status, Status::REBOOTED);
    EXPECT_EQ(house.sync(chunk), Status::REBOOTED);
    EXPECT_EQ(house.write(chunk, 0, pattern(10, 3)), Status::REBOOTED);
    auto raised = house.raise(chunk, 2);
    EXPECT_NE(flagsOf(raised) & SUSPECT, 0) << "adopting is not being equal";
    EXPECT_EQ(house.read(raised, 0, 1 << 20).status, Status::REBOOTED);
    ASSERT_EQ(house.store().endSuspicion(raised).wait(house.waitScope), Status::OK);
    EXPECT_EQ(flagsOf(raised) & SUSPECT, 0);
    EXPECT_EQ(house.read(raised, 0, 1 << 20).bytes.substr(0, 50000), text(synced)) << "seed " << seed;
  }
}

TEST_F(StoreCrash, AChunkThatWasCleanedIsNotSuspectAfterPowerLoss) {
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(50000, 1)), Status::OK);
  EXPECT_NE(flagsOf(chunk) & UNSYNCED, 0);
  house.advance(15 * kj::SECONDS);
  EXPECT_EQ(flagsOf(chunk), 0) << "quiet for ten seconds: synced and cleaned in the background";
  house.current = nullptr;
  disk.losePower(3);
  house.open(SECOND_BOOT);
  EXPECT_EQ(flagsOf(chunk), 0);
  EXPECT_EQ(house.verify(chunk), Status::OK);
}

TEST_F(StoreCrash, ManyQuietChunksAreSyncedTogether) {
  std::vector<ChunkKey> chunks;
  for (uint64_t handle = 1; handle <= 100; ++handle) {
    chunks.push_back(house.create(handle));
    ASSERT_EQ(house.write(chunks.back(), 0, pattern(6000, unsigned(handle))), Status::OK);
  }
  ASSERT_EQ(house.sync(chunks[7]), Status::OK);
  ASSERT_EQ(house.write(chunks[7], 9000, pattern(6000, 7)), Status::OK);
  auto empty = house.create(101);
  auto syncs = disk.counters().syncs;
  house.advance(9 * kj::SECONDS);
  ASSERT_EQ(house.write(chunks[3], 0, pattern(6000, 300)), Status::OK);  // not quiet any more
  house.advance(5 * kj::SECONDS);
  EXPECT_EQ(disk.counters().syncs, syncs + 1) << "not three for each";
  for (auto& chunk : chunks)
    EXPECT_EQ(flagsOf(chunk) == 0, chunk.handle != chunks[3].handle) << chunk.handle.value();
  EXPECT_NE(flagsOf(empty) & FRESH, 0) << "it has no files yet";
  house.current = nullptr;
  disk.losePower(3, env::MemoryDisk::Unsynced::LOST);
  house.open(SECOND_BOOT);
  for (auto& chunk : chunks) {
    if (chunk.handle == chunks[3].handle) continue;
    EXPECT_EQ(flagsOf(chunk), 0);
    EXPECT_EQ(house.verify(chunk), Status::OK);
    EXPECT_EQ(house.read(chunk, 0, 8192).bytes.substr(0, 6000),
              text(pattern(6000, unsigned(chunk.handle.value()))));
  }
}

TEST_F(StoreCrash, AWriteBesideTheSyncOfAllIsNotCoveredByIt) {
  std::vector<ChunkKey> chunks;
  for (uint64_t handle = 1; handle <= 50; ++handle) {
    chunks.push_back(house.create(handle));
    ASSERT_EQ(house.write(chunks.back(), 0, pattern(6000, 1)), Status::OK);
  }
  house.advance(9 * kj::SECONDS);
  disk.setDelay(house.timer, 2 * kj::SECONDS);
  house.advance(1 * kj::SECONDS);
  disk.setDelay(house.timer, 0 * kj::SECONDS);
  ASSERT_EQ(house.write(chunks[4], 0, pattern(6000, 2)), Status::OK);
  house.store().remove(chunks[5]).wait(house.waitScope);
  auto anew = house.create(6, 2);
  ASSERT_EQ(house.write(anew, 0, pattern(6000, 2)), Status::OK);
  EXPECT_NE(flagsOf(chunks[0]) & UNSYNCED, 0) << "it is under way";
  auto syncs = disk.counters().syncs;
  house.advance(3 * kj::SECONDS);
  EXPECT_EQ(flagsOf(chunks[0]), 0);
  EXPECT_NE(flagsOf(chunks[4]) & UNSYNCED, 0);
  EXPECT_NE(flagsOf(anew) & UNSYNCED, 0);
  house.advance(20 * kj::SECONDS);
  EXPECT_EQ(flagsOf(chunks[4]), 0);
  EXPECT_EQ(flagsOf(anew), 0);
  EXPECT_EQ(disk.counters().syncs, syncs + 1 + 2 * 3)
      << "of all, and both files and the name of each of the two";
}

TEST(StoreCrashOfMany, WhenTheDiskCannotSyncAllTogetherEachIsSyncedForItself) {
  for (uint64_t call = 1; call <= 2; ++call) {  // the look at the space, and the sync
    FailingHouse place;
    auto& house = place.house;
    KJ_DEFER(house.current = nullptr);
    house.open();
    std::vector<ChunkKey> chunks;
    for (uint64_t handle = 1; handle <= 50; ++handle) {
      chunks.push_back(house.create(handle));
      ASSERT_EQ(house.write(chunks.back(), 0, pattern(6000, unsigned(handle))), Status::OK);
    }
    house.advance(9 * kj::SECONDS);
    place.disk.failFrom(call, EIO, FailingDisk::Until::ONCE);
    house.advance(1 * kj::SECONDS);
    EXPECT_TRUE(place.disk.hasFailed());
    EXPECT_EQ(house.log.has("50 chunks together"), call == 2);
    house.advance(20 * kj::SECONDS);
    for (auto& chunk : chunks) EXPECT_EQ(KJ_ASSERT_NONNULL(house.store().describe(chunk.handle)).flags, 0);
    EXPECT_EQ(house.store().takeQuarantined().size(), 0u);
  }
}

TEST_F(StoreCrash, AWriteBesideASyncIsNotCoveredByIt) {
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(4096, 1)), Status::OK);
  ASSERT_EQ(house.sync(chunk), Status::OK);
  disk.setDelay(house.timer, 1 * kj::MILLISECONDS);
  auto data = pattern(4096, 2);
  auto sums = pieceSums(data, 0);
  auto writing = house.store().write(chunk, 0, data, sums);
  writing.poll(house.waitScope);
  kj::Promise<Status> syncing = house.store().sync(chunk);  // begins while the write is under way
  while (!writing.poll(house.waitScope) || !syncing.poll(house.waitScope)) {
    house.timer.advanceTo(house.timer.now() + 1 * kj::MILLISECONDS);
  }
  disk.setDelay(house.timer, 0 * kj::SECONDS);
  EXPECT_EQ(writing.wait(house.waitScope), Status::OK);
  EXPECT_EQ(syncing.wait(house.waitScope), Status::OK);
  auto syncs = disk.counters().syncs;
  EXPECT_EQ(house.sync(chunk), Status::OK);
  EXPECT_GT(disk.counters().syncs, syncs) << "the write's own sync must reach the disk";
}

TEST_F(StoreCrash, ASecondSyncWithNothingWrittenBetweenCostsTheDiskNothing) {
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(4096, 1)), Status::OK);
  ASSERT_EQ(house.sync(chunk), Status::OK);
  auto syncs = disk.counters().syncs;
  ASSERT_EQ(house.sync(chunk), Status::OK);
  EXPECT_EQ(disk.counters().syncs, syncs);
}

TEST_F(StoreCrash, ARemovalCutOffIsCarriedOnAtTheNextStart) {
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(4096, 1)), Status::OK);
  disk.failWrites(EIO);
  EXPECT_EQ(house.store().remove(chunk).wait(house.waitScope), Status::IO_ERROR);
  EXPECT_EQ(house.read(chunk, 0, 4096).status, Status::NO_REPLICA);
  disk.failWrites(0);
  house.open();
  EXPECT_EQ(house.store().count(), 0u);
  EXPECT_FALSE(disk.exists(dataPath(chunk.handle)));
}

// -- a real process, really killed

TEST(KilledDaemon, LosesNoAnsweredWriteAndLeavesOnlyValidBlocks) {
  TemporaryDirectory directory;
  constexpr int ROUNDS = 6;
  constexpr uint32_t SLOTS = 16, SLOT_SIZE = 300000;  // not aligned to blocks
  auto* answered = static_cast<volatile uint32_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(static_cast<volatile void*>(answered), MAP_FAILED);
  uint32_t generation = 0;
  for (int round = 0; round < ROUNDS; round++) {
    for (uint32_t slot = 0; slot < SLOTS; slot++) answered[slot] = 0;
    pid_t child = fork();
    if (child == 0) {
      auto io = kj::setupAsyncIo();
      auto disk = env::newDisk(directory.path.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock());
      StoreHouse house(*disk, directory.path.c_str(), *rocksdb::Env::Default(), io.waitScope);
      house.worker = env::newThreadWorker(io.unixEventPort, 1);
      house.open();
      ChunkKey chunk{ChunkHandle(1), ChunkVersion(1)};
      if (round == 0) house.create(1);
      for (uint32_t i = generation + 1;; i++) {
        uint32_t slot = i % SLOTS;
        if (house.write(chunk, slot * SLOT_SIZE, pattern(SLOT_SIZE, i)) != Status::OK) _exit(1);
        answered[slot] = i;
      }
    }
    // Killed at a moment of its own choosing: after so many answered writes, somewhere in the next.
    uint32_t until = generation + 20 + uint32_t(round) * 7;
    auto highest = [&] {
      uint32_t most = 0;
      for (uint32_t slot = 0; slot < SLOTS; slot++) most = kj::max(most, answered[slot]);
      return most;
    };
    while (highest() < until) {
      int status;
      ASSERT_EQ(waitpid(child, &status, WNOHANG), 0) << "the child died by itself";
      sched_yield();
    }
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    generation = highest();

    auto io = kj::setupAsyncIo();
    auto disk = env::newDisk(directory.path.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock());
    StoreHouse house(*disk, directory.path.c_str(), *rocksdb::Env::Default(), io.waitScope);
    house.worker = env::newThreadWorker(io.unixEventPort, 1);
    house.open();
    ChunkKey chunk{ChunkHandle(1), ChunkVersion(1)};
    EXPECT_EQ(house.verify(chunk), Status::OK) << house.log.lines;
    uint32_t next = generation + 1;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
      if (answered[slot] == 0 || slot == next % SLOTS) continue;  // that one was under way
      std::string found;
      uint32_t start = slot * SLOT_SIZE;
      found =
          house.read(chunk, start & ~(BLOCK_SIZE - 1), 1 << 19).bytes.substr(start % BLOCK_SIZE, SLOT_SIZE);
      EXPECT_TRUE(found == text(pattern(SLOT_SIZE, answered[slot]))) << "slot " << slot << " round " << round;
    }
    house.current = nullptr;
  }
  munmap(const_cast<uint32_t*>(answered), 4096);
}

}  // namespace
}  // namespace cairn
