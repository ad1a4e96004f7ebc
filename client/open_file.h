// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One open inode: its attributes with what has been written here on top, its write-behind, and the order of
// things: a read sees every write that returned; a length is published only when the data below it has been
// applied; a cut waits for what was written before and holds up what comes after; an error of write-behind is
// kept and told once. Lives in the InodeTable while it is open or has anything left to write. Called by
// inode_table.cc and remote_filesystem.cc.
#pragma once

#include "client/appender.h"
#include "client/chunk_sync.h"
#include "client/filesystem.h"
#include "client/leases.h"
#include "client/reader.h"
#include "client/session.h"
#include "client/turns.h"
#include "client/write_buffer.h"
#include "client/writer.h"
#include "rpc/coroutine.h"

namespace cairn::client {

class MemoryPressure {
  // Somebody waits for buffer space: all files should send what they have.
 public:
  virtual ~MemoryPressure() noexcept(false) = default;
  virtual void relieve() = 0;
};

struct FileParts {
  // What all open files stand on. Outlives them.
  kj::Timer& timer;
  const kj::Clock& clock;
  const Timing& timing;
  env::Logger log;
  BufferBudget& budget;
  WriteBuffer::Limits limits;
  Session& session;
  Locator& locator;
  Reader& reader;
  Writer& writer;
  Appender& appender;
  ChunkSync& chunkSync;
  ChunkServers& servers;
  kj::EntropySource& entropy;
  Leases& leases;
  MemoryPressure& pressure;
};

struct UnsyncedFile {
  // What is left of a file when it is closed: a sync through a later open must know of it.
  DirtyChunks chunks;       // applied, not known to be on stable storage
  kj::Maybe<Status> error;  // bytes were lost, and no sync has said so

  bool empty() const { return chunks.empty() && error == nullptr; }
};

void fillAttributes(rpc::Change::Builder change, InodeId inode, const AttributeChange& wanted);

class FileState : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  FileState(FileParts& parts, const FileAttributes& attributes);
  ~FileState() noexcept(false);
  KJ_DISALLOW_COPY(FileState);

  InodeId inode() const { return id; }
  FileAttributes attributes() const;
  void overlay(FileAttributes& attributes) const;  // puts what is not published on top
  void learn(const FileAttributes& attributes);    // as the metaserver has it
  void accessed(Timestamp time);
  void learnQuota(uint64_t left) { quotaLeft = left; }  // as of the last publish
  void becomeStale() { stale = true; }
  void answersLost(LogIndex from);  // of the metaserver's: what it tells next is true, though it be older
  void leaseLost();                 // the write lease, to silence

  kj::Promise<Result<ReadData>> read(uint64_t offset, uint32_t size, Origin origin);
  kj::Promise<Status> write(uint64_t offset, Bytes bytes, Origin origin);
  kj::Own<void> holdPages(ByteRange range) {
    return kj::heap<Leases::PageRange>(parts.leases, id, range.offset, range.size);
  }
  Async<Result<FileOffset>> append(Bytes bytes, Rest rest, kj::Maybe<ByteRange> locked);
  kj::Promise<Status> flush();
  kj::Promise<Status> sync();
  Async<Result<FileOffset>> recordAppend(kj::ArrayPtr<const kj::byte> record);
  Async<Result<FileAttributes>> setAttributes(AttributeChange change);

  // file_space.cc
  Async<Status> allocate(uint64_t offset, uint64_t length, Growth growth);
  Async<Status> zero(uint64_t offset, uint64_t length, Growth growth);
  Async<Result<kj::Maybe<FileOffset>>> seek(uint64_t offset, Sought sought);

  // file_copy.cc; `source` outlives the promise
  Async<Result<uint64_t>> copyFrom(FileState& source, uint64_t from, uint64_t to, uint64_t length);

  Async<Status> settle();  // as flush, but leaves an error for its owner
  Async<void> writeOut();  // what a recall of the write lease asks for; waits for no other recall
  bool isSettled() const {
    return buffer.isEmpty() && !needsPublish && order.isFree() && publishing.isFree();
  }
  kj::Maybe<Status> takeError();
  kj::Maybe<Status> takeSyncError();  // of bytes that were lost and that no sync has told of
  UnsyncedFile takeUnsynced();        // what no sync has covered; nothing may be under way
  void inherit(UnsyncedFile left);
  void relieve();

 private:
  struct Listener {
    uint64_t mark;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };

