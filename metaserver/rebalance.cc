// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See rebalance.h.
#include "metaserver/rebalance.h"

#include <kj/debug.h>

#include "metaserver/placement.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration TURN = 500 * kj::MILLISECONDS;
constexpr kj::Duration IDLE_TURN = 1 * kj::SECONDS;  // while nothing is to be moved
constexpr uint32_t LOOK_AT = 2000;                   // chunks in a turn

}  // namespace

kj::Array<BalanceStore> Rebalance::stores() const {
  auto now = timer.now();
  kj::Vector<BalanceStore> result;
  for (auto& [id, server] : view.servers.all()) {
    BalanceStore store{id, server.space.bytesTotal, server.space.bytesFree};
    store.present = server.state(now) == ServerState::UP && view.draining.count(id) == 0;
    store.takes = store.present && hasRoom(store.bytesTotal, store.bytesFree);
    result.add(store);
  }
  return result.releaseAsArray();
}

void Rebalance::begin() {
  plan.begin();
  passedOver = 0;
  log.info("an operator wants the stores equally full, they are ", spread() / 100,
           " % apart -> chunks are moved");
}

bool Rebalance::fits(ChunkHandle chunk, const RebalancePlan::Wish& wish, uint64_t& bytes) const {
  if (repair.wants(chunk)) return false;
  auto record = names.chunk(chunk);
  if (record == nullptr) return false;
  auto target = view.servers.find(wish.to);
  if (target == nullptr) return false;
  auto& host = KJ_ASSERT_NONNULL(target).address.host;
  uint32_t good = 0, withTarget = 0, withSource = 0;
  bool there = false;
  kj::StringPtr sourceHost;
  KJ_IF_MAYBE (source, view.servers.find(wish.from)) sourceHost = source->address.host;
  for (auto& replica : view.chunks.replicas(chunk)) {
    if (replica.server == wish.to) return false;
    bool current =
        replica.version >= KJ_ASSERT_NONNULL(record).floor && replica.state == ReplicaFacts::State::GOOD;
    if (!current) continue;
    ++good;
    if (replica.server == wish.from) {
      there = true;
      bytes = replica.length;
      continue;
    }
    KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
      withTarget += server->address.host == host;
      withSource += server->address.host == sourceHost;
    }
  }
  // Balance is not worth two replicas on one host.
  return there && good == KJ_ASSERT_NONNULL(record).replicas && bytes <= wish.bytesMax &&
         withTarget <= withSource;
}

Rebalance::Search Rebalance::search(const RebalancePlan::Wish& wish) {
  auto handles = view.chunks.handlesAfter(cursor, LOOK_AT);
  for (auto handle : handles) {
    cursor = handle;
    ++passedOver;
    uint64_t bytes = 0;
    if (!fits(handle, wish, bytes) || bytes == 0) continue;
    passedOver = 0;
    plan.began(handle, wish, bytes);
    repair.move(handle, wish.from, wish.to);
    return Search::FOUND;
  }
  if (handles.size() < LOOK_AT) cursor = ChunkHandle();
  return passedOver > 2 * view.chunks.chunks() ? Search::NONE : Search::GOES_ON;
}

void Rebalance::turn() {
  for (auto chunk : plan.underWay()) {
    if (!repair.wants(chunk)) plan.ended(chunk);
  }
  bool before = plan.running();
  for (uint32_t i = 0; i < MOVES_AT_ONCE; ++i) {
    auto wish = plan.next(stores());
    if (wish == nullptr) break;
    auto found = search(KJ_ASSERT_NONNULL(wish));
    if (found == Search::NONE) plan.nothingFits();
    if (found != Search::FOUND) break;
  }
  if (before != plan.running()) {
    log.info(before ? "chunks are moved no more, the stores are " : "the stores are ", spread() / 100,
             " % apart",
             before ? kj::str(" after ", plan.moves(), " moves") : kj::str(" -> chunks are moved"));
    passedOver = 0;
  }
}

Async<void> Rebalance::run() {
  for (;;) {
    co_await timer.afterDelay(plan.running() ? TURN : IDLE_TURN);
    if (!view.safeMode.on()) turn();
  }
}

}  // namespace cairn
