// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// rename: a name moves, atomically, and takes the place of another if there is one (POSIX rename(), Linux
// renameat2()).
//  - Refusals in the order of Linux: both places, the old name (notFound), the flags' conditions, a directory
//    into itself (loop) or over one that it is in (notEmpty), then the kinds: directory over something else
//    (notDirectory), something else over a directory (isDirectory), over a directory that is not empty
//    (notEmpty).
//  - Two names of one inode: nothing happens, successfully.
//  - EXCHANGE swaps the two, of any kinds. NOREPLACE with EXCHANGE is invalid.
//  - WHITEOUT puts a character device 0:0 of the caller in the old place. With EXCHANGE it is invalid.
//  - Across the border of a quota: what moves takes its usage along, and is refused (overQuota) when the
//    quota there does not allow it. One of several names of a file may not cross (crossDevice).
//  - ctime of what moves and of what is replaced, mtime and ctime of both directories move. A directory that
//  changes
//    its parent takes the ".." link along.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"
#include "metaserver/ops/tree_count.h"

namespace cairn::ops {

namespace {

constexpr uint32_t NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4;

struct Move {
  // INVARIANT: when both places are in one directory only `from.directory` is current; `to.directory` is not
  // used.
  Place from, to;
  Inode moved;
  kj::Maybe<Inode> target;
  uint32_t flags;
  rpc::Caller::Reader caller;

