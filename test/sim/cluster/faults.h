// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Misfortune, drawn from a seed: processes that die and come back, links that are cut and healed, partitions
// in which some see a host and others do not, connections that are reset, also again and again, processes
// that stop for a while, machines that lose power (one, or all at once), disks that are slow or full, and one
// bad disk whose bytes rot, that loses writes, and puts them in the wrong place. Every fault ends by itself,
// within seconds, so that a cluster that keeps its promises shows none of them to its users, except what a
// power cut of all machines takes that was not synced.
#pragma once

#include <kj/async.h>

#include <functional>
#include <map>
#include <string>

#include "rpc/coroutine.h"
#include "test/sim/cluster/sim_cluster.h"

namespace cairn::sim {

struct FaultOptions {
  uint64_t seed = 1;
  kj::Duration pauseMax = 800 * kj::MILLISECONDS;  // between two faults
  kj::Duration durationMax = 3 * kj::SECONDS;      // of one
  Waking waking;
  uint32_t atATime = 1;          // hosts in trouble at once
  bool spareMetaserver = false;  // but for its links
  // Weights of what happens.
  uint32_t killDaemon = 50, cutLink = 15, resetLink = 20, stopDaemon = 15;
  uint32_t partition = 0, resetAgain = 0;
  uint32_t cutPower = 0, cutMetaserverPower = 0, cutAllPower = 0, slowDisk = 0, fullDisk = 0;
  uint32_t rot = 0, loseWrite = 0, misdirectWrite = 0;  // of chunkd-1: no second copy is bad at the same time
  std::function<void()> powerFails = []() {};           // is called when a machine loses its power
};

constexpr kj::Duration BOOT_TIME = 500 * kj::MILLISECONDS;  // of a machine, at the least

class Faults {
 public:
  Faults(SimCluster& cluster, FaultOptions options);
  ~Faults() noexcept(false);

  void begin();             // until end()
  kj::Promise<void> end();  // starts no more, and resolves when all are over

  uint64_t count() const { return happened; }
  const std::map<std::string, uint64_t>& byKind() const { return kinds; }

 private:
  SimCluster& cluster;
  FaultOptions options;
  SeededEntropy entropy;
  bool ending = false;
  uint64_t happened = 0;
  std::map<std::string, uint64_t> kinds;
  kj::Promise<void> running = nullptr;

  Async<void> trouble();
  Async<void> one();
  Async<void> cutOneLink();
  Async<void> partition();
  Async<void> resetAgain();
  Async<void> powerOf(std::string name);
  Async<void> powerOfAll();
  Async<void> troubledDisk(bool full);
  void badDisk(bool rot, bool lose);
  void counted(const char* kind);
  kj::Promise<void> pass(kj::Duration most);
  kj::Promise<void> start(const std::string& name);
  std::string anyDaemon();
  std::string anyHost();
  void cut(const std::string& a, const std::string& b);
};

}  // namespace cairn::sim
