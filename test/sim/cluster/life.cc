// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See life.h.
#include "test/sim/cluster/life.h"

#include <kj/debug.h>

#include <cstdlib>

#include "metaserver/granted_leases.h"

namespace cairn::sim {

namespace {

constexpr kj::Duration COMES_TO_REST = 20 * kj::SECONDS;  // after the last fault

std::function<ClockError(kj::StringPtr)> clocksThatDrift(uint64_t seed) {
  return [seed](kj::StringPtr host) {
    SeededEntropy chance(seed ^ kj::hashCode(host));
    // The worst that is tolerated, as a rule: what is between shows nothing else.
    int64_t drift = chance.percent(70) ? CLOCK_DRIFT_MAX : int64_t(chance.below(CLOCK_DRIFT_MAX));
    auto offset = int64_t(chance.below(10'000)) * kj::MILLISECONDS - 5 * kj::SECONDS;
    return ClockError{chance.percent(50) ? drift : -drift, offset};
  };
}

}  // namespace

LifeOutcome live(const Life& life) {
  LifeOutcome outcome;
  SimCluster cluster(life.cluster);
  if (std::getenv("SIM_ECHO") != nullptr) cluster.transcript.echo();
  Workload users(cluster.time.timer(), cluster.transcript, life.users);
  cluster.host(METASERVER).slowDisk(life.metaserverDisk);
  for (uint32_t i = 1; i <= life.cluster.clients; ++i) users.addClient(cluster.client(i));
  auto faultOptions = life.faults;
  faultOptions.powerFails = [&users]() { users.powerFails(); };
  Faults faults(cluster, faultOptions);
  auto problem = [&outcome](auto&&... parts) { outcome.problems.push_back(kj::str(parts...).cStr()); };
  try {
    faults.begin();
    cluster.run(users.run());
    cluster.run(faults.end());
    cluster.waitHealthy();
    cluster.advance(COMES_TO_REST);
    cluster.run(users.verify(cluster.client(1)));
    std::vector<std::string> wrong;
    for (uint32_t rest = 0; rest < life.restsMax && (rest == 0 || !wrong.empty()); ++rest) {
      if (rest > 0) cluster.advance(COMES_TO_REST);
      wrong.clear();
      for (auto inode : users.inodes()) {
        for (auto& each : cluster.compareReplicas(inode))
          wrong.push_back(kj::str("inode ", inode, ": ", each).cStr());
      }
    }
    for (auto& each : wrong) outcome.problems.push_back(each);
  } catch (const kj::Exception& exception) {
    problem(exception);
  }
  for (auto& violation : users.violations()) problem(violation);
  outcome.transcript = cluster.transcript.last(150);
  outcome.digest = cluster.transcript.digest();
  outcome.lines = cluster.transcript.lines();
  outcome.operations = users.operationsDone();
  outcome.seconds = uint64_t(cluster.time.elapsed() / kj::SECONDS);
  outcome.losses = users.lossesTold();
  outcome.rolledBack = users.namesLost();
  outcome.faults = faults.byKind();
  return outcome;
}

Life lifeUnderMisfortune(uint64_t seed, uint32_t operations) {
  SeededEntropy chance(seed);
  Life life;
  life.seed = seed;
  life.cluster = {.seed = seed, .chunkServers = uint32_t(chance.between(3, 5)), .clients = 2};
  life.users = {.seed = chance.next(), .operations = operations};
  life.faults = {.seed = chance.next()};
  return life;
}

Life lifeUnderPowerCuts(uint64_t seed, uint32_t operations) {
  auto life = lifeUnderMisfortune(seed, operations);
  life.cluster.commit = SimClusterOptions::Commit::DISK;  // names are certain once they are answered
  life.users.settled = WorkloadOptions::Settled::BY_SYNC;
  life.users.nearBoundaryPercent = 3;
  life.faults.pauseMax = 1500 * kj::MILLISECONDS;
  life.faults.killDaemon = 25;
  life.faults.cutPower = 25;
  life.faults.cutAllPower = 20;
  life.faults.slowDisk = 5;
  return life;
}

Life lifeInCommitModeMemory(uint64_t seed, uint32_t operations) {
  auto life = lifeUnderPowerCuts(seed, operations);
  life.cluster.commit = SimClusterOptions::Commit::MEMORY;
  life.users.names = WorkloadOptions::Names::BY_SYNC;
  life.metaserverDisk = 40 * kj::MILLISECONDS;  // so that there is something to lose
  life.faults.cutMetaserverPower = 25;
  return life;
}

Life lifeUnderPartitions(uint64_t seed, uint32_t operations) {
  auto life = lifeUnderMisfortune(seed, operations);
  life.cluster.clocks = clocksThatDrift(seed);
  life.faults.cutLink = 5;
  life.faults.partition = 40;
  life.faults.resetAgain = 25;
  return life;
}

Life lifeOfHours(uint64_t seed, uint32_t hours) {
  constexpr kj::Duration PERIOD = 20 * kj::MINUTES, AWAKE = 6 * kj::SECONDS;
  auto life = seed % 2 == 0 ? lifeUnderPowerCuts(seed, 0) : lifeInCommitModeMemory(seed, 0);
  life.cluster.scrubBytesPerSecond =
      64 << 10;  // a round takes an hour: its checksums would be all there is to do
  life.cluster.lifeMax = (hours + 2) * 60 * kj::MINUTES;
  life.users.lasts = hours * 60 * kj::MINUTES;
  life.users.waking = life.faults.waking = {PERIOD, AWAKE};
  life.users.filesMax = 10;
  life.cluster.clocks = clocksThatDrift(seed);
  life.faults.partition = 15;
  life.faults.resetAgain = 10;
  return life;
}

Life lifeOnABadDisk(uint64_t seed, uint32_t operations) {
  auto life = lifeUnderMisfortune(seed, operations);
  life.cluster.chunkServers = 4;
  life.cluster.scrubBytesPerSecond = 64 << 20;
  life.users.nearBoundaryPercent = 0;
  life.restsMax = 6;
  life.faults.pauseMax = 400 * kj::MILLISECONDS;
  life.faults.killDaemon = 15;
  life.faults.rot = 30;
  life.faults.loseWrite = 15;
  life.faults.misdirectWrite = 10;
  life.faults.slowDisk = 10;
  life.faults.fullDisk = 10;
  return life;
}

}  // namespace cairn::sim
