// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The replicas of one directory: bytes with checksums, versions, and what survives which crash
// (store_format.h has the formats and the crash table). INVARIANTS: bytes whose checksums do not match are
// never written; at every moment each block's stored checksum matches its bytes, or an intent or the unsynced
// mark names it; a chunk has the mark before its first byte changes. Everything is on one loop. Called by
// chunk_server.cc; the caller keeps buffers alive as long as the promise, and keeps the promises of write,
// adopt and remove until they resolve (dropping one is like killing the process in the middle of it: only the
// next start settles it).
#pragma once

#include <kj/async.h>
#include <kj/memory.h>
#include <kj/timer.h>

#include <list>
#include <unordered_map>
#include <vector>

#include "chunkd/intents.h"
#include "chunkd/range_locks.h"
#include "chunkd/store_format.h"
#include "chunkd/store_index.h"
#include "env/disk.h"
#include "env/log.h"
#include "rpc/coroutine.h"
#include "rpc/result.h"

namespace kj {
class EntropySource;
}

namespace cairn {

struct ChunkKey {
  ChunkHandle handle;
  ChunkVersion version;
  constexpr auto operator<=>(const ChunkKey&) const = default;
};
kj::String KJ_STRINGIFY(const ChunkKey& key);  // "chunk 00ab v7"

struct ChunkState {
  ChunkHandle handle;
  ChunkVersion version;
  uint32_t length = 0;
  uint8_t flags = 0;  // ChunkFlags
  CheckTime checked;
};

struct StoreOptions {
  kj::StringPtr path;  // of the directory, for messages and for RocksDB
  kj::StringPtr boot;  // identity of the machine's boot; another one than last time: it restarted
  kj::Duration cleanAfter =
      10 * kj::SECONDS;      // of quiet, then a chunk is synced and its unsynced mark cleared
  size_t liveChunks = 1024;  // open at a time: two descriptors each
  uint64_t reserveBytes =
      256 << 20;  // of free space: writes that need more are refused, so that the index goes on
};

struct StoreEnvironment {
  // What the store stands on. It outlives the store.
  env::Disk& disk;
  rocksdb::Env& rocksdb;
  env::Worker& worker;
  kj::Timer& timer;
  kj::EntropySource& entropy;
  const env::Logger& log;
};

class ChunkStore final : private kj::TaskSet::ErrorHandler {
 public:
  struct Opened {
    kj::Maybe<kj::Own<ChunkStore>> store;
    kj::String refusal;  // when null: what happened, what is safe, what to do
  };
  static Async<Opened> open(StoreEnvironment environment, StoreOptions options);
  // Makes a store in an empty directory; opens one; settles what a crash has left.

  ~ChunkStore() noexcept(false);
  KJ_DISALLOW_COPY(ChunkStore);

  // -- identity
  const StoreIdentity& identity() const { return self; }
  bool rebooted() const { return machineRebooted; }  // the machine restarted since the store was last open
  uint64_t bootNumber() const;                       // for Applied.boot
  Async<Status> join(ClusterId cluster, ServerId server, Epoch epoch);
  // Remembers them on stable storage. wrongCluster: the store belongs to another; staleEpoch: it has obeyed a
  // newer one.

  // -- chunks
  kj::Promise<Status> write(ChunkKey chunk, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                            kj::ArrayPtr<const uint32_t> checksums);
  // At most TRANSFER_SIZE_MAX bytes; one checksum per piece of `data` cut at block boundaries of the chunk.
  // Writes of overlapping blocks are applied in the order of the calls. Refuses, having changed nothing:
  // invalid, badChecksum, noReplica, staleVersion, behindVersion, corrupt, noSpace. ioError: what is under
  // the write is as if torn.

  kj::Maybe<Status> refuseWrite(ChunkKey chunk, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                                kj::ArrayPtr<const uint32_t> checksums) const;
  // All that write() refuses for, before it waits for anything; verifying the checksums is most of it.
  Async<Status> writeVerified(ChunkKey chunk, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                              kj::ArrayPtr<const uint32_t> checksums);
  // write() for a caller that has asked refuseWrite() in this turn of the loop. Takes its place in the order
  // at once.

