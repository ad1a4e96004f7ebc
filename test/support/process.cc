// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See process.h.
#include "test/support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "test/support/crash_report.h"
#include "test/support/eventually.h"

namespace cairn::test {

namespace {

int memoryFile(const char* name, const std::string& content = "") {
  int fd = ::memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) throw std::runtime_error("memfd_create");
  if (!content.empty() && ::write(fd, content.data(), content.size()) != ssize_t(content.size())) {
    throw std::runtime_error("memfd write");
  }
  ::lseek(fd, 0, SEEK_SET);
  return fd;
}

std::string readAll(int fd) {
  std::string all;
  char part[65536];
  for (off_t offset = 0;;) {
    auto size = ::pread(fd, part, sizeof part, offset);
    if (size <= 0) return all;
    all.append(part, size_t(size));
    offset += size;
  }
}

[[noreturn]] void become(const std::vector<char*>& arguments, const std::string& directory, int in, int out,
                         int err) {
  // In the child: only what is allowed between fork and exec.
  ::setpgid(0, 0);
  if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0) ::_exit(126);
  if (!directory.empty() && ::chdir(directory.c_str()) != 0) ::_exit(126);
  ::execvp(arguments[0], arguments.data());
  const char* why = ::strerrordesc_np(errno);
  for (auto part : {"cannot run ", static_cast<const char*>(arguments[0]), ": ", why, "\n"}) {
    if (::write(2, part, std::strlen(part)) < 0) break;
  }
  ::_exit(127);
}

}  // namespace

std::string Finished::describe() const {
  return "exit " + std::to_string(code) + "\nstdout: " + out + "\nstderr: " + err;
}

Process::Process(std::vector<std::string> words, RunOptions options)
    : line(std::move(words)), deadline(std::chrono::steady_clock::now() + options.patience) {
  int in = memoryFile("stdin", options.input);
  outFd = memoryFile("stdout");
  errFd = memoryFile("stderr");
  std::vector<char*> arguments;
  for (auto& word : line) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) become(arguments, options.directory, in, outFd, errFd);
  ::setpgid(child, child);  // also here: whichever of the two is first
  ::close(in);
}

Process::~Process() {
  if (!reaped) {
    ::kill(-child, SIGKILL);
    reap(true);
  }
  EXPECT_EQ(crashReport(words()), "") << line[0] << " has not ended as a program should";
  ::close(outFd);
  ::close(errFd);
}

bool Process::reap(bool block) {
  if (reaped) return true;
  int status = 0;
  auto answer = ::waitpid(child, &status, block ? 0 : WNOHANG);
  if (answer != child) return false;
  reaped = true;
  code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return true;
}

bool Process::running() {
  return !reap(false);
}

void Process::signal(int number) {
  if (!reaped) ::kill(child, number);
}

std::string Process::words() const {
  return readAll(outFd) + readAll(errFd);
}

Finished Process::wait() {
  auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  if (!eventually(std::max(left, 0ms), [this]() { return reap(false); })) {
    ::kill(-child, SIGKILL);
    reap(true);
    code = 124;
  }
  return {code, readAll(outFd), readAll(errFd)};
}

Finished run(std::vector<std::string> words, RunOptions options) {
  return Process(std::move(words), std::move(options)).wait();
}

Finished shell(const std::string& script, RunOptions options) {
  return run({"sh", "-euc", script}, std::move(options));
}

std::string quoted(const std::string& word) {
  std::string result = "'";
  for (char letter : word) result += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return result + "'";
}

}  // namespace cairn::test
