// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The io_uring engine: one ring per disk and loop. The requests of one loop turn go to the kernel with one
// io_uring_enter at the end of the turn; completions arrive through an eventfd that the loop's epoll watches.
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <liburing.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "env/io_engine.h"

namespace cairn::env {

namespace {

constexpr unsigned RING_ENTRIES = 256;  // requests of one turn before an early io_uring_enter

class UringEngine final : public IoEngine {
 public:
  UringEngine(kj::UnixEventPort& events, struct io_uring ring, kj::AutoCloseFd wakeup)
      : ring(ring),
        wakeup(kj::mv(wakeup)),
        observer(events, this->wakeup, kj::UnixEventPort::FdObserver::OBSERVE_READ),
        listening(listen().eagerlyEvaluate(
            [](kj::Exception&& e) { KJ_LOG(FATAL, "the ring's completion descriptor failed", e); })) {}

  ~UringEngine() noexcept(false) {
    KJ_ASSERT(inFlight == 0, "disk operations outlive their disk");
    io_uring_queue_exit(&ring);
  }

  kj::Promise<int64_t> submit(IoRequest request) override {
    return kj::newAdaptedPromise<int64_t, Operation>(*this, kj::mv(request));
  }

  kj::StringPtr name() const override { return "io_uring"; }

 private:
  struct Operation {
    Operation(kj::PromiseFulfiller<int64_t>& fulfiller, UringEngine& engine, IoRequest requestParam)
        : fulfiller(fulfiller), engine(engine), request(kj::mv(requestParam)) {
      engine.enqueue(*this);
    }
    ~Operation() noexcept(false) {
      if (!done) engine.waitFor(*this);
    }

    kj::PromiseFulfiller<int64_t>& fulfiller;
    UringEngine& engine;
    IoRequest request;  // the kernel reads the iovecs and the path from here
    bool done = false;
  };

  struct io_uring ring;
  kj::AutoCloseFd wakeup;
  kj::UnixEventPort::FdObserver observer;
  unsigned inFlight = 0;
  bool submissionPlanned = false;
  kj::Promise<void> submission = kj::READY_NOW;
  kj::Promise<void> listening;

  void enqueue(Operation& operation) {
    struct io_uring_sqe* entry = io_uring_get_sqe(&ring);
    while (entry == nullptr) {  // more requests in one turn than the ring holds
      enter();
      entry = io_uring_get_sqe(&ring);
    }
    describe(*entry, operation.request);
    io_uring_sqe_set_data(entry, &operation);
    inFlight++;
    if (!submissionPlanned) {
      submissionPlanned = true;
      submission = kj::evalLast([this] {
                     submissionPlanned = false;
                     enter();
                   }).eagerlyEvaluate([](kj::Exception&& e) { KJ_LOG(FATAL, "io_uring_enter failed", e); });
    }
  }

  static void describe(struct io_uring_sqe& entry, const IoRequest& request) {
    auto pieces = unsigned(kj::min(request.pieces.size(), size_t(IOV_MAX)));
    switch (request.kind) {
      case IoRequest::Kind::READ:
        io_uring_prep_readv(&entry, request.fd, request.pieces.begin(), pieces, request.offset);
        break;
      case IoRequest::Kind::WRITE:
        io_uring_prep_writev(&entry, request.fd, request.pieces.begin(), pieces, request.offset);
        break;
      case IoRequest::Kind::SYNC_DATA:
        io_uring_prep_fsync(&entry, request.fd, IORING_FSYNC_DATASYNC);
        break;
      case IoRequest::Kind::SYNC_ALL:
        io_uring_prep_fsync(&entry, request.fd, 0);
        break;
      case IoRequest::Kind::OPEN:
        io_uring_prep_openat(&entry, request.fd, request.path.cStr(), request.openFlags, 0640);
        break;
      case IoRequest::Kind::REMOVE:
        io_uring_prep_unlinkat(&entry, request.fd, request.path.cStr(), 0);
        break;
      case IoRequest::Kind::PUNCH:
        io_uring_prep_fallocate(&entry, request.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                off_t(request.offset), off_t(request.length));
        break;
    }
  }

  void enter() {
    int answer = io_uring_submit(&ring);
    while (answer == -EINTR || answer == -EAGAIN || answer == -EBUSY) {
      collect();  // EBUSY: the kernel wants room in the completion queue first
      answer = io_uring_submit(&ring);
    }
    KJ_ASSERT(answer >= 0, "io_uring_submit", -answer);
    collect();  // what was done in the call itself is answered without a trip through epoll
  }

  void collect() {
    struct io_uring_cqe* entry;
    while (io_uring_peek_cqe(&ring, &entry) == 0) {
      auto& operation = *static_cast<Operation*>(io_uring_cqe_get_data(entry));
      int64_t answer = entry->res;
      io_uring_cqe_seen(&ring, entry);
      operation.done = true;
      inFlight--;
      operation.fulfiller.fulfill(kj::mv(answer));
    }
  }

  void waitFor(Operation& operation) {
    enter();
    while (!operation.done) {
      struct io_uring_cqe* entry;
      int answer = io_uring_wait_cqe(&ring, &entry);
      KJ_ASSERT(answer == 0 || answer == -EINTR, "io_uring_wait_cqe", -answer);
      collect();
    }
  }

  kj::Promise<void> listen() {
    // The observer is edge-triggered, so it is armed before the queue is emptied, and the eventfd's count
    // need not be read: each completion makes a new edge.
    auto ready = observer.whenBecomesReadable();
    collect();
    return ready.then([this] { return listen(); });
  }
};

}  // namespace

kj::Maybe<kj::Own<IoEngine>> tryNewUringEngine(kj::UnixEventPort& events) {
  int fd;
  KJ_SYSCALL(fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  kj::AutoCloseFd wakeup(fd);

  struct io_uring ring;
  if (io_uring_queue_init(RING_ENTRIES, &ring, 0) < 0) return nullptr;

  // Old kernels know fewer requests; rather than half a ring, the pool then does it all.
  struct io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  bool complete = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_UNLINKAT) &&
                  io_uring_opcode_supported(probe, IORING_OP_FALLOCATE);
  if (probe != nullptr) io_uring_free_probe(probe);
  if (!complete || io_uring_register_eventfd(&ring, wakeup) < 0) {
    io_uring_queue_exit(&ring);
    return nullptr;
  }
  return kj::Own<IoEngine>(kj::heap<UringEngine>(events, ring, kj::mv(wakeup)));
}

}  // namespace cairn::env
