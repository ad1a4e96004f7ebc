// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/unsynced_files.h"

#include <utility>
#include <vector>

#include "rpc/coroutine.h"

namespace cairn::client {

void UnsyncedFiles::closed(InodeId inode, UnsyncedFile left) {
  if (left.empty()) return;
  auto& entry = files[inode];
  merge(entry.left.chunks, std::move(left.chunks));
  if (entry.left.error == nullptr) entry.left.error = left.error;
  entry.closing = ++closings;
  order.push_back({parts.timer.now() + AGE, inode, entry.closing});
  if (sweeping) return;
  sweeping = true;
  sweeper = sweep().eagerlyEvaluate([this](kj::Exception&& exception) {
    parts.log.error("syncing closed files broke: ", exception, " -> their next fsync does it");
    sweeping = false;
  });
}

UnsyncedFile UnsyncedFiles::reopened(InodeId inode) {
  auto found = files.find(inode);
  if (found == files.end()) return {};
  auto left = kj::mv(found->second.left);
  files.erase(found);
  return left;
}

void UnsyncedFiles::answersLost(LogIndex from) {
  for (auto& [inode, entry] : files) {
    for (auto& [index, chunk] : entry.left.chunks) chunk.answersLost(from);
  }
}

Async<Status> UnsyncedFiles::sync(InodeId inode) {
  // The entry stays while its sync is under way: whoever opens the file meanwhile must not miss it.
  auto found = files.find(inode);
  if (found == files.end()) co_return Status::OK;
  auto closing = found->second.closing;
  for (auto& [index, chunk] : found->second.left.chunks) toCover.push_back(chunk.handle);
  auto outcome = co_await parts.chunkSync.sync(inode, found->second.left.chunks);
  bool lost = outcome.loss == ChunkSync::Outcome::Loss::SOME;
  auto status = outcome.left.empty() && !lost ? Status::OK : Status::IO_ERROR;
  found = files.find(inode);
  if (found == files.end() || found->second.closing != closing) co_return status;
  found->second.left.chunks = std::move(outcome.left);
  if (lost && found->second.left.error == nullptr) found->second.left.error = Status::IO_ERROR;
  if (found->second.left.empty()) files.erase(found);
  co_return status;
}

Async<Status> UnsyncedFiles::syncAll() {
  std::vector<InodeId> inodes;
  auto result = Status::OK;
  for (auto& [inode, entry] : files) {
    inodes.push_back(inode);
    KJ_IF_MAYBE (error, entry.left.error) {
      if (ok(result)) result = *error;
      entry.left.error = nullptr;
    }
  }
  std::deque<kj::Promise<Status>> underWay;
  for (size_t next = 0; next < inodes.size() || !underWay.empty();) {
    while (next < inodes.size() && underWay.size() < SYNCS_AT_ONCE) {
      underWay.push_back(sync(inodes[next++]).eagerlyEvaluate(nullptr));
    }
    auto first = kj::mv(underWay.front());
    underWay.pop_front();
    auto status = co_await first;
    if (ok(result)) result = status;
  }
  auto told = co_await tellCovered();
  co_return ok(result) ? told : result;
}

Async<Status> UnsyncedFiles::tellCovered() {
  auto telling = std::exchange(toCover, {});
  if (telling.empty()) co_return Status::OK;
  auto status = co_await parts.session.sync(InodeId(), telling);
  if (!ok(status)) toCover.insert(toCover.end(), telling.begin(), telling.end());
  co_return status;
}

Async<void> UnsyncedFiles::sweep() {
  // One after the other, in the background. What cannot be synced stays: its next fsync will say so.
  while (!order.empty()) {
    auto due = order.front();
    if (due.time > parts.timer.now()) co_await parts.timer.atTime(due.time);
    order.pop_front();
    auto found = files.find(due.inode);
    if (found == files.end() || found->second.closing != due.closing) continue;
    auto status = co_await sync(due.inode);
    if (toCover.size() >= COVERED_AT_ONCE) (void)co_await tellCovered();  // else the next one does
    if (!ok(status)) {
      parts.log.warning("inode ", due.inode, ", closed without fsync, cannot be synced: ", status,
                        " -> its next fsync fails");
    }
  }
  sweeping = false;
}

}  // namespace cairn::client
