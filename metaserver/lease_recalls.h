// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Drives the cache leases: puts them into answers, sends recalls to mounts and tells what they answered, lets
// handlers wait for their turn, asks the holder of a write lease how its file is, and fences the chunks of a
// file whose writer was lost.
//
// A recall:  a claim's turn comes -> the recalls of this turn of the loop go out, one message to each session
//            -> the answer, or the loss of the session's leases -> fence, if a write lease was lost -> the
//            claim is ready, its handler goes on, and its Turn keeps others out until the answer is made.
//
// No wait here is longer than WAIT_MAX: then the caller is told notReady, and its claim keeps its place for a
// while, so that a slow writer that is asked again and again lets the others in all the same. What never
// waits here: renew, giveBack, publish, locate, sync, release; a mount needs no more to answer a recall.
// Called by session_handlers.cc and metaserver_handlers.cc.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <map>
#include <unordered_map>

#include "env/log.h"
#include "metaserver/cache_leases.h"
#include "metaserver/chunk_grants.h"
#include "metaserver/sessions.h"
#include "rpc/coroutine.h"

namespace cairn {

class LeaseRecalls final : private SessionListener, private kj::TaskSet::ErrorHandler {
 public:
  LeaseRecalls(Sessions& sessions, ChunkGrants& grants, const NamespaceReader& names, kj::Timer& timer,
               Epoch epoch, env::Logger logger);
  ~LeaseRecalls() noexcept(false);
  KJ_DISALLOW_COPY(LeaseRecalls);

  // -- sessions
  using Caching = CacheLeases::Caching;
  void opened(SessionId id, Caching caching);
  kj::Vector<InodeId> resumed(SessionId id, Caching caching, kj::ArrayPtr<const HeldLease> named);
  void renewed(SessionId id);
  LeaseStamp voidUpTo(SessionId id) const { return leases.voidUpTo(id); }
  void givenBack(SessionId id, kj::ArrayPtr<const HeldLease> given);

  // -- in an answer, in the same turn of the loop in which its attributes were read
  void grant(SessionId id, rpc::Attributes::Builder attributes, LeaseKind most = LeaseKind::READ);
  void grant(SessionId id, InodeId directory, rpc::Lease::Builder lease);
  void grantNone(rpc::Attributes::Builder attributes) { attributes.setStamp(leases.stamp().value()); }

  // -- waiting
  class Turn {
    // A claim that is ready: until it goes, nobody else is granted what it excludes.
   public:
    Turn() = default;
    Turn(LeaseRecalls& recalls, ClaimId claim) : recalls(&recalls), claim(claim) {}
    Turn(Turn&& other) noexcept : recalls(other.recalls), claim(other.claim) { other.recalls = nullptr; }
    Turn& operator=(Turn&& other) noexcept;
    ~Turn() noexcept(false) { end(); }
    KJ_DISALLOW_COPY(Turn);

    bool isReady() const { return recalls != nullptr; }  // else the caller is told notReady

   private:
    LeaseRecalls* recalls = nullptr;
    ClaimId claim;
    void end();
  };
  enum class Stage { BEFORE, AFTER };  // of a change: has it been applied?
  struct Purpose {
    // Of a claim. A call that is repeated has the same, and takes the place that was kept for it.
    Wish wish = Wish::CHANGE;
    uint64_t number = 0;  // of a change its sequence, of a lease the inode
    Stage stage = Stage::BEFORE;
    uint64_t beside = 0;  // a second call like it, while the first one still waits: some number
    auto operator<=>(const Purpose&) const = default;
  };
  Async<Turn> claim(SessionId id, kj::Array<InodeId> inodes, Purpose purpose);
  Async<Turn> excludeAll(kj::Array<InodeId> inodes, kj::Maybe<kj::Duration> patience = nullptr,
                         Wish wish = Wish::CHANGE);
  // For a change of the metaserver's own: however long it takes, or not ready when `patience` is over. Nobody
  // is left out. With Wish::READ only those who write.

  kj::Own<void> pauseWriting();
  // As long as it lives no write or append lease is given that was not asked for before.
  bool writingIsPaused() const { return leases.isPaused(); }
  bool hasWriter(InodeId inode) const { return leases.hasWriter(inode); }
  bool anyWriter() const { return !leases.written().empty(); }
  Async<Status> endWriting(kj::Maybe<kj::Duration> patience);
  // Everybody in the cluster who writes sends what he has, some files after the others, and gives his lease
  // back; he may keep what he has read. In a pause nobody writes then. BUSY: somebody does not answer for so
  // long.

  Turn publish(SessionId id, InodeId inode) { return Turn(*this, leases.publish(id, inode)); }
  // Until the namespace has it.

  bool needsNoClaim(SessionId id) const { return leases.isAlone(id); }
  // Nobody else has a lease. Who comes before the change is applied is seen after it.
  bool anyBeside(SessionId id, InodeId inode) const { return leases.anyBeside(id, inode); }
  bool mayWrite(SessionId id, InodeId inode) const { return leases.mayWrite(id, inode); }
  bool isCaching(SessionId id) const { return leases.isCaching(id); }

  // -- the truth about a file
  bool isUnsure(SessionId id, const Attributes& attributes) const;
  // Another session may know more of its size and times than the namespace.

  Async<Result<Attributes>> ask(SessionId id, InodeId inode);
  // The attributes with what the holder of the write lease says. NOT_LEASED: it is no longer the one to say
  // so; NOT_READY: it does not answer, or is not known yet.

  Async<void> run();  // for ever
  CacheLeases::Counts counts() const { return leases.counts(); }
  CacheLeases::Counts counts(SessionId id) const { return leases.counts(id); }
  void checkInvariants() const { leases.checkInvariants(); }

 private:
  struct Wait {
    ClaimId claim;
    enum class State { WAITING, LEFT } state = State::WAITING;  // LEFT: its caller is to ask again
    kj::Own<kj::PromiseFulfiller<void>> over;
  };
  using Caller = std::pair<SessionId, Purpose>;

  void carryOut();
  void finish(ClaimId claim);
  void forgetCallers();
  ClaimId keptPlace(Caller caller, kj::ArrayPtr<const InodeId> inodes);
  kj::Promise<void> flush();
  Async<void> send(SessionId id, kj::Array<LeaseRecall> batch);
  Async<void> fence(InodeId inode);
  void sessionEnded(SessionId id, SessionEnd how) override;
  void purged(kj::ArrayPtr<const InodeId> inodes) override;
  void taskFailed(kj::Exception&& exception) override;

  Sessions& sessions;
  ChunkGrants& grants;
  const NamespaceReader& names;
  kj::Timer& timer;
  env::Logger log;
  CacheLeases leases;
  std::map<Caller, Wait> waits;
  std::unordered_map<ClaimId, Caller> waiting;  // the same by claim
  std::map<SessionId, kj::Vector<LeaseRecall>> outbox;
  enum class Outbox { CLOSED, OPEN } boxState = Outbox::CLOSED;
  uint64_t calls = 0, ownChanges = 0;
  kj::Maybe<kj::TimePoint> alarm;
  kj::Own<kj::PromiseFulfiller<void>> wake;
  kj::TaskSet tasks;
};

}  // namespace cairn
