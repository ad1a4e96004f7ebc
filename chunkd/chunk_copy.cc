// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/chunk_copy.h"

#include <kj/debug.h>

#include "env/checksum.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration READ_DEADLINE = 4 * kj::SECONDS;
constexpr uint32_t READS_AT_ONCE = 4;

template <typename Request>
void name(Request&& request, ChunkKey chunk) {
  auto id = request.initChunk();
  id.setHandle(chunk.handle.value());
  id.setVersion(chunk.version.value());
}

}  // namespace

ChunkCopier::Source& ChunkCopier::sourceAt(const ReplicaAddress& replica) {
  auto& source = sources[replica.server];
  PeerAddress address{kj::str(replica.network), kj::str(replica.local), kj::str(replica.host)};
  if (source == nullptr) {
    source = std::make_unique<Source>(environment, kj::str("chunkd-", replica.server), kj::mv(address));
  } else if (source->address().network != replica.network) {
    source->setAddress(kj::mv(address));
    source->disconnect(KJ_EXCEPTION(DISCONNECTED, "the store has moved to another address", replica.network));
  }
  return *source;
}

Async<CopyAnswer> ChunkCopier::copy(CopyOrder order) {
  auto handle = order.chunk.handle;
  CopyAnswer answer;
  if (!underWay.insert(handle).second) {
    answer.status = Status::BUSY;
    co_return kj::mv(answer);
  }
  KJ_DEFER(underWay.erase(handle));
  answer.status = co_await store.stage(handle, order.chunk.version, order.replace);
  if (!ok(answer.status)) co_return kj::mv(answer);
  if (!store.isStaging(handle)) {
    // It holds that version: an earlier call has committed, and its answer was lost.
    if (order.end == CopyOrder::End::OPEN) answer.status = Status::EXISTS;
    KJ_IF_MAYBE (state, store.describe(handle)) answer.length = state->length;
    co_return kj::mv(answer);
  }
  answer.status = Status::NO_REPLICA;
  kj::Vector<ServerId> bad;
  for (auto& replica : order.sources) {
    auto outcome = co_await copyFrom(order, replica.server, sourceAt(replica));
    outcome.copied += answer.copied;
    if (outcome.status == Status::CORRUPT) bad.add(replica.server);
    // What another source may yet mend is not the last word; a disk of ours that refuses is.
    bool next = outcome.status != Status::OK && outcome.status != Status::NO_SPACE &&
                outcome.status != Status::IO_ERROR;
    // Of several reasons the one that is about the order is told, not the one about a single source.
    if (answer.status == Status::STALE_VERSION && next) outcome.status = answer.status;
    answer = kj::mv(outcome);
    if (!next) break;
  }
  answer.bad = kj::mv(bad);
  if (!ok(answer.status)) {
    log.warning("a copy of ", order.chunk, " from ", order.sources.size(), " sources ended: ", answer.status,
                " -> what is there is kept for another attempt");
  }
  co_return kj::mv(answer);
}

Async<Result<ChunkCopier::Table>> ChunkCopier::tableOf(ChunkKey chunk, Source& source) {
  kj::Maybe<capnp::Response<rpc::ChunkServer::ChecksumsResults>> response;
  try {
    response = co_await source.call(CallOptions{"checksums", READ_DEADLINE, WhenDown::FAIL},
                                    [chunk](rpc::ChunkServer::Client& client) {
                                      auto request = client.checksumsRequest();
                                      name(request, chunk);
                                      return request.send();
                                    });
  } catch (const kj::Exception& exception) {
    log.warning("the checksums of ", chunk, " do not come: ", exception.getDescription(),
                " -> another source");
    co_return Status::REPLICA_FAILED;
  }
  auto& answer = KJ_ASSERT_NONNULL(response);
  if (!ok(answer.getStatus())) co_return answer.getStatus();
  auto bytes = answer.getChecksums();
  if (answer.getLength() > CHUNK_SIZE ||
      bytes.size() != env::blocksOf(answer.getLength()) * sizeof(uint32_t)) {
    log.error("the checksums of ", chunk, " do not fit its length of ", answer.getLength(),
              " -> another source");
    co_return Status::CORRUPT;
  }
  Table table;
  table.length = answer.getLength();
  table.sums.resize(bytes.size() / sizeof(uint32_t));
  for (size_t i = 0; i < table.sums.size(); i++) {
    auto at = bytes.begin() + i * sizeof(uint32_t);
    table.sums[i] = uint32_t(at[0]) | uint32_t(at[1]) << 8 | uint32_t(at[2]) << 16 | uint32_t(at[3]) << 24;
  }
  co_return kj::mv(table);
}

