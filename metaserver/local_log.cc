// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/local_log.h"

#include <kj/debug.h>

#include <deque>
#include <map>

#include "metaserver/log_recovery.h"
#include "metaserver/log_segment.h"
#include "metaserver/synced_mark.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint64_t INODES_SKIPPED = 1ull
                                    << 32;  // by each start: more than can have been given and not synced
constexpr size_t BATCH_BYTES_MAX = 4u << 20;
constexpr size_t SPACE_CHECK_BYTES = 1u << 20;  // of log between two looks at the free space

struct Segment : public kj::Refcounted {
  // A reference is held by every sync under way.
  Segment(kj::Own<env::DiskFile> file, kj::String path, LogIndex first)
      : file(kj::mv(file)), path(kj::mv(path)), first(first) {}
  kj::Own<env::DiskFile> file;
  kj::String path;
  LogIndex first;
  uint64_t size = 0;  // bytes, all of them whole records
};

struct Proposal {
  // Without an operation it is a mark: what was proposed before it has been applied when it is answered.
  kj::Maybe<kj::Own<LoggedOperation>> operation;
  kj::Own<kj::PromiseFulfiller<Outcome>> fulfiller;
  size_t bytes = 0;
};

struct Retired {
  kj::String path;
  LogIndex last;
};

bool growsNamespace(rpc::Operation::Reader operation) {
  switch (operation.which()) {
    case rpc::Operation::ATTACH_CHUNK:
    case rpc::Operation::SNAPSHOT:
    case rpc::Operation::STAGE_TREE:
    case rpc::Operation::COPY_STAGED:
      return true;
    case rpc::Operation::CHANGE:
      break;
    default:
      return false;
  }
  switch (operation.getChange().which()) {
    case rpc::Change::CREATE:
    case rpc::Change::LINK:
    case rpc::Change::SET_XATTR:
      return true;
    default:
      return false;
  }
}

class FileLog final : public LocalLog, private kj::TaskSet::ErrorHandler {
 public:
  FileLog(env::Disk& disk, kj::StringPtr directory, Namespace& names, const kj::Clock& clock,
          LocalLogOptions options, env::Logger logger)
      : disk(disk),
        directory(kj::str(directory)),
        names(names),
        clock(clock),
        options(kj::mv(options)),
        logger(kj::mv(logger)),
        broken(kj::newPromiseAndFulfiller<void>()),
        whenBrokenFork(broken.promise.fork()),
        tasks(*this) {}

  Async<void> start();

  kj::Promise<Outcome> propose(kj::Own<LoggedOperation> operation) override;
  Async<Status> durable(LogIndex index) override;
  kj::Promise<void> whenBroken() override { return whenBrokenFork.addBranch(); }
  Async<void> close() override;
  Async<Status> cut() override;
  Async<uint32_t> dropPersisted() override;
  LogIndex last() const override { return names.state().applied; }
  LogIndex durableUpTo() const override { return synced; }
  uint32_t inFlight() const override { return unapplied; }
  Epoch epoch() const override { return thisEpoch; }
  LogIndex lostFrom() const override { return mayBeLost; }
  CommitMode commitMode() const override { return options.commit; }
  int64_t now() const override { return (clock.now() - kj::UNIX_EPOCH) / kj::NANOSECONDS; }

 private:
  using Batch = kj::Vector<Proposal>;

  env::Disk& disk;
  kj::String directory;
  Namespace& names;
  const kj::Clock& clock;
  LocalLogOptions options;
  env::Logger logger;
  Epoch thisEpoch;
  LogIndex mayBeLost;
  ClusterId cluster;

  std::deque<Proposal> queue;
  uint32_t unapplied = 0;
  bool pumping = false, syncing = false, cutWanted = false;
  kj::Own<SyncedMark> syncedMark;
  kj::Maybe<kj::Own<Segment>> current;
  std::deque<Retired> retired;  // oldest first
  LogIndex encoded;             // of the batch that is being written
  LogIndex logged;              // in the page cache
  LogIndex synced;              // on stable storage
  uint64_t bytesToSpaceCheck = 0;
  bool low = false;                                                        // less than reserveBytes are free
  std::multimap<LogIndex, kj::Own<kj::PromiseFulfiller<Status>>> waiting;  // for synced

  bool failed = false;
  kj::PromiseFulfillerPair<void> broken;
  kj::ForkedPromise<void> whenBrokenFork;
  kj::TaskSet tasks;  // last: its members use all of the above

  Segment& segment() { return *KJ_REQUIRE_NONNULL(current); }

