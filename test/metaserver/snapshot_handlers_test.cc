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

  void SetUp() override {
    joinAll(3);
    one = &cachingMount();
    two = &cachingMount();
    tree = makeDirectory("tree");
  }
  FakeMount& cachingMount() {
    mounts.emplace_back();
    mounts.back().caching = true;
    EXPECT_EQ(openSession(mounts.back()), Status::OK);
    return mounts.back();
  }
  uint64_t makeDirectory(kj::StringPtr name) {
    auto response = change(*one, [&](rpc::Change::Builder change) {
      auto create = change.initCreate();
      create.setParent(ROOT_INODE.value());
      create.setName(name);
      create.setType(FileType::DIRECTORY);
      create.setMode(0755);
    });
    EXPECT_EQ(response.getOutcome().getStatus(), Status::OK);
    return response.getOutcome().getAttributes().getInode();
  }
  uint64_t createIn(uint64_t parent, FakeMount& mount, kj::StringPtr name) {
    auto response = change(mount, [&](rpc::Change::Builder change) {
      auto create = change.initCreate();
      create.setParent(parent);
      create.setName(name);
      create.setType(FileType::REGULAR);
      create.setMode(0644);
    });
    EXPECT_EQ(response.getOutcome().getStatus(), Status::OK);
    return response.getOutcome().getAttributes().getInode();
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
    auto connecting = service->newConnection("cli").administrationRequest().send();
    auto administration =
        await(kj::Promise<capnp::Response<rpc::Metaserver::AdministrationResults>>(kj::mv(connecting)))
            .getAdministration();
    auto request = administration.snapshotRequest();
    request.setOriginal(tree);
    request.setDirectory(ROOT_INODE.value());
    request.setName("copy");
    return Answer(request.send()).attach(kj::cp(administration)).eagerlyEvaluate(nullptr);
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
  ASSERT_EQ(acquire(*one, file), LeaseKind::WRITE);
  one->obeys = Obeys::WHEN_TOLD;
  auto answer = snapshotting();
  advance(300);
  EXPECT_FALSE(isDone(answer)) << "it may have written what nobody else knows of";
  EXPECT_EQ(publish(*one, file, 4711), Status::OK);
  one->obey();
  EXPECT_EQ(await(kj::mv(answer)).getStatus(), Status::OK);
  EXPECT_EQ(lengthIn("copy", "f"), 4711u);
}

TEST_F(SnapshotHandlers, NobodyBeginsToWriteUntilItIsDone) {
  auto first = createIn(tree, *one, "first"), second = createIn(tree, *one, "second");
  auto third = createIn(tree, *two, "third");
  ASSERT_EQ(acquire(*one, first), LeaseKind::WRITE);
  one->obeys = Obeys::WHEN_TOLD;
  auto answer = snapshotting();
  advance(300);
  EXPECT_EQ(acquire(*one, second), LeaseKind::WRITE) << "as long as it only waits for those who write";
  one->obey();
  advance(300);
  EXPECT_FALSE(isDone(answer)) << "the second file is written now";
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
  auto inside = createIn(tree, *one, "inside"), next = createIn(tree, *one, "next");
  auto outside = createIn(ROOT_INODE.value(), *two, "outside");
  ASSERT_EQ(acquire(*one, inside), LeaseKind::WRITE);
  ASSERT_EQ(acquire(*two, outside), LeaseKind::WRITE);
  one->obeys = two->obeys = Obeys::WHEN_TOLD;
  auto answer = snapshotting();
  advance(300);
  ASSERT_EQ(acquire(*one, next), LeaseKind::WRITE);
  one->obey();
  advance(300);  // the pause has begun, and waits for `next`
  auto moving = [&]() {
    auto request = two->session.changeRequest();
    auto change = request.getChange();
    change.setSequence(++two->sequence);
    auto rename = change.initRename();
    rename.setParent(ROOT_INODE.value());
    rename.setName("outside");
    rename.setNewParent(tree);
    rename.setNewName("moved");
    return kj::Promise<capnp::Response<rpc::Session::ChangeResults>>(request.send()).eagerlyEvaluate(nullptr);
  }();
  for (int i = 0; i < 20; ++i) {
    advance(100);
    one->obey();
    if (publish(*two, outside, 33) == Status::OK) two->obey();
  }
  EXPECT_EQ(await(kj::mv(answer)).getStatus(), Status::OK);
  EXPECT_EQ(await(kj::mv(moving)).getOutcome().getStatus(), Status::OK);
  auto there = lengthIn("copy", "moved");
  EXPECT_TRUE(there == 33 || there == UINT64_MAX) << there << ": whole, or not there yet";
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

TEST_F(SnapshotHandlers, WhoFallsSilentInThePauseEndsItWithBusy) {
  auto file = createIn(tree, *one, "f"), other = createIn(tree, *two, "g");
  ASSERT_EQ(acquire(*one, file), LeaseKind::WRITE);
  one->obeys = Obeys::WHEN_TOLD;
  auto answer = snapshotting();
  advance(300);
  ASSERT_EQ(acquire(*one, other), LeaseKind::WRITE);
  one->obey();
  advance(1000);
  auto writing = acquiring(*two, file);
  EXPECT_FALSE(isDone(writing));
  EXPECT_EQ(await(kj::mv(answer), 3000).getStatus(), Status::BUSY);
  EXPECT_EQ(lengthIn("copy", "f"), UINT64_MAX);
  EXPECT_EQ(await(kj::mv(writing)), LeaseKind::NONE) << "it was to ask again";
  EXPECT_EQ(acquire(*two, file), LeaseKind::WRITE) << "the pause is over";
}

}  // namespace
}  // namespace cairn
