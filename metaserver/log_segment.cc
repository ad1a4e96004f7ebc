// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/log_segment.h"

#include <capnp/serialize.h>
#include <kj/debug.h>
#include <kj/io.h>

#include <charconv>
#include <cstdio>
#include <cstring>

#include "env/checksum.h"

namespace cairn {

namespace {

constexpr char MAGIC[] = "cairnlog";

template <typename T>
void store(kj::ArrayPtr<kj::byte> bytes, size_t at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes[at + i] = kj::byte(uint64_t(value) >> (8 * i));
}

template <typename T>
T load(kj::ArrayPtr<const kj::byte> bytes, size_t at) {
  uint64_t result = 0;
  for (size_t i = 0; i < sizeof(T); ++i) result |= uint64_t(bytes[at + i]) << (8 * i);
  return static_cast<T>(result);
}

kj::Maybe<LogRecord> recordAt(kj::ArrayPtr<const kj::byte> file, size_t at) {
  if (file.size() - at < RECORD_HEADER_SIZE) return nullptr;
  auto length = load<uint32_t>(file, at);
  if (length == 0 || length % 8 != 0 || length > OPERATION_SIZE_MAX) return nullptr;
  if (length > file.size() - at - RECORD_HEADER_SIZE) return nullptr;
  auto covered = file.slice(at + 8, at + RECORD_HEADER_SIZE + length);
  if (env::crc32c(covered) != load<uint32_t>(file, at + 4)) return nullptr;
  return LogRecord{LogIndex(load<uint64_t>(file, at + 8)), LogIndex(load<uint64_t>(file, at + 16)),
                   covered.slice(RECORD_HEADER_SIZE - 8, covered.size())};
}

bool knownSynced(kj::ArrayPtr<const kj::byte> file, size_t from, LogIndex lost) {
  // Whether a whole record after the damage says that operation `lost` was on stable storage. Records stand
  // at multiples of 8.
  for (size_t at = (from + 7) / 8 * 8; at + RECORD_HEADER_SIZE < file.size(); at += 8) {
    auto index = load<uint64_t>(file, at + 8);
    if (index <= lost.value() || index - lost.value() > file.size())
      continue;  // not a later record of this file
    KJ_IF_MAYBE (record, recordAt(file, at)) {
      if (record->synced >= lost) return true;
    }
  }
  return false;
}

}  // namespace

kj::String segmentName(LogIndex first) {
  char text[32];
  snprintf(text, sizeof(text), "%016llx.log", static_cast<unsigned long long>(first.value()));
  return kj::str(text);
}

kj::Maybe<LogIndex> parseSegmentName(kj::StringPtr name) {
  uint64_t index = 0;
  (void)std::from_chars(name.begin(), name.end(), index, 16);
  if (segmentName(LogIndex(index)) != name) return nullptr;
  return LogIndex(index);
}

kj::Array<kj::byte> encode(const SegmentHeader& header) {
  auto bytes = kj::heapArray<kj::byte>(SEGMENT_HEADER_SIZE);
  memset(bytes.begin(), 0, bytes.size());
  memcpy(bytes.begin(), MAGIC, 8);
  store(bytes, 8, header.format);
  store(bytes, 16, header.cluster.high);
  store(bytes, 24, header.cluster.low);
  store(bytes, 32, header.epoch.value());
  store(bytes, 40, header.first.value());
  store(bytes, 48, header.synced.value());
  store(bytes, 60, env::crc32c(bytes.slice(0, 60)));
  return bytes;
}

kj::Maybe<SegmentHeader> decodeHeader(kj::ArrayPtr<const kj::byte> bytes) {
  if (bytes.size() < SEGMENT_HEADER_SIZE || memcmp(bytes.begin(), MAGIC, 8) != 0) return nullptr;
  SegmentHeader header;
  header.format = load<uint32_t>(bytes, 8);
  if (env::crc32c(bytes.slice(0, 60)) != load<uint32_t>(bytes, 60)) return nullptr;
  if (header.format != LOG_FORMAT) return header;
  header.cluster = {load<uint64_t>(bytes, 16), load<uint64_t>(bytes, 24)};
  header.epoch = Epoch(load<uint64_t>(bytes, 32));
  header.first = LogIndex(load<uint64_t>(bytes, 40));
  header.synced = LogIndex(load<uint64_t>(bytes, 48));
  return header;
}

size_t recordSize(LoggedOperation& operation) {
  return RECORD_HEADER_SIZE + capnp::computeSerializedSizeInWords(operation.builder()) * sizeof(capnp::word);
}

void writeRecord(kj::ArrayPtr<kj::byte> into, LoggedOperation& operation, LogIndex index, LogIndex synced) {
  store(into, 0, uint32_t(into.size() - RECORD_HEADER_SIZE));
  store(into, 8, index.value());
  store(into, 16, synced.value());
  kj::ArrayOutputStream out(into.slice(RECORD_HEADER_SIZE, into.size()));
  capnp::writeMessage(out, operation.builder());
  KJ_ASSERT(out.getArray().size() == into.size() - RECORD_HEADER_SIZE);
  store(into, 4, env::crc32c(into.slice(8, into.size())));
}

SegmentScan scanRecords(kj::ArrayPtr<const kj::byte> file, LogIndex first) {
  SegmentScan scan;
  size_t at = SEGMENT_HEADER_SIZE;
  LogIndex next = first;
  while (at < file.size()) {
    auto record = recordAt(file, at);
    if (record == nullptr || KJ_REQUIRE_NONNULL(record).index != next) {
      scan.tail = knownSynced(file, at, next) ? SegmentScan::Tail::DAMAGED : SegmentScan::Tail::UNSYNCED;
      break;
    }
    auto& found = KJ_REQUIRE_NONNULL(record);
    at += RECORD_HEADER_SIZE + found.payload.size();
    scan.records.add(found);
    next = next.next();
  }
  scan.validBytes = at;
  return scan;
}

OperationReader::OperationReader(kj::ArrayPtr<const kj::byte> payload) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = OPERATION_SIZE_MAX;  // many times over: checked by its CRC, written by us
  kj::ArrayPtr<const capnp::word> view(reinterpret_cast<const capnp::word*>(payload.begin()),
                                       payload.size() / sizeof(capnp::word));
  if (reinterpret_cast<uintptr_t>(payload.begin()) % sizeof(capnp::word) != 0) {
    words = kj::heapArray<capnp::word>(view.size());
    memcpy(words.begin(), payload.begin(), view.size() * sizeof(capnp::word));
    view = words;
  }
  message = kj::heap<capnp::FlatArrayMessageReader>(view, options);
  root = message->getRoot<rpc::Operation>();
}

}  // namespace cairn