  bool within() const { return from.directory.id() == to.directory.id(); }
  Inode& destination() { return within() ? from.directory : to.directory; }
};

bool isWithin(InodeId inner, InodeId outer, Transaction& transaction) {
  // Whether `outer` is `inner` or above it: along the parents, as deep as the tree is there.
  for (auto id = inner;;) {
    if (id == outer) return true;
    if (id == ROOT_INODE) return false;
    id = KJ_REQUIRE_NONNULL(transaction.inode(id), "a directory is cut off from the root", id).parent;
  }
}

Status checkLoops(const Move& move, Transaction& transaction) {
  if (move.within()) return Status::OK;
  if (move.moved.attributes.isDirectory() && isWithin(move.to.directory.id(), move.moved.id(), transaction)) {
    return Status::LOOP;
  }
  KJ_IF_MAYBE (target, move.target) {
    if (target->attributes.isDirectory() && isWithin(move.from.directory.id(), target->id(), transaction)) {
      return move.flags & EXCHANGE ? Status::LOOP : Status::NOT_EMPTY;
    }
  }
  return Status::OK;
}

Status checkKinds(const Inode& moved, const Inode& target) {
  if (moved.attributes.isDirectory()) {
    if (!target.attributes.isDirectory()) return Status::NOT_DIRECTORY;
    if (target.attributes.size > 0) return Status::NOT_EMPTY;
    return Status::OK;
  }
  return target.attributes.isDirectory() ? Status::IS_DIRECTORY : Status::OK;
}

Attributes settleAt(Inode inode, Inode& from, kj::StringPtr name, Inode& to, kj::StringPtr newName,
                    Transaction& transaction) {
  // The inode has a name in `to` now instead of `from`.
  uint32_t others = inode.attributes.isDirectory() ? 0 : inode.attributes.links - 1;
  nameRemoved(inode, from, name, others, transaction);
  if (inode.attributes.isDirectory()) {
    --from.attributes.links;
    ++to.attributes.links;
    inode.parent = to.id();
  }
  nameAdded(inode, to, newName, others, transaction);
  inode.attributes.ctime = transaction.now();
  return transaction.put(inode);
}

Status checkQuotas(const Move& move, Transaction& transaction) {
  auto from = move.from.directory.id(), to = move.within() ? from : move.to.directory.id();
  if (bordersBetween(from, to, transaction) == Borders::SAME) return Status::OK;
  auto several = [](const Inode& inode) {
    return !inode.attributes.isDirectory() && inode.attributes.links > 1;
  };
  if (several(move.moved)) return Status::CROSS_DEVICE;  // two quotas would have a name of it
  Usage moved = usageOf(move.moved, transaction), freed;
  bool exchange = move.flags & EXCHANGE;
  KJ_IF_MAYBE (target, move.target) {
    if (exchange && several(*target)) return Status::CROSS_DEVICE;
    if (!several(*target)) freed = usageOf(*target, transaction);
  }
  auto status = checkMove(from, to, moved, freed, transaction);
  return ok(status) && exchange ? checkMove(to, from, freed, moved, transaction) : status;
}

void touchBoth(Move& move, Outcome& outcome, Transaction& transaction) {
  touch(move.from.directory, transaction.now());
  outcome.parent = transaction.put(move.from.directory);
  if (!move.within()) {
    touch(move.to.directory, transaction.now());
    transaction.put(move.to.directory);
  }
}

Outcome exchange(Move& move, const Inode& target, Transaction& transaction) {
  Outcome outcome;
  auto& from = move.from.directory;
  auto& to = move.destination();
  transaction.putName(from.id(), move.from.name, {target.id(), target.attributes.type});
  transaction.putName(to.id(), move.to.name, {move.moved.id(), move.moved.attributes.type});
  outcome.attributes = settleAt(move.moved, from, move.from.name, to, move.to.name, transaction);
  settleAt(target, to, move.to.name, from, move.from.name, transaction);
  touchBoth(move, outcome, transaction);
  return outcome;
}

Named whiteout(const Move& move, Transaction& transaction) {
  auto& counters = transaction.counters();
  Inode inode;
  auto& attributes = inode.attributes;
  attributes.inode = counters.nextInode;
  attributes.type = FileType::CHARACTER_DEVICE;
  attributes.uid = move.caller.getUid();
  attributes.gid = move.from.directory.attributes.mode & SETGID ? move.from.directory.attributes.gid
                                                                : move.caller.getGid();
  attributes.links = 1;
  attributes.replicas = move.from.directory.attributes.replicas;
  attributes.atime = attributes.mtime = attributes.ctime = transaction.now();
  counters.nextInode = counters.nextInode.next();
  ++counters.inodes;
  settleAccess(inode, 0777, move.from.directory, transaction);
  nameAdded(inode, move.from.directory, move.from.name, 0, transaction);
  transaction.put(inode);
  return {inode.id(), FileType::CHARACTER_DEVICE};
}

Outcome replace(Move& move, Transaction& transaction) {
  Outcome outcome;
  auto& from = move.from.directory;
  auto& to = move.destination();
  KJ_IF_MAYBE (target, move.target) {
    LostLink lost(*target, to, move.to.name, move.caller.getUid(), transaction);
    outcome.orphan = lost.carryOut(transaction).orphan;
    outcome.replaced = target->id();
    if (target->attributes.isDirectory()) --to.attributes.links;
  } else {
    ++to.attributes.size;
  }
  if (move.flags & WHITEOUT) {
    transaction.putName(from.id(), move.from.name, whiteout(move, transaction));
  } else {
    transaction.dropName(from.id(), move.from.name);
    --from.attributes.size;
  }
  transaction.putName(to.id(), move.to.name, {move.moved.id(), move.moved.attributes.type});
  outcome.attributes = settleAt(move.moved, from, move.from.name, to, move.to.name, transaction);
  touchBoth(move, outcome, transaction);
  return outcome;
}

}  // namespace

Outcome rename(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getRename();
  uint32_t flags = request.getFlags();
  if ((flags & ~(NOREPLACE | EXCHANGE | WHITEOUT)) != 0 || ((flags & EXCHANGE) && flags != EXCHANGE))
    return refusal(Status::INVALID);

  auto from = placeIn(InodeId(request.getParent()), request.getName(), transaction);
  if (!from.ok()) return refusal(from.status());
  auto to = placeIn(InodeId(request.getNewParent()), request.getNewName(), transaction);
  if (!to.ok()) return refusal(to.status());
  auto named = transaction.name(from->directory.id(), from->name);
  if (named == nullptr) return refusal(Status::NOT_FOUND);
  auto existing = transaction.name(to->directory.id(), to->name);
  if (existing != nullptr && (flags & NOREPLACE)) return refusal(Status::EXISTS);
  if (existing == nullptr && (flags & EXCHANGE)) return refusal(Status::NOT_FOUND);

  auto moved = KJ_REQUIRE_NONNULL(transaction.inode(KJ_REQUIRE_NONNULL(named).inode), "a name leads nowhere");
  Move move{*from, *to, moved, nullptr, flags, change.getCaller()};
  KJ_IF_MAYBE (it, existing) {
    move.target = KJ_REQUIRE_NONNULL(transaction.inode(it->inode), "a name leads nowhere");
  }
  auto status = checkLoops(move, transaction);
  if (!ok(status)) return refusal(status);
  KJ_IF_MAYBE (target, move.target) {
    if (target->id() == moved.id()) {
      Outcome same;
      same.attributes = moved.attributes;
      same.parent = from->directory.attributes;
      return same;
    }
    status = flags & EXCHANGE ? Status::OK : checkKinds(moved, *target);
    if (!ok(status)) return refusal(status);
  } else if (!transaction.hasRoomFor(to->directory.id(), to->name)) {
    return refusal(Status::NO_SPACE);
  }
  status = checkQuotas(move, transaction);
  if (!ok(status)) return refusal(status);
  if (flags & EXCHANGE) return exchange(move, KJ_ASSERT_NONNULL(move.target), transaction);
  return replace(move, transaction);
}

}  // namespace cairn::ops
