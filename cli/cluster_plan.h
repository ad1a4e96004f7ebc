// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What `cairn up` is going to start: the options of this call over what the directory was started with
// before. Pure but for prepareMountPoint().
#pragma once

#include <filesystem>

#include "cli/cluster_directory.h"
#include "cli/commands.h"
#include "cli/mount_table.h"

namespace cairn::cli {

ClusterPlan makePlan(const UpOptions& options, const std::optional<ClusterPlan>& before);
// Throws Failure for what contradicts itself, would lose data, or is not in this release.

void checkSame(const UpOptions& options, const ClusterPlan& running, const std::string& dir);
// Throws Failure when the options ask for another cluster than the one that is up.

void prepareMountPoint(const ClusterPlan& plan, const std::filesystem::path& clusterDirectory);
// Makes the last directory of the path when it is missing, and its parents when they are in the cluster's own
// directory. Throws Failure when nothing can be mounted there: missing parent, not a directory, not empty,
// another filesystem is mounted on it.

}  // namespace cairn::cli
