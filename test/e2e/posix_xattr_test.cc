// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Extended attributes and access control lists.
#include <linux/capability.h>
#include <linux/limits.h>
#include <sys/xattr.h>

#include <set>

#include "test/e2e/posix_fixture.h"

namespace cairn::e2e {
namespace {

class XattrRules : public PosixRules {
 protected:
  int set(const std::string& name, const char* key, const std::string& value, int flags = 0) {
    return errnoOf(::lsetxattr(c(name), key, value.data(), value.size(), flags));
  }
  std::string get(const std::string& name, const char* key) {
    std::string value(70000, '\0');
    auto size = ::lgetxattr(c(name), key, value.data(), value.size());
    return size < 0 ? "errno " + std::to_string(errno) : value.substr(0, size_t(size));
  }
  std::string absent() { return "errno " + std::to_string(ENODATA); }
  std::set<std::string> list(const std::string& name) {
    std::string names(70000, '\0');
    auto size = ::llistxattr(c(name), names.data(), names.size());
    EXPECT_GE(size, 0) << strerror(errno);
    std::set<std::string> all;
    for (ssize_t at = 0; at < size; at += ssize_t(strlen(names.data() + at)) + 1)
      all.insert(names.data() + at);
    return all;
  }

  struct Entry {
    uint16_t tag, permissions;
    uint32_t id = 0xffffffff;
  };
  static constexpr uint16_t OWNER = 1, USER = 2, GROUP_OWNER = 4, GROUP = 8, MASK = 16, OTHER = 32;
  static std::string acl(std::vector<Entry> entries) {
    std::string bytes("\2\0\0\0", 4);
    for (auto& entry : entries) bytes.append(reinterpret_cast<const char*>(&entry), 8);
    return bytes;
  }
  int setAcl(const std::string& name, std::vector<Entry> entries) {
    return set(name, "system.posix_acl_access", acl(entries));
  }
  int setDefault(const std::string& name, std::vector<Entry> entries) {
    return set(name, "system.posix_acl_default", acl(entries));
  }
};
using Xattrs = XattrRules;
INSTANTIATE_TEST_SUITE_P(On, Xattrs, testing::Values(Where::LOCAL_DISK, Where::CAIRN), PosixRules::nameOf);

TEST_P(Xattrs, AreSetReadListedAndRemoved) {
  ASSERT_EQ(make("f"), 0);
  EXPECT_EQ(set("f", "user.one", "1", XATTR_CREATE), 0);
  EXPECT_EQ(set("f", "user.one", "2", XATTR_CREATE), EEXIST);
  EXPECT_EQ(set("f", "user.two", "2", XATTR_REPLACE), ENODATA);
  EXPECT_EQ(set("f", "user.two", ""), 0);
  EXPECT_EQ(set("f", "trusted.three", std::string(1000, '3')), 0);
  EXPECT_EQ(set("f", "security.four", "4"), 0);
  EXPECT_EQ(get("f", "user.one") + get("f", "user.two"), "1");
  EXPECT_EQ(get("f", "trusted.three").size(), 1000u);
  EXPECT_EQ(list("f"), (std::set<std::string>{"user.one", "user.two", "trusted.three", "security.four"}));
  EXPECT_EQ(errnoOf(::removexattr(c("f"), "user.one")), 0);
  EXPECT_EQ(errnoOf(::removexattr(c("f"), "user.one")), ENODATA);
  EXPECT_EQ(get("f", "user.one"), absent());
  EXPECT_EQ(set("f", "other.x", "1"), EOPNOTSUPP);
  EXPECT_EQ(set("f", "user.", "1"), EINVAL);
  char small[2];
  EXPECT_EQ(errnoOf(::getxattr(c("f"), "trusted.three", small, 2)), ERANGE);
  EXPECT_EQ(errnoOf(::listxattr(c("f"), small, 2)), ERANGE);
  EXPECT_EQ(::getxattr(c("f"), "trusted.three", nullptr, 0), 1000);
}

TEST_P(Xattrs, LimitsAreThoseOfLinux) {
  ASSERT_EQ(make("f"), 0);
  EXPECT_EQ(set("f", ("user." + std::string(251, 'n')).c_str(), "x"), ERANGE);
  EXPECT_EQ(set("f", ("user." + std::string(250, 'n')).c_str(), "x"), 0);
  EXPECT_EQ(set("f", "user.big", std::string(XATTR_SIZE_MAX + 1, 'x')), E2BIG);
  if (!onCairn()) return;  // ext4 keeps them in one block
  EXPECT_EQ(set("f", "user.big", std::string(XATTR_SIZE_MAX, 'x')), 0);
  EXPECT_EQ(get("f", "user.big").size(), size_t(XATTR_SIZE_MAX));
}

TEST_P(Xattrs, BelongToKindsAndUsersAsLinuxSays) {
  ASSERT_EQ(make("f"), 0);
  ASSERT_EQ(::symlink("f", c("s")), 0);
  ASSERT_EQ(::mkfifo(c("p"), 0666), 0);
  EXPECT_EQ(set("s", "user.x", "1"), EPERM);
  EXPECT_EQ(set("p", "user.x", "1"), EPERM);
  EXPECT_EQ(set("s", "trusted.x", "1"), 0);
  EXPECT_EQ(set("f", "trusted.x", "1"), 0);
  EXPECT_EQ(set("f", "user.x", "1"), 0);
  EXPECT_EQ(as(BOB, [&]() { return set("f", "user.y", "1"); }), EACCES);
  EXPECT_EQ(as(BOB, [&]() { return set("f", "trusted.y", "1"); }), EPERM);
  EXPECT_EQ(as(BOB, [&]() { return get("f", "user.x") == "1" ? 0 : 1; }), 0);
  EXPECT_EQ(as(BOB, [&]() { return get("f", "trusted.x") == absent() ? 0 : 1; }), 0);
  EXPECT_EQ(as(BOB, [&]() { return list("f") == std::set<std::string>{"user.x"} ? 0 : 1; }), 0)
      << "trusted ones are not shown";
}

TEST_P(Xattrs, SurviveRenamesAndLinksAndGoWithTheFile) {
  ASSERT_EQ(make("f"), 0);
  ASSERT_EQ(set("f", "user.x", "1"), 0);
  ASSERT_EQ(::rename(c("f"), c("g")), 0);
  ASSERT_EQ(::link(c("g"), c("h")), 0);
  EXPECT_EQ(get("h", "user.x"), "1");
  ASSERT_EQ(::unlink(c("g")), 0);
  ASSERT_EQ(::unlink(c("h")), 0);
  ASSERT_EQ(make("g"), 0);
  EXPECT_EQ(get("g", "user.x"), absent());
}

TEST_P(Xattrs, CapabilitiesAreKeptAndLostWithWrites) {
  ASSERT_EQ(make("f", "#!/bin/true", 0755), 0);
  struct vfs_cap_data capability = {};
  capability.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  capability.data[0].permitted = 1 << CAP_NET_RAW;
  std::string bytes(reinterpret_cast<char*>(&capability), sizeof capability);
  ASSERT_EQ(set("f", "security.capability", bytes), 0);
  EXPECT_EQ(get("f", "security.capability").size(), bytes.size());
  int fd = ::open(c("f"), O_WRONLY);
  ASSERT_EQ(::write(fd, "x", 1), 1);
  ::close(fd);
  EXPECT_EQ(get("f", "security.capability"), absent()) << "who changes a program takes its privileges";
  ASSERT_EQ(set("f", "security.capability", bytes), 0);
  ASSERT_EQ(::chown(c("f"), 1, 1), 0);
  EXPECT_EQ(get("f", "security.capability"), absent());
  ASSERT_EQ(set("f", "security.capability", bytes), 0);
  ASSERT_EQ(::truncate(c("f"), 3), 0);
  EXPECT_EQ(get("f", "security.capability"), absent());
  ASSERT_EQ(set("f", "security.capability", bytes), 0);
  ASSERT_EQ(::chown(c("f"), -1, -1), 0);
  EXPECT_EQ(get("f", "security.capability"), absent());
  ASSERT_EQ(set("f", "security.capability", bytes), 0);
  fd = ::open(c("f"), O_WRONLY);
  ASSERT_EQ(errnoOf(::fallocate(fd, 0, 0, 100)), 0);
  ::close(fd);
  EXPECT_EQ(get("f", "security.capability"), absent());
}

TEST_P(Xattrs, AnAclGrantsAndTheMaskTakesBack) {
  ASSERT_EQ(make("f", "x", 0600), 0);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_RDWR)); }), EACCES);
  ASSERT_EQ(setAcl("f", {{OWNER, 6}, {USER, 6, BOB.uid}, {GROUP_OWNER, 0}, {MASK, 6}, {OTHER, 0}}), 0);
  EXPECT_EQ(modeOf("f"), 0660u) << "the group's bits show the mask";
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_RDWR)); }), 0);
  EXPECT_EQ(as(ALICE, [&]() { return closing(::open(c("f"), O_RDONLY)); }), EACCES);
  ASSERT_EQ(::chmod(c("f"), 0640), 0);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_RDWR)); }), EACCES)
      << "chmod of the group is of the mask";
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_RDONLY)); }), 0);
  EXPECT_EQ(get("f", "system.posix_acl_access"),
            acl({{OWNER, 6}, {USER, 6, BOB.uid}, {GROUP_OWNER, 0}, {MASK, 4}, {OTHER, 0}}));
  ASSERT_EQ(setAcl("f", {{OWNER, 6}, {GROUP_OWNER, 0}, {GROUP, 6, SHARED_GROUP}, {MASK, 7}, {OTHER, 0}}), 0);
  EXPECT_EQ(as(ALICE, [&]() { return closing(::open(c("f"), O_RDWR)); }), 0) << "by a supplementary group";
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_RDONLY)); }), EACCES);
  ASSERT_EQ(errnoOf(::removexattr(c("f"), "system.posix_acl_access")), 0);
  EXPECT_EQ(as(ALICE, [&]() { return closing(::open(c("f"), O_RDWR)); }), EACCES);
  auto changed = statOf("f").st_ctim;
  letTimePass();
  ASSERT_EQ(errnoOf(::removexattr(c("f"), "system.posix_acl_access")), 0) << "there is none any more";
  ASSERT_EQ(setAcl("f", {}), 0);
  EXPECT_TRUE(same(statOf("f").st_ctim, changed));
}

