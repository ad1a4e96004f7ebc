// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "test/client/fake_cluster.h"

#include <kj/debug.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "rpc/coroutine.h"
#include "test/client/fake_chunk_server.h"

namespace cairn::client {

namespace {

// ------------------------------------------------------------ metaserver

void fill(rpc::Attributes::Builder builder, const FileAttributes& attributes) {
  builder.setInode(attributes.inode.value());
  builder.setType(attributes.type);
  builder.setMode(attributes.mode);
  builder.setLinks(attributes.links);
  builder.setSize(attributes.size);
  builder.setMtime(attributes.mtime.ns);
  builder.setCtime(attributes.ctime.ns);
  builder.setDataVersion(attributes.dataVersion);
}

class FakeSessionServer final : public rpc::Session::Server {
 public:
  FakeSessionServer(FakeCluster& cluster, uint64_t id) : cluster(cluster), id(id) {}

  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId,
                                  RefusedCalls::Context context) override {
    auto refusal = cluster.metaserverRefuses.refuses<rpc::Session>(interfaceId, methodId, context);
    KJ_IF_MAYBE (refused, refusal) return {kj::mv(*refused), false};
    return rpc::Session::Server::dispatchCall(interfaceId, methodId, context);
  }

 protected:
  kj::Promise<void> renew(RenewContext context) override {
    auto status = alive();
    context.getResults().setStatus(status);
    if (ok(status)) context.getResults().setVoidUpTo(std::exchange(cluster.sessions.at(id).voidUpTo, 0));
    return kj::READY_NOW;
  }
  kj::Promise<void> close(CloseContext) override {
    cluster.sessions.erase(id);
    for (auto& [inode, holders] : cluster.leases) holders.erase(id);
    return kj::READY_NOW;
  }

  kj::Promise<void> change(ChangeContext context) override { return changing(context); }

  Async<void> changing(ChangeContext context) {
    auto change = context.getParams().getChange();
    auto outcome = context.getResults().initOutcome();
    auto status = cluster.heldUp ? Status::NOT_READY : alive();
    outcome.setHeldUp(cluster.heldUp);
    if (!ok(status)) {
      outcome.setStatus(status);
      co_return;
    }
    if (context.getParams().getDurable()) {
      auto covered = context.getParams().getCovered();
      cluster.covered.emplace_back(covered.begin(), covered.end());
    }
    std::vector<FakeCluster::Alone>
        alone;  // until it is answered nobody else gets a lease on what it touches
    if (change.isPublish() && cluster.leaseMs > 0) {
      auto lease = cluster.leaseOf(id, change.getPublish().getFile());
      if (lease != rpc::LeaseKind::WRITE && lease != rpc::LeaseKind::APPEND) {
        outcome.setStatus(Status::NOT_LEASED);
        co_return;
      }
      if (cluster.holdPublishes) {
        auto paf = kj::newPromiseAndFulfiller<void>();
        cluster.heldPublishes.push_back(kj::mv(paf.fulfiller));
        co_await paf.promise;
      }
    } else if (!change.isPublish()) {
      for (auto inode : touched(change)) {
        alone.push_back(co_await cluster.recallOthers(id, inode, rpc::LeaseKind::NONE));
      }
      if (!cluster.sessions.count(id)) {
        outcome.setStatus(Status::SESSION_EXPIRED);
        co_return;
      }
    }
    auto& outcomes = cluster.sessions.at(id).outcomes;
    KJ_REQUIRE(change.getSequence() > change.getAnswered(), "a change that counts as answered");
    auto before = outcomes.find(change.getSequence());
    auto about = inodeOf(change);
    if (before != outcomes.end()) {
      ++cluster.repeated;
      status = before->second;
    } else {
      ++cluster.changes;
      status = apply(change);
      if (change.isCreate()) about = inodeOf(change);
      outcomes.emplace(change.getSequence(), status);
      if (cluster.loseAnswers > 0) {
        --cluster.loseAnswers;
        auto paf = kj::newPromiseAndFulfiller<void>();
        cluster.unanswered.push_back(kj::mv(paf.fulfiller));
        co_await paf.promise;
      }
    }
    outcome.setStatus(status);
    outcome.setQuotaLeft(cluster.quotaLeft);
    if (context.getParams().getDurable()) ++cluster.syncs;
    if (!ok(status)) co_return;
    bool opens = change.isCreate() && change.getCreate().getOpen();
    if (cluster.files.count(about)) {
      tell(outcome.initAttributes(), about, opens ? rpc::LeaseKind::WRITE : rpc::LeaseKind::READ);
    }
    auto parent = parentOf(change);
    if (parent != 0) {
      auto builder = outcome.initParent();
      builder.setInode(parent);
      builder.setType(FileType::DIRECTORY);
      builder.setLease(cluster.grantInBand(id, parent, rpc::LeaseKind::READ));
      builder.setStamp(++cluster.stamp);
    }
  }

