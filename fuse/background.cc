// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/background.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/mount_table.h"

extern char** environ;

namespace cairn::fuse {

namespace {

void makePipe(int (&ends)[2]) {
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
}

std::string readToEnd(int fd) {
  std::string result;
  char buffer[4096];
  while (true) {
    auto size = read(fd, buffer, sizeof(buffer));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return result;
    result.append(buffer, size);
  }
}

void say(int fd, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    auto size = write(fd, text.data() + done, text.size() - done);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;  // nobody listens any more
    done += size;
  }
}

int unmountAsUser(const std::string& mountPoint, bool lazily) {
  // A user may not call umount(2); the helper of libfuse may. It says what is wrong on stderr.
  const char* arguments[] = {"fusermount3",
                             "-u",
                             "-q",
                             lazily ? "-z" : "--",
                             lazily ? "--" : mountPoint.c_str(),
                             lazily ? mountPoint.c_str() : nullptr,
                             nullptr};
  pid_t helper;
  if (int error = posix_spawnp(&helper, "fusermount3", nullptr, nullptr, const_cast<char* const*>(arguments),
                               environ)) {
    return error;
  }
  int status = 0;
  while (waitpid(helper, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EBUSY;
}

volatile sig_atomic_t mainThreadDied = 0;  // of the process we watch; set by its death signal

bool readMore(int pipe, std::string& text) {
  // What is there; false: its end, or nothing. `pipe` does not block.
  char buffer[4096];
  auto size = read(pipe, buffer, sizeof(buffer));
  if (size > 0) text.append(buffer, size_t(size));
  return size > 0 || (size < 0 && errno == EINTR);
}

std::string readUntilItDies(int pipe, pid_t served) {
  // Normally the pipe ends with the process. But a thread that is stuck in the kernel, waiting for an answer
  // that only the dead main thread could have given, keeps the descriptors of all: the death of the main
  // thread is told by signal too.
  struct sigaction action = {};
  action.sa_handler = [](int) { mainThreadDied = 1; };
  sigaction(SIGUSR1, &action, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGUSR1);
  fcntl(pipe, F_SETFL, O_NONBLOCK);
  std::string result;
  while (mainThreadDied == 0 && getppid() == served) {
    // A signal between the check and here is not lost for long: the poll wakes up again.
    struct pollfd readable = {.fd = pipe, .events = POLLIN};
    if (poll(&readable, 1, 1000) > 0 && !readMore(pipe, result)) break;
  }
  while (readMore(pipe, result)) {
  }  // it may have died before we had time to read
  return result;
}

[[noreturn]] void watch(int pipe, const std::string& mountPoint, pid_t served) {
  auto told = readUntilItDies(pipe, served);
  auto newline = told.find('\n');
  if (newline == std::string::npos || told.find("finished") != std::string::npos) _exit(0);
  auto device = told.substr(0, newline);
  if (isMounted(mountPoint.c_str(), device.c_str())) {
    // Aborts the connection, so that whoever waits for an answer is freed. What nobody uses is unmounted with
    // it, and what is mounted there a moment later is not ours.
    if (umount2(mountPoint.c_str(), MNT_FORCE) != 0) detachMount(mountPoint);
  }
  _exit(0);
}

}  // namespace

int detachMount(const std::string& mountPoint) {
  if (umount2(mountPoint.c_str(), MNT_DETACH) == 0) return 0;
  return errno == EPERM ? unmountAsUser(mountPoint, true) : errno;
}

int removeMount(const std::string& mountPoint) {
  if (umount2(mountPoint.c_str(), 0) == 0) return 0;
  return errno == EPERM ? unmountAsUser(mountPoint, false) : errno;
}

Starter Starter::background() {
  int ends[2];
  makePipe(ends);
  pid_t child = fork();
  if (child < 0) KJ_FAIL_SYSCALL("fork", errno);
  if (child > 0) {
    close(ends[1]);
    auto report = readToEnd(ends[0]);
    if (report == "mounted\n") _exit(0);
    if (report.empty()) {
      int status = 0;
      waitpid(child, &status, 0);
      report = WIFSIGNALED(status) ? "cairn-fuse was killed by signal " + std::to_string(WTERMSIG(status)) +
                                         " before it had mounted\n"
                                   : "cairn-fuse ended before it had mounted\n";
    }
    say(STDERR_FILENO, report);
    _exit(1);
  }
  close(ends[0]);
  setsid();
  Starter starter;
  starter.pipe = ends[1];
  return starter;
}

void Starter::mounted(const std::string& lastWords) {
  if (pipe < 0) return;
  // Whoever reads our output waits for its end: let go of it.
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
  close(null);
  int file =
      lastWords.empty() ? -1 : open(lastWords.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file >= 0) {
    dup2(file, STDERR_FILENO);
    close(file);
  }
  say(pipe, "mounted\n");
  close(pipe);
  pipe = -1;
}

void Starter::failed(const std::string& text) {
  say(pipe < 0 ? STDERR_FILENO : pipe, text + "\n");
  if (pipe >= 0) close(pipe);
  pipe = -1;
}

Watcher Watcher::start(const std::string& mountPoint) {
  int ends[2];
  makePipe(ends);
  pid_t self = getpid();
  pid_t child = fork();
  if (child < 0) KJ_FAIL_SYSCALL("fork", errno);
  if (child == 0) {
    // Must outlive what ends the other: signals to the group or the terminal, and hold nothing but the pipe.
    setsid();
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
    prctl(PR_SET_NAME, "cairn-watcher");
    if (chdir("/") != 0) _exit(1);
    int null = open("/dev/null", O_RDWR);
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
    dup2(ends[0], 3);
    closefrom(4);
    watch(3, mountPoint, self);
  }
  close(ends[0]);
  Watcher watcher;
  watcher.pipe = ends[1];
  watcher.process = child;
  return watcher;
}

void Watcher::mounted(const std::string& device) {
  say(pipe, device + "\n");
}

void Watcher::finished() {
  say(pipe, "finished\n");
  close(pipe);
  pipe = -1;
  while (waitpid(process, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace cairn::fuse
