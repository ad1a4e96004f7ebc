// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Free lists by power of two. A block on a list holds the link to the next in its first word; a blank block's
// first word is cleared again when it leaves the list.
#include "rpc/buffer_pool.h"

#include <kj/debug.h>
#include <stdlib.h>
#include <string.h>

#include <bit>

namespace cairn {

BufferPool::~BufferPool() noexcept(false) {
  for (auto& list : lists) {
    while (list != nullptr) {
      auto block = list;
      list = block->next;
      free(block);
    }
  }
  KJ_ASSERT(used == 0, "a message or a buffer outlived the pool of its memory", used);
}

Buffer BufferPool::take(size_t size) {
  auto order = kj::max(ORDER_MIN, uint8_t(std::bit_width(kj::max(size, size_t(1)) - 1)));
  if (order > ORDER_MIN && blockSize(order - 1) >= size) --order;
  KJ_REQUIRE(order <= ORDER_MAX, "no message or payload is that large", size);
  return Buffer(this, pop(order, blockSize(order)), size, order);
}

Buffer BufferPool::takeBlank() {
  bool reused = lists[BLANK] != nullptr;
  auto start = pop(BLANK, SEGMENT_BYTES);
  memset(start, 0, reused ? sizeof(Idle) : SEGMENT_BYTES);
  return Buffer(this, start, SEGMENT_BYTES, BLANK);
}

void BufferPool::returnBlank(Buffer buffer, size_t used) {
  KJ_IREQUIRE(buffer.order == BLANK && used <= SEGMENT_BYTES);
  memset(buffer.start, 0, used);
  giveBack(buffer.start, BLANK);
  buffer.start = nullptr;
}

kj::byte* BufferPool::pop(uint8_t order, size_t size) {
  used += size;
  if (auto block = lists[order]; block != nullptr) {
    lists[order] = block->next;
    idle -= size;
    return reinterpret_cast<kj::byte*>(block);
  }
  void* fresh = size >= LARGE ? aligned_alloc(PAGE, size) : malloc(size);
  KJ_ASSERT(fresh != nullptr, "out of memory", size, used, idle);
  return static_cast<kj::byte*>(fresh);
}

void BufferPool::giveBack(kj::byte* start, uint8_t order) noexcept {
  auto size = blockSize(order);
  used -= size;
  if (idle + size > keepBytes) {
    free(start);
    return;
  }
  auto block = reinterpret_cast<Idle*>(start);
  block->next = lists[order];
  lists[order] = block;
  idle += size;
}

void Buffer::release() noexcept {
  if (start == nullptr) return;
  if (order == BufferPool::BLANK) memset(start, 0, BufferPool::SEGMENT_BYTES);
  pool->giveBack(start, order);
  start = nullptr;
}

}  // namespace cairn
