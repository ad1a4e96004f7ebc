// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Says which snapshots may begin beside each other, and takes away what is left of copies of trees: of those
// that were given up, or that a metaserver before this one had begun, all; of those that have their name, the
// notes. The one that is being made is safe from it: the gate is closed as long. Each step is one operation
// of bounded size. Run by meta_service.cc.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include "env/log.h"
#include "metaserver/change_gate.h"
#include "metaserver/namespace_reader.h"
#include "metaserver/operation_log.h"
#include "rpc/coroutine.h"

namespace cairn {

struct SnapshotSteps {
  // How far the one in steps is.
  enum class Phase {
    WRITERS,  // who writes gives that up; changes go on
    COPYING,  // changes wait
    STORES,   // the copying too: for stores to settle chunks
  };
  Phase phase = Phase::WRITERS;
  uint64_t inodes = 0;  // copied
};

class StagingKeeper : private kj::TaskSet::ErrorHandler {
 public:
  StagingKeeper(ChangeGate& gate, const NamespaceReader& names, kj::Timer& timer, env::Logger logger)
      : gate(gate), names(names), timer(timer), log(kj::mv(logger)), tasks(*this) {}
  KJ_DISALLOW_COPY(StagingKeeper);

  // Snapshots under way: many in one operation each, or one in steps.
  bool mayBegin() const { return steps == nullptr; }
  bool mayBeginSteps() const { return mayBegin() && whole == 0; }
  void begunWhole() { ++whole; }
  void endedWhole() { --whole; }
  void begunSteps() { steps = SnapshotSteps(); }
  void carryOut(kj::Promise<void> snapshot) { tasks.add(kj::mv(snapshot)); }
  void stepped(SnapshotSteps now) { steps = now; }
  void endedSteps() { steps = nullptr; }
  const kj::Maybe<SnapshotSteps>& stepsUnderWay() const { return steps; }

  Async<void> run();  // for ever

 private:
  Async<void> tidy();
  void taskFailed(kj::Exception&& exception) override;

  ChangeGate& gate;
  const NamespaceReader& names;
  kj::Timer& timer;
  env::Logger log;
  uint32_t whole = 0;
  kj::Maybe<SnapshotSteps> steps;
  kj::TaskSet tasks;
};

}  // namespace cairn
