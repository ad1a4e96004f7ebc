// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See append_records.h.
#include "test/e2e/append_records.h"

#include <cstdio>

namespace cairn::e2e {

namespace {

constexpr size_t HEAD_MAX = 60;  // bytes

std::string shown(const std::string& bytes) {
  std::string text;
  for (unsigned char byte : bytes) {
    char code[8];
    std::snprintf(code, sizeof code, byte >= ' ' && byte < 127 ? "%c" : "\\x%02x", byte);
    text += code;
  }
  return text;
}

}  // namespace

FoundRecords recordsIn(const std::string& content, uint64_t start, Padding padding) {
  FoundRecords found;
  for (auto position = start; position < content.size();) {
    if (padding == Padding::ZEROS && content[position] == 0) {
      ++position;
      continue;
    }
    AppendRecord record;
    bool whole = std::sscanf(content.substr(position, HEAD_MAX).c_str(), "[%d:%d:%zu:", &record.writer,
                             &record.number, &record.body) == 3 &&
                 record.body < content.size() - position;
    auto text = whole ? record.text() : "";
    if (!whole || content.compare(position, text.size(), text) != 0) {
      auto same = position;
      while (same - position < text.size() && same < content.size() && content[same] == text[same - position])
        ++same;
      found.trouble = "at " + std::to_string(position) + " of " + std::to_string(content.size()) + ": " +
                      shown(content.substr(position, 40));
      if (whole) {
        found.trouble +=
            " as it should be up to " + std::to_string(same) + ", then " + shown(content.substr(same, 40));
      }
      return found;
    }
    found.records.push_back({record.writer, record.number, position});
    position += text.size();
  }
  return found;
}

std::string eachOnceInOrder(const std::vector<FoundRecord>& records, const std::map<int, int>& counts) {
  std::map<int, int> next;
  for (auto& record : records) {
    auto& expected = next[record.writer];
    if (record.number != expected) {
      return "writer " + std::to_string(record.writer) + ": record " + std::to_string(record.number) +
             " stands at " + std::to_string(record.offset) + " where record " + std::to_string(expected) +
             " should be its next";
    }
    ++expected;
  }
  for (auto [writer, count] : counts) {
    if (next[writer] == count) continue;
    return "writer " + std::to_string(writer) + " has " + std::to_string(next[writer]) +
           " records in the file, and was told of " + std::to_string(count);
  }
  return "";
}

}  // namespace cairn::e2e
