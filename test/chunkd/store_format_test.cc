// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/store_format.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <string.h>

#include <set>
#include <string>

#include "chunkd/intents.h"
#include "chunkd/range_locks.h"
#include "env/memory_disk.h"

namespace cairn {
namespace {

StoreIdentity example() {
  return {kj::str("00112233445566778899aabbccddeeff"), ClusterId{1, 2}, ServerId(7), Epoch(9),
          kj::str("boot")};
}

std::string replaced(kj::StringPtr text, const char* from, const char* to) {
  std::string result = text.cStr();
  result.replace(result.find(from), strlen(from), to);
  return result;
}

TEST(IdentityFormat, WhatWasWrittenIsRead) {
  auto decoded = decodeIdentity(encodeIdentity(example()));
  auto& identity = KJ_ASSERT_NONNULL(decoded.identity, decoded.reason);
  EXPECT_EQ(identity.uuid, "00112233445566778899aabbccddeeff");
  EXPECT_EQ(identity.cluster, (ClusterId{1, 2}));
  EXPECT_EQ(identity.server, ServerId(7));
  EXPECT_EQ(identity.epoch, Epoch(9));
  EXPECT_EQ(identity.boot, "boot");
}

TEST(IdentityFormat, ANewerFormatIsNamed) {
  auto text = replaced(encodeIdentity(example()), "store 1", "store 2");
  EXPECT_EQ(decodeIdentity(text.c_str()).reason, "is of format 2, and this program knows formats up to 1");
}

TEST(IdentityFormat, EveryChangedByteAndEveryCutIsNoticed) {
  std::string whole = encodeIdentity(example()).cStr();
  for (size_t i = 0; i < whole.size(); i++) {
    auto cut = whole.substr(0, i);
    EXPECT_TRUE(decodeIdentity(cut.c_str()).identity == nullptr) << "cut at " << i;
    auto flipped = whole;
    flipped[i] ^= 1;
    EXPECT_TRUE(decodeIdentity(flipped.c_str()).identity == nullptr) << "flipped at " << i;
  }
}

TEST(IndexFormat, WhatWasWrittenIsReadAndTheRestRefused) {
  kj::byte bytes[INDEX_RECORD_SIZE];
  encodeIndexRecord({ChunkVersion(5), 4097, UNSYNCED | FRESH}, bytes);
  auto decoded = KJ_ASSERT_NONNULL(decodeIndexRecord(kj::arrayPtr(bytes, sizeof(bytes))));
  EXPECT_EQ(decoded.version, ChunkVersion(5));
  EXPECT_EQ(decoded.length, 4097u);
  EXPECT_TRUE(decoded.has(UNSYNCED) && decoded.has(FRESH) && !decoded.has(CORRUPT));
  EXPECT_TRUE(decodeIndexRecord(kj::arrayPtr(bytes, sizeof(bytes) - 1)) == nullptr);
  bytes[0] = 2;
  EXPECT_TRUE(decodeIndexRecord(kj::arrayPtr(bytes, sizeof(bytes))) == nullptr);
}

TEST(IndexFormat, KeysSortAsHandlesDo) {
  kj::byte low[INDEX_KEY_SIZE], high[INDEX_KEY_SIZE];
  encodeIndexKey(ChunkHandle(0xff), low);
  encodeIndexKey(ChunkHandle(0x100), high);
  EXPECT_LT(memcmp(low, high, sizeof(low)), 0);
  EXPECT_EQ(KJ_ASSERT_NONNULL(decodeIndexKey(kj::arrayPtr(high, sizeof(high)))), ChunkHandle(0x100));
}

TEST(ChunkPaths, SpreadOver256DirectoriesByTheLastDigits) {
  EXPECT_EQ(dataPath(ChunkHandle(0x12ab)), "chunks/ab/00000000000012ab.data");
  EXPECT_EQ(sumPath(ChunkHandle(0x12ab)), "chunks/ab/00000000000012ab.sum");
  EXPECT_EQ(quarantinePath(ChunkHandle(0x12ab), ChunkVersion(3), "data"),
            "quarantine/00000000000012ab-v3.data");
}

TEST(SumHeaderFormat, EveryFlippedBitIsNoticed) {
  kj::byte bytes[SUM_HEADER_BYTES];
  encodeSumHeader({ClusterId{1, 2}, ChunkHandle(3), ChunkVersion(4)}, bytes);
  auto all = kj::arrayPtr(bytes, sizeof(bytes));
  auto decoded = decodeSumHeader(all);
  auto& header = KJ_ASSERT_NONNULL(decoded.header);
  EXPECT_EQ(header.cluster, (ClusterId{1, 2}));
  EXPECT_EQ(header.handle, ChunkHandle(3));
  EXPECT_EQ(header.version, ChunkVersion(4));
  for (size_t bit = 0; bit < 8 * SUM_HEADER_BYTES; bit++) {
    bytes[bit / 8] ^= kj::byte(1 << bit % 8);
    EXPECT_TRUE(decodeSumHeader(all).header == nullptr) << bit;
    bytes[bit / 8] ^= kj::byte(1 << bit % 8);
  }
  EXPECT_TRUE(decodeSumHeader(all.slice(0, 63)).header == nullptr);
}

struct IntentsTest : testing::Test {
  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  env::MemoryDisk disk;
  kj::Own<Intents> intents = open();
  kj::Own<Intents> open() {
    auto mapped = disk.map("intents", INTENT_SLOTS * INTENT_SLOT_SIZE);
    return kj::heap<Intents>(kj::mv(KJ_ASSERT_NONNULL(mapped.mapping)));
  }
  static constexpr uint32_t WORDS[] = {1, 2, 3};
  kj::Maybe<Intents::Armed> arm(uint64_t handle) { return intents->arm(intentOf(handle)); }
  static Intents::Intent intentOf(uint64_t handle) {
    return {IntentKind::WRITE, ChunkHandle(handle), ChunkVersion(1), 10, 0, WORDS, WORDS};
  }
  kj::Vector<Intents::Armed> armAll() {
    kj::Vector<Intents::Armed> armed;
    for (size_t i = 0; i < INTENT_SLOTS; i++) {
      auto one = arm(i + 1);
      armed.add(kj::mv(KJ_ASSERT_NONNULL(one)));
    }
    EXPECT_TRUE(arm(999) == nullptr);
    return armed;
  }
  std::set<uint64_t> handlesFound() {
    std::set<uint64_t> handles;
    for (auto& slot : open()->found()) handles.insert(slot.handle);
    return handles;
  }
  ~IntentsTest() noexcept override {}
};

TEST_F(IntentsTest, AnArmedIntentIsFoundByTheNextProcessAndAClearedOneIsNot) {
  auto cleared = arm(1);
  auto kept = arm(2);
  KJ_ASSERT_NONNULL(cleared).clear();
  auto found = open()->found();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].handle, 2u);
  EXPECT_EQ(found[0].firstBlock, 10u);
  EXPECT_EQ(found[0].count, 3u);
  EXPECT_EQ(found[0].words[2], 3u);
}

