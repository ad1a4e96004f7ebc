// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/open_file.h"

#include <kj/debug.h>
#include <string.h>

#include <utility>

#include "client/access_times.h"
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
      buffer(parts.budget, parts.limits),
      earlierWritesKnown(attributes.size == 0),
      tasks(*this) {}

FileState::~FileState() noexcept(false) {}

// ------------------------------------------------------------ attributes

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
  if (attributes.stamp < base.stamp) return;
  if (!isBaseOld) {
    if (attributes.dataVersion < base.dataVersion) return;
    if (attributes.dataVersion == base.dataVersion && attributes.ctime.ns < base.ctime.ns) return;
  }
  isBaseOld = false;
  if (attributes.dataVersion != base.dataVersion) parts.locator.known().forget(id);
  base = attributes;
}

void FileState::answersLost(LogIndex from) {
  isBaseOld = true;
  for (auto* chunks : {&dirty, &unsynced}) {
    for (auto& [index, chunk] : *chunks) chunk.answersLost(from);
  }
}

void FileState::accessed(Timestamp time) {
  if (isAccessDue(base, time)) base.atime = time;
}

Async<Status> FileState::refresh() {
  auto answer = co_await parts.session.query("getAttributes", [id = id](rpc::Session::Client& client) {
    auto request = client.getAttributesRequest();
    request.setInode(id.value());
    return request.send();
  });
  if (!answer.ok()) co_return answer.status();
  auto attributes = readAttributes(answer->getAttributes());
  parts.leases.cache().learn(attributes);
  learn(attributes);
  co_return Status::OK;
}

Async<Status> FileState::ensure(LeaseKind kind) {
  // Others have published what they had buffered, when it returns. It may be gone again.
  auto pin = co_await parts.leases.acquire(id, kind);
  co_return pin.status();
}

// ------------------------------------------------------------ writing

kj::Promise<Status> FileState::write(uint64_t offset, Bytes bytes, Origin origin) {
  if (stale) return Status::STALE;
  KJ_IF_MAYBE (status, takeError()) return *status;
  if (bytes.view.size() > FILE_SIZE_MAX || offset > FILE_SIZE_MAX - bytes.view.size()) return Status::TOO_BIG;
  if (bytes.view.size() <= TRANSFER_SIZE_MAX && order.isFree() && parts.budget.hasRoom() &&
      !parts.budget.hasWaiters() && parts.leases.mayWrite(id) && !mayExceedQuota(offset, bytes.view.size())) {
    accept(offset, kj::mv(bytes));
    return Status::OK;
  }
  return writeInTurn(offset, kj::mv(bytes), origin);
}

