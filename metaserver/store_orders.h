// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Orders to chunk daemons: one call each, with a deadline, answered as a value. Slow is told from hung by the
// heartbeats: an order is given up after ORDER_DEADLINE if nothing was heard from the store since it was
// sent, else after ORDER_DEADLINE_MAX. A store that let a deadline pass counts as silent until it is heard
// again. A promise given up says nothing about whether the order was carried out. Called by the drivers.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <string>
#include <vector>

#include "env/log.h"
#include "metaserver/cluster_view.h"
#include "metaserver/reconcile_plan.h"
#include "rpc/coroutine.h"
#include "rpc/result.h"

namespace cairn {

constexpr kj::Duration ORDER_DEADLINE = 1250 * kj::MILLISECONDS;  // a heartbeat fits in, even a late one
constexpr kj::Duration ORDER_DEADLINE_MAX = 5 * kj::SECONDS;
constexpr kj::Duration VERIFY_DEADLINE = 60 * kj::SECONDS;    // a whole chunk from a slow, busy disk
constexpr kj::Duration COPY_DEADLINE_MAX = 60 * kj::SECONDS;  // of some megabytes, at a store that is heard
constexpr kj::Duration PROBE_DEADLINE = 400 * kj::MILLISECONDS;

struct AdoptOrder {
  ServerId server;
  ChunkHandle chunk;
  ChunkVersion from, version;  // from 0: create
  uint32_t truncate = ALL_BYTES_VALID;
};

struct ReplicaId {
  ChunkHandle chunk;
  ChunkVersion version;
};

struct CopyRequest {
  ServerId target;
  ChunkHandle chunk;
  ChunkVersion version;
  kj::Vector<ServerId> sources;
  ChunkVersion replace;  // a replica at the target up to this version may be used up
  uint64_t limit = 0;    // bytes
  enum class End { OPEN, COMMIT } end = End::OPEN;
};

struct CopyReport {
  kj::Maybe<Status> status;  // null: no answer, it may go on copying
  uint64_t copied = 0, left = 0;
  uint32_t length = 0;
  kj::Vector<ServerId> bad;   // sources with damaged bytes
  uint32_t registration = 0;  // of the target, when the order was sent
};

struct CloneReport {
  kj::Maybe<Status> status;  // null: no answer, the clone may be there or not
  uint32_t length = 0;
  uint32_t registration = 0;  // of the store, when the order was sent
};

struct AdoptAnswer {
  ServerId server;
  kj::Maybe<Status> status;  // null: no answer, it may have adopted or not
  uint32_t length = 0;
  uint32_t registration = 0;  // of the store, when the order was sent
  ContentMark content;
  enum class Machine { UNBROKEN, SUSPECT } machine = Machine::UNBROKEN;
  bool adopted() const;
};

struct ReconcileRequest {
  ServerId target;
  ChunkHandle chunk;
  ChunkVersion version;
  kj::Maybe<ServerId> source;  // null: the target is what the others are made equal to
};

struct ReconcileReport {
  ServerId target;
  kj::Maybe<Status> status;  // null: no answer, it may go on
  uint64_t copied = 0;
  uint32_t length = 0;
  kj::Vector<ServerId> bad;
  uint32_t registration = 0;  // of the target, when the order was sent
};

enum class Life { ALIVE, NO_ANSWER };

class StoreOrders {
 public:
  StoreOrders(ClusterView& view, kj::Timer& timer, Epoch epoch, env::Logger logger)
      : view(view), timer(timer), epoch(epoch), log(kj::mv(logger)) {}

  Async<AdoptAnswer> adopt(AdoptOrder order);
  kj::Promise<kj::Array<AdoptAnswer>> adoptAll(kj::Array<AdoptOrder> orders);  // in parallel, in that order

  Async<kj::Maybe<Status>> lease(ChunkHandle chunk, ChunkVersion version, kj::Array<ServerId> members);
  // To members[0]; the others are its chain.

  kj::Promise<kj::Maybe<Status>> revoke(ServerId server, ChunkHandle chunk, ChunkVersion version);
  Async<kj::Maybe<Status>> revokeAll(ServerId server, kj::Array<ReplicaId> chunks);
  Async<CloneReport> clone(ServerId server, ReplicaId source, ChunkHandle target, uint32_t bytes);
  Async<kj::Maybe<Status>> remove(ServerId server, kj::Array<DoomedReplica> replicas);
  Async<CopyReport> copy(CopyRequest request);
  Async<ReconcileReport> reconcile(ReconcileRequest request);
  struct Description {
    enum class Answered { NO, YES } answered = Answered::NO;
    kj::Maybe<ReplicaFacts> replica;
  };
  Async<Description> describe(ServerId server, ChunkHandle chunk);
  Async<Life> probe(ServerId server);
  struct Content {
    uint32_t length = 0;
    kj::Array<kj::byte> checksums;
    bool operator==(const Content& other) const = default;
  };
  Async<kj::Maybe<Content>> content(ServerId server, ChunkHandle chunk, ChunkVersion version);
  // Its table of checksums; null: refused, or no answer.
  struct FileCheck {
    struct Problem {
      ChunkHandle chunk;  // 0: a file that belongs to none
      std::string text;
    };
    std::vector<Problem> problems;
    ChunkHandle next;
    uint32_t checked = 0;
    bool end = false;
  };
  Async<kj::Maybe<FileCheck>> checkFiles(ServerId server, ChunkHandle after, uint32_t limit);
  // null: no answer, or a store that does not know how.

  Async<kj::Maybe<Status>> verify(ServerId server, ChunkHandle chunk, ChunkVersion version);
  // The store reads all of its replica: OK, CORRUPT, or why it could not. Takes as long as that takes.

 private:
  Async<void> patience(ServerId server, kj::Duration most);
  template <typename T>
  kj::Promise<T> bounded(ServerId server, kj::Promise<T> promise, kj::Duration most = ORDER_DEADLINE_MAX);
  kj::Maybe<rpc::ChunkServer::Client> capability(ServerId server);
  void noAnswer(ServerId server, uint32_t registration, kj::StringPtr what, const kj::Exception& exception);
  uint32_t registrationOf(ServerId server) const;
  void writeReplica(rpc::Replica::Builder replica, ServerId server) const;

  ClusterView& view;
  kj::Timer& timer;
  Epoch epoch;
  env::Logger log;
};

}  // namespace cairn
