// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A message to send, in pooled memory: a small first segment that needs no zeroing, and a segment of its own,
// of exactly the wanted size, for whatever asks for LARGE bytes or more. Such a segment is placed so that
// what follows its landing pad (8 bytes that Cap'n Proto puts in front) starts on a page, here and at the
// receiver.
#pragma once

#include <capnp/message.h>

#include "rpc/buffer_pool.h"

namespace cairn {

class PooledMessageBuilder final : public capnp::MessageBuilder {
 public:
  explicit PooledMessageBuilder(BufferPool& pool, size_t firstSegmentWords = 0);
  ~PooledMessageBuilder() noexcept(false);
  kj::ArrayPtr<capnp::word> allocateSegment(unsigned minimumSize) override;

 private:
  BufferPool& pool;
  size_t nextBytes;
  Buffer first;
  bool firstIsBlank = false;
  kj::Vector<Buffer> more;
};

template <typename Init>
auto initPayload(BufferPool& pool, Init&& init) {
  // For example initPayload(pool, [&]() { return results.initData(size); }): the caller must then fill all of
  // the payload, for it is not zeroed first. This is how a disk is read straight into an answer.
  BufferPool::PayloadScope scope(pool);
  return init();
}

}  // namespace cairn
