// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Requests about open files and their contents.
#include <fcntl.h>

#include "fuse/attributes.h"
#include "fuse/handler_parts.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

bool FileHandle::mayWrite() const {
  return (flags & O_ACCMODE) != O_RDONLY;
}

kj::Promise<void> Handlers::create(Request request, InodeId parent, kj::String name, mode_t mode,
                                   fuse_file_info file) {
  NewNode node{.mode = uint16_t(mode & 07777)};
  LocalChange change(inodes, parent);
  auto opened =
      co_await filesystem.create(parent, name, node.mode, request.caller(), node, file.flags & O_EXCL);
  nameChanged(parent, name);
  if (!opened.ok()) {
    request.status(opened.status());
    co_return;
  }
  auto handle = kj::refcounted<FileHandle>(kj::mv(opened).value(), file.flags);
  auto inode = handle->file->inode();
  // The name may have come into being elsewhere after the kernel looked: then it is an open of that file.
  if (file.flags & O_TRUNC && handle->file->attributes().size > 0) {
    auto status = co_await truncate(inode, handle->file->attributes(), Privileges::KILL);
    if (status != Status::OK) {
      request.status(status);
      co_return;
    }
  }
  created(request, file, kj::mv(handle));
}

kj::Promise<void> Handlers::createTemporary(Request request, InodeId directory, mode_t mode,
                                            fuse_file_info file) {
  auto opened = co_await filesystem.createTemporary(directory, uint16_t(mode & 07777), request.caller());
  if (!opened.ok()) {
    request.status(opened.status());
    co_return;
  }
  created(request, file, kj::refcounted<FileHandle>(kj::mv(opened).value(), file.flags));
}

void Handlers::created(Request& request, fuse_file_info file, kj::Own<FileHandle> handle) {
  decideCaching(file, *handle->file, file.flags);
  auto& kept = *handle;
  auto inode = kept.file->inode();
  auto entry = entryOf(kept.file->attributes());
  file.fh = addHandle(kj::mv(handle));
  if (request.created(entry, file) == Request::Taken::YES) {
    inodes.lookedUp(inode);
    inodes.opened(inode, kept.file->attributes().dataVersion);
    auto attributes = kept.file->attributes();
    inodes.shown(inode, attributes.dataVersion, attributes.extended, timer.now());
  } else {
    dropHandle(kept);
  }
}

kj::Promise<void> Handlers::open(Request request, InodeId inode, fuse_file_info file, Privileges privileges) {
  auto opened = co_await filesystem.open(inode);
  if (!opened.ok()) {
    request.status(opened.status());
    co_return;
  }
  auto handle = kj::refcounted<FileHandle>(kj::mv(opened).value(), file.flags);
  if (file.flags & O_TRUNC) {
    auto status = co_await truncate(inode, handle->file->attributes(), privileges);
    if (status != Status::OK) {
      request.status(status);
      co_return;
    }
  }
  decideCaching(file, *handle->file, file.flags);
  auto& kept = *handle;
  file.fh = addHandle(kj::mv(handle));
  if (request.opened(file) == Request::Taken::NO) dropHandle(kept);
}

void Handlers::decideCaching(fuse_file_info& reply, const OpenFile& file, int flags) {
  auto version = file.attributes().dataVersion;
  reply.keep_cache = inodes.opened(file.inode(), version) == InodeTable::Cached::CURRENT;
  // A read that the kernel answers from its pages does not move the access time: when that is due, none may
  // be.
  if ((flags & O_ACCMODE) != O_WRONLY && !(flags & O_NOATIME) &&
      options.accessTimes != HandlerOptions::AccessTimes::NEVER &&
      filesystem.isAccessDue(file.attributes())) {
    reply.keep_cache = 0;
  }
  // Close-to-open: what the kernel knows may be a second old, and it reads no further than the size it knows.
  if (inodes.showsOther(file.inode(), version)) kernel.forgetAttributes(file.inode());
  // Nothing was written through a read-only descriptor, so its close has nothing to wait for.
  reply.noflush = (flags & O_ACCMODE) == O_RDONLY;
}

kj::Promise<Status> Handlers::truncate(InodeId inode, const FileAttributes& attributes,
                                       Privileges privileges) {
  AttributeChange change;
  change.size = uint64_t(0);
  auto mode = withoutPrivileges(attributes.mode);
  if (privileges == Privileges::KILL && mode != attributes.mode) change.mode = mode;
  LocalChange local(inodes, inode);
  auto truncated = co_await filesystem.setAttributes(inode, kj::mv(change));
  co_return truncated.status();
}