  struct ReadAnswer {
    Status status;
    uint32_t bytes = 0;  // fewer than asked: the chunk ends there
  };
  enum class Suspects { REFUSED, ALLOWED };  // ALLOWED: for the store itself, and for reconciling
  using Room = kj::Function<kj::ArrayPtr<kj::byte>(uint32_t bytes)>;
  Async<ReadAnswer> read(ChunkKey chunk, uint32_t offset, uint32_t size, Room room,
                         kj::ArrayPtr<uint32_t> checksums, Suspects suspects = Suspects::REFUSED);
  // `offset` and `size` on block boundaries; one place in `checksums` per block. `room` is asked where the
  // bytes are to go when it is known how many there are, with the blocks locked: a write that was first may
  // have made the last of them longer. Hands out the stored checksums without comparing: the reader does.
  // Refuses: invalid, noReplica, staleVersion, behindVersion, corrupt, rebooted (a suspect), ioError.
  Async<ReadAnswer> read(ChunkKey chunk, uint32_t offset, kj::ArrayPtr<kj::byte> into,
                         kj::ArrayPtr<uint32_t> checksums, Suspects suspects = Suspects::REFUSED);
  // The same, with room for whole blocks.

  uint32_t blocksInUse(ChunkHandle chunk) const;
  // Those that hold anything but zeros, of a chunk that has just been written; 0 when it has been closed
  // meanwhile.

  struct VerifyAnswer {
    Status status;
    kj::Vector<uint32_t> badBlocks;
  };
  Async<VerifyAnswer> verify(ChunkKey chunk);
  // Compares all bytes with their checksums; a chunk with a bad block is quarantined and `corrupt`.

  struct FileProblem {
    ChunkHandle handle;  // 0: a file that belongs to no chunk
    ChunkVersion version;
    kj::String text;
  };
  struct FileCheck {
    kj::Vector<FileProblem> problems;
    ChunkHandle next;
    uint32_t checked = 0;
    bool end = false;
  };
  Async<FileCheck> checkFiles(ChunkHandle after, uint32_t limit);
  // As in rpc/chunkd.capnp. Reads no data and changes nothing (store_check.cc).

  Async<Status> sync(ChunkKey chunk, Suspects suspects = Suspects::REFUSED);
  // Barrier: bytes, checksums, length and index of what was written before the call are on stable storage.
  // After ioError the chunk is quarantined: what the disk has dropped does not come back.

  struct AdoptAnswer {
    Status status;
    uint32_t length = 0;
  };
  struct Adoption {
    ChunkHandle handle;
    ChunkVersion from, version;  // from 0: create
    kj::Maybe<uint32_t> truncate;
  };
  Async<AdoptAnswer> adopt(Adoption adoption);
  // As in rpc/chunkd.capnp. Raising a version is on stable storage when it answers, creating a chunk is not
  // until sync. A suspect stays one.

  Async<Status> remove(ChunkKey chunk);
  // Drops the replica if its version is not above the named one.

  struct TableAnswer {
    Status status;
    uint32_t length = 0;
    kj::Array<uint32_t> checksums;  // plain crc32c, one per block
  };
  Async<TableAnswer> checksums(ChunkKey chunk, Suspects suspects = Suspects::REFUSED);

  // -- making a replica equal to another in place (chunk_reconcile.cc)
  Async<Status> writeReconciled(ChunkKey chunk, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                                kj::ArrayPtr<const uint32_t> checksums);  // the caller has verified them
  Async<Status> resizeReconciled(ChunkKey chunk, uint32_t length);
  Async<Status> endSuspicion(ChunkKey chunk);
  // Puts all of it on stable storage; it serves from then on.

