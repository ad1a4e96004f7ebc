// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The supervisor over real processes: scripts in the place of the programs, and a fake daemon.
// Everything is waited for by its event; no test sleeps.
#include "cli/supervisor.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "cli/failure.h"
#include "test/cli/fake_programs.h"
#include "test/support/resource_limit.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;

class SupervisorOfFakes : public testing::Test, protected FakePrograms {
 public:
  ~SupervisorOfFakes() noexcept override {}

 protected:
  kj::AsyncIoContext io = kj::setupAsyncIo();
  std::vector<std::string> said;
  kj::Own<kj::PromiseFulfiller<void>> heard;
  std::string awaited;

  std::unique_ptr<Supervisor> make(Restart restart = Restart::YES) {
    return std::make_unique<Supervisor>(io.unixEventPort, io.provider->getTimer(), directory, restart,
                                        [this](const std::string& line) {
                                          said.push_back(line);
                                          if (!awaited.empty() && line.find(awaited) != std::string::npos)
                                            heard->fulfill();
                                        });
  }

  kj::Promise<void> hear(std::string text) {
    awaited = std::move(text);
    auto paf = kj::newPromiseAndFulfiller<void>();
    heard = kj::mv(paf.fulfiller);
    return paf.promise.exclusiveJoin(io.provider->getTimer().afterDelay(30 * kj::SECONDS).then([this]() {
      ADD_FAILURE() << "never said: " << awaited;
    }));
  }

  void expectComesBack(const std::string& name) {
    auto before = pidOf(name);
    auto serves = hear(name + " serves");
    kill(before, SIGKILL);
    serves.wait(io.waitScope);
    EXPECT_NE(pidOf(name), before);
    EXPECT_NE(pidOf(name), 0);
  }
  bool wasSaid(const std::string& text) {
    return std::any_of(said.begin(), said.end(),
                       [&](auto& line) { return line.find(text) != std::string::npos; });
  }
  DaemonRecord recordOf(const std::string& name) {
    for (auto& record : readState(directory)) {
      if (record.name == name) return record;
    }
    return {};
  }
};

TEST_F(SupervisorOfFakes, StartsAllWritesPidFilesAndStopsAll) {
  auto supervisor = make();
  EXPECT_EQ(supervisor->start(specs(), 2).wait(io.waitScope), "");
  EXPECT_EQ(findRunning(specs()).size(), 3u);
  EXPECT_EQ(recordOf("chunkd-2").state, "up");
  EXPECT_EQ(recordOf("chunkd-2").address, "127.0.0.1:1");
  EXPECT_EQ(recordOf("chunkd-2").pid, pidOf("chunkd-2"));
  supervisor->stop();
  EXPECT_TRUE(findRunning(specs()).empty());
  for (auto& spec : specs()) EXPECT_FALSE(fs::exists(spec.pidFile));
  EXPECT_TRUE(wasSaid("chunkd-2 exited with 0"));
}

TEST_F(SupervisorOfFakes, AKilledDaemonComesBackUnderAnotherPid) {
  auto supervisor = make();
  ASSERT_EQ(supervisor->start(specs(), 2).wait(io.waitScope), "");
  auto keeping = supervisor->keep().eagerlyEvaluate(nullptr);
  expectComesBack("chunkd-1");
  EXPECT_EQ(recordOf("chunkd-1").restarts, 1);
  EXPECT_EQ(recordOf("chunkd-1").lastExit, "was killed by signal 9 (Killed)");
  EXPECT_TRUE(wasSaid("was killed by signal 9 (Killed) -> start it again in 200 ms"));
  keeping = nullptr;
  supervisor->stop();
}

TEST_F(SupervisorOfFakes, ToldNotToItLeavesADeadDaemonDownUntilRevived) {
  auto supervisor = make(Restart::NO);
  ASSERT_EQ(supervisor->start(specs(), 2).wait(io.waitScope), "");
  auto keeping = supervisor->keep().eagerlyEvaluate(nullptr);
  auto down = hear("leave it down");
  kill(pidOf("metaserver-1"), SIGKILL);
  down.wait(io.waitScope);
  EXPECT_EQ(recordOf("metaserver-1").state, "down");
  EXPECT_EQ(pidOf("metaserver-1"), 0);
  auto serves = hear("metaserver-1 serves");
  kj::evalLater([]() {}).wait(io.waitScope);
  supervisor->revive();
  serves.wait(io.waitScope);
  EXPECT_NE(pidOf("metaserver-1"), 0);
  keeping = nullptr;
  supervisor->stop();
}