kj::Promise<Status> Handlers::killPrivileges(InodeId inode, uint16_t mode) {
  AttributeChange change;
  change.mode = withoutPrivileges(mode);
  auto changed = co_await filesystem.setAttributes(inode, kj::mv(change));
  co_return changed.status();
}

kj::Promise<void> Handlers::read(Request request, fuse_file_info file, FileOffset offset, uint32_t size) {
  auto handle = handleOf(file);
  auto data = co_await handle->file->read(offset, size);
  if (!data.ok()) {
    request.status(data.status());
  } else {
    if (size > 0 && !(handle->flags & O_NOATIME)) accessed(handle->file->attributes());
    request.data(data.value());
  }
}

kj::Promise<void> Handlers::write(Request request, fuse_file_info file, FileOffset offset, Bytes bytes,
                                  Privileges privileges) {
  auto handle = handleOf(file);
  auto inode = handle->file->inode();
  auto size = bytes.view.size();
  LocalChange change(inodes, inode);

  if (privileges == Privileges::KILL) {
    auto mode = handle->file->attributes().mode;
    if (withoutPrivileges(mode) != mode) {
      auto status = co_await killPrivileges(inode, mode);
      if (status != Status::OK) {
        request.status(status);
        co_return;
      }
    }
  }
  if (handle->file->attributes().extended & rpc::HAS_CAPABILITY) {
    // A program that is changed loses its privileges, whoever changes it (FUSE_HANDLE_KILLPRIV_V2).
    auto status = co_await filesystem.removeXattr(inode, "security.capability");
    if (status != Status::OK && status != Status::NO_DATA) {
      request.status(status);
      co_return;
    }
  }
  if (handle->flags & O_APPEND && !file.writepage) {
    // The kernel appends at the size it knows, which another mount may have outgrown. Then its page is at the
    // wrong place too.
    auto end = handle->file->attributes().size;
    if (end > offset.value()) {
      offset = FileOffset(end);
      kernel.invalidateInode(inode);
    }
  }
  auto status = co_await handle->file->write(offset, kj::mv(bytes));
  if (status == Status::OK && handle->flags & (O_SYNC | O_DSYNC)) status = co_await handle->file->sync();
  if (status != Status::OK) {
    request.status(status);
  } else {
    request.written(size);
  }
}

kj::Promise<void> Handlers::flush(Request request, fuse_file_info file) {
  auto handle = handleOf(file);
  co_await unlock(handle->file->inode(), LockKind::POSIX, file.lock_owner);  // POSIX: closing gives them back
  if (!handle->mayWrite()) {
    request.fail(0);
    co_return;
  }
  LocalChange change(inodes, handle->file->inode());
  request.status(co_await handle->file->flush());
}

kj::Promise<void> Handlers::release(Request request, fuse_file_info file) {
  auto handle = handleOf(file);
  dropHandle(*handle);
  for (auto& [kind, owner] : handle->lockOwners) co_await unlock(handle->file->inode(), kind, owner);
  if (handle->mayWrite()) {
    // Pages of a shared mapping are written back after the last close(2): nobody hears of their errors any
    // more.
    LocalChange change(inodes, handle->file->inode());
    auto status = co_await handle->file->flush();
    if (status != Status::OK) {
      log.warning("writes to inode ", handle->file->inode(), " failed after its last close (", status,
                  ") -> nobody is left to hear of it");
    }
  }
  handle = nullptr;
  request.fail(0);
}

kj::Promise<void> Handlers::sync(Request request, fuse_file_info file) {
  auto handle = handleOf(file);
  LocalChange change(inodes, handle->file->inode());
  request.status(co_await handle->file->sync());
}

kj::Own<FileHandle> Handlers::handleOf(const fuse_file_info& file) {
  // A reference of its own: an interrupted request goes on while the kernel may already release the file.
  return kj::addRef(*reinterpret_cast<FileHandle*>(file.fh));
}

uint64_t Handlers::addHandle(kj::Own<FileHandle> handle) {
  auto& reference = *handle;
  fileHandles.add(reference);
  reference.self = kj::mv(handle);
  return reinterpret_cast<uint64_t>(&reference);
}

void Handlers::dropHandle(FileHandle& handle) {
  fileHandles.remove(handle);
  auto drop = kj::mv(handle.self);
}

}  // namespace cairn::fuse
