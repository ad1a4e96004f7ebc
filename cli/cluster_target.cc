// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/cluster_target.h"

#include <map>

#include "cli/mount_table.h"

namespace cairn::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view DEFAULT_DIR = ".cairn";

}  // namespace

ClusterTarget findCluster(const ClusterChoice& choice) {
  if (!choice.metaserver.empty()) return {choice.metaserver, {}, {}};
  auto dir = choice.dir.empty() ? std::string(DEFAULT_DIR) : choice.dir;
  ClusterDirectory directory(fs::weakly_canonical(fs::absolute(dir)));
  if (auto plan = directory.load()) return {plan->metaserver(), directory, plan};
  if (!choice.dir.empty())
    throw Failure("there is no cluster in " + directory.path().string() + ": no cluster.toml");
  std::map<std::string, std::string> clusters;  // source -> mount point
  for (auto& mount : readMountTable()) {
    if (mount.isCairn()) clusters.emplace(mount.source, mount.path);
  }
  if (clusters.size() != 1) {
    throw Failure("which cluster? " +
                      std::string(clusters.empty() ? "None is mounted here" : "Several are mounted here") +
                      ", and there is no ./.cairn: say --dir D or --metaserver HOST:PORT",
                  ExitCode::USAGE);
  }
  return {splitAddresses(clusters.begin()->first).at(0), {}, {}};
}

}  // namespace cairn::cli
