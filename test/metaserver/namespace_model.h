// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the namespace means, in a few maps, without any thought of how it is kept: each change answers as the
// namespace must. Used by namespace_model_test.cc.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "metaserver/inode.h"
#include "rpc/result.h"

namespace cairn {

struct ModelNode {
  FileType type = FileType::REGULAR;
  uint32_t links = 0;
  uint64_t size = 0;                        // of a file
  std::map<std::string, uint64_t> entries;  // of a directory
  uint64_t parent = 0;
  std::map<uint64_t, uint64_t> chunks;  // index -> handle
  std::map<std::string, std::string> xattrs;
};

struct Model {
  // What the namespace means, without any thought of how it is kept.
  std::map<uint64_t, ModelNode> nodes;
  std::set<uint64_t> orphans;
  struct Departed {
    uint64_t directory = 0;
    std::string name;
    int64_t until = 0;
  };
  std::map<uint64_t, Departed> departed;  // orphans that go to the trash when nobody holds them
  std::map<uint64_t, Departed> trash;     // inode -> how it came there
  int64_t now = 0, keep = 0;              // ns
  uint64_t next = 2;
  uint64_t skippedFrom = 0, skippedEnd = 0;  // by the latest start
  Status missing(uint64_t inode) const {
    bool given = inode > 0 && inode < next && (inode < skippedFrom || inode >= skippedEnd);
    return given ? Status::STALE : Status::NOT_FOUND;
  }

  Model() {
    nodes[1].type = FileType::DIRECTORY;
    nodes[1].parent = 1;
  }
  bool counting = false;                 // a quota has been set once
  std::map<uint64_t, uint64_t> quotas;   // directory -> most inodes below it
  std::map<uint64_t, uint64_t> charged;  // without a name: in which directory it counts, 0: in none
  uint64_t nearestQuota(uint64_t directory) {
    for (auto id = directory;; id = nodes.at(id).parent) {
      if (quotas.count(id) > 0) return id;
      if (id == 1) return 0;
    }
  }
  bool isDirectory(uint64_t inode) { return nodes.at(inode).type == FileType::DIRECTORY; }
  bool lives(uint64_t inode) { return nodes.count(inode) > 0 && trash.count(inode) == 0; }
  void purge(uint64_t inode) {
    orphans.erase(inode);
    auto found = departed.find(inode);
    if (found != departed.end() && found->second.until > now) {
      trash[inode] = found->second;
    } else {
      nodes.erase(inode);
    }
    departed.erase(inode);
  }
  std::map<uint64_t, std::pair<uint64_t, std::string>> gone;  // directories -> where they were

