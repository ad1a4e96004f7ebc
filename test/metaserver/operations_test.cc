// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The operations on names: what each does, what moves with it, and each refusal in the order of Linux.
#include "test/metaserver/operation_fixture.h"

namespace cairn {
namespace {

// ------------------------------------------------------------ create

TEST_F(OperationTest, ANewFileBelongsToTheCallerAndMovesItsParentsTimes) {
  auto now = tick();
  auto outcome = client->create(ROOT_INODE, "a", {.mode = 0640, .uid = 7, .gid = 8});
  ASSERT_TRUE(outcome.ok());
  auto file = KJ_REQUIRE_NONNULL(outcome.attributes);
  EXPECT_EQ(file.mode, 0640);
  EXPECT_EQ(file.uid, 7u);
  EXPECT_EQ(file.gid, 8u);
  EXPECT_EQ(file.links, 1u);
  EXPECT_EQ(file.replicas, 3);
  EXPECT_EQ(file.ctime, now);
  auto parent = KJ_REQUIRE_NONNULL(outcome.parent);
  EXPECT_EQ(parent.mtime, now);
  EXPECT_EQ(parent.ctime, now);
  EXPECT_EQ(parent.size, 1u);
  EXPECT_EQ(parent.links, 2u);
  EXPECT_EQ(find(ROOT_INODE, "a"), file.inode);
  EXPECT_TRUE(stat(file.inode) == file);
}

TEST_F(OperationTest, EveryKindOfNodeCanBeMade) {
  auto d = client->directory(ROOT_INODE, "d");
  EXPECT_EQ(stat(d).links, 2u);
  EXPECT_EQ(stat(ROOT_INODE).links, 3u);
  auto l = client->symlink(d, "l", "../somewhere");
  EXPECT_EQ(stat(l).mode, 0777);
  EXPECT_EQ(stat(l).size, 12u);
  EXPECT_EQ(world.read().readLink(l).value(), "../somewhere");
  EXPECT_EQ(world.read().readLink(d).status(), Status::INVALID);
  for (auto type : {FileType::FIFO, FileType::SOCKET}) {
    auto outcome = client->create(d, kj::str(type), {.type = type});
    EXPECT_EQ(KJ_REQUIRE_NONNULL(outcome.attributes).type, type);
  }
  auto device = client->create(d, "tty", {.type = FileType::CHARACTER_DEVICE, .device = 0x501});
  EXPECT_EQ(KJ_REQUIRE_NONNULL(device.attributes).device, 0x501u);
  EXPECT_EQ(client->create(d, "x", {.type = static_cast<FileType>(77)}).status, Status::INVALID);
  EXPECT_EQ(client->create(d, "x", {.type = FileType::FIFO, .device = 1}).status, Status::INVALID);
  EXPECT_EQ(client->create(d, "x", {.type = FileType::SYMLINK}).status, Status::INVALID);
  EXPECT_TRUE(client->create(d, "y", {.type = FileType::SYMLINK, .target = longName(4095)}).ok());
  EXPECT_EQ(client->create(d, "z", {.type = FileType::SYMLINK, .target = longName(4096)}).status,
            Status::NAME_TOO_LONG);
}

TEST_F(OperationTest, SetgidOfTheParentGivesItsGroupAndPassesOnToDirectories) {
  auto d = client->directory(ROOT_INODE, "d");
  client->set(d, rpc::SET_MODE | rpc::SET_GID, [](auto request) {
    request.setMode(02775);
    request.setGid(55);
  });
  auto file = stat(client->file(d, "f"));
  EXPECT_EQ(file.gid, 55u);
  EXPECT_EQ(file.mode & 02000, 0);
  auto inner = stat(client->directory(d, "inner"));
  EXPECT_EQ(inner.gid, 55u);
  EXPECT_EQ(inner.mode & 02000, 02000);
}

TEST_F(OperationTest, CreateWithoutExclusiveAnswersTheFileThatIsThere) {
  auto a = client->file(ROOT_INODE, "a");
  client->directory(ROOT_INODE, "d");
  EXPECT_EQ(client->create(ROOT_INODE, "a").status, Status::EXISTS);
  auto again = client->create(ROOT_INODE, "a", {.exclusive = false});
  EXPECT_TRUE(again.ok());
  EXPECT_EQ(Client::made(kj::mv(again)), a);
  EXPECT_EQ(client->create(ROOT_INODE, "d", {.exclusive = false}).status, Status::IS_DIRECTORY);
  EXPECT_EQ(client->create(ROOT_INODE, "d", {.type = FileType::DIRECTORY, .exclusive = false}).status,
            Status::EXISTS);
  EXPECT_EQ(world.state().inodes, 3u);
}

TEST_F(OperationTest, ANameIsOneTo255BytesWithoutSlashOrZero) {
  EXPECT_TRUE(client->create(ROOT_INODE, longName(255)).ok());
  EXPECT_EQ(client->create(ROOT_INODE, longName(256)).status, Status::NAME_TOO_LONG);
  for (auto name : {"", ".", "..", "a/b", "/"})
    EXPECT_EQ(client->create(ROOT_INODE, name).status, Status::INVALID);
  EXPECT_EQ(client->create(ROOT_INODE, kj::StringPtr("a\0b", 3)).status, Status::INVALID);
  EXPECT_TRUE(client->create(ROOT_INODE, "\xff\xfe not UTF-8").ok());
  EXPECT_TRUE(client->create(ROOT_INODE, "...").ok());
}

TEST_F(OperationTest, WhatIsGoneIsStaleAndWhatNeverWasIsNotFound) {
  auto d = client->directory(ROOT_INODE, "d");
  auto f = client->file(ROOT_INODE, "f");
  ASSERT_TRUE(client->rmdir(ROOT_INODE, "d").ok());
  EXPECT_EQ(client->create(d, "a").status, Status::STALE);
  EXPECT_EQ(client->create(InodeId(999), "a").status, Status::NOT_FOUND);
  EXPECT_EQ(client->create(InodeId(0), "a").status, Status::NOT_FOUND);
  EXPECT_EQ(client->create(f, "a").status, Status::NOT_DIRECTORY);
  EXPECT_EQ(client->create(f, longName(300)).status, Status::NOT_DIRECTORY) << "before the name is looked at";
  EXPECT_EQ(statusOf(d), Status::STALE);
  EXPECT_EQ(statusOf(InodeId(999)), Status::NOT_FOUND);
  EXPECT_EQ(client->truncate(d, 0).status, Status::STALE);
  EXPECT_EQ(client->setXattr(d, "user.a", "b").status, Status::STALE);
  EXPECT_EQ(client->publish(d, 1).status, Status::NOT_FOUND);
}

TEST_F(OperationTest, ARefusalChangesNothing) {
  client->file(ROOT_INODE, "f");
  auto d = client->directory(ROOT_INODE, "d");
  client->file(d, "x");
  auto before = stat(ROOT_INODE);
  auto state = world.state();
  tick();
  EXPECT_FALSE(client->create(ROOT_INODE, "f").ok());
  EXPECT_FALSE(client->rmdir(ROOT_INODE, "d").ok());
  EXPECT_FALSE(client->unlink(ROOT_INODE, "d").ok());
  EXPECT_FALSE(client->unlink(ROOT_INODE, "no").ok());
  EXPECT_FALSE(client->rename(ROOT_INODE, "no", ROOT_INODE, "yes").ok());
  EXPECT_FALSE(client->rename(ROOT_INODE, "f", ROOT_INODE, "d").ok());
  EXPECT_TRUE(stat(ROOT_INODE) == before);
  state.applied = LogIndex(state.applied.value() + 6);
  EXPECT_TRUE(world.state() == state);
}

// ------------------------------------------------------------ link, unlink, rmdir

TEST_F(OperationTest, ALinkIsOneMoreNameOfTheSameInode) {
  auto d = client->directory(ROOT_INODE, "d");
  auto f = client->file(ROOT_INODE, "f");
  auto now = tick();
  ASSERT_TRUE(client->link(f, d, "g").ok());
  EXPECT_EQ(find(d, "g"), f);
  EXPECT_EQ(stat(f).links, 2u);
  EXPECT_EQ(stat(f).ctime, now);
  EXPECT_EQ(stat(d).mtime, now);
  EXPECT_EQ(client->link(f, d, "g").status, Status::EXISTS);
  EXPECT_EQ(client->link(d, d, "g").status, Status::EXISTS) << "as Linux: the name is looked at first";
  EXPECT_EQ(client->link(d, ROOT_INODE, "h").status, Status::NOT_PERMITTED);
  EXPECT_EQ(client->link(InodeId(999), d, "h").status, Status::NOT_FOUND);
  EXPECT_EQ(client->link(f, f, "h").status, Status::NOT_DIRECTORY);
  ASSERT_TRUE(client->unlink(ROOT_INODE, "f").ok());
  EXPECT_EQ(stat(f).links, 1u);
  ASSERT_TRUE(client->unlink(d, "g").ok());
  EXPECT_EQ(client->link(f, d, "back").status, Status::NOT_FOUND) << "an orphan gets no name again";
}

TEST_F(OperationTest, AFileHasAtMost65000Links) {
  auto f = client->file(ROOT_INODE, "f");
  auto d = client->directory(ROOT_INODE, "d");
  kj::Vector<kj::Promise<Outcome>> all;
  for (uint32_t i = 1; i < LINK_COUNT_MAX; ++i) {
    all.add(world.theLog().propose(client->prepare([&](auto change) {
      auto request = change.initLink();
      request.setInode(f.value());
      request.setParent(d.value());
      request.setName(kj::str(i));
    })));
  }
  for (auto& outcome : kj::joinPromises(all.releaseAsArray()).wait(world.scope)) ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(stat(f).links, LINK_COUNT_MAX);
  EXPECT_EQ(client->link(f, d, "one more").status, Status::TOO_MANY_LINKS);
}

TEST_F(OperationTest, TheLastUnlinkLeavesAnOrphanThatPurgeRemovesWithItsChunks) {
  auto f = client->file(ROOT_INODE, "f");
  auto chunk = world.attach(f, 0);
  ASSERT_TRUE(world.raise(chunk, 1).ok());
  auto outcome = client->unlink(ROOT_INODE, "f");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome.orphan, f);
  EXPECT_EQ(KJ_REQUIRE_NONNULL(outcome.attributes).links, 0u);
  EXPECT_EQ(find(ROOT_INODE, "f"), InodeId());
  EXPECT_EQ(stat(f).links, 0u) << "whoever has it open still sees it";
  EXPECT_EQ(world.state().orphans, 1u);
  EXPECT_EQ(world.read().orphans(InodeId(), 10).size(), 1u);
  EXPECT_TRUE(client->publish(f, 100).ok());

