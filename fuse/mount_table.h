// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What is mounted where, as /proc/self/mountinfo tells it: asking the file system itself would need our own
// loop. Called by main, the session loop and the watcher.
#pragma once

#include <kj/common.h>
#include <kj/string.h>

namespace cairn::fuse {

struct MountEntry {
  kj::String device;  // MAJOR:MINOR
  kj::String type;    // fuse.cairn
  kj::String source;  // HOST:PORT
};

kj::Maybe<MountEntry> mountAt(kj::StringPtr mountPoint);  // the topmost at that absolute path
kj::Maybe<MountEntry> parseMountTable(kj::StringPtr table, kj::StringPtr mountPoint);

}  // namespace cairn::fuse
