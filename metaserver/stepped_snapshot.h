// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A snapshot of a tree that is too large for one operation.
//
//   all who write in the cluster send what they have and give their leases back: whoever does not answer is
//   waited for here, where it is in nobody's way
//   -> from now on nobody is given a lease to write -> those who have one again give it back
//   -> the directory that will get the name is claimed -> the gate is closed (change_gate.h): that is the
//      moment that the snapshot shows, for nothing changes any more, and nobody has anything unsent
//   -> stageTree -> of what comes next the chunks stand still -> copyStaged -> ... -> linkStaged -> the gate
//      opens
//
// All writers of the cluster, not those in the tree: that a file is not in it could only be told by walking
// all of it, and whoever writes elsewhere would soon wait at the gate all the same. And since nobody has
// anything that is not in the namespace, reading waits for nobody.
//
// If anything fails, the gate opens, and what has been copied is dropped by staging_keeper.h; so it is after
// a crash. Who wants it may give it up: it then ends where it is in nobody's way, and is never cut off in the
// middle of a wait. Made by snapshot_handlers.cc.
#pragma once

#include <kj/refcount.h>

#include "metaserver/meta_service.h"
#include "rpc/coroutine.h"

namespace cairn {

class SteppedSnapshot : public kj::Refcounted {
 public:
  struct Wanted {
    InodeId original, directory;
    kj::String name;
  };
  SteppedSnapshot(MetaService& service, Wanted wanted);
  KJ_DISALLOW_COPY(SteppedSnapshot);

  static kj::Own<SteppedSnapshot> begin(MetaService& service, Wanted wanted);
  // Goes on by itself.
  void giveUp() { isWanted = false; }

  bool isOver() const { return over; }
  kj::Promise<void> whenOver() { return whenOverFork.addBranch(); }
  Status status() const { return outcome; }   // once it is over
  uint64_t inodes() const { return copied; }  // until now
  InodeId inode() const { return top; }       // of the top
  const kj::Maybe<kj::Exception>& bug() const { return problem; }

 private:
  MetaService& service;
  const Wanted wanted;
  bool isWanted = true, over = false;
  Status outcome = Status::BUSY;
  kj::Maybe<kj::Exception> problem;
  kj::PromiseFulfillerPair<void> ending = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> whenOverFork = ending.promise.fork();
  InodeId top;
  uint64_t copied = 0;

  void tell(SnapshotSteps::Phase phase);
  Async<void> run();
  Async<Status> take();
  Status lookAtPlace() const;
  Async<Status> copyTree();
  Async<Status> copyAll();
  Async<Outcome> copyMore();
};

}  // namespace cairn
