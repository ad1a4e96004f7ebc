// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A directory with scripts in the place of our programs, and a cluster directory whose daemons they are.
// INVARIANT: when the object goes, no daemon with a pid file in that directory runs.
#pragma once

#include <signal.h>

#include <fstream>

#include "cli/supervisor.h"
#include "test/support/temporary_directory.h"

namespace cairn::cli {

constexpr const char* OBEDIENT = "#!/bin/sh\nexec " CAIRN_FAKE_DAEMON " \"$@\"\n";
constexpr const char* DEAF = "#!/bin/sh\nexec " CAIRN_FAKE_DAEMON " --deaf \"$@\"\n";
constexpr const char* FAILING = "#!/bin/sh\necho 'the store belongs to another cluster' >&2\nexit 3\n";

class FakePrograms {
 public:
  FakePrograms() {
    directory.prepare();
    std::filesystem::create_directory(programs);
    install("cairn-metaserver", OBEDIENT);
    install("cairn-chunkd", OBEDIENT);
    plan.metaserverPort = 9400;
    plan.chunkdPorts = {9410, 9411};
  }
  ~FakePrograms() {
    for (auto& daemon : findRunning(specs())) {
      sendSignal(daemon.process, SIGKILL);
      waitForEnd(daemon.process, KILL_PATIENCE);
      (void)describeExit(daemon.process);
    }
  }

  void install(const std::string& name, const char* script) {
    std::ofstream(programs / name) << script;
    std::filesystem::permissions(programs / name, std::filesystem::perms::owner_all);
  }
  std::vector<DaemonSpec> specs() const { return directory.daemons(plan, programs); }
  pid_t pidOf(const std::string& name) const {
    for (auto& daemon : findRunning(specs())) {
      if (daemon.spec.name == name) return daemon.process.pid;
    }
    return 0;
  }

  test::TemporaryDirectory temporary;
  std::filesystem::path programs = temporary.path() / "programs";
  ClusterDirectory directory{temporary.path() / "d"};
  ClusterPlan plan;
};

inline void putInTheWay(std::filesystem::path path) {
  // writeWhole() cannot write such a file from now on, nor could anybody else.
  path += ".new";
  std::filesystem::create_directories(path);
}

}  // namespace cairn::cli
