// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "env/checksum.h"

#include <isa-l/crc.h>
#include <kj/debug.h>

namespace cairn::env {

namespace {

alignas(64) const unsigned char ZEROS[CHECKSUM_BLOCK_SIZE] = {};

// ISA-L's crc32_iscsi neither inverts its start value nor its result; both inversions are done here.
uint32_t extend(uint32_t inverted, const unsigned char* bytes, size_t size) {
  constexpr size_t STEP = 1u << 30;  // its length is an int
  while (size > STEP) {
    inverted = crc32_iscsi(const_cast<unsigned char*>(bytes), int(STEP), inverted);
    bytes += STEP;
    size -= STEP;
  }
  return crc32_iscsi(const_cast<unsigned char*>(bytes), int(size), inverted);
}

}  // namespace

uint32_t crc32c(kj::ArrayPtr<const kj::byte> bytes) {
  return ~extend(~0u, bytes.begin(), bytes.size());
}

uint32_t crc32cExtend(uint32_t crc, kj::ArrayPtr<const kj::byte> more) {
  return ~extend(~crc, more.begin(), more.size());
}

uint32_t blockChecksum(kj::ArrayPtr<const kj::byte> block) {
  KJ_REQUIRE(block.size() <= CHECKSUM_BLOCK_SIZE);
  uint32_t inverted = extend(~0u, block.begin(), block.size());
  if (block.size() < CHECKSUM_BLOCK_SIZE)
    inverted = extend(inverted, ZEROS, CHECKSUM_BLOCK_SIZE - block.size());
  return ~inverted;
}

void checksumBlocks(kj::ArrayPtr<const kj::byte> bytes, kj::ArrayPtr<uint32_t> sums) {
  KJ_REQUIRE(sums.size() == blocksOf(bytes.size()), sums.size(), bytes.size());
  for (size_t i = 0; i < sums.size(); i++) {
    size_t start = i * CHECKSUM_BLOCK_SIZE;
    sums[i] = blockChecksum(bytes.slice(start, kj::min(start + CHECKSUM_BLOCK_SIZE, bytes.size())));
  }
}

kj::Array<uint32_t> checksumBlocks(kj::ArrayPtr<const kj::byte> bytes) {
  auto sums = kj::heapArray<uint32_t>(blocksOf(bytes.size()));
  checksumBlocks(bytes, sums);
  return sums;
}

void checksumPieces(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes, kj::Vector<uint32_t>& sums) {
  while (bytes.size() > 0) {
    size_t size = kj::min(bytes.size(), CHECKSUM_BLOCK_SIZE - offset % CHECKSUM_BLOCK_SIZE);
    sums.add(crc32c(bytes.slice(0, size)));
    bytes = bytes.slice(size, bytes.size());
    offset += size;
  }
}

}  // namespace cairn::env
