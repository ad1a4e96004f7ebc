// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of the Administration interface that makes snapshots of trees.
//
//   who writes in the tree gives its lease back, having sent all it had: whoever does not answer is waited
//   for here, where it is in nobody's way
//   -> from now on nobody is given a lease to write -> those who have one again give it back, in one claim
//   together with the directory that gets the name
//   -> the chunks of the tree stand still (one order for each primary) -> walk again: chunks that came since
//   stand still, too -> ... -> nothing came, and nobody writes: `snapshot` is proposed in the same turn
//
// So what a write has returned for before the point of the snapshot is in it, and what returns later was
// written after it. Chunks stand still last: who has to give a lease back needs them to send what it has.
// Writers wait until the operation is done; then they find their chunks shared and get clones
// (chunk_clone.cc). A tree that is too large for one operation is found out by the first walk, and left to
// stepped_snapshot.h.
#include <set>

#include "metaserver/administration_handlers.h"
#include "metaserver/ops/rules.h"
#include "metaserver/stepped_snapshot.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t WALKS_MAX = 8;
constexpr kj::Duration QUIET_PATIENCE = 2 * kj::SECONDS;  // meanwhile nobody in the cluster begins to write
using Handles = std::set<ChunkHandle>;

struct Found {
  Handles chunks;               // that are not shared yet
  kj::Vector<InodeId> writers;  // files that somebody may have unsent bytes of
};

Status addChunks(const NamespaceReader& names, InodeId file, size_t limit, Handles& handles) {
  constexpr uint32_t PAGE = 1000;
  for (ChunkIndex next;;) {
    auto page = names.chunksOf(file, next, PAGE);
    for (auto& chunk : page) {
      if (!names.isShared(chunk.handle, chunk.record)) handles.insert(chunk.handle);
      next = chunk.index.next();
    }
    if (handles.size() > limit) return Status::TOO_BIG;
    if (page.size() < PAGE) return Status::OK;
  }
}

Status walk(const MetaService& service, InodeId top, Found& found) {
  // At once: what it finds is so in this turn of the loop.
  auto& names = service.names;
  auto& limits = service.snapshotLimits;
  size_t inodes = 1;
  kj::Vector<InodeId> directories;
  directories.add(top);
  for (size_t at = 0; at < directories.size(); ++at) {
    for (uint64_t cookie = 0;;) {
      auto page = names.list(directories[at], cookie, LISTING_LIMIT_MAX, ListingDetail::ATTRIBUTES);
      if (!page.ok()) return page.status();
      for (auto& entry : page->entries) {
        cookie = entry.cookie;
        if (++inodes > limits.inodes) return Status::TOO_BIG;
        if (entry.attributes.isDirectory()) directories.add(entry.attributes.inode);
        if (!entry.attributes.isRegular()) continue;
        if (service.leases.hasWriter(entry.attributes.inode)) found.writers.add(entry.attributes.inode);
        auto status = addChunks(names, entry.attributes.inode, limits.chunks, found.chunks);
        if (!ok(status)) return status;
      }
      if (page->end == ListingEnd::YES) break;
    }
  }
  return Status::OK;
}

struct Quiet {
  // Of a tree: nobody writes in it.
  kj::Own<void> pause;
  LeaseRecalls::Turn turn;
};

class TreeCopy final : public rpc::TreeCopy::Server {
  // What the caller of a snapshot in steps holds: it is wanted as long.
 public:
  TreeCopy(MetaService& service, kj::Own<SteppedSnapshot> snapshot)
      : service(service), snapshot(kj::mv(snapshot)) {}
  ~TreeCopy() noexcept(false) { snapshot->giveUp(); }

  kj::Promise<void> next(NextContext context) override { return service.guard(telling(context)); }

 private:
  // A capability that its caller has dropped goes once the call under way has been answered, so this is also
  // how long changes may go on waiting for what nobody wants any more.
  static constexpr kj::Duration ANSWER_AFTER = 250 * kj::MILLISECONDS;
  MetaService& service;
  kj::Own<SteppedSnapshot> snapshot;

  Async<void> telling(NextContext context) {
    auto told = kj::addRef(*snapshot);  // the capability may go meanwhile: that is to end it
    if (!told->isOver()) co_await told->whenOver().exclusiveJoin(service.timer.afterDelay(ANSWER_AFTER));
    KJ_IF_MAYBE (exception, told->bug()) kj::throwFatalException(kj::cp(*exception));
    auto results = context.getResults();
    results.setDone(told->isOver());
    results.setInodes(told->inodes());
    if (!told->isOver()) co_return;
    results.setStatus(told->status());
    if (ok(told->status())) results.setInode(told->inode().value());
  }
};

}  // namespace

Async<void> AdministrationHandlers::takingSnapshot(SnapshotContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  InodeId original(params.getOriginal()), directory(params.getDirectory());
  if (!service.grants.knowsAllLeases()) {
    results.setStatus(Status::NOT_READY);
    co_return;
  }
  if (!service.stagings.mayBegin()) {
    results.setStatus(Status::BUSY);
    results.setUnderWay(true);
    co_return;
  }
  service.stagings.begunWhole();
  auto isCounted = true;
  KJ_DEFER(if (isCounted) service.stagings.endedWhole());
  auto look = [&](Found& found) {
    found = Found();
    auto status = walk(service, original, found);
    found.writers.add(directory);  // mounts may have it cached that there is no such name
    return status;
  };
  Found found;
  auto status = look(found);
  if (status == Status::TOO_BIG && params.getSteps()) {
    service.stagings.endedWhole();
    isCounted = false;
    bool isAlone = service.stagings.mayBeginSteps();
    results.setStatus(isAlone ? Status::OK : Status::BUSY);
    results.setUnderWay(!isAlone);
    if (isAlone)
      results.setCopy(kj::heap<TreeCopy>(
          service, SteppedSnapshot::begin(service, {original, directory, kj::str(params.getName())})));
    co_return;
  }
  if (ok(status)) auto turn KJ_UNUSED = co_await service.leases.excludeAll(found.writers.releaseAsArray());

  Quiet quiet;
  auto still = kj::heap<StillChunks>();
  Handles held;
  for (uint32_t walks = 0; ok(status); ++walks) {
    status = walks == WALKS_MAX ? Status::BUSY : look(found);  // it grows faster than we walk
    if (!ok(status)) break;
    if (!quiet.turn.isReady() || found.writers.size() > 1) {
      // Or a file that is written has been moved into the tree. Its writer must not wait for what we hold.
      still = kj::heap<StillChunks>();
      held.clear();
      quiet.turn = LeaseRecalls::Turn();
      quiet.pause = nullptr;  // who waits for its end is a writer by the next look
      quiet.pause = service.leases.pauseWriting();
      status = look(found);  // the same tree, in the same turn of the loop
      quiet.turn = co_await service.leases.excludeAll(found.writers.releaseAsArray(), QUIET_PATIENCE);
      if (!quiet.turn.isReady()) status = Status::BUSY;
      continue;
    }
    kj::Vector<ChunkHandle> fresh;
    bool mustWait = false;
    for (auto handle : found.chunks) {
      if (!held.insert(handle).second) continue;
      fresh.add(handle);
      mustWait |= service.grants.granting(handle);
    }
    if (fresh.empty()) break;
    if (mustWait && held.size() > fresh.size()) {
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
