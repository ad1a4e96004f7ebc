// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The byte ranges of one file that one owner has locked (POSIX fcntl(): locking what one has locked already
// changes its type, and unlocking the middle of a range leaves its two ends). INVARIANT: sorted, not
// overlapping; neighbours that touch have different types. Pure. Called by the metaserver, which grants, and
// by clients, which remember what to ask for again.
#pragma once

#include <cstdint>
#include <vector>

#include "rpc/metaserver.capnp.h"

namespace cairn {

using LockType = rpc::LockType;
using LockKind = rpc::LockKind;

constexpr uint64_t LOCK_END_MAX = INT64_MAX;  // the last byte that a file may have

struct LockRange {
  uint64_t start = 0, end = LOCK_END_MAX;  // both inclusive
  LockType type = LockType::UNLOCK;

  bool overlaps(const LockRange& other) const { return start <= other.end && other.start <= end; }
  bool operator==(const LockRange&) const = default;
};

inline bool excludes(LockType one, LockType other) {
  // Of two owners' locks on the same byte.
  return one == LockType::EXCLUSIVE || other == LockType::EXCLUSIVE;
}

class LockRanges {
 public:
  void set(LockRange range);  // type UNLOCK gives back
  const std::vector<LockRange>& all() const { return ranges; }
  bool isEmpty() const { return ranges.empty(); }

 private:
  std::vector<LockRange> ranges;
};

}  // namespace cairn
