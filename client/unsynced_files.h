// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What was written to files that are closed now and that no fsync has covered: syncfs must cover it, and so
// must an fsync through a later open, with the boots in which it was written. INVARIANT: a chunk that this
// client has written is in an open file's lists or here until a sync of every replica that counts has
// succeeded. Likewise an error of bytes that were lost is here until a sync has told it. Bounded in time:
// what lies here for long is synced on our own account, when the chunk daemons have done so by themselves and
// it costs them nothing. Called by inode_table.cc.
#pragma once

#include <deque>
#include <map>

#include "client/open_file.h"
#include "rpc/coroutine.h"

namespace cairn::client {

class UnsyncedFiles {
 public:
  explicit UnsyncedFiles(FileParts& parts) : parts(parts) {}
  KJ_DISALLOW_COPY(UnsyncedFiles);

  void closed(InodeId inode, UnsyncedFile left);
  UnsyncedFile reopened(InodeId inode);  // they are the open file's from now on
  void answersLost(LogIndex from);
  void removed(InodeId inode) { files.erase(inode); }

  Async<Status> syncAll();
  size_t size() const { return files.size(); }

 private:
  static constexpr kj::Duration AGE = 30 * kj::SECONDS;  // chunk daemons sync after 10 s of quiet
  static constexpr size_t SYNCS_AT_ONCE = 64;
  static constexpr size_t COVERED_AT_ONCE = 1000;  // chunks told in one call: 8 kB

  struct Entry {
    UnsyncedFile left;
    uint64_t closing = 0;  // which one it was
  };
  struct Due {
    kj::TimePoint time;
    InodeId inode;
    uint64_t closing;
  };
  FileParts& parts;
  std::map<InodeId, Entry> files;
  std::deque<Due> order;  // of closing; may name what is gone
  uint64_t closings = 0;
  Session::Covered toCover;  // synced, and not told to the metaserver: whoever syncs all has to
  bool sweeping = false;
  kj::Promise<void> sweeper = nullptr;

  Async<Status> tellCovered();
  Async<Status> sync(InodeId inode);  // of its chunks; leaves an error for its owner
  Async<void> sweep();
};

}  // namespace cairn::client
