// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Long work on an event loop stops here now and then.
#pragma once

#include <kj/timer.h>

namespace cairn::env {

inline kj::Promise<void> othersTurn(kj::Timer& timer) {
  // The others have their turn, and what has come in meanwhile is read. (After kj::evalLast() only what was
  // there already would have had its turn.)
  return timer.afterDelay(0 * kj::SECONDS);
}

inline kj::Promise<void> afterDelayFromNextTurn(kj::Timer& timer, kj::Duration delay) {
  // For how long others are waited for. A timer's clock stands still while its loop works: counted from
  // there, a long walk in this turn would be taken for their silence.
  return othersTurn(timer).then([&timer, delay]() { return timer.afterDelay(delay); });
}

}  // namespace cairn::env
