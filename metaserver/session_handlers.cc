// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See session_handlers.h.
#include "metaserver/session_handlers.h"

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t LOCATE_CHUNKS_MAX = 64;
constexpr uint32_t SUSPECTS_MAX = 16;
constexpr uint32_t COVERED_BATCH = 4096;  // chunks named by one operation

}  // namespace

kj::Promise<void> SessionHandlers::renew(RenewContext context) {
  auto results = context.getResults();
  results.setStatus(service.sessions.touch(session));
  service.leases.renewed(session);
  results.setVoidUpTo(service.leases.voidUpTo(session).value());
  results.setDurable(service.operations.durableUpTo().value());
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::closing(CloseContext context) {
  return service.sessions.close(session);
}

Async<void> SessionHandlers::changing(ChangeContext context) {
  auto results = context.getResults();
  auto change = context.getParams().getChange();
  // While a large snapshot is made nothing changes. The wait is at the very beginning, where it keeps nobody
  // from reading.
  if (!service.gate.isOpen()) co_await service.gate.untilOpen();
  if (fenced()) {
    results.initOutcome().setStatus(Status::SESSION_EXPIRED);
    co_return;
  }
  if (!service.gate.isOpen()) {
    auto builder = results.initOutcome();
    builder.setStatus(Status::NOT_READY);
    builder.setHeldUp(true);
    co_return;
  }
  service.gate.begun();
  KJ_DEFER(service.gate.ended());
  // Nobody else may go on with what it has cached of these, nor cache it anew before the change is answered.
  ChangeSubjects subjects;
  LeaseRecalls::Turn turn;
  auto status = co_await excludeOthers(change, subjects, turn);
  if (!ok(status)) {
    results.initOutcome().setStatus(status);
    co_return;
  }
  auto underWay = std::make_pair(session, change.getSequence());
  bool isFirst = change.isPublish() && service.publishing.insert(underWay).second;
  KJ_DEFER(if (isFirst) service.publishing.erase(underWay));
  auto before = service.operations.last();
  auto covering = cover(context.getParams().getCovered());  // goes into the log in one write with the change
  auto outcome = co_await carryOut(change);
  // One that has been deleted, not one that a loss of power has taken from the log.
  bool isGone = change.isPublish() && outcome.status == Status::NOT_FOUND &&
                service.names.state().wasGiven(InodeId(change.getPublish().getFile()));
  if (isGone) outcome.status = Status::STALE;
  auto builder = results.initOutcome();
  outcome.write(builder);
  KJ_IF_MAYBE (attributes, outcome.attributes) {
    if (outcome.ok() && attributes->isRegular()) builder.setQuotaLeft(quotaLeft(attributes->inode));
  }

  if (outcome.ok()) {
    // Hold it before anybody else's deletion can be applied: nothing has run since the log applied this.
    KJ_IF_MAYBE (attributes, outcome.attributes) {
      if (change.isCreate() && change.getCreate().getOpen())
        service.sessions.open(session, attributes->inode);
      service.sessions.changed(attributes->inode, session);
    }
    KJ_IF_MAYBE (parent, outcome.parent) service.sessions.changed(parent->inode, session);
    if (outcome.replaced) service.sessions.changed(outcome.replaced, session);
    if (outcome.orphan) service.sessions.orphaned(outcome.orphan);
    grantAfter(change, outcome, outcome.index <= before ? Applied::EARLIER : Applied::NOW, builder);
    auto touched = touchedBy(change, outcome, subjects, service.names);
    if (!touched.empty()) {
      // Names that have moved meanwhile; or somebody has come. Not with the first claim held, see
      // excludeOthers().
      turn = LeaseRecalls::Turn();
      status = co_await excludeOthersAfter(change, kj::mv(touched));
      if (!ok(status)) builder.setStatus(status);  // asked again, it gets the same outcome
    }
    if (outcome.cut) co_await service.grants.cut(outcome.cut);
    turn = LeaseRecalls::Turn();  // what others see from here on is as it is now
    if (context.getParams().getDurable()) {
      auto covered = co_await covering;
      auto durable = covered.status;
      if (ok(durable)) durable = co_await service.operations.durable(kj::max(outcome.index, covered.index));
      if (!ok(durable)) builder.setStatus(durable);
    }
  }
}

kj::Promise<Outcome> SessionHandlers::cover(capnp::List<uint64_t>::Reader covered) {
  // Nearly always none is left to be marked: the first sync of a chunk has done it.
  kj::Vector<uint64_t> fresh;
  for (auto handle : covered) {
    auto record = service.names.chunk(ChunkHandle(handle));
    KJ_IF_MAYBE (known, record) {
      if (!known->uncovered) continue;
      if (service.view.chunks.replicas(ChunkHandle(handle)).empty()) {
        // It may be gone with the power of all its stores, and be made anew: a sync of what is not there does
        // not succeed, and must not turn it into damage. As long as a store may have it, that is not known.
        auto none = service.view.noneLeft(ChunkHandle(handle), *known, service.timer.now());
        if (none != Status::IO_ERROR) return refusal(Status::NOT_READY);
        continue;
      }
      fresh.add(handle);
    }
  }
  kj::Vector<kj::Promise<Outcome>> proposed;
  for (size_t first = 0; first < fresh.size(); first += COVERED_BATCH) {
    auto batch = fresh.slice(first, kj::min(first + COVERED_BATCH, fresh.size()));
    auto operation = kj::heap<LoggedOperation>();
    auto list = operation->body().initCoverChunks(unsigned(batch.size()));
    for (unsigned i = 0; i < batch.size(); ++i) list.set(i, batch[i]);
    proposed.add(service.operations.propose(kj::mv(operation)));
  }
  if (proposed.empty()) return Outcome();
  return kj::joinPromises(proposed.releaseAsArray()).then([](kj::Array<Outcome> outcomes) {
    for (auto& outcome : outcomes) {
      if (!outcome.ok()) return kj::mv(outcome);
    }
    return kj::mv(outcomes.back());
  });
}

kj::Promise<Outcome> SessionHandlers::carryOut(rpc::Change::Reader change) {
  if (change.isShare()) return share(change);
  return service.operations.propose(LoggedOperation::of(session, change));
}

kj::Promise<void> SessionHandlers::lookup(LookupContext context) {
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    return kj::READY_NOW;
  }
  auto params = context.getParams();
  InodeId parent(params.getParent());
  auto found = service.names.lookup(parent, params.getName());
  if (found.ok() && service.leases.isUnsure(session, *found)) return service.guard(lookingUp(context));
  results.setStatus(found.status());
  if (found.ok()) answer(*found, results.initAttributes());
  if (found.ok() || found.status() == Status::NOT_FOUND)
    service.leases.grant(session, parent, results.initDirectory());
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::getAttributes(GetAttributesContext context) {
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    return kj::READY_NOW;
  }
  auto found = service.names.inode(InodeId(context.getParams().getInode()));
  if (found.ok() && service.leases.isUnsure(session, found->attributes))
    return service.guard(gettingAttributes(context));
  results.setStatus(found.status());
  if (found.ok()) answer(found->attributes, results.initAttributes());
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::readDirectory(ReadDirectoryContext context) {
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    return kj::READY_NOW;
  }
  auto params = context.getParams();
  auto limit = kj::min(kj::max(params.getLimit(), 1u), LISTING_LIMIT_MAX);
  auto detail = params.getAttributes() ? ListingDetail::ATTRIBUTES : ListingDetail::NAMES;
  InodeId directory(params.getInode());
  auto listing = service.names.list(directory, params.getCookie(), limit, detail);
  results.setStatus(listing.status());
  if (!listing.ok()) return kj::READY_NOW;
  service.leases.grant(session, directory, results.initDirectory());
  results.setEnd(listing->end == ListingEnd::YES);
  auto entries = results.initEntries(listing->entries.size());
  for (size_t i = 0; i < listing->entries.size(); ++i) {
    auto& entry = listing->entries[i];
    entries[i].setName(entry.name);
    entries[i].setCookie(entry.cookie);
    if (detail == ListingDetail::ATTRIBUTES) {
      answer(entry.attributes, entries[i].initAttributes());
    } else {
      entry.attributes.write(entries[i].initAttributes());
    }
  }
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::readLink(ReadLinkContext context) {
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    return kj::READY_NOW;
  }
  auto target = service.names.readLink(InodeId(context.getParams().getInode()));
  results.setStatus(target.status());
  if (target.ok()) results.setTarget(*target);
  return kj::READY_NOW;
}

