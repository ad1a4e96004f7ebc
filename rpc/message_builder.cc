// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Where the segments of an outgoing message come from: see message_builder.h.
#include "rpc/message_builder.h"

#include <kj/debug.h>
#include <string.h>

namespace cairn {

using capnp::word;

PooledMessageBuilder::PooledMessageBuilder(BufferPool& pool, size_t firstSegmentWords)
    : pool(pool), nextBytes(firstSegmentWords * sizeof(word)) {
  // A hint that counts the payload in is not followed: the payload gets a segment of its own.
  if (nextBytes >= BufferPool::LARGE) nextBytes = 0;
}

PooledMessageBuilder::~PooledMessageBuilder() noexcept(false) {
  if (firstIsBlank) {
    auto segments = getSegmentsForOutput();
    auto used = segments.size() == 0 ? 0 : segments[0].size() * sizeof(word);
    pool.returnBlank(kj::mv(first), used);
  }
}

kj::ArrayPtr<word> PooledMessageBuilder::allocateSegment(unsigned minimumSize) {
  size_t wanted = size_t(minimumSize) * sizeof(word);
  if (wanted >= BufferPool::LARGE) {
    bool zeroed = !pool.takePayloadMark();
    auto& buffer = more.add(pool.take(wanted + BufferPool::PAGE));
    auto start = buffer.begin() + BufferPool::PAGE - sizeof(word);
    if (zeroed) {
      memset(start, 0, wanted);
    } else {
      memset(start, 0, sizeof(word));
      memset(start + wanted - sizeof(word), 0, sizeof(word));
    }
    return kj::arrayPtr(reinterpret_cast<word*>(start), minimumSize);
  }
  bool isFirst = first.size() == 0;
  if (isFirst && kj::max(wanted, nextBytes) <= BufferPool::SEGMENT_BYTES) {
    first = pool.takeBlank();
    firstIsBlank = true;
    nextBytes = 2 * BufferPool::SEGMENT_BYTES;
    return kj::arrayPtr(reinterpret_cast<word*>(first.begin()), first.size() / sizeof(word));
  }
  auto size = kj::max(wanted, kj::max(nextBytes, 2 * BufferPool::SEGMENT_BYTES)) & ~(sizeof(word) - 1);
  nextBytes = kj::min(size * 2, BufferPool::LARGE / 2);
  auto buffer = pool.take(size);
  memset(buffer.begin(), 0, size);
  auto start = reinterpret_cast<word*>(buffer.begin());
  if (isFirst) {
    first = kj::mv(buffer);
  } else {
    more.add(kj::mv(buffer));
  }
  return kj::arrayPtr(start, size / sizeof(word));
}

}  // namespace cairn
