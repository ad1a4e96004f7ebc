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
// Is it that device (MAJOR:MINOR) that is seen there? Not when it is gone, or below somebody else's mount.
bool isMounted(kj::StringPtr mountPoint, kj::StringPtr device);
kj::Maybe<MountEntry> parseMountTable(kj::StringPtr table, kj::StringPtr mountPoint);

class NestedMounts {
  // Is anything mounted in the file system that is mounted at that path, here in our mount namespace? Cheap
  // to ask: the table is read when the kernel says that it has changed.
 public:
  explicit NestedMounts(kj::StringPtr mountPoint);
  ~NestedMounts() noexcept(false);
  KJ_DISALLOW_COPY(NestedMounts);

  bool any();

 private:
  kj::String mountPoint;
  int table = -1;
  bool found = false;
};
bool hasNestedMounts(kj::StringPtr table, kj::StringPtr mountPoint);

}  // namespace cairn::fuse
