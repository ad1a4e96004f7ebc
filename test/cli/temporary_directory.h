// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A directory of its own for one test, removed with it.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>

namespace cairn::cli {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/cairn-cli-XXXXXX";
    if (mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
    path = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;

  std::filesystem::path path;
};

}  // namespace cairn::cli
