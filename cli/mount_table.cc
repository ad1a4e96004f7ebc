// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/mount_table.h"

#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace cairn::cli {

namespace {

namespace fs = std::filesystem;

std::vector<std::string_view> splitWords(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    auto end = std::min(line.find(' '), line.size());
    if (end > 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

std::string unescaped(std::string_view word) {
  // The kernel writes space, tab, newline and backslash as \ooo.
  std::string result;
  for (size_t i = 0; i < word.size(); ++i) {
    auto digit = [&](size_t at) { return at < word.size() && word[at] >= '0' && word[at] <= '7'; };
    if (word[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      result += static_cast<char>((word[i + 1] - '0') * 64 + (word[i + 2] - '0') * 8 + (word[i + 3] - '0'));
      i += 3;
    } else {
      result += word[i];
    }
  }
  return result;
}

std::optional<uint32_t> number(std::string_view text) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<MountPoint> parseLine(std::string_view line) {
  // 36 35 98:0 /root /mount/point options optional... - type source super-options   (proc_pid_mountinfo(5))
  auto words = splitWords(line);
  auto dash = std::find(words.begin(), words.end(), "-");
  if (dash - words.begin() < 6 || words.end() - dash < 3) return std::nullopt;
  auto colon = words[2].find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto major = number(words[2].substr(0, colon)), minor = number(words[2].substr(colon + 1));
  if (!major || !minor) return std::nullopt;
  return MountPoint{*major, *minor, unescaped(words[4]), unescaped(dash[1]), unescaped(dash[2])};
}

bool within(std::string_view path, std::string_view directory) {
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

std::string linkTarget(const fs::path& link) {
  std::error_code error;
  return fs::read_symlink(link, error).string();
}

std::string programName(const fs::path& process) {
  std::ifstream comm(process / "comm");
  std::string name;
  std::getline(comm, name);
  return name;
}

std::optional<std::string> howItHolds(const fs::path& process, std::string_view mountPath) {
  if (within(linkTarget(process / "cwd"), mountPath)) return "working directory";
  if (within(linkTarget(process / "root"), mountPath)) return "root directory";
  if (within(linkTarget(process / "exe"), mountPath)) return "runs a program from it";
  std::error_code error;
  for (fs::directory_iterator file(process / "fd", error), end; !error && file != end;
       file.increment(error)) {
    auto target = linkTarget(file->path());
    if (within(target, mountPath)) return "has open " + target;
  }
  std::ifstream maps(process / "maps");
  for (std::string line; std::getline(maps, line);) {
    auto slash = line.find('/');
    if (slash != std::string::npos && within(std::string_view(line).substr(slash), mountPath)) {
      return "has mapped " + line.substr(slash);
    }
  }
  return std::nullopt;
}

}  // namespace

bool MountPoint::isCairn() const {
  return type == CAIRN_MOUNT_TYPE && !splitAddresses(source).empty();
}

std::vector<MountPoint> parseMountTable(std::string_view mountinfo) {
  std::vector<MountPoint> table;
  while (!mountinfo.empty()) {
    auto end = std::min(mountinfo.find('\n'), mountinfo.size());
    if (auto mount = parseLine(mountinfo.substr(0, end))) table.push_back(std::move(*mount));
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
  }
  return table;
}

std::vector<MountPoint> readMountTable() {
  std::ifstream file("/proc/self/mountinfo");
  return parseMountTable(std::string(std::istreambuf_iterator<char>(file), {}));
}

std::optional<MountPoint> mountAt(const std::vector<MountPoint>& table, std::string_view path) {
  auto found = std::find_if(table.rbegin(), table.rend(), [&](auto& mount) { return mount.path == path; });
  return found == table.rend() ? std::nullopt : std::optional(*found);
}

std::optional<MountPoint> mountOfDevice(const std::vector<MountPoint>& table, dev_t device) {
  auto found = std::find_if(table.rbegin(), table.rend(), [&](auto& mount) {
    return mount.major == ::major(device) && mount.minor == ::minor(device);
  });
  return found == table.rend() ? std::nullopt : std::optional(*found);
}

std::vector<std::string> splitAddresses(std::string_view source) {
  std::vector<std::string> addresses;
  while (!source.empty()) {
    auto end = std::min(source.find(','), source.size());
    if (end > 0) addresses.emplace_back(source.substr(0, end));
    source.remove_prefix(std::min(end + 1, source.size()));
  }
  return addresses;
}

std::vector<MountHolder> holdersOf(std::string_view mountPath) {
  std::vector<MountHolder> holders;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    auto pid = number(entry->path().filename().string());
    if (!pid) continue;
    if (auto what = howItHolds(entry->path(), mountPath)) {
      holders.push_back({static_cast<pid_t>(*pid), programName(entry->path()), *what});
    }
  }
  return holders;
}

}  // namespace cairn::cli
