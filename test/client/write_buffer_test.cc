// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What write-behind sends, when, and in which pieces; and that whatever it does, the replicas end up with the
// bytes that were written (random writes against an array, seeded).
#include "client/write_buffer.h"

#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

namespace cairn::client {
namespace {

constexpr uint64_t KIB = 1 << 10, MIB = 1 << 20;
using Urgency = WriteBuffer::Urgency;

struct WriteBufferTest : testing::Test {
  ~WriteBufferTest() noexcept override {}
  BufferPool pool;
  kj::Own<BufferBudget> budget = kj::refcounted<BufferBudget>(pool, 64 * MIB);
  WriteBuffer::Limits limits;
  WriteBuffer buffer{*budget, limits};
  kj::TimePoint now = kj::origin<kj::TimePoint>() + 1 * kj::HOURS;

  void write(uint64_t offset, size_t size, char fill = 'x') {
    // Small pieces come as from a caller who reuses its memory.
    auto memory = kj::heapArray<kj::byte>(size);
    memset(memory.begin(), fill, size);
    auto view = memory.asPtr().asConst();
    buffer.write(offset, Bytes{view, kj::heap(kj::mv(memory))}, now);
    buffer.checkInvariants();
  }
  std::string next(Urgency urgency = Urgency::NONE) {
    // "offset+size" of each extent of what is to be sent now, or "-".
    KJ_IF_MAYBE (outgoing, buffer.next(now, urgency)) {
      buffer.checkInvariants();
      sentIds.push_back(outgoing->id);
      last = std::string(outgoing->bytes.asChars().begin(), outgoing->bytes.size());
      kj::Vector<kj::String> extents;
      for (auto& extent : outgoing->extents) extents.add(kj::str(extent.offset, "+", extent.size));
      return kj::strArray(extents, " ").cStr();
    }
    return "-";
  }
  void done() {
    buffer.done(sentIds.front());
    sentIds.erase(sentIds.begin());
    buffer.checkInvariants();
  }
  std::string here(uint64_t offset, uint64_t size) {
    kj::Vector<Extent> found;
    buffer.overlay(offset, size, found);
    std::string text(size, '.');
    for (auto& extent : found) {
      for (size_t i = 0; i < extent.bytes.size(); ++i)
        text[extent.offset - offset + i] = char(extent.bytes[i]);
    }
    return text;
  }
  std::vector<uint64_t> sentIds;
  std::string last;
};

TEST_F(WriteBufferTest, SmallSequentialWritesBecomeOneMegabyte) {
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(next(), "-");
    write(i * 4 * KIB, 4 * KIB);
  }
  EXPECT_EQ(next(), "0+1048576");
}

TEST_F(WriteBufferTest, OddSizesAreCutAtTheMegabyte) {
  for (int i = 0; i < 11; ++i) write(i * 100'000, 100'000);
  EXPECT_EQ(next(), "0+1048576");
  EXPECT_EQ(next(), "-");
  buffer.flushMark();
  EXPECT_EQ(next(), "1048576+51424");
}

TEST_F(WriteBufferTest, WritesThatArriveInReverseAreGatheredToo) {
  for (int i = 9; i >= 0; --i) write(i * 10, 10, char('0' + i));
  buffer.flushMark();
  EXPECT_EQ(next(), "0+100");
  EXPECT_EQ(last.substr(8, 4), "0011");
}

TEST_F(WriteBufferTest, LargeAlignedMemoryIsKeptWhereItIs) {
  auto memory = kj::heapArray<kj::byte>(MIB);
  auto view = memory.asPtr().asConst();
  buffer.write(4 * KIB, Bytes{view, kj::heap(kj::mv(memory))}, now);
  KJ_IF_MAYBE (outgoing, buffer.next(now, Urgency::NONE)) {
    EXPECT_EQ(outgoing->bytes.begin(), view.begin());
    EXPECT_EQ(outgoing->bytes.size(), MIB);
  } else {
    FAIL() << "a large write waits for nobody";
  }
}

TEST_F(WriteBufferTest, MisalignedMemoryIsCopied) {
  auto memory = kj::heapArray<kj::byte>(MIB + 8);
  auto view = memory.slice(1, MIB + 1).asConst();
  buffer.write(0, Bytes{view, kj::heap(kj::mv(memory))}, now);
  KJ_IF_MAYBE (outgoing, buffer.next(now, Urgency::NONE)) {
    EXPECT_NE(outgoing->bytes.begin(), view.begin());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(outgoing->bytes.begin()) % 8, 0u);
  } else {
    FAIL();
  }
}

