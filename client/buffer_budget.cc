// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/buffer_budget.h"

#include <kj/debug.h>

namespace cairn::client {

struct BufferBudget::Waiter {
  Waiter(kj::PromiseFulfiller<void>& fulfiller, BufferBudget& budget)
      : fulfiller(fulfiller), budget(budget), place(budget.waiters.insert(budget.waiters.end(), this)) {}
  ~Waiter() {
    if (waiting) leave();
  }
  void leave() {
    budget.waiters.erase(place);
    waiting = false;
  }
  kj::PromiseFulfiller<void>& fulfiller;
  BufferBudget& budget;
  std::list<Waiter*>::iterator place;
  bool waiting = true;
};

BufferBudget::~BufferBudget() noexcept(false) {
  KJ_ASSERT(bytesUsed == 0 && waiters.empty(), bytesUsed) {
    break;
  }
}

kj::Promise<void> BufferBudget::room() {
  return kj::newAdaptedPromise<void, Waiter>(*this);
}

void BufferBudget::release(size_t bytes) {
  bytesUsed -= bytes;
  passOn();
}

void BufferBudget::passOn() {
  // Each woken writer takes one piece at a time, so waking one per release keeps the bound and loses none:
  // whoever wakes and finds no room waits again.
  if (hasRoom() && !waiters.empty()) {
    auto& first = *waiters.front();
    first.leave();
    first.fulfiller.fulfill();
  }
}

BufferMemory::BufferMemory(BufferBudget& budget, size_t capacity)
    : budget(kj::addRef(budget)), owned(budget.take(capacity)), content(owned.bytes()) {
  budget.charge(capacity + OVERHEAD);
}

BufferMemory::BufferMemory(BufferBudget& budget, kj::ArrayPtr<const kj::byte> kept, kj::Own<void> keeper)
    : budget(kj::addRef(budget)), keeper(kj::mv(keeper)), content(kept) {
  budget.charge(kept.size() + OVERHEAD);
}

BufferMemory::~BufferMemory() noexcept(false) {
  budget->release(content.size() + OVERHEAD);
}

}  // namespace cairn::client
