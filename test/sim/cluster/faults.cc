// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See faults.h.
#include "test/sim/cluster/faults.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include "rpc/coroutine.h"

namespace cairn::sim {

Faults::Faults(SimCluster& cluster, FaultOptions options)
    : cluster(cluster), options(options), entropy(options.seed) {}
Faults::~Faults() noexcept(false) {}

void Faults::begin() {
  kj::Vector<kj::Promise<void>> all;
  for (uint32_t i = 0; i < options.atATime; ++i) all.add(trouble());
  running = kj::joinPromises(all.releaseAsArray());
}

kj::Promise<void> Faults::end() {
  ending = true;
  return kj::mv(running);
}

kj::Promise<void> Faults::pass(kj::Duration most) {
  auto micros = entropy.below(uint64_t(most / kj::MICROSECONDS)) + 1;
  return cluster.time.timer().afterDelay(int64_t(micros) * kj::MICROSECONDS);
}

std::string Faults::anyDaemon() {
  auto names = cluster.daemons();
  return names[entropy.below(names.size())];
}

std::string Faults::anyHost() {
  auto names = cluster.hostNames();
  return names[entropy.below(names.size())];
}

kj::Promise<void> Faults::trouble() {
  for (;;) {
    co_await pass(options.pauseMax);
    if (ending) co_return;
    co_await one();
  }
}

kj::Promise<void> Faults::one() {
  auto dice = entropy.below(options.killDaemon + options.cutLink + options.resetLink + options.stopDaemon);
  auto is = [&dice](uint32_t weight) {
    if (dice < weight) return true;
    dice -= weight;
    return false;
  };
  if (is(options.killDaemon)) {
    auto name = anyDaemon();
    auto& host = cluster.host(name.c_str());
    if (host.state() != SimHost::State::UP) co_return;
    ++happened;
    host.kill();
    co_await pass(options.durationMax);
    co_return co_await host.start();
  }
  if (is(options.cutLink)) {
    auto a = anyHost(), b = anyHost();
    if (a == b) co_return;
    ++happened;
    bool oneWay = entropy.percent(40);
    cluster.transcript.say("story",
                           kj::str("link ", a.c_str(), oneWay ? " -> " : " - ", b.c_str(), " is cut"));
    if (oneWay)
      cluster.network.cutOneWay(a.c_str(), b.c_str());
    else
      cluster.network.cut(a.c_str(), b.c_str());
    co_await pass(options.durationMax);
    cluster.transcript.say("story", kj::str("link ", a.c_str(), " - ", b.c_str(), " is healed"));
    cluster.network.heal(a.c_str(), b.c_str());
    co_return;
  }
  if (is(options.resetLink)) {
    auto a = anyHost(), b = anyHost();
    if (a == b) co_return;
    ++happened;
    cluster.transcript.say("story", kj::str("connections ", a.c_str(), " - ", b.c_str(), " are reset"));
    cluster.network.reset(a.c_str(), b.c_str());
    co_return;
  }
  auto name = anyDaemon();
  auto& host = cluster.host(name.c_str());
  if (host.state() != SimHost::State::UP) co_return;
  ++happened;
  host.stop();
  co_await pass(options.durationMax);
  host.resume();
}

}  // namespace cairn::sim
