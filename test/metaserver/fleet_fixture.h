// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A metaserver service without network on a virtual clock: the real namespace on RocksDB in memory, a log
// that commits at once, fake chunk daemons that obey, refuse, hang or are slow, and fake mounts. Used by the
// tests of grants, fleet, sessions, and all that an operator asks for.
#pragma once

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <rocksdb/env.h>

#include <deque>
#include <memory>

#include "metaserver/meta_service.h"
#include "metaserver/namespace.h"
#include "rpc/administration.capnp.h"
#include "rpc/coroutine.h"
#include "test/metaserver/fake_mount.h"
#include "test/metaserver/fake_store.h"
#include "test/metaserver/immediate_log.h"
#include "test/sim/seeded_entropy.h"

namespace cairn {

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
  std::string said;  // warnings and errors

  void start() {
    log = kj::heap<ImmediateLog>(*names);
    service = kj::heap<MetaService>(options, *log, names->read(), timer, entropy, logger());
  }
  env::Logger logger() {
    auto sink = env::newFunctionSink([this](kj::Date, env::LogLevel, kj::StringPtr, kj::StringPtr text) {
      said += kj::str(text, "\n").cStr();
    });
    return env::Logger(sink, kj::systemPreciseCalendarClock(), env::LogLevel::WARNING, "test");
  }
  bool hasSaid(const std::string& text) { return said.find(text) != std::string::npos; }
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
  enum class Caching { NO, YES };
  FakeMount& mount(Caching caching = Caching::NO) {
    mounts.emplace_back();
    mounts.back().caching = caching == Caching::YES;
    EXPECT_EQ(openSession(mounts.back()), Status::OK);
    return mounts.back();
  }
  FakeMount& cachingMount() { return mount(Caching::YES); }
  rpc::Administration::Client administration() {
    auto request = service->newConnection("cli").administrationRequest();
    return await(kj::Promise<capnp::Response<rpc::Metaserver::AdministrationResults>>(request.send()))
        .getAdministration();
  }
  template <typename Fill>
  auto change(FakeMount& mount, Fill fill) {
    auto request = mount.session.changeRequest();
    auto change = request.getChange();
    change.setSequence(++mount.sequence);
    fill(change);
    return await(kj::Promise<capnp::Response<rpc::Session::ChangeResults>>(request.send()));
  }
  enum class Create { OPEN, CLOSED };
  uint64_t create(FakeMount& mount, kj::StringPtr name, FileType type, InodeId parent, Create how) {
    auto response = change(mount, [&](rpc::Change::Builder change) {
      auto create = change.initCreate();
      create.setParent(parent.value());
      create.setName(name);
      create.setType(type);
      create.setMode(type == FileType::DIRECTORY ? 0755 : 0644);
      create.setOpen(how == Create::OPEN);
    });
    EXPECT_EQ(response.getOutcome().getStatus(), Status::OK);
    return response.getOutcome().getAttributes().getInode();
  }
  uint64_t createFile(FakeMount& mount, kj::StringPtr name, Create how = Create::OPEN,
                      InodeId parent = ROOT_INODE) {
    return create(mount, name, FileType::REGULAR, parent, how);
  }
  uint64_t createDirectory(FakeMount& mount, kj::StringPtr name, InodeId parent = ROOT_INODE) {
    return create(mount, name, FileType::DIRECTORY, parent, Create::CLOSED);
  }
  uint64_t written(FakeMount& mount, kj::StringPtr name, InodeId parent = ROOT_INODE) {
    // A file of ten bytes in a chunk.
    auto inode = createFile(mount, name, Create::CLOSED, parent);
    auto location = locate(mount, inode, For::WRITE);
    EXPECT_EQ(location.status, Status::OK);
    auto response = change(mount, [&](rpc::Change::Builder change) {
      auto publish = change.initPublish();
      publish.setFile(inode);
      publish.setLength(10);
      publish.initChunks(1).set(0, location.handle.value());
      change.initChunkBlocks(1).set(0, 1);
    });
    EXPECT_EQ(response.getOutcome().getStatus(), Status::OK);
    return inode;
  }
  void removeMeanwhile(FakeMount& by, kj::StringPtr name, uint64_t inode, InodeId parent = ROOT_INODE) {
    // At once, and past whoever would have to be asked first.
    bool isDirectory = names->read().inode(InodeId(inode))->attributes.isDirectory();
    auto outcome = log->carryOut([&](auto body) {
      body.setSession(by.id);
      body.setUnheld(inode);
      auto change = body.initChange();
      change.setSequence(++by.sequence);
      if (isDirectory) {
        auto rmdir = change.initRmdir();
        rmdir.setParent(parent.value());
        rmdir.setName(name);
      } else {
        auto unlink = change.initUnlink();
        unlink.setParent(parent.value());
        unlink.setName(name);
      }
    });
    EXPECT_EQ(outcome.status, Status::OK);
    EXPECT_FALSE(exists(inode));
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
                         std::vector<uint32_t> unsynced, std::vector<uint32_t> suspects = {}) {
    return await(locating(mount, inode, For::READ, suspects, version, unsynced));
  }
  Located locate(FakeMount& mount, uint64_t inode, For purpose, std::vector<uint32_t> suspects = {}) {
    return await(locating(mount, inode, purpose, suspects));
  }
  template <typename Fill>
  void byOperation(Fill fill) {
    // Into the log, past whoever proposes such a thing.
    auto operation = kj::heap<LoggedOperation>();
    fill(operation->body());
    EXPECT_TRUE(await(log->propose(kj::mv(operation))).ok());
  }
  void keepTrashFor(uint32_t seconds) {
    byOperation([&](auto body) { body.initConfigureTrash().setKeepS(seconds); });
  }
  bool exists(uint64_t inode) { return names->read().inode(InodeId(inode)).ok(); }
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
