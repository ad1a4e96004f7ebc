// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// This process may have no more of something than `limit`, until the object goes: setrlimit(2). What it has
// already it keeps.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <stdexcept>

namespace cairn::test {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAIRN_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAIRN_SANITIZED 1
#endif

class ResourceLimit {
 public:
#ifdef CAIRN_SANITIZED
  static constexpr bool DESCRIPTORS_ARE_OURS = false;  // a sanitizer looks at memory through pipes
#else
  static constexpr bool DESCRIPTORS_ARE_OURS = true;
#endif
  static ResourceLimit noDescriptors() { return {RLIMIT_NOFILE, 0}; }  // but those that are open
  static ResourceLimit oneDescriptor() {
    // More than those that are open, at a time.
    int lowest = dup(STDIN_FILENO);
    close(lowest);
    return {RLIMIT_NOFILE, rlim_t(lowest) + 1};
  }
  static ResourceLimit emptyFiles() {
    // A write is answered with EFBIG.
    signal(SIGXFSZ, SIG_IGN);
    return {RLIMIT_FSIZE, 0};
  }
  ~ResourceLimit() { setrlimit(resource, &before); }
  ResourceLimit(const ResourceLimit&) = delete;
  ResourceLimit& operator=(const ResourceLimit&) = delete;

 private:
  const __rlimit_resource resource;
  rlimit before{};

  ResourceLimit(__rlimit_resource resource, rlim_t limit) : resource(resource) {
    if (getrlimit(resource, &before) != 0) throw std::runtime_error("getrlimit");
    auto limited = before;
    limited.rlim_cur = limit;
    if (setrlimit(resource, &limited) != 0) throw std::runtime_error("setrlimit");
  }
};

}  // namespace cairn::test
