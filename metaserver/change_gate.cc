// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See change_gate.h.
#include "metaserver/change_gate.h"

#include <kj/debug.h>

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration WAIT_MAX = 1 * kj::SECONDS;  // of one call: below the deadline that clients give it

bool passesClosed(rpc::Operation::Reader operation) {
  // Whatever is not named waits.
  switch (operation.which()) {
    case rpc::Operation::START_EPOCH:
    case rpc::Operation::OPEN_SESSION:
    case rpc::Operation::REGISTER_STORE:
    case rpc::Operation::UNREGISTER_STORE:
    case rpc::Operation::DRAIN_STORE:
    case rpc::Operation::RESERVE_HANDLES:
    case rpc::Operation::RAISE_VERSION:
    case rpc::Operation::CONFIRM_VERSION:
    case rpc::Operation::COVER_CHUNKS:
    case rpc::Operation::COLLECT_GARBAGE:
    case rpc::Operation::EPOCH_SEEN:
    case rpc::Operation::FOUND_VERSIONS:
    case rpc::Operation::TAKEN_OVER:
    case rpc::Operation::RELEASE_KEPT:
    case rpc::Operation::STAGE_TREE:
    case rpc::Operation::COPY_STAGED:
    case rpc::Operation::LINK_STAGED:
      return true;
    case rpc::Operation::CLOSE_SESSION:
      return operation.getCloseSession().getPurge().size() == 0;
    default:
      return false;
  }
}

}  // namespace

ChangeGate::ChangeGate(OperationLog& log, kj::Timer& timer, env::Logger logger)
    : log(log), timer(timer), logger(kj::mv(logger)), tasks(*this) {}

ChangeGate::~ChangeGate() noexcept(false) = default;

void ChangeGate::taskFailed(kj::Exception&& exception) {
  logger.error("what had waited for a snapshot could not be proposed: ", exception);
}

kj::Promise<void> ChangeGate::untilOpen() {
  ++atEntrance;
  return whenOpened.addBranch().exclusiveJoin(timer.afterDelay(WAIT_MAX)).attach(kj::defer([this]() {
    --atEntrance;
  }));
}

void ChangeGate::ended() {
  if (--underWay == 0 && idle.get() != nullptr) idle->fulfill();
}

Async<ChangeGate::Closed> ChangeGate::close(kj::Duration patience) {
  KJ_REQUIRE(isOpen(), "the gate is closed already");
  state = State::CLOSING;
  shutAt = timer.now();
  auto pair = kj::newPromiseAndFulfiller<void>();
  opened = kj::mv(pair.fulfiller);
  whenOpened = pair.promise.fork();
  Closed closed(*this);
  if (underWay > 0) {
    auto none = kj::newPromiseAndFulfiller<void>();
    idle = kj::mv(none.fulfiller);
    co_await none.promise.exclusiveJoin(timer.afterDelay(patience));
  }
  if (underWay > 0) co_return Closed();
  state = State::CLOSED;
  auto status = co_await log.durable(LogIndex());  // so all of it has been applied
  if (!ok(status)) co_return Closed();
  co_return kj::mv(closed);
}

void ChangeGate::open() {
  state = State::OPEN;
  opened->fulfill();
  auto all = kj::mv(waiting);
  waiting.clear();
  for (auto& proposal : all) forward(kj::mv(proposal));
}

kj::Promise<Outcome> ChangeGate::propose(kj::Own<LoggedOperation> operation) {
  if (state != State::CLOSED || passesClosed(operation->body().asReader()))
    return log.propose(kj::mv(operation));
  auto pair = kj::newPromiseAndFulfiller<Outcome>();
  waiting.push_back({kj::mv(operation), kj::mv(pair.fulfiller)});
  return kj::mv(pair.promise);
}

void ChangeGate::forward(Waiting proposal) {
  auto proposed = log.propose(kj::mv(proposal.operation));
  auto& fulfiller = *proposal.fulfiller;
  tasks.add(proposed
                .then([&fulfiller](Outcome&& outcome) { fulfiller.fulfill(kj::mv(outcome)); },
                      [&fulfiller](kj::Exception&& exception) { fulfiller.reject(kj::mv(exception)); })
                .attach(kj::mv(proposal.fulfiller)));
}

}  // namespace cairn
