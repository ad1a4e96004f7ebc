// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// stageTree, copyStaged, linkStaged, dropStaged: a snapshot of a tree that is too large for one operation.
//  - The copy is made where no name leads to it, in steps of bounded size, and gets its name by one more
//    operation: it is there whole or not at all. Whoever proposes them lets nothing be changed from before
//    the first one until after the last one (change_gate.h), so that it shows one moment.
//  - What is left to be done is in the namespace: directories with the place in the original up to which
//    their names have been copied, files with many chunks likewise, and of files with several names which
//    copy they have. Lower inode numbers first, so it goes breadth first. A step of a log gives the same
//    copy, whoever applies it.
//  - After each step all that is there is counted right: a directory has as many entries and links as it has
//    by now, a file the names that it has. So giving it up is removing a tree, in steps as well: directories
//    lose their entries, and those that are directories themselves are put on the list, without a name.
//  - What a copy has is in tree_copy.h. Until it has its name no quota counts it; each step looks whether
//    what is there already would fit, the last one whether all does.
//
// A crash leaves a staging that nobody goes on with: it is dropped (staging_keeper.h).
#include "metaserver/ops/staging.h"
#include "metaserver/ops/operations.h"
#include "metaserver/ops/purge.h"
#include "metaserver/ops/tree_copy.h"
#include "metaserver/ops/tree_count.h"

namespace cairn::ops {

namespace {

constexpr uint32_t STAGED_FORMAT = 4;
constexpr size_t NAMES_AT_A_TIME = 1000;
using Stage = StagingRecord::Stage;

class Copying {
  // One step.
 public:
  Copying(InodeId top, uint64_t& inodes, size_t budget, StillHandles still, Transaction& transaction)
      : top(top), inodes(inodes), left(budget), still(still), transaction(transaction) {}

  Status carryOut() {
    // STALE_VERSION: nothing could be done.
    auto rows = transaction.stagedWork(top, left);
    bool areAll = rows.size() < left;
    for (auto& row : rows) queue.push_back({row, Work::Kept::YES});
    size_t at = 0;
    for (bool goesOn = true; at < queue.size() && goesOn; ++at) {
      auto work = queue[at];                              // the queue grows
      if (work.kept == Work::Kept::NO && !areAll) break;  // there is other work before it
      auto before = work.at;
      goesOn = copyMore(work) == Finished::YES;
      if (goesOn) {
        if (work.kept == Work::Kept::YES) transaction.dropStagedWork(top, work.inode);
        ++done;
      } else {
        if (work.at != before || work.kept == Work::Kept::NO) transaction.putStagedWork(top, work);
        more = More::YES;
      }
    }
    if (at < queue.size() || !areAll) more = More::YES;
    for (; at < queue.size(); ++at) {
      if (queue[at].kept == Work::Kept::NO) transaction.putStagedWork(top, queue[at]);
    }
    return done == 0 && more == More::YES ? Status::STALE_VERSION : Status::OK;
  }

  More more = More::NO;

 private:
  struct Work : StagedWork {
    enum class Kept { NO, YES } kept = Kept::NO;  // in the namespace
    Work(const StagedWork& work, Kept kept) : StagedWork(work), kept(kept) {}
  };
  struct Part {
    const Transaction::NameAt* entry;
    Inode source;
    kj::Vector<ChunkReference> chunks;
  };
  const InodeId top;
  uint64_t& inodes;
  size_t left, done = 0;
  StillHandles still;
  Transaction& transaction;
  std::vector<Work> queue;

  Finished copyMore(Work& work) {
    auto source = KJ_REQUIRE_NONNULL(transaction.inode(work.source), "what is copied is gone", work.source);
    auto copy = KJ_REQUIRE_NONNULL(transaction.inode(work.inode), "a copy is gone", work.inode);
    if (source.attributes.isDirectory()) return copyNames(copy, work);
    return copyChunks(copy, work);
  }

