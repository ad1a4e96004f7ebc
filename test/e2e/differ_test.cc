// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Random system calls on the local disk, which is ext4, and on a mount side by side: each must answer the
// same, change the same attributes and times, and leave the same tree, but for what differ_allowed.cc names.
// A list of steps that tells the two apart is made as short as possible before it is shown. For longer, with
// other calls, and for more than one difference:
// CAIRN_DIFFER_SECONDS=600 CAIRN_DIFFER_SEED=70000 CAIRN_DIFFER_FAILURES=9 build/test/e2e/e2e_differ_test
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <chrono>
#include <map>

#include "test/e2e/differ_allowed.h"
#include "test/e2e/posix_fixture.h"

namespace cairn::e2e {
namespace {

using Clock = std::chrono::steady_clock;

struct Difference {
  size_t step;  // that told them apart
  std::string local, cairn;
};

bool hasCoarseTimes(const std::string& directory) {
  // Whether two changes at once, each looked at, may have one time: before Linux 6.13, that of a tick.
  auto path = directory + "/clock";
  int fd = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  bool coarse = false;
  struct stat before = {}, after = {};
  for (int i = 0; i < 200 && !coarse; ++i) {
    ::fstat(fd, &before);
    ::fchmod(fd, i % 2 ? 0600 : 0644);
    ::fstat(fd, &after);
    coarse = same(before.st_ctim, after.st_ctim);
  }
  ::close(fd);
  ::unlink(path.c_str());
  return coarse;
}

class Differ : public EndToEnd {
 protected:
  std::unique_ptr<Difference> compare(const std::vector<Step>& steps) {
    auto number = std::to_string(++runs);
    Subject local(cluster->scratch("local/" + number)), cairn(*cluster / number);
    for (size_t i = 0; i < steps.size(); ++i) {
      if (coarseTimes) letTimePass();
      auto expected = local.carryOut(steps[i]), got = cairn.carryOut(steps[i]);
      ++calls;
      if (expected == got) continue;
      auto allowed = allowedDifference(steps[i], expected, got);
      if (allowed == nullptr) return std::make_unique<Difference>(Difference{i, expected.text(), got.text()});
      ++passed[allowed->what];
      EXPECT_EQ(expected.attributes, got.attributes) << "they are two different trees from here on";
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
  bool coarseTimes = false;
  uint64_t calls = 0;
  std::map<std::string, uint64_t> passed;  // differences that are allowed
};

TEST_F(Differ, RandomCallsAnswerAsOnTheLocalDisk) {
  if (::geteuid() != 0) GTEST_SKIP() << "acts as several users, so it needs root";
  start({.chunkds = 2, .replicas = 2});
  ::umask(022);
  ::signal(SIGPIPE, SIG_IGN);  // a FIFO that nobody reads
  auto local = cluster->scratch("local");
  ASSERT_EQ(::mkdir(local.c_str(), 0755), 0);  // ".." of the directories is as open here as there
  struct statfs disk;
  ASSERT_EQ(::statfs(local.c_str(), &disk), 0);
  if (disk.f_type != EXT4_SUPER_MAGIC) GTEST_SKIP() << "the local disk, with which it compares, is no ext4";
  // A mount has no devices (nodev) unless it is told to.
  ASSERT_EQ(::mount(local.c_str(), local.c_str(), nullptr, MS_BIND, nullptr), 0);
  ASSERT_EQ(::mount(nullptr, local.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_NODEV, nullptr), 0);
  coarseTimes = hasCoarseTimes(local);
  auto seed = numberFrom("CAIRN_DIFFER_SEED", 1);
  auto most = numberFrom("CAIRN_DIFFER_FAILURES", 1);
  auto end = Clock::now() + std::chrono::seconds(numberFrom("CAIRN_DIFFER_SECONDS", 60));
  for (uint64_t failures = 0; Clock::now() < end && failures < most; ++seed) {
    std::mt19937_64 random(seed);
    auto reach = seed % 8 == 0 ? Reach::FAR : Reach::NEAR;
    std::vector<Step> steps(reach == Reach::FAR ? 60 : 250);
    for (auto& step : steps) step = randomStep(random, reach);
    auto difference = compare(steps);
    if (difference == nullptr) continue;
    ++failures;
    auto after = calls;
    if (difference->step < steps.size()) steps.resize(difference->step + 1);
    auto few = shrink(std::move(steps), 40s);
    ADD_FAILURE() << "CAIRN_DIFFER_SEED=" << seed << " after " << after << " calls:\n" << story(few);
  }
  RecordProperty("calls", std::to_string(calls));
  std::printf("%lu calls agreed%s\n", static_cast<unsigned long>(calls), passed.empty() ? "" : ", but for");
  for (auto& [what, count] : passed)
    std::printf("  %lu times: %s\n", static_cast<unsigned long>(count), what.c_str());
  ::umount2(local.c_str(), MNT_DETACH);
}

struct AllowedDifferences : testing::Test {
  Step rename{.call = Call::RENAME}, whiteout{.call = Call::RENAME, .x = 6};
  Answer refused{"errno 39", "a mode 40755 links 2; a/.. mode 40777 links 3", "..++"};
  Answer refusedStill{refused.result, refused.attributes, "...."};
};

TEST_F(AllowedDifferences, OfARefusedWhiteoutOnlyTheDirectoriesMoveAndOnlyOnExt4) {
  ASSERT_EQ(whiteout.renameFlags(), 4u);
  EXPECT_NE(allowedDifference(whiteout, refused, refusedStill), nullptr);
  EXPECT_EQ(allowedDifference(rename, refused, refusedStill), nullptr);
  EXPECT_EQ(allowedDifference(whiteout, refusedStill, refused), nullptr) << "it is ours that moves";
  Answer moved{refused.result, refused.attributes, ".+.."};
  EXPECT_EQ(allowedDifference(whiteout, moved, refusedStill), nullptr) << "it is no directory that moves";
  Answer done{"0", refused.attributes, "..++"}, doneStill{"0", refused.attributes, "...."};
  EXPECT_EQ(allowedDifference(whiteout, done, doneStill), nullptr) << "it is not refused";
  auto other = refusedStill;
  other.result = "errno 17";
  EXPECT_EQ(allowedDifference(whiteout, refused, other), nullptr);
  other = refusedStill;
  other.attributes = "a mode 40700 links 2; a/.. mode 40777 links 3";
  EXPECT_EQ(allowedDifference(whiteout, refused, other), nullptr);
}

TEST_F(AllowedDifferences, OfAFifoTheTimesMayDifferAndNothingElse) {
  Step write{.call = Call::WRITE};
  Answer fifo{"7", "fd mode 10644 links 1", "++"}, still{"7", "fd mode 10644 links 1", ".."};
  EXPECT_NE(allowedDifference(write, fifo, still), nullptr);
  auto other = still;
  other.result = "8";
  EXPECT_EQ(allowedDifference(write, fifo, other), nullptr);
  fifo.attributes = still.attributes = "fd mode 100644 links 1";
  EXPECT_EQ(allowedDifference(write, fifo, still), nullptr) << "a regular file";
  Answer both{"0", "a mode 10644 links 1; a/.. mode 40755 links 2", "++.+"};
  EXPECT_NE(allowedDifference(rename, both, {both.result, both.attributes, "...+"}), nullptr);
  EXPECT_EQ(allowedDifference(rename, both, {both.result, both.attributes, "...."}), nullptr);
}

TEST_F(AllowedDifferences, AnEmptyChownBySomebodyElseOfAFileWithSetuid) {
  Step chown{.call = Call::CHOWN, .user = 1, .x = 3, .y = 3};
  ASSERT_TRUE(chown.changesNoOwner());
  Answer local{"errno 1", "a mode 104755 links 1; a/.. mode 40777 links 2", "...."};
  Answer ours{"0", local.attributes, ".+.."};
  EXPECT_NE(allowedDifference(chown, local, ours), nullptr);
  EXPECT_EQ(allowedDifference(chown, ours, local), nullptr);
  auto root = chown;
  root.user = 0;
  EXPECT_EQ(allowedDifference(root, local, ours), nullptr);
  auto given = chown;
  given.x = 1;
  EXPECT_EQ(allowedDifference(given, local, ours), nullptr);
  ours.attributes = "a mode 100755 links 1; a/.. mode 40777 links 2";
  EXPECT_EQ(allowedDifference(chown, local, ours), nullptr) << "somebody else has taken it away";
  local.attributes = ours.attributes;
  EXPECT_EQ(allowedDifference(chown, local, ours), nullptr) << "there is nothing to take away";
}

}  // namespace
}  // namespace cairn::e2e
