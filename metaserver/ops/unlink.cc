// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// unlink: a name goes, and with the last one the inode once nobody holds it open (POSIX unlink()).
//  - A directory is isDirectory (Linux; POSIX says EPERM).
//  - The inode's ctime and the parent's mtime and ctime move. The answer has the attributes as they are after
//  it, with
//    0 links when that was the last; then `orphan` says whether it lives on.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

Outcome unlink(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getUnlink();
  auto place = placeIn(InodeId(request.getParent()), request.getName(), transaction);
  if (!place.ok()) return refusal(place.status());
  auto& parent = place->directory;
  auto named = transaction.name(parent.id(), place->name);
  if (named == nullptr) return refusal(Status::NOT_FOUND);
  auto inode = KJ_REQUIRE_NONNULL(transaction.inode(KJ_REQUIRE_NONNULL(named).inode), "a name leads nowhere");
  if (inode.attributes.isDirectory()) return refusal(Status::IS_DIRECTORY);

  LostLink lost(inode, parent, place->name, change.getCaller().getUid(), transaction);
  transaction.dropName(parent.id(), place->name);
  Outcome outcome = lost.carryOut(transaction);
  --parent.attributes.size;
  touch(parent, transaction.now());
  outcome.parent = transaction.put(parent);
  return outcome;
}

}  // namespace cairn::ops
