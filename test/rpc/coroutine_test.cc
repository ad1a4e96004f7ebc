// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What handlers may rely on when they are coroutines: order, values, exceptions, cancellation.
#include "rpc/coroutine.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/timer.h>
#include <kj/vector.h>

#include <string>

namespace cairn {
namespace {

struct Trace {
  std::string text;
  void say(const char* what) { text += text.empty() ? what : std::string(" ") + what; }
};

struct Local {
  Trace& trace;
  const char* name;
  ~Local() { trace.say(name); }
};

class Coroutine : public testing::Test {
 public:
  ~Coroutine() noexcept override {}

 protected:
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  Trace trace;
};

kj::Promise<int> addOne(kj::Promise<int> promise) {
  co_return co_await promise + 1;
}
kj::Promise<int> immediately(int value) {
  co_return value;
}
kj::Promise<void> nothing() {
  co_return;
}

TEST_F(Coroutine, ValueComesThroughAnyNumberOfFrames) {
  auto paf = kj::newPromiseAndFulfiller<int>();
  auto promise = addOne(addOne(addOne(kj::mv(paf.promise))));
  EXPECT_FALSE(promise.poll(scope));
  paf.fulfiller->fulfill(39);
  EXPECT_EQ(promise.wait(scope), 42);
}

TEST_F(Coroutine, ReadyValuesNeedNoOutsideEvent) {
  EXPECT_EQ(immediately(7).wait(scope), 7);
  EXPECT_EQ(addOne(7).wait(scope), 8);
  nothing().wait(scope);
}

kj::Promise<kj::Own<int>> unwrap(kj::Promise<kj::Own<int>> promise) {
  auto own = co_await kj::mv(promise);
  ++*own;
  co_return kj::mv(own);
}

TEST_F(Coroutine, ResultMayBeMoveOnly) {
  EXPECT_EQ(*unwrap(kj::Promise<kj::Own<int>>(kj::heap<int>(1))).wait(scope), 2);
}

kj::Promise<void> speak(Trace& trace, kj::Promise<void> signal) {
  trace.say("start");
  co_await signal;
  trace.say("end");
}

TEST_F(Coroutine, BodyRunsAtOnceUpToTheFirstAwaitEvenOfAReadyPromise) {
  auto promise = speak(trace, kj::READY_NOW);
  EXPECT_EQ(trace.text, "start");
  promise.wait(scope);
  EXPECT_EQ(trace.text, "start end");
}

TEST_F(Coroutine, IsEager) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  auto promise = speak(trace, kj::mv(paf.promise));
  paf.fulfiller->fulfill();
  kj::evalLast([]() {}).wait(scope);
  EXPECT_EQ(trace.text, "start end") << "nobody waits for it, it runs all the same";
  promise.wait(scope);
}

kj::Promise<void> holder(Trace& trace, kj::Promise<void> first, kj::Promise<void> second) {
  Local a{trace, "~a"};
  co_await first;
  trace.say("first");
  Local b{trace, "~b"};
  co_await second;
  trace.say("second");
}

TEST_F(Coroutine, DestroyingThePromiseDestroysTheLocalsInReverseOrder) {
  auto one = kj::newPromiseAndFulfiller<void>();
  auto two = kj::newPromiseAndFulfiller<void>();
  {
    auto promise = holder(trace, kj::mv(one.promise), kj::mv(two.promise));
    one.fulfiller->fulfill();
    EXPECT_FALSE(promise.poll(scope));
    EXPECT_EQ(trace.text, "first");
  }
  EXPECT_EQ(trace.text, "first ~b ~a");
  EXPECT_FALSE(two.fulfiller->isWaiting()) << "the awaited promise is gone as well";
}

TEST_F(Coroutine, MayBeCancelledAtEveryAwaitAndWithItsEventArmed) {
  for (int step = 0; step < 3; ++step) {
    trace.text.clear();
    auto one = kj::newPromiseAndFulfiller<void>();
    auto two = kj::newPromiseAndFulfiller<void>();
    {
      auto promise = holder(trace, kj::mv(one.promise), kj::mv(two.promise));
      if (step == 1) one.fulfiller->fulfill();  // armed, not yet fired
      if (step == 2) {
        one.fulfiller->fulfill();
        EXPECT_FALSE(promise.poll(scope));
        two.fulfiller->fulfill();
      }
    }
    EXPECT_EQ(trace.text, step == 2 ? "first ~b ~a" : "~a") << step;
  }
}

TEST_F(Coroutine, CancellingTheOuterCancelsTheInner) {
  auto paf = kj::newPromiseAndFulfiller<int>();
  {
    auto promise = addOne(addOne(kj::mv(paf.promise)));
    EXPECT_FALSE(promise.poll(scope));
  }
  EXPECT_FALSE(paf.fulfiller->isWaiting());
}

kj::Promise<void> fails(kj::Promise<void> signal) {
  co_await signal;
  kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too much"));
}

kj::Promise<kj::String> rescue(kj::Promise<void> promise) {
  try {
    co_await promise;
  } catch (const kj::Exception& exception) {
    co_return kj::str(exception.getDescription());
  }
  co_return kj::str("fine");
}

TEST_F(Coroutine, ExceptionsGoBothWays) {
  EXPECT_EQ(rescue(fails(kj::READY_NOW)).wait(scope), "too much");
  EXPECT_EQ(rescue(KJ_EXCEPTION(DISCONNECTED, "gone")).wait(scope), "gone");
  EXPECT_EQ(rescue(kj::READY_NOW).wait(scope), "fine");
  auto type = fails(kj::READY_NOW)
                  .then([]() { return kj::Exception::Type::FAILED; },
                        [](kj::Exception&& exception) { return exception.getType(); })
                  .wait(scope);
  EXPECT_EQ(type, kj::Exception::Type::OVERLOADED);
}

kj::Promise<int> throwsBeforeAwait() {
  if (true) kj::throwFatalException(KJ_EXCEPTION(FAILED, "at once"));
  co_return 1;
}

TEST_F(Coroutine, AnExceptionBeforeTheFirstAwaitBreaksThePromiseAndNotTheCaller) {
  auto promise = throwsBeforeAwait();
  EXPECT_THROW(promise.wait(scope), kj::Exception);
}

kj::Promise<void> loopOf(uint64_t& count, kj::Promise<void> start) {
  co_await start;
  for (int i = 0; i < 100'000; ++i) {
    co_await kj::Promise<void>(kj::READY_NOW);
    ++count;
  }
}

TEST_F(Coroutine, ManyReadyAwaitsNeitherRecurseNorLeak) {
  uint64_t count = 0;
  loopOf(count, kj::READY_NOW).wait(scope);
  EXPECT_EQ(count, 100'000u);
}

kj::Promise<void> yields(Trace& trace, const char* name, kj::PromiseFulfiller<void>* wake) {
  co_await kj::evalLater([]() {});
  trace.say(name);
  if (wake != nullptr) wake->fulfill();
  co_await kj::Promise<void>(kj::READY_NOW);
  trace.say(name);
}

TEST_F(Coroutine, AReadyAwaitDoesNotOvertakeWhatWasWokenBefore) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  auto other = speak(trace, kj::mv(paf.promise));
  yields(trace, "a", paf.fulfiller).wait(scope);
  EXPECT_EQ(trace.text, "start a end a");
  trace.text.clear();
  auto first = yields(trace, "a", nullptr);
  auto second = yields(trace, "b", nullptr);
  first.wait(scope);
  second.wait(scope);
  EXPECT_EQ(trace.text, "a b a b");
}

kj::Promise<void> collect(Trace& trace, kj::ForkedPromise<int>& fork, const char* name) {
  auto value = co_await fork.addBranch();
  EXPECT_EQ(value, 5);
  trace.say(name);
}

TEST_F(Coroutine, BranchesOfAForkResumeInOrder) {
  auto paf = kj::newPromiseAndFulfiller<int>();
  auto fork = addOne(kj::mv(paf.promise)).fork();
  auto a = collect(trace, fork, "a");
  auto b = collect(trace, fork, "b");
  paf.fulfiller->fulfill(4);
  a.wait(scope);
  b.wait(scope);
  EXPECT_EQ(trace.text, "a b");
}

struct ThrowsInDestructor {
  ~ThrowsInDestructor() noexcept(false) { kj::throwFatalException(KJ_EXCEPTION(FAILED, "local went badly")); }
};

kj::Promise<void> throwingLocal(Trace& trace, kj::Promise<void> signal) {
  Local a{trace, "~a"};
  ThrowsInDestructor local;
  co_await signal;
}

TEST_F(Coroutine, AnExceptionFromALocalsDestructorReachesWhoeverDestroys) {
  EXPECT_THROW(throwingLocal(trace, kj::READY_NOW).wait(scope), kj::Exception);
  EXPECT_EQ(trace.text, "~a");
  trace.text.clear();
  auto paf = kj::newPromiseAndFulfiller<void>();
  kj::Maybe<kj::Promise<void>> promise = throwingLocal(trace, kj::mv(paf.promise));
  EXPECT_THROW(promise = nullptr, kj::Exception);
  EXPECT_EQ(trace.text, "~a") << "the rest of the frame is destroyed all the same";
}

class Collector final : public kj::TaskSet::ErrorHandler {
 public:
  void taskFailed(kj::Exception&& exception) override { failures.add(kj::str(exception.getDescription())); }
  kj::Vector<kj::String> failures;
};

TEST_F(Coroutine, WorksInATaskSetAndDiesWithIt) {
  Collector collector;
  auto paf = kj::newPromiseAndFulfiller<void>();
  {
    kj::TaskSet tasks(collector);
    tasks.add(fails(kj::READY_NOW));
    tasks.add(holder(trace, kj::READY_NOW, kj::mv(paf.promise)));
    kj::evalLast([]() {}).wait(scope);
    ASSERT_EQ(collector.failures.size(), 1u);
    EXPECT_EQ(collector.failures[0], "too much");
    EXPECT_EQ(trace.text, "first");
    EXPECT_GT(tasks.trace().size(), 0u);
  }
  EXPECT_EQ(trace.text, "first ~b ~a");
}

struct Server {
  // A member function is a coroutine as well: `this` is what it holds.
  kj::Timer& timer;
  int calls = 0;
  kj::Promise<int> serve(kj::Duration pause) {
    ++calls;
    co_await timer.afterDelay(pause);
    co_return calls;
  }
};

TEST_F(Coroutine, MembersWaitOnVirtualTime) {
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  Server server{timer};
  auto slow = server.serve(2 * kj::SECONDS);
  auto fast = server.serve(1 * kj::SECONDS);
  timer.advanceTo(kj::origin<kj::TimePoint>() + 1 * kj::SECONDS);
  EXPECT_TRUE(fast.poll(scope));
  EXPECT_FALSE(slow.poll(scope));
  timer.advanceTo(kj::origin<kj::TimePoint>() + 2 * kj::SECONDS);
  EXPECT_EQ(slow.wait(scope), 2);
  EXPECT_EQ(fast.wait(scope), 2);
}

}  // namespace
}  // namespace cairn
