// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/request.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse/status_errno.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

class Request::Waiting {
 public:
  Waiting(fuse_req_t handle, Interrupts& interrupts) : handle(handle), interrupts(interrupts) {
    fuse_req_interrupt_func(handle, &Waiting::interrupted, this);
  }
  ~Waiting() noexcept(false) {
    if (link.isLinked()) interrupts.remove(*this);
  }
  KJ_DISALLOW_COPY(Waiting);

  static void interrupted(fuse_req_t, void* data) {
    // libfuse holds locks here: only take note.
    auto& self = *static_cast<Waiting*>(data);
    if (!self.link.isLinked()) self.interrupts.add(self);
  }

  fuse_req_t handle;  // null once answered
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> onInterrupt;
  Interrupts& interrupts;
  kj::ListLink<Waiting> link;
};

Request::Request(fuse_req_t handle, Interrupts& interrupts)
    : waiting(kj::heap<Waiting>(handle, interrupts)) {}

Request::Request(Request&& other) noexcept : waiting(kj::mv(other.waiting)) {}

Request::~Request() noexcept(false) {
  if (waiting.get() != nullptr && waiting->handle != nullptr) fail(EIO);
}

template <typename Reply>
Request::Taken Request::answer(Reply&& reply) {
  auto handle = waiting->handle;
  if (handle == nullptr) return Taken::NO;
  if (waiting->link.isLinked()) waiting->interrupts.remove(*waiting);
  waiting->handle = nullptr;
  // An error here means that the kernel has given the request up (unmount, abort) and took nothing.
  return reply(handle) == 0 ? Taken::YES : Taken::NO;
}

Request::Taken Request::fail(int error) {
  return answer([&](fuse_req_t handle) { return fuse_reply_err(handle, error); });
}
Request::Taken Request::status(Status status) {
  return fail(errnoOf(status));
}
Request::Taken Request::attributes(const struct stat& attributes, double timeout) {
  return answer([&](fuse_req_t handle) { return fuse_reply_attr(handle, &attributes, timeout); });
}
Request::Taken Request::entry(const fuse_entry_param& entry) {
  return answer([&](fuse_req_t handle) { return fuse_reply_entry(handle, &entry); });
}
Request::Taken Request::opened(const fuse_file_info& file) {
  return answer([&](fuse_req_t handle) { return fuse_reply_open(handle, &file); });
}
Request::Taken Request::created(const fuse_entry_param& entry, const fuse_file_info& file) {
  return answer([&](fuse_req_t handle) { return fuse_reply_create(handle, &entry, &file); });
}
Request::Taken Request::written(size_t size) {
  return answer([&](fuse_req_t handle) { return fuse_reply_write(handle, size); });
}
Request::Taken Request::bytes(kj::ArrayPtr<const kj::byte> bytes) {
  return answer([&](fuse_req_t handle) {
    return fuse_reply_buf(handle, reinterpret_cast<const char*>(bytes.begin()), bytes.size());
  });
}
Request::Taken Request::link(kj::StringPtr target) {
  return answer([&](fuse_req_t handle) { return fuse_reply_readlink(handle, target.cStr()); });
}
Request::Taken Request::statistics(const struct statvfs& statistics) {
  return answer([&](fuse_req_t handle) { return fuse_reply_statfs(handle, &statistics); });
}
Request::Taken Request::xattrSize(size_t size) {
  return answer([&](fuse_req_t handle) { return fuse_reply_xattr(handle, size); });
}

Request::Taken Request::data(const ReadData& data) {
  constexpr size_t PIECES_MAX = IOV_MAX - 1;  // libfuse puts its header in front
  auto pieces = data.pieces.asPtr();
  if (pieces.size() == 1) return bytes(pieces[0]);
  if (pieces.size() > PIECES_MAX) {
    size_t size = 0;
    for (auto& piece : pieces) size += piece.size();
    auto whole = kj::heapArrayBuilder<kj::byte>(size);
    for (auto& piece : pieces) whole.addAll(piece);
    return bytes(whole.finish());
  }
  KJ_STACK_ARRAY(struct iovec, vectors, pieces.size(), 16, 128);
  for (auto i : kj::indices(pieces)) {
    vectors[i] = {.iov_base = const_cast<kj::byte*>(pieces[i].begin()), .iov_len = pieces[i].size()};
  }
  return answer([&](fuse_req_t handle) {
    return fuse_reply_iov(handle, vectors.begin(), static_cast<int>(vectors.size()));
  });
}

