// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See machine.h.
#include "env/machine.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

namespace cairn::env {

namespace {

kj::String bootId() {
  char buffer[64] = {};
  int fd = ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    ssize_t size = ::read(fd, buffer, sizeof(buffer) - 1);
    ::close(fd);
    while (size > 0 && buffer[size - 1] <= ' ') --size;
    if (size > 0) return kj::heapString(buffer, size);
  }
  KJ_FAIL_REQUIRE("cannot read /proc/sys/kernel/random/boot_id: is /proc mounted?");
}

}  // namespace

kj::String machineIdentity() {
  char name[256] = {};
  KJ_SYSCALL(::gethostname(name, sizeof(name) - 1));
  return kj::str(name, "/", bootId());
}

uint64_t bootIdentity() {
  uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a
  for (char c : bootId()) hash = (hash ^ uint8_t(c)) * 0x100000001b3ull;
  return hash == 0 ? 1 : hash;
}

kj::String localAddress(kj::StringPtr daemon, uint16_t port) {
  return kj::str("unix-abstract:cairn-", daemon, "-", port);
}

}  // namespace cairn::env
