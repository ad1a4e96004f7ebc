// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What somebody else does in the middle of a call: a file or a directory goes between two of its steps, a
// name comes to mean another file, a store turns out to be bad. Virtual time.
#include <map>

#include "metaserver/namespace_scan.h"
#include "rpc/administration.capnp.h"
#include "test/metaserver/fleet_fixture.h"
#include "test/metaserver/raw_store.h"

namespace cairn {
namespace {

using Mood = FakeStore::Mood;
using Which = rpc::Operation::Which;

class Meanwhile : public FleetTest {
 protected:
  FakeMount *client = nullptr, *other = nullptr;

  void SetUp() override {
    joinAll(3);
    client = &mount();
    other = &mount();
  }
  std::pair<uint64_t, Located> writtenAndToBeGrantedAnew() {
    // Its primary has died and is back: whoever writes it next makes the replicas take a higher version.
    auto inode = written(*client, "f");
    auto location = locate(*client, inode, For::WRITE);
    auto& primary = byId(location.primary);
    kill(primary);
    join(primary);
    return {inode, location};
  }
  template <typename Results, typename Request>
  capnp::Response<Results> answer(Request request) {
    return await(kj::Promise<capnp::Response<Results>>(request.send()));
  }
  template <typename Action>
  ImmediateLog::Meanwhile once(Which kind, Action action) {
    // With the first operation of that kind.
    return [kind, action, done = false](rpc::Operation::Reader operation) mutable {
      if (done || operation.which() != kind) return;
      done = true;
      action();
    };
  }
  Status acquire(FakeMount& mount, uint64_t inode, LeaseKind kind) {
    auto request = mount.session.acquireRequest();
    request.setInode(inode);
    request.setKind(kind);
    return answer<rpc::Session::AcquireResults>(kj::mv(request)).getStatus();
  }
  void live(int64_t seconds) {
    for (int64_t done = 0; done < seconds; done += 5) {
      advance(5'000);
      for (auto& mount : mounts) EXPECT_EQ(renew(mount), Status::OK);
    }
  }
};

TEST_F(Meanwhile, ADirectoryThatGoesWhileATreeIsWalkedIsLeftOut) {
  auto tree = createDirectory(*client, "tree"), inner = createDirectory(*client, "inner", InodeId(tree));
  log->after = [&, seen = 0](rpc::Operation::Reader operation) mutable {
    if (operation.isSetReplicas() && ++seen == 2) removeMeanwhile(*other, "inner", inner, InodeId(tree));
  };
  auto setReplicas = administration().setReplicasRequest();
  setReplicas.setPath("/tree");
  setReplicas.setReplicas(2);
  setReplicas.setRecursive(true);
  auto changed = answer<rpc::Administration::SetReplicasResults>(kj::mv(setReplicas));
  EXPECT_EQ(changed.getStatus(), Status::OK);
  EXPECT_EQ(changed.getFiles(), 2u);
  EXPECT_FALSE(exists(inner));

  log->after = once(Which::KEEP_TRASH, [&]() { removeMeanwhile(*other, "tree", tree); });
  auto keep = administration().keepTrashRequest();
  keep.setDirectory(tree);
  keep.setSeconds(100);
  keep.setRecursive(true);
  auto kept = answer<rpc::Administration::KeepTrashResults>(kj::mv(keep));
  EXPECT_EQ(kept.getStatus(), Status::OK);
  EXPECT_EQ(kept.getDirectories(), 1u);
  EXPECT_FALSE(exists(tree));
}

TEST_F(Meanwhile, AFileThatGoesWhileAStoreIsWaitedForGetsNoChunk) {
  auto inode = createFile(*client, "f", Create::CLOSED);
  for (auto& store : stores) store.onlyAdopt = Mood::HANGS;
  auto locating = this->locating(*client, inode, For::WRITE);
  settle();
  removeMeanwhile(*other, "f", inode);
  live(30);
  EXPECT_EQ(await(kj::mv(locating)).status, Status::STALE);
  EXPECT_EQ(names->state().chunks, 0u);
}

TEST_F(Meanwhile, AFileThatGoesWhileItsChunkIsClonedGetsNone) {
  auto source = createFile(*client, "source"), target = createFile(*client, "target", Create::CLOSED);
  auto location = locate(*client, source, For::WRITE);
  ASSERT_EQ(publish(*client, source, 5000), Status::OK);
  ASSERT_EQ(share(*client, source, target, 5000), Status::OK);
  for (auto& store : stores) store.onlyClone = Mood::HANGS;
  auto locating = this->locating(*client, target, For::WRITE);
  settle();
  removeMeanwhile(*other, "target", target);
  live(30);
  EXPECT_EQ(await(kj::mv(locating)).status, Status::STALE);
  EXPECT_EQ(locate(*client, source, For::READ).handle, location.handle);
}

TEST_F(Meanwhile, ACloneWaitsForARoomInTheLogForItsHandle) {
  auto source = createFile(*client, "source"), target = createFile(*client, "target");
  locate(*client, source, For::WRITE);
  ASSERT_EQ(publish(*client, source, 5000), Status::OK);
  ASSERT_EQ(share(*client, source, target, 5000), Status::OK);
  restart();  // whose next handle is of a range of its own
  joinAll(3);
  ASSERT_EQ(openSession(*client), Status::OK);
  log->refuse = Status::NO_SPACE;
  log->refuseKind = Which::RESERVE_HANDLES;
  EXPECT_EQ(locate(*client, target, For::WRITE).status, Status::NO_SPACE);
  EXPECT_GT(log->refused, 0u);
  log->refuse = Status::OK;
  EXPECT_EQ(locate(*client, target, For::WRITE).status, Status::OK);
}

TEST_F(Meanwhile, AFileThatGoesBeforeItsNewVersionIsConfirmedIsNotWritten) {
  auto [inode, location] = writtenAndToBeGrantedAnew();
  bool went = false;
  log->before = once(Which::CONFIRM_VERSION, [&, inode = inode]() {
    removeMeanwhile(*other, "f", inode);
    went = true;
  });
  EXPECT_EQ(locate(*client, inode, For::WRITE).status, Status::STALE);
  EXPECT_TRUE(went);
  for (auto& store : stores) EXPECT_EQ(store.leases.count(location.handle.value()), 0u);
}

TEST_F(Meanwhile, ATruncateBeforeANewVersionIsConfirmedIsCarriedOutByTheReplicasBeforeTheyAreWritten) {
  auto [inode, location] = writtenAndToBeGrantedAnew();
  log->before = once(Which::CONFIRM_VERSION, [&, inode = inode]() {
    auto outcome = log->carryOut([&](auto body) {
      body.setSession(other->id);
      auto change = body.initChange();
      change.setSequence(++other->sequence);
      auto set = change.initSetAttributes();
      set.setInode(inode);
      set.setSet(rpc::SET_SIZE);
      set.setSize(4);
    });
    EXPECT_EQ(outcome.status, Status::OK);
  });
  auto next = locate(*client, inode, For::WRITE);
  EXPECT_EQ(next.status, Status::OK);
  EXPECT_EQ(next.validBytes, ALL_BYTES_VALID);
  for (auto server : next.replicas)
    EXPECT_EQ(byId(server).chunks[location.handle.value()].truncated, 4u) << server;
}

TEST_F(Meanwhile, ASuspectThatCannotBeMadeWholeIsLeftOutAndTheOthersServe) {
  auto inode = written(*client, "f");
  auto location = locate(*client, inode, For::WRITE);
  for (auto& store : stores) {
    if (store.number > 3) continue;
    store.chunks[location.handle.value()].suspect = true;
    store.onlyReconcile = Mood::REFUSES;  // the longest is the reference, and asked alone
    store.leases.clear();
  }
  restart();
  joinAll(3);
  ASSERT_EQ(openSession(*client), Status::OK);
  EXPECT_NE(locate(*client, inode, For::WRITE).status, Status::OK);
  EXPECT_TRUE(hasSaid("cannot be made equal"));
  for (auto& store : stores) store.onlyReconcile = Mood::OBEYS;
  for (auto& store : stores) {
    if (store.number <= 3) kill(store), join(store);
  }
  auto again = locate(*client, inode, For::WRITE);
  EXPECT_EQ(again.status, Status::OK);
  EXPECT_GE(again.replicas.size(), 2u);
}

TEST_F(Meanwhile, AReplicaThatIsFoundBadWhenAnotherIsMadeEqualIsReadNoMore) {
  auto inode = written(*client, "f");
  auto location = locate(*client, inode, For::WRITE);
  auto& behind = byId(location.replicas.back());
  auto& bad = byId(location.replicas.front());
  behind.chunks[location.handle.value()].serial = 1, behind.chunks[location.handle.value()].written = 0;
  for (auto& store : stores) store.findsBad = {bad.server}, store.onlyCopy = Mood::REFUSES;
  kill(byId(location.primary));
  join(byId(location.primary));
  live(20);
  EXPECT_TRUE(hasSaid("that do not match their checksums")) << said;
  for (auto& store : stores) store.findsBad.clear();
  auto replicas = locate(*client, inode, For::READ).replicas;
  EXPECT_EQ(std::count(replicas.begin(), replicas.end(), bad.server), 0);
}

TEST_F(Meanwhile, RecordsOfDroppedChunksStayUntilTheLogTakesTheirEnd) {
  auto inode = written(*client, "f");
  log->refuseKind = Which::COLLECT_GARBAGE;
  log->refuse = Status::NO_SPACE;
  EXPECT_EQ(unlink(*client, "f"), Status::OK);
  live(120);
  EXPECT_FALSE(exists(inode));
  EXPECT_TRUE(hasSaid("1 dropped chunks stay: noSpace"));
  EXPECT_EQ(names->state().garbage, 1u);
  log->refuse = Status::OK;
  live(120);
  EXPECT_EQ(names->state().garbage, 0u);
}

TEST_F(Meanwhile, ANameThatMeansAnotherFileWhenItIsRemovedWaitsForWhoeverHasThatOneCached) {
  createFile(*client, "f", Create::CLOSED);
  auto moved = createFile(*client, "g", Create::CLOSED);
  auto& holder = cachingMount();
  ASSERT_EQ(acquire(holder, moved, LeaseKind::WRITE), Status::OK);
  holder.obeys = FakeMount::Obeys::NEVER;
  log->before = once(Which::CHANGE, [&]() {
    EXPECT_EQ(log->carryOut([&](auto body) {
                   body.setSession(other->id);
                   auto change = body.initChange();
                   change.setSequence(++other->sequence);
                   auto rename = change.initRename();
                   rename.setParent(ROOT_INODE.value());
                   rename.setName("g");
                   rename.setNewParent(ROOT_INODE.value());
                   rename.setNewName("f");
                 })
                  .status,
              Status::OK);
  });
  EXPECT_EQ(unlink(*client, "f"), Status::NOT_READY) << "it has happened, and may not be told yet";
  EXPECT_FALSE(names->read().lookup(ROOT_INODE, "f").ok());
  --client->sequence;  // the same once more
  advance(15'000);
  EXPECT_EQ(unlink(*client, "f"), Status::OK) << "the leases of who does not answer are over";
}

TEST_F(Meanwhile, AFileThatGoesWhileItsWriterTellsOfItIsGone) {
  auto inode = createFile(*client, "f", Create::CLOSED);
  auto& writer = cachingMount();
  ASSERT_EQ(acquire(writer, inode, LeaseKind::WRITE), Status::OK);
  writer.sizes[inode] = 5;
  writer.describesWhenTold = true;
  auto request = other->session.getAttributesRequest();
  request.setInode(inode);
  auto asking = kj::Promise<capnp::Response<rpc::Session::GetAttributesResults>>(request.send())
                    .eagerlyEvaluate(nullptr);
  settle();
  EXPECT_EQ(writer.described, 1u);
  removeMeanwhile(*client, "f", inode);
  writer.obey();
  EXPECT_EQ(await(kj::mv(asking)).getStatus(), Status::STALE);
}

class CheckMeanwhile : public Meanwhile {
 public:
  ~CheckMeanwhile() noexcept override {}

 protected:
  template <typename Change>
  void damage(Change change) {
    names->flush();
    crash();
    names = nullptr;
    {
      RawStore store(memory.get());
      change(store);
    }
    NamespaceOptions reopened;
    reopened.path = "/names";
    reopened.env = memory.get();
    names = Namespace::open(reopened);
    start();
    service->scan = [this]() { return names->scan(); };
    joinAll(3);
    advance(20'000);
  }
  std::map<std::string, rpc::Repaired> check() {
    // By the trouble. The fake stores do not say what they hold on their disks, which is one as well.
    std::map<std::string, rpc::Repaired> found;
    auto request = administration().checkRequest();
    request.setRepair(true);
    auto begun = answer<rpc::Administration::CheckResults>(kj::mv(request));
    EXPECT_EQ(begun.getStatus(), Status::OK);
    auto check = begun.getCheck();
    for (bool end = false; !end;) {
      auto told = answer<rpc::Check::NextResults>(check.nextRequest());
      end = told.getEnd();
      for (auto finding : told.getFindings()) found[finding.getTrouble().cStr()] = finding.getRepair();
    }
    return found;
  }
};

TEST_F(CheckMeanwhile, WhatCanBeMendedIsMendedAndSaid) {
  InodeId inode(createFile(*client, "f"));
  damage([&](RawStore& store) { store.inode(inode, [](Inode& node) { node.attributes.links = 7; }); });
  auto found = check();
  ASSERT_EQ(found.count("links"), 1u);
  EXPECT_EQ(found["links"], rpc::Repaired::YES);
  EXPECT_TRUE(hasSaid("-> mended")) << said;
  EXPECT_EQ(names->read().inode(inode)->attributes.links, 1u);
  EXPECT_EQ(check().count("links"), 0u);
}

TEST_F(CheckMeanwhile, ARowThatCannotBeReadEndsItWithTheReason) {
  auto inode = createFile(*client, "f");
  damage([&](RawStore& store) { store.put(Key(Table::INODES, inode), "x"); });
  for (int again = 0; again < 2; ++again) EXPECT_ANY_THROW(check()) << "and it may be asked for once more";
}

}  // namespace
}  // namespace cairn
