// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The client library: a CairnFS filesystem as C++ calls on one event loop. fuse/ and cli/ stand on this and
// know nothing of metaservers, chunks or replicas. Every call returns a promise of an answer (Status or
// value); a lost connection, a dead or hung daemon or a stale location never reaches the caller: the library
// retries until `patience` runs out (then Status::IO_ERROR, or NO_REPLICA when no daemon has the data).
//
// Clients see each other: what another client has done is seen by whatever begins here after it has returned
// there. A write that returned is in the library's memory (write-behind). flush() returns when all replicas
// have applied it and the metaserver knows the length; sync() when all that is on stable storage. An error
// that write-behind met is answered by the next write, flush or sync of that file, once, and by each open
// file.
#pragma once

#include <kj/async-io.h>
#include <kj/async.h>
#include <kj/timer.h>

#include <vector>

#include "rpc/coroutine.h"
#include "rpc/lock_ranges.h"
#include "rpc/metaserver.capnp.h"
#include "rpc/result.h"
#include "rpc/units.h"

namespace cairn {

using FileType = rpc::FileType;

struct Timestamp {
  int64_t ns = 0;  // nanoseconds since 1970
};

struct FileAttributes {
  // What stat(2) shows; see rpc/metaserver.capnp Attributes. Size and mtime include what this client has
  // written and not yet published.
  InodeId inode;
  FileType type = FileType::REGULAR;
  uint16_t mode = 0;
  uint32_t uid = 0, gid = 0, links = 0, device = 0;
  uint64_t size = 0, bytesUsed = 0;
  Timestamp atime, mtime, ctime;
  uint64_t dataVersion = 0;
  uint8_t extended = 0;  // rpc::HAS_...: which extended attributes there are
  // As in rpc::Attributes: which lease came with them, when they were so, and whether another client knows
  // better.
  rpc::LeaseKind lease = rpc::LeaseKind::NONE;
  uint64_t stamp = 0;
  bool unsure = false;
};

struct Credentials {
  uint32_t uid = 0, gid = 0;
  uint16_t umask = 0;  // taken from the mode of what is made, unless its directory has a default ACL
};

struct NewNode {
  FileType type = FileType::REGULAR;
  uint16_t mode = 0644;
  uint32_t device = 0;
  kj::StringPtr target;  // of a symlink
};

struct AttributeChange {
  kj::Maybe<uint16_t> mode;
  kj::Maybe<uint32_t> uid, gid;
  kj::Maybe<uint64_t> size;
  kj::Maybe<Timestamp> atime, mtime;
  enum class Now { NO, YES };
  Now atimeNow = Now::NO, mtimeNow = Now::NO;
};

struct DirectoryEntry {
  kj::String name;
  uint64_t cookie = 0;  // resume after this entry
  FileAttributes attributes;
};
struct DirectoryPage {
  kj::Array<DirectoryEntry> entries;
  enum class More { NO, YES };
  More more = More::NO;
};
enum class Detail { NAMES, ATTRIBUTES };

struct Bytes {
  // A run of memory and what keeps it alive. Passed without copying.
  kj::ArrayPtr<const kj::byte> view;
  kj::Own<void> keeper;
};

struct ReadData {
  // What a read found: pieces in file order; total size below what was asked means end of file.
  kj::Array<kj::ArrayPtr<const kj::byte>> pieces;
  kj::Own<void> keeper;
  size_t size() const;
};

constexpr uint64_t APPEND_SIZE_MAX = 16 << 20;  // of one O_APPEND write that stays together

struct SpaceStatistics {
  // Of the cluster, or of the tightest quota above the inode.
  uint64_t blocksTotal = 0, blocksFree = 0;  // of BLOCK_SIZE, after replication
  uint64_t inodes = 0, inodesFree = 0;
};

struct ByteRange {
  // Of a file. Size 0: to its end.
  uint64_t offset = 0, size = 0;
};

enum class Growth { NO, YES };      // may the file become longer by it?
enum class Access { READ, WRITE };  // what an open file is going to be used for
enum class Rest { NONE, FOLLOWS };  // of a record: another piece comes at once
enum class Origin {
  // Who asks, that is, what the kernel has locked meanwhile.
  PROGRAM,    // nothing: the bytes are not cached by whoever asks
  PAGES,      // the pages it is about: a read that fills them, a write through them
  WRITEBACK,  // the same; of a shared mapping: what is written may have been so for a while
};
enum class Sought { DATA, HOLE };

struct FileLock {
  // fcntl(2) and flock(2) locks, as in rpc/metaserver.capnp FileLock.
  InodeId inode;
  LockKind kind = LockKind::POSIX;
  uint64_t owner = 0;
  LockRange range;
  uint32_t pid = 0;
};

class OpenFile : public kj::Refcounted {
  // One open inode of this client; shared by all its open(2)s. Kept open at the metaserver while referenced.
  // Whoever calls keeps it until the promise is done; what is buffered when nobody does any more is still
  // written.
 public:
  virtual InodeId inode() const = 0;
  virtual FileAttributes attributes() const = 0;  // as of now, with unpublished writes