TEST_P(Xattrs, AWhiteoutInheritsAnAclAsAnyNewNode) {
  ASSERT_EQ(makeDirectory("d"), 0);
  ASSERT_EQ(setDefault("d", {{OWNER, 7}, {USER, 6, BOB.uid}, {GROUP_OWNER, 5}, {MASK, 7}, {OTHER, 0}}), 0);
  ASSERT_EQ(make("d/f"), 0);
  ASSERT_EQ(errnoOf(::renameat2(AT_FDCWD, c("d/f"), AT_FDCWD, c("d/g"), RENAME_WHITEOUT)), 0);
  EXPECT_EQ(modeOf("d/f"), 0u);
  EXPECT_EQ(get("d/f", "system.posix_acl_access"),
            acl({{OWNER, 0}, {USER, 6, BOB.uid}, {GROUP_OWNER, 5}, {MASK, 0}, {OTHER, 0}}));
}

TEST_P(Xattrs, WhatIsSetToTheSameValueDoesNotChange) {
  ASSERT_EQ(makeDirectory("d", 0750), 0);
  ASSERT_EQ(set("d", "user.x", "value"), 0);
  std::vector<Entry> list = {{OWNER, 7}, {USER, 6, BOB.uid}, {GROUP_OWNER, 5}, {MASK, 7}, {OTHER, 0}};
  for (auto name : {"system.posix_acl_access", "system.posix_acl_default"})
    ASSERT_EQ(set("d", name, acl(list)), 0);
  auto changed = statOf("d").st_ctim;
  letTimePass();
  ASSERT_EQ(set("d", "user.x", "value"), 0);
  for (auto name : {"system.posix_acl_access", "system.posix_acl_default"})
    ASSERT_EQ(set("d", name, acl(list)), 0);
  EXPECT_TRUE(same(statOf("d").st_ctim, changed));
  ASSERT_EQ(set("d", "user.x", "other"), 0);
  EXPECT_TRUE(before(changed, statOf("d").st_ctim));
}

