// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See repair.h.
#include "metaserver/repair.h"

#include <algorithm>

#include "metaserver/placement.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration TURN = 100 * kj::MILLISECONDS;
constexpr kj::Duration IDLE_TURN = 1 * kj::SECONDS;  // nothing has changed, and nothing is due
constexpr uint32_t SWEEP_SLICE = 2000;               // chunks in a turn, when stores have come or gone
constexpr uint32_t TOUCHED_MAX = 5000;               // chunks of which something has changed in a turn
constexpr uint64_t SLICE_BYTES = 8ull << 20;         // of one order: a second at a modest rate
constexpr uint64_t LITTLE = 2ull << 20;              // bytes that may be left for the freeze
constexpr uint32_t PASSES_MAX = 4;                   // over a chunk that is being written, then it is frozen
constexpr uint32_t OVERTAKEN_MAX = 8;                // versions that pass by during one copy
constexpr kj::Duration FREEZE_MAX = 1000 * kj::MILLISECONDS;  // that writers wait
constexpr kj::Duration OVERTAKEN_PAUSE = 250 * kj::MILLISECONDS;

using Ended = RepairPlan::Outcome;

}  // namespace

Repair::Repair(RepairOptions options, ClusterView& view, StoreOrders& orders, ChunkGrants& grants,
               const NamespaceReader& names, kj::Timer& timer, env::Logger logger)
    : view(view),
      orders(orders),
      grants(grants),
      names(names),
      timer(timer),
      log(kj::mv(logger)),
      plan(options),
      tasks(*this) {}

void Repair::taskFailed(kj::Exception&& exception) {
  log.error("repair of a chunk ended with a bug: ", exception);
}

// ---------------------------------------------------------------------------------------------------------------
// How things are

RepairFacts Repair::facts(ChunkHandle chunk, const ChunkRecord& record) const {
  RepairFacts result;
  result.wanted = record.replicas;
  result.minimum = view.minimumOf(record.replicas);
  auto now = timer.now();
  for (auto& replica : view.chunks.known(chunk)) {
    KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
      bool current = replica.version >= record.floor && replica.version <= record.version;
      bool answers = server->answers(now);
      auto heard = server->heard;
      if (replica.registration != server->registration) {
        // Told before the store registered anew: it counts as away until its report is complete.
        if (server->report == Server::Report::COMPLETE) continue;
        answers = false;
        heard = server->registered;
      }
      if (replica.state == ReplicaFacts::State::CORRUPT) {
        if (answers) result.replicas.add(RepairReplica{replica.server, Standing::CORRUPT});
        continue;
      }
      if (!current) {
        if (answers) result.replicas.add(RepairReplica{replica.server, Standing::STALE});
        continue;
      }
      result.length = std::max(result.length, replica.length);
      auto standing = !answers                                     ? Standing::AWAY
                      : replica.state != ReplicaFacts::State::GOOD ? Standing::DOUBTFUL
                      : view.draining.count(replica.server) > 0    ? Standing::LEAVING
                                                                   : Standing::GOOD;
      result.replicas.add(RepairReplica{replica.server, standing, heard});
    }
  }
  return result;
}

void Repair::look(ChunkHandle chunk) {
  look(chunk, names.chunk(chunk));
}

void Repair::look(ChunkHandle chunk, const kj::Maybe<ChunkRecord>& record) {
  if (view.safeMode.on()) return;  // the sweep after it will see it
  KJ_IF_MAYBE (known, record) {
    plan.note(chunk, facts(chunk, *known), timer.now());
  } else {
    plan.forget(chunk);
  }
}

void Repair::move(ChunkHandle chunk, ServerId from, ServerId to) {
  plan.move(chunk, from, to, timer.now());
  look(chunk);
}

bool Repair::mayBuildOn(ChunkHandle chunk, ServerId server) const {
  if (!plan.wants(chunk)) return false;
  KJ_IF_MAYBE (known, view.servers.find(server)) {
    return hasRoom(known->space.bytesTotal, known->space.bytesFree) && view.draining.count(server) == 0;
  }
  return false;
}

