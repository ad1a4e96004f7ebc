// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See quota_keeper.h.
#include "metaserver/quota_keeper.h"

#include "env/turn.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration TURN = 1 * kj::SECONDS;
constexpr kj::Duration STEP_PAUSE = 10 * kj::MILLISECONDS;  // between two steps of the count
constexpr uint32_t ENTRIES_PER_STEP = 2000;                 // some milliseconds
constexpr uint32_t QUOTAS_PER_PAGE = 200;
constexpr uint32_t TRASH_PER_PAGE = 200;

}  // namespace

Async<void> QuotaKeeper::countTree() {
  for (auto more = More::YES; more == More::YES;) {
    auto operation = kj::heap<LoggedOperation>();
    operation->body().setCountTree(ENTRIES_PER_STEP);
    auto outcome = co_await operations.propose(kj::mv(operation));
    if (!outcome.ok()) {
      log.warning("the tree could not be counted for quotas: ", outcome.status, " -> tried again");
      co_return;
    }
    more = outcome.more;
    co_await timer.afterDelay(STEP_PAUSE);
  }
  log.info("all ", names.state().counted, " inodes that were there are counted -> quotas hold from now on");
}

Async<void> QuotaKeeper::relieve(NamespaceReader::DirectoryQuota quota) {
  // What goes next anyway goes first.
  int64_t until = 0;
  InodeId after;
  uint64_t given = 0;
  for (bool more = true; more && quota.limits.isOver(names.usage(quota.directory));) {
    auto page = names.trash(until, after, TRASH_PER_PAGE);
    more = page.size() == TRASH_PER_PAGE;
    for (auto& file : page) {
      until = file.departure.until;
      after = file.inode.id();
      auto used = names.usage(quota.directory);
      if (!quota.limits.isOver(used) || used.trashInodes == 0) break;
      if (!file.inode.has(COUNTED) || !names.isBelow(file.inode.parent, quota.directory)) continue;
      auto one = kj::heapArray<TrashedFile>(1);
      one[0] = file;
      auto purged = co_await trash.purge(kj::mv(one));
      if (!purged.ok()) co_return;
      given += *purged;
    }
    co_await env::othersTurn(timer);
  }
  if (given > 0) {
    log.info("directory ", quota.directory, " is over its quota with what is in the trash -> ", given,
             " files leave it before their time");
  }
}

Async<void> QuotaKeeper::relieve() {
  InodeId after;
  for (bool more = true; more;) {
    auto page = names.quotas(after, QUOTAS_PER_PAGE);
    more = page.size() == QUOTAS_PER_PAGE;
    for (auto& quota : page) {
      after = quota.directory;
      auto used = names.usage(quota.directory);
      if (used.trashInodes > 0 && quota.limits.isOver(used)) co_await relieve(quota);
    }
  }
}

Async<void> QuotaKeeper::run() {
  for (;;) {
    co_await timer.afterDelay(TURN);
    auto& state = names.state();
    if (state.counting == Counting::RUNNING) co_await countTree();
    if (state.counting == Counting::DONE && state.quotas > 0) co_await relieve();
  }
}

}  // namespace cairn
