// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See eventually.h.
#include "test/support/eventually.h"

#include <thread>

namespace cairn::test {

bool eventually(std::chrono::milliseconds patience, const std::function<bool()>& holds) {
  auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    if (holds()) return true;
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace cairn::test