kj::Array<RepairStore> Repair::stores() const {
  auto now = timer.now();
  kj::Vector<RepairStore> result;
  for (auto& [id, server] : view.servers.all()) {
    RepairStore store{id,   server.address.host, server.rack, server.space.bytesTotal, server.space.bytesFree,
                      false};
    store.takes = server.state(now) == ServerState::UP && hasRoom(store.bytesTotal, store.bytesFree) &&
                  view.draining.count(id) == 0;
    result.add(store);
  }
  return result.releaseAsArray();
}

void Repair::noticeChanges(kj::ArrayPtr<const RepairStore> present) {
  uint64_t takers = 0;
  for (auto& store : present) {
    if (store.takes) takers = (takers + store.server.value()) * 0x9e3779b97f4a7c15ull;
  }
  auto now = timer.now();
  auto states = view.standing(now);
  if (takers != takersBefore) plan.storesChanged(now);
  if (states != statesBefore) sweepWanted = true;
  takersBefore = takers;
  statesBefore = states;
}

void Repair::sweepSlice() {
  auto touched = view.chunks.takeTouched();
  sweepWanted |= touched.all;
  if (touched.chunks.size() <= TOUCHED_MAX) {
    for (auto handle : touched.chunks) look(handle);
  } else {
    sweepWanted = true;  // a store has reported: all in slices
  }
  if (!sweeping) {
    if (!sweepWanted) return;
    sweepWanted = false;
    sweeping = true;
    sweepCursor = ChunkHandle();
  }
  auto handles = view.chunks.handlesAfter(sweepCursor, SWEEP_SLICE);
  for (auto handle : handles) look(handle);
  if (handles.size() > 0) sweepCursor = handles[handles.size() - 1];
  if (handles.size() < SWEEP_SLICE) sweeping = false;
}

void Repair::beginWhatIsNext() {
  if (view.safeMode.on()) return;
  for (auto& job : plan.next(stores(), timer.now())) {
    if (grants.granting(job.chunk)) continue;  // it is about to change
    plan.began(job);
    tasks.add(carryOut(kj::mv(job)));
  }
}

kj::Duration Repair::pause() const {
  // Until the next turn. That a store has gone is seen by the second, as its heartbeats are.
  if (sweeping || sweepWanted || view.chunks.anyTouched()) return TURN;
  KJ_IF_MAYBE (due, plan.due()) return kj::max(TURN, kj::min(IDLE_TURN, *due - timer.now()));
  return IDLE_TURN;
}

Async<void> Repair::run() {
  for (;;) {
    co_await timer.afterDelay(pause());
    if (view.safeMode.on()) continue;
    noticeChanges(stores());
    sweepSlice();
    beginWhatIsNext();
  }
}

// ---------------------------------------------------------------------------------------------------------------
// What is done

Async<void> Repair::carryOut(RepairJob job) {
  auto outcome = Ended::FAILED;
  kj::Maybe<kj::Exception> problem;
  try {
    if (job.kind == RepairJob::Kind::COPY) {
      outcome = co_await copy(job);
    } else {
      outcome = co_await trim(job);
    }
  } catch (const kj::Exception& exception) {
    problem = kj::cp(exception);
  }
  plan.ended(job, outcome, timer.now());
  look(job.chunk);
  if (outcome == Ended::DONE) beginWhatIsNext();  // small chunks need not wait for the next turn
  KJ_IF_MAYBE (exception, problem) kj::throwFatalException(kj::mv(*exception));
}

