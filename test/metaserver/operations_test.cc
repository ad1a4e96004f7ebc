// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Every operation on the namespace: what it does, what moves with it, and each refusal in the order of Linux.
#include <string.h>

#include <set>
#include <string>

#include "test/metaserver/metadata_world.h"

namespace cairn {
namespace {

struct OperationTest : testing::Test {
  ~OperationTest() noexcept override {}
  OperationTest() {
    world.start();
    client = kj::heap<Client>(world);
    world.clock.advance(1 * kj::SECONDS);
  }

  MetadataWorld world;
  kj::Own<Client> client;

  Attributes stat(InodeId inode) { return world.read().inode(inode).value().attributes; }
  Status statusOf(InodeId inode) { return world.read().inode(inode).status(); }
  InodeId find(InodeId parent, kj::StringPtr name) {
    auto found = world.read().lookup(parent, name);
    return found.ok() ? found->inode : InodeId();
  }
  int64_t tick() {
    world.clock.advance(1 * kj::SECONDS);
    return world.clock.ns();
  }
  kj::String longName(size_t size) {
    auto name = kj::heapString(size);
    memset(name.begin(), 'n', size);
    return name;
  }
  std::string names(InodeId directory) {
    std::set<std::string> all;
    auto listing = world.read().list(directory, 0, 1000, ListingDetail::NAMES);
    for (auto& entry : listing->entries) all.insert(entry.name.cStr());
    std::string text;
    for (auto& name : all) text += (text.empty() ? "" : " ") + name;
    return text;
  }
};

// -- create
// -----------------------------------------------------------------------------------------------------

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

// -- link, unlink, rmdir
// ----------------------------------------------------------------------------------------

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

// -- rename
// -----------------------------------------------------------------------------------------------------

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

// -- attributes
// -------------------------------------------------------------------------------------------------

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

// -- extended attributes
// ----------------------------------------------------------------------------------------

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

// -- chunks
// -----------------------------------------------------------------------------------------------------

TEST_F(OperationTest, AChunkIsAttachedOnceUnderAReservedHandle) {
  auto f = client->file(ROOT_INODE, "f");
  auto first = world.own([](auto body) { body.setReserveHandles(10); }).number;
  EXPECT_EQ(world.own([](auto body) { body.setReserveHandles(1); }).number, first + 10);
  EXPECT_TRUE(world.attach(f, 0, first).ok());
  auto again = world.attach(f, 0, first + 1);
  EXPECT_EQ(again.status, Status::EXISTS);
  EXPECT_EQ(again.chunk, ChunkHandle(first));
  EXPECT_EQ(world.attach(f, 1, first).status, Status::INVALID) << "in use";
  EXPECT_EQ(world.attach(f, 1, first + 100).status, Status::INVALID) << "not reserved";
  EXPECT_EQ(world.attach(f, 1, 0).status, Status::INVALID);
  EXPECT_EQ(world.attach(ROOT_INODE, 0, first + 2).status, Status::INVALID);
  EXPECT_EQ(world.attach(f, UINT64_MAX, first + 2).status, Status::TOO_BIG);
  EXPECT_EQ(world.attach(InodeId(99), 0, first + 2).status, Status::NOT_FOUND);
  auto record = KJ_REQUIRE_NONNULL(world.read().chunk(ChunkHandle(first)));
  EXPECT_EQ(record.version, ChunkVersion(1));
  EXPECT_EQ(record.floor, ChunkVersion(1));
  EXPECT_EQ(record.replicas, 3);
  client->truncate(f, 0);
  EXPECT_EQ(world.attach(f, 0, first).status, Status::INVALID) << "garbage is not given a second life";
}

TEST_F(OperationTest, VersionsRiseAndTheFloorFollowsWhenConfirmed) {
  auto f = client->file(ROOT_INODE, "f");
  auto chunk = world.attach(f, 0);
  EXPECT_EQ(world.raise(chunk, 1).number, 2u);
  EXPECT_EQ(world.raise(chunk, 1).status, Status::STALE_VERSION);
  EXPECT_EQ(world.raise(chunk, 2).number, 3u);
  EXPECT_EQ(KJ_REQUIRE_NONNULL(world.read().chunk(chunk)).floor, ChunkVersion(1));
  EXPECT_EQ(world.confirm(chunk, 2).status, Status::STALE_VERSION);
  EXPECT_TRUE(world.confirm(chunk, 3).ok());
  EXPECT_EQ(KJ_REQUIRE_NONNULL(world.read().chunk(chunk)).floor, ChunkVersion(3));
  EXPECT_EQ(world.raise(ChunkHandle(99), 1).status, Status::NOT_FOUND);
  EXPECT_EQ(world.confirm(ChunkHandle(99), 1).status, Status::NOT_FOUND);
}

TEST_F(OperationTest, ATruncateIsDoneWhenARoundThatToldItIsConfirmed) {
  auto f = client->file(ROOT_INODE, "f");
  auto chunk = world.attach(f, 0);
  client->publish(f, 10000);
  client->truncate(f, 5000);
  ASSERT_TRUE(world.raise(chunk, 1).ok());
  EXPECT_EQ(world.confirm(chunk, 2).status, Status::STALE_VERSION) << "the replicas were not told";
  client->truncate(f, 3000);
  EXPECT_EQ(world.confirm(chunk, 2, 5000).status, Status::STALE_VERSION) << "another cut came between";
  EXPECT_TRUE(world.confirm(chunk, 2, 3000).ok());
  EXPECT_EQ(KJ_REQUIRE_NONNULL(world.read().chunk(chunk)).validBytes, ALL_BYTES_VALID);
}

// -- sessions and stores
// ----------------------------------------------------------------------------------------

TEST_F(OperationTest, ARepeatedChangeGetsTheFirstAnswerAlsoAfterARestart) {
  auto ask = [&](uint64_t sequence, uint64_t answered) {
    client->sequence = sequence - 1;
    client->acknowledge = false;
    auto operation = client->prepare([&](auto change) {
      change.setAnswered(answered);
      auto request = change.initCreate();
      request.setParent(1);
      request.setName("once");
      request.setExclusive(true);
    });
    return world.propose(kj::mv(operation));
  };
  auto first = ask(1, 0);
  ASSERT_TRUE(first.ok());
  tick();
  auto again = ask(1, 0);
  EXPECT_TRUE(again.ok());
  EXPECT_EQ(again.index, first.index);
  EXPECT_TRUE(KJ_REQUIRE_NONNULL(again.attributes) == KJ_REQUIRE_NONNULL(first.attributes));
  EXPECT_TRUE(KJ_REQUIRE_NONNULL(again.parent) == KJ_REQUIRE_NONNULL(first.parent));
  EXPECT_EQ(ask(2, 0).status, Status::EXISTS);
  world.killAndRestart();
  EXPECT_EQ(ask(1, 0).index, first.index) << "from the log";
  world.stop();
  world.start();
  EXPECT_EQ(ask(1, 0).index, first.index) << "from the store";
  EXPECT_EQ(ask(2, 0).status, Status::EXISTS) << "a refusal is remembered as well";
  EXPECT_EQ(ask(3, 1).status, Status::EXISTS);
  EXPECT_EQ(ask(1, 0).status, Status::INVALID) << "it said that it has the answer";
  EXPECT_EQ(ask(2, 0).status, Status::EXISTS);
  world.stop();
  world.start();
  EXPECT_EQ(ask(1, 0).status, Status::INVALID);
  EXPECT_EQ(world.state().inodes, 2u);
}

TEST_F(OperationTest, AnswersGoWhenTheyAreAcknowledgedAndWithTheirSession) {
  for (int i = 0; i < 20; ++i) client->file(ROOT_INODE, kj::str(i));
  auto count = [&]() {
    auto dump = world.theNames().dump();
    size_t found = 0;
    for (size_t at = 0; (at = std::string(dump.cStr()).find("answer of session", at)) != std::string::npos;
         ++at)
      ++found;
    return found;
  };
  EXPECT_EQ(count(), 1u);
  auto f = client->file(ROOT_INODE, "orphan");
  client->unlink(ROOT_INODE, "orphan");
  auto close = [&]() {
    return world
        .own([&](auto body) {
          auto request = body.initCloseSession();
          request.setClosed(client->session.value());
          request.initPurge(1).set(0, f.value());
        })
        .status;
  };
  EXPECT_EQ(close(), Status::OK);
  EXPECT_EQ(count(), 0u);
  EXPECT_EQ(statusOf(f), Status::STALE);
  EXPECT_TRUE(world.read().session(client->session) == nullptr);
  EXPECT_EQ(close(), Status::SESSION_EXPIRED);
  EXPECT_EQ(client->create(ROOT_INODE, "late").status, Status::SESSION_EXPIRED);
}

TEST_F(OperationTest, SessionIdsAreNeverGivenAgain) {
  auto second = world.openSession("second");
  EXPECT_EQ(second.value(), client->session.value() + 1);
  world.own([&](auto body) { body.initCloseSession().setClosed(second.value()); });
  world.killAndRestart();
  EXPECT_EQ(world.openSession("third").value(), second.value() + 1);
  auto sessions = world.read().sessions();
  ASSERT_EQ(sessions.size(), 2u);
  EXPECT_EQ(sessions[1].name, "third");
}

TEST_F(OperationTest, AStoreKeepsItsServerId) {
  auto registerStore = [&](kj::StringPtr uuid, uint32_t remembered) {
    return world.own([&](auto body) {
      auto request = body.initRegisterStore();
      request.setStore(uuid);
      request.setServer(remembered);
    });
  };
  EXPECT_EQ(registerStore("uuid-a", 0).number, 1u);
  EXPECT_EQ(registerStore("uuid-b", 0).number, 2u);
  EXPECT_EQ(registerStore("uuid-a", 1).number, 1u);
  EXPECT_EQ(registerStore("uuid-a", 9).number, 1u) << "what is on record counts";
  EXPECT_EQ(registerStore("uuid-c", 7).number, 7u) << "the record was lost: the store knows";
  EXPECT_EQ(registerStore("uuid-d", 0).number, 8u);
  EXPECT_EQ(registerStore("uuid-e", 2).status, Status::INVALID) << "another store has it";
  EXPECT_EQ(registerStore("", 0).status, Status::INVALID);
  EXPECT_EQ(world.read().stores().size(), 4u);
  EXPECT_TRUE(world.own([](auto body) { body.setUnregisterStore(8); }).ok());
  EXPECT_EQ(world.own([](auto body) { body.setUnregisterStore(8); }).status, Status::NOT_FOUND);
  EXPECT_EQ(registerStore("uuid-f", 0).number, 9u) << "an id is not given again";
}

TEST_F(OperationTest, AMessageWithoutItsClosingZeroIsRefusedAlsoWhenReplayed) {
  auto operation = client->prepare([&](auto change) {
    auto request = change.initUnlink();
    request.setParent(1);
    auto name = request.initName(3);
    memcpy(name.begin(), "abc", 3);
    const_cast<char*>(name.end())[0] = 'x';
  });
  EXPECT_EQ(world.propose(kj::mv(operation)).status, Status::INVALID);
  world.killAndRestart();
  EXPECT_TRUE(client->create(ROOT_INODE, "goes on").ok());
}

// -- reading
// ----------------------------------------------------------------------------------------------------

TEST_F(OperationTest, AListingIsCompleteWhateverItsPageSize) {
  auto d = client->directory(ROOT_INODE, "d");
  std::set<std::string> expected;
  for (int i = 0; i < 300; ++i) {
    auto name = kj::str("name-", i);
    client->file(d, name);
    expected.insert(name.cStr());
  }
  for (uint32_t limit : {1u, 7u, 299u, 300u, 301u, 5000u}) {
    std::set<std::string> seen;
    uint64_t cookie = 0;
    for (auto end = ListingEnd::NO; end == ListingEnd::NO;) {
      auto page = world.read().list(d, cookie, limit, ListingDetail::ATTRIBUTES);
      ASSERT_TRUE(page.ok());
      ASSERT_LE(page->entries.size(), limit);
      for (auto& entry : page->entries) {
        ASSERT_GT(entry.cookie, cookie);
        ASSERT_GE(entry.cookie, 1024u);
        cookie = entry.cookie;
        ASSERT_TRUE(seen.insert(entry.name.cStr()).second) << "twice";
        ASSERT_EQ(find(d, entry.name), entry.attributes.inode);
        ASSERT_EQ(entry.attributes.mode, 0644);
      }
      end = page->end;
    }
    ASSERT_TRUE(seen == expected) << limit;
  }
}

TEST_F(OperationTest, AnEntryKeepsItsPlaceWhileOthersComeAndGo) {
  auto d = client->directory(ROOT_INODE, "d");
  for (int i = 0; i < 100; ++i) client->file(d, kj::str("stays-", i));
  for (int i = 0; i < 100; ++i) client->file(d, kj::str("goes-", i));
  std::set<std::string> seen;
  uint64_t cookie = 0;
  for (int round = 0;; ++round) {
    auto page = world.read().list(d, cookie, 3, ListingDetail::NAMES);
    for (auto& entry : page->entries) {
      cookie = entry.cookie;
      seen.insert(entry.name.cStr());
    }
    if (page->end == ListingEnd::YES) break;
    client->unlink(d, kj::str("goes-", round));
    client->file(d, kj::str("comes-", round));
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen.count(kj::str("stays-", i).cStr()), 1u) << i;
}

TEST_F(OperationTest, RemovingAllThatAListingShowsEmptiesADirectory) {
  auto d = client->directory(ROOT_INODE, "d");
  for (int i = 0; i < 200; ++i) client->file(d, kj::str(i));
  uint64_t cookie = 0;
  for (auto end = ListingEnd::NO; end == ListingEnd::NO;) {
    auto page = world.read().list(d, cookie, 20, ListingDetail::NAMES);
    for (auto& entry : page->entries) {
      cookie = entry.cookie;
      client->unlink(d, entry.name);
    }
    end = page->end;
  }
  EXPECT_TRUE(client->rmdir(ROOT_INODE, "d").ok());
}

TEST_F(OperationTest, PathsResolveFromTheRootWithoutFollowingSymlinks) {
  auto a = client->directory(ROOT_INODE, "a"), b = client->directory(a, "b");
  auto f = client->file(b, "f");
  auto l = client->symlink(a, "l", "b");
  auto& read = world.read();
  EXPECT_EQ(read.resolve("/")->inode, ROOT_INODE);
  EXPECT_EQ(read.resolve("/a/b/f")->inode, f);
  EXPECT_EQ(read.resolve("a//b/../b/./f")->inode, f);
  EXPECT_EQ(read.resolve("/a/l")->inode, l);
  EXPECT_EQ(read.resolve("/a/l/f").status(), Status::NOT_DIRECTORY);
  EXPECT_EQ(read.resolve("/a/b/f/").status(), Status::NOT_DIRECTORY);
  EXPECT_EQ(read.resolve("/../..")->inode, ROOT_INODE);
  EXPECT_EQ(read.resolve("/a/x").status(), Status::NOT_FOUND);
  EXPECT_EQ(read.resolve("").status(), Status::NOT_FOUND);
  EXPECT_EQ(read.resolve(kj::str('/', longName(256))).status(), Status::NAME_TOO_LONG);
  std::string deep;
  while (deep.size() < 4095) deep += "/";
  EXPECT_TRUE(read.resolve(deep.c_str()).ok());
  EXPECT_EQ(read.resolve((deep + "/").c_str()).status(), Status::NAME_TOO_LONG);
}

}  // namespace
}  // namespace cairn
