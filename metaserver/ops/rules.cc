// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/ops/rules.h"

#include <cstring>

#include "metaserver/ops/tree_count.h"
#include "metaserver/posix_acl.h"

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

namespace {

uint8_t extendedBitOf(kj::StringPtr key) {
  if (key == ACCESS_ACL) return rpc::HAS_ACCESS_ACL;
  if (key == DEFAULT_ACL) return rpc::HAS_DEFAULT_ACL;
  if (key == CAPABILITY) return rpc::HAS_CAPABILITY;
  return 0;
}

}  // namespace

void keepXattr(Inode& inode, kj::StringPtr key, kj::ArrayPtr<const kj::byte> value,
               Transaction& transaction) {
  KJ_IF_MAYBE (old, transaction.xattr(inode.id(), key)) {
    inode.xattrBytes -= uint32_t(key.size() + old->size());
  } else {
    inode.xattrNames += uint32_t(key.size() + 1);
  }
  inode.xattrBytes += uint32_t(key.size() + value.size());
  inode.attributes.extended |= rpc::HAS_XATTRS | extendedBitOf(key);
  transaction.putXattr(inode.id(), key, value);
}

void removeXattr(Inode& inode, kj::StringPtr key, Transaction& transaction) {
  KJ_IF_MAYBE (old, transaction.xattr(inode.id(), key)) {
    inode.xattrBytes -= uint32_t(key.size() + old->size());
    inode.xattrNames -= uint32_t(key.size() + 1);
    inode.attributes.extended &= uint8_t(~extendedBitOf(key));
    if (inode.xattrBytes == 0) inode.attributes.extended = 0;
    transaction.dropXattr(inode.id(), key);
  }
}

void countZeros(Inode& inode, uint32_t before, uint32_t now) {
  inode.zeroBlocks -= kj::min(inode.zeroBlocks, uint64_t(before));
  inode.zeroBlocks += now;
}

void setZeroBlocks(Inode& inode, ChunkRecord& record, uint32_t zeroBlocks) {
  auto before = record.zeroBlocks;
  record.zeroBlocks = kj::min(zeroBlocks, BLOCKS_PER_CHUNK);
  countZeros(inode, before, record.zeroBlocks);
}

void addReference(Inode& target, const ChunkReference& reference, Transaction& transaction) {
  auto record = KJ_REQUIRE_NONNULL(transaction.chunk(reference.handle),
                                   "a file names a chunk that has no record", reference.handle);
  ++record.references;
  record.replicas = kj::max(record.replicas, target.attributes.replicas);
  transaction.putChunk(reference.handle, record);
  transaction.putChunkAt(target.id(), reference);
  ++target.chunks;
  target.chunksEnd = kj::max(target.chunksEnd, reference.index.value() + 1);
  countZeros(target, 0, reference.zeroBlocksIn(record));
}

void dropChunk(Inode& inode, const ChunkReference& reference, Transaction& transaction) {
  auto record = KJ_REQUIRE_NONNULL(transaction.chunk(reference.handle),
                                   "a file names a chunk that has no record", reference.handle);
  countZeros(inode, reference.zeroBlocksIn(record), 0);
  --inode.chunks;
  transaction.dropChunkAt(inode.id(), reference.index);
  transaction.discardChunk(reference.handle);
}

namespace {

int64_t keptUntil(const Inode& inode, const Inode& directory, const Transaction& transaction) {
  // 0: the trash is not for it.
  constexpr int64_t SECOND = 1'000'000'000;
  auto& state = transaction.counters();
  auto keep = directory.trashKeep == KEEP_AS_CLUSTER ? state.trashKeep : directory.trashKeep;
  if (keep == 0 || !inode.attributes.isRegular()) return 0;
  bool young = inode.born > 0 && transaction.now() - inode.born < state.trashAge * SECOND;
  return young ? 0 : transaction.now() + keep * SECOND;
}

}  // namespace

void settleAccess(Inode& inode, uint16_t umask, const Inode& parent, Transaction& transaction) {
  auto& mode = inode.attributes.mode;
  if (inode.attributes.type == FileType::SYMLINK) return;
  if ((parent.attributes.extended & rpc::HAS_DEFAULT_ACL) == 0) {
    mode &= uint16_t(~umask | 07000);
    return;
  }
  auto inherited =
      KJ_REQUIRE_NONNULL(transaction.xattr(parent.id(), DEFAULT_ACL), "a default ACL is gone", parent.id());
  auto acl = PosixAcl::decode(inherited);
  KJ_REQUIRE(acl.ok(), "a kept ACL is none", parent.id());
  acl->inherit(mode);
  auto keep = [&](kj::StringPtr key, std::string_view bytes) {
    keepXattr(inode, key, kj::arrayPtr(bytes.data(), bytes.size()).asBytes(), transaction);
  };
  if (!acl->isMode()) keep(ACCESS_ACL, acl->encode());
  if (inode.attributes.isDirectory()) keep(DEFAULT_ACL, inherited);
}

LostLink::LostLink(Inode lost, const Inode& directory, kj::StringPtr name, uint32_t uid,
                   Transaction& transaction)
    : inode(kj::mv(lost)), directory(directory) {
  auto& attributes = inode.attributes;
  attributes.links = attributes.isDirectory() || attributes.links == 0 ? 0 : attributes.links - 1;
  departure = {directory.id(), std::string(name.begin(), name.size()), uid, transaction.now(), 0};
  if (attributes.links == 0) departure.until = keptUntil(inode, directory, transaction);
  // Only regular files are open at the metaserver: the kernel keeps the others of one mount alive by itself.
  goes = attributes.links == 0 && (!attributes.isRegular() || inode.id() == transaction.unheld()) &&
         departure.until == 0 && inode.chunks <= CHUNKS_PER_OPERATION_MAX;
  if (goes && (inode.chunks > 0 || inode.xattrBytes > 0)) transaction.settle();
}

Outcome LostLink::carryOut(Transaction& transaction) {
  Outcome outcome;
  inode.attributes.ctime = transaction.now();
  outcome.attributes = inode.attributes;
  auto left = inode.attributes.links;
  nameRemoved(inode, directory, departure.name.c_str(), left, transaction);
  if (left == 0 && !inode.attributes.isDirectory()) nameless(inode, directory.id(), transaction);
  if (goes) {
    if (inode.attributes.isDirectory()) {
      transaction.keepWhereabouts(inode.id(), departure.directory, departure.name.c_str());
    }
    dropContents(inode, CHUNKS_PER_OPERATION_MAX, transaction);
    transaction.dropInode(inode.id());
    return outcome;
  }
  transaction.put(inode);
  if (inode.attributes.links == 0) {
    OrphanRecord orphan;
    if (departure.until > 0) {
      orphan.departure = departure;
      transaction.needWhereabouts(departure.directory);
    }
    transaction.putOrphan(inode.id(), orphan);
    outcome.orphan = inode.id();
  }
  return outcome;
}

Finished dropContents(const Inode& inode, size_t chunkLimit, Transaction& transaction) {
  if (inode.chunks > 0) {
    auto chunks = transaction.chunksOf(inode.id(), ChunkIndex(0), chunkLimit);
    Inode rest = inode;
    for (auto& reference : chunks) dropChunk(rest, reference, transaction);
    if (rest.chunks > 0) {
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
