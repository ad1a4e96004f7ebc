// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The bytes on disk are what docs/disk-format.md says, today and when fields have been added.
#include "metaserver/records.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/encoding.h>

#include <string>

#include "metaserver/keys.h"
#include "metaserver/log_segment.h"

namespace cairn {
namespace {

std::string hex(std::string_view bytes) {
  return kj::encodeHex(kj::arrayPtr(bytes.data(), bytes.size()).asBytes()).cStr();
}

TEST(Records, TheWorkedExampleOfTheDocumentation) {
  SegmentHeader header;
  header.cluster = {0x1122334455667788, 0x99aabbccddeeff00};
  header.epoch = Epoch(2);
  header.first = LogIndex(5);
  header.synced = LogIndex(4);
  auto text = kj::encodeHex(encode(header));
  EXPECT_EQ(kj::str(text.slice(0, 120)),
            "636169726e6c6f67"
            "0100000000000000"
            "8877665544332211"
            "00ffeeddccbbaa99"
            "0200000000000000"
            "0500000000000000"
            "0400000000000000"
            "00000000");
  EXPECT_STREQ(text.slice(120).cStr(), "9c34c28d");
}

TEST(Records, KeysAreALetterAndBigEndianNumbers) {
  EXPECT_EQ(hex(Key(Table::FILE_CHUNKS, 0x0102, 3)),
            "43"
            "0000000000000102"
            "0000000000000003");
  EXPECT_LT(Key(Table::INODES, 255).view(), Key(Table::INODES, 256).view());
  Key key(Table::XATTRS, 7, "user.a");
  KeyReader reader(key);
  EXPECT_EQ(reader.number(), 7u);
  EXPECT_EQ(reader.text(), "user.a");
}

TEST(Records, SipHashIsTheOneOfThePaper) {
  char data[15];  // appendix A of the paper: key 00..0f, data 00..0e
  for (int i = 0; i < 15; ++i) data[i] = char(i);
  EXPECT_EQ(sipHash(0x0706050403020100, 0x0f0e0d0c0b0a0908, kj::arrayPtr(data, 15)), 0xa129ca6149be45e5u);
}

TEST(Records, PlacesArePositiveMultiplesOfEightAndKeyedByTheCluster) {
  for (int i = 0; i < 10000; ++i) {
    auto place = placeOf({1, 2}, kj::str("name-", i));
    ASSERT_EQ(place % SLOTS_PER_HASH, 0u);
    ASSERT_GE(place, COOKIE_MIN);
    ASSERT_LE(place, uint64_t(INT64_MAX));
  }
  EXPECT_NE(placeOf({1, 2}, "a"), placeOf({1, 3}, "a"));
}

TEST(Records, NamesThatShareAHashKeepTheirSlotsWhileOthersComeAndGo) {
  std::string bucket;
  auto slotOf = [&](kj::StringPtr name) {
    return int(KJ_REQUIRE_NONNULL(NameBucket(bucket).find(name)).slot);
  };
  for (auto name : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    bucket = KJ_REQUIRE_NONNULL(NameBucket(bucket).with(name, InodeId(5), FileType::REGULAR));
  }
  EXPECT_TRUE(NameBucket(bucket).with("i", InodeId(5), FileType::REGULAR) == nullptr) << "eight are the most";
  EXPECT_TRUE(NameBucket(bucket).with("h", InodeId(6), FileType::REGULAR) != nullptr)
      << "one of them may change";
  bucket = NameBucket(bucket).without("b");
  EXPECT_EQ(slotOf("h"), 7);
  bucket = KJ_REQUIRE_NONNULL(NameBucket(bucket).with("i", InodeId(9), FileType::DIRECTORY));
  EXPECT_EQ(slotOf("i"), 1) << "the free one";
  EXPECT_EQ(KJ_REQUIRE_NONNULL(NameBucket(bucket).find("i")).inode, InodeId(9));
  EXPECT_TRUE(NameBucket(bucket).find("b") == nullptr);
  for (auto name : {"a", "c", "d", "e", "f", "g", "h", "i"}) bucket = NameBucket(bucket).without(name);
  EXPECT_TRUE(bucket.empty());
}

Inode fullInode() {
  Inode inode;
  auto& attributes = inode.attributes;
  attributes.inode = InodeId(77);
  attributes.type = FileType::BLOCK_DEVICE;
  attributes.mode = 07654;
  attributes.uid = 0xfffffffe, attributes.gid = 2, attributes.links = 3;
  attributes.size = 1ull << 62;
  attributes.atime = -1, attributes.mtime = INT64_MIN, attributes.ctime = INT64_MAX;
  attributes.device = 5, attributes.replicas = 255, attributes.dataVersion = 6;
  attributes.extended = rpc::HAS_XATTRS | rpc::HAS_CAPABILITY;
  inode.parent = InodeId(7);
  inode.chunksEnd = 9;
  inode.xattrBytes = 10, inode.xattrNames = 11;
  inode.zeroBlocks = 12;
  inode.born = 13, inode.trashKeep = 14, inode.marks = 15;
  return inode;
}

TEST(Records, EveryFieldComesBack) {
  auto inode = fullInode();
  EXPECT_EQ(encode(inode).size(), 116u);
  EXPECT_TRUE(decodeInode(InodeId(77), encode(inode)) == inode);
  ChunkRecord chunk{ChunkVersion(9), ChunkVersion(8), 7, 6, 5, 4, LogIndex(3), true};
  EXPECT_TRUE(decodeChunk(encode(chunk)) == chunk);
  auto old = encode(chunk);
  old.resize(old.size() - 1);
  EXPECT_FALSE(decodeChunk(old).uncovered) << "a sync may have covered it before that was recorded";
  NamespaceState state;
  state.cluster = {1, 2};
  state.applied = LogIndex(3);
  state.epoch = Epoch(4);
  state.nextInode = InodeId(5);
  state.nextSession = SessionId(6);
  state.nextServer = ServerId(7);
  state.nextHandle = ChunkHandle(8);
  state.inodes = 9, state.chunks = 10, state.garbage = 11, state.orphans = 12, state.replicas = 13;
  state.trash = 14, state.trashBytes = 15, state.trashKeep = 16, state.trashAge = 17;
  state.quotas = 18, state.counting = Counting::DONE, state.counted = 19, state.toCount = 20;
  EXPECT_TRUE(decodeState(encode(state)) == state);
  Usage usage{1, 2, 3, 4};
  EXPECT_TRUE(decodeUsage(encode(usage)) == usage);
  auto limits = decodeQuota(encode(QuotaLimits{5, 6}));
  EXPECT_EQ(limits.bytes, 5u);
  EXPECT_EQ(limits.inodes, 6u);
  auto links = decodeBacklinks(encode(Backlinks{{InodeId(1), 2}, {InodeId(3), 4}}));
  ASSERT_EQ(links.size(), 2u);
  EXPECT_EQ(links[1].directory, InodeId(3));
  EXPECT_EQ(links[1].names, 4u);
  Departure departure{InodeId(1), "a name", 2, 3, 4};
  EXPECT_TRUE(decodeDeparture(4, encode(departure)) == departure);
  auto orphan = decodeOrphan(encode(OrphanRecord{Linkable::YES, departure}));
  EXPECT_TRUE(orphan.departure == departure);
  EXPECT_EQ(orphan.linkable, Linkable::YES);
  auto whereabouts = decodeWhereabouts(encode(Whereabouts{1, InodeId(2), "a name"}));
  EXPECT_EQ(whereabouts.needed, 1u);
  EXPECT_EQ(whereabouts.parent, InodeId(2));
  EXPECT_EQ(whereabouts.name, "a name");
  Answer answer;
  answer.outcome.status = Status::EXISTS;
  answer.outcome.attributes = inode.attributes;
  answer.outcome.replaced = InodeId(4);
  answer.answered = 5;
  EXPECT_EQ(encode(decodeAnswer(encode(answer))), encode(answer));
}

TEST(Records, AShorterOlderRecordHasDefaults) {
  auto bytes = encode(fullInode());
  auto older = decodeInode(InodeId(77), std::string_view(bytes).substr(0, bytes.size() - 30));
  auto expected = fullInode();
  expected.xattrBytes = expected.xattrNames = 0;
  expected.attributes.extended = 0;
  expected.zeroBlocks = 0;
  expected.born = 0;
  expected.trashKeep = KEEP_AS_CLUSTER;
  expected.marks = 0;
  EXPECT_TRUE(older == expected);
}

TEST(Records, AnOrphanOfFormatOneHadNoDeparture) {
  auto plain = decodeOrphan(encodeBytes(""_kj.asBytes()));
  EXPECT_EQ(plain.linkable, Linkable::NO);
  EXPECT_EQ(plain.departure.until, 0);
  auto linkable = decodeOrphan(encodeBytes("linkable"_kj.asBytes()));
  EXPECT_EQ(linkable.linkable, Linkable::YES);
  EXPECT_EQ(linkable.departure.until, 0);
}

TEST(Records, AnotherFormatIsRefusedWithASentence) {
  auto why = [](auto&& work) {
    std::string text;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions(work)) text = exception->getDescription().cStr();
    return text;
  };
  auto inode = encode(fullInode());
  inode[0] = 9;
  EXPECT_NE(why([&]() { decodeInode(InodeId(1), inode); }).find("a newer one"), std::string::npos);
  auto state = encode(NamespaceState());
  state[1] = 7;
  EXPECT_NE(
      why([&]() {
        decodeState(state);
      }).find(kj::str("the namespace store has format 7, this program knows ", NAMESPACE_FORMAT).cStr()),
      std::string::npos);
}

}  // namespace
}  // namespace cairn