  Finished copyNames(Inode& directory, Work& work) {
    auto before = work.at;
    auto finished = Finished::NO;
    for (bool goesOn = left > 0; goesOn;) {
      auto page = transaction.namesOf(work.source, work.at, kj::min(left, NAMES_AT_A_TIME));
      for (size_t first = 0, end = 0; first < page.entries.size() && goesOn; first = end) {
        auto place = page.entries[first].place;
        while (end < page.entries.size() && page.entries[end].place == place) ++end;
        goesOn = copyGroup(page.entries.asPtr().slice(first, end), directory) == Finished::YES;
        if (goesOn) work.at = place;
      }
      if (goesOn && page.end == Transaction::End::YES) {
        finished = Finished::YES;
        break;
      }
      goesOn = goesOn && left > 0;
    }
    if (work.at != before) transaction.put(directory);
    return finished;
  }

  Finished copyGroup(kj::ArrayPtr<const Transaction::NameAt> entries, Inode& directory) {
    // Names with one place: nearly always one. NO: a chunk does not stand still, or it is too much for now.
    kj::Vector<Part> parts;
    size_t cost = 0;
    for (auto& entry : entries) {
      auto source = KJ_REQUIRE_NONNULL(transaction.inode(entry.inode), "a name leads nowhere", entry.inode);
      Part part{&entry, source, {}};
      bool isKnown = hasSeveralNames(source) && transaction.stagedLink(top, source.id());
      if (!isKnown && source.chunks > 0 && !isLargeFile(source)) {
        part.chunks = transaction.chunksOf(source.id(), ChunkIndex(0), SIZE_MAX);
        for (auto& reference : part.chunks) {
          if (!canBeShared(reference, still, transaction)) return Finished::NO;
        }
      }
      cost += isKnown ? 1 : copyingCost(source);
      parts.add(kj::mv(part));
    }
    if (cost > left && done > 0) return Finished::NO;
    for (auto& part : parts) copyOne(part, directory);
    left -= kj::min(left, cost);
    ++done;
    return Finished::YES;
  }

  static bool hasSeveralNames(const Inode& source) {
    return !source.attributes.isDirectory() && source.attributes.links > 1;
  }

  void copyOne(const Part& part, Inode& directory) {
    auto& source = part.source;
    kj::StringPtr name(part.entry->name.c_str(), part.entry->name.size());
    auto known = hasSeveralNames(source) ? transaction.stagedLink(top, source.id()) : InodeId();
    auto copy = known ? KJ_REQUIRE_NONNULL(transaction.inode(known), "a copy is gone", known)
                      : newCopy(part, directory);
    auto others = copy.attributes.isDirectory() ? 0 : copy.attributes.links++;
    nameAdded(copy, directory, name, others, transaction);
    transaction.put(copy);
    transaction.putName(directory.id(), name, {copy.id(), copy.attributes.type});
    ++directory.attributes.size;
  }

  Inode newCopy(const Part& part, Inode& directory) {
    auto& source = part.source;
    auto& counters = transaction.counters();
    auto id = counters.nextInode;
    counters.nextInode = id.next();
    ++counters.inodes;
    ++inodes;
    auto copy = copyOf(source, id, transaction);
    copy.attributes.links = 0;
    bool hasMore = isLargeFile(source);
    if (copy.attributes.isDirectory()) {
      copy.attributes.links = 2;
      copy.attributes.size = 0;
      copy.parent = directory.id();
      ++directory.attributes.links;
      hasMore = true;
    }
    shareChunks(copy, part.chunks, transaction);
    copyExtras(source, copy, transaction);
    if (hasMore) queue.push_back({{id, source.id(), 0}, Work::Kept::NO});
    if (hasSeveralNames(source)) transaction.putStagedLink(top, source.id(), id);
    return copy;
  }

