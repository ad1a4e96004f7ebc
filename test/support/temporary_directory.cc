// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See temporary_directory.h. What is removed may be thousands of files and directories (a store has 256), and
// on a disk that discards what it frees each of them waits for the disk. So many are removed at a time.
#include "test/support/temporary_directory.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <map>
#include <stdexcept>
#include <thread>
#include <vector>

namespace cairn::test {

namespace {

constexpr size_t AT_ONCE = 16;
constexpr int DEEPER_THAN_ALL = 1 << 20;

using Entries = std::map<int, std::vector<std::string>, std::greater<>>;  // by depth; files are the deepest
thread_local Entries* collected = nullptr;                                // by the walk that is under way

int collect(const char* path, const struct stat*, int type, struct FTW* place) {
  bool isDirectory = type == FTW_D || type == FTW_DNR;
  (*collected)[isDirectory ? place->level : DEEPER_THAN_ALL].push_back(path);
  return 0;
}

void removeAll(const std::vector<std::string>& paths) {
  std::atomic<size_t> next{0};
  auto work = [&]() {
    for (size_t i = next++; i < paths.size(); i = next++) {
      if (::remove(paths[i].c_str()) != 0) std::perror(paths[i].c_str());
    }
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < std::min(AT_ONCE, paths.size() / 8); ++i) others.emplace_back(work);
  work();
  for (auto& other : others) other.join();
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  auto name = (std::filesystem::temp_directory_path() / "cairn-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  directory = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  Entries entries;
  collected = &entries;
  ::nftw(directory.c_str(), &collect, 32, FTW_PHYS | FTW_MOUNT);
  for (auto& [depth, paths] : entries) removeAll(paths);
}

}  // namespace cairn::test
