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

Async<int> addOne(kj::Promise<int> promise) {
  co_return co_await promise + 1;
}
Async<int> immediately(int value) {
  co_return value;
}
Async<void> nothing() {
  co_return;
}

TEST_F(Coroutine, WhatIsThrownByWhatAPromiseHeldReachesWhoAwaitedIt) {
  auto held = kj::Promise<int>(1).attach(kj::defer([]() { KJ_FAIL_REQUIRE("on its way out"); }));
  kj::Promise<int> promise = addOne(kj::mv(held));
  auto thrown = kj::runCatchingExceptions([&]() { promise.wait(scope); });
  EXPECT_TRUE(KJ_ASSERT_NONNULL(thrown).getDescription().endsWith("on its way out"));
}

TEST_F(Coroutine, ValueComesThroughAnyNumberOfFrames) {
  auto paf = kj::newPromiseAndFulfiller<int>();
  kj::Promise<int> promise = addOne(addOne(addOne(kj::mv(paf.promise))));
  EXPECT_FALSE(promise.poll(scope));
  paf.fulfiller->fulfill(39);
  EXPECT_EQ(promise.wait(scope), 42);
}

TEST_F(Coroutine, ReadyValuesNeedNoOutsideEvent) {
  EXPECT_EQ(immediately(7).wait(scope), 7);
  EXPECT_EQ(addOne(7).wait(scope), 8);
  nothing().wait(scope);
}

Async<kj::Own<int>> unwrap(kj::Promise<kj::Own<int>> promise) {
  auto own = co_await kj::mv(promise);
  ++*own;
  co_return kj::mv(own);
}

TEST_F(Coroutine, ResultMayBeMoveOnly) {
  EXPECT_EQ(*unwrap(kj::Promise<kj::Own<int>>(kj::heap<int>(1))).wait(scope), 2);
}

Async<void> speak(Trace& trace, kj::Promise<void> signal) {
  trace.say("start");
  co_await signal;
  trace.say("end");
}

TEST_F(Coroutine, BodyRunsAtOnceUpToTheFirstAwaitEvenOfAReadyPromise) {
  kj::Promise<void> promise = speak(trace, kj::READY_NOW);
  EXPECT_EQ(trace.text, "start");
  promise.wait(scope);
  EXPECT_EQ(trace.text, "start end");
}

TEST_F(Coroutine, IsEager) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  kj::Promise<void> promise = speak(trace, kj::mv(paf.promise));
  paf.fulfiller->fulfill();
  kj::evalLast([]() {}).wait(scope);
  EXPECT_EQ(trace.text, "start end") << "nobody waits for it, it runs all the same";
  promise.wait(scope);
}

Async<void> holder(Trace& trace, kj::Promise<void> first, kj::Promise<void> second) {
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
    kj::Promise<void> promise = holder(trace, kj::mv(one.promise), kj::mv(two.promise));
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
      kj::Promise<void> promise = holder(trace, kj::mv(one.promise), kj::mv(two.promise));
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
    kj::Promise<int> promise = addOne(addOne(kj::mv(paf.promise)));
    EXPECT_FALSE(promise.poll(scope));
  }
  EXPECT_FALSE(paf.fulfiller->isWaiting());
}

Async<void> fails(kj::Promise<void> signal) {
  co_await signal;
  kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too much"));
}

