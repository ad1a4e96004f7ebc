// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn up` where it cannot be done: whoever waits for it hears why, whichever process found it out.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>

#include "cli/commands.h"
#include "test/cli/fake_programs.h"
#include "test/support/resource_limit.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;

class Up : public testing::Test, protected FakePrograms {
 public:
  Up() {
    setenv("CAIRN_PROGRAMS", programs.c_str(), 1);
    options.dir = directory.path().string();
    options.chunkds = 1;
    options.mode = Mode::DETACHED;
  }
  ~Up() noexcept override { unsetenv("CAIRN_PROGRAMS"); }

 protected:
  UpOptions options;

  std::string refusal() {
    // What it says, in whichever way.
    std::cout.flush();
    testing::internal::CaptureStderr();
    auto code = ExitCode::DONE;
    std::string sentence;
    try {
      code = up(options);
    } catch (const Failure& failure) {
      code = failure.code;
      sentence = failure.what();
    }
    EXPECT_EQ(code, ExitCode::FAILED);
    return sentence + testing::internal::GetCapturedStderr();
  }
};

#define EXPECT_SAYS(sentence, part)                          \
  do {                                                       \
    auto said_ = (sentence);                                 \
    EXPECT_NE(said_.find(part), std::string::npos) << said_; \
  } while (false)

TEST_F(Up, WhatTheSupervisorCannotWriteIsToldToWhoWaits) {
  for (auto& path : {directory.path() / "cluster.toml", directory.pidFile("supervisor")}) {
    putInTheWay(path);
    for (auto mode : {Mode::DETACHED, Mode::FOREGROUND}) {
      options.mode = mode;
      EXPECT_SAYS(refusal(), "cannot write " + path.string());
    }
    fs::remove(path.string() + ".new");
  }
  EXPECT_TRUE(findRunning(specs()).empty());
}

TEST_F(Up, WithoutADescriptorForItsSupervisorNothingIsStarted) {
  if (!test::ResourceLimit::DESCRIPTORS_ARE_OURS) GTEST_SKIP() << "a sanitizer needs descriptors, too";
  std::string sentence;
  try {
    auto limit = test::ResourceLimit::oneDescriptor();
    up(options);
  } catch (const Failure& failure) {
    sentence = failure.what();
  }
  EXPECT_SAYS(sentence, "cannot make a pipe: Too many open files");
  EXPECT_TRUE(findRunning(specs()).empty());
}

TEST_F(Up, ADaemonThatDoesNotStartIsToldToWhoWaits) {
  install("cairn-metaserver", FAILING);
  auto said = refusal();
  EXPECT_SAYS(said, "metaserver-1 ended before it served");
  EXPECT_SAYS(said, "the store belongs to another cluster");
  EXPECT_SAYS(said, "its data is untouched");
}

TEST_F(Up, ASupervisorThatIsKilledAsItStartsIsToldToWhoWaits) {
  install("cairn-metaserver", "#!/bin/sh\nkill -9 $PPID\n");
  auto said = refusal();
  EXPECT_SAYS(said, "the supervisor has ended before the cluster was up");
  EXPECT_SAYS(said, directory.logFile("supervisor").string());
}

TEST_F(Up, WhileAnotherIsStartingItNothingIsDone) {
  // It has the lock, and has not said yet who it is.
  auto lock = becomeSupervisor(directory);
  ASSERT_TRUE(lock);
  fs::remove(directory.pidFile("supervisor"));
  EXPECT_SAYS(refusal(), "is starting this cluster just now");
  EXPECT_TRUE(findRunning(specs()).empty());
}

class UpAgain : public Up {
  // A supervisor runs: a child that has the lock and does nothing. Asked to start what is down it ends,
  // unless it is deaf.
 public:
  ~UpAgain() noexcept override {
    if (supervisor == 0) return;
    kill(supervisor, SIGKILL);
    waitpid(supervisor, nullptr, 0);
  }

 protected:
  pid_t supervisor = 0;

  void supervise(void (*onHangup)(int)) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    supervisor = fork();
    if (supervisor == 0) {
      signal(SIGHUP, onHangup);
      auto lock = becomeSupervisor(directory);
      close(ends[0]);
      close(ends[1]);
      for (;;) pause();
    }
    close(ends[1]);
    char none;
    ASSERT_EQ(read(ends[0], &none, 1), 0);  // it has the lock
    close(ends[0]);
    ASSERT_TRUE(findSupervisor(directory));
  }
  void saveOneStore() {
    plan.chunkdPorts = {9410};
    plan.replicas = plan.minReplicas = 1;
    directory.save(plan);
  }
};

TEST_F(UpAgain, ItsPlanIsMissing) {
  supervise(SIG_IGN);
  EXPECT_SAYS(refusal(), "but there is no cluster.toml");
}

TEST_F(UpAgain, WhatIsDownAndDoesNotComeBackIsNotWaitedForForEver) {
  saveOneStore();
  supervise(SIG_IGN);
  options.patience = std::chrono::milliseconds(100);
  EXPECT_SAYS(refusal(), "not every daemon serves");
}

TEST_F(UpAgain, TheSupervisorEndsMeanwhile) {
  saveOneStore();
  supervise(SIG_DFL);
  EXPECT_SAYS(refusal(), "the supervisor ended meanwhile");
}

}  // namespace
}  // namespace cairn::cli
