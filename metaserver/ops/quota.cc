// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Quotas of directories: how much may be below them. How usage is kept is in tree_count.h.
//  - setQuota: limits of a directory, or none. The first one of a cluster begins the count of the whole tree,
//    which is kept up from then on: any further quota is exact at once.
//  - countTree: the next step of that count, bounded by the number of entries that are looked at. Directories
//    that are found are put on the list of those to be looked at, so a step goes on where the last one ended,
//    also after a restart.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"
#include "metaserver/ops/tree_count.h"

namespace cairn::ops {

Outcome setQuota(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getSetQuota();
  auto directory = transaction.directory(InodeId(request.getQuotaOf()));
  if (!directory.ok()) return refusal(directory.status());
  QuotaLimits limits{request.getBytesMax(), request.getInodesMax()};
  bool wanted = limits.bytes > 0 || limits.inodes > 0;
  auto& state = transaction.counters();
  if (wanted) {
    transaction.putQuota(directory->id(), limits);
    if (!directory->has(QUOTA)) ++state.quotas;
    directory->set(QUOTA);
    if (state.counting == Counting::OFF) {
      state.counting = Counting::RUNNING;
      transaction.putCountCursor(ROOT_INODE, 0);
    }
  } else if (directory->has(QUOTA)) {
    transaction.dropQuota(directory->id());
    directory->clear(QUOTA);
    --state.quotas;
  }
  Outcome outcome;
  outcome.attributes = transaction.put(*directory);
  return outcome;
}

namespace {

void meet(const Transaction::NameAt& entry, const Inode& directory, Transaction& transaction) {
  auto inode = KJ_REQUIRE_NONNULL(transaction.inode(entry.inode), "a name leads nowhere", entry.inode);
  uint32_t others = inode.attributes.isDirectory() ? 0 : inode.attributes.links - 1;
  bool before = inode.has(COUNTED);
  nameAdded(inode, directory, entry.name.c_str(), others, transaction);
  if (!before) ++transaction.counters().counted;
  transaction.put(inode);
}

void countIn(InodeId id, uint64_t cursor, size_t& budget, Transaction& transaction) {
  auto directory = KJ_REQUIRE_NONNULL(transaction.inode(id), "a directory to be counted is gone", id);
  auto page = transaction.namesOf(id, cursor, budget);
  for (auto& entry : page.entries) {
    transaction.putCountCursor(id, entry.place);  // from here on this name is kept up with
    meet(entry, directory, transaction);
  }
  budget -= kj::min(budget, page.entries.size() + 1);
  if (page.end == Transaction::End::NO) return;
  transaction.dropCountCursor(id);
  directory.set(WALKED);
  transaction.put(directory);
}

}  // namespace

Outcome countTree(rpc::Operation::Reader operation, Transaction& transaction) {
  constexpr size_t DIRECTORIES_MAX = 1000;
  transaction.settle();
  Outcome outcome;
  if (transaction.counting() != Counting::RUNNING) return outcome;
  size_t budget = kj::max(operation.getCountTree(), 1u);
  auto before = std::as_const(transaction).counters().counted;
  auto cursors = transaction.countCursors(DIRECTORIES_MAX);
  for (auto& [directory, cursor] : cursors) {
    if (budget == 0) break;
    countIn(directory, cursor, budget, transaction);
  }
  outcome.number = std::as_const(transaction).counters().counted - before;
  outcome.more = std::as_const(transaction).counters().toCount > 0 ? More::YES : More::NO;
  if (outcome.more == More::NO) transaction.counters().counting = Counting::DONE;
  return outcome;
}

}  // namespace cairn::ops