  Async<void> found();
  void enqueue(Proposal proposal);
  Async<void> pump();
  Async<void> commitBatch();
  Batch takeBatch();
  void refuseWithoutSpace(Batch& batch);
  kj::Array<kj::byte> encodeBatch(Batch& batch);
  void applyBatch(Batch& batch);
  Async<Status> append(kj::ArrayPtr<const kj::byte> bytes);
  Async<Status> syncNow();
  Async<void> syncLoop();
  void startSync();
  void advanceSynced(LogIndex index);
  Async<void> rotate();
  Async<Status> beginSegment();
  Async<void> dropRetired();
  void refuseAll(Batch& batch, Status status);
  void abandonAll(Batch& batch);
  void answer(Proposal& proposal, Outcome outcome);
  void breakDown(kj::String sentence);
  void taskFailed(kj::Exception&& exception) override;
  void watchSpace(size_t bytes);
};

// -- start
// ------------------------------------------------------------------------------------------------------

Async<void> FileLog::start() {
  auto made = co_await disk.makeDirectory(directory);
  if (!made.ok()) refuseToStart(kj::str("cannot make ", directory, ": ", env::describeError(made.error)));
  syncedMark = kj::heap<SyncedMark>(disk, directory);
  auto marked = syncedMark->read(names.state().cluster ? names.state().cluster : options.founding.cluster);
  auto recovered = co_await recoverLog(disk, kj::str(directory), {names, options.cluster, marked}, logger);
  logged = synced = names.state().applied;
  bool isNew = !recovered.cluster && !logged;
  cluster = isNew ? options.founding.cluster : recovered.cluster;
  if (!cluster) refuseToStart(kj::str("a new cluster needs an id"));
  for (size_t i = 0; i < recovered.segments.size(); ++i) {
    bool last = i + 1 == recovered.segments.size();
    if (last && recovered.firsts[i] == logged.next()) {  // nothing is in it: the new one takes its name
      auto removed = co_await disk.remove(kj::str(directory, '/', recovered.segments[i]));
      if (!removed.ok())
        refuseToStart(
            kj::str("cannot remove ", recovered.segments[i], ": ", env::describeError(removed.error)));
      break;
    }
    LogIndex end = last ? logged : LogIndex(recovered.firsts[i + 1].value() - 1);
    retired.push_back({kj::str(directory, '/', recovered.segments[i]), end});
  }
  auto status = co_await beginSegment();
  if (!ok(status))
    refuseToStart(kj::str("cannot begin a segment of the operation log in ", directory, ": ", status,
                          ". Nothing was lost. Make room or repair the disk and start again."));
  if (names.state().inodes == 0) co_await found();

  auto operation = kj::heap<LoggedOperation>();
  operation->body().setStartEpoch();
  operation->body().setBoot(options.boot);
  bool isFirst = !names.state().epoch, sameBoot = names.state().boot == options.boot;
  if (!isFirst) operation->body().setInodesSkipped(INODES_SKIPPED);
  auto outcome = co_await propose(kj::mv(operation));
  auto durableStatus = outcome.status;
  if (outcome.ok()) durableStatus = co_await durable(outcome.index);
  if (!ok(durableStatus)) {
    refuseToStart(kj::str("the start cannot be written to the operation log in ", directory, ": ",
                          durableStatus,
                          ". Nothing was lost. Make room or repair the disk and start again."));
  }
  thisEpoch = Epoch(outcome.number);
  if (syncedMark->error() != 0) {
    logger.warning("how far the log is on stable storage cannot be noted in ", directory, ": ",
                   env::describeError(syncedMark->error()),
                   " -> damage of its last records may be taken for a torn tail");
  }
  if (!isFirst && !sameBoot) mayBeLost = outcome.index;
  logger.info("log of cluster ", cluster, " up to operation ", logged.value() - 1, ", ", recovered.replayed,
              " of them not yet in the namespace -> applied, begin epoch ", thisEpoch);
}

Async<void> FileLog::found() {
  auto operation = kj::heap<LoggedOperation>();
  auto request = operation->body().initFound();
  request.setClusterHigh(cluster.high);
  request.setClusterLow(cluster.low);
  request.setMode(options.founding.mode);
  request.setUid(options.founding.uid);
  request.setGid(options.founding.gid);
  request.setReplicas(options.founding.replicas);
  auto outcome = co_await propose(kj::mv(operation));
  if (!outcome.ok())
    refuseToStart(kj::str("a new cluster cannot be written to ", directory, ": ", outcome.status));
  logger.info("an empty directory -> found cluster ", cluster);
}

// -- proposing
// --------------------------------------------------------------------------------------------------

