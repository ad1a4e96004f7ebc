// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// This client's session with the metaserver. It outlives connections and the metaserver's process: after each
// reconnect it is resumed with what is open, and a change whose answer was lost is sent again under the same
// sequence number, so that it happens once. When the session was fenced a new one begins, and what is open is
// opened anew. INVARIANT: a sequence number belongs to one change of one session; it counts as answered only
// when its caller has it. Called by locator.cc, open_file.cc, inode_table.cc and remote_filesystem.cc.
#pragma once

#include <capnp/message.h>

#include <set>
#include <vector>

#include "client/attempt.h"
#include "client/filesystem.h"
#include "client/lease_cache.h"
#include "client/unsure_changes.h"
#include "env/log.h"
#include "rpc/coroutine.h"
#include "rpc/metaserver.capnp.h"
#include "rpc/peer.h"

namespace cairn::client {

class SessionEvents {
  // Who must know what happens to the session.
 public:
  virtual ~SessionEvents() noexcept(false) = default;
  virtual std::vector<InodeId> openInodes() = 0;
  virtual void reopened(InodeId inode, Result<FileAttributes> answer) = 0;  // in a new session
  // Cache leases: see leases.h.
  virtual std::vector<LeaseHeld> heldLeases() = 0;
  virtual kj::Promise<void> recall(std::vector<LeaseHeld> asked) = 0;
  virtual kj::Promise<kj::Maybe<FileAttributes>> describe(InodeId inode) = 0;
  // As of now, if this client is the authority. Resolves when nobody here is told anything older.
  virtual void renewed(kj::TimePoint sent, uint64_t voidUpTo) = 0;
  virtual void resumed(kj::TimePoint sent, kj::Duration leaseTerm, uint64_t voidUpTo,
                       const std::vector<InodeId>& refused) = 0;
  virtual void fenced() = 0;                    // a new session follows
  virtual void answersLost(LogIndex from) = 0;  // with the power of the metaserver's machine
  virtual std::vector<FileLock> heldLocks() {
    return {};
  }  // to be claimed from a metaserver that may have forgotten
};

class Session {
 public:
  struct Options {
    kj::Timer& timer;
    kj::EntropySource& entropy;
    const Timing& timing;
    env::Logger log;
    kj::StringPtr host, name;  // as in rpc::ClientDescription
  };
  Session(Options options, const PeerEnvironment& environment, kj::Array<PeerAddress> metaservers,
          SessionEvents& events);
  ~Session() noexcept(false);
  KJ_DISALLOW_COPY(Session);

  Async<Status> start();  // resolves once the session is there, or patience has run out
  Async<void> close();
  Async<Status> renew();
  kj::StringPtr refusal() const;  // why the metaserver does not want us; empty: it does

  struct ChangeOutcome {
    FileAttributes attributes;
    FileAttributes parent, newParent, loser;  // inode 0: there is none
    uint64_t index = 0;
    InodeId replaced;
    uint64_t quotaLeft = UINT64_MAX;  // rpc::Outcome
  };
  using Fill = kj::Function<void(rpc::Change::Builder)>;
  enum class Durability { LOGGED, STABLE };  // STABLE: it and all before it survive a loss of power
  using Covered = std::vector<ChunkHandle>;  // chunks that are about to be called synced, and were not before
  Async<Result<ChangeOutcome>> change(Fill fill, Durability durability = Durability::LOGGED,
                                      Covered covered = {});
  // `fill` sets everything but the sequence. Done exactly once, or a Status says why not.
  Async<Status> sync(InodeId inode = InodeId(), Covered covered = {});
  // All that has been answered is on stable storage. With an inode: and it is there. STALE: it has been
  // deleted.
  // NOT_FOUND: its making was lost.

  void restsOn(InodeId inode, LogIndex index, uint32_t age);
  // What this client has written to the inode rests on that operation, as of an answer of that age.
  uint32_t age() const { return unsure.age(); }
  bool takeLoss(InodeId inode) { return unsure.takeLoss(inode); }
  // An answer about it was lost with the power of the metaserver's machine. Told once.
  bool takeLosses() { return unsure.takeLosses(); }  // about any

