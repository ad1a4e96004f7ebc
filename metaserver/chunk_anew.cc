// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkGrants that makes a chunk anew of which a loss of power has left nothing: it was new, no
// sync had covered it (ChunkRecord.uncovered), and no index of a store had it on stable storage. A local
// filesystem has zeros there, and so has this one: the version is raised as `lossy`, and new empty replicas
// adopt it.
//
//   every store there is has reported, and none told of a replica -> each is asked, and says that it has none
//   -> raiseVersion (lossy) -> adopt(from 0) on placed stores -> confirmVersion
//
// INVARIANT: nothing is made anew that anybody was promised: a chunk that a sync may have covered stays
// damaged (ioError), and so does one of which any store has anything, or may have, because it does not
// answer.
#include "metaserver/chunk_grants.h"
#include "metaserver/placement.h"
#include "rpc/coroutine.h"

namespace cairn {

bool ChunkGrants::mayBeGone(ChunkHandle handle, const ChunkRecord& record) const {
  bool beforeRestore =
      handle.value() < names.state().restoredFloor;  // a sync after the backup may have covered it
  return record.uncovered && !beforeRestore && view.chunks.replicas(handle).empty() &&
         view.noneLeft(handle, record, timer.now()) == Status::IO_ERROR;
}

Async<bool> ChunkGrants::isGone(ChunkHandle handle) {
  kj::Vector<kj::Promise<StoreOrders::Description>> questions;
  for (auto& [id, server] : view.servers.all()) questions.add(orders.describe(id, handle));
  auto answers = co_await kj::joinPromises(questions.releaseAsArray());
  bool gone = true;
  for (auto& answer : answers) {
    if (answer.answered == StoreOrders::Description::Answered::NO) gone = false;
    KJ_IF_MAYBE (replica, answer.replica) {
      view.chunks.put(handle, *replica);  // its report has overtaken an adopt
      gone = false;
    }
  }
  auto record = names.chunk(handle);  // a sync may have come meanwhile
  co_return gone&& record.map([&](auto& known) { return mayBeGone(handle, known); }).orDefault(false);
}

Async<ChunkGrants::Members> ChunkGrants::placeAnew(ChunkHandle handle, kj::StringPtr host) {
  if (!co_await isGone(handle)) co_return Members{Status::REPLICA_FAILED, {}};
  auto record = KJ_ASSERT_NONNULL(names.chunk(handle));
  auto candidates = placementCandidates(nullptr);
  Members members;
  for (auto server : place(PlacementRequest{record.replicas, host, random()}, candidates)) {
    KJ_IF_MAYBE (known, view.servers.find(server)) {
      // From version 0: one that is to be made. It has as much of the chunk as anybody.
      members.list.add(
          ReplicaFacts{server, known->registration, ChunkVersion(), 0, ReplicaFacts::State::SUSPECT});
    }
  }
  if (members.list.size() < view.minimumOf(record.replicas)) co_return Members{Status::NOT_READY, {}};
  log.error("chunk ", handle, " v", record.version,
            ": every store has lost it with its machine's power, and no sync has covered it -> made anew, of "
            "zeros; what was written is lost");
  co_return kj::mv(members);
}

}  // namespace cairn
