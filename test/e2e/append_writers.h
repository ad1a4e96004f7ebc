// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Processes that append records to one file with O_APPEND, through several mounts, some of them with fsync,
// and tell in shared memory how many they have. Each ends at its first error, or when it is told to.
#pragma once

#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "test/e2e/append_records.h"
#include "test/e2e/mounts_fixture.h"

namespace cairn::e2e {

class AppendWriters {
 public:
  static constexpr int WRITERS = 4;

  AppendWriters(const std::vector<std::string>& mounts, const std::string& name) {
    auto page = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared = new (page) Shared;
    for (int writer = 0; writer < WRITERS; ++writer) {
      children[writer] = ::fork();
      if (children[writer] != 0) continue;
      shared->error[writer] = write(mounts[size_t(writer) % mounts.size()] + "/" + name, writer);
      ::_exit(0);
    }
  }
  AppendWriters(const AppendWriters&) = delete;
  ~AppendWriters() {
    finish();
    ::munmap(shared, sizeof(Shared));
  }

  bool waitForMore(int count) {
    // Of each.
    auto before = counts();
    auto isEnough = [&]() {
      for (auto [writer, done] : counts()) {
        if (shared->error[writer] != 0) return true;
        if (done < before[writer] + count) return false;
      }
      return true;
    };
    return eventually(60s, isEnough) && errors().empty();
  }
  std::string errors() const {
    // Which writers have ended, and why; empty: none.
    std::string text;
    for (int writer = 0; writer < WRITERS; ++writer) {
      if (auto error = shared->error[writer].load())
        text += "writer " + std::to_string(writer) + ": " + strerror(error) + "; ";
    }
    return text;
  }
  std::map<int, int> counts() const {
    std::map<int, int> all;
    for (int writer = 0; writer < WRITERS; ++writer) all[writer] = shared->done[writer];
    return all;
  }
  // Of one append, with its fsync where it has one, those under way included, since the last call.
  std::chrono::microseconds longestPause() {
    auto longest = shared->longest.exchange(0);
    for (auto& began : shared->began) {
      if (auto since = began.load()) longest = std::max(longest, now() - since);
    }
    return std::chrono::microseconds(longest);
  }
  void finish() {
    shared->stop = true;
    for (auto& child : children) {
      if (child < 0) continue;
      if (!eventually(60s, [&]() { return ::waitpid(child, nullptr, WNOHANG) == child; })) {
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        ADD_FAILURE() << "a writer hangs";
      }
      child = -1;
    }
  }

 private:
  struct Shared {
    std::atomic<int> done[WRITERS] = {}, error[WRITERS] = {};  // records written; errno that ended it
    std::atomic<int64_t> began[WRITERS] = {}, longest{0};      // us; 0: it is in no call
    std::atomic<bool> stop{false};
  };
  Shared* shared;
  pid_t children[WRITERS];

  static int64_t now() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::microseconds(1);
  }
  int write(const std::string& path, int writer) {
    int fd = ::open(path.c_str(), O_WRONLY | O_APPEND);
    if (fd < 0) return errno;
    for (int i = 0; !shared->stop; ++i) {
      // Some are of more than the kernel hands over in one request, and some are made durable.
      auto text = AppendRecord{writer, i, i % 100 == 99 ? 2'500'000 : size_t(20 + i * 53 % 3000)}.text();
      errno = 0;
      auto began = now();
      shared->began[writer] = began;
      if (::write(fd, text.data(), text.size()) != ssize_t(text.size())) return errno == 0 ? EIO : errno;
      if (i % 8 == writer && ::fsync(fd) != 0) return errno;
      auto took = now() - began;
      for (auto longest = shared->longest.load();
           took > longest && !shared->longest.compare_exchange_weak(longest, took);) {
      }
      shared->began[writer] = 0;
      shared->done[writer] = i + 1;
    }
    return ::close(fd) == 0 ? 0 : errno;
  }
};

inline void expectRecordsOnce(const std::vector<std::string>& mounts, const std::string& name, uint64_t start,
                              const std::map<int, int>& counts) {
  // The file through each mount: nothing but these records, each once.
  for (auto& mount : mounts) {
    auto found = recordsIn(readFile(mount + "/" + name), start, Padding::NONE);
    EXPECT_EQ(found.trouble, "") << name << " through " << mount;
    EXPECT_EQ(eachOnceInOrder(found.records, counts), "") << name << " through " << mount;
  }
}

}  // namespace cairn::e2e
