// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// From a path to the cluster and the inode behind it. Used by info and append.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cairn::cli {

struct MountedFile {
  uint64_t inode = 0;
  std::vector<std::string> metaservers;  // HOST:PORT, at least one
  std::string mountPath;
};

MountedFile findMountedFile(const std::string& path);
// Does not follow a symlink at the end. Throws Failure: no such file, not in a cairn mount.

struct PathInCluster {
  std::vector<std::string> metaservers;  // HOST:PORT, at least one
  std::string path;                      // from the root of the filesystem: "/", "/a/b"
};
std::optional<PathInCluster> pathInMount(const std::string& path);
// Also of what is not there any more. Nothing: it is not in a cairn mount.

MountedFile openMountedFile(const std::string& path);
// As open(2) with O_WRONLY | O_CREAT does, so that the kernel checks permissions and follows links; then as
// above.

}  // namespace cairn::cli
