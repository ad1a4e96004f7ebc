// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "rpc/lock_ranges.h"

#include <algorithm>

namespace cairn {

void LockRanges::set(LockRange range) {
  std::vector<LockRange> result;
  result.reserve(ranges.size() + 2);
  for (auto& old : ranges) {
    if (!old.overlaps(range)) {
      result.push_back(old);
      continue;
    }
    if (old.start < range.start) result.push_back({old.start, range.start - 1, old.type});
    if (old.end > range.end) result.push_back({range.end + 1, old.end, old.type});
  }
  if (range.type != LockType::UNLOCK) result.push_back(range);
  std::sort(result.begin(), result.end(), [](auto& a, auto& b) { return a.start < b.start; });

  ranges.clear();
  for (auto& next : result) {
    if (!ranges.empty() && ranges.back().type == next.type && ranges.back().end + 1 == next.start) {
      ranges.back().end = next.end;
    } else {
      ranges.push_back(next);
    }
  }
}

}  // namespace cairn
