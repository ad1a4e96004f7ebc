// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "env/shared_sync.h"

#include <kj/debug.h>

namespace cairn::env {

kj::Promise<IoOutcome> SharedSync::join(kj::Function<kj::Promise<IoOutcome>()> start) {
  KJ_IF_MAYBE (next, gathering) return next->addBranch();

  kj::Promise<void> mayBegin = nullptr;
  if (running) {
    mayBegin = KJ_ASSERT_NONNULL(current).addBranch().ignoreResult().catch_([](kj::Exception&&) {});
  } else {
    mayBegin = kj::evalLast([] {});  // the rest of this turn may still join
  }
  gathering = mayBegin.then([this, start = kj::mv(start)]() mutable { return begin(kj::mv(start)); }).fork();
  return KJ_ASSERT_NONNULL(gathering).addBranch();
}

kj::Promise<IoOutcome> SharedSync::begin(kj::Function<kj::Promise<IoOutcome>()> start) {
  running = true;
  current = kj::mv(KJ_ASSERT_NONNULL(gathering));
  gathering = nullptr;
  return start().then(
      [this](IoOutcome outcome) {
        running = false;
        return outcome;
      },
      [this](kj::Exception&& failure) -> IoOutcome {
        running = false;
        kj::throwFatalException(kj::mv(failure));
      });
}

}  // namespace cairn::env
