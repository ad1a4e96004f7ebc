// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Chunk daemons on a simulated network with a metaserver that does only what a test says: registers them,
// grants leases, remembers what it was told.
#pragma once

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <rocksdb/env.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "chunkd/chunk_server.h"
#include "env/checksum.h"
#include "env/memory_disk.h"
#include "env/worker.h"
#include "rpc/coroutine.h"
#include "test/chunkd/store_house.h"
#include "test/sim/sim_network.h"
#include "test/sim/virtual_time.h"
#include "test/support/failing_disk.h"
#include "test/support/failing_rocks.h"

namespace cairn {

class FakeMetaserver {
 public:
  FakeMetaserver(kj::Timer& timer, kj::Network& network) : timer(timer), network(network) { listen(); }

  kj::Timer& timer;
  kj::Network& network;
  BufferPool pool;
  ClusterId cluster = TEST_CLUSTER;
  Epoch epoch{1};
  Status registerAnswer = Status::OK, beatAnswer = Status::OK;
  bool extendLeases = true, hearsOfFailures = true;

  struct Known {
    kj::Maybe<rpc::ChunkServer::Client> orders;
    kj::String address, local;
    std::map<uint64_t, ChunkState> reported;
    uint32_t reports = 0, beats = 0, registrations = 0;
    bool reportComplete = false;
    std::set<uint64_t> removed;
    std::vector<ChunkKey> deleteNext;  // given with the next answer to a report or a beat
  };
  std::map<uint32_t, Known> stores;
  struct Failure {
    ChunkKey chunk;
    std::vector<uint32_t> servers;
  };
  std::vector<Failure> failures;
  uint32_t extensions = 0;

  void stop() { acceptor = nullptr; }
  void listen() {
    acceptor = kj::heap<Acceptor>(
        AcceptorOptions{timer, network, pool, "metaserver", cluster, epoch},
        [this](ConnectionInfo) -> capnp::Capability::Client { return kj::heap<Service>(*this); });
    listening = acceptor->listen("*:9400").ignoreResult().eagerlyEvaluate(
        [](kj::Exception&& e) { KJ_LOG(FATAL, e); });
  }

 private:
  kj::Own<Acceptor> acceptor;
  kj::Promise<void> listening = nullptr;
  std::map<std::string, uint32_t> ids;

  class Line final : public rpc::Fleet::Server {
   public:
    Line(FakeMetaserver& meta, uint32_t id) : meta(meta), id(id) {}
    kj::Promise<void> report(ReportContext context) override {
      auto& known = meta.stores[id];
      known.reports++;
      for (auto chunk : context.getParams().getChunks()) {
        uint8_t flags = uint8_t((chunk.getUnsynced() ? UNSYNCED : 0) | (chunk.getSuspect() ? SUSPECT : 0) |
                                (chunk.getCorrupt() ? CORRUPT : 0));
        known.reported[chunk.getHandle()] = ChunkState{
            ChunkHandle(chunk.getHandle()), ChunkVersion(chunk.getVersion()), chunk.getLength(), flags};
      }
      known.reportComplete = context.getParams().getLast();
      return kj::READY_NOW;
    }
    kj::Promise<void> heartbeat(HeartbeatContext context) override {
      auto& known = meta.stores[id];
      known.beats++;
      auto params = context.getParams();
      auto results = context.getResults();
      results.setStatus(meta.beatAnswer);
      results.setEpoch(meta.epoch.value());
      results.setLeaseMs(LEASE_TERM / kj::MILLISECONDS);
      for (auto handle : params.getRemoved()) known.removed.insert(handle);
      if (meta.extendLeases) {
        auto extended = results.initExtended(params.getExtend().size());
        for (unsigned i = 0; i < extended.size(); i++) extended.set(i, params.getExtend()[i].getHandle());
        meta.extensions += extended.size();
      }
      auto list = results.initDelete(unsigned(known.deleteNext.size()));
      for (unsigned i = 0; i < list.size(); i++) {
        list[i].setHandle(known.deleteNext[i].handle.value());
        list[i].setVersion(known.deleteNext[i].version.value());
      }
      known.deleteNext.clear();
      return kj::READY_NOW;
    }
    kj::Promise<void> failed(FailedContext context) override {
      if (!meta.hearsOfFailures) return meta.timer.afterDelay(5 * kj::SECONDS);
      auto chunk = context.getParams().getChunk();
      Failure failure{{ChunkHandle(chunk.getHandle()), ChunkVersion(chunk.getVersion())}, {}};
      for (auto server : context.getParams().getServers()) failure.servers.push_back(server);
      meta.failures.push_back(failure);
      return kj::READY_NOW;
    }

