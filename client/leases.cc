// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/leases.h"

#include <kj/debug.h>

#include "client/attributes.h"

namespace cairn::client {

namespace {

// Each further pass over the pages of an inode may hold a thread of the kernel's notifier until the pages
// that stop it are free. More than the kernel has requests in flight in the background.
constexpr unsigned PASSES_MAX = 100;

}  // namespace

Leases::Leases(kj::Timer& timer, Session& session, LeasedFiles& files, env::Logger log,
               LeaseCache::Limits limits)
    : timer(timer), session(session), files(files), log(kj::mv(log)), known(limits), tasks(*this) {}

Leases::~Leases() noexcept(false) {}

// ------------------------------------------------------------------------------------------ what goes on

void Leases::tidy(InodeId inode) {
  auto found = busy.find(inode);
  if (found != busy.end() && found->second.isIdle()) busy.erase(found);
}

void Leases::tell(Busy& entry) {
  auto listeners = kj::mv(entry.changed);
  entry.changed.clear();
  for (auto& listener : listeners) listener->fulfill();
}

kj::Promise<void> Leases::change(InodeId inode) {
  // Resolves at the next change of what goes on.
  auto paf = kj::newPromiseAndFulfiller<void>();
  busy[inode].changed.add(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

Leases::Pin::Pin(Leases& leases, InodeId inode) : leases(leases), inode(inode) {
  ++leases.busy[inode].pins;
}

Leases::Pin::~Pin() noexcept(false) {
  auto& entry = leases.busy.at(inode);
  if (--entry.pins == 0) leases.tell(entry);
  leases.tidy(inode);
}

Leases::PageRange::PageRange(Leases& leases, InodeId inode, uint64_t offset, uint64_t size)
    : leases(leases), inode(inode) {
  auto& entry = leases.busy[inode];
  place = entry.ranges.insert(entry.ranges.end(), Filesystem::Range{offset, size});
  ++entry.arrivals;
  leases.tell(entry);
}

Leases::PageRange::~PageRange() noexcept(false) {
  leases.busy.at(inode).ranges.erase(place);
  leases.tidy(inode);
}

void Leases::passed(InodeId inode) {
  auto found = busy.find(inode);
  if (found != busy.end()) found->second.passed = true;
}

void Leases::refused(InodeId inode) {
  if (!areGranted() || !known.has(inode, LeaseKind::READ)) return;
  known.refuse(inode);
  gone({inode});
}

// ------------------------------------------------------------------------------------------ taking

struct Leases::Waiter {
  Waiter(kj::PromiseFulfiller<Result<kj::Own<Pin>>>& fulfiller, Leases& leases, InodeId inode, LeaseKind kind)
      : fulfiller(fulfiller), leases(leases), inode(inode), kind(kind) {
    auto& entry = leases.busy[inode];
    place = entry.waiters.insert(entry.waiters.end(), this);
    if (entry.asking) return;
    entry.asking = true;
    leases.tasks.add(leases.ask(inode));
  }
  ~Waiter() noexcept(false) {
    if (!isWaiting) return;
    leases.busy.at(inode).waiters.erase(place);
    leases.tidy(inode);
  }
  kj::PromiseFulfiller<Result<kj::Own<Pin>>>& fulfiller;
  Leases& leases;
  const InodeId inode;
  const LeaseKind kind;
  std::list<Waiter*>::iterator place;
  bool isWaiting = true;
};

kj::Promise<Result<kj::Own<Leases::Pin>>> Leases::acquire(InodeId inode, LeaseKind kind) {
  if (allows(inode, kind)) return Result<kj::Own<Pin>>(kj::heap<Pin>(*this, inode));
  return kj::newAdaptedPromise<Result<kj::Own<Pin>>, Waiter>(*this, inode, kind);
}

void Leases::answer(InodeId inode, LeaseKind kind, Status status) {
  // Those who asked for it, or for less, in order.
  auto& waiters = busy.at(inode).waiters;
  for (auto place = waiters.begin(); place != waiters.end();) {
    auto& waiter = **place;
    if (ok(status) ? !allows(inode, waiter.kind) : waiter.kind != kind) {
      ++place;
      continue;
    }
    place = waiters.erase(place);
    waiter.isWaiting = false;
    // The pin is there before the waiter has its turn: a recall that comes right behind the grant waits for
    // it, so two mounts that want the same file both get on.
    if (ok(status)) {
      waiter.fulfiller.fulfill(kj::heap<Pin>(*this, inode));
    } else {
      waiter.fulfiller.fulfill(Result<kj::Own<Pin>>(status));
    }
  }
}

Async<void> Leases::ask(InodeId inode) {
  KJ_DEFER({
    busy.at(inode).asking = false;
    tidy(inode);
  });
  co_await kj::evalLater([]() {});  // who waits is known by then
  while (!busy.at(inode).waiters.empty()) {
    auto kind = busy.at(inode).waiters.front()->kind;
    for (auto waiter : busy.at(inode).waiters) {
      if (waiter->kind == LeaseKind::WRITE) kind = LeaseKind::WRITE;
    }
    if (allows(inode, kind)) {
      answer(inode, kind, Status::OK);
      continue;
    }
    if (known.isRecalling(inode)) {
      // What is asked for before the recall has been answered could be answered with what we still have.
      co_await change(inode);
      continue;
    }
    if (areGranted() && !known.isInTerm(timer.now())) {
      auto status = co_await session.renew();
      if (!ok(status)) answer(inode, kind, status);
      continue;
    }
    auto acquired = co_await session.query("acquire", [inode, kind](rpc::Session::Client& client) {
      auto request = client.acquireRequest();
      request.setInode(inode.value());
      request.setKind(kind);
      return request.send();
    });
    if (!acquired.ok()) {
      answer(inode, kind, acquired.status());
      continue;
    }
    auto attributes = readAttributes(acquired->getAttributes());
    known.learn(attributes);
    files.learned(inode, attributes);
  }
}

// ------------------------------------------------------------------------------------------ giving

kj::Promise<void> Leases::recall(std::vector<LeaseHeld> asked) {
  // Goes on when the connection that it came by breaks: it comes again by the next one.
  kj::Vector<kj::Promise<void>> obeyed;
  for (auto& lease : asked) {
    auto paf = kj::newPromiseAndFulfiller<void>();
    obeyed.add(kj::mv(paf.promise));
    known.recall(lease.inode, lease.kind, lease.stamp);
    ++busy[lease.inode].obeying;
    tasks.add(obey(lease).attach(
        kj::defer([fulfiller = kj::mv(paf.fulfiller)]() mutable { fulfiller->fulfill(); })));
  }
  return kj::joinPromises(obeyed.releaseAsArray());
}

Async<void> Leases::obey(LeaseHeld asked) {
  auto inode = asked.inode;
  KJ_DEFER({
    known.recalled(inode);
    auto& entry = busy.at(inode);
    --entry.obeying;
    tell(entry);
    tidy(inode);
  });
  while (busy.at(inode).pins > 0) co_await change(inode);
  bool keepsCaches = asked.kind == LeaseKind::READ || asked.kind == LeaseKind::WRITE;
  do {
    busy.at(inode).passed = false;
    if (!keepsCaches) co_await forgetContent(inode);
    if (asked.kind != LeaseKind::WRITE && known.has(inode, LeaseKind::WRITE)) {
      co_await files.writeOut(inode);
      if (keepsCaches) co_await forgetAttributes(inode);
    }
  } while (busy.at(inode).passed);
  if (!keepsCaches) files.forgetLocations(inode);
}

kj::Promise<void> Leases::forgetPass(InodeId inode) {
  KJ_IF_MAYBE (cacher, observer) {
    auto& ranges = busy.at(inode).ranges;
    return cacher->forget(inode, std::vector<Filesystem::Range>(ranges.begin(), ranges.end()));
  }
  return kj::READY_NOW;
}

Async<void> Leases::forgetContent(InodeId inode) {
  // A pass may stop at pages of a request that has come since it began and has to wait for this recall to be
  // over. Then another one overtakes it, which leaves those out as well; the first one that gets through is
  // enough.
  auto paf = kj::newPromiseAndFulfiller<void>();
  struct Done : public kj::Refcounted {
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
    bool isDone = false;
  };
  auto done = kj::refcounted<Done>();
  done->fulfiller = kj::mv(paf.fulfiller);
  auto isDone = paf.promise.fork();
  for (unsigned passes = 0; !done->isDone; ++passes) {
    auto arrivals = busy.at(inode).arrivals;
    if (passes < PASSES_MAX) {
      tasks.add(forgetPass(inode).then([done = kj::addRef(*done)]() mutable {
        done->isDone = true;
        done->fulfiller->fulfill();
      }));
    }
    while (!done->isDone && (busy.at(inode).arrivals == arrivals || passes >= PASSES_MAX)) {
      co_await isDone.addBranch().exclusiveJoin(change(inode));
    }
  }
}

kj::Promise<void> Leases::giveBack(std::vector<InodeId> inodes) {
  std::vector<LeaseHeld> leases;
  for (auto inode : inodes) {
    KJ_IF_MAYBE (lease, known.lower(inode)) leases.push_back(*lease);
  }
  return sendGivenBack(kj::mv(leases));
}

Async<void> Leases::sendGivenBack(std::vector<LeaseHeld> leases) {
  if (leases.empty()) co_return;
  auto answer = co_await session.query("giveBack", [&leases](rpc::Session::Client& client) {
    auto request = client.giveBackRequest();
    auto list = request.initLeases(unsigned(leases.size()));
    for (unsigned i = 0; i < leases.size(); ++i) {
      list[i].setInode(leases[i].inode.value());
      list[i].setKind(leases[i].kind);
      list[i].setStamp(leases[i].stamp);
    }
    return request.send();
  });
  if (!answer.ok()) {
    log.warning(leases.size(), " leases could not be given back: ", answer.status(),
                " -> they are recalled if wanted");
  }
}

void Leases::trim() {
  if (isTrimming) return;
  auto excess = known.excess();
  if (excess.empty()) return;
  isTrimming = true;
  for (auto& lease : excess) ++busy[lease.inode].obeying;
  tasks.add(trimNow(kj::mv(excess)));
}

Async<void> Leases::trimNow(std::vector<LeaseHeld> excess) {
  KJ_DEFER(isTrimming = false);
  for (auto& lease : excess) co_await obey(lease);
  co_await sendGivenBack(kj::mv(excess));
}

kj::Promise<void> Leases::forgetAttributes(InodeId inode) {
  KJ_IF_MAYBE (cacher, observer) return cacher->forgetAttributes(inode);
  return kj::READY_NOW;
}

// ------------------------------------------------------------------------------------------ the term

void Leases::gone(const std::vector<InodeId>& inodes) {
  for (auto inode : inodes) {
    files.leaseLost(inode);
    files.forgetLocations(inode);
    KJ_IF_MAYBE (cacher, observer) tasks.add(cacher->forget(inode, {}));
    auto found = busy.find(inode);
    if (found != busy.end()) tell(found->second);
  }
}

std::vector<LeaseHeld> Leases::held() {
  // After a silence a metaserver that has been started again cannot tell which of them it had given to
  // others: then we have none.
  if (!known.isInTerm(timer.now())) gone(known.lose());
  return known.held();
}

void Leases::renewed(kj::TimePoint sent, uint64_t voidUpTo) {
  if (!areGranted()) return;
  if (voidUpTo > 0) {
    auto inodes = known.voidUpTo(voidUpTo);
    if (!inodes.empty()) {
      log.warning("silent for longer than the term of leases -> ", inodes.size(), " of them are void");
    }
    gone(inodes);
  }
  known.renewed(sent, term);
  if (!watching) {
    watching = true;
    tasks.add(watchTerm());
  }
}

void Leases::resumed(kj::TimePoint sent, kj::Duration newTerm, uint64_t voidUpTo,
                     const std::vector<InodeId>& refused) {
  term = newTerm;
  for (auto inode : refused) known.refuse(inode);
  gone(refused);
  renewed(sent, voidUpTo);
}

void Leases::lost() {
  gone(known.lose());
}

Async<void> Leases::watchTerm() {
  KJ_DEFER(watching = false);
  while (known.isInTerm(timer.now())) co_await timer.atTime(known.end());
  // Attributes and names of the kernel have run out with it. Its pages do not by themselves.
  log.warning("leases could not be renewed in time -> nothing is answered from memory until they are");
  KJ_IF_MAYBE (cacher, observer) co_await cacher->forgetAll();
}

void Leases::taskFailed(kj::Exception&& exception) {
  log.error("a recall or a question about leases broke: ", exception,
            " -> the metaserver waits for our term to end");
}

}  // namespace cairn::client
