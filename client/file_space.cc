// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Where a file has data and where holes: fallocate(2) and lseek(2) SEEK_DATA, SEEK_HOLE of an open inode.
//
// Zeroing a range drops the chunks that lie in it whole, in one operation of the metaserver, and writes zeros
// into the parts of chunks at both ends, where there are any. It holds the file's turn, so what is written
// later comes after. Seeking asks the metaserver for chunks, and a replica for the checksum table of a chunk:
// a block of zeros has the checksum of zeros. What cannot be found out counts as data, which is always true
// enough.
#include <string.h>

#include "client/attributes.h"
#include "client/open_file.h"
#include "env/checksum.h"
#include "rpc/coroutine.h"

namespace cairn::client {

namespace {

constexpr uint64_t CHUNKS_AT_ONCE = 4096;  // of one punch operation
constexpr size_t ZEROS_SIZE = TRANSFER_SIZE_MAX;

Bytes zerosOf(size_t size) {
  auto zeros = kj::heapArray<kj::byte>((size + 7) / 8 * 8);
  memset(zeros.begin(), 0, zeros.size());
  auto view = zeros.slice(0, size).asConst();
  return Bytes{view, kj::heap(kj::mv(zeros))};
}

uint64_t chunksUpTo(uint64_t offset) {
  return (offset + CHUNK_SIZE - 1) / CHUNK_SIZE;
}

}  // namespace

Async<Status> FileState::punch(uint64_t firstChunk, uint64_t endChunk, uint64_t atLeast) {
  // In pieces of what one operation may drop, skipping to where there are chunks. The last one always goes:
  // it moves the times, and the length.
  for (;;) {
    auto last = firstChunk;
    if (firstChunk < endChunk) {
      auto next =
          co_await parts.session.query("findChunk", [id = id, firstChunk](rpc::Session::Client& client) {
            auto request = client.findChunkRequest();
            request.setInode(id.value());
            request.setFirst(firstChunk);
            return request.send();
          });
      if (!next.ok()) co_return next.status();
      firstChunk = next->getFound() ? kj::min(next->getIndex(), endChunk) : endChunk;
      last = kj::min(endChunk, firstChunk + CHUNKS_AT_ONCE);
    }
    auto outcome = co_await parts.session.change([&](rpc::Change::Builder change) {
      auto punch = change.initPunch();
      punch.setHollow(id.value());
      punch.setFirstChunk(firstChunk);
      punch.setEndChunk(last);
      punch.setAtLeast(atLeast);
    });
    if (!outcome.ok()) co_return outcome.status();
    parts.locator.known().forgetFrom(id, ChunkIndex(firstChunk));
    parts.leases.cache().learn(outcome->attributes);
    learn(outcome->attributes);
    if (buffer.isEmpty()) localMtime = nullptr;
    firstChunk = last;
    if (firstChunk >= endChunk) co_return Status::OK;
  }
}

Async<Status> FileState::writeZeros(uint64_t from, uint64_t to) {
  // Both in one chunk. A hole stays one.
  if (from >= to) co_return Status::OK;
  auto index = locate(FileOffset(from)).index;
  auto found = co_await parts.session.query("findChunk", [id = id, index](rpc::Session::Client& client) {
    auto request = client.findChunkRequest();
    request.setInode(id.value());
    request.setFirst(index.value());
    return request.send();
  });
  if (!found.ok()) co_return found.status();
  if (!found->getFound() || found->getIndex() != index.value()) co_return Status::OK;
  while (from < to) {
    while (!parts.budget.hasRoom()) {
      parts.pressure.relieve();
      co_await parts.budget.room();
    }
    auto pin = co_await parts.leases.acquire(id, LeaseKind::WRITE);
    if (!pin.ok()) co_return pin.status();
    auto size = kj::min(to - from, ZEROS_SIZE - from % ZEROS_SIZE);
    accept(from, zerosOf(size));
    from += size;
    parts.budget.passOn();
  }
  co_return Status::OK;
}

Async<Status> FileState::zero(uint64_t offset, uint64_t length, Growth growth) {
  if (stale) co_return Status::STALE;
  if (length > FILE_SIZE_MAX || offset > FILE_SIZE_MAX - length) co_return Status::TOO_BIG;
  auto turn = co_await order.enter();
  auto status = co_await settle();
  if (ok(status))
    status = co_await ensure(LeaseKind::WRITE);  // all that others have written is published then
  if (ok(status)) status = co_await refresh();
  if (!ok(status)) co_return status;
  KJ_IF_MAYBE (earlier, takeError()) co_return *earlier;

  auto size = attributes().size, end = offset + length;
  auto shown = kj::min(end, size);  // nothing is beyond the size
  auto firstWhole = chunksUpTo(offset);
  auto endWhole = end >= size ? chunksUpTo(size) : end / CHUNK_SIZE;
  if (offset < shown) {
    auto headEnd = kj::min(shown, firstWhole * CHUNK_SIZE);
    status = co_await writeZeros(offset, headEnd);
    if (ok(status) && end < size && endWhole >= firstWhole) {
      status = co_await writeZeros(kj::max(headEnd, end / CHUNK_SIZE * CHUNK_SIZE), shown);
    }
    if (ok(status)) status = co_await settle();
    if (!ok(status)) co_return status;
  }
  auto publishTurn = co_await publishing.enter();
  co_return co_await punch(firstWhole, kj::max(firstWhole, endWhole), growth == Growth::YES ? end : 0);
}

Async<Status> FileState::allocate(uint64_t offset, uint64_t length, Growth growth) {
  if (stale) co_return Status::STALE;
  if (length > FILE_SIZE_MAX || offset > FILE_SIZE_MAX - length) co_return Status::TOO_BIG;
  auto turn = co_await order.enter();
  auto status = co_await settle();
  if (!ok(status)) co_return status;
  auto space = co_await parts.session.query("statistics", [id = id](rpc::Session::Client& client) {
    auto request = client.statisticsRequest();
    request.setInode(id.value());
    return request.send();
  });
  if (!space.ok()) co_return space.status();
  if (length / BLOCK_SIZE > space->getBlocksFree()) {
    co_return space->getOverQuota() ? Status::OVER_QUOTA : Status::NO_SPACE;
  }
  auto publishTurn = co_await publishing.enter();
  co_return co_await punch(0, 0, growth == Growth::YES ? offset + length : 0);
}

Async<kj::Maybe<uint32_t>> FileState::seekInChunk(ChunkIndex index, uint32_t from, Sought sought) {
  // Of a chunk that is there: the first byte at or after `from` that is in a block of data, or in one of
  // zeros; null: none in this chunk.
  Patience patience(parts.timer, parts.entropy, parts.timing);
  kj::Maybe<uint32_t> unknown;
  if (sought == Sought::DATA) unknown = from;
  auto located = co_await parts.locator.forReading(id, index, attributes().size, patience);
  if (!located.ok()) co_return unknown;
  for (auto server : located->replicas) {
    KJ_IF_MAYBE (peer, parts.servers.find(server)) {
      auto tried = co_await tryOnce(
          peer->call({"checksums", parts.timing.chunkDeadline}, [&](rpc::ChunkServer::Client& service) {
            auto request = service.checksumsRequest();
            request.getChunk().setHandle(located->handle.value());
            request.getChunk().setVersion(located->version.value());
            return request.send();
          }));
      KJ_IF_MAYBE (answer, tried.answer) {
        if (!ok(answer->getStatus())) continue;
        auto table = answer->getChecksums();
        auto isData = [&](uint32_t block) {
          if (uint64_t(block) * BLOCK_SIZE >= located->validBytes ||
              (block + 1) * sizeof(uint32_t) > table.size()) {
            return false;
          }
          uint32_t sum;
          memcpy(&sum, table.begin() + block * sizeof(uint32_t), sizeof(sum));
          return sum != env::ZERO_BLOCK_CRC;
        };
        for (auto block = from / BLOCK_SIZE; block < BLOCKS_PER_CHUNK; ++block) {
          if (isData(block) == (sought == Sought::DATA)) co_return kj::max(from, block * BLOCK_SIZE);
        }
        co_return nullptr;
      }
    }
  }
  co_return unknown;
}

Async<Result<kj::Maybe<FileOffset>>> FileState::seek(uint64_t offset, Sought sought) {
  if (stale) co_return Status::STALE;
  auto status = co_await flushInTurn();
  if (ok(status)) status = co_await ensure(LeaseKind::READ);
  if (ok(status)) status = co_await refresh();
  if (!ok(status)) co_return status;
  auto size = attributes().size;
  if (offset >= size) co_return kj::Maybe<FileOffset>(nullptr);

  // Each round moves to the next chunk that may have what is sought.
  while (offset < size) {
    auto [index, within] = locate(FileOffset(offset));
    auto found = co_await parts.session.query(
        "findChunk", [id = id, first = index, sparse = sought == Sought::HOLE](rpc::Session::Client& client) {
          auto request = client.findChunkRequest();
          request.setInode(id.value());
          request.setFirst(first.value());
          request.setSparse(sparse);
          return request.send();
        });
    if (!found.ok()) co_return found.status();
    if (sought == Sought::DATA && !found->getFound()) break;
    auto next = startOf(ChunkIndex(found->getIndex())).value();
    if (next > offset) offset = next, within = ChunkOffset(0), index = ChunkIndex(found->getIndex());
    if (offset >= size) break;
    if (!found->getFound()) continue;

    if (sought == Sought::HOLE) {
      auto here =
          co_await parts.session.query("findChunk", [id = id, first = index](rpc::Session::Client& client) {
            auto request = client.findChunkRequest();
            request.setInode(id.value());
            request.setFirst(first.value());
            return request.send();
          });
      if (!here.ok()) co_return here.status();
      bool isThere = here->getFound() && here->getIndex() == index.value();
      if (!isThere) co_return kj::Maybe<FileOffset>(FileOffset(offset));
    }
    auto inside = co_await seekInChunk(index, within.value(), sought);
    KJ_IF_MAYBE (at, inside) {
      auto answer = startOf(index).value() + *at;
      if (answer < size) co_return kj::Maybe<FileOffset>(FileOffset(answer));
      break;
    }
    offset = startOf(index.next()).value();
  }
  // A file ends with a hole that begins at its end.
  if (sought == Sought::HOLE) co_return kj::Maybe<FileOffset>(FileOffset(size));
  co_return kj::Maybe<FileOffset>(nullptr);
}

}  // namespace cairn::client
