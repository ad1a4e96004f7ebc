// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See chunk_survey.h.
#include "metaserver/chunk_survey.h"

#include <algorithm>

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t SLICE =
    200;  // chunks judged at a time: a millisecond or two, in which no operation is answered
constexpr kj::Duration SLICE_INTERVAL = 50 * kj::MILLISECONDS;  // while a round lasts
constexpr kj::Duration TURN_INTERVAL = 250 * kj::MILLISECONDS;
constexpr kj::Duration ROUND_INTERVAL = 1 * kj::SECONDS;  // at the least, while stores neither come nor go
constexpr kj::Duration DELETE_INTERVAL = 1 * kj::SECONDS;
constexpr uint32_t RECORDS_PER_TURN = 250;
constexpr uint32_t VERSIONS_PER_OPERATION = 1000;

}  // namespace

ChunkSurvey::ChunkSurvey(ClusterView& view, StoreOrders& orders, OperationLog& log,
                         const NamespaceReader& names, Repair& repair, kj::Timer& timer, env::Logger logger)
    : view(view),
      orders(orders),
      operations(log),
      names(names),
      repair(repair),
      timer(timer),
      log(kj::mv(logger)),
      tasks(*this) {}

void ChunkSurvey::taskFailed(kj::Exception&& exception) {
  log.error("collecting garbage ended with a bug: ", exception);
}

ChunkFacts ChunkSurvey::recorded(ChunkHandle chunk) const {
  ChunkFacts facts;
  facts.record = names.chunk(chunk);
  if (facts.record == nullptr) facts.dropped = names.dropped(chunk);
  auto& state = names.state();
  facts.nextHandle = state.nextHandle;
  facts.restored = state.restored;
  facts.restoredFloor = state.restoredFloor;
  return facts;
}

ChunkFacts ChunkSurvey::facts(ChunkHandle chunk, ServerId server) const {
  return beside(chunk, server, recorded(chunk));
}

ChunkFacts ChunkSurvey::beside(ChunkHandle chunk, ServerId server, ChunkFacts recorded) const {
  KJ_IF_MAYBE (record, recorded.record) {
    recorded.currentElsewhere = view.chunks.currentElsewhere(chunk, *record, server, timer.now());
  }
  return recorded;
}

void ChunkSurvey::judgeReplica(ChunkHandle chunk, const ReplicaFacts& replica) {
  judgeReplica(chunk, replica, recorded(chunk));
}

void ChunkSurvey::judgeReplica(ChunkHandle chunk, const ReplicaFacts& replica, const ChunkFacts& recorded) {
  auto verdict = judge(chunk, replica.version, beside(chunk, replica.server, recorded));
  if (verdict == Verdict::NEWER && replica.state != ReplicaFacts::State::CORRUPT)
    newer[chunk] = std::max(newer[chunk], replica.version);
  view.garbage.seen(replica.server, chunk, replica.version, verdict, operations.last(), timer.now());
}

kj::Maybe<uint64_t> ChunkSurvey::leaving(ServerId server) const {
  auto found = leavingLatest.find(server);
  if (found == leavingLatest.end()) return nullptr;
  return found->second;
}

void ChunkSurvey::startAnew() {
  cursor = ChunkHandle();
  basis = nullptr;
  counting = ChunkHealth();
  leavingCounting.clear();
  leavingLatest.clear();
  for (auto server : view.draining) leavingCounting[server] = 0;
}

bool ChunkSurvey::isDue() {
  if (cursor) return true;  // in the middle of a round
  Basis now{view.chunks.changes(), operations.last(), view.standing(timer.now())};
  KJ_IF_MAYBE (before, basis) {
    if (*before == now) return false;
    if (before->stores == now.stores && timer.now() - began < ROUND_INTERVAL) return false;
  }
  basis = now;
  began = timer.now();
  ++begun;
  return true;
}

void ChunkSurvey::slice() {
  auto handles = view.chunks.handlesAfter(cursor, SLICE);
  for (auto handle : handles) {
    cursor = handle;
    auto known = recorded(handle);
    auto replicas = view.chunks.replicas(handle);
    repair.look(handle, known.record);
    KJ_IF_MAYBE (record, known.record) {
      uint32_t current = 0, counted = 0;
      for (auto& replica : replicas) {
        bool good = replica.version >= record->floor && replica.version <= record->version &&
                    replica.state != ReplicaFacts::State::CORRUPT;
        KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
          counted += good && server->state(timer.now()) != ServerState::DOWN;
        }
        current += good;
        auto drained = good ? leavingCounting.find(replica.server) : leavingCounting.end();
        if (drained != leavingCounting.end()) ++drained->second;
      }
      ++(counted >= record->replicas ? counting.healthy : counted > 0 ? counting.under : counting.missing);
      if (current == replicas.size()) continue;  // nothing to judge
    }
    for (auto& replica : replicas) judgeReplica(handle, replica, known);
  }
  if (handles.size() < SLICE) {
    cursor = ChunkHandle();
    auto seen = counting.healthy + counting.under + counting.missing;
    auto all = names.state().chunks;
    if (all > seen) counting.missing += all - seen;  // of which no store has told anything
    latest = counting;
    counting = ChunkHealth();
    leavingLatest = std::move(leavingCounting);
    leavingCounting.clear();
    for (auto server : view.draining) leavingCounting[server] = 0;
  }
}

