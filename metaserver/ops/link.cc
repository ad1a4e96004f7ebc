// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// link: one more name of an inode (POSIX link()).
//  - Refusals in the order of Linux: the new name's place, exists, then what is linked: a directory is
//    notPermitted, an orphan notFound (unless it was made without a name: that is how it gets one), and
//    LINK_COUNT_MAX names are the most.
//  - The inode's ctime and the parent's mtime and ctime move.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"
#include "metaserver/ops/tree_count.h"

namespace cairn::ops {

Outcome link(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getLink();
  auto place = placeIn(InodeId(request.getParent()), request.getName(), transaction);
  if (!place.ok()) return refusal(place.status());
  auto& parent = place->directory;
  if (transaction.name(parent.id(), place->name) != nullptr) return refusal(Status::EXISTS);
  auto inode = transaction.liveInode(InodeId(request.getInode()));
  if (!inode.ok()) return refusal(inode.status());
  auto& attributes = inode->attributes;
  if (attributes.isDirectory()) return refusal(Status::NOT_PERMITTED);
  bool nameless = attributes.links == 0;
  if (nameless) {
    auto orphan = transaction.orphan(inode->id());
    bool linkable =
        orphan.map([](auto& record) { return record.linkable == Linkable::YES; }).orDefault(false);
    if (!linkable) return refusal(Status::NOT_FOUND);
  }
  if (attributes.links >= LINK_COUNT_MAX) return refusal(Status::TOO_MANY_LINKS);
  if (!transaction.hasRoomFor(parent.id(), place->name)) return refusal(Status::NO_SPACE);

  if (inode->has(COUNTED)) {
    if (!nameless && bordersBetween(inode->parent, parent.id(), transaction) == Borders::CROSSED) {
      return refusal(Status::CROSS_DEVICE);
    }
    auto status = checkMove(inode->parent, parent.id(), usageOf(*inode, transaction), Usage(), transaction);
    if (nameless && !ok(status)) return refusal(status);
  } else if (nameless) {
    auto status = checkRoom(parent.id(), {.inodes = 1, .bytes = attributes.bytesUsed}, transaction);
    if (!ok(status)) return refusal(status);
  }

  Outcome outcome;
  if (nameless) {
    transaction.dropOrphan(inode->id());
    inode->clear(COUNTED);
    inode->parent = InodeId();
  }
  nameAdded(*inode, parent, place->name, attributes.links, transaction);
  transaction.putName(parent.id(), place->name, {inode->id(), attributes.type});
  ++attributes.links;
  attributes.ctime = transaction.now();
  outcome.attributes = transaction.put(*inode);
  ++parent.attributes.size;
  touch(parent, transaction.now());
  outcome.parent = transaction.put(parent);
  return outcome;
}

}  // namespace cairn::ops
