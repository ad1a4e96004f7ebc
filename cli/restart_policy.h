// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How long the supervisor waits before it starts a daemon again that has ended. Pure.
#pragma once

#include <kj/time.h>

#include <algorithm>
#include <cstdint>

namespace cairn::cli {

class RestartPolicy {
  // At once the first time (so that a killed daemon is back within a second), then twice as long each time,
  // so that a daemon that cannot run does not keep the machine busy; forgotten after it has run for a while.
  // The longest pause is well below the term of a mount's leases (10 s): a metaserver that has been away for
  // longer takes from the mounts what they have written and not sent.
 public:
  static constexpr kj::Duration FIRST_PAUSE = 200 * kj::MILLISECONDS;
  static constexpr kj::Duration LONGEST_PAUSE = 5 * kj::SECONDS;
  static constexpr kj::Duration GOOD_RUN = 5 * kj::SECONDS;

  kj::Duration pauseAfter(kj::Duration ranFor) {
    if (ranFor >= GOOD_RUN) next = FIRST_PAUSE;
    auto pause = next;
    next = std::min(next * 2, LONGEST_PAUSE);
    return pause;
  }

 private:
  kj::Duration next = FIRST_PAUSE;
};

}  // namespace cairn::cli
