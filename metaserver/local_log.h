// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The operation log of a metaserver that stands alone: segment files on the local disk (log_segment.h), all
// operations of a loop turn in one write, one sync at a time behind them.
// INVARIANT: an operation is applied only after it is in the log (mode disk: on stable storage), and every
// segment but the last is wholly on stable storage.
//
// Crash table (what is found at start -> what is done):
//   records after the last complete one that were never known to be synced
//       -> cut off, with a line in the log
//   damage before a record that says "synced up to here", in what the mark says was synced (synced_mark.h),
//   or in an older segment
//       -> refused, with file and offset
//   a missing segment whose operations the namespace does not have
//       -> refused
//   a last segment without a whole header and without records
//       -> removed
//   the namespace is ahead of the log (its tables were flushed, the log's tail was not)
//       -> the log goes on behind it
#pragma once

#include <kj/time.h>

#include "env/disk.h"
#include "env/log.h"
#include "metaserver/namespace.h"
#include "metaserver/operation_log.h"
#include "rpc/coroutine.h"

namespace cairn {

struct Founding {
  // How a cluster begins, if the directory is empty.
  ClusterId cluster;
  uint16_t mode = 0755;  // of the root directory
  uint32_t uid = 0, gid = 0;
  uint8_t replicas = 3;
};

struct LocalLogOptions {
  CommitMode commit = CommitMode::MEMORY;
  uint64_t segmentBytes = 16ull << 20;  // a full segment starts a flush of the namespace and, then, goes
  uint64_t reserveBytes = 64ull << 20;
  // Space on the disk that is left to the namespace store: below it changes that grow the namespace are
  // refused.
  kj::Maybe<ClusterId> cluster;  // refuse any other; null: whichever is there
  uint64_t boot = 0;             // of the machine
  Founding founding;
};

class LocalLog : public OperationLog {
 public:
  static Async<kj::Own<LocalLog>> open(env::Disk& disk, kj::StringPtr directory, Namespace& names,
                                       const kj::Clock& clock, LocalLogOptions options, env::Logger logger);
  // Reads the log in `directory` of the disk (made if it is not there), applies what the namespace has not
  // yet, founds the cluster if there is none, and starts a new epoch, durably. Throws with a sentence for the
  // user when it must not start.

  virtual Async<Status> cut() = 0;
  // Everything until now is on stable storage, in segments that are complete; what comes goes into a new one.

  virtual Async<uint32_t> dropPersisted() = 0;
  // Complete segments that the namespace has on disk go. Answers how many are left beside the current one.

  virtual Async<void> close() = 0;
  // A clean stop: everything durable, the namespace flushed, so that the next start replays nothing.
};

}  // namespace cairn
