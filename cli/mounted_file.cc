// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/mounted_file.h"

#include <fcntl.h>
#include <kj/io.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "cli/failure.h"
#include "cli/mount_table.h"

namespace cairn::cli {

namespace {

MountedFile locate(const std::string& path, const struct stat& attributes) {
  auto mount = mountOfDevice(readMountTable(), attributes.st_dev);
  if (!mount || !mount->isCairn()) throw Failure(path + " is not in a mounted CairnFS");
  return {attributes.st_ino, splitAddresses(mount->source), mount->path};
}

}  // namespace

MountedFile findMountedFile(const std::string& path) {
  struct stat attributes{};
  if (lstat(path.c_str(), &attributes) != 0) throw Failure(path + ": " + std::strerror(errno));
  return locate(path, attributes);
}

std::optional<PathInCluster> pathInMount(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  auto whole = fs::weakly_canonical(fs::absolute(path), error);
  if (error) whole = fs::absolute(path).lexically_normal();
  auto text = whole.string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  std::optional<MountPoint> best;
  for (auto& mount : readMountTable()) {
    bool inside = mount.path == "/" || text == mount.path || text.starts_with(mount.path + "/");
    if (inside && (!best || mount.path.size() >= best->path.size())) best = mount;
  }
  if (!best || !best->isCairn()) return std::nullopt;
  PathInCluster found{splitAddresses(best->source), text.substr(best->path == "/" ? 0 : best->path.size())};
  if (found.path.empty()) found.path = "/";
  return found;
}

MountedFile openMountedFile(const std::string& path) {
  kj::AutoCloseFd handle(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  struct stat attributes{};
  bool known = handle.get() >= 0 && fstat(handle.get(), &attributes) == 0;
  int problem = errno;
  if (!known) throw Failure(path + ": " + std::strerror(problem));
  if (!S_ISREG(attributes.st_mode)) throw Failure(path + " is not a regular file");
  return locate(path, attributes);
}

}  // namespace cairn::cli
