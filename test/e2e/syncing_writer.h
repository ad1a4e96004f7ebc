// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A process that writes records one after the other, each followed by fsync, and tells in shared memory how
// many it has and how long the longest took. It ends at the first error, or when it is told to.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>

#include "test/e2e/local_cluster.h"

namespace cairn::e2e {

class SyncingWriter {
 public:
  static constexpr size_t RECORD = 16384;  // bytes
  static std::string record(uint64_t number) { return randomBytes(RECORD, 1000 + number); }

  // `size`: 0, or the bytes after which it begins again at the front.
  explicit SyncingWriter(const std::string& path, uint64_t size = 0) : wrap(size / RECORD) {
    auto page = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared = new (page) Shared;
    child = ::fork();
    if (child == 0) ::_exit(write(path));
  }
  SyncingWriter(const SyncingWriter&) = delete;
  ~SyncingWriter() {
    finish();
    ::munmap(shared, sizeof(Shared));
  }

  uint64_t synced() const { return shared->synced; }
  int error() const { return shared->error; }  // errno that ended it, 0: none
  // Of one write and fsync, the one under way included, since the last call.
  std::chrono::microseconds longestPause() {
    auto under = now() - shared->began;
    return std::chrono::microseconds(std::max(shared->longest.exchange(0), under));
  }
  bool waitForMore(uint64_t count) {
    auto goal = synced() + count;
    return eventually(60s, [&]() { return synced() >= goal || error() != 0; }) && error() == 0;
  }
  void finish() {
    if (child < 0) return;
    shared->stop = true;
    if (!eventually(60s, [&]() { return ::waitpid(child, nullptr, WNOHANG) == child; })) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
      ADD_FAILURE() << "the writer hangs";
    }
    child = -1;
  }
  // Of one that has ended: the file is what it has written, also when it began again at the front.
  void expectAll(const std::string& path) const {
    auto content = readFile(path);
    auto count = synced(), places = wrap == 0 ? count : std::min(count, wrap);
    ASSERT_EQ(content.size(), places * RECORD) << path;
    for (auto i = count - places; i < count; ++i) {
      auto place = wrap == 0 ? i : i % wrap;
      ASSERT_TRUE(content.compare(place * RECORD, RECORD, record(i)) == 0)
          << "record " << i << " of " << count << " in " << path;
    }
  }
  // All that was synced is in the file. Not for one that begins again.
  static void expectRecords(const std::string& path, uint64_t count) {
    auto content = readFile(path);
    ASSERT_GE(content.size(), count * RECORD);
    for (uint64_t i = 0; i < count; ++i) {
      ASSERT_TRUE(content.compare(i * RECORD, RECORD, record(i)) == 0) << "record " << i << " of " << count;
    }
  }

 private:
  struct Shared {
    std::atomic<uint64_t> synced{0};
    std::atomic<int64_t> began{0}, longest{0};  // us
    std::atomic<int> error{0};
    std::atomic<bool> stop{false};
  };
  const uint64_t wrap;
  Shared* shared;
  pid_t child;

  static int64_t now() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::microseconds(1);
  }
  int write(const std::string& path) {
    int fd = ::open(path.c_str(), O_CREAT | O_WRONLY, 0644);
    errno = fd < 0 ? errno : 0;
    for (uint64_t i = 0; fd >= 0 && !shared->stop; ++i) {
      auto bytes = record(i);
      auto place = wrap == 0 ? i : i % wrap;
      shared->began = now();
      if (::pwrite(fd, bytes.data(), bytes.size(), off_t(place * RECORD)) != ssize_t(RECORD) ||
          ::fsync(fd) != 0)
        break;
      auto took = now() - shared->began;
      if (took > shared->longest) shared->longest = took;
      shared->synced = i + 1;
    }
    if (!shared->stop) shared->error = errno == 0 ? EIO : errno;
    return 0;
  }
};

}  // namespace cairn::e2e