TEST_F(WriteBufferTest, NothingCrossesAChunkBoundary) {
  write(CHUNK_SIZE - 256 * KIB, MIB);
  write(2 * uint64_t(CHUNK_SIZE) - 100, 200);
  buffer.flushMark();
  EXPECT_EQ(next(), "66846720+262144");
  EXPECT_EQ(next(), "67108864+786432");
  EXPECT_EQ(next(), "134217628+100");
  EXPECT_EQ(next(), "134217728+100");
}

TEST_F(WriteBufferTest, APartFilledExtentWaitsForNeighboursForTheLingerTime) {
  write(0, 4 * KIB);
  EXPECT_EQ(next(), "-");
  KJ_IF_MAYBE (wake, buffer.lingerEnd(now)) {
    EXPECT_EQ(*wake, now + limits.linger);
    now = *wake;
  } else {
    FAIL();
  }
  EXPECT_EQ(next(), "0+4096");
  EXPECT_EQ(buffer.lingerEnd(now), nullptr);
}

TEST_F(WriteBufferTest, AFlushMakesAllSoFarUrgentAndNothingLater) {
  write(0, 100);
  auto mark = buffer.flushMark();
  write(MIB, 100);
  EXPECT_EQ(next(), "0+100");
  EXPECT_EQ(next(), "-");
  EXPECT_FALSE(buffer.isDone(mark));
  done();
  EXPECT_TRUE(buffer.isDone(mark));
}

TEST_F(WriteBufferTest, UnderMemoryPressureTheOldestGoFirst) {
  write(5 * MIB, 100);
  write(1 * MIB, 100);
  EXPECT_EQ(next(), "-");
  EXPECT_EQ(next(Urgency::MEMORY), "5242880+100");
  EXPECT_EQ(next(Urgency::MEMORY), "1048576+100");
}

TEST_F(WriteBufferTest, SmallExtentsOfAChunkThatAreDueGoInOneMessage) {
  write(9 * MIB, 2, 'b');
  write(CHUNK_SIZE + MIB, 3, 'd');
  write(70 * KIB, 2, 'a');
  write(20 * MIB, 3, 'c');
  write(40 * MIB, 1, '-');  // goes on perhaps
  buffer.flushMark();
  EXPECT_EQ(next(), "71680+2 9437184+2 20971520+3");
  EXPECT_EQ(last, "aabbccc");
  EXPECT_EQ(next(), "68157440+3");
  EXPECT_EQ(next(), "41943040+1");
  EXPECT_EQ(next(), "-");
  EXPECT_EQ(buffer.sentMessages(), 3u);
  EXPECT_EQ(here(71680, 3), "aa.");
  EXPECT_EQ(here(20971520, 4), "ccc.");
  done();
  EXPECT_EQ(here(20971520, 4), "....");
}

TEST_F(WriteBufferTest, ExtentsThatTouchBecomeOneWithinAMessage) {
  write(MIB - 100, 100, 'a');
  write(MIB, 50, 'b');  // another window
  write(5 * MIB, 2, 'c');
  write(50 * MIB, 1);
  buffer.flushMark();
  EXPECT_EQ(next(), "1048476+150 5242880+2");
  EXPECT_EQ(last, std::string(100, 'a') + std::string(50, 'b') + "cc");
}

TEST_F(WriteBufferTest, WhatIsNotDueDoesNotGoAlong) {
  write(0, 100);
  now += limits.linger;
  write(MIB, 100);
  write(2 * MIB, 100);
  EXPECT_EQ(next(), "0+100");
  EXPECT_EQ(next(), "-");
}

