// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See entropy.h.
#include "env/entropy.h"

#include <kj/debug.h>
#include <sys/random.h>

namespace cairn::env {

void SystemEntropy::generate(kj::ArrayPtr<kj::byte> buffer) {
  while (buffer.size() > 0) {
    ssize_t size;
    KJ_SYSCALL(size = ::getrandom(buffer.begin(), buffer.size(), 0));
    buffer = buffer.slice(size, buffer.size());
  }
}

}  // namespace cairn::env
