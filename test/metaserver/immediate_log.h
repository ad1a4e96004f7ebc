// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A log that commits at once, in front of a real namespace: for tests of what stands on it.
#pragma once

#include <kj/async.h>
#include <kj/debug.h>
#include <kj/function.h>

#include "metaserver/namespace.h"
#include "metaserver/operation_log.h"
#include "rpc/coroutine.h"

namespace cairn {

class ImmediateLog final : public OperationLog {
  // Applies each operation when it is proposed and answers a turn later. `durableLag`: how many are not on
  // stable storage.
 public:
  explicit ImmediateLog(Namespace& names) : names(names), lastIndex(names.state().applied) {
    if (lastIndex == LogIndex()) {
      auto operation = kj::heap<LoggedOperation>();
      auto found = operation->body().initFound();
      found.setClusterHigh(1);
      found.setClusterLow(2);
      found.setMode(0755);
      found.setReplicas(3);
      KJ_ASSERT(apply(*operation).ok());
    }
    LoggedOperation start;
    start.body().setStartEpoch();
    currentEpoch = Epoch(apply(start).number);
  }

  kj::Promise<Outcome> propose(kj::Own<LoggedOperation> operation) override {
    if (breakAt > 0 && --breakAt == 0) {
      ++refused;
      return KJ_EXCEPTION(DISCONNECTED, "the log is broken, says the test");
    }
    auto body = operation->body().asReader();
    KJ_IF_MAYBE (happens, before) (*happens)(body);
    bool isRefused = refuse != Status::OK && (refuseKind == nullptr || refuseKind == body.which()) &&
                     (refuseOnly == 0 || --refuseOnly == 0);
    auto outcome = isRefused ? refusal(refuse) : apply(*operation);
    if (isRefused) ++refused;
    if (isRefused && refused == 1 && isOnce) refuse = Status::OK;
    KJ_IF_MAYBE (happens, after) (*happens)(body);
    return kj::evalLater([outcome = kj::mv(outcome)]() mutable { return kj::mv(outcome); });
  }
  Async<Status> durable(LogIndex index) override {
    if (failSync > 0 && --failSync == 0) {
      ++refused;
      return Status::IO_ERROR;
    }
    if (disk == Disk::FAST) return Status::OK;
    auto paf = kj::newPromiseAndFulfiller<Status>();
    syncs.add(kj::mv(paf.fulfiller));
    return kj::mv(paf.promise);
  }
  kj::Promise<void> whenBroken() override { return kj::NEVER_DONE; }
  LogIndex last() const override { return lastIndex; }
  LogIndex durableUpTo() const override {
    return LogIndex(lastIndex.value() - kj::min(durableLag, lastIndex.value()));
  }
  uint32_t inFlight() const override { return 0; }
  Epoch epoch() const override { return currentEpoch; }
  LogIndex lostFrom() const override { return mayBeLost; }
  CommitMode commitMode() const override { return CommitMode::MEMORY; }
  int64_t now() const override { return time; }

  Status refuse = Status::OK;
  void refuseOnce(uint64_t proposal, Status status) {
    // The one with that number, counted from now on, from 1.
    refuse = status;
    refuseOnly = proposal;
    isOnce = true;
    refused = 0;
  }
  kj::Maybe<rpc::Operation::Which> refuseKind;  // only of these
  uint64_t breakAt = 0;                         // that proposal, counted likewise, breaks as over a bug
  using Meanwhile = kj::Function<void(rpc::Operation::Reader)>;
  kj::Maybe<Meanwhile> before, after;  // what happens before one is applied, and before it is answered
  template <typename Fill>
  Outcome carryOut(Fill fill) {
    // Past all that, in the middle of whatever is under way.
    LoggedOperation operation;
    fill(operation.body());
    return apply(operation);
  }
  uint64_t failSync = 0;  // the durable() with that number, counted from now on, fails
  uint64_t refused = 0;
  uint64_t durableLag = 0;
  LogIndex mayBeLost;
  enum class Disk { FAST, HELD } disk = Disk::FAST;
  kj::Vector<kj::Own<kj::PromiseFulfiller<Status>>> syncs;  // with HELD: who waits for stable storage
  int64_t time = 1'000'000'000;                             // of operations, set by hand

 private:
  uint64_t refuseOnly = 0;
  bool isOnce = false;
  Outcome apply(LoggedOperation& operation) {
    lastIndex = lastIndex.next();
    operation.body().setIndex(lastIndex.value());
    operation.body().setEpoch(currentEpoch.value());
    operation.body().setTime(time);
    auto outcome = names.apply(operation.body().asReader());
    names.commit();
    return outcome;
  }
  Namespace& names;
  LogIndex lastIndex;
  Epoch currentEpoch;
};

}  // namespace cairn
