// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Which cluster a command is about, when it may be said in several ways or not at all.
#pragma once

#include <optional>
#include <string>

#include "cli/cluster_directory.h"
#include "cli/commands.h"

namespace cairn::cli {

struct ClusterTarget {
  std::string metaserver;
  std::optional<ClusterDirectory> directory;  // of a local cluster
  std::optional<ClusterPlan> plan;
};

ClusterTarget findCluster(const ClusterChoice& choice);
// The one that is named; else that in ./.cairn; else that of the only cairn mount. Throws Failure with a
// sentence.

}  // namespace cairn::cli
