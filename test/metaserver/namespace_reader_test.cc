// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Listings and paths: what the namespace tells without being changed.
#include "test/metaserver/operation_fixture.h"

namespace cairn {
namespace {

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

TEST_F(OperationTest, WhateverIsAskedOfAnInodeThatIsNotThereTellsWhetherItEverWas) {
  auto gone = client->file(ROOT_INODE, "gone");
  ASSERT_TRUE(client->unlink(ROOT_INODE, "gone").ok());
  world.purge({gone});
  for (auto [inode, why] :
       {std::pair(gone, Status::STALE), std::pair(InodeId(1'000'000), Status::NOT_FOUND)}) {
    auto& names = world.read();
    EXPECT_EQ(names.inode(inode).status(), why);
    EXPECT_EQ(names.lookup(inode, "a").status(), why);
    EXPECT_EQ(names.list(inode, 0, 10, ListingDetail::NAMES).status(), why);
    EXPECT_EQ(names.readLink(inode).status(), why);
    EXPECT_EQ(names.xattr(inode, "user.a").status(), why);
    EXPECT_EQ(names.xattrs(inode).status(), why);
    EXPECT_EQ(names.firstChunk(inode, ChunkIndex(0)).status(), why);
    EXPECT_EQ(names.firstSparse(inode, ChunkIndex(0)).status(), why);
    EXPECT_FALSE(names.isBelow(inode, ROOT_INODE));

    // And so do the operations.
    EXPECT_EQ(client->truncate(inode, 10).status, why);
    EXPECT_EQ(client->publish(inode, 10).status, Status::NOT_FOUND) << "its handler tells which";
    EXPECT_EQ(client->setXattr(inode, "user.a", "b").status, why);
    EXPECT_EQ(client->link(inode, ROOT_INODE, "again").status, why);
    EXPECT_EQ(client->create(inode, "inside").status, why);
    EXPECT_EQ(client
                  ->change([&, of = inode](auto change) {
                    auto punch = change.initPunch();
                    punch.setHollow(of.value());
                    punch.setEndChunk(1);
                  })
                  .status,
              why);
    EXPECT_EQ(world.ownChunk(inode, 0, 1, 1, 2).status, why);
    EXPECT_EQ(world
                  .own([&, of = inode](auto body) {
                    auto request = body.initSetReplicas();
                    request.setSubject(of.value());
                    request.setCopies(2);
                  })
                  .status,
              why);
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
