// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkStore that makes a second replica of bytes it has already: a chunk that several files have
// is given to one of them before it is written. The clone is a staging (chunk_staging.cc) that is filled from
// here and not from another store:
//
//   record STAGING -> data file shares the source's blocks, or verified blocks are written as of any write ->
//   cut to the wanted length -> bytes, sums and names synced -> record without STAGING, synced
//
//   the daemon or the machine dies   found at the next start        what is done
//   before the last step             STAGING                        the files and the record go
//   behind it                        a replica of version 1         nothing; if no file gets it, the
//   metaserver
//                                                                   has it deleted as a chunk of no file
// The source is not changed at any point. Where blocks are shared nothing is read: its checksum words go with
// them, so a block that has rotten is found in the clone as it would be in the source.
#include <errno.h>
#include <kj/debug.h>

#include "chunkd/chunk_store.h"
#include "chunkd/live_chunk.h"
#include "env/checksum.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr ChunkVersion FIRST_VERSION{1};
constexpr uint32_t PIECES_AT_ONCE = 4;

}  // namespace

struct ChunkStore::Cloning {
  // One copy block by block; in the frame of clone().
  ChunkKey source;
  Live& from;
  ChunkHandle target;
  uint32_t length;  // bytes to copy
  uint32_t next = 0;
  Status status = Status::OK;  // the first failure ends all
};

Async<ChunkStore::CloneAnswer> ChunkStore::clone(ChunkKey source, ChunkHandle target, uint32_t bytes) {
  if (!target || target == source.handle) co_return CloneAnswer{Status::INVALID};
  KJ_IF_MAYBE (refusal, refuse(source)) co_return CloneAnswer{*refusal};
  auto staged = co_await stage(target, FIRST_VERSION, ChunkVersion());
  if (!ok(staged)) co_return CloneAnswer{staged};
  if (!isStaging(target)) co_return CloneAnswer{Status::OK, index->find(target)->length};

  auto from = enliven(source.handle);
  auto hold = from->locks.enter(0, BLOCKS_PER_CHUNK, RangeLocks::Mode::SHARED);
  if (!hold->granted()) co_await hold->whenGranted();
  auto status = Status::OK;
  KJ_IF_MAYBE (refusal, refuse(source)) status = *refusal;
  if (ok(status)) status = co_await openFiles(*from, Want::READ);
  if (!ok(status)) {
    co_await dropStaging(target);
    co_return CloneAnswer{status};
  }
  auto known = *index->find(source.handle);
  auto length = kj::min(known.length, bytes);
  if (length > 0) {
    Cloning cloning{source, *from, target, length};
    status = co_await shareBlocks(*from, target);
    if (status == Status::NOT_SUPPORTED) status = co_await copyBlocks(cloning);
    if (ok(status)) status = co_await cutStaged(target, length);
  }
  auto ours = co_await stagedTable(target);
  if (ok(status)) status = ours.status;
  if (ok(status)) {
    // As the source has it, but for a block that the length cuts: that one is ours.
    auto table = kj::heapArray<uint32_t>(env::blocksOf(length));
    for (uint32_t block = 0; block < table.size(); block++) {
      table[block] = from->word(block) ^ env::ZERO_BLOCK_CRC;
    }
    bool cutsBlock = length < known.length && length % BLOCK_SIZE > 0;
    if (cutsBlock) {
      auto last = table.size() - 1;
      table[last] = last < ours.checksums.size() ? ours.checksums[last] : env::ZERO_BLOCK_CRC;
    }
    status = co_await commitStaged(target, FIRST_VERSION, length, table);
  }
  if (!ok(status)) {
    environment.log.warning("a clone of ", source, " as chunk ", target, " failed: ", status,
                            " -> nothing is left of it");
    co_await dropStaging(target);
    co_return CloneAnswer{status};
  }
  co_return CloneAnswer{status, length};
}

