// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Blocking work away from the event loop (a RocksDB write that syncs, a system call io_uring does not know).
// Injected, so that the simulator runs the same work in its one thread.
#pragma once

#include <kj/async-unix.h>
#include <kj/async.h>
#include <kj/function.h>

namespace cairn::env {

class Worker {
 public:
  virtual ~Worker() noexcept(false) = default;

  virtual kj::Promise<void> run(kj::Function<void()> work) = 0;
  // Runs `work` and resolves on the caller's loop, with its exception if it threw. Calls may run at the same
  // time and in any order. Destroying the promise waits for work that has begun and drops work that has not.
};

kj::Own<Worker> newThreadWorker(kj::UnixEventPort& events, unsigned threads);
// Threads start with the first work, so an idle worker costs nothing.

kj::Own<Worker> newInlineWorker();
// Runs the work in the caller's thread in a later turn of its loop: for tests and the simulator.

}  // namespace cairn::env
