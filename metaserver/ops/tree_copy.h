// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a copy of an inode in a snapshot has of the original, and where a copy of a tree may stand: what a
// snapshot in one operation and one in steps have in common.
//  - Names, owners, modes, times, extended attributes, ACLs and symlinks are as they were.
//  - Files share their chunks, each up to the length of the file: what its writer has applied and not
//    published is not in the copy (the proposer sees to it that there is nothing). Chunks beyond the length
//    are left out.
//  - Limits of directories are not copied.
#pragma once

#include "metaserver/ops/rules.h"
#include "metaserver/transaction.h"

namespace cairn::ops {

using StillHandles = capnp::List<uint64_t>::Reader;  // in rising order
bool canBeShared(const ChunkReference& reference, StillHandles still, Transaction& transaction);
// It is read only, or the proposer has made it stand still.

Result<Place> placeForCopy(const Inode& original, InodeId directory, kj::StringPtr name,
                           Transaction& transaction);
// Refuses as placeIn(), then: EXISTS, NO_SPACE, LOOP (it lies in the original).

Inode copyOf(const Inode& original, InodeId id, Transaction& transaction);
// Without names (the caller sets the links), contents and limits. What a directory gets counts from the
// start.

Finished shareChunks(Inode& copy, kj::ArrayPtr<const ChunkReference> references, Transaction& transaction);
// The copy gets these of the original, in their order. YES: the last ones lie beyond its length.

void copyExtras(const Inode& original, const Inode& copy, Transaction& transaction);
// Extended attributes and the target. Settled before.

Attributes nameCopy(Place& place, const Inode& top, Transaction& transaction);
// Of a tree: its top, which has been put, gets its name. Answers the directory's attributes.

}  // namespace cairn::ops
