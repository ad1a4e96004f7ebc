// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of ChunkStore that opens a store: whose it is, who else has it open, and what a crash has left.
// The crash table is in store_format.h.
#include <errno.h>
#include <kj/compat/http.h>
#include <kj/debug.h>
#include <string.h>

#include "chunkd/chunk_store.h"
#include "chunkd/live_chunk.h"
#include "env/checksum.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::StringPtr IDENTITY_NEW_PATH = "store.identity.new"_kj;
constexpr size_t IDENTITY_SIZE_MAX = 4096;

Async<kj::Maybe<kj::String>> readText(env::Disk& disk, kj::StringPtr path) {
  auto opened = co_await disk.open(path, env::OpenMode::READ);
  KJ_IF_MAYBE (file, opened.file) {
    auto bytes = kj::heapArray<kj::byte>(IDENTITY_SIZE_MAX);
    auto outcome = co_await file->get()->read(0, bytes);
    if (!outcome.ok()) co_return kj::str("");
    co_return kj::heapString(bytes.asChars().begin(), outcome.bytes);
  }
  if (opened.error != ENOENT) co_return kj::str("");
  co_return nullptr;
}

Async<env::IoOutcome> replaceText(env::Disk& disk, kj::StringPtr path, kj::StringPtr temporary,
                                  kj::String text) {
  auto opened = co_await disk.open(temporary, env::OpenMode::CREATE_OR_OPEN);
  KJ_IF_MAYBE (file, opened.file) {
    auto outcome = co_await file->get()->truncate(0);
    if (outcome.ok()) outcome = co_await file->get()->write(0, text.asBytes());
    if (outcome.ok()) outcome = co_await file->get()->sync();
    if (outcome.ok()) outcome = co_await disk.rename(temporary, path);
    if (outcome.ok()) outcome = co_await disk.syncDirectory("");
    co_return outcome;
  }
  co_return env::IoOutcome{0, opened.error};
}

kj::String newUuid(kj::EntropySource& entropy) {
  kj::byte bytes[16];
  entropy.generate(kj::arrayPtr(bytes, sizeof(bytes)));
  ClusterId shape;
  memcpy(&shape.high, bytes, 8);
  memcpy(&shape.low, bytes + 8, 8);
  return kj::str(shape);
}

bool belongsToAnEmptyStore(kj::StringPtr name) {
  return name == LOCK_PATH || name == IDENTITY_NEW_PATH || name == "lost+found";
}

struct IdentityAnswer {
  kj::Maybe<StoreIdentity> identity;
  kj::String refusal;
};

Async<IdentityAnswer> readOrMakeIdentity(env::Disk& disk, kj::EntropySource& entropy, kj::String path) {
  auto refuse = [](auto&&... parts) { return IdentityAnswer{nullptr, kj::str(parts...)}; };
  auto text = co_await readText(disk, IDENTITY_PATH);
  KJ_IF_MAYBE (found, text) {
    auto decoded = decodeIdentity(*found);
    KJ_IF_MAYBE (identity, decoded.identity) co_return IdentityAnswer{kj::mv(*identity), kj::String()};
    co_return refuse(
        "The identity file ", path, "/", IDENTITY_PATH, " ", decoded.reason,
        ". Nothing in the directory was changed. Start the program version that wrote it, or restore "
        "that file; to give the replicas up, move the directory away and start with an empty one.");
  }
  auto listing = co_await disk.list("");
  if (listing.error != 0) {
    co_return refuse("The directory ", path, " cannot be listed: ", env::describeError(listing.error),
                     ". Nothing was changed.");
  }
  for (auto& name : listing.names) {
    if (belongsToAnEmptyStore(name)) continue;
    co_return refuse(
        "The directory ", path, " is not empty (it holds \"", name, "\") and has no ", IDENTITY_PATH,
        ", so it is not a chunk store. Nothing was changed. Give an empty directory, or restore that "
        "file if this was a store.");
  }
  StoreIdentity fresh{newUuid(entropy), {}, {}, {}, kj::String()};
  auto outcome = co_await replaceText(disk, IDENTITY_PATH, IDENTITY_NEW_PATH, encodeIdentity(fresh));
  if (!outcome.ok()) {
    co_return refuse("A chunk store cannot be made in ", path, ": ", outcome,
                     ". Nothing is lost. Make room or fix permissions and start again.");
  }
  co_return IdentityAnswer{kj::mv(fresh), kj::String()};
}

