// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Records that say who wrote them, their number and their length, so that a file of them can be judged by
// itself: what is whole, what is there twice, and what is neither a record nor padding. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace cairn::e2e {

struct AppendRecord {
  int writer = 0, number = 0;
  size_t body = 0;  // bytes between head and tail

  std::string text() const {
    return "[" + std::to_string(writer) + ":" + std::to_string(number) + ":" + std::to_string(body) + ":" +
           std::string(body, char('a' + writer)) + "]\n";
  }
};

enum class Padding { NONE, ZEROS };  // between records

struct FoundRecord {
  int writer, number;
  uint64_t offset;
};

struct FoundRecords {
  std::vector<FoundRecord> records;
  std::string trouble;  // the first that is neither a whole record nor padding; empty: none
};

FoundRecords recordsIn(const std::string& content, uint64_t start, Padding padding);

std::string eachOnceInOrder(const std::vector<FoundRecord>& records, const std::map<int, int>& counts);
// `counts`: by writer, how many it was told are written. Empty, or the first record that is missing, there
// twice, or out of its writer's order.

}  // namespace cairn::e2e
