// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the posix_*_test.cc share: each rule is checked in an empty directory on the local disk, which shows
// that the rule is one of Linux, and then in one on a mount. One cluster serves all tests of a program. Rules
// that concern other users are run in a child process that has become one.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {

enum class Where { LOCAL_DISK, CAIRN };

struct User {
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};
const User ALICE{12301, 12301, {12309}};
const User BOB{12302, 12302, {}};
const User CAROL{12303, 12303, {12309}};  // shares a group with Alice
constexpr gid_t SHARED_GROUP = 12309;

class PosixRules : public testing::TestWithParam<Where> {
 public:
  static std::string nameOf(const testing::TestParamInfo<Where>& info) {
    return info.param == Where::LOCAL_DISK ? "LocalDisk" : "Cairn";
  }

 protected:
  void SetUp() override;
  void TearDown() override;

  LocalCluster& cluster();
  std::string operator/(const std::string& name) const { return directory + "/" + name; }
  bool onCairn() const { return GetParam() == Where::CAIRN; }
  const char* c(const std::string& name);  // the path, for system calls; valid until the test ends

  int make(const std::string& name, const std::string& content = "", mode_t mode = 0644);  // errno
  int makeDirectory(const std::string& name, mode_t mode = 0755);  // whatever the umask is
  struct stat statOf(const std::string& name);  // lstat; the test fails if there is nothing
  mode_t modeOf(const std::string& name) { return statOf(name).st_mode & 07777; }
  std::string contentOf(const std::string& name) { return readFile(*this / name); }

  int as(const User& user, const std::function<int()>& body);
  // In a child that is this user for good, with umask 022; what `body` answers, an errno by habit (below
  // 200).

  std::string directory;

 private:
  std::vector<std::unique_ptr<std::string>> paths;
};

inline int errnoOf(long answer) {
  return answer < 0 ? errno : 0;
}
int closing(int fd);  // 0, or the errno of the open(2) that made it

bool before(const struct timespec& one, const struct timespec& other);
bool same(const struct timespec& one, const struct timespec& other);
void letTimePass();  // until the clock of the filesystems has surely moved on (ext4: a tick)

}  // namespace cairn::e2e

#define POSIX_RULES(Suite)  \
  using Suite = PosixRules; \
  INSTANTIATE_TEST_SUITE_P(On, Suite, testing::Values(Where::LOCAL_DISK, Where::CAIRN), PosixRules::nameOf)
