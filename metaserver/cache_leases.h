// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Cache leases: what each mount may keep of which inode, who is in the way of whom, and whose turn it is. The
// rules are in rpc/metaserver.capnp, "Leases".
// INVARIANT: of one inode there are many read leases, or many append leases, or one write lease.
//
// Whoever needs others out of the way makes a claim, on all the inodes it is about at once. Claims on an
// inode take turns in the order in which they were made; those of one session, and those for shared leases of
// one kind, share a turn. As all inodes are claimed in one step there is one order for all, so no two claims
// wait for each other. When it is a claim's turn, the leases in its way are recalled; it is ready when all
// are back, or lost:
//
//   a lease        is given back             when its session has answered the recall
//                  is lost, with all others  when the session has not renewed for the term, and a recall is
//                  of its session            out. Nothing is taken from a silent session that nobody wants
//   a write lease  that was lost             makes its inode unclean: nobody gets a lease on it before the
//                                            chunks are fenced against what may still be on its way
//   a session      that renews, and leaves a recall unanswered for RECALL_TERM, is to be fenced; what it
//                  believes to have is waited out after that as well
//   after a start  sessions from before hold we know not what: until all have come back, or their term has
//                  passed, no lease is new and no claim is ready but of who has shown the write lease. If
//                  some have not come by then, all files are unclean until no chunk lease from before the
//                  start can be out.
//
// Nothing here takes time by the number of leases but what takes them all away. Pure: the caller passes `now`
// and carries out what take() answers. Called by lease_recalls.cc only.
#pragma once

#include <kj/array.h>
#include <kj/common.h>
#include <kj/time.h>
#include <kj/vector.h>

#include <list>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "rpc/metaserver.capnp.h"
#include "rpc/units.h"

namespace cairn {

using LeaseKind = rpc::LeaseKind;
using LeaseStamp = Strong<struct LeaseStampTag, uint64_t>;  // rises with each answer and recall; 0 is none
using ClaimId = Strong<struct ClaimIdTag, uint64_t>;

struct LeaseGrant {
  LeaseKind kind = LeaseKind::NONE;
  LeaseStamp stamp;
};

struct HeldLease {
  // rpc::Lease as a value.
  InodeId inode;
  LeaseKind kind = LeaseKind::NONE;
  LeaseStamp stamp;
};

enum class Wish { READ, APPEND, WRITE, CHANGE, PUBLISH };
// Of a claim: a lease; that nobody else has one; or that what a writer has published is in the namespace
// before anybody else is given a lease, whatever becomes of its own.

struct LeaseLimits {
  // A lease costs about 200 bytes: a node of the table (120), a place in the order of its session (32), and
  // what malloc adds. So all together 200 MiB.
  size_t all = 1u << 20;
  size_t perSession = 1u << 19;
  size_t batch = 1000;  // recalled at a time when there are too many: one message
};

struct LeaseRecall {
  SessionId session;
  InodeId inode;
  LeaseKind allowed = LeaseKind::NONE;
  LeaseStamp stamp;
};

struct LeaseActions {
  kj::Vector<LeaseRecall> recalls;     // to be sent
  kj::Vector<ClaimId> ready;           // their turn has come, and nobody is in the way
  kj::Vector<InodeId> unclean;         // to be fenced, then fenced()
  kj::Vector<SessionId> unresponsive;  // to be ended
  kj::Vector<SessionId> lost;          // have lost all they had, to silence: for the log
};

class CacheLeases {
 public:
  struct Start {
    Epoch epoch;          // stamps of this start are above those of all before
    InodeId firstNew{1};  // inodes from here on are made after it
    kj::TimePoint now = kj::origin<kj::TimePoint>();
  };
  explicit CacheLeases(Start start, LeaseLimits limits = {});
  KJ_DISALLOW_COPY(CacheLeases);

