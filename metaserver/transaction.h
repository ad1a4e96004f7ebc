// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the operations of one loop turn read and change: the namespace store with their changes over it.
// Written in one RocksDB batch by commit(), together with the state record, so the store moves from operation
// to operation. INVARIANT: an operation writes only after its last refusal, so one that refuses has changed
// nothing. Used by metaserver/ops/ through Namespace::apply only.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <optional>
#include <string>
#include <unordered_map>

#include "metaserver/inode.h"
#include "metaserver/operation.capnp.h"
#include "metaserver/records.h"
#include "rpc/result.h"

namespace cairn {

class Key;

struct Named {
  InodeId inode;
  FileType type = FileType::REGULAR;
};

class Transaction {
 public:
  Transaction(rocksdb::DB& db, NamespaceState& state) : db(db), state(state) {}
  KJ_DISALLOW_COPY(Transaction);

  // -- of the operation that is being applied
  void begin(rpc::Operation::Reader operation);
  int64_t now() const { return time; }       // ns since 1970, from the operation
  InodeId unheld() const { return closed; }  // Operation.unheld
  uint64_t nextDataVersion(uint64_t current) const;
  // Of content that changes. No answer has ever told it for other content of the file, also none that rested
  // on what a loss of power has taken from the log: each start begins above all that the one before can have
  // told.
  bool changed() const { return writes > 0; }
  bool storeFailed() const { return broken; }  // a read of it did

  void commit();
  // One batch: the changes so far and the state record.

  void settle();
  // Commits what earlier operations changed, so that the ...Of() scans below see it. Before the first write.

  NamespaceState& counters() {
    ++writes;
    return state;
  }
  const NamespaceState& counters() const { return state; }

  // -- inodes
  kj::Maybe<Inode> inode(InodeId id);
  Result<Inode> liveInode(InodeId id);  // STALE if it is gone or in the trash, NOT_FOUND if it never was
  Result<Inode> directory(InodeId id);  // and NOT_DIRECTORY
  Attributes put(Inode inode);          // what stat shows of it now
  void dropInode(InodeId id);

  // -- names
  kj::Maybe<Named> name(InodeId directory, kj::StringPtr name);
  bool hasRoomFor(InodeId directory, kj::StringPtr name);  // false: 8 names with one 60-bit hash
  void putName(InodeId directory, kj::StringPtr name, Named target);
  void dropName(InodeId directory, kj::StringPtr name);
  kj::Vector<std::pair<kj::String, Named>> namesIn(InodeId directory);  // settled

  // -- chunks
  ChunkReference chunkAt(InodeId inode, ChunkIndex index);
  kj::Vector<ChunkReference> chunksOf(InodeId inode, ChunkIndex first, size_t limit);  // settled
  void putChunkAt(InodeId inode, const ChunkReference& reference);
  void dropChunkAt(InodeId inode, ChunkIndex index);
  kj::Maybe<ChunkRecord> chunk(ChunkHandle handle);
  void putChunk(ChunkHandle handle, const ChunkRecord& record);
  bool isShared(ChunkHandle handle, const ChunkRecord& record) const { return record.references > 1; }
  void discardChunk(ChunkHandle handle);  // one reference less; the last one makes it garbage
  bool isGarbage(ChunkHandle handle);
  void dropGarbage(ChunkHandle handle);

