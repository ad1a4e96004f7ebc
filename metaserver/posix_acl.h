// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// POSIX access control lists (acl(5), POSIX 1003.1e draft 17) as Linux keeps them in the extended attributes
// system.posix_acl_access and system.posix_acl_default. The kernel checks permissions with them; what is done
// here is what keeps them and the permission bits of the mode in step: when one is set, on chmod, and on what
// is made in a directory. Pure. Called by metaserver/ops/ only.
#pragma once

#include <kj/array.h>
#include <kj/common.h>

#include <string>
#include <string_view>
#include <vector>

#include "rpc/result.h"

namespace cairn {

constexpr kj::StringPtr ACCESS_ACL = "system.posix_acl_access"_kj;
constexpr kj::StringPtr DEFAULT_ACL = "system.posix_acl_default"_kj;

class PosixAcl {
 public:
  static Result<PosixAcl> decode(std::string_view bytes);
  // NOT_SUPPORTED: another version. INVALID: not an ACL, or not one that says something about everybody. No
  // entries: none.
  std::string encode() const;

  bool isEmpty() const { return entries.empty(); }
  bool isMode() const;  // says no more than permission bits do
  uint16_t permissions()
      const;  // the bits that stat(2) shows: the group's are those of the mask, if there is one
  void setPermissions(uint16_t mode);  // chmod(2)

  void inherit(uint16_t& mode);
  // This is a directory's default ACL, and something is made there with `mode`: becomes its access ACL, and
  // `mode` what both allow.

 private:
  enum Tag : uint16_t { USER_OBJECT = 1, USER = 2, GROUP_OBJECT = 4, GROUP = 8, MASK = 16, OTHER = 32 };
  struct Entry {
    uint16_t tag, permissions;
    uint32_t id;
  };
  std::vector<Entry> entries;

  Status check() const;
  Entry* find(Tag tag);
  const Entry* find(Tag tag) const { return const_cast<PosixAcl*>(this)->find(tag); }
  Entry& groupClass();
};

}  // namespace cairn
