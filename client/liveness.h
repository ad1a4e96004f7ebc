// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Slow is told from hung by asking: a process that lives answers a question that costs it nothing. So a call
// may take as long as a disk takes, and a daemon that has stopped is given up within a second all the same.
// INVARIANT: a daemon is taken for hung only when a question has gone unanswered for pingDeadline; the pings
// of one call end with it. Called by writer.cc, appender.cc and chunk_sync.cc.
#pragma once

#include "client/attempt.h"
#include "client/chunk_servers.h"
#include "rpc/coroutine.h"

namespace cairn::client {

Async<void> untilHung(kj::Timer& timer, const Timing& timing, ChunkPeer& peer);
// Resolves when the daemon does not answer, or its connection is gone. `peer` outlives the promise.

template <typename Response>
kj::Promise<Response> whileAlive(kj::Timer& timer, const Timing& timing, ChunkPeer& peer,
                                 kj::Promise<Response> call) {
  // The call, or OVERLOADED once the daemon hangs. As with a deadline, it may have been carried out.
  return call.exclusiveJoin(untilHung(timer, timing, peer).then([]() -> kj::Promise<Response> {
    return KJ_EXCEPTION(OVERLOADED, "the daemon hangs");
  }));
}

}  // namespace cairn::client
