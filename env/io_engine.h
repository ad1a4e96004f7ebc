// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How a system call that may block is carried out away from the event loop: by io_uring or by a few threads.
// Used by posix_disk.cc only, which first tries what can be answered at once (io_engine never sees a read
// that the page cache can serve).
#pragma once

#include <sys/uio.h>

#include "env/disk.h"

namespace cairn::env {

struct IoRequest {
  // Owned by the engine until it is answered: the kernel looks into it.
  enum class Kind { READ, WRITE, SYNC_DATA, SYNC_ALL, OPEN, REMOVE, PUNCH };
  Kind kind;
  int fd = -1;  // of the file; of the directory that `path` is relative to
  uint64_t offset = 0;
  uint64_t length = 0;              // PUNCH
  kj::Vector<struct iovec> pieces;  // READ, WRITE: at most IOV_MAX are used at once
  kj::String path = nullptr;        // OPEN, REMOVE
  int openFlags = 0;                // OPEN
};

class IoEngine {
 public:
  virtual ~IoEngine() noexcept(false) = default;

  virtual kj::Promise<int64_t> submit(IoRequest request) = 0;
  // The system call's answer: not negative, or minus an errno; a transfer may be partial. Requests of one
  // loop turn may run in any order. Destroying the promise waits until the kernel no longer uses the buffers.

  virtual kj::StringPtr name() const = 0;
};

kj::Maybe<kj::Own<IoEngine>> tryNewUringEngine(kj::UnixEventPort& events);  // null: the kernel refuses
kj::Own<IoEngine> newPoolEngine(kj::UnixEventPort& events);

int64_t carryOut(const IoRequest& request);
// The plain system call, in the calling thread.

}  // namespace cairn::env
