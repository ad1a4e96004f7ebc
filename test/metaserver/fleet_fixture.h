// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A metaserver service without network on a virtual clock: the real namespace on RocksDB in memory, a log
// that commits at once, and fake chunk daemons that obey, refuse, hang or are slow. Used by the tests of
// grants, fleet and sessions.
#pragma once

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <rocksdb/env.h>

#include <deque>
#include <map>
#include <memory>

#include "metaserver/meta_service.h"
#include "metaserver/namespace.h"
#include "rpc/coroutine.h"
#include "test/sim/seeded_entropy.h"

namespace cairn {

class ImmediateLog final : public OperationLog {
  // Applies each operation when it is proposed and answers a turn later. `durableLag`: how many are not on
  // stable storage.
 public:
  explicit ImmediateLog(Namespace& names) : names(names), lastIndex(names.state().applied) {
    if (lastIndex == LogIndex()) {
      auto operation = kj::heap<LoggedOperation>();
      auto found = operation->body().initFound();
      found.setClusterHigh(1);
      found.setClusterLow(2);
      found.setMode(0755);
      found.setReplicas(3);
      KJ_ASSERT(apply(*operation).ok());
    }
    LoggedOperation start;
    start.body().setStartEpoch();
    currentEpoch = Epoch(apply(start).number);
  }

  kj::Promise<Outcome> propose(kj::Own<LoggedOperation> operation) override {
    auto outcome = refuse == Status::OK ? apply(*operation) : refusal(refuse);
    return kj::evalLater([outcome = kj::mv(outcome)]() mutable { return kj::mv(outcome); });
  }
  Async<Status> durable(LogIndex index) override {
    if (disk == Disk::FAST) return Status::OK;
    auto paf = kj::newPromiseAndFulfiller<Status>();
    syncs.add(kj::mv(paf.fulfiller));
    return kj::mv(paf.promise);
  }
  kj::Promise<void> whenBroken() override { return kj::NEVER_DONE; }
  LogIndex last() const override { return lastIndex; }
  LogIndex durableUpTo() const override {
    return LogIndex(lastIndex.value() - kj::min(durableLag, lastIndex.value()));
  }
  uint32_t inFlight() const override { return 0; }
  Epoch epoch() const override { return currentEpoch; }
  LogIndex lostFrom() const override { return mayBeLost; }
  CommitMode commitMode() const override { return CommitMode::MEMORY; }
  int64_t now() const override { return time; }

  Status refuse = Status::OK;
  uint64_t durableLag = 0;
  LogIndex mayBeLost;
  enum class Disk { FAST, HELD } disk = Disk::FAST;
  kj::Vector<kj::Own<kj::PromiseFulfiller<Status>>> syncs;  // with HELD: who waits for stable storage
  int64_t time = 1'000'000'000;                             // of operations, set by hand

 private:
  Outcome apply(LoggedOperation& operation) {
    lastIndex = lastIndex.next();
    operation.body().setIndex(lastIndex.value());
    operation.body().setEpoch(currentEpoch.value());
    operation.body().setTime(time);
    auto outcome = names.apply(operation.body().asReader());
    names.commit();
    return outcome;
  }
  Namespace& names;
  LogIndex lastIndex;
  Epoch currentEpoch;
};

struct FakeStore {
  // What is on its disk, and how it behaves. Its process is FakeProcess.
  enum class Mood { OBEYS, HANGS, SLOW, REFUSES };
  struct Chunk {
    uint64_t version = 0;
    uint32_t truncated = ALL_BYTES_VALID;
    uint32_t length = 0;
    bool suspect = false, rotten = false, corrupt = false;
    uint64_t written = 1, serial = 0;  // its mark; written 0: not known
  };
  explicit FakeStore(uint32_t number) : number(number) {}

