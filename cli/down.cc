// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn down`: unmounts, stops the daemons in order, waits for each. Nothing is stopped while the mount is
// in use: then it tells by whom. Works as well when the supervisor has died.
#include <errno.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iostream>

#include "cli/commands.h"
#include "cli/mount_table.h"
#include "cli/output.h"

namespace cairn::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds SUPERVISOR_PATIENCE{120'000};  // longer than all it waits for itself
constexpr std::chrono::milliseconds UNMOUNT_PATIENCE{3'000};       // until the mount's process has noticed
constexpr size_t HOLDERS_SHOWN = 10;

int unmountThroughHelper(const std::string& path, Force force) {
  // Who is not root may unmount what is his, through fusermount3.
  pid_t helper = fork();
  if (helper == 0) {
    execlp("fusermount3", "fusermount3", "-u", "-q", force == Force::YES ? "-z" : "--", path.c_str(),
           static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = -1;
  waitpid(helper, &status, 0);
  return status == 0 ? 0 : EBUSY;
}

int unmount(const std::string& path, Force force) {
  if (umount2(path.c_str(), force == Force::YES ? MNT_DETACH : 0) == 0) return 0;
  return errno == EPERM ? unmountThroughHelper(path, force) : errno;
}

Failure busy(const std::string& path, const DownOptions& options) {
  std::string sentence = path + " is in use, so nothing was stopped. It is held by";
  auto holders = holdersOf(path);
  for (size_t i = 0; i < std::min(holders.size(), HOLDERS_SHOWN); ++i) {
    sentence +=
        "\n    " + holders[i].program + " (pid " + std::to_string(holders[i].pid) + "): " + holders[i].what;
  }
  if (holders.size() > HOLDERS_SHOWN) {
    sentence += "\n    and " + plural(holders.size() - HOLDERS_SHOWN, "more process");
  }
  if (holders.empty()) sentence += " a process that this user may not look at, or a mount inside it";
  return Failure(sentence + "\nEnd them and try again; `cairn down --dir " + options.dir +
                     " --force` detaches the mount all the same, and they get errors",
                 ExitCode::BUSY);
}

void endMountProcess(const RunningDaemon& daemon, const DownOptions& options, const Journal& journal) {
  // By itself it ends with the last file that is still open, and with the last copy of the mount: a container
  // that was started meanwhile has one in its namespace. SIGTERM makes it flush and end; it must get it only
  // once here, a second one means to end without flushing.
  if (options.force == Force::NO && waitForEnd(daemon.process, UNMOUNT_PATIENCE)) return;
  journal(daemon.spec.name + " runs on without the mount -> ask it to flush and end");
  sendSignal(daemon.process, SIGTERM);
  waitForEnd(daemon.process, StopPatience().flush);
}

void unmountCluster(const ClusterPlan& plan, const std::vector<RunningDaemon>& running,
                    const DownOptions& options, const Journal& journal) {
  auto mounted = plan.mount.empty() ? std::nullopt : mountAt(readMountTable(), plan.mount);
  if (!mounted || !mounted->isCairn()) return;
  if (int problem = unmount(plan.mount, options.force)) {
    if (problem == EBUSY) throw busy(plan.mount, options);
    throw Failure("cannot unmount " + plan.mount + ": " + std::strerror(problem) +
                  ". Nothing was stopped; is another filesystem mounted above it?");
  }
  journal("unmounted " + plan.mount);
  for (auto& daemon : running) {
    if (daemon.spec.kind == DaemonKind::FUSE) endMountProcess(daemon, options, journal);
  }
}

void warnOfOtherMounts(const ClusterPlan& plan) {
  for (auto& mount : readMountTable()) {
    if (!mount.isCairn() || mount.source != plan.metaserver() || mount.path == plan.mount) continue;
    std::cerr << "cairn down: the cluster is also mounted at " << mount.path
              << ", which waits until it is up again; unmount it with `umount " << mount.path << "`"
              << std::endl;
  }
}

}  // namespace

ExitCode down(const DownOptions& options) {
  ClusterDirectory directory(fs::weakly_canonical(fs::absolute(options.dir)));
  auto plan = directory.load();
  if (!plan) throw Failure("there is no cluster in " + directory.path().string() + ": no cluster.toml");
  auto specs = directory.daemons(*plan, {});
  auto running = findRunning(specs);
  auto supervisor = findSupervisor(directory);
  bool wasUp = supervisor || !running.empty();
  Journal journal = [&](const std::string& line) {
    (options.format == Format::JSON ? std::cerr : std::cout) << "  " << line << std::endl;
  };

  unmountCluster(*plan, running, options, journal);
  warnOfOtherMounts(*plan);
  if (supervisor) {
    sendSignal(*supervisor, SIGTERM);
    if (!waitForEnd(*supervisor, SUPERVISOR_PATIENCE)) {
      journal("the supervisor has not ended -> kill it, and stop the daemons from here");
      sendSignal(*supervisor, SIGKILL);
    }
  }
  stopDaemons(findRunning(specs), journal);  // what the supervisor has left, if anything

  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("dir", directory.path().string()).field("state", "down").field("was_up", wasUp);
    std::cout << json.endObject().text() << std::endl;
  } else {
    std::cout << "The cluster in " << options.dir << (wasUp ? " is down" : " was not up")
              << "; its data stays there. Start it again: cairn up --dir " << options.dir << " --detach"
              << std::endl;
  }
  return ExitCode::DONE;
}

}  // namespace cairn::cli
