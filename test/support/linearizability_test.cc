// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "test/support/linearizability.h"

#include <gtest/gtest.h>

#include <random>

namespace cairn::test {
namespace {

struct Register {
  struct State {
    int value = 0;
    bool operator==(const State&) const = default;
  };
  struct Call {
    uint64_t begin, end;
    bool write;
    int value;  // written, or what the read answered
  };
  std::vector<State> apply(const State& state, const Call& call) const {
    if (!call.write && state.value != call.value) return {};
    return {State{call.value}};
  }
  bool onlyLooks(const Call& call) const { return !call.write; }
  void ended(State&, const Call&) const {}
  size_t hash(const State& state) const { return size_t(state.value); }
};

using Calls = std::vector<Register::Call>;

auto violationOf(const Calls& calls) {
  return Linearizability<Register>().check(calls);
}

TEST(Linearizability, CallsOneAfterAnotherMustAnswerInTheirOrder) {
  EXPECT_FALSE(violationOf({{0, 1, true, 7}, {2, 3, false, 7}}));
  auto stale = violationOf({{0, 1, true, 7}, {2, 3, false, 0}});
  ASSERT_TRUE(stale);
  EXPECT_EQ(stale->call, 1u);
  EXPECT_EQ(stale->pending, std::vector<uint32_t>{1});
  EXPECT_EQ(stale->configurations.at(0).state.value, 7);
}

TEST(Linearizability, WhatOverlapsMayHaveHappenedOnEitherSide) {
  EXPECT_FALSE(violationOf({{0, 5, true, 7}, {1, 2, false, 0}}));
  EXPECT_FALSE(violationOf({{0, 5, true, 7}, {1, 2, false, 7}}));
  EXPECT_FALSE(violationOf({{0, 5, true, 7}, {1, 2, false, 0}, {3, 4, false, 7}}));
}

TEST(Linearizability, OnceSomebodyHasSeenItNobodyMayMissIt) {
  auto back = violationOf({{0, 9, true, 7}, {1, 2, false, 7}, {3, 4, false, 0}});
  ASSERT_TRUE(back);
  EXPECT_EQ(back->call, 2u);
}

TEST(Linearizability, TwoWritersAreSeenInOneOrderByAllReaders) {
  EXPECT_FALSE(violationOf({{0, 9, true, 1}, {0, 9, true, 2}, {1, 2, false, 1}, {3, 4, false, 2}}));
  EXPECT_TRUE(
      violationOf({{0, 9, true, 1}, {0, 9, true, 2}, {1, 2, false, 1}, {3, 4, false, 2}, {5, 6, false, 1}}));
}

TEST(Linearizability, CallsOfOneMomentCountAsOverlapping) {
  EXPECT_FALSE(violationOf({{0, 1, true, 7}, {1, 2, false, 0}}));
}

Calls historyOf(unsigned seed, int threads, int each) {
  // What a correct register answers to threads whose calls overlap: each takes effect at one moment of its
  // own.
  std::mt19937_64 random(seed);
  struct Timed {
    uint64_t effect;
    Register::Call call;
  };
  std::vector<Timed> timed;
  for (int thread = 0; thread < threads; ++thread) {
    uint64_t now = random() % 100;
    for (int i = 0; i < each; ++i) {
      auto begin = now + random() % 50, effect = begin + random() % 50, end = effect + random() % 50;
      timed.push_back({effect, {begin, end, random() % 2 == 0, int(random() % 5)}});
      now = end + 1;
    }
  }
  std::sort(timed.begin(), timed.end(), [](auto& a, auto& b) { return a.effect < b.effect; });
  int value = 0;
  Calls calls;
  for (auto& [effect, call] : timed) {
    if (call.write) value = call.value;
    call.value = value;
    calls.push_back(call);
  }
  return calls;
}

TEST(Linearizability, AcceptsWhatACorrectRegisterAnswers) {
  for (unsigned seed = 0; seed < 50; ++seed) EXPECT_FALSE(violationOf(historyOf(seed, 6, 60))) << seed;
}

TEST(Linearizability, FindsAnAnswerThatWasNeverRight) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    auto calls = historyOf(seed, 6, 60);
    auto read = std::find_if(calls.begin() + 180, calls.end(), [](auto& call) { return !call.write; });
    read->value = 99;
    auto violation = violationOf(calls);
    ASSERT_TRUE(violation) << seed;
    EXPECT_EQ(violation->call, size_t(read - calls.begin()));
  }
}

}  // namespace
}  // namespace cairn::test
