// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {  // glibc 2.36 forgot it in this header
#include <sys/pidfd.h>
}

#include <algorithm>
#include <charconv>
#include <cstring>

#include "cli/failure.h"

namespace cairn::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view CLEAN_EXIT = "exited with 0";
constexpr std::string_view SUPERVISOR_LOCK = "supervisor.lock";  // whoever has it locked is the supervisor

std::optional<pid_t> readPid(const fs::path& pidFile) {
  auto text = readWhole(pidFile);
  pid_t pid = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), pid).ec != std::errc() ||
      pid <= 0) {
    return std::nullopt;
  }
  return pid;
}

std::vector<std::string> commandLine(pid_t pid) {
  auto text = readWhole("/proc/" + std::to_string(pid) + "/cmdline").value_or("");
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    auto end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

template <typename Recognise>
std::optional<Process> findByPidFile(const fs::path& pidFile, Recognise&& recognise) {
  auto pid = readPid(pidFile);
  if (!pid) return std::nullopt;
  int handle = pidfd_open(*pid, 0);
  if (handle < 0) return std::nullopt;
  Process process{*pid, kj::AutoCloseFd(handle), Process::Origin::FOUND};
  // The handle first, then the look: what is looked at is what the handle names.
  if (!recognise(commandLine(*pid)) || waitForEnd(process, {})) return std::nullopt;
  return process;
}

[[noreturn]] void becomeDaemon(const DaemonSpec& spec, std::vector<char*>& arguments, int log, int report) {
  // Between fork and exec: async-signal-safe calls only.
  setpgid(0, 0);  // Ctrl-C on the terminal is for the supervisor alone
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1}) signal(number, SIG_DFL);
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  int input = open("/dev/null", O_RDONLY);
  dup2(input, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execv(spec.program.c_str(), arguments.data());
  int problem = errno;
  [[maybe_unused]] auto written = write(report, &problem, sizeof(problem));
  _exit(127);
}

}  // namespace

Process spawn(const DaemonSpec& spec) {
  std::vector<std::string> words{spec.program.string()};
  words.insert(words.end(), spec.arguments.begin(), spec.arguments.end());
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  kj::AutoCloseFd log(open(spec.logFile.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (log.get() < 0) throw Failure("cannot write " + spec.logFile.string() + ": " + std::strerror(errno));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Failure(std::string("cannot make a pipe: ") + std::strerror(errno));
  kj::AutoCloseFd result(ends[0]), report(ends[1]);

  pid_t pid = fork();
  if (pid < 0) throw Failure("cannot start " + spec.name + ": " + std::strerror(errno));
  if (pid == 0) becomeDaemon(spec, arguments, log.get(), report.get());
  report = nullptr;
  Process process{pid, kj::AutoCloseFd(pidfd_open(pid, 0)), Process::Origin::CHILD};
  int problem = 0;
  if (read(result.get(), &problem, sizeof(problem)) > 0) {  // ends without a byte when exec succeeds
    waitpid(pid, nullptr, 0);
    throw Failure("cannot execute " + spec.program.string() + ": " + std::strerror(problem));
  }
  try {
    writeWhole(spec.pidFile, std::to_string(pid) + '\n');
  } catch (const Failure&) {
    // Nobody would find it again, and the next start would put a second one beside it.
    sendSignal(process, SIGKILL);
    waitForEnd(process, KILL_PATIENCE);
    (void)describeExit(process);
    throw;
  }
  return process;
}

std::optional<Process> findRunning(const DaemonSpec& spec) {
  return findByPidFile(spec.pidFile, [&](const std::vector<std::string>& words) {
    return std::find(words.begin(), words.end(), spec.readyFile.string()) != words.end();
  });
}

std::optional<Process> findSupervisor(const ClusterDirectory& directory) {
  kj::AutoCloseFd file(open((directory.runPath() / SUPERVISOR_LOCK).c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return std::nullopt;
  struct flock probe{};
  probe.l_type = F_RDLCK;
  if (fcntl(file.get(), F_OFD_GETLK, &probe) != 0 || probe.l_type == F_UNLCK) return std::nullopt;
  return findByPidFile(directory.pidFile("supervisor"), [](const auto&) { return true; });
}

std::optional<kj::AutoCloseFd> becomeSupervisor(const ClusterDirectory& directory) {
  auto path = directory.runPath() / SUPERVISOR_LOCK;
  kj::AutoCloseFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (file.get() < 0) throw Failure("cannot write " + path.string() + ": " + std::strerror(errno));
  struct flock lock{};
  lock.l_type = F_WRLCK;
  if (fcntl(file.get(), F_OFD_SETLK, &lock) != 0) return std::nullopt;
  writeWhole(directory.pidFile("supervisor"), std::to_string(getpid()) + '\n');
  return file;
}

std::string describeExit(const Process& process) {
  if (process.origin == Process::Origin::FOUND) return "ended";
  int status = 0;
  if (waitpid(process.pid, &status, 0) != process.pid) return "ended";
  if (WIFEXITED(status)) return "exited with " + std::to_string(WEXITSTATUS(status));
  return "was killed by signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) +
         ')';
}

bool cleanExit(const std::string& description) {
  return description == CLEAN_EXIT;
}

bool sendSignal(const Process& process, int signal) {
  return pidfd_send_signal(process.handle.get(), signal, nullptr, 0) == 0;
}

bool waitForEnd(const Process& process, std::chrono::milliseconds limit) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    pollfd handle{process.handle.get(), POLLIN, 0};
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (poll(&handle, 1, std::max<int>(0, static_cast<int>(left.count()))) > 0) return true;
    if (left.count() <= 0) return false;
  }
}

}  // namespace cairn::cli
