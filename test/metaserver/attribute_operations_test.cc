// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The operations on what an inode has: attributes, lengths, extended attributes.
#include "test/metaserver/operation_fixture.h"

namespace cairn {
namespace {

// ------------------------------------------------------------ attributes

TEST_F(OperationTest, ChownTakesSetuidAndSetgidAsLinuxDoes) {
  auto f = client->file(ROOT_INODE, "f");
  auto mode = [&](uint16_t value) {
    client->set(f, rpc::SET_MODE, [&](auto request) { request.setMode(value); });
  };
  auto chown = [&]() {
    client->set(f, rpc::SET_UID, [](auto request) { request.setUid(0); });
    return stat(f).mode;
  };
  mode(06755);
  EXPECT_EQ(chown(), 0755);
  mode(06745);
  EXPECT_EQ(chown(), 02745) << "setgid without group execute means mandatory locking: it stays";
  client->set(f, rpc::SET_UID | rpc::SET_MODE, [](auto request) {
    request.setUid(1);
    request.setMode(04711);
  });
  EXPECT_EQ(stat(f).mode, 04711) << "a mode given with it wins";
  auto d = client->directory(ROOT_INODE, "d");
  client->set(d, rpc::SET_MODE, [](auto request) { request.setMode(02755); });
  client->set(d, rpc::SET_GID, [](auto request) { request.setGid(4); });
  EXPECT_EQ(stat(d).mode, 02755);
  mode(0177777);
  EXPECT_EQ(stat(f).mode, 07777);
}

TEST_F(OperationTest, TimesAreSetAsAskedAndCtimeByTheMetaserver) {
  auto f = client->file(ROOT_INODE, "f");
  auto now = tick();
  client->set(f, rpc::SET_ATIME | rpc::SET_MTIME, [](auto request) {
    request.setAtime(-5);
    request.setMtime(7);
  });
  EXPECT_EQ(stat(f).atime, -5);
  EXPECT_EQ(stat(f).mtime, 7);
  EXPECT_EQ(stat(f).ctime, now);
  now = tick();
  client->set(f, rpc::SET_ATIME_NOW | rpc::SET_MTIME_NOW, [](auto) {});
  EXPECT_EQ(stat(f).atime, now);
  EXPECT_EQ(stat(f).mtime, now);
  auto before = stat(f);
  before.ctime = tick();
  EXPECT_TRUE(client->set(f, 0, [](auto) {}).ok());
  EXPECT_TRUE(stat(f) == before) << "a chown to nobody moves ctime";
  EXPECT_EQ(client->set(f, 1 << 20, [](auto) {}).status, Status::INVALID);
  EXPECT_EQ(client->set(client->symlink(ROOT_INODE, "l", "t"), rpc::SET_MODE, [](auto) {}).status,
            Status::NOT_SUPPORTED);
}

TEST_F(OperationTest, TruncateDropsWholeChunksAndCutsTheLastOne) {
  auto f = client->file(ROOT_INODE, "f");
  ChunkHandle chunks[4];
  for (uint64_t i = 0; i < 4; ++i) chunks[i] = world.attach(f, i);
  ASSERT_TRUE(client->publish(f, 4ull * CHUNK_SIZE).ok());
  auto version = stat(f).dataVersion;
  auto now = tick();

  auto outcome = client->truncate(f, CHUNK_SIZE + 1000);
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome.cut, chunks[1]);
  EXPECT_EQ(stat(f).size, CHUNK_SIZE + 1000);
  EXPECT_EQ(stat(f).mtime, now);
  EXPECT_GT(stat(f).dataVersion, version);
  EXPECT_EQ(world.read().chunksOf(f, ChunkIndex(0), 10).size(), 2u);
  EXPECT_EQ(KJ_REQUIRE_NONNULL(world.read().chunk(chunks[1])).validBytes, 1000u);
  EXPECT_EQ(KJ_REQUIRE_NONNULL(world.read().chunk(chunks[0])).validBytes, ALL_BYTES_VALID);
  EXPECT_EQ(world.state().garbage, 2u);