TEST_F(SupervisorOfFakes, AFailedStartNamesTheDaemonAndItsLastWords) {
  install("cairn-chunkd", FAILING);
  auto supervisor = make();
  auto problem = supervisor->start(specs(), 2).wait(io.waitScope);
  EXPECT_NE(problem.find("chunkd-1 ended before it served"), std::string::npos) << problem;
  EXPECT_NE(problem.find("the store belongs to another cluster"), std::string::npos) << problem;
  EXPECT_NE(problem.find("chunkd-1.log"), std::string::npos) << problem;
  supervisor->stop();
  EXPECT_TRUE(findRunning(specs()).empty());
}

TEST_F(SupervisorOfFakes, AProgramThatIsMissingIsNamed) {
  fs::remove(programs / "cairn-metaserver");
  auto supervisor = make();
  auto problem = supervisor->start(specs(), 2).wait(io.waitScope);
  EXPECT_NE(problem.find("cannot execute"), std::string::npos) << problem;
  EXPECT_NE(problem.find("cairn-metaserver: No such file"), std::string::npos) << problem;
  supervisor->stop();
}

TEST_F(SupervisorOfFakes, EnoughChunkDaemonsAreEnoughToBeUp) {
  auto all = specs();
  install("broken", FAILING);
  all[2].program = programs / "broken";
  auto supervisor = make();
  EXPECT_EQ(supervisor->start(std::move(all), 1).wait(io.waitScope), "");
  EXPECT_TRUE(wasSaid("WARNING: chunkd-2 ended before it served"));
  supervisor->stop();
}

TEST_F(SupervisorOfFakes, ASuccessorTakesOverWhatRuns) {
  auto first = make();
  ASSERT_EQ(first->start(specs(), 2).wait(io.waitScope), "");
  auto before = pidOf("chunkd-1");
  first = nullptr;  // as if killed: it leaves the daemons alone
  auto second = make();
  EXPECT_EQ(second->start(specs(), 2).wait(io.waitScope), "");
  EXPECT_EQ(pidOf("chunkd-1"), before);
  EXPECT_TRUE(wasSaid("chunkd-1 runs already"));
  second->stop();
  EXPECT_TRUE(findRunning(specs()).empty());
}

TEST_F(SupervisorOfFakes, APidFileOfAnotherProcessIsNotBelieved) {
  writeWhole(directory.pidFile("chunkd-1"), std::to_string(getpid()));
  EXPECT_EQ(pidOf("chunkd-1"), 0);
  writeWhole(directory.pidFile("chunkd-1"), "nonsense");
  EXPECT_EQ(pidOf("chunkd-1"), 0);
  writeWhole(directory.pidFile("chunkd-1"), "-1");
  EXPECT_EQ(pidOf("chunkd-1"), 0);
}

TEST_F(SupervisorOfFakes, DaemonsStopInTheOrderMountMetaserverChunkDaemons) {
  auto supervisor = make();
  ASSERT_EQ(supervisor->start(specs(), 2).wait(io.waitScope), "");
  said.clear();
  supervisor->stop();
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(said[0], "metaserver-1 exited with 0");
  EXPECT_EQ(said[1], "chunkd-1 exited with 0");
}

TEST_F(SupervisorOfFakes, OnlyOneProcessIsTheSupervisorOfADirectory) {
  auto lock = becomeSupervisor(directory);
  ASSERT_TRUE(lock);
  EXPECT_FALSE(becomeSupervisor(directory));
  EXPECT_TRUE(findSupervisor(directory));
  lock.reset();
  EXPECT_FALSE(findSupervisor(directory));
}

