// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/liveness.h"

namespace cairn::client {

Async<void> untilHung(kj::Timer& timer, const Timing& timing, ChunkPeer& peer) {
  for (;;) {
    co_await timer.afterDelay(timing.pingInterval);
    auto tried = co_await tryOnce(
        peer.call({"describe", timing.pingDeadline, WhenDown::FAIL},
                  [](rpc::ChunkServer::Client& service) { return service.describeRequest().send(); }));
    if (tried.exception != nullptr) co_return;
  }
}

}  // namespace cairn::client