TEST_P(Xattrs, AnAclThatSaysNoMoreThanTheModeIsTheMode) {
  ASSERT_EQ(make("f", "x", 0600), 0);
  ASSERT_EQ(setAcl("f", {{OWNER, 6}, {GROUP_OWNER, 4}, {OTHER, 4}}), 0);
  EXPECT_EQ(modeOf("f"), 0644u);
  EXPECT_EQ(get("f", "system.posix_acl_access"), absent());
  EXPECT_TRUE(list("f").empty());
}

TEST_P(Xattrs, ADefaultAclIsInherited) {
  ASSERT_EQ(makeDirectory("d", 0755), 0);
  ASSERT_EQ(setDefault("d", {{OWNER, 7}, {USER, 7, BOB.uid}, {GROUP_OWNER, 5}, {MASK, 7}, {OTHER, 0}}), 0);
  EXPECT_EQ(modeOf("d"), 0755u);
  ::umask(077);
  ASSERT_EQ(closing(::open(c("d/f"), O_CREAT | O_WRONLY, 0666)), 0);
  ASSERT_EQ(::mkdir(c("d/e"), 0777), 0);
  ASSERT_EQ(::mkfifo(c("d/p"), 0666), 0);
  ::umask(0);
  EXPECT_EQ(modeOf("d/f"), 0660u) << "in place of the umask";
  EXPECT_EQ(modeOf("d/e"), 0770u);
  EXPECT_EQ(modeOf("d/p"), 0660u);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("d/f"), O_RDWR)); }), 0);
  EXPECT_EQ(as(ALICE, [&]() { return closing(::open(c("d/f"), O_RDONLY)); }), EACCES);
  EXPECT_EQ(get("d/e", "system.posix_acl_default"), get("d", "system.posix_acl_default"));
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("d/e/g"), O_CREAT | O_WRONLY, 0600)); }), 0);
  EXPECT_EQ(get("d/f", "system.posix_acl_default"), absent());
  ASSERT_EQ(errnoOf(::removexattr(c("d"), "system.posix_acl_default")), 0);
  ASSERT_EQ(make("d/plain", "", 0644), 0);
  EXPECT_EQ(get("d/plain", "system.posix_acl_access"), absent());
}

