// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkGrants that brings chunks to rest. When a lease ends by its primary's word, or runs out at
// a primary that lives, its replicas are equal. When it ends in another way (the primary's process has died,
// a secondary did not apply a write, a store tells of writes from before its restart), they may differ in
// writes that nobody was told had succeeded. The next grant makes them equal; if nobody wants to write, it is
// done here, so that readers do not see now the one and now the other for ever. Likewise with suspects, which
// do not serve before. A raise leaves behind who does not answer: so the replicas are compared first, as they
// are, and one that has just gone is waited for. What came to be while the metaserver was down is found in
// what the stores report: marks that differ (chunkd.capnp, Adopted.written).
#include <algorithm>

#include "metaserver/chunk_grants.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration SETTLE_AFTER = 2 * kj::SECONDS;  // who still writes has a new lease by then
constexpr kj::Duration SETTLE_AGAIN = 5 * kj::SECONDS;  // after it could not be done
constexpr kj::Duration BACK_WITHIN = 30 * kj::SECONDS;  // a store that has gone, else it is done without
constexpr kj::Duration SETTLE_INTERVAL = 250 * kj::MILLISECONDS;
constexpr uint32_t SETTLES_AT_ONCE = 8;

}  // namespace

void ChunkGrants::unsettled(ChunkHandle handle) {
  restless.emplace(handle, timer.now() + SETTLE_AFTER);
  if (wakeSettling.get() != nullptr) wakeSettling->fulfill();
}

void ChunkGrants::told(ChunkHandle handle, const ReplicaFacts& replica, bool unsynced) {
  if (replica.state == ReplicaFacts::State::SUSPECT) return unsettled(handle);
  if (replica.state != ReplicaFacts::State::GOOD) return;
  if (view.leases.find(handle) != nullptr) return;  // its end will tell
  if (!replica.content.known()) {
    if (unsynced) unsettled(handle);  // written before the store's process started
    return;
  }
  for (auto& other : view.chunks.replicas(handle)) {
    bool differs =
        other.version == replica.version && other.content.known() && other.content != replica.content;
    if (differs) return unsettled(handle);
  }
}

kj::Promise<Status> ChunkGrants::settle(ChunkHandle handle) {
  Order order;
  order.aim = Order::Aim::REST;
  return joinGrant(handle, kj::mv(order));
}

Async<ChunkGrants::Rest> ChunkGrants::compare(ChunkHandle handle) {
  auto record = names.chunk(handle);
  if (record == nullptr) co_return Rest::EQUAL;  // it is gone
  auto replicas = view.chunks.candidates(handle, KJ_ASSERT_NONNULL(record));
  auto now = timer.now();
  bool comparable = true;
  for (auto& replica : replicas) {
    bool answers = false;
    KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
      answers = server->answers(now);
      if (!answers && now - server->heard < BACK_WITHIN) co_return Rest::NOT_KNOWN;
    }
    comparable &=
        answers && replica.state != ReplicaFacts::State::SUSPECT && replica.version == replicas[0].version;
  }
  if (view.moreMayCome(now)) co_return Rest::NOT_KNOWN;
  if (!comparable) co_return Rest::UNEQUAL;
  kj::Vector<kj::Promise<kj::Maybe<StoreOrders::Content>>> questions;
  for (auto& replica : replicas) questions.add(orders.content(replica.server, handle, replica.version));
  auto contents = co_await kj::joinPromises(questions.releaseAsArray());
  for (auto& content : contents) {
    KJ_IF_MAYBE (one, content) {
      KJ_IF_MAYBE (first, contents[0]) {
        if (*one == *first) continue;
      }
    }
    co_return Rest::UNEQUAL;
  }
  co_return Rest::EQUAL;
}

Async<void> ChunkGrants::settleOne(ChunkHandle handle) {
  ++settling;
  KJ_DEFER(--settling);
  auto rest = co_await compare(handle);
  if (rest == Rest::EQUAL) {
    restless.erase(handle);
    co_return;
  }
  if (rest == Rest::NOT_KNOWN) co_return;  // later
  auto status = co_await settle(handle);
  if (ok(status) || status == Status::STALE) {
    restless.erase(handle);
  } else {
    restless.insert_or_assign(handle, timer.now() + SETTLE_AGAIN);
  }
}

Async<void> ChunkGrants::settleForEver() {
  for (;;) {
    if (restless.empty()) {
      auto pair = kj::newPromiseAndFulfiller<void>();
      wakeSettling = kj::mv(pair.fulfiller);
      co_await pair.promise;
    }
    co_await timer.afterDelay(SETTLE_INTERVAL);
    if (view.safeMode.on()) continue;
    auto now = timer.now();
    kj::Vector<ChunkHandle> due;
    for (auto& [handle, when] : restless) {
      if (due.size() + settling >= SETTLES_AT_ONCE) break;
      if (when <= now && !granting(handle)) due.add(handle);
    }
    for (auto handle : due) {
      auto record = names.chunk(handle);
      bool written =
          record.map([&](const ChunkRecord& known) { return leased(ChunkIndex(), handle, known) != nullptr; })
              .orDefault(true);
      restless.erase(handle);
      if (written) continue;  // gone, or under a lease again
      restless.emplace(handle, now + SETTLE_AGAIN);
      tasks.add(settleOne(handle));
    }
  }
}

}  // namespace cairn
