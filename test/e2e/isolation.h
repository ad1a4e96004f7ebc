// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Whether this machine can run end-to-end tests; see isolation.cc, which has main().
#pragma once

#include <string>

namespace cairn::e2e {

const std::string& reasonToSkip();  // empty: none

}  // namespace cairn::e2e
