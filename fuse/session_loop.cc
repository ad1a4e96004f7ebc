// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/session_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse/mount_table.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {

constexpr size_t WRITE_MAX = TRANSFER_SIZE_MAX;  // 1 MiB: 256 pages, the most a kernel takes by default
constexpr size_t HEADER_MAX = 4096;              // what libfuse reserves too; the payload of a write is at 80
constexpr size_t HAND_OVER_MIN = 64 << 10;       // a smaller write is copied out of its buffer
constexpr unsigned BATCH = 64;                   // messages per turn before the network gets its turn
constexpr uint32_t TMPFILE = 51;                 // FUSE_TMPFILE of Linux 6.2: not in the headers of Debian 12
constexpr uint32_t DIRECT_IO_ALLOW_MMAP = 1 << (36 - 32);  // in flags2 of FUSE_INIT, of Linux 6.6: likewise
constexpr unsigned BACKGROUND_MAX = 64;  // readahead, direct and written-back requests in flight

class FreeDisposer final : public kj::Disposer {
 public:
  void disposeImpl(void* pointer) const override { free(pointer); }
};
constexpr FreeDisposer FREE{};

}  // namespace

SessionLoop::SessionLoop(kj::UnixEventPort& events, kj::Timer& timer, Filesystem& filesystem, env::Logger log,
                         SessionOptions options)
    : events(events),
      timer(timer),
      log(log),
      options(kj::mv(options)),
      buffers(kj::refcounted<BufferPool>(WRITE_MAX + HEADER_MAX)),
      current(buffers->take()),
      callers(procCallers()),
      interrupts(timer, *callers, log),
      notifier(events, timer, log),
      filesystem(filesystem),
      handlers(kj::heap<Handlers>(filesystem, timer, interrupts, notifier, log, this->options.handlers)),
      context{*handlers, *this},
      serving(nullptr) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  servingFulfiller = kj::mv(paf.fulfiller);
  serving = paf.promise.fork();
}

SessionLoop::~SessionLoop() noexcept(false) {
  if (session == nullptr) return;
  static Filesystem::Observer nobody;
  filesystem.setObserver(nobody);
  handlers = nullptr;  // requests under way reply through the session, so they go before it
  // When the descriptor has hung up, libfuse sees that there is nothing to unmount and only tidies up.
  fuse_session_unmount(session);
  notifier.stop();
  fuse_session_destroy(session);
}

