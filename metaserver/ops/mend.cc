// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// mend: what a check (namespace_check.h) has found wrong and can put right without a choice.
//  - The check looked at the namespace as of operation `asOf`. Counts are mended by the difference, so what
//  has been
//    changed rightly since then stays counted. Rows are dropped only if they are still wrong.
//  - A difference must not be applied twice: mendings of one check, and no others, may come until the next
//  check
//    begins behind them. Refuses: staleVersion (another repair came between: check again).
//  - Nothing that leads to data goes: a chunk that no file has keeps its record, a file that no name leads to
//  gets one in
//    the root.
#include "metaserver/finding.h"
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

namespace {

class Mender {
 public:
  Mender(rpc::Mending::Reader mending, Transaction& transaction)
      : transaction(transaction),
        trouble(Trouble(mending.getTrouble())),
        id(mending.getInode()),
        directory(mending.getDirectory()),
        chunk(mending.getChunk()),
        found(mending.getFound()),
        right(mending.getRight()) {
    auto bytes = mending.getName();
    name = kj::heapString(bytes.asChars());
  }

  bool carryOut() {
    switch (trouble) {
      case Trouble::NAME_LEADS_NOWHERE:
        return dropDeadName();
      case Trouble::NAME_OF_WRONG_TYPE:
        return correctType();
      case Trouble::LINKS:
      case Trouble::DIRECTORY_SIZE:
      case Trouble::PARENT:
      case Trouble::FILE_CHUNKS:
      case Trouble::ZERO_BLOCKS:
      case Trouble::CHUNKS_END:
      case Trouble::ATTRIBUTE_BYTES:
      case Trouble::ATTRIBUTE_NAMES:
      case Trouble::QUOTA_MARK:
      case Trouble::TRASH_MARK:
        return correctInode();
      case Trouble::UNREACHABLE:
        return attach();
      case Trouble::PLACE_WITHOUT_FILE:
        return dropPlace();
      case Trouble::REFERENCES:
        return correctReferences();
      case Trouble::CHUNK_AND_GARBAGE:
        if (transaction.chunk(chunk) == nullptr || !transaction.isGarbage(chunk)) return false;
        transaction.dropGarbage(chunk);
        return true;
      case Trouble::ORPHAN_GONE:
        if (!transaction.isOrphan(id) || (exists() && inode().attributes.links == 0)) return false;
        transaction.dropOrphan(id);
        return true;
      case Trouble::TRASH_GONE:
        if (exists() || transaction.trashed(id, int64_t(found)) == nullptr) return false;
        transaction.dropTrash(id, int64_t(found));
        return true;
      case Trouble::WHEREABOUTS:
        transaction.correctWhereabouts(id, difference());
        return true;
      case Trouble::USAGE_INODES:
      case Trouble::USAGE_BYTES:
      case Trouble::USAGE_TRASH_INODES:
      case Trouble::USAGE_TRASH_BYTES:
        return correctUsage();
      case Trouble::BACKLINKS:
        return correctBacklinks();
      case Trouble::NUMBER_NOT_GIVEN_OUT:
        return raiseNumber();
      default:
        return correctCounter();
    }
  }

 private:
  Transaction& transaction;
  Trouble trouble;
  InodeId id, directory;
  ChunkHandle chunk;
  uint64_t found, right;
  kj::String name;

  uint64_t difference() const { return right - found; }  // with the wrap-around of unsigned numbers
  bool exists() { return transaction.inode(id) != nullptr; }
  Inode inode() { return KJ_REQUIRE_NONNULL(transaction.inode(id)); }

  bool entryIs(InodeId target) {
    auto entry = transaction.name(directory, name);
    return entry.map([&](auto& named) { return named.inode == target; }).orDefault(false);
  }

  bool dropDeadName() {
    if (exists() || !entryIs(id)) return false;
    transaction.dropName(directory, name);
    KJ_IF_MAYBE (in, transaction.inode(directory)) {
      if (in->attributes.size > 0) --in->attributes.size;
      transaction.put(*in);
    }
    return true;
  }

  bool correctType() {
    if (!exists() || !entryIs(id)) return false;
    transaction.putName(directory, name, {id, inode().attributes.type});
    return true;
  }

  bool correctInode() {
    if (!exists()) return false;
    auto node = inode();
    auto before = bytesUsedBy(node);
    switch (trouble) {
      case Trouble::LINKS:
        node.attributes.links += uint32_t(difference());
        break;
      case Trouble::DIRECTORY_SIZE:
        node.attributes.size += difference();
        break;
      case Trouble::PARENT:
        if (!node.attributes.isDirectory() || node.parent.value() != found) return false;
        node.parent = InodeId(right);
        break;
      case Trouble::FILE_CHUNKS:
        node.chunks += difference();
        break;
      case Trouble::ZERO_BLOCKS:
        node.zeroBlocks += difference();
        break;
      case Trouble::CHUNKS_END:
        if (node.chunksEnd != found) return false;
        node.chunksEnd = right;
        break;
      case Trouble::ATTRIBUTE_BYTES:
        node.xattrBytes += uint32_t(difference());
        break;
      case Trouble::ATTRIBUTE_NAMES:
        node.xattrNames += uint32_t(difference());
        break;
      default: {
        auto mark = trouble == Trouble::QUOTA_MARK ? QUOTA : TRASHED;
        if (node.has(mark) != bool(found)) return false;
        right ? node.set(mark) : node.clear(mark);
      }
    }
    auto attributes = transaction.put(node);
    if (node.has(TRASHED) && attributes.bytesUsed != before) {
      transaction.counters().trashBytes += attributes.bytesUsed - before;
    }
    return true;
  }

