// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The trash: how long what is deleted stays in it, how it comes back, how it goes for good. How it gets there
// is in rules.cc (LostLink) and purge.cc.
//  - configureTrash: the cluster's default. It counts for what is deleted from now on.
//  - keepTrash: the same for one directory, and for the directories that are made in it from now on. Times do
//    not move: the content is the same.
//  - restoreTrash: the file gets one name, the old one or another, in a directory that is there. Its ctime
//  and
//    the directory's mtime and ctime move; content, owner, mode and attributes are what they were.
//  - purgeTrash: those that are named go, whether their time is over or not. One that is not in the trash is
//    ignored.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/purge.h"
#include "metaserver/ops/rules.h"
#include "metaserver/ops/tree_count.h"

namespace cairn::ops {

namespace {

void leaveTrash(const Inode& inode, const Departure& departure, Transaction& transaction) {
  transaction.dropTrash(inode.id(), departure.until);
  transaction.leaveWhereabouts(departure.directory);
}

}  // namespace

Outcome configureTrash(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getConfigureTrash();
  if (request.getKeepS() == KEEP_AS_CLUSTER) return refusal(Status::INVALID);
  transaction.counters().trashKeep = request.getKeepS();
  transaction.counters().trashAge = request.getAgeS();
  return Outcome();
}

Outcome keepTrash(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getKeepTrash();
  auto directory = transaction.directory(InodeId(request.getKeeper()));
  if (!directory.ok()) return refusal(directory.status());
  directory->trashKeep = request.getSeconds();
  Outcome outcome;
  outcome.attributes = transaction.put(*directory);
  return outcome;
}

Outcome restoreTrash(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getRestoreTrash();
  InodeId id(request.getRestored().getInode());
  auto found = transaction.trashed(id, request.getRestored().getUntil());
  if (found == nullptr) return refusal(Status::NOT_FOUND);
  auto& departure = KJ_REQUIRE_NONNULL(found);
  auto place = placeIn(InodeId(request.getInto()), request.getAs(), transaction);
  if (!place.ok()) return refusal(place.status());
  auto& parent = place->directory;
  if (transaction.name(parent.id(), place->name) != nullptr) return refusal(Status::EXISTS);
  if (!transaction.hasRoomFor(parent.id(), place->name)) return refusal(Status::NO_SPACE);
  auto inode = KJ_REQUIRE_NONNULL(transaction.inode(id), "a file in the trash is gone", id);
  auto status = checkRoom(parent.id(), {.inodes = 1, .bytes = inode.attributes.bytesUsed}, transaction);
  if (!ok(status)) return refusal(status);

  leaveTrash(inode, departure, transaction);
  transaction.counters().trashBytes -= inode.attributes.bytesUsed;
  inode.clear(TRASHED);
  inode.clear(COUNTED);
  inode.parent = InodeId();
  nameAdded(inode, parent, place->name, 0, transaction);
  inode.attributes.links = 1;
  inode.attributes.ctime = transaction.now();
  transaction.putName(parent.id(), place->name, {id, inode.attributes.type});
  Outcome outcome;
  outcome.attributes = transaction.put(inode);
  ++parent.attributes.size;
  touch(parent, transaction.now());
  outcome.parent = transaction.put(parent);
  return outcome;
}

Outcome purgeTrash(rpc::Operation::Reader operation, Transaction& transaction) {
  transaction.settle();
  Outcome outcome;
  size_t budget = CHUNKS_PER_OPERATION_MAX;
  for (auto entry : operation.getPurgeTrash()) {
    InodeId id(entry.getInode());
    auto found = transaction.trashed(id, entry.getUntil());
    KJ_IF_MAYBE (departure, found) {
      auto inode = KJ_REQUIRE_NONNULL(transaction.inode(id), "a file in the trash is gone", id);
      auto finished = purgeFile(inode, budget, transaction);
      KJ_IF_MAYBE (rest, transaction.inode(id)) {
        transaction.counters().trashBytes -= inode.attributes.bytesUsed - rest->attributes.bytesUsed;
      } else {
        transaction.counters().trashBytes -= inode.attributes.bytesUsed;
      }
      if (finished == Finished::NO) {
        outcome.more = More::YES;
        return outcome;
      }
      leaveTrash(inode, *departure, transaction);
      ++outcome.number;
    }
  }
  return outcome;
}

}  // namespace cairn::ops
