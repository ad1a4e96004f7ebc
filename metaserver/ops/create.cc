// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// create: open(O_CREAT), mknod, mkdir, symlink (POSIX open(), mknod(), mkdir(), symlink()).
//  - `umask` is taken from `mode`, unless the directory has a default ACL: then that becomes the new node's
//  access ACL, cut
//    down to `mode`, and a new directory's default ACL as well (Linux posix_acl_create). Of a symlink the
//    mode is 0777.
//  - The owner is the caller. In a directory with setgid the group is the directory's, and a new directory
//  gets the
//    bit as well (Linux inode_init_owner).
//  - Not exclusive concerns regular files only: an existing node that is no directory is answered as it is
//  (open
//    without O_EXCL); a directory refuses with isDirectory.
//  - `temporary` (O_TMPFILE): a regular file without a name, which `link` may give it. The parent does not
//  move.
//  - The parent's mtime and ctime move; a new directory's ".." is one more link of its parent.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"
#include "metaserver/ops/tree_count.h"

namespace cairn::ops {

namespace {

constexpr size_t TARGET_SIZE_MAX = 4095;  // PATH_MAX without the closing zero

Status checkKind(FileType type, uint32_t device, kj::StringPtr target) {
  switch (type) {
    case FileType::SYMLINK:
      if (target.size() == 0 || memchr(target.begin(), '\0', target.size()) != nullptr)
        return Status::INVALID;
      if (target.size() > TARGET_SIZE_MAX) return Status::NAME_TOO_LONG;
      return Status::OK;
    case FileType::CHARACTER_DEVICE:
    case FileType::BLOCK_DEVICE:
      return Status::OK;
    case FileType::REGULAR:
    case FileType::DIRECTORY:
    case FileType::FIFO:
    case FileType::SOCKET:
      return device == 0 ? Status::OK : Status::INVALID;
  }
  return Status::INVALID;  // a type of a later version
}

Outcome answerExisting(const Place& place, Named existing, FileType wanted, bool exclusive,
                       Transaction& transaction) {
  if (exclusive || wanted != FileType::REGULAR) return refusal(Status::EXISTS);
  if (existing.type == FileType::DIRECTORY) return refusal(Status::IS_DIRECTORY);
  auto inode = KJ_REQUIRE_NONNULL(transaction.inode(existing.inode), "a name leads nowhere", existing.inode);
  Outcome outcome;
  outcome.attributes = inode.attributes;
  outcome.parent = place.directory.attributes;
  return outcome;
}

Inode newInode(InodeId id, rpc::Change::Reader change, const Inode& parent, const Transaction& transaction) {
  auto request = change.getCreate();
  Inode inode;
  auto& attributes = inode.attributes;
  attributes.inode = id;
  attributes.type = request.getType();
  attributes.mode = request.getMode() & 07777;
  attributes.uid = change.getCaller().getUid();
  attributes.gid = change.getCaller().getGid();
  attributes.links = 1;
  attributes.device = request.getDevice();
  attributes.replicas = parent.attributes.replicas;
  attributes.atime = attributes.mtime = attributes.ctime = inode.born = transaction.now();
  if (parent.attributes.mode & SETGID) {
    attributes.gid = parent.attributes.gid;
    if (attributes.isDirectory()) attributes.mode |= SETGID;
  }
  if (attributes.isDirectory()) {
    attributes.links = 2;
    inode.parent = parent.id();
    inode.trashKeep = parent.trashKeep;
    if (transaction.counting() != Counting::OFF) inode.set(WALKED);  // it is empty
  }
  if (attributes.type == FileType::SYMLINK) {
    attributes.mode = 0777;
    attributes.size = request.getTarget().size();
  }
  return inode;
}

Outcome createTemporary(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getCreate();
  auto parent = transaction.directory(InodeId(request.getParent()));
  if (!parent.ok()) return refusal(parent.status());
  if (request.getType() != FileType::REGULAR || request.getName().size() > 0) return refusal(Status::INVALID);
  auto status = checkRoom(parent->id(), {.inodes = 1}, transaction);
  if (!ok(status)) return refusal(status);

  auto& counters = transaction.counters();
  Inode inode = newInode(counters.nextInode, change, *parent, transaction);
  inode.attributes.links = 0;
  settleAccess(inode, request.getUmask(), *parent, transaction);
  nameless(inode, parent->id(), transaction);
  counters.nextInode = counters.nextInode.next();
  ++counters.inodes;
  Outcome outcome;
  outcome.attributes = transaction.put(inode);
  transaction.putOrphan(inode.id(), {.linkable = Linkable::YES, .departure = {}});
  outcome.orphan = inode.id();
  return outcome;
}

}  // namespace

Outcome create(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getCreate();
  if (request.getTemporary()) return createTemporary(change, transaction);
  kj::StringPtr target = request.getTarget();
  auto type = request.getType();

  auto place = placeIn(InodeId(request.getParent()), request.getName(), transaction);
  if (!place.ok()) return refusal(place.status());
  KJ_IF_MAYBE (existing, transaction.name(place->directory.id(), place->name)) {
    return answerExisting(*place, *existing, type, request.getExclusive(), transaction);
  }
  auto status = checkKind(type, request.getDevice(), target);
  if (!ok(status)) return refusal(status);
  if (!transaction.hasRoomFor(place->directory.id(), place->name)) return refusal(Status::NO_SPACE);
  status = checkRoom(place->directory.id(), {.inodes = 1}, transaction);
  if (!ok(status)) return refusal(status);

  auto& counters = transaction.counters();
  auto id = counters.nextInode;
  counters.nextInode = id.next();
  ++counters.inodes;

  Inode& parent = place->directory;
  Inode inode = newInode(id, change, parent, transaction);
  settleAccess(inode, request.getUmask(), parent, transaction);
  nameAdded(inode, parent, place->name, 0, transaction);
  Outcome outcome;
  outcome.attributes = transaction.put(inode);
  if (type == FileType::SYMLINK) transaction.putTarget(id, target);
  transaction.putName(parent.id(), place->name, {id, type});
  ++parent.attributes.size;
  if (inode.attributes.isDirectory()) ++parent.attributes.links;
  touch(parent, transaction.now());
  outcome.parent = transaction.put(parent);
  return outcome;
}

}  // namespace cairn::ops
