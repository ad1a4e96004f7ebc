// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See staging_keeper.h.
#include "metaserver/staging_keeper.h"

#include "env/turn.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration TURN = 1 * kj::SECONDS;
constexpr uint32_t STAGINGS_PER_TURN = 10;
constexpr uint32_t DROPPED_PER_STEP = 1000;

}  // namespace

void StagingKeeper::taskFailed(kj::Exception&& exception) {
  log.error("a snapshot ended with a bug: ", exception);
}

Async<void> StagingKeeper::tidy() {
  for (auto top : names.stagings(STAGINGS_PER_TURN)) {
    uint64_t gone = 0;
    for (auto more = More::YES; more == More::YES;) {
      if (!gate.isOpen()) co_return;  // it may be the one that is being made
      auto operation = kj::heap<LoggedOperation>();
      auto request = operation->body().initDropStaged();
      request.setDropped(top.value());
      request.setDropAtMost(DROPPED_PER_STEP);
      auto outcome = co_await gate.propose(kj::mv(operation));
      if (!outcome.ok()) {
        log.warning("what is left of a snapshot, inode ", top, ", could not be dropped: ", outcome.status,
                    " -> tried again");
        co_return;
      }
      more = outcome.more;
      gone += outcome.number;
      co_await env::othersTurn(timer);
    }
    if (gone > 0) log.info("snapshot ", top, " was given up -> its ", gone, " inodes are gone");
  }
}

Async<void> StagingKeeper::run() {
  for (;;) {
    co_await timer.afterDelay(TURN);
    co_await tidy();
  }
}

}  // namespace cairn
