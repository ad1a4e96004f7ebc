// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What happens to a file that loses its last name: which go to the trash, what the trash knows of them, how
// they come back and how they go for good.
#include "test/metaserver/metadata_world.h"

namespace cairn {
namespace {

constexpr int64_t SECOND = 1'000'000'000;

struct TrashTest : testing::Test {
  ~TrashTest() noexcept override {}
  TrashTest() {
    world.start();
    client = kj::heap<Client>(world);
    configure(3600, 60);
  }

  MetadataWorld world;
  kj::Own<Client> client;

  void configure(uint32_t keep, uint32_t age) {
    auto outcome = world.own([&](auto body) {
      auto request = body.initConfigureTrash();
      request.setKeepS(keep);
      request.setAgeS(age);
    });
    ASSERT_TRUE(outcome.ok());
  }
  Outcome keep(InodeId directory, uint32_t seconds) {
    return world.own([&](auto body) {
      auto request = body.initKeepTrash();
      request.setKeeper(directory.value());
      request.setSeconds(seconds);
    });
  }
  InodeId oldFile(InodeId parent,
                  kj::StringPtr name) {  // older than the age from which on the trash is for it
    auto file = client->file(parent, name);
    world.clock.advance(61 * kj::SECONDS);
    return file;
  }
  Outcome remove(InodeId parent, kj::StringPtr name) {  // and nobody has it open
    auto outcome = client->unlink(parent, name);
    if (outcome.orphan) world.purge({outcome.orphan});
    return outcome;
  }
  kj::Array<TrashedFile> trash() { return world.read().trash(0, InodeId(), 100); }
  Outcome restore(const TrashedFile& file, InodeId into, kj::StringPtr name) {
    return world.own([&](auto body) {
      auto request = body.initRestoreTrash();
      request.initRestored().setInode(file.inode.id().value());
      request.getRestored().setUntil(file.departure.until);
      request.setInto(into.value());
      request.setAs(name);
    });
  }
  Outcome empty(kj::ArrayPtr<const TrashedFile> files) {
    return world.own([&](auto body) {
      auto list = body.initPurgeTrash(uint32_t(files.size()));
      for (uint32_t i = 0; i < files.size(); ++i) {
        list[i].setInode(files[i].inode.id().value());
        list[i].setUntil(files[i].departure.until);
      }
    });
  }
  bool exists(InodeId inode) { return world.read().inode(inode).ok(); }
};

TEST_F(TrashTest, ADeletedFileIsKeptWithAllItHasAndWhatHappenedToIt) {
  auto d = client->directory(ROOT_INODE, "d");
  auto f = oldFile(d, "f");
  auto chunk = world.attach(f, 0);
  ASSERT_TRUE(client->publish(f, 100).ok());
  ASSERT_TRUE(client->setXattr(f, "user.a", "b").ok());
  client->uid = 77;
  auto outcome = client->unlink(d, "f");
  EXPECT_EQ(outcome.orphan, f) << "somebody may have it open";
  EXPECT_EQ(KJ_REQUIRE_NONNULL(outcome.attributes).links, 0u);
  EXPECT_EQ(trash().size(), 0u);
  auto deleted = world.clock.ns();
  world.clock.advance(5 * kj::SECONDS);
  ASSERT_TRUE(world.purge({f}).ok());

  auto files = trash();
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].inode.id(), f);
  EXPECT_EQ(files[0].inode.attributes.size, 100u);
  EXPECT_EQ(files[0].inode.attributes.links, 0u);
  EXPECT_EQ(files[0].departure.name, "f");
  EXPECT_EQ(files[0].departure.directory, d);
  EXPECT_EQ(files[0].departure.uid, 77u);
  EXPECT_EQ(files[0].departure.deleted, deleted);
  EXPECT_EQ(files[0].departure.until, deleted + 3600 * SECOND) << "from when it was deleted";
  EXPECT_TRUE(world.read().chunk(chunk) != nullptr);
  EXPECT_EQ(world.state().orphans, 0u);
  EXPECT_EQ(world.state().garbage, 0u);
}