  kj::Promise<void> statistics(StatisticsContext context) override {
    ++cluster.spaceAsked;
    auto results = context.getResults();
    results.setBlocksTotal(1 << 20);
    results.setBlocksFree(cluster.quotaLeft == UINT64_MAX ? 1 << 20 : cluster.quotaLeft / BLOCK_SIZE);
    results.setOverQuota(cluster.quotaLeft != UINT64_MAX);
    return kj::READY_NOW;
  }
  kj::Promise<void> needSpace(NeedSpaceContext context) override {
    ++cluster.spaceWanted;
    context.getResults().setStatus(cluster.moreSpace);
    return kj::READY_NOW;
  }

  kj::Promise<void> lookup(LookupContext context) override { return lookingUp(context); }
  Async<void> lookingUp(LookupContext context) {
    auto params = context.getParams();
    auto results = context.getResults();
    ++cluster.lookups;
    auto found = cluster.names.find({params.getParent(), params.getName().cStr()});
    auto status = alive();
    if (ok(status) && found == cluster.names.end()) status = Status::NOT_FOUND;
    results.setStatus(status);
    auto directory = results.initDirectory();
    directory.setInode(params.getParent());
    directory.setKind(cluster.grantInBand(id, params.getParent(), rpc::LeaseKind::READ));
    directory.setStamp(++cluster.stamp);
    if (ok(status)) co_await describe(results.initAttributes(), found->second);
  }
  kj::Promise<void> getAttributes(GetAttributesContext context) override {
    return gettingAttributes(context);
  }
  Async<void> gettingAttributes(GetAttributesContext context) {
    auto inode = context.getParams().getInode();
    ++cluster.questions;
    auto status = alive();
    if (ok(status) && !cluster.files.count(inode)) status = Status::STALE;
    context.getResults().setStatus(status);
    if (ok(status)) co_await describe(context.getResults().initAttributes(), inode);
  }
  kj::Promise<void> open(OpenContext context) override {
    auto inode = context.getParams().getInode();
    auto status = alive();
    if (ok(status) && !cluster.files.count(inode)) status = Status::STALE;
    context.getResults().setStatus(status);
    if (!ok(status)) return kj::READY_NOW;
    cluster.sessions.at(id).open.insert(inode);
    tell(context.getResults().initAttributes(), inode,
         context.getParams().getForWrite() ? rpc::LeaseKind::WRITE : rpc::LeaseKind::READ);
    return kj::READY_NOW;
  }
  kj::Promise<void> acquire(AcquireContext context) override { return acquiring(context); }
  Async<void> acquiring(AcquireContext context) {
    auto inode = context.getParams().getInode();
    auto kind = context.getParams().getKind();
    ++cluster.acquires;
    bool heldUp = cluster.heldUp && kind != rpc::LeaseKind::READ;
    auto status = heldUp ? Status::NOT_READY : alive();
    context.getResults().setHeldUp(heldUp);
    if (ok(status) && !cluster.files.count(inode)) status = Status::STALE;
    context.getResults().setStatus(status);
    if (!ok(status)) co_return;
    auto kept = kind == rpc::LeaseKind::READ ? rpc::LeaseKind::READ : rpc::LeaseKind::NONE;
    auto alone = co_await cluster.recallOthers(id, inode, kept);
    if (cluster.leaseOf(id, inode) != rpc::LeaseKind::WRITE) cluster.leases[inode][id] = kind;
    tell(context.getResults().initAttributes(), inode, kind);
  }
  kj::Promise<void> giveBack(GiveBackContext context) override {
    for (auto lease : context.getParams().getLeases()) {
      auto& holders = cluster.leases[lease.getInode()];
      if (lease.getKind() == rpc::LeaseKind::NONE) {
        holders.erase(id);
      } else if (holders.count(id)) {
        holders[id] = lease.getKind();
      }
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> release(ReleaseContext context) override {
    for (auto inode : context.getParams().getInodes()) {
      cluster.released.push_back(inode);
      cluster.sessions.at(id).open.erase(inode);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> findChunk(FindChunkContext context) override {
    auto params = context.getParams();
    auto results = context.getResults();
    auto& chunks = cluster.files.at(params.getInode()).chunks;
    auto found = chunks.lower_bound(params.getFirst());
    bool isHere = params.getSparse() || found != chunks.end();  // none is known to be full of data
    results.setFound(isHere);
    results.setIndex(params.getSparse() || !isHere ? params.getFirst() : found->first);
    return kj::READY_NOW;
  }
  kj::Promise<void> lock(LockContext context) override {
    context.getResults().setStatus(cluster.lockAnswer);
    bool waits = cluster.lockAnswer == Status::WOULD_BLOCK;
    return cluster.time.timer().afterDelay(waits ? context.getParams().getWaitMs() * kj::MILLISECONDS
                                                 : 0 * kj::MILLISECONDS);
  }
  kj::Promise<void> cancelLock(CancelLockContext context) override {
    context.getResults().setStatus(cluster.cancelAnswer);
    return kj::READY_NOW;
  }
  kj::Promise<void> reclaimLocks(ReclaimLocksContext context) override {
    context.getResults().setStatus(cluster.reclaimAnswer);
    return kj::READY_NOW;
  }

  kj::Promise<void> locate(LocateContext context) override {
    auto params = context.getParams();
    auto results = context.getResults();
    ++cluster.locates;
    auto status = alive();
    if (ok(status)) status = cluster.locateRefusal;
    if (ok(status) && !cluster.files.count(params.getInode())) status = Status::STALE;
    if (ok(status) && params.getForWrite() && cluster.leaseMs > 0) {
      auto lease = cluster.leaseOf(id, params.getInode());
      if (lease != rpc::LeaseKind::WRITE && lease != rpc::LeaseKind::APPEND) status = Status::NOT_LEASED;
    }
    results.setStatus(status);
    if (!ok(status)) return kj::READY_NOW;
    auto& file = cluster.files.at(params.getInode());
    std::set<uint32_t> suspects;
    for (auto server : params.getSuspects()) suspects.insert(server);
    cluster.suspected.insert(suspects.begin(), suspects.end());
    std::set<uint32_t> unsynced;
    auto known = file.chunks.find(params.getFirst());
    if (known != file.chunks.end() && known->second.version == params.getVersion()) {
      for (auto server : params.getUnsynced()) unsynced.insert(server);
    }
    bool syncing = params.getVersion() > 0;
    if (params.getForWrite() || (syncing && file.chunks.count(params.getFirst()))) {
      cluster.grant(file, params.getFirst(), suspects, unsynced);
      if (file.chunks.at(params.getFirst()).primary == 0) {
        results.setStatus(Status::NOT_READY);
        return kj::READY_NOW;
      }
    }
    auto locations = results.initLocations(params.getCount());
    for (unsigned i = 0; i < params.getCount(); ++i) {
      auto location = locations[i];
      location.setIndex(params.getFirst() + i);
      auto chunk = file.chunks.find(params.getFirst() + i);
      if (chunk == file.chunks.end()) continue;
      location.initChunk().setHandle(chunk->second.handle);
      location.getChunk().setVersion(chunk->second.version);
      location.setPrimary(chunk->second.primary);
      location.setLeaseMs(60'000);
      location.setValidBytes(chunk->second.validBytes);
      location.setComplete(chunk->second.isComplete || syncing);
      location.setLostAt(chunk->second.lostAt);
      location.setAsOf(cluster.operations);
      auto replicas = location.initReplicas(chunk->second.replicas.size());
      unsigned place = 0;
      for (auto server : chunk->second.replicas) {
        replicas[place].setServer(server);
        replicas[place++].initAddress().setNetwork(kj::str("s", server, ":9410"));
      }
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> sync(SyncContext context) override {
    ++cluster.syncs;
    auto covered = context.getParams().getCovered();
    cluster.covered.emplace_back(covered.begin(), covered.end());
    return kj::READY_NOW;
  }
  kj::Promise<void> reportCorrupt(ReportCorruptContext context) override {
    cluster.corruptReports.push_back(context.getParams().getServer());
    return kj::READY_NOW;
  }

 private:
  FakeCluster& cluster;
  const uint64_t id;

  void tell(rpc::Attributes::Builder builder, uint64_t inode, rpc::LeaseKind wanted) {
    fill(builder, cluster.files.at(inode).attributes);
    builder.setLease(cluster.grantInBand(id, inode, wanted));
    builder.setStamp(++cluster.stamp);
    for (auto& [holder, kind] : cluster.leases[inode]) {
      if (holder != id && kind == rpc::LeaseKind::WRITE) builder.setUnsure(true);
    }
  }
  Async<void> describe(rpc::Attributes::Builder builder, uint64_t inode) {
    tell(builder, inode, rpc::LeaseKind::READ);
    if (!builder.getUnsure()) co_return;
    for (auto& [holder, kind] : cluster.leases[inode]) {
      if (kind != rpc::LeaseKind::WRITE) continue;
      auto request = cluster.sessions.at(holder).callback.describeRequest();
      request.setInode(inode);
      auto answer = co_await request.send();
      if (!ok(answer.getStatus())) co_return;
      builder.setUnsure(false);
      builder.setSize(answer.getSize());
      builder.setMtime(answer.getMtime());
      co_return;
    }
  }
  static uint64_t parentOf(rpc::Change::Reader change) {
    if (change.isCreate()) return change.getCreate().getParent();
    if (change.isUnlink()) return change.getUnlink().getParent();
    return 0;
  }
  std::vector<uint64_t> touched(rpc::Change::Reader change) {
    std::vector<uint64_t> inodes;
    if (parentOf(change) != 0) inodes.push_back(parentOf(change));
    if (change.isSetAttributes()) inodes.push_back(change.getSetAttributes().getInode());
    if (change.isUnlink()) inodes.push_back(inodeOf(change));
    std::sort(inodes.begin(), inodes.end());
    return inodes;
  }
  Status alive() {
    if (cluster.notReady > 0) {
      --cluster.notReady;
      return Status::NOT_READY;
    }
    return cluster.sessions.count(id) ? Status::OK : Status::SESSION_EXPIRED;
  }
  uint64_t inodeOf(rpc::Change::Reader change) {
    if (change.isPublish()) return change.getPublish().getFile();
    if (change.isCreate()) {
      auto found = cluster.names.find({change.getCreate().getParent(), change.getCreate().getName().cStr()});
      return found == cluster.names.end() ? 0 : found->second;
    }
    if (change.isSetAttributes()) return change.getSetAttributes().getInode();
    if (change.isPunch()) return change.getPunch().getHollow();
    if (change.isUnlink()) {
      auto found = cluster.names.find({change.getUnlink().getParent(), change.getUnlink().getName().cStr()});
      return found == cluster.names.end() ? 0 : found->second;
    }
    return 0;
  }
  Status apply(rpc::Change::Reader change) {
    if (change.isCreate()) {
      auto create = change.getCreate();
      auto [place, fresh] = cluster.names.try_emplace({create.getParent(), create.getName().cStr()}, 0);
      if (!fresh && create.getExclusive()) return Status::EXISTS;
      if (fresh) {
        place->second = ++cluster.lastInode;
        auto& attributes = cluster.files[place->second].attributes;
        attributes.inode = InodeId(place->second);
        attributes.mode = create.getMode();
        attributes.links = 1;
      }
      if (create.getOpen()) cluster.sessions.at(id).open.insert(place->second);
      return Status::OK;
    }
    if (change.isUnlink()) {
      auto found = cluster.names.find({change.getUnlink().getParent(), change.getUnlink().getName().cStr()});
      if (found == cluster.names.end()) return Status::NOT_FOUND;
      cluster.files.at(found->second).attributes.links -= 1;
      cluster.names.erase(found);
      return Status::OK;
    }
    auto file = cluster.files.find(inodeOf(change));
    if (file == cluster.files.end()) return Status::NOT_FOUND;
    auto& attributes = file->second.attributes;
    ++attributes.ctime.ns;
    if (change.isPublish()) {
      ++cluster.publishes;
      cluster.publishedLengths.push_back(change.getPublish().getLength());
      attributes.size = std::max(attributes.size, change.getPublish().getLength());
      if (change.getPublish().getModified() != 0) attributes.mtime.ns = change.getPublish().getModified();
      ++attributes.dataVersion;
      return Status::OK;
    }
    if (change.isSetAttributes()) {
      auto set = change.getSetAttributes();
      if (set.getSet() & rpc::SET_MODE) attributes.mode = set.getMode();
      if (set.getSet() & rpc::SET_MTIME) attributes.mtime.ns = set.getMtime();
      if (set.getSet() & rpc::SET_SIZE) cut(file->second, set.getSize());
      return Status::OK;
    }
    if (change.isPunch()) {
      auto punch = change.getPunch();
      std::erase_if(file->second.chunks, [&](auto& chunk) {
        return chunk.first >= punch.getFirstChunk() && chunk.first < punch.getEndChunk();
      });
      attributes.size = std::max(attributes.size, punch.getAtLeast());
      ++attributes.dataVersion;
      return Status::OK;
    }
    return Status::NOT_SUPPORTED;
  }
  void cut(FakeFile& file, uint64_t size) {
    file.attributes.size = size;
    ++file.attributes.dataVersion;
    auto [index, offset] = cairn::locate(FileOffset(size));
    std::erase_if(file.chunks, [&](auto& chunk) {
      return chunk.first > index.value() || (chunk.first == index.value() && offset.value() == 0);
    });
    auto last = file.chunks.find(index.value());
    if (last == file.chunks.end()) return;
    last->second.validBytes = std::min(last->second.validBytes, offset.value());
    last->second.primary = 0;
  }
};

class FakeMetaserver final : public rpc::Metaserver::Server {
 public:
  explicit FakeMetaserver(FakeCluster& cluster) : cluster(cluster) {}

 protected:
  kj::Promise<void> openSession(OpenSessionContext context) override {
    auto params = context.getParams();
    auto results = context.getResults();
    auto id = params.getResume();
    if (id != 0 && !cluster.sessions.count(id)) {
      results.setStatus(Status::SESSION_EXPIRED);
      return kj::READY_NOW;
    }
    if (id == 0) {
      id = ++cluster.lastSession;
      cluster.sessions[id];
    } else {
      auto& open = cluster.sessions.at(id).open;
      open.clear();
      for (auto inode : params.getOpenInodes()) open.insert(inode);
      std::vector<uint64_t> refused;
      for (auto lease : params.getLeases()) {
        auto& holders = cluster.leases[lease.getInode()];
        bool isAnothers = false;
        for (auto& [holder, kind] : holders) {
          isAnothers |=
              holder != id && (kind == rpc::LeaseKind::WRITE || lease.getKind() == rpc::LeaseKind::WRITE);
        }
        if (isAnothers) {
          refused.push_back(lease.getInode());
        } else {
          holders[id] = lease.getKind();
        }
      }
      auto list = results.initRefused(unsigned(refused.size()));
      for (unsigned i = 0; i < refused.size(); ++i) list.set(i, refused[i]);
      results.setVoidUpTo(std::exchange(cluster.sessions.at(id).voidUpTo, 0));
    }
    cluster.sessions.at(id).callback = params.getCallback();
    results.setLeaseMs(cluster.leaseMs);
    results.setId(id);
    results.setExpiryMs(60'000);
    results.setReplicas(3);
    results.setCommit("memory");
    results.setSession(kj::heap<FakeSessionServer>(cluster, id));
    return kj::READY_NOW;
  }

 private:
  FakeCluster& cluster;
};

}  // namespace

// ------------------------------------------------------------ cluster

FakeCluster::FakeCluster() {
  timing.patience = 20 * kj::SECONDS;
  for (uint32_t id = 1; id <= 3; ++id) {
    stores[id].id = id;
    startStore(id);
  }
  startMetaserver();
}

FakeCluster::~FakeCluster() noexcept(false) {
  sessions.clear();
}

// ------------------------------------------------------------ leases

rpc::LeaseKind FakeCluster::leaseOf(uint64_t session, uint64_t inode) {
  auto& holders = leases[inode];
  auto found = holders.find(session);
  return found == holders.end() ? rpc::LeaseKind::NONE : found->second;
}

rpc::LeaseKind FakeCluster::grantInBand(uint64_t session, uint64_t inode, rpc::LeaseKind wanted) {
  if (leaseMs == 0) return rpc::LeaseKind::NONE;
  auto has = leaseOf(session, inode);
  if (has == rpc::LeaseKind::WRITE || has == rpc::LeaseKind::APPEND || underWay.count(inode)) return has;
  bool isAlone = true, isShared = true;
  for (auto& [holder, kind] : leases[inode]) {
    if (holder == session || kind == rpc::LeaseKind::NONE) continue;
    isAlone = false;
    isShared = isShared && kind == rpc::LeaseKind::READ;
  }
  if (wanted == rpc::LeaseKind::WRITE && isAlone) {
    has = rpc::LeaseKind::WRITE;
  } else if (isShared) {
    has = rpc::LeaseKind::READ;
  }
  if (has != rpc::LeaseKind::NONE) leases[inode][session] = has;
  return has;
}

Async<FakeCluster::Alone> FakeCluster::recallOthers(uint64_t session, uint64_t inode, rpc::LeaseKind kept) {
  if (leaseMs == 0 || inode == 0) co_return Alone();
  while (underWay.count(inode)) co_await underWay.at(inode).addBranch();
  auto paf = kj::newPromiseAndFulfiller<void>();
  auto fulfiller = kj::mv(paf.fulfiller);
  underWay.emplace(inode, paf.promise.fork());
  auto alone = kj::heap(kj::defer([this, inode, fulfiller = kj::mv(fulfiller)]() mutable {
    underWay.erase(inode);
    fulfiller->fulfill();
  }));
  auto holders = leases[inode];
  for (auto [holder, kind] : holders) {
    if (holder == session || kind == rpc::LeaseKind::NONE || kind == kept) continue;
    ++recalls;
    auto other = sessions.find(holder);
    if (other != sessions.end()) {
      auto request = other->second.callback.recallRequest();
      auto lease = request.initLeases(1)[0];
      lease.setInode(inode);
      lease.setKind(kept);
      lease.setStamp(++stamp);
      auto answered = request.send().ignoreResult().then([]() {}, [](kj::Exception&&) {});
      co_await answered.exclusiveJoin(
          time.timer().afterDelay((leaseMs + 500) * kj::MILLISECONDS).then([this, holder]() {
            loseLeases(holder);
          }));
    }
    if (kept == rpc::LeaseKind::NONE) {
      leases[inode].erase(holder);
    } else if (leases[inode].count(holder)) {
      leases[inode][holder] = kept;
    }
  }
  co_return Alone{kj::mv(alone)};
}

void FakeCluster::loseLeases(uint64_t session) {
  for (auto& [inode, holders] : leases) {
    if (holders.erase(session) == 0) continue;
    // What it still sends is refused by the chunk daemons.
    auto file = files.find(inode);
    if (file == files.end()) continue;
    for (auto& [index, chunk] : file->second.chunks) chunk.primary = 0;
  }
  auto found = sessions.find(session);
  if (found != sessions.end()) found->second.voidUpTo = ++stamp;
}

void FakeCluster::startStore(uint32_t id) {
  auto& store = stores.at(id);
  store.isHung = false;
  auto host = kj::str("s", id);
  store.acceptor =
      kj::heap<Acceptor>(AcceptorOptions{time.timer(), network.at(host), pool, "chunkd", cluster, epoch},
                         [this, &store](ConnectionInfo) -> capnp::Capability::Client {
                           return kj::heap<FakeChunkServer>(*this, store);
                         });
  store.acceptor->listen("*:9410").wait(scope);
}

void FakeCluster::killMetaserver() {
  metaserver = nullptr;
  unanswered.clear();
  pass(1 * kj::MILLISECONDS);
}

void FakeCluster::hangStore(uint32_t id) {
  stores.at(id).isHung = true;
  network.stop(kj::str("s", id));
}

void FakeCluster::startMetaserver() {
  metaserver = kj::heap<Acceptor>(
      AcceptorOptions{time.timer(), network.at("meta"), pool, "metaserver", cluster, epoch},
      [this](ConnectionInfo) -> capnp::Capability::Client { return kj::heap<FakeMetaserver>(*this); });
  metaserver->listen("*:9400").wait(scope);
}

void FakeCluster::grant(FakeFile& file, uint64_t index, const std::set<uint32_t>& suspects,
                        const std::set<uint32_t>& unsynced) {
  auto [place, fresh] = file.chunks.try_emplace(index);
  auto& chunk = place->second;
  if (fresh) {
    chunk.handle = ++lastHandle;
    for (auto& [id, store] : stores) {
      if (!store.isUp()) continue;
      chunk.replicas.insert(id);
      store.chunks[chunk.handle];
    }
  }
  // Suspects are probed: those that answer well stay.
  auto left = chunk.replicas;
  std::erase_if(left, [&](uint32_t server) {
    auto& store = stores.at(server);
    return suspects.count(server) &&
           (!store.isUp() || !ok(store.refuseWrites) || !ok(store.refuseSyncs) || store.boot != 100);
  });
  if (left.empty()) {
    chunk.primary = 0;  // the set never becomes empty: wait for one of them
    return;
  }
  // Those that could not sync for the caller go as well, if two others are left.
  if (left.size() >= unsynced.size() + 2)
    std::erase_if(left, [&](uint32_t id) { return unsynced.count(id); });
  bool changed = left != chunk.replicas || !unsynced.empty();
  chunk.replicas = left;
  if (!changed && chunk.primary != 0) return;
  ++chunk.version;
  chunk.primary = 0;
  for (auto server : chunk.replicas) {
    if (chunk.primary == 0 && stores.at(server).isUp()) chunk.primary = server;
    auto& replica = stores.at(server).chunks[chunk.handle];
    replica.version = chunk.version;
    if (replica.bytes.size() > chunk.validBytes) replica.bytes.resize(chunk.validBytes);
  }
  chunk.validBytes = UINT32_MAX;
}

std::string FakeCluster::stored(uint32_t store, InodeId inode, uint64_t index) {
  auto& bytes = stores.at(store).chunks.at(file(inode).chunks.at(index).handle).bytes;
  return std::string(bytes.begin(), bytes.end());
}

FilesystemOptions FakeCluster::options() {
  auto sink = env::newFunctionSink([this](kj::Date, env::LogLevel level, kj::StringPtr, kj::StringPtr text) {
    if (level >= env::LogLevel::WARNING) warnings.push_back(text.cStr());
  });
  auto log = env::Logger(sink, time, env::LogLevel::WARNING, "client");
  FilesystemOptions options{time.timer(), time, network.at("c"), entropy, pool, kj::mv(log)};
  options.metaservers = kj::heapArray<kj::String>(1);
  options.metaservers[0] = kj::str("meta:9400");
  options.name = kj::str("test");
  options.host = kj::str("c");
  options.bufferBytesMax = bufferBytesMax;
  options.timing = timing;
  return options;
}

kj::Own<Filesystem> FakeCluster::mount() {
  return run(connectFilesystem(options()));
}

kj::Own<OpenFile> FakeCluster::create(Filesystem& filesystem, kj::StringPtr name) {
  return run(filesystem.create(ROOT_INODE, name, 0644, {}, {}, true)).value();
}

Bytes FakeCluster::bytes(std::string text) {
  auto memory = kj::heapArray<kj::byte>(text.size());
  memcpy(memory.begin(), text.data(), text.size());
  auto view = memory.asPtr().asConst();
  return Bytes{view, kj::heap(kj::mv(memory))};
}

std::string FakeCluster::read(OpenFile& file, uint64_t offset, uint32_t size) {
  auto answer = run(file.read(FileOffset(offset), size));
  if (!answer.ok()) return kj::str("<", answer.status(), ">").cStr();
  std::string text;
  for (auto piece : answer->pieces) text.append(piece.asChars().begin(), piece.size());
  return text;
}

}  // namespace cairn::client