  Finished copyChunks(Inode& copy, Work& work) {
    if (left == 0) return Finished::NO;
    auto references = transaction.chunksOf(work.source, ChunkIndex(work.at), left);
    auto finished = references.size() < left ? Finished::YES : Finished::NO;
    auto before = work.at;
    for (auto& reference : references) {
      if (!canBeShared(reference, still, transaction)) {
        finished = Finished::NO;
        break;
      }
      if (shareChunks(copy, kj::arrayPtr(&reference, 1), transaction) == Finished::YES) {
        finished = Finished::YES;
        break;
      }
      work.at = reference.index.value() + 1;
      --left;
      ++done;
    }
    if (work.at != before) transaction.put(copy);
    return finished;
  }
};

class Dropping {
  // One step of taking a copy away again.
 public:
  Dropping(InodeId top, size_t budget, Transaction& transaction)
      : top(top), left(budget), transaction(transaction) {}

  More carryOut(StagingRecord record) {
    if (record.stage == Stage::COPYING) record.stage = Stage::CLEARING;
    auto finished = record.stage == Stage::DROPPING ? dropDirectories() : clearNotes();
    if (finished == Finished::YES && record.stage == Stage::CLEARING) {
      transaction.putStagedWork(top, {top, InodeId(), 0});
      record.stage = Stage::DROPPING;
      finished = Finished::NO;
    }
    if (finished == Finished::YES) {
      transaction.dropStaging(top);
      return More::NO;
    }
    transaction.putStaging(top, record);
    return More::YES;
  }

  uint64_t gone = 0;

 private:
  const InodeId top;
  size_t left;
  Transaction& transaction;

  Finished clearNotes() {
    for (auto& work : transaction.stagedWork(top, left)) {
      transaction.dropStagedWork(top, work.inode);
      --left;
    }
    for (auto source : transaction.stagedLinks(top, left)) {
      transaction.dropStagedLink(top, source);
      --left;
    }
    return left > 0 ? Finished::YES : Finished::NO;
  }

  Finished dropDirectories() {
    auto rows = transaction.stagedWork(top, left);
    auto finished = rows.size() < left ? Finished::YES : Finished::NO;
    for (auto& row : rows) {
      auto directory = KJ_REQUIRE_NONNULL(transaction.inode(row.inode), "a copy is gone", row.inode);
      if (directory.attributes.links > 2) finished = Finished::NO;  // those go on the list
      if (empty(directory) == Finished::NO) return Finished::NO;
      dropContents(directory, 0, transaction);
      transaction.dropInode(row.inode);
      transaction.dropStagedWork(top, row.inode);
      ++gone;
    }
    return finished;
  }

  Finished empty(Inode& directory) {
    uint64_t after = 0;
    auto finished = Finished::NO;
    for (bool goesOn = left > 0; goesOn;) {
      auto page = transaction.namesOf(directory.id(), after, kj::min(left, NAMES_AT_A_TIME));
      for (auto& entry : page.entries) {
        after = entry.place;
        goesOn = goesOn && dropEntry(directory, entry) == Finished::YES;
      }
      if (goesOn && page.end == Transaction::End::YES) {
        finished = Finished::YES;
        break;
      }
      goesOn = goesOn && left > 0;
    }
    transaction.put(directory);
    return finished;
  }