Async<CopyAnswer> ChunkCopier::copyFrom(const CopyOrder& order, ServerId server, Source& source) {
  CopyAnswer answer;
  auto fail = [&answer](Status status) {
    answer.status = status;
    return kj::mv(answer);
  };
  auto handle = order.chunk.handle;
  auto told = co_await tableOf(order.chunk, source);
  if (!told.ok()) co_return fail(told.status());
  auto table = kj::mv(told).value();
  answer.length = table.length;
  auto cut = co_await store.cutStaged(handle, table.length);
  if (!ok(cut)) co_return fail(cut == Status::NO_SPACE ? cut : Status::IO_ERROR);
  auto ours = co_await store.stagedTable(handle);
  if (!ok(ours.status)) co_return fail(Status::IO_ERROR);

  Pull work{order.chunk, server, source, table, {}};
  work.bytes = order.end == CopyOrder::End::COMMIT ? Pull::Bytes::FINAL : Pull::Bytes::MAY_CHANGE;
  compare(work, ours.checksums, order.limit);
  answer.left = work.left;
  auto pulled = co_await pull(work);
  answer.copied = work.copied;
  if (!ok(pulled)) co_return fail(pulled);
  if (answer.left > 0) co_return kj::mv(answer);
  if (order.end == CopyOrder::End::OPEN) {
    auto synced = co_await store.syncStaged(handle);
    if (!ok(synced)) co_return fail(Status::IO_ERROR);
    co_return kj::mv(answer);
  }
  auto committed = co_await store.commitStaged(handle, order.chunk.version, table.length, table.sums);
  if (!ok(committed)) co_return fail(committed == Status::NO_SPACE ? committed : Status::IO_ERROR);
  co_return kj::mv(answer);
}

void ChunkCopier::compare(Pull& pull, kj::ArrayPtr<const uint32_t> ours, uint64_t limit) {
  // Which blocks to read. One beyond the end of either is zeros.
  auto sumOf = [](kj::ArrayPtr<const uint32_t> sums, uint32_t block) {
    return block < sums.size() ? sums[block] : env::ZERO_BLOCK_CRC;
  };
  uint64_t taken = 0;
  for (uint32_t block = 0; block < pull.table.sums.size(); block++) {
    if (sumOf(ours, block) == pull.table.sums[block]) continue;
    if (taken + BLOCK_SIZE > limit) {
      pull.left += BLOCK_SIZE;
      continue;
    }
    taken += BLOCK_SIZE;
    bool goesOn = pull.pieces.size() > 0 &&
                  pull.pieces.back().offset + pull.pieces.back().size == block * BLOCK_SIZE &&
                  pull.pieces.back().size < TRANSFER_SIZE_MAX;
    if (goesOn) {
      pull.pieces.back().size += BLOCK_SIZE;
    } else {
      pull.pieces.add(Piece{block * BLOCK_SIZE, BLOCK_SIZE});
    }
  }
}

Async<CopyAnswer> ChunkCopier::reconcile(ChunkKey chunk, kj::Vector<ReplicaAddress> others) {
  CopyAnswer answer;
  if (!underWay.insert(chunk.handle).second) {
    answer.status = Status::BUSY;
    co_return kj::mv(answer);
  }
  KJ_DEFER(underWay.erase(chunk.handle));
  kj::Vector<ServerId> bad;
  for (auto& replica : others) {
    answer = co_await reconcileWith(chunk, replica.server, sourceAt(replica));
    if (answer.status == Status::CORRUPT) bad.add(replica.server);
    if (ok(answer.status)) break;
  }
  answer.bad = kj::mv(bad);
  if (ok(answer.status)) answer.status = co_await store.endSuspicion(chunk);
  KJ_IF_MAYBE (state, store.describe(chunk.handle)) answer.length = state->length;
  if (!ok(answer.status))
    log.warning(chunk, " cannot be made equal to another replica: ", answer.status, " -> as it was");
  co_return kj::mv(answer);
}

