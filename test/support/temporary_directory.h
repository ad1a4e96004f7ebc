// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A directory of one test: made under $TMPDIR (or /tmp) with a unique name, removed with all in it at the
// end. INVARIANT: never removes anything below a mount point: what is still mounted there is left, and said.
#pragma once

#include <filesystem>
#include <string>

namespace cairn::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return directory; }
  std::string operator/(const std::string& name) const { return (directory / name).string(); }

 private:
  std::filesystem::path directory;
};

}  // namespace cairn::test