Async<env::IoOutcome> makeDirectories(env::Disk& disk) {
  auto outcome = co_await disk.makeDirectory("quarantine");
  if (outcome.ok()) outcome = co_await disk.makeDirectory("chunks");
  for (uint64_t low = 0; low < 256 && outcome.ok(); low++) {
    outcome = co_await disk.makeDirectory(chunkDirectory(ChunkHandle(low)));
  }
  if (outcome.ok()) outcome = co_await disk.syncDirectory("");
  if (outcome.ok()) outcome = co_await disk.syncDirectory("chunks");
  co_return outcome;
}

}  // namespace

Async<ChunkStore::Opened> ChunkStore::open(StoreEnvironment environment, StoreOptions options) {
  auto refuse = [](auto&&... parts) { return Opened{nullptr, kj::str(parts...)}; };
  auto path = kj::str(options.path);
  auto boot = kj::str(options.boot);
  options.path = path;

  auto lock = environment.disk.lock(LOCK_PATH);
  if (lock.error == EWOULDBLOCK) {
    co_return refuse("The store ", path, " is being served by another process (pid ", lock.holder,
                     "). Nothing was changed. Stop that one first, or give this one a directory of its own.");
  }
  if (lock.error != 0) {
    co_return refuse("The store ", path, " cannot be locked: ", env::describeError(lock.error),
                     ". Nothing was changed. Check that the directory is writable.");
  }
  auto known = co_await readOrMakeIdentity(environment.disk, environment.entropy, kj::str(path));
  if (known.identity == nullptr) co_return refuse(known.refusal);
  auto& identity = KJ_ASSERT_NONNULL(known.identity);

  auto made = co_await makeDirectories(environment.disk);
  if (!made.ok()) {
    co_return refuse("The directories of the store ", path, " cannot be made: ", made,
                     ". Its chunks are untouched. Make room or fix permissions and start again.");
  }
  auto mapped = environment.disk.map(INTENTS_PATH, INTENT_SLOTS * INTENT_SLOT_SIZE);
  if (mapped.error != 0) {
    co_return refuse("The intent file of the store ", path,
                     " cannot be mapped: ", env::describeError(mapped.error),
                     ". Its chunks are untouched. Make room and start again.");
  }
  auto index = StoreIndex::open(kj::str(path, "/", INDEX_PATH), environment.rocksdb, environment.worker,
                                StoreIndex::Access::SERVE);
  if (index.index == nullptr) {
    co_return refuse(
        "The index of the store ", path, " does not open: ", index.reason,
        ". Its chunks are untouched, and the cluster has other replicas of them. To give up this store's, "
        "move the directory away and start with an empty one.");
  }
  auto opened = kj::Own<ChunkStore>(
      new ChunkStore(environment, options, kj::mv(identity), kj::mv(KJ_ASSERT_NONNULL(lock.lock)),
                     kj::mv(KJ_ASSERT_NONNULL(index.index)),
                     kj::heap<Intents>(kj::mv(KJ_ASSERT_NONNULL(mapped.mapping)))),
      kj::_::HeapDisposer<ChunkStore>::instance);
  auto& store = *opened;
  store.machineRebooted = store.self.boot.size() > 0 && store.self.boot != boot;
  co_await store.recover();
  if (store.self.boot != boot) {
    // Only now: a second crash before this line finds the first one's traces again.
    auto status = co_await store.index->sync();
    auto renewed = store.self.clone();
    renewed.boot = kj::mv(boot);
    if (ok(status)) status = co_await store.writeIdentity(kj::mv(renewed));
    if (!ok(status)) {
      co_return refuse("The identity file of the store ", path,
                       " cannot be written. Its chunks are untouched. Make room ", "and start again.");
    }
  }
  store.space();
  store.tasks.add(store.cleanForEver());
  co_return Opened{kj::mv(opened), kj::String()};
}

Async<Status> ChunkStore::writeIdentity(StoreIdentity identity) {
  auto outcome =
      co_await replaceText(environment.disk, IDENTITY_PATH, IDENTITY_NEW_PATH, encodeIdentity(identity));
  if (!outcome.ok()) {
    environment.log.error("store ", path, ": writing its identity: ", outcome, " -> refused");
    co_return outcome.error == ENOSPC ? Status::NO_SPACE : Status::IO_ERROR;
  }
  self = kj::mv(identity);
  co_return Status::OK;
}