kj::Promise<Outcome> FileLog::propose(kj::Own<LoggedOperation> operation) {
  if (failed) return refusal(Status::IO_ERROR);
  auto bytes = recordSize(*operation);
  if (bytes > OPERATION_SIZE_MAX) return refusal(Status::INVALID);
  auto paf = kj::newPromiseAndFulfiller<Outcome>();
  enqueue({kj::mv(operation), kj::mv(paf.fulfiller), bytes});
  return kj::mv(paf.promise);
}

void FileLog::enqueue(Proposal proposal) {
  if (proposal.operation != nullptr) ++unapplied;
  queue.push_back(kj::mv(proposal));
  if (!pumping) {
    pumping = true;
    tasks.add(pump());
  }
}

Async<Status> FileLog::durable(LogIndex index) {
  if (!index) {
    if (pumping) {
      auto paf = kj::newPromiseAndFulfiller<Outcome>();
      enqueue({nullptr, kj::mv(paf.fulfiller)});
      co_await paf.promise;
    }
    index = logged;
  }
  if (index <= synced) co_return Status::OK;
  if (failed) co_return Status::IO_ERROR;
  auto paf = kj::newPromiseAndFulfiller<Status>();
  waiting.emplace(index, kj::mv(paf.fulfiller));
  if (index <= logged) startSync();
  co_return co_await paf.promise;
}

Async<void> FileLog::pump() {
  while (!queue.empty()) {
    co_await kj::evalLast([]() {});  // all that this turn of the loop proposes goes into one write
    co_await commitBatch();
  }
  pumping = false;
}

FileLog::Batch FileLog::takeBatch() {
  Batch batch;
  size_t bytes = 0;
  while (!queue.empty() && (batch.empty() || bytes + queue.front().bytes <= BATCH_BYTES_MAX)) {
    bytes += queue.front().bytes;
    batch.add(kj::mv(queue.front()));
    queue.pop_front();
  }
  return batch;
}

Async<void> FileLog::commitBatch() {
  // Write, (mode disk: sync,) apply, answer. A crash in between leaves operations in the log that nobody has
  // an answer to: the next start applies them, and a client that asks again gets the answer then.
  bool full = segment().size >= options.segmentBytes;
  bool hasRecords = segment().first <= logged;
  if (!failed && (full || (cutWanted && hasRecords))) co_await rotate();
  cutWanted = false;
  auto batch = takeBatch();
  if (low) refuseWithoutSpace(batch);
  if (failed) co_return refuseAll(batch, Status::IO_ERROR);

  auto bytes = encodeBatch(batch);
  if (bytes.size() > 0) {
    auto status = co_await append(bytes);
    if (!ok(status)) co_return failed ? abandonAll(batch) : refuseAll(batch, status);
    if (options.commit == CommitMode::DISK) status = co_await syncNow();
    if (!ok(status)) co_return abandonAll(batch);
  }
  applyBatch(batch);
  if (options.commit == CommitMode::MEMORY) startSync();
}

kj::Array<kj::byte> FileLog::encodeBatch(Batch& batch) {
  size_t total = 0;
  for (auto& proposal : batch) total += proposal.bytes;
  auto bytes = kj::heapArray<kj::byte>(total);
  size_t at = 0;
  auto now = (clock.now() - kj::UNIX_EPOCH) / kj::NANOSECONDS;
  LogIndex index = logged;
  for (auto& proposal : batch) {
    KJ_IF_MAYBE (operation, proposal.operation) {
      index = index.next();
      auto body = (*operation)->body();
      body.setIndex(index.value());
      body.setEpoch(thisEpoch.value());
      body.setTime(now);
      writeRecord(bytes.slice(at, at + proposal.bytes), **operation, index, synced);
      at += proposal.bytes;
    }
  }
  encoded = index;
  return bytes;
}

Async<Status> FileLog::append(kj::ArrayPtr<const kj::byte> bytes) {
  auto& into = segment();
  auto outcome = co_await into.file->write(into.size, bytes);
  if (outcome.ok()) {
    into.size += bytes.size();
    logged = encoded;
    watchSpace(bytes.size());
    co_return Status::OK;
  }
  bool full = outcome.error == ENOSPC || outcome.error == EDQUOT;
  logger.error("log segment ", into.path, ": ", env::describeError(outcome.error),
               " -> refuse the changes in it, nothing was changed; ", full ? "make room" : "check the disk");
  auto cut = co_await into.file->truncate(into.size);
  if (!cut.ok()) {
    breakDown(kj::str("the operation log ", into.path,
                      " can neither be written nor cut back: ", env::describeError(cut.error),
                      ". No answered change is lost. Repair the disk and start again."));
  }
  co_return full ? Status::NO_SPACE : Status::IO_ERROR;
}

