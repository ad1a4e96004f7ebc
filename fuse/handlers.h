// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What each request of the kernel does: one member coroutine per request, in files by group (names.cc,
// attribute_handlers.cc, files.cc, directories.cc, xattrs.cc). They translate and call the client library;
// policy is there. INVARIANT: what the kernel holds (lookups, open files, open directories) equals what we
// count, also when a reply came too late. Node ids are inode ids. Called by operations.cc, which unpacks
// libfuse's arguments.
#pragma once

#include <fcntl.h>
#include <kj/async.h>
#include <kj/list.h>
#include <kj/refcount.h>
#include <kj/timer.h>

#include <set>

#include "client/filesystem.h"
#include "env/log.h"
#include "fuse/inode_table.h"
#include "fuse/request.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

struct HandlerOptions {
  // Seconds: for how long at most the kernel may answer from its own memory. As a rule for as long as we have
  // the lease.
  double attributeTimeout = 3600;
  double entryTimeout = 3600;
  double negativeTimeout = 3600;  // of names that do not exist
  enum class AccessTimes {
    NEVER,
    FILES,
    ALL
  } accessTimes = AccessTimes::ALL;  // noatime, nodiratime, relatime
};

class KernelCaches {
  // The handlers' way to what the kernel caches.
 public:
  virtual ~KernelCaches() noexcept(false) = default;
  virtual kj::Duration keepNames(kj::Duration wanted) = 0;
  // How long it may keep a name that it could be told to forget for `wanted`.
  virtual kj::Promise<void> forgetNames() = 0;  // whatever it has been allowed to keep
  virtual void listingGiven(const void* handle, InodeId directory) = 0;  // names of it that it may keep
  virtual void listingTaken(const void* handle) = 0;  // it has come back: all that it was given it has taken
  virtual kj::Promise<void> forgetPages(InodeId inode, Filesystem::Range range) = 0;
};

enum class Privileges { KEEP, KILL };
// KILL: the kernel wants setuid and setgid gone as part of this (FUSE_HANDLE_KILLPRIV_V2).

class FileHandle : public kj::Refcounted {
  // One open(2). The kernel's `fh` is its address.
 public:
  FileHandle(kj::Own<OpenFile> file, int flags) : file(kj::mv(file)), flags(flags) {}
  bool mayWrite() const;
  bool appends() const { return mayWrite() && (flags & O_APPEND) != 0; }
  // Past the kernel's pages: the kernel would append at the end that it knows.
  Origin originOf(const fuse_file_info& request) const;

  kj::Own<OpenFile> file;
  const int flags;
  std::set<std::pair<LockKind, uint64_t>> lockOwners;  // that took locks through it, and may have some still
  kj::Own<FileHandle> self;  // the kernel's reference: from the reply to open until release
  kj::ListLink<FileHandle> link;
};

class DirectoryHandle : public kj::Refcounted {
  // One opendir(3): a page of entries that was read ahead of what the kernel asks for.
 public:
  explicit DirectoryHandle(InodeId inode) : inode(inode) {}

  const InodeId inode;
  DirectoryPage page;
  uint64_t position = 0;  // cookie with which `next` is read
  size_t next = 0;        // entry of the page that the kernel gets next
  Detail detail = Detail::NAMES;
  enum class Page { NONE, VALID } state = Page::NONE;
  kj::Own<DirectoryHandle> self;  // the kernel's reference: from the reply to opendir until releasedir
  kj::ListLink<DirectoryHandle> link;
};

class Handlers final : private kj::TaskSet::ErrorHandler {
 public:
  Handlers(Filesystem& filesystem, kj::Timer& timer, Interrupts& interrupts, KernelCaches& kernel,
           env::Logger log, HandlerOptions options);
  ~Handlers() noexcept(false);
  KJ_DISALLOW_COPY(Handlers);

  template <typename... Parameters, typename... Arguments>
  void start(fuse_req_t handle, Async<void> (Handlers::*handler)(Request, Parameters...),
             Arguments&&... arguments) {
    tasks.add((this->*handler)(Request(handle, interrupts), kj::fwd<Arguments>(arguments)...));
  }

  // names.cc
  Async<void> lookup(Request request, InodeId parent, kj::String name);
  void forget(InodeId inode, uint64_t lookups);
  Async<void> make(Request request, InodeId parent, kj::String name, mode_t mode, dev_t device);
  Async<void> symlink(Request request, InodeId parent, kj::String name, kj::String target);
  Async<void> link(Request request, InodeId inode, InodeId parent, kj::String name);
  Async<void> unlink(Request request, InodeId parent, kj::String name);
  Async<void> rmdir(Request request, InodeId parent, kj::String name);
  Async<void> rename(Request request, InodeId parent, kj::String name, InodeId newParent, kj::String newName,
                     uint32_t flags);
  Async<void> readLink(Request request, InodeId inode);

  // attribute_handlers.cc
  Async<void> getAttributes(Request request, InodeId inode);
  Async<void> setAttributes(Request request, InodeId inode, AttributeChange change, Privileges privileges);
  Async<void> statistics(Request request, InodeId inode);