   private:
    FakeMetaserver& meta;
    uint32_t id;
  };

  class Service final : public rpc::Metaserver::Server {
   public:
    explicit Service(FakeMetaserver& meta) : meta(meta) {}
    kj::Promise<void> register_(RegisterContext context) override {
      auto results = context.getResults();
      auto store = context.getParams().getStore();
      results.setStatus(meta.registerAnswer);
      if (meta.registerAnswer != Status::OK) {
        results.setMessage("because the test says so");
        return kj::READY_NOW;
      }
      auto& id = meta.ids[store.getStore().cStr()];
      if (id == 0) id = uint32_t(meta.ids.size());
      auto& known = meta.stores[id];
      known.registrations++;
      known.reportComplete = false;
      known.reported.clear();
      known.orders = context.getParams().getOrders();
      known.address = kj::str(store.getAddress().getNetwork());
      known.local = kj::str(store.getAddress().getLocal());
      results.setServer(id);
      results.setHeartbeatMs(1000);
      results.setFleet(kj::heap<Line>(meta, id));
      return kj::READY_NOW;
    }

   private:
    FakeMetaserver& meta;
  };
};

struct Daemon {
  // One chunk daemon on a host of its own; its disks survive it.
  explicit Daemon(uint32_t number) : host("h" + std::to_string(number)), entropy(number) {}
  uint32_t id = 0;
  std::string host;
  env::MemoryDisk disk;
  FailingDisk failing{disk};  // what its store stands on, and
  std::unique_ptr<rocksdb::Env> rocksdbEnv{rocksdb::NewMemEnv(rocksdb::Env::Default())};
  FailingRocks rocks{*rocksdbEnv};  // what the index does
  kj::Own<env::Worker> worker = env::newInlineWorker();
  SeededEntropy entropy;
  LogLines log;
  kj::Maybe<kj::Own<ChunkServer>> server;
};

struct CopyWords {
  // Of an order to copy a chunk.
  uint64_t replace = 0, limit = UINT64_MAX;
  bool commit = true;
  kj::Maybe<Epoch> epoch = nullptr;
};

class ChunkCluster {
 public:
  explicit ChunkCluster(uint32_t count)
      : scope(loop), network(time.timer(), 5), meta(time.timer(), network.at("meta")) {
    time.limit(60 * kj::MINUTES);
    for (uint32_t i = 1; i <= count; i++) {
      daemons.push_back(std::make_unique<Daemon>(i));
      start(i);
    }
  }
  ~ChunkCluster() noexcept(false) {
    peers.clear();
    for (auto& daemon : daemons) daemon->server = nullptr;
    meta.stop();
  }

  BufferPool pool;  // of the daemons: outlives the loop
  sim::VirtualTime time;
  kj::EventLoop loop{time};
  kj::WaitScope scope;
  sim::SimNetwork network;
  FakeMetaserver meta;
  std::vector<std::unique_ptr<Daemon>> daemons;
  ScrubOptions scrub{.bytesPerSecond = 0,
                     .every = 0 * kj::SECONDS};  // of daemons that are started from now on
  ClusterId clientCluster;
  BufferPool clientPool;
  SeededEntropy clientEntropy;
  PeerEnvironment clientEnvironment{time.timer(),  network.at("client"), clientPool,
                                    clientEntropy, clientCluster,        "test"};
  std::map<uint32_t, kj::Own<Peer<rpc::ChunkServer>>> peers;

  Daemon& daemon(uint32_t id) { return *daemons[id - 1]; }
  ChunkStore& store(uint32_t id) { return KJ_ASSERT_NONNULL(daemon(id).server)->chunkStore(); }

