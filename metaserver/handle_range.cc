// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See handle_range.h.
#include "metaserver/handle_range.h"

#include "rpc/coroutine.h"

namespace cairn {

Async<Status> HandleRange::reserve() {
  auto operation = kj::heap<LoggedOperation>();
  operation->body().setReserveHandles(RESERVATION);
  auto outcome = co_await log.propose(kj::mv(operation));
  // The stores will know the handles: a power cut must not make us forget that they were given out.
  if (outcome.ok()) outcome.status = co_await log.durable(outcome.index);
  if (outcome.ok()) {
    next = ChunkHandle(outcome.number);
    end = ChunkHandle(outcome.number + RESERVATION);
  }
  state = State::IDLE;
  co_return outcome.status;
}

Async<Result<ChunkHandle>> HandleRange::take() {
  while (next == end) {
    if (state == State::IDLE) {
      // Shared by all who wait: whoever goes away does not take the reservation along.
      state = State::RESERVING;
      reserving = kj::evalLater([this]() -> kj::Promise<Status> { return reserve(); }).fork();
    }
    auto reserved = KJ_ASSERT_NONNULL(reserving).addBranch();
    auto status = co_await reserved;
    if (!ok(status)) co_return status;
  }
  auto handle = next;
  next = next.next();
  co_return handle;
}

}  // namespace cairn