  virtual Async<Result<ReadData>> read(FileOffset offset, uint32_t size, Origin origin = Origin::PROGRAM) = 0;
  // Sees every write that has returned, of this client or another. Up to any size; holes are zeros.

  virtual Async<Status> write(FileOffset offset, Bytes bytes, Origin origin = Origin::PROGRAM) = 0;
  // Takes the bytes over (no copy when they are large and 8-byte aligned). May wait for buffer space.
  // TOO_BIG beyond FILE_SIZE_MAX; NO_SPACE or IO_ERROR of an earlier write-behind.

  virtual kj::Own<void> holdPages(ByteRange range) { return kj::Own<void>(); }
  // While it lives the kernel has these pages locked for a request that waits and has given them nothing to
  // show.

  virtual Async<Result<FileOffset>> append(Bytes bytes, Rest rest = Rest::NONE,
                                           kj::Maybe<ByteRange> locked = nullptr) = 0;
  // O_APPEND: as write() at the end of the file, wherever other clients have moved it to; answers where that
  // was. Pieces with Rest::FOLLOWS and the one after them are together, up to APPEND_SIZE_MAX bytes; the
  // caller lets nobody else append to its file between them. `locked`: pages that the kernel has locked
  // meanwhile.

  virtual Async<Status> flush() = 0;  // applied on all replicas, length published: what close(2) needs
  virtual Async<Status> sync() = 0;   // on stable storage everywhere: fsync(2)

  virtual kj::Promise<Status> allocate(FileOffset offset, uint64_t length, Growth growth) {
    return Status(Status::NOT_SUPPORTED);
  }
  // fallocate(2): makes sure that there is space now for these bytes, which does not reserve it. Changes no
  // content.
  virtual kj::Promise<Status> zero(FileOffset offset, uint64_t length, Growth growth) {
    return Status(Status::NOT_SUPPORTED);
  }
  // fallocate(2) PUNCH_HOLE and ZERO_RANGE: reads as zeros, and takes no space where whole chunks fall into
  // it.
  virtual kj::Promise<Result<kj::Maybe<FileOffset>>> seek(FileOffset offset, Sought sought) {
    return Result<kj::Maybe<FileOffset>>(Status::NOT_SUPPORTED);
  }
  // lseek(2) SEEK_DATA and SEEK_HOLE: null where there is none from `offset` on. Blocks of zeros are holes.

  struct CopyRange {
    FileOffset from, to;
    uint64_t length = 0;
  };
  virtual kj::Promise<Result<uint64_t>> copyFrom(OpenFile& source, CopyRange range) {
    return Result<uint64_t>(Status::NOT_SUPPORTED);
  }
  // copy_file_range(2) from an open file of the same filesystem, which the caller keeps; may be this one, if
  // the ranges do not overlap (INVALID). Whole chunks at the same place in a chunk are shared, others copied;
  // one call does some of it and answers how many bytes (0: the source ends there).

  virtual kj::Promise<Result<FileOffset>> recordAppend(kj::ArrayPtr<const kj::byte> record) = 0;
  // GFS paper, section 3.3: at least once, at an offset that the primary picks, never across a chunk
  // boundary. At most RECORD_SIZE_MAX bytes. Answers the offset of the copy that all replicas have.
};

class Filesystem {
 public:
  virtual ~Filesystem() noexcept(false) = default;