void FileState::accept(uint64_t offset, Bytes bytes) {
  if (buffer.isEmpty() && !needsPublish) authorVersion = base.dataVersion;
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

Async<Status> FileState::findRoom(uint64_t offset, uint64_t size) {
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

Async<Status> FileState::writeInTurn(uint64_t offset, Bytes bytes, Origin origin) {
  kj::Maybe<Leases::PageRange> locked;
  if (origin != Origin::PROGRAM) locked.emplace(parts.leases, id, offset, bytes.view.size());
  auto turn = co_await order.enter();
  auto keeper = kj::refcounted<SharedKeeper>(kj::mv(bytes.keeper));
  auto view = bytes.view;
  while (view.size() > 0) {
    while (!parts.budget.hasRoom()) {
      parts.pressure.relieve();
      co_await parts.budget.room();
    }
    if (mayExceedQuota(offset, view.size())) {
      auto status = co_await findRoom(offset, view.size());
      if (!ok(status)) co_return status;
    }
    kj::Own<Leases::Pin> pin;  // the last thing that is waited for: what is accepted has the lease
    if (origin == Origin::WRITEBACK && parts.leases.isRecalling(id) &&
        parts.leases.has(id, LeaseKind::WRITE)) {
      // What a mapping has changed under the lease; that it is recalled is why we are told.
      parts.leases.passed(id);
    } else if (!parts.leases.mayWrite(id)) {
      auto acquired = co_await parts.leases.acquire(id, LeaseKind::WRITE);
      if (!acquired.ok()) co_return acquired.status();
      pin = kj::mv(acquired).value();
    }
    KJ_IF_MAYBE (status, takeError()) co_return *status;
    // Pieces end at multiples of their size, so that the next ones are whole.
    size_t size = kj::min(view.size(), size_t(TRANSFER_SIZE_MAX - offset % TRANSFER_SIZE_MAX));
    if (view.size() <= TRANSFER_SIZE_MAX) size = view.size();
    accept(offset, Bytes{view.slice(0, size), kj::addRef(*keeper)});
    offset += size;
    view = view.slice(size, view.size());
    parts.budget.passOn();
  }
  co_return Status::OK;
}

Async<Result<FileOffset>> FileState::append(Bytes bytes, Rest rest, kj::Maybe<ByteRange> pages) {
  if (stale) co_return Status::STALE;
  kj::Maybe<Leases::PageRange> locked;
  KJ_IF_MAYBE (range, pages) locked.emplace(parts.leases, id, range->offset, range->size);
  auto turn = co_await order.enter();
  KJ_IF_MAYBE (status, takeError()) co_return *status;
  // The pieces of a record have one lease, from the first to the last.
  auto pin = kj::mv(appendPin);
  auto number = ++appends;
  if (pin.get() == nullptr || !parts.leases.has(id, LeaseKind::WRITE)) {
    appendedBytes = 0;
    pin = nullptr;
    auto end = attributes().size;
    if (mayExceedQuota(end, bytes.view.size())) {
      auto status = co_await findRoom(end, bytes.view.size());
      if (!ok(status)) co_return status;
    }
    auto acquired = co_await parts.leases.acquire(id, LeaseKind::WRITE);
    if (!acquired.ok()) co_return acquired.status();
    pin = kj::mv(acquired).value();
  }
  if (!parts.leases.areGranted()) {
    auto status = co_await refresh();
    if (!ok(status)) co_return status;
  }
  while (!parts.budget.hasRoom()) {
    parts.pressure.relieve();
    co_await parts.budget.room();
  }
  auto start = attributes().size, offset = start;
  auto size = bytes.view.size();
  if (size > FILE_SIZE_MAX || offset > FILE_SIZE_MAX - size) co_return Status::TOO_BIG;
  auto keeper = kj::refcounted<SharedKeeper>(kj::mv(bytes.keeper));
  for (auto view = bytes.view; view.size() > 0;) {
    size_t piece = kj::min(view.size(), size_t(TRANSFER_SIZE_MAX - offset % TRANSFER_SIZE_MAX));
    accept(offset, Bytes{view.slice(0, piece), kj::addRef(*keeper)});
    offset += piece;
    view = view.slice(piece, view.size());
  }
  parts.budget.passOn();
  appendedBytes += size;
  if (rest == Rest::FOLLOWS && appendedBytes < APPEND_SIZE_MAX) {
    appendPin = kj::mv(pin);
    tasks.add(endAppend(number));
  }
  co_return FileOffset(start);
}

Async<void> FileState::endAppend(uint64_t number) {
  // The next piece has not come: its writer was killed, or it had none.
  co_await parts.timer.afterDelay(parts.timing.appendPatience);
  if (number == appends) appendPin = nullptr;
}

// ------------------------------------------------------------ the write lease

void FileState::leaseLost() {
  appendPin = nullptr;
  auto listeners = std::move(onLeaseLost);
  onLeaseLost.clear();
  for (auto& listener : listeners) listener->fulfill();
}

kj::Promise<Status> FileState::regain() {
  // Of what has been written and not been sent when the lease was lost. Shared by all who are refused.
  KJ_IF_MAYBE (already, regaining) return already->addBranch();
  auto fork = regainNow().attach(kj::defer([this]() { regaining = nullptr; })).fork();
  auto branch = fork.addBranch();
  regaining = kj::mv(fork);
  return branch;
}

Async<Status> FileState::regainNow() {
  parts.leases.refused(id);
  // A publish that is under way may have been carried out: until it is answered, we could not tell it from
  // another's.
  co_await publishing.enter();
  auto status = co_await ensure(LeaseKind::WRITE);
  // It may be lower: what we have published was lost with the power of the metaserver's machine, and nobody
  // has written since.
  if (ok(status) && base.dataVersion > authorVersion) status = Status::IO_ERROR;
  if (ok(status)) co_return status;
  parts.log.error("inode ", id, ": the write lease was lost and ",
                  status == Status::IO_ERROR
                      ? kj::str("others have written since (", base.dataVersion, ", not ", authorVersion, ")")
                      : kj::str("does not come back"),
                  " -> what was buffered is dropped");
  buffer.truncate(0);
  unpublished.clear();
  needsPublish = false;
  appliedEnd = certainEnd = acceptedBytes = 0;
  localMtime = nullptr;
  fail(Status::IO_ERROR);
  tellListeners();
  co_return Status::IO_ERROR;
}

kj::Promise<void> FileState::untilLeaseLost() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  onLeaseLost.remove_if([](auto& listener) { return !listener->isWaiting(); });
  onLeaseLost.push_back(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

Async<void> FileState::writeOut() {
  while (parts.leases.has(id, LeaseKind::WRITE) && (!buffer.isEmpty() || needsPublish || isPublishing)) {
    co_await drain().exclusiveJoin(untilLeaseLost());
    if (isPublishing) {
      // Not by a turn of ours: a truncate may be before us, and wait for what this recall is for.
      auto paf = kj::newPromiseAndFulfiller<void>();
      onPublished.push_back(kj::mv(paf.fulfiller));
      co_await paf.promise.exclusiveJoin(untilLeaseLost());
      continue;
    }
    auto status = co_await publish();
    if (status == Status::NOT_LEASED) parts.leases.refused(id);
  }
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

Async<void> FileState::linger() {
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

Async<void> FileState::send(WriteBuffer::Outgoing outgoing) {
  auto number = outgoing.id;
  auto end = outgoing.end();
  auto index = locate(FileOffset(outgoing.offset())).index;
  Tried<Result<DirtyChunk>> tried;
  for (;;) {
    tried = co_await tryOnce<Result<DirtyChunk>>(parts.writer.write(id, outgoing));
    bool isRefused = false;
    KJ_IF_MAYBE (written, tried.answer) isRefused = written->status() == Status::NOT_LEASED;
    if (!isRefused) break;
    auto regained = co_await regain();
    if (!ok(regained)) break;
  }
  buffer.done(number);
  KJ_IF_MAYBE (written, tried.answer) {
    if (written->ok()) {
      applied(index, **written, end);
    } else if (written->status() == Status::NOT_FOUND) {
      vanished();
    } else if (written->status() != Status::NOT_LEASED) {  // else regain() has said so
      fail(written->status());
    }
  }
  KJ_IF_MAYBE (exception, tried.exception) taskFailed(kj::mv(*exception));
  pump();
  tellListeners();
}

void FileState::applied(ChunkIndex index, const DirtyChunk& chunk, uint64_t end) {
  appliedEnd = kj::max(appliedEnd, end);
  parts.session.restsOn(id, chunk.oldest, chunk.age);
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

void FileState::vanished() {
  // The operation that made it was answered, and lost with the power of the metaserver's machine: there is
  // no file.
  if (stale) return;
  stale = true;
  buffer.truncate(0);
  fail(Status::IO_ERROR);
  tellListeners();
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

// ------------------------------------------------------------ cuts and appends

Async<Result<FileAttributes>> FileState::setAttributes(AttributeChange change) {
  if (stale) co_return Status::STALE;
  auto turn = co_await order.enter();  // what is written from now on comes after
  bool changesContent =
      change.size != nullptr || change.mtime != nullptr || change.mtimeNow == AttributeChange::Now::YES;
  if (changesContent) {
    KJ_IF_MAYBE (size, change.size) buffer.truncate(*size);
    auto status = co_await settle();
    if (!ok(status)) co_return status;
  }
  // While it waits for recalls of others, one of ours may have to publish: nothing is left to, or the turn is
  // free.
  kj::Own<Turns::Turn> publishTurn;
  if (changesContent) publishTurn = co_await publishing.enter();
  auto outcome = co_await parts.session.change(
      [&](rpc::Change::Builder builder) { fillAttributes(builder, id, change); });
  if (!outcome.ok()) co_return outcome.status();
  parts.leases.cache().learn(outcome->attributes);
  KJ_IF_MAYBE (size, change.size) {
    appliedEnd = certainEnd = 0;
    parts.locator.known().forgetFrom(id, locate(FileOffset(*size)).index);
  }
  if (changesContent && buffer.isEmpty()) localMtime = nullptr;
  if (outcome->attributes.dataVersion >= base.dataVersion) base = outcome->attributes;
  co_return attributes();
}

Async<Result<FileOffset>> FileState::recordAppend(kj::ArrayPtr<const kj::byte> record) {
  if (stale) co_return Status::STALE;
  if (record.size() > RECORD_SIZE_MAX) co_return Status::TOO_BIG;
  if (record.size() == 0) co_return Status::INVALID;
  auto size = uint32_t(record.size());
  auto memory = kj::refcounted<BufferMemory>(parts.budget, (record.size() + 7) / 8 * 8);
  memset(memory->writable() + (size & ~7u), 0, memory->capacity() - (size & ~7u));
  memcpy(memory->writable(), record.begin(), size);
  auto turn = co_await order.enter();
  auto status = co_await settle();
  KJ_IF_MAYBE (earlier, takeError()) co_return *earlier;
  if (!ok(status)) co_return status;
  auto pin = co_await parts.leases.acquire(id, LeaseKind::APPEND);
  if (!pin.ok()) co_return pin.status();
  status = co_await refresh();
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
