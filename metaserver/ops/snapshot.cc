// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// snapshot: a tree a second time, at one point in the order of operations.
//  - One operation makes all of it, so it is whole or not there, whatever dies, and nothing is in it that
//  came
//    later. That bounds its size: SNAPSHOT_INODES_MAX is a few tenths of a second.
//    What is larger is copied in steps (staging.cc).
//  - What the copies have is in tree_copy.h; hard links within the tree are hard links of the copies, those
//    from outside are not counted.
//  - A quota above the place counts the copies as it counts files, and may refuse them all; those within the
//    tree are not copied.
//  - The place must not lie in the tree. The parent's mtime and ctime move, the copies' do not.
#include <map>

#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"
#include "metaserver/ops/tree_copy.h"
#include "metaserver/ops/tree_count.h"

namespace cairn::ops {

namespace {

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
          if (!canBeShared(reference, still, transaction)) return Status::STALE_VERSION;
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
      auto& copy = copies.emplace_back(copyOf(node.inode, InodeId(first + copies.size()), transaction));
      if (copy.attributes.isDirectory()) {
        copy.parent = copies.size() == 1 ? parent.id() : copies[node.parent].id();
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
    if (from.chunks > 0)
      shareChunks(copy, transaction.chunksOf(from.id(), ChunkIndex(0), SIZE_MAX), transaction);
    copyExtras(from, copy, transaction);
    copy.attributes = transaction.put(copy);
  }
};

}  // namespace

Outcome snapshot(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getSnapshot();
  auto original = transaction.directory(InodeId(request.getOriginal()));
  if (!original.ok()) return refusal(original.status());
  auto place = placeForCopy(*original, InodeId(request.getInDirectory()), request.getCalled(), transaction);
  if (!place.ok()) return refusal(place.status());
  auto& parent = place->directory;
  transaction.settle();
  Tree tree;
  auto status = tree.read(*original, request.getStill(), transaction);
  if (ok(status)) status = checkRoom(parent.id(), tree.usage(), transaction);
  if (!ok(status)) return refusal(status);

  Outcome outcome;
  outcome.number = tree.size();
  auto top = tree.write(parent, place->name, transaction);
  outcome.parent = nameCopy(*place, top, transaction);
  outcome.attributes = top.attributes;
  return outcome;
}

}  // namespace cairn::ops
