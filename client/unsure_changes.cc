// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/unsure_changes.h"

#include <algorithm>

namespace cairn::client {

void UnsureChanges::answered(InodeId inode, LogIndex index) {
  if (!inode || index <= known) return;
  auto& last = latest[inode];
  last = std::max(last, index);
}

void UnsureChanges::answered(InodeId inode, LogIndex index, uint32_t age) {
  if (age == ages) return answered(inode, index);
  if (inode && index >= lastLost) losses.insert(inode);
}

void UnsureChanges::durable(LogIndex upTo) {
  if (upTo <= known) return;
  known = upTo;
  std::erase_if(latest, [upTo](auto& entry) { return entry.second <= upTo; });
}

void UnsureChanges::lost(LogIndex from) {
  ++ages;
  lastLost = from;
  for (auto& [inode, index] : latest) {
    if (index >= from) losses.insert(inode);
  }
  std::erase_if(latest, [from](auto& entry) { return entry.second >= from; });
}

bool UnsureChanges::takeLosses() {
  bool any = !losses.empty();
  losses.clear();
  return any;
}

bool UnsureChanges::takeLoss(InodeId inode) {
  return losses.erase(inode) > 0;
}

}  // namespace cairn::client
