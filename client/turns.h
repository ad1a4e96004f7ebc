// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One at a time, first come first served, across co_await. A turn ends when its Own goes. The Turns may go
// before those who wait or hold a turn do.
#pragma once

#include <kj/async.h>
#include <kj/refcount.h>

#include <list>

namespace cairn::client {

class Turns {
  struct Queue;

 public:
  class Turn {
   public:
    explicit Turn(kj::Own<Queue> queue) : queue(kj::mv(queue)) {}
    ~Turn() noexcept(false);
    KJ_DISALLOW_COPY(Turn);

   private:
    kj::Own<Queue> queue;
  };

  Turns() : queue(kj::refcounted<Queue>()) {}
  KJ_DISALLOW_COPY(Turns);

  bool isFree() const { return !queue->taken; }
  kj::Promise<kj::Own<Turn>> enter() {
    if (!queue->taken) return queue->begin();
    return kj::newAdaptedPromise<kj::Own<Turn>, Waiter>(*queue);
  }

 private:
  struct Waiter;
  struct Queue : public kj::Refcounted {
    bool taken = false;
    std::list<Waiter*> waiting;
    kj::Own<Turn> begin();
  };
  struct Waiter {
    Waiter(kj::PromiseFulfiller<kj::Own<Turn>>& fulfiller, Queue& queue)
        : fulfiller(fulfiller),
          queue(kj::addRef(queue)),
          place(queue.waiting.insert(queue.waiting.end(), this)) {}
    ~Waiter() {
      if (isWaiting) queue->waiting.erase(place);
    }
    kj::PromiseFulfiller<kj::Own<Turn>>& fulfiller;
    kj::Own<Queue> queue;
    std::list<Waiter*>::iterator place;
    bool isWaiting = true;
  };

  kj::Own<Queue> queue;
};

inline kj::Own<Turns::Turn> Turns::Queue::begin() {
  taken = true;
  return kj::heap<Turn>(kj::addRef(*this));
}

inline Turns::Turn::~Turn() noexcept(false) {
  if (queue->waiting.empty()) {
    queue->taken = false;
    return;
  }
  auto& next = *queue->waiting.front();
  queue->waiting.pop_front();
  next.isWaiting = false;
  next.fulfiller.fulfill(queue->begin());
}

}  // namespace cairn::client
