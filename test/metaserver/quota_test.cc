// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Quotas of directories as operations: what counts where, what is refused, and that counting a tree that is
// there and changing it meanwhile give the same as changing it afterwards.
#include "test/metaserver/metadata_world.h"

namespace cairn {
namespace {

struct QuotaTest : testing::Test {
  ~QuotaTest() noexcept override {}
  QuotaTest() {
    world.start();
    client = kj::heap<Client>(world);
  }

  MetadataWorld world;
  kj::Own<Client> client;

  Outcome limit(InodeId directory, uint64_t inodes, uint64_t bytes = 0) {
    return world.own([&](auto body) {
      auto request = body.initSetQuota();
      request.setQuotaOf(directory.value());
      request.setInodesMax(inodes);
      request.setBytesMax(bytes);
    });
  }
  void countAll() {
    while (world.own([](auto body) { body.setCountTree(3); }).more == More::YES) {
    }
    ASSERT_EQ(world.state().counting, Counting::DONE);
  }
  InodeId limited(kj::StringPtr name, uint64_t inodes, uint64_t bytes = 0) {
    auto directory = client->directory(ROOT_INODE, name);
    KJ_ASSERT(limit(directory, inodes, bytes).ok());
    countAll();
    return directory;
  }
  Usage used(InodeId directory) { return world.read().usage(directory); }
  void fill(InodeId file, uint32_t blocks) {  // of its first chunk
    auto chunk = world.read().chunkAt(file, ChunkIndex(0));
    if (!chunk) chunk = world.attach(file, 0);
    auto outcome = client->change([&](auto change) {
      auto publish = change.initPublish();
      publish.setFile(file.value());
      publish.setLength(uint64_t(blocks) * BLOCK_SIZE);
      publish.initChunks(1).set(0, chunk.value());
      change.initChunkBlocks(1).set(0, blocks);
    });
    KJ_ASSERT(outcome.ok());
  }
  uint64_t bytesLeft(InodeId inode) { return world.read().room(world.read().inode(inode).value()).bytesLeft; }
};

TEST_F(QuotaTest, AFileWithoutANameCountsWhereItIsMadeAndWhereItGetsOne) {
  auto full = limited("full", 3);
  for (int i = 0; client->create(full, kj::str(i)).ok(); ++i) ASSERT_LT(i, 10);
  auto temporary = [&](InodeId directory) {
    return client->change([&](auto change) {
      auto create = change.initCreate();
      create.setParent(directory.value());
      create.setTemporary(true);
      create.setOpen(true);
    });
  };
  EXPECT_EQ(temporary(full).status, Status::OVER_QUOTA);
  auto made = temporary(ROOT_INODE);
  ASSERT_TRUE(made.ok());
  auto inode = KJ_ASSERT_NONNULL(made.attributes).inode;
  EXPECT_EQ(client->link(inode, full, "named").status, Status::OVER_QUOTA);
  EXPECT_EQ(client->link(inode, ROOT_INODE, "named").status, Status::OK);
  auto roomy = limited("roomy", 10);
  made = temporary(roomy);
  ASSERT_TRUE(made.ok());
  inode = KJ_ASSERT_NONNULL(made.attributes).inode;
  EXPECT_EQ(client->link(inode, full, "moved").status, Status::OVER_QUOTA);
  EXPECT_EQ(client->link(inode, roomy, "named").status, Status::OK);
}

TEST_F(QuotaTest, WithoutOneNothingIsCounted) {
  auto d = client->directory(ROOT_INODE, "d");
  client->file(d, "f");
  EXPECT_EQ(used(ROOT_INODE).inodes, 0u);
  EXPECT_EQ(world.state().counting, Counting::OFF);
  EXPECT_EQ(bytesLeft(d), UINT64_MAX);
}

TEST_F(QuotaTest, ATreeThatIsThereIsCountedInStepsAndNobodyIsRefusedMeanwhile) {
  auto d = client->directory(ROOT_INODE, "d");
  for (int i = 0; i < 10; ++i) fill(client->file(client->directory(d, kj::str(i)), "f"), 2);
  ASSERT_TRUE(limit(d, 1).ok());
  EXPECT_EQ(world.state().counting, Counting::RUNNING);
  EXPECT_TRUE(client->create(d, "more").ok());
  world.own([](auto body) { body.setCountTree(5); });
  world.killAndRestart();
  countAll();
  EXPECT_EQ(used(d).inodes, 21u);
  EXPECT_EQ(used(d).bytes, 20u * BLOCK_SIZE);
  EXPECT_EQ(used(ROOT_INODE).inodes, 22u);
  EXPECT_EQ(client->create(d, "again").status, Status::OVER_QUOTA);
  auto other = client->directory(ROOT_INODE, "other");
  client->file(other, "f");
  ASSERT_TRUE(limit(other, 100).ok());
  EXPECT_EQ(world.state().counting, Counting::DONE) << "the next one is exact at once";
  EXPECT_EQ(used(other).inodes, 1u);
}

TEST_F(QuotaTest, CreatingIsRefusedAtTheLimitAndRemovingMakesRoom) {
  auto d = limited("d", 2);
  client->file(d, "a");
  client->directory(d, "b");
  for (auto type : {FileType::REGULAR, FileType::DIRECTORY, FileType::FIFO}) {
    EXPECT_EQ(client->create(d, "c", {.type = type}).status, Status::OVER_QUOTA);
  }
  EXPECT_TRUE(client->create(ROOT_INODE, "c").ok());
  EXPECT_TRUE(client->create(d, "a", {.exclusive = false}).ok()) << "it is there";
  ASSERT_TRUE(client->rmdir(d, "b").ok());
  EXPECT_TRUE(client->create(d, "c").ok());
  EXPECT_EQ(used(d).inodes, 2u);
}

TEST_F(QuotaTest, AllQuotasAboveApply) {
  auto outer = limited("outer", 3);
  auto inner = client->directory(outer, "inner");
  ASSERT_TRUE(limit(inner, 10).ok());
  client->file(inner, "a");
  client->file(inner, "b");
  EXPECT_EQ(client->create(inner, "c").status, Status::OVER_QUOTA) << "of the outer one";
  ASSERT_TRUE(limit(outer, 10).ok());
  ASSERT_TRUE(limit(inner, 2).ok());
  EXPECT_EQ(client->create(inner, "c").status, Status::OVER_QUOTA) << "of the inner one";
  EXPECT_TRUE(client->create(outer, "c").ok());
  ASSERT_TRUE(limit(inner, 0).ok());
  EXPECT_TRUE(client->create(inner, "c").ok());
  EXPECT_EQ(world.state().quotas, 1u);
}

TEST_F(QuotaTest, BytesAreThoseOfBlocksThatHoldAnything) {
  auto d = limited("d", 0, 10 * BLOCK_SIZE);
  auto f = client->file(d, "f");
  fill(f, 4);
  EXPECT_EQ(used(d).bytes, 4u * BLOCK_SIZE);
  EXPECT_EQ(bytesLeft(f), 6u * BLOCK_SIZE);
  EXPECT_EQ(bytesLeft(d), 6u * BLOCK_SIZE);
  fill(f, 12);
  EXPECT_EQ(used(d).bytes, 12u * BLOCK_SIZE) << "what is on the stores is told, whatever the limit";
  EXPECT_EQ(bytesLeft(f), 0u);
  ASSERT_TRUE(client->truncate(f, BLOCK_SIZE).ok());
  EXPECT_EQ(used(d).bytes, 1u * BLOCK_SIZE);
  ASSERT_TRUE(client->truncate(f, 0).ok());
  EXPECT_EQ(used(d).bytes, 0u);
}

TEST_F(QuotaTest, RenameAcrossABorderTakesUsageAlongAndIsRefusedWhenThereIsNoRoom) {
  auto d = limited("d", 3, 10 * BLOCK_SIZE);
  auto tree = client->directory(ROOT_INODE, "tree");
  fill(client->file(tree, "f"), 6);
  ASSERT_TRUE(client->rename(ROOT_INODE, "tree", d, "tree").ok());
  EXPECT_EQ(used(d).inodes, 2u);
  EXPECT_EQ(used(d).bytes, 6u * BLOCK_SIZE);
  auto big = client->file(ROOT_INODE, "big");
  fill(big, 5);
  EXPECT_EQ(client->rename(ROOT_INODE, "big", d, "big").status, Status::OVER_QUOTA) << "bytes";
  fill(big, 4);
  EXPECT_TRUE(client->rename(ROOT_INODE, "big", d, "big").ok());
  client->file(ROOT_INODE, "g");
  EXPECT_EQ(client->rename(ROOT_INODE, "g", d, "g").status, Status::OVER_QUOTA) << "inodes";
  EXPECT_TRUE(client->rename(ROOT_INODE, "g", d, "big").ok()) << "it takes the place of one";
  ASSERT_TRUE(client->rename(d, "tree", d, "renamed").ok()) << "within the border nothing is asked";
  ASSERT_TRUE(client->rename(d, "renamed", ROOT_INODE, "tree").ok());
  EXPECT_EQ(used(d).bytes, 4u * BLOCK_SIZE) << "the replaced one, until nobody has it open";
  EXPECT_EQ(used(tree).inodes, 1u);
}

TEST_F(QuotaTest, NoFileHasNamesOnBothSidesOfABorderByLinkOrRename) {
  auto d = limited("d", 100);
  auto f = client->file(ROOT_INODE, "f");
  EXPECT_EQ(client->link(f, d, "f").status, Status::CROSS_DEVICE);
  ASSERT_TRUE(client->link(f, ROOT_INODE, "g").ok());
  EXPECT_EQ(client->rename(ROOT_INODE, "g", d, "g").status, Status::CROSS_DEVICE);
  auto e = client->directory(d, "e");
  auto inside = client->file(d, "inside");
  EXPECT_TRUE(client->link(inside, e, "inside").ok());
}

TEST_F(QuotaTest, AFileWithSeveralNamesCountsOnceWhereItStillHasOne) {
  auto d = limited("d", 100);
  auto a = client->directory(d, "a"), b = client->directory(d, "b");
  auto f = client->file(a, "f");
  fill(f, 3);
  ASSERT_TRUE(client->link(f, b, "g").ok());
  EXPECT_EQ(used(a).bytes, 3u * BLOCK_SIZE);
  EXPECT_EQ(used(d).inodes, 3u);
  ASSERT_TRUE(client->unlink(a, "f").ok());
  EXPECT_EQ(used(a).bytes, 0u);
  EXPECT_EQ(used(b).bytes, 3u * BLOCK_SIZE);
  EXPECT_EQ(used(d).inodes, 3u);
  EXPECT_TRUE(client->rmdir(d, "a").ok());
  EXPECT_EQ(used(d).inodes, 2u);
}

TEST_F(QuotaTest, WhatIsOpenAndInTheTrashCountsUntilItIsPurgedAndIsInNobodysWay) {
  world.own([](auto body) { body.initConfigureTrash().setKeepS(3600); });
  auto d = limited("d", 2, 10 * BLOCK_SIZE);
  auto in = client->directory(d, "in");
  auto f = client->file(in, "f");
  fill(f, 10);
  ASSERT_TRUE(client->unlink(in, "f").ok());
  ASSERT_TRUE(client->rmdir(d, "in").ok());
  EXPECT_EQ(used(d).bytes, 10u * BLOCK_SIZE) << "somebody has it open";
  EXPECT_EQ(bytesLeft(d), 0u);
  ASSERT_TRUE(world.purge({f}).ok());
  EXPECT_EQ(used(d).bytes, 10u * BLOCK_SIZE);
  EXPECT_EQ(used(d).trashBytes, 10u * BLOCK_SIZE);
  EXPECT_EQ(used(d).trashInodes, 1u);
  EXPECT_EQ(bytesLeft(d), 10u * BLOCK_SIZE) << "the trash gives way";
  client->file(d, "a");
  client->file(d, "b");
  EXPECT_EQ(client->create(d, "c").status, Status::OVER_QUOTA);
  auto file = world.read().trash(0, InodeId(), 1);
  auto restore = [&](InodeId into) {
    return world
        .own([&](auto body) {
          auto request = body.initRestoreTrash();
          request.initRestored().setInode(f.value());
          request.getRestored().setUntil(file[0].departure.until);
          request.setInto(into.value());
          request.setAs("f");
        })
        .status;
  };
  EXPECT_EQ(restore(d), Status::OVER_QUOTA);
  EXPECT_EQ(restore(ROOT_INODE), Status::OK);
  EXPECT_EQ(used(d).inodes, 2u);
  EXPECT_EQ(used(d).bytes, 0u);
}

TEST_F(QuotaTest, ASharedChunkCountsForEachFileThatHasIt) {
  auto d = limited("d", 0, 10 * BLOCK_SIZE);
  auto source = client->file(ROOT_INODE, "source");
  fill(source, 6);
  auto chunk = world.read().chunksOf(source, ChunkIndex(0), 1)[0].handle;
  auto share = [&](InodeId target) {
    return client
        ->change([&](auto change) {
          auto request = change.initShare();
          request.setSource(source.value());
          request.setTarget(target.value());
          request.setBytes(6 * BLOCK_SIZE);
          request.initHandles(1).set(0, chunk.value());
        })
        .status;
  };
  EXPECT_EQ(share(client->file(d, "a")), Status::OK);
  EXPECT_EQ(used(d).bytes, 6u * BLOCK_SIZE);
  EXPECT_EQ(share(client->file(d, "b")), Status::OVER_QUOTA);
  EXPECT_EQ(share(client->file(ROOT_INODE, "b")), Status::OK);
  EXPECT_EQ(used(d).bytes, 6u * BLOCK_SIZE);
}

TEST_F(QuotaTest, OnlyDirectoriesHaveOne) {
  EXPECT_EQ(limit(client->file(ROOT_INODE, "f"), 1).status, Status::NOT_DIRECTORY);
  EXPECT_EQ(limit(InodeId(99), 1).status, Status::NOT_FOUND);
  auto d = limited("d", 5);
  ASSERT_TRUE(client->rmdir(ROOT_INODE, "d").ok());
  EXPECT_EQ(world.state().quotas, 0u) << "it goes with its directory";
  EXPECT_EQ(limit(d, 5).status, Status::STALE);
}

}  // namespace
}  // namespace cairn
