// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// setAttributes: chmod, chown, truncate, utimensat (POSIX chmod(), chown(), ftruncate(), futimens()), any of
// them at once.
//  - chown takes setuid, and setgid with group-execute, from anything but a directory, also for root (Linux
//    chown_common); so does truncate by anyone but root. A mode given in the same request wins. Both take
//    security.capability, from everybody.
//  - size, downwards or to what it is: the chunks beyond it go, and the chunk it cuts gets `validBytes`, so
//  that it reads
//    as zeros from there on although no replica has been told (of a chunk that files share, the file's place
//    gets it). Upwards: a hole. mtime moves and dataVersion
//    rises either way.
//  - chmod of what has an access ACL sets the ACL's owner, mask and others (Linux posix_acl_chmod).
//  - ctime moves in any case: chown(-1, -1) asks for nothing else (Linux chown_common). Permission is the
//  kernel's business (default_permissions).
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"
#include "metaserver/posix_acl.h"

namespace cairn::ops {

namespace {

constexpr uint32_t ALL_BITS = rpc::SET_MODE | rpc::SET_UID | rpc::SET_GID | rpc::SET_SIZE | rpc::SET_ATIME |
                              rpc::SET_MTIME | rpc::SET_ATIME_NOW | rpc::SET_MTIME_NOW;

Status check(const Inode& inode, rpc::Change::SetAttributes::Reader request) {
  uint32_t set = request.getSet();
  if ((set & ~ALL_BITS) != 0) return Status::INVALID;
  if ((set & rpc::SET_MODE) && inode.attributes.type == FileType::SYMLINK) return Status::NOT_SUPPORTED;
  if (set & rpc::SET_SIZE) {
    if (inode.attributes.isDirectory()) return Status::IS_DIRECTORY;
    if (!inode.attributes.isRegular()) return Status::INVALID;
    if (request.getSize() > FILE_SIZE_MAX) return Status::TOO_BIG;
  }
  return Status::OK;
}

void dropPrivileges(Attributes& attributes) {
  if (attributes.isDirectory()) return;
  attributes.mode &= ~SETUID;
  if (attributes.mode & GROUP_EXECUTE) attributes.mode &= ~SETGID;
}

class Cut {
  // What a truncate does to the chunks. Built before the first write, carried out after it.
 public:
  Cut(const Inode& inode, uint64_t size, Transaction& transaction) : size(size) {
    if (size > inode.attributes.size || size >= startOf(ChunkIndex(inode.chunksEnd)).value()) return;
    auto [index, offset] = locate(FileOffset(size));
    transaction.settle();
    chunks = transaction.chunksOf(inode.id(), index, SIZE_MAX);
    end = offset.value() > 0 ? index.next() : index;
    cuts = true;
  }

  ChunkHandle carryOut(Inode& inode, Transaction& transaction) {
    // Answers the chunk that is cut, 0 if none is.
    ChunkHandle cut;
    for (auto& reference : chunks) {
      if (reference.index >= end) {
        dropChunk(inode, reference, transaction);
      } else if (cutChunk(inode, reference, transaction)) {
        cut = reference.handle;
      }
    }
    if (cuts) inode.chunksEnd = end.value();
    return cut;
  }

 private:
  bool cutChunk(Inode& inode, ChunkReference reference, Transaction& transaction) {
    // Answers whether the chunk itself was cut: of a shared one, which nobody writes, only our view of it is.
    auto record = KJ_REQUIRE_NONNULL(transaction.chunk(reference.handle),
                                     "a file names a chunk that has no record", reference.handle);
    auto valid = locate(FileOffset(size)).offset.value();
    auto before = reference.zeroBlocksIn(record);
    bool shared = transaction.isShared(reference.handle, record);
    if (shared) {
      reference.validBytes = kj::min(reference.validBytes, valid);
      transaction.putChunkAt(inode.id(), reference);
    } else {
      record.validBytes = kj::min(record.validBytes, valid);
      auto zeros = BLOCKS_PER_CHUNK - (valid + BLOCK_SIZE - 1) / BLOCK_SIZE;
      record.zeroBlocks = kj::max(record.zeroBlocks, zeros);
      transaction.putChunk(reference.handle, record);
    }
    countZeros(inode, before, reference.zeroBlocksIn(record));
    return !shared;
  }

  uint64_t size;
  kj::Vector<ChunkReference> chunks;
  ChunkIndex end;  // indexes from here on go
  bool cuts = false;
};

void setMode(Inode& inode, uint16_t mode, Transaction& transaction) {
  inode.attributes.mode = mode;
  if ((inode.attributes.extended & rpc::HAS_ACCESS_ACL) == 0) return;
  auto acl =
      PosixAcl::decode(KJ_REQUIRE_NONNULL(transaction.xattr(inode.id(), ACCESS_ACL), "an ACL is gone"));
  KJ_REQUIRE(acl.ok(), "a kept ACL is none", inode.id());
  acl->setPermissions(mode);
  auto bytes = acl->encode();
  keepXattr(inode, ACCESS_ACL, kj::arrayPtr(bytes.data(), bytes.size()).asBytes(), transaction);
}

void setTimes(Attributes& attributes, rpc::Change::SetAttributes::Reader request, int64_t now) {
  uint32_t set = request.getSet();
  if (set & rpc::SET_ATIME) attributes.atime = request.getAtime();
  if (set & rpc::SET_ATIME_NOW) attributes.atime = now;
  if (set & (rpc::SET_SIZE | rpc::SET_MTIME_NOW)) attributes.mtime = now;
  if (set & rpc::SET_MTIME) attributes.mtime = request.getMtime();
  attributes.ctime = now;
}

}  // namespace

Outcome setAttributes(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getSetAttributes();
  auto inode = transaction.liveInode(InodeId(request.getInode()));
  if (!inode.ok()) return refusal(inode.status());
  auto status = check(*inode, request);
  if (!ok(status)) return refusal(status);

  uint32_t set = request.getSet();
  Outcome outcome;
  auto& attributes = inode->attributes;
  if (set & rpc::SET_SIZE) {
    outcome.cut = Cut(*inode, request.getSize(), transaction).carryOut(*inode, transaction);
    attributes.size = request.getSize();
    attributes.dataVersion = transaction.nextDataVersion(attributes.dataVersion);
    if (change.getCaller().getUid() != 0) dropPrivileges(attributes);
  }
  if (set & (rpc::SET_UID | rpc::SET_GID)) dropPrivileges(attributes);
  bool losesCapability = (set & (rpc::SET_UID | rpc::SET_GID | rpc::SET_SIZE)) != 0;
  if (losesCapability && (attributes.extended & rpc::HAS_CAPABILITY))
    removeXattr(*inode, CAPABILITY, transaction);
  if (set & rpc::SET_MODE) setMode(*inode, request.getMode() & 07777, transaction);
  if (set & rpc::SET_UID) attributes.uid = request.getUid();
  if (set & rpc::SET_GID) attributes.gid = request.getGid();
  setTimes(attributes, request, transaction.now());
  outcome.attributes = transaction.put(*inode);
  return outcome;
}

}  // namespace cairn::ops