Async<void> SessionHandlers::opening(OpenContext context) {
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    co_return;
  }
  InodeId inode(context.getParams().getInode());
  auto found = service.names.inode(inode);
  if (found.ok() && found->attributes.links == 0 && !service.sessions.mayOpen(inode)) {
    // It has no name any more, nobody holds it, and it is on its way out.
    results.setStatus(Status::STALE);
    co_return;
  }
  results.setStatus(found.status());
  if (!found.ok()) co_return;
  service.sessions.open(session, inode);
  auto wanted =
      context.getParams().getForWrite() && found->attributes.isRegular() ? LeaseKind::WRITE : LeaseKind::READ;
  answer(found->attributes, results.initAttributes(), wanted);
  results.setQuotaLeft(quotaLeft(inode));
  if (!found->attributes.isRegular() || found->chunks == 0) co_return;

  auto host = kj::str(service.sessions.host(session));
  auto location = co_await service.grants.forReading(inode, ChunkIndex(0), host, nullptr);
  if (location.ok()) service.writeLocation(results.initLocations(1)[0], *location);
}

kj::Promise<void> SessionHandlers::release(ReleaseContext context) {
  if (fenced()) return kj::READY_NOW;
  kj::Vector<InodeId> inodes;
  for (auto inode : context.getParams().getInodes()) inodes.add(InodeId(inode));
  service.sessions.release(session, inodes);
  return kj::READY_NOW;
}

