// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See administration_handlers.h.
#include "metaserver/administration_handlers.h"

#include "env/turn.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint8_t REPLICAS_MAX = 16;
constexpr uint32_t CHUNKS_PER_LOOK = 2000;

}  // namespace

Async<void> AdministrationHandlers::draining(DrainContext context) {
  auto params = context.getParams();
  ServerId server(params.getServer());
  bool undo = params.getUndo();
  auto operation = kj::heap<LoggedOperation>();
  auto drain = operation->body().initDrainStore();
  drain.setDrained(server.value());
  drain.setDraining(!undo);
  auto outcome = co_await service.operations.propose(kj::mv(operation));
  if (outcome.ok()) outcome.status = co_await service.operations.durable(outcome.index);
  context.getResults().setStatus(outcome.status);
  if (!outcome.ok()) co_return;
  if (undo) {
    service.view.draining.erase(server);
  } else {
    service.view.draining.insert(server);
  }
  service.survey.startAnew();
  service.log.info("an operator wants store ", server, undo ? " to stay" : " drained", " -> ",
                   undo ? "it is one like any other" : "its chunks are copied away");
}

Async<uint64_t> AdministrationHandlers::countOn(ServerId server) {
  // Chunks that have no other good replica on a store that is there.
  uint64_t count = 0;
  ChunkHandle after;
  for (bool more = true; more;) {
    auto handles = service.view.chunks.handlesAfter(after, CHUNKS_PER_LOOK);
    more = handles.size() == CHUNKS_PER_LOOK;
    for (auto handle : handles) {
      after = handle;
      auto record = service.names.chunk(handle);
      KJ_IF_MAYBE (known, record) {
        bool held = false;
        for (auto& replica : service.view.chunks.candidates(handle, *known)) held |= replica.server == server;
        count +=
            held && service.view.chunks.currentElsewhere(handle, *known, server, service.timer.now()) == 0;
      }
    }
    co_await env::othersTurn(service.timer);
  }
  co_return count;
}

Async<void> AdministrationHandlers::removing(RemoveContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  ServerId server(params.getServer());
  bool force = params.getForce();
  KJ_IF_MAYBE (known, service.view.servers.find(server)) {
    if (known->connection == cairn::Server::Connection::OPEN) {
      results.setStatus(Status::BUSY);
      co_return;
    }
  } else {
    results.setStatus(Status::NOT_FOUND);
    co_return;
  }
  auto alone = co_await countOn(server);
  auto missing = service.survey.health().missing;  // those that nobody has told of may be on it
  results.setChunks(alone + missing);
  if (!force && (alone + missing > 0 || service.view.safeMode.on())) {
    results.setStatus(Status::NOT_EMPTY);
    co_return;
  }
  KJ_IF_MAYBE (known, service.view.servers.find(server)) {
    if (known->connection == cairn::Server::Connection::OPEN) {
      results.setStatus(Status::BUSY);  // it has come meanwhile
      co_return;
    }
  }
  auto operation = kj::heap<LoggedOperation>();
  operation->body().setUnregisterStore(server.value());
  auto outcome = co_await service.operations.propose(kj::mv(operation));
  if (outcome.ok()) outcome.status = co_await service.operations.durable(outcome.index);
  results.setStatus(outcome.status);
  if (!outcome.ok()) co_return;
  service.view.servers.removed(server);
  service.view.garbage.forget(server);
  service.view.draining.erase(server);
  service.reportsChanged();
  service.log.warning("an operator says that store ", server, " will not come back -> forgotten; ",
                      alone + missing, " chunks had no other good replica");
}

kj::Promise<void> AdministrationHandlers::rebalance(RebalanceContext context) {
  auto results = context.getResults();
  if (context.getParams().getStart()) service.rebalance.begin();
  results.setRunning(service.rebalance.running());
  results.setMoves(service.rebalance.moves());
  results.setSpread(service.rebalance.spread());
  return kj::READY_NOW;
}

Async<Status> AdministrationHandlers::setOne(InodeId inode, uint8_t replicas, uint64_t& chunks) {
  auto found = service.names.inode(inode);
  if (!found.ok()) co_return found.status();
  for (uint64_t from = 0;;) {
    auto operation = kj::heap<LoggedOperation>();
    auto set = operation->body().initSetReplicas();
    set.setSubject(inode.value());
    set.setCopies(replicas);
    set.setFromChunk(from);
    auto outcome = co_await service.operations.propose(kj::mv(operation));
    if (!outcome.ok()) co_return outcome.status;
    from = outcome.number;
    if (from == 0) break;
  }
  // Their number has changed for all of them: those that are known are looked at.
  for (uint64_t from = 0;;) {
    auto page = service.names.chunksOf(inode, ChunkIndex(from), CHUNKS_PER_LOOK);
    for (auto& chunk : page) {
      service.repair.look(chunk.handle);
      from = chunk.index.value() + 1;
      ++chunks;
    }
    if (page.size() < CHUNKS_PER_LOOK) break;
    co_await env::othersTurn(service.timer);
  }
  co_return Status::OK;
}

Async<void> AdministrationHandlers::settingReplicas(SetReplicasContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto replicas = params.getReplicas();
  InodeId inode(params.getInode());
  auto status = Status::OK;
  if (!inode) {
    auto found = service.names.resolve(params.getPath());
    status = found.status();
    if (found.ok()) inode = found->inode;
  }
  if (replicas < 1 || replicas > REPLICAS_MAX) status = Status::INVALID;
  uint64_t files = 0, chunks = 0;
  if (ok(status)) {
    status = co_await setOne(inode, replicas, chunks);
    files += ok(status);
  }
  // Breadth first; what comes or goes meanwhile is as if it had done so before or after.
  kj::Vector<InodeId> directories;
  auto top = service.names.inode(inode);
  if (ok(status) && params.getRecursive() && top.ok() && top->attributes.isDirectory())
    directories.add(inode);
  for (size_t next = 0; ok(status) && next < directories.size(); ++next) {
    for (uint64_t cookie = 0;;) {
      auto page = service.names.list(directories[next], cookie, LISTING_LIMIT_MAX, ListingDetail::NAMES);
      if (!page.ok()) break;
      for (auto& entry : page->entries) {
        cookie = entry.cookie;
        auto type = entry.attributes.type;
        if (type != FileType::REGULAR && type != FileType::DIRECTORY) continue;
        if (type == FileType::DIRECTORY) directories.add(entry.attributes.inode);
        auto one = co_await setOne(entry.attributes.inode, replicas, chunks);
        if (one == Status::STALE || one == Status::NOT_FOUND) continue;
        status = one;
        if (!ok(status)) break;
        ++files;
      }
      if (!ok(status) || page->end == ListingEnd::YES || page->entries.size() == 0) break;
    }
  }
  results.setStatus(status);
  results.setFiles(files);
  results.setChunks(chunks);
}

}  // namespace cairn
