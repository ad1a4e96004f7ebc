// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A disk in memory for tests and the simulator. It can be slow, full or broken, flip bits, and die in the two
// ways that matter: the process is killed (what was written stays, a write under way is torn), or the machine
// loses power (each page and each directory entry that was not synced is kept, lost or torn, by the seed).
//
// Files live in the MemoryDisk; open DiskFiles, mappings and locks are ended by a death and answer EIO.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "env/disk.h"

namespace cairn::env {

class MemoryDisk final : public Disk {
 public:
  MemoryDisk();
  ~MemoryDisk() noexcept(false);

  // -- what a test may do to it
  void setDelay(kj::Timer& timer, kj::Duration delay);  // of each read, write and sync
  void setCapacity(uint64_t bytes);                     // beyond it: ENOSPC
  void failReads(int error) { readError = error; }      // 0 ends the failure
  void failWrites(int error) { writeError = error; }
  void failSyncs(int error) { syncError = error; }
  void allowClones() { clones = true; }            // files may share blocks, as on XFS and btrfs
  void flipBit(kj::StringPtr path, uint64_t bit);  // as a bad medium does: nobody is told
  enum class Spoil { LOSE, MISDIRECT };
  void spoilNextWrite(kj::StringPtr ending,
                      Spoil how);  // to a file of such a name; it is answered as if done
  std::vector<std::string> filesEndingWith(kj::StringPtr ending) const;
  uint64_t sizeOf(kj::StringPtr path);
  enum class Tear {
    ANYWHERE,       // harsher than Linux is
    BETWEEN_PAGES,  // as Linux: it copies a page at a time and looks for a fatal signal in between
  };
  void killProcess(uint64_t seed, Tear tear = Tear::ANYWHERE);
  enum class Unsynced { AT_RANDOM, LOST };
  void losePower(uint64_t seed, Unsynced unsynced = Unsynced::AT_RANDOM);
  // Power loss keeps: all that was synced; for every other page the old, the new or a mix of their 512-byte
  // sectors; of the unsynced directory changes the first so many, in the order they were made. With LOST:
  // the old of all.

  struct Counters {
    uint64_t reads = 0, writes = 0, syncs = 0, clones = 0, bytesWritten = 0;
  };
  const Counters& counters() const { return count; }
  kj::Array<kj::byte> contents(kj::StringPtr path);  // throws if there is no such file
  void replaceContents(kj::StringPtr path, kj::ArrayPtr<const kj::byte> bytes);  // creates it; as if synced
  bool exists(kj::StringPtr path);

  // -- Disk
  kj::Promise<OpenOutcome> open(kj::StringPtr path, OpenMode mode) override;
  kj::Promise<IoOutcome> remove(kj::StringPtr path) override;
  kj::Promise<IoOutcome> rename(kj::StringPtr from, kj::StringPtr to) override;
  kj::Promise<IoOutcome> makeDirectory(kj::StringPtr path) override;
  kj::Promise<ListOutcome> list(kj::StringPtr directory) override;
  kj::Promise<IoOutcome> syncDirectory(kj::StringPtr directory) override;
  kj::Promise<IoOutcome> syncEverything() override;
  SpaceOutcome space() override;
  MapOutcome map(kj::StringPtr path, size_t size) override;
  LockOutcome lock(kj::StringPtr path) override;

 private:
  struct Node;
  class OpenFile;
  class Mapping;
  class Lock;
  using Tree = std::map<std::string, std::shared_ptr<Node>>;  // a directory is a path with a null node

  Tree tree;
  struct Before {
    std::string path;
    bool existed;
    std::shared_ptr<Node> node;
  };
  kj::Vector<kj::Vector<Before>> unsyncedChanges;  // what undoes each directory change, oldest first
  std::set<std::string> locks;
  uint64_t life = 0;  // raised by each death: older OpenFiles, mappings and locks are dead
  kj::Maybe<kj::Timer&> timer;
  kj::Duration delay = 0 * kj::SECONDS;
  uint64_t capacity = UINT64_MAX;
  uint64_t used = 0;  // in pages that exist, bytes
  int readError = 0, writeError = 0, syncError = 0;
  bool clones = false;
  kj::Maybe<Spoil> spoil;  // of the next write to a file whose name ends with `spoiled`
  std::string spoiled;
  Counters count;
  kj::Vector<OpenFile*> openFiles;

  kj::Promise<void> pause();
  void treeChanges(std::initializer_list<std::string> paths);  // is called before the change
  std::shared_ptr<Node> find(kj::StringPtr path);
  bool parentExists(const std::string& path);
};

}  // namespace cairn::env
