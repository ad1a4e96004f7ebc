// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See rocks_env.h. RocksDB calls from its own threads, so there is a lock here.
#include "test/sim/rocks_env.h"

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace cairn::sim {

using rocksdb::EnvOptions;
using rocksdb::Slice;
using rocksdb::Status;

struct RocksDisk::Files {
  // What was written and what was synced, by name. The bytes are in `env`.
  std::unique_ptr<rocksdb::Env> env{rocksdb::NewMemEnv(rocksdb::Env::Default())};
  std::mutex lock;
  struct Sizes {
    uint64_t written = 0, synced = 0;
  };
  std::map<std::string, std::shared_ptr<Sizes>> sizes;

  std::shared_ptr<Sizes> begin(const std::string& name) {
    std::lock_guard guard(lock);
    return sizes[name] = std::make_shared<Sizes>();
  }
};

namespace {
Status dead() {
  return Status::IOError("the process is dead");
}
}  // namespace

class RocksDisk::Life final : public rocksdb::EnvWrapper {
 public:
  explicit Life(std::shared_ptr<Files> files) : EnvWrapper(files->env.get()), files(std::move(files)) {}
  const char* Name() const override { return "RocksDisk"; }

  std::atomic<bool> ended{false};

  Status NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* result,
                         const EnvOptions& options) override {
    if (ended) return dead();
    auto status = target()->NewWritableFile(name, result, options);
    if (status.ok()) *result = std::make_unique<File>(*this, files->begin(name), std::move(*result));
    return status;
  }
  Status ReopenWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* result,
                            const EnvOptions& options) override {
    return Status::NotSupported("RocksDB reopens no file here: " + name);
  }
  Status ReuseWritableFile(const std::string& name, const std::string& old,
                           std::unique_ptr<rocksdb::WritableFile>* result,
                           const EnvOptions& options) override {
    auto status = RenameFile(old, name);
    return status.ok() ? NewWritableFile(name, result, options) : status;
  }
  Status DeleteFile(const std::string& name) override {
    if (ended) return dead();
    std::lock_guard guard(files->lock);
    files->sizes.erase(name);
    return target()->DeleteFile(name);
  }
  Status RenameFile(const std::string& from, const std::string& to) override {
    if (ended) return dead();
    std::lock_guard guard(files->lock);
    auto status = target()->RenameFile(from, to);
    if (!status.ok()) return status;
    auto found = files->sizes.find(from);
    if (found != files->sizes.end()) {
      files->sizes[to] = found->second;
      files->sizes.erase(found);
    }
    return status;
  }
  Status Truncate(const std::string& name, size_t size) override {
    return Status::NotSupported("truncate " + name);
  }
  Status CreateDir(const std::string& name) override { return ended ? dead() : target()->CreateDir(name); }
  Status CreateDirIfMissing(const std::string& name) override {
    return ended ? dead() : target()->CreateDirIfMissing(name);
  }
  Status DeleteDir(const std::string& name) override { return ended ? dead() : target()->DeleteDir(name); }

  // One process at a time is the simulator's own rule, and the lock of a dead one is gone.
  Status LockFile(const std::string&, rocksdb::FileLock** lock) override {
    *lock = new rocksdb::FileLock;
    return Status::OK();
  }
  Status UnlockFile(rocksdb::FileLock* lock) override {
    delete lock;
    return Status::OK();
  }

 private:
  std::shared_ptr<Files> files;

  class File final : public rocksdb::WritableFileWrapper {
   public:
    File(Life& life, std::shared_ptr<Files::Sizes> sizes, std::unique_ptr<rocksdb::WritableFile> file)
        : WritableFileWrapper(file.get()), life(life), sizes(std::move(sizes)), file(std::move(file)) {}

    Status Append(const Slice& data) override {
      if (life.ended) return dead();
      std::lock_guard guard(life.files->lock);
      sizes->written += data.size();
      return file->Append(data);
    }
    Status Append(const Slice& data, const rocksdb::DataVerificationInfo&) override { return Append(data); }
    Status PositionedAppend(const Slice&, uint64_t) override { return Status::NotSupported("direct I/O"); }
    Status PositionedAppend(const Slice&, uint64_t, const rocksdb::DataVerificationInfo&) override {
      return Status::NotSupported("direct I/O");
    }
    Status Truncate(uint64_t size) override {
      if (life.ended) return dead();
      return file->Truncate(size);
    }
    Status Flush() override { return life.ended ? dead() : file->Flush(); }
    Status Sync() override {
      if (life.ended) return dead();
      std::lock_guard guard(life.files->lock);
      sizes->synced = sizes->written;
      return file->Sync();
    }
    Status Fsync() override { return Sync(); }
    Status Close() override { return life.ended ? dead() : file->Close(); }

   private:
    Life& life;
    std::shared_ptr<Files::Sizes> sizes;
    std::unique_ptr<rocksdb::WritableFile> file;
  };
};

RocksDisk::RocksDisk() : files(std::make_shared<Files>()) {}
RocksDisk::~RocksDisk() = default;

rocksdb::Env* RocksDisk::newLife() {
  killProcess();
  lives.push_back(std::make_unique<Life>(files));
  return lives.back().get();
}

void RocksDisk::killProcess() {
  if (!lives.empty()) lives.back()->ended = true;
}

void RocksDisk::losePower(SeededEntropy& entropy) {
  killProcess();
  std::lock_guard guard(files->lock);
  for (auto& [name, sizes] : files->sizes) {
    if (sizes->synced == sizes->written) continue;
    auto keep = entropy.between(sizes->synced, sizes->written);
    std::string content;
    if (!rocksdb::ReadFileToString(files->env.get(), name, &content).ok()) continue;
    content.resize(std::min<size_t>(content.size(), keep));
    files->env->DeleteFile(name);
    rocksdb::WriteStringToFile(files->env.get(), content, name, true);
    sizes->written = sizes->synced = content.size();
  }
}

}  // namespace cairn::sim
