// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How long to wait before trying again, and when to give up. Pure: the caller brings the random bits and the
// clock, so that a simulation replays.
#pragma once

#include <kj/time.h>

#include <cstdint>

namespace cairn {

struct RetryPolicy {
  // The pause doubles with each failure from `first` up to `max`, and a random quarter of it is taken off so
  // that callers who failed together do not return together: 8-10 ms, 15-20, 30-40, ... 750-1000 ms.
  kj::Duration first = 10 * kj::MILLISECONDS;
  kj::Duration max = 1 * kj::SECONDS;
  kj::Duration budget = 30 * kj::SECONDS;  // since the first attempt; an attempt under way is not cut short

  kj::Duration delay(uint32_t failures, uint32_t random) const;
  // Before the next attempt, after `failures` (at least 1) in a row.

  bool exhausted(kj::Duration elapsed) const { return elapsed >= budget; }
};

}  // namespace cairn
