// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/session.h"

#include <kj/debug.h>

#include <utility>

#include "client/attributes.h"
#include "client/lock_keeper.h"

namespace cairn::client {

namespace {

struct Link : public kj::Refcounted {
  SessionEvents* events;  // null once the session is gone
  explicit Link(SessionEvents& events) : events(&events) {}
};

void write(capnp::List<uint64_t>::Builder list, const Session::Covered& covered) {
  for (unsigned i = 0; i < list.size(); ++i) list.set(i, covered[i].value());
}

}  // namespace

class Session::Callback {
  // What the metaserver may call. Connections may hold it for longer than the session lives.
 public:
  explicit Callback(SessionEvents& events)
      : link(kj::refcounted<Link>(events)), client(kj::heap<Server>(kj::addRef(*link))) {}
  ~Callback() noexcept(false) { link->events = nullptr; }
  rpc::ClientCallback::Client capability() { return client; }

 private:
  class Server final : public rpc::ClientCallback::Server {
   public:
    explicit Server(kj::Own<Link> link) : link(kj::mv(link)) {}
    kj::Promise<void> recall(RecallContext context) override {
      std::vector<LeaseHeld> asked;
      for (auto lease : context.getParams().getLeases()) {
        asked.push_back({InodeId(lease.getInode()), lease.getKind(), lease.getStamp()});
      }
      context.releaseParams();
      if (link->events == nullptr) return kj::READY_NOW;
      return link->events->recall(kj::mv(asked));
    }
    kj::Promise<void> describe(DescribeContext context) override {
      auto results = context.getResults();
      results.setStatus(Status::NOT_LEASED);
      if (link->events == nullptr) return kj::READY_NOW;
      return link->events->describe(InodeId(context.getParams().getInode()))
          .then([results](kj::Maybe<FileAttributes> described) mutable {
            KJ_IF_MAYBE (attributes, described) {
              results.setStatus(Status::OK);
              results.setSize(attributes->size);
              results.setBytesUsed(attributes->bytesUsed);
              results.setMtime(attributes->mtime.ns);
            }
          });
    }

   private:
    kj::Own<Link> link;
  };

