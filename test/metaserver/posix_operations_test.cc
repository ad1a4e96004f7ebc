// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Operations that few programs ask for and POSIX or Linux promise all the same: files without a name,
// whiteouts, access times, holes, what a directory's default ACL does to what is made in it, and how many
// blocks a file has.
#include "test/metaserver/operation_fixture.h"

namespace cairn {
namespace {

struct PosixOperations : OperationTest {
  Outcome createTemporary(InodeId directory) {
    return client->change([&](auto change) {
      auto create = change.initCreate();
      create.setParent(directory.value());
      create.setMode(0640);
      create.setTemporary(true);
    });
  }
  Outcome createUnder(InodeId directory, kj::StringPtr name, FileType type, uint16_t mode, uint16_t umask) {
    return client->change([&](auto change) {
      auto create = change.initCreate();
      create.setParent(directory.value());
      create.setName(name);
      create.setType(type);
      create.setMode(mode);
      create.setUmask(umask);
    });
  }
  void access(InodeId inode, int64_t time) {
    auto outcome = client->change([&](auto change) {
      auto list = change.initAccessed(2);
      list[0].setInode(inode.value());
      list[0].setTime(time);
      list[1].setInode(999999);
      list[1].setTime(time);
    });
    EXPECT_TRUE(outcome.ok());
  }
  Outcome punch(InodeId inode, uint64_t first, uint64_t end, uint64_t atLeast = 0) {
    return client->change([&](auto change) {
      auto punch = change.initPunch();
      punch.setHollow(inode.value());
      punch.setFirstChunk(first);
      punch.setEndChunk(end);
      punch.setAtLeast(atLeast);
    });
  }
  Outcome publishBlocks(InodeId inode, uint64_t length, ChunkHandle chunk, uint32_t blocks) {
    return client->change([&](auto change) {
      auto publish = change.initPublish();
      publish.setFile(inode.value());
      publish.setLength(length);
      publish.initChunks(1).set(0, chunk.value());
      change.initChunkBlocks(1).set(0, blocks);
    });
  }
};

TEST_F(PosixOperations, ATemporaryFileIsAnOrphanThatMayBeLinkedOnce) {
  auto before = stat(ROOT_INODE);
  tick();
  auto made = createTemporary(ROOT_INODE);
  ASSERT_TRUE(made.ok());
  auto inode = Client::made(kj::mv(made));
  EXPECT_EQ(stat(inode).links, 0u);
  EXPECT_EQ(stat(inode).mode, 0640);
  EXPECT_EQ(stat(ROOT_INODE).mtime, before.mtime) << "no name, no change of the directory";
  ASSERT_TRUE(client->link(inode, ROOT_INODE, "named").ok());
  EXPECT_EQ(stat(inode).links, 1u);
  EXPECT_EQ(world.state().orphans, 0u);
  world.purge({inode});
  EXPECT_EQ(statusOf(inode), Status::OK) << "it is no orphan any more";
  ASSERT_TRUE(client->unlink(ROOT_INODE, "named").ok());
  EXPECT_EQ(client->link(inode, ROOT_INODE, "again").status, Status::NOT_FOUND)
      << "what lost its name stays without";
  world.purge({inode});
  EXPECT_EQ(statusOf(inode), Status::STALE);
}

TEST_F(PosixOperations, ATemporaryFileThatNobodyNamesGoes) {
  auto inode = Client::made(createTemporary(ROOT_INODE));
  world.killAndRestart();
  EXPECT_EQ(stat(inode).links, 0u);
  world.purge({inode});
  EXPECT_EQ(statusOf(inode), Status::STALE);
  EXPECT_EQ(createTemporary(client->file(ROOT_INODE, "f")).status, Status::NOT_DIRECTORY);
}

TEST_F(PosixOperations, AWhiteoutStandsWhereTheNameWas) {
  auto d = client->directory(ROOT_INODE, "d");
  auto f = client->file(ROOT_INODE, "f");
  client->file(d, "g");
  auto inodes = world.state().inodes;
  ASSERT_TRUE(client->rename(ROOT_INODE, "f", d, "g", 4).ok());
  EXPECT_EQ(world.read().lookup(d, "g")->inode, f);
  auto whiteout = world.read().lookup(ROOT_INODE, "f");
  ASSERT_TRUE(whiteout.ok());
  EXPECT_EQ(whiteout->type, FileType::CHARACTER_DEVICE);
  EXPECT_EQ(whiteout->device, 0u);
  EXPECT_EQ(whiteout->uid, 1000u);
  EXPECT_EQ(stat(ROOT_INODE).size, 2u);
  EXPECT_EQ(world.state().inodes, inodes + 1) << "what was replaced may still be open";
  EXPECT_EQ(client->rename(d, "g", ROOT_INODE, "f", 6).status, Status::INVALID);
  EXPECT_EQ(client->rename(d, "none", ROOT_INODE, "f", 4).status, Status::NOT_FOUND);
}

TEST_F(PosixOperations, AccessTimesMoveAsRelatimeSaysAndNothingElseDoes) {
  auto f = client->file(ROOT_INODE, "f");
  auto made = stat(f);
  access(f, made.atime);
  EXPECT_EQ(stat(f).atime, made.atime);
  access(f, made.atime + 5);
  EXPECT_EQ(stat(f).atime, made.atime + 5) << "it was not later than the change";
  EXPECT_EQ(stat(f).ctime, made.ctime);
  EXPECT_EQ(stat(f).dataVersion, made.dataVersion);
  access(f, made.atime + 10);
  EXPECT_EQ(stat(f).atime, made.atime + 5) << "it is later, and of today";
  constexpr int64_t DAY = int64_t(24) * 3600 * 1'000'000'000;
  access(f, made.atime + 5 + DAY);
  EXPECT_EQ(stat(f).atime, made.atime + 5 + DAY);
  access(f, made.atime);
  EXPECT_EQ(stat(f).atime, made.atime + 5 + DAY) << "never back";
}

TEST_F(PosixOperations, PunchingDropsChunksAndMovesTheTimes) {
  auto f = client->file(ROOT_INODE, "f");
  for (uint64_t index : {0, 1, 2, 5}) world.attach(f, index);
  ASSERT_TRUE(client->publish(f, 6ull * CHUNK_SIZE).ok());
  auto before = stat(f);
  auto now = tick();
  ASSERT_TRUE(punch(f, 1, 3).ok());
  EXPECT_FALSE(world.read().chunkAt(f, ChunkIndex(1)));
  EXPECT_FALSE(world.read().chunkAt(f, ChunkIndex(2)));
  EXPECT_TRUE(world.read().chunkAt(f, ChunkIndex(0)));
  EXPECT_TRUE(world.read().chunkAt(f, ChunkIndex(5)));
  EXPECT_EQ(world.state().garbage, 2u);
  EXPECT_EQ(stat(f).size, before.size);
  EXPECT_EQ(stat(f).mtime, now);
  EXPECT_GT(stat(f).dataVersion, before.dataVersion);
  ASSERT_TRUE(punch(f, 0, 0, 7ull * CHUNK_SIZE).ok());
  EXPECT_EQ(stat(f).size, 7ull * CHUNK_SIZE);
  EXPECT_EQ(punch(f, 3, 2).status, Status::INVALID);
  EXPECT_EQ(punch(f, 0, 0, uint64_t(1) << 63).status, Status::TOO_BIG);
  EXPECT_EQ(punch(ROOT_INODE, 0, 1).status, Status::INVALID);
}

TEST_F(PosixOperations, BlocksAreCountedAsTheWriterTold) {
  auto f = client->file(ROOT_INODE, "f");
  auto chunk = world.attach(f, 3);
  EXPECT_EQ(stat(f).bytesUsed, 0u) << "a new chunk holds nothing yet";
  ASSERT_TRUE(publishBlocks(f, 3ull * CHUNK_SIZE + 9000, chunk, 2).ok());
  EXPECT_EQ(stat(f).bytesUsed, 2u * 4096);
  ASSERT_TRUE(publishBlocks(f, 4ull * CHUNK_SIZE, chunk, BLOCKS_PER_CHUNK).ok());
  EXPECT_EQ(stat(f).bytesUsed, CHUNK_SIZE);
  ASSERT_TRUE(client->truncate(f, 3ull * CHUNK_SIZE + 5000).ok());
  EXPECT_EQ(stat(f).bytesUsed, 2u * 4096) << "what is cut off holds nothing";
  world.killAndRestart();
  EXPECT_EQ(stat(f).bytesUsed, 2u * 4096);
  ASSERT_TRUE(publishBlocks(f, 1, chunk, BLOCKS_PER_CHUNK + 1).ok());
  EXPECT_EQ(stat(f).bytesUsed, 2u * 4096) << "more than a chunk has is not believed";
  ASSERT_TRUE(client->truncate(f, 0).ok());
  EXPECT_EQ(stat(f).bytesUsed, 0u);
}

TEST_F(PosixOperations, ChunksAndGapsAreFound) {
  auto f = client->file(ROOT_INODE, "f");
  auto full = world.attach(f, 2);
  world.attach(f, 3);
  ASSERT_TRUE(publishBlocks(f, 1ull << 50, full, BLOCKS_PER_CHUNK).ok());
  auto& names = world.read();
  auto first = names.firstChunk(f, ChunkIndex(0));
  EXPECT_EQ(first->index, ChunkIndex(2));
  EXPECT_EQ(first->certain, FoundIndex::Certain::YES);
  EXPECT_EQ(names.firstChunk(f, ChunkIndex(4))->certain, FoundIndex::Certain::NO);
  EXPECT_EQ(names.firstSparse(f, ChunkIndex(0))->index, ChunkIndex(0));
  EXPECT_EQ(names.firstSparse(f, ChunkIndex(2))->index, ChunkIndex(3)) << "2 is full, of 3 nothing is known";
}

const unsigned char DEFAULT_ACL_BYTES[] = {2,  0, 0, 0,  // user::rwx user:1000:rw- group::r-x
                                           1,  0, 7, 0, 0xff, 0xff, 0xff, 0xff,  // mask::rwx other::---
                                           2,  0, 6, 0, 0xe8, 3,    0,    0,     //
                                           4,  0, 5, 0, 0xff, 0xff, 0xff, 0xff,  //
                                           16, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,  //
                                           32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};

TEST_F(PosixOperations, ADefaultAclTakesThePlaceOfTheUmask) {
  auto d = client->directory(ROOT_INODE, "d");
  auto set = [&](InodeId inode, kj::StringPtr key) {
    return client->change([&](auto change) {
      auto request = change.initSetXattr();
      request.setOwner(inode.value());
      request.setKey(key);
      request.setValue(kj::arrayPtr(DEFAULT_ACL_BYTES, sizeof DEFAULT_ACL_BYTES));
    });
  };
  auto before = Client::made(createUnder(d, "before", FileType::REGULAR, 0666, 027));
  EXPECT_EQ(world.read().lookup(d, "before")->inode, before);
  EXPECT_EQ(world.read().lookup(d, "before")->mode, 0640);
  ASSERT_TRUE(set(d, "system.posix_acl_default").ok());
  EXPECT_EQ(stat(d).extended, rpc::HAS_XATTRS | rpc::HAS_DEFAULT_ACL);
  EXPECT_EQ(stat(d).mode, 0755) << "a default ACL is for what is made in it";

  auto f = Client::made(createUnder(d, "f", FileType::REGULAR, 0666, 077));
  EXPECT_EQ(stat(f).mode, 0660);
  EXPECT_EQ(stat(f).extended, rpc::HAS_XATTRS | rpc::HAS_ACCESS_ACL);
  auto sub = Client::made(createUnder(d, "sub", FileType::DIRECTORY, 0777, 077));
  EXPECT_EQ(stat(sub).extended, rpc::HAS_XATTRS | rpc::HAS_ACCESS_ACL | rpc::HAS_DEFAULT_ACL);
  EXPECT_EQ(world.read().xattr(sub, "system.posix_acl_default")->size(), sizeof DEFAULT_ACL_BYTES);

  ASSERT_TRUE(client->set(f, rpc::SET_MODE, [](auto request) { request.setMode(0600); }).ok());
  EXPECT_EQ(world.read().xattr(f, "system.posix_acl_access")->asPtr()[4 + 3 * 8 + 2], 0)
      << "chmod moves the mask";
  EXPECT_EQ(set(f, "system.posix_acl_default").status, Status::ACCESS_DENIED);
  EXPECT_EQ(set(client->symlink(d, "s", "f"), "system.posix_acl_access").status, Status::NOT_SUPPORTED);
  EXPECT_EQ(client->setXattr(f, "system.posix_acl_access", "no").status, Status::INVALID);
  ASSERT_TRUE(client->removeXattr(f, "system.posix_acl_access").ok());
  EXPECT_EQ(stat(f).extended, 0);
  world.killAndRestart();
  EXPECT_EQ(stat(sub).extended, rpc::HAS_XATTRS | rpc::HAS_ACCESS_ACL | rpc::HAS_DEFAULT_ACL);
}

}  // namespace
}  // namespace cairn
