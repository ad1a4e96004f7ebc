// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Who may touch which blocks of a chunk: writes of overlapping blocks take their turns in the order they
// came, reads share, everything else runs side by side. INVARIANT: of two conflicting holds the one that
// entered later is granted only after the earlier is gone. Not a mutex: everything is on one loop. Used by
// chunk_store.cc, one per live chunk.
#pragma once

#include <kj/async.h>
#include <kj/memory.h>

#include <cstdint>

namespace cairn {

class RangeLocks {
 public:
  enum class Mode { SHARED, EXCLUSIVE };

  class Hold {
    // A place in the order, from enter() until it is destroyed.
   public:
    ~Hold() noexcept(false);
    KJ_DISALLOW_COPY(Hold);
    bool granted() const { return blockers == 0; }
    kj::Promise<void> whenGranted();

   private:
    friend class RangeLocks;
    Hold(RangeLocks& locks, uint32_t first, uint32_t end, Mode mode);
    RangeLocks& locks;
    uint32_t first, end;
    Mode mode;
    uint32_t blockers = 0;  // earlier conflicting holds that are still there
    Hold* earlier = nullptr;
    Hold* later = nullptr;
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> waiter;

    bool conflicts(const Hold& other) const;
  };

  ~RangeLocks() noexcept(false);
  kj::Own<Hold> enter(uint32_t firstBlock, uint32_t endBlock, Mode mode);  // blocks [first, end)
  bool idle() const { return newest == nullptr; }

 private:
  Hold* oldest = nullptr;
  Hold* newest = nullptr;
};

}  // namespace cairn
