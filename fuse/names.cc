// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Requests about names. Whatever changes a name here also takes it out of directory pages that were read
// ahead, for the kernel would make it an entry again.
#include <sys/sysmacros.h>

#include "fuse/attributes.h"
#include "fuse/handlers.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

Async<void> Handlers::lookup(Request request, InodeId parent, kj::String name) {
  auto found = co_await filesystem.lookup(parent, name);
  if (found.status() == Status::NOT_FOUND) {
    fuse_entry_param nothing = {};
    nothing.entry_timeout = keptName(parent, name, InodeId());
    if (nothing.entry_timeout > 0) {
      request.entry(nothing);
      co_return;
    }
  }
  replyEntry(request, parent, name, found, Answer::TO_LOOK);
}

void Handlers::forget(InodeId inode, uint64_t lookups) {
  inodes.forget(inode, lookups);
  if (!inodes.knows(inode)) filesystem.forgotten(inode);
}

Async<void> Handlers::make(Request request, InodeId parent, kj::String name, mode_t mode, dev_t device) {
  NewNode node{.type = typeOf(mode), .mode = uint16_t(mode & 07777), .device = uint32_t(device)};
  auto made = co_await filesystem.make(parent, name, node, request.caller());
  nameChanged(parent, name);
  replyEntry(request, parent, name, made, Answer::TO_CHANGE);
}

Async<void> Handlers::symlink(Request request, InodeId parent, kj::String name, kj::String target) {
  NewNode node{.type = FileType::SYMLINK, .mode = 0777, .target = target};
  auto made = co_await filesystem.make(parent, name, node, request.caller());
  nameChanged(parent, name);
  replyEntry(request, parent, name, made, Answer::TO_CHANGE);
}

Async<void> Handlers::link(Request request, InodeId inode, InodeId parent, kj::String name) {
  auto linked = co_await filesystem.link(inode, parent, name);
  nameChanged(parent, name);
  replyEntry(request, parent, name, linked, Answer::TO_CHANGE);
}

Async<void> Handlers::unlink(Request request, InodeId parent, kj::String name) {
  auto status = co_await filesystem.unlink(parent, name, request.caller());
  nameChanged(parent, name);
  request.status(status);
}

Async<void> Handlers::rmdir(Request request, InodeId parent, kj::String name) {
  auto status = co_await filesystem.rmdir(parent, name);
  nameChanged(parent, name);
  request.status(status);
}

Async<void> Handlers::rename(Request request, InodeId parent, kj::String name, InodeId newParent,
                             kj::String newName, uint32_t flags) {
  // What the kernel keeps of a name, and for how long, goes with it to the other directory. Before the
  // metaserver has it: from then on others may change it, and the recall be here before the answer.
  inodes.namesKept(parent);
  inodes.namesKept(newParent);
  auto status = co_await filesystem.rename(parent, name, newParent, newName, flags, request.caller());
  nameChanged(parent, name);
  nameChanged(newParent, newName);
  // And if no recall will come, the kernel must not keep it.
  bool isTold = filesystem.isToldOfNames(newParent) && filesystem.isToldOfNames(parent);
  if (status == Status::OK && parent != newParent && !isTold) co_await kernel.forgetNames();
  request.status(status);
}

Async<void> Handlers::readLink(Request request, InodeId inode) {
  auto target = co_await filesystem.readLink(inode);
  if (!target.ok()) {
    request.status(target.status());
  } else {
    accessed({.inode = inode, .type = FileType::SYMLINK});
    request.link(target.value());
  }
}

void Handlers::nameChanged(InodeId parent, kj::StringPtr name) {
  for (auto& directory : directoryHandles) {
    if (directory.inode != parent || directory.state == DirectoryHandle::Page::NONE) continue;
    for (auto i = directory.next; i < directory.page.entries.size(); ++i) {
      auto& entry = directory.page.entries[i];
      if (entry.name == name) entry.attributes.inode = InodeId();  // skipped when its turn comes
    }
  }
}

}  // namespace cairn::fuse
