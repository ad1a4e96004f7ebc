// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the user, mount(8) or /etc/fstab asks for, and whether it can be done: every refusal is a sentence
// that says what happened and what to do. Called by main.cc before anything is started.
#pragma once

#include <string>
#include <vector>

#include "env/log.h"
#include "fuse/handlers.h"

namespace cairn::fuse {

struct MountCommand {
  std::string metaserver;  // HOST:PORT
  std::string mountPoint;  // absolute, without symlinks
  std::string readyFile, pidFile, logFile;
  enum class Where { BACKGROUND, FOREGROUND } where = Where::BACKGROUND;
  enum class Act { MOUNT, NOTHING } act = Act::MOUNT;  // mount -f
  env::LogLevel logLevel = env::LogLevel::INFO;
  HandlerOptions handlers;
  uint32_t readAheadKb = 4096;
  std::vector<std::string> mountOptions;  // for libfuse
};

class BadCommand : public std::exception {
 public:
  explicit BadCommand(std::string text, int exitCode = 1) : text(std::move(text)), exitCode(exitCode) {}
  const char* what() const noexcept override { return text.c_str(); }
  const std::string text;
  const int exitCode;
};

MountCommand parseMountCommand(int argc, const char* const* argv);
// Throws BadCommand; --help is one with exit code 0. As mount.cairn and mount.fuse.cairn it takes what
// mount(8) passes.

void parseMountOptions(const std::string& options, MountCommand& command);  // the words after -o

void checkMountPoint(MountCommand& command);
// Also makes the path absolute. Throws BadCommand: missing, no directory, dead mount, mounted by us already,
// no /dev/fuse.

}  // namespace cairn::fuse
