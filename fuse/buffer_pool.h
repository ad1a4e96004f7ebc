// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Receive buffers for messages of the kernel. A large write is handed on inside the buffer it arrived in and
// the session loop takes a fresh one: the payload is never copied. INVARIANT: at most LENT_MAX buffers are
// out at a time; beyond that the caller is told to copy, so memory stays bounded by it however slowly the
// writes drain. Called by session_loop.cc; buffers may outlive their pool.
#pragma once

#include <kj/common.h>
#include <kj/memory.h>
#include <kj/refcount.h>
#include <kj/vector.h>

namespace cairn::fuse {

class BufferPool final : public kj::Refcounted {
 public:
  static constexpr size_t LENT_MAX = 128;  // of 1 MiB
  static constexpr size_t IDLE_MAX = 32;   // kept for reuse

  explicit BufferPool(size_t bufferSize) : bufferSize(bufferSize) {}
  ~BufferPool() noexcept(false);
  KJ_DISALLOW_COPY(BufferPool);

  class Buffer final : public kj::Refcounted {
    // Page-aligned. Returns to the pool when the last holder lets go.
   public:
    Buffer(kj::Own<BufferPool> pool, kj::byte* memory) : pool(kj::mv(pool)), memory(memory) {}
    ~Buffer() noexcept(false) { pool->giveBack(memory); }
    kj::ArrayPtr<kj::byte> bytes() { return kj::arrayPtr(memory, pool->bufferSize); }

   private:
    kj::Own<BufferPool> pool;
    kj::byte* memory;
  };

  kj::Own<Buffer> take();
  bool mayLend() const { return lent < LENT_MAX; }
  size_t outstanding() const { return lent; }

 private:
  void giveBack(kj::byte* memory);

  const size_t bufferSize;
  kj::Vector<kj::byte*> idle;
  size_t lent = 0;
};

}  // namespace cairn::fuse
