// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the metaserver knows of one file, directory or other node, and of one chunk, as values. How they look
// in the namespace store is in records.h; what clients see of them in rpc/metaserver.capnp.
#pragma once

#include <kj/common.h>
#include <kj/string.h>

#include <string>

#include "metaserver/quota.h"
#include "rpc/metaserver.capnp.h"
#include "rpc/units.h"

namespace cairn {

using FileType = rpc::FileType;

struct Attributes {
  // rpc/metaserver.capnp Attributes as a value; times in ns since 1970.
  InodeId inode;
  FileType type = FileType::REGULAR;
  uint16_t mode = 0;
  uint32_t uid = 0, gid = 0, links = 0;
  uint64_t size = 0;       // of a directory: how many entries it has
  uint64_t bytesUsed = 0;  // blocks of its chunks that hold anything but zeros
  int64_t atime = 0, mtime = 0, ctime = 0;
  uint32_t device = 0;
  uint8_t replicas = 0;
  uint64_t dataVersion = 0;
  uint8_t extended = 0;  // rpc::HAS_...: which extended attributes it has

  bool isDirectory() const { return type == FileType::DIRECTORY; }
  bool isRegular() const { return type == FileType::REGULAR; }
  void write(rpc::Attributes::Builder builder) const;
  bool operator==(const Attributes&) const = default;
};

constexpr uint32_t KEEP_AS_CLUSTER = 0xffffffff;  // trashKeep: NamespaceState.trashKeep

enum Mark : uint8_t {
  TRASHED = 1,  // it is in the trash: no name leads to it, and no client may change it
  COUNTED = 2,  // it is in the usage of its `parent` (ops/tree_count.h)
  WALKED = 4,   // of a directory: its names count
  QUOTA = 8,    // of a directory: it has limits
  LINKED = 16,  // it has several names, and the directories that they are in are kept
};

struct Inode {
  Attributes attributes;
  InodeId parent;          // of a directory: the one it is in; the root is its own parent. Else, with
                           // COUNTED: the directory in whose usage it is
  uint64_t chunks = 0;     // how many chunks the file has
  uint64_t chunksEnd = 0;  // above the highest index that ever had one since the last truncate
  uint64_t zeroBlocks =
      0;  // of their blocks, how many are known to hold only zeros: not counted by st_blocks
  uint32_t xattrBytes = 0;  // names and values of its extended attributes; 0: it has none
  uint32_t xattrNames = 0;  // their names, each with a closing zero: what listxattr(2) needs
  int64_t born = 0;         // ns since 1970; 0: before this was recorded
  uint32_t trashKeep =
      KEEP_AS_CLUSTER;  // of a directory: seconds that what is deleted in it stays in the trash
  uint8_t marks = 0;    // of Mark

