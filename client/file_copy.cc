// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// copy_file_range(2) between open inodes. What begins and ends at the same place of a chunk on both sides,
// with whole chunks in between, is shared by one operation of the metaserver and costs no bytes; the head
// before it and whatever does not fit is read and written here, in large pieces that never see the kernel.
// Each call does one of the two, so that a program that copies much is heard and can be interrupted; it calls
// again for the rest. What this client has written to the source is published first: it is in the copy.
//
// Zeros beyond the end of the target are not written, so holes of the source stay holes.
#include <string.h>

#include "client/attributes.h"
#include "client/open_file.h"
#include "rpc/coroutine.h"

namespace cairn::client {

namespace {

constexpr uint64_t SHARED_BYTES_MAX = 1024 * uint64_t(CHUNK_SIZE);  // of one operation: 64 GiB
constexpr uint64_t SHARED_BYTES_MIN = TRANSFER_SIZE_MAX;  // a smaller file is copied sooner than unshared
constexpr uint64_t COPIED_BYTES_MAX = 16ull << 20;        // of one call
constexpr uint32_t PIECE = 4 * TRANSFER_SIZE_MAX;

bool isZero(const ReadData& data) {
  for (auto& piece : data.pieces) {
    if (piece.size() == 0) continue;
    if (piece[0] != 0 || memcmp(piece.begin(), piece.begin() + 1, piece.size() - 1) != 0) return false;
  }
  return true;
}

}  // namespace

Async<Result<uint64_t>> FileState::copyFrom(FileState& source, uint64_t from, uint64_t to, uint64_t length) {
  if (stale || source.stale) co_return Status::STALE;
  if (to > FILE_SIZE_MAX || from > FILE_SIZE_MAX) co_return Status::TOO_BIG;
  // What other clients have buffered is published first, of both: the sizes are true then.
  auto status = co_await source.settle();
  if (ok(status)) status = co_await source.ensure(LeaseKind::READ);
  if (ok(status)) status = co_await source.refresh();
  if (ok(status)) status = co_await ensure(LeaseKind::WRITE);
  if (!ok(status)) co_return status;
  auto end = source.attributes().size;
  if (from >= end || length == 0) co_return uint64_t(0);
  length = kj::min(length, end - from);
  if (length > FILE_SIZE_MAX - to) co_return Status::TOO_BIG;
  if (this == &source && from < to + length && to < from + length) co_return Status::INVALID;

  if (from % CHUNK_SIZE == to % CHUNK_SIZE) {
    auto head = (CHUNK_SIZE - from % CHUNK_SIZE) % CHUNK_SIZE;
    if (head > 0) {
      length = kj::min(length, head);  // up to where sharing can begin
    } else {
      auto bytes = kj::min(length, SHARED_BYTES_MAX);
      bool toTheEnd = from + bytes == end && to + bytes >= attributes().size;
      if (!toTheEnd) bytes = bytes / CHUNK_SIZE * CHUNK_SIZE;
      if (bytes >= SHARED_BYTES_MIN) {
        auto shared = co_await shareChunks(source, from, to, bytes);
        if (shared.ok()) co_return shared;
        bool copyInstead = shared.status() == Status::STALE_VERSION || shared.status() == Status::BUSY ||
                           shared.status() == Status::INVALID || shared.status() == Status::NOT_SUPPORTED;
        if (!copyInstead) co_return shared;
        parts.log.info("inode ", source.id, " cannot share chunks with inode ", id, " now (", shared.status(),
                       ") -> their bytes are copied");
      }
    }
  }
  co_return co_await copyBytes(source, from, to, kj::min(length, COPIED_BYTES_MAX));
}

Async<Result<uint64_t>> FileState::shareChunks(FileState& source, uint64_t from, uint64_t to,
                                               uint64_t bytes) {
  auto turn = co_await order.enter();  // what is written from now on comes after
  auto status = co_await settle();
  if (!ok(status)) co_return status;
  KJ_IF_MAYBE (earlier, takeError()) co_return *earlier;
  auto publishTurn = co_await publishing.enter();
  auto target = locate(FileOffset(to)).index;
  auto outcome = co_await parts.session.change([&](rpc::Change::Builder change) {
    auto share = change.initShare();
    share.setSource(source.id.value());
    share.setFromChunk(locate(FileOffset(from)).index.value());
    share.setTarget(id.value());
    share.setToChunk(target.value());
    share.setBytes(bytes);
  });
  if (!outcome.ok()) co_return outcome.status();
  parts.locator.known().forgetFrom(id, target);
  source.parts.locator.known().forget(source.id);  // its leases have ended
  earlierWritesKnown = false;  // others have written these chunks: the next sync asks for all of them
  if (buffer.isEmpty()) localMtime = nullptr;
  parts.leases.cache().learn(outcome->attributes);
  learn(outcome->attributes);
  co_return bytes;
}

Async<Result<uint64_t>> FileState::copyBytes(FileState& source, uint64_t from, uint64_t to, uint64_t length) {
  uint64_t copied = 0;
  bool skipped = false;
  while (copied < length) {
    auto size = uint32_t(kj::min(length - copied, uint64_t(PIECE)));
    auto data = co_await source.read(from + copied, size, Origin::PROGRAM);
    if (!data.ok()) co_return data.status();
    auto got = data->size();
    if (got == 0) break;
    auto at = to + copied;
    skipped = at >= attributes().size && isZero(*data);
    if (!skipped) {
      auto bytes = kj::heapArray<kj::byte>((got + 7) / 8 * 8);
      size_t done = 0;
      for (auto& piece : data->pieces) {
        memcpy(bytes.begin() + done, piece.begin(), piece.size());
        done += piece.size();
      }
      memset(bytes.begin() + got, 0, bytes.size() - got);
      auto view = bytes.slice(0, got).asConst();
      auto status = co_await write(at, Bytes{view, kj::heap(kj::mv(bytes))}, Origin::PROGRAM);
      if (!ok(status)) co_return status;
    }
    copied += got;
  }
  if (skipped) {
    auto status = co_await extend(to + copied);
    if (!ok(status)) co_return status;
  }
  co_return copied;
}

Async<Status> FileState::extend(uint64_t size) {
  // The file becomes so long, if it is shorter, with a hole at its end.
  auto turn = co_await order.enter();
  auto status = co_await settle();
  if (!ok(status)) co_return status;
  auto publishTurn = co_await publishing.enter();
  co_return co_await punch(0, 0, size);
}

}  // namespace cairn::client