TEST_F(TrashTest, ARestoredFileIsTheFileUnderTheOldNameOrAnother) {
  auto d = client->directory(ROOT_INODE, "d");
  auto f = oldFile(d, "f");
  world.attach(f, 0);
  auto before = world.read().inode(f).value().attributes;
  remove(d, "f");
  auto file = kj::mv(trash()[0]);
  client->file(d, "f");
  EXPECT_EQ(restore(file, d, "f").status, Status::EXISTS);
  EXPECT_EQ(restore(file, InodeId(999), "f").status, Status::NOT_FOUND);
  EXPECT_EQ(restore(file, d, "a/b").status, Status::INVALID);
  EXPECT_EQ(restore(file, client->file(ROOT_INODE, "x"), "f").status, Status::NOT_DIRECTORY);
  auto outcome = restore(file, ROOT_INODE, "again");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(world.read().lookup(ROOT_INODE, "again")->inode, f);
  auto after = KJ_REQUIRE_NONNULL(outcome.attributes);
  EXPECT_EQ(after.links, 1u);
  EXPECT_EQ(after.ctime, world.clock.ns());
  after.ctime = before.ctime;
  EXPECT_TRUE(after == before);
  EXPECT_EQ(trash().size(), 0u);
  EXPECT_EQ(restore(file, ROOT_INODE, "twice").status, Status::NOT_FOUND);
  EXPECT_TRUE(client->publish(f, 100).ok()) << "it is a file like any other";
  EXPECT_TRUE(world.read().whereabouts(d) == nullptr);
}

TEST_F(TrashTest, WhatARenameReplacesGoesThereAsWell) {
  auto f = oldFile(ROOT_INODE, "f");
  client->file(ROOT_INODE, "g");
  auto outcome = client->rename(ROOT_INODE, "g", ROOT_INODE, "f");
  ASSERT_TRUE(world.purge({outcome.orphan}).ok());
  auto files = trash();
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].inode.id(), f);
  EXPECT_EQ(files[0].departure.name, "f");
}

TEST_F(TrashTest, OnlyTheLastNameOfARegularFileThatIsNoScratchCounts) {
  auto f = oldFile(ROOT_INODE, "f");
  client->link(f, ROOT_INODE, "g");
  EXPECT_EQ(client->unlink(ROOT_INODE, "f").orphan, InodeId());
  client->symlink(ROOT_INODE, "s", "f");
  client->file(ROOT_INODE, "young");
  for (auto name : {"s", "young"}) remove(ROOT_INODE, name);
  EXPECT_EQ(trash().size(), 0u);
  auto temporary = client->change([&](auto change) {
    auto request = change.initCreate();
    request.setParent(ROOT_INODE.value());
    request.setTemporary(true);
  });
  world.clock.advance(61 * kj::SECONDS);
  ASSERT_TRUE(world.purge({temporary.orphan}).ok());
  EXPECT_EQ(trash().size(), 0u) << "it never had a name";
  EXPECT_FALSE(exists(temporary.orphan));
  remove(ROOT_INODE, "g");
  EXPECT_EQ(trash().size(), 1u);
}

TEST_F(TrashTest, ADirectorysOwnTimeCountsAndNewDirectoriesInItHaveIt) {
  auto off = client->directory(ROOT_INODE, "off"), longer = client->directory(ROOT_INODE, "longer");
  ASSERT_TRUE(keep(off, 0).ok());
  ASSERT_TRUE(keep(longer, 7200).ok());
  auto inner = client->directory(longer, "inner");
  EXPECT_EQ(keep(oldFile(ROOT_INODE, "file"), 1).status, Status::NOT_DIRECTORY);
  for (auto directory : {off, longer, inner}) oldFile(directory, "f");
  auto deleted = world.clock.ns();
  for (auto directory : {off, longer, inner}) remove(directory, "f");
  auto files = trash();
  ASSERT_EQ(files.size(), 2u);
  for (auto& file : files) EXPECT_EQ(file.departure.until, deleted + 7200 * SECOND);
  ASSERT_TRUE(keep(longer, KEEP_AS_CLUSTER).ok());
  oldFile(longer, "g");
  remove(longer, "g");
  EXPECT_EQ(trash()[0].departure.until, world.clock.ns() + 3600 * SECOND) << "the one that goes first";
}

