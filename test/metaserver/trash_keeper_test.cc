// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The trash of a running metaserver: it is emptied of what is due, gives space back when stores run out of
// it, and does what an operator asks. Virtual time.
#include "rpc/administration.capnp.h"
#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

constexpr int64_t SECOND = 1'000'000'000;
constexpr int64_t DAY = 24 * 3600 * SECOND;

class TrashKeeperTest : public FleetTest {
 protected:
  FakeMount* client = nullptr;

  void SetUp() override {
    joinAll(4);
    client = &mount();
    keepTrashFor(24 * 3600);
  }
  uint64_t deleted(kj::StringPtr name) {  // a file with a chunk, in the trash
    auto inode = written(*client, name);
    log->time += 1 * SECOND;
    EXPECT_EQ(unlink(*client, name), Status::OK);
    advance(100);
    return inode;
  }
  uint64_t inTrash() { return names->state().trash; }
  size_t chunksHeld() {
    size_t sum = 0;
    for (auto& store : stores) sum += store.chunks.size();
    return sum;
  }
  Status needSpace() {
    auto answer = client->session.needSpaceRequest().send();
    return await(kj::Promise<capnp::Response<rpc::Session::NeedSpaceResults>>(kj::mv(answer))).getStatus();
  }
  struct Listed {
    uint64_t inode;
    int64_t until;
    std::string path;
    bool directoryGone;
  };
  std::vector<Listed> list(uint32_t limit = 1000) {
    std::vector<Listed> all;
    int64_t until = 0;
    uint64_t inode = 0;
    for (bool more = true; more;) {
      auto request = administration().trashRequest();
      request.setUntil(until);
      request.setInode(inode);
      request.setLimit(limit);
      auto page = await(kj::Promise<capnp::Response<rpc::Administration::TrashResults>>(request.send()));
      for (auto file : page.getFiles()) {
        until = file.getId().getUntil();
        inode = file.getId().getInode();
        all.push_back({inode, until, file.getPath().cStr(), file.getDirectoryGone()});
      }
      more = page.getMore();
    }
    return all;
  }
  Status restore(const Listed& file, uint64_t directory = 0, kj::StringPtr name = "") {
    auto request = administration().restoreRequest();
    request.initFile().setInode(file.inode);
    request.getFile().setUntil(file.until);
    request.setDirectory(directory);
    request.setName(name);
    return await(kj::Promise<capnp::Response<rpc::Administration::RestoreResults>>(request.send()))
        .getStatus();
  }
};

