// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/notifier.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "fuse/libfuse.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {

constexpr int INC_EPOCH = 8;  // FUSE_NOTIFY_INC_EPOCH: not in the headers of Debian 12 and 13
// Of notifications that wait for locked pages. The kernel has at most 64 requests of a mount in the
// background, each of which may stop one; the others are in the system calls of as many processes.
constexpr unsigned THREADS_MAX = 256;
constexpr auto FIRST_PAUSE = 50 * kj::MICROSECONDS, LAST_PAUSE = 10 * kj::MILLISECONDS;

constexpr Filesystem::Range NO_PAGES{UINT64_MAX, 0};  // an offset of -1 in the message: attributes only

std::vector<Filesystem::Range> without(std::vector<Filesystem::Range> except) {
  // What is left of a file, in whole pages.
  constexpr uint64_t PAGE = 4096;
  std::sort(except.begin(), except.end(), [](auto& one, auto& other) { return one.offset < other.offset; });
  std::vector<Filesystem::Range> left;
  uint64_t at = 0;
  for (auto& range : except) {
    if (range.size == 0) continue;
    auto from = range.offset / PAGE * PAGE, to = (range.offset + range.size + PAGE - 1) / PAGE * PAGE;
    if (from > at) left.push_back({at, from - at});
    at = std::max(at, to);
  }
  left.push_back({at, 0});
  return left;
}

}  // namespace

Notifier::Notifier(kj::UnixEventPort& events, kj::Timer& timer, env::Logger log)
    : timer(timer),
      log(kj::mv(log)),
      worker(env::newThreadWorker(events, THREADS_MAX)),
      listings(timer),
      sending(kj::heap<kj::TaskSet>(static_cast<kj::TaskSet::ErrorHandler&>(*this))) {}

Notifier::~Notifier() noexcept(false) {
  stop();
}

void Notifier::start(struct fuse_session* of, InodeTable& table) {
  session = of;
  inodes = table;
}

void Notifier::serving(kj::StringPtr mountPoint) {
  nested = kj::heap<NestedMounts>(mountPoint);
  epochs = Epochs::YES;
  epochs = nextEpoch() ? Epochs::YES : Epochs::NO;
  if (epochs == Epochs::NO) {
    log.info("this kernel has no epochs of names (Linux 6.16 has) -> it keeps none, each is looked up here");
  }
}

void Notifier::stop() {
  inodes = nullptr;
  listings.stop();
  sending = nullptr;
}

bool Notifier::nextEpoch() {
  struct fuse_out_header header = {.len = sizeof(header), .error = INC_EPOCH, .unique = 0};
  return ::write(fuse_session_fd(session), &header, sizeof(header)) == sizeof(header);
}

kj::Duration Notifier::keepNames(kj::Duration wanted) {
  if (epochs != Epochs::YES || wanted <= 0 * kj::SECONDS || nested->any()) return 0 * kj::SECONDS;
  // The kernel counts from when the process that asked has taken the answer, in ticks.
  namesEnd = kj::max(namesEnd, timer.now() + wanted + ListingsGiven::TAKING_MAX);
  return wanted;
}

Async<void> Notifier::forgetNames(kj::Maybe<InodeId> directory) {
  if (epochs != Epochs::YES || timer.now() > namesEnd) co_return;
  if (nested->any()) {
    log.info("something is mounted in this mount -> the names that the kernel was given before run out");
    while (timer.now() <= namesEnd) co_await timer.atTime(namesEnd + 1 * kj::MILLISECONDS);
    co_return;
  }
  beginEpoch();
  if (listings.any(directory)) {
    co_await listings.allTaken(directory);
    co_await forgetNames(directory);  // what has been mounted meanwhile counts, too
  }
}

void Notifier::beginEpoch() {
  // ENODEV, EPIPE: it has been unmounted, or abandoned.
  if (!nextEpoch() && errno != ENODEV && errno != EPIPE) {
    log.error("the kernel did not take a new epoch of names (", strerror(errno),
              ") -> it may keep none from now on");
    epochs = Epochs::NO;
  }
}

kj::Promise<void> Notifier::forget(InodeId inode, std::vector<Filesystem::Range> except) {
  KJ_IF_MAYBE (table, inodes) {
    if (table->knows(inode)) return forgetNow(inode, std::move(except));
  }
  return kj::READY_NOW;
}

Async<void> Notifier::forgetNow(InodeId inode, std::vector<Filesystem::Range> except) {
  bool hasNames = false;
  KJ_IF_MAYBE (table, inodes) hasNames = table->takeNames(inode);
  auto pages = send(inode, without(std::move(except)));
  if (hasNames) co_await forgetNames(inode);
  co_await pages;
}

kj::Promise<void> Notifier::forgetAttributes(InodeId inode) {
  KJ_IF_MAYBE (table, inodes) {
    if (table->knows(inode)) return send(inode, {NO_PAGES});
  }
  return kj::READY_NOW;
}

kj::Promise<void> Notifier::forgetPages(InodeId inode, Filesystem::Range range) {
  if (inodes == nullptr) return kj::READY_NOW;
  return send(inode, {range});
}

kj::Promise<void> Notifier::send(InodeId inode, std::vector<Filesystem::Range> ranges) {
  // The thread's work goes on whatever becomes of the promise: it cannot be called back.
  auto paf = kj::newPromiseAndFulfiller<void>();
  sending->add(sendUntilTaken(inode, std::move(ranges)).then([fulfiller = kj::mv(paf.fulfiller)]() mutable {
    fulfiller->fulfill();
  }));
  return kj::mv(paf.promise);
}

Async<void> Notifier::sendUntilTaken(InodeId inode, std::vector<Filesystem::Range> ranges) {
  // The kernel does not know an inode yet whose answer it has taken, until the process that asked has run;
  // then it would keep the attributes of that answer. There is no event for it: it knows the inode, or gives
  // it back, within moments.
  auto pause = FIRST_PAUSE;
  while (co_await sendOnce(inode, ranges) == Taken::UNKNOWN_INODE) {
    KJ_IF_MAYBE (table, inodes) {
      if (!table->knows(inode)) co_return;
    } else {
      co_return;
    }
    co_await timer.afterDelay(pause);
    pause = kj::min(pause * 2, LAST_PAUSE);
  }
}

Async<Notifier::Taken> Notifier::sendOnce(InodeId inode, const std::vector<Filesystem::Range>& ranges) {
  auto taken =
      std::make_shared<Taken>(Taken::YES);  // the thread's work outlives us when nobody waits any more
  co_await worker->run([session = session, inode, ranges, taken]() {
    for (auto& range : ranges) {
      auto error = fuse_lowlevel_notify_inval_inode(session, inode.value(), static_cast<off_t>(range.offset),
                                                    static_cast<off_t>(range.size));
      if (error == -ENOENT) *taken = Taken::UNKNOWN_INODE;
    }
  });
  co_return *taken;
}

kj::Promise<void> Notifier::forgetAll() {
  kj::Vector<kj::Promise<void>> parts;
  parts.add(forgetNames(nullptr));
  KJ_IF_MAYBE (table, inodes) {
    for (auto inode : table->withPages()) parts.add(send(inode, {{}}));
  }
  return kj::joinPromises(parts.releaseAsArray());
}

void Notifier::taskFailed(kj::Exception&& exception) {
  log.error("the kernel could not be told to forget something: ", exception);
}

}  // namespace cairn::fuse
