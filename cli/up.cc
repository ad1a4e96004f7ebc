// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn up`: starts a local cluster, or says that it is up. One path for both modes: the supervisor reports
// its progress; detached, it does so through a pipe to the process that the user waits for.
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>

#include "cli/cluster_plan.h"
#include "cli/metaserver_line.h"
#include "cli/output.h"
#include "rpc/coroutine.h"

namespace cairn::cli {

namespace {

namespace fs = std::filesystem;

constexpr kj::Duration REGISTER_PATIENCE =
    20 * kj::SECONDS;  // until all chunk daemons are known to the metaserver
constexpr kj::Duration LOOK_PAUSE = 50 * kj::MILLISECONDS;  // between two looks at the metaserver's status
volatile pid_t supervisorToStop = 0;  // for the signal handler of the waiting process only

std::string timestamp() {
  auto now = std::chrono::system_clock::now();
  auto seconds = std::chrono::system_clock::to_time_t(now);
  auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  auto length = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof(text) - length, ".%03dZ", static_cast<int>(millis));
  return text;
}

void printSummary(const UpOptions& options, const ClusterDirectory& directory, const ClusterPlan& plan,
                  std::string_view state) {
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject()
        .field("state", state)
        .field("dir", directory.path().string())
        .field("mount", plan.mount);
    json.key("metaservers").beginArray().value(plan.metaserver()).endArray();
    json.field("replicas", plan.replicas).key("daemons").beginArray();
    for (auto& record : readState(directory)) {
      json.beginObject().field("name", record.name).field("state", record.state).field("pid", record.pid);
      json.field("address", record.address).endObject();
    }
    json.endArray().endObject();
    std::cout << json.text() << std::endl;
    return;
  }
  auto dir = options.dir;
  std::cout << "The cluster in " << dir << " is " << state << ": metaserver " << plan.metaserver() << ", "
            << plural(plan.chunkdPorts.size(), "chunk daemon") << ", " << plural(plan.replicas, "replica")
            << " of each chunk";
  if (!plan.mount.empty()) std::cout << ", mounted at " << plan.mount;
  std::cout << ".\n  mount it a second time:  mount.cairn " << plan.metaserver() << " DIR\n"
            << "  look at it:              cairn status --dir " << dir << "\n"
            << "  stop it:                 cairn down --dir " << dir << std::endl;
}

enum class Word : char { PROGRESS = '+', FAILURE = '!', UP = '=' };  // what a line of the supervisor is

void print(Word word, std::string_view text, const UpOptions& options) {
  if (word == Word::FAILURE) {
    std::cerr << "cairn up: " << text << std::endl;
  } else if (word == Word::PROGRESS) {
    (options.format == Format::JSON ? std::cerr : std::cout) << "  " << text << std::endl;
  }
}

class Reporter {
  // Where the supervisor's words go: its log always, and the person who waits.
 public:
  using Listener = std::function<void(Word word, std::string_view line)>;
  Reporter(const fs::path& log, Listener listener) : log(log, std::ios::app), listener(std::move(listener)) {}

  void say(const std::string& text, Word word = Word::PROGRESS) {
    log << timestamp() << ' ' << text << std::endl;
    std::istringstream lines(text);
    for (std::string line; listener && std::getline(lines, line);) listener(word, line);
  }
  void nobodyWaits() { listener = nullptr; }

 private:
  std::ofstream log;
  Listener listener;
};

