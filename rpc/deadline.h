// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A promise that is not waited for without end. When the time is up the promise is cancelled and the waiter
// gets an OVERLOADED exception that says what was waited for. Not for RPCs that carry payloads: those must
// not be cancelled, Peer::call has a deadline of its own.
#pragma once

#include <kj/async.h>
#include <kj/debug.h>
#include <kj/string.h>
#include <kj/timer.h>

namespace cairn {

kj::Exception deadlinePassed(kj::StringPtr what, kj::Duration deadline);
// OVERLOADED: "WHAT: no answer within 2000 ms".

template <typename T>
kj::Promise<T> withDeadline(kj::Timer& timer, kj::Promise<T> promise, kj::Duration deadline,
                            kj::String what) {
  return promise.exclusiveJoin(timer.afterDelay(deadline).then(
      [deadline, what = kj::mv(what)]() -> kj::Promise<T> { return deadlinePassed(what, deadline); }));
}

}  // namespace cairn