  kj::Own<Link> link;
  rpc::ClientCallback::Client client;
};

Session::Session(Options options, const PeerEnvironment& environment, kj::Array<PeerAddress> metaservers,
                 SessionEvents& events)
    : options(kj::mv(options)),
      metaservers(kj::mv(metaservers)),
      events(events),
      peer(environment, "metaserver", this->metaservers[0].clone()),
      callback(kj::heap<Callback>(events)) {
  peer.onConnect([this](rpc::Metaserver::Client service, ConnectionGeneration connection) {
    return attach(kj::mv(service), connection);
  });
}

Session::~Session() noexcept(false) {}

rpc::Session::Client& Session::current() {
  return KJ_REQUIRE_NONNULL(session, "a call went out before the session was attached");
}

Async<Status> Session::start() {
  auto status = co_await renew();
  if (ok(status)) renewing = renewForEver().eagerlyEvaluate([this](kj::Exception&& e) { renewingBroke(e); });
  co_return status;
}

Async<Status> Session::renew() {
  auto sent = options.timer.now();
  auto answer = co_await query("renew", [this, &sent](rpc::Session::Client& session) {
    sent = options.timer.now();
    return session.renewRequest().send();
  });
  if (answer.ok()) {
    unsure.durable(LogIndex(answer->getDurable()));
    events.renewed(sent, answer->getVoidUpTo());
  }
  co_return answer.status();
}

Async<void> Session::close() {
  renewing = nullptr;
  if (session == nullptr) co_return;
  auto closed = co_await tryOnce(
      peer.call({"close", options.timing.metaserverDeadline},
                [this](rpc::Metaserver::Client&) { return current().closeRequest().send(); }));
  KJ_IF_MAYBE (exception, closed.exception) {
    options.log.warning("session ", id, " did not close (", exception->getDescription(),
                        ") -> the metaserver ends it when it expires");
  }
}

kj::StringPtr Session::refusal() const {
  KJ_IF_MAYBE (refusal, peer.refusal()) return refusal->message;
  return "";
}

// ------------------------------------------------------------ attaching to a connection

Async<void> Session::attach(rpc::Metaserver::Client service, ConnectionGeneration connection) {
  // Runs on each new connection, before any other call.
  co_await begin(service);
  if (id) {
    co_await reclaimLocks();
    co_return;
  }

  // The old session was fenced: its open files are closed over there. What is open here is opened again.
  co_await begin(service);
  auto inodes = events.openInodes();
  kj::Vector<kj::Promise<void>> reopening;
  for (auto inode : inodes) reopening.add(reopen(inode));
  co_await kj::joinPromises(reopening.releaseAsArray());
  co_await reclaimLocks();
}

Async<void> Session::reclaimLocks() {
  auto locks = events.heldLocks();
  if (locks.empty()) co_return;
  auto request = current().reclaimLocksRequest();
  auto list = request.initLocks(unsigned(locks.size()));
  for (unsigned i = 0; i < locks.size(); ++i) write(list[i], locks[i]);
  auto response = co_await request.send();
  if (!ok(response.getStatus())) {
    options.log.error("session ", id, " could not have all of its ", locks.size(),
                      " file locks again: ", response.getStatus(),
                      " -> programs that hold them may not be alone");
  }
}

Async<void> Session::begin(rpc::Metaserver::Client service) {
  auto request = service.openSessionRequest();
  auto client = request.initClient();
  client.setHost(options.host);
  client.setName(options.name);
  client.setLeases(true);
  client.setTellsSyncs(true);
  request.setCallback(callback->capability());
  request.setResume(id.value());
  if (id) {
    auto inodes = events.openInodes();
    auto list = request.initOpenInodes(inodes.size());
    for (size_t i = 0; i < inodes.size(); ++i) list.set(i, inodes[i].value());
    auto leases = events.heldLeases();
    auto held = request.initLeases(unsigned(leases.size()));
    for (unsigned i = 0; i < leases.size(); ++i) {
      held[i].setInode(leases[i].inode.value());
      held[i].setKind(leases[i].kind);
      held[i].setStamp(leases[i].stamp);
    }
  }
  auto sent = options.timer.now();
  auto response = co_await request.send();
  switch (response.getStatus()) {
    case Status::OK:
      break;
    case Status::SESSION_EXPIRED:
      options.log.warning("session ", id, " was fenced -> a new one; ", unanswered.size(),
                          " changes without an answer are sent anew");
      id = SessionId();
      session = nullptr;
      ++generation;
      lastSequence = 0;
      unanswered.clear();
      boot = 0;  // a restore from a backup ends sessions, and loses answers without a new boot
      events.fenced();
      co_return;
    case Status::NOT_READY:
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the metaserver is not ready for sessions yet"));
    default:
      kj::throwFatalException(KJ_EXCEPTION(FAILED, "the metaserver refuses a session", response.getStatus()));
  }
  if (!id) options.log.info("session ", response.getId(), " opened, commit mode ", response.getCommit());
  if (id) options.log.info("metaserver is back -> session ", id, " resumed");
  lookForLosses(Epoch(response.getEpoch()), LogIndex(response.getLostFrom()), response.getBoot());
  isDurable = response.getCommit() == "disk";
  id = SessionId(response.getId());
  replicas = response.getReplicas();
  session = response.getSession();
  std::vector<InodeId> refused;
  for (auto inode : response.getRefused()) refused.emplace_back(inode);
  events.resumed(sent, response.getLeaseMs() * kj::MILLISECONDS, response.getVoidUpTo(), refused);
}

void Session::lookForLosses(Epoch now, LogIndex lostFrom, uint64_t bootNow) {
  auto before = std::exchange(epoch, now);
  bool isSameBoot = std::exchange(boot, bootNow) == bootNow && bootNow != 0;
  if (!before || now == before || isSameBoot) return;
  if (now > before.next())
    lostFrom = unsure.durableUpTo().next();  // what the one between has lost is not known
  if (!lostFrom) return;
  options.log.error("the metaserver's machine has lost its power since epoch ", before,
                    ": answers from operation ", lostFrom,
                    " on may be lost -> nothing is answered from memory, syncs of what they were about fail");
  unsure.lost(lostFrom);
  events.answersLost(lostFrom);
}

void Session::restsOn(InodeId inode, LogIndex index, uint32_t age) {
  if (!isDurable) unsure.answered(inode, index, age);
}

Async<void> Session::reopen(InodeId inode) {
  auto request = current().openRequest();
  request.setInode(inode.value());
  auto response = co_await request.send();
  if (ok(response.getStatus())) {
    events.reopened(inode, readAttributes(response.getAttributes()));
  } else {
    options.log.warning("inode ", inode, " cannot be opened in the new session: ", response.getStatus(),
                        " -> its open files are stale");
    events.reopened(inode, response.getStatus());
  }
}

Async<void> Session::renewForEver() {
  for (;;) {
    co_await options.timer.afterDelay(options.timing.renewInterval);
    auto status = co_await renew();
    if (!ok(status)) options.log.warning("session ", id, " could not be renewed: ", status, " -> trying on");
  }
}

Session::Verdict Session::judge(Status status, kj::StringPtr method) {
  if (status == Status::NOT_READY) return Verdict::RETRY;
  if (status == Status::SESSION_EXPIRED) {
    // Connecting again asks for the session to be resumed, which is refused, and a new one begins.
    if (peer.generation()) {
      peer.disconnect(KJ_EXCEPTION(DISCONNECTED, "the session was fenced", method));
    }
    return Verdict::RETRY;
  }
  return Verdict::ANSWER;
}

Status Session::giveUp(kj::StringPtr method, const kj::Exception& exception) {
  KJ_IF_MAYBE (refusal, peer.refusal()) {
    options.log.error("the metaserver refuses us: ", refusal->message);
    return refusal->status;
  }
  if (exception.getType() == kj::Exception::Type::UNIMPLEMENTED) return Status::NOT_SUPPORTED;
  options.log.error("metaserver, ", method, ": ", exception.getDescription(), " -> the caller gets an error");
  return Status::IO_ERROR;
}

void Session::moveOn() {
  // The next attempt goes to another metaserver, if there is one and this one cannot be reached.
  if (metaservers.size() < 2 || peer.generation()) return;
  metaserver = (metaserver + 1) % metaservers.size();
  peer.setAddress(metaservers[metaserver].clone());
}

void Session::renewingBroke(const kj::Exception& exception) {
  options.log.error("session ", id, ": renewing broke: ", exception.getDescription(),
                    " -> other calls keep it alive while there are any");
}

// ------------------------------------------------------------ changes

class Session::Number {
  // The sequence number of one change, while its caller waits. Gone, it counts as answered.
 public:
  explicit Number(Session& session) : session(session) {}
  ~Number() {
    if (sequence != 0 && generation == session.generation) session.unanswered.erase(sequence);
  }
  KJ_DISALLOW_COPY(Number);

