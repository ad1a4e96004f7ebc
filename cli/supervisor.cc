// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/supervisor.h"

#include <kj/debug.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "cli/failure.h"
#include "cli/mount_table.h"

namespace cairn::cli {

namespace {

namespace fs = std::filesystem;

constexpr kj::Duration START_PATIENCE =
    60 * kj::SECONDS;  // until a daemon serves; a long log is replayed first
constexpr size_t LOG_LINES_SHOWN = 6;

void detachDeadMount(const std::string& path, const Journal& journal) {
  // A killed FUSE daemon leaves its mount behind, and a new one would be hidden below or refused.
  auto mount = mountAt(readMountTable(), path);
  if (!mount || !mount->isCairn()) return;
  journal("a dead mount is at " + path + " -> detach it");
  if (umount2(path.c_str(), MNT_DETACH) == 0) return;
  auto fusermount = fork();
  if (fusermount == 0) {  // who is not root may unmount what is his, through this helper
    execlp("fusermount3", "fusermount3", "-u", "-z", "-q", path.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  if (fusermount > 0) waitpid(fusermount, nullptr, 0);
}

kj::AutoCloseFd newWatch(const fs::path& directory) {
  constexpr uint32_t EVENTS = IN_MOVED_TO | IN_CREATE | IN_CLOSE_WRITE;
  kj::AutoCloseFd handle(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (handle.get() < 0 || inotify_add_watch(handle.get(), directory.c_str(), EVENTS) < 0) {
    int problem = errno;
    throw Failure("cannot watch " + directory.string() + ": " + std::strerror(problem) +
                  (problem == EMFILE ? "; raise fs.inotify.max_user_instances, or `ulimit -n`" : ""));
  }
  return handle;
}

std::string firstLine(const fs::path& path) {
  auto text = readWhole(path).value_or("");
  return text.substr(0, text.find('\n'));
}

void stopGroup(std::vector<RunningDaemon>& daemons, DaemonKind kind, std::chrono::milliseconds patience,
               const Journal& journal) {
  auto deadline = std::chrono::steady_clock::now() + patience;
  for (auto& daemon : daemons) {
    if (daemon.spec.kind == kind) sendSignal(daemon.process, SIGTERM);
  }
  for (auto& daemon : daemons) {
    if (daemon.spec.kind != kind) continue;
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (!waitForEnd(daemon.process, std::max(left, std::chrono::milliseconds(0)))) {
      journal(daemon.spec.name + " has not ended after " + std::to_string(patience.count()) +
              " ms -> kill it");
      sendSignal(daemon.process, SIGKILL);
      waitForEnd(daemon.process, KILL_PATIENCE);
    }
    journal(daemon.spec.name + ' ' + describeExit(daemon.process));
    std::error_code ignored;
    fs::remove(daemon.spec.pidFile, ignored);
    fs::remove(daemon.spec.readyFile, ignored);
  }
}

}  // namespace

std::string toText(DaemonState state) {
  switch (state) {
    case DaemonState::DOWN:
      return "down";
    case DaemonState::STARTING:
      return "starting";
    case DaemonState::UP:
      return "up";
    case DaemonState::PAUSING:
      return "restarting";
    case DaemonState::UNMOUNTED:
      return "unmounted";
  }
  return "unknown";
}

std::vector<DaemonRecord> readState(const ClusterDirectory& directory) {
  std::vector<DaemonRecord> records;
  auto text = readWhole(directory.statePath());
  if (!text) return records;
  try {
    auto state = toml::parse(*text);
    if (auto* list = state["daemon"].as_array()) {
      for (auto& node : *list) {
        auto* table = node.as_table();
        if (table == nullptr) continue;
        auto& entry = *table;
        records.push_back({entry["name"].value_or(std::string()), entry["state"].value_or(std::string()),
                           entry["pid"].value_or<int64_t>(0), entry["restarts"].value_or<int64_t>(0),
                           entry["address"].value_or(std::string()),
                           entry["last_exit"].value_or(std::string())});
      }
    }
  } catch (const toml::parse_error&) {
    records.clear();  // only a view of what the pid files say; the supervisor writes it anew
  }
  return records;
}

class Supervisor::Daemon {
 public:
  explicit Daemon(DaemonSpec spec) : spec(std::move(spec)) {}

  void run(Process fresh, kj::UnixEventPort& port, kj::TimePoint now) {
    KJ_REQUIRE(!process, "a second process of one daemon", spec.name.c_str());
    process = std::move(fresh);
    observer = kj::heap<kj::UnixEventPort::FdObserver>(port, process->handle.get(),
                                                       kj::UnixEventPort::FdObserver::OBSERVE_READ);
    ended = observer->whenBecomesReadable().fork();  // at once: the edge comes only one time
    startedAt = now;
  }

  Process release() {
    // The observer goes before the handle that it observes.
    ended = nullptr;
    observer = nullptr;
    auto result = std::move(*process);
    process.reset();
    return result;
  }

  void over() {
    (void)release();
    std::error_code ignored;
    fs::remove(spec.pidFile, ignored);
    fs::remove(spec.readyFile, ignored);
  }

  kj::Promise<void> whenEnded() { return KJ_ASSERT_NONNULL(ended).addBranch(); }

  const DaemonSpec spec;
  DaemonState state = DaemonState::DOWN;
  std::optional<Process> process;  // INVARIANT: set while it has not been seen to end
  kj::TimePoint startedAt = kj::origin<kj::TimePoint>();
  uint32_t restarts = 0;
  std::string lastExit;
  RestartPolicy policy;
  kj::Own<kj::PromiseFulfiller<void>> wake;  // set while it waits to be started again

 private:
  kj::Own<kj::UnixEventPort::FdObserver> observer;  // of process->handle
  kj::Maybe<kj::ForkedPromise<void>> ended;
};

class Supervisor::ReadyFiles {
  // Tells when a file appears in D/run. Daemons rename theirs into place, so what appears is whole.
 public:
  ReadyFiles(kj::UnixEventPort& port, const fs::path& directory)
      : handle(newWatch(directory)),
        observer(port, handle.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ) {
    watcher = watch().eagerlyEvaluate(nullptr);
  }

  kj::Promise<void> whenThere(fs::path path) {
    std::error_code error;
    if (fs::exists(path, error)) return kj::READY_NOW;
    auto paf = kj::newPromiseAndFulfiller<void>();
    waiting.push_back({std::move(path), kj::mv(paf.fulfiller)});
    return kj::mv(paf.promise);
  }

 private:
  struct Waiting {
    fs::path path;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  kj::AutoCloseFd handle;
  kj::UnixEventPort::FdObserver observer;
  std::vector<Waiting> waiting;
  kj::Promise<void> watcher = nullptr;

  Async<void> watch() {
    for (;;) {
      char events[4096];
      while (read(handle.get(), events, sizeof(events)) > 0) {
      }
      std::erase_if(waiting, [](Waiting& one) {
        std::error_code error;
        if (one.fulfiller->isWaiting() && !fs::exists(one.path, error)) return false;
        one.fulfiller->fulfill();
        return true;
      });
      co_await observer.whenBecomesReadable();
    }
  }
};

Supervisor::Supervisor(kj::UnixEventPort& port, kj::Timer& timer, const ClusterDirectory& directory,
                       Restart restart, Journal journal)
    : port(port),
      timer(timer),
      directory(directory),
      restart(restart),
      journal(std::move(journal)),
      readyFiles(kj::heap<ReadyFiles>(port, directory.runPath())) {}

Supervisor::~Supervisor() noexcept(false) = default;

Async<Problem> Supervisor::start(std::vector<DaemonSpec> specs, size_t chunkdsWanted) {
  for (auto& spec : specs) daemons.push_back(std::make_unique<Daemon>(std::move(spec)));
  for (auto kind : {DaemonKind::METASERVER, DaemonKind::CHUNKD, DaemonKind::FUSE}) {
    auto problem = co_await startAll(kind, kind == DaemonKind::CHUNKD ? chunkdsWanted : 1);
    if (!problem.empty()) co_return problem;
  }
  co_return Problem();
}

Async<Problem> Supervisor::startAll(DaemonKind kind, size_t wanted) {
  std::vector<kj::Promise<Problem>> starting;
  for (auto& daemon : daemons) {
    if (daemon->spec.kind == kind) starting.push_back(launch(*daemon));
  }
  size_t serving = 0, all = starting.size();
  Problem problems;
  for (auto& promise : starting) {
    auto problem = co_await promise;
    if (problem.empty()) ++serving;
    problems += (problems.empty() || problem.empty() ? "" : "\n") + problem;
  }
  if (serving < std::min(wanted, all)) co_return problems;
  if (serving < all) journal("WARNING: " + problems);
  co_return Problem();
}

kj::Promise<Problem> Supervisor::launch(Daemon& daemon) {
  if (auto running = cli::findRunning(daemon.spec)) {
    journal(daemon.spec.name + " runs already (pid " + std::to_string(running->pid) + ") -> take it over");
    daemon.run(std::move(*running), port, timer.now());
    record(daemon, DaemonState::STARTING);
    return untilServing(daemon);
  }
  if (daemon.spec.kind == DaemonKind::FUSE) detachDeadMount(daemon.spec.mount, journal);
  std::error_code ignored;
  fs::remove(daemon.spec.readyFile, ignored);
  try {
    daemon.run(spawn(daemon.spec), port, timer.now());
  } catch (const Failure& failure) {
    record(daemon, DaemonState::DOWN);
    return Problem(failure.what());
  }
  record(daemon, DaemonState::STARTING);
  return untilServing(daemon);
}

Async<Problem> Supervisor::untilServing(Daemon& daemon) {
  enum class Event { SERVES, ENDED, LATE };
  auto event = co_await readyFiles->whenThere(daemon.spec.readyFile)
                   .then([]() { return Event::SERVES; })
                   .exclusiveJoin(daemon.whenEnded().then([]() { return Event::ENDED; }))
                   .exclusiveJoin(timer.afterDelay(START_PATIENCE).then([]() { return Event::LATE; }));
  switch (event) {
    case Event::SERVES:
      journal(
          daemon.spec.name + " serves" +
          (daemon.spec.mount.empty() ? " on " + firstLine(daemon.spec.readyFile) : " " + daemon.spec.mount) +
          " (pid " + std::to_string(daemon.process->pid) + ")");
      record(daemon, DaemonState::UP);
      co_return Problem();
    case Event::ENDED:
      // keepOne() takes note of the end; here it only has to be told.
      co_return explain(daemon, "ended before it served");
    case Event::LATE:
      break;
  }
  co_return explain(daemon,
                    "has not begun to serve within " + std::to_string(START_PATIENCE / kj::SECONDS) + " s");
}

Problem Supervisor::explain(Daemon& daemon, const std::string& what) {
  Problem problem = daemon.spec.name + ' ' + what + ". The end of " + daemon.spec.logFile.string() + ":";
  auto lines = lastLines(daemon.spec.logFile, LOG_LINES_SHOWN);
  for (auto& line : lines) problem += "\n    " + line;
  if (lines.empty()) problem += "\n    (it is empty)";
  return problem;
}

kj::Promise<void> Supervisor::keep() {
  auto all = kj::heapArrayBuilder<kj::Promise<void>>(daemons.size());
  for (auto& daemon : daemons) all.add(keepOne(*daemon));
  return kj::joinPromises(all.finish());
}

Async<void> Supervisor::keepOne(Daemon& daemon) {
  for (;;) {
    kj::Maybe<kj::Duration> length = RestartPolicy::FIRST_PAUSE;  // of one that could not even be executed
    if (daemon.process) {
      co_await daemon.whenEnded();
      length = noteEnd(daemon);
    }
    co_await pause(daemon, length);
    ++daemon.restarts;
    auto problem = co_await launch(daemon);
    if (!problem.empty()) journal(problem);
  }
}

kj::Maybe<kj::Duration> Supervisor::noteEnd(Daemon& daemon) {
  // Nothing: it stays down until revive().
  daemon.lastExit = describeExit(*daemon.process);
  auto what = daemon.spec.name + " (pid " + std::to_string(daemon.process->pid) + ") " + daemon.lastExit;
  auto ranFor = timer.now() - daemon.startedAt;
  daemon.over();
  if (daemon.spec.kind == DaemonKind::FUSE && !mountAt(readMountTable(), daemon.spec.mount) &&
      (cleanExit(daemon.lastExit) || daemon.lastExit == "ended")) {
    journal(what + ": " + daemon.spec.mount + " has been unmounted -> leave it so until `cairn up`");
    record(daemon, DaemonState::UNMOUNTED);
    return nullptr;
  }
  if (restart == Restart::NO) {
    journal(what + " -> leave it down (--no-restart) until `cairn up`");
    record(daemon, DaemonState::DOWN);
    return nullptr;
  }
  auto length = daemon.policy.pauseAfter(ranFor);
  journal(what + " -> start it again in " + std::to_string(length / kj::MILLISECONDS) + " ms");
  record(daemon, DaemonState::PAUSING);
  return length;
}

Async<void> Supervisor::pause(Daemon& daemon, kj::Maybe<kj::Duration> length) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  daemon.wake = kj::mv(paf.fulfiller);
  KJ_IF_MAYBE (known, length) {
    co_await paf.promise.exclusiveJoin(timer.afterDelay(*known));
  } else {
    co_await paf.promise;
  }
  daemon.wake = nullptr;
}

void Supervisor::revive() {
  for (auto& daemon : daemons) {
    if (daemon->wake.get() != nullptr) daemon->wake->fulfill();
  }
}

void Supervisor::stop(StopPatience patience) {
  std::vector<RunningDaemon> running;
  for (auto& daemon : daemons) {
    if (daemon->process) running.push_back({daemon->spec, daemon->release()});
  }
  stopDaemons(std::move(running), journal, patience);
  for (auto& daemon : daemons) daemon->state = DaemonState::DOWN;
  std::error_code ignored;
  fs::remove(directory.statePath(), ignored);
}

void Supervisor::record(Daemon& daemon, DaemonState state) {
  daemon.state = state;
  toml::array list;
  for (auto& one : daemons) {
    list.push_back(toml::table{{"name", one->spec.name},
                               {"state", toText(one->state)},
                               {"pid", int64_t(one->process ? one->process->pid : 0)},
                               {"restarts", int64_t(one->restarts)},
                               {"address", firstLine(one->spec.readyFile)},
                               {"last_exit", one->lastExit}});
  }
  std::ostringstream text;
  text << "# Written by the supervisor at each change; `cairn status` shows it.\n"
       << toml::table{{"daemon", std::move(list)}} << '\n';
  try {
    writeWhole(directory.statePath(), text.str());
  } catch (const Failure& failure) {
    // It is a view for people: no daemon goes without being watched for want of it.
    journal("WARNING: " + std::string(failure.what()) + " -> `cairn status` may show what was before");
  }
}

std::vector<RunningDaemon> findRunning(const std::vector<DaemonSpec>& specs) {
  std::vector<RunningDaemon> running;
  for (auto& spec : specs) {
    if (auto process = findRunning(spec)) running.push_back({spec, std::move(*process)});
  }
  return running;
}

void stopDaemons(std::vector<RunningDaemon> daemons, const Journal& journal, StopPatience patience) {
  stopGroup(daemons, DaemonKind::FUSE, patience.flush, journal);
  stopGroup(daemons, DaemonKind::METASERVER, patience.stop, journal);
  stopGroup(daemons, DaemonKind::CHUNKD, patience.stop, journal);
}

}  // namespace cairn::cli
