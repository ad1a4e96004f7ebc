// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Any call of the disk may fail. One story (write, sync, raise, cut, create, clone, copy, remove, verify) is
// told again and again, with the failure one call further on each time, once and for good; then the process
// dies and starts anew on the disk as it is. What was answered with ok is there, or the store has said that
// the chunk is damaged; what was not is told by its checksums or gone; and nothing else has changed.
#include <errno.h>

#include <algorithm>
#include <map>

#include "test/support/failing_disk.h"
#include "test/chunkd/store_house.h"

namespace cairn {
namespace {

using Until = FailingDisk::Until;
enum class When { IN_THE_STORY, AT_THE_NEXT_START };

class Story {
 public:
  Story(uint64_t call, int error, Until until, When when) {
    write(1, 0, 50'000), write(4, 0, 30'000), write(5, 0, 8'000);
    for (uint64_t handle : {1, 4, 5}) EXPECT_EQ(house.sync(key(handle)), Status::OK);
    house.advance(30 * kj::SECONDS);
    house.open();  // with nothing open
    if (when == When::IN_THE_STORY) disk.failFrom(call, error, until);
    tell();
    if (when == When::IN_THE_STORY) house.advance(30 * kj::SECONDS);  // else it dies with much to settle
    hit = disk.hasFailed();
    disk.recover();
    house.store().checkInvariants();
    for (auto handle : house.store().takeQuarantined()) chunks[handle.value()].failed = true;  // it says so
    house.current = nullptr;
    memory.killProcess(call);
    if (when == When::AT_THE_NEXT_START) {
      disk.failFrom(call, error, until);
      auto refusal = house.tryOpen();
      if (house.current == nullptr) EXPECT_GT(refusal.size(), 20u) << "a sentence: " << refusal.cStr();
      KJ_IF_MAYBE (store, house.current) {
        for (auto handle : (*store)->takeQuarantined()) chunks[handle.value()].failed = true;
      }
      house.current = nullptr;
      hit = disk.hasFailed();
      disk.recover();
    }
    auto refusal = house.tryOpen();
    if (house.current == nullptr) {
      ADD_FAILURE() << "it does not start again: " << refusal.cStr();
      return;
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
    std::vector<Range> torn;  // by what was not answered with ok: anything may be there
    bool failed = false;      // anything about it: it may be gone, or quarantined
  };

  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  env::MemoryDisk memory;
  FailingDisk disk{memory};
  std::unique_ptr<rocksdb::Env> rocksdbEnv{rocksdb::NewMemEnv(rocksdb::Env::Default())};
  StoreHouse house{disk, "/store", *rocksdbEnv, waitScope};
  std::map<uint64_t, Chunk> chunks;
  unsigned seed = 0;

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
    auto& chunk = chunks[handle];
    auto end = offset + size;
    if (note(handle, house.write(key(handle), uint32_t(offset), bytes))) {
      if (chunk.bytes.size() < end) chunk.bytes.resize(end);
      chunk.bytes.replace(offset, size, text(bytes));
    } else {
      chunk.torn.push_back(
          {offset / BLOCK_SIZE * BLOCK_SIZE, (end + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE});
    }
  }
  void raise(uint64_t handle, uint32_t length) {
    auto& chunk = chunks[handle];
    auto from = key(handle).version;
    auto raised = house.store().adopt({named(handle), from, ChunkVersion(from.value() + 1), length});
    if (note(handle, kj::Promise<ChunkStore::AdoptAnswer>(kj::mv(raised)).wait(waitScope).status)) {
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
  void takeCopy(uint64_t handle, size_t size) {
    auto bytes = pattern(size, ++seed);
    auto sums = pieceSums(bytes, 0);
    std::vector<uint32_t> table;
    for (size_t at = 0; at < size; at += BLOCK_SIZE)
      table.push_back(env::blockChecksum(bytes.slice(at, std::min(at + BLOCK_SIZE, size))));
    auto wait = [&](Async<Status> asked) { return kj::Promise<Status>(kj::mv(asked)).wait(waitScope); };
    auto status = wait(house.store().stage(named(handle), ChunkVersion(7), ChunkVersion(0)));
    if (ok(status)) status = wait(house.store().writeStaged(named(handle), 0, bytes, sums));
    if (ok(status)) status = wait(house.store().syncStaged(named(handle)));
    if (ok(status)) {
      status = wait(house.store().commitStaged(named(handle), ChunkVersion(7), uint32_t(size),
                                               kj::arrayPtr(table.data(), table.size())));
    }
    if (note(handle, status)) chunks[handle].bytes = text(bytes);
  }
  void tell() {
    write(1, 10'000, 20'000);
    note(1, house.sync(key(1)));
    raise(1, 40'000);
    write(1, 39'000, 5'000);
    write(2, 0, 9'000);
    note(2, house.sync(key(2)));
    clone(4, 3, 20'000);
    takeCopy(6, 70'000);
    auto removed = kj::Promise<Status>(house.store().remove(key(5))).wait(waitScope);
    if (note(5, removed)) chunks.erase(5);
    note(1, house.verify(key(1)));
    note(4, house.verify(key(4)));
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
      auto got = house.read(key(handle), uint32_t(at), BLOCK_SIZE);
      auto expected = chunk.bytes.substr(at, end - at);
      EXPECT_EQ(got.status, Status::OK) << "chunk " << handle << " at " << at;
      EXPECT_TRUE(got.bytes.substr(0, expected.size()) == expected) << "chunk " << handle << " at " << at;
      EXPECT_TRUE(got.valid) << "chunk " << handle << " at " << at << ": what was answered with ok";
    }
  }
};

void everyCallFails(int error, Until until, When when, uint64_t least) {
  uint64_t call = 1;
  for (; call < 1000; ++call) {
    SCOPED_TRACE(testing::Message() << "call " << call << " fails");
    Story story(call, error, until, when);
    if (!story.hit || testing::Test::HasFailure()) break;
  }
  EXPECT_GT(call, least) << "so many calls it takes";
  EXPECT_LT(call, 1000u);
}

TEST(StoreFailures, ACallThatFailsWithEioLosesNothingThatWasAnswered) {
  everyCallFails(EIO, Until::ONCE, When::IN_THE_STORY, 40);
}
TEST(StoreFailures, ACallThatFailsForLackOfSpaceLosesNothingThatWasAnswered) {
  everyCallFails(ENOSPC, Until::ONCE, When::IN_THE_STORY, 40);
}
TEST(StoreFailures, ADiskThatFailsForGoodLosesNothingThatWasAnswered) {
  everyCallFails(EIO, Until::FOR_GOOD, When::IN_THE_STORY, 40);
}
TEST(StoreFailures, AStartThatFailsIsRefusedWithASentenceAndTheNextOneHasEverything) {
  everyCallFails(EIO, Until::ONCE, When::AT_THE_NEXT_START, 5);
  everyCallFails(EIO, Until::FOR_GOOD, When::AT_THE_NEXT_START, 5);
}

}  // namespace
}  // namespace cairn
