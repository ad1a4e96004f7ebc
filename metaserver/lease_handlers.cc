// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The lease calls of a session, and what its other calls owe to the leases of others: a change waits until
// nobody else caches what it touches, an answer about a file that another writes comes from that one.
#include "metaserver/session_handlers.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t GIVEN_BACK_MAX = 100'000;
constexpr uint32_t ASK_AGAIN_MAX = 3;  // when the writer changes while it is asked
constexpr uint32_t CLAIM_AGAIN_MAX =
    8;  // when names move while the turn is waited for; then after the change

}  // namespace

// -------------------------------------------------------------------------------------------------- answers

void SessionHandlers::answer(const Attributes& attributes, rpc::Attributes::Builder builder, LeaseKind most) {
  attributes.write(builder);
  service.leases.grant(session, builder, most);
}

Async<Status> SessionHandlers::ascertain(InodeId inode, kj::Maybe<Attributes>& described,
                                         LeaseRecalls::Turn& turn) {
  // How the file is now, if its writer says so. Else, as long as `turn` lives, the namespace knows it all.
  for (uint32_t attempt = 0; attempt < ASK_AGAIN_MAX; ++attempt) {
    auto found = service.names.inode(inode);
    if (!found.ok() || !service.leases.isUnsure(session, found->attributes)) co_return Status::OK;
    auto asked = co_await service.leases.ask(session, inode);
    if (asked.ok()) {
      described = *asked;
      co_return Status::OK;
    }
    if (asked.status() == Status::NOT_READY) break;
  }
  turn = co_await service.leases.claim(session, kj::heapArray<InodeId>({inode}),
                                       {.wish = Wish::READ, .number = inode.value()});
  co_return turn.isReady() ? Status::OK : Status::NOT_READY;
}

void SessionHandlers::answerSure(const Attributes& known, const kj::Maybe<Attributes>& described,
                                 rpc::Attributes::Builder builder) {
  KJ_IF_MAYBE (attributes, described) {
    // It was so a moment ago, and may have been changed by its writer since.
    attributes->write(builder);
    service.leases.grantNone(builder);
  } else {
    answer(known, builder);
  }
}

Async<void> SessionHandlers::gettingAttributes(GetAttributesContext context) {
  auto results = context.getResults();
  InodeId inode(context.getParams().getInode());
  kj::Maybe<Attributes> described;
  LeaseRecalls::Turn turn;
  auto status = co_await ascertain(inode, described, turn);
  auto found = service.names.inode(inode);
  results.setStatus(ok(status) ? found.status() : status);
  if (ok(status) && found.ok()) answerSure(found->attributes, described, results.initAttributes());
}

Async<void> SessionHandlers::lookingUp(LookupContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  InodeId parent(params.getParent());
  for (uint32_t attempt = 0; attempt < ASK_AGAIN_MAX; ++attempt) {
    auto named = service.names.lookup(parent, params.getName());
    kj::Maybe<Attributes> described;
    LeaseRecalls::Turn turn;
    if (named.ok()) {
      auto inode = named->inode;
      auto status = co_await ascertain(inode, described, turn);
      named = service.names.lookup(parent, params.getName());
      if (!ok(status)) break;
      if (named.ok() && named->inode != inode) continue;  // the name has moved
    }
    results.setStatus(named.status());
    if (named.ok()) answerSure(*named, described, results.initAttributes());
    if (named.ok() || named.status() == Status::NOT_FOUND)
      service.leases.grant(session, parent, results.initDirectory());
    co_return;
  }
  results.setStatus(Status::NOT_READY);
}

// ---------------------------------------------------------------------------------------------------- calls

Async<void> SessionHandlers::acquiring(AcquireContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    co_return;
  }
  InodeId inode(params.getInode());
  auto kind = params.getKind();
  auto found = service.names.inode(inode);
  bool writes = kind == LeaseKind::APPEND || kind == LeaseKind::WRITE;
  if (!found.ok() || kind == LeaseKind::NONE || (writes && !found->attributes.isRegular())) {
    results.setStatus(found.ok() ? Status::INVALID : found.status());
    co_return;
  }
  auto wish = kind == LeaseKind::READ ? Wish::READ : kind == LeaseKind::APPEND ? Wish::APPEND : Wish::WRITE;
  auto turn = co_await service.leases.claim(session, kj::heapArray<InodeId>({inode}),
                                            {.wish = wish, .number = inode.value()});
  if (!turn.isReady()) {
    results.setStatus(Status::NOT_READY);
    results.setHeldUp(writes && service.leases.writingIsPaused());
    co_return;
  }
  found = service.names.inode(inode);
  results.setStatus(found.status());
  if (found.ok()) answer(found->attributes, results.initAttributes());
}