TEST_F(SupervisorOfFakes, ADeafDaemonIsKilledInTheEnd) {
  install("cairn-metaserver", DEAF);
  auto supervisor = make();
  ASSERT_EQ(supervisor->start(specs(), 2).wait(io.waitScope), "");
  supervisor->stop({.stop = std::chrono::milliseconds(100)});
  EXPECT_TRUE(wasSaid("metaserver-1 has not ended after 100 ms -> kill it"));
  EXPECT_TRUE(wasSaid("metaserver-1 was killed by signal 9"));
  EXPECT_TRUE(findRunning(specs()).empty());
}

TEST_F(SupervisorOfFakes, WhatIsInTheWayOfAStartIsToldAndTheDaemonDoesNotRun) {
  if (!test::ResourceLimit::DESCRIPTORS_ARE_OURS) GTEST_SKIP() << "a sanitizer needs descriptors, too";
  fs::create_directory(directory.logFile("metaserver-1"));
  auto supervisor = make();
  auto problem = supervisor->start(specs(), 2).wait(io.waitScope);
  EXPECT_NE(problem.find("cannot write"), std::string::npos) << problem;
  EXPECT_NE(problem.find("metaserver-1.log"), std::string::npos) << problem;
  EXPECT_EQ(recordOf("metaserver-1").state, "down");
  supervisor->stop();
  fs::remove(directory.logFile("metaserver-1"));

  supervisor = make();
  {
    auto limit = test::ResourceLimit::oneDescriptor();
    problem = supervisor->start(specs(), 2).wait(io.waitScope);
  }
  EXPECT_NE(problem.find("Too many open files"), std::string::npos) << problem;
  supervisor->stop();

  putInTheWay(directory.pidFile("metaserver-1"));
  supervisor = make();
  problem = supervisor->start(specs(), 2).wait(io.waitScope);
  EXPECT_NE(problem.find("cannot write"), std::string::npos) << problem;
  EXPECT_NE(problem.find("metaserver-1.pid"), std::string::npos) << problem;
  pid_t child = 0;
  while ((child = waitpid(-1, nullptr, WNOHANG)) > 0) continue;  // of the tests before, ended
  EXPECT_EQ(child, -1) << "it runs, and nobody would find it again";
  supervisor->stop();
}

TEST_F(SupervisorOfFakes, AViewThatCannotBeWrittenCostsNoDaemonItsSupervisor) {
  putInTheWay(directory.statePath());
  auto supervisor = make();
  ASSERT_EQ(supervisor->start(specs(), 2).wait(io.waitScope), "");
  EXPECT_TRUE(wasSaid("WARNING: cannot write " + directory.statePath().string()));
  auto keeping = supervisor->keep().eagerlyEvaluate(nullptr);
  expectComesBack("chunkd-1");
  keeping = nullptr;
  supervisor->stop();
}

TEST_F(SupervisorOfFakes, AViewThatIsBrokenTellsNothing) {
  writeWhole(directory.statePath(), "[[daemon]]\nname = \"chunkd-1\"\n[[daemon\n");
  EXPECT_TRUE(readState(directory).empty());
  writeWhole(directory.statePath(), "daemon = [7, {name = \"chunkd-1\"}]\n");
  ASSERT_EQ(readState(directory).size(), 1u);
  EXPECT_EQ(readState(directory)[0].name, "chunkd-1");
}

TEST_F(SupervisorOfFakes, ADirectoryThatCannotBeWatchedOrLockedIsASentence) {
  if (!test::ResourceLimit::DESCRIPTORS_ARE_OURS) GTEST_SKIP() << "a sanitizer needs descriptors, too";
  auto refusal = [](auto&& act) -> std::string {
    try {
      act();
    } catch (const Failure& failure) {
      return failure.what();
    }
    return "";
  };
  auto sentence = refusal([&]() {
    auto limit = test::ResourceLimit::noDescriptors();
    make();
  });
  EXPECT_NE(sentence.find("ulimit -n"), std::string::npos) << sentence;

  fs::create_directory(directory.runPath() / "supervisor.lock");
  EXPECT_NE(refusal([&]() { becomeSupervisor(directory); }).find("supervisor.lock"), std::string::npos);
  fs::remove_all(directory.runPath());
  EXPECT_NE(refusal([&]() { make(); }).find(directory.runPath().string()), std::string::npos);
}

}  // namespace
}  // namespace cairn::cli
