// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Access control lists: their bytes, and how they and the mode follow each other.
#include "metaserver/posix_acl.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

struct One {
  uint16_t tag, permissions;
  uint32_t id = 0xffffffff;
};

std::string bytesOf(std::initializer_list<One> entries, uint32_t version = 2) {
  std::string bytes;
  auto add = [&](uint32_t number, size_t size) {
    for (size_t i = 0; i < size; ++i) bytes += char(number >> (8 * i));
  };
  add(version, 4);
  for (auto& entry : entries) add(entry.tag, 2), add(entry.permissions, 2), add(entry.id, 4);
  return bytes;
}

const auto PLAIN = bytesOf({{1, 6}, {4, 4}, {32, 4}});
const auto NAMED = bytesOf({{1, 7}, {2, 6, 1000}, {4, 5}, {16, 7}, {32, 0}});

TEST(PosixAcl, BytesComeBackAsTheyWere) {
  auto acl = PosixAcl::decode(NAMED);
  ASSERT_TRUE(acl.ok());
  EXPECT_EQ(acl->encode(), NAMED);
  EXPECT_FALSE(acl->isMode());
  EXPECT_EQ(acl->permissions(), 0770) << "the group's bits are the mask's";
  EXPECT_TRUE(PosixAcl::decode(PLAIN)->isMode());
  EXPECT_EQ(PosixAcl::decode(PLAIN)->permissions(), 0644);
  EXPECT_TRUE(PosixAcl::decode(bytesOf({}))->isEmpty());
}

TEST(PosixAcl, WhatIsNoAclIsRefused) {
  EXPECT_EQ(PosixAcl::decode("").status(), rpc::Status::INVALID);
  EXPECT_EQ(PosixAcl::decode(PLAIN.substr(0, PLAIN.size() - 1)).status(), rpc::Status::INVALID);
  EXPECT_EQ(PosixAcl::decode(bytesOf({{1, 6}, {4, 4}, {32, 4}}, 3)).status(), rpc::Status::NOT_SUPPORTED);
  for (auto& bad :
       {bytesOf({{1, 6}, {4, 4}}), bytesOf({{1, 6}, {1, 6}, {4, 4}, {32, 4}}),
        bytesOf({{4, 4}, {1, 6}, {32, 4}}), bytesOf({{1, 8}, {4, 4}, {32, 4}}),
        bytesOf({{1, 6}, {2, 6, 5}, {4, 4}, {32, 4}}), bytesOf({{1, 6}, {2, 6}, {4, 4}, {16, 7}, {32, 4}}),
        bytesOf({{1, 6}, {4, 4}, {32, 4}, {64, 1}})}) {
    EXPECT_EQ(PosixAcl::decode(bad).status(), rpc::Status::INVALID);
  }
}

TEST(PosixAcl, ChmodSetsOwnerMaskAndOthers) {
  auto acl = PosixAcl::decode(NAMED);
  acl->setPermissions(0640);
  EXPECT_EQ(acl->encode(), bytesOf({{1, 6}, {2, 6, 1000}, {4, 5}, {16, 4}, {32, 0}}));
}

TEST(PosixAcl, WhatIsMadeGetsWhatBothAllow) {
  auto acl = PosixAcl::decode(NAMED);
  uint16_t mode = 02666;
  acl->inherit(mode);
  EXPECT_EQ(mode, 02660);
  EXPECT_EQ(acl->encode(), bytesOf({{1, 6}, {2, 6, 1000}, {4, 5}, {16, 6}, {32, 0}}));
  auto plain = PosixAcl::decode(PLAIN);
  mode = 0777;
  plain->inherit(mode);
  EXPECT_EQ(mode, 0644);
}

}  // namespace
}  // namespace cairn
