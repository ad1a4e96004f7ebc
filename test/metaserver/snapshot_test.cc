// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a snapshot of a tree has, what it refuses, and that the two trees go their own ways.
#include "test/metaserver/metadata_world.h"

namespace cairn {
namespace {

constexpr uint64_t CHUNK = CHUNK_SIZE;

struct Snapshot : testing::Test {
  MetadataWorld world;
  kj::Own<Client> client;
  InodeId tree, below, file;
  ChunkHandle first, second;

  Snapshot() {
    world.start();
    client = kj::heap<Client>(world);
    tree = client->directory(ROOT_INODE, "tree");
    below = client->directory(tree, "below");
    file = client->file(below, "file");
    first = world.attach(file, 0);
    second = world.attach(file, 1);
    client->publish(file, CHUNK + 5000);
  }
  ~Snapshot() noexcept override {}

  Outcome take(InodeId original, InodeId parent, kj::StringPtr name, std::vector<uint64_t> still) {
    return world.own([&](auto body) {
      auto request = body.initSnapshot();
      request.setOriginal(original.value());
      request.setInDirectory(parent.value());
      request.setCalled(name);
      auto list = request.initStill(unsigned(still.size()));
      for (unsigned i = 0; i < still.size(); ++i) list.set(i, still[i]);
    });
  }
  Outcome take(kj::StringPtr name) { return take(tree, ROOT_INODE, name, {first.value(), second.value()}); }
  Attributes at(kj::StringPtr path) { return world.read().resolve(path).value(); }
  bool exists(kj::StringPtr path) { return world.read().resolve(path).ok(); }
  ChunkRecord record(ChunkHandle handle) { return KJ_REQUIRE_NONNULL(world.read().chunk(handle)); }
};

TEST_F(Snapshot, HasAllThatTheTreeHasAndSharesItsChunks) {
  client->symlink(tree, "link", "below/file");
  client->create(tree, "pipe", {.type = FileType::FIFO});
  client->setXattr(file, "user.a", "value");
  client->setXattr(below, "user.b", "other");
  auto inodes = world.state().inodes;
  world.clock.advance(5 * kj::SECONDS);
  auto outcome = take("copy");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome.number, 5u);
  EXPECT_EQ(world.state().inodes, inodes + 5);
  auto copy = at("/copy/below/file"), original = at("/tree/below/file");
  EXPECT_NE(copy.inode, original.inode);
  copy.inode = original.inode;
  EXPECT_TRUE(copy == original) << "owner, mode, times, size and blocks";
  auto id = at("/copy/below/file").inode;
  EXPECT_EQ(world.read().chunkAt(id, ChunkIndex(0)), first);
  EXPECT_EQ(world.read().referenceAt(id, ChunkIndex(1)).validBytes, 5000u);
  EXPECT_EQ(record(first).references, 2u);
  EXPECT_EQ(world.state().chunks, 2u);
  EXPECT_EQ(world.read().readLink(at("/copy/link").inode)->asArray(), "below/file"_kj.asArray());
  EXPECT_EQ(at("/copy/pipe").type, FileType::FIFO);
  EXPECT_EQ(world.read().xattr(id, "user.a")->size(), 5u);
  EXPECT_EQ(world.read().xattr(at("/copy/below").inode, "user.b")->size(), 5u);
  EXPECT_EQ(at("/copy").links, 3u);
  EXPECT_EQ(at("/").links, 4u);
  EXPECT_EQ(at("/").size, 2u);
  EXPECT_EQ(world.read().lookup(at("/copy/below").inode, "..")->inode, at("/copy").inode);
}

TEST_F(Snapshot, GoesItsOwnWay) {
  ASSERT_TRUE(take("copy").ok());
  client->truncate(file, 10);
  client->unlink(below, "file");
  client->create(tree, "later");
  EXPECT_EQ(at("/copy/below/file").size, CHUNK + 5000);
  EXPECT_FALSE(exists("/copy/later"));
  EXPECT_EQ(world.state().garbage, 0u);
  client->unheld = at("/copy/below/file").inode;
  client->unlink(at("/copy/below").inode, "file");
  EXPECT_TRUE(client->rmdir(at("/copy").inode, "below").ok());
  EXPECT_TRUE(client->rmdir(ROOT_INODE, "copy").ok());
  EXPECT_EQ(at("/").links, 3u);
}

TEST_F(Snapshot, HardLinksWithinTheTreeStayLinksAndThoseFromOutsideDoNotCount) {
  client->link(file, tree, "again");
  client->link(file, ROOT_INODE, "outside");
  ASSERT_TRUE(take("copy").ok());
  EXPECT_EQ(at("/copy/again").inode, at("/copy/below/file").inode);
  EXPECT_EQ(at("/copy/again").links, 2u);
  EXPECT_EQ(at("/outside").links, 3u);
  EXPECT_EQ(record(first).references, 2u) << "once for each file, not for each name";
}

TEST_F(Snapshot, OfASnapshotAndBesideEachOther) {
  ASSERT_TRUE(take("one").ok());
  ASSERT_TRUE(take(tree, ROOT_INODE, "two", {}).ok()) << "its chunks are shared: nobody can be writing them";
  ASSERT_TRUE(take(at("/one").inode, tree, "three", {}).ok());
  EXPECT_EQ(record(first).references, 4u);
  EXPECT_EQ(at("/tree/three/below/file").size, CHUNK + 5000);
}

TEST_F(Snapshot, RefusesAndChangesNothing) {
  auto before = world.theNames().dump();
  EXPECT_EQ(take(tree, ROOT_INODE, "tree", {}).status, Status::EXISTS);
  EXPECT_EQ(take(tree, below, "copy", {}).status, Status::LOOP);
  EXPECT_EQ(take(tree, tree, "copy", {}).status, Status::LOOP);
  EXPECT_EQ(take(ROOT_INODE, tree, "copy", {}).status, Status::LOOP);
  EXPECT_EQ(take(file, ROOT_INODE, "copy", {}).status, Status::NOT_DIRECTORY);
  EXPECT_EQ(take(tree, file, "copy", {}).status, Status::NOT_DIRECTORY);
  EXPECT_EQ(take(tree, ROOT_INODE, "a/b", {}).status, Status::INVALID);
  EXPECT_EQ(take(tree, ROOT_INODE, "copy", {first.value()}).status, Status::STALE_VERSION)
      << "the second chunk may be being written";
  EXPECT_EQ(record(first).references, 1u);
  EXPECT_EQ(world.state().format, 1u);
  std::string now(world.theNames().dump().cStr()), then(before.cStr());
  EXPECT_EQ(now.substr(0, now.find("state cluster")), then.substr(0, then.find("state cluster")));
}

TEST_F(Snapshot, WhatIsNotPublishedYetIsNotInIt) {
  auto beyond = world.attach(file, 5);
  ASSERT_TRUE(take(tree, ROOT_INODE, "copy", {first.value(), second.value(), beyond.value()}).ok());
  auto copy = world.read().inode(at("/copy/below/file").inode);
  EXPECT_EQ(copy->chunks, 2u);
  EXPECT_EQ(record(beyond).references, 1u);
  client->publish(file, 6 * CHUNK);
  EXPECT_EQ(at("/copy/below/file").size, CHUNK + 5000);
}

TEST_F(Snapshot, ALargeTreeIsRefusedBeforeItStopsEverybody) {
  auto wide = client->directory(ROOT_INODE, "wide");
  for (int i = 0; i < 20'000; ++i) client->create(wide, kj::str(i), {.type = FileType::FIFO});
  EXPECT_EQ(take(wide, ROOT_INODE, "copy", {}).status, Status::TOO_BIG);
  client->unlink(wide, "7");
  EXPECT_TRUE(take(wide, ROOT_INODE, "copy", {}).ok());
  EXPECT_EQ(at("/copy").size, 19'999u);
}

TEST_F(Snapshot, SurvivesAPowerCutWhole) {
  ASSERT_TRUE(take("copy").ok());
  ASSERT_EQ(world.sync(), Status::OK);
  world.losePowerAndRestart(5);
  EXPECT_EQ(at("/copy/below/file").size, CHUNK + 5000);
  EXPECT_EQ(record(first).references, 2u);
}

}  // namespace
}  // namespace cairn
