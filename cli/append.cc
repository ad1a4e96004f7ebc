// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn append FILE`: one record through the client library (GFS paper, section 3.3).
#include "cli/commands.h"

namespace cairn::cli {

ExitCode append(const AppendOptions& options) { throw Failure("the client library is not linked in yet"); }

}  // namespace cairn::cli