Async<void> SessionHandlers::locating(LocateContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    co_return;
  }
  InodeId inode(params.getInode());
  auto found = service.names.inode(inode);
  if (!found.ok() || found->has(TRASHED)) {
    results.setStatus(found.ok() ? Status::STALE : found.status());
    co_return;
  }
  constexpr uint64_t INDEX_MAX = FILE_SIZE_MAX / CHUNK_SIZE;
  if (!found->attributes.isRegular() || params.getFirst() > INDEX_MAX || params.getCount() == 0 ||
      params.getSuspects().size() > SUSPECTS_MAX || params.getUnsynced().size() > SUSPECTS_MAX) {
    results.setStatus(Status::INVALID);
    co_return;
  }
  kj::Vector<ServerId> suspects;
  for (auto suspect : params.getSuspects()) suspects.add(ServerId(suspect));
  auto host = kj::str(service.sessions.host(session));

  if (params.getVersion() > 0) {
    kj::Vector<ServerId> unsynced;
    for (auto server : params.getUnsynced()) unsynced.add(ServerId(server));
    auto location = co_await service.grants.forSyncing(
        {inode, ChunkIndex(params.getFirst()), suspects.releaseAsArray(), kj::mv(host),
         unsynced.releaseAsArray(), ChunkVersion(params.getVersion())});
    results.setStatus(location.status());
    if (location.ok()) service.writeLocation(results.initLocations(1)[0], *location);
    co_return;
  }
  if (params.getForWrite()) {
    if (!mayWrite(inode)) {
      results.setStatus(Status::NOT_LEASED);
      co_return;
    }
    auto location = co_await service.grants.forWriting(
        {inode, ChunkIndex(params.getFirst()), suspects.releaseAsArray(), kj::mv(host), nullptr, {}});
    // A lease that it has lost meanwhile has been fenced, but for what is answered here.
    auto status = mayWrite(inode) ? location.status() : Status::NOT_LEASED;
    results.setStatus(status);
    if (ok(status)) service.writeLocation(results.initLocations(1)[0], *location);
    co_return;
  }
  kj::Vector<ChunkLocation> locations;
  auto end = kj::min(params.getFirst() + kj::min(params.getCount(), LOCATE_CHUNKS_MAX), INDEX_MAX + 1);
  for (auto index = params.getFirst(); index < end; ++index) {
    if (locations.size() > 0 && index >= found->chunksEnd) break;  // holes to the end of the file
    auto location = co_await service.grants.forReading(inode, ChunkIndex(index), host, suspects);
    if (!location.ok()) {
      if (locations.size() > 0) break;  // the caller asks again when it gets there
      results.setStatus(location.status());
      co_return;
    }
    locations.add(kj::mv(location).value());
  }
  auto list = results.initLocations(locations.size());
  for (size_t i = 0; i < locations.size(); ++i) service.writeLocation(list[i], locations[i]);
}

