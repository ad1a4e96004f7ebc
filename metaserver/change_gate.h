// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Stands in front of the operation log and can be closed: from then until it is opened again nothing changes
// what a snapshot could show. Reads need no gate. Everything but the start of a metaserver proposes through
// it, so no part of it can forget to wait.
//
//   close -> changes of clients that come now wait at the entrance -> those under way are finished -> what
//   the metaserver itself proposes waits in a queue -> what was proposed before has been applied: closed
//
// What passes all the same is about stores, sessions, leases and versions of chunks, and the copying itself;
// reading goes on with those. What waits in the queue is proposed when the gate opens, in its order. Driven
// by stepped_snapshot.cc; the entrance is used by session_handlers.cc.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <deque>

#include "env/log.h"
#include "metaserver/operation_log.h"
#include "rpc/coroutine.h"

namespace cairn {

class ChangeGate final : public OperationLog, private kj::TaskSet::ErrorHandler {
 public:
  ChangeGate(OperationLog& log, kj::Timer& timer, env::Logger logger);
  ~ChangeGate() noexcept(false);
  KJ_DISALLOW_COPY(ChangeGate);

  // -- the entrance, for changes of clients
  bool isOpen() const { return state == State::OPEN; }
  kj::Promise<void> untilOpen();  // or for a second: then the caller is told to ask again
  void begun() { ++underWay; }
  void ended();
  uint32_t held() const { return atEntrance + uint32_t(waiting.size()); }
  kj::Duration heldFor() const { return isOpen() ? 0 * kj::SECONDS : timer.now() - shutAt; }

  class Closed {
    // As long as it lives.
   public:
    Closed() = default;
    explicit Closed(ChangeGate& gate) : gate(&gate) {}
    Closed(Closed&& other) noexcept : gate(other.gate) { other.gate = nullptr; }
    ~Closed() noexcept(false) {
      if (gate != nullptr) gate->open();
    }
    KJ_DISALLOW_COPY(Closed);
    bool isClosed() const { return gate != nullptr; }

   private:
    ChangeGate* gate = nullptr;
  };
  Async<Closed> close(kj::Duration patience);
  // One at a time. It is not closed: what was under way has not ended in time, or the log is broken.

  // -- OperationLog
  kj::Promise<Outcome> propose(kj::Own<LoggedOperation> operation) override;
  Async<Status> durable(LogIndex index) override { return log.durable(index); }
  kj::Promise<void> whenBroken() override { return log.whenBroken(); }
  LogIndex last() const override { return log.last(); }
  LogIndex durableUpTo() const override { return log.durableUpTo(); }
  uint32_t inFlight() const override { return log.inFlight() + uint32_t(waiting.size()); }
  Epoch epoch() const override { return log.epoch(); }
  LogIndex lostFrom() const override { return log.lostFrom(); }
  CommitMode commitMode() const override { return log.commitMode(); }
  int64_t now() const override { return log.now(); }

 private:
  struct Waiting {
    kj::Own<LoggedOperation> operation;
    kj::Own<kj::PromiseFulfiller<Outcome>> fulfiller;
  };
  OperationLog& log;
  kj::Timer& timer;
  env::Logger logger;
  enum class State { OPEN, CLOSING, CLOSED } state = State::OPEN;
  kj::TimePoint shutAt = kj::origin<kj::TimePoint>();  // unless it is open
  uint32_t atEntrance = 0;
  uint32_t underWay = 0;
  kj::Own<kj::PromiseFulfiller<void>> idle;    // nothing is under way any more
  kj::Own<kj::PromiseFulfiller<void>> opened;  // while it is not open
  kj::ForkedPromise<void> whenOpened = kj::Promise<void>(kj::READY_NOW).fork();
  std::deque<Waiting> waiting;
  kj::TaskSet tasks;

  void open();
  void forward(Waiting proposal);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace cairn
