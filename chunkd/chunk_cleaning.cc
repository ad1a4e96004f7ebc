// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkStore that brings chunks nobody has written for a while to stable storage, and then takes
// their unsynced marks away. INVARIANT: a mark goes only when all that was written has been synced.
#include <errno.h>

#include "chunkd/chunk_store.h"
#include "chunkd/live_chunk.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration CLEAN_INTERVAL = 1 * kj::SECONDS;
constexpr size_t CLEAN_TOGETHER = 32;
// From so many quiet chunks on the disk is synced as a whole, instead of four flushes for each.
constexpr kj::Duration CLEAN_TOGETHER_INTERVAL = 5 * kj::SECONDS;
// At the least: it also writes out what is being written, and might be written again.

}  // namespace

Async<void> ChunkStore::cleanForEver() {
  for (;;) {
    co_await environment.timer.afterDelay(CLEAN_INTERVAL);
    co_await cleanRound();
  }
}

Async<void> ChunkStore::cleanRound() {
  space();  // refreshes the estimate that writes are checked against
  co_await dropIdleStagings();
  kj::Vector<Quiet> quiet;
  auto now = environment.timer.now();
  for (auto& [handle, state] : dirty) {
    if (now - state.lastWrite < options.cleanAfter) continue;
    auto* record = index->find(handle);
    bool isNamed = record != nullptr && (!record->has(FRESH) || record->has(CREATED));
    quiet.add(Quiet{handle, record == nullptr ? ChunkVersion() : record->version, state.writes, isNamed});
  }
  if (quiet.size() >= CLEAN_TOGETHER) {
    if (now - syncedTogether < CLEAN_TOGETHER_INTERVAL) co_return;  // by then they are more
    syncedTogether = now;
    co_await syncTogether(quiet);
  }
  for (auto& chunk : quiet) co_await clean(chunk.handle);
}

Async<void> ChunkStore::syncTogether(kj::ArrayPtr<const Quiet> chunks) {
  auto outcome = co_await environment.disk.syncEverything();
  if (outcome.error == EOPNOTSUPP) co_return;  // each for itself, then
  if (!outcome.ok()) {
    environment.log.warning("syncing ", chunks.size(), " chunks together: ", outcome,
                            " -> each for itself, which tells whose error it was");
    co_return;
  }
  auto recorded = co_await index->sync();
  if (!ok(recorded)) co_return;
  for (auto& chunk : chunks) {
    auto* record = index->find(chunk.handle);
    auto entry = dirty.find(chunk.handle);
    // It may have been removed or made anew meanwhile, but not under the same version.
    if (record == nullptr || entry == dirty.end() || record->version != chunk.version) continue;
    entry->second.writesSynced = kj::max(entry->second.writesSynced, chunk.writes);
    entry->second.namesSynced = chunk.named;
  }
}

Async<void> ChunkStore::clean(ChunkHandle handle) {
  auto isSynced = [](const IndexRecord& record, const Dirty& state) {
    return state.writes == state.writesSynced && (state.namesSynced || !record.has(FRESH));
  };
  auto* record = index->find(handle);
  auto entry = dirty.find(handle);
  if (record == nullptr || record->has(CORRUPT)) {
    dirty.erase(handle);
    co_return;
  }
  if (record->has(STAGING) || entry == dirty.end()) co_return;
  if (!isSynced(*record, entry->second)) {
    auto synced = co_await sync({handle, record->version}, Suspects::ALLOWED);
    record = index->find(handle);
    entry = dirty.find(handle);
    if (!ok(synced) || record == nullptr || entry == dirty.end()) co_return;
  }
  auto& state = entry->second;
  auto inUse = live.find(handle);
  bool busy = environment.timer.now() - state.lastWrite < options.cleanAfter ||
              (inUse != live.end() && !inUse->second->locks.idle());
  if (busy || !isSynced(*record, state)) {
    state.lastWrite = environment.timer.now();  // not yet: look again later
    co_return;
  }
  auto known = *record;
  known.clear(UNSYNCED);
  known.clear(FRESH);
  known.clear(CREATED);
  if (ok(index->put(handle, known))) dirty.erase(entry);
}

kj::Promise<void> ChunkStore::whenIdle() {
  return cleanRound();
}

}  // namespace cairn
