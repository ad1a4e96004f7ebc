// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Requests about open files and their contents.
#include <fcntl.h>

#include "fuse/attributes.h"
#include "fuse/handlers.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

bool FileHandle::mayWrite() const {
  return (flags & O_ACCMODE) != O_RDONLY;
}

Origin FileHandle::originOf(const fuse_file_info& request) const {
  if (request.writepage) return Origin::WRITEBACK;
  return appends() || (request.flags & O_DIRECT) ? Origin::PROGRAM : Origin::PAGES;
}

Async<void> Handlers::create(Request request, InodeId parent, kj::String name, mode_t mode,
                             fuse_file_info file) {
  NewNode node{.mode = uint16_t(mode & 07777)};
  auto opened =
      co_await filesystem.create(parent, name, node.mode, request.caller(), node, file.flags & O_EXCL);
  nameChanged(parent, name);
  if (!opened.ok()) {
    request.status(opened.status());
    co_return;
  }
  auto handle = kj::refcounted<FileHandle>(kj::mv(opened).value(), file.flags);
  // The name may have come into being elsewhere after the kernel looked: then it is an open of that file.
  auto attributes = handle->file->attributes();
  if (file.flags & O_TRUNC && (attributes.size > 0 || attributes.unsure)) {
    auto status = co_await truncate(request, attributes, Privileges::KILL);
    if (status != Status::OK) {
      request.status(status);
      co_return;
    }
  }
  created(request, parent, name, file, kj::mv(handle));
}

Async<void> Handlers::createTemporary(Request request, InodeId directory, mode_t mode, fuse_file_info file) {
  auto opened = co_await filesystem.createTemporary(directory, uint16_t(mode & 07777), request.caller());
  if (!opened.ok()) {
    request.status(opened.status());
    co_return;
  }
  created(request, directory, "", file, kj::refcounted<FileHandle>(kj::mv(opened).value(), file.flags));
}

void Handlers::created(Request& request, InodeId parent, kj::StringPtr name, fuse_file_info file,
                       kj::Own<FileHandle> handle) {
  decideCaching(file, *handle);
  auto& kept = *handle;
  auto inode = kept.file->inode();
  auto entry = entryOf(parent, name, kept.file->attributes(), Answer::TO_CHANGE);
  file.fh = addHandle(kj::mv(handle));
  if (request.created(entry, file) == Request::Taken::YES) {
    inodes.lookedUp(inode);
    inodes.opened(inode);
  } else {
    dropHandle(kept);
  }
}

Async<void> Handlers::open(Request request, InodeId inode, fuse_file_info file, Privileges privileges) {
  bool writes = (file.flags & O_ACCMODE) != O_RDONLY || (file.flags & O_TRUNC) != 0;
  auto opened = co_await filesystem.open(inode, writes ? Access::WRITE : Access::READ);
  if (!opened.ok()) {
    request.status(opened.status());
    co_return;
  }
  auto handle = kj::refcounted<FileHandle>(kj::mv(opened).value(), file.flags);
  if (file.flags & O_TRUNC) {
    auto status = co_await truncate(request, handle->file->attributes(), privileges);
    if (status != Status::OK) {
      request.status(status);
      co_return;
    }
  }
  decideCaching(file, *handle);
  inodes.opened(inode);
  auto& kept = *handle;
  file.fh = addHandle(kj::mv(handle));
  if (request.opened(file) == Request::Taken::NO) dropHandle(kept);
}

void Handlers::decideCaching(fuse_file_info& reply, const FileHandle& handle) {
  // Pages go with the lease that they were read under, so those that are there are good. But a read that the
  // kernel answers from them does not move the access time: when that is due, none may be there.
  bool reads = (handle.flags & O_ACCMODE) != O_WRONLY && !(handle.flags & O_NOATIME);
  reply.keep_cache = !(reads && options.accessTimes != HandlerOptions::AccessTimes::NEVER &&
                       filesystem.isAccessDue(handle.file->attributes()));
  reply.direct_io = handle.appends();
  // Nothing was written through a read-only descriptor, so its close has nothing to wait for.
  reply.noflush = !handle.mayWrite();
}

uint16_t Handlers::modeWithoutPrivileges(const Request& request, const FileAttributes& attributes) {
  bool groupDecides = (attributes.mode & S_ISGID) && !(attributes.mode & S_IXGRP);
  bool isOfGroup = !groupDecides || request.caller().uid == 0 || request.groups().count(attributes.gid) > 0;
  return withoutPrivileges(attributes.mode, isOfGroup ? OfGroup::YES : OfGroup::NO);
}

Async<Status> Handlers::truncate(const Request& request, const FileAttributes& attributes,
                                 Privileges privileges) {
  AttributeChange change;
  change.size = uint64_t(0);
  auto mode = modeWithoutPrivileges(request, attributes);
  if (privileges == Privileges::KILL && mode != attributes.mode) change.mode = mode;
  auto truncated = co_await filesystem.setAttributes(attributes.inode, kj::mv(change));
  co_return truncated.status();
}

Async<Status> Handlers::killPrivileges(InodeId inode, uint16_t mode) {
  AttributeChange change;
  change.mode = mode;
  auto changed = co_await filesystem.setAttributes(inode, kj::mv(change));
  co_return changed.status();
}

