// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/chunk_service.h"

#include <kj/debug.h>

#include "chunkd/chunk_copy.h"
#include "env/checksum.h"
#include "env/mutation.h"
#include "rpc/coroutine.h"
#include "rpc/message_builder.h"

namespace cairn {

namespace {

ChunkKey keyOf(rpc::ChunkId::Reader id) {
  return {ChunkHandle(id.getHandle()), ChunkVersion(id.getVersion())};
}

kj::Array<uint32_t> arrayOf(capnp::List<uint32_t>::Reader list) {
  auto array = kj::heapArray<uint32_t>(list.size());
  for (unsigned i = 0; i < list.size(); i++) array[i] = list[i];
  return array;
}

kj::Vector<ReplicaAddress> addressesOf(capnp::List<rpc::Replica>::Reader list) {
  kj::Vector<ReplicaAddress> addresses(list.size());
  for (auto replica : list) {
    auto address = replica.getAddress();
    addresses.add(ReplicaAddress{ServerId(replica.getServer()), kj::str(address.getNetwork()),
                                 kj::str(address.getLocal()), kj::str(address.getHost())});
  }
  return addresses;
}

struct ArrivedWrite {
  // What a message asks to be written; refers to its bytes.
  kj::Array<uint32_t> checksums;
  kj::Array<WriteExtent> extents;
  ForwardedWrite write;
};

template <typename Params>
kj::Maybe<ArrivedWrite> arrived(Params params, uint64_t serial) {
  // Null: what it says of its extents does not fit the chunk, its bytes or its checksums.
  auto list = params.getExtents();
  auto data = params.getData();
  if (list.size() == 0 || list.size() > WRITE_EXTENTS_MAX || data.size() > TRANSFER_SIZE_MAX) return nullptr;
  auto checksums = arrayOf(params.getChecksums());
  auto extents = kj::heapArrayBuilder<WriteExtent>(list.size());
  auto bytesLeft = data;
  auto sumsLeft = checksums.asPtr().asConst();
  for (auto extent : list) {
    uint64_t start = extent.getOffset(), size = extent.getSize(), end = start + size;
    if (size == 0 || size > bytesLeft.size() || end > CHUNK_SIZE) return nullptr;
    size_t blocks = (end + BLOCK_SIZE - 1) / BLOCK_SIZE - start / BLOCK_SIZE;
    if (blocks > sumsLeft.size()) return nullptr;
    extents.add(WriteExtent{uint32_t(start), bytesLeft.slice(0, size), sumsLeft.slice(0, blocks)});
    bytesLeft = bytesLeft.slice(size, bytesLeft.size());
    sumsLeft = sumsLeft.slice(blocks, sumsLeft.size());
  }
  if (bytesLeft.size() > 0 || sumsLeft.size() > 0) return nullptr;
  ArrivedWrite write{kj::mv(checksums), extents.finish(), {}};
  write.write = {keyOf(params.getChunk()), serial, write.extents, data, write.checksums};
  return write;
}

template <typename Results>
void answer(Results results, const ChainOutcome& outcome, Status good = Status::OK) {
  bool failed = outcome.failed.size() > 0;
  bool nobody = failed && outcome.applied.size() == 0 && outcome.onlyForSpace;
  results.setStatus(!failed ? good : nobody ? Status::NO_SPACE : Status::REPLICA_FAILED);
  auto applied = results.initApplied(unsigned(outcome.applied.size()));
  for (unsigned i = 0; i < outcome.applied.size(); i++) {
    applied[i].setServer(outcome.applied[i].server.value());
    applied[i].setBoot(outcome.applied[i].boot);
  }
  auto list = results.initFailed(unsigned(outcome.failed.size()));
  for (unsigned i = 0; i < outcome.failed.size(); i++) list.set(i, outcome.failed[i].value());
}

}  // namespace

void ChunkService::writeReport(rpc::ChunkReport::Builder report, const ChunkState& state) const {
  report.setHandle(state.handle.value());
  report.setVersion(state.version.value());
  report.setLength(state.length);
  report.setUnsynced((state.flags & UNSYNCED) != 0);
  report.setSuspect((state.flags & SUSPECT) != 0);
  report.setCorrupt((state.flags & CORRUPT) != 0);
  KJ_IF_MAYBE (mark, order.mark(state.handle)) {
    report.setWritten(mark->version.value());
    report.setSerial(mark->serial);
  }
}

class ChunkHandlers : public rpc::ChunkServer::Server {
  // What anybody may ask. Each call runs as a promise of the service, so that it ends with it.
 public:
  explicit ChunkHandlers(ChunkService& service) : service(service) {}
  virtual ~ChunkHandlers() noexcept(false) {}