TEST_F(IntentsTest, AHalfWrittenSlotIsIgnored) {
  auto kept = arm(2);
  auto mapped = disk.map("intents", INTENT_SLOTS * INTENT_SLOT_SIZE);
  reinterpret_cast<IntentSlot*>(KJ_ASSERT_NONNULL(mapped.mapping)->bytes().begin())->words[1] = 99;
  EXPECT_EQ(open()->found().size(), 0u);
}

TEST_F(IntentsTest, WhenAllSlotsAreTakenTheNextOnesWaitAndAreArmedInTheirOrder) {
  auto armed = armAll();
  auto first = intents->armInTurn(intentOf(1001)), second = intents->armInTurn(intentOf(1002));
  EXPECT_FALSE(first.poll(waitScope));
  armed.back().clear();
  EXPECT_TRUE(arm(999) == nullptr) << "the slot is promised";
  EXPECT_TRUE(first.poll(waitScope));
  EXPECT_FALSE(second.poll(waitScope));
  EXPECT_EQ(handlesFound().count(1001), 1u);
  EXPECT_EQ(handlesFound().count(1002), 0u);
  auto one = first.wait(waitScope);
  KJ_ASSERT_NONNULL(one).clear();
  EXPECT_TRUE(second.wait(waitScope) != nullptr);
  EXPECT_EQ(handlesFound().count(1001), 0u);
  EXPECT_EQ(handlesFound().count(1002), 1u);
}