kj::Promise<void> SessionHandlers::giveBack(GiveBackContext context) {
  auto leases = context.getParams().getLeases();
  if (fenced() || leases.size() > GIVEN_BACK_MAX) return kj::READY_NOW;
  auto given = KJ_MAP(lease, leases) {
    return HeldLease{InodeId(lease.getInode()), lease.getKind(), LeaseStamp(lease.getStamp())};
  };
  service.leases.givenBack(session, given);
  return kj::READY_NOW;
}

bool SessionHandlers::mayWrite(InodeId inode) {
  if (service.leases.isCaching(session)) return service.leases.mayWrite(session, inode);
  return !service.leases.anyBeside(session, inode);  // it knows no leases, and goes by luck
}

// -------------------------------------------------------------------------------------------------- changes

Async<Status> SessionHandlers::excludeOthers(rpc::Change::Reader change, ChangeSubjects& subjects,
                                             LeaseRecalls::Turn& turn) {
  if (change.isPublish() && service.leases.isCaching(session)) {
    // The word of the file's authority, and no other's counts. Beside it nobody can have cached anything.
    InodeId file(change.getPublish().getFile());
    subjects.inodes.add(file);
    if (!service.names.inode(file).ok()) co_return Status::OK;  // it will be refused with the reason
    if (!service.leases.mayWrite(session, file)) {
      // One that is under way or was carried out, under a lease it had then, gets its answer: else its mount
      // would take its own change for another's.
      bool isRepeated = service.publishing.count({session, change.getSequence()}) > 0 ||
                        service.names.hasAnswered(session, change.getSequence());
      co_return isRepeated ? Status::OK : Status::NOT_LEASED;
    }
    turn = service.leases.publish(session, file);
    co_return Status::OK;
  }
  if (service.leases.needsNoClaim(session)) co_return Status::OK;
  subjects = subjectsOf(change, service.names);
  for (uint32_t attempt = 0; !subjects.inodes.empty(); ++attempt) {
    // A claim is never held while another one is waited for: two who did so could wait for each other.
    turn = LeaseRecalls::Turn();
    auto inodes = kj::heapArray<InodeId>(subjects.inodes.begin(), subjects.inodes.size());
    turn = co_await service.leases.claim(session, kj::mv(inodes),
                                         {.wish = Wish::CHANGE, .number = change.getSequence()});
    if (!turn.isReady()) co_return Status::NOT_READY;
    // Names may have moved while it waited; from now on those it has claimed do not.
    auto now = subjectsOf(change, service.names);
    if (subjects.cover(now) || attempt == CLAIM_AGAIN_MAX) break;
    subjects = kj::mv(now);
  }
  co_return Status::OK;
}

Async<Status> SessionHandlers::excludeOthersAfter(rpc::Change::Reader change, kj::Vector<InodeId> touched) {
  kj::Vector<InodeId> left;
  for (auto inode : touched) {
    if (service.leases.anyBeside(session, inode)) left.add(inode);
  }
  if (left.empty()) co_return Status::OK;
  auto turn = co_await service.leases.claim(
      session, left.releaseAsArray(),
      {.wish = Wish::CHANGE, .number = change.getSequence(), .stage = LeaseRecalls::Stage::AFTER});
  co_return turn.isReady() ? Status::OK : Status::NOT_READY;
}

void SessionHandlers::grantAfter(rpc::Change::Reader change, const Outcome& outcome, Applied applied,
                                 rpc::Outcome::Builder builder) {
  // Right after it was applied: with the stamps that are given here nothing newer has been told. An answer to
  // a change that was applied long ago is about then; what it says of the inodes must be of now. But that to
  // a publish whose lease is gone stays of then: others may have written since, which its mount must be able
  // to tell.
  bool isOfThen = change.isPublish() && service.leases.isCaching(session) &&
                  !service.leases.mayWrite(session, InodeId(change.getPublish().getFile()));
  if (isOfThen) return;
  auto now = [&](InodeId inode, rpc::Attributes::Builder attributes, LeaseKind most = LeaseKind::READ) {
    auto found = service.names.inode(inode);
    if (found.ok()) answer(found->attributes, attributes, most);
  };
  KJ_IF_MAYBE (attributes, outcome.attributes) {
    bool opens = change.isCreate() && change.getCreate().getOpen() && attributes->isRegular();
    auto most = opens ? LeaseKind::WRITE : LeaseKind::READ;
    if (applied == Applied::EARLIER) {
      now(attributes->inode, builder.getAttributes(), most);
    } else {
      service.leases.grant(session, builder.getAttributes(), most);
    }
  }
  KJ_IF_MAYBE (parent, outcome.parent) {
    if (applied == Applied::EARLIER) {
      now(parent->inode, builder.getParent());
    } else {
      service.leases.grant(session, builder.getParent());
    }
  }
  if (!change.isRename()) return;
  auto newParent = newParentOf(change);
  if (newParent) now(newParent, builder.initNewParent());
  auto loser = loserOf(change, outcome, service.names);
  if (loser) now(loser, builder.initLoser());
}

}  // namespace cairn