TEST_F(TrashKeeperTest, WhatIsDueGoesWithItsChunks) {
  auto inode = deleted("f");
  EXPECT_EQ(inTrash(), 1u);
  EXPECT_EQ(chunksHeld(), 3u);
  log->time += DAY - SECOND;
  advance(10'000);
  EXPECT_TRUE(exists(inode)) << "a second is left";
  log->time += SECOND;
  advance(10'000);
  EXPECT_FALSE(exists(inode));
  EXPECT_EQ(inTrash(), 0u);
  EXPECT_EQ(chunksHeld(), 0u);
}

TEST_F(TrashKeeperTest, AnOpenFileGoesThereWhenItsLastHolderClosesIt) {
  auto inode = createFile(*client, "f");
  EXPECT_EQ(unlink(*client, "f"), Status::OK);
  advance(1000);
  EXPECT_EQ(inTrash(), 0u);
  release(*client, inode);
  advance(1000);
  EXPECT_EQ(inTrash(), 1u);
  EXPECT_EQ(open(*client, inode), Status::STALE);
  EXPECT_EQ(locate(*client, inode, For::WRITE).status, Status::STALE);
}

TEST_F(TrashKeeperTest, WhoHasCachedThatANameIsAbsentForgetsItBeforeTheNameComesBack) {
  deleted("f");
  mounts.emplace_back();
  auto& caching = mounts.back();
  caching.caching = true;
  ASSERT_EQ(openSession(caching), Status::OK);
  auto request = caching.session.lookupRequest();
  request.setParent(ROOT_INODE.value());
  request.setName("f");
  auto absent = await(kj::Promise<capnp::Response<rpc::Session::LookupResults>>(request.send()));
  EXPECT_EQ(absent.getStatus(), Status::NOT_FOUND);
  EXPECT_EQ(absent.getDirectory().getKind(), LeaseKind::READ);
  EXPECT_EQ(restore(list()[0]), Status::OK);
  ASSERT_EQ(caching.recalls.size(), 1u);
  EXPECT_EQ(caching.recalls[0].inode, ROOT_INODE);
}

TEST_F(TrashKeeperTest, UnderPressureWhatGoesNextAnywayGoesFirst) {
  auto first = deleted("first");
  auto second = deleted("second");
  for (auto& store : stores) store.bytesFree = trashReserve(store.bytesTotal) - 1;
  advance(1500);
  EXPECT_FALSE(exists(first));
  EXPECT_TRUE(exists(second)) << "the first has made room, as far as anybody knows";
  for (auto& store : stores) store.bytesFree = store.bytesTotal / 2;
  advance(60'000 - 5000);
  EXPECT_TRUE(exists(second));
}

TEST_F(TrashKeeperTest, WhoIsRefusedSpaceMayHopeAsLongAsTheTrashHasSome) {
  EXPECT_EQ(needSpace(), Status::NO_SPACE);
  deleted("f");
  EXPECT_EQ(needSpace(), Status::OK);
  advance(2000);
  EXPECT_EQ(inTrash(), 0u);
  EXPECT_EQ(needSpace(), Status::OK) << "it is on its way";
  advance(40'000);
  EXPECT_EQ(needSpace(), Status::NO_SPACE);
}

TEST_F(TrashKeeperTest, TheListShowsPathsAlsoOfDirectoriesThatAreGone) {
  auto make = [&](uint64_t parent, kj::StringPtr name, FileType type) {
    return change(*client,
                  [&](rpc::Change::Builder change) {
                    auto create = change.initCreate();
                    create.setParent(parent);
                    create.setName(name);
                    create.setType(type);
                    create.setMode(0755);
                  })
        .getOutcome()
        .getAttributes()
        .getInode();
  };
  auto remove = [&](uint64_t parent, kj::StringPtr name, bool directory) {
    log->time += SECOND;
    auto status = change(*client,
                         [&](rpc::Change::Builder change) {
                           if (directory) {
                             auto rmdir = change.initRmdir();
                             rmdir.setParent(parent);
                             rmdir.setName(name);
                           } else {
                             auto unlink = change.initUnlink();
                             unlink.setParent(parent);
                             unlink.setName(name);
                           }
                         })
                      .getOutcome()
                      .getStatus();
    EXPECT_EQ(status, Status::OK);
    advance(100);
  };
  auto a = make(ROOT_INODE.value(), "a", FileType::DIRECTORY);
  auto b = make(a, "b", FileType::DIRECTORY);
  make(b, "f", FileType::REGULAR);
  make(a, "g", FileType::REGULAR);
  remove(b, "f", false);
  remove(a, "g", false);
  auto files = list(1);
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].path, "/a/b/f");
  EXPECT_EQ(files[1].path, "/a/g");
  remove(a, "b", true);
  remove(ROOT_INODE.value(), "a", true);
  files = list();
  EXPECT_EQ(files[0].path, "/a/b/f");
  EXPECT_TRUE(files[0].directoryGone);
  EXPECT_EQ(restore(files[0]), Status::STALE);
  EXPECT_EQ(restore(files[0], ROOT_INODE.value(), "back"), Status::OK);
  EXPECT_EQ(restore(files[0], ROOT_INODE.value(), "back"), Status::NOT_FOUND);
  EXPECT_EQ(list().size(), 1u);
}

TEST_F(TrashKeeperTest, ItIsThereAfterARestart) {
  auto inode = deleted("f");
  auto time = log->time;
  restart();
  log->time = time + DAY;
  for (auto& one : stores) join(one);
  EXPECT_EQ(inTrash(), 1u);
  advance(10'000);
  EXPECT_FALSE(exists(inode)) << "and is emptied as ever";
}

}  // namespace
}  // namespace cairn
