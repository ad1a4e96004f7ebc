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
  if (options.spareMetaserver) names.erase(names.begin());
  return names[entropy.below(names.size())];
}

kj::Promise<void> Faults::start(const std::string& name) {
  // Unless others have done so meanwhile: of whom all machines have lost their power.
  auto& host = cluster.host(name.c_str());
  bool isDown = host.state() == SimHost::State::DOWN || host.state() == SimHost::State::DARK;
  return isDown ? host.start() : kj::READY_NOW;
}

std::string Faults::anyHost() {
  auto names = cluster.hostNames();
  return names[entropy.below(names.size())];
}

Async<void> Faults::trouble() {
  for (;;) {
    co_await pass(options.pauseMax);
    if (!ending) co_await options.waking.wait(cluster.time.timer());
    if (ending) co_return;
    co_await one();
  }
}

Async<void> Faults::one() {
  auto dice = entropy.below(options.killDaemon + options.cutLink + options.resetLink + options.stopDaemon +
                            options.cutPower + options.cutMetaserverPower + options.cutAllPower +
                            options.slowDisk + options.fullDisk + options.rot + options.loseWrite +
                            options.misdirectWrite + options.partition + options.resetAgain);
  auto is = [&dice](uint32_t weight) {
    if (dice < weight) return true;
    dice -= weight;
    return false;
  };
  if (is(options.cutPower)) co_return co_await powerOf(anyDaemon());
  if (is(options.cutMetaserverPower)) co_return co_await powerOf(METASERVER.cStr());
  if (is(options.cutAllPower)) co_return co_await powerOfAll();
  if (is(options.slowDisk)) co_return co_await troubledDisk(false);
  if (is(options.fullDisk)) co_return co_await troubledDisk(true);
  if (is(options.rot)) co_return badDisk(true, false);
  if (is(options.loseWrite)) co_return badDisk(false, true);
  if (is(options.misdirectWrite)) co_return badDisk(false, false);
  if (is(options.partition)) co_return co_await partition();
  if (is(options.resetAgain)) co_return co_await resetAgain();
  if (is(options.killDaemon)) {
    auto name = anyDaemon();
    auto& host = cluster.host(name.c_str());
    if (host.state() != SimHost::State::UP) co_return;
    counted("death of a process");
    host.kill();
    co_await pass(options.durationMax);
    co_return co_await start(name);
  }
  if (is(options.cutLink)) co_return co_await cutOneLink();
  if (is(options.resetLink)) {
    auto a = anyHost(), b = anyHost();
    if (a == b) co_return;
    counted("reset connection");
    cluster.transcript.say("story", kj::str("connections ", a.c_str(), " - ", b.c_str(), " are reset"));
    cluster.network.reset(a.c_str(), b.c_str());
    co_return;
  }
  auto name = anyDaemon();
  auto& host = cluster.host(name.c_str());
  if (host.state() != SimHost::State::UP) co_return;
  counted("stopped process");
  host.stop();
  co_await pass(options.durationMax);
  host.resume();
}

void Faults::cut(const std::string& a, const std::string& b) {
  bool oneWay = entropy.percent(40);
  cluster.transcript.say("story", kj::str("link ", a.c_str(), oneWay ? " -> " : " - ", b.c_str(), " is cut"));
  if (oneWay)
    cluster.network.cutOneWay(a.c_str(), b.c_str());
  else
    cluster.network.cut(a.c_str(), b.c_str());
}

Async<void> Faults::cutOneLink() {
  auto a = anyHost(), b = anyHost();
  if (a == b) co_return;
  counted("cut link");
  cut(a, b);
  co_await pass(options.durationMax);
  cluster.transcript.say("story", kj::str("link ", a.c_str(), " - ", b.c_str(), " is healed"));
  cluster.network.heal(a.c_str(), b.c_str());
}

