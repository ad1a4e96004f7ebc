// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How a command of `cairn` ends early: a sentence for the person who typed it, and the exit code. Thrown by
// the parts of cli/, caught once, in main.cc.
#pragma once

#include <stdexcept>
#include <string>

namespace cairn::cli {

enum class ExitCode : int {
  DONE = 0,
  FAILED = 1,        // a sentence on stderr says what happened and what to do
  USAGE = 2,         // the command line is wrong; nothing was done
  UNHEALTHY = 3,     // up, status --check: the cluster is up, but not everything is well
  BUSY = 4,          // down: the mount is in use; nothing was stopped
  REPAIRED = 1,      // fsck, as fsck(8) has it: problems were found and all of them repaired
  LEFT = 4,          // fsck: some are left
  CHECK_FAILED = 8,  // fsck: it could not be done to its end
};

class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& sentence, ExitCode code = ExitCode::FAILED)
      : std::runtime_error(sentence), code(code) {}
  const ExitCode code;
};

}  // namespace cairn::cli