Async<void> ChunkSurvey::collectRecords() {
  if (names.state().garbage == 0) co_return;
  auto page = names.garbage(garbageCursor, RECORDS_PER_TURN);
  garbageCursor = page.size() < RECORDS_PER_TURN ? ChunkHandle() : page[page.size() - 1].handle;
  bool everyStoreTold = !view.safeMode.on();
  for (auto& [id, server] : view.servers.all()) {
    everyStoreTold &=
        server.connection == Server::Connection::OPEN && server.report == Server::Report::COMPLETE;
  }
  kj::Vector<ChunkHandle> gone;
  for (auto& record : page) {
    view.leases.ended(record.handle, record.version);
    auto replicas = view.chunks.replicas(record.handle);
    if (!replicas.empty()) {
      auto known = recorded(record.handle);
      for (auto& replica : replicas) judgeReplica(record.handle, replica, known);
    }
    if (replicas.empty() && everyStoreTold) gone.add(record.handle);
  }
  if (gone.empty()) co_return;
  auto operation = kj::heap<LoggedOperation>();
  auto list = operation->body().initCollectGarbage(gone.size());
  for (size_t i = 0; i < gone.size(); ++i) list.set(i, gone[i].value());
  auto outcome = co_await operations.propose(kj::mv(operation));
  if (!outcome.ok()) log.warning("records of ", gone.size(), " dropped chunks stay: ", outcome.status);
}

Async<void> ChunkSurvey::followStores() {
  // Of a restored namespace, once all stores have told: the highest version that any holds has every
  // acknowledged write, as it had in the namespace that is lost.
  auto& state = names.state();
  if (state.restored == Restored::TAKING_OVER) {
    auto operation = kj::heap<LoggedOperation>();
    operation->body().setTakenOver();
    auto outcome = co_await operations.propose(kj::mv(operation));
    if (!outcome.ok()) co_return;
    log.info("restored from a backup, and all stores have told what they hold -> in charge; ",
             view.garbage.kept(), " replicas of chunks that no file has are kept, ", newer.size(),
             " chunks were written after the backup");
  }
  while (!newer.empty()) {
    auto operation = kj::heap<LoggedOperation>();
    auto list = operation->body().initFoundVersions(kj::min(newer.size(), size_t(VERSIONS_PER_OPERATION)));
    kj::Vector<ChunkHandle> chunks;
    for (auto entry : list) {
      auto first = newer.begin();
      entry.setHandle(first->first.value());
      entry.setVersion(first->second.value());
      chunks.add(first->first);
      newer.erase(first);
    }
    auto outcome = co_await operations.propose(kj::mv(operation));
    if (!outcome.ok()) {
      log.warning(chunks.size(),
                  " chunks that were written after the backup stay as they were: ", outcome.status,
                  " -> tried again at the next look");
      basis = nullptr;
      co_return;
    }
    for (auto chunk : chunks) repair.look(chunk);
  }
}

Async<void> ChunkSurvey::deleteAt(ServerId server) {
  auto due = view.garbage.due(server, timer.now(), operations.durableUpTo());
  kj::Vector<DoomedReplica> doomed;
  uint32_t byVerdict[VERDICTS] = {};
  for (auto& entry : due) {
    // Judged once more: a file may have got the chunk, the last current replica elsewhere may have gone.
    auto known = facts(entry.chunk, server);
    auto verdict = judge(entry.chunk, entry.version, known);
    if (verdict != entry.verdict) {
      view.garbage.seen(server, entry.chunk, entry.version, verdict, operations.last(), timer.now());
      continue;
    }
    if (verdict == Verdict::STALE && repair.mayBuildOn(entry.chunk, server)) continue;
    // The limit up to which this verdict holds: the store may have adopted a version without our hearing.
    auto version = entry.version;
    KJ_IF_MAYBE (record, known.record) version = ChunkVersion(record->floor.value() - 1);
    KJ_IF_MAYBE (dropped, known.dropped) version = std::max(version, *dropped);
    doomed.add(DoomedReplica{entry.chunk, version, verdict});
    ++byVerdict[uint32_t(verdict)];
  }
  if (doomed.empty()) co_return;
  auto sent = kj::heapArray<DoomedReplica>(doomed.begin(), doomed.size());
  auto answer = co_await orders.remove(server, kj::mv(sent));
  auto status = answer.orDefault(Status::NOT_READY);
  if (!ok(status)) {
    log.warning("store ", server, " did not delete ", doomed.size(), " replicas: ", status,
                " -> tried again later");
    co_return;
  }
  for (auto& replica : doomed) {
    view.chunks.remove(replica.chunk, server);
    view.garbage.done(server, replica.chunk);
  }
  log.info("store ", server, " has deleted replicas: ", byVerdict[uint32_t(Verdict::GARBAGE)], " ",
           Verdict::GARBAGE, ", ", byVerdict[uint32_t(Verdict::STALE)], " ", Verdict::STALE, ", ",
           byVerdict[uint32_t(Verdict::UNKNOWN)], " ", Verdict::UNKNOWN);
}

Async<void> ChunkSurvey::run() {
  auto turned = timer.now(), deleted = turned;
  for (;;) {
    auto pause = cursor ? SLICE_INTERVAL : TURN_INTERVAL;
    co_await timer.afterDelay(pause);
    if (isDue()) slice();
    if (timer.now() - turned < TURN_INTERVAL) continue;
    turned = timer.now();
    bool takesOver = names.state().restored == Restored::TAKING_OVER && view.servers.reported() > 0;
    if ((takesOver || !newer.empty()) && !view.safeMode.on()) co_await followStores();
    if (view.safeMode.on()) continue;
    co_await collectRecords();
    if (timer.now() - deleted < DELETE_INTERVAL) continue;
    deleted = timer.now();
    kj::Vector<ServerId> connected;
    for (auto& [id, store] : view.orders) connected.add(id);
    auto now = timer.now();
    for (auto id : connected) {
      KJ_IF_MAYBE (server, view.servers.find(id)) {
        if (server->state(now) == ServerState::UP && view.garbage.anyWaiting(id)) tasks.add(deleteAt(id));
      }
    }
  }
}

}  // namespace cairn
