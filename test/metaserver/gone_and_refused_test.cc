// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What is asked about files that are gone, and what goes on in the background while the log refuses.
#include "rpc/administration.capnp.h"
#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

constexpr int64_t SECOND = 1'000'000'000;

class GoneAndRefused : public FleetTest {
 protected:
  FakeMount* client = nullptr;

  void SetUp() override {
    joinAll(4);
    client = &mount();
  }
  template <typename Results, typename Request>
  capnp::Response<Results> answer(Request request) {
    return await(kj::Promise<capnp::Response<Results>>(request.send()));
  }
  uint64_t gone() {
    auto inode = written(*client, "gone");
    EXPECT_EQ(unlink(*client, "gone"), Status::OK);
    for (int i = 0; i < 30 && exists(inode); ++i) live(5);
    EXPECT_FALSE(exists(inode));
    return inode;
  }
  template <typename Lock>
  void fill(Lock lock, uint64_t inode) {
    lock.setInode(inode);
    lock.setOwner(1);
    lock.setEnd(100);
    lock.setType(rpc::LockType::EXCLUSIVE);
  }
  uint64_t trashed(kj::StringPtr name) {
    auto inode = written(*client, name);
    log->time += 1 * SECOND;
    EXPECT_EQ(unlink(*client, name), Status::OK);
    advance(200);
    EXPECT_TRUE(exists(inode));
    return inode;
  }
  void live(int64_t seconds) {
    for (int64_t done = 0; done < seconds; done += 5) {
      advance(5'000);
      EXPECT_EQ(renew(*client), Status::OK);
    }
  }
};

TEST_F(GoneAndRefused, WhateverAMountAsksAboutAFileThatIsGoneIsStale) {
  auto inode = gone();
  auto& session = client->session;
  auto readDirectory = session.readDirectoryRequest();
  readDirectory.setInode(inode);
  EXPECT_EQ(answer<rpc::Session::ReadDirectoryResults>(kj::mv(readDirectory)).getStatus(), Status::STALE);
  auto readLink = session.readLinkRequest();
  readLink.setInode(inode);
  EXPECT_EQ(answer<rpc::Session::ReadLinkResults>(kj::mv(readLink)).getStatus(), Status::STALE);
  auto getXattr = session.getXattrRequest();
  getXattr.setInode(inode);
  getXattr.setName("user.a");
  EXPECT_EQ(answer<rpc::Session::GetXattrResults>(kj::mv(getXattr)).getStatus(), Status::STALE);
  auto listXattr = session.listXattrRequest();
  listXattr.setInode(inode);
  EXPECT_EQ(answer<rpc::Session::ListXattrResults>(kj::mv(listXattr)).getStatus(), Status::STALE);
  for (bool sparse : {false, true}) {
    auto findChunk = session.findChunkRequest();
    findChunk.setInode(inode);
    findChunk.setSparse(sparse);
    EXPECT_EQ(answer<rpc::Session::FindChunkResults>(kj::mv(findChunk)).getStatus(), Status::STALE);
  }
  auto acquire = session.acquireRequest();
  acquire.setInode(inode);
  acquire.setKind(LeaseKind::READ);
  EXPECT_EQ(answer<rpc::Session::AcquireResults>(kj::mv(acquire)).getStatus(), Status::STALE);
  EXPECT_EQ(open(*client, inode), Status::STALE);
  EXPECT_EQ(publish(*client, inode, 10), Status::STALE);
  EXPECT_EQ(resize(*client, inode, 10), Status::STALE);
  auto describeFile = service->newConnection("cli").describeFileRequest();
  describeFile.setInode(inode);
  EXPECT_EQ(answer<rpc::Metaserver::DescribeFileResults>(kj::mv(describeFile)).getStatus(), Status::STALE);
  auto setReplicas = administration().setReplicasRequest();
  setReplicas.setInode(inode);
  setReplicas.setReplicas(2);
  EXPECT_EQ(answer<rpc::Administration::SetReplicasResults>(kj::mv(setReplicas)).getStatus(), Status::STALE);

  auto& caching = cachingMount();
  EXPECT_EQ(publish(caching, inode, 10), Status::STALE) << "and not that it has no lease";
}

TEST_F(GoneAndRefused, AFileThatIsGoneIsNotLockedButMayBeUnlocked) {
  advance(61'000);  // all who may have held a lock have come back, or have been given up
  client->id = 0, client->sequence = 0;
  ASSERT_EQ(openSession(*client), Status::OK);
  auto inode = gone();
  auto& session = client->session;
  auto lock = session.lockRequest();
  fill(lock.getLock(), inode);
  EXPECT_EQ(answer<rpc::Session::LockResults>(kj::mv(lock)).getStatus(), Status::STALE);
  auto testLock = session.testLockRequest();
  fill(testLock.getLock(), inode);
  EXPECT_EQ(answer<rpc::Session::TestLockResults>(kj::mv(testLock)).getStatus(), Status::STALE);
  auto reclaim = session.reclaimLocksRequest();
  fill(reclaim.initLocks(1)[0], inode);
  EXPECT_EQ(answer<rpc::Session::ReclaimLocksResults>(kj::mv(reclaim)).getStatus(), Status::WOULD_BLOCK);
  auto unlock = session.lockRequest();
  fill(unlock.getLock(), inode);
  unlock.getLock().setType(rpc::LockType::UNLOCK);
  EXPECT_EQ(answer<rpc::Session::LockResults>(kj::mv(unlock)).getStatus(), Status::OK);
}

TEST_F(GoneAndRefused, AMountThatTheLogHasNoRoomForIsToldAndComesLater) {
  log->refuse = Status::NO_SPACE;
  mounts.emplace_back();
  EXPECT_EQ(openSession(mounts.back()), Status::NO_SPACE);
  log->refuse = Status::OK;
  EXPECT_EQ(openSession(mounts.back()), Status::OK);
}

TEST_F(GoneAndRefused, AMountWhoseSessionIsNotOnStableStorageIsToldAndComesLater) {
  log->failSync = 1;
  mounts.emplace_back();
  EXPECT_EQ(openSession(mounts.back()), Status::IO_ERROR);
  EXPECT_EQ(openSession(mounts.back()), Status::OK);
}

TEST_F(GoneAndRefused, AMountThatBreaksOverAnInvalidationHoldsNobodyUp) {
  auto inode = createFile(*client, "f");
  auto& other = mount();
  ASSERT_EQ(open(other, inode), Status::OK);
  other.breaks = true;
  EXPECT_EQ(resize(*client, inode, 10), Status::OK);
  advance(2'000);
  EXPECT_TRUE(other.invalidated.empty());
  other.breaks = false;
  EXPECT_EQ(resize(*client, inode, 20), Status::OK);
  advance(2'000);
  EXPECT_EQ(other.invalidated, std::vector<uint64_t>{inode}) << "the next one reaches it";
}

TEST_F(GoneAndRefused, AStoreThatTheLogCannotForgetStaysKnown) {
  auto id = store(4).server;
  kill(store(4));
  advance(5'000);
  auto remove = [&]() {
    auto request = administration().removeRequest();
    request.setServer(id);
    request.setForce(true);
    return answer<rpc::Administration::RemoveResults>(kj::mv(request)).getStatus();
  };
  log->refuse = Status::NO_SPACE;
  EXPECT_EQ(remove(), Status::NO_SPACE);
  log->refuse = Status::OK;
  EXPECT_EQ(remove(), Status::OK) << "it was known";
  EXPECT_EQ(remove(), Status::NOT_FOUND);
}

TEST_F(GoneAndRefused, ThatAStoreIsForgottenIsNotSaidBeforeItIsOnTheDisk) {
  auto id = store(4).server;
  kill(store(4));
  advance(5'000);
  log->failSync = 1;
  auto request = administration().removeRequest();
  request.setServer(id);
  request.setForce(true);
  EXPECT_EQ(answer<rpc::Administration::RemoveResults>(kj::mv(request)).getStatus(), Status::IO_ERROR);
}

TEST_F(GoneAndRefused, ASessionWhoseEndCannotBeLoggedIsRefusedAllTheSame) {
  auto inode = createFile(*client, "f");
  EXPECT_EQ(unlink(*client, "f"), Status::OK);
  log->refuse = Status::IO_ERROR;
  advance(70'000);
  EXPECT_EQ(renew(*client), Status::SESSION_EXPIRED);
  EXPECT_TRUE(exists(inode)) << "what it held goes when the log takes it";
  log->refuse = Status::OK;
  advance(70'000);
  EXPECT_FALSE(exists(inode));
}

TEST_F(GoneAndRefused, TrashThatIsDueStaysUntilTheLogTakesItsEnd) {
  keepTrashFor(3600);
  auto inode = trashed("f");
  log->time += int64_t(4000) * SECOND;
  log->refuse = Status::NO_SPACE;
  live(90);
  EXPECT_TRUE(exists(inode));
  log->refuse = Status::OK;
  live(90);
  EXPECT_FALSE(exists(inode));
}

TEST_F(GoneAndRefused, TrashThatIsToMakeRoomStaysUntilTheLogTakesItsEnd) {
  keepTrashFor(3600);
  auto inode = trashed("f");
  for (auto& store : stores) store.bytesFree = 1 << 20;
  log->refuse = Status::NO_SPACE;
  live(30);
  EXPECT_TRUE(exists(inode));
  log->refuse = Status::OK;
  live(30);
  EXPECT_FALSE(exists(inode));
}

TEST_F(GoneAndRefused, AnOperatorIsToldThatTheTrashCouldNotBePurged) {
  keepTrashFor(3600);
  auto inode = trashed("f");
  auto listed = answer<rpc::Administration::TrashResults>([&]() {
    auto request = administration().trashRequest();
    request.setLimit(10);
    return request;
  }());
  ASSERT_EQ(listed.getFiles().size(), 1u);
  auto purge = [&]() {
    auto request = administration().purgeTrashRequest();
    auto file = request.initFiles(1)[0];
    file.setInode(inode);
    file.setUntil(listed.getFiles()[0].getId().getUntil());
    return answer<rpc::Administration::PurgeTrashResults>(kj::mv(request)).getStatus();
  };
  log->refuse = Status::IO_ERROR;
  EXPECT_EQ(purge(), Status::IO_ERROR);
  EXPECT_TRUE(exists(inode));
  log->refuse = Status::OK;
  EXPECT_EQ(purge(), Status::OK);
  EXPECT_FALSE(exists(inode));
}

TEST_F(GoneAndRefused, WhatGoesWhileAnOperatorWalksATreeIsLeftOut) {
  // As a file that is deleted between the listing and its turn.
  auto tree = createDirectory(*client, "tree");
  for (auto name : {"a", "b", "c"}) written(*client, name, InodeId(tree));
  createDirectory(*client, "inner", InodeId(tree));
  auto setReplicas = administration().setReplicasRequest();
  setReplicas.setPath("/tree");
  setReplicas.setReplicas(2);
  setReplicas.setRecursive(true);
  log->refuseOnce(3, Status::STALE);
  auto changed = answer<rpc::Administration::SetReplicasResults>(kj::mv(setReplicas));
  EXPECT_EQ(changed.getStatus(), Status::OK);
  EXPECT_EQ(changed.getFiles(), 4u) << "of the tree and the four below it";
  auto keep = administration().keepTrashRequest();
  keep.setDirectory(tree);
  keep.setSeconds(100);
  keep.setRecursive(true);
  log->refuseOnce(2, Status::STALE);
  auto kept = answer<rpc::Administration::KeepTrashResults>(kj::mv(keep));
  EXPECT_EQ(kept.getStatus(), Status::OK);
  EXPECT_EQ(kept.getDirectories(), 1u);
}

TEST_F(GoneAndRefused, AReplicaWhoseStoreDoesNotAnswerAboutItStaysAsItIs) {
  auto inode = written(*client, "f");
  auto location = locate(*client, inode, For::READ);
  auto& store = byId(location.replicas[0]);
  auto request = client->session.reportCorruptRequest();
  request.getChunk().setHandle(location.handle.value());
  request.getChunk().setVersion(location.version.value());
  request.setServer(store.server);
  store.mood = FakeStore::Mood::HANGS;
  await(request.send().ignoreResult(), 400'000);
  store.mood = FakeStore::Mood::OBEYS;
  if (store.fleet == nullptr) join(store);
  advance(5'000);
  client->id = 0, client->sequence = 0;
  ASSERT_EQ(openSession(*client), Status::OK);
  auto after = locate(*client, inode, For::READ).replicas;
  EXPECT_GE(after.size(), 3u);
}

TEST_F(GoneAndRefused, ReplicasThatDifferAreMadeEqualOnceTheirStoresObey) {
  RefusedCalls refusals;
  for (auto& store : stores) store.refusals = &refusals;
  using How = RefusedCalls::How;
  unsigned round = 0;
  for (auto [status, how] :
       {std::pair(Status::NO_REPLICA, How::STATUS), std::pair(Status::IO_ERROR, How::STATUS),
        std::pair(Status::CORRUPT, How::STATUS), std::pair(Status::OK, How::EXCEPTION)}) {
    bool hit = true;
    for (uint64_t call = 1; hit; ++call) {
      SCOPED_TRACE(testing::Message() << "call " << call << ", " << kj::str(status).cStr());
      auto inode = written(*client, kj::str("f", ++round));
      auto location = locate(*client, inode, For::WRITE);
      // One missed a write: its primary says so when it gives the lease back, by dying.
      auto& behind = byId(location.replicas.back()).chunks[location.handle.value()];
      behind.serial = 1, behind.written = 0;
      kill(byId(location.primary));
      refusals.refuse(call, status, how);
      join(byId(location.primary));
      advance(20'000);
      ASSERT_EQ(renew(*client), Status::OK);
      hit = refusals.method() != "" && call < 40;
      refusals.stop();
      advance(40'000);
      ASSERT_EQ(renew(*client), Status::OK);
      auto again = locate(*client, inode, For::WRITE);
      EXPECT_EQ(again.status, Status::OK);
      EXPECT_GE(again.replicas.size(), 2u);
      for (auto server : again.replicas)
        EXPECT_EQ(byId(server).versionOf(again.handle), again.version.value()) << server;
    }
  }
  for (auto& store : stores) store.refusals = nullptr;
}

}  // namespace
}  // namespace cairn
