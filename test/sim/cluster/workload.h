// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What users do to a filesystem, drawn from a seed, and the check that everything they see is right. Each
// worker has a directory of its own on one client, changes files and names there, and looks at the files of
// the others. A worker does one thing after the other, so there is always one right answer, or two while it
// is in doubt. INVARIANT (of the filesystem under test): no operation fails for a reason that is not its own;
// reads are as FileOracle says; listings are what the answered operations add up to.
#pragma once

#include <kj/async.h>
#include <kj/vector.h>

#include <memory>
#include <string>
#include <vector>

#include "client/filesystem.h"
#include "rpc/coroutine.h"
#include "test/sim/file_oracle.h"
#include "test/sim/seeded_entropy.h"
#include "test/sim/transcript.h"
#include "test/sim/virtual_time.h"

namespace cairn::sim {

struct WorkloadOptions {
  uint64_t seed = 1;
  uint32_t workersPerClient = 2;
  uint32_t operations = 150;             // of each worker
  kj::Duration lasts = 0 * kj::SECONDS;  // when not 0: so long, however many operations that are
  uint32_t filesMax = 6;                 // of each worker at a time
  uint32_t nearBoundaryPercent = 10;  // of writes: around the first chunk boundary, 64 MiB into a sparse file
  kj::Duration pauseMax = 100 * kj::MILLISECONDS;  // between two operations
  Waking waking;
  enum class Settled {
    BY_FLUSH,  // no machine loses its power: what is flushed is certain
    BY_SYNC,   // machines do: what is synced is, and a sync after a power cut may say that bytes are lost
  } settled = Settled::BY_FLUSH;
  enum class Names {
    AT_ONCE,  // what is answered is certain
    BY_SYNC,  // commit mode `memory`: after a power cut names and lengths are as of some moment since the
              // last sync
  } names = Names::AT_ONCE;
};

class Workload {
 public:
  Workload(kj::Timer& timer, Transcript& transcript, WorkloadOptions options);
  ~Workload() noexcept(false);
  KJ_DISALLOW_COPY(Workload);

  void addClient(Filesystem& client);  // in order; before run()

  kj::Promise<void> run();
  // Until all workers have done their operations and flushed.

  void clientDies(uint32_t client);
  // Call before its Filesystem goes. Its workers stop in the middle of whatever they do; what they had not
  // flushed is in doubt from then on, and so is the operation under way.
  void clientIsBack(uint32_t client, Filesystem& filesystem);  // they go on

  void powerFails();  // of one machine or of all

  Async<void> verify(Filesystem& fresh);
  // After run(): names, sizes and contents as another client sees them.

  std::vector<InodeId> inodes() const;  // of all files there are now
  const kj::Vector<kj::String>& violations() const { return found; }
  uint64_t operationsDone() const { return done; }
  uint64_t lossesTold() const { return losses; }     // by syncs
  uint64_t namesLost() const { return rolledBack; }  // times that names were as of an earlier moment

 private:
  struct File;
  class Worker;
  friend class Worker;

  kj::Timer& timer;
  Transcript& transcript;
  WorkloadOptions options;
  std::vector<kj::Own<Worker>> workers;
  kj::Vector<kj::String> found;
  WriteNumber lastWrite = 0;
  uint64_t done = 0, losses = 0, rolledBack = 0;
  uint32_t clients = 0;

  void violated(kj::StringPtr who, kj::String what);
};

Async<Result<kj::Array<kj::byte>>> readAll(OpenFile& file, uint64_t offset, uint64_t size);
// In pieces of at most 1 MiB, up to the end of the file.

}  // namespace cairn::sim