Async<Status> ChunkStore::join(ClusterId cluster, ServerId server, Epoch epoch) {
  if (!cluster) co_return Status::INVALID;
  auto turn = identityTurns.enter(0, 1, RangeLocks::Mode::EXCLUSIVE);
  if (!turn->granted()) co_await turn->whenGranted();
  if (self.cluster && self.cluster != cluster) co_return Status::WRONG_CLUSTER;
  if (epoch < self.epoch) co_return Status::STALE_EPOCH;
  bool serverKnown = !server || self.server == server;
  if (self.cluster == cluster && serverKnown && epoch == self.epoch) co_return Status::OK;
  auto joined = self.clone();
  joined.cluster = cluster;
  joined.epoch = epoch;
  if (server) joined.server = server;
  co_return co_await writeIdentity(kj::mv(joined));
}

uint64_t ChunkStore::bootNumber() const {
  auto bytes = self.boot.asBytes();
  uint64_t low = env::crc32c(bytes), high = env::crc32cExtend(uint32_t(low), bytes);
  return high << 32 | low | 1;  // never 0, which stands for any boot
}

// -- what a crash has left

Async<void> ChunkStore::recover() {
  for (auto handle : index->unreadable()) {
    environment.log.error("chunk ", handle,
                          ": its index record is not of this program's format -> not served");
  }
  kj::Vector<ChunkHandle> marked, going, staged;
  for (auto& entry : index->table()) {
    if (entry.second.has(DELETING)) {
      going.add(entry.first);
    } else if (entry.second.has(STAGING)) {
      staged.add(entry.first);
    } else if (entry.second.has(UNSYNCED) && !entry.second.has(CORRUPT)) {
      marked.add(entry.first);
    }
  }
  for (auto handle : going) co_await carryOnRemoving(handle);
  for (auto handle : staged) {
    auto status = co_await dropStaging(handle);
    environment.log.info("chunk ", handle, ": a copy of it was being taken -> dropped: ", status);
  }

  auto found = intents->found();
  if (machineRebooted) {
    // The intents are no guide: they and the pages they name reached the disk, or did not, each on its own.
    environment.log.warning("store ", path, ": the machine has restarted with ", marked.size(),
                            " chunks unsynced -> checking all of their blocks; they are to be reconciled");
    for (auto handle : marked) co_await settleAfterReboot(handle);
  } else {
    for (auto handle : marked) {
      co_await refreshLength(handle);
      dirty[handle] = Dirty{1, 0, true, environment.timer.now()};
    }
    if (found.size() > 0) {
      environment.log.warning("store ", path, ": ", found.size(),
                              " writes were under way when the process ended -> settling their blocks");
    }
    for (auto& intent : found) co_await settleIntent(intent);
  }
  intents->clearAll();
}

Async<void> ChunkStore::carryOnRemoving(ChunkHandle handle) {
  auto status = co_await removeFiles(handle, index->find(handle)->version);
  if (ok(status)) status = index->remove(handle);
  if (!ok(status)) {
    environment.log.error("chunk ", handle, ": its removal cannot be finished: ", status,
                          " -> tried at the next start");
  }
}

Async<void> ChunkStore::refreshLength(ChunkHandle handle) {
  // The index does not follow each write of an unsynced chunk: its data file knows.
  auto opened = co_await environment.disk.open(dataPath(handle), env::OpenMode::READ);
  auto* record = index->find(handle);
  KJ_IF_MAYBE (file, opened.file) {
    auto size = co_await file->get()->size();
    if (size.ok() && size.bytes <= CHUNK_SIZE) {
      record->length = uint32_t(size.bytes);
    } else {
      co_await quarantine(handle, size.ok() ? kj::str("its data file has ", size.bytes, " bytes")
                                            : kj::str("its data file cannot be looked at: ", size));
    }
  } else if (opened.error == ENOENT && record->has(FRESH) && (machineRebooted || !record->has(CREATED))) {
    record->length = 0;
    record->clear(CREATED);
  } else {
    co_await quarantine(handle,
                        kj::str("its data file cannot be opened: ", env::describeError(opened.error)));
  }
}

