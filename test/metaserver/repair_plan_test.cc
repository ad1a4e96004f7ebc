// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What is copied, in which order, from where to where and how fast; and what is not.
#include "metaserver/repair_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace cairn {
namespace {

using Kind = RepairJob::Kind;
using Outcome = RepairPlan::Outcome;

class Plan : public testing::Test {
 public:
  ~Plan() noexcept override { plan.checkInvariants(); }

 protected:
  RepairPlan plan{RepairOptions{}};
  kj::TimePoint now = kj::origin<kj::TimePoint>() + 1000 * kj::SECONDS;
  std::vector<RepairStore> fleet;

  // Stores 1 to n, each on a host of its own, half full.
  void stores(uint32_t count) {
    static const std::string HOSTS[] = {"h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"};
    for (uint32_t i = 1; i <= count; ++i) {
      fleet.push_back({ServerId(i), HOSTS[i].c_str(), "", 100ull << 30, 50ull << 30, true});
    }
  }
  RepairStore& store(uint32_t number) { return fleet[number - 1]; }

  // "1 2 a3 d4 s5 c6 l7": good on 1 and 2, away, in doubt, stale, corrupt, on a store that leaves.
  RepairFacts facts(const std::string& words, uint32_t wanted = 3, kj::Duration away = 0 * kj::SECONDS) {
    RepairFacts result;
    result.wanted = wanted;
    result.minimum = std::min(wanted, 2u);
    result.length = 64 << 20;
    for (size_t at = 0; at < words.size(); ++at) {
      if (words[at] == ' ') continue;
      RepairReplica replica{ServerId(0), Standing::GOOD, now - away};
      switch (words[at]) {
        case 'a':
          replica.standing = Standing::AWAY, ++at;
          break;
        case 'd':
          replica.standing = Standing::DOUBTFUL, ++at;
          break;
        case 's':
          replica.standing = Standing::STALE, ++at;
          break;
        case 'c':
          replica.standing = Standing::CORRUPT, ++at;
          break;
        case 'l':
          replica.standing = Standing::LEAVING, ++at;
          break;
      }
      replica.server = ServerId(uint32_t(words[at] - '0'));
      result.replicas.add(replica);
    }
    return result;
  }
  void note(uint64_t chunk, const std::string& words, uint32_t wanted = 3) {
    plan.note(ChunkHandle(chunk), facts(words, wanted), now);
  }
  void pass(kj::Duration duration) { now += duration; }
  kj::Vector<RepairJob> next() {
    plan.checkInvariants();
    return plan.next(kj::arrayPtr(fleet.data(), fleet.size()), now);
  }
  std::vector<uint64_t> chunksOf(kj::ArrayPtr<const RepairJob> jobs) {
    std::vector<uint64_t> result;
    for (auto& job : jobs) result.push_back(job.chunk.value());
    return result;
  }
  RepairProgress progress() { return plan.progress(now); }
};

using Chunks = std::vector<uint64_t>;

// -- what needs something

TEST_F(Plan, WhatHasAsManyGoodReplicasAsWantedNeedsNothing) {
  stores(4);
  note(1, "1 2 3");
  note(2, "1 2 3 s4");
  EXPECT_EQ(next().size(), 0u);
  EXPECT_FALSE(plan.wants(ChunkHandle(1)));
}

TEST_F(Plan, AMissingReplicaIsCopiedAtOnceWhenItsStoreHasLostIt) {
  stores(4);
  note(1, "1 2");
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, Kind::COPY);
  EXPECT_TRUE(jobs[0].target == ServerId(3) || jobs[0].target == ServerId(4));
  EXPECT_EQ(jobs[0].sources.size(), 2u);
}

TEST_F(Plan, AStoreThatIsAwayHasAGrace) {
  stores(4);
  store(3).takes = false;
  note(1, "1 2 a3");
  EXPECT_EQ(next().size(), 0u);
  EXPECT_EQ(progress().waiting, 1u);
  pass(29 * kj::SECONDS);
  EXPECT_EQ(next().size(), 0u);
  pass(1 * kj::SECONDS);
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].target, ServerId(4));
  EXPECT_EQ(progress().waiting, 0u);
}

TEST_F(Plan, AStoreThatComesBackWithinItsGraceCostsNothing) {
  stores(4);
  note(1, "1 2 a3");
  pass(20 * kj::SECONDS);
  EXPECT_EQ(next().size(), 0u);
  note(1, "1 2 3");
  pass(20 * kj::SECONDS);
  EXPECT_EQ(next().size(), 0u);
}

