// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See tree_count.h.
#include "metaserver/ops/tree_count.h"

#include <algorithm>

namespace cairn::ops {

namespace {

bool isPassed(const Inode& directory, kj::StringPtr name, Transaction& transaction) {
  // The count has been at this name's place.
  if (transaction.counting() == Counting::OFF) return false;
  if (directory.has(WALKED)) return true;
  auto cursor = transaction.countCursor(directory.id());
  return cursor.map([&](uint64_t at) { return transaction.placeIn(name) <= at; }).orDefault(false);
}

LinkedFrom& entryOf(Backlinks& links, InodeId directory) {
  for (auto& link : links) {
    if (link.directory == directory) return link;
  }
  return links.emplace_back(LinkedFrom{directory, 0});
}

template <typename Visit>
void quotasAbove(InodeId directory, Transaction& transaction, Visit&& visit) {
  // `directory` included. Until `visit` answers false.
  if (std::as_const(transaction).counters().quotas == 0) return;
  for (auto id = directory; id;) {
    auto found = transaction.inode(id);
    if (found == nullptr) return;
    auto& inode = KJ_ASSERT_NONNULL(found);
    if (inode.has(QUOTA) && !visit(id)) return;
    id = id == ROOT_INODE ? InodeId() : inode.parent;
  }
}

InodeId nearestQuota(InodeId directory, Transaction& transaction) {
  InodeId nearest;
  quotasAbove(directory, transaction, [&](InodeId id) {
    nearest = id;
    return false;
  });
  return nearest;
}

}  // namespace

void nameAdded(Inode& inode, const Inode& directory, kj::StringPtr name, uint32_t others,
               Transaction& transaction) {
  if (!isPassed(directory, name, transaction)) return;
  bool counted = inode.has(COUNTED);
  inode.set(COUNTED);
  if (inode.attributes.isDirectory()) {
    bool known = inode.has(WALKED) || transaction.countCursor(inode.id()) != nullptr;
    if (!known) transaction.putCountCursor(inode.id(), 0);
    return;
  }
  auto first = counted ? inode.parent : directory.id();
  if (others > 0) {
    auto links = transaction.backlinks(inode.id());
    if (counted && !inode.has(LINKED)) entryOf(links, first).names = 1;
    ++entryOf(links, directory.id()).names;
    transaction.putBacklinks(inode.id(), links);
    inode.set(LINKED);
  }
  inode.parent = first;
}

void nameRemoved(Inode& inode, const Inode& directory, kj::StringPtr name, uint32_t others,
                 Transaction& transaction) {
  if (!isPassed(directory, name, transaction)) return;
  if (inode.attributes.isDirectory()) {
    inode.clear(COUNTED);
    return;
  }
  Backlinks links;
  if (inode.has(LINKED)) {
    links = transaction.backlinks(inode.id());
    --entryOf(links, directory.id()).names;
    std::erase_if(links, [](auto& link) { return link.names == 0; });
    transaction.putBacklinks(inode.id(), links);
    if (links.empty()) inode.clear(LINKED);
  }
  auto stays =
      std::any_of(links.begin(), links.end(), [&](auto& link) { return link.directory == inode.parent; });
  if (stays) return;
  inode.parent = links.empty() ? InodeId() : links[0].directory;
  if (links.empty()) inode.clear(COUNTED);
}

void nameless(Inode& inode, InodeId directory, Transaction& transaction) {
  if (transaction.counting() == Counting::OFF) return;
  inode.parent = nearestQuota(directory, transaction);
  inode.parent ? inode.set(COUNTED) : inode.clear(COUNTED);
}

Status checkRoom(InodeId directory, const Usage& more, Transaction& transaction) {
  return checkMove(InodeId(), directory, more, Usage(), transaction);
}

Status checkMove(InodeId from, InodeId to, const Usage& moved, const Usage& freed, Transaction& transaction) {
  auto status = Status::OK;
  if (transaction.counting() != Counting::DONE || from == to) return status;
  std::vector<InodeId> above;
  if (from) {
    quotasAbove(from, transaction, [&](InodeId id) {
      above.push_back(id);
      return true;
    });
  }
  quotasAbove(to, transaction, [&](InodeId id) {
    if (std::find(above.begin(), above.end(), id) != above.end()) return true;
    auto used = transaction.usage(id);
    used -= freed;
    if (!transaction.quota(id).allows(used, moved)) status = Status::OVER_QUOTA;
    return ok(status);
  });
  return status;
}

Borders bordersBetween(InodeId from, InodeId to, Transaction& transaction) {
  return from != to && nearestQuota(from, transaction) != nearestQuota(to, transaction) ? Borders::CROSSED
                                                                                        : Borders::SAME;
}

Usage usageOf(const Inode& inode, Transaction& transaction) {
  return transaction.contribution(inode);
}

}  // namespace cairn::ops
