// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Requests about extended attributes. Capabilities and ACLs are not stored (yet), and the kernel is told so
// without asking the metaserver: it asks for security.capability before writes and executions.
#include <kj/vector.h>
#include <string.h>

#include "fuse/handler_parts.h"
#include "fuse/status_errno.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {

enum class Namespace { STORED, SECURITY, UNKNOWN };

Namespace namespaceOf(kj::StringPtr name) {
  if (name.startsWith("user.") || name.startsWith("trusted.")) return Namespace::STORED;
  if (name.startsWith("security.")) return Namespace::SECURITY;
  return Namespace::UNKNOWN;  // system.posix_acl_access and others
}

}  // namespace

kj::Promise<void> Handlers::getXattr(Request request, InodeId inode, kj::String name, size_t size) {
  auto space = namespaceOf(name);
  if (space != Namespace::STORED) {
    request.status(space == Namespace::SECURITY ? Status::NO_DATA : Status::NOT_SUPPORTED);
    co_return;
  }
  auto value = co_await filesystem.getXattr(inode, name);
  if (!value.ok()) {
    request.status(value.status());
  } else if (size == 0) {
    request.xattrSize(value->size());
  } else if (value->size() > size) {
    request.status(Status::RANGE);
  } else {
    request.bytes(value.value());
  }
}

kj::Promise<void> Handlers::setXattr(Request request, InodeId inode, kj::String name,
                                     kj::Array<kj::byte> value, uint32_t flags) {
  if (namespaceOf(name) != Namespace::STORED) {
    request.status(Status::NOT_SUPPORTED);
    co_return;
  }
  LocalChange change(inodes, inode);
  request.status(co_await filesystem.setXattr(inode, name, value, flags));
}

kj::Promise<void> Handlers::listXattr(Request request, InodeId inode, size_t size) {
  auto names = co_await filesystem.listXattr(inode);
  if (!names.ok()) {
    request.status(names.status());
    co_return;
  }
  kj::Vector<kj::byte> list;
  for (auto& name : names.value()) {
    list.addAll(name.asBytes());
    list.add(0);
  }
  if (size == 0) {
    request.xattrSize(list.size());
  } else if (list.size() > size) {
    request.status(Status::RANGE);
  } else {
    request.bytes(list);
  }
}

kj::Promise<void> Handlers::removeXattr(Request request, InodeId inode, kj::String name) {
  if (namespaceOf(name) != Namespace::STORED) {
    request.status(namespaceOf(name) == Namespace::SECURITY ? Status::NO_DATA : Status::NOT_SUPPORTED);
    co_return;
  }
  LocalChange change(inodes, inode);
  request.status(co_await filesystem.removeXattr(inode, name));
}

}  // namespace cairn::fuse