  Finished dropEntry(Inode& directory, const Transaction::NameAt& entry) {
    // NO: it is a file of which some chunks are left.
    kj::StringPtr name(entry.name.c_str(), entry.name.size());
    auto inode = KJ_REQUIRE_NONNULL(transaction.inode(entry.inode), "a name leads nowhere", entry.inode);
    auto& attributes = inode.attributes;
    if (attributes.isDirectory()) {
      nameRemoved(inode, directory, name, 0, transaction);
      inode.parent = InodeId();
      transaction.put(inode);
      transaction.putStagedWork(top, {inode.id(), InodeId(), 0});
      --directory.attributes.links;
      left -= kj::min(left, size_t(1));
    } else if (attributes.links > 1) {
      nameRemoved(inode, directory, name, --attributes.links, transaction);
      transaction.put(inode);
      left -= kj::min(left, size_t(1));
    } else {
      if (purgeFile(inode, left, transaction) == Finished::NO) return Finished::NO;
      ++gone;
    }
    transaction.dropName(directory.id(), name);
    --directory.attributes.size;
    return Finished::YES;
  }
};

Status checkRoomFor(InodeId top, InodeId directory, Transaction& transaction) {
  auto made = transaction.usage(top);
  made += Usage{.inodes = 1};
  return checkRoom(directory, made, transaction);
}

}  // namespace

Outcome stageTree(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getStageTree();
  auto original = transaction.directory(InodeId(request.getStagedFrom()));
  if (!original.ok()) return refusal(original.status());
  auto place = placeForCopy(*original, InodeId(request.getStagedFor()), request.getStagedName(), transaction);
  if (!place.ok()) return refusal(place.status());
  auto status = checkRoom(place->directory.id(), {.inodes = 1}, transaction);
  if (!ok(status)) return refusal(status);
  transaction.settle();

  auto& counters = transaction.counters();
  auto id = counters.nextInode;
  counters.nextInode = id.next();
  ++counters.inodes;
  counters.format = kj::max(counters.format, STAGED_FORMAT);
  auto top = copyOf(*original, id, transaction);
  top.attributes.links = 2;
  top.attributes.size = 0;
  copyExtras(*original, top, transaction);
  Outcome outcome;
  outcome.attributes = transaction.put(top);
  outcome.number = id.value();
  transaction.putStaging(id, {original->id(), place->directory.id(), 1, Stage::COPYING});
  transaction.putStagedWork(id, {id, original->id(), 0});
  return outcome;
}

Outcome copyStaged(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getCopyStaged();
  InodeId top(request.getStaging());
  auto found = transaction.staging(top);
  if (found == nullptr) return refusal(Status::NOT_FOUND);
  auto record = KJ_ASSERT_NONNULL(found);
  if (record.stage != Stage::COPYING) return refusal(Status::STALE);
  auto status = checkRoomFor(top, record.directory, transaction);
  if (!ok(status)) return refusal(status);
  transaction.settle();

  Copying copying(top, record.inodes, kj::max(request.getCopyAtMost(), 1u), request.getStanding(),
                  transaction);
  status = copying.carryOut();
  if (!ok(status)) return refusal(status);
  transaction.putStaging(top, record);
  Outcome outcome;
  outcome.number = record.inodes;
  outcome.more = copying.more;
  return outcome;
}

Outcome linkStaged(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getLinkStaged();
  InodeId id(request.getLinked());
  auto found = transaction.staging(id);
  if (found == nullptr) return refusal(Status::NOT_FOUND);
  auto record = KJ_ASSERT_NONNULL(found);
  transaction.settle();
  if (record.stage != Stage::COPYING || transaction.stagedWork(id, 1).size() > 0)
    return refusal(Status::NOT_READY);
  auto original = transaction.directory(record.original);
  if (!original.ok()) return refusal(original.status());
  auto place = placeForCopy(*original, record.directory, request.getLinkedAs(), transaction);
  if (!place.ok()) return refusal(place.status());
  auto status = checkRoomFor(id, record.directory, transaction);
  if (!ok(status)) return refusal(status);

  Outcome outcome;
  outcome.number = record.inodes;
  auto top = KJ_REQUIRE_NONNULL(transaction.inode(id), "a copy is gone", id);
  bool hasLinks = transaction.stagedLinks(id, 1).size() > 0;
  top.parent = place->directory.id();
  nameAdded(top, place->directory, place->name, 0, transaction);
  outcome.attributes = transaction.put(top);
  outcome.parent = nameCopy(*place, top, transaction);
  record.stage = Stage::LINKED;
  if (hasLinks) {
    transaction.putStaging(id, record);
  } else {
    transaction.dropStaging(id);
  }
  return outcome;
}

Outcome dropStaged(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getDropStaged();
  InodeId top(request.getDropped());
  Outcome outcome;
  auto found = transaction.staging(top);
  KJ_IF_MAYBE (record, found) {
    transaction.settle();
    Dropping dropping(top, kj::max(request.getDropAtMost(), 1u), transaction);
    outcome.more = dropping.carryOut(*record);
    outcome.number = dropping.gone;
  }
  return outcome;
}

}  // namespace cairn::ops
