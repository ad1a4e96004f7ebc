// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What one mount has done to names and attributes the other sees with its very next system call: nothing here
// waits or asks twice, though each side has looked before and has remembered.
#include <dirent.h>
#include <sys/wait.h>

#include <set>

#include "test/e2e/mounts_fixture.h"

namespace cairn::e2e {
namespace {

using CoherentNames = Mounts;

std::set<std::string> list(const std::string& path) {
  std::set<std::string> names;
  auto directory = ::opendir(path.c_str());
  if (directory == nullptr) return {"errno " + std::to_string(errno)};
  while (auto entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.') names.insert(entry->d_name);
  }
  ::closedir(directory);
  return names;
}

TEST_F(CoherentNames, EachChangeIsSeenByTheNextCallOnTheOtherMount) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  std::string a = c.mount(), b = mountAnother();
  for (int round = 0; round < 20; ++round) {
    std::swap(a, b);
    auto f = [&](const std::string& mount, const std::string& name) {
      return mount + "/" + name + std::to_string(round);
    };
    EXPECT_EQ(errorOf(f(b, "f")), ENOENT);
    EXPECT_EQ(put(f(a, "f"), "one"), 0);
    EXPECT_EQ(errorOf(f(b, "f")), 0) << "created";
    EXPECT_EQ(statusOf(f(b, "f")).st_size, 3);
    EXPECT_EQ(::chmod(f(a, "f").c_str(), 0600), 0);
    EXPECT_EQ(statusOf(f(b, "f")).st_mode & 07777, 0600u);
    EXPECT_EQ(::chown(f(a, "f").c_str(), 12, 13), 0);
    EXPECT_EQ(statusOf(f(b, "f")).st_uid, 12u);
    struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 5}, {.tv_sec = 2000, .tv_nsec = 6}};
    EXPECT_EQ(::utimensat(AT_FDCWD, f(a, "f").c_str(), times, 0), 0);
    EXPECT_EQ(statusOf(f(b, "f")).st_mtim.tv_sec, 2000);
    EXPECT_EQ(::link(f(a, "f").c_str(), f(a, "hard").c_str()), 0);
    EXPECT_EQ(statusOf(f(b, "f")).st_nlink, 2u);
    EXPECT_EQ(statusOf(f(b, "hard")).st_ino, statusOf(f(b, "f")).st_ino);
    EXPECT_EQ(::unlink(f(a, "hard").c_str()), 0);
    EXPECT_EQ(statusOf(f(b, "f")).st_nlink, 1u);
    EXPECT_EQ(errorOf(f(b, "hard")), ENOENT);
    EXPECT_EQ(errorOf(f(b, "g")), ENOENT);
    EXPECT_EQ(::rename(f(a, "f").c_str(), f(a, "g").c_str()), 0);
    EXPECT_EQ(errorOf(f(b, "f")), ENOENT) << "renamed";
    EXPECT_EQ(errorOf(f(b, "g")), 0);
    EXPECT_EQ(::mkdir(f(a, "d").c_str(), 0755), 0);
    EXPECT_EQ(errorOf(f(b, "d")), 0);
    EXPECT_EQ(list(f(b, "d")), std::set<std::string>{});
    EXPECT_EQ(::rename(f(a, "g").c_str(), (f(a, "d") + "/in").c_str()), 0);
    EXPECT_EQ(list(f(b, "d")), std::set<std::string>{"in"});
    EXPECT_EQ(errorOf(f(b, "g")), ENOENT);
    EXPECT_EQ(put(f(a, "other"), "other one"), 0);
    EXPECT_EQ(readFile(f(b, "d") + "/in"), "one");
    EXPECT_EQ(::rename(f(a, "other").c_str(), (f(a, "d") + "/in").c_str()), 0);
    EXPECT_EQ(readFile(f(b, "d") + "/in"), "other one") << "replaced";
    EXPECT_EQ(::rmdir(f(b, "d").c_str()), -1);
    EXPECT_EQ(::unlink((f(a, "d") + "/in").c_str()), 0);
    EXPECT_EQ(::rmdir(f(b, "d").c_str()), 0);
    EXPECT_EQ(errorOf(f(a, "d")), ENOENT);
    EXPECT_EQ(::symlink("there", f(a, "s").c_str()), 0);
    char target[16] = {};
    EXPECT_EQ(::readlink(f(b, "s").c_str(), target, 15), 5);
    EXPECT_EQ(::unlink(f(b, "s").c_str()), 0);
    EXPECT_EQ(errorOf(f(a, "s")), ENOENT);
  }
}

TEST_F(CoherentNames, OfTwoThatCreateExclusivelyOneIsFirst) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  std::vector<std::string> all = {c.mount(), mountAnother(), mountAnother()};
  constexpr int FILES = 200;
  std::vector<pid_t> children;
  for (auto& mount : all) {
    auto child = ::fork();
    if (child == 0) {
      int won = 0;
      for (int i = 0; i < FILES; ++i) {
        int fd = ::open((mount + "/x" + std::to_string(i)).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (fd < 0 && errno != EEXIST) ::_exit(255);
        won += fd >= 0;
        if (fd >= 0) ::close(fd);
      }
      writeFile(c.scratch("won-" + std::to_string(::getpid())), std::to_string(won));
      ::_exit(0);
    }
    children.push_back(child);
  }
  int won = 0;
  for (auto child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    won += std::atoi(readFile(c.scratch("won-" + std::to_string(child))).c_str());
  }
  EXPECT_EQ(won, FILES);
}

TEST_F(CoherentNames, WithOneMountTheKernelAnswersFromItsMemory) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  EXPECT_EQ(put(c / "f", "x"), 0);
  statusOf(c / "f");
  auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 20'000; ++i) statusOf(c / "f");
  auto each = (std::chrono::steady_clock::now() - began) / 20'000;
  printf("a stat takes %ld ns\n", long(each / std::chrono::nanoseconds(1)));
  EXPECT_LT(each, std::chrono::microseconds(100));
}

}  // namespace
}  // namespace cairn::e2e
