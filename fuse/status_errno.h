// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The one place where an answer becomes an errno. Called by the handlers just before they reply.
#pragma once

#include "rpc/result.h"

namespace cairn::fuse {

int errnoOf(Status status);  // positive; 0 for OK

}  // namespace cairn::fuse
