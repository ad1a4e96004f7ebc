// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A namespace behind its log, on a disk and a RocksDB in memory, with a clock set by hand: what the tests of
// metaserver/ speak to. It can be killed and started again at any point.
#pragma once

#include <gtest/gtest.h>
#include <kj/async.h>
#include <kj/debug.h>
#include <kj/time.h>
#include <rocksdb/env.h>

#include <memory>
#include <string>

#include "env/memory_disk.h"
#include "metaserver/local_log.h"
#include "test/support/failing_disk.h"
#include "test/support/failing_rocks.h"

namespace cairn {

class HandClock final : public kj::Clock {
 public:
  kj::Date now() const override { return time; }
  void advance(kj::Duration duration) { time += duration; }
  int64_t ns() const { return (time - kj::UNIX_EPOCH) / kj::NANOSECONDS; }

 private:
  kj::Date time = kj::UNIX_EPOCH + 1'000'000 * kj::SECONDS;
};

struct NodeOptions {
  FileType type = FileType::REGULAR;
  uint16_t mode = 0644;
  uint32_t uid = 1000, gid = 1000;
  uint32_t device = 0;
  kj::StringPtr target = "";
  bool exclusive = true;
};

class MetadataWorld {
 public:
  static constexpr ClusterId CLUSTER{0x1122334455667788, 0x99aabbccddeeff00};

  explicit MetadataWorld(CommitMode commit = CommitMode::MEMORY)
      : rocksEnv(rocksdb::NewMemEnv(rocksdb::Env::Default())) {
    options.commit = commit;
    options.founding.cluster = CLUSTER;
    options.founding.uid = options.founding.gid = 0;
  }
  ~MetadataWorld() noexcept(false) { kill(); }

