// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "env/checksum.h"

#include <gtest/gtest.h>
#include <kj/string.h>
#include <string.h>

namespace cairn::env {
namespace {

kj::Array<kj::byte> filled(size_t size, int (*value)(size_t)) {
  auto bytes = kj::heapArray<kj::byte>(size);
  for (size_t i = 0; i < size; i++) bytes[i] = kj::byte(value(i));
  return bytes;
}

TEST(Checksum, AgreesWithTheTestVectorsOfRfc3720) {  // appendix B.4
  EXPECT_EQ(crc32c(filled(32, [](size_t) { return 0; })), 0x8A9136AAu);
  EXPECT_EQ(crc32c(filled(32, [](size_t) { return 0xff; })), 0x62A8AB43u);
  EXPECT_EQ(crc32c(filled(32, [](size_t i) { return int(i); })), 0x46DD794Eu);
  EXPECT_EQ(crc32c(filled(32, [](size_t i) { return int(31 - i); })), 0x113FDB5Cu);
  EXPECT_EQ(crc32c(kj::StringPtr("123456789").asBytes()), 0xE3069283u);
}

TEST(Checksum, OfAZeroBlockIsTheConstant) {
  EXPECT_EQ(crc32c(filled(CHECKSUM_BLOCK_SIZE, [](size_t) { return 0; })), ZERO_BLOCK_CRC);
  EXPECT_EQ(blockChecksum(nullptr), ZERO_BLOCK_CRC);
}

TEST(Checksum, ExtendsToTheSumOfTheConcatenation) {
  auto bytes = filled(10000, [](size_t i) { return int(i * 7 + i / 251); });
  for (size_t cut : {size_t(0), size_t(1), size_t(4095), size_t(4096), size_t(9999), size_t(10000)}) {
    EXPECT_EQ(crc32cExtend(crc32c(bytes.slice(0, cut)), bytes.slice(cut, bytes.size())), crc32c(bytes))
        << cut;
  }
}

TEST(Checksum, OfAShortBlockIsThatOfTheBlockPaddedWithZeros) {
  auto padded = filled(CHECKSUM_BLOCK_SIZE, [](size_t i) { return i < 1000 ? int(i) + 1 : 0; });
  EXPECT_EQ(blockChecksum(padded.slice(0, 1000)), crc32c(padded));
}

TEST(Checksum, OfManyBlocksIsOneEach) {
  auto bytes = filled(2 * CHECKSUM_BLOCK_SIZE + 5, [](size_t i) { return int(i / 3); });
  auto sums = checksumBlocks(bytes);
  ASSERT_EQ(sums.size(), 3u);
  EXPECT_EQ(sums[0], crc32c(bytes.slice(0, 4096)));
  EXPECT_EQ(sums[1], crc32c(bytes.slice(4096, 8192)));
  EXPECT_EQ(sums[2], blockChecksum(bytes.slice(8192, bytes.size())));
  EXPECT_EQ(checksumBlocks(nullptr).size(), 0u);
}

TEST(Checksum, OfPiecesIsOnePerBlockThatTheyTouchAndWithoutPadding) {
  auto bytes = filled(10'000, [](size_t i) { return int(i * 7); });
  kj::Vector<uint32_t> sums;
  checksumPieces(5 * CHECKSUM_BLOCK_SIZE + 96, bytes, sums);  // 4,000 to the boundary
  checksumPieces(CHECKSUM_BLOCK_SIZE, bytes.slice(0, CHECKSUM_BLOCK_SIZE), sums);
  checksumPieces(1, nullptr, sums);
  ASSERT_EQ(sums.size(), 4u);
  EXPECT_EQ(sums[0], crc32c(bytes.slice(0, 4000)));
  EXPECT_EQ(sums[1], crc32c(bytes.slice(4000, 8096)));
  EXPECT_EQ(sums[2], crc32c(bytes.slice(8096, 10'000)));
  EXPECT_EQ(sums[3], crc32c(bytes.slice(0, CHECKSUM_BLOCK_SIZE)));
}

}  // namespace
}  // namespace cairn::env
