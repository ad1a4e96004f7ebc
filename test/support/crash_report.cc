// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See crash_report.h.
#include "test/support/crash_report.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace cairn::test {

namespace {

constexpr size_t EXCERPT_SIZE = 6000;
constexpr std::array<std::string_view, 6> SIGNS = {
    "ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
    "runtime error: ",         "terminate called",     "*** Fatal uncaught",
};
constexpr std::string_view SIGNAL = "was killed by signal ";

size_t strangeSignal(const std::string& words) {
  for (auto at = words.find(SIGNAL); at != std::string::npos; at = words.find(SIGNAL, at + 1)) {
    auto number = std::string_view(words).substr(at + SIGNAL.size(), 3);
    if (!number.starts_with("9 ") && !number.starts_with("15 ")) return at;
  }
  return std::string::npos;
}

}  // namespace

std::string crashReport(const std::string& words) {
  auto first = strangeSignal(words);
  for (auto sign : SIGNS) first = std::min(first, words.find(sign));
  if (first == std::string::npos) return "";
  auto line = words.rfind('\n', first);
  return words.substr(line == std::string::npos ? 0 : line + 1, EXCERPT_SIZE);
}

}  // namespace cairn::test
