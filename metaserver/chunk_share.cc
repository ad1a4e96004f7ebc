// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkGrants that makes chunks stand still so that files can share them. INVARIANT: on a chunk
// with more than one reference no lease runs, and its replicas that count are equal: it is read only until it
// has one reference again.
//
//   no grant of it is begun any more -> its primary gives the lease back (what it has accepted is applied on
//   all replicas, or has been refused) -> `share` is proposed -> grants go on, and find it shared
//
// Where that is not enough (a replica has missed a write; the primary does not answer; since our start no
// lease term has passed, so that one may be out that we do not know of), the version is raised and adopted as
// repair does it (chunk_freeze.cc), and confirmed: whoever has not adopted it is out for good.
//
// The metaserver dies        the next start finds
//   before `share` is in     nothing has happened but the end of a lease
//   the log
//   behind it                shared chunks on which no lease is out, whatever else was
#include <algorithm>

#include "metaserver/chunk_grants.h"
#include "rpc/coroutine.h"

namespace cairn {

StillChunks::StillChunks() = default;
StillChunks::~StillChunks() noexcept(false) {
  for (auto& release : releases) release->fulfill();
}

void StillChunks::add(StillChunks&& more) {
  if (ok(status)) status = more.status;
  for (auto& release : more.releases) releases.add(kj::mv(release));
  more.releases.clear();
}

bool ChunkGrants::allGood(ChunkHandle handle, const ChunkRecord& record) const {
  auto candidates = view.chunks.candidates(handle, record);
  if (candidates.size() < record.replicas && view.moreMayCome(timer.now())) return false;
  return std::all_of(candidates.begin(), candidates.end(),
                     [](auto& replica) { return replica.state == ReplicaFacts::State::GOOD; });
}

bool ChunkGrants::knowsAllLeases() const {
  // Those that an earlier metaserver has granted have run out: nobody extends them. The first one has none.
  return operations.epoch() == Epoch(1) || timer.now() - started > LEASE_TERM + CLOCK_ERROR_MAX;
}

Async<kj::Own<StillChunks>> ChunkGrants::standStill(kj::Array<ChunkHandle> handles) {
  auto still = kj::heap<StillChunks>();
  std::sort(handles.begin(), handles.end());  // two of these at once do not wait for each other in a circle
  auto end = std::unique(handles.begin(), handles.end());
  kj::Vector<ChunkHandle> left;
  std::map<ServerId, kj::Vector<ReplicaId>> leases;
  for (auto at = handles.begin(); at != end; ++at) {
    auto handle = *at;
    for (auto running = grants.find(handle); running != grants.end(); running = grants.find(handle)) {
      co_await running->second.addBranch().ignoreResult().catch_([](kj::Exception&&) {});
      co_await kj::evalLast([]() {});  // it leaves the table in the same turn
    }
    auto released = kj::newPromiseAndFulfiller<void>();
    still->releases.add(kj::mv(released.fulfiller));
    occupy(handle, released.promise.then([this, handle]() {
      this->still.erase(handle);
      return Status::OK;
    }));
    this->still.insert(handle);  // also for a lease that is about to be lent with a new chunk
    auto record = names.chunk(handle);
    if (record == nullptr) {
      still->status = Status::STALE;  // and the others stand still all the same
      continue;
    }
    KJ_IF_MAYBE (lease, view.leases.find(handle)) {
      leases[lease->primary].add(ReplicaId{handle, lease->version});
      view.leases.recall(handle);
    } else if (!names.isShared(handle, KJ_ASSERT_NONNULL(record)) && !knowsAllLeases()) {
      left.add(handle);
    }
  }
  kj::Vector<kj::Promise<void>> revocations;
  for (auto& [primary, chunks] : leases) {
    revocations.add(endLeases(primary, chunks.releaseAsArray(), left));
  }
  co_await kj::joinPromises(revocations.releaseAsArray());
  for (auto at = handles.begin(); at != end; ++at) {
    auto record = names.chunk(*at);
    bool unequal = record != nullptr && !allGood(*at, KJ_ASSERT_NONNULL(record));
    if (unequal && std::find(left.begin(), left.end(), *at) == left.end()) left.add(*at);
  }
  kj::Vector<kj::Promise<void>> raises;
  for (auto handle : left) raises.add(stillByVersion(handle, still->status));
  co_await kj::joinPromises(raises.releaseAsArray());
  for (auto at = handles.begin(); at != end; ++at) frozen.insert(*at);
  co_return kj::mv(still);
}

kj::Promise<Outcome> ChunkGrants::proposeStill(kj::Own<StillChunks> chunks,
                                               kj::Own<LoggedOperation> operation) {
  auto applied = operations.propose(kj::mv(operation)).fork();
  tasks.add(applied.addBranch().ignoreResult().attach(kj::mv(chunks)));
  return applied.addBranch();
}

Async<void> ChunkGrants::endLeases(ServerId primary, kj::Array<ReplicaId> chunks,
                                   kj::Vector<ChunkHandle>& left) {
  // `left`, in the frame of standStill(), gets those of which it is not certain.
  auto asked = kj::heapArray<ReplicaId>(chunks.begin(), chunks.size());
  auto answer = co_await orders.revokeAll(primary, kj::mv(asked));
  bool given = ok(answer.orDefault(Status::REPLICA_FAILED));
  for (auto& [handle, version] : chunks) {
    if (given) {
      view.leases.ended(handle, version);
    } else {
      left.add(handle);
    }
  }
}

Async<void> ChunkGrants::stillByVersion(ChunkHandle handle, Status& worst) {
  ChunkFreeze freeze;
  auto status = co_await makeStill(handle, nullptr, freeze);
  auto record = names.chunk(handle);
  if (record == nullptr) status = Status::STALE;
  KJ_IF_MAYBE (known, record) {
    if (ok(status) && freeze.members.size() < view.minimumOf(known->replicas)) status = Status::NOT_READY;
  }
  if (ok(status)) status = co_await confirmFrozen(handle, freeze);
  if (ok(status)) co_return;
  log.info("chunk ", handle, " is to be shared and cannot be made to stand still: ", status,
           " -> it is not shared");
  worst = status;
}

}  // namespace cairn
