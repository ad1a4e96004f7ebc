// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See trash_plan.h.
#include "metaserver/trash_plan.h"

#include <algorithm>
#include <vector>

namespace cairn {

namespace {
constexpr uint64_t RESERVE_MAX = 10ull << 30;
constexpr uint64_t RESERVE_DIVISOR = 10;  // 10 %
}  // namespace

uint64_t trashReserve(uint64_t bytesTotal) {
  return std::min(RESERVE_MAX, bytesTotal / RESERVE_DIVISOR);
}

uint64_t TrashPlan::due(kj::ArrayPtr<const TrashStore> stores, uint32_t copies, uint64_t garbage,
                        kj::TimePoint now) {
  KJ_IF_MAYBE (before, last) {
    auto elapsed = now - *before;
    if (elapsed < TRASH_TOLD || (elapsed < TRASH_EFFECT && garbage > 0)) return 0;
  }
  // What the roomiest stores lack, as many as a chunk wants: the others need not have room.
  std::vector<uint64_t> lacks;
  for (auto& store : stores) {
    auto reserve = trashReserve(store.bytesTotal);
    lacks.push_back(reserve - std::min(reserve, store.bytesFree));
  }
  std::sort(lacks.begin(), lacks.end());
  uint64_t sum = 0, counted = std::min<uint64_t>(copies, lacks.size());
  for (uint64_t i = 0; i < counted; ++i) sum += lacks[i];
  auto wanted = counted > 0 ? (sum + counted - 1) / counted : 0;
  return now < wantedUntil ? std::max(wanted, TRASH_STEP) : wanted;
}

bool TrashPlan::spaceMayCome(uint64_t trash, uint64_t garbage, kj::TimePoint now) const {
  if (trash > 0) return true;
  KJ_IF_MAYBE (before, last) {
    return now - *before < TRASH_EFFECT || (garbage > 0 && now - *before < TRASH_WANTED);
  }
  return false;
}

}  // namespace cairn