  InodeId id() const { return attributes.inode; }
  bool has(Mark mark) const { return marks & mark; }
  void set(Mark mark) { marks |= mark; }
  void clear(Mark mark) { marks &= uint8_t(~mark); }
  bool operator==(const Inode&) const = default;
};

constexpr uint32_t ALL_BYTES_VALID = 0xffffffff;

struct ChunkRecord {
  // INVARIANT: floor <= version. A replica counts as current if its version is in [floor, version] and no
  // other replica has a higher one.
  ChunkVersion version;
  ChunkVersion floor;
  uint32_t references = 1;                // places of files that have it; above 1 it is never written
  uint32_t validBytes = ALL_BYTES_VALID;  // bytes from here on are zeros whatever replicas hold
  uint8_t replicas = 0;                   // copies wanted
  uint32_t zeroBlocks = 0;                // as last published; never more than BLOCKS_PER_CHUNK
  LogIndex lostAt;  // the operation by which what was acknowledged before it, and not synced, may be lost
  bool uncovered = false;  // no sync has ever covered it: nothing of it has been promised to be there
  bool operator==(const ChunkRecord&) const = default;
};

struct ChunkReference {
  // A place of a file with a chunk. Files that share a chunk may each have been cut at another length: so
  // what is valid of it stands here as well, and the smaller one counts.
  ChunkIndex index;
  ChunkHandle handle;                     // 0: a hole
  uint32_t validBytes = ALL_BYTES_VALID;  // for this file bytes from here on are zeros
  uint32_t validIn(const ChunkRecord& record) const { return kj::min(validBytes, record.validBytes); }
  uint32_t zeroBlocksIn(const ChunkRecord& record) const;  // what the file counts as holes of this chunk
};

struct FileChunk {
  ChunkIndex index;
  ChunkHandle handle;
  ChunkRecord record;
};

struct ListedEntry {
  kj::String name;
  uint64_t cookie = 0;    // position: list() goes on after it
  Attributes attributes;  // of names only: just inode and type
};

struct Departure {
  // How a file lost its last name: what the trash shows of it.
  InodeId directory;  // that the name was in
  std::string name;
  uint32_t uid = 0;     // who deleted it
  int64_t deleted = 0;  // ns since 1970
  int64_t until = 0;    // it stays in the trash until then; 0: it does not go there
  bool operator==(const Departure&) const = default;
};

enum class Linkable { NO, YES };

struct OrphanRecord {
  Linkable linkable = Linkable::NO;  // made without a name, and may get one
  Departure departure;
};

struct Whereabouts {
  // Of a directory that files in the trash were in, so that their paths can be told.
  uint64_t needed = 0;  // by how many orphans, files in the trash, and directories that are gone
  InodeId parent;       // once it is gone: where it was, under which name
  std::string name;
};

struct TrashedFile {
  Inode inode;
  Departure departure;
};

struct StagingRecord {
  // A copy of a tree that is being made, or taken away again, where no name leads to it (ops/staging.cc).
  InodeId original;     // the directory that it is a copy of
  InodeId directory;    // that it is for
  uint64_t inodes = 0;  // that have been made
  enum class Stage : uint8_t {
    COPYING,
    LINKED,    // it has its name; what was noted to make it goes
    CLEARING,  // it was given up; what was noted to make it goes
    DROPPING,  // then it does: its work are the directories that are to be emptied
  } stage = Stage::COPYING;
};

struct StagedWork {
  InodeId inode;   // of the copy: a directory, or a file with many chunks
  InodeId source;  // what it is a copy of
  uint64_t at =
      0;  // of a directory: the place of the last name that has been copied; of a file: the next chunk
};

struct GarbageRecord {
  ChunkHandle handle;
  ChunkVersion version;  // replicas up to this version may be deleted
};

struct SessionRecord {
  SessionId id;
  kj::String host, name;  // ClientDescription
  int64_t opened = 0;     // ns since 1970
};

enum class Draining { NO, YES };

struct StoreRecord {
  ServerId server;
  Draining draining = Draining::NO;
  kj::String store;  // UUID
};

enum class Restored : uint8_t {
  NEVER,
  TAKING_OVER,  // from a backup, and not all stores have told what they hold
  KEEPING,      // in charge; chunks that no file has may be those of files made after the backup: kept
  RELEASED,     // the same, but an operator has said that they may go
};

struct NamespaceState {
  // The counters and marks of the namespace: one record, written with every change.
  uint32_t format = 1;  // of the store: 2 once chunks are shared, 3 restored, 4 trees staged (records.h)
  ClusterId cluster;
  LogIndex applied;  // the last operation that is in the state
  Epoch epoch;
  InodeId nextInode{1};
  InodeId skippedFrom,
      skippedEnd;     // numbers that the latest start or restore has left out: no file that is known had them
  uint64_t boot = 0;  // of the machine, at the latest start
  SessionId nextSession{1};
  ServerId nextServer{1};
  ChunkHandle nextHandle{1};  // handles below have been given out or may have been
  uint64_t inodes = 0;
  uint64_t chunks = 0;
  uint64_t garbage = 0;
  uint64_t orphans = 0;
  uint8_t replicas = 0;                // default count
  uint64_t trash = 0, trashBytes = 0;  // files in the trash, and the sum of their bytesUsed
  uint32_t trashKeep = 0;              // seconds, where a directory says nothing else; 0: no trash
  uint32_t trashAge = 0;               // seconds: what has lived less does not go to the trash
  uint64_t quotas = 0;                 // directories with limits
  Counting counting = Counting::OFF;   // of what is below each directory
  uint64_t counted = 0, toCount = 0;   // inodes that the count has met; directories it has yet to look at
  Restored restored = Restored::NEVER;
  uint64_t restoredFloor = 0;  // handles and chunk versions below are from before the last restore
  LogIndex mendedAsOf;         // the check that was mended last (ops/mend.cc)
  LogIndex mendedAt;           // the operation that did it
  void skipTo(InodeId next) {
    // Leaves out the numbers up to there: ranges that follow each other are one.
    if (skippedEnd != nextInode) skippedFrom = nextInode;
    nextInode = skippedEnd = next;
  }
  bool wasGiven(InodeId id) const { return id && id < nextInode && (id < skippedFrom || id >= skippedEnd); }
  bool operator==(const NamespaceState&) const = default;
};

}  // namespace cairn
