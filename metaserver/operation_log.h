// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The operation log: the only way to change the namespace. Order (propose) and durability (durable) are
// separate things. LocalLog (local_log.h) is the implementation for one metaserver; a replicated one fits
// behind the same interface.
#pragma once

#include <kj/async.h>

#include "metaserver/operation.h"
#include "rpc/coroutine.h"

namespace cairn {

enum class CommitMode {
  MEMORY,  // answered once the operation is in the page cache (of a majority): survives the process, not the
           // machine
  DISK,    // answered once it is on stable storage
};
kj::StringPtr KJ_STRINGIFY(CommitMode mode);  // "memory", "disk"
kj::Maybe<CommitMode> parseCommitMode(kj::StringPtr text);

class OperationLog {
 public:
  virtual ~OperationLog() noexcept(false) = default;

  virtual kj::Promise<Outcome> propose(kj::Own<LoggedOperation> operation) = 0;
  // Commits the operation, applies it and answers. Operations are applied in the order of the calls, and
  // answers come in that order. Dropping the promise does not take the operation back. Refuses, having logged
  // and changed nothing: noSpace (the log's disk is full), ioError (the log is broken, see below). Fails as
  // DISCONNECTED when it breaks over this operation: the next start knows what became of it.

  virtual Async<Status> durable(LogIndex index) = 0;
  // Waits until everything up to `index` is on stable storage (0: all that has been proposed until now).
  // ioError: the disk refused a sync. What it held is in doubt from then on, so the log is broken: it takes
  // no more operations until the metaserver is started again.

  virtual kj::Promise<void> whenBroken() = 0;
  // Fails, with a sentence for the user, when the log or the namespace behind it has failed for good: then
  // the process must end. Reads go on until it does.

  virtual LogIndex last() const = 0;  // of the last operation applied
  virtual LogIndex durableUpTo() const = 0;
  virtual uint32_t inFlight() const = 0;  // proposed and not yet applied: while 0, reads see all there is
  virtual Epoch epoch() const = 0;        // of this start
  virtual LogIndex lostFrom() const = 0;
  // Answers of earlier epochs that name this operation or a later one may be lost: the machine has lost its
  // power since the last start. 0: none are.
  virtual CommitMode commitMode() const = 0;
  virtual int64_t now() const = 0;  // the time that an operation would get now: ns since 1970
};

}  // namespace cairn