  virtual Async<Result<FileAttributes>> lookup(InodeId parent, kj::StringPtr name) = 0;
  virtual Async<Result<FileAttributes>> getAttributes(InodeId inode) = 0;
  virtual Async<Result<FileAttributes>> setAttributes(InodeId inode, AttributeChange change) = 0;
  virtual Async<Result<FileAttributes>> make(InodeId parent, kj::StringPtr name, NewNode node,
                                             Credentials caller) = 0;
  virtual Async<Result<FileAttributes>> link(InodeId inode, InodeId parent, kj::StringPtr name) = 0;
  virtual Async<Status> unlink(InodeId parent, kj::StringPtr name, Credentials caller) = 0;
  virtual Async<Status> rmdir(InodeId parent, kj::StringPtr name) = 0;
  virtual Async<Status> rename(InodeId parent, kj::StringPtr name, InodeId newParent, kj::StringPtr newName,
                               uint32_t flags, Credentials caller) = 0;
  virtual Async<Result<kj::String>> readLink(InodeId inode) = 0;
  virtual Async<Result<DirectoryPage>> readDirectory(InodeId inode, uint64_t cookie, uint32_t limit,
                                                     Detail detail) = 0;
  virtual Async<Result<kj::Own<OpenFile>>> open(InodeId inode, Access access = Access::READ) = 0;
  virtual Async<Result<kj::Own<OpenFile>>> create(InodeId parent, kj::StringPtr name, uint16_t mode,
                                                  Credentials caller, NewNode options, bool exclusive) = 0;
  // One round trip: makes the regular file (or finds it) and opens it.
  virtual Async<Result<kj::Own<OpenFile>>> createTemporary(InodeId directory, uint16_t mode,
                                                           Credentials caller) {
    return Result<kj::Own<OpenFile>>(Status::NOT_SUPPORTED);
  }
  // O_TMPFILE: without a name, until link() gives it one.
  virtual void accessed(const FileAttributes& attributes) {}
  // It has been read: its access time moves if it is due (relatime), soon at the metaserver and here at once.
  // Of what is not known of its attributes, besides the inode, the metaserver finds out whether it is due.
  virtual bool isAccessDue(const FileAttributes& attributes) const {
    return false;
  }  // would accessed() move it?
  virtual void forgotten(InodeId inode) {}
  // Nobody here can name it any more. Until then getAttributes() answers for nodes that this client has
  // removed.
  virtual Async<Result<SpaceStatistics>> statistics(InodeId inode) = 0;
  virtual Async<Result<kj::Array<kj::byte>>> getXattr(InodeId inode, kj::StringPtr name) = 0;
  virtual Async<Status> setXattr(InodeId inode, kj::StringPtr name, kj::ArrayPtr<const kj::byte> value,
                                 uint32_t flags) = 0;
  virtual Async<Status> removeXattr(InodeId inode, kj::StringPtr name) = 0;
  virtual Async<Result<kj::Array<kj::String>>> listXattr(InodeId inode) = 0;
  // NOLINTNEXTLINE(performance-unnecessary-value-param): an override is a coroutine and keeps it
  virtual kj::Promise<Status> setLock(FileLock lock, kj::Maybe<kj::Promise<void>> givenUp) {
    return Status(Status::NOT_SUPPORTED);
  }
  // Takes, changes or (type UNLOCK) gives back. WOULD_BLOCK: another's is in the way. With `givenUp` it waits
  // until that resolves; what was granted in that very moment is OK. DEADLOCK.
  virtual kj::Promise<Result<FileLock>> testLock(FileLock lock) {
    return Result<FileLock>(Status::NOT_SUPPORTED);
  }
  // A lock that is in the way, or one of type UNLOCK.
  virtual Async<Status> syncAll() = 0;  // syncfs(2): every open file, and the metaserver's log
  virtual Async<Status> syncNames(InodeId directory) { return syncAll(); }
  // fsync(2) of a directory: the metaserver's log.
  virtual Async<void> shutdown() = 0;  // flushes everything and closes the session

  // How long what was answered may be kept by a cache beyond this library, from now on. Asked when the answer
  // is passed on: it may have been outdated since. Zero: not at all.
  virtual kj::Duration keepAttributes(const FileAttributes& attributes) const { return 0 * kj::SECONDS; }
  virtual kj::Duration keepName(InodeId parent, kj::StringPtr name, InodeId found) const {
    return 0 * kj::SECONDS;
  }
  // `found` none: that there is no such name.
  virtual bool isToldOfNames(InodeId directory) const { return true; }
  // Whether `forget` comes before another client changes a name of it.
  virtual kj::Maybe<uint8_t> knownExtended(InodeId inode) const { return nullptr; }
  // Which extended attributes it has (rpc::HAS_...), if that is known without asking.

  using Range = ByteRange;
  class Observer {
    // Another client is about to change what this one may have cached.
   public:
    virtual ~Observer() noexcept(false) = default;
    // NOLINTNEXTLINE(performance-unnecessary-value-param): an override is a coroutine and keeps it
    virtual kj::Promise<void> forget(InodeId inode, std::vector<Range> except) { return kj::READY_NOW; }
    // Its attributes, its pages but those, its names. Resolves when nothing of it is answered from memory any
    // more.
    virtual kj::Promise<void> forgetAttributes(InodeId inode) { return kj::READY_NOW; }
    // Another client is about to see what was written here. The kernel knows the new size only once the
    // process that wrote has taken the answer; until then others here would be told the old one.
    virtual kj::Promise<void> forgetAll() { return kj::READY_NOW; }
  };
  virtual void setObserver(Observer& observer) = 0;  // who caches beyond this library: the kernel
};

}  // namespace cairn
