// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Content and lengths between mounts: what write(2) has returned for on one, read(2) on the other sees,
// whether or not anybody has closed or synced. Appends, a database, and mounts that die or stand still.
#include <sys/mman.h>
#include <sys/wait.h>

#include "test/e2e/append_records.h"
#include "test/e2e/mounts_fixture.h"

namespace cairn::e2e {
namespace {

using CoherentData = Mounts;

TEST_F(CoherentData, EachWriteIsSeenByTheNextReadOnTheOtherMount) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto second = mountAnother();
  ASSERT_EQ(put(c / "f", "start"), 0);
  int fds[2] = {::open((c / "f").c_str(), O_RDWR), ::open((second + "/f").c_str(), O_RDWR)};
  EXPECT_EQ(at(fds[0], 0, 100), "start");
  EXPECT_EQ(at(fds[1], 0, 100), "start");
  std::string expected = "start";
  for (int i = 0; i < 200; ++i) {
    auto writer = fds[i % 3 == 0], reader = fds[i % 3 != 0];
    auto text = std::to_string(i);
    auto offset = size_t(i % 7) * 5;
    ASSERT_EQ(::pwrite(writer, text.data(), text.size(), off_t(offset)), ssize_t(text.size()));
    if (expected.size() < offset + text.size()) expected.resize(offset + text.size());
    expected.replace(offset, text.size(), text);
    ASSERT_EQ(at(reader, 0, 100), expected) << "neither closed nor synced, write " << i;
    ASSERT_EQ(at(writer, 0, 100), expected);
  }
  ::close(fds[0]), ::close(fds[1]);
}

TEST_F(CoherentData, TheLengthOfAGrowingFileIsSeenAtOnce) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto second = mountAnother();
  int writer = ::open((c / "log").c_str(), O_CREAT | O_WRONLY, 0644);
  int reader = ::open((second + "/log").c_str(), O_RDONLY);
  ASSERT_GE(reader, 0);
  off_t length = 0;
  for (int i = 0; i < 100; ++i) {
    std::string line(size_t(1 + i * 37 % 5000), char('a' + i % 26));
    ASSERT_EQ(::write(writer, line.data(), line.size()), ssize_t(line.size()));
    length += off_t(line.size());
    ASSERT_EQ(statusOf(second + "/log").st_size, length);
    struct stat status;
    ASSERT_EQ(::fstat(reader, &status), 0);
    ASSERT_EQ(status.st_size, length);
    if (i % 3 == 0) ASSERT_EQ(at(reader, length - off_t(line.size()), 10'000), line) << "as tail -f reads";
  }
  ASSERT_EQ(::ftruncate(writer, 10), 0);
  EXPECT_EQ(at(reader, 0, 100).size(), 10u);
  EXPECT_EQ(statusOf(second + "/log").st_size, 10);
  ::close(writer), ::close(reader);
}

TEST_F(CoherentData, AClosedFileIsWhatWasWrittenAndPagesOfBeforeAreGone) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto second = mountAnother();
  for (int i = 0; i < 20; ++i) {
    auto content = randomBytes(size_t(1 + i * 50'000), uint64_t(i));
    ASSERT_EQ(put(c / "f", content), 0);
    ASSERT_TRUE(readFile(second + "/f") == content) << i;
    content = randomBytes(size_t(1 + i * 30'000), uint64_t(i + 100));
    ASSERT_EQ(put(second + "/f", content), 0);
    ASSERT_TRUE(readFile(c / "f") == content) << i;
  }
}

TEST_F(CoherentData, AppendsFromTwoMountsAreEachThereOnceAndWhole) {
  // Across the boundary of a chunk, and with records that the kernel cuts into several requests.
  auto& c = start({.chunkds = 3, .replicas = 2});
  std::vector<std::string> all = {c.mount(), mountAnother()};
  ASSERT_EQ(put(c / "log", ""), 0);
  ASSERT_EQ(::truncate((c / "log").c_str(), (64 << 20) - 20'000), 0);
  constexpr int WRITERS = 4, RECORDS = 100;
  std::vector<pid_t> children;
  for (int writer = 0; writer < WRITERS; ++writer) {
    auto child = ::fork();
    if (child == 0) {
      int fd = ::open((all[size_t(writer) % 2] + "/log").c_str(), O_WRONLY | O_APPEND);
      if (fd < 0) ::_exit(1);
      for (int i = 0; i < RECORDS; ++i) {
        auto record = AppendRecord{writer, i, i % 25 == 24 ? 2'500'000 : size_t(20 + i * 53 % 3000)}.text();
        if (::write(fd, record.data(), record.size()) != ssize_t(record.size())) ::_exit(2);
      }
      ::_exit(::close(fd) == 0 ? 0 : 3);
    }
    children.push_back(child);
  }
  for (auto child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  for (auto& mount : all) {
    auto found = recordsIn(readFile(mount + "/log"), (64 << 20) - 20'000, Padding::NONE);
    EXPECT_EQ(found.trouble, "");
    EXPECT_EQ(eachOnceInOrder(found.records, {{0, RECORDS}, {1, RECORDS}, {2, RECORDS}, {3, RECORDS}}), "");
  }
}

TEST_F(CoherentData, CopiesAndHolesAreOfWhatTheOtherMountHasWrittenSoFar) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto second = mountAnother();
  auto large = randomBytes(3 << 20, 5);  // shared, as it is longer than what is copied sooner than shared
  int writer = ::open((c / "f").c_str(), O_CREAT | O_RDWR, 0644);
  ASSERT_EQ(::pwrite(writer, large.data(), large.size(), 0), ssize_t(large.size()));
  auto copy = [&](const char* name) {
    int from = ::open((second + "/f").c_str(), O_RDONLY);
    int to = ::open((second + "/" + name).c_str(), O_CREAT | O_WRONLY, 0644);
    while (::copy_file_range(from, nullptr, to, nullptr, 1 << 30, 0) > 0) {
    }
    ::close(from), ::close(to);
    return readFile(second + "/" + name);
  };
  EXPECT_TRUE(copy("first") == large) << "neither closed nor synced";
  ASSERT_EQ(::pwrite(writer, "changed", 7, 1'000'000), 7);
  large.replace(1'000'000, 7, "changed");
  EXPECT_TRUE(copy("second") == large);
  ASSERT_EQ(::pwrite(writer, "far", 3, 200 << 20), 3);
  int reader = ::open((second + "/f").c_str(), O_RDONLY);
  EXPECT_EQ(::lseek(reader, 3 << 20, SEEK_DATA), 200 << 20);
  EXPECT_EQ(::lseek(reader, 0, SEEK_HOLE), 3 << 20);
  ::close(reader), ::close(writer);
}

TEST_F(CoherentData, ADatabaseIsSharedByTwoMounts) {
  if (test::run({"sh", "-c", "command -v sqlite3"}).code != 0) GTEST_SKIP() << "sqlite3 is not installed";
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto second = mountAnother();
  ASSERT_OK(test::run({"sqlite3", c / "db", "create table t(writer int, number int)"}));
  auto writer = [&](const std::string& mount, int number) {
    return "for i in $(seq 40); do sqlite3 -cmd '.timeout 20000' " + mount + "/db \"insert into t values(" +
           std::to_string(number) + ", $i)\" || exit 1; done";
  };
  EXPECT_OK(shell("(" + writer(c.mount(), 1) + ") & one=$!; (" + writer(second, 2) + ") && wait $one",
                  {.patience = 120s}));
  for (auto& mount : {c.mount(), second}) {
    EXPECT_EQ(test::run({"sqlite3", mount + "/db",
                         "pragma integrity_check; select writer, count(*) from t group by 1"})
                  .out,
              "ok\n1|40\n2|40\n");
  }
}

TEST_F(CoherentData, AMountThatIsKilledHoldsOthersUpForItsTermAtTheMost) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto second = mountAnother();
  ASSERT_EQ(put(second + "/f", "published"), 0);
  int fd = ::open((second + "/f").c_str(), O_WRONLY);
  ASSERT_EQ(::pwrite(fd, "PUB", 3, 0), 3);
  ::kill(pidOf(second), SIGKILL);
  auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(put(c / "f", "mine", O_TRUNC), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
  EXPECT_EQ(readFile(c / "f"), "mine");
  ::close(fd);
}

TEST_F(CoherentData, AMountThatStandsStillAnswersNothingOldBeyondItsTerm) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto second = mountAnother();
  ASSERT_EQ(put(c / "f", "old"), 0);
  EXPECT_EQ(readFile(second + "/f"), "old");
  EXPECT_EQ(errorOf(second + "/g"), ENOENT);
  auto process = pidOf(second);
  ASSERT_EQ(::kill(process, SIGSTOP), 0);
  auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(put(c / "f", "new!", O_TRUNC), 0);
  EXPECT_EQ(put(c / "g", "there"), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 25s) << "others go on after the term";
  // Who asks the mount that stands still waits, and is told the truth once it goes on.
  pid_t child = ::fork();
  if (child == 0) {
    struct stat status;
    ::_exit(::stat((second + "/f").c_str(), &status) == 0 && status.st_size == 4 &&
                    errorOf(second + "/g") == 0
                ? 0
                : 1);
  }
  EXPECT_EQ(::waitpid(child, nullptr, WNOHANG), 0);
  ASSERT_EQ(::kill(process, SIGCONT), 0);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(readFile(second + "/f"), "new!");
}

}  // namespace
}  // namespace cairn::e2e
