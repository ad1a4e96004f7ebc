// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "env/worker.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace cairn::env {
namespace {

struct WorkerTest : testing::Test {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  ~WorkerTest() noexcept override {}
};

TEST_F(WorkerTest, WorkRunsInAnotherThreadAndAnswersOnTheLoop) {
  auto worker = newThreadWorker(io.unixEventPort, 2);
  std::thread::id ran;
  worker->run([&] { ran = std::this_thread::get_id(); }).wait(io.waitScope);
  EXPECT_NE(ran, std::this_thread::get_id());
}

TEST_F(WorkerTest, AnExceptionOfTheWorkReachesTheCaller) {
  auto worker = newThreadWorker(io.unixEventPort, 1);
  auto failure =
      worker->run([] { KJ_FAIL_REQUIRE("the disk is gone"); })
          .then([] { return kj::String(); }, [](kj::Exception&& e) { return kj::str(e.getDescription()); })
          .wait(io.waitScope);
  EXPECT_NE(std::string(failure.cStr()).find("the disk is gone"), std::string::npos);
}

TEST_F(WorkerTest, AbandonedWorkThatHasBegunIsWaitedForAndTheRestIsDropped) {
  auto worker = newThreadWorker(io.unixEventPort, 1);
  std::mutex mutex;
  std::condition_variable changed;
  bool begun = false, release = false;
  std::atomic<bool> ended = false, second = false;
  auto first = worker->run([&] {
    std::unique_lock guard(mutex);
    begun = true;
    changed.notify_all();
    changed.wait(guard, [&] { return release; });
    ended = true;
  });
  auto never = worker->run([&] { second = true; });
  {
    std::unique_lock guard(mutex);
    changed.wait(guard, [&] { return begun; });
  }
  {
    auto dropped = kj::mv(never);
  }
  {
    std::unique_lock guard(mutex);
    release = true;
  }
  changed.notify_all();
  {
    auto dropped = kj::mv(first);
  }
  EXPECT_TRUE(ended);
  EXPECT_FALSE(second);
}

TEST_F(WorkerTest, WhatAJobThrowsReachesWhoAskedForIt) {
  auto worker = newThreadWorker(io.unixEventPort, 1);
  auto failing = worker->run([] { KJ_FAIL_REQUIRE("the disk is on fire"); });
  auto thrown = kj::runCatchingExceptions([&] { failing.wait(io.waitScope); });
  EXPECT_TRUE(KJ_ASSERT_NONNULL(thrown).getDescription().endsWith("the disk is on fire"));
  bool ran = false;
  worker->run([&] { ran = true; }).wait(io.waitScope);
  EXPECT_TRUE(ran) << "the next job has its turn";
}

TEST_F(WorkerTest, ManyJobsAreAllAnswered) {
  auto worker = newThreadWorker(io.unixEventPort, 3);
  std::atomic<int> sum = 0;
  kj::Vector<kj::Promise<void>> all;
  for (int i = 1; i <= 1000; i++) all.add(worker->run([&sum, i] { sum += i; }));
  kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
  EXPECT_EQ(sum, 500500);
}

}  // namespace
}  // namespace cairn::env
