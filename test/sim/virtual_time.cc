// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See virtual_time.h.
#include "test/sim/virtual_time.h"

#include <kj/debug.h>

#include <cstdio>

namespace cairn::sim {

namespace {

kj::Duration part(kj::Duration whole, int64_t numerator, int64_t denominator) {
  // Without an overflow, whatever the duration.
  auto remainder = whole - whole / denominator * denominator;
  return whole / denominator * numerator + remainder * numerator / denominator;
}

}  // namespace

VirtualTime::VirtualTime() : impl(START) {}

bool VirtualTime::wait() {
  KJ_IF_MAYBE (next, impl.nextEvent()) {
    if (*next - START <= most_) {
      impl.advanceTo(kj::max(*next, impl.now()));
    } else {
      ring(KJ_EXCEPTION(FAILED, "the simulation has run longer than it may: something retries for ever"));
    }
  } else {
    ring(KJ_EXCEPTION(FAILED, "the simulation is stuck: all wait and no timer is set"));
  }
  return false;
}

kj::Promise<void> VirtualTime::alarmed() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  ringing = kj::mv(paf.fulfiller);
  return kj::mv(paf.promise);
}

void VirtualTime::ring(kj::Exception why) {
  // Not thrown from here if it can be helped: whoever waits would leave an event behind that is gone.
  KJ_IF_MAYBE (fulfiller, ringing) {
    if ((*fulfiller)->isWaiting()) {
      (*fulfiller)->reject(kj::mv(why));
      return;
    }
  }
  kj::throwFatalException(kj::mv(why));
}

kj::Promise<void> Waking::wait(kj::Timer& timer) const {
  if (period == 0 * kj::SECONDS) return kj::READY_NOW;
  auto since = (timer.now() - kj::origin<kj::TimePoint>()) % period;
  if (since < awake) return kj::READY_NOW;
  return timer.afterDelay(period - since);
}

kj::String seconds(kj::Duration duration) {
  char text[32];
  std::snprintf(text, sizeof text, "[%11.6f]", double(duration / kj::MICROSECONDS) / 1e6);
  return kj::str(static_cast<const char*>(text));
}

void ProcessTimer::stop() {
  if (isStopped) return;
  isStopped = true;
  auto paf = kj::newPromiseAndFulfiller<void>();
  wake = kj::mv(paf.fulfiller);
  awake = paf.promise.fork();
}

void ProcessTimer::resume() {
  if (!isStopped) return;
  isStopped = false;
  wake->fulfill();
}

kj::Promise<void> ProcessTimer::running() {
  if (!isStopped) return kj::READY_NOW;
  return awake.addBranch();
}

kj::TimePoint ProcessTimer::shown(kj::TimePoint trueTime) const {
  return trueTime + part(trueTime - kj::origin<kj::TimePoint>(), drift, 1'000'000);
}

kj::Promise<void> ProcessTimer::atTime(kj::TimePoint time) {
  // The first moment at which it shows that time.
  auto at = time - part(time - kj::origin<kj::TimePoint>(), drift, 1'000'000 + drift);
  while (shown(at) < time) at = at + 1 * kj::NANOSECONDS;
  return base.atTime(at).then([this]() { return running(); });
}

}  // namespace cairn::sim
