// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/appender.h"

#include <kj/debug.h>

#include "client/liveness.h"
#include "env/checksum.h"

namespace cairn::client {

Async<Result<Appender::Appended>> Appender::append(InodeId inode, ChunkIndex last,
                                                   kj::Own<BufferMemory> record, uint32_t size) {
  auto bytes = kj::arrayPtr(record->begin(), size);
  auto checksum = env::crc32c(bytes);
  auto index = last;
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
    bool full = false;

    Tried<capnp::Response<rpc::ChunkServer::AppendResults>> tried;
    KJ_IF_MAYBE (primary, servers.find(location.primary)) {
      // 16 MiB to three replicas may take a while: as much time again as a write for each 4 MiB.
      auto deadline = patience.deadline(timing.writeDeadline) + (size >> 22) * timing.writeDeadline;
      auto call = primary->call(
          {"append", deadline, WhenDown::FAIL},
          [&](rpc::ChunkServer::Client& service) {
            auto request = service.appendRequest();
            request.getChunk().setHandle(location.handle.value());
            request.getChunk().setVersion(location.version.value());
            request.setChecksum(checksum);
            request.adoptData(
                capnp::Orphanage::getForMessageContaining(rpc::ChunkServer::AppendParams::Builder(request))
                    .referenceExternalData(bytes));
            return request.send();
          },
          record->addRef());
      tried = co_await tryOnce(whileAlive(timer, timing, *primary, kj::mv(call)));
    } else {
      tried.exception = KJ_EXCEPTION(DISCONNECTED, "the metaserver named a primary without an address");
    }

    auto& cache = locator.known();
    KJ_IF_MAYBE (exception, tried.exception) {
      if (!isTransport(*exception)) {
        log.error("append at chunkd-", location.primary, " broke: ", exception->getDescription(),
                  " -> error");
        co_return Status::IO_ERROR;
      }
      servers.failed(location.primary);
    }
    KJ_IF_MAYBE (answer, tried.answer) {
      auto status = answer->getStatus();
      if (ok(status)) {
        servers.answered(location.primary);
        cache.leaseProven(inode, index, location.version, timer.now());
        Appended appended{startOf(index).value() + answer->getOffset(), index, {}};
        appended.chunk = DirtyChunk{location.handle, location.version, {},          answer->getBlocks(),
                                    location.asOf,   location.lostAt,  location.age};
        for (auto replica : answer->getApplied()) {
          appended.chunk.boots.emplace(ServerId(replica.getServer()), replica.getBoot());
        }
        co_return kj::mv(appended);
      }
      if (status == Status::CHUNK_FULL) {
        index = index.next();
        continue;
      }
      if (status == Status::NO_SPACE) {
        auto more = co_await locator.moreSpace();
        if (more == Locator::MoreSpace::NONE) co_return status;
        full = true;
      }
      bool surfaces =
          status == Status::TOO_BIG || status == Status::INVALID || status == Status::NOT_SUPPORTED;
      if (surfaces) co_return status;
      for (auto server : answer->getFailed()) servers.failed(ServerId(server));
      if (status == Status::IO_ERROR || status == Status::CORRUPT) servers.failed(location.primary);
      log.warning("append to chunk ", location.handle, " v", location.version, ": ", status, " -> again");
    }
    cache.leaseLost(inode, index, location.version);
    if (patience.isOver()) co_return full ? Status::NO_SPACE : Status::IO_ERROR;
    co_await patience.pause();
  }
}

}  // namespace cairn::client
