// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// This client's side of the cache leases (rpc/metaserver.capnp, Leases): takes them when something needs one,
// obeys recalls, renews the term and notices when it has run out. What is cached under them is in LeaseCache.
//
// No answer to a recall waits in a circle. It waits for: operations that have got the lease and not begun yet
// (Pin; they begin within the turn of the loop, or are record appends, which wait for chunk daemons, `locate`
// and `publish`); the kernel, to let go of pages and attributes; and for buffered writes, that is chunk
// daemons, `locate`, `publish`. None of these wait for a recall at the metaserver. The kernel waits for pages
// that are locked, and those are locked by its reads and writes that are under way here: one that has its
// lease waits for chunk daemons only; one that still waits for its lease is a PageRange, and its pages, which
// hold nothing anybody could read yet, are left out.
//
// INVARIANT: a recall is answered when nothing is buffered, cached here or cached in the kernel that the
// lease left does not cover, nor attributes in the kernel that are older than what the others will see: it
// knows of a write only once the process that wrote has taken the answer. Called by open_file.cc,
// file_space.cc, inode_table.cc and remote_filesystem.cc.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <list>
#include <unordered_map>

#include "client/lease_cache.h"
#include "client/session.h"
#include "rpc/coroutine.h"

namespace cairn::client {

class LeasedFiles {
 public:
  virtual ~LeasedFiles() noexcept(false) = default;
  virtual Async<void> writeOut(InodeId inode) = 0;  // until nothing is buffered and all is published
  virtual void learned(InodeId inode, const FileAttributes& attributes) = 0;  // with the lease
  virtual void leaseLost(InodeId inode) = 0;        // by silence: what is buffered has no right to be sent
  virtual void forgetLocations(InodeId inode) = 0;  // others are going to write
};

class Leases final : private kj::TaskSet::ErrorHandler {
 public:
  Leases(kj::Timer& timer, Session& session, LeasedFiles& files, env::Logger log,
         LeaseCache::Limits limits = LeaseCache::Limits());
  ~Leases() noexcept(false);
  KJ_DISALLOW_COPY(Leases);

  void setObserver(Filesystem::Observer& newObserver) { observer = newObserver; }
  kj::Promise<void> forgetAttributes(InodeId inode);  // by the kernel: see Filesystem::Observer

  bool areGranted() const {
    return term > 0 * kj::SECONDS;
  }  // else the metaserver knows none: nothing is cached
  bool mayRead(InodeId inode) const { return allows(inode, LeaseKind::READ); }
  bool mayWrite(InodeId inode) const { return allows(inode, LeaseKind::WRITE); }
  bool has(InodeId inode, LeaseKind kind) const { return !areGranted() || known.has(inode, kind); }
  bool isRecalling(InodeId inode) const { return known.isRecalling(inode); }

  class Pin {
    // The lease stays at least as long as this: for who was promised it and is going to begin. Short-lived.
   public:
    Pin(Leases& leases, InodeId inode);
    ~Pin() noexcept(false);
    KJ_DISALLOW_COPY(Pin);

   private:
    Leases& leases;
    const InodeId inode;
  };
  kj::Promise<Result<kj::Own<Pin>>> acquire(InodeId inode, LeaseKind kind);
  // Waits for other mounts. Those who ask for the same inode at once share the question.

  class PageRange {
    // A read or write of the kernel that has these pages locked, and waits. While it lives the pages need not
    // be forgotten.
   public:
    PageRange(Leases& leases, InodeId inode, uint64_t offset, uint64_t size);
    ~PageRange() noexcept(false);
    KJ_DISALLOW_COPY(PageRange);

   private:
    Leases& leases;
    const InodeId inode;
    std::list<Filesystem::Range>::iterator place;
  };
  void refused(InodeId inode);  // the metaserver says that the lease is not ours
  void passed(InodeId inode);   // pages of it have got their bytes while its lease was being recalled: forget
                                // them again

  LeaseCache& cache() { return known; }
  const LeaseCache& cache() const { return known; }
  kj::TimePoint now() const { return timer.now(); }
  kj::Duration left() const { return kj::max(known.end() - timer.now(), 0 * kj::SECONDS); }
  void trim();  // gives back what is too much
  kj::Promise<void> giveBack(
      std::vector<InodeId> inodes);  // write leases that nobody uses any more: read is kept

  // from the session
  std::vector<LeaseHeld> held();  // to be named when it is resumed
  kj::Promise<void> recall(std::vector<LeaseHeld> asked);
  void renewed(kj::TimePoint sent, uint64_t voidUpTo);
  void resumed(kj::TimePoint sent, kj::Duration term, uint64_t voidUpTo, const std::vector<InodeId>& refused);
  void lost();  // the session was fenced

 private:
  struct Waiter;
  struct Busy {
    // What goes on about one inode. Exists while anything does.
    unsigned pins = 0;
    unsigned obeying = 0;  // recalls that look at this
    std::list<Waiter*> waiters;
    bool asking = false;  // ask() runs
    std::list<Filesystem::Range> ranges;
    uint64_t arrivals = 0;  // ranges that have ever been added
    bool passed = false;
    kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> changed;  // anything of the above
    bool isIdle() const {
      return pins == 0 && obeying == 0 && waiters.empty() && !asking && ranges.empty() && changed.empty();
    }
  };

  kj::Timer& timer;
  Session& session;
  LeasedFiles& files;
  env::Logger log;
  kj::Maybe<Filesystem::Observer&> observer;
  LeaseCache known;
  kj::Duration term = 0 * kj::SECONDS;
  std::unordered_map<InodeId, Busy> busy;
  bool watching = false;  // watchTerm() runs
  bool isTrimming = false;
  kj::TaskSet tasks;

  bool allows(InodeId inode, LeaseKind kind) const {
    return !areGranted() || known.allows(inode, kind, timer.now());
  }
  void tidy(InodeId inode);
  void tell(Busy& entry);
  kj::Promise<void> change(InodeId inode);
  Async<void> ask(InodeId inode);
  void answer(InodeId inode, LeaseKind kind, Status status);
  Async<void> obey(LeaseHeld asked);
  Async<void> forgetContent(InodeId inode);
  kj::Promise<void> forgetPass(InodeId inode);
  void gone(const std::vector<InodeId>& inodes);
  Async<void> watchTerm();
  Async<void> trimNow(std::vector<LeaseHeld> excess);
  Async<void> sendGivenBack(std::vector<LeaseHeld> leases);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace cairn::client
