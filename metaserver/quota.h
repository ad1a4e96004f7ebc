// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How much is below a directory, and how much may be. Values; how they are kept exact is in tree_count.h.
#pragma once

#include <kj/string.h>

#include <vector>

#include "rpc/units.h"

namespace cairn {

struct Usage {
  // Inodes, and bytes of one copy as st_blocks tells them; of these, what is in the trash. Differences are
  // added with the wrap-around of unsigned numbers.
  uint64_t inodes = 0, bytes = 0, trashInodes = 0, trashBytes = 0;

  Usage& operator+=(const Usage& other) {
    inodes += other.inodes, bytes += other.bytes;
    trashInodes += other.trashInodes, trashBytes += other.trashBytes;
    return *this;
  }
  Usage& operator-=(const Usage& other) {
    inodes -= other.inodes, bytes -= other.bytes;
    trashInodes -= other.trashInodes, trashBytes -= other.trashBytes;
    return *this;
  }
  bool operator==(const Usage&) const = default;
  uint64_t liveInodes() const { return inodes - trashInodes; }
  uint64_t liveBytes() const { return bytes - trashBytes; }
};

struct QuotaLimits {
  uint64_t bytes = 0, inodes = 0;  // 0: no limit

  bool allows(const Usage& used, const Usage& more) const {
    // The trash is no obstacle: it is given back. What is over already may not grow, and may do anything
    // else.
    auto fits = [](uint64_t limit, uint64_t before, uint64_t added) {
      return limit == 0 || added == 0 || before + added <= limit;
    };
    return fits(bytes, used.liveBytes(), more.liveBytes()) &&
           fits(inodes, used.liveInodes(), more.liveInodes());
  }
  uint64_t bytesLeft(const Usage& used) const {
    return bytes == 0 ? UINT64_MAX : bytes - kj::min(bytes, used.liveBytes());
  }
  uint64_t inodesLeft(const Usage& used) const {
    return inodes == 0 ? UINT64_MAX : inodes - kj::min(inodes, used.liveInodes());
  }
  bool isOver(const Usage& used) const {  // counting what is in the trash
    return (bytes > 0 && used.bytes > bytes) || (inodes > 0 && used.inodes > inodes);
  }
};

struct LinkedFrom {
  // How many names of an inode with several are in a directory.
  InodeId directory;
  uint32_t names = 0;
};
using Backlinks = std::vector<LinkedFrom>;

enum class Counting : uint8_t {
  OFF,      // there never was a quota: nothing is counted
  RUNNING,  // the first has been set: the tree is counted, and what changes meanwhile
  DONE,     // the counts are exact, and stay so
};

}  // namespace cairn