TEST_F(Plan, OfTwoStoresThatAreAwayEachHasItsOwnGrace) {
  stores(5);
  note(1, "1 2 a3 a4");
  plan.note(ChunkHandle(2), facts("1 2 a3"), now);
  auto both = facts("1 2 3 a4 a5", 5);
  both.replicas[3].heard = now - 10 * kj::SECONDS;
  plan.note(ChunkHandle(3), both, now);
  pass(19 * kj::SECONDS);
  EXPECT_EQ(next().size(), 0u);
  pass(1 * kj::SECONDS);
  EXPECT_EQ(next().size(), 0u) << "chunk 3 lacks one for good, and stores that are away are no targets";
  EXPECT_EQ(progress().stuck, 1u);
}

TEST_F(Plan, OneCopyLeftWaitsOnlyAsLongAsARestartTakes) {
  stores(4);
  note(1, "1 a2 a3");
  EXPECT_EQ(next().size(), 0u);
  pass(2 * kj::SECONDS);
  EXPECT_EQ(next().size(), 1u);
}

TEST_F(Plan, AReplicaInDoubtIsGivenAMomentAndThenReplacedWhereItIs) {
  stores(3);
  note(1, "1 2 d3");
  EXPECT_EQ(next().size(), 0u);
  pass(5 * kj::SECONDS);
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].target, ServerId(3));
}

TEST_F(Plan, ACorruptReplicaIsReplacedAtOnceAlsoInItsPlace) {
  stores(3);
  note(1, "1 2 c3");
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].target, ServerId(3));
}

TEST_F(Plan, AStaleReplicaIsPreferredBecauseMostOfItIsThere) {
  stores(8);
  for (uint64_t chunk = 1; chunk <= 2; ++chunk) note(chunk, "1 2 s7");
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 2u);
  for (auto& job : jobs) EXPECT_EQ(job.target, ServerId(7));
}

TEST_F(Plan, WithNoGoodReplicaThereIsNothingToCopyFrom) {
  stores(4);
  note(1, "d1 c2 a3");
  pass(60 * kj::SECONDS);
  EXPECT_EQ(next().size(), 0u);
}

// -- in which order

TEST_F(Plan, OneCopyLeftGoesFirstThenWhatBlocksThenByDistance) {
  stores(8);
  note(1, "1 2");     // one lacking
  note(2, "2");       // last copy
  note(3, "3 4", 5);  // three lacking
  auto blocked = facts("5 6", 4);
  blocked.minimum = 3;
  plan.note(ChunkHandle(4), blocked, now);
  EXPECT_EQ(chunksOf(next()), (Chunks{2, 4, 1, 3}));
}

TEST_F(Plan, FewerCopiesGoBeforeMore) {
  stores(8);
  note(1, "1 2 3 4", 6);
  note(2, "5 6 7", 6);
  EXPECT_EQ(chunksOf(next()), (Chunks{2, 1}));
}

// -- where to

TEST_F(Plan, AnotherHostIsPreferredAndTheSameHostBetterThanNone) {
  stores(4);
  store(3).host = store(1).host;
  note(1, "1 2");
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].target, ServerId(4));
  store(4).takes = false;
  jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].target, ServerId(3));
}

TEST_F(Plan, AnotherRackIsPreferred) {
  stores(5);
  store(1).rack = store(2).rack = store(3).rack = store(4).rack = "r1";
  store(5).rack = "r2";
  for (uint64_t chunk = 1; chunk <= 2; ++chunk) note(chunk, "1 2");
  for (auto& job : next()) EXPECT_EQ(job.target, ServerId(5));
}

TEST_F(Plan, WithoutAStoreThatCouldTakeItAChunkIsStuckUntilOneComes) {
  stores(3);
  store(3).takes = false;
  note(1, "1 2");
  EXPECT_EQ(next().size(), 0u);
  EXPECT_EQ(progress().stuck, 1u);
  EXPECT_NE(std::string(progress().stuckBecause.cStr()).find("no other store"), std::string::npos);
  store(3).takes = true;
  EXPECT_EQ(next().size(), 0u) << "not looked at all the time";
  plan.storesChanged(now);
  EXPECT_EQ(next().size(), 1u);
  EXPECT_EQ(progress().stuck, 0u);
}

// -- how much at a time

TEST_F(Plan, NoStoreIsInMoreThanTwoCopiesEitherWay) {
  stores(8);
  for (uint64_t chunk = 1; chunk <= 100; ++chunk) note(chunk, "1 2");
  auto jobs = next();
  uint32_t to[9] = {}, from[9] = {};
  for (auto& job : jobs) {
    ++to[job.target.value()];
    ++from[job.sources[0].value()];
    plan.began(job);
  }
  EXPECT_EQ(jobs.size(), 4u) << "two sources, two each";
  for (uint32_t i = 1; i <= 8; ++i) {
    EXPECT_LE(to[i], 2u);
    EXPECT_LE(from[i], 2u);
  }
  EXPECT_EQ(next().size(), 0u);
  plan.ended(jobs[0], Outcome::DONE, now);
  note(jobs[0].chunk.value(), "1 2 3");
  EXPECT_EQ(next().size(), 1u);
}

