// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Locks of fcntl(2) and flock(2) across all mounts: who holds what, who waits for what, in which order.
// INVARIANT: no two owners hold locks on one byte (or one file) that exclude each other; whoever waits is
// excluded by somebody who holds. Pure: the caller passes requests on and tells those whose turn has come.
// Called by lock_service.cc only. Volatile: after a restart sessions claim again what they held.
#pragma once

#include <kj/common.h>
#include <kj/vector.h>

#include <list>
#include <map>

#include "rpc/lock_ranges.h"
#include "rpc/units.h"

namespace cairn {

struct LockOwner {
  // Locks of one owner never exclude each other. The number is the mount's: a process, or an open file.
  SessionId session;
  uint64_t number = 0;
  auto operator<=>(const LockOwner&) const = default;
};

struct LockRequest {
  InodeId inode;
  LockKind kind = LockKind::POSIX;
  LockOwner owner;
  LockRange range;
  uint32_t pid = 0;  // for F_GETLK
};

struct LockTicket {
  // Of somebody who waits.
  SessionId session;
  uint64_t number = 0;
  auto operator<=>(const LockTicket&) const = default;
};

class FileLocks {
 public:
  kj::Maybe<LockRequest> conflict(const LockRequest& request) const;  // a lock that is in the way
  void set(const LockRequest& request);
  // Takes, changes or gives back. Whoever takes has seen that there is no conflict.

  bool wouldDeadlock(const LockRequest& request) const;
  // If its owner waited for it: one of those in the way waits for it, directly or through others. POSIX locks
  // only.
  void wait(LockTicket ticket, const LockRequest& request);
  void giveUp(LockTicket ticket);
  kj::Vector<LockTicket> grant(InodeId inode, LockKind kind);
  // Those who wait and can have what they wait for, in their order, now hold it.

  kj::Vector<LockTicket> ended(SessionId session);  // its locks and waits go; who can have theirs now
  bool holdsAny(InodeId inode, LockKind kind, LockOwner owner) const;
  size_t waitingCount() const { return waiting.size(); }
  size_t fileCount() const { return files.size(); }
  void checkInvariants() const;

 private:
  struct File {
    std::map<LockOwner, LockRanges> owners;
    std::map<LockOwner, uint32_t> pids;
  };
  struct Waiter {
    LockTicket ticket;
    LockRequest request;
  };
  using FileKey = std::pair<InodeId, LockKind>;
  std::map<FileKey, File> files;
  std::list<Waiter> waiting;  // oldest first

  template <typename Visit>
  void forConflicts(const LockRequest& request, Visit&& visit) const;
};

}  // namespace cairn