Reporter::Listener throughPipe(int end) {
  return [end](Word word, std::string_view line) {
    std::string message = static_cast<char>(word) + std::string(line) + '\n';
    for (std::string_view rest = message; !rest.empty();) {
      auto count = write(end, rest.data(), rest.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;  // the one who waited is gone
      rest.remove_prefix(static_cast<size_t>(count));
    }
  };
}

Async<bool> untilRegistered(MetaserverLine& line, kj::Timer& timer, size_t chunkds) {
  // All chunk daemons are known and have reported, and safe mode is over: the first write will not have to
  // wait.
  auto deadline = timer.now() + REGISTER_PATIENCE;
  while (timer.now() < deadline) {
    auto answer = co_await line.peer().call(
        {"status", REGISTER_PATIENCE},
        [](rpc::Metaserver::Client& metaserver) { return metaserver.statusRequest().send(); });
    auto cluster = answer.getStatus();
    size_t ready = 0;
    for (auto server : cluster.getServers()) ready += server.getState() == "up";
    if (ready >= chunkds && cluster.getSafeMode().size() == 0) co_return true;
    co_await timer.afterDelay(LOOK_PAUSE);
  }
  co_return false;
}

Async<void> reviveOnHangup(kj::UnixEventPort& port, Supervisor& supervisor) {
  for (;;) {
    co_await port.onSignal(SIGHUP);
    supervisor.revive();
  }
}

class Foreman {
  // The body of the supervisor process.
 public:
  Foreman(const UpOptions& options, const ClusterDirectory& directory, ClusterPlan plan, Reporter& reporter)
      : options(options), directory(directory), plan(std::move(plan)), reporter(reporter) {}

  ExitCode run(const std::function<void()>& whenUp) {
    for (int number : {SIGTERM, SIGINT, SIGHUP}) kj::UnixEventPort::captureSignal(number);
    signal(SIGPIPE, SIG_IGN);
    auto io = kj::setupAsyncIo();
    auto& timer = io.provider->getTimer();
    Supervisor supervisor(io.unixEventPort, timer, directory, options.restart,
                          [this](const std::string& line) { reporter.say(line); });
    auto stopped = io.unixEventPort.onSignal(SIGTERM)
                       .exclusiveJoin(io.unixEventPort.onSignal(SIGINT))
                       .then([](siginfo_t) { return Problem("it was told to stop"); });
    auto specs = directory.daemons(plan, programsDirectory());
    auto started = supervisor.start(std::move(specs), plan.minReplicas)
                       .exclusiveJoin(kj::mv(stopped))
                       .wait(io.waitScope);
    if (!started.empty()) return giveUp(supervisor, started);

    auto hangup = reviveOnHangup(io.unixEventPort, supervisor).eagerlyEvaluate(nullptr);
    auto keeping = supervisor.keep().eagerlyEvaluate(nullptr);
    reportRegistered(io);
    reporter.say("the cluster is up", Word::UP);
    whenUp();

    auto number = io.unixEventPort.onSignal(SIGTERM)
                      .exclusiveJoin(io.unixEventPort.onSignal(SIGINT))
                      .exclusiveJoin(keeping.then([]() { return siginfo_t{}; }))
                      .wait(io.waitScope)
                      .si_signo;
    reporter.say("signal " + std::to_string(number) + " -> stop the cluster");
    hangup = nullptr;
    supervisor.stop();
    reporter.say("the cluster is down");
    return ExitCode::DONE;
  }

 private:
  const UpOptions& options;
  ClusterDirectory directory;
  ClusterPlan plan;
  Reporter& reporter;

  ExitCode giveUp(Supervisor& supervisor, const Problem& problem) {
    reporter.say(problem, Word::FAILURE);
    supervisor.stop();
    reporter.say(
        "The cluster has been stopped again; its data is untouched. When the cause is gone, run the same "
        "`cairn up` once more.",
        Word::FAILURE);
    return ExitCode::FAILED;
  }

  size_t servingChunkds() {
    std::error_code error;
    size_t count = 0;
    for (auto& daemon : findRunning(directory.daemons(plan, programsDirectory()))) {
      count += daemon.spec.kind == DaemonKind::CHUNKD && fs::exists(daemon.spec.readyFile, error);
    }
    return count;
  }

  void reportRegistered(kj::AsyncIoContext& io) {
    MetaserverLine line(io, plan.metaserver());
    bool all = false;
    kj::runCatchingExceptions(
        [&]() { all = untilRegistered(line, io.provider->getTimer(), servingChunkds()).wait(io.waitScope); });
    if (!all) {
      reporter.say(
          "WARNING: not all chunk daemons have registered with the metaserver yet; "
          "`cairn status --dir " +
          directory.path().string() + "` shows which");
    }
  }
};

ExitCode superviseHere(const UpOptions& options, const ClusterDirectory& directory, const ClusterPlan& plan,
                       Reporter& reporter, const std::function<void()>& whenUp) {
  try {
    auto lock = becomeSupervisor(directory);
    if (!lock) throw Failure("another `cairn up` is starting this cluster just now: try again in a moment");
    return Foreman(options, directory, plan, reporter).run(whenUp);
  } catch (const Failure& failure) {
    reporter.say(failure.what(), Word::FAILURE);
    return failure.code;
  }
}

bool allServe(const ClusterDirectory& directory, const std::vector<DaemonSpec>& specs) {
  std::error_code error;
  for (auto& spec : specs) {
    if (!findRunning(spec) || !fs::exists(spec.readyFile, error)) return false;
  }
  for (auto& record : readState(directory)) {
    if (record.state != "up") return false;
  }
  return true;
}

ExitCode finish(const UpOptions& options, const ClusterDirectory& directory, const ClusterPlan& plan,
                std::string_view state) {
  printSummary(options, directory, plan, state);
  return allServe(directory, directory.daemons(plan, programsDirectory())) ? ExitCode::DONE
                                                                           : ExitCode::UNHEALTHY;
}

ExitCode superviseDetached(const UpOptions& options, const ClusterDirectory& directory,
                           const ClusterPlan& plan) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Failure(std::string("cannot make a pipe: ") + std::strerror(errno));
  pid_t child = fork();
  if (child < 0) throw Failure(std::string("cannot start the supervisor: ") + std::strerror(errno));
  if (child == 0) {
    setsid();
    close(ends[0]);
    int log = open(directory.logFile("supervisor").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(input, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    Reporter reporter(directory.logFile("supervisor"), throughPipe(ends[1]));
    auto code = superviseHere(options, directory, plan, reporter, [&]() {
      reporter.nobodyWaits();
      close(ends[1]);  // tells the one who waits
    });
    _exit(static_cast<int>(code));
  }
  close(ends[1]);
  supervisorToStop = child;
  struct sigaction onInterrupt{};
  onInterrupt.sa_handler = [](int) { kill(supervisorToStop, SIGTERM); };  // and go on to hear how it ends
  onInterrupt.sa_flags = SA_RESTART;
  sigaction(SIGINT, &onInterrupt, nullptr);

  bool done = false, told = false;
  FILE* lines = fdopen(ends[0], "r");
  char* line = nullptr;
  size_t capacity = 0;
  for (ssize_t length; (length = getline(&line, &capacity, lines)) > 0;) {
    auto word = static_cast<Word>(line[0]);
    done = done || word == Word::UP;
    told = told || word == Word::FAILURE;
    print(word, std::string_view(line + 1, static_cast<size_t>(length) - 2), options);
  }
  free(line);
  fclose(lines);
  if (!done && !told) {
    throw Failure("the supervisor has ended before the cluster was up; " +
                  directory.logFile("supervisor").string() +
                  " may say why. No data was touched; run the same `cairn up` once more, it takes over what "
                  "runs by now");
  }
  return done ? finish(options, directory, plan, "up") : ExitCode::FAILED;
}

ExitCode superviseInForeground(const UpOptions& options, const ClusterDirectory& directory,
                               const ClusterPlan& plan) {
  Reporter reporter(directory.logFile("supervisor"),
                    [&](Word word, std::string_view line) { print(word, line, options); });
  return superviseHere(options, directory, plan, reporter, [&]() {
    finish(options, directory, plan, "up");
    if (options.format == Format::TEXT) std::cout << "  (Ctrl-C here stops it as well.)" << std::endl;
  });
}

ExitCode reviveRunning(const UpOptions& options, const ClusterDirectory& directory,
                       const Process& supervisor) {
  auto plan = directory.load();
  if (!plan) throw Failure("a supervisor runs in " + options.dir + ", but there is no cluster.toml");
  checkSame(options, *plan, options.dir);
  auto specs = directory.daemons(*plan, programsDirectory());
  if (allServe(directory, specs)) {
    return finish(options, directory, *plan, "up already");
  }
  sendSignal(supervisor, SIGHUP);
  for (auto deadline = std::chrono::steady_clock::now() + options.patience; !allServe(directory, specs);) {
    if (waitForEnd(supervisor, std::chrono::milliseconds(50))) {
      throw Failure("the supervisor ended meanwhile; see " + directory.logFile("supervisor").string());
    }
    if (std::chrono::steady_clock::now() > deadline) {
      throw Failure("the supervisor runs, but not every daemon serves: `cairn status --dir " + options.dir +
                    "` shows which, and " + (directory.path() / "log").string() + " why");
    }
  }
  return finish(options, directory, *plan, "up again");
}

std::set<uint16_t> portsInUse(const ClusterDirectory& directory, const ClusterPlan& plan) {
  // Of daemons that have outlived their supervisor: they are taken over, ports and all.
  std::set<uint16_t> ports;
  for (auto& daemon : findRunning(directory.daemons(plan, programsDirectory()))) {
    if (daemon.spec.kind == DaemonKind::METASERVER) ports.insert(plan.metaserverPort);
    for (size_t i = 0; i < plan.chunkdPorts.size(); ++i) {
      if (daemon.spec.name == "chunkd-" + std::to_string(i + 1)) ports.insert(plan.chunkdPorts[i]);
    }
  }
  return ports;
}

}  // namespace

ExitCode up(const UpOptions& options) {
  ClusterDirectory directory(fs::weakly_canonical(fs::absolute(options.dir)));
  programsDirectory();  // refuses before anything is made
  if (auto supervisor = findSupervisor(directory)) return reviveRunning(options, directory, *supervisor);
  auto before = directory.load();
  auto plan = makePlan(options, before);
  auto held = before ? portsInUse(directory, *before) : std::set<uint16_t>();
  auto notices =
      choosePorts(plan, [&](uint16_t port) { return held.contains(port) || canListen(plan.host, port); });
  for (auto& notice : notices) std::cerr << "cairn up: " << notice << std::endl;
  prepareMountPoint(plan, directory.path());
  directory.prepare();
  directory.save(plan);
  return options.mode == Mode::DETACHED ? superviseDetached(options, directory, plan)
                                        : superviseInForeground(options, directory, plan);
}

}  // namespace cairn::cli
