// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a start finds in the log's directory, checked and applied to the namespace: see the crash table in
// local_log.h. Called by LocalLog::open only.
#pragma once

#include "env/disk.h"
#include "env/log.h"
#include "metaserver/log_segment.h"
#include "metaserver/namespace.h"
#include "rpc/coroutine.h"

namespace cairn {

struct RecoveredLog {
  ClusterId cluster;                // zero: there is no log yet
  kj::Vector<kj::String> segments;  // files that are still there, oldest first
  kj::Vector<LogIndex> firsts;      // their first indexes
  uint64_t replayed = 0;            // operations that the namespace did not have
};

struct Recovering {
  Namespace& names;
  kj::Maybe<ClusterId> expected;
  LogIndex synced;  // as noted by the last process (synced_mark.h); 0: it is not known
};

Async<RecoveredLog> recoverLog(env::Disk& disk, kj::String directory, Recovering recovering,
                               env::Logger& logger);
// Afterwards the namespace has every operation of the log, and all of them are on stable storage.

struct LoadedSegment {
  kj::String path;
  LogIndex first;  // from its name
  kj::Array<kj::byte> bytes;
};
Async<kj::Vector<kj::String>> listSegments(env::Disk& disk,
                                           kj::StringPtr directory);  // names, oldest first
Async<kj::Array<kj::byte>> loadFile(env::Disk& disk, kj::String path);

[[noreturn]] void refuseToStart(kj::String sentence);

}  // namespace cairn