TEST_F(IntentsTest, WhoGivesUpWaitingIsPassedOver) {
  auto armed = armAll();
  auto quitter = kj::heap(intents->armInTurn(intentOf(1001)));
  auto next = intents->armInTurn(intentOf(1002));
  quitter = nullptr;
  armed.back().clear();
  EXPECT_TRUE(next.poll(waitScope));
  EXPECT_EQ(handlesFound().count(1001), 0u);
}

TEST_F(IntentsTest, WhenAllSlotsAreLeftNobodyWaitsUntilSomeAreForgotten) {
  auto armed = armAll();
  auto waiter = intents->armInTurn(intentOf(1001));
  for (auto& one : armed) one.leave();
  EXPECT_TRUE(waiter.wait(waitScope) == nullptr);
  EXPECT_TRUE(intents->armInTurn(intentOf(1002)).wait(waitScope) == nullptr);
  intents->forget(ChunkHandle(7));
  EXPECT_TRUE(arm(1003) != nullptr);
}

TEST(RangeLocks, OverlappingWritesTakeTurnsInOrderAndOthersRunBesideThem) {
  kj::EventLoop loop;
  kj::WaitScope waitScope(loop);
  RangeLocks locks;
  auto first = locks.enter(0, 4, RangeLocks::Mode::EXCLUSIVE);
  auto second = locks.enter(3, 6, RangeLocks::Mode::EXCLUSIVE);
  auto third = locks.enter(5, 8, RangeLocks::Mode::EXCLUSIVE);
  auto apart = locks.enter(8, 9, RangeLocks::Mode::EXCLUSIVE);
  EXPECT_TRUE(first->granted() && apart->granted());
  EXPECT_FALSE(second->granted() || third->granted());
  auto turn = second->whenGranted();
  first = nullptr;
  EXPECT_TRUE(turn.poll(waitScope));
  EXPECT_FALSE(third->granted());
  second = nullptr;
  EXPECT_TRUE(third->granted());
}

TEST(RangeLocks, ReadsShareAndAWriterComesBetweenEarlierAndLaterReads) {
  RangeLocks locks;
  auto one = locks.enter(0, 4, RangeLocks::Mode::SHARED);
  auto two = locks.enter(0, 4, RangeLocks::Mode::SHARED);
  auto writer = locks.enter(2, 3, RangeLocks::Mode::EXCLUSIVE);
  auto late = locks.enter(0, 4, RangeLocks::Mode::SHARED);
  EXPECT_TRUE(one->granted() && two->granted());
  EXPECT_FALSE(writer->granted() || late->granted());
  one = nullptr;
  EXPECT_FALSE(writer->granted());
  two = nullptr;
  EXPECT_TRUE(writer->granted());
  EXPECT_FALSE(late->granted());
  writer = nullptr;
  EXPECT_TRUE(late->granted());
}

TEST(RangeLocks, AWaiterThatGivesUpLetsTheNextGo) {
  RangeLocks locks;
  auto holder = locks.enter(0, 1, RangeLocks::Mode::SHARED);
  auto quitter = locks.enter(0, 1, RangeLocks::Mode::EXCLUSIVE);
  auto next = locks.enter(0, 1, RangeLocks::Mode::SHARED);
  EXPECT_FALSE(next->granted());
  quitter = nullptr;
  EXPECT_TRUE(next->granted());
}

}  // namespace
}  // namespace cairn