  // -- sessions
  enum class Caching { NO, YES };  // does it know leases?
  void restored(SessionId id);     // was there before the start
  void opened(SessionId id, Caching caching, kj::TimePoint now);
  kj::Vector<InodeId> resumed(SessionId id, Caching caching, kj::ArrayPtr<const HeldLease> named,
                              kj::TimePoint now);
  // What it does not name it does not have. Answers those it names and has not. Recalls that are out are sent
  // again.
  void renewed(SessionId id, kj::TimePoint now);
  LeaseStamp voidUpTo(SessionId id) const;
  enum class End { CLOSED, FENCED };  // by itself, having given all back; or not
  void ended(SessionId id, End end, kj::TimePoint now);

  // -- granting in an answer
  LeaseGrant grant(SessionId id, InodeId inode, LeaseKind most, kj::TimePoint now);
  // The strongest it can have now, at least what it has.

  LeaseStamp stamp() { return nextStamp(); }  // of an answer without a lease

  // -- claims
  ClaimId claim(SessionId id, kj::ArrayPtr<const InodeId> inodes, Wish wish, kj::TimePoint now);
  ClaimId publish(SessionId id, InodeId inode);  // ready at once: before all who wait
  bool isReady(ClaimId claim) const;
  bool knows(ClaimId claim) const { return claims.count(claim) > 0; }
  bool isFor(ClaimId claim, kj::ArrayPtr<const InodeId> inodes) const;
  void done(ClaimId claim, kj::TimePoint now);
  // The answer is made, or nobody waits for it any more.
  void leave(ClaimId claim, kj::TimePoint until) { left.insert_or_assign(claim, until); }
  // Its caller will ask again; it keeps its place for so long.
  void join(ClaimId claim) { left.erase(claim); }

  // -- a pause of writing
  ClaimId pauseWriting();
  // Write and append leases go only to claims made before, until the pause ends; whoever has one keeps it.
  // Nobody waits for those who wait for the end: other claims overtake them. Several pauses overlap.
  bool isPaused() const { return !pauses.empty(); }
  void resumeWriting(ClaimId pause, kj::TimePoint now);

  // -- what comes back
  void givenBack(SessionId id, const HeldLease& lease, kj::TimePoint now);
  // Keeps `kind` only, as of `stamp`. Also the answer to a recall of that stamp.
  void fenced(InodeId inode, kj::TimePoint now);
  void forget(InodeId inode);  // it is gone, nobody can reach it

  kj::Maybe<kj::TimePoint> next() const;  // when to tick(), if nothing happens before
  void tick(kj::TimePoint now);
  LeaseActions take();  // after each of the above

  // -- looking
  struct Writer {
    SessionId session;
    LeaseStamp since;
  };
  kj::Maybe<Writer> writerBeside(SessionId id, InodeId inode) const;  // another that has the write lease
  bool mayWrite(SessionId id, InodeId inode) const;                   // it has the write or the append lease
  bool hasWriter(
      InodeId inode) const;  // somebody has one of them, or waits for it and not for a pause to end
  kj::Vector<InodeId> written() const;  // all inodes that have a writer, in order
  bool anyBeside(SessionId id, InodeId inode) const;
  bool isCaching(SessionId id) const;
  bool isAlone(SessionId id) const { return everyoneKnown && caching == (isCaching(id) ? 1 : 0); }
  // Nobody else has any lease.
  bool known() const { return everyoneKnown; }

  struct Counts {
    uint64_t held = 0, writing = 0;
    uint32_t recalls = 0, waiting = 0, missing = 0;
    kj::Maybe<kj::TimePoint> oldest;  // of the recalls
  };
  Counts counts() const;
  Counts counts(SessionId id) const;
  void checkInvariants() const;

