// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// snapshot: a tree a second time, at one point in the order of operations.
//  - One operation makes all of it, so it is whole or not there, whatever dies, and nothing is in it that
//  came
//    later. That bounds its size: SNAPSHOT_INODES_MAX is a few tenths of a second.
//  - Names, owners, modes, times, extended attributes, ACLs and symlinks are as they were; hard links within
//    the tree are hard links of the copies, those from outside are not counted.
//  - Files share their chunks, each up to the length of the file: what its writer has applied and not
//  published
//    is not in the copy (snapshot_handlers.cc sees to it that there is nothing). Chunks beyond the length are
//    left out.
//  - A quota above the place counts the copies as it counts files, and may refuse them all; those within the
//    tree are not copied.
//  - The place must not lie in the tree. The parent's mtime and ctime move, the copies' do not.
#include <algorithm>
#include <map>

#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"
#include "metaserver/ops/tree_count.h"

namespace cairn::ops {

namespace {

using StillHandles = capnp::List<uint64_t>::Reader;

bool isStill(StillHandles handles, ChunkHandle handle) {
  unsigned low = 0, high = handles.size();
  while (low < high) {
    auto middle = low + (high - low) / 2;
    if (handles[middle] < handle.value()) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < handles.size() && handles[low] == handle.value();
}

class Tree {
  // What is there, read before the first write.
 public:
  Status read(const Inode& top, StillHandles still, Transaction& transaction) {
    nodes.push_back({top, 0, 0});
    for (size_t at = 0; at < nodes.size(); ++at) {
      if (nodes.size() > SNAPSHOT_INODES_MAX) return Status::TOO_BIG;
      auto id = nodes[at].inode.id();
      auto& attributes = nodes[at].inode.attributes;
      if (attributes.isRegular() && nodes[at].inode.chunks > 0) {
        chunks += nodes[at].inode.chunks;
        if (chunks > SNAPSHOT_CHUNKS_MAX) return Status::TOO_BIG;
        for (auto& reference : transaction.chunksOf(id, ChunkIndex(0), SIZE_MAX)) {
          auto record = KJ_REQUIRE_NONNULL(transaction.chunk(reference.handle));
          bool canBeShared =
              transaction.isShared(reference.handle, record) || isStill(still, reference.handle);
          if (!canBeShared) return Status::STALE_VERSION;
        }
      }
      if (attributes.isDirectory()) readDirectory(at, transaction);
    }
    return Status::OK;
  }

  Usage usage() const {
    Usage all{.inodes = nodes.size()};
    for (auto& node : nodes) all.bytes += node.inode.attributes.bytesUsed;
    return all;
  }

  Inode write(const Inode& parent, kj::StringPtr topName, Transaction& transaction) {
    // Answers the new top.
    auto& counters = transaction.counters();
    auto first = counters.nextInode.value();
    counters.nextInode = InodeId(first + nodes.size());
    counters.inodes += nodes.size();
    counters.format = kj::max(counters.format, 2u);
    std::vector<Inode> copies;
    for (auto& node : nodes) {
      auto& copy = copies.emplace_back(node.inode);
      copy.attributes.inode = InodeId(first + copies.size() - 1);
      copy.marks = 0;
      copy.parent = InodeId();
      if (copy.attributes.isDirectory()) {
        copy.parent = copies.size() == 1 ? parent.id() : copies[node.parent].id();
        if (transaction.counting() != Counting::OFF) copy.set(WALKED);  // what is in it comes after it
      } else {
        copy.attributes.links = node.names;
      }
    }
    nameAdded(copies[0], parent, topName, 0, transaction);
    std::vector<uint32_t> named(nodes.size());
    for (auto& entry : entries) {
      nameAdded(copies[entry.node], copies[entry.directory], entry.name, named[entry.node]++, transaction);
      transaction.putName(copies[entry.directory].id(), entry.name, {copies[entry.node].id(), entry.type});
    }
    for (size_t at = 0; at < nodes.size(); ++at) writeOne(nodes[at].inode, copies[at], transaction);
    return copies[0];
  }

  size_t size() const { return nodes.size(); }

 private:
  struct Node {
    Inode inode;
    size_t parent;  // place in `nodes`, of a directory
    uint32_t names;
  };
  struct Entry {
    size_t directory, node;  // places in `nodes`
    kj::String name;
    FileType type;
  };
  std::vector<Node> nodes;  // breadth first
  kj::Vector<Entry> entries;
  std::map<InodeId, size_t> linked;  // files with several names
  uint64_t chunks = 0;

  void readDirectory(size_t at, Transaction& transaction) {
    for (auto& [name, named] : transaction.namesIn(nodes[at].inode.id())) {
      auto known = linked.find(named.inode);
      size_t node = known == linked.end() ? nodes.size() : known->second;
      if (known == linked.end()) {
        auto inode = KJ_REQUIRE_NONNULL(transaction.inode(named.inode), "a name leads nowhere", named.inode);
        if (!inode.attributes.isDirectory() && inode.attributes.links > 1) linked[named.inode] = node;
        nodes.push_back({inode, at, 0});
      }
      ++nodes[node].names;
      entries.add(Entry{at, node, kj::mv(name), named.type});
      if (nodes.size() > SNAPSHOT_INODES_MAX) return;
    }
  }

  void writeOne(const Inode& from, Inode& copy, Transaction& transaction) {
    if (copy.attributes.isRegular()) shareChunks(from, copy, transaction);
    if (copy.xattrBytes > 0) {
      for (auto& key : transaction.xattrsOf(from.id())) {
        auto value = KJ_REQUIRE_NONNULL(transaction.xattr(from.id(), key));
        transaction.putXattr(copy.id(), key, kj::arrayPtr(value.data(), value.size()).asBytes());
      }
    }
    if (copy.attributes.type == FileType::SYMLINK) {
      auto target = KJ_REQUIRE_NONNULL(transaction.target(from.id()), "a symlink has no target");
      transaction.putTarget(copy.id(), kj::heapString(target.data(), target.size()));
    }
    copy.attributes = transaction.put(copy);
  }

  void shareChunks(const Inode& from, Inode& copy, Transaction& transaction) {
    copy.chunks = copy.chunksEnd = copy.zeroBlocks = 0;
    if (from.chunks == 0) return;
    auto end = locate(FileOffset(copy.attributes.size));
    for (auto reference : transaction.chunksOf(from.id(), ChunkIndex(0), SIZE_MAX)) {
      if (reference.index > end.index || (reference.index == end.index && end.offset.value() == 0)) break;
      if (reference.index == end.index) {
        reference.validBytes = kj::min(reference.validBytes, end.offset.value());
      }
      addReference(copy, reference, transaction);
    }
  }
};

bool liesIn(InodeId directory, InodeId top, Transaction& transaction) {
  for (;;) {
    if (directory == top) return true;
    if (directory == ROOT_INODE) return false;
    directory = KJ_REQUIRE_NONNULL(transaction.inode(directory), "a parent is gone", directory).parent;
  }
}

}  // namespace

Outcome snapshot(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getSnapshot();
  auto original = transaction.directory(InodeId(request.getOriginal()));
  if (!original.ok()) return refusal(original.status());
  auto place = placeIn(InodeId(request.getInDirectory()), request.getCalled(), transaction);
  if (!place.ok()) return refusal(place.status());
  auto& parent = place->directory;
  if (transaction.name(parent.id(), place->name) != nullptr) return refusal(Status::EXISTS);
  if (!transaction.hasRoomFor(parent.id(), place->name)) return refusal(Status::NO_SPACE);
  if (liesIn(parent.id(), original->id(), transaction)) return refusal(Status::LOOP);
  transaction.settle();
  Tree tree;
  auto status = tree.read(*original, request.getStill(), transaction);
  if (ok(status)) status = checkRoom(parent.id(), tree.usage(), transaction);
  if (!ok(status)) return refusal(status);

  Outcome outcome;
  outcome.number = tree.size();
  auto top = tree.write(parent, place->name, transaction);
  transaction.putName(parent.id(), place->name, {top.id(), FileType::DIRECTORY});
  ++parent.attributes.size;
  ++parent.attributes.links;
  touch(parent, transaction.now());
  outcome.parent = transaction.put(parent);
  outcome.attributes = top.attributes;
  return outcome;
}

}  // namespace cairn::ops
