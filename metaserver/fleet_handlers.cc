// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See fleet_handlers.h.
#include "metaserver/fleet_handlers.h"

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t REPORT_BATCH_MAX = 10'000;

}  // namespace

FleetHandlers::~FleetHandlers() noexcept(false) {
  service.left(server, registration);
}

bool FleetHandlers::current() const {
  KJ_IF_MAYBE (known, service.view.servers.find(server)) {
    return known->registration == registration && known->connection == cairn::Server::Connection::OPEN;
  }
  return false;
}

kj::Promise<void> FleetHandlers::report(ReportContext context) {
  auto params = context.getParams();
  KJ_REQUIRE(params.getChunks().size() <= REPORT_BATCH_MAX, "a report comes in batches", server);
  if (!current()) return kj::READY_NOW;
  auto& view = service.view;
  view.servers.heard(server, registration, service.timer.now());
  for (auto chunk : params.getChunks()) {
    ReplicaFacts facts{server, registration, ChunkVersion(chunk.getVersion()), chunk.getLength(),
                       ReplicaFacts::State::GOOD};
    if (chunk.getSuspect()) facts.state = ReplicaFacts::State::SUSPECT;
    if (chunk.getCorrupt()) facts.state = ReplicaFacts::State::CORRUPT;
    ChunkHandle handle(chunk.getHandle());
    facts.content = {ChunkVersion(chunk.getWritten()), chunk.getSerial()};
    view.chunks.put(handle, facts);
    service.grants.told(handle, facts, chunk.getUnsynced());
    service.survey.judgeReplica(handle, facts);
  }
  if (!params.getLast()) return kj::READY_NOW;

  bool first = KJ_ASSERT_NONNULL(view.servers.find(server)).report == cairn::Server::Report::PARTIAL;
  view.servers.reportComplete(server, registration, service.timer.now());
  if (first && view.garbage.reportEnds(server) == GarbagePlan::Brake::PULLED) {
    service.log.error(view.garbage.brake());
  }
  service.log.info("store ", server, " has reported all its chunks -> it is up");
  service.reportsChanged();
  return kj::READY_NOW;
}

kj::Promise<void> FleetHandlers::heartbeat(HeartbeatContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto now = service.timer.now();
  auto& view = service.view;
  results.setEpoch(service.operations.epoch().value());
  results.setLeaseMs(LEASE_TERM / kj::MILLISECONDS);
  if (!current()) {
    results.setStatus(Status::NOT_READY);  // another connection has taken over: register again
    return kj::READY_NOW;
  }
  KJ_IF_MAYBE (known, view.servers.find(server)) {
    if (known->state(now) == ServerState::SILENT) {
      service.log.warning("store ", server, " is heard again after ", (now - known->heard) / kj::MILLISECONDS,
                          " ms -> it gets chunks again");
    }
  }
  view.servers.heartbeat(
      server, registration,
      {params.getBytesTotal(), params.getBytesFree(), params.getChunks(), params.getLoad()}, now);

  auto scrub = params.getScrub();
  view.servers.scrubbed(server, {scrub.getOldestS(), scrub.getBytes(), scrub.getDamaged(), scrub.getRate()});

  for (auto handle : params.getRemoved()) {
    // Damaged, and in quarantine until there is a better one in its place.
    for (auto& replica : view.chunks.replicas(ChunkHandle(handle))) {
      if (replica.server != server) continue;
      auto facts = replica;
      facts.state = ReplicaFacts::State::CORRUPT;
      view.chunks.put(ChunkHandle(handle), facts);
    }
  }

  kj::Vector<uint64_t> extended;
  for (auto chunk : params.getExtend()) {
    ChunkHandle handle(chunk.getHandle());
    if (service.names.chunk(handle) == nullptr) continue;  // its file is gone
    if (view.leases.extend(handle, ChunkVersion(chunk.getVersion()), server, now))
      extended.add(handle.value());
  }
  auto list = results.initExtended(extended.size());
  for (size_t i = 0; i < extended.size(); ++i) list.set(i, extended[i]);
  return kj::READY_NOW;
}

kj::Promise<void> FleetHandlers::failed(FailedContext context) {
  // The primary has given up its lease; those that did not apply a write are left out of the next version, as
  // long as there are enough others. Nothing is written here: the next locate does, and it knows who wants to
  // write.
  auto params = context.getParams();
  ChunkHandle chunk(params.getChunk().getHandle());
  ChunkVersion version(params.getChunk().getVersion());
  if (!current()) {
    context.getResults().setStatus(Status::NOT_READY);
    return kj::READY_NOW;
  }
  auto& view = service.view;
  bool news = false;  // a primary says it for each write that was in flight
  KJ_IF_MAYBE (lease, view.leases.find(chunk)) {
    if (lease->primary != server || lease->version != version) {
      context.getResults().setStatus(Status::STALE_VERSION);
      return kj::READY_NOW;
    }
    news = true;
  } else {
    auto record = service.names.chunk(chunk);
    if (record.map([&](const ChunkRecord& known) { return known.version != version; }).orDefault(true)) {
      context.getResults().setStatus(Status::STALE_VERSION);
      return kj::READY_NOW;
    }
  }
  view.leases.ended(chunk, version);
  service.grants.unsettled(chunk);
  kj::Vector<ServerId> failed;
  for (auto id : params.getServers()) failed.add(ServerId(id));
  for (auto& replica : view.chunks.replicas(chunk)) {
    for (auto id : failed) {
      if (replica.server != id || replica.state != ReplicaFacts::State::GOOD) continue;
      auto facts = replica;
      facts.state = ReplicaFacts::State::FAILED;
      view.chunks.put(chunk, facts);
      news = true;
    }
  }
  if (news) {
    for (auto id : failed) service.doubt(id);
    service.log.warning("primary ", server, " of chunk ", chunk, " v", version, " could not write to ",
                        kj::strArray(failed, ","), " -> the lease is over, the next version does without");
  }
  return kj::READY_NOW;
}

}  // namespace cairn
