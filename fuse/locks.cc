// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Requests about locks: fcntl(2), lockf(3), flock(2). They are held at the metaserver, so that all mounts see
// them; the kernel of this machine keeps none. A wait ends with a signal. Locks go when their owner closes
// the file (FLUSH names the owner), and at the latest when the open file that they were taken through is
// released.
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "fuse/handlers.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {

LockType typeOf(short type) {
  return type == F_RDLCK ? LockType::SHARED : type == F_WRLCK ? LockType::EXCLUSIVE : LockType::UNLOCK;
}

FileLock lockOf(InodeId inode, const fuse_file_info& file, const struct flock& lock) {
  FileLock result{.inode = inode,
                  .kind = LockKind::POSIX,
                  .owner = file.lock_owner,
                  .range = {},
                  .pid = uint32_t(lock.l_pid)};
  result.range.start = uint64_t(lock.l_start);
  result.range.end = lock.l_len == 0 ? LOCK_END_MAX : uint64_t(lock.l_start + lock.l_len - 1);
  result.range.type = typeOf(lock.l_type);
  return result;
}

}  // namespace

Async<void> Handlers::getLock(Request request, InodeId inode, fuse_file_info file, struct flock lock) {
  auto found = co_await filesystem.testLock(lockOf(inode, file, lock));
  if (!found.ok()) {
    request.status(found.status());
    co_return;
  }
  auto& range = found->range;
  lock.l_type = range.type == LockType::UNLOCK ? F_UNLCK : range.type == LockType::SHARED ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = off_t(range.start);
  lock.l_len = range.end == LOCK_END_MAX ? 0 : off_t(range.end - range.start + 1);
  lock.l_pid = pid_t(found->pid);
  request.lock(lock);
}

Async<void> Handlers::setLock(Request request, InodeId inode, fuse_file_info file, struct flock lock,
                              Waiting waiting) {
  return takeLock(kj::mv(request), file, lockOf(inode, file, lock), waiting);
}

Async<void> Handlers::lockWhole(Request request, InodeId inode, fuse_file_info file, int operation) {
  FileLock lock{.inode = inode, .kind = LockKind::WHOLE, .owner = file.lock_owner, .range = {}};
  auto kind = operation & ~LOCK_NB;
  lock.range.type = kind == LOCK_EX   ? LockType::EXCLUSIVE
                    : kind == LOCK_SH ? LockType::SHARED
                                      : LockType::UNLOCK;
  return takeLock(kj::mv(request), file, lock, operation & LOCK_NB ? Waiting::NO : Waiting::YES);
}

Async<void> Handlers::takeLock(Request request, fuse_file_info file, FileLock lock, Waiting waiting) {
  auto handle = handleOf(file);
  kj::Maybe<kj::Promise<void>> givenUp;
  if (waiting == Waiting::YES && lock.range.type != LockType::UNLOCK) givenUp = request.whenInterrupted();
  bool waits = givenUp != nullptr;
  if (lock.range.type != LockType::UNLOCK) handle->lockOwners.insert({lock.kind, lock.owner});
  auto status = co_await filesystem.setLock(lock, kj::mv(givenUp));
  if (status == Status::OK && request.isAnswered() && lock.range.type != LockType::UNLOCK) {
    // Its caller was killed meanwhile and took nothing.
    lock.range.type = LockType::UNLOCK;
    status = co_await filesystem.setLock(lock, nullptr);
  }
  if (status == Status::WOULD_BLOCK && waits) {
    request.fail(EINTR);
  } else {
    request.status(status);
  }
}

Async<void> Handlers::unlock(InodeId inode, LockKind kind, uint64_t owner) {
  auto status =
      co_await filesystem.setLock({.inode = inode, .kind = kind, .owner = owner, .range = {}}, nullptr);
  if (status != Status::OK && status != Status::NOT_SUPPORTED) {
    log.warning("locks on inode ", inode, " could not be given back: ", status,
                " -> they end with the session");
  }
}

}  // namespace cairn::fuse