TEST_F(Plan, BytesAreSpreadOverTimeForBothEnds) {
  constexpr uint64_t SECOND = 100ull << 20;
  EXPECT_EQ(plan.reserve(ServerId(1), ServerId(2), SECOND, now), now);
  EXPECT_EQ(plan.reserve(ServerId(1), ServerId(3), SECOND, now), now + 1 * kj::SECONDS)
      << "the source is busy";
  EXPECT_EQ(plan.reserve(ServerId(4), ServerId(2), SECOND, now), now + 1 * kj::SECONDS)
      << "the target is busy";
  EXPECT_EQ(plan.reserve(ServerId(5), ServerId(6), SECOND, now), now);
  EXPECT_EQ(plan.reserve(ServerId(2), ServerId(1), SECOND, now), now) << "the other direction is free";
}

// -- afterwards

TEST_F(Plan, AFailureIsFollowedByAPauseThatGrows) {
  stores(4);
  note(1, "1 2");
  kj::Duration before = 0 * kj::SECONDS;
  for (int i = 0; i < 5; ++i) {
    auto jobs = next();
    ASSERT_EQ(jobs.size(), 1u);
    plan.began(jobs[0]);
    plan.ended(jobs[0], Outcome::FAILED, now);
    note(1, "1 2");
    auto start = now;
    while (next().size() == 0) {
      pass(500 * kj::MILLISECONDS);
      note(1, "1 2");
    }
    EXPECT_GT(now - start, before);
    before = now - start;
  }
  EXPECT_EQ(progress().failed, 5u);
}

TEST_F(Plan, OneThatWasOvertakenGoesOnAtOnce) {
  stores(4);
  note(1, "1 2");
  auto jobs = next();
  plan.began(jobs[0]);
  EXPECT_TRUE(plan.underWay(ChunkHandle(1)));
  plan.ended(jobs[0], Outcome::AGAIN, now);
  EXPECT_EQ(next().size(), 1u);
}

TEST_F(Plan, NewsDuringACopyAreHeardAfterIt) {
  stores(4);
  note(1, "1 2");
  auto jobs = next();
  plan.began(jobs[0]);
  note(1, "1 2 3");
  EXPECT_TRUE(plan.underWay(ChunkHandle(1)));
  plan.forget(ChunkHandle(1));
  EXPECT_TRUE(plan.underWay(ChunkHandle(1)));
  plan.ended(jobs[0], Outcome::AGAIN, now);
  note(1, "1 2 3");
  EXPECT_FALSE(plan.wants(ChunkHandle(1)));
}

// -- too many, drained, moved

TEST_F(Plan, WithMoreThanWantedTheFullestIsLeftBehind) {
  stores(4);
  store(2).bytesFree = 10ull << 30;
  note(1, "1 2 3 4");
  EXPECT_EQ(next().size(), 0u) << "what has just come may be about to go";
  pass(2 * kj::SECONDS);
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, Kind::TRIM);
  ASSERT_EQ(jobs[0].leftBehind.size(), 1u);
  EXPECT_EQ(jobs[0].leftBehind[0], ServerId(2));
}

TEST_F(Plan, OneThatSharesItsHostIsLeftBehindBeforeTheFullest) {
  stores(4);
  store(2).bytesFree = 10ull << 30;
  store(4).host = store(1).host;
  note(1, "1 2 3 4");
  pass(2 * kj::SECONDS);
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_TRUE(jobs[0].leftBehind[0] == ServerId(1) || jobs[0].leftBehind[0] == ServerId(4));
}

TEST_F(Plan, AReplicaThatIsAwayDoesNotMakeTheOthersTooMany) {
  stores(4);
  note(1, "1 2 3 a4");
  pass(60 * kj::SECONDS);
  EXPECT_EQ(next().size(), 0u);
}

TEST_F(Plan, ADrainedStoreIsASourceAndIsLeftBehindWhenTheOthersAreEnough) {
  stores(4);
  store(1).takes = false;
  note(1, "l1 2 3");
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, Kind::COPY);
  EXPECT_EQ(jobs[0].urgency, Urgency::DRAIN);
  EXPECT_EQ(jobs[0].target, ServerId(4));
  plan.began(jobs[0]);
  plan.ended(jobs[0], Outcome::DONE, now);
  note(1, "l1 2 3 4");
  pass(2 * kj::SECONDS);
  jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, Kind::TRIM);
  ASSERT_EQ(jobs[0].leftBehind.size(), 1u);
  EXPECT_EQ(jobs[0].leftBehind[0], ServerId(1));
}

