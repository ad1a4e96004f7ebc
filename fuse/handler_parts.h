// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the handler files share and nobody else sees.
#pragma once

#include "fuse/handlers.h"

namespace cairn::fuse {

struct Handlers::LocalChange {
  // From before the operation until after its answer: whatever was read of the inode in between may be older
  // than what the kernel knows.
  LocalChange(InodeTable& inodes, InodeId inode) : inodes(inodes), inode(inode) { inodes.changed(inode); }
  ~LocalChange() { inodes.changed(inode); }
  KJ_DISALLOW_COPY(LocalChange);

  InodeTable& inodes;
  const InodeId inode;
};

}  // namespace cairn::fuse