void FileLog::applyBatch(Batch& batch) {
  kj::Vector<Outcome> outcomes(batch.size());
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 for (auto& proposal : batch) {
                   KJ_IF_MAYBE (operation, proposal.operation) {
                     outcomes.add(names.apply((*operation)->body().asReader()));
                   } else {
                     outcomes.add();
                   }
                 }
                 names.commit();
               })) {
    breakDown(kj::str(exception->getDescription()));
    return abandonAll(batch);
  }
  for (size_t i = 0; i < batch.size(); ++i) answer(batch[i], kj::mv(outcomes[i]));
}

void FileLog::answer(Proposal& proposal, Outcome outcome) {
  if (proposal.operation != nullptr) --unapplied;
  proposal.fulfiller->fulfill(kj::mv(outcome));
}

void FileLog::refuseAll(Batch& batch, Status status) {
  for (auto& proposal : batch) answer(proposal, refusal(status));
}

void FileLog::abandonAll(Batch& batch) {
  // They may be in the log or not, so that neither answer would be true. To their callers it is as if the
  // process had died, as it is about to: they ask the next start.
  for (auto& proposal : batch) {
    if (proposal.operation != nullptr) --unapplied;
    proposal.fulfiller->reject(
        KJ_EXCEPTION(DISCONNECTED, "the operation log is broken; the next start knows what became of this"));
  }
}

// -- space
// ------------------------------------------------------------------------------------------------------

void FileLog::watchSpace(size_t bytes) {
  if (!low && bytes < bytesToSpaceCheck) {
    bytesToSpaceCheck -= bytes;
    return;
  }
  bytesToSpaceCheck = SPACE_CHECK_BYTES;
  auto space = disk.space();
  bool nowLow = space.error == 0 && space.freeBytes < options.reserveBytes;
  if (nowLow != low) {
    low = nowLow;
    if (low) {
      logger.error("the disk of the metaserver has ", space.freeBytes, " bytes free, ", options.reserveBytes,
                   " are kept for the namespace store -> refuse what makes it grow; make room");
    } else {
      logger.info("the disk of the metaserver has room again -> accept all changes");
    }
  }
}

void FileLog::refuseWithoutSpace(Batch& batch) {
  watchSpace(0);  // there may be room again
  if (!low) return;
  Batch rest;
  for (auto& proposal : batch) {
    KJ_IF_MAYBE (operation, proposal.operation) {
      auto body = (*operation)->body().asReader();
      if (growsNamespace(body)) {
        // One that was applied before the disk was full is only asked again for its answer.
        KJ_IF_MAYBE (outcome, names.remembered(body)) {
          answer(proposal, kj::mv(*outcome));
        } else {
          answer(proposal, refusal(Status::NO_SPACE));
        }
        continue;
      }
    }
    rest.add(kj::mv(proposal));
  }
  batch = kj::mv(rest);
}

// -- durability
// -------------------------------------------------------------------------------------------------

void FileLog::startSync() {
  if (syncing || failed || synced >= logged) return;
  syncing = true;
  tasks.add(syncLoop());
}

Async<void> FileLog::syncLoop() {
  while (synced < logged && !failed) {
    auto status = co_await syncNow();
    if (!ok(status)) break;
  }
  syncing = false;
}

Async<Status> FileLog::syncNow() {
  // Of the segment that is current now. An earlier one was synced before it was left.
  auto into = kj::addRef(segment());
  LogIndex upTo = logged;
  auto outcome = co_await into->file->sync();
  if (failed) co_return Status::IO_ERROR;
  if (!outcome.ok()) {
    breakDown(kj::str(
        "the disk refused to sync the operation log ", into->path, ": ", env::describeError(outcome.error),
        ". What was answered since the last sync may be lost. Check the disk and start again."));
    co_return Status::IO_ERROR;
  }
  advanceSynced(upTo);
  co_return Status::OK;
}

void FileLog::advanceSynced(LogIndex index) {
  if (index > synced) {
    synced = index;
    syncedMark->write(cluster, synced);
  }
  while (!waiting.empty() && waiting.begin()->first <= synced) {
    auto fulfiller = kj::mv(waiting.begin()->second);
    waiting.erase(waiting.begin());
    fulfiller->fulfill(Status::OK);
  }
}

