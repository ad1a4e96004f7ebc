// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How an open inode is read: what the replicas have, with what has been written here and not been sent on
// top, under a read lease. From a metaserver that grants none, the length is asked for again at the end of
// the file.
#include "client/open_file.h"
#include "rpc/coroutine.h"

namespace cairn::client {

kj::Promise<Result<ReadData>> FileState::read(uint64_t offset, uint32_t size, Origin origin) {
  if (stale) return Result<ReadData>(Status::STALE);
  if (!parts.leases.mayRead(id)) return readOnceLeased(offset, size, origin);
  if (!parts.leases.areGranted()) return readAfterRefresh(offset, size);
  return readNow(offset, size);
}

kj::Promise<Result<ReadData>> FileState::readNow(uint64_t offset, uint32_t size) {
  auto length = attributes().size;
  if (offset >= length) return Result<ReadData>(ReadData());
  uint64_t wanted = kj::min(uint64_t(size), length - offset);
  kj::Vector<Extent> newer;
  if (!buffer.isEmpty()) buffer.overlay(offset, wanted, newer);
  return readBehind(offset, wanted, kj::mv(newer));
}

Async<Result<ReadData>> FileState::readOnceLeased(uint64_t offset, uint32_t size, Origin origin) {
  kj::Maybe<Leases::PageRange> locked;
  if (origin != Origin::PROGRAM) locked.emplace(parts.leases, id, offset, size);
  bool hasUnsent = !buffer.isEmpty() || needsPublish;
  if (hasUnsent && !parts.leases.has(id, LeaseKind::WRITE)) {
    // From a write lease that was lost: shown only if it can still be sent, else dropped, and its writer
    // told.
    (void)co_await regain();
  }
  auto pin = co_await parts.leases.acquire(id, LeaseKind::READ);
  if (!pin.ok()) co_return pin.status();
  locked = nullptr;  // from here on it waits for chunk daemons only, and what it finds is to be forgotten
                     // with the lease
  co_return co_await readNow(offset, size);
}

Async<Result<ReadData>> FileState::readAfterRefresh(uint64_t offset, uint32_t size) {
  // Without leases somebody else may have made the file longer.
  auto length = attributes().size;
  if (offset >= length || length - offset < size) {
    auto status = co_await refresh();
    if (!ok(status)) co_return status;
  }
  co_return co_await readNow(offset, size);
}

Async<Result<ReadData>> FileState::readBehind(uint64_t offset, uint64_t size, kj::Vector<Extent> newer) {
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

}  // namespace cairn::client