  kj::String tryStart(uint32_t id, kj::StringPtr boot = FIRST_BOOT) {
    auto& one = daemon(id);
    ChunkServerOptions options;
    options.directory = kj::str("/store");
    options.boot = kj::str(boot);
    options.host = kj::str(one.host.c_str());
    options.metaserver = kj::str("meta:9400");
    options.listen = kj::str("*:7000");
    options.advertise = kj::str(one.host.c_str());
    options.localPrefix = kj::str("unix-abstract:cairn-chunkd-");
    options.reserveBytes = uint64_t(0);
    options.scrub = scrub;
    auto started = ChunkServer::start({time.timer(), network.at(one.host.c_str()), one.failing, one.rocks,
                                       *one.worker, one.entropy, pool, one.log.log, time},
                                      kj::mv(options))
                       .wait(scope);
    one.server = kj::mv(started.server);
    return kj::mv(started.refusal);
  }
  void start(uint32_t id, kj::StringPtr boot = FIRST_BOOT) {
    auto refusal = tryStart(id, boot);
    auto& server = KJ_ASSERT_NONNULL(daemon(id).server, refusal);
    time.run(server->whenRegistered(), scope);
    daemon(id).id = server->chunkStore().identity().server.value();
    KJ_ASSERT(daemon(id).id == id);
  }
  void addDaemon() {  // not started
    daemons.push_back(std::make_unique<Daemon>(uint32_t(daemons.size()) + 1));
  }
  void kill(uint32_t id) {
    peers.erase(id);
    daemon(id).disk.killProcess(id);
    daemon(id).server = nullptr;
  }
  void pass(kj::Duration duration) { time.timer().afterDelay(duration).wait(scope); }

  template <typename T>
  auto wait(T&& promise) {
    return promise.wait(scope);
  }

  // -- what a metaserver does
  rpc::ChunkServer::Client orders(uint32_t id) { return KJ_ASSERT_NONNULL(meta.stores[id].orders); }

  Status adopt(uint32_t id, ChunkKey key, uint64_t from, kj::Maybe<Epoch> epoch = nullptr) {
    auto request = orders(id).adoptRequest();
    request.setEpoch(epoch.orDefault(meta.epoch).value());
    auto adoption = request.initChunks(1)[0];
    adoption.setHandle(key.handle.value());
    adoption.setFrom(from);
    adoption.setVersion(key.version.value());
    return request.send().wait(scope).getResults()[0].getStatus();
  }
  Status lease(uint32_t primary, ChunkKey key, std::vector<uint32_t> secondaries,
               kj::Maybe<Epoch> epoch = nullptr, kj::Duration duration = LEASE_TERM) {
    auto request = orders(primary).leaseRequest();
    request.setEpoch(epoch.orDefault(meta.epoch).value());
    auto grant = request.initLeases(1)[0];
    grant.getChunk().setHandle(key.handle.value());
    grant.getChunk().setVersion(key.version.value());
    grant.setDurationMs(uint32_t(duration / kj::MILLISECONDS));
    auto list = grant.initSecondaries(unsigned(secondaries.size()));
    for (unsigned i = 0; i < secondaries.size(); i++) {
      list[i].setServer(secondaries[i]);
      list[i].getAddress().setNetwork(meta.stores[secondaries[i]].address);
    }
    return request.send().wait(scope).getStatus();
  }
  ChunkKey grant(uint64_t handle, uint64_t from, std::vector<uint32_t> replicas) {
    // All replicas take version from + 1; the first becomes the primary.
    ChunkKey key{ChunkHandle(handle), ChunkVersion(from + 1)};
    for (auto id : replicas) KJ_ASSERT(adopt(id, key, from) == Status::OK);
    KJ_ASSERT(lease(replicas[0], key, std::vector<uint32_t>(replicas.begin() + 1, replicas.end())) ==
              Status::OK);
    return key;
  }

