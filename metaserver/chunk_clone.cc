// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkGrants that gives a file a chunk of its own in place of one that it shares, before it is
// written: on each store with a good replica that one is cloned (on the same disk, on stable storage) under a
// new handle.
//
//   reserve a handle -> clone on the stores -> `ownChunk`: the file's place names the clone, version 1, and
//   the shared chunk has one reference less -> lease to the primary, as for a new chunk
//
// The shared chunk stands still meanwhile: with more than one reference it has no lease. If this file's is
// the only one left, or becomes that, the grants of its chunks wait here. If this file loses its own and
// another becomes the only one, that one may be granted a lease on it: that raises the version, and
// `ownChunk`, which names the version that was cloned, is refused, whatever the clone holds.
//
// Crash table (metaserver dies after -> what the next start finds):
//   clones on some stores      replicas of a handle that no file has: garbage after their grace
//   ownChunk                   version 1 = floor 1 on all that were cloned, no lease: a further grant
// A store that fails, or does not answer, is left out: the handle is given up, and the chunk is cloned under
// another one without that store. Repair then makes the copies that are missing.
#include <algorithm>

#include "metaserver/chunk_grants.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {
constexpr ChunkVersion FIRST_VERSION{1};
constexpr uint32_t ATTEMPTS_MAX = 4;
}  // namespace

bool ChunkGrants::mustOwn(const ChunkReference& reference, const ChunkRecord& record) const {
  return names.isShared(reference.handle, record) || reference.validBytes != ALL_BYTES_VALID;
}

kj::Promise<Status> ChunkGrants::joinOwning(Place place, kj::StringPtr host) {
  auto running = creations.find(place);
  if (running == creations.end()) {
    auto work = kj::evalLater([this, place, host = kj::str(host)]() mutable -> kj::Promise<Status> {
      return own(place, kj::mv(host));
    });
    running = creations.emplace(place, work.fork()).first;
    tasks.add(running->second.addBranch().then([this, place](Status) { creations.erase(place); },
                                               [this, place](kj::Exception&& exception) {
                                                 creations.erase(place);
                                                 kj::throwRecoverableException(kj::mv(exception));
                                               }));
  }
  return running->second.addBranch();
}

Async<Status> ChunkGrants::own(Place place, kj::String host) {
  kj::Vector<ServerId> left;  // stores that failed in this
  auto status = Status::NOT_READY;
  bool full = false;
  for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX; ++attempt) {
    auto failed = left.size();
    status = co_await ownOnce(place, host, left);
    if (ok(status) || left.size() == failed) break;  // else: the same without those that failed
    full |= status == Status::NO_SPACE;
  }
  co_return status == Status::NOT_READY&& full ? Status::NO_SPACE : status;
}

Async<Status> ChunkGrants::proposeOwn(Place place, ReplicaId shared, ChunkHandle clone) {
  auto operation = kj::heap<LoggedOperation>();
  auto own = operation->body().initOwnChunk();
  own.setOwner(place.first.value());
  own.setPlace(place.second.value());
  own.setShared(shared.chunk.value());
  own.setSharedVersion(shared.version.value());
  own.setOwn(clone.value());
  auto outcome = co_await operations.propose(kj::mv(operation));
  co_return outcome.status;
}

Async<Status> ChunkGrants::ownOnce(Place place, kj::StringPtr host, kj::Vector<ServerId>& left) {
  auto inode = names.inode(place.first);
  if (!inode.ok()) co_return inode.status();
  auto reference = names.referenceAt(place.first, place.second);
  auto record = names.chunk(reference.handle);
  if (record == nullptr) co_return Status::STALE;
  auto known = KJ_ASSERT_NONNULL(record);
  if (!mustOwn(reference, known)) co_return Status::OK;
  ReplicaId shared{reference.handle, known.version};
  if (!names.isShared(reference.handle, known)) co_return co_await proposeOwn(place, shared, ChunkHandle());

  auto now = timer.now();
  auto minimum = view.minimumOf(inode->attributes.replicas);
  auto candidates = view.chunks.candidates(reference.handle, known);
  if (candidates.size() < known.replicas && view.moreMayCome(now)) co_return Status::NOT_READY;
  kj::Vector<ReplicaFacts> sources, doubtful;
  for (auto& replica : candidates) {
    if (std::find(left.begin(), left.end(), replica.server) != left.end()) continue;
    KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
      if (server->answers(now)) {
        (replica.state == ReplicaFacts::State::GOOD ? sources : doubtful).add(replica);
      }
    }
  }
  if (sources.empty() && (!doubtful.empty() || mayBeGone(reference.handle, known))) {
    // After a power cut of everything there are only suspects: they are made equal first, then cloned.
    auto status = co_await settle(reference.handle);
    co_return ok(status) ? Status::STALE_VERSION : status;
  }
  if (sources.size() < minimum || sources.empty()) {
    log.warning("chunk ", reference.handle, " v", known.version, " is shared and to be written, ",
                candidates.size(), " replicas are known, ", sources.size(), " can be cloned, the minimum is ",
                minimum, " -> no lease for now");
    co_return candidates.empty() ? view.noneLeft(reference.handle, known, now) : Status::NOT_READY;
  }

  auto taken = co_await handles.take();
  if (!taken.ok()) co_return taken.status();
  auto clone = *taken;
  auto bytes = reference.validIn(known);
  auto orderedClones = kj::heapArrayBuilder<kj::Promise<CloneReport>>(sources.size());
  for (auto& source : sources) {
    orderedClones.add(orders.clone(source.server, {reference.handle, source.version}, clone, bytes));
  }
  auto reports = co_await kj::joinPromises(orderedClones.finish());
  auto answers = kj::heapArrayBuilder<AdoptAnswer>(sources.size());  // for abandon()
  auto refused = Status::NOT_READY;
  bool complete = true, good = true;
  kj::Vector<ReplicaFacts> members;
  for (size_t i = 0; i < sources.size(); ++i) {
    auto& report = reports[i];
    answers.add(AdoptAnswer{sources[i].server, report.status, report.length, report.registration});
    auto status = report.status.orDefault(Status::REPLICA_FAILED);
    if (ok(status)) {
      good &= sources[i].state == ReplicaFacts::State::GOOD;
      members.add(ReplicaFacts{sources[i].server, report.registration, FIRST_VERSION, report.length,
                               sources[i].state});
      continue;
    }
    complete = false;
    left.add(sources[i].server);
    if (status == Status::NO_SPACE) refused = status;
    log.warning("store ", sources[i].server, " did not clone chunk ", reference.handle, ": ", status,
                " -> without it");
  }
  auto status = refused;
  if (complete) status = co_await proposeOwn(place, shared, clone);
  if (!ok(status)) {
    co_await abandon(clone, answers.finish());
    co_return status;
  }
  for (auto& member : members) view.chunks.put(clone, member);
  log.info("chunk ", place.second, " of inode ", place.first, " is to be written and shares chunk ",
           reference.handle, " v", known.version, " -> a clone of its own, chunk ", clone, " v1");
  // A lease that its primary does not take is no failure of the cloning: the next step grants another.
  if (good) co_await lend(clone, FIRST_VERSION, chain(members, clone, host, nullptr));
  co_return Status::OK;
}

}  // namespace cairn
