// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The simulator finds the mistakes that it is there for: each mutant (env/mutation.h) breaks an invariant of
// life.h within a few seeds, and the same seeds are fine without it (cluster_test.cc).
#include <gtest/gtest.h>

#include "env/mutation.h"
#include "test/sim/cluster/life.h"

namespace cairn::sim {
namespace {

using MakeLife = Life (*)(uint64_t seed, uint32_t operations);

class Mutants : public testing::Test {
 public:
  ~Mutants() noexcept override { mutant = Mutant::NONE; }

 protected:
  void expectFound(Mutant which, MakeLife make, uint64_t seedsMax, uint32_t operations = 150) {
    mutant = which;
    for (uint64_t seed = 1; seed <= seedsMax; ++seed) {
      auto outcome = live(make(seed, operations));
      if (outcome.problems.empty()) continue;
      std::printf("found by seed %llu: %s\n", static_cast<unsigned long long>(seed),
                  outcome.problems[0].substr(0, 300).c_str());
      return;
    }
    ADD_FAILURE() << "no seed up to " << seedsMax << " finds it";
  }
};

TEST_F(Mutants, ReplicasLeftBehindThatStillCountAreFound) {
  expectFound(Mutant::KEEP_FLOOR, lifeUnderMisfortune, 8, 250);
}

TEST_F(Mutants, AHandOverWithoutReconcileIsFound) {
  expectFound(Mutant::SKIP_RECONCILE, lifeUnderPowerCuts, 6);
}

TEST_F(Mutants, AnAnswerBeforeTheSecondariesIsFound) {
  expectFound(Mutant::ANSWER_BEFORE_THE_OTHERS, lifeUnderMisfortune, 8, 250);
}

}  // namespace
}  // namespace cairn::sim
