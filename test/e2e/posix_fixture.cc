// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See posix_fixture.h.
#include "test/e2e/posix_fixture.h"

#include <grp.h>
#include <sys/wait.h>
#include <time.h>

#include <filesystem>

namespace cairn::e2e {

namespace {

std::unique_ptr<LocalCluster> shared;

class EndsCluster : public testing::Environment {
  void TearDown() override { shared = nullptr; }
};

}  // namespace

LocalCluster& PosixRules::cluster() {
  if (shared == nullptr) {
    testing::AddGlobalTestEnvironment(new EndsCluster);
    ClusterOptions options;
    options.chunkds = 2;
    options.replicas = 2;
    shared = std::make_unique<LocalCluster>(options);
  }
  return *shared;
}

void PosixRules::SetUp() {
  if (!reasonToSkip().empty()) GTEST_SKIP() << reasonToSkip();
  if (::geteuid() != 0) GTEST_SKIP() << "becomes other users, so it needs root";
  static unsigned number = 0;
  auto name = "rules-" + std::to_string(++number);
  directory = onCairn() ? cluster() / name : cluster().scratch(name);
  ::umask(0);
  ASSERT_EQ(::mkdir(directory.c_str(), 0777), 0);
  if (!onCairn()) std::filesystem::permissions(cluster().scratch(""), std::filesystem::perms(0755));
}

void PosixRules::TearDown() {
  ::umask(022);
  if (!HasFailure() || shared == nullptr || !onCairn()) return;
  auto text = shared->log("fuse-1");
  std::printf("---- log of fuse-1\n%s\n", text.substr(text.size() > 2000 ? text.size() - 2000 : 0).c_str());
}

const char* PosixRules::c(const std::string& name) {
  paths.push_back(std::make_unique<std::string>(name.empty() ? directory : *this / name));
  return paths.back()->c_str();
}

int PosixRules::make(const std::string& name, const std::string& content, mode_t mode) {
  int fd = ::open(c(name), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);
  if (fd < 0) return errno;
  auto written = content.empty() ? 0 : ::write(fd, content.data(), content.size());
  int error = written == ssize_t(content.size()) ? 0 : errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  return error;
}

int PosixRules::makeDirectory(const std::string& name, mode_t mode) {
  if (::mkdir(c(name), 0777) != 0) return errno;
  return errnoOf(::chmod(c(name), mode));
}

struct stat PosixRules::statOf(const std::string& name) {
  struct stat status = {};
  EXPECT_EQ(::lstat(c(name), &status), 0) << name << ": " << strerror(errno);
  return status;
}

int PosixRules::as(const User& user, const std::function<int()>& body) {
  auto child = ::fork();
  if (child == 0) {
    ::umask(022);
    if (::setgroups(user.groups.size(), user.groups.data()) != 0 ||
        ::setresgid(user.gid, user.gid, user.gid) != 0 || ::setresuid(user.uid, user.uid, user.uid) != 0) {
      ::_exit(250);
    }
    ::_exit(body());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_NE(WEXITSTATUS(status), 250) << "cannot become another user";
  return WEXITSTATUS(status);
}

int closing(int fd) {
  if (fd < 0) return errno;
  ::close(fd);
  return 0;
}

bool before(const struct timespec& one, const struct timespec& other) {
  return one.tv_sec < other.tv_sec || (one.tv_sec == other.tv_sec && one.tv_nsec < other.tv_nsec);
}

bool same(const struct timespec& one, const struct timespec& other) {
  return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
}

void letTimePass() {
  // A tick of the coarse clock that stamps files: waits for the clock itself.
  struct timespec start, now;
  clock_gettime(CLOCK_REALTIME_COARSE, &start);
  unsigned ticks = 0;
  for (struct timespec last = start; ticks < 3;) {
    ::usleep(500);
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (!same(now, last)) ++ticks, last = now;
  }
}

}  // namespace cairn::e2e
