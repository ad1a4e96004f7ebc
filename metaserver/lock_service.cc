// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/lock_service.h"

#include "rpc/coroutine.h"

namespace cairn {

namespace {
constexpr kj::Duration WAIT_MAX = 5 * kj::SECONDS;  // of one call: callers that wait longer ask again
}

LockService::LockService(Sessions& sessions, const NamespaceReader& names, kj::Timer& timer,
                         env::Logger logger)
    : sessions(sessions), names(names), timer(timer), log(kj::mv(logger)) {
  sessions.addListener(*this);
}

LockService::~LockService() noexcept(false) {}

Status LockService::check(const LockRequest& request) const {
  if (request.range.start > request.range.end || request.range.end > LOCK_END_MAX) return Status::INVALID;
  auto inode = names.inode(request.inode);
  // What is gone may be unlocked.
  return request.range.type == LockType::UNLOCK ? Status::OK : inode.status();
}

Async<LockService::Answer> LockService::lock(LockRequest request, kj::Duration wait, LockTicket ticket) {
  auto status = check(request);
  if (!ok(status)) co_return Answer{status, nullptr};
  if (request.range.type != LockType::UNLOCK && !sessions.everyoneKnown()) {
    // Somebody may still hold what he has not yet claimed again.
    co_return Answer{Status::NOT_READY, nullptr};
  }
  auto conflict = locks.conflict(request);
  if (conflict == nullptr) {
    locks.set(request);
    // A lock that was changed to a weaker one, or given back, lets others in.
    wake(locks.grant(request.inode, request.kind));
    co_return Answer();
  }
  if (wait == 0 * kj::SECONDS) co_return Answer{Status::WOULD_BLOCK, kj::mv(conflict)};
  if (locks.wouldDeadlock(request)) {
    log.info("session ", request.owner.session, " would wait for itself on inode ", request.inode,
             " -> refused");
    co_return Answer{Status::DEADLOCK, kj::mv(conflict)};
  }

  cancel(ticket);  // of a call that its caller repeats
  auto pair = kj::newPromiseAndFulfiller<void>();
  auto mine = kj::refcounted<Wait>();
  mine->over = kj::mv(pair.fulfiller);
  waits[ticket] = kj::addRef(*mine);
  locks.wait(ticket, request);
  co_await pair.promise.exclusiveJoin(timer.afterDelay(kj::min(wait, WAIT_MAX)));
  if (mine->state == Wait::State::WAITING) cancel(ticket);
  if (mine->state == Wait::State::GRANTED) co_return Answer();
  co_return Answer{Status::WOULD_BLOCK, kj::mv(conflict)};
}

LockService::Answer LockService::test(const LockRequest& request) const {
  auto status = check(request);
  if (!ok(status)) return {status, nullptr};
  return {Status::OK, locks.conflict(request)};
}

void LockService::end(LockTicket ticket, Wait::State state) {
  auto found = waits.find(ticket);
  if (found == waits.end()) return;
  auto wait = kj::mv(found->second);
  waits.erase(found);
  wait->state = state;
  wait->over->fulfill();
}

void LockService::cancel(LockTicket ticket) {
  locks.giveUp(ticket);
  end(ticket, Wait::State::GIVEN_UP);
}

Status LockService::reclaim(const LockRequest& request) {
  auto status = check(request);
  if (!ok(status)) return status;
  if (locks.conflict(request) != nullptr) return Status::WOULD_BLOCK;
  locks.set(request);
  return Status::OK;
}

void LockService::wake(kj::ArrayPtr<const LockTicket> granted) {
  for (auto& ticket : granted) end(ticket, Wait::State::GRANTED);
}

void LockService::sessionEnded(SessionId session, SessionEnd) {
  auto granted = locks.ended(session);
  while (true) {
    auto next = waits.lower_bound(LockTicket{session, 0});
    if (next == waits.end() || next->first.session != session) break;
    end(next->first, Wait::State::GIVEN_UP);
  }
  if (granted.size() > 0)
    log.info("session ", session, " is gone -> ", granted.size(), " lock waits have their turn");
  wake(granted);
}

}  // namespace cairn
