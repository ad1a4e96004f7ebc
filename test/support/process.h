// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A program that a test runs, with its words caught and a deadline on it.
// INVARIANT: when the object goes, the program and all it started in its process group are gone; if it has
// crashed or a sanitizer has found something, the test has failed.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace cairn::test {

struct Finished {
  int code = -1;         // exit code; 128 + N: killed by signal N; 124: did not end in time and was killed
  std::string out, err;  // what it wrote
  bool ok() const { return code == 0; }
  std::string describe() const;  // for the message of a failed expectation
};

struct RunOptions {
  std::chrono::seconds patience{60};
  std::string directory;  // to run in; empty: that of the test
  std::string input;      // for its standard input
};

class Process {
 public:
  explicit Process(std::vector<std::string> words, RunOptions options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return child; }
  bool running();
  Finished wait();            // until it ends or its patience is over, counted from its start
  std::string words() const;  // what it has written so far, both streams
  void signal(int number);

 private:
  std::vector<std::string> line;
  std::chrono::steady_clock::time_point deadline;
  pid_t child = -1;
  int outFd = -1, errFd = -1;
  bool reaped = false;
  int code = -1;

  bool reap(bool block);
};

Finished run(std::vector<std::string> words, RunOptions options = {});
Finished shell(const std::string& script, RunOptions options = {});  // sh -c, with -eu

std::string quoted(const std::string& word);  // for a shell

}  // namespace cairn::test
