// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A disk of which one call fails, by its number: for running a story again and again, with the failure one
// call further on each time.
#pragma once

#include "env/disk.h"

namespace cairn {

class FailingDisk final : public env::Disk {
 public:
  explicit FailingDisk(env::Disk& disk) : disk(disk) {}

  enum class Until {
    ONCE,
    FOR_GOOD,
    READS_FOR_GOOD,    // that call, and then all that read a file
    CHANGES_FOR_GOOD,  // that call, and then all but those that look
  };
  void failFrom(uint64_t call, int error, Until untilWhen) {
    // Counted from now on, from 1; each call that may fail counts.
    left = call;
    failure = error;
    until = untilWhen;
    met = false;
  }
  void recover() { left = 0; }

  enum class Kept { SYNCS, WRITES };
  void hold(Kept kind) {
    // Those of files wait from now on; whether they fail is decided when they are let go.
    auto pair = kj::newPromiseAndFulfiller<void>();
    auto& gate = kind == Kept::SYNCS ? syncs : writes;
    gate.opening = kj::mv(pair.fulfiller);
    gate.opened = pair.promise.fork();
  }
  void letGo(Kept kind) {
    auto& gate = kind == Kept::SYNCS ? syncs : writes;
    gate.opening->fulfill();
    gate.opened = nullptr;
  }
  bool hasFailed() const { return met; }

  kj::Promise<env::OpenOutcome> open(kj::StringPtr path, env::OpenMode mode) override {
    if (fails(Kind::LOOK)) return env::OpenOutcome{nullptr, failure};
    return disk.open(path, mode).then([this](env::OpenOutcome&& opened) {
      KJ_IF_MAYBE (file, opened.file)
        return env::OpenOutcome{kj::Own<env::DiskFile>(kj::heap<File>(*this, kj::mv(*file))), 0};
      return kj::mv(opened);
    });
  }
  kj::Promise<env::IoOutcome> remove(kj::StringPtr path) override {
    return failOr([&]() { return disk.remove(path); });
  }
  kj::Promise<env::IoOutcome> rename(kj::StringPtr from, kj::StringPtr to) override {
    return failOr([&]() { return disk.rename(from, to); });
  }
  kj::Promise<env::IoOutcome> makeDirectory(kj::StringPtr path) override {
    return failOr([&]() { return disk.makeDirectory(path); });
  }
  kj::Promise<env::ListOutcome> list(kj::StringPtr directory) override {
    if (fails(Kind::LOOK)) return env::ListOutcome{{}, failure};
    return disk.list(directory);
  }
  kj::Promise<env::IoOutcome> syncDirectory(kj::StringPtr directory) override {
    return failOr([&]() { return disk.syncDirectory(directory); });
  }
  kj::Promise<env::IoOutcome> syncEverything() override {
    return failOr([&]() { return disk.syncEverything(); });
  }
  env::SpaceOutcome space() override {
    return fails(Kind::LOOK) ? env::SpaceOutcome{0, 0, failure} : disk.space();
  }
  env::MapOutcome map(kj::StringPtr path, size_t size) override {
    return fails() ? env::MapOutcome{nullptr, failure} : disk.map(path, size);
  }
  env::LockOutcome lock(kj::StringPtr path) override {
    return fails() ? env::LockOutcome{nullptr, kj::String(), failure} : disk.lock(path);
  }

 private:
  class File final : public env::DiskFile {
   public:
    File(FailingDisk& disk, kj::Own<env::DiskFile> file) : disk(disk), file(kj::mv(file)) {}
    kj::Promise<env::IoOutcome> read(uint64_t offset, kj::ArrayPtr<kj::byte> into) override {
      return disk.failOr([&]() { return file->read(offset, into); }, Kind::READ);
    }
    kj::Promise<env::IoOutcome> write(uint64_t offset, env::Pieces pieces) override {
      KJ_IF_MAYBE (gate, disk.writes.opened) {
        return gate->addBranch().then(
            [this, offset, copy = kj::heapArray(pieces)]() { return writeNow(offset, copy); });
      }
      return writeNow(offset, pieces);
    }
    kj::Promise<env::IoOutcome> writeNow(uint64_t offset, env::Pieces pieces) {
      // Half of it is there, as a disk that fails may leave it.
      if (!disk.fails()) return file->write(offset, pieces);
      auto half = pieces[0].slice(0, pieces[0].size() / 2);
      return file->write(offset, kj::arrayPtr(&half, 1)).then([error = disk.failure](env::IoOutcome done) {
        return env::IoOutcome{done.bytes, error};
      });
    }
    kj::Promise<env::IoOutcome> sync() override {
      KJ_IF_MAYBE (gate, disk.syncs.opened) {
        return gate->addBranch().then([this]() { return disk.failOr([&]() { return file->sync(); }); });
      }
      return disk.failOr([&]() { return file->sync(); });
    }
    kj::Promise<env::IoOutcome> truncate(uint64_t size) override {
      return disk.failOr([&]() { return file->truncate(size); });
    }
    kj::Promise<env::IoOutcome> punch(uint64_t offset, uint64_t size) override {
      return disk.failOr([&]() { return file->punch(offset, size); });
    }
    kj::Promise<env::IoOutcome> cloneFrom(env::DiskFile& source) override {
      return disk.failOr([&]() { return file->cloneFrom(*kj::downcast<File>(source).file); });
    }
    kj::Promise<env::IoOutcome> size() override {
      return disk.failOr([&]() { return file->size(); }, Kind::LOOK);
    }
    kj::Maybe<int> descriptor() override { return file->descriptor(); }

   private:
    FailingDisk& disk;
    kj::Own<env::DiskFile> file;
  };

  enum class Kind { READ, LOOK, CHANGE };

  struct Gate {
    kj::Own<kj::PromiseFulfiller<void>> opening;
    kj::Maybe<kj::ForkedPromise<void>> opened;  // null: it is open
  };

  env::Disk& disk;
  Gate syncs, writes;
  uint64_t left = 0;
  int failure = 0;
  Until until = Until::ONCE;
  bool met = false;

  bool fails(Kind kind = Kind::CHANGE) {
    if (left == 0) return false;
    if (met) {
      return until == Until::FOR_GOOD || (until == Until::READS_FOR_GOOD && kind == Kind::READ) ||
             (until == Until::CHANGES_FOR_GOOD && kind == Kind::CHANGE);
    }
    if (left > 1) {
      --left;
      return false;
    }
    met = true;
    return true;
  }
  template <typename Call>
  kj::Promise<env::IoOutcome> failOr(Call call, Kind kind = Kind::CHANGE) {
    if (fails(kind)) return env::IoOutcome{0, failure};
    return call();
  }
};

}  // namespace cairn
