// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// rmdir: an empty directory goes (POSIX rmdir()). It goes at once, also while a mount has it open or as its
// working directory: everything in it then answers stale.
//  - The parent loses the link that was the directory's "..", and its mtime and ctime move.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

Outcome rmdir(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getRmdir();
  auto place = placeIn(InodeId(request.getParent()), request.getName(), transaction);
  if (!place.ok()) return refusal(place.status());
  auto& parent = place->directory;
  auto named = transaction.name(parent.id(), place->name);
  if (named == nullptr) return refusal(Status::NOT_FOUND);
  auto inode = KJ_REQUIRE_NONNULL(transaction.inode(KJ_REQUIRE_NONNULL(named).inode), "a name leads nowhere");
  if (!inode.attributes.isDirectory()) return refusal(Status::NOT_DIRECTORY);
  if (inode.attributes.size > 0) return refusal(Status::NOT_EMPTY);

  LostLink lost(inode, parent, place->name, change.getCaller().getUid(), transaction);
  transaction.dropName(parent.id(), place->name);
  Outcome outcome = lost.carryOut(transaction);
  --parent.attributes.size;
  --parent.attributes.links;
  touch(parent, transaction.now());
  outcome.parent = transaction.put(parent);
  return outcome;
}

}  // namespace cairn::ops
