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

Async<void> Faults::trouble() {
  for (;;) {
    co_await pass(options.pauseMax);
    if (!ending) co_await options.waking.wait(cluster.time.timer());
    if (ending) co_return;
    co_await one();
  }
}

Async<void> Faults::one() {
  auto dice =
      entropy.below(options.killDaemon + options.cutLink + options.resetLink + options.stopDaemon +
                    options.cutPower + options.cutMetaserverPower + options.cutAllPower + options.slowDisk +
                    options.fullDisk + options.rot + options.loseWrite + options.misdirectWrite);
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
  if (is(options.killDaemon)) {
    auto name = anyDaemon();
    auto& host = cluster.host(name.c_str());
    if (host.state() != SimHost::State::UP) co_return;
    counted("death of a process");
    host.kill();
    co_await pass(options.durationMax);
    co_return co_await host.start();
  }
  if (is(options.cutLink)) {
    auto a = anyHost(), b = anyHost();
    if (a == b) co_return;
    counted("cut link");
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
  co_await host.start();
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
    starts.add(cluster.host(name.c_str()).start());
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
