// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See lease_recalls.h.
#include "metaserver/lease_recalls.h"

#include "env/turn.h"
#include "rpc/coroutine.h"
#include "rpc/deadline.h"

namespace cairn {

namespace {

constexpr kj::Duration WAIT_MAX = 1 * kj::SECONDS;    // of one call: below the deadline that clients give it
constexpr kj::Duration PLACE_KEPT = 4 * kj::SECONDS;  // for a caller that asks again
constexpr kj::Duration DESCRIBE_DEADLINE = 500 * kj::MILLISECONDS;
constexpr kj::Duration RECALL_DEADLINE = 2 * RECALL_TERM;  // it has been fenced long before
constexpr uint32_t CHUNKS_AT_A_TIME = 1000;
constexpr size_t FILES_AT_A_TIME = 256;  // of one claim: with each answer all of them are looked at
constexpr uint32_t ROUNDS_MAX = 8;       // of ending what has begun meanwhile

}  // namespace

LeaseRecalls::LeaseRecalls(Sessions& sessions, ChunkGrants& grants, const NamespaceReader& names,
                           kj::Timer& timer, Epoch epoch, env::Logger logger)
    : sessions(sessions),
      grants(grants),
      names(names),
      timer(timer),
      log(kj::mv(logger)),
      leases({epoch, names.state().nextInode, timer.now()}),
      tasks(*this) {
  for (auto& record : names.sessions()) leases.restored(record.id);
  sessions.addListener(*this);
}

LeaseRecalls::~LeaseRecalls() noexcept(false) {}

void LeaseRecalls::taskFailed(kj::Exception&& exception) {
  log.error("work on cache leases ended with a bug: ", exception);
}

// ------------------------------------------------------------------------------------------------- sessions

void LeaseRecalls::opened(SessionId id, Caching caching) {
  leases.opened(id, caching, timer.now());
  carryOut();
}

kj::Vector<InodeId> LeaseRecalls::resumed(SessionId id, Caching caching,
                                          kj::ArrayPtr<const HeldLease> named) {
  auto refused = leases.resumed(id, caching, named, timer.now());
  if (refused.size() > 0) {
    log.warning("session ", id, " comes back with ", named.size(), " leases -> ", refused.size(),
                " of them are void");
  }
  carryOut();
  return refused;
}

void LeaseRecalls::renewed(SessionId id) {
  leases.renewed(id, timer.now());
}

void LeaseRecalls::givenBack(SessionId id, kj::ArrayPtr<const HeldLease> given) {
  for (auto& lease : given) leases.givenBack(id, lease, timer.now());
  carryOut();
}

void LeaseRecalls::sessionEnded(SessionId id, SessionEnd how) {
  leases.ended(id, how == SessionEnd::CLOSED ? CacheLeases::End::CLOSED : CacheLeases::End::FENCED,
               timer.now());
  carryOut();
}

void LeaseRecalls::purged(kj::ArrayPtr<const InodeId> inodes) {
  for (auto inode : inodes) leases.forget(inode);
  carryOut();
}

// -------------------------------------------------------------------------------------------------- answers

void LeaseRecalls::grant(SessionId id, rpc::Attributes::Builder attributes, LeaseKind most) {
  InodeId inode(attributes.getInode());
  auto granted = leases.grant(id, inode, most, timer.now());
  attributes.setLease(granted.kind);
  attributes.setStamp(granted.stamp.value());
  attributes.setUnsure(leases.writerBeside(id, inode) != nullptr);
  carryOut();
}

void LeaseRecalls::grant(SessionId id, InodeId directory, rpc::Lease::Builder lease) {
  auto granted = leases.grant(id, directory, LeaseKind::READ, timer.now());
  lease.setInode(directory.value());
  lease.setKind(granted.kind);
  lease.setStamp(granted.stamp.value());
  carryOut();
}

bool LeaseRecalls::isUnsure(SessionId id, const Attributes& attributes) const {
  if (!attributes.isRegular() || leases.mayWrite(id, attributes.inode)) return false;
  return !leases.known() || leases.writerBeside(id, attributes.inode) != nullptr;
}

Async<Result<Attributes>> LeaseRecalls::ask(SessionId id, InodeId inode) {
  auto holder = leases.writerBeside(id, inode);
  if (holder == nullptr) co_return Status::NOT_READY;
  auto writer = KJ_ASSERT_NONNULL(holder);
  auto callback = sessions.callback(writer.session);
  if (callback == nullptr) co_return Status::NOT_READY;
  auto request = KJ_ASSERT_NONNULL(callback).describeRequest();
  request.setInode(inode.value());
  try {
    kj::Promise<capnp::Response<rpc::ClientCallback::DescribeResults>> sent = request.send();
    auto described = co_await withDeadline(timer, kj::mv(sent), DESCRIBE_DEADLINE,
                                           kj::str("describe at session ", writer.session));
    if (!ok(described.getStatus())) co_return Status::NOT_LEASED;
    // It was the one to say so if it has had the lease all the time.
    auto still = leases.writerBeside(id, inode);
    auto found = names.inode(inode);
    if (!found.ok()) co_return found.status();
    if (still == nullptr || KJ_ASSERT_NONNULL(still).since != writer.since) co_return Status::NOT_LEASED;
    auto attributes = found->attributes;
    attributes.size = described.getSize();
    attributes.bytesUsed = described.getBytesUsed();
    attributes.mtime = described.getMtime();
    attributes.ctime = kj::max(attributes.ctime, attributes.mtime);
    co_return attributes;
  } catch (const kj::Exception& exception) {
    log.debug("session ", writer.session, " did not describe inode ", inode, " (", exception.getDescription(),
              ") -> its lease is recalled");
  }
  co_return Status::NOT_READY;
}

// -------------------------------------------------------------------------------------------------- waiting

LeaseRecalls::Turn& LeaseRecalls::Turn::operator=(Turn&& other) noexcept {
  if (this != &other) {
    end();
    recalls = other.recalls;
    claim = other.claim;
    other.recalls = nullptr;
  }
  return *this;
}

void LeaseRecalls::Turn::end() {
  if (recalls == nullptr) return;
  recalls->finish(claim);
  recalls = nullptr;
}

kj::Own<void> LeaseRecalls::pauseWriting() {
  return kj::heap(kj::defer([this, pause = leases.pauseWriting()]() {
    leases.resumeWriting(pause, timer.now());
    carryOut();
  }));
}

void LeaseRecalls::finish(ClaimId claim) {
  leases.done(claim, timer.now());
  carryOut();
}

ClaimId LeaseRecalls::keptPlace(Caller caller, kj::ArrayPtr<const InodeId> inodes) {
  // Of a call that was told to ask again; none if it is about something else by now.
  auto before = waits.find(caller);
  if (before == waits.end() || before->second.state == Wait::State::WAITING) return ClaimId();
  auto claim = before->second.claim;
  waiting.erase(claim);
  waits.erase(before);
  if (leases.isFor(claim, inodes)) {
    leases.join(claim);
    return claim;
  }
  leases.done(claim, timer.now());
  return ClaimId();
}

Async<LeaseRecalls::Turn> LeaseRecalls::claim(SessionId id, kj::Array<InodeId> inodes, Purpose purpose) {
  auto claim = keptPlace({id, purpose}, inodes);
  if (!claim) claim = leases.claim(id, inodes, purpose.wish, timer.now());
  carryOut();
  if (leases.isReady(claim)) co_return Turn(*this, claim);

  if (waits.count({id, purpose}) > 0) purpose.beside = ++calls;
  Caller caller{id, purpose};
  auto pair = kj::newPromiseAndFulfiller<void>();
  waits.emplace(caller, Wait{claim, Wait::State::WAITING, kj::mv(pair.fulfiller)});
  waiting.emplace(claim, caller);
  co_await pair.promise.exclusiveJoin(timer.afterDelay(WAIT_MAX));
  bool asksAgain = !leases.isReady(claim) && leases.knows(claim) && purpose.beside == 0;
  if (asksAgain) {
    waits.at(caller).state = Wait::State::LEFT;
    leases.leave(claim, timer.now() + PLACE_KEPT);
    carryOut();
    co_return Turn();
  }
  waiting.erase(claim);
  waits.erase(caller);
  if (leases.isReady(claim)) co_return Turn(*this, claim);
  finish(claim);
  co_return Turn();
}

Async<LeaseRecalls::Turn> LeaseRecalls::excludeAll(kj::Array<InodeId> inodes,
                                                   kj::Maybe<kj::Duration> patience, Wish wish) {
  Purpose purpose{.wish = wish, .number = ++ownChanges};
  bool isOver = false;
  kj::Promise<void> ending = nullptr;
  KJ_IF_MAYBE (most, patience) {
    ending = env::afterDelayFromNextTurn(timer, *most)
                 .then([&isOver]() { isOver = true; })
                 .eagerlyEvaluate(nullptr);
  }
  for (;;) {
    auto turn = co_await claim(SessionId(), kj::heapArray(inodes.asPtr()), purpose);
    if (turn.isReady()) co_return kj::mv(turn);
    if (!isOver) continue;
    if (auto kept = keptPlace({SessionId(), purpose}, inodes)) finish(kept);
    co_return Turn();
  }
}

Async<Status> LeaseRecalls::endWriting(kj::Maybe<kj::Duration> patience) {
  for (uint32_t round = 0; round < ROUNDS_MAX; ++round) {
    auto files = leases.written();
    if (files.empty()) co_return Status::OK;
    for (size_t first = 0; first < files.size(); first += FILES_AT_A_TIME) {
      auto some = files.asPtr().slice(first, kj::min(first + FILES_AT_A_TIME, files.size()));
      auto turn =
          co_await excludeAll(kj::heapArray<InodeId>(some.begin(), some.size()), patience, Wish::READ);
      if (!turn.isReady()) co_return Status::BUSY;
    }
    if (!leases.isPaused()) co_return Status::OK;  // those who write much have begun again
  }
  co_return Status::BUSY;
}

void LeaseRecalls::carryOut() {
  auto actions = leases.take();
  for (auto& recall : actions.recalls) outbox[recall.session].add(recall);
  if (!outbox.empty() && boxState == Outbox::CLOSED) {
    boxState = Outbox::OPEN;
    tasks.add(kj::evalLast([this]() { return flush(); }));
  }
  for (auto claim : actions.ready) {
    auto found = waiting.find(claim);
    if (found != waiting.end()) waits.at(found->second).over->fulfill();
  }
  for (auto inode : actions.unclean) tasks.add(fence(inode));
  for (auto id : actions.lost) {
    log.warning("session ", id, " was silent for the term of its leases, and one is wanted -> all are void");
  }
  for (auto id : actions.unresponsive) {
    tasks.add(sessions.fence(id, "it renews, and does not give back what is recalled"));
  }
  auto next = leases.next();
  KJ_IF_MAYBE (at, next) {
    KJ_IF_MAYBE (set, alarm) {
      if (*set <= *at) return;
    }
    if (wake.get() != nullptr) wake->fulfill();
  }
}

kj::Promise<void> LeaseRecalls::flush() {
  boxState = Outbox::CLOSED;
  auto messages = kj::mv(outbox);
  outbox.clear();
  for (auto& [id, batch] : messages) tasks.add(send(id, batch.releaseAsArray()));
  return kj::READY_NOW;
}

Async<void> LeaseRecalls::send(SessionId id, kj::Array<LeaseRecall> batch) {
  auto callback = sessions.callback(id);
  if (callback == nullptr) co_return;
  auto request = KJ_ASSERT_NONNULL(callback).recallRequest();
  auto list = request.initLeases(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    list[i].setInode(batch[i].inode.value());
    list[i].setKind(batch[i].allowed);
    list[i].setStamp(batch[i].stamp.value());
  }
  try {
    kj::Promise<void> sent = request.send().ignoreResult();
    co_await withDeadline(timer, kj::mv(sent), RECALL_DEADLINE, kj::str("recall at session ", id));
  } catch (const kj::Exception& exception) {
    // It comes back and is asked again, or its leases run out.
    log.info("session ", id, " did not answer a recall of ", batch.size(), " leases (",
             exception.getDescription(), ") -> waiting for it, or for the end of their term");
    co_return;
  }
  for (auto& recall : batch) {
    leases.givenBack(id, {recall.inode, recall.allowed, recall.stamp}, timer.now());
  }
  carryOut();
}

Async<void> LeaseRecalls::fence(InodeId inode) {
  // What the lost writer has on its way meets no lease any more.
  uint64_t fencedChunks = 0;
  ChunkIndex first;
  for (;;) {
    auto chunks = names.chunksOf(inode, first, CHUNKS_AT_A_TIME);
    for (auto& chunk : chunks) {
      co_await grants.fence(chunk.handle);
      ++fencedChunks;
    }
    if (chunks.size() < CHUNKS_AT_A_TIME) break;
    first = chunks[chunks.size() - 1].index.next();
  }
  if (fencedChunks > 0) {
    log.info("the writer of inode ", inode, " is lost -> ", fencedChunks,
             " chunks take nothing from it any more");
  }
  leases.fenced(inode, timer.now());
  carryOut();
}

Async<void> LeaseRecalls::run() {
  for (;;) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    wake = kj::mv(pair.fulfiller);
    alarm = leases.next();
    auto waiting = kj::mv(pair.promise);
    KJ_IF_MAYBE (at, alarm) waiting = waiting.exclusiveJoin(timer.atTime(*at));
    co_await waiting;
    leases.tick(timer.now());
    carryOut();
    forgetCallers();
  }
}

void LeaseRecalls::forgetCallers() {
  // Those that did not ask again while their place was kept.
  for (auto wait = waits.begin(); wait != waits.end();) {
    auto claim = wait->second.claim;
    if (wait->second.state == Wait::State::WAITING || leases.knows(claim)) {
      ++wait;
    } else {
      waiting.erase(claim);
      wait = waits.erase(wait);
    }
  }
}

}  // namespace cairn