TEST_F(WriteBufferTest, WhatIsBlockedDoesNotGoAlong) {
  write(0, 100, 'a');
  buffer.flushMark();
  EXPECT_EQ(next(), "0+100");
  write(MIB, 100);
  write(0, 100, 'b');
  write(2 * MIB, 100);
  write(3 * MIB, 100);
  buffer.flushMark();
  EXPECT_EQ(next(), "1048576+100 2097152+100");
  EXPECT_EQ(next(), "3145728+100");
  EXPECT_EQ(next(), "-");
  done();
  EXPECT_EQ(next(), "0+100");
}

TEST_F(WriteBufferTest, AMessageIsBoundedInExtentsAndInBytes) {
  for (int i = 0; i < 100; ++i) write(i * 64 * KIB, 4 * KIB);
  now += limits.linger;
  EXPECT_NE(next(), "-");
  EXPECT_EQ(last.size(), limits.extentsMax * 4 * KIB);
  EXPECT_NE(next(), "-");
  EXPECT_EQ(last.size(), 35 * 4 * KIB);  // without the very last
  EXPECT_NE(next(), "-");
  EXPECT_EQ(next(), "-");
  for (int i = 0; i < 3; ++i) done();
  for (int i = 0; i < 41; ++i) write(i * 64 * KIB, 32 * KIB);
  buffer.flushMark();
  EXPECT_NE(next(), "-");
  EXPECT_EQ(last.size(), MIB);
  EXPECT_NE(next(), "-");
  EXPECT_EQ(last.size(), 8 * 32 * KIB);
}

TEST_F(WriteBufferTest, LargeExtentsGoByThemselves) {
  write(0, 33 * KIB);
  write(MIB, 4 * KIB);
  write(2 * MIB, 4 * KIB);
  write(3 * MIB, 100);
  buffer.flushMark();
  EXPECT_EQ(next(), "0+33792");
  EXPECT_EQ(next(), "1048576+4096 2097152+4096");
}

TEST_F(WriteBufferTest, InFlightIsBoundedInExtents) {
  for (uint64_t i = 0; i < 4 * limits.extentsMax; ++i) write(i * 64 * KIB, 100);
  for (uint64_t i = 1; i < 600; ++i) write(i * CHUNK_SIZE, 100);
  now += limits.linger;
  for (int i = 0; i < 4; ++i) EXPECT_NE(next(), "-");
  for (size_t i = 4 * limits.extentsMax; i < limits.sentCountMax; ++i) EXPECT_NE(next(), "-");
  EXPECT_EQ(next(), "-");
  done();
  for (size_t i = 0; i < limits.extentsMax; ++i) EXPECT_NE(next(), "-");
  EXPECT_EQ(next(), "-");
}

TEST_F(WriteBufferTest, InFlightIsBoundedInBytes) {
  for (int i = 0; i < 20; ++i) write(i * MIB, MIB);
  for (int i = 0; i < 16; ++i) EXPECT_NE(next(), "-");
  EXPECT_EQ(next(), "-");
  done();
  EXPECT_NE(next(), "-");
}

TEST_F(WriteBufferTest, ALaterOverlappingWriteWaitsForTheEarlierOne) {
  write(0, 100, 'a');
  buffer.flushMark();
  EXPECT_EQ(next(), "0+100");
  write(50, 100, 'b');
  buffer.flushMark();
  EXPECT_EQ(next(), "-");
  done();
  EXPECT_EQ(next(), "50+100");
  EXPECT_EQ(last, std::string(100, 'b'));
}

TEST_F(WriteBufferTest, ABlockedExtentDoesNotHoldUpOthers) {
  write(0, 100);
  buffer.flushMark();
  EXPECT_EQ(next(), "0+100");
  write(0, 100);
  write(MIB, 100);
  buffer.flushMark();
  EXPECT_EQ(next(), "1048576+100");
}

TEST_F(WriteBufferTest, NewerBytesCoverOlderOnes) {
  write(0, 10, 'a');
  buffer.flushMark();
  next();
  write(2, 2, 'b');
  write(6, 8, 'c');
  write(7, 1, 'd');
  EXPECT_EQ(here(0, 16), "aabbaacdcccccc..");
  EXPECT_EQ(here(3, 4), "baac");
  done();
  EXPECT_EQ(here(0, 16), "..bb..cdcccccc..");
}

