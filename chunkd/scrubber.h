// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Scrubbing: reads all chunks of the store and compares their bytes with their checksums,
// so that what rots unread is found while there are other replicas to replace it from. The one that has
// waited longest comes first, and when that was is kept in the index: a restart goes on where it was. What
// has been read within `every` waits. INVARIANT: it reads at most `bytesPerSecond`, a piece at a time, and
// steps aside while others have work for the store. Owned by chunk_server.cc.
#pragma once

#include <kj/async.h>
#include <kj/function.h>
#include <kj/timer.h>

#include <deque>

#include "chunkd/chunk_store.h"
#include "rpc/coroutine.h"

namespace cairn {

struct ScrubOptions {
  uint64_t bytesPerSecond = 8 << 20;    // a terabyte in a day and a half; 0: not at all
  kj::Duration every = 24 * kj::HOURS;  // no chunk is read again before
};

struct ScrubProgress {
  uint64_t oldestSeconds = 0;  // since the chunk that waits longest was checked
  uint64_t bytes = 0;          // since the start
  uint64_t damaged = 0;        // chunks
  uint64_t bytesPerSecond = 0;
};

class Scrubber {
 public:
  Scrubber(ChunkStore& store, ScrubOptions options, kj::Timer& timer, const kj::Clock& clock,
           kj::Function<bool()> busy);
  KJ_DISALLOW_COPY(Scrubber);

  Async<void> run();  // for ever
  ScrubProgress progress() const;

 private:
  ChunkStore& store;
  const ScrubOptions options;
  kj::Timer& timer;
  const kj::Clock& clock;
  kj::Function<bool()> busy;
  struct Turn {
    ChunkHandle handle;
    CheckTime checked;
  };
  std::deque<Turn> queue;   // of this round, oldest first
  CheckTime oldestResting;  // of the chunks that are not due; 0: none is
  uint64_t bytes = 0, damaged = 0;

  Async<void> beginRound();
  Async<void> check(ChunkHandle handle);
  Async<void> stepAside();
};

}  // namespace cairn
