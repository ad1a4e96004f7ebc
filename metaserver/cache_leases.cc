// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See cache_leases.h.
#include "metaserver/cache_leases.h"

#include <kj/debug.h>

#include <algorithm>

#include "env/mutation.h"

namespace cairn {

namespace {

constexpr uint32_t STAMPS_OF_A_START = 44;  // bits: at a million answers a second they last for half a year

LeaseKind besides(Wish wish, LeaseKind held) {
  // What another session may keep of its lease when the wish comes true.
  switch (wish) {
    case Wish::READ:
      return held == LeaseKind::APPEND ? LeaseKind::NONE : LeaseKind::READ;
    case Wish::APPEND:
      return held == LeaseKind::APPEND ? LeaseKind::APPEND : LeaseKind::NONE;
    case Wish::WRITE:
    case Wish::CHANGE:
    case Wish::PUBLISH:
      return LeaseKind::NONE;
  }
  KJ_UNREACHABLE;
}

LeaseKind lesser(LeaseKind held, LeaseKind allowed) {
  // What is left of a lease of which only `allowed` may stay.
  if (held == allowed || held == LeaseKind::WRITE) return allowed;
  return allowed == LeaseKind::WRITE ? held : LeaseKind::NONE;
}

bool writes(LeaseKind kind) {
  return kind == LeaseKind::WRITE || kind == LeaseKind::APPEND;
}

bool wantsToWrite(Wish wish) {
  return wish == Wish::WRITE || wish == Wish::APPEND;
}

}  // namespace

CacheLeases::CacheLeases(Start start, LeaseLimits limits)
    : limits(limits), start(start), time(start.now), lastStamp(start.epoch.value() << STAMPS_OF_A_START) {}

// ---------------------------------------------------------------------------------------------- bookkeeping

CacheLeases::Session* CacheLeases::find(SessionId id) {
  auto found = sessions.find(id);
  return found == sessions.end() ? nullptr : &found->second;
}

const CacheLeases::Session* CacheLeases::find(SessionId id) const {
  auto found = sessions.find(id);
  return found == sessions.end() ? nullptr : &found->second;
}

const CacheLeases::Subject* CacheLeases::find(InodeId inode) const {
  auto found = subjects.find(inode);
  return found == subjects.end() ? nullptr : &found->second;
}

CacheLeases::Held* CacheLeases::holding(Subject& subject, SessionId id) {
  for (auto& held : subject.holders) {
    if (held.session == id) return &held;
  }
  return nullptr;
}

void CacheLeases::put(SessionId id, InodeId inode, LeaseGrant grant) {
  auto& session = sessions.at(id);
  auto& subject = subjects[inode];
  auto mine = holding(subject, id);
  if (mine == nullptr) {
    subject.holders.push_back({});
    mine = &subject.holders.back();
    mine->session = id;
    mine->place = session.leases.insert(session.leases.end(), inode);
    ++held;
  } else {
    KJ_REQUIRE(!mine->recalled, inode, id, "a grant while a recall is out");
    session.leases.splice(session.leases.end(), session.leases, mine->place);
  }
  if (grant.kind != mine->kind) {
    changeKind(session, *mine, grant.kind);
    mine->since = grant.stamp;
  }
  mine->stamp = grant.stamp;
}

void CacheLeases::changeKind(Session& session, Held& lease, LeaseKind kind) {
  uint64_t before = lease.kind == LeaseKind::WRITE, after = kind == LeaseKind::WRITE;
  session.writing += after - before;
  writing += after - before;
  lease.kind = kind;
}

void CacheLeases::drop(SessionId id, InodeId inode) {
  auto& subject = subjects.at(inode);
  auto& session = sessions.at(id);
  auto& mine = *KJ_REQUIRE_NONNULL(kj::Maybe<Held*>(holding(subject, id)), inode, id);
  changeKind(session, mine, LeaseKind::NONE);
  if (mine.recalled) {
    session.recalls.erase(mine.recall);
    --recallsOut;
    if (session.recalls.empty() && session.state != Session::State::ENDED) watched.erase(id);
  } else {
    session.leases.erase(mine.place);
  }
  subject.holders.erase(subject.holders.begin() + (&mine - subject.holders.data()));
  --held;
}

void CacheLeases::recall(InodeId inode, Held& lease, LeaseKind allowed) {
  if (lease.recalled && lease.allowed <= allowed) return;  // it is on its way
  auto& session = sessions.at(lease.session);
  if (!lease.recalled) {
    session.leases.erase(lease.place);
    lease.recall = session.recalls.insert(session.recalls.end(), {inode, time});
    ++recallsOut;
    watched.insert(lease.session);
  }
  lease.recalled = nextStamp();
  lease.allowed = allowed;
  if (session.state == Session::State::LIVE)
    actions.recalls.add(LeaseRecall{lease.session, inode, allowed, lease.recalled});
}

void CacheLeases::recallIsOver(InodeId inode, Held& lease) {
  auto& session = sessions.at(lease.session);
  session.recalls.erase(lease.recall);
  --recallsOut;
  if (session.recalls.empty()) {
    session.unresponsive = Session::Report::NO;
    if (session.state != Session::State::ENDED) watched.erase(lease.session);
  }
  lease.recalled = LeaseStamp();
  lease.place = session.leases.insert(session.leases.end(), inode);
}

void CacheLeases::tidy(InodeId inode) {
  auto found = subjects.find(inode);
  if (found != subjects.end() && found->second.unused()) subjects.erase(found);
}

void CacheLeases::erase(std::map<SessionId, Session>::iterator session) {
  KJ_REQUIRE(session->second.count() == 0, session->first);
  if (session->second.caching == Caching::YES) --caching;
  watched.erase(session->first);
  sessions.erase(session);
}

// ------------------------------------------------------------------------------------------------- sessions

void CacheLeases::restored(SessionId id) {
  sessions[id].state = Session::State::MISSING;
  missing.insert(id);
  everyoneKnown = false;
}

void CacheLeases::opened(SessionId id, Caching knows, kj::TimePoint now) {
  told(now);
  auto& session = sessions[id];
  session.caching = knows;
  session.renewed = now;
  if (knows == Caching::YES) ++caching;
}

kj::Vector<InodeId> CacheLeases::resumed(SessionId id, Caching knows, kj::ArrayPtr<const HeldLease> named,
                                         kj::TimePoint now) {
  told(now);
  auto& session = sessions[id];
  bool reclaims = session.state == Session::State::MISSING && !everyoneKnown;
  if (session.caching == Caching::YES) --caching;
  if (knows == Caching::YES) ++caching;
  session.caching = knows;
  session.state = Session::State::LIVE;
  session.renewed = now;

  kj::Vector<InodeId> refused;
  std::unordered_set<InodeId> confirmed;
  std::vector<InodeId> touched;
  for (auto& lease : named) {
    bool valid = knows == Caching::YES && lease.kind != LeaseKind::NONE && lease.stamp > session.voidUpTo;
    auto found = subjects.find(lease.inode);
    auto mine = found == subjects.end() ? nullptr : holding(found->second, id);
    if (valid && mine != nullptr) {
      auto kind = lesser(mine->kind, lease.kind);
      if (kind != LeaseKind::NONE) {
        changeKind(session, *mine, kind);
        if (mine->recalled && lesser(kind, mine->allowed) == kind) recallIsOver(lease.inode, *mine);
        confirmed.insert(lease.inode);
        touched.push_back(lease.inode);
        continue;
      }
    }
    if (valid && mine == nullptr && reclaims) {
      bool fits = true;
      if (found != subjects.end()) {
        for (auto& other : found->second.holders)
          fits &= other.kind == lease.kind && lease.kind != LeaseKind::WRITE;
      }
      if (fits) {
        put(id, lease.inode, {lease.kind, kj::min(lease.stamp, lastStamp)});
        confirmed.insert(lease.inode);
        touched.push_back(lease.inode);
        continue;
      }
    }
    refused.add(lease.inode);
  }

  // What it does not name it does not have, but what it wrote under it may still be on its way.
  std::vector<InodeId> gone;
  for (auto inode : session.leases) {
    if (confirmed.count(inode) == 0) gone.push_back(inode);
  }
  for (auto& out : session.recalls) {
    if (confirmed.count(out.inode) == 0) gone.push_back(out.inode);
  }
  for (auto inode : gone) {
    auto& subject = subjects.at(inode);
    if (writes(holding(subject, id)->kind) && subject.fence == Subject::Fence::CLEAN)
      subject.fence = Subject::Fence::UNCLEAN;
    drop(id, inode);
    touched.push_back(inode);
  }
  for (auto& out : session.recalls) {
    auto& mine = *holding(subjects.at(out.inode), id);
    actions.recalls.add(LeaseRecall{id, out.inode, mine.allowed, mine.recalled});
  }
  missing.erase(id);
  if (!everyoneKnown && missing.empty()) graceIsOver();
  for (auto inode : touched) advance(inode);
  return refused;
}

void CacheLeases::renewed(SessionId id, kj::TimePoint now) {
  told(now);
  auto session = find(id);
  if (session != nullptr && session->state == Session::State::LIVE) session->renewed = now;
}

LeaseStamp CacheLeases::voidUpTo(SessionId id) const {
  auto session = find(id);
  return session == nullptr ? LeaseStamp() : session->voidUpTo;
}

void CacheLeases::ended(SessionId id, End end, kj::TimePoint now) {
  told(now);
  auto found = sessions.find(id);
  if (found == sessions.end()) return;
  std::vector<ClaimId> deserted;
  for (auto& [claim, until] : left) {
    if (claims.at(claim)->session == id) deserted.push_back(claim);
  }
  for (auto claim : deserted) done(claim, now);

  auto& session = found->second;
  if (session.state == Session::State::MISSING) {
    // It holds nothing that we know of. What it may hold is over when the grace is.
    static_assert(SESSION_TERM > LEASE_CACHE_TERM + CLOCK_ERROR_MAX);  // so it is fenced after that
    if (everyoneKnown || end == End::CLOSED) {
      missing.erase(id);
      sessions.erase(found);
      if (!everyoneKnown && missing.empty()) graceIsOver();
    }
    return;
  }
  if (end == End::CLOSED) {
    std::vector<InodeId> all(session.leases.begin(), session.leases.end());
    for (auto& out : session.recalls) all.push_back(out.inode);
    for (auto inode : all) drop(id, inode);
    erase(found);
    for (auto inode : all) advance(inode);
    return;
  }
  session.state = Session::State::ENDED;
  watched.insert(id);
  attend(id);
}

void CacheLeases::loseAll(SessionId id) {
  auto& session = sessions.at(id);
  std::vector<InodeId> all(session.leases.begin(), session.leases.end());
  for (auto& out : session.recalls) all.push_back(out.inode);
  for (auto inode : all) {
    auto& subject = subjects.at(inode);
    if (writes(holding(subject, id)->kind) && subject.fence == Subject::Fence::CLEAN)
      subject.fence = Subject::Fence::UNCLEAN;
    drop(id, inode);
  }
  session.voidUpTo = nextStamp();
  session.unresponsive = Session::Report::NO;
  actions.lost.add(id);
  for (auto inode : all) advance(inode);
}

// ------------------------------------------------------------------------------------------------- granting

bool CacheLeases::isUnclean(InodeId inode) const {
  auto subject = find(inode);
  if (subject != nullptr && subject->fence != Subject::Fence::CLEAN) return true;
  return time < hauntedUntil && inode < start.firstNew && fencedSince.count(inode) == 0;
}

LeaseGrant CacheLeases::grant(SessionId id, InodeId inode, LeaseKind most, kj::TimePoint now) {
  told(now);
  LeaseGrant none{LeaseKind::NONE, nextStamp()};
  auto session = find(id);
  if (session == nullptr || session->caching == Caching::NO || session->state != Session::State::LIVE)
    return none;
  auto best = most;
  // Who is silent has what it has, if it renews in time, and gets nothing new.
  if (!everyoneKnown || isUnclean(inode) || now >= session->renewed + LEASE_CACHE_TERM)
    best = LeaseKind::NONE;
  if (!pauses.empty()) best = kj::min(best, LeaseKind::READ);
  auto mine = LeaseKind::NONE;
  auto found = subjects.find(inode);
  if (found != subjects.end()) {
    for (auto& lease : found->second.holders) {
      if (lease.session == id) {
        if (lease.recalled) return none;
        mine = lease.kind;
      } else {
        best = lease.kind == LeaseKind::READ ? kj::min(best, LeaseKind::READ) : LeaseKind::NONE;
      }
    }
    for (auto claim : found->second.queue) {
      if (claim->session != id && !isPaused(*claim)) best = LeaseKind::NONE;
    }
  }
  best = kj::max(best, mine);
  if (best == LeaseKind::NONE) return none;
  LeaseGrant granted{best, none.stamp};
  put(id, inode, granted);
  makeRoom();
  return granted;
}

void CacheLeases::makeRoom() {
  // What is being recalled already counts as gone, so this goes on once in a batch.
  if (held - recallsOut <= kj::min(limits.all, limits.perSession)) return;
  Session* greediest = nullptr;
  for (auto& [id, session] : sessions) {
    if (greediest == nullptr || session.leases.size() > greediest->leases.size()) greediest = &session;
  }
  auto& oldest = greediest->leases;
  if (oldest.size() <= limits.perSession && held - recallsOut <= limits.all) return;
  for (size_t i = 0; i < limits.batch && oldest.size() > 1; ++i) {
    auto inode = oldest.front();
    for (auto& lease : subjects.at(inode).holders) {
      if (&sessions.at(lease.session) == greediest) recall(inode, lease, LeaseKind::NONE);
    }
  }
}

// --------------------------------------------------------------------------------------------------- claims

ClaimId CacheLeases::claim(SessionId id, kj::ArrayPtr<const InodeId> inodes, Wish wish, kj::TimePoint now) {
  told(now);
  auto claim = std::make_unique<Claim>();
  claim->id = ClaimId(++lastClaim);
  claim->session = id;
  claim->wish = wish;
  for (auto inode : inodes) {
    if (std::find(claim->inodes.begin(), claim->inodes.end(), inode) != claim->inodes.end()) continue;
    claim->inodes.push_back(inode);
    subjects[inode].queue.push_back(claim.get());
  }
  auto& kept = *(claims[claim->id] = kj::mv(claim));
  tryReady(kept);
  return kept.id;
}

ClaimId CacheLeases::publish(SessionId id, InodeId inode) {
  auto claim = std::make_unique<Claim>();
  claim->id = ClaimId(++lastClaim);
  claim->session = id;
  claim->wish = Wish::PUBLISH;
  claim->state = Claim::State::READY;
  claim->inodes.push_back(inode);
  auto& queue = subjects[inode].queue;
  queue.insert(queue.begin(), claim.get());
  return (claims[claim->id] = kj::mv(claim))->id;
}

bool CacheLeases::isReady(ClaimId claim) const {
  auto found = claims.find(claim);
  return found != claims.end() && found->second->state == Claim::State::READY;
}

bool CacheLeases::isFor(ClaimId id, kj::ArrayPtr<const InodeId> inodes) const {
  auto found = claims.find(id);
  if (found == claims.end()) return false;
  std::set<InodeId> claimed(found->second->inodes.begin(), found->second->inodes.end());
  return claimed == std::set<InodeId>(inodes.begin(), inodes.end());
}

bool CacheLeases::isItsTurn(const Subject& subject, const Claim& claim) const {
  for (auto before : subject.queue) {
    if (before == &claim) return true;
    if (isPaused(*before)) continue;
    bool shared = before->wish == claim.wish && (claim.wish == Wish::READ || claim.wish == Wish::APPEND);
    if (before->session != claim.session && !shared) return false;
  }
  KJ_UNREACHABLE;
}

bool CacheLeases::clearTheWay(const Claim& claim, InodeId inode) {
  // True: nobody is in the way. Else what can be done about it has been begun.
  auto& subject = subjects.at(inode);
  auto mine = holding(subject, claim.session);
  bool exclusive = mine != nullptr && mine->kind == LeaseKind::WRITE;
  if (!everyoneKnown && !exclusive) return false;
  bool clear = true;
  auto wish = claim.wish;
  if (wish != Wish::CHANGE && mine != nullptr) {
    if (mine->recalled) clear = false;  // first it answers that
    // Reading what it appends to itself: it needs both.
    if (wish == Wish::READ && mine->kind == LeaseKind::APPEND) wish = Wish::WRITE;
  }
  if (isUnclean(inode) && !exclusive) {
    clear = false;
    if (subject.fence != Subject::Fence::FENCING) actions.unclean.add(inode);
    subject.fence = Subject::Fence::FENCING;
  }
  for (auto& other : subject.holders) {
    if (other.session == claim.session) continue;
    auto allowed = besides(wish, other.kind);
    if (allowed == other.kind) continue;
    clear = false;
    recall(inode, other, allowed);
  }
  return clear;
}

bool CacheLeases::isPaused(const Claim& claim) const {
  return claim.state == Claim::State::WAITING && wantsToWrite(claim.wish) && !pauses.empty() &&
         claim.id > *pauses.begin();
}

ClaimId CacheLeases::pauseWriting() {
  return *pauses.insert(ClaimId(++lastClaim)).first;
}

void CacheLeases::resumeWriting(ClaimId pause, kj::TimePoint now) {
  told(now);
  pauses.erase(pause);
  advanceAll();
}

void CacheLeases::overtakePaused(Claim& claim) {
  // When the pause ends, those find it before them.
  for (auto inode : claim.inodes) {
    auto& queue = subjects.at(inode).queue;
    auto own = std::find(queue.begin(), queue.end(), &claim);
    auto paused = std::find_if(queue.begin(), own, [&](auto before) { return isPaused(*before); });
    std::rotate(paused, own, own + 1);
  }
}

bool CacheLeases::tryReady(Claim& claim) {
  if (claim.state == Claim::State::READY || isPaused(claim)) return true;
  for (auto inode : claim.inodes) {
    if (!isItsTurn(subjects.at(inode), claim)) return false;
  }
  bool clear = true;
  for (auto inode : claim.inodes) {
    if (!clearTheWay(claim, inode)) clear = false;
  }
  if (!clear) return true;
  if (isPaused()) overtakePaused(claim);
  claim.state = Claim::State::READY;
  actions.ready.add(claim.id);
  auto session = find(claim.session);
  if (claim.wish == Wish::CHANGE || session == nullptr || session->caching == Caching::NO ||
      session->state != Session::State::LIVE)
    return true;
  for (auto inode : claim.inodes) {
    auto mine = holding(subjects.at(inode), claim.session);
    auto kind = claim.wish == Wish::READ     ? LeaseKind::READ
                : claim.wish == Wish::APPEND ? LeaseKind::APPEND
                                             : LeaseKind::WRITE;
    if (mine != nullptr) {
      if (mine->kind == LeaseKind::APPEND && kind == LeaseKind::READ) kind = LeaseKind::WRITE;
      kind = kj::max(kind, mine->kind);
    }
    put(claim.session, inode, {kind, nextStamp()});
  }
  makeRoom();
  return true;
}

void CacheLeases::advance(InodeId inode) {
  auto found = subjects.find(inode);
  if (found == subjects.end()) return;
  for (auto claim : found->second.queue) {
    if (!tryReady(*claim)) break;
  }
  tidy(inode);
}

void CacheLeases::advanceAll() {
  for (auto& [id, claim] : claims) tryReady(*claim);
}

void CacheLeases::done(ClaimId id, kj::TimePoint now) {
  told(now);
  auto found = claims.find(id);
  if (found == claims.end()) return;
  auto claim = kj::mv(found->second);
  claims.erase(found);
  left.erase(id);
  for (auto inode : claim->inodes) {
    auto& queue = subjects.at(inode).queue;
    queue.erase(std::find(queue.begin(), queue.end(), claim.get()));
  }
  for (auto inode : claim->inodes) advance(inode);
}

// ------------------------------------------------------------------------------------------ what comes back

void CacheLeases::givenBack(SessionId id, const HeldLease& lease, kj::TimePoint now) {
  told(now);
  auto found = subjects.find(lease.inode);
  auto mine = found == subjects.end() ? nullptr : holding(found->second, id);
  if (mine == nullptr || mine->stamp > lease.stamp) return;  // a grant is on its way to it
  auto kind = lesser(mine->kind, lease.kind);
  if (kind == LeaseKind::NONE) {
    drop(id, lease.inode);
  } else {
    changeKind(sessions.at(id), *mine, kind);
    if (mine->recalled && lesser(kind, mine->allowed) == kind) recallIsOver(lease.inode, *mine);
  }
  advance(lease.inode);
}

void CacheLeases::fenced(InodeId inode, kj::TimePoint now) {
  told(now);
  if (time < hauntedUntil) fencedSince.insert(inode);
  auto found = subjects.find(inode);
  if (found == subjects.end()) return;
  found->second.fence = Subject::Fence::CLEAN;
  advance(inode);
}

void CacheLeases::forget(InodeId inode) {
  auto found = subjects.find(inode);
  if (found == subjects.end()) return;
  auto& subject = found->second;
  while (!subject.holders.empty()) drop(subject.holders.back().session, inode);
  if (subject.fence == Subject::Fence::UNCLEAN) subject.fence = Subject::Fence::CLEAN;
  advance(inode);
}

// ----------------------------------------------------------------------------------------------------- time

void CacheLeases::graceIsOver() {
  for (auto id : missing) sessions.at(id).voidUpTo = nextStamp();
  if (!missing.empty()) hauntedUntil = start.now + LEASE_TERM + CLOCK_ERROR_MAX;
  everyoneKnown = true;
  advanceAll();
}

kj::TimePoint CacheLeases::believedUntil(const Session& session) {
  auto until = session.renewed + LEASE_CACHE_TERM;
  return isMutant(Mutant::NO_CLOCK_MARGIN) ? until : until + CLOCK_ERROR_MAX;
}

void CacheLeases::attend(SessionId id) {
  auto found = sessions.find(id);
  if (found == sessions.end()) return;
  auto& session = found->second;
  bool isEnded = session.state == Session::State::ENDED;
  if (isEnded && session.count() == 0) {
    erase(found);
  } else if (time >= believedUntil(session) && (isEnded || !session.recalls.empty())) {
    loseAll(id);
    if (isEnded) erase(found);
  } else if (!isEnded && !session.recalls.empty() && session.unresponsive == Session::Report::NO &&
             time >= session.recalls.front().since + RECALL_TERM) {
    session.unresponsive = Session::Report::YES;
    actions.unresponsive.add(id);
  }
}

kj::Maybe<kj::TimePoint> CacheLeases::next() const {
  kj::Maybe<kj::TimePoint> earliest;
  auto consider = [&](kj::TimePoint at) {
    KJ_IF_MAYBE (other, earliest) {
      if (*other <= at) return;
    }
    earliest = at;
  };
  if (!everyoneKnown) consider(graceEnd());
  for (auto& [claim, until] : left) consider(until);
  for (auto id : watched) {
    auto& session = sessions.at(id);
    consider(believedUntil(session));
    if (session.state == Session::State::LIVE && session.unresponsive == Session::Report::NO &&
        !session.recalls.empty())
      consider(session.recalls.front().since + RECALL_TERM);
  }
  return earliest;
}

void CacheLeases::tick(kj::TimePoint now) {
  told(now);
  if (!everyoneKnown && now >= graceEnd()) graceIsOver();
  if (now >= hauntedUntil) fencedSince.clear();
  std::vector<SessionId> attended(watched.begin(), watched.end());
  for (auto id : attended) attend(id);
  std::vector<ClaimId> over;
  for (auto& [claim, until] : left) {
    if (now >= until) over.push_back(claim);
  }
  for (auto claim : over) done(claim, now);
}

LeaseActions CacheLeases::take() {
  LeaseActions taken = kj::mv(actions);
  actions = LeaseActions();
  return taken;
}

// -------------------------------------------------------------------------------------------------- looking

kj::Maybe<CacheLeases::Writer> CacheLeases::writerBeside(SessionId id, InodeId inode) const {
  auto subject = find(inode);
  if (subject == nullptr) return nullptr;
  for (auto& lease : subject->holders) {
    if (lease.session != id && lease.kind == LeaseKind::WRITE) return Writer{lease.session, lease.since};
  }
  return nullptr;
}

bool CacheLeases::mayWrite(SessionId id, InodeId inode) const {
  auto subject = find(inode);
  if (subject == nullptr) return false;
  for (auto& lease : subject->holders) {
    if (lease.session == id) return writes(lease.kind);
  }
  return false;
}

bool CacheLeases::hasWriter(InodeId inode) const {
  auto subject = find(inode);
  if (subject == nullptr) return false;
  for (auto& lease : subject->holders) {
    if (writes(lease.kind)) return true;
  }
  for (auto claim : subject->queue) {
    if (wantsToWrite(claim->wish) && !isPaused(*claim)) return true;
  }
  return false;
}

kj::Vector<InodeId> CacheLeases::written() const {
  kj::Vector<InodeId> result;
  for (auto& [inode, subject] : subjects) {
    if (hasWriter(inode)) result.add(inode);
  }
  std::sort(result.begin(), result.end());
  return result;
}

bool CacheLeases::anyBeside(SessionId id, InodeId inode) const {
  auto subject = find(inode);
  if (subject == nullptr) return false;
  for (auto& lease : subject->holders) {
    if (lease.session != id) return true;
  }
  return false;
}

bool CacheLeases::isCaching(SessionId id) const {
  auto session = find(id);
  return session != nullptr && session->caching == Caching::YES;
}

CacheLeases::Counts CacheLeases::counts() const {
  Counts result;
  result.held = held;
  result.writing = writing;
  result.recalls = uint32_t(recallsOut);
  result.missing = uint32_t(missing.size());
  for (auto& [id, claim] : claims) result.waiting += claim->state == Claim::State::WAITING;
  for (auto id : watched) {
    auto& recalls = sessions.at(id).recalls;
    if (recalls.empty()) continue;
    KJ_IF_MAYBE (oldest, result.oldest) {
      if (*oldest <= recalls.front().since) continue;
    }
    result.oldest = recalls.front().since;
  }
  return result;
}

CacheLeases::Counts CacheLeases::counts(SessionId id) const {
  Counts result;
  auto session = find(id);
  if (session == nullptr) return result;
  result.held = session->count();
  result.writing = session->writing;
  result.recalls = uint32_t(session->recalls.size());
  return result;
}

void CacheLeases::checkInvariants() const {
  uint64_t total = 0, out = 0, writers = 0, queued = 0;
  std::map<SessionId, uint64_t> perSession;
  for (auto& [inode, subject] : subjects) {
    KJ_ASSERT(!subject.unused(), inode);
    queued += subject.queue.size();
    for (auto& lease : subject.holders) {
      ++total;
      ++perSession[lease.session];
      writers += lease.kind == LeaseKind::WRITE;
      out += bool(lease.recalled);
      KJ_ASSERT(lease.kind != LeaseKind::NONE, inode);
      KJ_ASSERT(lease.kind == subject.holders[0].kind, inode, "two kinds of leases");
      KJ_ASSERT(lease.kind != LeaseKind::WRITE || subject.holders.size() == 1, inode, "not alone");
      KJ_ASSERT(!lease.recalled || lease.recalled > lease.stamp, inode, "a grant while a recall is out");
      auto& session = sessions.at(lease.session);
      auto& listed = lease.recalled ? lease.recall->inode : *lease.place;
      KJ_ASSERT(listed == inode && session.state != Session::State::MISSING, inode);
    }
    for (auto claim : subject.queue) {
      if (claim->state != Claim::State::READY || claim->wish != Wish::CHANGE) continue;
      for (auto& lease : subject.holders)
        KJ_ASSERT(lease.session == claim->session, inode, "a lease beside a change");
    }
  }
  size_t inQueues = 0, knowing = 0, claimed = 0;
  for (auto& [id, claim] : claims) inQueues += claim->inodes.size();
  for (auto& [id, session] : sessions) {
    auto found = perSession.find(id);
    KJ_ASSERT(session.count() == (found == perSession.end() ? 0 : found->second), id);
    claimed += session.writing;
    if (session.state != Session::State::MISSING) knowing += session.caching == Caching::YES;
    KJ_ASSERT(session.recalls.empty() || watched.count(id) > 0, id);
  }
  KJ_ASSERT(total == held && out == recallsOut && writers == writing && claimed == writing);
  KJ_ASSERT(inQueues == queued && knowing == caching);
  for (auto& [claim, until] : left) KJ_ASSERT(claims.count(claim) == 1);
}

}  // namespace cairn
