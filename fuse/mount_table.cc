// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/mount_table.h"

#include <fstream>
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

}  // namespace

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
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream content;
  content << file.rdbuf();
  return parseMountTable(content.str().c_str(), mountPoint);
}

}  // namespace cairn::fuse
