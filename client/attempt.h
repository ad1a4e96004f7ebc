// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One try of something that may fail in transport, and the pauses between tries. Everything in this library
// that retries does it through Patience: bounded in time, with growing random pauses, on the injected timer.
#pragma once

#include <kj/async.h>
#include <kj/compat/http.h>  // kj::EntropySource
#include <kj/timer.h>

#include "rpc/coroutine.h"
#include "rpc/result.h"
#include "rpc/retry.h"
#include "rpc/units.h"

namespace cairn::client {

template <typename T>
struct Tried {
  // What came back, or the exception that did.
  kj::Maybe<T> answer;
  kj::Maybe<kj::Exception> exception;
};

template <typename T>
kj::Promise<Tried<T>> tryOnce(kj::Promise<T> promise) {
  return promise.then(
      [](T&& answer) {
        Tried<T> tried;
        tried.answer = kj::mv(answer);
        return tried;
      },
      [](kj::Exception&& exception) {
        Tried<T> tried;
        tried.exception = kj::mv(exception);
        return tried;
      });
}

inline bool isTransport(const kj::Exception& exception) {
  // Else it is a bug on one side or the other, and trying again does not help.
  return exception.getType() == kj::Exception::Type::DISCONNECTED ||
         exception.getType() == kj::Exception::Type::OVERLOADED;
}

struct Timing {
  // How long the library waits for what. All deadlines grow with the attempts, so an overloaded daemon gets
  // time.
  kj::Duration patience = 60 * kj::SECONDS;              // of one call of the application, whatever happens
  kj::Duration metaserverDeadline = 2 * kj::SECONDS;     // of one attempt
  kj::Duration chunkDeadline = 1500 * kj::MILLISECONDS;  // of one read: another replica has the same bytes
  kj::Duration writeDeadline = 5 * kj::SECONDS;          // of one write, while its primary answers pings
  kj::Duration deadlineMax = 15 * kj::SECONDS;
  kj::Duration hedgeAfter = 500 * kj::MILLISECONDS;      // then a read asks a second replica, too
  kj::Duration pingInterval = 350 * kj::MILLISECONDS;    // while a write or sync runs: is the daemon alive?
  kj::Duration pingDeadline = 500 * kj::MILLISECONDS;    // then it hangs
  kj::Duration publishInterval = 1 * kj::SECONDS;        // of the length, while writing
  kj::Duration renewInterval = LEASE_RENEW_INTERVAL;     // of the session and its cache leases
  kj::Duration appendPatience = 100 * kj::MILLISECONDS;  // for the next piece of a record
  kj::Duration suspectTime = 10 * kj::SECONDS;           // a server that failed us is named for so long
};

class Patience {
 public:
  Patience(kj::Timer& timer, kj::EntropySource& entropy, const Timing& timing)
      : timer(timer), entropy(entropy), timing(timing), end(timer.now() + timing.patience) {}

  bool isOver() const { return timer.now() >= end; }
  void beginAnew() { end = timer.now() + timing.patience; }  // it is no failure that we wait for
  uint32_t attempts() const { return failures; }
  kj::Duration deadline(kj::Duration base) const {
    // Of the next attempt: base, 2 base, 4 base, ...
    auto grown = base;
    for (uint32_t i = 0; i < failures && grown < timing.deadlineMax; ++i) grown = grown * 2;
    return kj::max(kj::min(kj::min(grown, timing.deadlineMax), end - timer.now()), 1 * kj::MILLISECONDS);
  }
  kj::Promise<void> pause() {
    ++failures;
    uint32_t random;
    entropy.generate(kj::arrayPtr(reinterpret_cast<kj::byte*>(&random), sizeof(random)));
    RetryPolicy policy;
    policy.max = 500 * kj::MILLISECONDS;
    return timer.afterDelay(policy.delay(failures, random));
  }

 private:
  kj::Timer& timer;
  kj::EntropySource& entropy;
  const Timing& timing;
  kj::TimePoint end;
  uint32_t failures = 0;
};

}  // namespace cairn::client
