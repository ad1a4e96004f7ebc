// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See trash_keeper.h.
#include "metaserver/trash_keeper.h"

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration TURN = 1 * kj::SECONDS;
constexpr uint32_t BATCH = 200;            // files in an operation
constexpr uint32_t BATCHES_PER_TURN = 25;  // 5,000 files a second: deleting chunks is slower

kj::Own<LoggedOperation> purgeOf(kj::ArrayPtr<const TrashedFile> files) {
  auto operation = kj::heap<LoggedOperation>();
  auto list = operation->body().initPurgeTrash(uint32_t(files.size()));
  for (uint32_t i = 0; i < files.size(); ++i) {
    list[i].setUntil(files[i].departure.until);
    list[i].setInode(files[i].inode.id().value());
  }
  return operation;
}

}  // namespace

Status TrashKeeper::needSpace() {
  auto now = timer.now();
  auto& state = names.state();
  if (!plan.spaceMayCome(state.trash, state.garbage, now)) return Status::NO_SPACE;
  plan.refused(now);
  return Status::OK;
}

Async<Result<uint64_t>> TrashKeeper::purge(kj::Array<TrashedFile> files) {
  uint64_t purged = 0;
  for (size_t start = 0; start < files.size();) {
    auto batch = files.slice(start, kj::min(start + BATCH, files.size()));
    auto outcome = co_await operations.propose(purgeOf(batch));
    if (!outcome.ok()) co_return outcome.status;
    purged += outcome.number;
    if (outcome.more == More::NO) start += batch.size();  // else the same again: a file of very many chunks
  }
  co_return purged;
}

Async<void> TrashKeeper::purgeDue() {
  if (lookedAt == operations.last() && operations.now() < nothingDueUntil) co_return;
  for (uint32_t i = 0; i < BATCHES_PER_TURN; ++i) {
    auto page = names.trash(0, InodeId(), BATCH);
    size_t due = 0;
    while (due < page.size() && page[due].departure.until <= operations.now()) ++due;
    if (due == 0) {
      lookedAt = operations.last();
      nothingDueUntil = page.size() > 0 ? page[0].departure.until : INT64_MAX;
      co_return;
    }
    auto purged = co_await purge(kj::heapArray<TrashedFile>(page.slice(0, due)));
    if (!purged.ok()) {
      log.warning("the trash could not be emptied of what is due: ", purged.status(), " -> tried again");
      co_return;
    }
    log.info(*purged, " files have been in the trash for as long as they were to be kept -> purged");
    if (due < BATCH) co_return;
  }
}

Async<void> TrashKeeper::relieve() {
  auto now = timer.now();
  kj::Vector<TrashStore> stores;
  for (auto& [id, server] : view.servers.all()) {
    if (server.state(now) != ServerState::UP || view.draining.count(id) > 0) continue;
    stores.add(TrashStore{server.space.bytesTotal, server.space.bytesFree});
  }
  auto& state = names.state();
  auto wanted = plan.due(stores, kj::max(state.replicas, uint8_t(1)), state.garbage, now);
  if (wanted == 0 || state.trash == 0) co_return;
  uint64_t given = 0, count = 0;
  for (uint32_t i = 0; i < BATCHES_PER_TURN && given < wanted; ++i) {
    auto page = names.trash(0, InodeId(), BATCH);
    size_t size = 0;
    while (size < page.size() && given < wanted) given += page[size++].inode.attributes.bytesUsed;
    if (size == 0) break;
    auto purged = co_await purge(kj::heapArray<TrashedFile>(page.slice(0, size)));
    if (!purged.ok()) {
      log.warning("the trash could not give space back: ", purged.status(), " -> tried again");
      co_return;
    }
    count += *purged;
  }
  early += count;
  plan.purged(timer.now());
  log.warning("space runs out, the stores want ", wanted >> 20, " MiB more of a copy -> ", count,
              " files with ", given >> 20, " MiB leave the trash before their time, ", names.state().trash,
              " are left");
}

Async<void> TrashKeeper::run() {
  for (;;) {
    co_await timer.afterDelay(TURN);
    if (names.state().trash == 0) continue;
    co_await purgeDue();
    if (!view.safeMode.on()) co_await relieve();
  }
}

}  // namespace cairn
