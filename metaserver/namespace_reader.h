// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Reads of the namespace: what has been applied, at once, on the event loop. Never waits and changes nothing.
// An inode that is gone is STALE, one that never was NOT_FOUND: with ESTALE the kernel walks the path again,
// so a file that another client has just replaced is found under its new inode. Called by sessions and
// grants.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

#include "metaserver/damage.h"
#include "metaserver/inode.h"
#include "rpc/result.h"

namespace rocksdb {
class DB;
}

namespace cairn {

enum class ListingDetail { NAMES, ATTRIBUTES };
enum class ListingEnd { NO, YES };

struct DirectoryListing {
  kj::Array<ListedEntry> entries;
  ListingEnd end = ListingEnd::NO;  // YES: there is nothing after the last entry
};

constexpr uint32_t PATH_SIZE_MAX = 4096;      // PATH_MAX, with the closing zero
constexpr uint32_t LISTING_LIMIT_MAX = 1000;  // entries in one answer

struct FoundIndex {
  ChunkIndex index;
  enum class Certain { NO, YES } certain = Certain::YES;
  // NO: firstChunk: there is none. firstSparse: the search was given up before `index`.
};

class NamespaceReader {
 public:
  NamespaceReader(rocksdb::DB& db, const NamespaceState& state, DamageWitness& witness)
      : db(db), current(state), witness(witness) {}

  const NamespaceState& state() const { return current; }

  Result<Inode> inode(InodeId id) const;
  // Orphans (links 0) are found as well.

  Result<Attributes> lookup(InodeId parent, kj::StringPtr name) const;
  // ".." is the parent, "." the directory itself. NOT_DIRECTORY, NAME_TOO_LONG, NOT_FOUND, STALE (the
  // parent).

  Result<DirectoryListing> list(InodeId directory, uint64_t cookie, uint32_t limit,
                                ListingDetail detail) const;
  // In an order in which an entry keeps its place while others come and go. Cookies are never below 1024.

  Result<Attributes> resolve(kj::StringPtr path) const;
  // From the root, without following symlinks. NAME_TOO_LONG from PATH_SIZE_MAX bytes on.

  Result<kj::String> readLink(InodeId inode) const;                            // INVALID: not a symlink
  Result<kj::Array<kj::byte>> xattr(InodeId inode, kj::StringPtr name) const;  // NO_DATA
  Result<kj::Array<kj::String>> xattrs(InodeId inode) const;

  ChunkHandle chunkAt(InodeId inode, ChunkIndex index) const;             // 0: a hole
  ChunkReference referenceAt(InodeId inode, ChunkIndex index) const;      // handle 0: a hole
  Result<FoundIndex> firstChunk(InodeId inode, ChunkIndex first) const;   // that there is, from `first` on
  Result<FoundIndex> firstSparse(InodeId inode, ChunkIndex first) const;  // missing, or not full of data
  kj::Maybe<ChunkRecord> chunk(ChunkHandle handle) const;                 // null: no file has it
  bool isShared(ChunkHandle handle, const ChunkRecord& record) const {
    return record.references > 1;
  }  // then nobody may write it
  kj::Array<FileChunk> chunksOf(InodeId inode, ChunkIndex first, uint32_t limit) const;

  kj::Array<InodeId> orphans(InodeId after, uint32_t limit) const;  // in order of id
  bool isBoundForTrash(InodeId orphan) const;                       // as soon as nobody holds it
  kj::Array<TrashedFile> trash(int64_t until, InodeId after, uint32_t limit) const;
  // In order of when they go, behind that place.
  kj::Maybe<Departure> trashed(InodeId inode, int64_t until) const;  // null: it is not in the trash
  kj::Maybe<Whereabouts> whereabouts(InodeId directory) const;       // null: no file in the trash was in it
  Usage usage(InodeId directory) const;
  struct DirectoryQuota {
    InodeId directory;
    QuotaLimits limits;
  };
  kj::Array<DirectoryQuota> quotas(InodeId after, uint32_t limit) const;  // in order of id
  kj::Maybe<QuotaLimits> quota(InodeId directory) const;                  // null: it has none
  bool isBelow(InodeId inner, InodeId outer) const;                       // or the same; of directories

  struct Room {
    // What the quotas above leave of bytes and inodes, and the limit of the one that leaves least.
    uint64_t bytesLeft = UINT64_MAX, bytesLimit = 0, inodesLeft = UINT64_MAX, inodesLimit = 0;
  };
  Room room(const Inode& inode) const;  // UINT64_MAX: no quota, or the count has not ended

  kj::Array<GarbageRecord> garbage(ChunkHandle after, uint32_t limit) const;  // in order of handle
  kj::Maybe<ChunkVersion> dropped(ChunkHandle handle) const;                  // of its garbage record
  kj::Array<InodeId> stagings(uint32_t limit) const;  // copies of trees that have no name: their tops
  kj::Array<StagedWork> stagedWork(InodeId top, uint32_t limit) const;  // that is left, in order of inodes
  kj::Array<SessionRecord> sessions() const;
  kj::Maybe<SessionRecord> session(SessionId id) const;
  bool hasAnswered(SessionId session, uint64_t sequence) const;  // that change, and remembers the answer
  kj::Array<StoreRecord> stores() const;

  Status whyMissing(InodeId id) const;  // STALE or NOT_FOUND

 private:
  rocksdb::DB& db;
  const NamespaceState& current;
  DamageWitness& witness;
};

}  // namespace cairn
