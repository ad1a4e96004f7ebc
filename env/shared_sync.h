// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Group commit: callers that ask for a sync while one is under way share the next one.
// INVARIANT: the sync a caller is answered from began after the caller asked.
// Used for every file and directory of a disk, and by stores for syncs of their own.
#pragma once

#include <kj/async.h>
#include <kj/function.h>

#include "env/disk.h"

namespace cairn::env {

class SharedSync {
 public:
  kj::Promise<IoOutcome> join(kj::Function<kj::Promise<IoOutcome>()> start);
  // `start` begins the real sync; it is called at the end of the loop turn, or when the one under way is
  // done, and not at all when another caller's serves.

 private:
  bool running = false;  // `current` has begun and is not answered
  kj::Maybe<kj::ForkedPromise<IoOutcome>> current;
  kj::Maybe<kj::ForkedPromise<IoOutcome>> gathering;  // not begun: whoever asks now may share it

  kj::Promise<IoOutcome> begin(kj::Function<kj::Promise<IoOutcome>()> start);
};

}  // namespace cairn::env
