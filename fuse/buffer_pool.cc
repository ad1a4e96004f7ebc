// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/buffer_pool.h"

#include <errno.h>
#include <kj/debug.h>
#include <sys/mman.h>

namespace cairn::fuse {

BufferPool::~BufferPool() noexcept(false) {
  for (auto memory : idle) munmap(memory, bufferSize);
}

kj::Own<BufferPool::Buffer> BufferPool::take() {
  kj::byte* memory;
  if (idle.empty()) {
    // Straight from the kernel: page-aligned, and only the pages a message has touched become resident.
    auto mapped = mmap(nullptr, bufferSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) KJ_FAIL_SYSCALL("mmap", errno, bufferSize);
    memory = static_cast<kj::byte*>(mapped);
  } else {
    memory = idle.back();
    idle.removeLast();
  }
  ++lent;
  return kj::refcounted<Buffer>(kj::addRef(*this), memory);
}

void BufferPool::giveBack(kj::byte* memory) {
  --lent;
  if (idle.size() < IDLE_MAX) {
    idle.add(memory);
  } else {
    munmap(memory, bufferSize);
  }
}

}  // namespace cairn::fuse
