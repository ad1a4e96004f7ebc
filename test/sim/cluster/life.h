// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The life of a cluster from one seed: users, misfortune, and in the end the look at everything. The
// invariants, all of them:
//   1. No user sees an error. Two exceptions, of machines that lose power: the first sync of a file after it
//      may say that bytes are lost (P1: then they may be, and only then).
//   2. A read gives the bytes of the latest write of its file, as FileOracle says; of other clients' files,
//      of what was flushed. Never bytes that nobody has written, or that fail their checksum (P2, P3).
//   3. After a power cut what was synced is there; of what was not, each byte is that of one of the writes
//      since, or of before (P5).
//   4. Names are what the answered operations add up to (P5). In commit mode `memory`, after a power cut,
//   what they added up
//      to at some moment since the last sync, and syncs of what that took say so.
//   5. At rest the current replicas of a chunk are equal, length, checksums and bytes, and at least one is
//      there: garbage never takes a live chunk (P5, P8).
// Used by cluster_test.cc and mutants_test.cc.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "test/sim/cluster/faults.h"
#include "test/sim/cluster/workload.h"

namespace cairn::sim {

struct Life {
  uint64_t seed = 1;
  SimClusterOptions cluster;
  WorkloadOptions users;
  kj::Duration metaserverDisk = 50 * kj::MICROSECONDS;  // for each write and sync of its log
  FaultOptions faults;
  uint32_t restsMax =
      1;  // looks at the replicas, one after the other, until all are well: scrubbing takes a while
};

struct LifeOutcome {
  std::vector<std::string> problems;  // empty: all invariants held
  std::string transcript;             // its last lines
  uint64_t digest = 0, lines = 0, operations = 0, seconds = 0, losses = 0, rolledBack = 0;
  std::map<std::string, uint64_t> faults;  // by kind
};

LifeOutcome live(const Life& life);

Life lifeUnderMisfortune(uint64_t seed, uint32_t operations);
Life lifeUnderPowerCuts(uint64_t seed, uint32_t operations);
Life lifeInCommitModeMemory(uint64_t seed, uint32_t operations);
Life lifeUnderPartitions(uint64_t seed, uint32_t operations);
// No two clocks run alike; one host at a time is cut off from some of the others, and connections break again
// and again.

Life lifeOfHours(uint64_t seed, uint32_t hours);
// All that the others have, but the bad disk: some seconds of it, then long quiet, in which leases, sessions
// and graces run out, chunks are repaired, scrubbed and moved, and what is deleted goes.

Life lifeOnABadDisk(uint64_t seed, uint32_t operations);

}  // namespace cairn::sim