  struct CopyResult {
    Status status;
    uint64_t copied, left;
    uint32_t length;
    std::set<uint32_t> bad;
  };
  Async<CopyResult> startCopy(uint32_t id, ChunkKey key, std::vector<uint32_t> sources, CopyWords words) {
    auto request = orders(id).copyRequest();
    request.setEpoch(words.epoch.orDefault(meta.epoch).value());
    request.getChunk().setHandle(key.handle.value());
    request.getChunk().setVersion(key.version.value());
    request.setReplace(words.replace);
    request.setLimit(words.limit);
    request.setCommit(words.commit);
    auto list = request.initSources(unsigned(sources.size()));
    for (unsigned i = 0; i < list.size(); i++) {
      list[i].setServer(sources[i]);
      list[i].getAddress().setNetwork(meta.stores[sources[i]].address);
    }
    auto answer = co_await request.send();
    CopyResult result{answer.getStatus(), answer.getCopied(), answer.getLeft(), answer.getLength(), {}};
    for (auto server : answer.getBad()) result.bad.insert(server);
    co_return kj::mv(result);
  }
  Async<CopyResult> startReconcile(uint32_t id, ChunkKey key, std::vector<uint32_t> sources,
                                   kj::Maybe<Epoch> epoch = nullptr) {
    auto request = orders(id).reconcileRequest();
    request.setEpoch(epoch.orDefault(meta.epoch).value());
    request.getChunk().setHandle(key.handle.value());
    request.getChunk().setVersion(key.version.value());
    auto list = request.initSources(unsigned(sources.size()));
    for (unsigned i = 0; i < list.size(); i++) {
      list[i].setServer(sources[i]);
      list[i].getAddress().setNetwork(meta.stores[sources[i]].address);
    }
    auto answer = co_await request.send();
    CopyResult result{answer.getStatus(), answer.getCopied(), 0, answer.getLength(), {}};
    for (auto server : answer.getBad()) result.bad.insert(server);
    co_return kj::mv(result);
  }
  CopyResult reconcile(uint32_t id, ChunkKey key, std::vector<uint32_t> sources) {
    return time.run(startReconcile(id, key, kj::mv(sources)), scope);
  }
  struct Mark {
    uint64_t written, serial;
    bool operator==(const Mark&) const = default;
  };
  Mark mark(uint32_t id, ChunkHandle handle) {
    auto request = orders(id).describeRequest();
    request.initChunks(1).set(0, handle.value());
    auto response = request.send().wait(scope);
    return {response.getChunks()[0].getWritten(), response.getChunks()[0].getSerial()};
  }
  CopyResult copy(uint32_t id, ChunkKey key, std::vector<uint32_t> sources, CopyWords words = {}) {
    return time.run(startCopy(id, key, kj::mv(sources), words), scope);
  }

  struct CloneResult {
    Status status;
    uint32_t length;
  };
  Async<CloneResult> startClone(uint32_t id, ChunkKey key, uint64_t target, uint32_t bytes) {
    auto request = orders(id).cloneRequest();
    request.setEpoch(meta.epoch.value());
    request.getChunk().setHandle(key.handle.value());
    request.getChunk().setVersion(key.version.value());
    request.setClone(target);
    request.setBytes(bytes);
    auto answer = co_await request.send();
    co_return CloneResult{answer.getStatus(), answer.getLength()};
  }
  CloneResult clone(uint32_t id, ChunkKey key, uint64_t target, uint32_t bytes = CHUNK_SIZE) {
    return time.run(startClone(id, key, target, bytes), scope);
  }