Async<void> Faults::partition() {
  // One host and some of the others do not see each other, or one does not see the other; all else goes on.
  auto one = anyHost();
  std::vector<std::string> lost;
  for (auto& other : cluster.hostNames()) {
    if (other != one && entropy.percent(50)) lost.push_back(other);
  }
  if (lost.empty()) co_return;
  counted("partial partition");
  for (auto& other : lost) {
    if (entropy.percent(50)) {
      cut(one, other);
    } else {
      cut(other, one);
    }
  }
  co_await pass(options.durationMax);
  cluster.transcript.say("story", kj::str("the links of ", one.c_str(), " are healed"));
  for (auto& other : lost) cluster.network.heal(one.c_str(), other.c_str());
}

Async<void> Faults::resetAgain() {
  // Each time some of what was to follow the connection has been done: nothing, the hello, a registration, a
  // repeat of the calls.
  auto a = anyHost(), b = anyHost();
  if (a == b) co_return;
  counted("connections reset again and again");
  auto times = entropy.between(3, 12);
  cluster.transcript.say(
      "story", kj::str("connections ", a.c_str(), " - ", b.c_str(), " are reset ", times, " times"));
  for (uint64_t i = 0; i < times; ++i) {
    cluster.network.reset(a.c_str(), b.c_str());
    constexpr kj::Duration PAUSES[] = {500 * kj::MICROSECONDS, 5 * kj::MILLISECONDS, 300 * kj::MILLISECONDS};
    co_await pass(PAUSES[entropy.below(std::size(PAUSES))]);
  }
}

void Faults::counted(const char* kind) {
  ++happened;
  ++kinds[kind];
}

Async<void> Faults::powerOf(std::string name) {
  auto& host = cluster.host(name.c_str());
  if (host.state() != SimHost::State::UP) co_return;
  counted("power cut of one machine");
  host.cutPower();
  options.powerFails();
  co_await cluster.time.timer().afterDelay(BOOT_TIME);
  co_await pass(options.durationMax);
  co_await start(name);
}

Async<void> Faults::powerOfAll() {
  counted("power cut of all machines");
  cluster.powerCutAll();
  options.powerFails();
  co_await pass(options.durationMax);
  // They are back one after the other.
  auto names = cluster.daemons();
  kj::Vector<kj::Promise<void>> starts;
  for (auto& name : names) {
    starts.add(start(name));
    co_await pass(options.durationMax / 4);
  }
  co_await kj::joinPromises(starts.releaseAsArray());
}

Async<void> Faults::troubledDisk(bool full) {
  auto name = anyDaemon();
  if (name == METASERVER.cStr()) co_return;
  auto& host = cluster.host(name.c_str());
  counted(full ? "full disk" : "slow disk");
  cluster.transcript.say("story", kj::str("the disk of ", name.c_str(), full ? " is full" : " is slow"));
  if (full) {
    host.disk.setCapacity(0);
  } else {
    host.slowDisk(20 * kj::MILLISECONDS);
  }
  co_await pass(options.durationMax);
  cluster.transcript.say("story", kj::str("the disk of ", name.c_str(), " is well again"));
  host.disk.setCapacity(cluster.diskBytes());
  host.slowDisk(50 * kj::MICROSECONDS);
}

void Faults::badDisk(bool rot, bool lose) {
  auto& disk = cluster.host("chunkd-1").disk;
  auto kind = rot ? "flipped bit" : lose ? "lost write" : "misdirected write";
  if (rot) {
    auto files = disk.filesEndingWith(".data");
    if (files.empty()) return;
    auto path = files[entropy.below(files.size())];
    auto size = disk.sizeOf(path.c_str());
    if (size == 0) return;
    disk.flipBit(path.c_str(), entropy.below(size * 8));
  } else if (lose) {
    disk.spoilNextWrite(".data", env::MemoryDisk::Spoil::LOSE);
  } else {
    disk.spoilNextWrite(".data", env::MemoryDisk::Spoil::MISDIRECT);
  }
  counted(kind);
  cluster.transcript.say("story", kj::str("the disk of chunkd-1: ", kind));
}

}  // namespace cairn::sim