 protected:
  ChunkService& service;

  kj::Promise<void> tracked(kj::Promise<void> call) {
    service.underWay++;
    auto& count = service.underWay;
    return service.alive.wrap(call.attach(kj::defer([&count] { count--; })));
  }

  kj::Promise<void> write(WriteContext context) override { return tracked(doWrite(context)); }
  kj::Promise<void> apply(ApplyContext context) override { return tracked(doApply(context)); }
  kj::Promise<void> read(ReadContext context) override { return tracked(doRead(context)); }
  kj::Promise<void> sync(SyncContext context) override { return tracked(doSync(context)); }
  kj::Promise<void> append(AppendContext context) override { return tracked(doAppend(context)); }
  kj::Promise<void> checksums(ChecksumsContext context) override { return tracked(doChecksums(context)); }

  kj::Promise<void> describe(DescribeContext context) override {
    kj::Vector<ChunkState> known;
    for (auto handle : context.getParams().getChunks()) {
      KJ_IF_MAYBE (state, service.store.describe(ChunkHandle(handle))) known.add(*state);
    }
    auto list = context.getResults().initChunks(unsigned(known.size()));
    for (unsigned i = 0; i < known.size(); i++) service.writeReport(list[i], known[i]);
    return kj::READY_NOW;
  }

 private:
  Async<void> doWrite(WriteContext context);
  Async<void> doApply(ApplyContext context);
  Async<void> doRead(ReadContext context);
  Async<void> doSync(SyncContext context);
  Async<void> doAppend(AppendContext context);
  Async<void> doChecksums(ChecksumsContext context);
};

class OrderHandlers final : public ChunkHandlers {
 public:
  using ChunkHandlers::ChunkHandlers;

 protected:
  kj::Promise<void> adopt(AdoptContext context) override { return tracked(doAdopt(context)); }
  kj::Promise<void> lease(LeaseContext context) override { return tracked(doLease(context)); }
  kj::Promise<void> revoke(RevokeContext context) override { return tracked(doRevoke(context)); }
  kj::Promise<void> delete_(DeleteContext context) override { return tracked(doDelete(context)); }
  kj::Promise<void> verify(VerifyContext context) override { return tracked(doVerify(context)); }
  kj::Promise<void> copy(CopyContext context) override { return tracked(doCopy(context)); }
  kj::Promise<void> clone(CloneContext context) override { return tracked(doClone(context)); }
  kj::Promise<void> reconcile(ReconcileContext context) override { return tracked(doReconcile(context)); }
  kj::Promise<void> checkFiles(CheckFilesContext context) override { return tracked(doCheckFiles(context)); }