Async<void> SessionHandlers::syncing(SyncContext context) {
  if (fenced()) {
    context.getResults().setStatus(Status::SESSION_EXPIRED);
    co_return;
  }
  auto params = context.getParams();
  auto covered = co_await cover(params.getCovered());
  auto status = covered.status;
  LogIndex index(params.getIndex());
  if (index) index = kj::max(index, covered.index);  // else it is all until now
  if (ok(status)) status = co_await service.operations.durable(index);
  InodeId inode(params.getInode());
  if (ok(status) && inode) status = service.names.inode(inode).status();
  context.getResults().setStatus(status);
}

uint64_t SessionHandlers::quotaLeft(InodeId inode) const {
  if (service.names.state().quotas == 0) return UINT64_MAX;
  auto found = service.names.inode(inode);
  return found.ok() ? service.names.room(*found).bytesLeft : UINT64_MAX;
}

kj::Promise<void> SessionHandlers::statistics(StatisticsContext context) {
  service.sessions.touch(session);
  InodeId inode(context.getParams().getInode());
  auto results = context.getResults();
  uint64_t total = 0, free = 0;
  for (auto& [id, server] : service.view.servers.all()) {
    if (server.connection == cairn::Server::Connection::GONE) continue;
    total += server.space.bytesTotal;
    free += server.space.bytesFree;
  }
  auto& state = service.names.state();
  uint64_t copies = kj::max(state.replicas, uint8_t(1));
  uint64_t blocks = total / copies / BLOCK_SIZE, blocksFree = free / copies / BLOCK_SIZE;
  uint64_t inodes = state.inodes, inodesFree = blocksFree;  // as many files as have a block each
  NamespaceReader::Room room;
  auto found = inode ? service.names.inode(inode) : Result<Inode>(Status::NOT_FOUND);
  if (found.ok()) room = service.names.room(*found);
  if (room.bytesLimit > 0) {
    auto left = room.bytesLeft / BLOCK_SIZE;
    results.setOverQuota(left < blocksFree);
    blocks = room.bytesLimit / BLOCK_SIZE;
    blocksFree = kj::min(blocksFree, left);
    inodesFree = kj::min(inodesFree, kj::max(left, uint64_t(1)));
  }
  if (room.inodesLimit > 0) {
    inodes = room.inodesLimit - room.inodesLeft;
    inodesFree = room.inodesLeft;
  }
  results.setBlocksTotal(blocks);
  results.setBlocksFree(blocksFree);
  results.setInodes(inodes);
  results.setInodesFree(inodesFree);
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::needSpace(NeedSpaceContext context) {
  context.getResults().setStatus(fenced() ? Status::SESSION_EXPIRED : service.trash.needSpace());
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::reporting(ReportCorruptContext context) {
  if (fenced()) return kj::READY_NOW;
  auto params = context.getParams();
  ChunkHandle chunk(params.getChunk().getHandle());
  ServerId server(params.getServer());
  kj::Promise<Status> asked = service.corruptReplica(chunk, server, "a client read bad bytes");
  return asked.ignoreResult().catch_([this, chunk, server](kj::Exception&& exception) {
    service.log.warning("store ", server, " could not be asked about chunk ", chunk, ": ",
                        exception.getDescription(), " -> left as it is");
  });
}

kj::Promise<void> SessionHandlers::getXattr(GetXattrContext context) {
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    return kj::READY_NOW;
  }
  auto value = service.names.xattr(InodeId(context.getParams().getInode()), context.getParams().getName());
  results.setStatus(value.status());
  if (value.ok()) results.setValue(*value);
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::listXattr(ListXattrContext context) {
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    return kj::READY_NOW;
  }
  auto found = service.names.xattrs(InodeId(context.getParams().getInode()));
  results.setStatus(found.status());
  if (!found.ok()) return kj::READY_NOW;
  auto list = results.initNames(found->size());
  for (size_t i = 0; i < found->size(); ++i) list.set(i, (*found)[i]);
  return kj::READY_NOW;
}

kj::Promise<void> SessionHandlers::findChunk(FindChunkContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  if (fenced()) {
    results.setStatus(Status::SESSION_EXPIRED);
    return kj::READY_NOW;
  }
  InodeId inode(params.getInode());
  ChunkIndex first(params.getFirst());
  auto found =
      params.getSparse() ? service.names.firstSparse(inode, first) : service.names.firstChunk(inode, first);
  results.setStatus(found.status());
  if (!found.ok()) return kj::READY_NOW;
  results.setIndex(found->index.value());
  results.setFound(found->certain == FoundIndex::Certain::YES);
  return kj::READY_NOW;
}

}  // namespace cairn
