// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See synced_mark.h.
#include "metaserver/synced_mark.h"

#include <kj/debug.h>

#include <cstring>

#include "env/checksum.h"

namespace cairn {

namespace {

constexpr char MAGIC[] = "cairnsyn";
constexpr size_t FILE_SIZE = 4096, SLOTS = 2, SLOT_SIZE = 64, CRC_AT = 40;

uint64_t load(kj::ArrayPtr<const kj::byte> bytes, size_t at) {
  uint64_t result = 0;
  for (size_t i = 0; i < 8; ++i) result |= uint64_t(bytes[at + i]) << (8 * i);
  return result;
}

void store(kj::ArrayPtr<kj::byte> bytes, size_t at, uint64_t value, size_t size = 8) {
  for (size_t i = 0; i < size; ++i) bytes[at + i] = kj::byte(value >> (8 * i));
}

bool isWhole(kj::ArrayPtr<const kj::byte> slot) {
  return memcmp(slot.begin(), MAGIC, 8) == 0 &&
         env::crc32c(slot.slice(0, CRC_AT)) == uint32_t(load(slot, CRC_AT) & 0xffffffff);
}

}  // namespace

SyncedMark::SyncedMark(env::Disk& disk, kj::StringPtr directory) {
  auto mapped = disk.map(kj::str(directory, "/SYNCED"), FILE_SIZE);
  problem = mapped.error;
  mapping = kj::mv(mapped.mapping);
}

kj::ArrayPtr<kj::byte> SyncedMark::slot(size_t number) {
  return KJ_ASSERT_NONNULL(mapping)->bytes().slice(number * SLOT_SIZE, (number + 1) * SLOT_SIZE);
}

LogIndex SyncedMark::read(ClusterId cluster) {
  LogIndex synced;
  if (mapping == nullptr) return synced;
  for (size_t i = 0; i < SLOTS; ++i) {
    auto bytes = slot(i);
    if (!isWhole(bytes) || load(bytes, 8) <= count) continue;
    count = load(bytes, 8);
    bool ours = ClusterId{load(bytes, 16), load(bytes, 24)} == cluster;
    synced = ours ? LogIndex(load(bytes, 32)) : LogIndex();
  }
  return synced;
}

void SyncedMark::write(ClusterId cluster, LogIndex synced) {
  if (mapping == nullptr) return;
  auto bytes = slot(++count % SLOTS);
  memcpy(bytes.begin(), MAGIC, 8);
  store(bytes, 8, count);
  store(bytes, 16, cluster.high);
  store(bytes, 24, cluster.low);
  store(bytes, 32, synced.value());
  store(bytes, CRC_AT, env::crc32c(bytes.slice(0, CRC_AT)), 4);
}

}  // namespace cairn
