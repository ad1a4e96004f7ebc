// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See sim_host.h.
#include "test/sim/cluster/sim_host.h"

#include <kj/debug.h>

namespace cairn::sim {

namespace {

std::shared_ptr<env::LogSink> sinkInto(Transcript& transcript) {
  return env::newFunctionSink(
      [&transcript](kj::Date, env::LogLevel level, kj::StringPtr name, kj::StringPtr text) {
        transcript.say(name, level >= env::LogLevel::WARNING
                                 ? kj::str(level == env::LogLevel::ERROR ? "E " : "W ", text)
                                 : kj::str("  ", text));
      });
}

}  // namespace

SimHost::SimHost(World world, kj::StringPtr name, uint64_t seed)
    : world(world),
      clocks(world.clocks(name)),
      timer(world.time.timer(), clocks.drift),
      calendar(world.time, timer, clocks.offset),
      entropy(seed),
      log(sinkInto(world.transcript), world.time, env::LogLevel::INFO, name),
      ownName(kj::heapString(name)),
      bootIdentity(entropy.next() | 1) {
  disk.setDelay(timer, 50 * kj::MICROSECONDS);
}

SimHost::~SimHost() noexcept(false) {
  KJ_REQUIRE(process.get() == nullptr, "the process must end before what it stands on", ownName);
}

kj::Promise<void> SimHost::start() {
  KJ_REQUIRE(current == State::DOWN || current == State::DARK, "it runs already", ownName);
  if (current == State::DARK) world.network.powerOn(ownName);
  world.transcript.say("story", kj::str(ownName, " starts"));
  current = State::STARTING;
  auto paf = kj::newPromiseAndFulfiller<void>();
  served = kj::mv(paf.fulfiller);
  booting = run()
                .then(
                    [this](kj::Own<Process>&& started) {
                      process = kj::mv(started);
                      current = State::UP;
                      served->fulfill();
                    },
                    [this](kj::Exception&& exception) {
                      world.transcript.say("story",
                                           kj::str(ownName, " will not start: ", exception.getDescription()));
                      current = State::DOWN;
                      served->reject(kj::mv(exception));
                    })
                .eagerlyEvaluate(nullptr);
  return kj::mv(paf.promise);
}

void SimHost::end() {
  if (current == State::STOPPED) resume();
  rocks.killProcess();
  booting = nullptr;
  if (served.get() != nullptr) served->fulfill();  // whoever waited for it to serve: it has had its chance
  gone();
  process = nullptr;
}

void SimHost::kill() {
  if (current == State::DOWN || current == State::DARK) return;
  world.transcript.say("story", kj::str(ownName, " is killed"));
  disk.killProcess(entropy.next(), env::MemoryDisk::Tear::BETWEEN_PAGES);
  end();
  current = State::DOWN;
}

void SimHost::cutPower(Unsynced unsynced) {
  if (current == State::DARK) return;
  world.transcript.say("story", kj::str(ownName, " loses power"));
  world.network.powerOff(ownName);
  disk.losePower(entropy.next(), unsynced);
  rocks.losePower(entropy);
  end();
  bootIdentity = entropy.next() | 1;
  current = State::DARK;
}

void SimHost::stop() {
  if (current != State::UP) return;
  world.transcript.say("story", kj::str(ownName, " is stopped"));
  timer.stop();
  world.network.stop(ownName);
  current = State::STOPPED;
}

void SimHost::resume() {
  if (current != State::STOPPED) return;
  world.transcript.say("story", kj::str(ownName, " goes on"));
  timer.resume();
  world.network.resume(ownName);
  current = State::UP;
}

}  // namespace cairn::sim
