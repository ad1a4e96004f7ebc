// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the kernel holds of us: for each inode how many lookups it has not yet forgotten, and whether it may
// have pages of it or names in it. INVARIANT: an entry exists exactly while its lookup count is above zero
// (the root's is never forgotten).
#pragma once

#include <kj/common.h>

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "rpc/units.h"

namespace cairn::fuse {

class InodeTable {
 public:
  InodeTable();

  void lookedUp(InodeId inode);                  // the kernel was given the inode once more
  void forget(InodeId inode, uint64_t lookups);  // FUSE_FORGET
  bool knows(InodeId inode) const { return entries.count(inode) != 0; }
  size_t size() const { return entries.size(); }
  uint64_t lookupsOf(InodeId inode) const;

  void opened(InodeId inode);  // it may have pages from now on
  std::vector<InodeId> withPages() const;
  void namesKept(InodeId directory);  // it may keep a name of that directory, or that there is none
  bool takeNames(InodeId directory);  // may it have? From now on it has not

 private:
  struct Entry {
    uint64_t lookups = 0;
    bool hasPages = false, hasNames = false;
  };
  std::unordered_map<InodeId, Entry> entries;
};

}  // namespace cairn::fuse
