// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// main() of every end-to-end test program. It first moves into a mount and a network namespace of its own:
// - whatever a test mounts is invisible outside and goes with the last process of the test, also after a
// crash;
// - every port is free, and two test programs may run at the same time.
// Where the kernel lets nobody do that, or has no /dev/fuse, the tests are skipped and say why.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>

#include "test/e2e/isolation.h"

namespace cairn::e2e {

namespace {

std::string skipReason;

bool writeText(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return bool(file);
}

bool loopbackUp() {
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request = {};
  ::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
  request.ifr_flags = IFF_UP;
  bool up = fd >= 0 && ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  if (fd >= 0) ::close(fd);
  return up;
}

std::string failure(const char* what) {
  return std::string(what) + ": " + ::strerror(errno);
}

std::string isolate() {
  // Why it is not possible, or nothing.
  if (::access("/dev/fuse", R_OK | W_OK) != 0) return failure("/dev/fuse cannot be used");
  auto uid = ::getuid(), gid = ::getgid();
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) {
    if (errno != EPERM) return failure("unshare");
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) != 0)
      return failure("unshare of a user namespace");
    if (!writeText("/proc/self/setgroups", "deny") ||
        !writeText("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1") ||
        !writeText("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1")) {
      return "the user namespace takes no id map";
    }
  }
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return failure("making mounts private");
  if (!loopbackUp()) return failure("bringing up the loopback interface");
  return "";
}

}  // namespace

const std::string& reasonToSkip() {
  return skipReason;
}

}  // namespace cairn::e2e

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  cairn::e2e::skipReason = cairn::e2e::isolate();
  if (!cairn::e2e::skipReason.empty()) std::fprintf(stderr, "skipping: %s\n", cairn::e2e::skipReason.c_str());
  return RUN_ALL_TESTS();
}
