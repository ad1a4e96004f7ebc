// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Time in the simulator: it stands still while anything is to be done and jumps to the next timer when all
// are idle, so an hour of a cluster takes as long as its work. INVARIANT: all promises of a simulation wait
// on this loop; when no timer is left and the caller still waits, the simulation is stuck for ever, and
// wait() throws instead of hanging.
#pragma once

#include <kj/async.h>
#include <kj/debug.h>
#include <kj/time.h>
#include <kj/timer.h>

#include <cstdint>

#include "rpc/coroutine.h"

namespace cairn::sim {

class VirtualTime final : public kj::EventPort, public kj::Clock {
 public:
  VirtualTime();

  kj::Timer& timer() { return impl; }
  kj::Duration elapsed() const { return impl.now() - START; }
  kj::Date now() const override { return DAY_ZERO + elapsed(); }  // the wall clock of every simulated machine

  void limit(kj::Duration most) { most_ = most; }
  // A simulation that runs longer is taken for a livelock (a retry without end) and stopped by an exception.

  template <typename Promise>
  auto run(Promise&& promise, kj::WaitScope& scope) {
    // What the story of a test waits with: fails when the simulation is stuck or past its limit.
    return withAlarm(promiseOf(kj::mv(promise))).wait(scope);
  }

  bool wait() override;
  bool poll() override { return false; }

 private:
  static constexpr kj::TimePoint START = kj::origin<kj::TimePoint>() + 1000 * kj::SECONDS;
  static constexpr kj::Date DAY_ZERO = kj::UNIX_EPOCH + 1'767'225'600 * kj::SECONDS;  // 1 January 2026
  kj::TimerImpl impl;
  kj::Duration most_ = 24 * 60 * kj::MINUTES;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> ringing;

  kj::Promise<void> alarmed();
  void ring(kj::Exception why);

  template <typename T>
  kj::Promise<T> withAlarm(kj::Promise<T> promise) {
    return promise.exclusiveJoin(
        alarmed().then([]() -> kj::Promise<T> { return KJ_EXCEPTION(FAILED, "an alarm without a reason"); }));
  }
};

struct Waking {
  // When things happen in a long life: for a while at the beginning of each period. Then it is quiet, but for
  // the timers of the cluster itself.
  kj::Duration period = 0 * kj::SECONDS;  // 0: it is never quiet
  kj::Duration awake = 0 * kj::SECONDS;
  kj::Promise<void> wait(kj::Timer& timer) const;  // until it is not quiet
};

kj::String seconds(kj::Duration duration);  // "[  12.345678]": the head of a line of the transcript

struct ClockError {
  // Of a machine's clocks.
  int64_t drift = 0;                      // ppm that they run fast; slow when negative
  kj::Duration offset = 0 * kj::SECONDS;  // of its calendar, at the beginning
};

class ProcessTimer final : public kj::Timer {
  // The timer of one process: it may run a little fast or slow, and the process may be stopped as by SIGSTOP:
  // nothing fires in it until it goes on.
 public:
  explicit ProcessTimer(kj::Timer& base, int64_t drift = 0) : base(base), drift(drift) {}

  void stop();
  void resume();
  bool stopped() const { return isStopped; }
  kj::Promise<void> running();  // at once, or when it goes on

  kj::TimePoint now() const override { return shown(base.now()); }
  kj::Promise<void> atTime(kj::TimePoint time) override;
  kj::Promise<void> afterDelay(kj::Duration delay) override { return atTime(now() + delay); }

 private:
  kj::TimePoint shown(kj::TimePoint trueTime) const;

  kj::Timer& base;
  const int64_t drift;  // ppm that it runs fast
  bool isStopped = false;
  kj::Own<kj::PromiseFulfiller<void>> wake;
  kj::ForkedPromise<void> awake = kj::Promise<void>(kj::READY_NOW).fork();
};

class ProcessCalendar final : public kj::Clock {
  // The wall clock of one machine, which was wrong by `offset` at the beginning and drifts as its timer does.
 public:
  ProcessCalendar(const kj::Clock& right, const ProcessTimer& timer, kj::Duration offset)
      : timer(timer), began(timer.now()), date(right.now() + offset) {}
  kj::Date now() const override { return date + (timer.now() - began); }

 private:
  const ProcessTimer& timer;
  const kj::TimePoint began;
  const kj::Date date;
};

}  // namespace cairn::sim