  void write(rpc::Change::Builder change) {
    if (sequence == 0 || generation != session.generation) {
      generation = session.generation;
      sequence = ++session.lastSequence;
      session.unanswered.insert(sequence);
    }
    change.setSequence(sequence);
    change.setAnswered(*session.unanswered.begin() - 1);
  }

 private:
  Session& session;
  uint64_t sequence = 0, generation = 0;
};

Async<Status> Session::sync(InodeId inode, Covered covered) {
  auto answer = co_await query("sync", [&covered, inode](rpc::Session::Client& client) {
    auto request = client.syncRequest();
    request.setIndex(0);
    request.setInode(inode.value());
    write(request.initCovered(unsigned(covered.size())), covered);
    return request.send();
  });
  co_return answer.status();
}

Async<Result<Session::ChangeOutcome>> Session::change(Fill fill, Durability durability, Covered covered) {
  capnp::MallocMessageBuilder message;
  auto change = message.initRoot<rpc::Change>();
  fill(change);
  Number number(*this);
  auto patient = patience();
  for (;;) {
    auto tried =
        co_await tryOnce(peer.call({"change", patient.deadline(options.timing.metaserverDeadline)},
                                   [this, &number, &change, durability, &covered](rpc::Metaserver::Client&) {
                                     number.write(change);
                                     auto request = current().changeRequest();
                                     request.setChange(change.asReader());
                                     request.setDurable(durability == Durability::STABLE);
                                     write(request.initCovered(unsigned(covered.size())), covered);
                                     return request.send();
                                   }));
    KJ_IF_MAYBE (answer, tried.answer) {
      auto outcome = answer->getOutcome();
      if (judge(outcome.getStatus(), "change") == Verdict::ANSWER) {
        if (!ok(outcome.getStatus())) co_return outcome.getStatus();
        for (auto about :
             {outcome.getAttributes(), outcome.getParent(), outcome.getNewParent(), outcome.getLoser()})
          restsOn(InodeId(about.getInode()), LogIndex(outcome.getIndex()), unsure.age());
        co_return ChangeOutcome{readAttributes(outcome.getAttributes()),
                                readAttributes(outcome.getParent()),
                                readAttributes(outcome.getNewParent()),
                                readAttributes(outcome.getLoser()),
                                outcome.getIndex(),
                                InodeId(outcome.getReplaced()),
                                outcome.getQuotaLeft()};
      }
      if (outcome.getHeldUp()) patient.beginAnew();
      if (patient.isOver()) co_return Status::IO_ERROR;
    }
    KJ_IF_MAYBE (exception, tried.exception) {
      if (!isTransport(*exception) || patient.isOver()) co_return giveUp("change", *exception);
      moveOn();
    }
    co_await patient.pause();
  }
}

}  // namespace cairn::client
