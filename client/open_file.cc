// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/open_file.h"

#include <kj/debug.h>
#include <string.h>

#include <utility>

#include "client/attributes.h"

namespace cairn::client {

namespace {

struct SharedKeeper : public kj::Refcounted {
  // What keeps a large write alive, for its pieces.
  explicit SharedKeeper(kj::Own<void> keeper) : keeper(kj::mv(keeper)) {}
  kj::Own<void> keeper;
};

Timestamp nowOf(const kj::Clock& clock) {
  return {(clock.now() - kj::UNIX_EPOCH) / kj::NANOSECONDS};
}

}  // namespace

void fillAttributes(rpc::Change::Builder change, InodeId inode, const AttributeChange& wanted) {
  auto set = change.initSetAttributes();
  uint32_t bits = 0;
  set.setInode(inode.value());
  KJ_IF_MAYBE (mode, wanted.mode) {
    bits |= rpc::SET_MODE;
    set.setMode(*mode);
  }
  KJ_IF_MAYBE (uid, wanted.uid) {
    bits |= rpc::SET_UID;
    set.setUid(*uid);
  }
  KJ_IF_MAYBE (gid, wanted.gid) {
    bits |= rpc::SET_GID;
    set.setGid(*gid);
  }
  KJ_IF_MAYBE (size, wanted.size) {
    bits |= rpc::SET_SIZE;
    set.setSize(*size);
  }
  KJ_IF_MAYBE (atime, wanted.atime) {
    bits |= rpc::SET_ATIME;
    set.setAtime(atime->ns);
  }
  KJ_IF_MAYBE (mtime, wanted.mtime) {
    bits |= rpc::SET_MTIME;
    set.setMtime(mtime->ns);
  }
  if (wanted.atimeNow == AttributeChange::Now::YES) bits |= rpc::SET_ATIME_NOW;
  if (wanted.mtimeNow == AttributeChange::Now::YES) bits |= rpc::SET_MTIME_NOW;
  set.setSet(bits);
}

FileState::FileState(FileParts& parts, const FileAttributes& attributes)
    : parts(parts),
      id(attributes.inode),
      base(attributes),
      baseTime(parts.timer.now()),
      buffer(parts.budget, parts.limits),
      earlierWritesKnown(attributes.size == 0),
      tasks(*this) {}

FileState::~FileState() noexcept(false) {}

// ---------------------------------------------------------------------------------------------------
// attributes

void FileState::overlay(FileAttributes& attributes) const {
  attributes.size = kj::max(attributes.size, kj::max(appliedEnd, buffer.end()));
  if (acceptedBytes > 0) {
    // As local filesystems count what they have not yet given a place: never nothing for a file with new
    // data.
    auto whole = (attributes.size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
    auto used = attributes.bytesUsed + (acceptedBytes + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
    attributes.bytesUsed = kj::max(attributes.bytesUsed, kj::min(whole, used));
  }
  KJ_IF_MAYBE (mtime, localMtime) {
    attributes.mtime = *mtime;
    if (attributes.ctime.ns < mtime->ns) attributes.ctime = *mtime;
  }
}

FileAttributes FileState::attributes() const {
  auto now = base;
  overlay(now);
  return now;
}

void FileState::learn(const FileAttributes& attributes) {
  // Answers may overtake each other; content and attributes only move forward.
  if (attributes.dataVersion < base.dataVersion) return;
  if (attributes.dataVersion == base.dataVersion && attributes.ctime.ns < base.ctime.ns) return;
  if (attributes.dataVersion != base.dataVersion) parts.locator.known().forget(id);
  base = attributes;
  baseTime = parts.timer.now();
}

void FileState::changedElsewhere() {
  parts.locator.known().forget(id);
  baseTime = kj::origin<kj::TimePoint>();
}

kj::Promise<Status> FileState::refresh() {
  auto answer = co_await parts.session.query("getAttributes", [id = id](rpc::Session::Client& client) {
    auto request = client.getAttributesRequest();
    request.setInode(id.value());
    return request.send();
  });
  if (!answer.ok()) co_return answer.status();
  learn(readAttributes(answer->getAttributes()));
  baseTime = parts.timer.now();
  co_return Status::OK;
}

// ------------------------------------------------------------------------------------------------------
// reading

Result<ReadData> FileState::endOfFile() const {
  return ReadData();
}

kj::Promise<Result<ReadData>> FileState::read(uint64_t offset, uint32_t size) {
  if (stale) return Result<ReadData>(Status::STALE);
  auto length = attributes().size;
  bool reachesEnd = offset >= length || length - offset < size;
  if (reachesEnd && parts.timer.now() - baseTime > 1 * kj::SECONDS) return readAfterRefresh(offset, size);
  if (offset >= length) return endOfFile();
  uint64_t wanted = kj::min(uint64_t(size), length - offset);
  kj::Vector<Extent> newer;
  if (!buffer.isEmpty()) buffer.overlay(offset, wanted, newer);
  return readBehind(offset, wanted, kj::mv(newer));
}

kj::Promise<Result<ReadData>> FileState::readAfterRefresh(uint64_t offset, uint32_t size) {
  // Somebody else may have made the file longer.
  auto status = co_await refresh();
  if (!ok(status)) co_return status;
  co_return co_await read(offset, size);
}

kj::Promise<Result<ReadData>> FileState::readBehind(uint64_t offset, uint64_t size,
                                                    kj::Vector<Extent> newer) {
  // The replicas' bytes where there are none here: one range from the first gap to the last.
  uint64_t gapStart = UINT64_MAX, gapEnd = 0, at = offset;
  for (auto& extent : newer) {
    if (at < extent.offset) {
      gapStart = kj::min(gapStart, at);
      gapEnd = extent.offset;
    }
    at = extent.end();
  }
  if (at < offset + size) {
    gapStart = kj::min(gapStart, at);
    gapEnd = offset + size;
  }
  FoundBytes stored;
  if (gapStart < gapEnd) {
    auto found = co_await parts.reader.read(id, gapStart, gapEnd - gapStart, attributes().size);
    if (!found.ok()) co_return found.status();
    if (newer.size() == 0) co_return found->release();
    stored = kj::mv(*found);
  }

  FoundBytes result;
  size_t view = 0;
  uint64_t viewStart = gapStart;
  auto addStored = [&](uint64_t from, uint64_t to) {
    while (from < to) {
      auto& piece = stored.views[view];
      if (viewStart + piece.size() <= from) {
        viewStart += piece.size();
        ++view;
        continue;
      }
      auto end = kj::min(to, viewStart + piece.size());
      result.views.add(piece.slice(from - viewStart, end - viewStart));
      from = end;
    }
  };
  at = offset;
  for (auto& extent : newer) {
    addStored(at, extent.offset);
    at = extent.end();
    result.views.add(extent.bytes);
    result.keepers.add(kj::mv(extent.memory));
  }
  addStored(at, offset + size);
  for (auto& keeper : stored.keepers) result.keepers.add(kj::mv(keeper));
  co_return result.release();
}

// ------------------------------------------------------------------------------------------------------
// writing

kj::Promise<Status> FileState::write(uint64_t offset, Bytes bytes) {
  if (stale) return Status::STALE;
  KJ_IF_MAYBE (status, takeError()) return *status;
  if (bytes.view.size() > FILE_SIZE_MAX || offset > FILE_SIZE_MAX - bytes.view.size()) return Status::TOO_BIG;
  if (bytes.view.size() <= TRANSFER_SIZE_MAX && order.isFree() && parts.budget.hasRoom() &&
      !parts.budget.hasWaiters() && !mayExceedQuota(offset, bytes.view.size())) {
    accept(offset, kj::mv(bytes));
    return Status::OK;
  }
  return writeInTurn(offset, kj::mv(bytes));
}

void FileState::accept(uint64_t offset, Bytes bytes) {
  acceptedBytes += bytes.view.size();
  buffer.write(offset, kj::mv(bytes), parts.timer.now());
  localMtime = nowOf(parts.clock);
  pump();
}

bool FileState::mayExceedQuota(uint64_t offset, uint64_t size) const {
  // What has been accepted and not published may all be new. Overwriting takes nothing.
  if (quotaLeft == UINT64_MAX || acceptedBytes + size <= quotaLeft) return false;
  auto whole = (base.size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
  return offset + size > base.size || base.bytesUsed < whole;
}

kj::Promise<Status> FileState::findRoom(uint64_t offset, uint64_t size) {
  // Publishing tells how much there is; with nothing to publish, it is asked for: somebody may have made
  // room.
  auto status = co_await settle();
  if (!ok(status)) co_return status;
  if (!mayExceedQuota(offset, size)) co_return Status::OK;
  auto space = co_await parts.session.query("statistics", [id = id](rpc::Session::Client& client) {
    auto request = client.statisticsRequest();
    request.setInode(id.value());
    return request.send();
  });
  if (!space.ok()) co_return space.status();
  quotaLeft = space->getOverQuota() ? space->getBlocksFree() * BLOCK_SIZE : UINT64_MAX;
  co_return mayExceedQuota(offset, size) ? Status::OVER_QUOTA : Status::OK;
}

kj::Promise<Status> FileState::writeInTurn(uint64_t offset, Bytes bytes) {
  auto turn = co_await order.enter();
  auto keeper = kj::refcounted<SharedKeeper>(kj::mv(bytes.keeper));
  auto view = bytes.view;
  while (view.size() > 0) {
    while (!parts.budget.hasRoom()) {
      parts.pressure.relieve();
      co_await parts.budget.room();
    }
    KJ_IF_MAYBE (status, takeError()) co_return *status;
    // Pieces end at multiples of their size, so that the next ones are whole.
    size_t size = kj::min(view.size(), size_t(TRANSFER_SIZE_MAX - offset % TRANSFER_SIZE_MAX));
    if (view.size() <= TRANSFER_SIZE_MAX) size = view.size();
    if (mayExceedQuota(offset, size)) {
      auto status = co_await findRoom(offset, size);
      if (!ok(status)) co_return status;
    }
    accept(offset, Bytes{view.slice(0, size), kj::addRef(*keeper)});
    offset += size;
    view = view.slice(size, view.size());
    parts.budget.passOn();
  }
  co_return Status::OK;
}

void FileState::relieve() {
  if (buffer.hasWaiting()) pump();
}

void FileState::pump() {
  auto now = parts.timer.now();
  auto urgency = parts.budget.tight() ? WriteBuffer::Urgency::MEMORY : WriteBuffer::Urgency::NONE;
  for (;;) {
    KJ_IF_MAYBE (outgoing, buffer.next(now, urgency)) {
      tasks.add(send(kj::mv(*outgoing)));
    } else {
      break;
    }
  }
  if (!lingerArmed && buffer.lingerEnd(now) != nullptr) {
    lingerArmed = true;
    tasks.add(linger());
  }
}

kj::Promise<void> FileState::linger() {
  for (;;) {
    KJ_IF_MAYBE (end, buffer.lingerEnd(parts.timer.now())) {
      co_await parts.timer.atTime(*end);
    } else {
      lingerArmed = false;
      co_return;
    }
    pump();
  }
}

kj::Promise<void> FileState::send(WriteBuffer::Outgoing outgoing) {
  auto number = outgoing.id;
  auto end = outgoing.extent.end();
  auto index = locate(FileOffset(outgoing.extent.offset)).index;
  auto tried = co_await tryOnce(parts.writer.write(id, kj::mv(outgoing.extent)));
  buffer.done(number);
  KJ_IF_MAYBE (written, tried.answer) {
    if (written->ok()) {
      applied(index, **written, end);
    } else {
      fail(written->status());
    }
  }
  KJ_IF_MAYBE (exception, tried.exception) taskFailed(kj::mv(*exception));
  pump();
  tellListeners();
}

void FileState::applied(ChunkIndex index, const DirtyChunk& chunk, uint64_t end) {
  appliedEnd = kj::max(appliedEnd, end);
  DirtyChunks one;
  one.emplace(index, chunk);
  merge(dirty, kj::mv(one));
  unpublished[index] = {chunk.handle, chunk.blocks};
  needsPublish = true;
  armPublish();
}

void FileState::fail(Status status) {
  parts.log.error("inode ", id, ": written bytes are lost: ", status,
                  " -> the next write, flush or sync says so");
  if (error == nullptr) error = status;
  if (syncError == nullptr) syncError = status;
}

kj::Maybe<Status> FileState::takeError() {
  auto taken = kj::mv(error);
  error = nullptr;
  return taken;
}

kj::Maybe<Status> FileState::takeSyncError() {
  auto taken = kj::mv(syncError);
  syncError = nullptr;
  return taken;
}

// -----------------------------------------------------------------------------------------------------
// flushing

kj::Promise<void> FileState::drained(uint64_t mark) {
  if (buffer.isDone(mark)) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  listeners.push_back(Listener{mark, kj::mv(paf.fulfiller)});
  return kj::mv(paf.promise);
}

void FileState::tellListeners() {
  listeners.remove_if([this](Listener& listener) {
    if (!buffer.isDone(listener.mark)) return !listener.fulfiller->isWaiting();
    listener.fulfiller->fulfill();
    return true;
  });
}

kj::Promise<void> FileState::drain() {
  auto mark = buffer.flushMark();
  auto end = kj::max(appliedEnd, buffer.end());
  pump();
  co_await drained(mark);
  // Later writes may lie below: they do not hold back the length of what was written before them.
  certainEnd = kj::max(certainEnd, kj::min(end, appliedEnd));
}

uint64_t FileState::publishableLength() const {
  // Bytes that count for the length but are not applied yet keep it below them.
  return kj::max(certainEnd, kj::min(appliedEnd, buffer.lowestBeyond(base.size)));
}

kj::Promise<Status> FileState::publish(Session::Durability durability) {
  auto turn = co_await publishing.enter();
  if (!needsPublish) co_return durability == Session::Durability::STABLE ? co_await syncLog() : Status::OK;
  needsPublish = false;
  auto length = publishableLength();
  auto chunks = std::move(unpublished);
  unpublished.clear();
  auto counted = acceptedBytes;
  auto modified = localMtime;
  bool answered = false;
  KJ_DEFER(if (!answered) {  // also when the caller goes away meanwhile: then the next one publishes
    unpublished.insert(chunks.begin(), chunks.end());
    needsPublish = true;
  });
  auto outcome = co_await parts.session.change(
      [&](rpc::Change::Builder change) {
        auto publish = change.initPublish();
        publish.setFile(id.value());
        publish.setLength(length);
        KJ_IF_MAYBE (time, modified) publish.setModified(time->ns);
        auto handles = publish.initChunks(chunks.size());
        unsigned i = 0;
        auto blocks = change.initChunkBlocks(chunks.size());
        auto indexes = change.initChunkIndexes(chunks.size());
        for (auto& [index, chunk] : chunks) {
          indexes.set(i, index.value());
          blocks.set(i, chunk.blocks);
          handles.set(i++, chunk.handle.value());
        }
      },
      durability);
  auto status = outcome.status();
  if (status == Status::NOT_FOUND || status == Status::STALE) {
    // It has no name any more. What it was before that is still to be made stable.
    status = durability == Session::Durability::STABLE ? co_await syncLog() : Status::OK;
  }
  if (!ok(status)) {
    armPublish();
    co_return status;
  }
  answered = true;
  acceptedBytes = buffer.isEmpty() ? acceptedBytes - counted : kj::max(acceptedBytes - counted, 1);
  if (outcome.ok()) {
    // Our own change of content is no news for our own locations.
    quotaLeft = outcome->quotaLeft;
    if (outcome->attributes.dataVersion == base.dataVersion + 1) base.dataVersion += 1;
    learn(outcome->attributes);
  }
  if (certainEnd <= length) certainEnd = 0;
  if (appliedEnd <= length) {
    appliedEnd = 0;
  } else {
    needsPublish = true;
    armPublish();
  }
  KJ_IF_MAYBE (time, modified) {
    KJ_IF_MAYBE (now, localMtime) {
      if (now->ns == time->ns && buffer.isEmpty()) localMtime = nullptr;
    }
  }
  co_return Status::OK;
}

void FileState::armPublish() {
  if (publishArmed) return;
  publishArmed = true;
  tasks.add(publishLater());
}

kj::Promise<void> FileState::publishLater() {
  co_await parts.timer.afterDelay(parts.timing.publishInterval);
  publishArmed = false;
  auto status = co_await publish();
  if (!ok(status))
    parts.log.warning("inode ", id, ": its length could not be published: ", status, " -> again");
}

kj::Promise<Status> FileState::settle() {
  co_await drain();
  co_return co_await publish();
}

kj::Promise<Status> FileState::flush() {
  if (stale) return Status::STALE;
  if (isSettled()) {
    KJ_IF_MAYBE (status, takeError()) return *status;
    return Status::OK;
  }
  return flushInTurn();
}

kj::Promise<Status> FileState::flushInTurn() {
  if (!order.isFree()) auto turn KJ_UNUSED = co_await order.enter();  // writes that wait for room come first
  auto status = co_await settle();
  KJ_IF_MAYBE (earlier, takeError()) co_return *earlier;
  co_return status;
}

kj::Promise<Status> FileState::publishDurably() {
  return publish(Session::Durability::STABLE);
}

kj::Promise<Status> FileState::syncLog() {
  auto answer = co_await parts.session.query("sync", [](rpc::Session::Client& client) {
    auto request = client.syncRequest();
    request.setIndex(0);
    return request.send();
  });
  co_return answer.status();
}

UnsyncedFile FileState::takeUnsynced() {
  merge(unsynced, std::move(dirty));
  dirty.clear();
  return {std::exchange(unsynced, {}), takeSyncError()};
}

void FileState::inherit(UnsyncedFile left) {
  merge(unsynced, std::move(left.chunks));
  if (syncError == nullptr) syncError = left.error;
}

kj::Promise<Status> FileState::sync() {
  if (stale) return Status::STALE;
  return syncInTurn();
}

kj::Promise<Status> FileState::syncInTurn() {
  if (!order.isFree()) auto turn KJ_UNUSED = co_await order.enter();
  co_await drain();
  // A sync that is under way covers what it took; ours must not answer before it.
  auto turn = co_await syncing.enter();
  // What no sync has finished yet stays known until one has: also what a sync failed for, or was given up
  // with.
  merge(unsynced, std::move(dirty));
  dirty.clear();
  if (!earlierWritesKnown) {
    auto status = co_await parts.chunkSync.recall(id, attributes().size, unsynced);
    if (!ok(status)) co_return status;
    earlierWritesKnown = true;
  }
  auto metadata = publishDurably().eagerlyEvaluate(nullptr);
  unsynced = co_await parts.chunkSync.sync(id, unsynced);
  bool complete = unsynced.empty();
  auto status = co_await metadata;
  (void)takeError();
  KJ_IF_MAYBE (earlier, takeSyncError()) co_return *earlier;
  if (!complete) co_return Status::IO_ERROR;
  co_return status;
}

// --------------------------------------------------------------------------------------------- cuts and
// appends

kj::Promise<Result<FileAttributes>> FileState::setAttributes(AttributeChange change) {
  if (stale) co_return Status::STALE;
  auto turn = co_await order.enter();  // what is written from now on comes after
  bool changesContent =
      change.size != nullptr || change.mtime != nullptr || change.mtimeNow == AttributeChange::Now::YES;
  if (changesContent) {
    KJ_IF_MAYBE (size, change.size) buffer.truncate(*size);
    auto status = co_await settle();
    if (!ok(status)) co_return status;
  }
  auto publishTurn = co_await publishing.enter();
  auto outcome = co_await parts.session.change(
      [&](rpc::Change::Builder builder) { fillAttributes(builder, id, change); });
  if (!outcome.ok()) co_return outcome.status();
  KJ_IF_MAYBE (size, change.size) {
    appliedEnd = certainEnd = 0;
    parts.locator.known().forgetFrom(id, locate(FileOffset(*size)).index);
  }
  if (changesContent && buffer.isEmpty()) localMtime = nullptr;
  if (outcome->attributes.dataVersion >= base.dataVersion) {
    base = outcome->attributes;
    baseTime = parts.timer.now();
  }
  co_return attributes();
}

kj::Promise<Result<FileOffset>> FileState::recordAppend(kj::ArrayPtr<const kj::byte> record) {
  if (stale) co_return Status::STALE;
  if (record.size() > RECORD_SIZE_MAX) co_return Status::TOO_BIG;
  if (record.size() == 0) co_return Status::INVALID;
  auto size = uint32_t(record.size());
  auto memory = kj::refcounted<BufferMemory>(parts.budget, (record.size() + 7) / 8 * 8);
  memset(memory->writable() + (size & ~7u), 0, memory->capacity() - (size & ~7u));
  memcpy(memory->writable(), record.begin(), size);
  if (!isSettled()) {
    auto status = co_await flushInTurn();
    if (!ok(status)) co_return status;
  }
  auto status = co_await refresh();
  if (!ok(status)) co_return status;
  auto last = base.size == 0 ? ChunkIndex(0) : locate(FileOffset(base.size - 1)).index;
  auto appended = co_await parts.appender.append(id, last, kj::mv(memory), size);
  if (!appended.ok()) co_return appended.status();
  localMtime = nowOf(parts.clock);
  applied(appended->index, appended->chunk, appended->offset + size);
  certainEnd = kj::max(certainEnd, appended->offset + size);
  status = co_await publish();
  if (!ok(status)) co_return status;
  co_return FileOffset(appended->offset);
}

void FileState::taskFailed(kj::Exception&& exception) {
  parts.log.error("inode ", id, ": ", exception, " -> its next flush fails");
  fail(Status::IO_ERROR);
}

}  // namespace cairn::client
