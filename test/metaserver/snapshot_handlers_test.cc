// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A snapshot of a tree that mounts write: what they had not sent is in it, and nobody writes meanwhile. The
// mounts are fake: they do what a test tells them. Virtual time.
#include "rpc/administration.capnp.h"
#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

using Obeys = FakeMount::Obeys;

class SnapshotHandlers : public FleetTest {
 protected:
  using Answer = kj::Promise<capnp::Response<rpc::Administration::SnapshotResults>>;
  FakeMount *one = nullptr, *two = nullptr;
  uint64_t tree = 0;

  virtual SnapshotLimits limits() { return {}; }
  void SetUp() override {
    options.snapshots = limits();
    service = nullptr;
    service = kj::heap<MetaService>(options, *log, names->read(), timer, entropy, logger());
    joinAll(3);
    one = &cachingMount();
    two = &cachingMount();
    tree = createDirectory(*two, "tree");
  }
  uint64_t createIn(uint64_t parent, FakeMount& mount, kj::StringPtr name) {
    return createFile(mount, name, Create::CLOSED, InodeId(parent));
  }
  kj::Promise<LeaseKind> acquiring(FakeMount& mount, uint64_t inode) {
    auto request = mount.session.acquireRequest();
    request.setInode(inode);
    request.setKind(LeaseKind::WRITE);
    return request.send()
        .then([](capnp::Response<rpc::Session::AcquireResults>&& response) {
          return response.getAttributes().getLease();
        })
        .eagerlyEvaluate(nullptr);
  }
  LeaseKind acquire(FakeMount& mount, uint64_t inode) { return await(acquiring(mount, inode)); }
  Answer snapshotting() {
    auto request = administration().snapshotRequest();
    request.setOriginal(tree);
    request.setDirectory(ROOT_INODE.value());
    request.setName("copy");
    return Answer(request.send()).eagerlyEvaluate(nullptr);
  }
  Answer snapshottingWhileOneWrites(uint64_t file) {
    // It is asked to send what it has, and does so when the test says.
    EXPECT_EQ(acquire(*one, file), LeaseKind::WRITE);
    one->obeys = Obeys::WHEN_TOLD;
    auto answer = snapshotting();
    advance(300);
    return answer;
  }
  Answer snapshottingInItsPause(uint64_t first, uint64_t second) {
    // One that waits for `one` to give back `second`, which it has been given while it was asked for `first`.
    EXPECT_EQ(acquire(*one, first), LeaseKind::WRITE);
    one->obeys = Obeys::WHEN_TOLD;
    auto answer = snapshotting();
    advance(300);
    EXPECT_EQ(acquire(*one, second), LeaseKind::WRITE) << "as long as it only waits for those who write";
    one->obey();
    advance(300);
    EXPECT_FALSE(isDone(answer));
    return answer;
  }
  uint64_t lengthIn(kj::StringPtr directory, kj::StringPtr name) {
    auto found = names->read().lookup(ROOT_INODE, directory);
    if (!found.ok()) return UINT64_MAX;
    auto file = names->read().lookup(found->inode, name);
    return file.ok() ? file->size : UINT64_MAX;
  }
  template <typename T>
  bool isDone(kj::Promise<T>& promise) {
    settle();
    return promise.poll(scope);
  }
};

TEST_F(SnapshotHandlers, WaitsForWhatAMountHasNotSent) {
  auto file = createIn(tree, *one, "f");
  auto answer = snapshottingWhileOneWrites(file);
  EXPECT_FALSE(isDone(answer)) << "it may have written what nobody else knows of";
  EXPECT_EQ(publish(*one, file, 4711), Status::OK);
  one->obey();
  EXPECT_EQ(await(kj::mv(answer)).getStatus(), Status::OK);
  EXPECT_EQ(lengthIn("copy", "f"), 4711u);
}

TEST_F(SnapshotHandlers, NobodyBeginsToWriteUntilItIsDone) {
  auto first = createIn(tree, *one, "first"), second = createIn(tree, *one, "second");
  auto third = createIn(tree, *two, "third");
  auto answer = snapshottingInItsPause(first, second);
  auto writing = acquiring(*two, third);
  EXPECT_FALSE(isDone(writing)) << "what it writes now may be in order after what is in the snapshot";
  EXPECT_EQ(publish(*one, second, 22), Status::OK);
  one->obey();
  EXPECT_EQ(await(kj::mv(answer)).getStatus(), Status::OK);
  EXPECT_EQ(await(kj::mv(writing)), LeaseKind::WRITE);
  EXPECT_EQ(lengthIn("copy", "second"), 22u);
  EXPECT_EQ(lengthIn("copy", "third"), 0u);
}