Async<Status> Handlers::losePrivileges(const Request& request, const FileHandle& handle,
                                       Privileges privileges) {
  auto inode = handle.file->inode();
  if (privileges == Privileges::KILL) {
    auto attributes = co_await filesystem.getAttributes(inode);  // another mount may have changed it
    if (!attributes.ok()) co_return attributes.status();
    auto mode = modeWithoutPrivileges(request, *attributes);
    if (mode != attributes->mode) {
      auto status = co_await killPrivileges(inode, mode);
      if (status != Status::OK) co_return status;
    }
  }
  if (!(handle.file->attributes().extended & rpc::HAS_CAPABILITY)) co_return Status::OK;
  auto status = co_await filesystem.removeXattr(inode, "security.capability");
  co_return status == Status::NO_DATA ? Status::OK : status;
}

Async<void> Handlers::read(Request request, fuse_file_info file, FileOffset offset, uint32_t size) {
  auto handle = handleOf(file);
  auto data = co_await handle->file->read(offset, size, handle->originOf(file));
  if (!data.ok()) {
    request.status(data.status());
  } else {
    if (size > 0 && !(handle->flags & O_NOATIME)) accessed(handle->file->attributes());
    request.data(data.value());
  }
}

Async<void> Handlers::write(Request request, fuse_file_info file, FileOffset offset, Bytes bytes,
                            Privileges privileges) {
  auto handle = handleOf(file);
  auto size = bytes.view.size();

  kj::Own<void> locked;  // for what may have to wait for another mount
  if (handle->originOf(file) != Origin::PROGRAM) locked = handle->file->holdPages({offset.value(), size});
  if (privileges == Privileges::KILL || handle->file->attributes().extended & rpc::HAS_CAPABILITY) {
    auto status = co_await losePrivileges(request, *handle, privileges);
    if (status != Status::OK) {
      request.status(status);
      co_return;
    }
  }
  if ((file.flags & O_APPEND) && !file.writepage) {
    co_await append(kj::mv(request), file, offset, kj::mv(bytes));
    co_return;
  }
  kj::Promise<Status> writing = handle->file->write(offset, kj::mv(bytes), handle->originOf(file));
  locked = nullptr;
  auto status = co_await writing;
  if (status == Status::OK && handle->flags & (O_SYNC | O_DSYNC)) status = co_await handle->file->sync();
  if (status != Status::OK) {
    request.status(status);
  } else {
    request.written(size);
  }
}

Async<void> Handlers::append(Request request, fuse_file_info file, FileOffset offset, Bytes bytes) {
  // At the end that is true for all mounts; `offset` is what our kernel takes for it.
  auto handle = handleOf(file);
  auto inode = handle->file->inode();
  auto size = bytes.view.size();
  // The kernel cuts what does not fit into a request, and holds the inode's lock until it has sent all
  // pieces. A piece that is cut is as large as a request may be, or as its pages are when the program's
  // memory is not aligned to them.
  auto rest = size + 4096 > TRANSFER_SIZE_MAX ? Rest::FOLLOWS : Rest::NONE;
  kj::Maybe<Filesystem::Range> locked;
  if (!handle->appends()) locked = Filesystem::Range{offset.value(), size};  // fcntl(F_SETFL) after the open
  auto landed = co_await handle->file->append(kj::mv(bytes), rest, locked);
  auto status = landed.status();
  if (status == Status::OK && handle->flags & (O_SYNC | O_DSYNC)) status = co_await handle->file->sync();
  if (status != Status::OK) {
    request.status(status);
    co_return;
  }
  auto pages = kernel.forgetPages(inode, {landed->value(), size});
  if (locked == nullptr) {
    // Other descriptors may have read the page that the end was in.
    co_await pages;
    request.written(size);
  } else {
    // Its pages are locked until we answer, and at the wrong place if another mount has moved the end.
    request.written(size);
    if (landed.value() != offset) co_await kernel.forgetPages(inode, {offset.value(), size});
    co_await pages;
  }
}

Async<void> Handlers::flush(Request request, fuse_file_info file) {
  auto handle = handleOf(file);
  co_await unlock(handle->file->inode(), LockKind::POSIX, file.lock_owner);  // POSIX: closing gives them back
  if (!handle->mayWrite()) {
    request.fail(0);
    co_return;
  }
  request.status(co_await handle->file->flush());
}

Async<void> Handlers::release(Request request, fuse_file_info file) {
  auto handle = handleOf(file);
  dropHandle(*handle);
  for (auto& [kind, owner] : handle->lockOwners) co_await unlock(handle->file->inode(), kind, owner);
  if (handle->mayWrite()) {
    // Pages of a shared mapping are written back after the last close(2): nobody hears of their errors any
    // more.
    auto status = co_await handle->file->flush();
    if (status != Status::OK) {
      log.warning("writes to inode ", handle->file->inode(), " failed after its last close (", status,
                  ") -> nobody is left to hear of it");
    }
  }
  handle = nullptr;
  request.fail(0);
}

Async<void> Handlers::sync(Request request, fuse_file_info file) {
  auto handle = handleOf(file);
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
