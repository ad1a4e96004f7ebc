// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A metaserver (with cache leases) and chunk daemons as the client sees them: in memory, in this thread, on
// the simulated network and virtual time. They keep the contract of rpc/*.capnp (versions, leases, checksums,
// sequences, boots) and misbehave on demand. What they hold outlives their processes, so they can be killed
// and started again. Called by the tests of the client library.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "client/remote_filesystem.h"
#include "env/checksum.h"
#include "rpc/acceptor.h"
#include "rpc/chunkd.capnp.h"
#include "rpc/coroutine.h"
#include "rpc/metaserver.capnp.h"
#include "test/sim/seeded_entropy.h"
#include "test/sim/sim_network.h"
#include "test/sim/virtual_time.h"
#include "test/support/refused_calls.h"

namespace cairn::client {

class FakeCluster;

struct FakeStore {
  uint32_t id = 0;
  struct Replica {
    uint64_t version = 0;
    std::vector<kj::byte> bytes;
  };
  std::map<uint64_t, Replica> chunks;  // by handle
  uint64_t boot = 100;
  // misbehaviour
  Status refuseWrites = Status::OK, refuseSyncs = Status::OK;
  bool isCorrupt = false, isHung = false;
  uint32_t appendLimit = CHUNK_SIZE;  // a chunk is full at this many bytes
  // what happened
  uint32_t writes = 0, reads = 0, syncs = 0, writesInFlight = 0, writesInFlightMax = 0;
  std::vector<std::string> log;

  kj::Own<Acceptor> acceptor;
  bool isUp() const { return acceptor.get() != nullptr && !isHung; }
};

struct FakeFile {
  FileAttributes attributes;
  struct Chunk {
    uint64_t handle = 0, version = 0;
    std::set<uint32_t> replicas;
    uint32_t primary = 0, validBytes = UINT32_MAX;
    bool isComplete = true;
    uint64_t lostAt = 0;
  };
  std::map<uint64_t, Chunk> chunks;  // by index
  uint32_t opens = 0;
};

class FakeCluster {
 public:
  FakeCluster();
  ~FakeCluster() noexcept(false);

  // the client side
  FilesystemOptions options();
  kj::Own<Filesystem> mount();
  template <typename Promise>
  auto run(Promise&& promise) {
    return time.run(kj::mv(promise), scope);
  }
  void pass(kj::Duration duration) { time.timer().afterDelay(duration).wait(scope); }
  kj::Own<OpenFile> create(Filesystem& filesystem, kj::StringPtr name);
  static Bytes bytes(std::string text);
  Status write(OpenFile& file, uint64_t offset, std::string text) {
    return run(file.write(FileOffset(offset), bytes(kj::mv(text))));
  }
  std::string read(OpenFile& file, uint64_t offset, uint32_t size);

  // the other side
  void startStore(uint32_t id);
  void killStore(uint32_t id) { stores.at(id).acceptor = nullptr; }
  void hangStore(uint32_t id);  // SIGSTOP
  void startMetaserver();
  void killMetaserver();
  std::string stored(uint32_t store, InodeId inode, uint64_t index);  // a replica's bytes
  FakeFile& file(InodeId inode) { return files.at(inode.value()); }
  FakeStore& primaryOf(InodeId inode, uint64_t index) {
    return stores.at(file(inode).chunks.at(index).primary);
  }

  sim::VirtualTime time;
  kj::EventLoop loop{time};
  kj::WaitScope scope{loop};
  sim::SimNetwork network{time.timer(), 1};
  sim::SeededEntropy entropy{1};
  BufferPool pool;
  ClusterId cluster{1, 2};
  Epoch epoch{1};
  Timing timing;
  size_t bufferBytesMax = 64 << 20;
  kj::Own<Acceptor> metaserver;
  std::vector<std::string> warnings;  // what the client logged

  std::map<uint32_t, FakeStore> stores;
  std::map<uint64_t, FakeFile> files;
  std::map<std::pair<uint64_t, std::string>, uint64_t> names;
  struct FakeSession {
    std::map<uint64_t, Status> outcomes;  // by sequence
    std::set<uint64_t> open;
    rpc::ClientCallback::Client callback = nullptr;
    uint64_t voidUpTo = 0;  // for its next renewal
  };
  std::map<uint64_t, FakeSession> sessions;
  uint64_t lastInode = 100, lastHandle = 0, lastSession = 0;
  RefusedCalls metaserverRefuses, storesRefuse;
  // misbehaviour of the metaserver
  Status lockAnswer = Status::OK, cancelAnswer = Status::OK, reclaimAnswer = Status::OK;
  uint32_t notReady = 0;       // so many calls answer it
  bool heldUp = false;         // a large snapshot: whatever changes something is told so
  uint32_t loseAnswers = 0;    // so many changes are done and never answered
  bool holdPublishes = false;  // they reach its log when the test lets them
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> heldPublishes;
  Status locateRefusal = Status::OK;
  uint64_t quotaLeft = UINT64_MAX;      // bytes, as it tells writers
  Status moreSpace = Status::NO_SPACE;  // what it answers to who was refused space
  // what happened at the metaserver
  uint32_t spaceWanted = 0, spaceAsked = 0;
  uint32_t lookups = 0, questions = 0, acquires = 0, recalls = 0;  // questions: getAttributes
  uint32_t locates = 0, publishes = 0, changes = 0, syncs = 0, repeated = 0;
  std::vector<uint32_t> corruptReports;
  std::set<uint32_t> suspected;  // named by any locate
  std::vector<uint64_t> publishedLengths, released;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> unanswered;

  // leases: by inode and session
  uint32_t leaseMs = 10'000;  // 0: it knows none
  uint64_t stamp = 0;
  uint64_t operations = 1;                  // of the log; only losses count it up here
  std::vector<std::set<uint64_t>> covered;  // by each sync of the log, or publish in place of one
  std::map<uint64_t, std::map<uint64_t, rpc::LeaseKind>> leases;
  std::map<uint64_t, kj::ForkedPromise<void>>
      underWay;  // changes and acquires of an inode, one after the other
  rpc::LeaseKind grantInBand(uint64_t session, uint64_t inode, rpc::LeaseKind wanted);
  rpc::LeaseKind leaseOf(uint64_t session, uint64_t inode);
  struct Alone {
    kj::Own<void> keeper;
  };
  Async<Alone> recallOthers(uint64_t session, uint64_t inode, rpc::LeaseKind kept);
  // While what it answers lives, nobody else is granted a lease on the inode.
  void loseLeases(uint64_t session);  // it was silent for too long

  void grant(FakeFile& file, uint64_t index, const std::set<uint32_t>& suspects,
             const std::set<uint32_t>& unsynced = {});
};

}  // namespace cairn::client
