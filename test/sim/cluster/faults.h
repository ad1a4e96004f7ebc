// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Misfortune, drawn from a seed: processes that die and come back, links that are cut and healed, connections
// that are reset, processes that stop for a while. Every fault ends by itself, within seconds, so that a
// cluster that keeps its promises shows none of them to its users.
#pragma once

#include <kj/async.h>

#include "test/sim/cluster/sim_cluster.h"

namespace cairn::sim {

struct FaultOptions {
  uint64_t seed = 1;
  kj::Duration pauseMax = 800 * kj::MILLISECONDS;  // between two faults
  kj::Duration durationMax = 3 * kj::SECONDS;      // of one
  uint32_t atATime = 1;                            // hosts in trouble at once
  // Weights of what happens.
  uint32_t killDaemon = 50, cutLink = 15, resetLink = 20, stopDaemon = 15;
};

class Faults {
 public:
  Faults(SimCluster& cluster, FaultOptions options);
  ~Faults() noexcept(false);

  void begin();             // until end()
  kj::Promise<void> end();  // starts no more, and resolves when all are over

  uint64_t count() const { return happened; }

 private:
  SimCluster& cluster;
  FaultOptions options;
  SeededEntropy entropy;
  bool ending = false;
  uint64_t happened = 0;
  kj::Promise<void> running = nullptr;

  kj::Promise<void> trouble();
  kj::Promise<void> one();
  kj::Promise<void> pass(kj::Duration most);
  std::string anyDaemon();
  std::string anyHost();
};

}  // namespace cairn::sim
