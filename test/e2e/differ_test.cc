// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Random system calls on the local disk and on a mount side by side: each must answer the same, change the
// same attributes and times, and leave the same tree. A list of steps that tells the two apart is made as
// short as possible before it is shown. For longer, and with other calls:
// CAIRN_DIFFER_SECONDS=600 CAIRN_DIFFER_SEED=70000 build/test/e2e/e2e_differ_test
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "test/e2e/differ_subject.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

using Clock = std::chrono::steady_clock;

struct Difference {
  size_t step;  // that told them apart
  std::string local, cairn;
};

class Differ : public EndToEnd {
 protected:
  std::unique_ptr<Difference> compare(const std::vector<Step>& steps) {
    auto number = std::to_string(++runs);
    Subject local(cluster->scratch("local/" + number)), cairn(*cluster / number);
    for (size_t i = 0; i < steps.size(); ++i) {
      auto expected = local.carryOut(steps[i]), got = cairn.carryOut(steps[i]);
      if (expected != got) return std::make_unique<Difference>(Difference{i, expected, got});
    }
    auto expected = local.everything(), got = cairn.everything();
    if (expected == got) return nullptr;
    return std::make_unique<Difference>(Difference{steps.size(), expected, got});
  }

  std::vector<Step> shrink(std::vector<Step> steps, std::chrono::seconds patience) {
    // Leaves out ever smaller runs of steps while what remains still tells the two apart.
    auto end = Clock::now() + patience;
    for (size_t run = std::max<size_t>(steps.size() / 2, 1);; run /= 2) {
      for (size_t at = 0; at < steps.size();) {
        if (Clock::now() > end) return steps;
        auto fewer = steps;
        fewer.erase(fewer.begin() + long(at), fewer.begin() + long(std::min(at + run, steps.size())));
        auto difference = compare(fewer);
        if (difference == nullptr) {
          at += run;
          continue;
        }
        if (difference->step < fewer.size()) fewer.resize(difference->step + 1);
        steps = std::move(fewer);
      }
      if (run <= 1) return steps;
    }
  }

  std::string story(const std::vector<Step>& steps) {
    auto difference = compare(steps);
    std::string text;
    for (auto& step : steps) text += "  " + describe(step) + '\n';
    if (difference == nullptr) return text + "and this time they agree: it depends on time\n";
    return text + "local disk: " + difference->local + "\nCairnFS:    " + difference->cairn + '\n';
  }

  unsigned runs = 0;
};

TEST_F(Differ, RandomCallsAnswerAsOnTheLocalDisk) {
  if (::geteuid() != 0) GTEST_SKIP() << "acts as several users, so it needs root";
  start({.chunkds = 2, .replicas = 2});
  ::umask(022);
  ASSERT_EQ(::mkdir(cluster->scratch("local").c_str(), 0755),
            0);  // ".." of the directories is as open here as there
  auto seed = numberFrom("CAIRN_DIFFER_SEED", 1);
  auto end = Clock::now() + std::chrono::seconds(numberFrom("CAIRN_DIFFER_SECONDS", 60));
  uint64_t calls = 0;
  for (; Clock::now() < end; ++seed) {
    std::mt19937_64 random(seed);
    auto reach = seed % 8 == 0 ? Reach::FAR : Reach::NEAR;
    std::vector<Step> steps(reach == Reach::FAR ? 60 : 250);
    for (auto& step : steps) step = randomStep(random, reach);
    calls += steps.size();
    auto difference = compare(steps);
    if (difference == nullptr) continue;
    if (difference->step < steps.size()) steps.resize(difference->step + 1);
    auto few = shrink(std::move(steps), 40s);
    FAIL() << "CAIRN_DIFFER_SEED=" << seed << " after " << calls << " calls:\n" << story(few);
  }
  RecordProperty("calls", std::to_string(calls));
  std::printf("%lu calls agreed\n", static_cast<unsigned long>(calls));
}

}  // namespace
}  // namespace cairn::e2e
