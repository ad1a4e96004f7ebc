// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/store_format.h"

#include <errno.h>
#include <kj/debug.h>
#include <kj/encoding.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bit>

#include "env/checksum.h"

namespace cairn {

static_assert(std::endian::native == std::endian::little, "formats are little-endian: add the swaps");

namespace {

constexpr kj::StringPtr IDENTITY_MAGIC = "cairn-chunk-store "_kj;
constexpr char SUM_MAGIC[9] = "CAIRNSUM";

template <typename T>
void put(kj::byte* at, T value) {
  memcpy(at, &value, sizeof(value));
}

template <typename T>
T get(const kj::byte* at) {
  T value;
  memcpy(&value, at, sizeof(value));
  return value;
}

kj::String hex(uint64_t value, size_t digits) {
  char text[17];
  snprintf(text, sizeof(text), "%0*llx", int(digits), static_cast<unsigned long long>(value));
  return kj::str(text);
}

kj::Maybe<uint64_t> parseNumber(kj::StringPtr text, int base) {
  if (text.size() == 0) return nullptr;
  char* end;
  errno = 0;
  uint64_t value = strtoull(text.cStr(), &end, base);
  if (*end != '\0' || errno != 0 || text[0] == '-' || text[0] == '+' || text[0] == ' ') return nullptr;
  return value;
}

}  // namespace

StoreIdentity StoreIdentity::clone() const {
  return {kj::str(uuid), cluster, server, epoch, kj::str(boot)};
}

kj::String encodeIdentity(const StoreIdentity& identity) {
  auto body =
      kj::str(IDENTITY_MAGIC, STORE_FORMAT, "\nuuid=", identity.uuid, "\ncluster=", identity.cluster,
              "\nserver=", identity.server, "\nepoch=", identity.epoch, "\nboot=", identity.boot, "\n");
  return kj::str(body, "crc=", hex(env::crc32c(body.asBytes()), 8), "\n");
}

IdentityOrReason decodeIdentity(kj::StringPtr text) {
  auto because = [](auto&&... reason) { return IdentityOrReason{nullptr, kj::str(reason...)}; };
  if (!text.startsWith(IDENTITY_MAGIC)) return because("does not begin like one");

  kj::Maybe<uint64_t> format;
  StoreIdentity identity{kj::String(), {}, {}, {}, kj::String()};
  bool complete = false, sound = true;
  const char* position = text.begin();
  while (position < text.end() && !complete) {
    const char* lineEnd = static_cast<const char*>(memchr(position, '\n', size_t(text.end() - position)));
    if (lineEnd == nullptr) break;
    auto line = kj::heapString(position, size_t(lineEnd - position));
    if (position == text.begin()) {
      format = parseNumber(line.slice(IDENTITY_MAGIC.size()), 10);
      KJ_IF_MAYBE (number, format) {
        if (*number > STORE_FORMAT) {
          return because("is of format ", *number, ", and this program knows formats up to ", STORE_FORMAT);
        }
        if (*number == 0) return because("is of format 0, which never was");
      } else {
        return because("has no format number");
      }
    } else KJ_IF_MAYBE (equals, line.findFirst('=')) {
      auto key = line.slice(0, *equals);
      kj::StringPtr value = line.slice(*equals + 1);
      auto number = [&]() -> uint64_t {
        KJ_IF_MAYBE (parsed, parseNumber(value, 10)) return *parsed;
        sound = false;
        return 0;
      };
      if (key == "uuid"_kj.asArray()) {
        identity.uuid = kj::str(value);
      } else if (key == "boot"_kj.asArray()) {
        identity.boot = kj::str(value);
      } else if (key == "server"_kj.asArray()) {
        identity.server = ServerId(uint32_t(number()));
      } else if (key == "epoch"_kj.asArray()) {
        identity.epoch = Epoch(number());
      } else if (key == "cluster"_kj.asArray()) {
        KJ_IF_MAYBE (id, parseClusterId(value)) {
          identity.cluster = *id;
        } else {
          sound = false;
        }
      } else if (key == "crc"_kj.asArray()) {
        auto body = kj::arrayPtr(text.begin(), size_t(position - text.begin())).asBytes();
        if (value != hex(env::crc32c(body), 8)) return because("does not match its checksum");
        complete = true;
      }
    }
    position = lineEnd + 1;
  }
  if (!complete) return because("is cut short");
  if (!sound || identity.uuid.size() == 0) return because("does not make sense");
  return {kj::mv(identity), kj::String()};
}

namespace {
constexpr kj::Duration CHECK_UNIT = 3 * kj::HOURS;
constexpr kj::Date CHECK_ERA = kj::UNIX_EPOCH + 20454 * kj::DAYS;  // 2026-01-01
}  // namespace

CheckTime checkTimeOf(kj::Date date) {
  if (date < CHECK_ERA) return CheckTime(1);
  return CheckTime(uint16_t(kj::min(uint64_t((date - CHECK_ERA) / CHECK_UNIT) + 1, uint64_t(UINT16_MAX))));
}

uint64_t secondsBetween(CheckTime earlier, CheckTime later) {
  if (earlier >= later) return 0;
  return uint64_t(later.value() - earlier.value()) * uint64_t(CHECK_UNIT / kj::SECONDS);
}

void encodeIndexKey(ChunkHandle handle, kj::byte (&key)[INDEX_KEY_SIZE]) {
  for (size_t i = 0; i < INDEX_KEY_SIZE; i++) key[i] = kj::byte(handle.value() >> (8 * (7 - i)));
}

kj::Maybe<ChunkHandle> decodeIndexKey(kj::ArrayPtr<const kj::byte> key) {
  if (key.size() != INDEX_KEY_SIZE) return nullptr;
  uint64_t value = 0;
  for (kj::byte part : key) value = value << 8 | part;
  return ChunkHandle(value);
}

void encodeIndexRecord(const IndexRecord& record, kj::byte (&bytes)[INDEX_RECORD_SIZE]) {
  put<uint8_t>(bytes + 0, uint8_t(STORE_FORMAT));
  put<uint8_t>(bytes + 1, record.flags);
  put<uint16_t>(bytes + 2, record.checked.value());
  put<uint32_t>(bytes + 4, record.length);
  put<uint64_t>(bytes + 8, record.version.value());
}

kj::Maybe<IndexRecord> decodeIndexRecord(kj::ArrayPtr<const kj::byte> bytes) {
  if (bytes.size() != INDEX_RECORD_SIZE || bytes[0] != STORE_FORMAT) return nullptr;
  IndexRecord record;
  record.flags = bytes[1];
  record.checked = CheckTime(get<uint16_t>(bytes.begin() + 2));
  record.length = get<uint32_t>(bytes.begin() + 4);
  record.version = ChunkVersion(get<uint64_t>(bytes.begin() + 8));
  if (record.length > CHUNK_SIZE) return nullptr;
  return record;
}

kj::String chunkDirectory(ChunkHandle handle) {
  return kj::str("chunks/", hex(handle.value() & 0xff, 2));
}
kj::String dataPath(ChunkHandle handle) {
  return kj::str(chunkDirectory(handle), "/", hex(handle.value(), 16), ".data");
}
kj::String sumPath(ChunkHandle handle) {
  return kj::str(chunkDirectory(handle), "/", hex(handle.value(), 16), ".sum");
}
kj::String quarantinePath(ChunkHandle handle, ChunkVersion version, kj::StringPtr extension) {
  return kj::str("quarantine/", hex(handle.value(), 16), "-v", version, ".", extension);
}

void encodeSumHeader(const SumHeader& header, kj::byte (&bytes)[SUM_HEADER_BYTES]) {
  memset(bytes, 0, sizeof(bytes));
  memcpy(bytes, SUM_MAGIC, 8);
  put<uint32_t>(bytes + 8, STORE_FORMAT);
  put<uint32_t>(bytes + 12, BLOCK_SIZE);
  put<uint64_t>(bytes + 16, header.cluster.high);
  put<uint64_t>(bytes + 24, header.cluster.low);
  put<uint64_t>(bytes + 32, header.handle.value());
  put<uint64_t>(bytes + 40, header.version.value());
  put<uint32_t>(bytes + 60, env::crc32c(kj::arrayPtr(bytes, 60)));
}

SumHeaderOrReason decodeSumHeader(kj::ArrayPtr<const kj::byte> bytes) {
  auto because = [](auto&&... reason) { return SumHeaderOrReason{nullptr, kj::str(reason...)}; };
  if (bytes.size() < SUM_HEADER_BYTES) return because("is cut short in its header");
  auto at = bytes.begin();
  if (memcmp(at, SUM_MAGIC, 8) != 0) return because("does not begin like a checksum file");
  if (get<uint32_t>(at + 60) != env::crc32c(bytes.slice(0, 60))) {
    return because("has a header that does not match its own checksum");
  }
  auto format = get<uint32_t>(at + 8);
  if (format != STORE_FORMAT)
    return because("is of format ", format, ", and this program knows ", STORE_FORMAT);
  if (get<uint32_t>(at + 12) != BLOCK_SIZE)
    return because("has blocks of ", get<uint32_t>(at + 12), " bytes");
  return {SumHeader{{get<uint64_t>(at + 16), get<uint64_t>(at + 24)},
                    ChunkHandle(get<uint64_t>(at + 32)),
                    ChunkVersion(get<uint64_t>(at + 40))},
          kj::String()};
}

uint32_t intentCrc(const IntentSlot& slot) {
  auto start = reinterpret_cast<const kj::byte*>(&slot.format);
  auto end =
      reinterpret_cast<const kj::byte*>(slot.words + size_t(2) * kj::min(slot.count, INTENT_BLOCKS_MAX));
  return env::crc32c(kj::arrayPtr(start, end));
}

}  // namespace cairn
