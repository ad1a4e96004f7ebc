// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A place for a chunk store in tests: a disk in memory or a real one, a RocksDB that survives the store
// object, a hand-set timer, and a small vocabulary (create, write, read, sync, restart).
#pragma once

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/compat/http.h>
#include <kj/debug.h>
#include <rocksdb/env.h>
#include <stdlib.h>
#include <string.h>

#include <filesystem>
#include <random>
#include <string>

#include "chunkd/chunk_store.h"
#include "env/checksum.h"
#include "env/memory_disk.h"
#include "env/worker.h"

namespace cairn {

class SeededEntropy final : public kj::EntropySource {
 public:
  explicit SeededEntropy(unsigned seed = 7) : random(seed) {}
  void generate(kj::ArrayPtr<kj::byte> buffer) override {
    for (auto& byte : buffer) byte = kj::byte(random());
  }

 private:
  std::mt19937 random;
};

inline kj::Array<kj::byte> pattern(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  auto bytes = kj::heapArray<kj::byte>(size);
  for (auto& byte : bytes) byte = kj::byte(random());
  return bytes;
}

inline kj::Array<uint32_t> pieceSums(kj::ArrayPtr<const kj::byte> data, uint32_t offset) {
  // As a client makes them: one sum per piece cut at block boundaries of the chunk, short pieces as they are.
  kj::Vector<uint32_t> sums;
  for (size_t at = 0; at < data.size();) {
    size_t step = kj::min(BLOCK_SIZE - (offset + at) % BLOCK_SIZE, data.size() - at);
    sums.add(env::crc32c(data.slice(at, at + step)));
    at += step;
  }
  return sums.releaseAsArray();
}

inline std::string text(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.asChars().begin(), bytes.size());
}

constexpr ClusterId TEST_CLUSTER{0x1122, 0x3344};
constexpr kj::StringPtr FIRST_BOOT = "11111111-boot"_kj;
constexpr kj::StringPtr SECOND_BOOT = "22222222-boot"_kj;

struct LogLines {
  std::string lines;
  env::Logger log{env::newFunctionSink([this](kj::Date, env::LogLevel, kj::StringPtr, kj::StringPtr line) {
                    lines += line.cStr();
                    lines += "\n";
                  }),
                  kj::nullClock(), env::LogLevel::INFO, "store"};
  bool has(const char* part) const { return lines.find(part) != std::string::npos; }
};

class StoreHouse {
  // Restarting it is what a daemon's death and new start do to a store.
 public:
  StoreHouse(env::Disk& disk, kj::StringPtr path, rocksdb::Env& rocksdbEnv, kj::WaitScope& waitScope)
      : disk(disk), path(kj::str(path)), rocksdbEnv(rocksdbEnv), waitScope(waitScope) {}

  env::Disk& disk;
  kj::String path;
  rocksdb::Env& rocksdbEnv;
  kj::WaitScope& waitScope;
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  SeededEntropy entropy;
  kj::Own<env::Worker> worker = env::newInlineWorker();
  LogLines log;
  uint64_t reserveBytes = 0;
  size_t liveChunks = 1024;
  kj::Maybe<kj::Own<ChunkStore>> current;

  kj::String tryOpen(kj::StringPtr boot = FIRST_BOOT) {
    current = nullptr;
    auto opened = ChunkStore::open(environment(), options(boot)).wait(waitScope);
    current = kj::mv(opened.store);
    return kj::mv(opened.refusal);
  }
  ChunkStore& open(kj::StringPtr boot = FIRST_BOOT) {
    auto refusal = tryOpen(boot);
    KJ_ASSERT(current != nullptr, refusal);
    if (!store().identity().cluster) {
      KJ_ASSERT(store().join(TEST_CLUSTER, ServerId(3), Epoch(1)).wait(waitScope) == Status::OK);
    }
    return store();
  }
  StoreEnvironment environment() { return {disk, rocksdbEnv, *worker, timer, entropy, log.log}; }
  StoreOptions options(kj::StringPtr boot) {
    StoreOptions options;
    options.path = path;
    options.boot = boot;
    options.reserveBytes = reserveBytes;
    options.liveChunks = liveChunks;
    return options;
  }
  ChunkStore& store() { return *KJ_ASSERT_NONNULL(current); }

  // -- vocabulary
  ChunkKey create(uint64_t handle, uint64_t version = 1) {
    ChunkKey key{ChunkHandle(handle), ChunkVersion(version)};
    auto answer = store().adopt({key.handle, ChunkVersion(0), key.version, nullptr}).wait(waitScope);
    KJ_ASSERT(answer.status == Status::OK, answer.status);
    return key;
  }
  ChunkKey raise(ChunkKey key, uint64_t version, kj::Maybe<uint32_t> truncate = nullptr) {
    auto answer = store().adopt({key.handle, key.version, ChunkVersion(version), truncate}).wait(waitScope);
    KJ_ASSERT(answer.status == Status::OK, answer.status);
    return {key.handle, ChunkVersion(version)};
  }
  Status write(ChunkKey key, uint32_t offset, kj::ArrayPtr<const kj::byte> data) {
    auto sums = pieceSums(data, offset);
    return store().write(key, offset, data, sums).wait(waitScope);
  }
  struct Bytes {
    Status status;
    std::string bytes;
    bool valid = true;  // every block matches its checksum
  };
  Bytes read(ChunkKey key, uint32_t offset, uint32_t size,
             ChunkStore::Suspects suspects = ChunkStore::Suspects::REFUSED) {
    auto buffer = kj::heapArray<kj::byte>(size);
    auto sums = kj::heapArray<uint32_t>(env::blocksOf(size));
    auto answer = store().read(key, offset, buffer, sums, suspects).wait(waitScope);
    Bytes bytes{answer.status, text(buffer.slice(0, answer.bytes))};
    for (size_t i = 0; i < env::blocksOf(answer.bytes); i++) {
      auto block = buffer.slice(i * BLOCK_SIZE, kj::min((i + 1) * BLOCK_SIZE, size_t(answer.bytes)));
      if (env::blockChecksum(block) != sums[i]) bytes.valid = false;
    }
    return bytes;
  }
  Status sync(ChunkKey key) { return store().sync(key).wait(waitScope); }
  Status verify(ChunkKey key) { return store().verify(key).wait(waitScope).status; }
  void advance(kj::Duration duration) {
    // In steps, as time passes: a sleeper sees each second.
    for (auto end = timer.now() + duration; timer.now() < end;) {
      timer.advanceTo(kj::min(end, timer.now() + 1 * kj::SECONDS));
      kj::Promise<void>(kj::NEVER_DONE).poll(waitScope);
    }
  }
};

struct MemoryHouse {
  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  env::MemoryDisk disk;
  std::unique_ptr<rocksdb::Env> rocksdbEnv{rocksdb::NewMemEnv(rocksdb::Env::Default())};
  StoreHouse house{disk, "/store", *rocksdbEnv, waitScope};
  ~MemoryHouse() noexcept(false) { house.current = nullptr; }
};

struct TemporaryDirectory {
  std::string path = "/tmp/cairn-chunkd-test-XXXXXX";
  TemporaryDirectory() { KJ_ASSERT(mkdtemp(path.data()) != nullptr); }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
};

}  // namespace cairn