kj::Maybe<CopyRequest> Repair::request(const RepairJob& job) const {
  // As things are now; null when there is nothing to be done any more, or nothing to do it with.
  auto record = names.chunk(job.chunk);
  if (record == nullptr || view.safeMode.on()) return nullptr;
  auto& known = KJ_ASSERT_NONNULL(record);
  auto now = timer.now();
  KJ_IF_MAYBE (target, view.servers.find(job.target)) {
    if (target->state(now) != ServerState::UP || view.draining.count(job.target) > 0) return nullptr;
  } else {
    return nullptr;
  }
  CopyRequest result{job.target, job.chunk};
  result.replace = ChunkVersion(known.floor.value() - 1);
  uint32_t others = 0;
  for (auto& replica : view.chunks.candidates(job.chunk, known)) {
    bool good = replica.state == ReplicaFacts::State::GOOD;
    if (replica.server == job.target) {
      if (good) return nullptr;  // it has come by it in another way
      result.replace = std::max(result.replace, replica.version);
      continue;
    }
    KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
      if (!good || !server->answers(now)) continue;
      others += view.draining.count(replica.server) == 0;
      if (replica.version < result.version) continue;
      if (replica.version > result.version) result.sources.clear();
      result.version = replica.version;
      result.sources.add(replica.server);
    }
  }
  if (result.sources.empty()) return nullptr;
  if (others >= known.replicas && job.urgency != Urgency::BALANCE) return nullptr;
  // The one that the plan counts first; then the nearest.
  std::stable_sort(result.sources.begin(), result.sources.end(), [&](ServerId a, ServerId b) {
    return std::make_pair(a != job.sources[0], view.nearness(job.target, a)) <
           std::make_pair(b != job.sources[0], view.nearness(job.target, b));
  });
  return kj::mv(result);
}

void Repair::useUp(ChunkHandle chunk, ServerId target) {
  // What the target holds is no replica any more once it has the order.
  view.chunks.remove(chunk, target);
  view.garbage.done(target, chunk);
}

Async<CopyReport> Repair::slice(const RepairJob& job, CopyRequest request) {
  // What was copied before is paid for first, by both; then this, by what it turns out to be.
  auto source = request.sources[0], target = request.target;
  auto start = plan.reserve(source, target, 0, timer.now());
  if (start > timer.now()) co_await timer.atTime(start);
  request.limit = SLICE_BYTES;
  auto report = co_await orders.copy(kj::mv(request));
  plan.reserve(source, target, report.copied, timer.now());
  plan.transferred(report.copied, timer.now());
  co_return kj::mv(report);
}

void Repair::leaveOutBad(const RepairJob& job, const CopyReport& report) {
  // Also when another source had it after all: what a target has found bad counts no more.
  for (auto server : report.bad) {
    auto record = names.chunk(job.chunk);
    KJ_IF_MAYBE (known, record) {
      for (auto& replica : view.chunks.candidates(job.chunk, *known)) {
        if (replica.server != server) continue;
        auto facts = replica;
        facts.state = ReplicaFacts::State::CORRUPT;
        view.chunks.put(job.chunk, facts);
        log.error("store ", job.target, " found bytes of chunk ", job.chunk, " on store ", server,
                  " that do not match their checksums -> it is not read any more");
      }
    }
  }
}

Async<Ended> Repair::judge(const RepairJob& job, const CopyReport& report) {
  // Why a slice was not copied, and whether to go on.
  KJ_IF_MAYBE (status, report.status) {
    switch (*status) {
      case Status::STALE_VERSION:
      case Status::BEHIND_VERSION:
      case Status::BUSY:
        co_await timer.afterDelay(OVERTAKEN_PAUSE);  // a grant has raised it, or another copy is about to end
        co_return Ended::AGAIN;
      case Status::EXISTS: {
        // It holds one that we do not know of: the answer to an earlier commit was lost.
        auto held = co_await orders.describe(job.target, job.chunk);
        KJ_IF_MAYBE (replica, held.replica) {
          view.chunks.put(job.chunk, *replica);
          log.info("store ", job.target, " has a replica of chunk ", job.chunk, " v", replica->version,
                   " that we did not know of -> it counts for what it is");
          co_return Ended::DONE;
        }
        co_return Ended::FAILED;
      }
      default:
        log.warning("store ", job.target, " cannot copy chunk ", job.chunk, ": ", *status,
                    " -> tried again later");
        co_return Ended::FAILED;
    }
  }
  co_return Ended::FAILED;
}

