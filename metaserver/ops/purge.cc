// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// purge, collectGarbage: the end of files and of chunks.
//  - A purged orphan goes with everything it has; its chunks become garbage records, which tell the collector
//  what to have
//    deleted, up to which version. The bound on chunks per operation keeps the event loop responsive: a file
//    with more of them stays an orphan, a little smaller, until the operation is proposed again.
//  - collectGarbage forgets garbage of which no replica is left. A replica that turns up later is unknown,
//  which the
//    collector treats the same way after a grace.
#include "metaserver/ops/purge.h"

#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

More purgeOrphans(capnp::List<uint64_t>::Reader inodes, Transaction& transaction) {
  size_t budget = CHUNKS_PER_OPERATION_MAX;
  for (auto number : inodes) {
    InodeId id(number);
    if (!transaction.isOrphan(id)) continue;
    auto inode = KJ_REQUIRE_NONNULL(transaction.inode(id), "an orphan is gone", id);
    if (budget == 0) return More::YES;
    if (dropContents(inode, budget, transaction) == Finished::NO) return More::YES;
    transaction.dropOrphan(id);
    transaction.dropInode(id);
    budget -= kj::min(budget, kj::max(inode.chunks, 1));
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