  uint32_t number;
  uint32_t server = 0;  // id, as the metaserver gave it
  std::map<uint64_t, Chunk> chunks;
  std::map<uint64_t, uint64_t> leases;               // handle -> version
  std::map<uint64_t, std::vector<uint32_t>> chains;  // handle -> secondaries
  Mood mood = Mood::OBEYS;
  Mood onlyAdopt = Mood::OBEYS;      // mood of adopt alone
  bool adoptsBeforeItHangs = false;  // carries the order out, and does not answer
  kj::Duration slowness = 2500 * kj::MILLISECONDS;
  Status refusal = Status::IO_ERROR;
  uint64_t bytesTotal = 100ull << 30, bytesFree = 50ull << 30;
  kj::StringPtr host = "h";
  uint32_t pid = 100;
  uint64_t boot = 1;
  bool heartbeats = true;
  uint64_t epochSeen = 0;
  uint32_t adopts = 0, revokes = 0, probes = 0, verifies = 0, copies = 0, commits = 0, reconciles = 0;
  uint32_t clones = 0;
  Mood onlyCopy = Mood::OBEYS, onlyCommit = Mood::OBEYS, onlyClone = Mood::OBEYS;
  Mood onlyReconcile = Mood::OBEYS;
  bool copiesBeforeItHangs = false;          // carries the commit out, and does not answer
  std::map<uint64_t, uint64_t> staged;       // handle -> bytes copied of a copy that is not committed
  std::deque<FakeStore>* fellows = nullptr;  // where sources are
  std::vector<uint64_t> deleted;
  kj::Maybe<rpc::Fleet::Client> fleet;  // while connected
  kj::Maybe<rpc::ChunkServer::Client> self;

  uint64_t versionOf(ChunkHandle chunk) const {
    auto found = chunks.find(chunk.value());
    return found == chunks.end() ? 0 : found->second.version;
  }
};

class FakeProcess final : public rpc::ChunkServer::Server {
 public:
  FakeProcess(FakeStore& store, kj::Timer& timer) : store(store), timer(timer) {}

