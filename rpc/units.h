// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Units as types: an offset in a file and an offset in a chunk cannot be mistaken for each other, nor a
// handle for a version. `locate()` below is the only division by CHUNK_SIZE in the system.
#pragma once

#include <kj/common.h>
#include <kj/string.h>
#include <kj/time.h>

#include <compare>
#include <cstdint>
#include <functional>

namespace cairn {

template <typename Tag, typename Rep>
class Strong {
  // A number that only compares with its own kind. `value()` leaves the type, explicit construction enters
  // it.
 public:
  using Representation = Rep;
  constexpr Strong() = default;
  constexpr explicit Strong(Rep value) : number(value) {}
  constexpr Rep value() const { return number; }
  constexpr auto operator<=>(const Strong&) const = default;
  constexpr Strong next() const { return Strong(number + 1); }
  constexpr explicit operator bool() const { return number != 0; }
  size_t hashCode() const { return std::hash<Rep>()(number); }

 private:
  Rep number = 0;
};

template <typename Tag, typename Rep>
kj::String KJ_STRINGIFY(const Strong<Tag, Rep>& strong) {
  return kj::str(strong.value());
}

using InodeId = Strong<struct InodeIdTag, uint64_t>;            // never reused; 1 is the root directory
using ChunkHandle = Strong<struct ChunkHandleTag, uint64_t>;    // names a chunk for ever; 0 is none
using ChunkVersion = Strong<struct ChunkVersionTag, uint64_t>;  // raised when a lease is granted; 0 is none
using ChunkIndex = Strong<struct ChunkIndexTag, uint64_t>;      // position of a chunk in its file
using ServerId = Strong<struct ServerIdTag, uint32_t>;          // one store of a chunk daemon; 0 is none
using SessionId = Strong<struct SessionIdTag, uint64_t>;        // one mounted client; 0 is none
using Epoch = Strong<struct EpochTag, uint64_t>;                // of the metaserver: rises with each start
using LogIndex = Strong<struct LogIndexTag, uint64_t>;          // position in the operation log; 0 is none
using FileOffset = Strong<struct FileOffsetTag, uint64_t>;      // bytes from the start of a file
using ChunkOffset = Strong<struct ChunkOffsetTag, uint32_t>;    // bytes from the start of a chunk

constexpr InodeId ROOT_INODE{1};
constexpr uint32_t CHUNK_SIZE = 64u << 20;                              // 64 MiB (GFS paper, section 2.5)
constexpr uint32_t BLOCK_SIZE = 4096;                                   // what one checksum covers
constexpr uint32_t BLOCKS_PER_CHUNK = CHUNK_SIZE / BLOCK_SIZE;          // 16,384: 64 KiB of checksums a chunk
constexpr uint32_t TRANSFER_SIZE_MAX = 1u << 20;                        // of one read or write message
constexpr uint32_t WRITE_EXTENTS_MAX = TRANSFER_SIZE_MAX / BLOCK_SIZE;  // of one write message
constexpr uint32_t RECORD_SIZE_MAX = CHUNK_SIZE / 4;  // of recordAppend (GFS paper, section 3.3)
constexpr uint32_t NAME_SIZE_MAX = 255;               // NAME_MAX
constexpr uint64_t FILE_SIZE_MAX = INT64_MAX;         // off_t
constexpr uint32_t LINK_COUNT_MAX = 65000;            // as ext4

// How long authority lasts. A primary counts its term from before the metaserver does and with its own clock,
// so it falls silent CLOCK_ERROR_MAX earlier by its own reckoning than the metaserver takes the lease to be
// over.
constexpr kj::Duration LEASE_TERM = 60 * kj::SECONDS;             // (GFS paper, section 3.1)
constexpr kj::Duration CLOCK_ERROR_MAX = 500 * kj::MILLISECONDS;  // drift of two clocks over one term
constexpr kj::Duration HEARTBEAT_INTERVAL = 1 * kj::SECONDS;
constexpr uint32_t HEARTBEATS_MISSED_MAX = 3;                   // then a daemon counts as silent (hung)
constexpr kj::Duration SESSION_TERM = 60 * kj::SECONDS;         // silence after which a session is fenced
constexpr kj::Duration LEASE_CACHE_TERM = 10 * kj::SECONDS;     // of a mount's cache leases
constexpr kj::Duration LEASE_RENEW_INTERVAL = 2 * kj::SECONDS;  // so that several may fail
constexpr kj::Duration RECALL_TERM = 45 * kj::SECONDS;
// For a session that renews to answer a recall, then it is fenced. With LEASE_CACHE_TERM, waited out after
// that, it is below the minute for which a client that waits has patience.

struct ChunkPosition {
  ChunkIndex index;
  ChunkOffset offset;
};

constexpr ChunkPosition locate(FileOffset offset) {
  return {ChunkIndex(offset.value() / CHUNK_SIZE), ChunkOffset(uint32_t(offset.value() % CHUNK_SIZE))};
}
constexpr FileOffset startOf(ChunkIndex index) {
  return FileOffset(index.value() * CHUNK_SIZE);
}

struct ClusterId {
  // 128 random bits made when a cluster is created. All zero: not yet known.
  uint64_t high = 0, low = 0;
  constexpr auto operator<=>(const ClusterId&) const = default;
  constexpr explicit operator bool() const { return (high | low) != 0; }
};
kj::String KJ_STRINGIFY(const ClusterId& id);  // 32 hexadecimal digits
kj::Maybe<ClusterId> parseClusterId(kj::StringPtr text);

}  // namespace cairn

template <typename Tag, typename Rep>
struct std::hash<cairn::Strong<Tag, Rep>> {
  size_t operator()(const cairn::Strong<Tag, Rep>& strong) const { return std::hash<Rep>()(strong.value()); }
};