  // -- life and death
  void start() {
    names = Namespace::open(
        {.path = "/names", .env = &failingRocks, .cacheBytes = 8 << 20, .memtableBytes = 1 << 20});
    log = LocalLog::open(failing, "log", *KJ_REQUIRE_NONNULL(names), clock, copyOf(options), logger())
              .wait(scope);
  }
  std::string whyItDoesNotStart() {
    // The sentence for the user; empty if it starts.
    std::string why;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { start(); }))
      why = exception->getDescription().cStr();
    if (!why.empty()) kill();
    return why;
  }
  void kill() {  // as kill -9: without a flush, without a goodbye
    log = nullptr;
    names = nullptr;
  }
  void killAndRestart(uint64_t seed = 1) {
    kill();
    disk.killProcess(seed);
    start();
  }
  void losePowerAndRestart(uint64_t seed = 1) {
    kill();
    disk.losePower(seed);
    start();
  }
  void stop() {
    theLog().close().wait(scope);
    kill();
  }

  // -- the parts
  LocalLog& theLog() { return *KJ_REQUIRE_NONNULL(log); }
  Namespace& theNames() { return *KJ_REQUIRE_NONNULL(names); }
  const NamespaceReader& read() { return theNames().read(); }
  const NamespaceState& state() { return theNames().state(); }
  env::Logger logger() {
    auto sink =
        env::newFunctionSink([this](kj::Date, env::LogLevel level, kj::StringPtr, kj::StringPtr text) {
          if (level >= env::LogLevel::WARNING) trace += std::string(text.cStr()) + "\n";
        });
    return env::Logger(kj::mv(sink), clock, env::LogLevel::INFO, "test");
  }
  static LocalLogOptions copyOf(const LocalLogOptions& from) {
    LocalLogOptions to;
    to.commit = from.commit;
    to.segmentBytes = from.segmentBytes;
    to.reserveBytes = from.reserveBytes;
    to.boot = from.boot;
    KJ_IF_MAYBE (cluster, from.cluster) to.cluster = *cluster;
    to.founding = from.founding;
    return to;
  }

  Outcome propose(kj::Own<LoggedOperation> operation) {
    return theLog().propose(kj::mv(operation)).wait(scope);
  }

  template <typename Fill>
  Outcome own(Fill&& fill) {  // an operation of the metaserver itself
    auto operation = kj::heap<LoggedOperation>();
    fill(operation->body());
    return propose(kj::mv(operation));
  }
  Status sync() { return theLog().durable(LogIndex()).wait(scope); }

  SessionId openSession(kj::StringPtr name = "a client") {
    auto outcome = own([&](auto body) {
      auto request = body.initOpenSession();
      request.setHost("host");
      request.setName(name);
    });
    return SessionId(outcome.number);
  }
  ChunkHandle attach(InodeId inode, uint64_t index) {
    auto handle = own([](auto body) { body.setReserveHandles(1); }).number;
    auto outcome = attach(inode, index, handle);
    return outcome.ok() ? ChunkHandle(handle) : ChunkHandle();
  }
  Outcome attach(InodeId inode, uint64_t index, uint64_t handle) {
    return own([&](auto body) {
      auto request = body.initAttachChunk();
      request.setInode(inode.value());
      request.setChunkIndex(index);
      request.setHandle(handle);
    });
  }
  Outcome ownChunk(InodeId inode, uint64_t index, uint64_t shared, uint64_t version, uint64_t own) {
    return this->own([&](auto body) {
      auto request = body.initOwnChunk();
      request.setOwner(inode.value());
      request.setPlace(index);
      request.setShared(shared);
      request.setSharedVersion(version);
      request.setOwn(own);
    });
  }
  Outcome raise(ChunkHandle handle, uint64_t from) {
    return own([&](auto body) {
      auto request = body.initRaiseVersion();
      request.setRaised(handle.value());
      request.setFrom(from);
    });
  }
  Outcome confirm(ChunkHandle handle, uint64_t version, uint32_t truncated = ALL_BYTES_VALID) {
    return own([&](auto body) {
      auto request = body.initConfirmVersion();
      request.setConfirmed(handle.value());
      request.setVersion(version);
      request.setTruncated(truncated);
    });
  }
  Outcome purge(std::initializer_list<InodeId> inodes) {
    return own([&](auto body) {
      auto list = body.initPurge(unsigned(inodes.size()));
      unsigned i = 0;
      for (auto inode : inodes) list.set(i++, inode.value());
    });
  }

  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  HandClock clock;
  env::MemoryDisk disk;
  FailingDisk failing{disk};  // what the log stands on
  std::unique_ptr<rocksdb::Env> rocksEnv;
  FailingRocks failingRocks{*rocksEnv};  // what the namespace stands on
  LocalLogOptions options;
  std::string trace;  // warnings and errors, a line each

 private:
  kj::Maybe<kj::Own<Namespace>> names;
  kj::Maybe<kj::Own<LocalLog>> log;
};

class Client {
  // One session: numbers its changes, as rpc/metaserver.capnp Change asks.
 public:
  explicit Client(MetadataWorld& world) : world(world), session(world.openSession()) {}

  template <typename Fill>
  kj::Own<LoggedOperation> prepare(Fill&& fill) {
    auto operation = kj::heap<LoggedOperation>();
    operation->body().setSession(session.value());
    operation->body().setUnheld(unheld.value());
    auto change = operation->body().initChange();
    change.setSequence(++sequence);
    change.setAnswered(acknowledge ? sequence - 1 : 0);
    change.initCaller().setUid(uid);
    change.getCaller().setGid(gid);
    fill(change);
    return operation;
  }
  template <typename Fill>
  Outcome change(Fill&& fill) {
    return world.propose(prepare(fill));
  }

