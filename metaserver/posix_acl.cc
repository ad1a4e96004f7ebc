// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The attribute's value: version (4 bytes little-endian, 2), then for each entry tag (2), permissions (2), id
// (4; -1 where the tag says it all), ordered by tag: linux/posix_acl_xattr.h.
#include "metaserver/posix_acl.h"

namespace cairn {

namespace {

constexpr uint32_t VERSION = 2, NO_ID = 0xffffffff;
constexpr size_t HEADER_SIZE = 4, ENTRY_SIZE = 8;
constexpr uint16_t RWX = 7;

uint32_t numberAt(std::string_view bytes, size_t at, size_t size) {
  uint32_t number = 0;
  for (size_t i = 0; i < size; ++i) number |= uint32_t(uint8_t(bytes[at + i])) << (8 * i);
  return number;
}

void append(std::string& bytes, uint32_t number, size_t size) {
  for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(number >> (8 * i));
}

}  // namespace

Result<PosixAcl> PosixAcl::decode(std::string_view bytes) {
  if (bytes.size() < HEADER_SIZE) return Status::INVALID;
  if (numberAt(bytes, 0, 4) != VERSION) return Status::NOT_SUPPORTED;
  if ((bytes.size() - HEADER_SIZE) % ENTRY_SIZE != 0) return Status::INVALID;
  PosixAcl acl;
  for (size_t at = HEADER_SIZE; at < bytes.size(); at += ENTRY_SIZE) {
    acl.entries.push_back(
        {uint16_t(numberAt(bytes, at, 2)), uint16_t(numberAt(bytes, at + 2, 2)), numberAt(bytes, at + 4, 4)});
  }
  auto status = acl.check();
  if (!ok(status)) return status;
  return acl;
}

std::string PosixAcl::encode() const {
  std::string bytes;
  append(bytes, VERSION, 4);
  for (auto& entry : entries) {
    append(bytes, entry.tag, 2);
    append(bytes, entry.permissions, 2);
    append(bytes, entry.id, 4);
  }
  return bytes;
}

Status PosixAcl::check() const {
  // One of owner, group and others each, users and groups at their places, and a mask when there are any of
  // those.
  if (entries.empty()) return Status::OK;
  unsigned owners = 0, groups = 0, others = 0, masks = 0, named = 0;
  uint16_t last = 0;
  for (auto& entry : entries) {
    if (entry.tag < last || (entry.permissions & ~RWX) != 0) return Status::INVALID;
    last = entry.tag;
    switch (entry.tag) {
      case USER_OBJECT:
        ++owners;
        break;
      case GROUP_OBJECT:
        ++groups;
        break;
      case USER:
      case GROUP:
        if (entry.id == NO_ID) return Status::INVALID;
        ++named;
        break;
      case MASK:
        ++masks;
        break;
      case OTHER:
        ++others;
        break;
      default:
        return Status::INVALID;
    }
  }
  bool sound = owners == 1 && groups == 1 && others == 1 && masks <= 1 && (named == 0 || masks == 1);
  return sound ? Status::OK : Status::INVALID;
}

PosixAcl::Entry* PosixAcl::find(Tag tag) {
  for (auto& entry : entries) {
    if (entry.tag == tag) return &entry;
  }
  return nullptr;
}

PosixAcl::Entry& PosixAcl::groupClass() {
  auto mask = find(MASK);
  return mask != nullptr ? *mask : *find(GROUP_OBJECT);
}

bool PosixAcl::isMode() const {
  return entries.size() <= 3;  // check() has seen that these are owner, group and others
}

uint16_t PosixAcl::permissions() const {
  if (isEmpty()) return 0;
  auto group = const_cast<PosixAcl*>(this)->groupClass().permissions;
  return uint16_t(find(USER_OBJECT)->permissions << 6 | group << 3 | find(OTHER)->permissions);
}

void PosixAcl::setPermissions(uint16_t mode) {
  if (isEmpty()) return;
  find(USER_OBJECT)->permissions = mode >> 6 & RWX;
  groupClass().permissions = mode >> 3 & RWX;
  find(OTHER)->permissions = mode & RWX;
}

void PosixAcl::inherit(uint16_t& mode) {
  if (isEmpty()) return;
  setPermissions(permissions() & mode);
  mode = uint16_t((mode & ~0777) | permissions());
}

}  // namespace cairn
