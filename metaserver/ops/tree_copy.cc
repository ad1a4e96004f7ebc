// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See tree_copy.h.
#include "metaserver/ops/tree_copy.h"

namespace cairn::ops {

namespace {

bool isStill(StillHandles handles, ChunkHandle handle) {
  unsigned low = 0, high = handles.size();
  while (low < high) {
    auto middle = low + (high - low) / 2;
    if (handles[middle] < handle.value()) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < handles.size() && handles[low] == handle.value();
}

bool liesIn(InodeId directory, InodeId top, Transaction& transaction) {
  for (;;) {
    if (directory == top) return true;
    if (directory == ROOT_INODE) return false;
    directory = KJ_REQUIRE_NONNULL(transaction.inode(directory), "a parent is gone", directory).parent;
  }
}

}  // namespace

bool canBeShared(const ChunkReference& reference, StillHandles still, Transaction& transaction) {
  auto record = KJ_REQUIRE_NONNULL(transaction.chunk(reference.handle));
  return transaction.isShared(reference.handle, record) || isStill(still, reference.handle);
}

Result<Place> placeForCopy(const Inode& original, InodeId directory, kj::StringPtr name,
                           Transaction& transaction) {
  auto place = placeIn(directory, name, transaction);
  if (!place.ok()) return place;
  auto parent = place->directory.id();
  if (transaction.name(parent, name) != nullptr) return Status::EXISTS;
  if (!transaction.hasRoomFor(parent, name)) return Status::NO_SPACE;
  if (liesIn(parent, original.id(), transaction)) return Status::LOOP;
  return place;
}

Inode copyOf(const Inode& original, InodeId id, Transaction& transaction) {
  Inode copy = original;
  copy.attributes.inode = id;
  copy.marks = 0;
  copy.parent = InodeId();
  copy.chunks = copy.chunksEnd = copy.zeroBlocks = 0;
  // What is in a directory comes after it.
  if (copy.attributes.isDirectory() && transaction.counting() != Counting::OFF) copy.set(WALKED);
  return copy;
}

Finished shareChunks(Inode& copy, kj::ArrayPtr<const ChunkReference> references, Transaction& transaction) {
  auto end = locate(FileOffset(copy.attributes.size));
  for (auto reference : references) {
    bool isBeyond = reference.index == end.index ? end.offset.value() == 0 : reference.index > end.index;
    if (isBeyond) return Finished::YES;
    if (reference.index == end.index) {
      reference.validBytes = kj::min(reference.validBytes, end.offset.value());
    }
    addReference(copy, reference, transaction);
  }
  return Finished::NO;
}

void copyExtras(const Inode& original, const Inode& copy, Transaction& transaction) {
  if (copy.xattrBytes > 0) {
    for (auto& key : transaction.xattrsOf(original.id())) {
      auto value = KJ_REQUIRE_NONNULL(transaction.xattr(original.id(), key));
      transaction.putXattr(copy.id(), key, kj::arrayPtr(value.data(), value.size()).asBytes());
    }
  }
  if (copy.attributes.type == FileType::SYMLINK) {
    auto target = KJ_REQUIRE_NONNULL(transaction.target(original.id()), "a symlink has no target");
    transaction.putTarget(copy.id(), kj::heapString(target.data(), target.size()));
  }
}

Attributes nameCopy(Place& place, const Inode& top, Transaction& transaction) {
  auto& parent = place.directory;
  transaction.putName(parent.id(), place.name, {top.id(), FileType::DIRECTORY});
  ++parent.attributes.size;
  ++parent.attributes.links;
  touch(parent, transaction.now());
  return transaction.put(parent);
}

}  // namespace cairn::ops