  // -- copies from other stores (chunk_staging.cc)
  Async<Status> stage(ChunkHandle handle, ChunkVersion wanted, ChunkVersion replace);
  // Makes room for a copy that is to become version `wanted`, or goes on with the one there is. A replica not
  // above `replace`, or a corrupt one, is used up for it. ok as well when the store holds version `wanted`
  // already. Refuses: exists, staleVersion, busy.
  bool isStaging(ChunkHandle handle) { return staging(handle) != nullptr; }
  Async<TableAnswer> stagedTable(ChunkHandle handle);  // as checksums()
  Async<Status> writeStaged(ChunkHandle handle, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                            kj::ArrayPtr<const uint32_t> checksums);  // the caller has verified them
  Async<Status> cutStaged(ChunkHandle handle, uint32_t length);       // to at most that
  Async<Status> syncStaged(ChunkHandle handle);  // so that there is little left to sync at the commit
  Async<Status> commitStaged(ChunkHandle handle, ChunkVersion version, uint32_t length,
                             kj::ArrayPtr<const uint32_t> table);
  // Once it answers ok the copy is a replica, on stable storage. badChecksum: it is not what `table` says.
  Async<Status> dropStaging(ChunkHandle handle);

  // -- copies of our own replicas (chunk_clone.cc)
  struct CloneAnswer {
    Status status;
    uint32_t length = 0;
  };
  Async<CloneAnswer> clone(ChunkKey source, ChunkHandle target, uint32_t bytes);
  // `target` becomes a replica of version 1 that holds the first `bytes` of the source, on stable storage
  // when it answers ok. The caller sees to it that nobody writes the source meanwhile.

  Async<void> quarantine(ChunkHandle handle, kj::String reason);
  // Never serves it again under this handle; the files stay below quarantine/ until the metaserver has it
  // deleted.

  void markChecked(ChunkHandle handle, CheckTime when);  // all its bytes match their checksums, or it is new
  kj::Maybe<ChunkState> describe(ChunkHandle handle) const;
  kj::Vector<ChunkState> list(ChunkHandle after, size_t limit) const;  // in order of handles
  size_t count() const { return index->table().size(); }
  kj::Vector<ChunkHandle> takeQuarantined();  // those since the last call, for the metaserver

  struct Space {
    uint64_t totalBytes = 0;
    uint64_t freeBytes = 0;  // above the reserve
  };
  Space space();
  kj::Promise<void> whenIdle();  // background cleaning, for tests: resolves after the next round

  void checkInvariants() const;  // for tests

 private:
  struct Live;  // a chunk in use: locks, open files, checksum words
  struct Dirty {
    // Of a chunk with the UNSYNCED mark.
    uint64_t writes = 0;        // begun
    uint64_t writesSynced = 0;  // of them on stable storage
    bool markDurable = false;   // INVARIANT: true before the first byte of a chunk that is not FRESH changes
    kj::TimePoint lastWrite = kj::origin<kj::TimePoint>();
    bool namesSynced = false;  // of a FRESH one: its files have their names on stable storage
  };
  struct Quiet {
    // A dirty chunk that nobody has written for a while, as it was then.
    ChunkHandle handle;
    ChunkVersion version;
    uint64_t writes;
    bool named;  // has files
  };
  enum class Want { READ, WRITE };
  struct Staging {
    kj::TimePoint touched = kj::origin<kj::TimePoint>();
  };

  StoreEnvironment environment;
  StoreOptions options;
  kj::String path;
  StoreIdentity self;
  bool machineRebooted = false;
  kj::Own<env::DiskLock> lock;
  kj::Own<StoreIndex> index;
  kj::Own<Intents> intents;
  RangeLocks identityTurns;  // one writer of the identity file at a time
  std::unordered_map<ChunkHandle, kj::Own<Live>> live;
  std::list<ChunkHandle> liveByUse;  // latest first
  std::unordered_map<ChunkHandle, Dirty> dirty;
  std::unordered_map<ChunkHandle, Staging> stagings;
  kj::Vector<ChunkHandle> quarantined;
  kj::TimePoint syncedTogether = kj::origin<kj::TimePoint>();
  uint64_t freeBytesLeft = 0;    // estimate between two looks at the disk
  bool disksShareBlocks = true;  // until the filesystem has refused to
  kj::TaskSet tasks;

