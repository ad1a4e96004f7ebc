// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Whole clusters under random users and random misfortune, from a seed. What must hold is in life.h.
// SIM_SEED=N (or --seed=N) runs one seed and prints the transcript as it happens with SIM_ECHO=1; SIM_SEEDS=N
// runs the seeds 1 to N. SIM_HOURS=N: how long the lives of hours are.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "test/sim/cluster/life.h"

namespace cairn::sim {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAIRN_SANITIZED 1
#endif
#endif
#if defined(__OPTIMIZE__) && !defined(CAIRN_SANITIZED)
// 300 hours, of which one takes half a second of a core.
constexpr uint32_t HOURS = 25, LONG_LIVES = 12;
#else
constexpr uint32_t HOURS = 1, LONG_LIVES = 4;  // an hour takes several seconds
#endif

uint64_t numberFrom(const char* name, uint64_t otherwise) {
  auto text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::vector<uint64_t> upTo(uint64_t last) {
  std::vector<uint64_t> all;
  for (uint64_t seed = 1; seed <= last; ++seed) all.push_back(seed);
  return all;
}

std::vector<uint64_t> seeds(std::vector<uint64_t> fixed) {
  if (std::getenv("SIM_SEED") != nullptr) return {numberFrom("SIM_SEED", 1)};
  if (std::getenv("SIM_SEEDS") == nullptr) return fixed;
  return upTo(numberFrom("SIM_SEEDS", 1));
}

class UnderMisfortune : public testing::TestWithParam<uint64_t> {};
class UnderPowerCuts : public testing::TestWithParam<uint64_t> {};
class InCommitModeMemory : public testing::TestWithParam<uint64_t> {};
class UnderPartitions : public testing::TestWithParam<uint64_t> {};
class OverHours : public testing::TestWithParam<uint64_t> {};
class OnABadDisk : public testing::TestWithParam<uint64_t> {};

struct Total {
  // Of all lives of this run.
  uint64_t lives = 0, seconds = 0, operations = 0, losses = 0, rolledBack = 0;
  std::map<std::string, uint64_t> faults;
} total;

class TellTotal : public testing::Environment {
 public:
  void TearDown() override {
    if (total.lives == 0) return;
    uint64_t faults = 0;
    std::string kinds;
    for (auto& [kind, count] : total.faults) {
      faults += count;
      kinds += "\n  " + std::to_string(count) + " " + kind;
    }
    std::printf(
        "%llu lives: %.1f simulated cluster-hours, %llu operations of users, %llu losses told, "
        "%llu times names lost, %llu faults:%s\n",
        static_cast<unsigned long long>(total.lives), double(total.seconds) / 3600,
        static_cast<unsigned long long>(total.operations), static_cast<unsigned long long>(total.losses),
        static_cast<unsigned long long>(total.rolledBack), static_cast<unsigned long long>(faults),
        kinds.c_str());
  }
};

void report(const LifeOutcome& outcome, uint64_t seed, const char* filter) {
  ++total.lives;
  total.seconds += outcome.seconds;
  total.operations += outcome.operations;
  total.losses += outcome.losses;
  total.rolledBack += outcome.rolledBack;
  for (auto& [kind, count] : outcome.faults) total.faults[kind] += count;
  for (auto& problem : outcome.problems) ADD_FAILURE() << problem;
  std::string kinds;
  for (auto& [kind, count] : outcome.faults) kinds += ", " + std::to_string(count) + " " + kind;
  std::printf(
      "seed %llu: %llu operations, %llu s simulated, %llu losses told, %llu times names lost, %llu lines%s\n",
      static_cast<unsigned long long>(seed), static_cast<unsigned long long>(outcome.operations),
      static_cast<unsigned long long>(outcome.seconds), static_cast<unsigned long long>(outcome.losses),
      static_cast<unsigned long long>(outcome.rolledBack), static_cast<unsigned long long>(outcome.lines),
      kinds.c_str());
  if (outcome.problems.empty()) return;
  std::printf("---- the last lines of the transcript\n%s", outcome.transcript.c_str());
  std::printf("---- seed %llu failed; replay it with\n  SIM_SEED=%llu %s --gtest_filter='%s'\n",
              static_cast<unsigned long long>(seed), static_cast<unsigned long long>(seed),
              testing::internal::GetArgvs()[0].c_str(), filter);
}

uint32_t operations(uint32_t otherwise) {
  return uint32_t(numberFrom("SIM_OPERATIONS", otherwise));
}

TEST_P(UnderMisfortune, UsersSeeNoneOfIt) {
  auto outcome = live(lifeUnderMisfortune(GetParam(), operations(250)));
  report(outcome, GetParam(), "*UnderMisfortune*");
  EXPECT_FALSE(outcome.faults.empty());
}

TEST_P(UnderPowerCuts, WhatWasSyncedIsThereAndASyncSaysWhatIsNot) {
  auto outcome = live(lifeUnderPowerCuts(GetParam(), operations(150)));
  report(outcome, GetParam(), "*UnderPowerCuts*");
}

TEST_P(InCommitModeMemory, WhatWasSyncedIsThereAndNamesAreAsOfOneMoment) {
  auto outcome = live(lifeInCommitModeMemory(GetParam(), operations(150)));
  report(outcome, GetParam(), "*InCommitModeMemory*");
}

TEST_P(UnderPartitions, UsersSeeNoneOfItThoughNoTwoClocksRunAlike) {
  auto outcome = live(lifeUnderPartitions(GetParam(), operations(200)));
  report(outcome, GetParam(), "*UnderPartitions*");
}

TEST_P(OverHours, AllOfItHoldsWhenLeasesAndGracesRunOutAndChunksAreRepaired) {
  auto hours = uint32_t(numberFrom("SIM_HOURS", HOURS));
  auto outcome = live(lifeOfHours(GetParam(), hours));
  report(outcome, GetParam(), "*OverHours*");
  EXPECT_GE(outcome.seconds, hours * 3600ull);
}

TEST_P(OnABadDisk, NobodyReadsItsBytes) {
  auto outcome = live(lifeOnABadDisk(GetParam(), operations(150)));
  report(outcome, GetParam(), "*OnABadDisk*");
}

// The fixed ones have found something once: 1 and 4 a buffer that outlived its pool, 10, 34 and 37 of the
// power cuts a chunk that was gone everywhere.
INSTANTIATE_TEST_SUITE_P(Seed, UnderMisfortune, testing::ValuesIn(seeds({1, 2, 3, 4, 12, 24, 25, 41})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, UnderPowerCuts, testing::ValuesIn(seeds({1, 2, 3, 4, 5, 6, 10, 34, 37})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, InCommitModeMemory, testing::ValuesIn(seeds({1, 2, 3, 4, 5, 6})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, UnderPartitions, testing::ValuesIn(seeds({1, 2, 3, 4, 5, 6})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, OverHours, testing::ValuesIn(seeds(upTo(LONG_LIVES))),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, OnABadDisk, testing::ValuesIn(seeds({1, 2, 3})),
                         testing::PrintToStringParamName());

TEST(Replay, OneSeedIsOneHistory) {
  auto first = live(lifeUnderMisfortune(17, 100)), again = live(lifeUnderMisfortune(17, 100));
  EXPECT_EQ(first.lines, again.lines);
  EXPECT_EQ(first.digest, again.digest);
  EXPECT_NE(first.digest, live(lifeUnderMisfortune(18, 100)).digest);
}

TEST(Replay, APowerCutIsTheSameEachTime) {
  auto first = live(lifeUnderPowerCuts(3, 60)), again = live(lifeUnderPowerCuts(3, 60));
  EXPECT_EQ(first.digest, again.digest);
}

}  // namespace
}  // namespace cairn::sim

namespace {

void nameOwnReport() {
  // Of several shards that run at a time each writes a report of its own: gtest only looks whether one is
  // there already.
  auto shard = std::getenv("GTEST_SHARD_INDEX");
  auto& output = testing::GTEST_FLAG(output);
  if (shard != nullptr && output.ends_with("/"))
    output += std::string("cluster_test_shard_") + shard + ".json";
}

}  // namespace

int main(int argc, char** argv) {
  nameOwnReport();
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word.starts_with("--seed=")) ::setenv("SIM_SEED", word.c_str() + 7, 1);
  }
  testing::InitGoogleTest(&argc, argv);
  testing::AddGlobalTestEnvironment(new cairn::sim::TellTotal);
  return RUN_ALL_TESTS();
}