  kj::Promise<void> adopt(AdoptContext context) override {
    store.epochSeen = context.getParams().getEpoch();
    ++store.adopts;
    auto mood = store.mood != FakeStore::Mood::OBEYS ? store.mood : store.onlyAdopt;
    if (mood == FakeStore::Mood::OBEYS || (mood == FakeStore::Mood::HANGS && store.adoptsBeforeItHangs))
      carryOut(context);
    return react(
        mood, [this, context]() mutable { carryOut(context); },
        [this, context]() mutable {
          auto results = context.getResults().initResults(context.getParams().getChunks().size());
          for (uint32_t i = 0; i < results.size(); ++i) {
            results[i].setHandle(context.getParams().getChunks()[i].getHandle());
            results[i].setStatus(store.refusal);
          }
        });
  }
  kj::Promise<void> lease(LeaseContext context) override {
    auto grant = context.getParams().getLeases()[0];
    auto handle = grant.getChunk().getHandle();
    return react(
        store.mood,
        [this, context, grant, handle]() mutable {
          if (store.chunks[handle].version != grant.getChunk().getVersion()) {
            context.getResults().setStatus(Status::STALE_VERSION);
            return;
          }
          store.leases[handle] = grant.getChunk().getVersion();
          store.chains[handle].clear();
          for (auto secondary : grant.getSecondaries()) store.chains[handle].push_back(secondary.getServer());
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }
  kj::Promise<void> revoke(RevokeContext context) override {
    ++store.revokes;
    return react(
        store.mood,
        [this, context]() mutable {
          for (auto chunk : context.getParams().getChunks()) store.leases.erase(chunk.getHandle());
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }
  kj::Promise<void> delete_(DeleteContext context) override {
    return react(
        store.mood,
        [this, context]() mutable {
          for (auto chunk : context.getParams().getChunks()) {
            auto found = store.chunks.find(chunk.getHandle());
            if (found == store.chunks.end() || found->second.version > chunk.getVersion()) continue;
            store.chunks.erase(found);
            store.deleted.push_back(chunk.getHandle());
          }
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }
  kj::Promise<void> describe(DescribeContext context) override {
    ++store.probes;
    return react(
        store.mood,
        [this, context]() mutable {
          auto asked = context.getParams().getChunks();
          std::vector<uint64_t> held;
          for (auto handle : asked) {
            if (store.chunks.count(handle) > 0) held.push_back(handle);
          }
          auto list = context.getResults().initChunks(held.size());
          for (size_t i = 0; i < held.size(); ++i) {
            auto& chunk = store.chunks[held[i]];
            list[i].setHandle(held[i]);
            list[i].setVersion(chunk.version);
            list[i].setSuspect(chunk.suspect);
            list[i].setCorrupt(chunk.corrupt);
          }
        },
        []() {});
  }
  kj::Promise<void> copy(CopyContext context) override {
    store.epochSeen = context.getParams().getEpoch();
    auto commit = context.getParams().getCommit();
    ++(commit ? store.commits : store.copies);
    auto mood = store.mood != FakeStore::Mood::OBEYS ? store.mood
                : commit                             ? store.onlyCommit
                                                     : store.onlyCopy;
    if (commit && mood == FakeStore::Mood::HANGS && store.copiesBeforeItHangs) takeCopy(context);
    return react(
        mood, [this, context]() mutable { takeCopy(context); },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }

  kj::Promise<void> clone(CloneContext context) override {
    ++store.clones;
    auto mood = store.mood != FakeStore::Mood::OBEYS ? store.mood : store.onlyClone;
    return react(
        mood,
        [this, context]() mutable {
          auto params = context.getParams();
          auto found = store.chunks.find(params.getChunk().getHandle());
          auto status = found == store.chunks.end()                              ? Status::NO_REPLICA
                        : found->second.version > params.getChunk().getVersion() ? Status::STALE_VERSION
                        : found->second.version < params.getChunk().getVersion() ? Status::BEHIND_VERSION
                                                                                 : Status::OK;
          context.getResults().setStatus(status);
          if (!ok(status)) return;
          auto& clone = store.chunks[params.getClone()];
          clone.version = 1;
          clone.length = kj::min(found->second.length, params.getBytes());
          context.getResults().setLength(clone.length);
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }

  kj::Promise<void> checksums(ChecksumsContext context) override {
    return react(
        store.mood,
        [this, context]() mutable {
          auto& chunk = store.chunks[context.getParams().getChunk().getHandle()];
          bool same = chunk.version == context.getParams().getChunk().getVersion() && !chunk.suspect;
          context.getResults().setStatus(same ? Status::OK : Status::STALE_VERSION);
          context.getResults().setLength(chunk.length);
          context.getResults().setChecksums(kj::str(chunk.serial).asBytes());
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }
  kj::Promise<void> reconcile(ReconcileContext context) override {
    ++store.reconciles;
    auto mood = store.mood != FakeStore::Mood::OBEYS ? store.mood : store.onlyReconcile;
    return react(
        mood,
        [this, context]() mutable {
          auto params = context.getParams();
          auto& chunk = store.chunks[params.getChunk().getHandle()];
          context.getResults().setStatus(
              chunk.version == params.getChunk().getVersion() ? Status::OK : Status::BEHIND_VERSION);
          if (context.getResults().getStatus() != Status::OK) return;
          chunk.suspect = false;
          if (params.getSources().size() > 0) chunk.written = 0;
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }

  kj::Promise<void> verify(VerifyContext context) override {
    ++store.verifies;
    return react(
        store.mood,
        [this, context]() mutable {
          auto handle = context.getParams().getChunk().getHandle();
          auto& chunk = store.chunks[handle];
          chunk.corrupt |= chunk.rotten;  // and is quarantined
          context.getResults().setStatus(chunk.corrupt ? Status::CORRUPT : Status::OK);
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }

 private:
  template <typename Do, typename Refuse>
  kj::Promise<void> react(FakeStore::Mood mood, Do obey, Refuse refuse) {
    switch (mood) {
      case FakeStore::Mood::OBEYS:
        obey();
        return kj::READY_NOW;
      case FakeStore::Mood::HANGS:
        return kj::NEVER_DONE;
      case FakeStore::Mood::SLOW:
        return timer.afterDelay(store.slowness).then(kj::mv(obey));
      case FakeStore::Mood::REFUSES:
        refuse();
        return kj::READY_NOW;
    }
    KJ_UNREACHABLE;
  }
  void takeCopy(CopyContext context) {
    // A chunk has CHUNK_BYTES; each is copied once.
    constexpr uint64_t CHUNK_BYTES = 20ull << 20;
    auto params = context.getParams();
    auto results = context.getResults();
    auto handle = params.getChunk().getHandle(), version = params.getChunk().getVersion();
    auto found = store.chunks.find(handle);
    if (found != store.chunks.end() && !found->second.corrupt &&
        found->second.version > params.getReplace()) {
      bool same = found->second.version == version && params.getCommit();
      results.setStatus(same                              ? Status::OK
                        : found->second.version > version ? Status::STALE_VERSION
                                                          : Status::EXISTS);
      return;
    }
    auto status = Status::NO_REPLICA;
    for (auto replica : params.getSources()) {
      for (auto& other : *store.fellows) {
        if (other.server != replica.getServer() || other.chunks.count(handle) == 0) continue;
        auto& chunk = other.chunks[handle];
        if (chunk.version == version && !chunk.corrupt) status = Status::OK;
        if (chunk.version != version && status != Status::OK) status = Status::STALE_VERSION;
      }
    }
    results.setStatus(status);
    if (status != Status::OK) return;
    if (found != store.chunks.end() && !found->second.corrupt) store.chunks.erase(found);  // used up
    auto& bytes = store.staged[handle];
    auto copied = kj::min(CHUNK_BYTES - bytes, params.getLimit());
    bytes += copied;
    results.setCopied(copied);
    results.setLeft(CHUNK_BYTES - bytes);
    results.setLength(CHUNK_BYTES);
    if (bytes < CHUNK_BYTES || !params.getCommit()) return;
    store.chunks[handle] = FakeStore::Chunk{version};
    store.chunks[handle].length = CHUNK_BYTES;
    store.staged.erase(handle);
  }
  void carryOut(AdoptContext context) {
    auto orders = context.getParams().getChunks();
    auto results = context.getResults().initResults(orders.size());
    for (uint32_t i = 0; i < orders.size(); ++i) {
      auto order = orders[i];
      results[i].setHandle(order.getHandle());
      auto& chunk = store.chunks[order.getHandle()];
      if (order.getFrom() > 0 && chunk.version == 0) {
        store.chunks.erase(order.getHandle());
        results[i].setStatus(Status::NO_REPLICA);
        continue;
      }
      if (chunk.version < order.getFrom()) results[i].setStatus(Status::BEHIND_VERSION);
      if (chunk.version > order.getVersion()) results[i].setStatus(Status::STALE_VERSION);
      if (results[i].getStatus() != Status::OK) continue;
      chunk.version = order.getVersion();
      results[i].setLength(chunk.length);
      results[i].setSuspect(chunk.suspect);
      results[i].setWritten(chunk.written);
      results[i].setSerial(chunk.serial);
      if (order.getTruncate() != ALL_BYTES_VALID) chunk.truncated = order.getTruncate();
      store.leases.erase(order.getHandle());
    }
  }

  FakeStore& store;
  kj::Timer& timer;
};

struct FakeMount {
  rpc::Session::Client session = nullptr;
  uint64_t id = 0;
  uint64_t sequence = 0;
  std::vector<uint64_t> invalidated;

  // Cache leases.
  bool caching = false;
  bool tellsSyncs = true;
  std::vector<HeldLease> recalls;  // what it was asked for, in that order
  enum class Obeys { AT_ONCE, WHEN_TOLD, NEVER } obeys = Obeys::AT_ONCE;
  kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> held;  // with WHEN_TOLD: recalls that wait for obey()
  uint32_t messages = 0;                                 // of recalls
  std::map<uint64_t, uint64_t> sizes;                    // of files that it writes, for describe
  uint32_t described = 0;
  uint64_t voidUpTo = 0;
  std::vector<uint64_t> refused;

  void obey() {
    for (auto& recall : held) recall->fulfill();
    held.clear();
  }
};

class FakeCallback final : public rpc::ClientCallback::Server {
 public:
  explicit FakeCallback(FakeMount& mount) : mount(mount) {}
  kj::Promise<void> invalidate(InvalidateContext context) override {
    for (auto inode : context.getParams().getInodes()) mount.invalidated.push_back(inode);
    return kj::READY_NOW;
  }
  kj::Promise<void> recall(RecallContext context) override {
    ++mount.messages;
    for (auto lease : context.getParams().getLeases())
      mount.recalls.push_back({InodeId(lease.getInode()), lease.getKind(), LeaseStamp(lease.getStamp())});
    if (mount.obeys == FakeMount::Obeys::AT_ONCE) return kj::READY_NOW;
    if (mount.obeys == FakeMount::Obeys::NEVER) return kj::NEVER_DONE;
    auto paf = kj::newPromiseAndFulfiller<void>();
    mount.held.add(kj::mv(paf.fulfiller));
    return kj::mv(paf.promise);
  }
  kj::Promise<void> describe(DescribeContext context) override {
    ++mount.described;
    if (mount.obeys == FakeMount::Obeys::NEVER) return kj::NEVER_DONE;
    auto known = mount.sizes.find(context.getParams().getInode());
    auto results = context.getResults();
    results.setStatus(known == mount.sizes.end() ? Status::NOT_LEASED : Status::OK);
    if (known != mount.sizes.end()) {
      results.setSize(known->second);
      results.setMtime(77);
    }
    return kj::READY_NOW;
  }

 private:
  FakeMount& mount;
};

struct Located {
  Status status = Status::OK;
  ChunkHandle handle;
  ChunkVersion version;
  std::vector<uint32_t> replicas;
  uint32_t primary = 0;
  uint32_t validBytes = ALL_BYTES_VALID;
  LogIndex lostAt, asOf;
};

class FleetTest : public testing::Test {
 public:
  ~FleetTest() noexcept override {}
  FleetTest() : memory(rocksdb::NewMemEnv(rocksdb::Env::Default())) {
    for (uint32_t i = 1; i <= 4; ++i) {
      stores.emplace_back(i);
      stores.back().fellows = &stores;
    }
    NamespaceOptions options;
    options.path = "/names";
    options.env = memory.get();
    names = Namespace::open(options);
    start();
  }

  void TearDown() override {
    if (service.get() != nullptr) {
      service->view.leases.checkInvariants();
      service->repair.checkInvariants();
      service->leases.checkInvariants();
    }
    crash();
  }

 protected:
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>() + 1000 * kj::SECONDS};
  std::unique_ptr<rocksdb::Env> memory;
  sim::SeededEntropy entropy{7};
  std::deque<FakeStore> stores;
  kj::Own<Namespace> names;
  kj::Own<ImmediateLog> log;
  kj::Own<MetaService> service;
  std::deque<FakeMount> mounts;
  MetaServiceOptions options;

  void start() {
    log = kj::heap<ImmediateLog>(*names);
    service = kj::heap<MetaService>(options, *log, names->read(), timer, entropy, env::Logger::silent());
  }
  void crash() {
    // Nothing volatile survives; stores and mounts lose their connection.
    for (auto& store : stores) store.fleet = nullptr;
    for (auto& mount : mounts) mount.session = nullptr;
    settle();
    service = nullptr;
    log = nullptr;
  }
  void restart() {
    crash();
    start();
  }

  FakeStore& store(uint32_t number) { return stores[number - 1]; }
  FakeStore& byId(uint32_t server) {
    for (auto& store : stores) {
      if (store.server == server) return store;
    }
    KJ_FAIL_REQUIRE("no such server", server);
  }

  // Time
  // ---------------------------------------------------------------------------------------------------------

  void settle() { scope.poll(); }
  void advance(int64_t ms) {
    for (int64_t done = 0; done < ms; done += 50) {
      timer.advanceTo(timer.now() + kj::min(int64_t(50), ms - done) * kj::MILLISECONDS);
      if ((timer.now() - kj::origin<kj::TimePoint>()) / (50 * kj::MILLISECONDS) % 20 == 0) heartbeat();
      settle();
    }
  }
  template <typename Promise>
  auto await(Promise&& awaited, int64_t msMax = 60'000) {
    auto promise = promiseOf(kj::mv(awaited));
    for (int64_t waited = 0; waited < msMax && !promise.poll(scope); waited += 50) advance(50);
    KJ_REQUIRE(promise.poll(scope), "still waiting after the longest time allowed", msMax);
    return promise.wait(scope);
  }
  void heartbeat() {
    for (auto& store : stores) {
      if (!store.heartbeats || store.mood == FakeStore::Mood::HANGS) continue;
      KJ_IF_MAYBE (fleet, store.fleet) {
        auto request = fleet->heartbeatRequest();
        request.setBytesTotal(store.bytesTotal);
        request.setBytesFree(store.bytesFree);
        auto extend = request.initExtend(store.leases.size());
        uint32_t i = 0;
        for (auto [handle, version] : store.leases) {
          extend[i].setHandle(handle);
          extend[i++].setVersion(version);
        }
        background.add(request.send().ignoreResult());
      }
    }
  }

  // Stores
  // ---------------------------------------------------------------------------------------------------------

  Status connect(FakeStore& store) {
    auto request = service->newConnection("store").registerRequest();
    auto description = request.getStore();
    description.setStore(kj::str("uuid-", store.number));
    description.setServer(store.server);
    description.getAddress().setNetwork(kj::str("h:", 9410 + store.number));
    description.getAddress().setHost(store.host);
    description.setBoot(store.boot);
    description.setPid(store.pid);
    description.setEpoch(store.epochSeen);
    description.setBytesTotal(store.bytesTotal);
    description.setBytesFree(store.bytesFree);
    request.setOrders(kj::heap<FakeProcess>(store, timer));
    auto response = await(kj::Promise<capnp::Response<rpc::Metaserver::RegisterResults>>(request.send()));
    if (response.getStatus() != Status::OK) return response.getStatus();
    store.server = response.getServer();
    store.fleet = response.getFleet();
    return Status::OK;
  }
  void report(FakeStore& store) {
    auto request = KJ_ASSERT_NONNULL(store.fleet).reportRequest();
    auto chunks = request.initChunks(store.chunks.size());
    uint32_t i = 0;
    for (auto& [handle, chunk] : store.chunks) {
      chunks[i].setHandle(handle);
      chunks[i].setSuspect(chunk.suspect);
      chunks[i].setCorrupt(chunk.corrupt);
      chunks[i].setWritten(chunk.written);
      chunks[i].setSerial(chunk.serial);
      chunks[i++].setVersion(chunk.version);
    }
    request.setLast(true);
    await(request.send().ignoreResult());
  }
  void join(FakeStore& store) {
    EXPECT_EQ(connect(store), Status::OK);
    report(store);
  }
  void joinAll(uint32_t count = 3) {
    for (uint32_t i = 1; i <= count; ++i) join(store(i));
  }
  void disconnect(FakeStore& store) {
    store.fleet = nullptr;
    settle();
  }
  void kill(FakeStore& store) {
    store.leases.clear();
    ++store.pid;
    disconnect(store);
  }
  void primaryFailed(FakeStore& primary, const Located& location, std::vector<uint32_t> failed) {
    auto request = KJ_ASSERT_NONNULL(primary.fleet).failedRequest();
    request.getChunk().setHandle(location.handle.value());
    request.getChunk().setVersion(location.version.value());
    auto list = request.initServers(failed.size());
    for (size_t i = 0; i < failed.size(); ++i) list.set(i, failed[i]);
    primary.leases.erase(location.handle.value());
    await(request.send().ignoreResult());
  }

  // Clients
  // ---------------------------------------------------------------------------------------------------------

  Status openSession(FakeMount& mount, std::vector<uint64_t> open = {}, std::vector<HeldLease> named = {}) {
    auto request = service->newConnection("client").openSessionRequest();
    request.getClient().setHost("client-host");
    request.getClient().setName("test");
    request.getClient().setLeases(mount.caching);
    request.getClient().setTellsSyncs(mount.tellsSyncs);
    request.setCallback(kj::heap<FakeCallback>(mount));
    auto leases = request.initLeases(named.size());
    for (size_t i = 0; i < named.size(); ++i) {
      leases[i].setInode(named[i].inode.value());
      leases[i].setKind(named[i].kind);
      leases[i].setStamp(named[i].stamp.value());
    }
    request.setResume(mount.id);
    auto list = request.initOpenInodes(open.size());
    for (size_t i = 0; i < open.size(); ++i) list.set(i, open[i]);
    auto response = await(kj::Promise<capnp::Response<rpc::Metaserver::OpenSessionResults>>(request.send()));
    if (response.getStatus() == Status::OK) {
      mount.session = response.getSession();
      mount.id = response.getId();
      mount.voidUpTo = response.getVoidUpTo();
      mount.refused.clear();
      for (auto inode : response.getRefused()) mount.refused.push_back(inode);
    }
    return response.getStatus();
  }
  FakeMount& mount() {
    mounts.emplace_back();
    EXPECT_EQ(openSession(mounts.back()), Status::OK);
    return mounts.back();
  }
  template <typename Fill>
  auto change(FakeMount& mount, Fill fill) {
    auto request = mount.session.changeRequest();
    auto change = request.getChange();
    change.setSequence(++mount.sequence);
    fill(change);
    return await(kj::Promise<capnp::Response<rpc::Session::ChangeResults>>(request.send()));
  }
  uint64_t createFile(FakeMount& mount, kj::StringPtr name, bool open = true) {
    auto response = change(mount, [&](rpc::Change::Builder change) {
      auto create = change.initCreate();
      create.setParent(ROOT_INODE.value());
      create.setName(name);
      create.setType(FileType::REGULAR);
      create.setMode(0644);
      create.setOpen(open);
    });
    EXPECT_EQ(response.getOutcome().getStatus(), Status::OK);
    return response.getOutcome().getAttributes().getInode();
  }
  Status unlink(FakeMount& mount, kj::StringPtr name) {
    return change(mount,
                  [&](rpc::Change::Builder change) {
                    auto unlink = change.initUnlink();
                    unlink.setParent(ROOT_INODE.value());
                    unlink.setName(name);
                  })
        .getOutcome()
        .getStatus();
  }
  Status resize(FakeMount& mount, uint64_t inode, uint64_t size) {
    return change(mount,
                  [&](rpc::Change::Builder change) {
                    auto set = change.initSetAttributes();
                    set.setInode(inode);
                    set.setSet(rpc::SET_SIZE);
                    set.setSize(size);
                  })
        .getOutcome()
        .getStatus();
  }
  Status publish(FakeMount& mount, uint64_t inode, uint64_t length) {
    return change(mount,
                  [&](rpc::Change::Builder change) {
                    auto publish = change.initPublish();
                    publish.setFile(inode);
                    publish.setLength(length);
                  })
        .getOutcome()
        .getStatus();
  }
  kj::Promise<Status> sharing(FakeMount& mount, uint64_t source, uint64_t target, uint64_t bytes) {
    auto request = mount.session.changeRequest();
    auto change = request.getChange();
    change.setSequence(++mount.sequence);
    auto share = change.initShare();
    share.setSource(source);
    share.setTarget(target);
    share.setBytes(bytes);
    return request.send()
        .then([](capnp::Response<rpc::Session::ChangeResults>&& response) {
          return response.getOutcome().getStatus();
        })
        .eagerlyEvaluate(nullptr);
  }
  Status share(FakeMount& mount, uint64_t source, uint64_t target, uint64_t bytes) {
    return await(sharing(mount, source, target, bytes));
  }
  Status sync(FakeMount& mount, std::vector<ChunkHandle> covered) {
    auto request = mount.session.syncRequest();
    auto list = request.initCovered(unsigned(covered.size()));
    for (unsigned i = 0; i < covered.size(); ++i) list.set(i, covered[i].value());
    return await(kj::Promise<capnp::Response<rpc::Session::SyncResults>>(request.send())).getStatus();
  }
  void release(FakeMount& mount, uint64_t inode) {
    auto request = mount.session.releaseRequest();
    request.initInodes(1).set(0, inode);
    await(request.send().ignoreResult());
  }
  Status open(FakeMount& mount, uint64_t inode) {
    auto request = mount.session.openRequest();
    request.setInode(inode);
    return await(kj::Promise<capnp::Response<rpc::Session::OpenResults>>(request.send())).getStatus();
  }
  Status renew(FakeMount& mount) {
    return await(
               kj::Promise<capnp::Response<rpc::Session::RenewResults>>(mount.session.renewRequest().send()))
        .getStatus();
  }

  enum class For { READ, WRITE };
  kj::Promise<Located> locating(FakeMount& mount, uint64_t inode, For purpose,
                                std::vector<uint32_t> suspects = {}, ChunkVersion version = ChunkVersion(),
                                std::vector<uint32_t> unsynced = {}) {
    auto request = mount.session.locateRequest();
    request.setVersion(version.value());
    auto without = request.initUnsynced(unsynced.size());
    for (size_t i = 0; i < unsynced.size(); ++i) without.set(i, unsynced[i]);
    request.setInode(inode);
    request.setCount(1);
    request.setForWrite(purpose == For::WRITE);
    auto list = request.initSuspects(suspects.size());
    for (size_t i = 0; i < suspects.size(); ++i) list.set(i, suspects[i]);
    return request.send()
        .then([](capnp::Response<rpc::Session::LocateResults>&& response) {
          Located located;
          located.status = response.getStatus();
          for (auto location : response.getLocations()) {
            located.handle = ChunkHandle(location.getChunk().getHandle());
            located.version = ChunkVersion(location.getChunk().getVersion());
            located.primary = location.getPrimary();
            located.validBytes = location.getValidBytes();
            located.lostAt = LogIndex(location.getLostAt());
            located.asOf = LogIndex(location.getAsOf());
            for (auto replica : location.getReplicas()) located.replicas.push_back(replica.getServer());
          }
          return located;
        })
        .eagerlyEvaluate(nullptr);
  }
  Located locateUnsynced(FakeMount& mount, uint64_t inode, ChunkVersion version,
                         std::vector<uint32_t> unsynced) {
    return await(locating(mount, inode, For::READ, {}, version, unsynced));
  }
  Located locate(FakeMount& mount, uint64_t inode, For purpose, std::vector<uint32_t> suspects = {}) {
    return await(locating(mount, inode, purpose, suspects));
  }
  ChunkRecord record(ChunkHandle chunk) { return KJ_ASSERT_NONNULL(names->read().chunk(chunk)); }

 private:
  struct Ignore final : public kj::TaskSet::ErrorHandler {
    void taskFailed(kj::Exception&& exception) override {
      ADD_FAILURE() << exception.getDescription().cStr();
    }
  } ignore;
  kj::TaskSet background{ignore};
};

}  // namespace cairn
