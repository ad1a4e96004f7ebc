// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The file locks of this client: asks the metaserver for them, waits for those that another holds, and
// remembers what it holds, to claim it again when the metaserver has restarted. INVARIANT: what is remembered
// is what the metaserver has granted and has not been given back, unless a call about it is under way. Called
// by remote_filesystem.cc and, when the session is attached, by session.cc.
#pragma once

#include <map>

#include "client/filesystem.h"
#include "env/log.h"
#include "rpc/coroutine.h"

namespace cairn::client {

class Session;

class LockKeeper {
 public:
  LockKeeper(Session& session, env::Logger log) : session(session), log(kj::mv(log)) {}
  KJ_DISALLOW_COPY(LockKeeper);

  Async<Status> set(FileLock lock, kj::Maybe<kj::Promise<void>> givenUp);
  Async<Result<FileLock>> test(FileLock lock);
  std::vector<FileLock> held() const;

 private:
  struct Key {
    InodeId inode;
    LockKind kind;
    uint64_t owner;
    auto operator<=>(const Key&) const = default;
  };
  struct Held {
    LockRanges ranges;
    uint32_t pid = 0;
  };
  Session& session;
  env::Logger log;
  std::map<Key, Held> locks;
  uint64_t tickets = 0;

  struct Call;
  Async<Status> wait(const FileLock& lock, kj::Promise<void> givenUp);
  Async<Status> ask(const FileLock& lock, uint32_t waitMs, uint64_t ticket);
  Async<void> cancelWhen(kj::Promise<void> givenUp, uint64_t ticket, kj::Own<Call> call);
  void remember(const FileLock& lock);
};

void write(rpc::FileLock::Builder builder, const FileLock& lock);

}  // namespace cairn::client
