// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The commands of `cairn`, one file each. Each does its work, prints, and answers the exit code; it throws
// Failure with a sentence when it cannot. Called by main.cc, which knows the command line.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/failure.h"
#include "cli/supervisor.h"

namespace cairn::cli {

enum class Format { TEXT, JSON };
enum class Mode { FOREGROUND, DETACHED };
enum class Force { NO, YES };

struct UpOptions {
  std::string dir, mount;
  // Nothing: what the directory was started with before, else the default.
  std::optional<uint32_t> chunkds, replicas, minReplicas;
  std::optional<std::string> commit, trashKeep, host, mountOptions, metaserverOptions, chunkdOptions;
  uint32_t metaservers = 1;
  Mode mode = Mode::FOREGROUND;
  Restart restart = Restart::YES;
  Format format = Format::TEXT;
  std::chrono::milliseconds patience{60'000};  // of one that is up: until what is down of it serves again
};
ExitCode up(const UpOptions& options);

struct DownOptions {
  std::string dir;
  Force force = Force::NO;
  Format format = Format::TEXT;
};
ExitCode down(const DownOptions& options);

struct StatusOptions {
  std::string dir, metaserver;  // both empty: ./.cairn, else the cluster of the only cairn mount
  enum class Check { NO, YES } check = Check::NO;  // exit with UNHEALTHY when not everything is well
  Format format = Format::TEXT;
};
ExitCode status(const StatusOptions& options);

struct ClusterChoice {
  std::string dir, metaserver;  // as in StatusOptions
};

struct DrainOptions {
  ClusterChoice cluster;
  std::string server;  // its number, or HOST:PORT
  enum class What { BEGIN, UNDO, REMOVE } what = What::BEGIN;
  Force force = Force::NO;                       // of REMOVE
  enum class Wait { YES, NO } wait = Wait::YES;  // of BEGIN: until it is empty
  Format format = Format::TEXT;
};
ExitCode drain(const DrainOptions& options);

struct RebalanceOptions {
  ClusterChoice cluster;
  enum class What { BEGIN, LOOK } what = What::BEGIN;
  Format format = Format::TEXT;
};
ExitCode rebalance(const RebalanceOptions& options);

struct ReplicasOptions {
  uint32_t replicas = 0;
  std::string path;
  enum class Below { NO, YES } below = Below::NO;
  Format format = Format::TEXT;
};
ExitCode replicas(const ReplicasOptions& options);

struct TrashListOptions {
  ClusterChoice cluster;
  std::string path;  // only what was there or below; empty: all
  Format format = Format::TEXT;
};
ExitCode listTrash(const TrashListOptions& options);

struct TrashRestoreOptions {
  ClusterChoice cluster;
  std::string what;  // number, or path
  std::string to;    // a path in a mount; empty: where it was
  Format format = Format::TEXT;
};
ExitCode restoreTrash(const TrashRestoreOptions& options);

struct TrashPurgeOptions {
  ClusterChoice cluster;
  std::vector<std::string> what;  // numbers, or paths: what was there or below
  enum class All { NO, YES } all = All::NO;
  Format format = Format::TEXT;
};
ExitCode purgeTrash(const TrashPurgeOptions& options);

struct TrashKeepOptions {
  std::string path;
  std::string time;  // a duration, or "default"; empty: only look
  enum class Below { NO, YES } below = Below::NO;
  Format format = Format::TEXT;
};
ExitCode keepTrash(const TrashKeepOptions& options);

struct QuotaSetOptions {
  std::string path;
  std::optional<std::string> bytes, inodes;  // nothing: as it was
  enum class What { SET, CLEAR } what = What::SET;
  Format format = Format::TEXT;
};
ExitCode setQuota(const QuotaSetOptions& options);

struct QuotaGetOptions {
  std::string path;
  Format format = Format::TEXT;
};
ExitCode getQuota(const QuotaGetOptions& options);

struct QuotaListOptions {
  ClusterChoice cluster;
  Format format = Format::TEXT;
};
ExitCode listQuotas(const QuotaListOptions& options);

struct SnapshotOptions {
  std::string source, target;
  Format format = Format::TEXT;
};
ExitCode snapshot(const SnapshotOptions& options);

struct BackupOptions {
  ClusterChoice cluster;
  std::string target;
  Format format = Format::TEXT;
};
ExitCode backup(const BackupOptions& options);

struct CheckpointOptions {
  ClusterChoice cluster;
  Format format = Format::TEXT;
};
ExitCode checkpoint(const CheckpointOptions& options);

struct FsckOptions {
  ClusterChoice cluster;
  enum class Repair { NO, YES } repair = Repair::NO;
  enum class Data { NO, YES } data = Data::NO;       // read and compare all bytes
  enum class Kept { KEEP, DROP } kept = Kept::KEEP;  // what a restore has kept
  Format format = Format::TEXT;
};
ExitCode fsck(const FsckOptions& options);

struct InfoOptions {
  std::string path;
  Format format = Format::TEXT;
};
ExitCode info(const InfoOptions& options);

struct AppendOptions {
  std::string file;
  std::optional<std::string> data;  // nothing: all of standard input
  enum class Sync { NO, YES } sync = Sync::NO;
  Format format = Format::TEXT;
};
ExitCode append(const AppendOptions& options);

}  // namespace cairn::cli
