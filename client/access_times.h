// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Access times, as mounts with `relatime` keep them: reading moves atime where it is not later than the last
// change, or a day old. What has been read is told to the metaserver about once a second, many inodes in one
// operation, and shown here at once. INVARIANT: what overlay() shows is what the metaserver makes of it
// (metaserver/ops/accessed.cc). Best effort: what was not told when the client dies is lost. Called by
// remote_filesystem.cc.
#pragma once

#include <kj/async.h>
#include <kj/function.h>
#include <kj/time.h>
#include <kj/timer.h>

#include <unordered_map>

#include "client/filesystem.h"
#include "env/log.h"
#include "rpc/coroutine.h"

namespace cairn::client {

class Session;

bool isAccessDue(const FileAttributes& attributes,
                 Timestamp read);  // does reading then move atime? (relatime)

class AccessTimes final : private kj::TaskSet::ErrorHandler {
 public:
  using Told = kj::Function<void(InodeId, Timestamp)>;
  AccessTimes(kj::Timer& timer, const kj::Clock& clock, Session& session, env::Logger log, Told told);
  // `told`: the metaserver has it now, so whoever remembers attributes should.
  KJ_DISALLOW_COPY(AccessTimes);

  void read(const FileAttributes& attributes);         // just now
  bool isDue(const FileAttributes& attributes) const;  // would read() move anything?
  void overlay(FileAttributes& attributes) const;
  void forget(InodeId inode) {
    untold.erase(inode), telling.erase(inode);
  }  // it is being set to something else
  Async<void> publish();

 private:
  using Times = std::unordered_map<InodeId, Timestamp>;
  kj::Timer& timer;
  const kj::Clock& clock;
  Session& session;
  env::Logger log;
  Told told;
  Times untold, telling;  // waiting for the next operation; in one that has not been answered
  bool armed = false;
  kj::TaskSet tasks;

  Timestamp now() const { return {(clock.now() - kj::UNIX_EPOCH) / kj::NANOSECONDS}; }
  Async<void> publishLater();
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace cairn::client
