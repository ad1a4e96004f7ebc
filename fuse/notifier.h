// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Tells the kernel what it must forget. A notification blocks in the kernel while the page or the directory
// is busy with a request that only our loop can answer, so one thread of its own sends them; it is the only
// one besides the loop. INVARIANT: the queue holds an inode once, so it is bounded by what the kernel knows;
// of names it holds NAMES_MAX (beyond that the kernel's own timeout has to do).
#pragma once

#include <kj/mutex.h>
#include <kj/string.h>
#include <kj/thread.h>

#include <deque>
#include <set>
#include <string>

#include "client/filesystem.h"
#include "env/log.h"
#include "fuse/handlers.h"

struct fuse_session;

namespace cairn::fuse {

class Notifier final : public Filesystem::Observer, public KernelCaches {
 public:
  static constexpr size_t NAMES_MAX = 65536;

  Notifier(env::Logger log) : log(kj::mv(log)) {}
  ~Notifier() noexcept(false);  // after stop()
  KJ_DISALLOW_COPY(Notifier);

  void start(struct fuse_session* session, InodeTable& inodes);  // from here on the thread sends
  void stop();
  // What is queued is dropped; waits for the notification that is being sent, which the kernel lets go when
  // the connection is gone.

  void inodeChanged(InodeId inode) override;
  void nameChanged(InodeId parent, kj::StringPtr name) override;
  void invalidateInode(InodeId inode) override { inodeChanged(inode); }
  void forgetAttributes(InodeId inode) override;

 private:
  struct Queue {
    std::set<InodeId> inodes;
    std::set<std::pair<InodeId, std::string>> names;
    enum class State { RUNNING, STOPPED } state = State::RUNNING;
    size_t namesDropped = 0;
  };
  void send();

  env::Logger log;
  kj::MutexGuarded<Queue> queue;
  kj::Maybe<InodeTable&> inodes;  // of the loop's thread
  struct fuse_session* session = nullptr;
  kj::Maybe<kj::Own<kj::Thread>> thread;
};

}  // namespace cairn::fuse
