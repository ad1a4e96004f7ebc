// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Mounts: what they hold open, how they come back, when they are fenced; files that nobody can reach any
// more.
#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

class SessionsTest : public FleetTest {
 protected:
  void stayAlive(FakeMount& mount, int64_t seconds) {
    for (int64_t i = 0; i < seconds; i += 20) {
      advance(20'000);
      EXPECT_EQ(renew(mount), Status::OK);
    }
  }
};

TEST_F(SessionsTest, AnyCallRenewsAndSilenceFences) {
  auto& one = mount();
  advance(59'000);
  EXPECT_EQ(renew(one), Status::OK);
  advance(59'000);
  EXPECT_EQ(createFile(one, "f", Create::CLOSED), 2u);
  advance(62'000);
  EXPECT_EQ(renew(one), Status::SESSION_EXPIRED);
  EXPECT_EQ(locate(one, 2, For::READ).status, Status::SESSION_EXPIRED);
  EXPECT_EQ(unlink(one, "f"), Status::SESSION_EXPIRED);
  EXPECT_EQ(openSession(one), Status::SESSION_EXPIRED) << "resuming does not help";
  EXPECT_TRUE(exists(2));
  EXPECT_EQ(service->sessions.count(), 0u);
}

TEST_F(SessionsTest, AnOpenFileLivesWithoutANameUntilItsLastHolderClosesIt) {
  auto& one = mount();
  auto& two = mount();
  auto inode = createFile(one, "f");
  EXPECT_EQ(open(two, inode), Status::OK);
  EXPECT_EQ(unlink(two, "f"), Status::OK);
  advance(1000);
  EXPECT_TRUE(exists(inode));
  release(one, inode);
  advance(1000);
  EXPECT_TRUE(exists(inode)) << "the other mount has it open";
  release(two, inode);
  advance(1000);
  EXPECT_FALSE(exists(inode));
}

TEST_F(SessionsTest, AFileNobodyHasOpenGoesInAMoment) {
  auto& one = mount();
  auto inode = createFile(one, "f", Create::CLOSED);
  EXPECT_EQ(unlink(one, "f"), Status::OK);
  advance(2100);
  EXPECT_FALSE(exists(inode));
  EXPECT_EQ(open(one, inode), Status::STALE) << "and is never opened again";
}

TEST_F(SessionsTest, WhoHadFoundTheNameStillOpensTheFile) {
  auto &one = mount(), &other = mount();
  auto inode = createFile(one, "f", Create::CLOSED);
  EXPECT_EQ(unlink(one, "f"), Status::OK);
  advance(100);
  EXPECT_EQ(open(other, inode), Status::OK);
  advance(5000);
  EXPECT_TRUE(exists(inode));
  release(other, inode);
  advance(100);
  EXPECT_FALSE(exists(inode));
}

TEST_F(SessionsTest, AFenceClosesWhatTheSessionHeld) {
  auto& one = mount();
  auto& two = mount();
  auto inode = createFile(one, "f");
  EXPECT_EQ(unlink(two, "f"), Status::OK);
  stayAlive(two, 80);
  EXPECT_FALSE(exists(inode));
}

TEST_F(SessionsTest, ADurableChangeIsAnsweredWhenTheLogIsOnStableStorage) {
  auto& one = mount();
  log->disk = ImmediateLog::Disk::HELD;
  auto publish = [&](Status disk) {
    auto request = one.session.changeRequest();
    request.setDurable(true);
    auto change = request.getChange();
    change.setSequence(++one.sequence);
    auto create = change.initCreate();
    create.setParent(ROOT_INODE.value());
    create.setName(kj::str("f", one.sequence));
    bool answered = false;
    auto answer = request.send().then([&](auto response) {
      answered = true;
      return response.getOutcome().getStatus();
    });
    auto eager = answer.eagerlyEvaluate(nullptr);
    settle();
    EXPECT_FALSE(answered);
    EXPECT_EQ(log->syncs.size(), 1u);
    log->syncs[0]->fulfill(kj::cp(disk));
    log->syncs.clear();
    return await(kj::mv(eager));
  };
  EXPECT_EQ(publish(Status::OK), Status::OK);
  EXPECT_EQ(publish(Status::IO_ERROR), Status::IO_ERROR);
}

TEST_F(SessionsTest, CloseEndsTheSession) {
  auto& one = mount();
  auto& two = mount();
  auto inode = createFile(one, "f");
  EXPECT_EQ(unlink(one, "f"), Status::OK);
  await(one.session.closeRequest().send().ignoreResult());
  EXPECT_EQ(renew(one), Status::SESSION_EXPIRED);
  advance(1000);
  EXPECT_FALSE(exists(inode));
  EXPECT_EQ(renew(two), Status::OK);
}

TEST_F(SessionsTest, AfterARestartAResumedSessionBringsItsOpenFilesAlong) {
  auto& one = mount();
  auto inode = createFile(one, "f");
  EXPECT_EQ(unlink(one, "f"), Status::OK);
  restart();
  EXPECT_EQ(openSession(one, {inode}), Status::OK);
  stayAlive(one, 80);
  EXPECT_TRUE(exists(inode));
  release(one, inode);
  advance(1000);
  EXPECT_FALSE(exists(inode));
}

TEST_F(SessionsTest, AfterARestartNothingIsPurgedBeforeEverySessionIsBackOrFenced) {
  auto& one = mount();
  auto& two = mount();
  auto inode = createFile(one, "f");
  EXPECT_EQ(unlink(one, "f"), Status::OK);
  restart();
  EXPECT_EQ(openSession(two), Status::OK);
  stayAlive(two, 20);  // nothing is changed while the other one may have it cached
  auto victim = createFile(two, "g", Create::CLOSED);
  EXPECT_EQ(unlink(two, "g"), Status::OK);
  stayAlive(two, 20);
  EXPECT_TRUE(exists(inode)) << "its holder may still come back";
  EXPECT_TRUE(exists(victim)) << "who knows what the other one holds";
  stayAlive(two, 40);
  EXPECT_FALSE(exists(inode)) << "its holder has been fenced";
  EXPECT_FALSE(exists(victim));
}

TEST_F(SessionsTest, AResumeReplacesWhatWasRemembered) {
  auto& one = mount();
  auto a = createFile(one, "a"), b = createFile(one, "b");
  EXPECT_EQ(unlink(one, "a"), Status::OK);
  EXPECT_EQ(unlink(one, "b"), Status::OK);
  EXPECT_EQ(openSession(one, {b}), Status::OK) << "after a lost connection";
  advance(1000);
  EXPECT_TRUE(exists(b));
  EXPECT_FALSE(exists(a)) << "its close was lost with the connection";
  auto& two = mount();
  auto held = createFile(two, "c");
  EXPECT_EQ(open(one, held), Status::OK);
  EXPECT_EQ(openSession(one, {}), Status::OK);
  EXPECT_EQ(service->sessions.held(InodeId(held)), true);
  EXPECT_EQ(service->sessions.held(InodeId(b)), false);
  EXPECT_EQ(service->sessions.held(InodeId(a)), false);
  advance(1000);
  EXPECT_FALSE(exists(b));
}

TEST_F(SessionsTest, OtherHoldersAreToldOfAChangeAndTheCauserIsNot) {
  auto& writer = mount();
  auto& reader = mount();
  auto& bystander = mount();
  auto inode = createFile(writer, "f");
  EXPECT_EQ(open(reader, inode), Status::OK);
  EXPECT_EQ(publish(writer, inode, 4096), Status::OK);
  settle();
  EXPECT_EQ(reader.invalidated, std::vector<uint64_t>{inode});
  EXPECT_TRUE(writer.invalidated.empty());
  EXPECT_TRUE(bystander.invalidated.empty());
}

TEST_F(SessionsTest, ARepeatedChangeIsAnsweredAgainAndNotDoneAgain) {
  auto& one = mount();
  auto inode = createFile(one, "f");
  --one.sequence;  // the answer was lost
  auto response = change(one, [&](rpc::Change::Builder change) {
    auto create = change.initCreate();
    create.setParent(ROOT_INODE.value());
    create.setName("f");
    create.setType(FileType::REGULAR);
    create.setExclusive(true);
    create.setOpen(true);
  });
  EXPECT_EQ(response.getOutcome().getStatus(), Status::OK);
  EXPECT_EQ(response.getOutcome().getAttributes().getInode(), inode);
}

TEST_F(SessionsTest, TheEpochRisesWithEachStart) {
  auto before = log->epoch();
  restart();
  EXPECT_EQ(log->epoch(), before.next());
}

}  // namespace
}  // namespace cairn
