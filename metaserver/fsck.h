// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn-metaserver fsck`: the namespace of a metaserver that does not run, checked as `cairn fsck` checks
// that of one that does, but for what stores hold. Changes nothing. Called by main.cc.
#pragma once

#include <kj/async.h>
#include <kj/string.h>

namespace cairn {

int checkDirectory(kj::StringPtr directory, kj::WaitScope& scope);
// Prints to stdout; answers the exit code, as of fsck(8). Shows what has been flushed, also beside a running
// metaserver. Throws sentences for the user.

}  // namespace cairn
