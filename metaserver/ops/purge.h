// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The parts of purge that closing a session and emptying the trash share.
#pragma once

#include "metaserver/ops/rules.h"
#include "metaserver/transaction.h"

namespace cairn::ops {

More purgeOrphans(capnp::List<uint64_t>::Reader inodes, Transaction& transaction);
// Settled before. YES: some are left.

Finished purgeFile(const Inode& inode, size_t& budget, Transaction& transaction);
// A regular file that no name leads to goes with its contents, at most so many chunks. Settled before.

}  // namespace cairn::ops
