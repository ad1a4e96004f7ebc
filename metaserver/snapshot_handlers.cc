// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of the Administration interface that makes snapshots of trees.
//
//   walk the tree -> its chunks stand still (one order for each primary) -> walk again: chunks that came
//   meanwhile stand still, too -> ... -> nothing came: `snapshot` is proposed in the same turn
//
// While the chunks stand still, writers wait: for the orders, and for the operation. After it they find their
// chunks shared and get clones (chunk_clone.cc).
#include <set>

#include "metaserver/administration_handlers.h"
#include "metaserver/ops/rules.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t WALKS_MAX = 8;
using Handles = std::set<ChunkHandle>;

Status addChunks(const NamespaceReader& names, InodeId file, Handles& handles) {
  constexpr uint32_t PAGE = 1000;
  for (ChunkIndex next;;) {
    auto page = names.chunksOf(file, next, PAGE);
    for (auto& chunk : page) {
      if (!names.isShared(chunk.handle, chunk.record)) handles.insert(chunk.handle);
      next = chunk.index.next();
    }
    if (handles.size() > ops::SNAPSHOT_CHUNKS_MAX) return Status::TOO_BIG;
    if (page.size() < PAGE) return Status::OK;
  }
}

Status walk(const NamespaceReader& names, InodeId top, Handles& handles) {
  // At once: what it finds is so in this turn of the loop.
  size_t inodes = 1;
  kj::Vector<InodeId> directories;
  directories.add(top);
  for (size_t at = 0; at < directories.size(); ++at) {
    for (uint64_t cookie = 0;;) {
      auto page = names.list(directories[at], cookie, LISTING_LIMIT_MAX, ListingDetail::ATTRIBUTES);
      if (!page.ok()) return page.status();
      for (auto& entry : page->entries) {
        cookie = entry.cookie;
        if (++inodes > ops::SNAPSHOT_INODES_MAX) return Status::TOO_BIG;
        if (entry.attributes.isDirectory()) directories.add(entry.attributes.inode);
        if (!entry.attributes.isRegular()) continue;
        auto status = addChunks(names, entry.attributes.inode, handles);
        if (!ok(status)) return status;
      }
      if (page->end == ListingEnd::YES) break;
    }
  }
  return Status::OK;
}

}  // namespace

Async<void> AdministrationHandlers::takingSnapshot(SnapshotContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  InodeId original(params.getOriginal()), directory(params.getDirectory());
  if (!service.grants.knowsAllLeases()) {
    results.setStatus(Status::NOT_READY);
    co_return;
  }
  // Mounts may have it cached that there is no such name.
  auto turn = co_await service.leases.excludeAll(kj::heapArray<InodeId>({directory}));
  auto still = kj::heap<StillChunks>();
  Handles held;
  for (uint32_t walks = 0;; ++walks) {
    Handles found;
    auto status = walk(service.names, original, found);
    kj::Vector<ChunkHandle> fresh;
    bool mustWait = false;
    for (auto handle : found) {
      if (!held.insert(handle).second) continue;
      fresh.add(handle);
      mustWait |= service.grants.granting(handle);
    }
    if (ok(status) && fresh.empty()) break;
    if (ok(status) && walks == WALKS_MAX) status = Status::BUSY;  // it grows faster than we walk
    if (ok(status)) {
      if (mustWait && walks > 0) {
        // Who waits while he holds some may wait in a circle: all of them anew, in their order.
        still = kj::heap<StillChunks>();
        fresh.clear();
        for (auto handle : held) fresh.add(handle);
      }
      auto more = co_await service.grants.standStill(fresh.releaseAsArray());
      if (!ok(more->status) && more->status != Status::STALE) status = Status::BUSY;
      more->status = Status::OK;
      still->add(kj::mv(*more));
    }
    if (!ok(status)) {
      results.setStatus(status);
      co_return;
    }
  }
  auto operation = kj::heap<LoggedOperation>();
  auto snapshot = operation->body().initSnapshot();
  snapshot.setOriginal(original.value());
  snapshot.setInDirectory(directory.value());
  snapshot.setCalled(params.getName());
  auto list = snapshot.initStill(unsigned(held.size()));
  unsigned i = 0;
  for (auto handle : held) list.set(i++, handle.value());
  auto outcome = co_await service.grants.proposeStill(kj::mv(still), kj::mv(operation));
  results.setStatus(outcome.status == Status::STALE_VERSION ? Status::BUSY : outcome.status);
  if (!outcome.ok()) co_return;
  results.setInodes(outcome.number);
  KJ_IF_MAYBE (attributes, outcome.attributes) results.setInode(attributes->inode.value());
  KJ_IF_MAYBE (parent, outcome.parent) service.sessions.changed(parent->inode, SessionId());
  service.log.info("an operator wants a snapshot of the tree below inode ", original, " -> ", outcome.number,
                   " inodes in inode ", directory, " as ", params.getName());
}

}  // namespace cairn