Async<kj::String> rescue(kj::Promise<void> promise) {
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

Async<int> throwsBeforeAwait() {
  if (true) kj::throwFatalException(KJ_EXCEPTION(FAILED, "at once"));
  co_return 1;
}

TEST_F(Coroutine, AnExceptionBeforeTheFirstAwaitBreaksThePromiseAndNotTheCaller) {
  kj::Promise<int> promise = throwsBeforeAwait();
  EXPECT_THROW(promise.wait(scope), kj::Exception);
}

Async<void> loopOf(uint64_t& count, kj::Promise<void> start) {
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

Async<void> yields(Trace& trace, const char* name, kj::PromiseFulfiller<void>* wake) {
  co_await kj::evalLater([]() {});
  trace.say(name);
  if (wake != nullptr) wake->fulfill();
  co_await kj::Promise<void>(kj::READY_NOW);
  trace.say(name);
}

TEST_F(Coroutine, AReadyAwaitDoesNotOvertakeWhatWasWokenBefore) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  kj::Promise<void> other = speak(trace, kj::mv(paf.promise));
  yields(trace, "a", paf.fulfiller).wait(scope);
  EXPECT_EQ(trace.text, "start a end a");
  trace.text.clear();
  kj::Promise<void> first = yields(trace, "a", nullptr);
  kj::Promise<void> second = yields(trace, "b", nullptr);
  first.wait(scope);
  second.wait(scope);
  EXPECT_EQ(trace.text, "a b a b");
}

Async<void> collect(Trace& trace, kj::ForkedPromise<int>& fork, const char* name) {
  auto value = co_await fork.addBranch();
  EXPECT_EQ(value, 5);
  trace.say(name);
}

TEST_F(Coroutine, BranchesOfAForkResumeInOrder) {
  auto paf = kj::newPromiseAndFulfiller<int>();
  auto fork = addOne(kj::mv(paf.promise)).fork();
  kj::Promise<void> a = collect(trace, fork, "a");
  kj::Promise<void> b = collect(trace, fork, "b");
  paf.fulfiller->fulfill(4);
  a.wait(scope);
  b.wait(scope);
  EXPECT_EQ(trace.text, "a b");
}

struct ThrowsInDestructor {
  ~ThrowsInDestructor() noexcept(false) { kj::throwFatalException(KJ_EXCEPTION(FAILED, "local went badly")); }
};

Async<void> throwingLocal(Trace& trace, kj::Promise<void> signal) {
  Local a{trace, "~a"};
  ThrowsInDestructor local;
  co_await signal;
}

TEST_F(Coroutine, AnExceptionFromALocalsDestructorReachesWhoeverDestroys) {
  EXPECT_THROW(throwingLocal(trace, kj::READY_NOW).wait(scope), kj::Exception);
  EXPECT_EQ(trace.text, "~a");
  trace.text.clear();
  auto paf = kj::newPromiseAndFulfiller<void>();
  kj::Maybe<kj::Promise<void>> promise = kj::Promise<void>(throwingLocal(trace, kj::mv(paf.promise)));
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

struct Counted {
  // Compilers have been wrong about temporaries, bindings and arguments of coroutines. As with most of KJ,
  // the destructor might throw.
  static inline int alive = 0;
  Counted() { ++alive; }
  Counted(Counted&&) noexcept { ++alive; }
  Counted& operator=(Counted&&) noexcept = default;
  ~Counted() noexcept(false) { --alive; }
};
struct TwoCounted {
  Counted first, second;
};

struct Gate {
  // Lets `open` awaits pass, and the next one wait for ever.
  int open;
  int passed = 0;
  kj::Promise<void> pass() {
    if (passed++ < open) return kj::READY_NOW;
    return kj::NEVER_DONE;
  }
};

Async<int> takes(Gate& gate, Counted argument, const Counted& borrowed) {
  co_await gate.pass();
  co_return 1;
}
Async<Counted> gives(Gate& gate) {
  Counted local;
  co_await gate.pass();
  co_return kj::mv(local);
}
Async<TwoCounted> givesTwo(Gate& gate) {
  co_await gate.pass();
  co_return TwoCounted();
}
Async<int> countsAll(Gate& gate, Counted argument) {
  int sum = co_await takes(gate, Counted(), Counted()) + co_await takes(gate, {}, argument);
  auto [first, second] = co_await givesTwo(gate);
  for (int i = 0; i < 3; ++i) {
    auto each = co_await gives(gate);
    if (i == 1) continue;
    sum += co_await takes(gate, kj::mv(each), Counted());
  }
  sum += sum > 3 ? co_await takes(gate, kj::mv(first), second) : 0;
  if (auto tested = co_await gives(gate); sum == 5) sum += co_await takes(gate, Counted(), tested);
  while (co_await takes(gate, Counted(), Counted()) + sum < 9) ++sum;
  auto lambda = [](Gate& gate, Counted argument) -> Async<int> {
    auto held = co_await gives(gate);
    co_return co_await takes(gate, kj::mv(held), argument);
  };
  try {
    sum += co_await lambda(gate, Counted());
    kj::throwFatalException(KJ_EXCEPTION(FAILED, "on purpose"));
  } catch (const kj::Exception&) {
  }
  co_return sum;
}

TEST_F(Coroutine, EveryObjectIsDestroyedOnceWhetherItEndsOrIsCancelledAtAnyAwait) {
  Gate counting{1000};
  EXPECT_EQ(countsAll(counting, Counted()).wait(scope), 9);
  EXPECT_EQ(Counted::alive, 0);
  EXPECT_GE(counting.passed, 15);
  for (int open = 0; open < counting.passed; ++open) {
    Gate gate{open};
    {
      kj::Promise<int> promise = countsAll(gate, Counted());
      EXPECT_FALSE(promise.poll(scope));
      EXPECT_GT(gate.passed, open);
    }
    EXPECT_EQ(Counted::alive, 0) << "cancelled at await " << open;
  }
}

Async<int> plain(bool now) {
  if (now) return 7;
  return addOne(7);
}

TEST_F(Coroutine, APlainFunctionReturnsTheSameTypeAndTemplatesTakeIt) {
  EXPECT_EQ(plain(true).wait(scope), 7);
  EXPECT_EQ(plain(false).wait(scope), 8);
  EXPECT_EQ(promiseOf(plain(true)).wait(scope), 7);
  EXPECT_EQ(promiseOf(kj::Promise<int>(9)).wait(scope), 9);
  EXPECT_EQ(promiseOf(addOne(plain(true))).wait(scope), 8);
}

struct Server {
  // A member function is a coroutine as well: `this` is what it holds.
  kj::Timer& timer;
  int calls = 0;
  Async<int> serve(kj::Duration pause) {
    ++calls;
    co_await timer.afterDelay(pause);
    co_return calls;
  }
};

TEST_F(Coroutine, MembersWaitOnVirtualTime) {
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  Server server{timer};
  kj::Promise<int> slow = server.serve(2 * kj::SECONDS);
  kj::Promise<int> fast = server.serve(1 * kj::SECONDS);
  timer.advanceTo(kj::origin<kj::TimePoint>() + 1 * kj::SECONDS);
  EXPECT_TRUE(fast.poll(scope));
  EXPECT_FALSE(slow.poll(scope));
  timer.advanceTo(kj::origin<kj::TimePoint>() + 2 * kj::SECONDS);
  EXPECT_EQ(slow.wait(scope), 2);
  EXPECT_EQ(fast.wait(scope), 2);
}

}  // namespace
}  // namespace cairn
