// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The store's table handle -> version, length, flags: all of it in memory (a start reads only this), every
// change in RocksDB. A change is in the write-ahead log's page cache when put() returns: it survives the
// process. sync() is the barrier for the machine; RocksDB's sync blocks, so it runs in the worker, shared by
// all who wait. Used by chunk_store.cc and inspect.cc.
#pragma once

#include <kj/async.h>
#include <kj/string.h>

#include <map>
#include <memory>

#include "chunkd/store_format.h"
#include "env/shared_sync.h"
#include "env/worker.h"
#include "rpc/result.h"

namespace rocksdb {
class DB;
class Env;
}  // namespace rocksdb

namespace cairn {

class StoreIndex {
 public:
  enum class Access { SERVE, INSPECT };  // INSPECT: read only, beside a daemon that serves

  struct Opened {
    kj::Maybe<kj::Own<StoreIndex>> index;
    kj::String reason;  // when null: what RocksDB said
  };
  static Opened open(kj::StringPtr path, rocksdb::Env& environment, env::Worker& worker, Access access);
  ~StoreIndex() noexcept(false);

  using Table = std::map<ChunkHandle, IndexRecord>;
  const Table& table() const { return records; }
  IndexRecord* find(ChunkHandle handle);  // null: there is none
  const IndexRecord* find(ChunkHandle handle) const;
  const kj::Vector<ChunkHandle>& unreadable() const { return unreadableHandles; }
  // Records this program cannot read; they are not in the table.

  Status put(ChunkHandle handle, const IndexRecord& record);
  Status remove(ChunkHandle handle);
  kj::Promise<Status> sync();

 private:
  std::unique_ptr<rocksdb::DB> database;
  env::Worker& worker;
  Table records;
  kj::Vector<ChunkHandle> unreadableHandles;
  uint64_t changes = 0;
  uint64_t changesSynced = 0;
  env::SharedSync syncs;

  StoreIndex(std::unique_ptr<rocksdb::DB> database, env::Worker& worker);
  void load();
};

}  // namespace cairn