  ASSERT_TRUE(world.purge({f, InodeId(77)}).ok());
  EXPECT_EQ(statusOf(f), Status::STALE);
  EXPECT_EQ(world.state().orphans, 0u);
  EXPECT_EQ(world.state().chunks, 0u);
  EXPECT_TRUE(world.read().chunk(chunk) == nullptr);
  EXPECT_EQ(world.read().chunkAt(f, ChunkIndex(0)), ChunkHandle());
  auto garbage = world.read().garbage(ChunkHandle(), 10);
  ASSERT_EQ(garbage.size(), 1u);
  EXPECT_EQ(garbage[0].handle, chunk);
  EXPECT_EQ(garbage[0].version, ChunkVersion(2));
  EXPECT_TRUE(world.purge({f}).ok()) << "twice is harmless";
  world.own([&](auto body) { body.initCollectGarbage(1).set(0, chunk.value()); });
  EXPECT_EQ(world.read().garbage(ChunkHandle(), 10).size(), 0u);
  EXPECT_EQ(world.state().garbage, 0u);
}

TEST_F(OperationTest, AFileThatNobodyCanHaveOpenGoesAtOnce) {
  auto f = client->file(ROOT_INODE, "f");
  auto other = client->file(ROOT_INODE, "other");
  world.attach(f, 3);
  ASSERT_TRUE(client->setXattr(f, "user.a", "b").ok());
  client->unheld = f;
  auto outcome = client->unlink(ROOT_INODE, "f");
  EXPECT_EQ(outcome.orphan, InodeId());
  EXPECT_EQ(statusOf(f), Status::STALE);
  EXPECT_EQ(world.state().garbage, 1u);
  EXPECT_EQ(world.state().orphans, 0u);
  EXPECT_EQ(client->unlink(ROOT_INODE, "other").orphan, other) << "the word was about another inode";
}

TEST_F(OperationTest, AFileOfVeryManyChunksIsPurgedInSeveralOperations) {
  auto f = client->file(ROOT_INODE, "f");
  constexpr uint32_t COUNT = 5000;
  auto first = world.own([](auto body) { body.setReserveHandles(COUNT); }).number;
  kj::Vector<kj::Promise<Outcome>> all;
  for (uint32_t i = 0; i < COUNT; ++i) {
    auto operation = kj::heap<LoggedOperation>();
    auto request = operation->body().initAttachChunk();
    request.setInode(f.value());
    request.setChunkIndex(i);
    request.setHandle(first + i);
    all.add(world.theLog().propose(kj::mv(operation)));
  }
  for (auto& outcome : kj::joinPromises(all.releaseAsArray()).wait(world.scope)) ASSERT_TRUE(outcome.ok());
  client->unheld = f;
  EXPECT_EQ(client->unlink(ROOT_INODE, "f").orphan, f) << "too big to go at once";
  EXPECT_EQ(world.purge({f}).more, More::YES);
  EXPECT_EQ(world.state().chunks, COUNT - 4096);
  EXPECT_EQ(world.purge({f}).more, More::NO);
  EXPECT_EQ(world.state().chunks, 0u);
  EXPECT_EQ(world.state().garbage, COUNT);
  EXPECT_EQ(statusOf(f), Status::STALE);
}

TEST_F(OperationTest, UnlinkAndRmdirKeepToTheirKinds) {
  auto d = client->directory(ROOT_INODE, "d");
  auto f = client->file(d, "f");
  EXPECT_EQ(client->unlink(ROOT_INODE, "d").status, Status::IS_DIRECTORY);
  EXPECT_EQ(client->unlink(ROOT_INODE, "x").status, Status::NOT_FOUND);
  EXPECT_EQ(client->unlink(f, "x").status, Status::NOT_DIRECTORY);
  EXPECT_EQ(client->unlink(ROOT_INODE, longName(256)).status, Status::NAME_TOO_LONG);
  EXPECT_EQ(client->rmdir(d, "f").status, Status::NOT_DIRECTORY);
  EXPECT_EQ(client->rmdir(ROOT_INODE, "x").status, Status::NOT_FOUND);
  EXPECT_EQ(client->rmdir(ROOT_INODE, "d").status, Status::NOT_EMPTY);
  EXPECT_EQ(client->rmdir(ROOT_INODE, "..").status, Status::INVALID);
  ASSERT_TRUE(client->unlink(d, "f").ok());
  auto now = tick();
  ASSERT_TRUE(client->rmdir(ROOT_INODE, "d").ok());
  EXPECT_EQ(stat(ROOT_INODE).links, 2u);
  EXPECT_EQ(stat(ROOT_INODE).mtime, now);
  EXPECT_EQ(stat(ROOT_INODE).size, 0u);
}

// ------------------------------------------------------------ rename

TEST_F(OperationTest, RenameMovesANameAndTheTimesAroundIt) {
  auto d = client->directory(ROOT_INODE, "d"), e = client->directory(ROOT_INODE, "e");
  auto f = client->file(d, "f");
  auto now = tick();
  auto outcome = client->rename(d, "f", e, "g");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome.replaced, InodeId());
  EXPECT_EQ(find(d, "f"), InodeId());
  EXPECT_EQ(find(e, "g"), f);
  EXPECT_EQ(stat(f).ctime, now);
  for (auto inode : {d, e}) EXPECT_EQ(stat(inode).mtime, now);
  EXPECT_EQ(stat(d).size, 0u);
  EXPECT_EQ(stat(e).size, 1u);
}

