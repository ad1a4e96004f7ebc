// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// setXattr, removeXattr: extended attributes (Linux xattr(7), setxattr(2)).
//  - user.*, trusted.* and security.* are kept as they come; anything else is notSupported. user.* belongs to
//  files
//    and directories only (notPermitted elsewhere).
//  - Limits of Linux: a name of 255 bytes (range), a value of 64 KiB (tooBig), all names of an inode together
//  64 KiB: we
//    count values too, up to 1 MiB an inode (noSpace), so that an inode stays cheap to remove.
//  - CREATE where it exists: exists. REPLACE or remove where it does not: noData. ctime moves.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

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

Outcome answer(Inode inode, Transaction& transaction) {
  inode.attributes.ctime = transaction.now();
  Outcome outcome;
  outcome.attributes = transaction.put(inode);
  return outcome;
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
  auto status = checkKey(*inode, key);
  if (!ok(status)) return refusal(status);
  if (value.size() > VALUE_BYTES_MAX) return refusal(Status::TOO_BIG);
  uint32_t before = 0;
  auto old = transaction.xattr(inode->id(), key);
  KJ_IF_MAYBE (it, old) {
    if (flags & CREATE) return refusal(Status::EXISTS);
    before = uint32_t(key.size() + it->size());
  } else if (flags & REPLACE) {
    return refusal(Status::NO_DATA);
  }
  uint32_t after = inode->xattrBytes - before + uint32_t(key.size() + value.size());
  if (after > INODE_BYTES_MAX) return refusal(Status::NO_SPACE);
  if (old == nullptr && inode->xattrNames + key.size() + 1 > ALL_KEYS_BYTES_MAX)
    return refusal(Status::NO_SPACE);

  if (old == nullptr) inode->xattrNames += uint32_t(key.size() + 1);
  inode->xattrBytes = after;
  transaction.putXattr(inode->id(), key, value);
  return answer(*inode, transaction);
}

Outcome removeXattr(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getRemoveXattr();
  kj::StringPtr key = request.getAttribute();
  auto inode = transaction.liveInode(InodeId(request.getFrom()));
  if (!inode.ok()) return refusal(inode.status());
  auto status = checkKey(*inode, key);
  if (!ok(status)) return refusal(status);
  auto old = transaction.xattr(inode->id(), key);
  if (old == nullptr) return refusal(Status::NO_DATA);

  inode->xattrBytes -= uint32_t(key.size() + KJ_REQUIRE_NONNULL(old).size());
  inode->xattrNames -= uint32_t(key.size() + 1);
  transaction.dropXattr(inode->id(), key);
  return answer(*inode, transaction);
}

}  // namespace cairn::ops
