// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Any call of the disk, and any write of the index, may fail. One story (write, sync, raise, cut, create,
// clone, copy, reconcile, remove, verify) is told again and again, with the failure one call further on each
// time, once and for good; then the process dies, or its machine loses power, and it starts anew on the disk
// as it is. What was answered with ok is there, or the store has said that the chunk is damaged; what was not
// is told by its checksums or gone; and nothing else has changed.
#include <errno.h>

#include <algorithm>
#include <map>

#include "test/chunkd/failing_house.h"
#include "test/support/in_turn.h"

namespace cairn {
namespace {

enum class Until { ONCE, FOR_GOOD };
enum class What { DISK, INDEX };
enum class When { IN_THE_STORY, AT_THE_NEXT_START, AT_THE_START_AFTER_A_POWER_CUT };
enum class Blocks { SHARED, COPIED };

struct Failure {
  int error;
  Until until = Until::ONCE;
  What what = What::DISK;
  When when = When::IN_THE_STORY;
  Blocks blocks = Blocks::COPIED;  // when a chunk is cloned
};

class Story : private FailingHouse {
 public:
  Story(uint64_t call, Failure failure) : failure(failure) {
    if (failure.blocks == Blocks::SHARED) memory.allowClones();
    bool inTheStory = failure.when == When::IN_THE_STORY;
    bool losesPower = failure.when == When::AT_THE_START_AFTER_A_POWER_CUT;
    write(1, 0, 50'000), write(4, 0, 30'000), write(5, 0, 8'000), write(7, 0, 60'000), write(9, 0, 40'000);
    write(10, 0, 20'000);
    for (uint64_t handle : {1, 4, 5, 7, 9, 10}) sync(handle);
    house.advance(30 * kj::SECONDS);
    house.liveChunks = 1;
    house.open();  // with nothing open
    if (inTheStory) failFrom(call);
    tell();
    if (inTheStory) house.advance(30 * kj::SECONDS);  // else it dies with much to settle
    if (inTheStory) hit = endOfFailure();
    house.store().checkInvariants();
    for (auto handle : house.store().takeQuarantined()) chunks[handle.value()].failed = true;  // it says so
    house.current = nullptr;
    losesPower ? losePower(call) : memory.killProcess(call);
    auto boot = losesPower ? SECOND_BOOT : FIRST_BOOT;
    if (!inTheStory) {
      failFrom(call);
      auto refusal = house.tryOpen(boot);
      if (house.current == nullptr) EXPECT_GT(refusal.size(), 20u) << "a sentence: " << refusal.cStr();
      KJ_IF_MAYBE (store, house.current) {
        for (auto handle : (*store)->takeQuarantined()) chunks[handle.value()].failed = true;
      }
      house.current = nullptr;
      hit = endOfFailure();
    }
    auto refusal = house.tryOpen(boot);
    if (house.current == nullptr) {
      ADD_FAILURE() << "it does not start again: " << refusal.cStr();
      return;
    }
    // Of those that a start has quarantined before it was refused the report tells.
    for (auto& state : house.store().list(ChunkHandle(), 100)) {
      if (!inTheStory && (state.flags & CORRUPT)) chunks[state.handle.value()].failed = true;
    }
    for (auto& [handle, chunk] : chunks) judge(handle, chunk);
    house.store().checkInvariants();
  }

  bool hit = false;

 private:
  struct Chunk {
    std::string bytes;  // as answered
    struct Range {
      size_t start, end;
    };
    std::vector<Range> torn;      // by what was not answered with ok: anything may be there
    std::vector<Range> unsynced;  // by what was: it survives the process only
    bool failed = false;          // anything about it: it may be gone, or quarantined
  };

  Failure failure;
  std::map<uint64_t, Chunk> chunks;
  unsigned seed = 0;

  void failFrom(uint64_t call) {
    bool once = failure.until == Until::ONCE;
    if (failure.what == What::DISK) {
      disk.failFrom(call, failure.error, once ? FailingDisk::Until::ONCE : FailingDisk::Until::FOR_GOOD);
    } else {
      rocks.failFrom(call, failure.error, once ? FailingRocks::Until::ONCE : FailingRocks::Until::FOR_GOOD);
    }
  }
  bool endOfFailure() {
    disk.recover();
    rocks.recover();
    return disk.hasFailed() || rocks.hasFailed();
  }
  void losePower(uint64_t dice) {
    memory.losePower(dice);
    for (auto& [handle, chunk] : chunks) {
      chunk.torn.insert(chunk.torn.end(), chunk.unsynced.begin(), chunk.unsynced.end());
    }
  }
  Status wait(Async<Status> asked) { return kj::Promise<Status>(kj::mv(asked)).wait(waitScope); }
  static Chunk::Range blocksOf(size_t start, size_t end) {
    return {start / BLOCK_SIZE * BLOCK_SIZE, (end + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE};
  }

  static ChunkHandle named(uint64_t handle) { return ChunkHandle(handle); }
  ChunkKey key(uint64_t handle) {
    auto state = house.store().describe(named(handle));
    return {named(handle), state.map([](ChunkState& it) { return it.version; }).orDefault(ChunkVersion(1))};
  }
  bool note(uint64_t handle, Status status) {
    if (!ok(status)) chunks[handle].failed = true;
    return ok(status);
  }

  void create(uint64_t handle) {
    auto created = house.store().adopt({named(handle), ChunkVersion(0), ChunkVersion(1), nullptr});
    note(handle, kj::Promise<ChunkStore::AdoptAnswer>(kj::mv(created)).wait(waitScope).status);
  }
  void write(uint64_t handle, size_t offset, size_t size) {
    if (house.current == nullptr) house.open();
    if (house.store().describe(named(handle)) == nullptr) create(handle);
    auto bytes = pattern(size, ++seed);
    written(handle, offset, text(bytes), house.write(key(handle), uint32_t(offset), bytes));
  }
  void written(uint64_t handle, size_t offset, std::string bytes, Status status) {
    auto& chunk = chunks[handle];
    auto end = offset + bytes.size();
    if (note(handle, status)) {
      if (chunk.bytes.size() < end) chunk.bytes.resize(end);
      chunk.bytes.replace(offset, bytes.size(), bytes);
      chunk.unsynced.push_back(blocksOf(offset, end));
    } else {
      chunk.torn.push_back(blocksOf(offset, end));
    }
  }
  void sync(uint64_t handle) {
    if (note(handle, house.sync(key(handle)))) chunks[handle].unsynced.clear();
  }
  void raise(uint64_t handle, uint32_t length) {
    auto from = key(handle).version;
    auto raised = house.store().adopt({named(handle), from, ChunkVersion(from.value() + 1), length});
    isCut(handle, length, kj::Promise<ChunkStore::AdoptAnswer>(kj::mv(raised)).wait(waitScope).status);
  }
  void isCut(uint64_t handle, uint32_t length, Status status) {
    auto& chunk = chunks[handle];
    if (note(handle, status)) {
      chunk.bytes.resize(std::min<size_t>(chunk.bytes.size(), length));
    } else {
      chunk.torn.push_back({length / BLOCK_SIZE * BLOCK_SIZE, SIZE_MAX});
    }
  }
  void clone(uint64_t source, uint64_t target, uint32_t bytes) {
    auto answer = kj::Promise<ChunkStore::CloneAnswer>(house.store().clone(key(source), named(target), bytes))
                      .wait(waitScope);
    if (ok(answer.status)) chunks[target].bytes = chunks[source].bytes.substr(0, bytes);
    note(target, answer.status);
    if (!ok(answer.status)) chunks[source].failed = true;  // it may have been found unreadable
  }
  void takeCopy(uint64_t handle, size_t written, size_t hole = 0) {
    // In place of what is there, if anything is. Between its steps another chunk is used, so that it is
    // closed.
    auto bytes = pattern(written + hole, ++seed);
    memset(bytes.begin() + written, 0, hole);
    auto size = bytes.size();
    auto data = bytes.slice(0, written);
    auto sums = pieceSums(data, 0);
    std::vector<uint32_t> table;
    for (size_t at = 0; at < size; at += BLOCK_SIZE)
      table.push_back(env::blockChecksum(bytes.slice(at, std::min(at + BLOCK_SIZE, size))));
    auto& store = house.store();
    auto status = wait(store.stage(named(handle), ChunkVersion(7), key(handle).version));
    if (ok(status)) status = wait(store.cutStaged(named(handle), uint32_t(size)));
    useOthers();
    if (ok(status)) {
      auto ours = kj::Promise<ChunkStore::TableAnswer>(store.stagedTable(named(handle))).wait(waitScope);
      status = ours.status;
    }
    if (ok(status) && written > 0) status = wait(store.writeStaged(named(handle), 0, data, sums));
    if (ok(status)) status = wait(store.syncStaged(named(handle)));
    useOthers();
    if (ok(status)) {
      status = wait(store.commitStaged(named(handle), ChunkVersion(7), uint32_t(size),
                                       kj::arrayPtr(table.data(), table.size())));
    }
    if (note(handle, status)) {
      chunks[handle] = {.bytes = text(bytes)};
    } else {
      chunks[handle].torn.push_back({0, SIZE_MAX});  // a replica that was used up for it
    }
  }
  void useOthers() {
    for (uint64_t handle : {1, 2, 4}) (void)house.read(key(handle), 0, BLOCK_SIZE);
  }
  void reconcile(uint64_t handle, uint32_t length, size_t offset, size_t size) {
    auto& chunk = chunks[handle];
    auto resized = wait(house.store().resizeReconciled(key(handle), length));
    if (length < chunk.bytes.size() || !ok(resized)) {
      isCut(handle, length, resized);
    } else {
      chunk.unsynced.push_back(blocksOf(chunk.bytes.size(), length));
      chunk.bytes.resize(length);
    }
    auto bytes = pattern(size, ++seed);
    auto sums = pieceSums(bytes, uint32_t(offset));
    written(handle, offset, text(bytes),
            wait(house.store().writeReconciled(key(handle), uint32_t(offset), bytes, sums)));
    if (note(handle, wait(house.store().endSuspicion(key(handle))))) chunk.unsynced.clear();
  }
  void tell() {
    write(1, 10'000, 20'000);
    sync(1);
    raise(1, 40'000);
    write(1, 39'000, 5'000);
    write(2, 0, 9'000);
    sync(2);
    clone(4, 3, 20'000);
    takeCopy(6, 70'000);
    takeCopy(7, 20'000);
    kj::Promise<void>(house.store().quarantine(named(9), kj::str("the story says so"))).wait(waitScope);
    chunks[9].failed = true;
    takeCopy(9, 30'000, 50'000);
    takeCopy(10, 20'000);
    reconcile(4, 45'000, 32'768, 10'000);
    reconcile(4, 33'000, 0, 5'000);
    auto removed = wait(house.store().remove(key(5)));
    if (note(5, removed)) chunks.erase(5);
    create(8);  // an older one that is in the way of a new one is made anew
    auto anew = house.store().adopt({named(8), ChunkVersion(0), ChunkVersion(3), nullptr});
    note(8, kj::Promise<ChunkStore::AdoptAnswer>(kj::mv(anew)).wait(waitScope).status);
    chunks[8].failed = true;  // nothing has been written, nothing synced
    note(1, house.verify(key(1)));
    note(4, house.verify(key(4)));
    write(1, 1'000, 3'000), write(4, 30'000, 2'000);  // and nobody syncs them
  }

  void judge(uint64_t handle, const Chunk& chunk) {
    auto state = house.store().describe(named(handle));
    bool isThere = false;
    KJ_IF_MAYBE (known, state) isThere = (known->flags & (CORRUPT | DELETING | STAGING)) == 0;
    if (!isThere) {
      EXPECT_TRUE(chunk.failed) << "chunk " << handle << " is gone, and nothing about it had failed";
      return;
    }
    for (size_t at = 0; at < chunk.bytes.size(); at += BLOCK_SIZE) {
      auto end = std::min(at + BLOCK_SIZE, chunk.bytes.size());
      bool isTorn = std::any_of(chunk.torn.begin(), chunk.torn.end(),
                                [&](auto& range) { return range.start < end && at < range.end; });
      if (isTorn) continue;
      auto got = house.read(key(handle), uint32_t(at), BLOCK_SIZE, ChunkStore::Suspects::ALLOWED);
      auto expected = chunk.bytes.substr(at, end - at);
      EXPECT_EQ(got.status, Status::OK) << "chunk " << handle << " at " << at;
      EXPECT_TRUE(got.bytes.substr(0, expected.size()) == expected) << "chunk " << handle << " at " << at;
      EXPECT_TRUE(got.valid) << "chunk " << handle << " at " << at << ": what was answered with ok";
    }
  }
};

void everyCallFails(Failure failure, uint64_t least) {
  bool makesDirectories = failure.when != When::IN_THE_STORY && failure.what == What::DISK;
  eachInTurn(least, [&](uint64_t& call) {
    Story story(call, failure);
    if (makesDirectories && call == 10) call = 250;  // 256 of them, all alike
    return story.hit;
  });
}

TEST(StoreFailures, ACallThatFailsWithEioLosesNothingThatWasAnswered) {
  everyCallFails({.error = EIO}, 100);
  everyCallFails({.error = EIO, .blocks = Blocks::SHARED}, 100);
}
TEST(StoreFailures, ACallThatFailsForLackOfSpaceLosesNothingThatWasAnswered) {
  everyCallFails({.error = ENOSPC}, 100);
}
TEST(StoreFailures, ADiskThatFailsForGoodLosesNothingThatWasAnswered) {
  everyCallFails({.error = EIO, .until = Until::FOR_GOOD}, 100);
  everyCallFails({.error = EIO, .until = Until::FOR_GOOD, .blocks = Blocks::SHARED}, 100);
}
TEST(StoreFailures, AnIndexThatTakesNoMoreWritesLosesNothingThatWasAnswered) {
  for (int error : {EIO, ENOSPC}) {
    everyCallFails({.error = error, .what = What::INDEX}, 20);
    everyCallFails({.error = error, .until = Until::FOR_GOOD, .what = What::INDEX}, 20);
  }
}
TEST(StoreFailures, AStartThatFailsIsRefusedWithASentenceAndTheNextOneHasEverything) {
  for (auto when : {When::AT_THE_NEXT_START, When::AT_THE_START_AFTER_A_POWER_CUT}) {
    for (auto until : {Until::ONCE, Until::FOR_GOOD}) {
      everyCallFails({.error = EIO, .until = until, .when = when}, 260);
      everyCallFails({.error = EIO, .until = until, .what = What::INDEX, .when = when}, 5);
    }
  }
}

}  // namespace
}  // namespace cairn