TEST_F(WriteBufferTest, WhatAReaderHoldsDoesNotChange) {
  write(0, 8, 'a');
  kj::Vector<Extent> found;
  buffer.overlay(0, 8, found);
  write(2, 2, 'b');
  write(8, 2, 'c');
  EXPECT_EQ(found[0].bytes[2], 'a');
  EXPECT_EQ(here(0, 10), "aabbaaaacc");
}

TEST_F(WriteBufferTest, ACutDropsWhatWaitsBehindIt) {
  write(0, 100);
  write(MIB, 100);
  write(2 * MIB, 100);
  buffer.truncate(MIB + 30);
  EXPECT_EQ(buffer.end(), MIB + 30);
  buffer.flushMark();
  EXPECT_EQ(next(), "0+100 1048576+30");
  EXPECT_TRUE(buffer.sentBeyond(MIB));
  EXPECT_FALSE(buffer.sentBeyond(MIB + 30));
}

TEST_F(WriteBufferTest, TellsTheLowestExtentBeyondALength) {
  EXPECT_EQ(buffer.lowestBeyond(0), UINT64_MAX);
  write(1000, 100);
  write(5000, 100);
  EXPECT_EQ(buffer.lowestBeyond(0), 1000u);
  EXPECT_EQ(buffer.lowestBeyond(1050), 1000u);
  EXPECT_EQ(buffer.lowestBeyond(1100), 5000u);
}

TEST_F(WriteBufferTest, TheBudgetIsChargedForAsLongAsAnybodyHoldsTheMemory) {
  write(0, MIB);
  EXPECT_GE(budget->used(), MIB);
  auto outgoing = KJ_ASSERT_NONNULL(buffer.next(now, Urgency::NONE));
  buffer.done(outgoing.id);
  EXPECT_GE(budget->used(), MIB);
  outgoing.memory = nullptr;
  EXPECT_EQ(budget->used(), 0u);
}

TEST_F(WriteBufferTest, EndsAreAsTheyWereWrittenWhateverTheAlignment) {
  // A message's last word is padded: the padding must not become part of the extent.
  write(3, 13, 'q');
  buffer.flushMark();
  EXPECT_EQ(next(), "3+13");
  EXPECT_EQ(last, std::string(13, 'q'));
}

struct Model {
  // A file of 3 windows around a chunk boundary as it should be, and as the replicas have it.
  static constexpr uint64_t BASE = CHUNK_SIZE - MIB - MIB / 2, SIZE = 3 * MIB;
  std::vector<uint8_t> wanted = std::vector<uint8_t>(SIZE), replica = std::vector<uint8_t>(SIZE);
};

