// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The environment of a RocksDB of which one write fails, by its number, as a FailingDisk does for our own
// files: what creates, extends, syncs or renames a file counts. RocksDB calls from its own threads, so what
// is counted has a lock. It takes no more writes after a failure until it is opened anew.
#pragma once

#include <errno.h>
#include <rocksdb/env.h>

#include <memory>
#include <mutex>
#include <string>

namespace cairn {

class FailingRocks final : public rocksdb::EnvWrapper {
 public:
  explicit FailingRocks(rocksdb::Env& env) : EnvWrapper(&env) {}
  const char* Name() const override { return "FailingRocks"; }

  enum class Until { ONCE, FOR_GOOD };
  void failFrom(uint64_t write, int error, Until until) {
    // Counted from now on, from 1.
    std::lock_guard guard(lock);
    left = write;
    failure = error;
    forGood = until == Until::FOR_GOOD;
    met = false;
  }
  void recover() {
    std::lock_guard guard(lock);
    left = 0;
  }
  bool hasFailed() const {
    std::lock_guard guard(lock);
    return met;
  }

  rocksdb::Status NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* result,
                                  const rocksdb::EnvOptions& options) override {
    auto status = next();
    if (status.ok()) status = target()->NewWritableFile(name, result, options);
    if (status.ok()) *result = std::make_unique<File>(*this, std::move(*result));
    return status;
  }
  rocksdb::Status RenameFile(const std::string& from, const std::string& to) override {
    auto status = next();
    return status.ok() ? target()->RenameFile(from, to) : status;
  }

 private:
  class File final : public rocksdb::WritableFileWrapper {
   public:
    File(FailingRocks& rocks, std::unique_ptr<rocksdb::WritableFile> file)
        : WritableFileWrapper(file.get()), rocks(rocks), file(std::move(file)) {}

    rocksdb::Status Append(const rocksdb::Slice& data) override {
      auto status = rocks.next();
      if (status.ok()) return file->Append(data);
      // Half of it is there, as a disk that fails may leave it.
      (void)file->Append(rocksdb::Slice(data.data(), data.size() / 2));
      return status;
    }
    rocksdb::Status Append(const rocksdb::Slice& data, const rocksdb::DataVerificationInfo&) override {
      return Append(data);
    }
    rocksdb::Status Sync() override {
      auto status = rocks.next();
      return status.ok() ? file->Sync() : status;
    }
    rocksdb::Status Fsync() override { return Sync(); }

   private:
    FailingRocks& rocks;
    std::unique_ptr<rocksdb::WritableFile> file;
  };

  mutable std::mutex lock;
  uint64_t left = 0;
  int failure = 0;
  bool forGood = false, met = false;

  rocksdb::Status next() {
    std::lock_guard guard(lock);
    if (left == 0 || --left > 0) return rocksdb::Status::OK();
    met = true;
    left = forGood;
    return failure == ENOSPC ? rocksdb::Status::NoSpace("the test says so")
                             : rocksdb::Status::IOError("the test says so");
  }
};

}  // namespace cairn
