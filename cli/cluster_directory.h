// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The directory of a local cluster, as `cairn up --dir D` makes it:
//   D/cluster.toml      how the cluster is started: ports, replicas, mount point; kept for the next start
//   D/client.toml       metaservers = ["HOST:PORT"], for whoever mounts it
//   D/metaserver-1, D/chunkd-1, ...   the data, one directory for each daemon
//   D/log/NAME.log      of each daemon, and of the supervisor
//   D/run/NAME.pid      of each running daemon; NAME.ready once it serves; state.toml: what the supervisor
//   knows
// Everything in D/run may be deleted while nothing runs. Used by up, down and status.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace cairn::cli {

constexpr uint16_t METASERVER_PORT = 9400, CHUNKD_PORT = 9410;  // where the search for free ports begins

struct ClusterPlan {
  // What is started. A port of 0 is yet to be chosen.
  std::string host = "127.0.0.1";
  uint16_t metaserverPort = 0;
  std::vector<uint16_t> chunkdPorts;
  uint32_t replicas = 3, minReplicas = 2;
  std::string commit = "memory";
  std::string trashKeep = "1d";
  std::string mount;                             // absolute; empty: not mounted
  std::string mountOptions;                      // for -o; may be empty
  std::string metaserverOptions, chunkdOptions;  // further words for the daemons, separated by spaces

  std::string metaserver() const { return host + ':' + std::to_string(metaserverPort); }
  bool operator==(const ClusterPlan&) const = default;
};

std::string toToml(const ClusterPlan& plan);
ClusterPlan planFromToml(std::string_view text, std::string_view path);
// Throws Failure with a sentence that names `path`: not TOML, a newer format, a value that makes no sense.

using PortIsFree = std::function<bool(uint16_t)>;
std::vector<std::string> choosePorts(ClusterPlan& plan, const PortIsFree& isFree);
// Gives every daemon a port that is free and its own: the one it had, else the next above. Answers a sentence
// for each daemon that has lost the port it had.
bool canListen(const std::string& host, uint16_t port);

enum class DaemonKind { METASERVER, CHUNKD, FUSE };

struct DaemonSpec {
  DaemonKind kind = DaemonKind::METASERVER;
  std::string name;  // metaserver-1, chunkd-3, fuse-1
  std::filesystem::path program;
  std::vector<std::string> arguments;  // without argv[0]
  std::filesystem::path pidFile, readyFile, logFile;
  std::string mount;  // of a FUSE daemon
};

class ClusterDirectory {
 public:
  explicit ClusterDirectory(std::filesystem::path path) : root(std::move(path)) {}

  const std::filesystem::path& path() const { return root; }
  std::filesystem::path runPath() const { return root / "run"; }
  std::filesystem::path statePath() const { return runPath() / "state.toml"; }
  std::filesystem::path pidFile(std::string_view name) const;
  std::filesystem::path logFile(std::string_view name) const;

  std::optional<ClusterPlan> load() const;  // nothing: D has not been used yet
  void prepare() const;                     // makes the directories
  void save(const ClusterPlan& plan) const;

  std::vector<DaemonSpec> daemons(const ClusterPlan& plan, const std::filesystem::path& programs) const;
  // In the order of starting; the data directories of a plan always get the same names.

 private:
  std::filesystem::path root;
};

void writeWhole(const std::filesystem::path& path, std::string_view content);  // atomically
std::optional<std::string> readWhole(const std::filesystem::path& path);
std::vector<std::string> lastLines(const std::filesystem::path& path, size_t count);

std::filesystem::path programsDirectory();
// Where cairn-metaserver and its siblings are: $CAIRN_PROGRAMS, else beside this program, else in PATH.

}  // namespace cairn::cli
