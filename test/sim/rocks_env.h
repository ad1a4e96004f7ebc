// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The disk under a simulated process's RocksDB, in memory, which dies as the process or its machine dies.
// RocksDB is given a life of the disk. When that life has ended nothing it still does (its destructor
// flushes) reaches the disk; the next life sees what the death has left. INVARIANT: after a power cut a file
// holds at least what was synced, and at most what was written. Directory entries are taken to be durable at
// once; RocksDB syncs its directories where it counts on them.
#pragma once

#include <rocksdb/env.h>

#include <memory>

#include "test/sim/seeded_entropy.h"

namespace cairn::sim {

class RocksDisk {
 public:
  RocksDisk();
  ~RocksDisk();

  rocksdb::Env* newLife();                 // for the process about to start; valid until the RocksDisk goes
  void killProcess();                      // ends the life; what was written stays
  void losePower(SeededEntropy& entropy);  // ends it; of what was not synced a random part at the end is lost

 private:
  class Life;
  struct Files;
  std::shared_ptr<Files> files;
  std::vector<std::unique_ptr<Life>> lives;
};

}  // namespace cairn::sim
