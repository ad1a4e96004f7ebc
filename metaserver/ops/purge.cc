// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// purge, collectGarbage: the end of files and of chunks.
//  - An orphan that nobody holds goes to the trash if its directory keeps what is deleted in it and the time
//    for that is not over yet; else it is purged.
//  - What is purged goes with everything it has; its chunks become garbage records, which tell the collector
//    what to have deleted, up to which version. The bound on chunks per operation keeps the event loop
//    responsive: a file with more of them stays what it is, a little smaller, until the operation is proposed
//    again.
//  - collectGarbage forgets garbage of which no replica is left. A replica that turns up later is unknown,
//    which the collector treats the same way after a grace.
#include "metaserver/ops/purge.h"

#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

namespace {

void intoTrash(Inode inode, const Departure& departure, Transaction& transaction) {
  transaction.dropOrphan(inode.id());
  transaction.putTrash(inode.id(), departure);
  inode.set(TRASHED);
  auto attributes = transaction.put(inode);
  transaction.counters().trashBytes += attributes.bytesUsed;
}

}  // namespace

Finished purgeFile(const Inode& inode, size_t& budget, Transaction& transaction) {
  if (budget == 0 || dropContents(inode, budget, transaction) == Finished::NO) return Finished::NO;
  transaction.dropInode(inode.id());
  budget -= kj::min(budget, kj::max(inode.chunks, 1));
  return Finished::YES;
}

More purgeOrphans(capnp::List<uint64_t>::Reader inodes, Transaction& transaction) {
  size_t budget = CHUNKS_PER_OPERATION_MAX;
  for (auto number : inodes) {
    InodeId id(number);
    auto found = transaction.orphan(id);
    KJ_IF_MAYBE (orphan, found) {
      auto inode = KJ_REQUIRE_NONNULL(transaction.inode(id), "an orphan is gone", id);
      auto& departure = orphan->departure;
      if (departure.until > transaction.now()) {
        intoTrash(inode, departure, transaction);
        continue;
      }
      if (purgeFile(inode, budget, transaction) == Finished::NO) return More::YES;
      transaction.dropOrphan(id);
      if (departure.until > 0) transaction.leaveWhereabouts(departure.directory);
    }
  }
  return More::NO;
}

Outcome purge(rpc::Operation::Reader operation, Transaction& transaction) {
  transaction.settle();
  Outcome outcome;
  outcome.more = purgeOrphans(operation.getPurge(), transaction);
  return outcome;
}

Outcome collectGarbage(rpc::Operation::Reader operation, Transaction& transaction) {
  for (auto number : operation.getCollectGarbage()) {
    if (transaction.isGarbage(ChunkHandle(number))) transaction.dropGarbage(ChunkHandle(number));
  }
  return Outcome();
}

}  // namespace cairn::ops