TEST_F(OperationTest, ADirectoryTakesItsParentLinkAlong) {
  auto d = client->directory(ROOT_INODE, "d"), e = client->directory(ROOT_INODE, "e");
  auto inner = client->directory(d, "inner");
  ASSERT_TRUE(client->rename(d, "inner", e, "inner").ok());
  EXPECT_EQ(stat(d).links, 2u);
  EXPECT_EQ(stat(e).links, 3u);
  EXPECT_EQ(find(inner, ".."), e);
  ASSERT_TRUE(client->rename(e, "inner", e, "renamed").ok());
  EXPECT_EQ(stat(e).links, 3u);
  EXPECT_EQ(stat(e).size, 1u);
  EXPECT_EQ(find(e, "renamed"), inner);
}

TEST_F(OperationTest, RenameReplacesWhatIsThere) {
  auto a = client->file(ROOT_INODE, "a"), b = client->file(ROOT_INODE, "b");
  auto outcome = client->rename(ROOT_INODE, "a", ROOT_INODE, "b");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome.replaced, b);
  EXPECT_EQ(outcome.orphan, b);
  EXPECT_EQ(find(ROOT_INODE, "b"), a);
  EXPECT_EQ(names(ROOT_INODE), "b");
  EXPECT_EQ(stat(ROOT_INODE).size, 1u);

  auto d = client->directory(ROOT_INODE, "d"), e = client->directory(ROOT_INODE, "e");
  outcome = client->rename(ROOT_INODE, "d", ROOT_INODE, "e");
  EXPECT_EQ(outcome.replaced, e);
  EXPECT_EQ(outcome.orphan, InodeId());
  EXPECT_EQ(statusOf(e), Status::STALE);
  EXPECT_EQ(find(ROOT_INODE, "e"), d);
  EXPECT_EQ(stat(ROOT_INODE).links, 3u);

  auto sub = client->directory(d, "sub"), top = client->directory(ROOT_INODE, "top");
  ASSERT_TRUE(client->rename(d, "sub", ROOT_INODE, "top").ok());
  EXPECT_EQ(statusOf(top), Status::STALE);
  EXPECT_EQ(stat(ROOT_INODE).links, 4u);
  EXPECT_EQ(stat(d).links, 2u);
  EXPECT_EQ(find(sub, ".."), ROOT_INODE);
}