  template <typename Send>
  auto query(kj::StringPtr method, Send send) {
    // A call that changes nothing, or may be repeated. `send` gets the rpc::Session::Client, maybe several
    // times.
    using Remote = decltype(send(kj::instance<rpc::Session::Client&>()));
    return queryTyped<Remote>(method, kj::mv(send));
  }

  template <typename Send>
  auto queryWhole(kj::StringPtr method, Send send) {
    // The same; an answer that refuses comes back as an answer too, with what it has to say besides.
    using Remote = decltype(send(kj::instance<rpc::Session::Client&>()));
    return queryTyped<Remote>(method, kj::mv(send), Refusals::ANSWERS);
  }

  uint8_t defaultReplicas() const { return replicas; }

 private:
  class Callback;
  class Number;
  template <typename Remote>
  struct AnswerOf;
  template <typename Results>
  struct AnswerOf<capnp::RemotePromise<Results>> {
    using Type = capnp::Response<Results>;
  };

  Options options;
  kj::Array<PeerAddress> metaservers;
  size_t metaserver = 0;  // index of the one in use
  SessionEvents& events;
  Peer<rpc::Metaserver> peer;
  kj::Maybe<rpc::Session::Client> session;
  SessionId id;
  uint8_t replicas = 0;
  Epoch epoch;              // of the metaserver that answered last
  uint64_t boot = 0;        // of its machine; 0: not told
  UnsureChanges unsure;     // empty when answers are on stable storage at once
  bool isDurable = false;   // they are
  uint64_t generation = 0;  // of sessions: changes numbered in an older one are numbered anew
  uint64_t lastSequence = 0;
  std::set<uint64_t> unanswered;
  kj::Own<Callback> callback;
  kj::Promise<void> renewing = nullptr;

  Async<void> attach(rpc::Metaserver::Client service, ConnectionGeneration connection);
  Async<void> begin(rpc::Metaserver::Client service);
  void lookForLosses(Epoch now, LogIndex lostFrom, uint64_t bootNow);
  Async<void> reopen(InodeId inode);
  Async<void> reclaimLocks();
  Async<void> renewForEver();
  void moveOn();
  rpc::Session::Client& current();
  Patience patience() { return Patience(options.timer, options.entropy, options.timing); }
  Status giveUp(kj::StringPtr method, const kj::Exception& exception);
  void renewingBroke(const kj::Exception& exception);

  enum class Refusals { STATUS, ANSWERS };
  enum class Verdict { ANSWER, RETRY };
  Verdict judge(Status status, kj::StringPtr method);

  template <typename Response>
  static auto statusOf(Response& response) -> decltype(response.getStatus()) {
    return response.getStatus();
  }
  static Status statusOf(capnp::Response<rpc::Session::StatisticsResults>&) { return Status::OK; }
  static Status statusOf(capnp::Response<rpc::Session::ReleaseResults>&) { return Status::OK; }
  static Status statusOf(capnp::Response<rpc::Session::GiveBackResults>&) { return Status::OK; }
  static Status statusOf(capnp::Response<rpc::Session::ReportCorruptResults>&) { return Status::OK; }
  template <typename Response>
  static bool isHeldUp(Response&) {
    return false;
  }
  static bool isHeldUp(capnp::Response<rpc::Session::AcquireResults>& answer) { return answer.getHeldUp(); }

  template <typename Remote, typename Send>
  Async<Result<typename AnswerOf<Remote>::Type>> queryTyped(kj::StringPtr method, Send send,
                                                            Refusals refusals = Refusals::STATUS) {
    auto patient = patience();
    for (;;) {
      auto tried =
          co_await tryOnce(peer.call({method, patient.deadline(options.timing.metaserverDeadline)},
                                     [this, &send](rpc::Metaserver::Client&) { return send(current()); }));
      KJ_IF_MAYBE (answer, tried.answer) {
        auto status = statusOf(*answer);
        if (judge(status, method) == Verdict::ANSWER) {
          if (!ok(status) && refusals == Refusals::STATUS) co_return status;
          co_return kj::mv(*answer);
        }
        if (isHeldUp(*answer)) patient.beginAnew();
        if (patient.isOver()) co_return Status::IO_ERROR;
      }
      KJ_IF_MAYBE (exception, tried.exception) {
        if (!isTransport(*exception) || patient.isOver()) co_return giveUp(method, *exception);
        moveOn();
      }
      co_await patient.pause();
    }
  }
};

}  // namespace cairn::client
