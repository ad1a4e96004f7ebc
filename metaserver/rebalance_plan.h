// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Balance: when chunks are moved from fuller stores to emptier ones, and between which. It begins when an
// operator says so, or by itself when the fullest and the emptiest store are far apart (a store has joined,
// or one fills up), and ends when they are nearly equal or nothing can be moved any more. Moving has the last
// place in the repair plan, which carries it out. INVARIANT: a move never makes the emptier store the fuller
// one. Pure: the caller passes what the stores tell and looks for a chunk that fits. Called by rebalance.cc.
#pragma once

#include <kj/vector.h>

#include <map>

#include "rpc/units.h"

namespace cairn {

constexpr uint32_t SPREAD_BEGIN = 2500;  // hundredths of a percent: apart by a quarter, it begins by itself
constexpr uint32_t SPREAD_END = 500;     // apart by a twentieth, it is well
constexpr uint32_t MOVES_AT_ONCE = 4;

struct BalanceStore {
  ServerId server;
  uint64_t bytesTotal = 0, bytesFree = 0;
  bool present = false;  // it is up, and not drained
  bool takes = false;    // and has room
};

class RebalancePlan {
 public:
  enum class Automatic { NO, YES };
  explicit RebalancePlan(Automatic automatic) : automatic(automatic) {}

  void begin();  // an operator says so
  bool running() const { return active; }
  uint64_t moves() const { return moved; }  // since it began

  uint32_t spread(kj::ArrayPtr<const BalanceStore> stores) const;
  // How far the fullest and the emptiest are apart, in hundredths of a percent, with the moves under way as
  // if done.

  struct Wish {
    ServerId from, to;
    uint64_t bytesMax = 0;  // a chunk larger than this would not help
  };
  kj::Maybe<Wish> next(kj::ArrayPtr<const BalanceStore> stores);
  // Which move would help most; null when it is well, or enough are under way.

  void began(ChunkHandle chunk, const Wish& wish, uint64_t bytes);
  void ended(ChunkHandle chunk);  // moved, or not
  void nothingFits();             // no chunk could be found for the last wish: it ends here
  kj::Vector<ChunkHandle> underWay() const;

 private:
  struct Move {
    ServerId from, to;
    uint64_t bytes = 0;
  };
  struct Use {
    ServerId server;
    uint64_t bytesTotal = 0, bytesUsed = 0;
    uint32_t share() const {
      return bytesTotal == 0 ? 0 : uint32_t(double(bytesUsed) * 10'000 / double(bytesTotal));
    }
  };
  kj::Vector<Use> uses(kj::ArrayPtr<const BalanceStore> stores) const;

  Automatic automatic;
  bool active = false;
  bool exhausted = false;  // nothing fitted: does not begin by itself until the stores are nearer again
  uint64_t moved = 0;
  std::map<ChunkHandle, Move> open;
};

}  // namespace cairn
