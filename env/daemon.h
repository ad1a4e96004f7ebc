// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What main() of each daemon does to its own process: limits, the file that tells others that it serves, and
// the sentence with which it ends when it cannot go on.
#pragma once

#include <kj/common.h>
#include <kj/function.h>

#include <cstdint>
#include <string>

namespace cairn::env {

void raiseDescriptorLimit();
// To the hard limit: a daemon has a few descriptors for each peer, and the usual 1,024 are for programs with
// select(2).

std::string hostPortProblem(const std::string& address);
// Why it is no HOST:PORT; empty when it is one. A check for options.

std::string durationProblem(const std::string& text);
// Why it is no duration: a number with s, m, h, d or w behind it, or 0; empty when it is one. For options.
uint32_t durationSeconds(const std::string& text);  // of one; at most 100 years
std::string durationText(uint32_t seconds);         // the shortest way to write it

class PresenceFile {
  // There while we serve. INVARIANT: it is whole or not there; whoever waits for it reads it at once.
 public:
  PresenceFile() = default;
  PresenceFile(const std::string& path,
               const std::string& content);  // no path, no file. Throws with the reason
  ~PresenceFile();
  PresenceFile(PresenceFile&& other) noexcept;
  PresenceFile& operator=(PresenceFile&& other) noexcept;

 private:
  std::string path;
};

int runDaemon(const char* name, kj::Function<int()> serve);
// The exit code of `serve`; 1 with the sentence on stderr when it throws.

}  // namespace cairn::env