 private:
  Async<void> doAdopt(AdoptContext context);
  Async<void> doLease(LeaseContext context);
  Async<void> doRevoke(RevokeContext context);
  Async<void> doDelete(DeleteContext context);
  Async<void> doCheckFiles(CheckFilesContext context);
  Async<void> doVerify(VerifyContext context);
  Async<void> doCopy(CopyContext context);
  Async<void> doClone(CloneContext context);
  Async<void> doReconcile(ReconcileContext context);
  Async<Status> obey(Epoch epoch);
};

rpc::ChunkServer::Client ChunkService::newHandlers() {
  return kj::heap<ChunkHandlers>(*this);
}
rpc::ChunkServer::Client ChunkService::newOrderHandlers() {
  return kj::heap<OrderHandlers>(*this);
}

// -- writes

kj::Maybe<Status> ChunkService::refuse(const ForwardedWrite& write) const {
  for (auto& extent : write.extents) {
    KJ_IF_MAYBE (refusal, store.refuseWrite(write.chunk, extent.offset, extent.data, extent.checksums)) {
      return *refusal;
    }
  }
  return nullptr;
}

Async<Status> ChunkService::applyHere(ForwardedWrite write) {
  // All extents at once; those that overlap take their turns in the store. All have ended when it answers.
  kj::Vector<kj::Promise<Status>> extents(write.extents.size());
  for (auto& extent : write.extents) {
    extents.add(store.writeVerified(write.chunk, extent.offset, extent.data, extent.checksums));
  }
  auto worst = Status::OK;
  for (auto& extent : extents) {
    auto status = co_await extent;
    if (!ok(status) && (ok(worst) || worst == Status::NO_SPACE)) worst = status;
  }
  co_return worst;
}

Async<ChainOutcome> ChunkService::applyEverywhere(kj::ArrayPtr<const ReplicaAddress> chain,
                                                  ForwardedWrite write) {
  // Both begin in this turn of the loop: the store gives the write its place, and it leaves in its order.
  kj::Promise<Status> local = applyHere(write);
  auto others = replication.forward(chain, write);
  auto status = co_await local;
  if (ok(status)) {
    order.applied(write.chunk);
  } else {
    order.missed(write.chunk);
  }
  auto outcome = co_await others;
  if (ok(status)) {
    outcome.applied.add(ourselves());
  } else {
    outcome.failed.add(ourselves().server);
    outcome.onlyForSpace = outcome.onlyForSpace && status == Status::NO_SPACE;
    log.warning("we could not apply the write ", write.serial, " of ", write.chunk, ": ", status,
                " -> our replica counts as failed");
  }
  co_return kj::mv(outcome);
}

Async<ChainOutcome> ChunkService::mutate(ForwardedWrite write) {
  // As primary; the lease was looked at in this turn. A failure ends the lease here and now: those that
  // missed a write must not get the next one.
  auto handle = write.chunk.handle;
  auto& lease = leases.at(handle);
  write.serial = lease.nextSerial++;
  (void)order.take(write.chunk, write.serial);  // our own order is never out of order
  for (auto& extent : write.extents) lease.end = kj::max(lease.end, extent.end());
  accepted[handle].count++;
  KJ_DEFER({
    auto found = accepted.find(handle);
    if (--found->second.count == 0) {
      for (auto& waiter : found->second.waiting) waiter->fulfill();
      accepted.erase(found);
    }
  });
  auto outcome = co_await applyEverywhere(lease.secondaries, write);
  if (isMutant(Mutant::ANSWER_BEFORE_THE_OTHERS)) outcome.failed.clear();
  if (outcome.failed.size() > 0) {
    leases.endUpTo(write.chunk);
    bool nobody = outcome.applied.size() == 0 && outcome.onlyForSpace;
    if (!nobody) co_await reporter.reportFailed(write.chunk, kj::heapArray<ServerId>(outcome.failed.asPtr()));
  }
  co_return kj::mv(outcome);
}

kj::Promise<void> ChunkService::drained(ChunkHandle chunk) {
  auto found = accepted.find(chunk);
  if (found == accepted.end()) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  found->second.waiting.add(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

Async<void> ChunkHandlers::doWrite(WriteContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto message = arrived(params, 0);
  if (message == nullptr) {
    results.setStatus(Status::INVALID);
    co_return;
  }
  auto& write = KJ_ASSERT_NONNULL(message).write;
  KJ_IF_MAYBE (refusal, service.refuse(write)) {
    results.setStatus(*refusal);
    co_return;
  }
  KJ_IF_MAYBE (refusal, service.leases.refuse(write.chunk, service.timer.now())) {
    results.setStatus(*refusal);
    co_return;
  }
  auto outcome = co_await service.mutate(write);
  answer(results, outcome);
  results.setBlocks(service.store.blocksInUse(write.chunk.handle));
}

Async<void> ChunkHandlers::doApply(ApplyContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto refuse = [&](Status status) {
    results.setStatus(status);
    results.initFailed(1).set(0, service.ourselves().server.value());
  };
  auto message = arrived(params, params.getSerial());
  if (message == nullptr) {
    refuse(Status::INVALID);
    co_return;
  }
  auto& write = KJ_ASSERT_NONNULL(message).write;
  KJ_IF_MAYBE (refusal, service.refuse(write)) {
    refuse(*refusal);
    co_return;
  }
  if (service.order.take(write.chunk, write.serial) == ApplyOrder::Turn::OUT_OF_ORDER) {
    service.log.warning("write ", write.serial, " of ", write.chunk,
                        " came out of order: we have missed one -> refused until the next version");
    refuse(Status::INVALID);
    co_return;
  }
  auto rest = addressesOf(params.getRest());
  auto outcome = co_await service.applyEverywhere(rest, write);
  answer(results, outcome);
}

Async<void> ChunkHandlers::doAppend(AppendContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto key = keyOf(params.getChunk());
  auto data = params.getData();
  if (data.size() == 0 || data.size() > RECORD_SIZE_MAX) {
    results.setStatus(Status::INVALID);
    co_return;
  }
  if (env::crc32c(data) != params.getChecksum()) {
    results.setStatus(Status::BAD_CHECKSUM);
    co_return;
  }
  KJ_IF_MAYBE (refusal, service.leases.refuse(key, service.timer.now())) {
    results.setStatus(*refusal);
    co_return;
  }
  uint32_t start = service.leases.at(key.handle).end;
  bool fits = start + uint64_t(data.size()) <= CHUNK_SIZE;
  alignas(8) static constexpr kj::byte ZERO[8] = {};  // a word: what is sent by reference is sent in words
  if (!fits) {
    if (start == CHUNK_SIZE) {
      results.setStatus(Status::CHUNK_FULL);
      co_return;
    }
    data = kj::arrayPtr(ZERO, 1);  // one at the very end makes all between a hole of zeros
    start = CHUNK_SIZE - 1;
  }
  results.setOffset(start);
  // In pieces as large as a write may be (which keeps them aligned to words for sending by reference). All
  // are accepted in this turn, so no other write comes between.
  kj::Vector<kj::Array<uint32_t>> sums;
  auto extents = kj::heapArray<WriteExtent>((data.size() + TRANSFER_SIZE_MAX - 1) / TRANSFER_SIZE_MAX);
  kj::Vector<kj::Promise<ChainOutcome>> pieces;
  for (size_t at = 0; at < data.size();) {
    uint32_t offset = start + uint32_t(at);
    auto piece = data.slice(at, kj::min(data.size(), at + TRANSFER_SIZE_MAX));
    kj::Vector<uint32_t> pieceSums;
    env::checksumPieces(offset, piece, pieceSums);
    sums.add(pieceSums.releaseAsArray());
    auto& extent = extents[pieces.size()];
    extent = {offset, piece, sums.back()};
    pieces.add(service.mutate({key, 0, kj::arrayPtr(&extent, 1), piece, sums.back()}));
    at += piece.size();
  }
  ChainOutcome total;
  for (auto& piece : pieces) {
    auto outcome = co_await piece;
    for (auto server : outcome.failed) total.failed.add(server);
    if (outcome.failed.size() > 0) total.onlyForSpace = total.onlyForSpace && outcome.onlyForSpace;
    total.applied = kj::mv(outcome.applied);
  }
  answer(results, total, fits ? Status::OK : Status::CHUNK_FULL);
  results.setBlocks(service.store.blocksInUse(key.handle));
}

// -- reads and barriers

Async<void> ChunkHandlers::doRead(ReadContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto key = keyOf(params.getChunk());
  uint32_t offset = params.getOffset(), size = params.getSize();
  if (offset % BLOCK_SIZE != 0 || size % BLOCK_SIZE != 0 || size > TRANSFER_SIZE_MAX ||
      offset + uint64_t(size) > CHUNK_SIZE) {
    results.setStatus(Status::INVALID);
    co_return;
  }
  auto sums = kj::heapArray<uint32_t>(size / BLOCK_SIZE);
  // The disk is read straight into the answer.
  auto room = [&](uint32_t bytes) {
    return initPayload(service.pool, [&] { return results.initData(bytes); });
  };
  auto got = co_await service.store.read(key, offset, size, room, sums);
  results.setStatus(got.status);
  if (!ok(got.status)) {
    results.disownData();
    co_return;
  }
  results.setChecksums(sums.slice(0, env::blocksOf(got.bytes)));
}

Async<void> ChunkHandlers::doSync(SyncContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  bool anyBoot = params.getBoot() == 0 || isMutant(Mutant::SYNC_IN_ANY_BOOT);
  if (!anyBoot && params.getBoot() != service.store.bootNumber()) {
    results.setStatus(Status::REBOOTED);
    co_return;
  }
  kj::Vector<kj::Promise<Status>> syncs;
  auto suspects =
      isMutant(Mutant::SYNC_IN_ANY_BOOT) ? ChunkStore::Suspects::ALLOWED : ChunkStore::Suspects::REFUSED;
  for (auto chunk : params.getChunks()) syncs.add(service.store.sync(keyOf(chunk), suspects));
  kj::Vector<uint64_t> failed;
  Status status = Status::OK;
  for (unsigned i = 0; i < syncs.size(); i++) {
    auto one = co_await syncs[i];
    if (ok(one)) continue;
    if (ok(status)) status = one;
    failed.add(params.getChunks()[i].getHandle());
  }
  results.setStatus(status);
  auto list = results.initFailed(unsigned(failed.size()));
  for (unsigned i = 0; i < failed.size(); i++) list.set(i, failed[i]);
}

Async<void> ChunkHandlers::doChecksums(ChecksumsContext context) {
  auto results = context.getResults();
  auto table = co_await service.store.checksums(keyOf(context.getParams().getChunk()));
  results.setStatus(table.status);
  results.setLength(table.length);
  results.setChecksums(table.checksums.asBytes());
}

// -- orders of the metaserver

Async<Status> OrderHandlers::obey(Epoch epoch) {
  auto status = co_await service.store.join(service.store.identity().cluster, ServerId(0), epoch);
  if (!ok(status)) {
    service.log.warning("an order of epoch ", epoch, ", and we have seen ", service.store.identity().epoch,
                        " -> ", status);
  }
  co_return status;
}

Async<void> OrderHandlers::doAdopt(AdoptContext context) {
  auto params = context.getParams();
  auto obeyed = co_await obey(Epoch(params.getEpoch()));
  auto list = params.getChunks();
  auto results = context.getResults().initResults(list.size());
  kj::Vector<kj::Promise<ChunkStore::AdoptAnswer>> adoptions;
  for (auto adoption : list) {
    ChunkHandle handle(adoption.getHandle());
    ChunkVersion version(adoption.getVersion());
    if (!ok(obeyed)) {
      adoptions.add(ChunkStore::AdoptAnswer{obeyed});
      continue;
    }
    if (version) service.leases.endUpTo({handle, ChunkVersion(version.value() - 1)});
    kj::Maybe<uint32_t> truncate;
    if (adoption.getTruncate() != UINT32_MAX) truncate = adoption.getTruncate();
    adoptions.add(service.store.adopt({handle, ChunkVersion(adoption.getFrom()), version, truncate}));
  }
  for (unsigned i = 0; i < adoptions.size(); i++) {
    auto answer = co_await adoptions[i];
    ChunkHandle handle(list[i].getHandle());
    results[i].setHandle(handle.value());
    results[i].setStatus(answer.status);
    results[i].setLength(answer.length);
    if (!ok(answer.status)) continue;
    if (list[i].getFrom() == 0) service.order.made({handle, ChunkVersion(list[i].getVersion())});
    KJ_IF_MAYBE (mark, service.order.mark(handle)) {
      results[i].setWritten(mark->version.value());
      results[i].setSerial(mark->serial);
    }
    KJ_IF_MAYBE (state, service.store.describe(handle)) results[i].setSuspect((state->flags & SUSPECT) != 0);
  }
}

Async<void> OrderHandlers::doLease(LeaseContext context) {
  auto arrived = service.timer.now();
  auto params = context.getParams();
  auto status = co_await obey(Epoch(params.getEpoch()));
  if (ok(status)) {
    for (auto grant : params.getLeases()) {
      auto key = keyOf(grant.getChunk());
      auto state = service.store.describe(key.handle);
      KJ_IF_MAYBE (known, state) {
        if (known->version == key.version && (known->flags & (CORRUPT | SUSPECT)) == 0) {
          service.leases.grant(key, arrived + grant.getDurationMs() * kj::MILLISECONDS,
                               addressesOf(grant.getSecondaries()), known->length);
          service.log.debug("lease of ", key, " with ", grant.getSecondaries().size(),
                            " secondaries -> primary");
          continue;
        }
      }
      status = Status::STALE_VERSION;
    }
  }
  context.getResults().setStatus(status);
}

Async<void> OrderHandlers::doRevoke(RevokeContext context) {
  auto params = context.getParams();
  auto status = co_await obey(Epoch(params.getEpoch()));
  if (ok(status)) {
    for (auto chunk : params.getChunks()) service.leases.endUpTo(keyOf(chunk));
    for (auto chunk : params.getChunks()) co_await service.drained(keyOf(chunk).handle);
  }
  context.getResults().setStatus(status);
}

Async<void> OrderHandlers::doCopy(CopyContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto status = co_await obey(Epoch(params.getEpoch()));
  if (!ok(status)) {
    results.setStatus(status);
    co_return;
  }
  CopyOrder order{keyOf(params.getChunk()), addressesOf(params.getSources()),
                  ChunkVersion(params.getReplace()), params.getLimit()};
  if (params.getCommit()) order.end = CopyOrder::End::COMMIT;
  service.leases.endUpTo({order.chunk.handle, order.replace});
  service.order.forget(order.chunk.handle);
  auto answer = co_await service.copier.copy(kj::mv(order));
  results.setStatus(answer.status);
  results.setCopied(answer.copied);
  results.setLeft(answer.left);
  results.setLength(answer.length);
  auto bad = results.initBad(unsigned(answer.bad.size()));
  for (unsigned i = 0; i < answer.bad.size(); i++) bad.set(i, answer.bad[i].value());
}

Async<void> OrderHandlers::doClone(CloneContext context) {
  auto params = context.getParams();
  auto status = co_await obey(Epoch(params.getEpoch()));
  auto results = context.getResults();
  if (ok(status)) {
    auto source = keyOf(params.getChunk());
    service.leases.endUpTo(source);
    co_await service.drained(source.handle);
    auto answer = co_await service.store.clone(source, ChunkHandle(params.getClone()), params.getBytes());
    status = answer.status;
    results.setLength(answer.length);
  }
  results.setStatus(status);
}

Async<void> OrderHandlers::doReconcile(ReconcileContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto key = keyOf(params.getChunk());
  auto status = co_await obey(Epoch(params.getEpoch()));
  if (!ok(status)) {
    results.setStatus(status);
    co_return;
  }
  auto sources = addressesOf(params.getSources());
  if (sources.size() > 0) service.order.forget(key.handle);
  auto answer = co_await service.copier.reconcile(key, kj::mv(sources));
  results.setStatus(answer.status);
  results.setCopied(answer.copied);
  results.setLength(answer.length);
  auto bad = results.initBad(unsigned(answer.bad.size()));
  for (unsigned i = 0; i < answer.bad.size(); i++) bad.set(i, answer.bad[i].value());
}

Async<void> OrderHandlers::doDelete(DeleteContext context) {
  auto params = context.getParams();
  auto status = co_await obey(Epoch(params.getEpoch()));
  if (ok(status)) {
    for (auto chunk : params.getChunks()) {
      auto key = keyOf(chunk);
      service.leases.endUpTo(key);
      auto removed = co_await service.store.remove(key);
      if (ok(removed)) service.order.forget(key.handle);
      if (!ok(removed)) status = removed;
    }
    service.log.info("the metaserver has ", params.getChunks().size(), " replicas deleted -> ", status);
  }
  context.getResults().setStatus(status);
}

Async<void> OrderHandlers::doCheckFiles(CheckFilesContext context) {
  auto params = context.getParams();
  auto check = co_await service.store.checkFiles(ChunkHandle(params.getAfter()), params.getLimit());
  auto results = context.getResults();
  auto problems = results.initProblems(unsigned(check.problems.size()));
  for (unsigned i = 0; i < problems.size(); i++) {
    problems[i].setHandle(check.problems[i].handle.value());
    problems[i].setVersion(check.problems[i].version.value());
    problems[i].setProblem(check.problems[i].text);
  }
  results.setNext(check.next.value());
  results.setChecked(check.checked);
  results.setEnd(check.end);
}

Async<void> OrderHandlers::doVerify(VerifyContext context) {
  auto answer = co_await service.store.verify(keyOf(context.getParams().getChunk()));
  context.getResults().setStatus(answer.status);
}

}  // namespace cairn
