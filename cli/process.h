// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Processes of a local cluster: started, recognised by their pid file, waited for and stopped through a
// pidfd, which cannot be confused by a pid that the kernel has given to somebody else. Used by the supervisor
// and by down.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <kj/io.h>

#include "cli/cluster_directory.h"

namespace cairn::cli {

constexpr std::chrono::milliseconds KILL_PATIENCE{20'000};  // until the kernel has taken down what was killed

struct Process {
  pid_t pid = 0;
  kj::AutoCloseFd handle;  // pidfd: readable once the process has ended
  enum class Origin { CHILD, FOUND } origin = Origin::CHILD;
};

Process spawn(const DaemonSpec& spec);
// With an empty signal mask, standard output and error at the end of its log, its own process group, and as
// many open files as the system allows. Writes the pid file. Throws Failure when the program cannot be
// executed, or its log or pid file cannot be written: then it does not run.

std::optional<Process> findRunning(const DaemonSpec& spec);
// The process that the pid file names, if it is alive and was started for this cluster.

std::optional<Process> findSupervisor(const ClusterDirectory& directory);
std::optional<kj::AutoCloseFd> becomeSupervisor(const ClusterDirectory& directory);
// Nothing: another process is it. The lock lasts as long as what is returned, or this process.

std::string describeExit(const Process& process);
// After its end: "exited with 1", "was killed by signal 9 (Killed)", or "ended" when it is not our child.
// Reaps it.

bool cleanExit(const std::string& description);

bool sendSignal(const Process& process, int signal);  // no: it has already ended
bool waitForEnd(const Process& process, std::chrono::milliseconds limit);

}  // namespace cairn::cli
