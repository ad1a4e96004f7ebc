// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What happened in a simulation, a line each, with virtual time: the decisions that the daemons log, the
// faults, and what the workload did. Equal seeds give equal transcripts; the end of it is printed when a run
// fails.
#pragma once

#include <kj/string.h>

#include <deque>
#include <string>

#include "test/sim/virtual_time.h"

namespace cairn::sim {

class Transcript {
 public:
  explicit Transcript(const VirtualTime& time) : time(time) {}

  void say(kj::StringPtr who, kj::StringPtr what);
  // A line like "[  12.345678] chunkd-2   lease of chunk 7 v3 ended -> refuse writes".

  void echo() { echoing = true; }  // also to stderr, as it happens
  std::string last(size_t lines) const;
  uint64_t digest() const { return hash; }  // of all lines, also of those forgotten
  uint64_t lines() const { return count; }
  bool contains(kj::StringPtr part) const;  // among those kept

 private:
  static constexpr size_t KEPT = 20'000;
  const VirtualTime& time;
  std::deque<std::string> kept;
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  uint64_t count = 0;
  bool echoing = false;
};

}  // namespace cairn::sim
