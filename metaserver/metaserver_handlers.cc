// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See metaserver_handlers.h.
#include "metaserver/metaserver_handlers.h"

#include "metaserver/administration_handlers.h"
#include "metaserver/fleet_handlers.h"
#include "metaserver/session_handlers.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t DESCRIBE_CHUNKS_MAX = 1000;
constexpr uint32_t OPEN_INODES_MAX = 1u << 20;
constexpr uint32_t MOUNTS_SHOWN_MAX = 1000;
constexpr uint32_t LEASES_NAMED_MAX = 1u << 20;
constexpr uint32_t TEXT_SIZE_MAX = 4096;

}  // namespace

Async<void> MetaserverHandlers::openingSession(OpenSessionContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  SessionId id(params.getResume());
  auto client = params.getClient();
  if (client.getHost().size() > TEXT_SIZE_MAX || client.getName().size() > TEXT_SIZE_MAX ||
      params.getOpenInodes().size() > OPEN_INODES_MAX || params.getLeases().size() > LEASES_NAMED_MAX) {
    results.setStatus(Status::INVALID);
    co_return;
  }
  if (!client.getTellsSyncs()) {
    service.log.warning("a client on ", client.getName(),
                        " is of a version that does not tell what it syncs -> refused");
    results.setStatus(Status::WRONG_PROTOCOL);
    co_return;
  }
  auto caching = client.getLeases() ? LeaseRecalls::Caching::YES : LeaseRecalls::Caching::NO;
  auto told = client.getLeases() ? Sessions::Told::NO : Sessions::Told::YES;
  if (id) {
    kj::Vector<InodeId> open;
    for (auto inode : params.getOpenInodes()) open.add(InodeId(inode));
    auto status = service.sessions.resume(id, open, params.getCallback(), told);
    results.setStatus(status);
    if (!ok(status)) co_return;
    auto named = KJ_MAP(lease, params.getLeases()) {
      return HeldLease{InodeId(lease.getInode()), lease.getKind(), LeaseStamp(lease.getStamp())};
    };
    auto refused = service.leases.resumed(id, caching, named);
    auto list = results.initRefused(refused.size());
    for (size_t i = 0; i < refused.size(); ++i) list.set(i, refused[i].value());
  } else {
    auto begun = co_await service.sessions.begin(kj::str(client.getHost()), kj::str(client.getName()),
                                                 params.getCallback(), told);
    results.setStatus(begun.status());
    if (!begun.ok()) co_return;
    id = *begun;
    service.leases.opened(id, caching);
  }
  if (caching == LeaseRecalls::Caching::YES) results.setLeaseMs(LEASE_CACHE_TERM / kj::MILLISECONDS);
  results.setVoidUpTo(service.leases.voidUpTo(id).value());
  results.setSession(kj::heap<SessionHandlers>(service, id));
  results.setId(id.value());
  results.setExpiryMs(SESSION_TERM / kj::MILLISECONDS);
  results.setCommit(kj::str(service.operations.commitMode()));
  results.setEpoch(service.operations.epoch().value());
  results.setLostFrom(service.operations.lostFrom().value());
  results.setBoot(service.names.state().boot);
  results.setReplicas(service.names.state().replicas);
}

Async<void> MetaserverHandlers::registering(RegisterContext context) {
  auto params = context.getParams();
  auto membership = co_await service.join(params.getStore(), params.getOrders());
  auto results = context.getResults();
  results.setStatus(membership.status);
  if (!ok(membership.status)) {
    results.setMessage(membership.message);
    co_return;
  }
  results.setServer(membership.server.value());
  results.setHeartbeatMs(HEARTBEAT_INTERVAL / kj::MILLISECONDS);
  results.setFleet(kj::heap<FleetHandlers>(service, membership.server, membership.registration));
}

kj::Promise<void> MetaserverHandlers::status(StatusContext context) {
  service.writeStatus(context.getResults().initStatus());
  return kj::READY_NOW;
}

kj::Promise<void> MetaserverHandlers::resolve(ResolveContext context) {
  auto results = context.getResults();
  auto found = service.names.resolve(context.getParams().getPath());
  results.setStatus(found.status());
  if (found.ok()) found->write(results.initAttributes());
  return kj::READY_NOW;
}

kj::Promise<void> MetaserverHandlers::administration(AdministrationContext context) {
  context.getResults().setAdministration(kj::heap<AdministrationHandlers>(service));
  return kj::READY_NOW;
}

