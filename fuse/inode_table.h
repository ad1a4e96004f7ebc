// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the kernel holds of us: for each inode how many lookups it has not yet forgotten, and of which version
// of the data its pages are. Also orders local changes in time, so that a directory page read earlier never
// overwrites attributes the kernel has learned since (see directories.cc). INVARIANT: an entry exists exactly
// while its lookup count is above zero (the root's is never forgotten).
#pragma once

#include <kj/common.h>
#include <kj/time.h>

#include <cstdint>
#include <unordered_map>

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

  enum class Cached { CURRENT, OLD };
  Cached opened(InodeId inode, uint64_t dataVersion);
  // Are the pages that the kernel may have of that version? It is going to fill its pages with that version.
  void pagesChanged(InodeId inode);  // they are of no known version now
  void shown(InodeId inode, uint64_t dataVersion, uint8_t extended, kj::TimePoint now);
  // Attributes of that version, with those extended attributes, were given to the kernel.
  bool showsOther(InodeId inode, uint64_t dataVersion) const;  // it may have attributes of another version

  kj::Maybe<uint8_t> extended(InodeId inode, kj::TimePoint oldest) const;
  // Which extended attributes it had when it was last shown, unless that was longer ago or it has changed
  // since.

  using Moment = uint64_t;
  Moment now() const { return clock; }
  void changed(InodeId inode);  // a local operation changes (or has just changed) its attributes
  bool unchangedSince(InodeId inode, Moment then) const;

 private:
  struct Entry {
    uint64_t lookups = 0;
    Moment changedAt = 0;
    uint64_t pagesVersion = 0;
    uint64_t shownVersion = 0;
    kj::TimePoint shownAt = kj::origin<kj::TimePoint>();  // origin: not, since it has changed
    uint8_t extended = 0;
    enum class Pages { UNKNOWN, KNOWN } pages = Pages::UNKNOWN;
  };
  std::unordered_map<InodeId, Entry> entries;
  Moment clock = 1;
  Moment lastForgottenChange = 0;  // of the inodes that are no longer in the table
};

}  // namespace cairn::fuse
