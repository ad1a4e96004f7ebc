// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Any call of the log's disk may fail. Names are made and synced, over several segments, with the failure one
// call further on each time, once and for good; then the process dies, or its machine loses power, and the
// next start is on the disk as it is. What was answered with ok is there, what was refused is not, and what
// the log broke down over may be either.
#include <errno.h>

#include <map>

#include "test/metaserver/metadata_world.h"
#include "test/support/in_turn.h"

namespace cairn {
namespace {

using Until = FailingDisk::Until;

class LogFailures : public testing::TestWithParam<CommitMode> {
 protected:
  enum class Fate { THERE, SYNCED, REFUSED, UNKNOWN };

  static bool tell(uint64_t call, int error, Until until, CommitMode commit) {
    // Answers whether the call was reached.
    MetadataWorld world(commit);
    world.options.segmentBytes = 900;
    world.options.reserveBytes = 0;
    world.start();
    Client client(world);
    std::map<std::string, Fate> names;
    world.failing.failFrom(call, error, until);
    bool broken = false;
    for (int i = 0; i < 24 && !broken; ++i) {
      auto name = "file-" + std::to_string(i);
      auto& fate = names[name] = Fate::UNKNOWN;
      auto died = kj::runCatchingExceptions([&]() {
        auto outcome = client.create(ROOT_INODE, name.c_str());
        fate = outcome.ok() ? Fate::THERE : Fate::REFUSED;
        if (!outcome.ok())
          EXPECT_TRUE(outcome.status == Status::NO_SPACE || outcome.status == Status::IO_ERROR);
        if (i % 5 == 4 && ok(world.sync())) {
          for (auto& [synced, its] : names) {
            if (its == Fate::THERE) its = Fate::SYNCED;
          }
        }
      });
      broken = died != nullptr;
    }
    bool hit = world.failing.hasFailed();
    if (!broken) {
      for (auto& [name, fate] : names) {
        EXPECT_EQ(world.read().lookup(ROOT_INODE, name.c_str()).ok(), fate != Fate::REFUSED) << name;
      }
    }
    world.failing.recover();
    // In commit mode `disk` an answer is on stable storage; else only what was synced is.
    bool losesPower = call % 2 == 0;
    world.kill();
    losesPower ? world.disk.losePower(call) : world.disk.killProcess(call);
    auto why = world.whyItDoesNotStart();
    EXPECT_EQ(why, "");
    if (!why.empty()) return hit;
    for (auto& [name, fate] : names) {
      bool isThere = world.read().lookup(ROOT_INODE, name.c_str()).ok();
      bool mustBe =
          fate == Fate::SYNCED || (fate == Fate::THERE && (!losesPower || commit == CommitMode::DISK));
      if (mustBe) EXPECT_TRUE(isThere) << name << " was answered";
      if (fate == Fate::REFUSED) EXPECT_FALSE(isThere) << name << " was refused";
    }
    return hit;
  }
  static void everyCallFails(int error, Until until) {
    eachInTurn(30, [&](uint64_t call) { return tell(call, error, until, GetParam()); });
  }
};

TEST_P(LogFailures, ACallThatFailsWithEioLosesNothingThatWasAnswered) {
  everyCallFails(EIO, Until::ONCE);
}
TEST_P(LogFailures, ACallThatFailsForLackOfSpaceLosesNothingThatWasAnswered) {
  everyCallFails(ENOSPC, Until::ONCE);
}
TEST_P(LogFailures, ADiskThatFailsForGoodLosesNothingThatWasAnswered) {
  everyCallFails(EIO, Until::FOR_GOOD);
}

// The log has what the namespace could not take.
TEST_P(LogFailures, ANamespaceThatCannotBeWrittenEndsTheLogAndTheNextStartHasWhatWasAnswered) {
  MetadataWorld world(GetParam());
  world.start();
  Client client(world);
  client.file(ROOT_INODE, "before");
  EXPECT_EQ(world.sync(), Status::OK);
  world.failingRocks.failFrom(1, EIO, FailingRocks::Until::FOR_GOOD);
  (void)kj::runCatchingExceptions([&]() { world.theNames().flush(); });
  ASSERT_TRUE(world.failingRocks.hasFailed());
  auto abandoned = client.prepare([](auto change) {
    auto request = change.initCreate();
    request.setParent(ROOT_INODE.value());
    request.setName("in between");
  });
  auto proposed = world.theLog().propose(kj::mv(abandoned));
  auto broken = world.theLog().whenBroken();
  EXPECT_NE(kj::runCatchingExceptions([&]() { broken.wait(world.scope); }), nullptr);
  EXPECT_EQ(client.create(ROOT_INODE, "after").status, Status::IO_ERROR);
  if (GetParam() == CommitMode::MEMORY) {
    EXPECT_EQ(world.sync(), Status::IO_ERROR) << "it does not sync any more";
    world.theLog().close().wait(world.scope);
  }
  proposed = nullptr;
  world.kill();
  world.failingRocks.recover();
  ASSERT_EQ(world.whyItDoesNotStart(), "");
  EXPECT_TRUE(world.read().lookup(ROOT_INODE, "before").ok());
  EXPECT_FALSE(world.read().lookup(ROOT_INODE, "after").ok());
}

TEST_P(LogFailures, AStartThatFailsOverWhatAnotherFailedStartHasLeftLosesNothing) {
  bool told = false;
  for (uint64_t first = 1, second = 1; first < 30; ++second) {
    SCOPED_TRACE(testing::Message() << "calls " << first << " and " << second);
    MetadataWorld world(GetParam());
    world.start();
    Client(world).file(ROOT_INODE, "before");
    EXPECT_EQ(world.sync(), Status::OK);
    world.kill();
    auto startThatFails = [&](uint64_t call, Until until) {
      world.failing.failFrom(call, EIO, until);
      auto why = world.whyItDoesNotStart();
      world.kill();
      world.failing.recover();
      world.disk.killProcess(call);
      return why;
    };
    startThatFails(first, Until::FOR_GOOD);
    bool leftASegment = world.disk.filesEndingWith(".log").size() > 1;
    told |= startThatFails(second, Until::ONCE).find("cannot remove ") != std::string::npos;
    bool reached = world.failing.hasFailed();
    ASSERT_EQ(world.whyItDoesNotStart(), "");
    EXPECT_TRUE(world.read().lookup(ROOT_INODE, "before").ok());
    if (!leftASegment || !reached) ++first, second = 0;
  }
  EXPECT_TRUE(told) << "an empty segment that could not be removed";
}

// Each call of the start in turn, on a directory with several segments and on an empty one.
TEST_P(LogFailures, AStartThatFailsIsRefusedWithASentenceAndTheNextOneHasEverything) {
  for (bool isFirst : {false, true}) {
    for (auto until : {Until::ONCE, Until::FOR_GOOD}) {
      bool failed = true;
      uint64_t call = 1, refused = 0;
      for (; failed; ++call) {
        SCOPED_TRACE(testing::Message() << "call " << call << (isFirst ? " of the first start" : ""));
        MetadataWorld world(GetParam());
        world.options.segmentBytes = 900;
        world.options.reserveBytes = 0;
        if (!isFirst) {
          world.start();
          Client client(world);
          for (int i = 0; i < 24; ++i) client.file(ROOT_INODE, kj::str("file-", i));
          EXPECT_EQ(world.sync(), Status::OK);
          world.kill();
        }
        world.failing.failFrom(call, EIO, until);
        auto why = world.whyItDoesNotStart();
        failed = world.failing.hasFailed();
        if (!why.empty()) {
          ++refused;
          EXPECT_GT(why.size(), 40u) << why;
          EXPECT_EQ(why.find("sentence = "), std::string::npos) << why;
        }
        world.kill();
        world.failing.recover();
        world.disk.killProcess(call);
        ASSERT_EQ(world.whyItDoesNotStart(), "");
        for (int i = 0; i < 24 && !isFirst; ++i)
          EXPECT_TRUE(world.read().lookup(ROOT_INODE, kj::str("file-", i)).ok()) << i;
        Client client(world);
        client.file(ROOT_INODE, "one more");
      }
      EXPECT_GT(refused, 3u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Commit, LogFailures, testing::Values(CommitMode::MEMORY, CommitMode::DISK),
                         [](auto& mode) { return mode.param == CommitMode::DISK ? "Disk" : "Memory"; });

TEST(LogFailuresAtOnce, AWriteAndASyncThatBothFailBreakTheLogOnce) {
  // Whichever of them is the first to be told.
  using Kept = FailingDisk::Kept;
  for (auto last : {Kept::SYNCS, Kept::WRITES}) {
    MetadataWorld world;
    world.start();
    Client client(world);
    ASSERT_TRUE(ok(world.sync()));
    world.failing.hold(Kept::SYNCS);
    ASSERT_TRUE(client.create(ROOT_INODE, "synced-meanwhile").ok());
    world.failing.hold(Kept::WRITES);
    auto broken = [&]() { return world.trace.find("-> take no more changes") != std::string::npos; };
    bool refused = false;
    auto writing = world.theLog()
                       .propose(client.prepare([](auto change) {
                         auto create = change.initCreate();
                         create.setParent(ROOT_INODE.value());
                         create.setName("written-meanwhile");
                       }))
                       .then([&](Outcome&& outcome) { refused = !outcome.ok(); },
                             [&](kj::Exception&&) { refused = true; })
                       .eagerlyEvaluate(nullptr);
    world.scope.poll();
    EXPECT_FALSE(broken());
    world.failing.failFrom(1, EIO, Until::FOR_GOOD);
    world.failing.letGo(last == Kept::SYNCS ? Kept::WRITES : Kept::SYNCS);
    world.scope.poll();
    EXPECT_TRUE(broken());
    EXPECT_EQ(refused, last == Kept::SYNCS);
    world.failing.letGo(last);
    world.scope.poll();
    EXPECT_TRUE(refused);
    auto first = world.trace.find("-> take no more changes");
    EXPECT_EQ(world.trace.find("-> take no more changes", first + 1), std::string::npos) << world.trace;
    world.failing.recover();
    world.killAndRestart();
    EXPECT_TRUE(world.read().lookup(ROOT_INODE, "synced-meanwhile").ok());
  }
}

}  // namespace
}  // namespace cairn