 private:
  struct RecallOut {
    InodeId inode;
    kj::TimePoint since;
  };
  struct Held {
    SessionId session;
    LeaseKind kind = LeaseKind::NONE;
    LeaseStamp stamp;                    // of the last grant
    LeaseStamp since;                    // of the first of this kind
    std::list<InodeId>::iterator place;  // of Session::leases, while no recall is out
    LeaseStamp recalled;                 // of the last recall that is out; 0: none
    LeaseKind allowed = LeaseKind::NONE;
    std::list<RecallOut>::iterator recall;  // of Session::recalls, while one is out
  };
  struct Session {
    Caching caching = Caching::NO;
    enum class State { LIVE, MISSING, ENDED } state = State::LIVE;
    kj::TimePoint renewed = kj::origin<kj::TimePoint>();
    LeaseStamp voidUpTo;
    std::list<InodeId> leases;     // of which no recall is out, in the order of their grants
    std::list<RecallOut> recalls;  // of the others, in the order of their recalls
    uint64_t writing = 0;
    enum class Report { NO, YES } unresponsive = Report::NO;
    size_t count() const { return leases.size() + recalls.size(); }
  };
  struct Claim {
    ClaimId id;
    SessionId session;
    std::vector<InodeId> inodes;
    Wish wish = Wish::CHANGE;
    enum class State { WAITING, READY } state = State::WAITING;
  };
  struct Subject {
    std::vector<Held> holders;
    std::vector<Claim*> queue;
    enum class Fence { CLEAN, UNCLEAN, FENCING } fence = Fence::CLEAN;
    bool unused() const { return holders.empty() && queue.empty() && fence == Fence::CLEAN; }
  };

  LeaseStamp nextStamp() { return lastStamp = lastStamp.next(); }
  Session* find(SessionId id);
  const Session* find(SessionId id) const;
  const Subject* find(InodeId inode) const;
  static Held* holding(Subject& subject, SessionId id);
  void told(kj::TimePoint now) { time = kj::max(time, now); }
  void put(SessionId id, InodeId inode, LeaseGrant grant);
  void changeKind(Session& session, Held& held, LeaseKind kind);
  void drop(SessionId id, InodeId inode);
  void recall(InodeId inode, Held& held, LeaseKind allowed);
  void recallIsOver(InodeId inode, Held& held);
  void loseAll(SessionId id);
  void erase(std::map<SessionId, Session>::iterator session);
  void tidy(InodeId inode);
  void makeRoom();

  bool isUnclean(InodeId inode) const;
  bool isItsTurn(const Subject& subject, const Claim& claim) const;
  void overtakePaused(Claim& claim);
  bool clearTheWay(const Claim& claim, InodeId inode);
  bool tryReady(Claim& claim);
  void advance(InodeId inode);
  void advanceAll();
  bool isPaused(const Claim& claim) const;
  void graceIsOver();
  void attend(SessionId id);
  kj::TimePoint graceEnd() const { return start.now + LEASE_CACHE_TERM + CLOCK_ERROR_MAX; }
  static kj::TimePoint believedUntil(const Session& session);

  LeaseLimits limits;
  Start start;
  kj::TimePoint time;  // the latest that we were told
  LeaseStamp lastStamp;
  uint64_t lastClaim = 0;
  std::unordered_map<InodeId, Subject> subjects;
  std::map<SessionId, Session> sessions;
  std::set<SessionId> watched;  // with a recall out, or ended
  size_t caching = 0;           // sessions that know leases, but those missing
  std::map<ClaimId, std::unique_ptr<Claim>> claims;
  std::map<ClaimId, kj::TimePoint> left;  // of `claims`: until when
  std::set<ClaimId> pauses;               // of writing: each the last claim made before it
  std::set<SessionId> missing;            // of before the start, not back yet
  bool everyoneKnown = true;              // none is missing, or what they had is over
  kj::TimePoint hauntedUntil = kj::origin<kj::TimePoint>();
  std::unordered_set<InodeId> fencedSince;  // while haunted: those that are clean
  uint64_t held = 0, writing = 0, recallsOut = 0;
  LeaseActions actions;
};

}  // namespace cairn
