// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Randomness of the kernel, for programs; tests and the simulator pass their own source.
#pragma once

#include <kj/compat/http.h>  // kj::EntropySource

namespace cairn::env {

class SystemEntropy final : public kj::EntropySource {
 public:
  void generate(kj::ArrayPtr<kj::byte> buffer) override;
};

}  // namespace cairn::env