Async<Status> ChunkStore::shareBlocks(Live& from, ChunkHandle target) {
  // NOT_SUPPORTED: by this filesystem.
  if (!disksShareBlocks) co_return Status::NOT_SUPPORTED;
  auto synced = co_await from.dataFile().sync();  // sharing pages that wait for the disk would wait for it
  if (!synced.ok()) co_return failed(from.handle, "syncing before it is cloned", synced);
  auto to = enliven(target);
  auto hold = to->locks.enter(0, BLOCKS_PER_CHUNK + 1, RangeLocks::Mode::EXCLUSIVE);
  if (!hold->granted()) co_await hold->whenGranted();
  if (staging(target) == nullptr) co_return Status::NO_REPLICA;
  auto opened = co_await openFiles(*to, Want::WRITE);
  if (!ok(opened)) co_return opened;
  auto outcome = co_await to->dataFile().cloneFrom(from.dataFile());
  if (outcome.error == EOPNOTSUPP || outcome.error == EXDEV || outcome.error == EINVAL ||
      outcome.error == ENOTTY) {
    disksShareBlocks = false;
    environment.log.info("store ", path, ": its filesystem does not share blocks between files -> ",
                         "chunks that several files have are copied before they are written");
    co_return Status::NOT_SUPPORTED;
  }
  if (!outcome.ok()) co_return failed(target, "cloning", outcome);
  outcome = co_await writeWords(*to, 0, kj::arrayPtr(from.words.data(), from.words.size()));
  if (!outcome.ok()) co_return failed(target, "cloning", outcome);
  to->words = from.words;
  index->find(target)->length = index->find(from.handle)->length;
  co_return Status::OK;
}

Async<Status> ChunkStore::copyBlocks(Cloning& cloning) {
  kj::Vector<kj::Promise<void>> pieces;
  for (uint32_t i = 0; i < PIECES_AT_ONCE; i++) pieces.add(copyPieces(cloning));
  co_await kj::joinPromises(pieces.releaseAsArray());
  co_return cloning.status;
}

Async<void> ChunkStore::copyPieces(Cloning& cloning) {
  while (ok(cloning.status) && cloning.next < cloning.length) {
    auto offset = cloning.next;
    cloning.next += TRANSFER_SIZE_MAX;
    auto status = co_await copyPiece(cloning, offset);
    if (!ok(status) && ok(cloning.status)) cloning.status = status;
  }
}

Async<Status> ChunkStore::copyPiece(Cloning& cloning, uint32_t offset) {
  auto& from = cloning.from;
  uint32_t first = offset / BLOCK_SIZE;
  uint32_t stored = kj::min(index->find(cloning.source.handle)->length - offset, TRANSFER_SIZE_MAX);
  uint32_t wanted = kj::min(cloning.length - offset, TRANSFER_SIZE_MAX);
  bool hole = true;
  for (uint32_t i = 0; i < env::blocksOf(wanted); i++) hole &= from.word(first + i) == 0;
  if (hole) co_return Status::OK;  // zeros by their checksums: the clone has a hole there

  auto buffer = kj::heapArray<kj::byte>(TRANSFER_SIZE_MAX + BLOCK_SIZE);
  auto aligned = (reinterpret_cast<uintptr_t>(buffer.begin()) + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
  auto bytes = kj::arrayPtr(reinterpret_cast<kj::byte*>(aligned), stored);
  auto got = co_await from.dataFile().read(offset, bytes);
  if (!got.ok() || got.bytes < stored) {
    co_return co_await damaged(from.handle, kj::str("bytes from ", offset, " cannot be read: ", got));
  }
  auto sums = kj::heapArray<uint32_t>(env::blocksOf(wanted));
  for (uint32_t i = 0; i < sums.size(); i++) {
    uint32_t start = i * BLOCK_SIZE;
    auto block = bytes.slice(start, kj::min(start + BLOCK_SIZE, stored));
    if ((env::blockChecksum(block) ^ env::ZERO_BLOCK_CRC) != from.word(first + i)) {
      co_return co_await damaged(from.handle, kj::str("block ", first + i, " does not match its checksum"));
    }
    sums[i] = env::crc32c(bytes.slice(start, kj::min(start + BLOCK_SIZE, wanted)));
  }
  co_return co_await writeStaged(cloning.target, offset, bytes.slice(0, wanted), sums);
}

}  // namespace cairn