TEST_F(OperationTest, RenameRefusesAsLinuxDoes) {
  auto d = client->directory(ROOT_INODE, "d");
  auto inner = client->directory(d, "inner");
  auto deep = client->directory(inner, "deep");
  client->file(inner, "x");
  auto f = client->file(ROOT_INODE, "f");
  EXPECT_EQ(client->rename(ROOT_INODE, "d", deep, "d").status, Status::LOOP);
  EXPECT_EQ(client->rename(ROOT_INODE, "d", d, "d").status, Status::LOOP);
  EXPECT_EQ(client->rename(inner, "x", ROOT_INODE, "d").status, Status::NOT_EMPTY) << "over one it is in";
  EXPECT_EQ(client->rename(inner, "deep", d, "inner").status, Status::NOT_EMPTY);
  EXPECT_EQ(client->rename(ROOT_INODE, "f", d, "inner").status, Status::IS_DIRECTORY);
  EXPECT_EQ(client->rename(d, "inner", ROOT_INODE, "f").status, Status::NOT_DIRECTORY);
  auto full = client->directory(ROOT_INODE, "full");
  client->file(full, "y");
  EXPECT_EQ(client->rename(d, "inner", ROOT_INODE, "full").status, Status::NOT_EMPTY);
  EXPECT_EQ(client->rename(ROOT_INODE, "no", d, "y").status, Status::NOT_FOUND);
  EXPECT_EQ(client->rename(f, "no", d, "y").status, Status::NOT_DIRECTORY);
  EXPECT_EQ(client->rename(ROOT_INODE, "f", f, "y").status, Status::NOT_DIRECTORY);
  EXPECT_EQ(client->rename(ROOT_INODE, "f", InodeId(99), "y").status, Status::NOT_FOUND);
  EXPECT_EQ(client->rename(ROOT_INODE, "f", d, longName(256)).status, Status::NAME_TOO_LONG);
  EXPECT_EQ(client->rename(ROOT_INODE, "f", d, "..").status, Status::INVALID);
  EXPECT_EQ(client->rename(ROOT_INODE, "f", d, "y", 8).status, Status::INVALID);
  EXPECT_EQ(client->rename(ROOT_INODE, "f", d, "y", 3).status, Status::INVALID);
}

