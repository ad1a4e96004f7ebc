// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What is mounted where, as /proc/self/mountinfo tells it: how `cairn` finds the cluster behind a path
// without asking the filesystem, which may hang. Pure but for readMountTable().
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::cli {

constexpr std::string_view CAIRN_MOUNT_TYPE =
    "fuse.cairn";  // the source of such a mount is HOST:PORT[,HOST:PORT]

struct MountPoint {
  uint32_t major = 0, minor = 0;  // st_dev of everything in it
  std::string path, type, source;
  bool isCairn() const;  // and says where its metaserver is
};

std::vector<MountPoint> parseMountTable(std::string_view mountinfo);
// In the order of mounting. A line that does not have the documented form is left out.

std::vector<MountPoint> readMountTable();

std::optional<MountPoint> mountAt(const std::vector<MountPoint>& table, std::string_view path);
// The one that is on top of exactly this absolute path.

std::optional<MountPoint> mountOfDevice(const std::vector<MountPoint>& table, dev_t device);

std::vector<std::string> splitAddresses(std::string_view source);  // at commas; empty ones left out

struct MountHolder {
  pid_t pid = 0;
  std::string program;  // its name
  std::string what;     // how it holds the mount: "working directory", "open /mnt/a", ...
};
std::vector<MountHolder> holdersOf(std::string_view mountPath);
// The processes we may look at that keep the mount busy. Reads links in /proc only: works on a dead mount.

}  // namespace cairn::cli
