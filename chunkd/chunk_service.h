// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a chunk daemon does with its store: the handlers of rpc/chunkd.capnp. ChunkHandlers serves clients and
// other chunk daemons; OrderHandlers is given to the metaserver alone and adds its orders. INVARIANTS: a
// write is answered ok only when every replica of the lease has applied it; a chunk's writes have one order,
// given at the primary in the turn of the loop in which a write is accepted; nothing is deleted or adopted on
// the word of an epoch older than the store has seen. Used by chunk_server.cc.
#pragma once

#include <kj/async.h>

#include "chunkd/lease_table.h"
#include "chunkd/replication.h"
#include "rpc/chunkd.capnp.h"
#include "rpc/coroutine.h"

namespace cairn {

class BufferPool;
class ChunkCopier;

class FailureReporter {
  // Tells the metaserver which secondaries did not apply a write. Resolves once it knows, or after a short
  // while.
 public:
  virtual ~FailureReporter() noexcept(false) = default;
  virtual kj::Promise<void> reportFailed(ChunkKey chunk, kj::Array<ServerId> servers) = 0;
};

class ChunkService {
 public:
  ChunkService(ChunkStore& store, Replication& replication, ChunkCopier& copier, FailureReporter& reporter,
               const ClusterId& cluster, kj::Timer& timer, BufferPool& pool, const env::Logger& log)
      : clusterId(cluster),
        store(store),
        replication(replication),
        copier(copier),
        reporter(reporter),
        timer(timer),
        pool(pool),
        log(log) {}
  KJ_DISALLOW_COPY(ChunkService);

  rpc::ChunkServer::Client newHandlers();       // for a connection to our port
  rpc::ChunkServer::Client newOrderHandlers();  // for the metaserver

  ClusterId cluster() const { return clusterId; }
  LeaseTable leases;
  uint32_t callsUnderWay() const { return underWay; }
  void writeReport(rpc::ChunkReport::Builder report, const ChunkState& state) const;

 private:
  friend class ChunkHandlers;
  friend class OrderHandlers;

  const ClusterId& clusterId;  // becomes known with the first hello of a metaserver
  ChunkStore& store;
  Replication& replication;
  ChunkCopier& copier;
  FailureReporter& reporter;
  kj::Timer& timer;
  BufferPool& pool;
  const env::Logger& log;
  ApplyOrder order;
  uint32_t underWay = 0;

  struct Accepted {
    uint32_t count = 0;
    kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
  };
  std::unordered_map<ChunkHandle, Accepted> accepted;  // writes we have accepted as primary and not answered
  kj::Canceler alive;  // last: calls under way end with the service, also those whose connection is gone

  kj::Promise<void> drained(ChunkHandle chunk);  // when no accepted write is under way
  AppliedBy ourselves() const { return {store.identity().server, store.bootNumber()}; }

  kj::Maybe<Status> refuse(const ForwardedWrite& write) const;
  Async<Status> applyHere(ForwardedWrite write);
  Async<ChainOutcome> applyEverywhere(kj::ArrayPtr<const ReplicaAddress> chain, ForwardedWrite write);
  Async<ChainOutcome> mutate(ForwardedWrite write);
};

}  // namespace cairn
