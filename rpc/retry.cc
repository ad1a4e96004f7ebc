// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The arithmetic of bounded waiting: see retry.h and deadline.h.
#include "rpc/retry.h"

#include <kj/common.h>

#include "rpc/deadline.h"

namespace cairn {

kj::Duration RetryPolicy::delay(uint32_t failures, uint32_t random) const {
  auto doubled = first;
  for (uint32_t i = 1; i < failures && doubled < max; ++i) doubled = doubled * 2;
  auto pause = kj::min(doubled, max);
  auto off = pause / 4 / kj::NANOSECONDS * (random % 1024) / 1024;
  return pause - off * kj::NANOSECONDS;
}

kj::Exception deadlinePassed(kj::StringPtr what, kj::Duration deadline) {
  return KJ_EXCEPTION(OVERLOADED, kj::str(what, ": no answer within ", deadline / kj::MILLISECONDS, " ms"));
}

}  // namespace cairn
