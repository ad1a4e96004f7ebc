// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/lock_keeper.h"

#include "client/session.h"

namespace cairn::client {

namespace {

constexpr uint32_t WAIT_MS = 1000;  // of one call: below its deadline, so that a lost metaserver is noticed

}  // namespace

struct LockKeeper::Call : public kj::Refcounted {
  enum class State { UNDER_WAY, GIVEN_UP, OVER } state = State::UNDER_WAY;
};

void write(rpc::FileLock::Builder builder, const FileLock& lock) {
  builder.setInode(lock.inode.value());
  builder.setKind(lock.kind);
  builder.setType(lock.range.type);
  builder.setOwner(lock.owner);
  builder.setStart(lock.range.start);
  builder.setEnd(lock.range.end);
  builder.setPid(lock.pid);
}

void LockKeeper::remember(const FileLock& lock) {
  Key key{lock.inode, lock.kind, lock.owner};
  auto& held = locks[key];
  held.ranges.set(lock.range);
  held.pid = lock.pid;
  if (held.ranges.isEmpty()) locks.erase(key);
}

std::vector<FileLock> LockKeeper::held() const {
  std::vector<FileLock> all;
  for (auto& [key, held] : locks) {
    for (auto& range : held.ranges.all()) all.push_back({key.inode, key.kind, key.owner, range, held.pid});
  }
  return all;
}

Async<Status> LockKeeper::set(FileLock lock, kj::Maybe<kj::Promise<void>> givenUp) {
  if (lock.range.type == LockType::UNLOCK) {
    // Each close of a file gives back the locks that the closing process may have: mostly there are none.
    if (locks.count(Key{lock.inode, lock.kind, lock.owner}) == 0) co_return Status::OK;
    remember(lock);  // first: it is not to be claimed again
  }
  auto status = Status::OK;
  KJ_IF_MAYBE (given, givenUp) {
    status = co_await wait(lock, kj::mv(*given));
  } else {
    status = co_await ask(lock, 0, ++tickets);
  }
  if (ok(status) && lock.range.type != LockType::UNLOCK) remember(lock);
  co_return status;
}

Async<Status> LockKeeper::wait(const FileLock& lock, kj::Promise<void> givenUp) {
  auto ticket = ++tickets;
  auto call = kj::refcounted<Call>();
  auto cancelling =
      cancelWhen(kj::mv(givenUp), ticket, kj::addRef(*call)).eagerlyEvaluate([](kj::Exception&&) {});
  for (;;) {
    auto status = co_await ask(lock, WAIT_MS, ticket);
    // Granted in the very moment of giving up is granted.
    if (status != Status::WOULD_BLOCK || call->state == Call::State::GIVEN_UP) {
      call->state = Call::State::OVER;
      co_return status;
    }
  }
}

Async<void> LockKeeper::cancelWhen(kj::Promise<void> givenUp, uint64_t ticket, kj::Own<Call> call) {
  co_await givenUp;
  if (call->state == Call::State::OVER) co_return;
  call->state = Call::State::GIVEN_UP;
  auto answer = co_await session.query("cancelLock", [ticket](rpc::Session::Client& client) {
    auto request = client.cancelLockRequest();
    request.setTicket(ticket);
    return request.send();
  });
  if (!answer.ok())
    log.debug("a lock wait could not be cancelled: ", answer.status(), " -> it ends by itself");
}

Async<Status> LockKeeper::ask(const FileLock& lock, uint32_t waitMs, uint64_t ticket) {
  auto answer = co_await session.query("lock", [lock, waitMs, ticket](rpc::Session::Client& client) {
    auto request = client.lockRequest();
    write(request.initLock(), lock);
    request.setWaitMs(waitMs);
    request.setTicket(ticket);
    return request.send();
  });
  co_return answer.status();
}

Async<Result<FileLock>> LockKeeper::test(FileLock lock) {
  auto answer = co_await session.query("testLock", [lock](rpc::Session::Client& client) {
    auto request = client.testLockRequest();
    write(request.initLock(), lock);
    return request.send();
  });
  if (!answer.ok()) co_return answer.status();
  auto conflict = answer->getConflict();
  FileLock found{
      InodeId(conflict.getInode()), conflict.getKind(), conflict.getOwner(), {}, conflict.getPid()};
  found.range = {conflict.getStart(), conflict.getEnd(), conflict.getType()};
  co_return found;
}

}  // namespace cairn::client
