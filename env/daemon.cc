// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See daemon.h.
#include "env/daemon.h"

#include <errno.h>
#include <kj/debug.h>
#include <kj/exception.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <optional>
#include <utility>

namespace cairn::env {

void raiseDescriptorLimit() {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string hostPortProblem(const std::string& address) {
  auto colon = address.rfind(':');
  unsigned port = 0;
  auto end = address.data() + address.size();
  if (colon != std::string::npos && colon > 0) {
    auto parsed = std::from_chars(address.data() + colon + 1, end, port);
    if (parsed.ec == std::errc() && parsed.ptr == end && port <= UINT16_MAX) return "";
  }
  return "'" + address + "' is not HOST:PORT with a port from 0 to 65535";
}

namespace {

struct DurationUnit {
  char letter;
  uint32_t seconds;
};
constexpr DurationUnit DURATION_UNITS[] = {
    {'w', 7 * 24 * 3600}, {'d', 24 * 3600}, {'h', 3600}, {'m', 60}, {'s', 1}};
constexpr uint64_t DURATION_MAX = uint64_t(100) * 366 * 24 * 3600;  // 100 years, in seconds

std::optional<uint32_t> parseDuration(const std::string& text) {
  uint64_t number = 0;
  auto end = text.data() + text.size();
  auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc() || number > DURATION_MAX) return std::nullopt;
  if (parsed.ptr == end) return number == 0 ? std::optional<uint32_t>(0) : std::nullopt;
  for (auto unit : DURATION_UNITS) {
    if (parsed.ptr + 1 != end || *parsed.ptr != unit.letter) continue;
    if (number * unit.seconds > DURATION_MAX) return std::nullopt;
    return static_cast<uint32_t>(number * unit.seconds);
  }
  return std::nullopt;
}

}  // namespace

std::string durationProblem(const std::string& text) {
  if (parseDuration(text)) return "";
  return "'" + text + "' is no duration: 0, or a number with s, m, h, d or w behind it, such as 12h or 7d";
}

uint32_t durationSeconds(const std::string& text) {
  auto seconds = parseDuration(text);
  KJ_REQUIRE(seconds.has_value(), "no duration", text.c_str());
  return *seconds;
}

std::string durationText(uint32_t seconds) {
  if (seconds == 0) return "0";
  for (auto unit : DURATION_UNITS) {
    if (seconds % unit.seconds == 0) return std::to_string(seconds / unit.seconds) + unit.letter;
  }
  return std::to_string(seconds) + "s";
}

PresenceFile::PresenceFile(const std::string& path, const std::string& content) {
  if (path.empty()) return;
  auto fresh = path + ".new";
  std::ofstream file(fresh, std::ios::trunc);
  file << content << std::flush;
  if (!file || rename(fresh.c_str(), path.c_str()) != 0) {
    auto error = errno;
    unlink(fresh.c_str());
    KJ_FAIL_REQUIRE("cannot write the file that tells others that we serve", path.c_str(), strerror(error));
  }
  this->path = path;
}

PresenceFile::~PresenceFile() {
  if (!path.empty()) unlink(path.c_str());
}

PresenceFile::PresenceFile(PresenceFile&& other) noexcept : path(std::exchange(other.path, {})) {}

PresenceFile& PresenceFile::operator=(PresenceFile&& other) noexcept {
  std::swap(path, other.path);
  return *this;
}

int runDaemon(const char* name, kj::Function<int()> serve) {
  try {
    return serve();
  } catch (const kj::Exception&
               exception) {  // before std::exception: a thrown one is both, with a stack in its what()
    std::cerr << name << ": " << exception.getDescription().cStr() << std::endl;
  } catch (const std::exception& exception) {
    std::cerr << name << ": " << exception.what() << std::endl;
  }
  return 1;
}

}  // namespace cairn::env
