// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/cluster_plan.h"

#include <algorithm>

namespace cairn::cli {

namespace {

namespace fs = std::filesystem;

constexpr uint32_t CHUNKDS_MAX = 100;  // on one machine, under one supervisor
constexpr uint32_t REPLICAS_MAX = 16;

void check(const ClusterPlan& plan) {
  auto chunkds = plan.chunkdPorts.size();
  if (plan.replicas < 1 || plan.replicas > REPLICAS_MAX) {
    throw Failure("--replicas is a number from 1 to " + std::to_string(REPLICAS_MAX), ExitCode::USAGE);
  }
  if (plan.replicas > chunkds) {
    throw Failure("--replicas " + std::to_string(plan.replicas) +
                      " needs as many chunk daemons, and there are " + std::to_string(chunkds) +
                      ": raise --chunkds or lower --replicas",
                  ExitCode::USAGE);
  }
  if (plan.minReplicas < 1 || plan.minReplicas > plan.replicas) {
    throw Failure(
        "--min-replicas is a number from 1 to --replicas, which is " + std::to_string(plan.replicas),
        ExitCode::USAGE);
  }
}

}  // namespace

ClusterPlan makePlan(const UpOptions& options, const std::optional<ClusterPlan>& before) {
  if (options.metaservers != 1) {
    throw Failure("--metaservers " + std::to_string(options.metaservers) +
                      ": a replicated metaserver is not in this release; there is one",
                  ExitCode::USAGE);
  }
  auto plan = before.value_or(ClusterPlan());
  auto had = before ? before->chunkdPorts.size() : 0;
  auto chunkds = options.chunkds.value_or(before ? static_cast<uint32_t>(had) : 3);
  if (chunkds < 1 || chunkds > CHUNKDS_MAX) {
    throw Failure("--chunkds is a number from 1 to " + std::to_string(CHUNKDS_MAX), ExitCode::USAGE);
  }
  if (chunkds < had) {
    throw Failure("this cluster has " + std::to_string(had) + " chunk daemons, and --chunkds " +
                      std::to_string(chunkds) + " would leave out data: it can only grow",
                  ExitCode::USAGE);
  }
  plan.chunkdPorts.resize(chunkds, 0);
  bool fresh = !before;
  if (fresh) plan.replicas = std::min<uint32_t>(plan.replicas, chunkds);
  if (options.replicas) plan.replicas = *options.replicas;
  if (fresh || options.replicas) plan.minReplicas = std::min<uint32_t>(2, plan.replicas);
  if (options.minReplicas) plan.minReplicas = *options.minReplicas;
  if (options.commit) plan.commit = *options.commit;
  if (options.trashKeep) plan.trashKeep = *options.trashKeep;
  if (options.host) plan.host = *options.host;
  if (options.mountOptions) plan.mountOptions = *options.mountOptions;
  if (options.metaserverOptions) plan.metaserverOptions = *options.metaserverOptions;
  if (options.chunkdOptions) plan.chunkdOptions = *options.chunkdOptions;
  if (!options.mount.empty()) plan.mount = fs::weakly_canonical(fs::absolute(options.mount)).string();
  check(plan);
  return plan;
}

void checkSame(const UpOptions& options, const ClusterPlan& running, const std::string& dir) {
  if (makePlan(options, running) == running) return;
  throw Failure("the cluster in " + dir + " is up with other options: stop it first with `cairn down --dir " +
                dir + "`, then start it with the new ones");
}

void prepareMountPoint(const ClusterPlan& plan, const fs::path& clusterDirectory) {
  if (plan.mount.empty()) return;
  if (auto mounted = mountAt(readMountTable(), plan.mount)) {
    if (mounted->isCairn() && mounted->source == plan.metaserver()) return;  // ours, from before
    throw Failure(plan.mount + " is busy: a " + mounted->type + " filesystem (" + mounted->source +
                  ") is mounted there. Unmount it, or take another directory");
  }
  std::error_code error;
  fs::path path(plan.mount);
  auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    bool isInside = !path.lexically_relative(clusterDirectory).native().starts_with("..");
    if (isInside) fs::create_directories(path.parent_path(), error);
    if (!fs::create_directory(path, error)) {
      throw Failure("the mount point " + plan.mount +
                    " does not exist and cannot be made: " + error.message());
    }
    return;
  }
  if (status.type() != fs::file_type::directory)
    throw Failure("the mount point " + plan.mount + " is not a directory");
  if (!fs::is_empty(path, error) && !error) {
    throw Failure("the mount point " + plan.mount +
                  " is not empty, and a mount would hide what is in it: take an empty directory");
  }
}

}  // namespace cairn::cli