  client->truncate(f, CHUNK_SIZE + 5000);
  EXPECT_EQ(KJ_REQUIRE_NONNULL(world.read().chunk(chunks[1])).validBytes, 1000u) << "what was cut stays cut";
  EXPECT_EQ(client->truncate(f, CHUNK_SIZE).cut, ChunkHandle()) << "on the border nothing is cut";
  EXPECT_EQ(world.read().chunksOf(f, ChunkIndex(0), 10).size(), 1u);
  client->truncate(f, 0);
  EXPECT_EQ(world.state().chunks, 0u);
  EXPECT_EQ(stat(f).bytesUsed, 0u);
  client->truncate(f, 10ull << 40);
  EXPECT_EQ(stat(f).size, 10ull << 40);
  EXPECT_EQ(stat(f).bytesUsed, 0u) << "a hole costs nothing";
}

TEST_F(OperationTest, TruncateRefusesWhatHasNoSize) {
  auto f = client->file(ROOT_INODE, "f");
  EXPECT_EQ(client->truncate(ROOT_INODE, 0).status, Status::IS_DIRECTORY);
  EXPECT_EQ(client->truncate(client->symlink(ROOT_INODE, "l", "t"), 0).status, Status::INVALID);
  EXPECT_EQ(client->truncate(f, FILE_SIZE_MAX + 1).status, Status::TOO_BIG);
  EXPECT_TRUE(client->truncate(f, FILE_SIZE_MAX).ok());
}

TEST_F(OperationTest, TruncateByAUserTakesSetuidAndByRootDoesNot) {
  auto f = client->file(ROOT_INODE, "f");
  auto modeAfterTruncateBy = [&](uint32_t uid) {
    client->set(f, rpc::SET_MODE, [](auto request) { request.setMode(04755); });
    client->uid = uid;
    client->truncate(f, 0);
    return stat(f).mode;
  };
  EXPECT_EQ(modeAfterTruncateBy(1000), 0755);
  EXPECT_EQ(modeAfterTruncateBy(0), 04755);
}

TEST_F(OperationTest, EachChangeOfContentHasADataVersionThatNoEarlierStartHasTold) {
  auto f = client->file(ROOT_INODE, "f");
  client->publish(f, 100);
  auto first = stat(f).dataVersion;
  client->publish(f, 100);
  EXPECT_EQ(stat(f).dataVersion, first + 1);
  world.killAndRestart();
  EXPECT_EQ(stat(f).dataVersion, first + 1) << "nothing has changed it";
  client->publish(f, 100);
  EXPECT_GT(stat(f).dataVersion, first + 1'000'000) << "the start before may have told these, and lost them";
}

TEST_F(OperationTest, PublishOnlyMakesLonger) {
  auto f = client->file(ROOT_INODE, "f");
  auto now = tick();
  client->publish(f, 100);
  EXPECT_EQ(stat(f).size, 100u);
  EXPECT_EQ(stat(f).mtime, now);
  client->publish(f, 50, 1234);
  EXPECT_EQ(stat(f).size, 100u);
  EXPECT_EQ(stat(f).mtime, 1234);
  EXPECT_EQ(stat(f).ctime, now);
  EXPECT_EQ(client->publish(f, FILE_SIZE_MAX + 1).status, Status::TOO_BIG);
  EXPECT_EQ(client->publish(ROOT_INODE, 1).status, Status::IS_DIRECTORY);
  EXPECT_EQ(client->publish(client->symlink(ROOT_INODE, "l", "t"), 1).status, Status::INVALID);
}

// ------------------------------------------------------------ extended attributes

TEST_F(OperationTest, ExtendedAttributesAreKeptAndListed) {
  auto f = client->file(ROOT_INODE, "f");
  ASSERT_TRUE(client->setXattr(f, "user.b", "two").ok());
  ASSERT_TRUE(client->setXattr(f, "trusted.a", "").ok());
  ASSERT_TRUE(client->setXattr(f, "security.c", "three").ok());
  ASSERT_TRUE(client->setXattr(f, "user.b", "changed").ok());
  auto value = world.read().xattr(f, "user.b");
  EXPECT_EQ(kj::heapString(value->asChars()), "changed");
  EXPECT_EQ(world.read().xattr(f, "trusted.a")->size(), 0u);
  EXPECT_EQ(world.read().xattr(f, "user.no").status(), Status::NO_DATA);
  EXPECT_EQ(kj::strArray(world.read().xattrs(f).value(), " "), "security.c trusted.a user.b");
  EXPECT_EQ(client->removeXattr(f, "user.no").status, Status::NO_DATA);
  for (auto name : {"user.b", "trusted.a", "security.c"}) ASSERT_TRUE(client->removeXattr(f, name).ok());
  EXPECT_EQ(world.read().inode(f)->xattrBytes, 0u);
  EXPECT_EQ(world.read().inode(f)->xattrNames, 0u);
  EXPECT_EQ(world.read().xattrs(f)->size(), 0u);
}

TEST_F(OperationTest, ExtendedAttributesHaveTheLimitsOfLinux) {
  auto f = client->file(ROOT_INODE, "f");
  auto l = client->symlink(ROOT_INODE, "l", "t");
  EXPECT_EQ(client->setXattr(f, "user.a", "b", 2).status, Status::NO_DATA);
  EXPECT_TRUE(client->setXattr(f, "user.a", "b", 1).ok());
  EXPECT_EQ(client->setXattr(f, "user.a", "b", 1).status, Status::EXISTS);
  EXPECT_TRUE(client->setXattr(f, "user.a", "c", 2).ok());
  EXPECT_EQ(client->setXattr(f, "user.a", "b", 3).status, Status::INVALID);
  EXPECT_EQ(client->setXattr(f, "system.other", "b").status, Status::NOT_SUPPORTED);
  EXPECT_EQ(client->setXattr(f, "user.", "b").status, Status::INVALID);
  EXPECT_EQ(client->setXattr(l, "user.a", "b").status, Status::NOT_PERMITTED);
  EXPECT_TRUE(client->setXattr(l, "trusted.a", "b").ok());
  EXPECT_TRUE(client->setXattr(f, kj::str("user.", longName(250)), "b").ok());
  EXPECT_EQ(client->setXattr(f, kj::str("user.", longName(251)), "b").status, Status::RANGE);
  EXPECT_TRUE(client->setXattr(f, "user.big", longName(65536)).ok());
  EXPECT_EQ(client->setXattr(f, "user.bigger", longName(65537)).status, Status::TOO_BIG);
  Status status = Status::OK;
  for (int i = 0; i < 20 && ok(status); ++i)
    status = client->setXattr(f, kj::str("user.", i), longName(65536)).status;
  EXPECT_EQ(status, Status::NO_SPACE);
}

}  // namespace
}  // namespace cairn