TEST_P(Xattrs, AclsAreRefusedWhereTheyDoNotBelong) {
  ASSERT_EQ(make("f"), 0);
  ASSERT_EQ(::symlink("f", c("s")), 0);
  std::vector<Entry> plain = {{OWNER, 6}, {USER, 6, BOB.uid}, {GROUP_OWNER, 0}, {MASK, 6}, {OTHER, 0}};
  EXPECT_EQ(setDefault("f", plain), EACCES);
  EXPECT_EQ(setAcl("s", plain), EOPNOTSUPP);
  EXPECT_EQ(setAcl("f", {{OWNER, 6}, {USER, 6, BOB.uid}, {GROUP_OWNER, 0}, {OTHER, 0}}), EINVAL) << "no mask";
  EXPECT_EQ(set("f", "system.posix_acl_access", "junk"), EOPNOTSUPP) << "not the version that there is";
  EXPECT_EQ(set("f", "system.posix_acl_access", std::string("\2\0\0\0junk", 8)), EINVAL);
  EXPECT_EQ(as(BOB, [&]() { return setAcl("f", plain); }), EPERM);
  ASSERT_EQ(::chown(c("f"), BOB.uid, SHARED_GROUP), 0);
  ASSERT_EQ(::chmod(c("f"), 02755), 0);
  EXPECT_EQ(as(BOB, [&]() { return setAcl("f", plain); }), 0);
  EXPECT_EQ(modeOf("f") & 02000, 0u) << "set by one who is not in the group, the bit goes";
}

}  // namespace
}  // namespace cairn::e2e
