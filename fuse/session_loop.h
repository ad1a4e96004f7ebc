// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The kernel as a peer on the KJ loop: reads its messages from the FUSE descriptor, lets libfuse unpack them,
// and so starts the handlers. No threads between a request and the call it causes. INVARIANT: a message's
// buffer is read into again only when nobody holds it: a large write takes it along. Called by main.cc; one
// per mount.
#pragma once

#include <kj/async-unix.h>
#include <kj/async.h>
#include <kj/timer.h>

#include "client/filesystem.h"
#include "env/log.h"
#include "fuse/buffer_pool.h"
#include "fuse/handlers.h"
#include "fuse/notifier.h"
#include "fuse/operations.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

struct SessionOptions {
  HandlerOptions handlers;
  kj::Vector<kj::String> mountOptions;  // for libfuse and mount(2): allow_other, fsname=..., noatime
  uint32_t readAheadKb = 4096;          // the kernel's own default is 128 and costs sequential reads
};

class SessionLoop final : private IncomingMessage {
 public:
  SessionLoop(kj::UnixEventPort& events, kj::Timer& timer, Filesystem& filesystem, env::Logger log,
              SessionOptions options);
  ~SessionLoop() noexcept(false);  // unmounts if that has not been done
  KJ_DISALLOW_COPY(SessionLoop);

  void mount(kj::StringPtr mountPoint);  // an absolute path. Throws what went wrong
  Async<void> run();
  // Serves until the file system is unmounted or the connection aborted. To be started right after mount():
  // the kernel waits for us from then on.

  bool wasAborted() const { return aborted; }  // run() has ended, and the mount may still be there

  kj::Promise<void> whenServing() { return serving.addBranch(); }  // the kernel and we have agreed on terms
  void abandon();
  // The mount has been detached but is still in use somewhere: those who use it get ENOTCONN once we are
  // gone.

  Handlers& requestHandlers() { return *handlers; }
  Interrupts& requestInterrupts() { return interrupts; }
  const Notifier& kernelNotifier() const { return notifier; }
  const BufferPool& bufferPool() const { return *buffers; }
  uint64_t messages() const { return received; }

 private:
  enum class More { NO, YES, ENDED };
  More receive();
  void raiseReadAhead();
  ssize_t send(int fd, kj::ArrayPtr<struct iovec> pieces);

  // IncomingMessage
  Bytes keep(kj::ArrayPtr<const kj::byte> payload) override;
  Privileges privileges() const override;
  void negotiate(fuse_conn_info& connection) override;
  Creation creation() const override { return creating; }

  kj::UnixEventPort& events;
  kj::Timer& timer;
  env::Logger log;
  const SessionOptions options;
  kj::Own<BufferPool> buffers;
  kj::Own<BufferPool::Buffer> current;   // null after keep() has taken it
  kj::ArrayPtr<const kj::byte> message;  // in `current`: what libfuse is unpacking
  Creation creating = Creation::NAMED;   // of the message
  uint64_t negotiation = 0;              // `unique` of FUSE_INIT while it is being answered
  bool offersDirectMmap = false;         // it said that what is past its pages may be mapped all the same

  kj::Own<Callers> callers;
  Interrupts interrupts;
  Notifier notifier;
  Filesystem& filesystem;
  kj::Own<Handlers> handlers;
  OperationContext context;

  struct fuse_session* session = nullptr;
  enum class State { NEW, MOUNTED, ENDED } state = State::NEW;
  bool aborted = false;
  kj::String mountPoint;
  kj::Own<kj::PromiseFulfiller<void>> servingFulfiller;
  kj::ForkedPromise<void> serving;
  uint64_t received = 0;
};

}  // namespace cairn::fuse
