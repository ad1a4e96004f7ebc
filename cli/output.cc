// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/output.h"

#include <algorithm>
#include <cstdio>

namespace cairn::cli {

namespace {

size_t lengthOfUtf8(std::string_view text) {
  // Of the character at the front; 0 when it is none (RFC 3629: no overlong forms, no surrogates).
  auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  auto lead = byte(0);
  if (lead < 0x80) return 1;
  size_t length = lead >= 0xf0 && lead < 0xf5 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (length == 0 || lead >= 0xf5 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  bool tooLow = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  bool tooHigh = (lead == 0xed && byte(1) >= 0xa0) || (lead == 0xf4 && byte(1) >= 0x90);
  return tooLow || tooHigh ? 0 : length;
}

}  // namespace

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  buffer += bracket;
  hasMembers.push_back(false);
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  bool members = hasMembers.back();
  hasMembers.pop_back();
  if (members) buffer += '\n' + std::string(2 * hasMembers.size(), ' ');
  buffer += bracket;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  quote(name);
  buffer += ": ";
  afterKey = true;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  quote(text);
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view text) {
  separate();
  buffer += text;
  return *this;
}

void JsonWriter::separate() {
  if (afterKey || hasMembers.empty()) {
    afterKey = false;
    return;
  }
  if (hasMembers.back()) buffer += ',';
  hasMembers.back() = true;
  buffer += '\n' + std::string(2 * hasMembers.size(), ' ');
}

void JsonWriter::quote(std::string_view text) {
  buffer += '"';
  while (!text.empty()) {
    auto character = static_cast<unsigned char>(text[0]);
    auto length = lengthOfUtf8(text);
    if (character == '"' || character == '\\') {
      buffer += {'\\', static_cast<char>(character)};
    } else if (character < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", character);
      buffer += escape;
    } else {
      buffer += length == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  buffer += '"';
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string result;
  for (auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      line += row[i] + std::string(widths[i] - row[i].size(), ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + '\n';
  }
  return result;
}

std::string humanBytes(uint64_t bytes) {
  constexpr const char* UNITS[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < std::size(UNITS)) {  // what would print as 1024.0
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f %s", value, UNITS[unit]);
  return text;
}

std::string plural(uint64_t count, std::string_view noun) {
  return std::to_string(count) + ' ' + std::string(noun) + (count == 1 ? "" : "s");
}

}  // namespace cairn::cli
