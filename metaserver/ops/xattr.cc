// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// setXattr, removeXattr: extended attributes (Linux xattr(7), setxattr(2)).
//  - user.*, trusted.* and security.* are kept as they come. user.* belongs to files and directories only
//  (notPermitted
//    elsewhere).
//  - The two POSIX ACLs are checked (invalid), belong to anything but symlinks (notSupported), the default
//  one to
//    directories (accessDenied elsewhere, as Linux). The access ACL sets the permission bits of the mode; one
//    that says no more than they do is not kept, and an empty one removes what there is. Removing an ACL that
//    is not there is fine, and changes nothing.
//  - Anything else is notSupported.
//  - Limits of Linux: a name of 255 bytes (range), a value of 64 KiB (tooBig), all names of an inode together
//  64 KiB: we
//    count values too, up to 1 MiB an inode (noSpace), so that an inode stays cheap to remove.
//  - CREATE where it exists: exists. REPLACE or remove where it does not: noData. ctime moves, but
//    not when the value was the same.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"
#include "metaserver/posix_acl.h"

namespace cairn::ops {

namespace {

constexpr uint32_t CREATE = 1, REPLACE = 2;
constexpr size_t KEY_BYTES_MAX = 255, VALUE_BYTES_MAX = 64 << 10, ALL_KEYS_BYTES_MAX = 64 << 10;
constexpr uint32_t INODE_BYTES_MAX = 1 << 20;

Status checkKey(const Inode& inode, kj::StringPtr key) {
  if (key.size() > KEY_BYTES_MAX) return Status::RANGE;
  if (memchr(key.begin(), '\0', key.size()) != nullptr) return Status::INVALID;
  for (kj::StringPtr prefix : {"user."_kj, "trusted."_kj, "security."_kj}) {
    if (!key.startsWith(prefix)) continue;
    if (key.size() == prefix.size()) return Status::INVALID;
    bool plain = inode.attributes.isRegular() || inode.attributes.isDirectory();
    return prefix == "user." && !plain ? Status::NOT_PERMITTED : Status::OK;
  }
  return Status::NOT_SUPPORTED;
}

std::string_view viewOf(kj::ArrayPtr<const kj::byte> bytes) {
  return {bytes.asChars().begin(), bytes.size()};
}

bool isAcl(kj::StringPtr key) {
  return key == ACCESS_ACL || key == DEFAULT_ACL;
}

Outcome answer(Inode inode, Transaction& transaction) {
  inode.attributes.ctime = transaction.now();
  Outcome outcome;
  outcome.attributes = transaction.put(inode);
  return outcome;
}

Outcome unchanged(const Inode& inode) {
  Outcome outcome;
  outcome.attributes = inode.attributes;
  return outcome;
}

Outcome setAcl(Inode inode, kj::StringPtr key, kj::ArrayPtr<const kj::byte> value, Transaction& transaction) {
  if (inode.attributes.type == FileType::SYMLINK) return refusal(Status::NOT_SUPPORTED);
  PosixAcl acl;
  if (value.size() > 0) {
    auto decoded = PosixAcl::decode({value.asChars().begin(), value.size()});
    if (!decoded.ok()) return refusal(decoded.status());
    acl = kj::mv(*decoded);
  }
  if (key == DEFAULT_ACL && !inode.attributes.isDirectory() && !acl.isEmpty())
    return refusal(Status::ACCESS_DENIED);
  if (inode.xattrBytes + key.size() + value.size() > INODE_BYTES_MAX) return refusal(Status::NO_SPACE);

  auto mode = inode.attributes.mode;
  if (key == ACCESS_ACL && !acl.isEmpty()) mode = uint16_t((mode & ~0777) | acl.permissions());
  bool isKept = !acl.isEmpty() && !(key == ACCESS_ACL && acl.isMode());
  auto encoded = acl.encode();
  auto bytes = kj::arrayPtr(encoded.data(), encoded.size()).asBytes();
  auto before = transaction.xattr(inode.id(), key);
  bool isSame = !isKept && before == nullptr;
  KJ_IF_MAYBE (it, before) isSame = isKept && *it == encoded;
  if (isSame && mode == inode.attributes.mode) return unchanged(inode);

  inode.attributes.mode = mode;
  if (isKept) {
    keepXattr(inode, key, bytes, transaction);
  } else {
    removeXattr(inode, key, transaction);
  }
  return answer(inode, transaction);
}

}  // namespace

Outcome setXattr(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getSetXattr();
  kj::StringPtr key = request.getKey();
  auto value = request.getValue();
  uint32_t flags = request.getFlags();
  auto inode = transaction.liveInode(InodeId(request.getOwner()));
  if (!inode.ok()) return refusal(inode.status());
  if ((flags & ~(CREATE | REPLACE)) != 0 || flags == (CREATE | REPLACE)) return refusal(Status::INVALID);
  if (isAcl(key)) return setAcl(*inode, key, value, transaction);
  auto status = checkKey(*inode, key);
  if (!ok(status)) return refusal(status);
  if (value.size() > VALUE_BYTES_MAX) return refusal(Status::TOO_BIG);
  uint32_t before = 0;
  auto old = transaction.xattr(inode->id(), key);
  KJ_IF_MAYBE (it, old) {
    if (flags & CREATE) return refusal(Status::EXISTS);
    if (*it == viewOf(value)) return unchanged(*inode);
    before = uint32_t(key.size() + it->size());
  } else if (flags & REPLACE) {
    return refusal(Status::NO_DATA);
  }
  uint32_t after = inode->xattrBytes - before + uint32_t(key.size() + value.size());
  if (after > INODE_BYTES_MAX) return refusal(Status::NO_SPACE);
  if (old == nullptr && inode->xattrNames + key.size() + 1 > ALL_KEYS_BYTES_MAX)
    return refusal(Status::NO_SPACE);

  keepXattr(*inode, key, value, transaction);
  return answer(*inode, transaction);
}

Outcome removeXattr(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getRemoveXattr();
  kj::StringPtr key = request.getAttribute();
  auto inode = transaction.liveInode(InodeId(request.getFrom()));
  if (!inode.ok()) return refusal(inode.status());
  if (isAcl(key)) return setAcl(*inode, key, nullptr, transaction);
  auto status = checkKey(*inode, key);
  if (!ok(status)) return refusal(status);
  if (transaction.xattr(inode->id(), key) == nullptr) return refusal(Status::NO_DATA);

  removeXattr(*inode, key, transaction);
  return answer(*inode, transaction);
}

}  // namespace cairn::ops
