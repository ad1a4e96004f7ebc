// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkGrants that makes a chunk stand still without giving it to a writer: what repair needs to
// add a replica and to leave one behind.
//
//   end the lease (its primary finishes what it has accepted) -> one round (chunk_rounds.cc) with all good
//   replicas
//
// No lease is ever granted under the version raised here: the next grant raises again. So the bytes of that
// version never change, and whatever is copied under it, however late it completes, is either of the present
// version and equal, or of an old one and stale. The floor stays where it is until enough replicas hold the
// new version: a replica that is away is not given up by the raise, only by confirmFrozen(). While the Freeze
// lives, and at most for the time it was asked for, grants of the chunk wait; readers do not.
#include <algorithm>

#include "metaserver/chunk_grants.h"
#include "rpc/coroutine.h"

namespace cairn {

class ChunkFreeze::Release {
 public:
  Release(kj::Own<kj::PromiseFulfiller<void>> fulfiller) : fulfiller(kj::mv(fulfiller)) {}
  ~Release() noexcept(false) { fulfiller->fulfill(); }

 private:
  kj::Own<kj::PromiseFulfiller<void>> fulfiller;
};

ChunkFreeze::ChunkFreeze() = default;
ChunkFreeze::~ChunkFreeze() noexcept(false) = default;

bool ChunkFreeze::isMember(ServerId server) const {
  return std::find(members.begin(), members.end(), server) != members.end();
}

Async<kj::Own<ChunkFreeze>> ChunkGrants::freeze(ChunkHandle handle, kj::Array<ServerId> without,
                                                kj::Duration most) {
  for (auto running = grants.find(handle); running != grants.end(); running = grants.find(handle)) {
    co_await running->second.addBranch().ignoreResult().catch_([](kj::Exception&&) {});
    co_await kj::evalLast([]() {});  // it leaves the table in the same turn
  }
  auto frozenPair = kj::newPromiseAndFulfiller<kj::Own<ChunkFreeze>>();
  auto work = kj::evalLater([this, handle, without = kj::mv(without), most,
                             fulfiller = kj::mv(frozenPair.fulfiller)]() mutable -> kj::Promise<Status> {
    return holdStill(handle, kj::mv(without), most, kj::mv(fulfiller));
  });
  occupy(handle, kj::mv(work));
  co_return co_await frozenPair.promise;
}

Async<Status> ChunkGrants::holdStill(ChunkHandle handle, kj::Array<ServerId> without, kj::Duration most,
                                     kj::Own<kj::PromiseFulfiller<kj::Own<ChunkFreeze>>> fulfiller) {
  auto result = kj::heap<ChunkFreeze>();
  result->status = co_await makeStill(handle, without, *result);
  if (!ok(result->status)) {
    fulfiller->fulfill(kj::mv(result));
    co_return Status::OK;  // whoever waited for this makes a grant of its own
  }
  frozen.insert(handle);
  auto released = kj::newPromiseAndFulfiller<void>();
  result->release = kj::heap<ChunkFreeze::Release>(kj::mv(released.fulfiller));
  fulfiller->fulfill(kj::mv(result));
  co_await released.promise.exclusiveJoin(timer.afterDelay(most));
  co_return Status::OK;
}

Async<Status> ChunkGrants::makeStill(ChunkHandle handle, kj::ArrayPtr<const ServerId> without,
                                     ChunkFreeze& result) {
  auto members = [&]() {
    kj::Vector<ReplicaFacts> good;
    auto record = names.chunk(handle);
    KJ_IF_MAYBE (known, record) {
      for (auto& replica : view.chunks.candidates(handle, *known)) {
        if (replica.state != ReplicaFacts::State::GOOD) continue;
        if (std::find(without.begin(), without.end(), replica.server) != without.end()) continue;
        KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
          if (server->answers(timer.now())) good.add(replica);
        }
      }
    }
    return good;
  };
  if (names.chunk(handle) == nullptr) co_return Status::STALE;
  if (view.moreMayCome(timer.now()) || members().empty()) co_return Status::NOT_READY;

  // With its primary's help no write is cut off halfway, so that the replicas stay equal.
  ServerId primary;
  ChunkVersion leased;
  KJ_IF_MAYBE (lease, view.leases.find(handle)) {
    primary = lease->primary;
    leased = lease->version;
  }
  if (primary) {
    view.leases.recall(handle);
    auto answer = co_await orders.revoke(primary, handle, leased);
    auto status = answer.orDefault(Status::REPLICA_FAILED);
    if (ok(status) || status == Status::STALE_VERSION || status == Status::NO_REPLICA) {
      view.leases.ended(handle, leased);
    } else {
      kj::Vector<ServerId> reachable;
      for (auto& replica : members()) reachable.add(replica.server);
      if (view.leases.mayReplace(handle, reachable, timer.now()).verdict != GrantedLeases::Replace::NOW)
        co_return Status::NOT_READY;
    }
  }

  auto record = names.chunk(handle);
  if (record == nullptr) co_return Status::STALE;
  auto asked = members();
  if (asked.empty()) co_return Status::NOT_READY;
  auto version = KJ_ASSERT_NONNULL(record).version;
  auto made = co_await round(handle, version, asked.releaseAsArray());
  if (!ok(made.status)) co_return made.status == Status::STALE ? Status::STALE : Status::NOT_READY;
  result.version = made.version;
  result.truncated = made.truncated;
  // One that has not answered may hold the new version or the old: both are as good as before.
  if (made.failed > 0) co_return Status::NOT_READY;
  view.leases.ended(handle, ChunkVersion(result.version.value() - 1));
  for (auto& replica : made.members) result.members.add(replica.server);
  co_return Status::OK;
}

kj::Promise<Status> ChunkGrants::confirmFrozen(ChunkHandle handle, const ChunkFreeze& freeze) {
  return confirm(handle, freeze.version, freeze.truncated);
}

}  // namespace cairn