  // -- the rest
  kj::Maybe<std::string> target(InodeId inode);
  void putTarget(InodeId inode, kj::StringPtr target);
  void dropTarget(InodeId inode);
  kj::Maybe<std::string> xattr(InodeId inode, kj::StringPtr name);
  kj::Vector<kj::String> xattrsOf(InodeId inode);  // settled
  void putXattr(InodeId inode, kj::StringPtr name, kj::ArrayPtr<const kj::byte> value);
  void dropXattr(InodeId inode, kj::StringPtr name);
  bool isOrphan(InodeId inode);
  kj::Maybe<OrphanRecord> orphan(InodeId inode);
  void putOrphan(InodeId inode, const OrphanRecord& record);
  void dropOrphan(InodeId inode);
  kj::Maybe<Departure> trashed(InodeId inode, int64_t until);
  void putTrash(InodeId inode, const Departure& departure);
  void dropTrash(InodeId inode, int64_t until);
  void needWhereabouts(InodeId directory);   // one more file that it was the directory of
  void leaveWhereabouts(InodeId directory);  // one less
  void keepWhereabouts(InodeId directory, InodeId parent, kj::StringPtr name);  // it goes: if they are needed
  void correctWhereabouts(InodeId directory, uint64_t delta);                   // by how many it is needed
  kj::Maybe<StagingRecord> staging(InodeId top);
  void putStaging(InodeId top, const StagingRecord& record);
  void dropStaging(InodeId top);
  kj::Vector<StagedWork> stagedWork(InodeId top, size_t limit);  // settled; in order of inodes
  void putStagedWork(InodeId top, const StagedWork& work);
  void dropStagedWork(InodeId top, InodeId inode);
  InodeId stagedLink(InodeId top, InodeId source);  // its copy; 0: none yet
  void putStagedLink(InodeId top, InodeId source, InodeId copy);
  kj::Vector<InodeId> stagedLinks(InodeId top, size_t limit);  // settled; the sources
  void dropStagedLink(InodeId top, InodeId source);
  kj::Maybe<ServerId> store(kj::StringPtr uuid);
  kj::Vector<std::pair<kj::String, ServerId>> allStores();  // settled
  void putStore(kj::StringPtr uuid, ServerId server, Draining draining = Draining::NO);
  void dropStore(kj::StringPtr uuid);

  // -- what is below directories (ops/tree_count.h)
  Counting counting() const { return state.counting; }
  Usage usage(InodeId directory);
  void correctUsage(InodeId directory, const Usage& delta);  // of the directory and those it is counted in
  Usage contribution(const Inode& inode);                    // to the usage of its parent
  QuotaLimits quota(InodeId directory);                      // that has one
  void putQuota(InodeId directory, const QuotaLimits& limits);
  void dropQuota(InodeId directory);
  Backlinks backlinks(InodeId inode);
  void putBacklinks(InodeId inode, const Backlinks& links);
  uint64_t placeIn(kj::StringPtr name) const;  // of a name in its directory
  kj::Maybe<uint64_t> countCursor(InodeId directory);
  void putCountCursor(InodeId directory, uint64_t place);
  void dropCountCursor(InodeId directory);
  kj::Vector<std::pair<InodeId, uint64_t>> countCursors(size_t limit);  // settled
  struct NameAt {
    std::string name;
    InodeId inode;
    uint64_t place = 0;
  };
  enum class End { NO, YES };
  struct NamePage {
    kj::Vector<NameAt> entries;
    End end = End::YES;
  };
  NamePage namesOf(InodeId directory, uint64_t after, size_t limit);  // settled; places are not cut in two

  kj::Vector<SessionId> allSessions();  // settled
  void putSession(const SessionRecord& session);
  void dropSession(SessionId session);
  kj::Maybe<Answer> answer(SessionId session, uint64_t sequence);
  void putAnswer(SessionId session, uint64_t sequence, const Answer& answer);
  void dropAnswer(SessionId session, uint64_t sequence);

 private:
  rocksdb::DB& db;
  NamespaceState& state;
  rocksdb::WriteBatch batch;
  std::unordered_map<std::string, std::optional<std::string>> changes;  // key -> new value, none: gone
  std::unordered_map<InodeId, std::optional<Inode>> inodes;  // the same of the inode table, decoded
  int64_t time = 0;
  InodeId closed;
  uint64_t writes = 0;  // of this operation
  bool broken = false;

  std::unordered_map<InodeId, Usage> usages;  // the same of the usage table

  void account(kj::Maybe<Inode> before, kj::Maybe<const Inode&> after);
  void charge(InodeId directory, const Usage& less, const Usage& more);
  void check(const rocksdb::Status& status);
  kj::Maybe<std::string> get(const Key& key);
  void set(const Key& key, std::string value);
  void erase(const Key& key);
  template <typename Visit>
  void scan(const Key& prefix, const Key& first, Visit&& visit);
};

void checkRead(const rocksdb::Status& status);
// Throws, with a sentence for the user, unless the status is ok or NotFound.

}  // namespace cairn
