// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/scrubber.h"

#include <algorithm>
#include <vector>

#include "env/checksum.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration FIRST_PAUSE = 10 * kj::SECONDS;  // before the first round
constexpr kj::Duration PAUSE_MAX = 10 * kj::MINUTES;    // between two rounds: in one, new chunks are noted
constexpr kj::Duration LIST_PAUSE = 10 * kj::MILLISECONDS;
constexpr kj::Duration STEP_ASIDE = 50 * kj::MILLISECONDS;
constexpr kj::Duration STEP_ASIDE_MAX = 2 * kj::SECONDS;  // a store that is never idle is scrubbed as well
constexpr size_t LIST_BATCH = 10'000;

}  // namespace

Scrubber::Scrubber(ChunkStore& store, ScrubOptions options, kj::Timer& timer, const kj::Clock& clock,
                   kj::Function<bool()> busy)
    : store(store), options(options), timer(timer), clock(clock), busy(kj::mv(busy)) {}

ScrubProgress Scrubber::progress() const {
  ScrubProgress result{0, bytes, damaged, options.bytesPerSecond};
  auto oldest = oldestResting;
  if (!queue.empty() && (!oldest || queue.front().checked < oldest)) oldest = queue.front().checked;
  if (oldest) result.oldestSeconds = secondsBetween(oldest, checkTimeOf(clock.now()));
  return result;
}

Async<void> Scrubber::beginRound() {
  auto now = checkTimeOf(clock.now());
  std::vector<Turn> due;
  CheckTime resting;
  ChunkHandle after;
  for (bool more = true; more;) {
    auto batch = store.list(after, LIST_BATCH);
    more = batch.size() == LIST_BATCH;
    for (auto& state : batch) {
      after = state.handle;
      if (state.flags & CORRUPT) continue;
      if (!state.checked) store.markChecked(state.handle, now);  // it has come since the last round
      auto checked = state.checked ? state.checked : now;
      if (secondsBetween(checked, now) >= uint64_t(options.every / kj::SECONDS)) {
        due.push_back({state.handle, checked});
      } else if (!resting || checked < resting) {
        resting = checked;
      }
    }
    if (more) co_await timer.afterDelay(LIST_PAUSE);
  }
  std::stable_sort(due.begin(), due.end(), [](auto& a, auto& b) { return a.checked < b.checked; });
  queue.assign(due.begin(), due.end());
  oldestResting = resting;
}

Async<void> Scrubber::stepAside() {
  auto start = timer.now();
  while (busy() && timer.now() - start < STEP_ASIDE_MAX) co_await timer.afterDelay(STEP_ASIDE);
}

Async<void> Scrubber::run() {
  if (options.bytesPerSecond == 0) co_return;
  auto pause = FIRST_PAUSE;
  for (;;) {
    co_await timer.afterDelay(pause);
    pause = kj::max(FIRST_PAUSE, kj::min(options.every, PAUSE_MAX));
    co_await beginRound();
    while (!queue.empty()) {
      co_await check(queue.front().handle);
      queue.pop_front();
    }
  }
}

Async<void> Scrubber::check(ChunkHandle handle) {
  auto buffer = kj::heapArray<kj::byte>(TRANSFER_SIZE_MAX);
  auto sums = kj::heapArray<uint32_t>(TRANSFER_SIZE_MAX / BLOCK_SIZE);
  for (uint32_t offset = 0; offset < CHUNK_SIZE; offset += TRANSFER_SIZE_MAX) {
    co_await stepAside();
    auto state = store.describe(handle);
    if (state == nullptr) co_return;  // deleted
    ChunkKey key{handle, KJ_ASSERT_NONNULL(state).version};
    auto began = timer.now();
    auto got = co_await store.read(key, offset, buffer, sums);
    if (got.status == Status::CORRUPT) ++damaged;  // the store has seen to it
    if (!ok(got.status)) co_return;                // or it has been adopted or deleted: another round
    for (uint32_t at = 0; at < got.bytes; at += BLOCK_SIZE) {
      auto block = buffer.slice(at, kj::min(at + BLOCK_SIZE, got.bytes));
      if (env::blockChecksum(block) == sums[at / BLOCK_SIZE]) continue;
      ++damaged;
      co_await store.quarantine(handle, kj::str("scrubbing finds that block ", (offset + at) / BLOCK_SIZE,
                                                " does not match its checksum"));
      co_return;
    }
    bytes += got.bytes;
    auto due =
        began + int64_t(double(kj::max(got.bytes, BLOCK_SIZE)) * 1e9 / double(options.bytesPerSecond)) *
                    kj::NANOSECONDS;
    if (due > timer.now()) co_await timer.atTime(due);
    if (got.bytes < TRANSFER_SIZE_MAX) break;
  }
  store.markChecked(handle, checkTimeOf(clock.now()));
}

}  // namespace cairn
