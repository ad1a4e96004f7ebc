// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/writer.h"

#include <kj/debug.h>

#include "client/liveness.h"
#include "env/checksum.h"

namespace cairn::client {

namespace {

kj::Array<uint32_t> checksumsOf(const WriteBuffer::Outgoing& outgoing) {
  kj::Vector<uint32_t> sums(outgoing.bytes.size() / BLOCK_SIZE + 2 * outgoing.extents.size());
  auto rest = outgoing.bytes;
  for (auto& extent : outgoing.extents) {
    env::checksumPieces(extent.offset, rest.slice(0, extent.size), sums);
    rest = rest.slice(extent.size, rest.size());
  }
  return sums.releaseAsArray();
}

}  // namespace

void DirtyChunk::add(const DirtyChunk& later) {
  auto first = !oldest || (later.oldest && later.oldest < oldest) ? later.oldest : oldest;
  if (handle != later.handle) {
    // What we wrote before was cut away, or is in a clone: of that we are told what its original had lost.
    *this = later;
    oldest = first;
    return;
  }
  oldest = first;
  lostAt = kj::max(lostAt, later.lostAt);
  if (later.version > version) {
    version = later.version;
    boots = later.boots;
  } else if (later.version == version) {
    // The same servers. Should one name another boot now, the first counts: what it applied in it may be
    // lost.
    boots.insert(later.boots.begin(), later.boots.end());
  }  // an older one: answers may overtake each other
}

void DirtyChunk::answersLost(LogIndex from) {
  if (oldest >= from) oldest = LogIndex(from.value() - 1);
}

void merge(DirtyChunks& into, DirtyChunks&& later) {
  for (auto& [index, chunk] : later) {
    auto [place, fresh] = into.try_emplace(index, chunk);
    if (!fresh) place->second.add(chunk);
  }
}

Async<Result<DirtyChunk>> Writer::write(InodeId inode, const WriteBuffer::Outgoing& outgoing) {
  auto index = locate(FileOffset(outgoing.offset())).index;
  auto checksums = checksumsOf(outgoing);  // once, as early as the bytes cannot change any more
  Patience patience(timer, entropy, timing);
  for (;;) {
    auto located = co_await locator.forWriting(inode, index, patience);
    if (located.status() == Status::NO_SPACE && !patience.isOver()) {
      auto more = co_await locator.moreSpace();
      if (more == Locator::MoreSpace::NONE) co_return Status::NO_SPACE;
      co_await patience.pause();
      continue;
    }
    if (!located.ok()) co_return located.status();
    auto& location = *located;

    Tried<capnp::Response<rpc::ChunkServer::WriteResults>> tried;
    KJ_IF_MAYBE (primary, servers.find(location.primary)) {
      auto call = primary->call(
          {"write", patience.deadline(timing.writeDeadline), WhenDown::FAIL},
          [&](rpc::ChunkServer::Client& service) {
            auto request = service.writeRequest();
            auto chunk = request.initChunk();
            chunk.setHandle(location.handle.value());
            chunk.setVersion(location.version.value());
            auto extents = request.initExtents(unsigned(outgoing.extents.size()));
            for (unsigned i = 0; i < extents.size(); ++i) {
              extents[i].setOffset(locate(FileOffset(outgoing.extents[i].offset)).offset.value());
              extents[i].setSize(uint32_t(outgoing.extents[i].size));
            }
            request.setChecksums(checksums);
            request.adoptData(
                capnp::Orphanage::getForMessageContaining(rpc::ChunkServer::WriteParams::Builder(request))
                    .referenceExternalData(outgoing.bytes));
            return request.send();
          },
          outgoing.memory->addRef());
      tried = co_await tryOnce(whileAlive(timer, timing, *primary, kj::mv(call)));
    } else {
      tried.exception = KJ_EXCEPTION(DISCONNECTED, "the metaserver named a primary without an address");
    }

    Status status = Status::OK;
    switch (judge(inode, location, tried, status)) {
      case Verdict::DONE: {
        DirtyChunk applied{location.handle, location.version, {},          0,
                           location.asOf,   location.lostAt,  location.age};
        KJ_IF_MAYBE (answer, tried.answer) {
          applied.blocks = answer->getBlocks();
          for (auto replica : answer->getApplied()) {
            applied.boots.emplace(ServerId(replica.getServer()), replica.getBoot());
          }
        }
        co_return applied;
      }
      case Verdict::FAIL: {
        if (status != Status::NO_SPACE) co_return status;
        auto more = co_await locator.moreSpace();
        if (more == Locator::MoreSpace::NONE) co_return status;
        break;
      }
      case Verdict::RETRY:
        break;
    }
    if (patience.isOver()) {
      log.error("chunk ", location.handle, " of inode ", inode, " could not be written for ",
                timing.patience / kj::SECONDS, " s (", status, ") -> the application gets an error");
      co_return status == Status::NO_SPACE ? status : Status::IO_ERROR;
    }
    co_await patience.pause();
  }
}

Writer::Verdict Writer::judge(InodeId inode, const ChunkLocation& location,
                              Tried<capnp::Response<rpc::ChunkServer::WriteResults>>& tried, Status& status) {
  auto primary = location.primary;
  auto& cache = locator.known();
  KJ_IF_MAYBE (exception, tried.exception) {
    status = Status::IO_ERROR;
    if (!isTransport(*exception)) {
      log.error("write to chunkd-", primary, " broke: ", exception->getDescription(), " -> error");
      return Verdict::FAIL;
    }
    log.warning("chunkd-", primary, " did not take a write of chunk ", location.handle, " v",
                location.version, " (", exception->getDescription(), ") -> locate again");
    servers.failed(primary);
    cache.leaseLost(inode, location.index, location.version);
    return Verdict::RETRY;
  }
  auto& answer = KJ_ASSERT_NONNULL(tried.answer);
  status = answer.getStatus();
  switch (status) {
    case Status::OK:
      servers.answered(primary);
      cache.leaseProven(inode, location.index, location.version, timer.now());
      return Verdict::DONE;
    case Status::REPLICA_FAILED:
      for (auto server : answer.getFailed()) servers.failed(ServerId(server));
      log.warning("chunk ", location.handle, " v", location.version, ": ", answer.getFailed().size(),
                  " replicas did not apply -> locate again");
      cache.leaseLost(inode, location.index, location.version);
      return Verdict::RETRY;
    case Status::NOT_PRIMARY:
    case Status::LEASE_EXPIRED:
    case Status::STALE_VERSION:
    case Status::REBOOTED:
      cache.leaseLost(inode, location.index, location.version);
      return Verdict::RETRY;
    case Status::BEHIND_VERSION:
    case Status::NO_REPLICA:
    case Status::CORRUPT:
    case Status::IO_ERROR:
      log.warning("chunkd-", primary, " cannot write chunk ", location.handle, " v", location.version, ": ",
                  status, " -> locate again");
      servers.failed(primary);
      cache.leaseLost(inode, location.index, location.version);
      return Verdict::RETRY;
    case Status::BAD_CHECKSUM:
      log.warning("chunk ", location.handle, ": bytes were damaged on their way -> send again");
      return Verdict::RETRY;
    case Status::NOT_READY:
      return Verdict::RETRY;
    case Status::NO_SPACE:
    default:
      log.error("chunkd-", primary, " refuses a write of chunk ", location.handle, ": ", status,
                " -> the application gets it");
      return Verdict::FAIL;
  }
}

}  // namespace cairn::client
