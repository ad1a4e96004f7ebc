// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/notifier.h"

#include <errno.h>
#include <string.h>

#include "fuse/libfuse.h"

namespace cairn::fuse {

Notifier::~Notifier() noexcept(false) {
  stop();
}

void Notifier::start(struct fuse_session* of, InodeTable& table) {
  session = of;
  inodes = table;
  thread = kj::heap<kj::Thread>([this]() { send(); });
}

void Notifier::stop() {
  queue.lockExclusive()->state = Queue::State::STOPPED;
  thread = nullptr;  // joins
  inodes = nullptr;
}

void Notifier::inodeChanged(InodeId inode) {
  KJ_IF_MAYBE (table, inodes) {
    if (!table->knows(inode)) return;
    table->pagesChanged(inode);
    table->changed(inode);
    queue.lockExclusive()->inodes.insert(inode);
  }
}

void Notifier::nameChanged(InodeId parent, kj::StringPtr name) {
  KJ_IF_MAYBE (table, inodes) {
    if (!table->knows(parent)) return;
    auto lock = queue.lockExclusive();
    if (lock->names.size() >= NAMES_MAX) {
      if (lock->namesDropped++ == 0) {
        log.warning(NAMES_MAX,
                    " changed names wait for the kernel -> it forgets further ones by its timeout");
      }
      return;
    }
    lock->names.emplace(parent, name.cStr());
  }
}

void Notifier::forgetAttributes(InodeId inode) {
  constexpr off_t ATTRIBUTES_ONLY = -1;
  fuse_lowlevel_notify_inval_inode(session, inode.value(), ATTRIBUTES_ONLY, 0);
}

void Notifier::send() {
  while (true) {
    std::set<InodeId> changedInodes;
    std::set<std::pair<InodeId, std::string>> changedNames;
    bool stopped = queue.when(
        [](const Queue& queue) {
          return queue.state == Queue::State::STOPPED || !queue.inodes.empty() || !queue.names.empty();
        },
        [&](Queue& queue) {
          changedInodes.swap(queue.inodes);
          changedNames.swap(queue.names);
          queue.namesDropped = 0;
          return queue.state == Queue::State::STOPPED;
        });
    if (stopped) return;
    // Answers do not matter: an inode or a name that the kernel does not know needs no invalidation.
    for (auto& [parent, name] : changedNames) {
      fuse_lowlevel_notify_inval_entry(session, parent.value(), name.data(), name.size());
    }
    for (auto inode : changedInodes) fuse_lowlevel_notify_inval_inode(session, inode.value(), 0, 0);
  }
}

}  // namespace cairn::fuse