Async<Ended> Repair::copy(const RepairJob& job) {
  log.debug("chunk ", job.chunk, ": ", job.urgency, " -> store ", job.target, " copies it from store ",
            job.sources[0]);
  uint32_t overtaken = 0;
  for (uint32_t pass = 1; pass <= PASSES_MAX;) {
    uint64_t copiedInPass = 0;
    for (uint64_t left = 1; left > 0;) {
      auto wanted = request(job);
      if (wanted == nullptr) co_return Ended::AGAIN;
      auto& order = KJ_ASSERT_NONNULL(wanted);
      useUp(job.chunk, job.target);
      auto report = co_await slice(job, kj::mv(order));
      copiedInPass += report.copied;
      leaveOutBad(job, report);
      if (report.status.map([](Status status) { return ok(status); }).orDefault(false)) {
        left = report.left;
        continue;
      }
      auto next = co_await judge(job, report);
      if (next != Ended::AGAIN || ++overtaken > OVERTAKEN_MAX) co_return next;
      copiedInPass = 0;
    }
    ++pass;
    if (copiedInPass <= LITTLE) break;
  }
  co_return co_await finish(job);
}

Async<Ended> Repair::finish(const RepairJob& job) {
  if (request(job) == nullptr) co_return Ended::AGAIN;  // nothing is raised for a copy that is not needed
  auto freeze = co_await grants.freeze(job.chunk, kj::heapArray<ServerId>({job.target}), FREEZE_MAX);
  if (!ok(freeze->status)) {
    log.info("chunk ", job.chunk, " cannot be made to stand still (", freeze->status, ") -> the copy waits");
    co_return freeze->status == Status::STALE ? Ended::AGAIN : Ended::FAILED;
  }
  auto began = timer.now();
  CopyRequest last{job.target, job.chunk, freeze->version};
  last.sources.addAll(freeze->members);
  std::stable_sort(last.sources.begin(), last.sources.end(),
                   [&](ServerId a, ServerId b) { return (a != job.sources[0]) < (b != job.sources[0]); });
  last.limit = UINT64_MAX;
  last.end = CopyRequest::End::COMMIT;
  auto report = co_await orders.copy(kj::mv(last));
  plan.transferred(report.copied, timer.now());
  leaveOutBad(job, report);
  bool committed =
      report.status.map([](Status status) { return ok(status); }).orDefault(false) && report.left == 0;
  if (!committed) co_return co_await judge(job, report);
  view.chunks.put(job.chunk, {job.target, report.registration, freeze->version, report.length,
                              ReplicaFacts::State::GOOD});
  auto waited = (timer.now() - began) / kj::MILLISECONDS;
  if (enoughHold(job.chunk, freeze->version)) {
    auto confirmed = co_await grants.confirmFrozen(job.chunk, *freeze);
    log.info("chunk ", job.chunk, " v", freeze->version, " is complete on store ", job.target, " as well, ",
             report.copied, " bytes while it stood still for ", waited, " ms -> it has what it wants (",
             confirmed, ")");
  } else {
    // One that did not answer may hold the version of before, which counts as well: once it is back they are
    // made equal.
    grants.unsettled(job.chunk);
    log.info("chunk ", job.chunk, " v", freeze->version, " is complete on store ", job.target,
             " as well -> it needs more still");
  }
  co_return Ended::DONE;
}

bool Repair::enoughHold(ChunkHandle chunk, ChunkVersion version) const {
  auto record = names.chunk(chunk);
  KJ_IF_MAYBE (known, record) {
    if (known->version != version) return false;
    uint32_t holders = 0;
    for (auto& replica : view.chunks.candidates(chunk, *known)) {
      KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
        holders += replica.version == version && replica.state == ReplicaFacts::State::GOOD &&
                   server->answers(timer.now()) && view.draining.count(replica.server) == 0;
      }
    }
    return holders >= known->replicas;
  }
  return false;
}

Async<Ended> Repair::trim(const RepairJob& job) {
  auto freeze = co_await grants.freeze(
      job.chunk, kj::heapArray<ServerId>(job.leftBehind.begin(), job.leftBehind.size()), FREEZE_MAX);
  if (!ok(freeze->status)) co_return freeze->status == Status::STALE ? Ended::AGAIN : Ended::FAILED;
  if (!enoughHold(job.chunk, freeze->version)) co_return Ended::FAILED;
  auto confirmed = co_await grants.confirmFrozen(job.chunk, *freeze);
  if (!ok(confirmed)) co_return Ended::AGAIN;
  log.info("chunk ", job.chunk, ": ", job.urgency, " -> the replicas on ", kj::strArray(job.leftBehind, ","),
           " are left behind by v", freeze->version);
  co_return Ended::DONE;
}

}  // namespace cairn
