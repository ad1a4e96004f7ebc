// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/inode_table.h"

namespace cairn::fuse {

InodeTable::InodeTable() {
  entries[ROOT_INODE].lookups = 1;
}

void InodeTable::lookedUp(InodeId inode) {
  if (inode == ROOT_INODE) return;  // the kernel does not count the root
  ++entries[inode].lookups;
}

void InodeTable::forget(InodeId inode, uint64_t lookups) {
  if (inode == ROOT_INODE) return;
  auto found = entries.find(inode);
  if (found == entries.end()) return;
  auto& entry = found->second;
  entry.lookups -= kj::min(lookups, entry.lookups);
  if (entry.lookups > 0) return;
  entries.erase(found);
}

uint64_t InodeTable::lookupsOf(InodeId inode) const {
  auto found = entries.find(inode);
  return found == entries.end() ? 0 : found->second.lookups;
}

void InodeTable::opened(InodeId inode) {
  auto found = entries.find(inode);
  if (found != entries.end()) found->second.hasPages = true;
}

std::vector<InodeId> InodeTable::withPages() const {
  std::vector<InodeId> inodes;
  for (auto& [inode, entry] : entries) {
    if (entry.hasPages) inodes.push_back(inode);
  }
  return inodes;
}

void InodeTable::namesKept(InodeId directory) {
  auto found = entries.find(directory);
  if (found != entries.end()) found->second.hasNames = true;
}

bool InodeTable::takeNames(InodeId directory) {
  auto found = entries.find(directory);
  if (found == entries.end() || !found->second.hasNames) return false;
  found->second.hasNames = false;
  return true;
}

}  // namespace cairn::fuse