Request::Taken Request::position(FileOffset offset) {
  return answer([&](fuse_req_t handle) { return fuse_reply_lseek(handle, off_t(offset.value())); });
}
Request::Taken Request::lock(const struct flock& lock) {
  return answer([&](fuse_req_t handle) { return fuse_reply_lock(handle, &lock); });
}

bool Request::isAnswered() const {
  return waiting->handle == nullptr;
}

kj::Promise<void> Request::whenInterrupted() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiting->onInterrupt = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

Credentials Request::caller() const {
  KJ_REQUIRE(waiting->handle != nullptr, "the request has been answered");
  auto context = fuse_req_ctx(waiting->handle);
  return {.uid = context->uid, .gid = context->gid, .umask = uint16_t(context->umask & 0777)};
}

std::set<gid_t> Request::groups() const {
  KJ_REQUIRE(waiting->handle != nullptr, "the request has been answered");
  std::set<gid_t> all{fuse_req_ctx(waiting->handle)->gid};
  gid_t list[1024];
  int count = fuse_req_getgroups(waiting->handle, 1024, list);
  for (int i = 0; i < kj::min(count, 1024); ++i) all.insert(list[i]);
  return all;
}

fuse_req_t Request::raw() const {
  return waiting->handle;
}

// ---------------------------------------------------------------------------------------------------------

struct Interrupts::List {
  kj::List<Request::Waiting, &Request::Waiting::link> waiting;
};

Interrupts::Interrupts(kj::Timer& timer, Callers& callers, env::Logger log)
    : timer(timer), callers(callers), log(kj::mv(log)), list(kj::heap<List>()), tasks(*this) {}

Interrupts::~Interrupts() noexcept(false) {}

void Interrupts::add(Request::Waiting& waiting) {
  list->waiting.add(waiting);
  if (state == State::IDLE) {
    state = State::WATCHING;
    tasks.add(kj::evalLater([this]() -> kj::Promise<void> { return watch(); }));
  }
}

void Interrupts::remove(Request::Waiting& waiting) {
  list->waiting.remove(waiting);
}

Async<void> Interrupts::watch() {
  while (!list->waiting.empty()) {
    for (auto& waiting : list->waiting) {
      KJ_IF_MAYBE (fulfiller, waiting.onInterrupt) {
        // This one gives up by itself, and answers when it has.
        (*fulfiller)->fulfill();
        continue;
      }
      if (callers.fateOf(fuse_req_ctx(waiting.handle)->pid) == Callers::Fate::LIVES) continue;
      auto handle = waiting.handle;
      waiting.handle = nullptr;
      list->waiting.remove(waiting);
      ++early;
      fuse_reply_err(handle, EINTR);
    }
    if (list->waiting.empty()) break;
    co_await timer.afterDelay(RECHECK);
  }
  state = State::IDLE;
}

void Interrupts::taskFailed(kj::Exception&& exception) {
  state = State::IDLE;
  log.error("cannot watch interrupted requests -> killed callers wait for their answers: ", exception);
}

// ---------------------------------------------------------------------------------------------------------

namespace {

class ProcCallers final : public Callers {
 public:
  Fate fateOf(pid_t thread) override {
    if (thread <= 0) return Fate::LIVES;  // of another pid namespace: nothing to be known
    char text[4096];
    auto path = kj::str("/proc/", thread, "/status");
    int fd = open(path.cStr(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Fate::DIES;
    auto size = ::read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size <= 0) return Fate::DIES;
    text[size] = 0;

    uint64_t pending = mask(text, "\nSigPnd:") | mask(text, "\nShdPnd:");
    if (pending & bit(SIGKILL)) return Fate::DIES;  // also what the kernel makes of SIGINT, SIGTERM, ...
    // Those that dump core stay themselves until they are delivered.
    uint64_t cores = bit(SIGQUIT) | bit(SIGABRT) | bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGFPE) |
                     bit(SIGTRAP) | bit(SIGSYS) | bit(SIGXCPU) | bit(SIGXFSZ);
    uint64_t handled = mask(text, "\nSigBlk:") | mask(text, "\nSigIgn:") | mask(text, "\nSigCgt:");
    return pending & cores & ~handled ? Fate::DIES : Fate::LIVES;
  }

 private:
  static constexpr uint64_t bit(int signal) { return uint64_t(1) << (signal - 1); }
  static uint64_t mask(const char* text, const char* key) {
    auto found = strstr(text, key);
    return found == nullptr ? 0 : strtoull(found + strlen(key), nullptr, 16);
  }
};

}  // namespace

kj::Own<Callers> procCallers() {
  return kj::heap<ProcCallers>();
}

}  // namespace cairn::fuse
