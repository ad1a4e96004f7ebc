// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See rebalance_plan.h.
#include "metaserver/rebalance_plan.h"

#include <algorithm>

namespace cairn {

kj::Vector<RebalancePlan::Use> RebalancePlan::uses(kj::ArrayPtr<const BalanceStore> stores) const {
  kj::Vector<Use> result;
  for (auto& store : stores) {
    if (!store.present || store.bytesTotal == 0) continue;
    Use use{store.server, store.bytesTotal, store.bytesTotal - std::min(store.bytesFree, store.bytesTotal)};
    for (auto& [chunk, move] : open) {
      if (move.from == store.server) use.bytesUsed -= std::min(use.bytesUsed, move.bytes);
      if (move.to == store.server) use.bytesUsed += move.bytes;
    }
    result.add(use);
  }
  return result;
}

uint32_t RebalancePlan::spread(kj::ArrayPtr<const BalanceStore> stores) const {
  uint32_t most = 0, least = UINT32_MAX;
  for (auto& use : uses(stores)) {
    most = std::max(most, use.share());
    least = std::min(least, use.share());
  }
  return least == UINT32_MAX ? 0 : most - least;
}

void RebalancePlan::begin() {
  active = true;
  exhausted = false;
  moved = 0;
}

kj::Maybe<RebalancePlan::Wish> RebalancePlan::next(kj::ArrayPtr<const BalanceStore> stores) {
  auto apart = spread(stores);
  if (apart < SPREAD_BEGIN) exhausted = false;
  if (!active && automatic == Automatic::YES && apart >= SPREAD_BEGIN && !exhausted) begin();
  if (!active) return nullptr;
  if (apart <= SPREAD_END) {
    if (open.empty()) active = false;
    return nullptr;
  }
  if (open.size() >= MOVES_AT_ONCE) return nullptr;
  auto all = uses(stores);
  auto byShare = [](const Use& a, const Use& b) { return a.share() < b.share(); };
  auto fullest = std::max_element(all.begin(), all.end(), byShare);
  auto emptiest = all.end();
  for (auto it = all.begin(); it != all.end(); ++it) {
    bool takes = false;
    for (auto& store : stores) takes |= store.server == it->server && store.takes;
    if (takes && (emptiest == all.end() || it->share() < emptiest->share())) emptiest = it;
  }
  if (emptiest == all.end() || emptiest->server == fullest->server) return nullptr;
  // Half of what they are apart, of the smaller of the two.
  auto bytes = double(fullest->share() - emptiest->share()) / 10'000 / 2 *
               double(std::min(fullest->bytesTotal, emptiest->bytesTotal));
  return Wish{fullest->server, emptiest->server, uint64_t(bytes)};
}

void RebalancePlan::began(ChunkHandle chunk, const Wish& wish, uint64_t bytes) {
  open[chunk] = Move{wish.from, wish.to, bytes};
  ++moved;
}

void RebalancePlan::ended(ChunkHandle chunk) {
  open.erase(chunk);
}

void RebalancePlan::nothingFits() {
  if (!open.empty()) return;
  active = false;
  exhausted = true;
}

kj::Vector<ChunkHandle> RebalancePlan::underWay() const {
  kj::Vector<ChunkHandle> result;
  for (auto& [chunk, move] : open) result.add(chunk);
  return result;
}

}  // namespace cairn