TEST_F(TrashTest, SwitchedOffEverythingGoesAtOnceAndWhatIsThereStays) {
  oldFile(ROOT_INODE, "f");
  auto g = oldFile(ROOT_INODE, "g");
  remove(ROOT_INODE, "f");
  configure(0, 0);
  remove(ROOT_INODE, "g");
  EXPECT_FALSE(exists(g));
  EXPECT_EQ(trash().size(), 1u);
}

TEST_F(TrashTest, AFileHeldOpenUntilItsTimeIsOverIsPurged) {
  auto f = oldFile(ROOT_INODE, "f");
  client->unlink(ROOT_INODE, "f");
  world.clock.advance(3600 * kj::SECONDS);
  ASSERT_TRUE(world.purge({f}).ok());
  EXPECT_FALSE(exists(f));
  EXPECT_EQ(trash().size(), 0u);
  EXPECT_TRUE(world.read().whereabouts(ROOT_INODE) == nullptr);
}

TEST_F(TrashTest, NobodyChangesWhatIsInTheTrash) {
  auto f = oldFile(ROOT_INODE, "f");
  remove(ROOT_INODE, "f");
  EXPECT_EQ(client->truncate(f, 0).status, Status::STALE);
  EXPECT_EQ(client->publish(f, 5).status, Status::NOT_FOUND);
  EXPECT_EQ(client->setXattr(f, "user.a", "b").status, Status::STALE);
  EXPECT_EQ(client->link(f, ROOT_INODE, "g").status, Status::STALE);
  EXPECT_EQ(world.attach(f, 0), ChunkHandle());
}

TEST_F(TrashTest, PurgedItGoesWithItsChunks) {
  auto f = oldFile(ROOT_INODE, "f");
  world.attach(f, 0);
  remove(ROOT_INODE, "f");
  auto files = trash();
  auto outcome = empty(files);
  EXPECT_EQ(outcome.number, 1u);
  EXPECT_FALSE(exists(f));
  EXPECT_EQ(world.state().garbage, 1u);
  EXPECT_EQ(world.state().trash, 0u);
  EXPECT_EQ(empty(files).number, 0u) << "twice is harmless";
}

TEST_F(TrashTest, ThePathOfADirectoryThatIsGoneIsKnownWhileTheTrashNeedsIt) {
  auto a = client->directory(ROOT_INODE, "a");
  auto b = client->directory(a, "b");
  oldFile(b, "f");
  remove(b, "f");
  EXPECT_FALSE(KJ_REQUIRE_NONNULL(world.read().whereabouts(b)).parent) << "it is there: its parents tell";
  ASSERT_TRUE(client->rename(a, "b", a, "c").ok());
  ASSERT_TRUE(client->rmdir(a, "c").ok());
  ASSERT_TRUE(client->rmdir(ROOT_INODE, "a").ok());
  auto inner = KJ_REQUIRE_NONNULL(world.read().whereabouts(b));
  EXPECT_EQ(inner.name, "c");
  EXPECT_EQ(inner.parent, a);
  auto outer = KJ_REQUIRE_NONNULL(world.read().whereabouts(a));
  EXPECT_EQ(outer.name, "a");
  EXPECT_EQ(outer.parent, ROOT_INODE);
  EXPECT_EQ(restore(trash()[0], b, "f").status, Status::STALE) << "its directory is gone";
  empty(trash());
  for (auto directory : {a, b, ROOT_INODE}) EXPECT_TRUE(world.read().whereabouts(directory) == nullptr);
}

TEST_F(TrashTest, ItIsTheSameAfterARestart) {
  for (auto name : {"a", "b", "c"}) oldFile(ROOT_INODE, name);
  for (auto name : {"a", "b", "c"}) remove(ROOT_INODE, name);
  auto before = world.theNames().dump();
  world.killAndRestart();
  EXPECT_EQ(trash().size(), 3u);
  EXPECT_EQ(world.state().trash, 3u);
  EXPECT_EQ(world.state().trashKeep, 3600u);
}

}  // namespace
}  // namespace cairn