kj::Promise<void> MetaserverHandlers::describeFile(DescribeFileContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  InodeId inode(params.getInode());
  auto found = service.names.inode(inode);
  results.setStatus(found.status());
  if (!found.ok()) return kj::READY_NOW;
  found->attributes.write(results.initAttributes());
  auto limit = kj::min(kj::max(params.getCount(), 1u), DESCRIBE_CHUNKS_MAX);
  auto chunks = service.names.chunksOf(inode, ChunkIndex(params.getFirst()), limit + 1);
  auto count = kj::min(chunks.size(), size_t(limit));
  results.setMore(chunks.size() > count);
  auto list = results.initChunks(count);
  auto now = service.timer.now();
  for (size_t i = 0; i < count; ++i) {
    auto& chunk = chunks[i];
    auto detail = list[i];
    detail.setIndex(chunk.index.value());
    detail.getChunk().setHandle(chunk.handle.value());
    detail.getChunk().setVersion(chunk.record.version.value());
    detail.setReferences(chunk.record.references);
    KJ_IF_MAYBE (lease, service.view.leases.usable(chunk.handle, now)) {
      detail.setPrimary(lease->primary.value());
      detail.setLeaseMs((lease->usable - now) / kj::MILLISECONDS);
    }
    auto replicas = service.view.chunks.replicas(chunk.handle);
    auto details = detail.initReplicas(replicas.size());
    for (size_t r = 0; r < replicas.size(); ++r) {
      auto& replica = replicas[r];
      details[r].setServer(replica.server.value());
      details[r].setVersion(replica.version.value());
      details[r].setLength(replica.length);
      kj::StringPtr state = "current";
      if (replica.version < chunk.record.floor) state = "stale";
      if (replica.state == ReplicaFacts::State::CORRUPT) state = "corrupt";
      KJ_IF_MAYBE (server, service.view.servers.find(replica.server)) {
        details[r].setAddress(server->address.network);
        if (!server->answers(now)) state = "silent";
      }
      details[r].setState(state);
    }
  }
  return kj::READY_NOW;
}

void MetaService::writeReplica(rpc::Replica::Builder builder, ServerId id) const {
  builder.setServer(id.value());
  KJ_IF_MAYBE (server, view.servers.find(id)) {
    auto address = builder.getAddress();
    address.setNetwork(server->address.network);
    address.setLocal(server->address.local);
    address.setHost(server->address.host);
  }
}

void MetaService::writeLocation(rpc::Location::Builder builder, const ChunkLocation& location) const {
  builder.setIndex(location.index.value());
  builder.getChunk().setHandle(location.handle.value());
  builder.getChunk().setVersion(location.version.value());
  auto replicas = builder.initReplicas(location.replicas.size());
  for (size_t i = 0; i < location.replicas.size(); ++i) writeReplica(replicas[i], location.replicas[i]);
  builder.setPrimary(location.primary.value());
  builder.setLeaseMs(location.lease / kj::MILLISECONDS);
  builder.setValidBytes(location.validBytes);
  builder.setLostAt(location.lostAt.value());
  builder.setAsOf(location.asOf.value());
  builder.setComplete(location.complete == ChunkLocation::Complete::YES);
}