  ChunkStore(StoreEnvironment environment, StoreOptions options, StoreIdentity identity,
             kj::Own<env::DiskLock> lock, kj::Own<StoreIndex> index, kj::Own<Intents> intents);
  void taskFailed(kj::Exception&& exception) override;

  // chunk_store.cc
  kj::Maybe<Status> refuse(ChunkKey chunk, Suspects suspects = Suspects::REFUSED) const;
  kj::Own<Live> enliven(ChunkHandle handle);
  void retire();
  Async<Status> markUnsynced(ChunkHandle handle);
  static bool wellFormed(uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                         kj::ArrayPtr<const uint32_t> checksums);
  Async<Status> writeHeld(Live& chunk, ChunkKey key, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                          kj::ArrayPtr<const uint32_t> checksums);
  Async<Status> apply(Live& chunk, ChunkKey key, uint32_t offset, kj::ArrayPtr<const kj::byte> data,
                      kj::ArrayPtr<const uint32_t> checksums);
  Async<Status> mergeEdge(Live& chunk, uint32_t block, uint32_t within, kj::ArrayPtr<const kj::byte> piece,
                          uint32_t pieceSum, uint32_t& word);
  Async<Status> cut(Live& chunk, ChunkVersion version, uint32_t length);
  Async<Status> syncCut(Live& chunk);
  Status failed(ChunkHandle handle, kj::StringPtr doing, env::IoOutcome outcome);
  Status noIntent(ChunkHandle handle);

  // chunk_cleaning.cc
  Async<void> cleanForEver();
  Async<void> cleanRound();
  Async<void> syncTogether(kj::ArrayPtr<const Quiet> chunks);
  Async<void> clean(ChunkHandle handle);

  // chunk_files.cc
  Async<Status> openFiles(Live& chunk, Want want);
  Async<Status> openFilesOnce(Live& chunk, Want want);
  Async<Status> createFiles(Live& chunk);
  Async<Status> loadWords(ChunkHandle handle, env::DiskFile& dataFile, env::DiskFile& sumFile,
                          std::vector<uint32_t>& words);
  Async<Status> damaged(ChunkHandle handle, kj::String reason);
  kj::Promise<env::IoOutcome> writeWords(Live& chunk, uint32_t firstBlock,
                                         kj::ArrayPtr<const uint32_t> words);
  Async<Status> settle(Live& chunk, uint32_t firstBlock, kj::ArrayPtr<const uint32_t> intended,
                       kj::ArrayPtr<const uint32_t> before, bool& torn);
  Async<Status> removeFiles(ChunkHandle handle, ChunkVersion version);

  // chunk_staging.cc
  kj::Maybe<Status> refuseStaging(ChunkHandle handle, ChunkVersion wanted, ChunkVersion replace) const;
  kj::Maybe<Staging&> staging(ChunkHandle handle);  // null: there is none (any more)
  Async<void> dropIdleStagings();

  // chunk_clone.cc
  struct Cloning;
  Async<Status> shareBlocks(Live& from, ChunkHandle target);
  Async<Status> copyBlocks(Cloning& cloning);
  Async<void> copyPieces(Cloning& cloning);
  Async<Status> copyPiece(Cloning& cloning, uint32_t offset);

  // store_check.cc
  Async<kj::Maybe<kj::String>> checkFilesOf(ChunkHandle handle);
  Async<void> findStrays(FileCheck& check);

  // recovery.cc
  Async<void> recover();
  Async<void> settleIntent(IntentSlot intent);
  Async<void> settleAfterReboot(ChunkHandle handle);
  Async<void> refreshLength(ChunkHandle handle);
  Async<void> carryOnRemoving(ChunkHandle handle);
  Async<Status> writeIdentity(StoreIdentity identity);
};

}  // namespace cairn