  Outcome create(InodeId parent, kj::StringPtr name, NodeOptions options = {}) {
    uid = options.uid, gid = options.gid;
    return change([&](auto change) {
      auto request = change.initCreate();
      request.setParent(parent.value());
      request.setName(name);
      request.setType(options.type);
      request.setMode(options.mode);
      request.setDevice(options.device);
      request.setTarget(options.target);
      request.setExclusive(options.exclusive);
    });
  }
  InodeId file(InodeId parent, kj::StringPtr name) { return made(create(parent, name)); }
  InodeId directory(InodeId parent, kj::StringPtr name) {
    return made(create(parent, name, {.type = FileType::DIRECTORY, .mode = 0755}));
  }
  InodeId symlink(InodeId parent, kj::StringPtr name, kj::StringPtr target) {
    return made(create(parent, name, {.type = FileType::SYMLINK, .target = target}));
  }
  Outcome link(InodeId inode, InodeId parent, kj::StringPtr name) {
    return change([&](auto change) {
      auto request = change.initLink();
      request.setInode(inode.value());
      request.setParent(parent.value());
      request.setName(name);
    });
  }
  Outcome unlink(InodeId parent, kj::StringPtr name) {
    return change([&](auto change) {
      auto request = change.initUnlink();
      request.setParent(parent.value());
      request.setName(name);
    });
  }
  Outcome rmdir(InodeId parent, kj::StringPtr name) {
    return change([&](auto change) {
      auto request = change.initRmdir();
      request.setParent(parent.value());
      request.setName(name);
    });
  }
  Outcome rename(InodeId parent, kj::StringPtr name, InodeId newParent, kj::StringPtr newName,
                 uint32_t flags = 0) {
    return change([&](auto change) {
      auto request = change.initRename();
      request.setParent(parent.value());
      request.setName(name);
      request.setNewParent(newParent.value());
      request.setNewName(newName);
      request.setFlags(flags);
    });
  }
  template <typename Fill>
  Outcome set(InodeId inode, uint32_t bits, Fill&& fill) {
    return change([&](auto change) {
      auto request = change.initSetAttributes();
      request.setInode(inode.value());
      request.setSet(bits);
      fill(request);
    });
  }
  Outcome truncate(InodeId inode, uint64_t size) {
    return set(inode, rpc::SET_SIZE, [&](auto request) { request.setSize(size); });
  }
  Outcome publish(InodeId inode, uint64_t length, int64_t modified = 0) {
    return change([&](auto change) {
      auto request = change.initPublish();
      request.setFile(inode.value());
      request.setLength(length);
      request.setModified(modified);
    });
  }
  Outcome share(InodeId source, uint64_t first, InodeId target, uint64_t toFirst, uint64_t bytes) {
    // With the handles that are there, as the metaserver fills them in.
    return change([&](auto change) {
      auto request = change.initShare();
      request.setSource(source.value());
      request.setFromChunk(first);
      request.setTarget(target.value());
      request.setToChunk(toFirst);
      request.setBytes(bytes);
      auto handles = request.initHandles(unsigned((bytes + CHUNK_SIZE - 1) / CHUNK_SIZE));
      for (unsigned i = 0; i < handles.size(); ++i) {
        handles.set(i, world.read().chunkAt(source, ChunkIndex(first + i)).value());
      }
    });
  }
  Outcome setXattr(InodeId inode, kj::StringPtr key, kj::StringPtr value, uint32_t flags = 0) {
    return change([&](auto change) {
      auto request = change.initSetXattr();
      request.setOwner(inode.value());
      request.setKey(key);
      request.setValue(value.asBytes());
      request.setFlags(flags);
    });
  }
  Outcome removeXattr(InodeId inode, kj::StringPtr key) {
    return change([&](auto change) {
      auto request = change.initRemoveXattr();
      request.setFrom(inode.value());
      request.setAttribute(key);
    });
  }

  static InodeId made(Outcome outcome) {
    KJ_ASSERT(outcome.ok(), outcome.status);
    return KJ_REQUIRE_NONNULL(outcome.attributes).inode;
  }

  MetadataWorld& world;
  SessionId session;
  uint64_t sequence = 0;
  bool acknowledge = true;
  uint32_t uid = 1000, gid = 1000;
  InodeId unheld;
};

inline std::ostream& operator<<(std::ostream& out, Status status) {
  return out << kj::str(status).cStr();
}

template <typename Tag, typename Rep>
std::ostream& operator<<(std::ostream& out, Strong<Tag, Rep> value) {
  return out << value.value();
}

}  // namespace cairn

namespace cairn::rpc {
inline void PrintTo(Status status, std::ostream* out) {
  *out << kj::str(status).cStr();
}
}  // namespace cairn::rpc
