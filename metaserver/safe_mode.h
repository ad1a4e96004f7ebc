// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Safe mode: after a start the metaserver knows which chunks exist but not where they are, until the stores
// have reported. While it lasts nothing is deleted, and a chunk of which fewer replicas are known than wanted
// gets no lease: the missing ones may only be late, and a version raised without them would make them stale.
// It is left when every known store has reported, or after a while when enough have. Once left it does not
// return. A namespace that was restored from a backup has to learn from the stores what is current: it waits
// for all of them. Pure. Called by meta_service.cc.
#pragma once

#include <kj/string.h>

#include "rpc/units.h"

namespace cairn {

constexpr kj::Duration SAFE_MODE_PATIENCE = 10 * kj::SECONDS;  // then more than half of the stores are enough
constexpr kj::Duration SAFE_MODE_PATIENCE_MAX = 60 * kj::SECONDS;  // then the configured minimum is enough

class SafeMode {
 public:
  enum class WaitFor { ENOUGH, ALL };
  SafeMode(kj::TimePoint started, uint32_t minimum, WaitFor waitFor = WaitFor::ENOUGH)
      : started(started), minimum(minimum), waitFor(waitFor) {}

  enum class Change { NONE, LEFT };
  Change update(uint32_t known, uint32_t reported, kj::TimePoint now);
  // `known`: stores of the persistent table; `reported`: those of them whose report is complete.

  bool on() const { return active; }
  kj::StringPtr reason() const { return text; }  // for people; empty when it is not on
  kj::StringPtr leftBecause() const { return left; }

 private:
  kj::TimePoint started;
  uint32_t minimum;
  WaitFor waitFor;
  bool active = true;
  kj::String text = kj::str("starting");
  kj::String left;
};

}  // namespace cairn