void FileLog::breakDown(kj::String sentence) {
  if (failed) return;
  failed = true;
  logger.error(sentence, " -> take no more changes");
  for (auto& [index, fulfiller] : waiting) fulfiller->fulfill(Status::IO_ERROR);
  waiting.clear();
  broken.fulfiller->reject(KJ_EXCEPTION(FAILED, kj::mv(sentence)));
}

void FileLog::taskFailed(kj::Exception&& exception) {
  breakDown(kj::str("the operation log failed: ", exception.getDescription(),
                    ". No answered change is lost. Start again."));
  for (auto& proposal : queue) answer(proposal, refusal(Status::IO_ERROR));
  queue.clear();
}

// -- segments
// ---------------------------------------------------------------------------------------------------

Async<void> FileLog::rotate() {
  // INVARIANT: every segment but the last is wholly on stable storage, so this one is synced before it is
  // left. When a new one cannot be made the old one grows on.
  if (!ok(co_await syncNow())) co_return;
  auto old = kj::addRef(segment());
  if (!ok(co_await beginSegment())) co_return;
  retired.push_back({kj::str(old->path), logged});
  names.startFlush();
  tasks.add(dropRetired());
}

Async<Status> FileLog::beginSegment() {
  LogIndex first = logged.next();
  auto path = kj::str(directory, '/', segmentName(first));
  auto opened = co_await disk.open(path, env::OpenMode::CREATE_OR_OPEN);
  int error = opened.error;
  KJ_IF_MAYBE (file, opened.file) {
    SegmentHeader header;
    header.cluster = cluster;
    header.epoch = thisEpoch ? thisEpoch : names.state().epoch.next();
    header.first = first;
    header.synced = synced;
    auto bytes = encode(header);
    auto cleared = co_await (*file)->truncate(0);  // an attempt that failed half way left something
    error = cleared.error;
    if (error == 0) error = (co_await (*file)->write(0, bytes)).error;
    if (error == 0) error = (co_await (*file)->sync()).error;
    if (error == 0) error = (co_await disk.syncDirectory(directory)).error;
    if (error == 0) {
      auto segment = kj::refcounted<Segment>(kj::mv(*file), kj::mv(path), first);
      segment->size = bytes.size();
      current = kj::mv(segment);
      co_return Status::OK;
    }
  }
  logger.error("a new log segment ", path, ": ", env::describeError(error), " -> stay with the old one");
  auto removed = co_await disk.remove(path);
  // A loss of power must not bring it back: records that follow in the old one would contradict it.
  if (removed.ok()) removed = co_await disk.syncDirectory(directory);
  if (!removed.ok() && removed.error != ENOENT) {
    breakDown(kj::str("the half made log segment ", path,
                      " cannot be removed: ", env::describeError(removed.error),
                      ". No answered change is lost. Repair the disk and start again."));
    co_return Status::IO_ERROR;
  }
  co_return error == ENOSPC || error == EDQUOT ? Status::NO_SPACE : Status::IO_ERROR;
}

Async<void> FileLog::dropRetired() {
  LogIndex persisted = names.persisted();
  while (!retired.empty() && retired.front().last <= persisted) {
    auto gone = kj::mv(retired.front());
    retired.pop_front();
    auto outcome = co_await disk.remove(gone.path);
    if (!outcome.ok() && outcome.error != ENOENT) {
      logger.warning("log segment ", gone.path, " is not needed any more, but ",
                     env::describeError(outcome.error), " -> leave it to the next start");
    }
  }
}

Async<Status> FileLog::cut() {
  cutWanted = true;
  auto paf = kj::newPromiseAndFulfiller<Outcome>();
  enqueue({nullptr, kj::mv(paf.fulfiller)});
  co_await paf.promise;
  // When no new segment could be made the old one goes on: what was proposed before has to be durable all the
  // same.
  co_return co_await durable(LogIndex());
}

Async<uint32_t> FileLog::dropPersisted() {
  co_await dropRetired();
  co_return retired.size();
}

Async<void> FileLog::close() {
  auto status = co_await durable(LogIndex());
  if (!ok(status)) co_return;
  names.flush();
  co_await dropRetired();
  logger.info("operation ", logged, " is the last one -> the namespace has all of it, stop");
}

}  // namespace

Async<kj::Own<LocalLog>> LocalLog::open(env::Disk& disk, kj::StringPtr directory, Namespace& names,
                                        const kj::Clock& clock, LocalLogOptions options, env::Logger logger) {
  auto log = kj::heap<FileLog>(disk, directory, names, clock, kj::mv(options), kj::mv(logger));
  co_await log->start();
  co_return kj::mv(log);
}

}  // namespace cairn
