// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How what has been written becomes true for others and stable: draining sends it to the replicas, a publish
// tells the metaserver the length and chunks that it made, a flush is both, and a sync has also the replicas
// and the metaserver put it on stable storage.
#include <utility>

#include "client/open_file.h"
#include "rpc/coroutine.h"

namespace cairn::client {

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

Async<void> FileState::drain() {
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

Async<Status> FileState::publish(Session::Durability durability, Session::Covered toCover) {
  auto turn = co_await publishing.enter();
  bool isStable = durability == Session::Durability::STABLE;
  if (!needsPublish && !isStable) co_return Status::OK;
  if (!needsPublish) co_return co_await parts.session.sync(id, kj::mv(toCover));
  needsPublish = false;
  isPublishing = true;
  KJ_DEFER({
    isPublishing = false;
    auto listeners = std::move(onPublished);
    onPublished.clear();
    for (auto& listener : listeners) listener->fulfill();
  });
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
      durability, toCover);
  auto status = outcome.status();
  if (status == Status::STALE) {
    // Somebody has deleted it. That is still to be made stable.
    status = Status::OK;
    if (isStable) status = co_await parts.session.sync(InodeId(), kj::mv(toCover));
  }
  if (status == Status::NOT_FOUND) {
    vanished();
    co_return Status::IO_ERROR;
  }
  if (!ok(status)) {
    if (status != Status::NOT_LEASED) armPublish();
    co_return status;
  }
  answered = true;
  acceptedBytes = buffer.isEmpty() ? acceptedBytes - counted : kj::max(acceptedBytes - counted, 1);
  if (outcome.ok()) {
    // Our own change of content is no news for our own locations.
    quotaLeft = outcome->quotaLeft;
    if (outcome->attributes.dataVersion == base.dataVersion + 1) base.dataVersion += 1;
    authorVersion = outcome->attributes.dataVersion;
    parts.leases.cache().learn(outcome->attributes);
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

Async<void> FileState::publishLater() {
  co_await parts.timer.afterDelay(parts.timing.publishInterval);
  publishArmed = false;
  auto status = co_await publishSurely();
  if (!ok(status))
    parts.log.warning("inode ", id, ": its length could not be published: ", status, " -> again");
}

Async<Status> FileState::settle() {
  co_await drain();
  co_return co_await publishSurely();
}

Async<Status> FileState::publishSurely(Session::Durability durability, Session::Covered toCover) {
  for (;;) {
    auto status = co_await publish(durability, toCover);
    if (status != Status::NOT_LEASED) co_return status;
    status = co_await regain();
    if (!ok(status)) co_return status;
  }
}

kj::Promise<Status> FileState::flush() {
  if (stale) return Status::STALE;
  if (isSettled()) {
    KJ_IF_MAYBE (status, takeError()) return *status;
    return Status::OK;
  }
  return flushInTurn();
}

Async<Status> FileState::flushInTurn() {
  if (!order.isFree()) auto turn KJ_UNUSED = co_await order.enter();  // writes that wait for room come first
  auto status = co_await settle();
  KJ_IF_MAYBE (earlier, takeError()) co_return *earlier;
  co_return status;
}

Async<Status> FileState::publishDurably() {
  // With what is about to be called synced: from then on it is not given up without a word.
  Session::Covered toCover;
  for (auto& [index, chunk] : unsynced) {
    if (covered.count(chunk.handle) == 0) toCover.push_back(chunk.handle);
  }
  auto status = co_await publishSurely(Session::Durability::STABLE, toCover);
  if (ok(status)) covered.insert(toCover.begin(), toCover.end());
  co_return status;
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
  if (stale) {
    KJ_IF_MAYBE (lost, takeSyncError()) return *lost;
    return Status::STALE;
  }
  return syncInTurn();
}

Async<Status> FileState::syncInTurn() {
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
    if (status == Status::NOT_FOUND) vanished();
    if (status == Status::NOT_FOUND) co_return Status::IO_ERROR;
    if (!ok(status) && status != Status::STALE)
      co_return status;  // of a deleted file there is nothing to sync
    earlierWritesKnown = true;
  }
  auto metadata = publishDurably().eagerlyEvaluate(nullptr);
  auto outcome = co_await parts.chunkSync.sync(id, unsynced);
  unsynced = std::move(outcome.left);
  bool complete = unsynced.empty() && outcome.loss == ChunkSync::Outcome::Loss::NONE;
  auto status = co_await metadata;
  if (!complete) covered.clear();  // of a chunk that was gone it was not noted
  (void)takeError();
  bool isLost = parts.session.takeLoss(id);
  if (status == Status::NOT_FOUND) {
    vanished();
    (void)takeError();
  }
  KJ_IF_MAYBE (earlier, takeSyncError()) co_return *earlier;
  if (!complete || isLost) co_return Status::IO_ERROR;
  co_return status == Status::STALE ? Status::OK : status;  // it has been deleted: that is what is stable now
}

}  // namespace cairn::client