void runRandom(uint64_t seed) {
  SCOPED_TRACE(kj::str("CAIRN_SEED=", seed).cStr());
  std::mt19937_64 random(seed);
  auto below = [&](uint64_t n) { return random() % n; };
  BufferPool pool;
  auto budget = kj::refcounted<BufferBudget>(pool, 8 * MIB);
  WriteBuffer::Limits limits;
  limits.keepSizeMin = 64 * KIB;
  limits.sentCountMax = 1 + below(40);
  limits.extentsMax = 1 + below(20);
  {
    WriteBuffer buffer(*budget, limits);
    Model model;
    auto now = kj::origin<kj::TimePoint>();
    std::vector<WriteBuffer::Outgoing> flying;
    auto overlaps = [](const WriteBuffer::Outgoing& left, const WriteBuffer::Outgoing& right) {
      for (auto& a : left.extents) {
        for (auto& b : right.extents) {
          if (a.offset < b.offset + b.size && b.offset < a.offset + a.size) return true;
        }
      }
      return false;
    };
    auto apply = [&](const WriteBuffer::Outgoing& outgoing) {
      auto rest = outgoing.bytes;
      for (auto& extent : outgoing.extents) {
        memcpy(&model.replica[extent.offset - Model::BASE], rest.begin(), extent.size);
        rest = rest.slice(extent.size, rest.size());
      }
      KJ_ASSERT(rest.size() == 0);
      buffer.done(outgoing.id);
    };
    uint64_t sequential = 0;

    for (int step = 0; step < 600; ++step) {
      now += below(20) * kj::MILLISECONDS;
      auto action = below(10);
      if (action < 5) {
        static constexpr uint64_t SIZES[] = {1, 7, 512, 4096, 5000, 65536, 70000, 131072, MIB};
        uint64_t size = SIZES[below(9)];
        uint64_t at = below(3) == 0 ? sequential
                      : below(2)    ? below(Model::SIZE)
                                    : below(Model::SIZE / 4096) * 4096;
        size = std::min(size, Model::SIZE - at);
        if (size == 0) continue;
        sequential = (at + size) % Model::SIZE;
        auto memory = kj::heapArray<kj::byte>(size + 8);
        uint64_t word = random();
        for (size_t i = 0; i + 8 <= memory.size(); i += 8) {
          memcpy(memory.begin() + i, &(word += 0x9e3779b97f4a7c15), 8);
        }
        size_t shift = below(3) == 0 ? below(8) : 0;
        auto view = memory.slice(shift, shift + size).asConst();
        memcpy(&model.wanted[at], view.begin(), size);
        buffer.write(Model::BASE + at, Bytes{view, kj::heap(kj::mv(memory))}, now);
      } else if (action < 7) {
        auto urgency = below(4) == 0 ? Urgency::MEMORY : Urgency::NONE;
        KJ_IF_MAYBE (outgoing, buffer.next(now, urgency)) {
          for (auto& other : flying) ASSERT_FALSE(overlaps(other, *outgoing));
          ASSERT_EQ(outgoing->offset() / CHUNK_SIZE, (outgoing->end() - 1) / CHUNK_SIZE);
          ASSERT_LE(outgoing->bytes.size(), TRANSFER_SIZE_MAX);
          ASSERT_EQ(reinterpret_cast<uintptr_t>(outgoing->bytes.begin()) % 8, 0u);
          flying.push_back(kj::mv(*outgoing));
        }
      } else if (action < 9) {
        if (flying.empty()) continue;
        auto which = flying.begin() + below(flying.size());
        apply(*which);
        flying.erase(which);
      } else if (below(8) == 0) {
        buffer.flushMark();
      } else if (below(4) == 0) {
        buffer.urge(Model::BASE + below(Model::SIZE), 100'000);
      } else {
        uint64_t at = below(Model::SIZE), size = below(Model::SIZE - at) + 1;
        auto seen = std::vector<uint8_t>(&model.replica[at], &model.replica[at] + size);
        kj::Vector<Extent> found;
        buffer.overlay(Model::BASE + at, size, found);
        uint64_t end = 0;
        for (auto& extent : found) {
          ASSERT_GE(extent.offset, end);
          ASSERT_LE(extent.end(), Model::BASE + at + size);
          end = extent.end();
          memcpy(&seen[extent.offset - Model::BASE - at], extent.bytes.begin(), extent.bytes.size());
        }
        ASSERT_EQ(memcmp(seen.data(), &model.wanted[at], size), 0) << "read at " << at << "+" << size;
        ASSERT_EQ(found.empty(), !buffer.overlaps(Model::BASE + at, size));
      }
      buffer.checkInvariants();
    }

    auto mark = buffer.flushMark();
    while (!buffer.isDone(mark)) {
      KJ_IF_MAYBE (outgoing, buffer.next(now, Urgency::NONE)) {
        flying.push_back(kj::mv(*outgoing));
        continue;
      }
      ASSERT_FALSE(flying.empty()) << "a flush that cannot go on";
      apply(flying.back());
      flying.pop_back();
    }
    EXPECT_TRUE(buffer.isEmpty());
    EXPECT_EQ(buffer.waitingBytes(), 0u);
    EXPECT_TRUE(model.wanted == model.replica);
  }
  EXPECT_EQ(budget->used(), 0u);
}

TEST(WriteBufferModel, RandomWritesReachTheReplicasAsTheyWereMade) {
  if (auto seed = getenv("CAIRN_SEED")) return runRandom(strtoull(seed, nullptr, 10));
  for (uint64_t seed = 1; seed <= 15 && !testing::Test::HasFailure(); ++seed) runRandom(seed);
}

}  // namespace
}  // namespace cairn::client
