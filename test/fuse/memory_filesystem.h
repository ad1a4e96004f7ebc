// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A Filesystem in memory: what the session loop is tested and measured on. It keeps the contract of
// client/filesystem.h and POSIX, and lets a test hold back, fail or count operations.
// INVARIANT: an inode lives while it has a link or is open; checkInvariants() says so.
#pragma once

#include <kj/function.h>
#include <kj/vector.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "client/filesystem.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

class MemoryFilesystem final : public Filesystem {
 public:
  MemoryFilesystem();
  ~MemoryFilesystem() noexcept(false);

  // What a test may do to it, in the thread of its loop.
  kj::Maybe<kj::Function<kj::Promise<void>(kj::StringPtr operation, InodeId inode)>>
      before;                              // runs before each operation
  std::map<std::string, uint64_t> calls;   // by operation
  std::map<std::string, Status> refusals;  // of operations that are not carried out
  void refuseCall(uint64_t number, Status status) {
    // Of whatever operation; counted from now on, from 1.
    callsLeft = number;
    refusalOfCall = status;
    refusedCall.clear();
  }
  const std::string& callRefused() const { return refusedCall; }  // empty: it has not come
  bool seeksAndCopies = false;   // else the kernel does, by reading and writing
  bool lockedElsewhere = false;  // another client has a lock on the whole of each file
  void failNextFlush(InodeId inode, Status status) { flushFailures[inode] = status; }
  void appendElsewhere(InodeId inode, kj::StringPtr text);  // what another client's write does
  void makeElsewhere(InodeId parent, kj::StringPtr name);
  void removeElsewhere(InodeId parent, kj::StringPtr name);
  Observer& observer() { return KJ_REQUIRE_NONNULL(watcher); }
  kj::Duration keep = 1 * kj::SECONDS;  // attributes and names that have not changed
  std::set<InodeId> untold;             // directories in which others change names without telling us
  size_t liveInodes() const { return nodes.size(); }
  size_t openFiles() const { return opened; }
  uint64_t bytesHandedOver() const { return handedOver; }
  std::string contentOf(InodeId inode) const;
  InodeId find(kj::StringPtr path) const;
  void checkInvariants() const;

  Async<Result<FileAttributes>> lookup(InodeId parent, kj::StringPtr name) override;
  Async<Result<FileAttributes>> getAttributes(InodeId inode) override;
  Async<Result<FileAttributes>> setAttributes(InodeId inode, AttributeChange change) override;
  Async<Result<FileAttributes>> make(InodeId parent, kj::StringPtr name, NewNode node,
                                     Credentials caller) override;
  Async<Result<FileAttributes>> link(InodeId inode, InodeId parent, kj::StringPtr name) override;
  Async<Status> unlink(InodeId parent, kj::StringPtr name, Credentials caller) override;
  Async<Status> rmdir(InodeId parent, kj::StringPtr name) override;
  Async<Status> rename(InodeId parent, kj::StringPtr name, InodeId newParent, kj::StringPtr newName,
                       uint32_t flags, Credentials caller) override;
  Async<Result<kj::String>> readLink(InodeId inode) override;
  Async<Result<DirectoryPage>> readDirectory(InodeId inode, uint64_t cookie, uint32_t limit,
                                             Detail detail) override;
  Async<Result<kj::Own<OpenFile>>> open(InodeId inode, Access access) override;
  kj::Duration keepAttributes(const FileAttributes& attributes) const override;
  kj::Duration keepName(InodeId parent, kj::StringPtr name, InodeId found) const override;
  bool isToldOfNames(InodeId directory) const override { return untold.count(directory) == 0; }
  Async<Result<kj::Own<OpenFile>>> create(InodeId parent, kj::StringPtr name, uint16_t mode,
                                          Credentials caller, NewNode options, bool exclusive) override;
  Async<Result<SpaceStatistics>> statistics(InodeId inode) override;
  Async<Result<kj::Array<kj::byte>>> getXattr(InodeId inode, kj::StringPtr name) override;
  Async<Status> setXattr(InodeId inode, kj::StringPtr name, kj::ArrayPtr<const kj::byte> value,
                         uint32_t flags) override;
  Async<Status> removeXattr(InodeId inode, kj::StringPtr name) override;
  Async<Result<kj::Array<kj::String>>> listXattr(InodeId inode) override;
  Async<Result<kj::Own<OpenFile>>> createTemporary(InodeId directory, uint16_t mode,
                                                   Credentials caller) override;
  kj::Promise<Status> setLock(FileLock lock, kj::Maybe<kj::Promise<void>> givenUp) override;
  kj::Promise<Result<FileLock>> testLock(FileLock lock) override;
  Async<Status> syncAll() override;
  Async<Status> syncNames(InodeId directory) override;
  Async<void> shutdown() override;
  void setObserver(Observer& observer) override { watcher = observer; }

 private:
  class File;
  struct Block;
  struct Node {
    FileAttributes attributes;
    std::map<uint64_t, kj::Own<Block>> blocks;  // by index of TRANSFER_SIZE_MAX bytes; missing ones are zeros
    std::map<std::string, std::pair<uint64_t, InodeId>> entries;  // of a directory: cookie and inode
    std::map<uint64_t, std::string> order;                        // cookie -> name
    std::string target;
    std::map<std::string, std::vector<kj::byte>> xattrs;
    unsigned open = 0;
    InodeId parent;
  };

  kj::Maybe<Status> refused(kj::StringPtr operation);
  kj::Promise<void> start(kj::StringPtr operation, InodeId inode);
  Node* nodeOf(InodeId inode);
  Result<FileAttributes> lookupNow(InodeId parent, kj::StringPtr name);
  Result<FileAttributes> makeNow(InodeId parent, kj::StringPtr name, const NewNode& node, Credentials caller);
  Status renameNow(InodeId parent, kj::StringPtr name, InodeId newParent, kj::StringPtr newName,
                   uint32_t flags);
  Status unlinkNow(InodeId parent, kj::StringPtr name, bool directory);
  Status setXattrNow(InodeId inode, kj::StringPtr name, kj::ArrayPtr<const kj::byte> value, uint32_t flags);
  void attach(Node& parent, kj::StringPtr name, InodeId inode);
  void detach(Node& parent, kj::StringPtr name);
  void dropIfUnused(InodeId inode);
  void writeNow(Node& node, uint64_t offset, kj::ArrayPtr<const kj::byte> bytes);
  ReadData readNow(Node& node, uint64_t offset, uint64_t size);
  void truncateNow(Node& node, uint64_t size);
  void touch(Node& node);
  Timestamp now();
  bool isBelow(InodeId inode, InodeId ancestor);
  Async<Status> lock(FileLock lock, kj::Maybe<kj::Promise<void>> givenUp);
  Async<Result<FileLock>> lockInTheWay(FileLock lock);

  std::map<InodeId, Node> nodes;
  std::map<InodeId, Status> flushFailures;
  uint64_t nextInode = 2, nextCookie = 1, handedOver = 0;
  size_t opened = 0;
  uint64_t callsLeft = 0;
  Status refusalOfCall = Status::OK;
  std::string refusedCall;
  kj::Maybe<Observer&> watcher;
};

}  // namespace cairn::fuse
