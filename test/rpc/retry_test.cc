// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Bounded waiting: how long between attempts, how long for an answer.
#include "rpc/retry.h"

#include <gtest/gtest.h>
#include <kj/timer.h>

#include "rpc/deadline.h"

namespace cairn {
namespace {

TEST(RetryPolicy, PausesDoubleUpToTheMaximum) {
  RetryPolicy policy;
  EXPECT_EQ(policy.delay(1, 0), 10 * kj::MILLISECONDS);
  EXPECT_EQ(policy.delay(2, 0), 20 * kj::MILLISECONDS);
  EXPECT_EQ(policy.delay(5, 0), 160 * kj::MILLISECONDS);
  EXPECT_EQ(policy.delay(8, 0), 1 * kj::SECONDS);
  EXPECT_EQ(policy.delay(4'000'000'000, 0), 1 * kj::SECONDS);
}

TEST(RetryPolicy, ChanceTakesOffAtMostAQuarter) {
  RetryPolicy policy;
  auto least = policy.delay(3, 0), most = kj::Duration();
  for (uint32_t random = 0; random < 5000; ++random) {
    least = kj::min(least, policy.delay(3, random));
    most = kj::max(most, policy.delay(3, random));
  }
  EXPECT_EQ(most, 40 * kj::MILLISECONDS);
  EXPECT_GE(least, 30 * kj::MILLISECONDS);
  EXPECT_LT(least, 31 * kj::MILLISECONDS);
}

TEST(RetryPolicy, TheBudgetEnds) {
  RetryPolicy policy{.budget = 5 * kj::SECONDS};
  EXPECT_FALSE(policy.exhausted(4999 * kj::MILLISECONDS));
  EXPECT_TRUE(policy.exhausted(5 * kj::SECONDS));
}

class Deadline : public testing::Test {
 public:
  ~Deadline() noexcept override {}

 protected:
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  kj::PromiseFulfillerPair<int> paf = kj::newPromiseAndFulfiller<int>();
  kj::Promise<int> waited =
      withDeadline(timer, kj::mv(paf.promise), 2 * kj::SECONDS, kj::str("chunkd-3: read"));
};

TEST_F(Deadline, AnAnswerInTimeIsTheAnswer) {
  timer.advanceTo(kj::origin<kj::TimePoint>() + 1 * kj::SECONDS);
  paf.fulfiller->fulfill(42);
  EXPECT_EQ(waited.wait(scope), 42);
}

TEST_F(Deadline, SilenceEndsInAnExceptionThatSaysWhatWasWaitedFor) {
  timer.advanceTo(kj::origin<kj::TimePoint>() + 1999 * kj::MILLISECONDS);
  EXPECT_FALSE(waited.poll(scope));
  timer.advanceTo(kj::origin<kj::TimePoint>() + 2 * kj::SECONDS);
  auto exception = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&]() { waited.wait(scope); }));
  EXPECT_EQ(exception.getType(), kj::Exception::Type::OVERLOADED);
  EXPECT_EQ(exception.getDescription(), "chunkd-3: read: no answer within 2000 ms");
  EXPECT_FALSE(paf.fulfiller->isWaiting()) << "what was waited for is cancelled";
}

}  // namespace
}  // namespace cairn
