// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// accessed: what a mount has read since it last said so (POSIX read(): atime is marked for update; Linux
// relatime).
//  - atime moves where it is not later than mtime and ctime, or a day older than the reading, and only
//  forwards: nothing
//    else moves, so reading is no change for anybody's cache.
//  - Best effort by nature: inodes that are gone are passed over.
#include "metaserver/ops/operations.h"

namespace cairn::ops {

namespace {

constexpr int64_t DAY_NS = int64_t(24) * 3600 * 1'000'000'000;

bool isDue(const Attributes& attributes, int64_t read) {
  if (read <= attributes.atime) return false;
  return attributes.atime <= attributes.mtime || attributes.atime <= attributes.ctime ||
         read - attributes.atime >= DAY_NS;
}

}  // namespace

Outcome accessed(rpc::Change::Reader change, Transaction& transaction) {
  auto accesses = change.getAccessed();
  for (auto access : accesses) {
    auto found = transaction.inode(InodeId(access.getInode()));
    KJ_IF_MAYBE (inode, found) {
      if (inode->has(TRASHED) || !isDue(inode->attributes, access.getTime())) continue;
      inode->attributes.atime = access.getTime();
      transaction.put(*inode);
    }
  }
  return Outcome();
}

}  // namespace cairn::ops
