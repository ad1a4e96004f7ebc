// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/store_index.h"

#include <errno.h>
#include <kj/debug.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>

namespace cairn {

namespace {

Status statusOf(const rocksdb::Status& status) {
  if (status.ok()) return Status::OK;
  return status.IsNoSpace() ? Status::NO_SPACE : Status::IO_ERROR;
}

rocksdb::Slice sliceOf(kj::ArrayPtr<const kj::byte> bytes) {
  return rocksdb::Slice(bytes.asChars().begin(), bytes.size());
}

kj::ArrayPtr<const kj::byte> bytesOf(rocksdb::Slice slice) {
  return kj::arrayPtr(slice.data(), slice.size()).asBytes();
}

rocksdb::Options optionsOf(rocksdb::Env& environment) {
  rocksdb::Options options;
  options.env = &environment;
  options.create_if_missing = true;
  options.write_buffer_size = 4 << 20;  // a record is 24 bytes: a hundred thousand changes
  options.max_background_jobs = 2;
  options.max_open_files = 64;
  options.keep_log_file_num = 2;
  options.max_log_file_size = 1 << 20;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.compression = rocksdb::kNoCompression;
  return options;
}

rocksdb::Status syncLog(rocksdb::DB& database) {
  // Not a write with sync: a put on the loop would queue behind it. In-memory environments know only that.
  auto status = database.SyncWAL();
  if (!status.IsNotSupported()) return status;
  rocksdb::WriteOptions options;
  options.sync = true;
  rocksdb::WriteBatch nothing;
  return database.Write(options, &nothing);
}

}  // namespace

StoreIndex::StoreIndex(std::unique_ptr<rocksdb::DB> database, env::Worker& worker)
    : database(std::move(database)), worker(worker) {
  load();
}

StoreIndex::~StoreIndex() noexcept(false) = default;

StoreIndex::Opened StoreIndex::open(kj::StringPtr path, rocksdb::Env& environment, env::Worker& worker,
                                    Access access) {
  rocksdb::DB* database = nullptr;
  auto options = optionsOf(environment);
  auto status = access == Access::SERVE ? rocksdb::DB::Open(options, path.cStr(), &database)
                                        : rocksdb::DB::OpenForReadOnly(options, path.cStr(), &database);
  if (!status.ok()) return {nullptr, kj::str(status.ToString().c_str())};
  std::unique_ptr<rocksdb::DB> owned(database);
  return {kj::Own<StoreIndex>(new StoreIndex(std::move(owned), worker),
                              kj::_::HeapDisposer<StoreIndex>::instance),
          kj::String()};
}

void StoreIndex::load() {
  std::unique_ptr<rocksdb::Iterator> iterator(database->NewIterator(rocksdb::ReadOptions()));
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
    KJ_IF_MAYBE (handle, decodeIndexKey(bytesOf(iterator->key()))) {
      KJ_IF_MAYBE (record, decodeIndexRecord(bytesOf(iterator->value()))) {
        records.emplace_hint(records.end(), *handle, *record);
      } else {
        unreadableHandles.add(*handle);
      }
    }
  }
  KJ_REQUIRE(iterator->status().ok(), "the index of the store cannot be read", iterator->status().ToString());
}

IndexRecord* StoreIndex::find(ChunkHandle handle) {
  auto found = records.find(handle);
  return found == records.end() ? nullptr : &found->second;
}

const IndexRecord* StoreIndex::find(ChunkHandle handle) const {
  auto found = records.find(handle);
  return found == records.end() ? nullptr : &found->second;
}

Status StoreIndex::put(ChunkHandle handle, const IndexRecord& record) {
  kj::byte key[INDEX_KEY_SIZE], value[INDEX_RECORD_SIZE];
  encodeIndexKey(handle, key);
  encodeIndexRecord(record, value);
  auto status = database->Put(rocksdb::WriteOptions(), sliceOf(key), sliceOf(value));
  if (!status.ok()) return statusOf(status);
  records[handle] = record;
  changes++;
  return Status::OK;
}

Status StoreIndex::remove(ChunkHandle handle) {
  kj::byte key[INDEX_KEY_SIZE];
  encodeIndexKey(handle, key);
  auto status = database->Delete(rocksdb::WriteOptions(), sliceOf(key));
  if (!status.ok()) return statusOf(status);
  records.erase(handle);
  changes++;
  return Status::OK;
}

kj::Promise<Status> StoreIndex::sync() {
  if (changesSynced == changes) return Status::OK;
  return syncs
      .join([this]() -> kj::Promise<env::IoOutcome> {
        auto failure = kj::heap<rocksdb::Status>();
        auto& status = *failure;
        uint64_t covered = changes;
        return worker.run([this, &status] { status = syncLog(*database); })
            .then([this, &status, covered] {
              if (status.ok()) changesSynced = kj::max(changesSynced, covered);
              return env::IoOutcome{0, status.ok() ? 0 : status.IsNoSpace() ? ENOSPC : EIO};
            })
            .attach(kj::mv(failure));
      })
      .then([](env::IoOutcome outcome) {
        return outcome.ok() ? Status::OK : outcome.error == ENOSPC ? Status::NO_SPACE : Status::IO_ERROR;
      });
}

}  // namespace cairn
