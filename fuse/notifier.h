// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Tells the kernel what it must forget, and knows when it has.
//
// Pages and attributes go by FUSE_NOTIFY_INVAL_INODE. It blocks in the kernel while one of the pages is
// locked by a request that only our loop can answer, so threads of their own send it; a second one for the
// same inode, which leaves out more pages, may overtake the first.
//
// Names go by FUSE_NOTIFY_INC_EPOCH (Linux 6.16): the kernel looks every name of the mount up again, which
// the library answers from its memory. It takes no lock. FUSE_NOTIFY_INVAL_ENTRY would take that of the
// directory, which a request of this very mount may hold while it waits at the metaserver for the recall that
// the notification belongs to: a circle. Of a listing whose names the kernel may still be taking see
// listings_given.h. An older kernel is never allowed to keep names. A name that is
// looked up again because of its epoch loses what is mounted on it (the kernel's way with names that are not
// valid any more), so while something is mounted below our mount point the kernel may keep no names either,
// and what it was allowed to keep before is waited out. Called by session_loop.cc.
#pragma once

#include <kj/async-unix.h>
#include <kj/string.h>
#include <kj/timer.h>

#include "client/filesystem.h"
#include "env/log.h"
#include "env/worker.h"
#include "fuse/handlers.h"
#include "fuse/listings_given.h"
#include "fuse/mount_table.h"
#include "rpc/coroutine.h"

struct fuse_session;

namespace cairn::fuse {

class Notifier final : public Filesystem::Observer, public KernelCaches, private kj::TaskSet::ErrorHandler {
 public:
  Notifier(kj::UnixEventPort& events, kj::Timer& timer, env::Logger log);
  ~Notifier() noexcept(false);  // after stop()
  KJ_DISALLOW_COPY(Notifier);

  void start(struct fuse_session* session, InodeTable& inodes);
  void serving(kj::StringPtr mountPoint);  // the kernel and we have agreed on terms: finds out about epochs
  void stop();
  // Nothing is sent any more; waits for what is being sent, which the kernel lets go when the connection is
  // gone.

  // Filesystem::Observer
  kj::Promise<void> forget(InodeId inode, std::vector<Filesystem::Range> except) override;
  kj::Promise<void> forgetAttributes(InodeId inode) override;
  kj::Promise<void> forgetAll() override;

  // KernelCaches
  kj::Duration keepNames(kj::Duration wanted) override;
  kj::Promise<void> forgetNames() override { return forgetNames(nullptr); }
  void listingGiven(const void* handle, InodeId directory) override { listings.given(handle, directory); }
  void listingTaken(const void* handle) override { listings.taken(handle); }
  kj::Promise<void> forgetPages(InodeId inode, Filesystem::Range range) override;

  bool hasEpochs() const { return epochs == Epochs::YES; }

 private:
  enum class Epochs { UNKNOWN, NO, YES };
  enum class Taken { YES, UNKNOWN_INODE };

  kj::Timer& timer;
  env::Logger log;
  kj::Own<env::Worker> worker;
  kj::Maybe<InodeTable&> inodes;  // null: not started, or stopped
  struct fuse_session* session = nullptr;
  Epochs epochs = Epochs::UNKNOWN;
  kj::Own<NestedMounts> nested;
  kj::TimePoint namesEnd =
      kj::origin<kj::TimePoint>();  // until then the kernel may keep one that it was given
  ListingsGiven listings;
  kj::Own<kj::TaskSet> sending;

  Async<void> forgetNames(kj::Maybe<InodeId> directory);  // null: of all
  void beginEpoch();
  Async<void> forgetNow(InodeId inode, std::vector<Filesystem::Range> except);
  kj::Promise<void> send(InodeId inode, std::vector<Filesystem::Range> ranges);
  Async<void> sendUntilTaken(InodeId inode, std::vector<Filesystem::Range> ranges);
  Async<Taken> sendOnce(InodeId inode, const std::vector<Filesystem::Range>& ranges);
  bool nextEpoch();
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace cairn::fuse
