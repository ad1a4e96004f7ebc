// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Requests about extended attributes. The kernel asks for ACLs whenever it checks permissions, and for
// security.capability when it runs a program: what the attributes that are known under a lease say is not
// there, nobody is asked for.
#include <kj/vector.h>
#include <string.h>

#include "fuse/handlers.h"
#include "fuse/status_errno.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {

uint8_t bitOf(kj::StringPtr name) {
  if (name == "system.posix_acl_access") return rpc::HAS_ACCESS_ACL;
  if (name == "system.posix_acl_default") return rpc::HAS_DEFAULT_ACL;
  if (name == "security.capability") return rpc::HAS_CAPABILITY;
  return rpc::HAS_XATTRS;
}

Status check(kj::StringPtr name) {
  for (kj::StringPtr prefix : {"user."_kj, "trusted."_kj, "security."_kj}) {
    if (name == prefix) return Status::INVALID;
    if (name.startsWith(prefix)) return Status::OK;
  }
  return name.startsWith("system.posix_acl_") ? Status::OK : Status::NOT_SUPPORTED;
}

}  // namespace

bool Handlers::knowsNone(InodeId inode, uint8_t extended) const {
  KJ_IF_MAYBE (has, filesystem.knownExtended(inode)) return (*has & extended) == 0;
  return false;
}

Async<void> Handlers::getXattr(Request request, InodeId inode, kj::String name, size_t size) {
  if (auto refusal = check(name); refusal != Status::OK) {
    request.status(refusal);
    co_return;
  }
  if (knowsNone(inode, bitOf(name))) {
    request.status(Status::NO_DATA);
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

Async<void> Handlers::setXattr(Request request, InodeId inode, kj::String name, kj::Array<kj::byte> value,
                               uint32_t flags) {
  if (auto refusal = check(name); refusal != Status::OK) {
    request.status(refusal);
    co_return;
  }
  bool dropsSetgid = name == "system.posix_acl_access" && request.caller().uid != 0;
  auto groups = dropsSetgid ? request.groups() : std::set<gid_t>();
  auto status = co_await filesystem.setXattr(inode, name, value, flags);
  if (status == Status::OK && dropsSetgid) status = co_await dropSetgid(inode, kj::mv(groups));
  request.status(status);
}

Async<Status> Handlers::dropSetgid(InodeId inode, std::set<gid_t> groups) {
  // Linux posix_acl_update_mode: who is not in the group of a file leaves it no setgid.
  // (FUSE_SETXATTR_ACL_KILL_SGID says the same, in an extension that libfuse does not know.)
  auto attributes = co_await filesystem.getAttributes(inode);
  if (!attributes.ok()) co_return attributes.status();
  if ((attributes->mode & S_ISGID) == 0 || groups.count(attributes->gid) > 0) co_return Status::OK;
  AttributeChange change;
  change.mode = uint16_t(attributes->mode & ~S_ISGID);
  auto changed = co_await filesystem.setAttributes(inode, kj::mv(change));
  co_return changed.status();
}

Async<void> Handlers::listXattr(Request request, InodeId inode, size_t size) {
  if (knowsNone(inode, rpc::HAS_XATTRS)) {
    if (size == 0) {
      request.xattrSize(0);
    } else {
      request.bytes(nullptr);
    }
    co_return;
  }
  bool privileged = request.caller().uid == 0;
  auto names = co_await filesystem.listXattr(inode);
  if (!names.ok()) {
    request.status(names.status());
    co_return;
  }
  kj::Vector<kj::byte> list;
  for (auto& name : names.value()) {
    if (!privileged && name.startsWith("trusted.")) continue;  // xattr(7): for CAP_SYS_ADMIN
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

Async<void> Handlers::removeXattr(Request request, InodeId inode, kj::String name) {
  if (auto refusal = check(name); refusal != Status::OK) {
    request.status(refusal);
    co_return;
  }
  request.status(co_await filesystem.removeXattr(inode, name));
}

}  // namespace cairn::fuse
