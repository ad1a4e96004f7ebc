// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Memory of write-behind: how much of it there may be, and the refcounted pieces it consists of. A piece
// charges the budget for as long as anybody holds it (a buffer, a message on its way, a reader), so the
// bound is on real memory. Bytes that a caller gave away are kept where they are; small ones are copied.
// Called by write_buffer.cc; open_file.cc waits for room.
#pragma once

#include <kj/array.h>
#include <kj/async.h>
#include <kj/refcount.h>

#include <list>

#include "rpc/buffer_pool.h"

namespace cairn::client {

class BufferBudget : public kj::Refcounted {
 public:
  BufferBudget(BufferPool& pool, size_t bytesMax) : pool(pool), bytesMax(bytesMax) {}
  ~BufferBudget() noexcept(false);

  bool hasRoom() const { return bytesUsed < bytesMax; }
  // One piece may overshoot: the bound is bytesMax + TRANSFER_SIZE_MAX, and a piece always fits an empty
  // budget.
  size_t used() const { return bytesUsed; }
  size_t max() const { return bytesMax; }
  bool tight() const { return bytesUsed >= bytesMax / 2 || !waiters.empty(); }
  // Time to send what could wait for neighbours.

  kj::Promise<void> room();  // resolves when something was released while nobody before us waits
  bool hasWaiters() const { return !waiters.empty(); }

  void charge(size_t bytes) { bytesUsed += bytes; }
  void release(size_t bytes);
  Buffer take(size_t bytes) { return pool.take(bytes); }
  void passOn();  // whoever was woken and left room over wakes the next

 private:
  struct Waiter;
  BufferPool& pool;
  const size_t bytesMax;
  size_t bytesUsed = 0;
  std::list<Waiter*> waiters;  // first come, first served
};

class BufferMemory : public kj::Refcounted {
  // A piece of memory. Immutable once `isShared()`, so that readers and messages never see it change.
 public:
  BufferMemory(BufferBudget& budget, size_t capacity);  // to be filled by append
  BufferMemory(BufferBudget& budget, kj::ArrayPtr<const kj::byte> kept, kj::Own<void> keeper);
  ~BufferMemory() noexcept(false);
  KJ_DISALLOW_COPY(BufferMemory);

  kj::Own<BufferMemory> addRef() const { return kj::addRef(const_cast<BufferMemory&>(*this)); }
  const kj::byte* begin() const { return content.begin(); }
  kj::byte* writable() { return owned.begin(); }  // null: kept memory, never written
  size_t capacity() const { return content.size(); }
  static constexpr size_t OVERHEAD = 256;  // what the books of one small piece cost
  bool mayChange() const { return owned.size() > 0 && !isShared(); }

 private:
  kj::Own<BufferBudget> budget;
  Buffer owned;
  kj::Own<void> keeper;
  kj::ArrayPtr<const kj::byte> content;
};

}  // namespace cairn::client
