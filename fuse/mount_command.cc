// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/mount_command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <set>
#include <sstream>

#include "fuse/mount_table.h"

namespace cairn::fuse {

namespace {

// Options that mount(8) or libfuse carry out: passed on as they are.
const std::set<std::string> PASSED_ON = {
    "rw",        "ro",          "suid",        "nosuid",     "dev",          "nodev",      "exec",
    "noexec",    "sync",        "async",       "dirsync",    "noatime",      "nodiratime", "norelatime",
    "symfollow", "nosymfollow", "allow_other", "allow_root", "nostrictatime"};
const std::set<std::string> PASSED_ON_WITH_VALUE = {"context", "fscontext", "defcontext", "rootcontext"};

// Options that are for mount(8) itself, or say what is so anyway.
const std::set<std::string> IGNORED = {
    "defaults", "auto",         "noauto",   "user",       "nouser",   "users",
    "owner",    "group",        "_netdev",  "nofail",     "relatime", "strictatime",
    "lazytime", "mand",         "nomand",   "silent",     "loud",     "atime",
    "diratime", "nolazytime",   "iversion", "noiversion", "remount",  "default_permissions",
    "nonempty", "auto_unmount", "comment",  "uhelper",    "helper",   "subtype",
    "fsname"};

double secondsOf(const std::string& key, const std::string& value) {
  char* end = nullptr;
  double result = strtod(value.c_str(), &end);
  if (value.empty() || *end != 0 || !(result >= 0) || result > 86400) {
    throw BadCommand(key + "=" + value + " is not a number of seconds from 0 to 86400");
  }
  return result;
}

void checkAddress(const std::string& address) {
  auto colon = address.rfind(':');
  char* end = nullptr;
  auto port = colon == std::string::npos ? 0 : strtol(address.c_str() + colon + 1, &end, 10);
  if (colon == std::string::npos || colon == 0 || *end != 0 || port < 1 || port > 65535) {
    throw BadCommand("'" + address +
                     "' is not the address of a metaserver. It looks like HOST:PORT, for example "
                     "127.0.0.1:9400");
  }
}

}  // namespace

void parseMountOptions(const std::string& options, MountCommand& command) {
  std::istringstream words(options);
  for (std::string word; std::getline(words, word, ',');) {
    auto equals = word.find('=');
    auto key = word.substr(0, equals), value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (key == "attr_timeout") {
      command.handlers.attributeTimeout = secondsOf(key, value);
    } else if (key == "entry_timeout") {
      command.handlers.entryTimeout = secondsOf(key, value);
    } else if (key == "negative_timeout") {
      command.handlers.negativeTimeout = secondsOf(key, value);
    } else if (key == "read_ahead_kb") {
      char* end = nullptr;
      auto kb = strtoul(value.c_str(), &end, 10);
      if (value.empty() || *end != 0 || kb > 1 << 20) throw BadCommand(word + " is not a number of KiB");
      command.readAheadKb = static_cast<uint32_t>(kb);
    } else if (key == "log_file") {
      command.logFile = value;
    } else if (word == "noatime") {
      command.handlers.accessTimes = HandlerOptions::AccessTimes::NEVER;
      command.mountOptions.push_back(word);
    } else if (word == "nodiratime") {
      command.handlers.accessTimes = HandlerOptions::AccessTimes::FILES;
      command.mountOptions.push_back(word);
    } else if (PASSED_ON.count(word) != 0 || PASSED_ON_WITH_VALUE.count(key) != 0) {
      command.mountOptions.push_back(word);
    } else if (!word.empty() && IGNORED.count(key) == 0 && key.substr(0, 2) != "x-" &&
               key.substr(0, 2) != "X-") {
      throw BadCommand("unknown mount option '" + word +
                       "'. CairnFS knows attr_timeout, entry_timeout, "
                       "negative_timeout, read_ahead_kb, log_file and the generic options of mount(8)");
    }
  }
}

MountCommand parseMountCommand(int argc, const char* const* argv) {
  MountCommand command;
  std::string self = argv[0];
  self = self.substr(self.rfind('/') + 1);
  bool helper = self.substr(0, 6) == "mount.";

  CLI::App app("Mounts a CairnFS file system.", self);
  std::vector<std::string> options;
  std::string level = "info";
  bool flag = false, ignored = false;
  std::string word;
  auto example = helper ? self + " 127.0.0.1:9400 /mnt/cairn -o noatime"
                        : self + " --metaserver 127.0.0.1:9400 /mnt/cairn";
  app.footer("Example: " + example +
             "\nUnmount with: umount DIR (or fusermount3 -u DIR)\n"
             "In /etc/fstab: HOST:PORT  DIR  cairn  defaults,_netdev  0 0");
  if (helper) {
    app.add_option("metaserver", command.metaserver, "HOST:PORT of the metaserver")->required();
    app.add_flag("-f", flag, "fake: only check (see mount(8))");
    app.add_flag("-s,-n,-v", ignored, "as in mount(8); nothing to do");
    app.add_option("-t,-N", word, "as in mount(8); nothing to do");
  } else {
    app.add_option("--metaserver,-m", command.metaserver, "HOST:PORT of the metaserver")->required();
    app.add_flag("-f,--foreground", flag, "stay in the foreground");
  }
  app.add_option("mountpoint", command.mountPoint, "directory to mount on")->required();
  app.add_option("-o", options,
                 "mount options: attr_timeout=SECONDS, entry_timeout=SECONDS, "
                 "negative_timeout=SECONDS, read_ahead_kb=N, log_file=PATH, those of mount(8)");
  app.add_option("--ready-file", command.readyFile,
                 "written when the file system is mounted, removed at the end");
  app.add_option("--pid-file", command.pidFile,
                 "written when the file system is mounted, removed at the end");
  app.add_option("--log-file", command.logFile, "default: stderr; none in the background");
  app.add_option("--log-level", level, "debug, info, warning, error, none");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    throw BadCommand(app.help(), 0);
  } catch (const CLI::ParseError& error) {
    throw BadCommand(std::string(error.what()) + "\nTry: " + example + ", or --help");
  }