  Status parentStatus(uint64_t inode) {
    if (!lives(inode)) return missing(inode);
    return isDirectory(inode) ? Status::OK : Status::NOT_DIRECTORY;
  }
  Status create(uint64_t parent, const std::string& name, FileType type) {
    if (auto status = parentStatus(parent); !ok(status)) return status;
    if (nodes[parent].entries.count(name) > 0) return Status::EXISTS;
    nodes[parent].entries[name] = next;
    nodes[next].type = type;
    nodes[next].links = 1;
    nodes[next].parent = parent;
    ++next;
    return Status::OK;
  }
  void drop(uint64_t inode, uint64_t directory, const std::string& name) {
    auto& node = nodes.at(inode);
    if (node.type != FileType::DIRECTORY && --node.links > 0) return;
    quotas.erase(inode);
    if (node.type == FileType::REGULAR) {
      orphans.insert(inode);
      charged[inode] = counting ? nearestQuota(directory) : 0;
      if (keep > 0) departed[inode] = {directory, name, now + keep};
    } else {
      if (node.type == FileType::DIRECTORY) gone[inode] = {directory, name};
      nodes.erase(inode);
    }
  }
  Status link(uint64_t inode, uint64_t parent, const std::string& name) {
    if (auto status = parentStatus(parent); !ok(status)) return status;
    if (nodes[parent].entries.count(name) > 0) return Status::EXISTS;
    if (!lives(inode)) return missing(inode);
    if (isDirectory(inode)) return Status::NOT_PERMITTED;
    if (nodes[inode].links == 0) return Status::NOT_FOUND;
    ++nodes[inode].links;
    nodes[parent].entries[name] = inode;
    return Status::OK;
  }
  Status remove(uint64_t parent, const std::string& name, bool directory) {
    if (auto status = parentStatus(parent); !ok(status)) return status;
    auto& entries = nodes[parent].entries;
    auto found = entries.find(name);
    if (found == entries.end()) return Status::NOT_FOUND;
    if (directory && !isDirectory(found->second)) return Status::NOT_DIRECTORY;
    if (!directory && isDirectory(found->second)) return Status::IS_DIRECTORY;
    if (directory && !nodes[found->second].entries.empty()) return Status::NOT_EMPTY;
    auto inode = found->second;
    entries.erase(found);
    drop(inode, parent, name);
    return Status::OK;
  }
  bool within(uint64_t inner, uint64_t outer) {
    for (; inner != outer; inner = nodes.at(inner).parent) {
      if (inner == 1) return false;
    }
    return true;
  }
  Status rename(uint64_t from, const std::string& name, uint64_t to, const std::string& newName,
                uint32_t flags) {
    for (auto parent : {from, to}) {
      if (auto status = parentStatus(parent); !ok(status)) return status;
    }
    if (nodes[from].entries.count(name) == 0) return Status::NOT_FOUND;
    bool exists = nodes[to].entries.count(newName) > 0;
    if (flags == 1 && exists) return Status::EXISTS;
    if (flags == 2 && !exists) return Status::NOT_FOUND;
    auto moved = nodes[from].entries[name];
    if (from != to && isDirectory(moved) && within(to, moved)) return Status::LOOP;
    auto target = exists ? nodes[to].entries[newName] : 0;
    if (exists && from != to && isDirectory(target) && within(from, target)) {
      return flags == 2 ? Status::LOOP : Status::NOT_EMPTY;
    }
    if (target == moved) return Status::OK;
    if (flags == 2) {
      nodes[from].entries[name] = target;
      nodes[target].parent = from;
    } else {
      if (exists) {
        if (isDirectory(moved) && !isDirectory(target)) return Status::NOT_DIRECTORY;
        if (!isDirectory(moved) && isDirectory(target)) return Status::IS_DIRECTORY;
        if (isDirectory(target) && !nodes[target].entries.empty()) return Status::NOT_EMPTY;
        drop(target, to, newName);
      }
      nodes[from].entries.erase(name);
    }
    nodes[to].entries[newName] = moved;
    nodes[moved].parent = to;
    return Status::OK;
  }
  Status restore(uint64_t inode, uint64_t parent, const std::string& name) {
    if (trash.count(inode) == 0) return Status::NOT_FOUND;
    if (auto status = parentStatus(parent); !ok(status)) return status;
    if (nodes[parent].entries.count(name) > 0) return Status::EXISTS;
    trash.erase(inode);
    charged.erase(inode);
    nodes[inode].links = 1;
    nodes[parent].entries[name] = inode;
    return Status::OK;
  }
  std::map<uint64_t, uint64_t> whereaboutsNeeded() {
    // directory -> how many orphans, files in the trash and directories that are gone need it.
    std::map<uint64_t, uint64_t> needed;
    for (auto& [inode, departure] : departed) ++needed[departure.directory];
    for (auto& [inode, departure] : trash) ++needed[departure.directory];
    for (bool more = true; more;) {  // those that are gone need theirs in turn
      auto before = needed;
      needed.clear();
      for (auto& [inode, departure] : departed) ++needed[departure.directory];
      for (auto& [inode, departure] : trash) ++needed[departure.directory];
      for (auto& [directory, count] : before) {
        if (gone.count(directory) > 0) ++needed[gone.at(directory).first];
      }
      more = needed != before;
    }
    return needed;
  }
  std::map<uint64_t, uint32_t> references() {  // of each chunk, by handle
    std::map<uint64_t, uint32_t> counts;
    for (auto& [number, node] : nodes) {
      for (auto& [index, handle] : node.chunks) ++counts[handle];
    }
    return counts;
  }
  Status share(uint64_t from, uint64_t first, uint64_t to, uint64_t toFirst, uint64_t bytes) {
    for (auto inode : {from, to}) {
      if (!lives(inode)) return missing(inode);
    }
    auto &source = nodes[from], &target = nodes[to];
    if (source.type != FileType::REGULAR || target.type != FileType::REGULAR) return Status::INVALID;
    auto count = (bytes + CHUNK_SIZE - 1) / CHUNK_SIZE;
    if (bytes == 0 || first * CHUNK_SIZE + bytes > source.size) return Status::INVALID;
    if (bytes % CHUNK_SIZE > 0 && toFirst * CHUNK_SIZE + bytes < target.size) return Status::INVALID;
    if (from == to && first < toFirst + count && toFirst < first + count) return Status::INVALID;
    std::map<uint64_t, uint64_t> taken(source.chunks.lower_bound(first),
                                       source.chunks.lower_bound(first + count));
    target.chunks.erase(target.chunks.lower_bound(toFirst), target.chunks.lower_bound(toFirst + count));
    for (auto& [index, handle] : taken) target.chunks[toFirst + index - first] = handle;
    target.size = std::max(target.size, toFirst * CHUNK_SIZE + bytes);
    return Status::OK;
  }
  Status truncate(uint64_t inode, uint64_t size) {
    if (!lives(inode)) return missing(inode);
    auto& node = nodes[inode];
    if (node.type == FileType::DIRECTORY) return Status::IS_DIRECTORY;
    if (node.type != FileType::REGULAR) return Status::INVALID;
    if (size <= node.size)
      node.chunks.erase(node.chunks.lower_bound((size + CHUNK_SIZE - 1) / CHUNK_SIZE), node.chunks.end());
    node.size = size;
    return Status::OK;
  }
};

}  // namespace cairn
