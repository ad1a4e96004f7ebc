// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The engine for kernels that refuse io_uring (containers, hardened hosts): a few threads doing plain calls.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "env/io_engine.h"
#include "env/worker.h"

namespace cairn::env {

namespace {

constexpr unsigned POOL_THREADS = 4;  // enough to keep a disk's queue busy, few enough for two cores

class PoolEngine final : public IoEngine {
 public:
  explicit PoolEngine(kj::UnixEventPort& events) : worker(newThreadWorker(events, POOL_THREADS)) {}

  kj::Promise<int64_t> submit(IoRequest request) override {
    struct Call {
      IoRequest request;
      int64_t answer = 0;
    };
    auto call = kj::heap<Call>();
    call->request = kj::mv(request);
    auto& at = *call;
    return worker->run([&at] { at.answer = carryOut(at.request); })
        .then([&at] { return at.answer; })
        .attach(kj::mv(call));
  }

  kj::StringPtr name() const override { return "thread pool"; }

 private:
  kj::Own<Worker> worker;
};

}  // namespace

int64_t carryOut(const IoRequest& request) {
  auto pieces = int(kj::min(request.pieces.size(), size_t(IOV_MAX)));
  int64_t answer = -1;
  switch (request.kind) {
    case IoRequest::Kind::READ:
      answer = preadv(request.fd, request.pieces.begin(), pieces, off_t(request.offset));
      break;
    case IoRequest::Kind::WRITE:
      answer = pwritev(request.fd, request.pieces.begin(), pieces, off_t(request.offset));
      break;
    case IoRequest::Kind::SYNC_DATA:
      answer = fdatasync(request.fd);
      break;
    case IoRequest::Kind::SYNC_ALL:
      answer = fsync(request.fd);
      break;
    case IoRequest::Kind::OPEN:
      answer = openat(request.fd, request.path.cStr(), request.openFlags, 0640);
      break;
    case IoRequest::Kind::REMOVE:
      answer = unlinkat(request.fd, request.path.cStr(), 0);
      break;
    case IoRequest::Kind::PUNCH:
      answer = fallocate(request.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off_t(request.offset),
                         off_t(request.length));
      break;
  }
  return answer < 0 ? -int64_t(errno) : answer;
}

kj::Own<IoEngine> newPoolEngine(kj::UnixEventPort& events) {
  return kj::heap<PoolEngine>(events);
}

}  // namespace cairn::env
