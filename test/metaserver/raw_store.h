// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The rows of a namespace store, changed behind the namespace's back: what a test damages it with.
#pragma once

#include <kj/debug.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>

#include <memory>
#include <string>

#include "metaserver/keys.h"
#include "metaserver/records.h"
#include "test/metaserver/metadata_world.h"

namespace cairn {

class RawStore {
 public:
  explicit RawStore(rocksdb::Env* env) {
    rocksdb::Options options;
    options.env = env;
    rocksdb::DB* opened = nullptr;
    KJ_ASSERT(rocksdb::DB::Open(options, "/names", &opened).ok());
    db.reset(opened);
  }
  ~RawStore() { KJ_ASSERT(db->Flush(rocksdb::FlushOptions()).ok()); }

  std::string get(const Key& key) {
    std::string value;
    KJ_ASSERT(db->Get(rocksdb::ReadOptions(), key.view(), &value).ok());
    return value;
  }
  void put(const Key& key, const std::string& value) {
    KJ_ASSERT(db->Put(rocksdb::WriteOptions(), key.view(), value).ok());
  }
  void erase(const Key& key) { KJ_ASSERT(db->Delete(rocksdb::WriteOptions(), key.view()).ok()); }
  template <typename Change>
  void inode(InodeId id, Change&& change) {
    auto node = decodeInode(id, get(Key(Table::INODES, id.value())));
    change(node);
    put(Key(Table::INODES, id.value()), encode(node));
  }
  template <typename Change>
  void chunk(ChunkHandle handle, Change&& change) {
    auto record = decodeChunk(get(Key(Table::CHUNKS, handle.value())));
    change(record);
    put(Key(Table::CHUNKS, handle.value()), encode(record));
  }
  template <typename Change>
  void state(Change&& change) {
    auto state = decodeState(get(Key(Table::STATE)));
    change(state);
    put(Key(Table::STATE), encode(state));
  }
  void name(InodeId directory, kj::StringPtr name, InodeId inode, FileType type = FileType::REGULAR) {
    Key key(Table::NAMES, directory.value(), placeOf(MetadataWorld::CLUSTER, name));
    put(key, KJ_ASSERT_NONNULL(NameBucket("").with(name, inode, type)));
  }
  void dropName(InodeId directory, kj::StringPtr name) {
    erase(Key(Table::NAMES, directory.value(), placeOf(MetadataWorld::CLUSTER, name)));
  }

 private:
  std::unique_ptr<rocksdb::DB> db;
};

}  // namespace cairn
