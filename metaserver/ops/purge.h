// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of purge that closing a session shares.
#pragma once

#include "metaserver/transaction.h"

namespace cairn::ops {

More purgeOrphans(capnp::List<uint64_t>::Reader inodes, Transaction& transaction);
// Settled before. YES: some are left.

}  // namespace cairn::ops