  FileParts& parts;
  const InodeId id;
  FileAttributes base;  // as the metaserver last told
  bool stale = false;
  bool isBaseOld = false;
  WriteBuffer buffer;
  kj::Maybe<Timestamp> localMtime;  // of writes that are not published
  uint64_t appliedEnd = 0;          // of what was applied since the last publish
  uint64_t certainEnd = 0;          // of what had been flushed: to be published whatever came later
  bool needsPublish = false;
  bool isPublishing = false;      // a publish is on its way to the metaserver, or its answer back
  DirtyChunks dirty;              // since the last sync began
  bool earlierWritesKnown;        // no: earlier opens and other clients may have left some to sync
  DirtyChunks unsynced;           // what the last sync took and is not known to be on disk
  std::set<ChunkHandle> covered;  // chunks of which the metaserver knows that syncs cover them
  struct WrittenChunk {
    ChunkHandle handle;
    uint32_t blocks = 0;  // that hold anything but zeros
  };
  std::map<ChunkIndex, WrittenChunk> unpublished;  // since the last publish
  uint64_t acceptedBytes = 0;                      // the same; for st_blocks until it is told what is true
  uint64_t quotaLeft = UINT64_MAX;                 // bytes that may be written beyond what is published
  kj::Maybe<Status> error;                         // the next write, flush or sync tells it
  kj::Maybe<Status>
      syncError;     // the next sync tells it, whether or not a write or close has: close is often not asked
  Turns order;       // of writes that have to wait, cuts and appends
  Turns publishing;  // lengths must not overtake each other
  Turns syncing;
  std::list<Listener> listeners;
  bool lingerArmed = false, publishArmed = false;
  uint64_t authorVersion = 0;  // dataVersion of the content that unpublished writes change
  kj::Maybe<kj::ForkedPromise<Status>> regaining;  // of the write lease
  std::list<kj::Own<kj::PromiseFulfiller<void>>> onLeaseLost, onPublished;
  kj::Own<Leases::Pin> appendPin;  // between the pieces of a record
  uint64_t appendedBytes = 0;      // of that record
  uint64_t appends = 0;
  kj::TaskSet tasks;

  void accept(uint64_t offset, Bytes bytes);
  bool mayExceedQuota(uint64_t offset, uint64_t size) const;
  Async<Status> findRoom(uint64_t offset, uint64_t size);
  Async<Status> writeZeros(uint64_t from, uint64_t to);
  Async<Status> punch(uint64_t firstChunk, uint64_t endChunk, uint64_t atLeast);
  Async<Result<uint64_t>> shareChunks(FileState& source, uint64_t from, uint64_t to, uint64_t bytes);
  Async<Status> extend(uint64_t size);
  Async<Result<uint64_t>> copyBytes(FileState& source, uint64_t from, uint64_t to, uint64_t length);
  Async<kj::Maybe<uint32_t>> seekInChunk(ChunkIndex index, uint32_t from, Sought sought);
  Async<Status> writeInTurn(uint64_t offset, Bytes bytes, Origin origin);
  Async<Status> ensure(LeaseKind kind);
  Async<void> endAppend(uint64_t number);
  kj::Promise<Status> regain();
  Async<Status> regainNow();
  kj::Promise<void> untilLeaseLost();
  void pump();
  Async<void> send(WriteBuffer::Outgoing outgoing);
  void applied(ChunkIndex index, const DirtyChunk& chunk, uint64_t end);
  void fail(Status status);
  void vanished();
  Async<void> linger();
  Async<void> publishLater();
  void armPublish();
  Async<void> drain();
  kj::Promise<void> drained(uint64_t mark);
  void tellListeners();
  uint64_t publishableLength() const;
  Async<Status> publish(Session::Durability durability = Session::Durability::LOGGED,
                        Session::Covered toCover = {});
  // NOT_LEASED: and nothing is lost yet.
  Async<Status> publishSurely(Session::Durability durability = Session::Durability::LOGGED,
                              Session::Covered toCover = {});
  Async<Status> publishDurably();
  Async<Status> refresh();
  Async<Status> flushInTurn();
  Async<Status> syncInTurn();
  Async<Result<ReadData>> readBehind(uint64_t offset, uint64_t size, kj::Vector<Extent> newer);
  kj::Promise<Result<ReadData>> readNow(uint64_t offset, uint32_t size);
  Async<Result<ReadData>> readOnceLeased(uint64_t offset, uint32_t size, Origin origin);
  Async<Result<ReadData>> readAfterRefresh(uint64_t offset, uint32_t size);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace cairn::client
