// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See temporary_directory.h.
#include "test/support/temporary_directory.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>

namespace cairn::test {

namespace {

int removeEntry(const char* path, const struct stat*, int, struct FTW*) {
  if (::remove(path) != 0) std::perror(path);
  return 0;
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  auto name = (std::filesystem::temp_directory_path() / "cairn-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  directory = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  ::nftw(directory.c_str(), &removeEntry, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

}  // namespace cairn::test