Async<CopyAnswer> ChunkCopier::reconcileWith(ChunkKey chunk, ServerId server, Source& source) {
  CopyAnswer answer;
  auto fail = [&answer](Status status) {
    answer.status = status;
    return kj::mv(answer);
  };
  auto told = co_await tableOf(chunk, source);
  if (!told.ok()) co_return fail(told.status());
  auto table = kj::mv(told).value();
  auto resized = co_await store.resizeReconciled(chunk, table.length);
  if (!ok(resized)) co_return fail(resized);
  auto ours = co_await store.checksums(chunk, ChunkStore::Suspects::ALLOWED);
  if (!ok(ours.status)) co_return fail(ours.status);
  Pull work{chunk, server, source, table, {}};
  work.bytes = Pull::Bytes::FINAL;
  work.into = Pull::Into::REPLICA;
  compare(work, ours.checksums, UINT64_MAX);
  auto pulled = co_await pull(work);
  answer.copied = work.copied;
  if (!ok(pulled)) co_return fail(pulled);
  auto after = co_await store.checksums(chunk, ChunkStore::Suspects::ALLOWED);
  if (!ok(after.status)) co_return fail(after.status);
  bool equal = after.length == table.length && after.checksums.asPtr() == table.sums.asPtr();
  co_return fail(equal ? Status::OK : Status::IO_ERROR);
}

Async<Status> ChunkCopier::pull(Pull& pull) {
  kj::Vector<kj::Promise<void>> readers;
  for (uint32_t i = 0; i < READS_AT_ONCE; i++) readers.add(pullPieces(pull));
  co_await kj::joinPromises(readers.releaseAsArray());
  co_return pull.status;
}

Async<void> ChunkCopier::pullPieces(Pull& pull) {
  while (ok(pull.status) && pull.next < pull.pieces.size()) {
    auto status = co_await pullPiece(pull, pull.pieces[pull.next++]);
    if (!ok(status) && ok(pull.status)) pull.status = status;
  }
}

Async<Status> ChunkCopier::pullPiece(Pull& pull, Piece piece) {
  kj::Maybe<capnp::Response<rpc::ChunkServer::ReadResults>> response;
  try {
    response = co_await pull.source.call(CallOptions{"read", READ_DEADLINE, WhenDown::FAIL},
                                         [&pull, piece](rpc::ChunkServer::Client& client) {
                                           auto request = client.readRequest();
                                           name(request, pull.chunk);
                                           request.setOffset(piece.offset);
                                           request.setSize(piece.size);
                                           return request.send();
                                         });
  } catch (const kj::Exception& exception) {
    log.warning("store ", pull.server, " does not answer a read of ", pull.chunk, ": ",
                exception.getDescription(), " -> another source");
    co_return Status::REPLICA_FAILED;
  }
  auto& answer = KJ_ASSERT_NONNULL(response);
  if (!ok(answer.getStatus())) co_return answer.getStatus();
  auto data = answer.getData();
  auto sums = answer.getChecksums();
  bool fits = data.size() <= piece.size && sums.size() == env::blocksOf(data.size());
  auto ours = kj::heapArray<uint32_t>(sums.size());
  for (uint32_t i = 0; i < sums.size() && fits; i++) {
    auto block = data.slice(i * BLOCK_SIZE, kj::min((i + 1) * BLOCK_SIZE, data.size()));
    fits = env::blockChecksum(block) == sums[i];
    if (fits && pull.bytes == Pull::Bytes::FINAL)
      fits = sums[i] == pull.table.sums[piece.offset / BLOCK_SIZE + i];
    ours[i] = block.size() == BLOCK_SIZE ? sums[i] : env::crc32c(block);
  }
  if (!fits) {
    log.error("store ", pull.server, " answers a read of ", pull.chunk, " at ", piece.offset,
              " with bytes that do not match their checksums -> nothing of it is taken");
    co_return Status::CORRUPT;
  }
  if (data.size() == 0) co_return Status::OK;  // cut meanwhile: the next comparison tells
  Status status;
  if (pull.into == Pull::Into::REPLICA) {
    status = co_await store.writeReconciled(pull.chunk, piece.offset, data, ours);
  } else {
    status = co_await store.writeStaged(pull.chunk.handle, piece.offset, data, ours);
  }
  if (ok(status)) pull.copied += data.size();
  co_return ok(status) || status == Status::NO_SPACE ? status : Status::IO_ERROR;
}

}  // namespace cairn
