// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A directory on a local disk, with file I/O that never blocks the event loop for long. Everything that
// CairnFS keeps in its own files goes through this interface, so that a test or the simulator can hand in a
// disk that lives in memory, fills up, lies, or loses what was not synced.
//
// Failure of a disk is an answer, not an exception: ENOSPC and EIO come back in an outcome.
// Paths are relative to the disk's root, components separated by '/', never absolute and never with "..".
// A DiskFile must outlive the promises it has given; destroying such a promise waits for the kernel to let go
// of the buffers, so buffers need only live as long as the promise.
#pragma once

#include <errno.h>
#include <kj/array.h>
#include <kj/async-unix.h>
#include <kj/async.h>
#include <kj/function.h>
#include <kj/memory.h>
#include <kj/string.h>
#include <kj/timer.h>
#include <kj/vector.h>

namespace cairn::env {

struct [[nodiscard]] IoOutcome {
  // `bytes` were transferred before `error` (an errno, 0 = none) stopped it. A read without error may be
  // short: the file ended. A write without error is never short.
  uint64_t bytes = 0;
  int error = 0;
  bool ok() const { return error == 0; }
};
kj::String KJ_STRINGIFY(const IoOutcome& outcome);
kj::String describeError(int error);  // "No space left on device (ENOSPC)"

using Pieces = kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>>;

class DiskFile {
 public:
  virtual ~DiskFile() noexcept(false) = default;

  virtual kj::Promise<IoOutcome> read(uint64_t offset, kj::ArrayPtr<kj::byte> into) = 0;
  // Fills `into` from `offset`. Short only at the end of the file.

  virtual kj::Promise<IoOutcome> write(uint64_t offset, Pieces pieces) = 0;
  // Writes the pieces one after the other from `offset`, into the page cache: it survives this process, not
  // the machine. The list may go when the call returns; the bytes must stay until the promise resolves.

  virtual kj::Promise<IoOutcome> sync() = 0;
  // fdatasync: what was written before this call is on stable storage. Calls that come while one is under way
  // share the next one (group commit).

  virtual kj::Promise<IoOutcome> truncate(uint64_t size) = 0;

  virtual kj::Promise<IoOutcome> punch(uint64_t offset, uint64_t size) = 0;
  // Frees the range: it reads as zeros, the size stays. EOPNOTSUPP where the filesystem cannot.

  virtual kj::Promise<IoOutcome> cloneFrom(DiskFile& source) { return IoOutcome{0, EOPNOTSUPP}; }
  // Becomes a copy of `source` that shares its blocks until one of the two is written. EOPNOTSUPP, EXDEV or
  // EINVAL where the filesystem cannot; nothing has changed then. Quick when `source` has been synced.

  virtual kj::Promise<IoOutcome> size() = 0;
  // In `bytes`.

  virtual kj::Maybe<int> descriptor() = 0;
  // The file descriptor, where there is one, for passing to a process on this host.

  kj::Promise<IoOutcome> write(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes) {
    return write(offset, kj::arrayPtr(&bytes, 1));
  }
};

enum class OpenMode {
  READ,            // must exist
  WRITE,           // must exist; read and write
  CREATE,          // must not exist: EEXIST
  CREATE_OR_OPEN,  // either
};

struct [[nodiscard]] OpenOutcome {
  kj::Maybe<kj::Own<DiskFile>> file;  // INVARIANT: null exactly when error != 0
  int error = 0;
};

struct [[nodiscard]] ListOutcome {
  kj::Vector<kj::String> names;  // without "." and "..", in no order
  int error = 0;
};

struct [[nodiscard]] SpaceOutcome {
  uint64_t totalBytes = 0;
  uint64_t freeBytes = 0;  // what an unprivileged process may still write
  int error = 0;
};

class DiskMapping {
  // A file of fixed size mapped shared and writable: stores into it survive this process, without a syscall.
 public:
  virtual ~DiskMapping() noexcept(false) = default;
  virtual kj::ArrayPtr<kj::byte> bytes() = 0;
};

struct [[nodiscard]] MapOutcome {
  kj::Maybe<kj::Own<DiskMapping>> mapping;  // INVARIANT: null exactly when error != 0
  int error = 0;
};

class DiskLock {
  // Exclusive between processes; goes with the object or with the process.
 public:
  virtual ~DiskLock() noexcept(false) = default;
};

struct [[nodiscard]] LockOutcome {
  kj::Maybe<kj::Own<DiskLock>> lock;
  kj::String holder;  // when another process has it (error EWOULDBLOCK): its pid, if it wrote one
  int error = 0;
};

class Disk {
 public:
  virtual ~Disk() noexcept(false) = default;

  virtual kj::Promise<OpenOutcome> open(kj::StringPtr path, OpenMode mode) = 0;
  virtual kj::Promise<IoOutcome> remove(kj::StringPtr path) = 0;
  virtual kj::Promise<IoOutcome> rename(kj::StringPtr from, kj::StringPtr to) = 0;
  // Replaces `to`. Atomic; on stable storage after syncDirectory of both directories.

  virtual kj::Promise<IoOutcome> makeDirectory(kj::StringPtr path) = 0;
  // Succeeds if it is already there.

  virtual kj::Promise<ListOutcome> list(kj::StringPtr directory) = 0;  // "" is the root
  virtual kj::Promise<IoOutcome> syncDirectory(kj::StringPtr directory) = 0;
  // Entries created, renamed and removed before this call are on stable storage. Shared like DiskFile::sync.

  virtual kj::Promise<IoOutcome> syncEverything() = 0;
  // The two for all files and directories in one call (syncfs): for very many of them, because what others
  // have on the same filesystem is taken along. An error may be anybody's. EOPNOTSUPP where one could go
  // untold.

  virtual SpaceOutcome space() = 0;
  virtual MapOutcome map(kj::StringPtr path, size_t size) = 0;
  // Creates the file if need be and allocates its blocks, so that a store into the mapping cannot fail.

  virtual LockOutcome lock(kj::StringPtr path) = 0;
  // Creates the file if need be, locks it and writes this process's pid into it.
};

enum class IoEngineChoice { AUTOMATIC, URING, POOL };

kj::Own<Disk> newDisk(kj::StringPtr root, kj::UnixEventPort& events, const kj::MonotonicClock& clock,
                      IoEngineChoice engine = IoEngineChoice::AUTOMATIC);
// The real disk below directory `root` (which must exist) for the loop of `events`. AUTOMATIC takes io_uring
// where the kernel lets us and the thread pool elsewhere. Throws if `root` cannot be opened, or with URING if
// the kernel refuses a ring.

}  // namespace cairn::env
