// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/ops/rules.h"

#include <cstring>

namespace cairn::ops {

Status checkName(kj::StringPtr name) {
  if (name.size() == 0 || name == "." || name == "..") return Status::INVALID;
  if (memchr(name.begin(), '/', name.size()) != nullptr) return Status::INVALID;
  if (memchr(name.begin(), '\0', name.size()) != nullptr) return Status::INVALID;
  if (name.size() > NAME_SIZE_MAX) return Status::NAME_TOO_LONG;
  return Status::OK;
}

Result<Place> placeIn(InodeId directory, kj::StringPtr name, Transaction& transaction) {
  auto parent = transaction.directory(directory);
  if (!parent.ok()) return parent.status();
  auto status = checkName(name);
  if (!ok(status)) return status;
  return Place{*parent, name};
}

void touch(Inode& directory, int64_t now) {
  directory.attributes.mtime = directory.attributes.ctime = now;
}

LostLink::LostLink(Inode lost, Transaction& transaction) : inode(kj::mv(lost)) {
  auto& attributes = inode.attributes;
  attributes.links = attributes.isDirectory() || attributes.links == 0 ? 0 : attributes.links - 1;
  // Only regular files are open at the metaserver: the kernel keeps the others of one mount alive by itself.
  goes = attributes.links == 0 && (!attributes.isRegular() || inode.id() == transaction.unheld()) &&
         inode.chunks <= CHUNKS_PER_OPERATION_MAX;
  if (goes && (inode.chunks > 0 || inode.xattrBytes > 0)) transaction.settle();
}

Outcome LostLink::carryOut(Transaction& transaction) {
  Outcome outcome;
  inode.attributes.ctime = transaction.now();
  outcome.attributes = inode.attributes;
  if (goes) {
    dropContents(inode, CHUNKS_PER_OPERATION_MAX, transaction);
    transaction.dropInode(inode.id());
  } else {
    transaction.put(inode);
    if (inode.attributes.links == 0) {
      transaction.putOrphan(inode.id());
      outcome.orphan = inode.id();
    }
  }
  return outcome;
}

Finished dropContents(const Inode& inode, size_t chunkLimit, Transaction& transaction) {
  if (inode.chunks > 0) {
    auto chunks = transaction.chunksOf(inode.id(), ChunkIndex(0), chunkLimit);
    for (auto& [index, handle] : chunks) {
      transaction.dropChunkAt(inode.id(), index);
      transaction.discardChunk(handle);
    }
    if (chunks.size() < inode.chunks) {
      Inode rest = inode;
      rest.chunks -= chunks.size();
      transaction.put(rest);
      return Finished::NO;
    }
  }
  if (inode.xattrBytes > 0) {
    for (auto& name : transaction.xattrsOf(inode.id())) transaction.dropXattr(inode.id(), name);
  }
  if (inode.attributes.type == FileType::SYMLINK) transaction.dropTarget(inode.id());
  return Finished::YES;
}

}  // namespace cairn::ops