TEST_F(Plan, ADrainWaitsForAllThatIsMoreUrgent) {
  stores(5);
  note(1, "l1 2 3");
  note(2, "2 3");
  EXPECT_EQ(chunksOf(next()), (Chunks{2, 1}));
}

TEST_F(Plan, AMoveIsACopyToTheOneAndThenATrimOfTheOther) {
  stores(5);
  plan.move(ChunkHandle(1), ServerId(1), ServerId(5), now);
  note(1, "1 2 3");
  auto jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].urgency, Urgency::BALANCE);
  EXPECT_EQ(jobs[0].target, ServerId(5));
  plan.began(jobs[0]);
  plan.ended(jobs[0], Outcome::DONE, now);
  note(1, "1 2 3 5");
  pass(2 * kj::SECONDS);
  jobs = next();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].kind, Kind::TRIM);
  EXPECT_EQ(jobs[0].leftBehind[0], ServerId(1));
  plan.began(jobs[0]);
  plan.ended(jobs[0], Outcome::DONE, now);
  note(1, "s1 2 3 5");
  EXPECT_FALSE(plan.wants(ChunkHandle(1)));
}

TEST_F(Plan, AMoveIsGivenUpWhenTheChunkHasGoneElsewhere) {
  stores(5);
  plan.move(ChunkHandle(1), ServerId(1), ServerId(5), now);
  note(1, "2 3 4");
  EXPECT_FALSE(plan.wants(ChunkHandle(1)));
}

// -- progress

TEST_F(Plan, ProgressTellsHowMuchIsLeftAndHowLongItTakes) {
  stores(4);
  note(1, "1 2");
  note(2, "1");
  auto before = progress();
  EXPECT_EQ(before.lastCopy, 1u);
  EXPECT_EQ(before.under, 1u);
  EXPECT_EQ(before.bytesLeft, 3ull * (64 << 20));
  EXPECT_EQ(before.etaSeconds, 0u);
  for (int i = 0; i < 10; ++i) {
    plan.transferred(16 << 20, now);
    pass(1 * kj::SECONDS);
  }
  now -= 1 * kj::SECONDS;
  EXPECT_EQ(progress().bytesPerSecond, 16u << 20);
  EXPECT_EQ(progress().etaSeconds, 12u);
  pass(60 * kj::SECONDS);
  EXPECT_EQ(progress().bytesPerSecond, 0u);
}

// The whole of it under random news: no copy to a store that has one, no limit exceeded, an end is reached.
TEST_F(Plan, RandomNewsLeaveItConsistent) {
  stores(8);
  uint64_t state = 7;
  auto random = [&](uint64_t below) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % below;
  };
  auto someFacts = [&]() {
    RepairFacts result;
    result.wanted = 1 + uint32_t(random(4));
    result.minimum = 1 + uint32_t(random(2));
    result.length = uint32_t(random(64 << 20));
    for (uint32_t server = 1; server <= 8; ++server) {
      if (random(3) == 0)
        result.replicas.add(
            RepairReplica{ServerId(server), Standing(random(6)), now - int64_t(random(40)) * kj::SECONDS});
    }
    return result;
  };
  std::vector<RepairJob> running;
  for (int step = 0; step < 20'000; ++step) {
    auto chunk = ChunkHandle(1 + random(60));
    switch (random(6)) {
      case 0:
        plan.note(chunk, someFacts(), now);
        break;
      case 1:
        plan.forget(chunk);
        break;
      case 2:
        plan.move(chunk, ServerId(1 + uint32_t(random(8))), ServerId(1 + uint32_t(random(8))), now);
        break;
      case 3:
        plan.storesChanged(now), store(1 + uint32_t(random(8))).takes = random(4) > 0;
        break;
      case 4:
        for (auto& job : next()) {
          if (job.kind == Kind::COPY) {
            EXPECT_EQ(std::count(job.sources.begin(), job.sources.end(), job.target), 0);
            EXPECT_TRUE(store(job.target.value()).takes);
          }
          plan.began(job);
          running.push_back(kj::mv(job));
        }
        break;
      case 5:
        if (running.empty()) break;
        plan.ended(running.front(), Outcome(random(3)), now);
        plan.note(running.front().chunk, someFacts(), now);
        running.erase(running.begin());
        break;
    }
    pass(int64_t(random(500)) * kj::MILLISECONDS);
    if (step % 50 == 0) plan.checkInvariants();
  }
  for (auto& job : running) plan.ended(job, Outcome::DONE, now);
  for (uint64_t chunk = 1; chunk <= 60; ++chunk) {
    plan.note(ChunkHandle(chunk), facts("1 2 3"), now);
    plan.forget(ChunkHandle(chunk));
    EXPECT_FALSE(plan.wants(ChunkHandle(chunk)));
  }
}

}  // namespace
}  // namespace cairn