  // files.cc
  Async<void> create(Request request, InodeId parent, kj::String name, mode_t mode, fuse_file_info file);
  Async<void> createTemporary(Request request, InodeId directory, mode_t mode, fuse_file_info file);
  Async<void> open(Request request, InodeId inode, fuse_file_info file, Privileges privileges);
  Async<void> read(Request request, fuse_file_info file, FileOffset offset, uint32_t size);
  Async<void> write(Request request, fuse_file_info file, FileOffset offset, Bytes bytes,
                    Privileges privileges);
  Async<void> flush(Request request, fuse_file_info file);
  Async<void> release(Request request, fuse_file_info file);
  Async<void> sync(Request request, fuse_file_info file);

  // space.cc
  Async<void> allocate(Request request, fuse_file_info file, FileOffset offset, uint64_t length, int mode);
  Async<void> copyRange(Request request, fuse_file_info source, fuse_file_info target,
                        OpenFile::CopyRange range, int flags);
  Async<void> seek(Request request, fuse_file_info file, FileOffset offset, int whence);

  // locks.cc
  enum class Waiting { NO, YES };
  Async<void> getLock(Request request, InodeId inode, fuse_file_info file, struct flock lock);
  Async<void> setLock(Request request, InodeId inode, fuse_file_info file, struct flock lock,
                      Waiting waiting);
  Async<void> lockWhole(Request request, InodeId inode, fuse_file_info file, int operation);

  // directories.cc
  Async<void> openDirectory(Request request, InodeId inode, fuse_file_info file);
  Async<void> readDirectory(Request request, fuse_file_info file, uint64_t offset, size_t size,
                            Detail detail);
  Async<void> releaseDirectory(Request request, fuse_file_info file);
  Async<void> syncDirectory(Request request, InodeId inode);

  // xattrs.cc
  Async<void> getXattr(Request request, InodeId inode, kj::String name, size_t size);
  Async<void> setXattr(Request request, InodeId inode, kj::String name, kj::Array<kj::byte> value,
                       uint32_t flags);
  Async<void> listXattr(Request request, InodeId inode, size_t size);
  Async<void> removeXattr(Request request, InodeId inode, kj::String name);

  InodeTable& inodeTable() { return inodes; }
  size_t openFiles() const { return fileHandles.size(); }
  size_t openDirectories() const { return directoryHandles.size(); }

 private:
  // Attributes in the answer to a look are dropped by the kernel when it has been told to forget them since
  // it asked; those in the answer to a change it takes in any case (fs/fuse: attr_version 0). So it may not
  // keep these: it asks once more.
  enum class Answer { TO_LOOK, TO_CHANGE };
  fuse_entry_param entryOf(InodeId parent, kj::StringPtr name, const FileAttributes& attributes,
                           Answer answer);
  double keptAttributes(const FileAttributes& attributes, Answer answer) const;  // seconds
  double keptName(InodeId parent, kj::StringPtr name, InodeId found);
  void replyEntry(Request& request, InodeId parent, kj::StringPtr name, Result<FileAttributes>& result,
                  Answer answer);
  void replyAttributes(Request& request, const Result<FileAttributes>& result, Answer answer);
  void nameChanged(InodeId parent, kj::StringPtr name);  // locally: pages read ahead forget it

  static uint16_t modeWithoutPrivileges(const Request& request, const FileAttributes& attributes);
  Async<Status> truncate(const Request& request, const FileAttributes& attributes, Privileges privileges);
  Async<Status> killPrivileges(InodeId inode, uint16_t mode);  // to that mode
  Async<Status> losePrivileges(const Request& request, const FileHandle& handle, Privileges privileges);
  // Before content changes: a program that is changed loses its capabilities, whoever changes it
  // (FUSE_HANDLE_KILLPRIV_V2), and with KILL setuid and setgid.
  kj::Own<FileHandle> handleOf(const fuse_file_info& file);
  uint64_t addHandle(kj::Own<FileHandle> handle);
  void dropHandle(FileHandle& handle);
  void accessed(const FileAttributes& attributes);
  Async<Status> dropSetgid(InodeId inode, std::set<gid_t> groups);
  Async<void> takeLock(Request request, fuse_file_info file, FileLock lock, Waiting waiting);
  Async<void> unlock(InodeId inode, LockKind kind, uint64_t owner);
  void created(Request& request, InodeId parent, kj::StringPtr name, fuse_file_info file,
               kj::Own<FileHandle> handle);
  Async<void> append(Request request, fuse_file_info file, FileOffset offset, Bytes bytes);
  bool knowsNone(InodeId inode, uint8_t extended) const;  // of these extended attributes the inode has none
  void decideCaching(fuse_file_info& reply, const FileHandle& handle);

  struct Listing;
  bool serves(const DirectoryHandle& directory, uint64_t cookie, Detail detail) const;
  Async<Status> readPage(kj::Own<DirectoryHandle> directory, uint64_t cookie, Detail detail);
  void appendPage(Listing& listing, DirectoryHandle& directory);
  void dropDirectory(DirectoryHandle& directory);

  void taskFailed(kj::Exception&& exception) override;

  Filesystem& filesystem;
  kj::Timer& timer;
  Interrupts& interrupts;
  KernelCaches& kernel;
  env::Logger log;
  const HandlerOptions options;
  InodeTable inodes;
  kj::List<FileHandle, &FileHandle::link> fileHandles;  // each holds one reference that release drops
  kj::List<DirectoryHandle, &DirectoryHandle::link> directoryHandles;
  kj::TaskSet tasks;
};

}  // namespace cairn::fuse
