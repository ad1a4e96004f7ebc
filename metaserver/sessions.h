// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Sessions: drives the session table. Makes, resumes and fences sessions through the log, tells other mounts
// what has changed under them, and lets deleted files go when their last holder has closed them.
//
// A fenced session's changes are refused by apply itself (the record is gone), so a mount that was cut off
// cannot act on what it believed. Orphans (files without a name) are purged in batches, only when no session
// holds them and everybody's holdings are known: after a restart that takes until all sessions have resumed
// or been fenced. For a moment after its last name an orphan may still be opened, by who had found the name
// before; from the decision to purge it on it is refused as stale, so that nobody can come to hold it. Called
// by meta_server.cc and session_handlers.cc.
#pragma once

#include <kj/async.h>
#include <kj/function.h>
#include <kj/timer.h>

#include <deque>
#include <set>

#include "env/log.h"
#include "metaserver/namespace_reader.h"
#include "metaserver/operation_log.h"
#include "metaserver/session_table.h"
#include "rpc/coroutine.h"
#include "rpc/metaserver.capnp.h"

namespace cairn {

enum class SessionEnd { CLOSED, FENCED };  // by its client; or because it was silent, or did not obey

class SessionListener {
 public:
  virtual ~SessionListener() noexcept(false) = default;
  virtual void sessionEnded(SessionId session, SessionEnd how) = 0;  // from now on its calls are refused
  virtual void purged(kj::ArrayPtr<const InodeId> inodes) {}         // files that nobody could reach any more
};

class Sessions : private kj::TaskSet::ErrorHandler {
 public:
  Sessions(OperationLog& log, const NamespaceReader& names, kj::Timer& timer, env::Logger logger);
  KJ_DISALLOW_COPY(Sessions);

  enum class Told { NO, YES };  // of changes: not a session that knows leases, which are recalled before them
  Async<Result<SessionId>> begin(kj::String host, kj::String name, rpc::ClientCallback::Client callback,
                                 Told told);
  Status resume(SessionId id, kj::ArrayPtr<const InodeId> open, rpc::ClientCallback::Client callback,
                Told told);
  kj::Promise<void> close(SessionId id);
  kj::Promise<void> fence(SessionId id, kj::StringPtr why);

  Status touch(SessionId id) { return table.touch(id, timer.now()); }
  kj::StringPtr host(SessionId id) const { return table.host(id); }
  kj::Maybe<rpc::ClientCallback::Client> callback(SessionId id);  // of its present connection

  void open(SessionId id, InodeId inode) { table.open(id, inode); }
  void release(SessionId id, kj::ArrayPtr<const InodeId> inodes);
  bool held(InodeId inode) const { return table.held(inode); }
  bool everyoneKnown() const { return table.everyoneKnown(); }
  // No session from before the start is still to come back.
  void addListener(SessionListener& listener) { listeners.add(&listener); }
  void orphaned(InodeId inode);  // it has lost its last name just now
  bool mayOpen(InodeId orphan) const { return table.held(orphan) || doomed.count(orphan) > 0; }

  void changed(InodeId inode, SessionId by);
  // The other sessions that hold it open, and know no leases, are told to forget what they cached. Best
  // effort; merged while one is under way.

  Async<void> run();  // fences and purges, for ever
  size_t count() const { return table.size(); }
  void visit(kj::FunctionParam<void(const SessionTable::View&)> visit) const { table.visit(visit); }

 private:
  struct Line {
    // To one mount.
    rpc::ClientCallback::Client callback;
    std::set<InodeId> pending;
    enum class State { IDLE, CALLING } state = State::IDLE;
    uint64_t generation = 0;
    Told told = Told::YES;
  };
  Async<void> notify(SessionId id, uint64_t generation);
  Async<void> end(SessionId id, SessionEnd how, kj::StringPtr why);
  Async<void> purge();
  Async<void> fenceOverdue();
  void consider(kj::ArrayPtr<const InodeId> unheld);
  void left(InodeId orphan);  // nobody holds it any more
  void wakePurge();
  void taskFailed(kj::Exception&& exception) override;

  OperationLog& operations;
  const NamespaceReader& names;
  kj::Timer& timer;
  env::Logger log;
  SessionTable table;
  std::map<SessionId, Line> lines;
  std::set<SessionId> ending;
  struct Dying {
    InodeId inode;
    kj::TimePoint from;  // when it may be purged
  };
  std::deque<Dying> dying;   // orphans nobody holds, by time
  std::set<InodeId> doomed;  // the same, without those whose purge is under way
  enum class Purge { IDLE, SCHEDULED } purging = Purge::IDLE;
  enum class Leftovers { UNSEEN, SEEN } leftovers = Leftovers::UNSEEN;  // orphans from before the start
  uint64_t generations = 0;
  kj::Vector<SessionListener*> listeners;
  kj::TaskSet tasks;
};

}  // namespace cairn
