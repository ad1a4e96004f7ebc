// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A machine of the simulated cluster with one process on it: what dies with the process, what with the power,
// and what stays. The kinds of processes are in processes.cc. INVARIANT: nothing that a process does after
// its death reaches its disk or the network.
#pragma once

#include <kj/memory.h>

#include <functional>

#include "env/log.h"
#include "env/memory_disk.h"
#include "rpc/buffer_pool.h"
#include "rpc/coroutine.h"
#include "test/sim/rocks_env.h"
#include "test/sim/seeded_entropy.h"
#include "test/sim/sim_network.h"
#include "test/sim/transcript.h"
#include "test/sim/virtual_time.h"

namespace cairn::sim {

struct World {
  VirtualTime& time;
  SimNetwork& network;
  Transcript& transcript;
  BufferPool& pool;  // of all processes: outlives the loop, in which calls of gone connections end
  std::function<ClockError(kj::StringPtr host)> clocks;
};

class SimHost {
 public:
  SimHost(World world, kj::StringPtr name, uint64_t seed);
  virtual ~SimHost() noexcept(false);
  KJ_DISALLOW_COPY(SimHost);

  const kj::String& name() const { return ownName; }

  kj::Promise<void> start();
  // The process, until it serves, or has been killed. Fails with what it says when it will not start.

  void kill();  // SIGKILL: the page cache stays
  using Unsynced = env::MemoryDisk::Unsynced;
  void cutPower(Unsynced unsynced = Unsynced::AT_RANDOM);  // of the machine: what was not synced is lost, and
                                                           // the peers hear nothing
  void stop();                                             // SIGSTOP
  void resume();                                           // SIGCONT
  void slowDisk(kj::Duration delay) { disk.setDelay(timer, delay); }  // of each read, write and sync

  enum class State { DOWN, DARK, STARTING, UP, STOPPED };
  State state() const { return current; }
  uint64_t boot() const { return bootIdentity; }  // of the machine: changes with its power

  env::MemoryDisk disk;

 protected:
  struct Process {
    virtual ~Process() noexcept(false) = default;
  };
  virtual Async<kj::Own<Process>> run() = 0;  // destroying it is its death
  virtual void gone() {}                      // the process is; forget pointers into it

  World world;
  const ClockError clocks;
  ProcessTimer timer;
  ProcessCalendar calendar;
  SeededEntropy entropy;
  RocksDisk rocks;
  env::Logger log;

 private:
  kj::String ownName;
  State current = State::DOWN;
  uint64_t bootIdentity;
  kj::Own<Process> process;
  kj::Own<kj::PromiseFulfiller<void>> served;
  kj::Promise<void> booting = nullptr;

  void end();
};

}  // namespace cairn::sim
