// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What makes a namespace that comes from a backup safe among stores and mounts that have seen more than it
// has.
//  - restored: nothing that was given out after the backup is given out again. Inodes, sessions and handles
//  go on
//    from a floor that is the time of the restore (metaserver/restore.h), so that it is above that of any
//    earlier restore, too; so do versions of older chunks, when they are next raised (chunks.cc). All
//    sessions end: what mounts have cached is of another history.
//  - Then it takes over. The epoch is above those of the starts that the backup does not know: by as many as
//    there may have been, and where a store has obeyed a higher one still, by that (epochSeen).
//  - foundVersions: a chunk that was written after the backup has a higher version on the stores than on
//  record.
//    It counts: version and floor follow it. Only versions of before the restore, so a replica that
//    has been left behind since is never taken for current.
//  - takenOver: all stores have told what they hold. releaseKept: an operator has looked at the chunks that
//  no file
//    has: until then they may be all that is left of what was written after the backup.
#include <algorithm>

#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

namespace {

constexpr uint32_t RESTORED_FORMAT = 3;
constexpr uint32_t STORES_SINCE_BACKUP_MAX = 1000;  // that may have joined, and remember their ids
constexpr uint64_t FLOOR_MAX = uint64_t(1) << 62, EPOCHS_MAX = 1 << 16;

}  // namespace

Outcome restored(rpc::Operation::Reader operation, Transaction& transaction, SessionAnswers& answers) {
  auto request = operation.getRestored();
  auto floor = request.getFloor();
  if (floor > FLOOR_MAX || request.getEpochs() > EPOCHS_MAX) return refusal(Status::INVALID);

  transaction.settle();
  for (auto session : transaction.allSessions()) {
    transaction.dropSession(session);
    answers.closed(session, transaction);
  }
  auto& counters = transaction.counters();
  counters.format = std::max(counters.format, RESTORED_FORMAT);
  counters.skipTo(std::max(counters.nextInode, InodeId(floor)));
  counters.nextSession = std::max(counters.nextSession, SessionId(floor));
  counters.nextHandle = std::max(counters.nextHandle, ChunkHandle(floor));
  counters.nextServer = ServerId(counters.nextServer.value() + STORES_SINCE_BACKUP_MAX);
  counters.epoch = Epoch(counters.epoch.value() + request.getEpochs());
  counters.restoredFloor = counters.nextHandle.value();
  counters.restored = Restored::TAKING_OVER;
  return Outcome();
}

Outcome epochSeen(rpc::Operation::Reader operation, Transaction& transaction) {
  if (std::as_const(transaction).counters().restored != Restored::TAKING_OVER) {
    return refusal(Status::INVALID);
  }
  auto& epoch = transaction.counters().epoch;
  epoch = std::max(epoch, Epoch(operation.getEpochSeen()));
  Outcome outcome;
  outcome.number = epoch.value();
  return outcome;
}

Outcome foundVersions(rpc::Operation::Reader operation, Transaction& transaction) {
  auto floor = std::as_const(transaction).counters().restoredFloor;
  Outcome outcome;
  for (auto found : operation.getFoundVersions()) {
    ChunkHandle handle(found.getHandle());
    ChunkVersion version(found.getVersion());
    auto known = transaction.chunk(handle);
    KJ_IF_MAYBE (record, known) {
      if (handle.value() >= floor || version.value() >= floor || version <= record->version) continue;
      record->version = record->floor = version;
      transaction.putChunk(handle, *record);
      ++outcome.number;
    }
  }
  return outcome;
}

Outcome takenOver(rpc::Operation::Reader operation, Transaction& transaction) {
  if (std::as_const(transaction).counters().restored != Restored::TAKING_OVER) {
    return refusal(Status::INVALID);
  }
  transaction.counters().restored = Restored::KEEPING;
  return Outcome();
}

Outcome releaseKept(rpc::Operation::Reader operation, Transaction& transaction) {
  auto restored = std::as_const(transaction).counters().restored;
  if (restored == Restored::TAKING_OVER) return refusal(Status::NOT_READY);
  if (restored == Restored::KEEPING) transaction.counters().restored = Restored::RELEASED;
  return Outcome();
}

}  // namespace cairn::ops
