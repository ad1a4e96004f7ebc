// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// share, as a client asks for it: the chunks of the source stand still before the operation is proposed, and
// until it has been applied. One that has been changed for another in between is not what was made to stand
// still: the operation names what it expects, and is refused.
#include "metaserver/session_handlers.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {
constexpr uint64_t SHARED_BYTES_MAX = 1024 * uint64_t(CHUNK_SIZE);  // as metaserver/ops/share.cc
}

Async<Outcome> SessionHandlers::share(rpc::Change::Reader change) {
  auto request = change.getShare();
  if (request.getBytes() == 0 || request.getBytes() > SHARED_BYTES_MAX) co_return refusal(Status::INVALID);
  auto count = (request.getBytes() + CHUNK_SIZE - 1) / CHUNK_SIZE;
  auto operation = LoggedOperation::of(session, change);
  auto list = operation->body().getChange().getShare().initHandles(unsigned(count));
  kj::Vector<ChunkHandle> chunks;
  auto first = request.getFromChunk();
  auto source = InodeId(request.getSource());
  for (auto& chunk : service.names.chunksOf(source, ChunkIndex(first), uint32_t(count))) {
    auto at = chunk.index.value() - first;
    if (at >= count) break;
    list.set(unsigned(at), chunk.handle.value());
    chunks.add(chunk.handle);
  }
  auto still = co_await service.grants.standStill(chunks.releaseAsArray());
  if (!ok(still->status)) {
    // Nothing that a little waiting mends for certain: the caller copies the bytes.
    co_return refusal(still->status == Status::STALE ? Status::STALE_VERSION : Status::BUSY);
  }
  co_return co_await service.grants.proposeStill(kj::mv(still), kj::mv(operation));
}

}  // namespace cairn