TEST_F(OperationTest, NoreplaceAndExchange) {
  auto d = client->directory(ROOT_INODE, "d"), e = client->directory(ROOT_INODE, "e");
  auto f = client->file(ROOT_INODE, "f");
  auto inner = client->directory(d, "inner");
  EXPECT_EQ(client->rename(ROOT_INODE, "f", ROOT_INODE, "d", 1).status, Status::EXISTS);
  EXPECT_TRUE(client->rename(ROOT_INODE, "f", ROOT_INODE, "g", 1).ok());
  EXPECT_EQ(client->rename(ROOT_INODE, "g", ROOT_INODE, "no", 2).status, Status::NOT_FOUND);
  ASSERT_TRUE(client->rename(ROOT_INODE, "g", d, "inner", 2).ok());
  EXPECT_EQ(find(ROOT_INODE, "g"), inner);
  EXPECT_EQ(find(d, "inner"), f);
  EXPECT_EQ(find(inner, ".."), ROOT_INODE);
  EXPECT_EQ(stat(d).links, 2u);
  EXPECT_EQ(stat(ROOT_INODE).links, 5u);
  EXPECT_EQ(client->rename(ROOT_INODE, "e", e, "x", 2).status, Status::NOT_FOUND);
  auto sub = client->directory(e, "sub");
  EXPECT_EQ(client->rename(ROOT_INODE, "e", e, "sub", 2).status, Status::LOOP);
  EXPECT_EQ(client->rename(e, "sub", ROOT_INODE, "e", 2).status, Status::LOOP);
  ASSERT_TRUE(client->rename(ROOT_INODE, "d", ROOT_INODE, "e", 2).ok()) << "not empty is no matter";
  EXPECT_EQ(find(ROOT_INODE, "d"), e);
  EXPECT_EQ(find(e, "sub"), sub);
}

TEST_F(OperationTest, TwoNamesOfOneInodeStayAsTheyAre) {
  auto f = client->file(ROOT_INODE, "f");
  client->link(f, ROOT_INODE, "g");
  auto before = stat(f);
  tick();
  EXPECT_TRUE(client->rename(ROOT_INODE, "f", ROOT_INODE, "g").ok());
  EXPECT_TRUE(client->rename(ROOT_INODE, "f", ROOT_INODE, "f").ok());
  EXPECT_EQ(names(ROOT_INODE), "f g");
  EXPECT_TRUE(stat(f) == before);
}

}  // namespace
}  // namespace cairn
