// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Drives the lock table: the waits of lock calls, and the time after a start in which sessions claim again
// what they held. INVARIANT: until every session that was there before the start has come back or been
// fenced, nobody gets a lock but by claiming it, so nobody can be given what another still believes to hold.
// Called by session_handlers.cc and the end of a session.
#pragma once

#include <kj/async.h>
#include <kj/refcount.h>
#include <kj/timer.h>

#include <map>

#include "env/log.h"
#include "metaserver/file_locks.h"
#include "metaserver/sessions.h"
#include "rpc/coroutine.h"
#include "rpc/result.h"

namespace cairn {

class LockService final : private SessionListener {
 public:
  LockService(Sessions& sessions, const NamespaceReader& names, kj::Timer& timer, env::Logger log);
  ~LockService() noexcept(false);
  KJ_DISALLOW_COPY(LockService);

  struct Answer {
    Status status = Status::OK;
    kj::Maybe<LockRequest> conflict;
  };
  Async<Answer> lock(LockRequest request, kj::Duration wait, LockTicket ticket);
  Answer test(const LockRequest& request) const;
  void cancel(LockTicket ticket);
  Status reclaim(const LockRequest& request);
  // Its session held it before the metaserver restarted. WOULD_BLOCK: another has it, which only a session
  // can have that was fenced meanwhile.

 private:
  Sessions& sessions;
  const NamespaceReader& names;
  kj::Timer& timer;
  env::Logger log;
  FileLocks locks;
  struct Wait : public kj::Refcounted {
    kj::Own<kj::PromiseFulfiller<void>> over;
    enum class State { WAITING, GRANTED, GIVEN_UP } state = State::WAITING;
  };
  std::map<LockTicket, kj::Own<Wait>> waits;  // INVARIANT: those in it are WAITING

  Status check(const LockRequest& request) const;
  void end(LockTicket ticket, Wait::State state);
  void wake(kj::ArrayPtr<const LockTicket> granted);
  void sessionEnded(SessionId session, SessionEnd how) override;
};

}  // namespace cairn