Async<void> ChunkStore::settleIntent(IntentSlot intent) {
  auto handle = ChunkHandle(intent.handle);
  auto* record = index->find(handle);
  if (record == nullptr || record->has(CORRUPT) || record->has(DELETING)) co_return;
  auto data = co_await environment.disk.open(dataPath(handle), env::OpenMode::WRITE);
  auto sums = co_await environment.disk.open(sumPath(handle), env::OpenMode::WRITE);
  if (data.error == ENOENT && record->has(FRESH) && !record->has(CREATED)) co_return;
  if (data.error != 0 || sums.error != 0) {
    co_await quarantine(handle, kj::str("its files cannot be opened to settle a write: ",
                                        env::describeError(data.error != 0 ? data.error : sums.error)));
    co_return;
  }
  // Not loadWords: its checks do not hold until the blocks are settled.
  auto chunk = kj::refcounted<Live>(handle);
  chunk->data = kj::mv(data.file);
  chunk->sums = kj::mv(sums.file);
  chunk->words.resize(BLOCKS_PER_CHUNK);
  auto table = co_await chunk->sumFile().read(SUM_HEADER_SIZE,
                                              kj::arrayPtr(chunk->words.data(), BLOCKS_PER_CHUNK).asBytes());
  auto words = kj::arrayPtr(intent.words, intent.count);
  auto before = kj::arrayPtr(intent.words + intent.count, intent.count);
  bool torn = false;
  auto status = Status::IO_ERROR;
  if (table.ok() && intent.kind == uint32_t(IntentKind::WRITE)) {
    status = co_await settle(*chunk, intent.firstBlock, words, before, torn);
  } else if (table.ok() && intent.kind == uint32_t(IntentKind::TRUNCATE)) {
    auto outcome = co_await chunk->dataFile().truncate(intent.length);
    if (outcome.ok()) outcome = co_await chunk->sumFile().truncate(sumOffset(intent.firstBlock));
    if (outcome.ok()) outcome = co_await writeWords(*chunk, intent.firstBlock, words);
    status = outcome.ok() ? Status::OK : Status::IO_ERROR;
    index->find(handle)->length = intent.length;
  }
  if (!ok(status)) {
    co_await quarantine(handle, kj::str("a write that was under way cannot be settled: ", status));
  } else if (torn) {
    environment.log.warning("chunk ", handle, ": the write of blocks ", intent.firstBlock, " to ",
                            intent.firstBlock + intent.count - 1,
                            " was torn -> summed anew; nobody was told that it had succeeded");
  }
}

Async<void> ChunkStore::settleAfterReboot(ChunkHandle handle) {
  co_await refreshLength(handle);
  auto* record = index->find(handle);
  if (record->has(CORRUPT)) co_return;
  auto suspect = *record;
  suspect.set(SUSPECT);
  auto data = co_await environment.disk.open(dataPath(handle), env::OpenMode::WRITE);
  auto sums = co_await environment.disk.open(sumPath(handle), env::OpenMode::CREATE_OR_OPEN);
  uint32_t mended = 0;
  if (data.error == 0 && sums.error == 0) {
    auto chunk = kj::refcounted<Live>(handle);
    chunk->data = kj::mv(data.file);
    chunk->sums = kj::mv(sums.file);
    kj::byte header[SUM_HEADER_BYTES];
    encodeSumHeader({self.cluster, handle, record->version}, header);
    auto outcome = co_await chunk->sumFile().write(0, kj::arrayPtr(header, sizeof(header)));
    chunk->words.resize(BLOCKS_PER_CHUNK);
    auto before = kj::arrayPtr(chunk->words.data(), BLOCKS_PER_CHUNK);
    if (outcome.ok()) outcome = co_await chunk->sumFile().read(SUM_HEADER_SIZE, before.asBytes());
    auto buffer = kj::heapArray<kj::byte>(TRANSFER_SIZE_MAX);
    std::vector<uint32_t> words(env::blocksOf(suspect.length));
    for (uint32_t at = 0; at < suspect.length && outcome.ok(); at += TRANSFER_SIZE_MAX) {
      outcome = co_await chunk->dataFile().read(at, buffer);
      if (!outcome.ok()) break;
      for (uint32_t within = 0; within < outcome.bytes; within += BLOCK_SIZE) {
        uint32_t block = (at + within) / BLOCK_SIZE;
        words[block] = env::blockChecksum(buffer.slice(within, kj::min(within + BLOCK_SIZE, outcome.bytes))) ^
                       env::ZERO_BLOCK_CRC;
        if (words[block] != before[block]) mended++;
      }
    }
    if (outcome.ok()) outcome = co_await chunk->sumFile().truncate(sumOffset(uint32_t(words.size())));
    if (outcome.ok()) outcome = co_await writeWords(*chunk, 0, kj::arrayPtr(words.data(), words.size()));
    if (outcome.ok()) outcome = co_await chunk->sumFile().sync();
    if (outcome.ok()) outcome = co_await chunk->dataFile().sync();
    if (!outcome.ok()) {
      co_await quarantine(handle,
                          kj::str("it cannot be checked after the restart of the machine: ", outcome));
      co_return;
    }
  }
  environment.log.info("chunk ", handle, " v", suspect.version, ": unsynced at the restart of the machine, ",
                       mended, " blocks did not match -> summed anew, to be reconciled");
  if (ok(index->put(handle, suspect))) dirty[handle] = Dirty{1, 0, true, environment.timer.now()};
}

}  // namespace cairn
