// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One store with everything that serves it on one loop: wiring, in the order in which it stands and falls.
// All it touches comes through ChunkServerEnvironment, so that the simulator runs it on fakes. Called by
// main.cc and the simulator.
#pragma once

#include "chunkd/chunk_copy.h"
#include "chunkd/chunk_service.h"
#include "chunkd/registration.h"
#include "chunkd/scrubber.h"
#include "rpc/acceptor.h"
#include "rpc/buffer_pool.h"
#include "rpc/coroutine.h"

namespace cairn {

struct ChunkServerEnvironment {
  // Outlives the server.
  kj::Timer& timer;
  kj::Network& network;
  env::Disk& disk;        // the store's directory
  rocksdb::Env& rocksdb;  // for DIR/index
  env::Worker& worker;
  kj::EntropySource& entropy;
  BufferPool& pool;  // outlives the event loop, too: Cap'n Proto lets calls of a gone connection end in it
  const env::Logger& log;
  const kj::Clock& clock = kj::nullClock();  // for how long a chunk has not been checked
};

struct ChunkServerOptions {
  kj::String directory;        // as the disk is rooted; for RocksDB and messages
  kj::String boot;             // identity of the machine's boot
  kj::String host;             // identity of the machine: same text, same machine
  kj::String metaserver;       // HOST:PORT
  kj::String metaserverLocal;  // its local address, used when it is on the same host; may be empty
  kj::String listen;           // HOST:PORT to listen on; port 0: any
  kj::String advertise;        // HOST that others reach us by; empty: that of `listen`
  kj::String localPrefix;      // of the name of our Unix socket (the port is added); empty: none
  kj::String rack;
  uint32_t pid = 0;
  kj::Maybe<uint64_t> reserveBytes;
  ScrubOptions scrub;
};

class ChunkServer {
 public:
  struct Started {
    kj::Maybe<kj::Own<ChunkServer>> server;
    kj::String refusal;  // when null: a sentence for the user
  };
  static Async<Started> start(ChunkServerEnvironment environment, ChunkServerOptions options);
  // Opens the store and listens. Registering goes on by itself.

  ~ChunkServer() noexcept(false);
  KJ_DISALLOW_COPY(ChunkServer);

  kj::StringPtr address() const { return networkAddress; }  // HOST:PORT
  kj::Promise<void> whenRegistered() { return registration->whenRegistered(); }
  kj::Promise<void> stop();
  // Accepts no more, and syncs what is unsynced, for a clean end.

  ChunkStore& chunkStore() { return *store; }
  ChunkService& chunkService() { return *service; }

 private:
  ChunkServerEnvironment environment;
  ChunkServerOptions options;
  env::Logger log;
  kj::Own<ChunkStore> store;
  ClusterId cluster;
  Epoch epoch;  // told in hello; the epoch that counts is the store's
  kj::String networkAddress, callerName;
  PeerEnvironment peers;
  Replication replication;
  ChunkCopier copier;
  kj::Own<ChunkService> service;
  kj::Own<Registration> registration;
  kj::Own<Scrubber> scrubber;
  kj::Promise<void> scrubbing = nullptr;
  kj::Own<Acceptor> acceptor;

  ChunkServer(ChunkServerEnvironment environment, ChunkServerOptions options, kj::Own<ChunkStore> store);
  Async<kj::Maybe<kj::String>> listen();
};

}  // namespace cairn
