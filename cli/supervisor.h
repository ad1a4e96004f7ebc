// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Keeps the daemons of one local cluster running: starts them in order, starts again what dies (the first
// time at once, then with growing pauses), says so in its log and in D/run/state.toml, stops them in order.
// It holds no data: killed, it leaves the daemons running, and the next one takes them over by their pid
// files. A mount that somebody has unmounted is not an accident: it is not mounted again until `cairn up`.
// INVARIANT: at most one process per daemon of a cluster; the lock in D/run makes the supervisor the only
// starter.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>

#include <functional>
#include <memory>

#include "cli/process.h"
#include "cli/restart_policy.h"
#include "rpc/coroutine.h"

namespace cairn::cli {

enum class Restart { YES, NO };

enum class DaemonState { DOWN, STARTING, UP, PAUSING, UNMOUNTED };
std::string toText(DaemonState state);

struct DaemonRecord {
  // One daemon as state.toml has it.
  std::string name, state;
  int64_t pid = 0, restarts = 0;
  std::string address;   // what its ready file says
  std::string lastExit;  // "was killed by signal 9 (Killed)"; empty: it has not ended
};
std::vector<DaemonRecord> readState(const ClusterDirectory& directory);

using Problem = std::string;  // a sentence for the user; empty: none
using Journal = std::function<void(const std::string& line)>;

struct StopPatience {
  std::chrono::milliseconds flush{60'000};  // of a mount, which may have to write first
  std::chrono::milliseconds stop{20'000};   // of the others
};

class Supervisor {
 public:
  Supervisor(kj::UnixEventPort& port, kj::Timer& timer, const ClusterDirectory& directory, Restart restart,
             Journal journal);
  ~Supervisor() noexcept(false);
  KJ_DISALLOW_COPY(Supervisor);

  Async<Problem> start(std::vector<DaemonSpec> specs, size_t chunkdsWanted);
  // Starts them, or takes over those that run: the metaserver, then the chunk daemons side by side, then the
  // mount. Answers when all serve, or why they do not; call stop() then. Fewer chunk daemons than there are,
  // but at least `chunkdsWanted`, will do: the rest is tried again by keep().

  kj::Promise<void> keep();               // never ends; what dies is started again
  void revive();                          // starts what is down now, without waiting for the rest of a pause
  void stop(StopPatience patience = {});  // blocks until all have ended; see stopDaemons

 private:
  class Daemon;
  class ReadyFiles;

  kj::UnixEventPort& port;
  kj::Timer& timer;
  ClusterDirectory directory;
  Restart restart;
  Journal journal;
  kj::Own<ReadyFiles> readyFiles;
  std::vector<std::unique_ptr<Daemon>> daemons;

  Async<Problem> startAll(DaemonKind kind, size_t wanted);
  kj::Promise<Problem> launch(Daemon& daemon);
  Async<Problem> untilServing(Daemon& daemon);
  Async<void> keepOne(Daemon& daemon);
  Async<void> pause(Daemon& daemon, kj::Maybe<kj::Duration> length);
  kj::Maybe<kj::Duration> noteEnd(Daemon& daemon);
  Problem explain(Daemon& daemon, const std::string& what);
  void record(Daemon& daemon, DaemonState state);
};

struct RunningDaemon {
  DaemonSpec spec;
  Process process;
};
std::vector<RunningDaemon> findRunning(const std::vector<DaemonSpec>& specs);

void stopDaemons(std::vector<RunningDaemon> daemons, const Journal& journal, StopPatience patience = {});
// Mounts first (they still have to write), then the metaserver (so that it does not take the end of the chunk
// daemons for a disaster), then the chunk daemons. Asks (SIGTERM), waits, and insists (SIGKILL) after a
// while.

}  // namespace cairn::cli
