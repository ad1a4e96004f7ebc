// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The lock calls of a session: unpack, ask the lock service, answer.
#include "metaserver/session_handlers.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t RECLAIMS_MAX = 100'000;

LockRequest read(rpc::FileLock::Reader lock, SessionId session) {
  LockRequest request;
  request.inode = InodeId(lock.getInode());
  request.kind = lock.getKind();
  request.owner = {session, lock.getOwner()};
  request.range = {lock.getStart(), lock.getEnd(), lock.getType()};
  request.pid = lock.getPid();
  return request;
}

void write(rpc::FileLock::Builder builder, const LockRequest& request) {
  builder.setInode(request.inode.value());
  builder.setKind(request.kind);
  builder.setType(request.range.type);
  builder.setOwner(request.owner.number);
  builder.setStart(request.range.start);
  builder.setEnd(request.range.end);
  builder.setPid(request.pid);
}

}  // namespace

Async<void> SessionHandlers::locking(LockContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    co_return;
  }
  auto answer = co_await service.locks.lock(
      read(params.getLock(), session), params.getWaitMs() * kj::MILLISECONDS, {session, params.getTicket()});
  results.setStatus(answer.status);
  KJ_IF_MAYBE (conflict, answer.conflict) write(results.initConflict(), *conflict);
}

kj::Promise<void> SessionHandlers::testLock(TestLockContext context) {
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    return kj::READY_NOW;
  }
  auto request = read(context.getParams().getLock(), session);
  auto answer = service.locks.test(request);
  results.setStatus(answer.status);
  request.range.type = LockType::UNLOCK;
  KJ_IF_MAYBE (conflict, answer.conflict) {
    write(results.initConflict(), *conflict);
    if (conflict->owner.session != session) results.getConflict().setPid(0);  // a process of another mount
  } else {
    write(results.initConflict(), request);
  }
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::cancelLock(CancelLockContext context) {
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    return kj::READY_NOW;
  }
  service.locks.cancel({session, context.getParams().getTicket()});
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::reclaimLocks(ReclaimLocksContext context) {
  auto results = context.getResults();
  auto locks = context.getParams().getLocks();
  if (fenced() || locks.size() > RECLAIMS_MAX) {
    results.setStatus(fenced() ? Status::SESSION_EXPIRED : Status::INVALID);
    return kj::READY_NOW;
  }
  uint32_t lost = 0;
  for (auto lock : locks) lost += !ok(service.locks.reclaim(read(lock, session)));
  if (lost > 0) {
    service.log.warning("session ", session, " claims ", locks.size(), " locks again -> ", lost,
                        " are another's by now, or of files that are gone");
    results.setStatus(Status::WOULD_BLOCK);
  }
  return kj::READY_NOW;
}

}  // namespace cairn