void SessionLoop::mount(kj::StringPtr path) {
  KJ_REQUIRE(state == State::NEW);
  kj::Vector<char*> arguments;
  arguments.add(const_cast<char*>("cairn-fuse"));
  auto joined = kj::strArray(options.mountOptions, ",");
  auto option = kj::str("-o", joined);
  if (joined.size() > 0) arguments.add(option.begin());
  fuse_args args = FUSE_ARGS_INIT(static_cast<int>(arguments.size()), arguments.begin());
  session = fuse_session_new(&args, &OPERATIONS, sizeof(OPERATIONS), &context);
  fuse_opt_free_args(&args);
  KJ_REQUIRE(session != nullptr, "libfuse does not accept these mount options", joined);

  if (fuse_session_mount(session, path.cStr()) != 0) {
    fuse_session_destroy(session);
    session = nullptr;
    KJ_FAIL_REQUIRE("mount failed; libfuse said why on stderr", path);
  }
  state = State::MOUNTED;
  mountPoint = kj::str(path);

  int fd = fuse_session_fd(session);
  int flags;
  KJ_SYSCALL(flags = fcntl(fd, F_GETFL));
  KJ_SYSCALL(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
  KJ_SYSCALL(fcntl(fd, F_SETFD, FD_CLOEXEC));

  // All replies pass through send(): that of FUSE_INIT is completed there.
  struct fuse_custom_io io = {};
  io.read = [](int fd, void* buffer, size_t size, void*) { return ::read(fd, buffer, size); };
  io.writev = [](int fd, struct iovec* pieces, int count, void* data) {
    auto& self = static_cast<SessionLoop&>(static_cast<OperationContext*>(data)->message);
    return self.send(fd, kj::arrayPtr(pieces, count));
  };
  auto result = fuse_session_custom_io(session, &io, fd);
  KJ_REQUIRE(result == 0, "libfuse refuses our input and output", result);
  notifier.start(session, handlers->inodeTable());
  filesystem.setObserver(notifier);
}

Async<void> SessionLoop::run() {
  kj::UnixEventPort::FdObserver observer(events, fuse_session_fd(session),
                                         kj::UnixEventPort::FdObserver::OBSERVE_READ);
  while (true) {
    auto more = More::YES;
    for (unsigned i = 0; i < BATCH && more == More::YES; ++i) more = receive();
    if (more == More::ENDED) break;
    if (more == More::NO) {
      co_await observer.whenBecomesReadable();
    } else {
      co_await timer.afterDelay(
          0 * kj::SECONDS);  // unlike evalLater, lets the loop look at its other descriptors
    }
  }
  state = State::ENDED;
}

SessionLoop::More SessionLoop::receive() {
  if (current.get() == nullptr) current = buffers->take();
  auto space = current->bytes();
  auto size = ::read(fuse_session_fd(session), space.begin(), space.size());
  if (size < 0) {
    switch (errno) {
      case EAGAIN:
        return More::NO;
      case EINTR:
      case ENOENT:
        return More::YES;  // ENOENT: the request was withdrawn while we read it
      case ECONNABORTED:
        aborted = true;
        return More::ENDED;
      case ENODEV:
        return More::ENDED;
      default:
        KJ_FAIL_SYSCALL("read(/dev/fuse)", errno);
    }
  }
  KJ_REQUIRE(size_t(size) >= sizeof(fuse_in_header), "a message of the kernel is too short", size);
  ++received;
  message = space.slice(0, size);
  auto header = reinterpret_cast<fuse_in_header*>(space.begin());
  if (header->opcode == FUSE_INIT) {
    negotiation = header->unique;
    if (size_t(size) >= sizeof(*header) + sizeof(fuse_init_in)) {
      auto offer = reinterpret_cast<const fuse_init_in*>(header + 1);
      offersDirectMmap = (offer->flags & FUSE_INIT_EXT) && (offer->flags2 & DIRECT_IO_ALLOW_MMAP);
    }
  }
  // To libfuse (3.14 does not know it) it is a create: the arguments and the answer are the same.
  creating = header->opcode == TMPFILE ? Creation::TEMPORARY : Creation::NAMED;
  if (creating == Creation::TEMPORARY) header->opcode = FUSE_CREATE;

  fuse_buf buffer = {};
  buffer.size = message.size();
  buffer.mem = space.begin();
  fuse_session_process_buf(session, &buffer);
  message = nullptr;
  return More::YES;
}

Bytes SessionLoop::keep(kj::ArrayPtr<const kj::byte> payload) {
  if (payload.size() >= HAND_OVER_MIN && buffers->mayLend()) return {payload, kj::mv(current)};
  auto copy = static_cast<kj::byte*>(malloc(payload.size()));
  KJ_REQUIRE(copy != nullptr, "out of memory", payload.size());
  memcpy(copy, payload.begin(), payload.size());
  return {kj::arrayPtr(copy, payload.size()), kj::Own<void>(static_cast<void*>(copy), FREE)};
}

Privileges SessionLoop::privileges() const {
  auto header = reinterpret_cast<const fuse_in_header*>(message.begin());
  auto body = message.begin() + sizeof(fuse_in_header);
  bool kill = false;
  switch (header->opcode) {
    case FUSE_WRITE:
      kill = reinterpret_cast<const fuse_write_in*>(body)->write_flags & FUSE_WRITE_KILL_SUIDGID;
      break;
    case FUSE_SETATTR:
      kill = reinterpret_cast<const fuse_setattr_in*>(body)->valid & FATTR_KILL_SUIDGID;
      break;
    case FUSE_OPEN:
      kill = reinterpret_cast<const fuse_open_in*>(body)->open_flags & FUSE_OPEN_KILL_SUIDGID;
      break;
    default:
      break;
  }
  return kill ? Privileges::KILL : Privileges::KEEP;
}

void SessionLoop::negotiate(fuse_conn_info& connection) {
  // AUTO_INVAL_DATA would drop our own pages each time our own write changes the mtime; pages go when
  // their lease goes instead. WRITEBACK_CACHE would make the kernel own size and time. POSIX_ACL:
  // the kernel checks permissions with the ACLs we keep; DONT_MASK, as a default ACL takes the umask's place.
  auto wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_DIO |
                FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_POSIX_ACL |
                FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;
  connection.want = connection.capable & wanted;
  connection.max_write = WRITE_MAX;
  connection.max_background = BACKGROUND_MAX;
  connection.congestion_threshold = BACKGROUND_MAX * 3 / 4;
  connection.time_gran = 1;
}

ssize_t SessionLoop::send(int fd, kj::ArrayPtr<struct iovec> pieces) {
  fuse_init_out completed;
  if (negotiation != 0 && pieces.size() >= 2) {
    auto header = static_cast<const fuse_out_header*>(pieces[0].iov_base);
    if (header->unique == negotiation && header->error == 0) {
      // What libfuse 3.14 cannot say. With HANDLE_KILLPRIV_V2 the kernel no longer asks for
      // security.capability before every write. With ABORT_ERROR we can tell an abort from an unmount.
      size_t size = kj::min(sizeof(completed), pieces[1].iov_len);
      memcpy(&completed, pieces[1].iov_base, size);
      completed.flags |= FUSE_HANDLE_KILLPRIV_V2 | FUSE_ABORT_ERROR;
      // A file that is open with O_APPEND may be mapped, as on a local disk.
      if (offersDirectMmap && size == sizeof(completed)) {
        completed.flags |= FUSE_INIT_EXT;
        completed.flags2 |= DIRECT_IO_ALLOW_MMAP;
      }
      pieces[1].iov_base = &completed;
      negotiation = 0;
      auto sent = ::writev(fd, pieces.begin(), static_cast<int>(pieces.size()));
      raiseReadAhead();
      notifier.serving(mountPoint);
      servingFulfiller->fulfill();
      return sent;
    }
  }
  return ::writev(fd, pieces.begin(), static_cast<int>(pieces.size()));
}

void SessionLoop::raiseReadAhead() {
  // The kernel caps the readahead of a FUSE mount at 128 KiB whatever FUSE_INIT says; root may raise it
  // afterwards.
  KJ_IF_MAYBE (entry, mountAt(mountPoint)) {
    auto path = kj::str("/sys/class/bdi/", entry->device, "/read_ahead_kb");
    int fd = ::open(path.cStr(), O_WRONLY | O_CLOEXEC);
    auto text = kj::str(options.readAheadKb);
    if (fd < 0 || ::write(fd, text.begin(), text.size()) < 0) {
      log.info("may not write ", path, " (", strerror(errno),
               ") -> sequential reads stay at 128 KiB of readahead");
    }
    if (fd >= 0) close(fd);
  }
}

void SessionLoop::abandon() {
  // Closing the last descriptor of /dev/fuse aborts the connection. In its place comes one that has hung up
  // as well, for what is mounted at our path by now is not ours to unmount.
  if (state != State::MOUNTED) return;
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
  close(ends[0]);
  KJ_SYSCALL(dup2(ends[1], fuse_session_fd(session)));
  close(ends[1]);
  state = State::ENDED;
}

}  // namespace cairn::fuse