  if (flag && helper) command.act = MountCommand::Act::NOTHING;
  if (flag && !helper) command.where = MountCommand::Where::FOREGROUND;
  KJ_IF_MAYBE (parsed, env::parseLogLevel(level.c_str())) {
    command.logLevel = *parsed;
  } else {
    throw BadCommand("--log-level " + level + " is none of debug, info, warning, error, none");
  }
  for (auto& one : options) parseMountOptions(one, command);
  checkAddress(command.metaserver);
  command.mountOptions.push_back("default_permissions");
  command.mountOptions.push_back("fsname=" + command.metaserver);
  command.mountOptions.push_back("subtype=cairn");
  if (geteuid() == 0) command.mountOptions.push_back("allow_other");
  return command;
}

namespace {

std::string mountAbove(const std::string& path) {
  // The one that it is in, by the mount table alone: whoever serves it may be dead.
  auto above = std::filesystem::absolute(path).lexically_normal();
  while (above.has_relative_path() && mountAt(above.c_str()) == nullptr) above = above.parent_path();
  return above.string();
}

}  // namespace

void checkMountPoint(MountCommand& command) {
  auto& path = command.mountPoint;
  std::unique_ptr<char, decltype(&free)> resolved(realpath(path.c_str(), nullptr), &free);
  if (resolved == nullptr) {
    switch (errno) {
      case ENOENT:
        throw BadCommand("the mount point " + path + " does not exist. Make it first: mkdir -p " + path);
      case ENOTCONN:
        throw BadCommand("the mount point " + path +
                         " is in a mount whose process has died. Free that first: umount -l " +
                         mountAbove(path));
      default:
        throw BadCommand("cannot use the mount point " + path + ": " + strerror(errno));
    }
  }
  path = resolved.get();
  // The table first: asking the directory itself would ask whoever serves it.
  KJ_IF_MAYBE (entry, mountAt(path.c_str())) {
    if (entry->type == "fuse.cairn") {
      throw BadCommand("on " + path + " the CairnFS of " + std::string(entry->source.cStr()) +
                       " is mounted already. Unmount it first (umount " + path +
                       "), or choose another directory");
    }
  }
  struct stat status;
  if (stat(path.c_str(), &status) != 0) {
    throw BadCommand(errno == ENOTCONN ? "on " + path +
                                             " there is a mount whose process has died. Free it first: "
                                             "umount -l " +
                                             path
                                       : "cannot use the mount point " + path + ": " + strerror(errno));
  }
  if (!S_ISDIR(status.st_mode)) throw BadCommand("the mount point " + path + " is not a directory");
  int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0) {
    auto reason =
        errno == ENOENT || errno == ENODEV || errno == ENXIO
            ? "the kernel has no FUSE here. Load it (modprobe fuse), or give the container /dev/fuse"
            : "/dev/fuse may not be opened: " + std::string(strerror(errno)) +
                  ". In a container, allow the device and CAP_SYS_ADMIN";
    throw BadCommand("cannot mount on " + path + ": " + reason);
  }
  close(device);
}

}  // namespace cairn::fuse
