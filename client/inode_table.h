// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The open inodes of this client. One FileState per inode, shared by all who have it open; it stays after the
// last of them until everything is written, and only then is the inode released at the metaserver. INVARIANT:
// an inode is never released while it is here, or while an open of it is under way. Called by
// remote_filesystem.cc.
#pragma once

#include <set>
#include <unordered_map>

#include "client/open_file.h"
#include "client/unsynced_files.h"
#include "rpc/coroutine.h"

namespace cairn::client {

class InodeTable final : public MemoryPressure, private kj::TaskSet::ErrorHandler {
 public:
  explicit InodeTable(FileParts& parts) : parts(parts), unsynced(parts), tasks(*this) {}
  ~InodeTable() noexcept(false);
  KJ_DISALLOW_COPY(InodeTable);

  kj::Maybe<FileState&> find(InodeId inode);
  void overlay(FileAttributes& attributes);  // what is open here knows better

  kj::Own<OpenFile> adopt(const FileAttributes& attributes);  // the metaserver has opened it for us

  class Opening {
    // While an open is under way: nothing of what it may be about is released.
   public:
    explicit Opening(InodeTable& table) : table(table) { ++table.openings; }
    ~Opening() noexcept(false);
    KJ_DISALLOW_COPY(Opening);

   private:
    InodeTable& table;
  };

  kj::Promise<Status> syncClosed() { return unsynced.syncAll(); }  // what closed files have left
  void answersLost(LogIndex from);
  void removed(InodeId inode) { unsynced.removed(inode); }  // it has no name any more

  std::vector<InodeId> openInodes() const;
  std::vector<kj::Own<FileState>> all();
  Async<void> finish();  // everything written and released; for shutdown
  void relieve() override;

 private:
  class Handle;
  struct Entry {
    kj::Own<FileState> state;
    Handle* handle = nullptr;  // null: nobody has it open any more
  };
  FileParts& parts;
  std::unordered_map<InodeId, Entry> entries;
  std::set<InodeId> toRelease;
  UnsyncedFiles unsynced;
  uint32_t openings = 0;
  bool releaseArmed = false;
  kj::TaskSet tasks;

  void closed(InodeId inode);
  Async<void> close(InodeId inode);
  void armRelease();
  Async<void> releaseSoon();
  Async<void> release();
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace cairn::client
