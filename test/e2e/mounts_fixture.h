// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Several mounts of one cluster on this machine: to the filesystem they are clients as far apart as any.
#pragma once

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {

class Mounts : public EndToEnd {
 protected:
  void TearDown() override {
    EndToEnd::TearDown();
    for (auto& mount : mounts) {
      if (auto process = pidOf(mount); process > 0) ::kill(process, SIGCONT);
      ::umount2(mount.c_str(), MNT_DETACH);
    }
  }

  std::string mountAnother() { return mountAnother(cluster->address()); }
  std::string mountAnother(const std::string& metaserver) {
    auto number = std::to_string(mounts.size() + 2);
    mounts.push_back(cluster->scratch("mnt-" + number));
    auto& mount = mounts.back();
    ::mkdir(mount.c_str(), 0755);
    EXPECT_OK(
        test::run({program("mount.cairn"), metaserver, mount, "-o",
                   "log_file=" + cluster->scratch("fuse-" + number + ".log"), "--pid-file", mount + ".pid"}));
    return mount;
  }
  void expectEqualReplicas(const std::string& name, unsigned expected) {
    e2e::expectEqualReplicas(
        cluster->json({"info", *cluster / name}), expected,
        [this](const std::string& address) { return cluster->store(cluster->chunkdAt(address)); });
  }
  static pid_t pidOf(const std::string& mount) { return std::atoi(readFile(mount + ".pid").c_str()); }

  std::vector<std::string> mounts;
};

inline int put(const std::string& path, const std::string& content, int flags = O_CREAT | O_TRUNC) {
  // errno. Without looking at what was there.
  int fd = ::open(path.c_str(), O_WRONLY | flags, 0644);
  if (fd < 0) return errno;
  auto written = ::write(fd, content.data(), content.size());
  int error = written == ssize_t(content.size()) ? 0 : written < 0 ? errno : EIO;
  if (::close(fd) != 0 && error == 0) error = errno;
  return error;
}

inline std::string at(int fd, off_t offset, size_t size) {
  std::string text(size, 0);
  auto got = ::pread(fd, text.data(), size, offset);
  if (got < 0) return std::string("errno ") + std::to_string(errno);
  text.resize(size_t(got));
  return text;
}

inline int errorOf(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0 ? 0 : errno;
}

inline struct stat statusOf(const std::string& path) {
  struct stat status = {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status;
}

}  // namespace cairn::e2e