  bool attach() {
    // Found under its number in the root directory.
    if (!exists() || transaction.isOrphan(id)) return false;
    auto node = inode();
    auto root = KJ_REQUIRE_NONNULL(transaction.inode(ROOT_INODE));
    auto place = kj::str("lost+found.", id);
    if (node.has(TRASHED) || transaction.name(ROOT_INODE, place) != nullptr) return false;
    if (!transaction.hasRoomFor(ROOT_INODE, place)) return false;
    transaction.putName(ROOT_INODE, place, {id, node.attributes.type});
    ++root.attributes.size;
    if (node.attributes.isDirectory()) {
      node.parent = ROOT_INODE;
      ++root.attributes.links;
    } else {
      ++node.attributes.links;
    }
    node.attributes.ctime = transaction.now();
    transaction.put(node);
    touch(root, transaction.now());
    transaction.put(root);
    return true;
  }

  bool dropPlace() {
    ChunkIndex index(found);
    if (exists() || transaction.chunkAt(id, index).handle != chunk) return false;
    transaction.dropChunkAt(id, index);
    auto record = transaction.chunk(chunk);
    KJ_IF_MAYBE (known, record) {
      if (known->references > 1) {  // the last one stays: it leads to the data
        --known->references;
        transaction.putChunk(chunk, *known);
      }
    }
    return true;
  }

  bool correctReferences() {
    auto record = transaction.chunk(chunk);
    KJ_IF_MAYBE (known, record) {
      known->references += uint32_t(difference());
      transaction.putChunk(chunk, *known);
      return true;
    }
    return false;
  }

  bool correctUsage() {
    if (!exists()) return false;
    Usage delta;
    auto by = difference();
    if (trouble == Trouble::USAGE_INODES) delta.inodes = by;
    if (trouble == Trouble::USAGE_BYTES) delta.bytes = by;
    if (trouble == Trouble::USAGE_TRASH_INODES) delta.trashInodes = by;
    if (trouble == Trouble::USAGE_TRASH_BYTES) delta.trashBytes = by;
    transaction.correctUsage(id, delta);
    return true;
  }

  bool correctBacklinks() {
    if (!exists()) return false;
    auto links = transaction.backlinks(id);
    bool known = false;
    for (auto& link : links) {
      if (link.directory != directory) continue;
      link.names += uint32_t(difference());
      known = true;
    }
    if (!known) links.push_back({directory, uint32_t(difference())});
    std::erase_if(links, [](auto& link) { return link.names == 0; });
    transaction.putBacklinks(id, links);
    return true;
  }

  bool raiseNumber() {
    auto& counters = transaction.counters();
    if (id) counters.nextInode = kj::max(counters.nextInode, id.next());
    bool skipped = id && id >= counters.skippedFrom && id < counters.skippedEnd;  // by the latest start
    if (skipped) counters.skippedFrom = id.next();
    if (chunk) counters.nextHandle = kj::max(counters.nextHandle, chunk.next());
    return true;
  }

  bool correctCounter() {
    auto& counters = transaction.counters();
    auto by = difference();
    switch (trouble) {
      case Trouble::COUNTER_INODES:
        counters.inodes += by;
        return true;
      case Trouble::COUNTER_CHUNKS:
        counters.chunks += by;
        return true;
      case Trouble::COUNTER_GARBAGE:
        counters.garbage += by;
        return true;
      case Trouble::COUNTER_ORPHANS:
        counters.orphans += by;
        return true;
      case Trouble::COUNTER_TRASH:
        counters.trash += by;
        return true;
      case Trouble::COUNTER_TRASH_BYTES:
        counters.trashBytes += by;
        return true;
      case Trouble::COUNTER_QUOTAS:
        counters.quotas += by;
        return true;
      case Trouble::COUNTER_TO_COUNT:
        counters.toCount += by;
        return true;
      default:
        return false;  // of a later version, or nothing that can be mended here
    }
  }
};

}  // namespace

Outcome mend(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getMend();
  LogIndex asOf(request.getAsOf()), index(operation.getIndex());
  auto& state = std::as_const(transaction).counters();
  bool sameCheck = asOf == state.mendedAsOf;
  if (asOf >= index || (!sameCheck && asOf < state.mendedAt)) return refusal(Status::STALE_VERSION);
  auto& counters = transaction.counters();
  counters.mendedAsOf = asOf;
  counters.mendedAt = index;
  Outcome outcome;
  for (auto mending : request.getMendings()) outcome.number += Mender(mending, transaction).carryOut();
  return outcome;
}

}  // namespace cairn::ops
