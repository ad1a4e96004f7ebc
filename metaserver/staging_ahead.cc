// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See staging_ahead.h.
#include "metaserver/staging_ahead.h"

#include <kj/debug.h>

#include <deque>

#include "metaserver/keys.h"
#include "metaserver/ops/staging.h"

namespace cairn {

namespace {

class LookAhead {
 public:
  LookAhead(const NamespaceReader& names, size_t budget) : names(names), left(budget) {}

  void through(InodeId top) {
    for (auto& work : names.stagedWork(top, uint32_t(left))) queue.push_back({work.source, work.at});
    while (!queue.empty() && left > 0) {
      auto next = queue.front();
      queue.pop_front();
      auto found = names.inode(next.source);
      if (!found.ok()) return;
      if (found->attributes.isDirectory()) {
        throughDirectory(next);
      } else {
        take(found->id(), ChunkIndex(next.at), left);
      }
    }
  }

  kj::Vector<ChunkHandle> fresh;

 private:
  struct Next {
    InodeId source;
    uint64_t at;
  };
  const NamespaceReader& names;
  size_t left;
  std::deque<Next> queue;

  void throughDirectory(Next next) {
    // All names of the place that was copied last have been copied.
    auto cookie = next.at == 0 ? 0 : next.at + SLOTS_PER_HASH - 1;
    for (bool goesOn = true; goesOn && left > 0;) {
      auto page = names.list(next.source, cookie, LISTING_LIMIT_MAX, ListingDetail::NAMES);
      for (auto& entry : page->entries) {
        if (left == 0) return;
        cookie = entry.cookie;
        auto inode = names.inode(entry.attributes.inode);
        if (inode.ok()) meet(*inode);
      }
      goesOn = page->end == ListingEnd::NO;
    }
  }

  void meet(const Inode& inode) {
    auto cost = ops::copyingCost(inode);
    left -= kj::min(left, cost);
    if (inode.attributes.isDirectory() || ops::isLargeFile(inode)) {
      queue.push_back({inode.id(), 0});
    } else if (inode.chunks > 0) {
      for (auto& chunk : names.chunksOf(inode.id(), ChunkIndex(0), uint32_t(inode.chunks))) add(chunk);
    }
  }

  void take(InodeId file, ChunkIndex first, size_t limit) {
    for (auto& chunk : names.chunksOf(file, first, uint32_t(limit))) {
      add(chunk);
      --left;
    }
  }

  void add(const FileChunk& chunk) {
    if (!names.isShared(chunk.handle, chunk.record)) fresh.add(chunk.handle);
  }
};

}  // namespace

kj::Array<ChunkHandle> chunksAhead(const NamespaceReader& names, InodeId top, uint32_t budget) {
  LookAhead ahead(names, budget);
  ahead.through(top);
  return ahead.fresh.releaseAsArray();
}

}  // namespace cairn
