// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/mount_table.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace cairn::fuse {

namespace {

std::string unescaped(const std::string& text) {
  // Space, tab, newline and backslash are written as \ooo.
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      result += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

kj::String mountTable() {
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream content;
  content << file.rdbuf();
  return kj::str(content.str().c_str());
}

}  // namespace

bool hasNestedMounts(kj::StringPtr table, kj::StringPtr mountPoint) {
  // By device: what is bound to elsewhere is the same file system, and names in it are the same.
  KJ_IF_MAYBE (ours, parseMountTable(table, mountPoint)) {
    std::map<std::string, std::string> deviceOf;  // by id of the mount
    std::vector<std::string> parents;
    std::istringstream lines{std::string(table.cStr(), table.size())};
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string id, parent, device;
      words >> id >> parent >> device;
      deviceOf[id] = device;
      parents.push_back(parent);
    }
    for (auto& parent : parents) {
      auto found = deviceOf.find(parent);
      if (found != deviceOf.end() && found->second == ours->device.cStr()) return true;
    }
  }
  return false;
}

NestedMounts::NestedMounts(kj::StringPtr mountPoint)
    : mountPoint(kj::str(mountPoint)), table(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)) {
  found = hasNestedMounts(mountTable(), mountPoint);
}

NestedMounts::~NestedMounts() noexcept(false) {
  if (table >= 0) ::close(table);
}

bool NestedMounts::any() {
  struct pollfd changed = {.fd = table, .events = POLLPRI, .revents = 0};
  if (::poll(&changed, 1, 0) != 0) found = hasNestedMounts(mountTable(), mountPoint);
  return found;
}

kj::Maybe<MountEntry> parseMountTable(kj::StringPtr table, kj::StringPtr mountPoint) {
  // 36 35 98:0 /root /mount/point options [optional fields] - type source super-options        (proc(5))
  kj::Maybe<MountEntry> result;
  std::istringstream lines{std::string(table.cStr(), table.size())};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<std::string> fields;
    for (std::string word; words >> word;) fields.push_back(word);
    size_t separator = 6;
    while (separator < fields.size() && fields[separator] != "-") ++separator;
    if (separator + 2 >= fields.size() || unescaped(fields[4]) != mountPoint.cStr()) continue;
    result = MountEntry{kj::str(fields[2].c_str()), kj::str(unescaped(fields[separator + 1]).c_str()),
                        kj::str(unescaped(fields[separator + 2]).c_str())};
  }
  return result;
}

kj::Maybe<MountEntry> mountAt(kj::StringPtr mountPoint) {
  return parseMountTable(mountTable(), mountPoint);
}

bool isMounted(kj::StringPtr mountPoint, kj::StringPtr device) {
  KJ_IF_MAYBE (entry, mountAt(mountPoint)) return entry->device == device;
  return false;
}

}  // namespace cairn::fuse
