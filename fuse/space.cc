// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Requests about the space of files: fallocate(2), lseek(2) for data and holes, copy_file_range(2).
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "fuse/handlers.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {
constexpr uint64_t COPY_BYTES_MAX = 2ull << 30;  // the answer has 32 bits

Privileges privilegesOf(const Request& request) {
  // The kernel does not say it with these requests. Who keeps setuid and setgid has CAP_FSETID, as root has.
  return request.caller().uid == 0 ? Privileges::KEEP : Privileges::KILL;
}
}  // namespace

Async<void> Handlers::allocate(Request request, fuse_file_info file, FileOffset offset, uint64_t length,
                               int mode) {
  auto handle = handleOf(file);
  auto growth = mode & FALLOC_FL_KEEP_SIZE ? Growth::NO : Growth::YES;
  auto kind = mode & ~FALLOC_FL_KEEP_SIZE;
  bool isPunch = kind == FALLOC_FL_PUNCH_HOLE && growth == Growth::NO;
  if (kind != 0 && kind != FALLOC_FL_ZERO_RANGE && !isPunch) {
    request.status(Status::NOT_SUPPORTED);
    co_return;
  }
  auto status = co_await losePrivileges(request, *handle, privilegesOf(request));
  if (status == Status::OK && kind == 0) status = co_await handle->file->allocate(offset, length, growth);
  if (status == Status::OK && kind != 0) status = co_await handle->file->zero(offset, length, growth);
  if (status == Status::OK && handle->flags & (O_SYNC | O_DSYNC)) status = co_await handle->file->sync();
  request.status(status);
}

Async<void> Handlers::copyRange(Request request, fuse_file_info source, fuse_file_info target,
                                OpenFile::CopyRange range, int flags) {
  if (flags != 0) {
    request.fail(EINVAL);
    co_return;
  }
  auto from = handleOf(source), to = handleOf(target);
  range.length = kj::min(range.length, COPY_BYTES_MAX);
  auto lost = co_await losePrivileges(request, *to, privilegesOf(request));
  if (lost != Status::OK) {
    request.status(lost);
    co_return;
  }
  auto copied = co_await to->file->copyFrom(*from->file, range);
  if (copied.status() == Status::NOT_SUPPORTED) {
    request.fail(ENOSYS);  // the kernel reads and writes then
    co_return;
  }
  if (!copied.ok()) {
    request.status(copied.status());
    co_return;
  }
  if (to->flags & (O_SYNC | O_DSYNC)) {
    auto status = co_await to->file->sync();
    if (!ok(status)) {
      request.status(status);
      co_return;
    }
  }
  request.written(*copied);
}

Async<void> Handlers::seek(Request request, fuse_file_info file, FileOffset offset, int whence) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    request.fail(EINVAL);
    co_return;
  }
  auto handle = handleOf(file);
  auto found = co_await handle->file->seek(offset, whence == SEEK_DATA ? Sought::DATA : Sought::HOLE);
  if (found.status() == Status::NOT_SUPPORTED) {
    request.fail(ENOSYS);  // to the kernel all is data then
    co_return;
  }
  if (!found.ok()) {
    request.status(found.status());
    co_return;
  }
  KJ_IF_MAYBE (position, found.value()) {
    request.position(*position);
  } else {
    request.fail(ENXIO);
  }
}

}  // namespace cairn::fuse