  // -- what a client does
  Peer<rpc::ChunkServer>& peer(uint32_t id) {
    auto& one = peers[id];
    if (one.get() == nullptr) {
      one = kj::heap<Peer<rpc::ChunkServer>>(
          clientEnvironment, kj::str("chunkd-", id),
          PeerAddress{kj::str("h", id, ":7000"), kj::String(), kj::String()});
    }
    return *one;
  }
  struct Answer {
    Status status;
    std::set<uint32_t> applied, failed;
    uint64_t boot = 0;
    uint32_t offset = 0;
  };
  template <typename Response>
  static Answer answerOf(Response&& response) {
    Answer answer{response.getStatus(), {}, {}};
    for (auto applied : response.getApplied()) {
      answer.applied.insert(applied.getServer());
      answer.boot = applied.getBoot();
    }
    for (auto failed : response.getFailed()) answer.failed.insert(failed);
    return answer;
  }
  struct Piece {
    uint32_t offset;
    kj::Array<kj::byte> data;
  };
  Async<Answer> startWrite(uint32_t id, ChunkKey key, kj::Array<Piece> pieces,
                           kj::Maybe<kj::Array<uint32_t>> sums = nullptr) {
    // The pieces in one message. `sums`: those to send instead of the right ones.
    kj::Vector<kj::byte> data;
    kj::Vector<uint32_t> checksums;
    for (auto& piece : pieces) {
      data.addAll(piece.data);
      checksums.addAll(pieceSums(piece.data, piece.offset));
    }
    auto response =
        co_await peer(id).call({"write", 60 * kj::SECONDS}, [&](rpc::ChunkServer::Client& client) {
          auto request = client.writeRequest();
          request.getChunk().setHandle(key.handle.value());
          request.getChunk().setVersion(key.version.value());
          auto extents = request.initExtents(unsigned(pieces.size()));
          for (unsigned i = 0; i < pieces.size(); ++i) {
            extents[i].setOffset(pieces[i].offset);
            extents[i].setSize(uint32_t(pieces[i].data.size()));
          }
          request.setData(data.asPtr());
          request.setChecksums(checksums.asPtr());
          KJ_IF_MAYBE (given, sums) request.setChecksums(*given);
          return request.send();
        });
    co_return answerOf(response);
  }
  Async<Answer> startWrite(uint32_t id, ChunkKey key, uint32_t offset, kj::Array<kj::byte> data,
                           kj::Maybe<kj::Array<uint32_t>> sums = nullptr) {
    auto pieces = kj::heapArray<Piece>(1);
    pieces[0] = {offset, kj::mv(data)};
    return startWrite(id, key, kj::mv(pieces), kj::mv(sums));
  }
  Answer write(uint32_t id, ChunkKey key, kj::Array<Piece> pieces) {
    return time.run(startWrite(id, key, kj::mv(pieces)), scope);
  }
  Answer write(uint32_t id, ChunkKey key, uint32_t offset, kj::Array<kj::byte> data) {
    return time.run(startWrite(id, key, offset, kj::mv(data)), scope);
  }
  Answer append(uint32_t id, ChunkKey key, kj::ArrayPtr<const kj::byte> data, uint32_t flip = 0) {
    auto response = peer(id)
                        .call({"append", 60 * kj::SECONDS},
                              [&](rpc::ChunkServer::Client& client) {
                                auto request = client.appendRequest();
                                request.getChunk().setHandle(key.handle.value());
                                request.getChunk().setVersion(key.version.value());
                                request.setData(data);
                                request.setChecksum(env::crc32c(data) ^ flip);
                                return request.send();
                              })
                        .wait(scope);
    auto answer = answerOf(response);
    answer.offset = response.getOffset();
    return answer;
  }
  struct Bytes {
    Status status;
    std::string bytes;
    bool valid = true;
  };
  kj::Promise<Bytes> startRead(uint32_t id, ChunkKey key, uint32_t offset, uint32_t size) {
    kj::Promise<capnp::Response<rpc::ChunkServer::ReadResults>> sent =
        peer(id).call({"read", 60 * kj::SECONDS}, [=](rpc::ChunkServer::Client& client) {
          auto request = client.readRequest();
          request.getChunk().setHandle(key.handle.value());
          request.getChunk().setVersion(key.version.value());
          request.setOffset(offset);
          request.setSize(size);
          return request.send();
        });
    return sent.then([](capnp::Response<rpc::ChunkServer::ReadResults> response) {
      auto data = response.getData();
      Bytes bytes{response.getStatus(), text(data)};
      auto sums = env::checksumBlocks(data);
      bytes.valid = sums.size() == response.getChecksums().size();
      for (unsigned i = 0; i < sums.size() && bytes.valid; i++)
        bytes.valid = sums[i] == response.getChecksums()[i];
      return bytes;
    });
  }
  Bytes read(uint32_t id, ChunkKey key, uint32_t offset, uint32_t size) {
    return startRead(id, key, offset, size).wait(scope);
  }
  Status sync(uint32_t id, ChunkKey key, uint64_t boot = 0) {
    return peer(id)
        .call({"sync", 60 * kj::SECONDS},
              [&](rpc::ChunkServer::Client& client) {
                auto request = client.syncRequest();
                auto chunk = request.initChunks(1)[0];
                chunk.setHandle(key.handle.value());
                chunk.setVersion(key.version.value());
                request.setBoot(boot);
                return request.send();
              })
        .wait(scope)
        .getStatus();
  }
  std::string wholeChunk(uint32_t id, ChunkKey key) {
    std::string all;
    for (uint32_t at = 0; at < CHUNK_SIZE; at += TRANSFER_SIZE_MAX) {
      auto part = read(id, key, at, TRANSFER_SIZE_MAX);
      EXPECT_EQ(part.status, Status::OK);
      EXPECT_TRUE(part.valid);
      all += part.bytes;
      if (part.bytes.size() < TRANSFER_SIZE_MAX) break;
    }
    return all;
  }
};

}  // namespace cairn
