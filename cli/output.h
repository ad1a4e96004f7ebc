// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How `cairn` prints: JSON for programs, aligned columns and human units for people. Pure.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::cli {

class JsonWriter {
  // Writes one JSON document in order. INVARIANT: what text() returns is valid JSON once every begin has its
  // end.
 public:
  JsonWriter& beginObject() { return open('{'); }
  JsonWriter& endObject() { return close('}'); }
  JsonWriter& beginArray() { return open('['); }
  JsonWriter& endArray() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);  // bytes that are not UTF-8 become U+FFFD
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool truth) { return raw(truth ? "true" : "false"); }
  template <std::integral Number>
    requires(!std::same_as<Number, bool>)
  JsonWriter& value(Number number) {
    return raw(std::to_string(number));
  }
  template <typename Value>
  JsonWriter& field(std::string_view name, const Value& content) {
    return key(name).value(content);
  }

  const std::string& text() const { return buffer; }

 private:
  std::string buffer;
  std::vector<bool> hasMembers;  // one for each open object or array
  bool afterKey = false;

  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  JsonWriter& raw(std::string_view text);
  void separate();
  void quote(std::string_view text);
};

class Table {
  // Columns as wide as their widest cell, two spaces between, the first row being the head.
 public:
  explicit Table(std::vector<std::string> head) { rows.push_back(std::move(head)); }
  void add(std::vector<std::string> row) { rows.push_back(std::move(row)); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows;
};

std::string humanBytes(uint64_t bytes);                     // 0 B, 1023 B, 1.5 KiB, 64.0 MiB
std::string plural(uint64_t count, std::string_view noun);  // 1 chunk, 2 chunks

}  // namespace cairn::cli