TEST_F(SnapshotHandlers, AFileThatIsWrittenAndMovedIntoTheTreeMeanwhileIsWaitedForToo) {
  auto first = createIn(tree, *two, "first"), second = createIn(tree, *two, "second");
  auto elsewhere = createDirectory(*two, "elsewhere");
  auto moved = createIn(elsewhere, *two, "moved");
  ASSERT_EQ(acquire(*two, moved), LeaseKind::WRITE);
  auto answer = snapshottingInItsPause(first, second);
  auto renamed = change(*two, [&](rpc::Change::Builder change) {
    auto rename = change.initRename();
    rename.setParent(elsewhere);
    rename.setName("moved");
    rename.setNewParent(tree);
    rename.setNewName("moved");
  });
  ASSERT_EQ(renamed.getOutcome().getStatus(), Status::OK);
  two->obeys = Obeys::WHEN_TOLD;
  one->obey();
  advance(300);
  EXPECT_FALSE(isDone(answer)) << "its writer has not been asked";
  EXPECT_EQ(publish(*two, moved, 33), Status::OK);
  two->obey();
  EXPECT_EQ(await(kj::mv(answer)).getStatus(), Status::OK);
  EXPECT_EQ(lengthIn("copy", "moved"), 33u);
}

TEST_F(SnapshotHandlers, WhoNeitherAnswersNorRenewsIsWaitedForWhereItIsInNobodysWay) {
  auto file = createIn(tree, *one, "f"), other = createIn(tree, *two, "g");
  ASSERT_EQ(acquire(*one, file), LeaseKind::WRITE);
  one->obeys = Obeys::NEVER;
  auto answer = snapshotting();
  advance(1000);
  EXPECT_EQ(acquire(*two, other), LeaseKind::WRITE);
  EXPECT_FALSE(isDone(answer));
  EXPECT_EQ(await(kj::mv(answer)).getStatus(), Status::OK) << "its leases are over";
}

class SmallSnapshots : public SnapshotHandlers {
 public:
  ~SmallSnapshots() noexcept override {}

 private:
  SnapshotLimits limits() override { return {.inodes = 4, .chunks = 2, .step = 5}; }
};

TEST_F(SmallSnapshots, ATreeThatGrowsTooLargeMeanwhileIsLeftAlone) {
  auto file = createIn(tree, *one, "f");
  auto answer = snapshottingWhileOneWrites(file);
  for (auto name : {"g", "h", "i"}) {
    auto made = log->carryOut([&](auto body) {
      body.setSession(two->id);
      auto change = body.initChange();
      change.setSequence(++two->sequence);
      auto create = change.initCreate();
      create.setParent(tree);
      create.setName(name);
    });
    EXPECT_EQ(made.status, Status::OK);
  }
  one->obey();
  EXPECT_EQ(await(kj::mv(answer)).getStatus(), Status::TOO_BIG);
  EXPECT_FALSE(names->read().lookup(ROOT_INODE, "copy").ok());
}

TEST_F(SmallSnapshots, ATreeOfTooManyChunksIsTooLargeAsWell) {
  auto& plain = mount();
  for (auto name : {"f", "g", "h"}) written(plain, name, InodeId(tree));
  EXPECT_EQ(await(snapshotting()).getStatus(), Status::TOO_BIG);
  EXPECT_FALSE(names->read().lookup(ROOT_INODE, "copy").ok());
}

TEST_F(SnapshotHandlers, WithoutTheStoresOfAChunkThatMayBeWrittenItIsBusy) {
  written(mount(), "f", InodeId(tree));
  for (auto& store : stores) store.mood = FakeStore::Mood::HANGS;
  EXPECT_EQ(await(snapshotting()).getStatus(), Status::BUSY);
  EXPECT_FALSE(names->read().lookup(ROOT_INODE, "copy").ok());
}

TEST_F(SnapshotHandlers, WhoFallsSilentInThePauseEndsItWithBusy) {
  auto file = createIn(tree, *one, "f"), other = createIn(tree, *two, "g");
  auto answer = snapshottingInItsPause(file, other);
  auto writing = acquiring(*two, file);
  EXPECT_FALSE(isDone(writing));
  EXPECT_EQ(await(kj::mv(answer), 3000).getStatus(), Status::BUSY);
  EXPECT_EQ(lengthIn("copy", "f"), UINT64_MAX);
  EXPECT_EQ(await(kj::mv(writing)), LeaseKind::NONE) << "it was to ask again";
  EXPECT_EQ(acquire(*two, file), LeaseKind::WRITE) << "the pause is over";
}

}  // namespace
}  // namespace cairn
