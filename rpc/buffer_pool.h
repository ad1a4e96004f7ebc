// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Memory for messages and payloads of one event loop, kept instead of given back: a fresh megabyte costs 256
// page faults. Power-of-two blocks in free lists; blocks of LARGE bytes and more start on a page.
// INVARIANT: at most `keepBytes` are kept idle; every buffer is gone before its pool is. One loop, no locks.
// Used by the message path, by the client's write-behind and by chunk I/O.
#pragma once

#include <kj/array.h>
#include <kj/vector.h>

#include <cstdint>

namespace cairn {

class BufferPool;

class Buffer {
  // `size()` bytes from a pool, given back with the object. The contents are undefined unless it is `blank`.
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : pool(other.pool), start(other.start), length(other.length), order(other.order) {
    other.start = nullptr;
    other.length = 0;
  }
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      release();
      pool = other.pool, start = other.start, length = other.length, order = other.order;
      other.start = nullptr;
      other.length = 0;
    }
    return *this;
  }
  ~Buffer() noexcept { release(); }
  KJ_DISALLOW_COPY(Buffer);

  kj::byte* begin() const { return start; }
  size_t size() const { return length; }
  kj::ArrayPtr<kj::byte> bytes() const { return kj::arrayPtr(start, length); }

 private:
  friend class BufferPool;
  Buffer(BufferPool* pool, kj::byte* start, size_t length, uint8_t order)
      : pool(pool), start(start), length(length), order(order) {}
  void release() noexcept;

  BufferPool* pool = nullptr;
  kj::byte* start = nullptr;
  size_t length = 0;
  uint8_t order = 0;
};

class BufferPool {
 public:
  static constexpr size_t PAGE = 4096;
  static constexpr size_t LARGE = 64 << 10;
  static constexpr size_t SEGMENT_BYTES = 4
                                          << 10;  // of a blank block: the first segment of a message to send
  static constexpr size_t KEEP_BYTES = 64 << 20;

  explicit BufferPool(size_t keepBytes = KEEP_BYTES) : keepBytes(keepBytes) {}
  ~BufferPool() noexcept(false);
  KJ_DISALLOW_COPY(BufferPool);

  Buffer take(size_t size);
  // At least 16-byte aligned; page-aligned when `size` is LARGE or more.

  Buffer takeBlank();
  // SEGMENT_BYTES zeroed bytes.

  void returnBlank(Buffer buffer, size_t used);
  // The holder wrote only to the first `used` bytes: clearing those makes it blank again. (Without this, all
  // of it is cleared.)

  size_t idleBytes() const { return idle; }
  size_t usedBytes() const { return used; }

  class PayloadScope {
    // While it lives, the next segment of LARGE bytes or more that a message from this pool allocates is not
    // zeroed: for initData() of a payload that the caller then fills to the last byte. Bytes it does not fill
    // would show the next reader what an earlier message left there. Use initPayload() in message_builder.h.
   public:
    explicit PayloadScope(BufferPool& pool) : pool(pool) { pool.payloadNext = true; }
    ~PayloadScope() { pool.payloadNext = false; }
    KJ_DISALLOW_COPY(PayloadScope);

   private:
    BufferPool& pool;
  };
  bool takePayloadMark() {
    bool was = payloadNext;
    payloadNext = false;
    return was;
  }

 private:
  friend class Buffer;
  static constexpr uint8_t ORDER_MIN = 9, ORDER_MAX = 26;  // 512 bytes to 64 MiB
  static constexpr uint8_t BLANK = ORDER_MAX + 1;
  struct Idle {
    Idle* next;
  };

  kj::byte* pop(uint8_t order, size_t blockSize);
  void giveBack(kj::byte* start, uint8_t order) noexcept;
  static size_t blockSize(uint8_t order) {
    // Large blocks have room for a power of two of payload and what aligning it in a message costs.
    if (order == BLANK) return SEGMENT_BYTES;
    return (size_t(1) << order) + ((size_t(1) << order) >= LARGE ? 2 * PAGE : 0);
  }

  const size_t keepBytes;
  size_t idle = 0, used = 0;
  bool payloadNext = false;
  Idle* lists[BLANK + 1] = {};
};

}  // namespace cairn
