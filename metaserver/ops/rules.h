// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Rules that several operations share: what a name may be, what a change does to the directory around it,
// and what goes with the last link of an inode.
#pragma once

#include "metaserver/transaction.h"

namespace cairn::ops {

constexpr kj::StringPtr CAPABILITY = "security.capability"_kj;
constexpr uint16_t SETUID = 04000, SETGID = 02000, GROUP_EXECUTE = 010;

Status checkName(kj::StringPtr name);
// INVALID: empty, ".", "..", with "/" or a zero byte. NAME_TOO_LONG: above NAME_SIZE_MAX bytes.

struct Place {
  // A name in a directory, as the request says it.
  Inode directory;
  kj::StringPtr name;
};
Result<Place> placeIn(InodeId directory, kj::StringPtr name, Transaction& transaction);
// Refuses in the order of Linux: STALE or NOT_FOUND, NOT_DIRECTORY, then as checkName.

void touch(Inode& directory, int64_t now);  // its entries have changed: mtime, ctime

void keepXattr(Inode& inode, kj::StringPtr key, kj::ArrayPtr<const kj::byte> value, Transaction& transaction);
void removeXattr(Inode& inode, kj::StringPtr key, Transaction& transaction);
// Change the attribute and what the inode says of its attributes; the caller puts the inode.

void settleAccess(Inode& inode, uint16_t umask, const Inode& parent, Transaction& transaction);
// Of a new inode: the mode that it was asked with, and the ACLs that its directory passes on. Before its name
// is added.

void dropChunk(Inode& inode, const ChunkReference& reference, Transaction& transaction);
void setZeroBlocks(Inode& inode, ChunkRecord& record, uint32_t zeroBlocks);
// What the inode says of its chunks follows; the caller puts the inode and the record. setZeroBlocks is for a
// chunk that only this file has, all bytes of it valid.
void addReference(Inode& target, const ChunkReference& reference, Transaction& transaction);
// The file has the chunk, which is there, in that place as well, and nothing was in it.
void countZeros(Inode& inode, uint32_t before, uint32_t now);  // blocks of one chunk

class LostLink {
  // An inode that loses one of its links, a directory its only name. The constructor reads, carryOut()
  // writes.
 public:
  LostLink(Inode inode, const Inode& directory, kj::StringPtr name, uint32_t uid, Transaction& transaction);
  // The name that goes, and who takes it away.

  Outcome carryOut(Transaction& transaction);
  // Sets `attributes` and `orphan`. The last link of a file that may be open, or that goes to the trash,
  // leaves an orphan; else it goes with all it has.

 private:
  Inode inode, directory;
  Departure departure;
  bool goes = false;
};

enum class Finished { NO, YES };
Finished dropContents(const Inode& inode, size_t chunkLimit, Transaction& transaction);
// The chunks (at most so many), attributes and target of an inode that goes. Settled before; NO: there are
// more chunks.

constexpr size_t SNAPSHOT_INODES_MAX = 20'000, SNAPSHOT_CHUNKS_MAX = 100'000;  // of one operation
constexpr size_t CHUNKS_PER_OPERATION_MAX = 4096;  // 256 GiB: a bigger file is purged in several operations

}  // namespace cairn::ops
