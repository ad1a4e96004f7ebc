// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The store's line to the metaserver: registers on each connection, reports all its chunks, then beats.
// INVARIANT: what the metaserver says is obeyed only while its epoch is not older than the one the store has
// seen; the first beat of a connection tells the epoch, and it comes before everything else. Used by
// chunk_server.cc.
#pragma once

#include <kj/async.h>

#include "chunkd/chunk_service.h"
#include "rpc/coroutine.h"
#include "rpc/metaserver.capnp.h"

namespace cairn {

class Scrubber;

struct RegistrationOptions {
  PeerAddress metaserver;
  kj::String rack;
  uint32_t pid = 0;
  size_t reportBatch = 5000;  // chunks in one message; the contract allows 10,000
};

class Registration final : public FailureReporter, private kj::TaskSet::ErrorHandler {
 public:
  Registration(ChunkStore& store, PeerEnvironment& environment, RegistrationOptions options,
               const env::Logger& log);
  ~Registration() noexcept(false);
  KJ_DISALLOW_COPY(Registration);

  void start(ChunkService& service, const Scrubber& scrubber, PeerAddress ourAddress);
  // Connects, and again after each loss, until stop().

  void stop();  // before `service` goes

  kj::Promise<void> whenRegistered();
  // Resolves once the first report is complete; fails with a sentence for the user when the metaserver has
  // refused us for good (another cluster, another protocol, a store that another process serves) before.

  kj::Promise<void> reportFailed(ChunkKey chunk, kj::Array<ServerId> servers) override;

 private:
  struct Line {
    // One connection, from registering to its end.
    rpc::Fleet::Client fleet;
    kj::Duration interval;
    bool epochKnown = false;
  };

  ChunkStore& store;
  kj::Timer& timer;
  RegistrationOptions options;
  const env::Logger& log;
  kj::Own<Peer<rpc::Metaserver>> peer;
  kj::Maybe<ChunkService&> service;
  const Scrubber* scrubber = nullptr;
  PeerAddress address;
  kj::Maybe<Line> line;
  bool registeredOnce = false;
  kj::Own<kj::PromiseFulfiller<void>> registeredFulfiller;
  kj::ForkedPromise<void> registered;
  kj::Maybe<kj::Promise<void>> beating;  // of the present line
  kj::Own<kj::PromiseFulfiller<void>> lost;
  kj::Own<kj::TaskSet> tasks;

  Registration(ChunkStore& store, PeerEnvironment& environment, RegistrationOptions options,
               const env::Logger& log, kj::PromiseFulfillerPair<void> registered);
  void taskFailed(kj::Exception&& exception) override;
  Async<void> stayConnected();
  Async<void> registerWith(rpc::Metaserver::Client metaserver);
  Async<void> runLine();
  Async<void> beat();
  Async<void> report();
  Async<void> removeAll(capnp::List<rpc::ChunkId>::Reader chunks);
  void refusedForGood(kj::StringPtr message);
};

}  // namespace cairn
