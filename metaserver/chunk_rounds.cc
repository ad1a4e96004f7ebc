// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkGrants that all hand-overs have in common: one round of
//
//   raiseVersion, on stable storage -> adopt on all members -> reconcile those that are not known to be equal
//
// and confirmVersion, on stable storage as well before a lease is granted: then the floor tells for ever that
// replicas left behind may lack acknowledged writes, whatever power cut comes. While a round runs no lease is
// out under its version, so nothing is written under it but by the reconciling.
#include <algorithm>

#include "env/mutation.h"
#include "metaserver/chunk_grants.h"
#include "rpc/coroutine.h"

namespace cairn {

Async<ChunkGrants::Round> ChunkGrants::round(ChunkHandle handle, ChunkVersion from,
                                             kj::Array<ReplicaFacts> members) {
  Round result;
  auto operation = kj::heap<LoggedOperation>();
  auto raise = operation->body().initRaiseVersion();
  raise.setRaised(handle.value());
  raise.setFrom(from.value());
  bool onlySuspects = std::all_of(members.begin(), members.end(), [](auto& replica) {
    return replica.state == ReplicaFacts::State::SUSPECT;
  });
  if (onlySuspects) {
    if (members[0].version > ChunkVersion()) {  // else it is made anew, which has been said
      log.error(
          "chunk ", handle, " v", from, ": of its ", members.size(),
          " replicas each has lost its machine's power -> made equal to one of them; writes that were not "
          "synced may be lost");
    }
    raise.setLossy(true);
  }
  auto outcome = co_await operations.propose(kj::mv(operation));
  if (!outcome.ok()) {
    result.status = outcome.status == Status::NOT_FOUND ? Status::STALE : Status::REPLICA_FAILED;
    co_return kj::mv(result);
  }
  // The stores will remember the version, and some of them lose their doubt: a power cut must not make us
  // forget it.
  result.status = co_await operations.durable(outcome.index);
  if (!ok(result.status)) co_return kj::mv(result);
  result.version = ChunkVersion(outcome.number);
  auto record = names.chunk(handle);
  if (record == nullptr) {
    result.status = Status::STALE;
    co_return kj::mv(result);
  }
  result.truncated = KJ_ASSERT_NONNULL(record).validBytes;

  kj::Vector<AdoptedReplica> adopted;
  co_await adopt(handle, result, members, adopted);
  bool unbroken = std::any_of(adopted.begin(), adopted.end(), [](auto& replica) {
    return replica.machine == AdoptedReplica::Machine::UNBROKEN;
  });
  if (!unbroken && !onlySuspects) {
    ++result.failed;  // this has to be said in the log first: once more, with the suspects that are left
    co_return kj::mv(result);
  }
  co_await makeEqual(handle, result, adopted);
  co_return kj::mv(result);
}

Async<void> ChunkGrants::adopt(ChunkHandle handle, Round& round, kj::ArrayPtr<const ReplicaFacts> members,
                               kj::Vector<AdoptedReplica>& adopted) {
  auto order = kj::heapArrayBuilder<AdoptOrder>(members.size());
  for (auto& replica : members) {
    order.add(AdoptOrder{replica.server, handle, replica.version, round.version, round.truncated});
  }
  auto answers = co_await orders.adoptAll(order.finish());
  for (size_t i = 0; i < answers.size(); ++i) {
    auto& answer = answers[i];
    if (answer.adopted()) {
      bool suspect = answer.machine == AdoptAnswer::Machine::SUSPECT;
      ReplicaFacts facts{answer.server,
                         answer.registration,
                         round.version,
                         answer.length,
                         suspect ? ReplicaFacts::State::SUSPECT : ReplicaFacts::State::GOOD,
                         answer.content};
      view.chunks.put(handle, facts);
      round.members.add(facts);
      adopted.add(
          AdoptedReplica{answer.server, answer.content, answer.length,
                         suspect ? AdoptedReplica::Machine::SUSPECT : AdoptedReplica::Machine::UNBROKEN});
      continue;
    }
    ++round.failed;
    KJ_IF_MAYBE (status, answer.status) {
      log.warning("store ", answer.server, " refused chunk ", handle, " v", members[i].version, " -> v",
                  round.version, ": ", *status, " -> without it");
      if (*status == Status::NO_REPLICA) view.chunks.remove(handle, answer.server);
      if (*status == Status::CORRUPT || *status == Status::IO_ERROR) {
        view.chunks.put(handle, {answer.server, answer.registration, members[i].version, 0,
                                 ReplicaFacts::State::CORRUPT});
      }
    }
  }
}

Async<void> ChunkGrants::makeEqual(ChunkHandle handle, Round& round,
                                   kj::ArrayPtr<const AdoptedReplica> adopted) {
  if (isMutant(Mutant::SKIP_RECONCILE)) co_return;
  auto plan = planReconcile(adopted);
  if (!plan.needed()) co_return;
  log.info("chunk ", handle, " v", round.version, ": the replicas on ", kj::strArray(plan.unequal, ","),
           " are not known to be equal to that on ", plan.reference, " -> compared");
  auto out = [&](ServerId server) {
    kj::Vector<ReplicaFacts> rest;
    for (auto& replica : round.members) {
      if (replica.server != server) rest.add(replica);
    }
    round.members = kj::mv(rest);
    ++round.failed;
  };
  if (plan.kind == ReconcilePlan::Reference::SUSPECT) {
    auto report = co_await orders.reconcile({plan.reference, handle, round.version, nullptr});
    judge(handle, round, report);
    if (!ok(report.status.orDefault(Status::REPLICA_FAILED))) {
      out(plan.reference);
      co_return;  // the others are as they were
    }
  }
  kj::Vector<kj::Promise<ReconcileReport>> reports;
  for (auto server : plan.unequal)
    reports.add(orders.reconcile({server, handle, round.version, plan.reference}));
  auto answers = co_await kj::joinPromises(reports.releaseAsArray());
  for (auto& report : answers) {
    judge(handle, round, report);
    if (!ok(report.status.orDefault(Status::REPLICA_FAILED))) out(report.target);
  }
}

void ChunkGrants::judge(ChunkHandle handle, Round& round, const ReconcileReport& report) {
  auto put = [&](ServerId server, uint32_t registration, uint32_t length, ReplicaFacts::State state) {
    view.chunks.put(handle, {server, registration, round.version, length, state});
  };
  for (auto server : report.bad) {
    for (auto& replica : view.chunks.replicas(handle)) {
      if (replica.server == server)
        put(server, replica.registration, replica.length, ReplicaFacts::State::CORRUPT);
    }
    log.error("store ", report.target, " found bytes of chunk ", handle, " on store ", server,
              " that do not match their checksums -> it is not read any more");
  }
  KJ_IF_MAYBE (status, report.status) {
    if (ok(*status)) {
      put(report.target, report.registration, report.length, ReplicaFacts::State::GOOD);
      if (report.copied > 0) {
        log.info("chunk ", handle, " v", round.version, ": ", report.copied, " bytes of it on store ",
                 report.target, " differed -> equal now");
      }
      return;
    }
    log.warning("store ", report.target, " cannot be made equal in chunk ", handle, " v", round.version, ": ",
                *status, " -> without it");
    if (*status == Status::NO_REPLICA) view.chunks.remove(handle, report.target);
    if (*status == Status::IO_ERROR)
      put(report.target, report.registration, report.length, ReplicaFacts::State::CORRUPT);
  }
}

Async<Status> ChunkGrants::confirm(ChunkHandle handle, ChunkVersion version, uint32_t truncated) {
  if (isMutant(Mutant::KEEP_FLOOR) && truncated == ALL_BYTES_VALID) co_return Status::OK;
  auto operation = kj::heap<LoggedOperation>();
  auto confirm = operation->body().initConfirmVersion();
  confirm.setConfirmed(handle.value());
  confirm.setVersion(version.value());
  confirm.setTruncated(truncated);
  auto outcome = co_await operations.propose(kj::mv(operation));
  if (outcome.status == Status::NOT_FOUND) co_return Status::STALE;
  if (!outcome.ok()) co_return outcome.status;
  co_return co_await operations.durable(outcome.index);
}

}  // namespace cairn
