// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/range_locks.h"

#include <kj/debug.h>

namespace cairn {

RangeLocks::~RangeLocks() noexcept(false) {
  KJ_ASSERT(idle(), "a hold outlives its chunk");
}

RangeLocks::Hold::Hold(RangeLocks& locks, uint32_t first, uint32_t end, Mode mode)
    : locks(locks), first(first), end(end), mode(mode) {
  for (Hold* other = locks.oldest; other != nullptr; other = other->later) {
    if (conflicts(*other)) blockers++;
  }
  earlier = locks.newest;
  (earlier == nullptr ? locks.oldest : earlier->later) = this;
  locks.newest = this;
}

RangeLocks::Hold::~Hold() noexcept(false) {
  for (Hold* other = later; other != nullptr; other = other->later) {
    if (!conflicts(*other) || --other->blockers > 0) continue;
    KJ_IF_MAYBE (fulfiller, other->waiter) fulfiller->get()->fulfill();
  }
  (earlier == nullptr ? locks.oldest : earlier->later) = later;
  (later == nullptr ? locks.newest : later->earlier) = earlier;
}

bool RangeLocks::Hold::conflicts(const Hold& other) const {
  if (mode == Mode::SHARED && other.mode == Mode::SHARED) return false;
  return first < other.end && other.first < end;
}

kj::Promise<void> RangeLocks::Hold::whenGranted() {
  if (granted()) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiter = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

kj::Own<RangeLocks::Hold> RangeLocks::enter(uint32_t firstBlock, uint32_t endBlock, Mode mode) {
  return kj::Own<Hold>(new Hold(*this, firstBlock, endBlock, mode), kj::_::HeapDisposer<Hold>::instance);
}

}  // namespace cairn
