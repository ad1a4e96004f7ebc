// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How much is below each directory, kept exact with every change in the same batch, once a quota has been
// set.
//
// INVARIANT: the usage of a directory is the sum, over all counted inodes whose `parent` it is, of one inode,
// their bytes, and their own usage. Transaction::put() and dropInode() keep it, by comparing what an inode
// was with what it becomes; so an operation cannot forget it. What the operations have to say is which
// directory an inode is counted in; that is here:
//  - A file is counted in one directory that it has a name in. With several names, the number of them in each
//    directory is kept beside it, so that there is another one to go to when the last name in one goes.
//  - Without a name (open, or in the trash) it is counted in the nearest directory above its last one that
//  has
//    a quota, if there is any.
//  - The tree is counted from the root down, in steps of countTree. A name counts once the step has passed
//  its
//    place in its directory (a directory made since then is passed from the start); names before that place
//    are kept up with, those behind it are left to the count.
#pragma once

#include "metaserver/transaction.h"

namespace cairn::ops {

void nameAdded(Inode& inode, const Inode& directory, kj::StringPtr name, uint32_t others,
               Transaction& transaction);
void nameRemoved(Inode& inode, const Inode& directory, kj::StringPtr name, uint32_t others,
                 Transaction& transaction);
// `others`: how many other names the inode has. The caller puts the inode, with the new name or without.

void nameless(Inode& inode, InodeId directory, Transaction& transaction);
// It has no name now, the last one was in that directory.

Status checkRoom(InodeId directory, const Usage& more, Transaction& transaction);
// OVER_QUOTA: one of the quotas above does not allow it.

Status checkMove(InodeId from, InodeId to, const Usage& moved, const Usage& freed, Transaction& transaction);
// The same of the quotas that are above `to` and not above `from`, which lose `freed` by it.

enum class Borders { SAME, CROSSED };
Borders bordersBetween(InodeId from, InodeId to,
                       Transaction& transaction);  // is there a quota above one only?

Usage usageOf(const Inode& inode, Transaction& transaction);  // what it adds to the directory it is in

}  // namespace cairn::ops