void MetaService::writeStatus(rpc::ClusterStatus::Builder builder) const {
  auto now = timer.now();
  auto& state = names.state();
  builder.setCluster(kj::str(state.cluster));
  builder.setEpoch(operations.epoch().value());
  builder.setSafeMode(view.safeMode.reason());
  auto servers = builder.initServers(view.servers.size());
  uint32_t i = 0;
  for (auto& [id, server] : view.servers.all()) {
    auto entry = servers[i++];
    entry.setServer(id.value());
    entry.setAddress(server.address.network);
    entry.setRack(server.rack);
    entry.setState(kj::str(server.state(now)));
    entry.setBytesTotal(server.space.bytesTotal);
    entry.setBytesFree(server.space.bytesFree);
    entry.setChunks(server.space.chunks);
    if (server.registration > 0) entry.setLastHeartbeatMs((now - server.heard) / kj::MILLISECONDS);
    entry.setPid(server.identity.pid);
    auto scrub = entry.initScrub();
    scrub.setOldestS(server.scrub.oldestSeconds);
    scrub.setBytes(server.scrub.bytes);
    scrub.setDamaged(server.scrub.damaged);
    scrub.setRate(server.scrub.bytesPerSecond);
    entry.setCopying(repair.copiesTo(id));
    if (view.draining.count(id) > 0) {
      entry.setDraining(true);
      // Until it has been counted: as many as it says it has, or more than none.
      entry.setLeaving(survey.leaving(id).orDefault(kj::max(server.space.chunks, uint64_t(1))));
    }
  }
  builder.setSessions(sessions.count());
  builder.setInodes(state.inodes);
  builder.setChunks(state.chunks);
  // Counted in the last round of the survey: what has gone since is not to be told any more.
  auto health = survey.health();
  health.missing = kj::min(health.missing, state.chunks);
  health.under = kj::min(health.under, state.chunks - health.missing);
  health.healthy = kj::min(health.healthy, state.chunks - health.missing - health.under);
  builder.setChunksHealthy(health.healthy);
  builder.setChunksUnder(health.under);
  builder.setChunksMissing(health.missing);
  builder.setLogIndex(operations.last().value());
  builder.setCommit(kj::str(operations.commitMode()));
  builder.setGarbage(view.garbage.waiting());
  builder.setBrake(view.garbage.brake());
  builder.setKept(view.garbage.kept());
  builder.setReplicas(state.replicas);
  builder.setTrashFiles(state.trash);
  builder.setTrashBytes(state.trashBytes);
  builder.setTrashKeepS(state.trashKeep);
  builder.setTrashReclaimed(trash.reclaimed());
  writeLeaseStatus(builder);
  writeSnapshotStatus(builder.initSnapshot());
  writeRepairStatus(builder.initRepair());
}

void MetaService::writeSnapshotStatus(rpc::SnapshotStatus::Builder builder) const {
  using Phase = rpc::SnapshotStatus::Phase;
  KJ_IF_MAYBE (steps, stagings.stepsUnderWay()) {
    switch (steps->phase) {
      case SnapshotSteps::Phase::WRITERS:
        builder.setPhase(Phase::WRITERS);
        break;
      case SnapshotSteps::Phase::COPYING:
        builder.setPhase(Phase::COPYING);
        break;
      case SnapshotSteps::Phase::STORES:
        builder.setPhase(Phase::STORES);
        break;
    }
    builder.setInodes(steps->inodes);
    builder.setHeldMs(gate.heldFor() / kj::MILLISECONDS);
    builder.setHeld(gate.held());
  }
}

void MetaService::writeLeaseStatus(rpc::ClusterStatus::Builder builder) const {
  auto now = timer.now();
  auto counts = leases.counts();
  auto status = builder.initLeases();
  status.setHeld(counts.held);
  status.setWriting(counts.writing);
  status.setRecalls(counts.recalls);
  status.setWaiting(counts.waiting);
  status.setMissing(counts.missing);
  KJ_IF_MAYBE (oldest, counts.oldest) status.setOldestMs((now - *oldest) / kj::MILLISECONDS);

  auto mounts = builder.initMounts(kj::min(sessions.count(), size_t(MOUNTS_SHOWN_MAX)));
  uint32_t i = 0;
  sessions.visit([&](const SessionTable::View& session) {
    if (i == mounts.size()) return;
    auto entry = mounts[i++];
    entry.setSession(session.id.value());
    entry.setHost(session.host);
    entry.setName(session.name);
    entry.setSilentMs((now - session.seen) / kj::MILLISECONDS);
    auto own = leases.counts(session.id);
    entry.setLeases(own.held);
    entry.setWriting(own.writing);
    entry.setRecalls(own.recalls);
  });
}

void MetaService::writeRepairStatus(rpc::RepairStatus::Builder builder) const {
  auto progress = repair.progress();
  builder.setLastCopy(progress.lastCopy);
  builder.setBlocking(progress.blocking);
  builder.setUnder(progress.under);
  builder.setWaiting(progress.waiting);
  builder.setStuck(progress.stuck);
  builder.setMoving(progress.moving);
  builder.setExcess(progress.excess);
  builder.setCopying(progress.copying);
  builder.setBytesPerSecond(progress.bytesPerSecond);
  builder.setBytesLeft(progress.bytesLeft);
  builder.setEtaS(progress.etaSeconds);
  builder.setCopied(progress.copied);
  builder.setCopiedBytes(progress.copiedBytes);
  builder.setFailed(progress.failed);
  builder.setSurveyed(repair.surveyed());
  builder.setStuckBecause(progress.stuckBecause);
}

}  // namespace cairn
