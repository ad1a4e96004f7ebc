// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The format of the operation log's files, without any I/O. All numbers little-endian.
//
//   file    = header record*                       named <first index, 16 hex digits>.log
//   header  = "cairnlog" format:u32 zero:u32 cluster:u64[2] epoch:u64 first:u64 synced:u64 zero:u32 crc:u32
//   (64 bytes) record  = length:u32 crc:u32 index:u64 synced:u64 payload (24 + length bytes)
//
// `crc` is the CRC32C of the header before it, or of the record behind it. `payload` is an Operation as a
// flat Cap'n Proto message; `length` is a multiple of 8. `synced` says how far the log was on stable storage
// when the record was written. That tells, after a crash, a tail that was never synced (cut it off) from
// damage to what was (refuse).
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>

#include "metaserver/operation.h"
#include "rpc/units.h"

namespace cairn {

constexpr uint32_t LOG_FORMAT = 1;
constexpr size_t SEGMENT_HEADER_SIZE = 64;
constexpr size_t RECORD_HEADER_SIZE = 24;
constexpr size_t OPERATION_SIZE_MAX = 16u << 20;

struct SegmentHeader {
  uint32_t format = LOG_FORMAT;
  ClusterId cluster;
  Epoch epoch;     // of the start that made the segment
  LogIndex first;  // index of its first record
  LogIndex synced;
};

kj::String segmentName(LogIndex first);
kj::Maybe<LogIndex> parseSegmentName(kj::StringPtr name);

kj::Array<kj::byte> encode(const SegmentHeader& header);
kj::Maybe<SegmentHeader> decodeHeader(kj::ArrayPtr<const kj::byte> bytes);
// Null: not a header, or damaged. Of another format only `format` is set.

size_t recordSize(LoggedOperation& operation);
void writeRecord(kj::ArrayPtr<kj::byte> into, LoggedOperation& operation, LogIndex index, LogIndex synced);
// `into` has exactly recordSize(operation) bytes.

struct LogRecord {
  LogIndex index;
  LogIndex synced;
  kj::ArrayPtr<const kj::byte> payload;
};

struct SegmentScan {
  kj::Vector<LogRecord> records;  // whole and consecutive, from the first; they point into the bytes
  size_t validBytes = 0;          // where they end
  enum class Tail {
    CLEAN,     // the file ends there
    UNSYNCED,  // what follows was never known to be on stable storage
    DAMAGED,   // what follows was on stable storage, and is not what was written
  } tail = Tail::CLEAN;
};

SegmentScan scanRecords(kj::ArrayPtr<const kj::byte> file, LogIndex first);
// Of a whole segment file, whose header has been checked.

class OperationReader {
  // The operation in a record; the payload must outlive it.
 public:
  explicit OperationReader(kj::ArrayPtr<const kj::byte> payload);
  rpc::Operation::Reader operation() { return root; }

 private:
  kj::Array<capnp::word> words;
  kj::Own<capnp::MessageReader> message;
  rpc::Operation::Reader root;
};

}  // namespace cairn
