// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/reader.h"

#include <kj/debug.h>

#include <algorithm>
#include <deque>

#include "env/checksum.h"

namespace cairn::client {

namespace {

// Never written: all of it is the kernel's one page of zeros, so no memory is filled for a hole.
alignas(4096) kj::byte zeros[256 << 10];

}  // namespace

void FoundBytes::addZeros(uint64_t size) {
  while (size > 0) {
    size_t part = std::min<uint64_t>(size, sizeof(zeros));
    views.add(kj::arrayPtr(zeros, part).asConst());
    size -= part;
  }
}

void FoundBytes::append(FoundBytes&& more) {
  for (auto& view : more.views) views.add(view);
  for (auto& keeper : more.keepers) keepers.add(kj::mv(keeper));
}

ReadData FoundBytes::release() {
  ReadData data;
  data.pieces = views.releaseAsArray();
  if (keepers.size() == 1) {
    data.keeper = kj::mv(keepers[0]);
  } else {
    data.keeper = kj::heap(kj::mv(keepers));
  }
  return data;
}

Async<Result<FoundBytes>> Reader::read(InodeId inode, uint64_t offset, uint64_t size, uint64_t fileSize) {
  // Cut so that only the first and the last piece may be unaligned.
  auto pieceAt = [](uint64_t at, uint64_t left) -> uint32_t {
    uint64_t chunkLeft = CHUNK_SIZE - locate(FileOffset(at)).offset.value();
    return uint32_t(std::min({left, chunkLeft, uint64_t(TRANSFER_SIZE_MAX - at % BLOCK_SIZE)}));
  };
  auto first = pieceAt(offset, size);
  if (first == size) co_return co_await readPiece(inode, offset, first, fileSize);

  static constexpr size_t AHEAD_MAX = 8;  // requests under way: 8 MiB of answers
  std::deque<kj::Promise<Result<FoundBytes>>> pending;
  FoundBytes found;
  uint64_t at = offset, end = offset + size;
  while (at < end || !pending.empty()) {
    while (at < end && pending.size() < AHEAD_MAX) {
      auto piece = pieceAt(at, end - at);
      pending.push_back(readPiece(inode, at, piece, fileSize).eagerlyEvaluate(nullptr));
      at += piece;
    }
    auto next = kj::mv(pending.front());
    pending.pop_front();
    auto piece = co_await next;
    if (!piece.ok()) co_return piece.status();
    found.append(kj::mv(*piece));
  }
  co_return kj::mv(found);
}

std::vector<ServerId> Reader::inOrder(const ChunkLocation& location) const {
  // Nearest first, but those that failed us just now last.
  std::vector<ServerId> replicas, last;
  for (auto server : location.replicas) (servers.isSuspect(server) ? last : replicas).push_back(server);
  replicas.insert(replicas.end(), last.begin(), last.end());
  return replicas;
}

class Reader::Race final : private kj::TaskSet::ErrorHandler {
  // Asks one replica after the other; the next one as soon as one has failed, or when it is slow while the
  // others run on.
 public:
  Race(Reader& reader, InodeId inode, const ChunkLocation& location, uint32_t from, uint32_t size,
       kj::Duration deadline, std::set<ServerId>& damaged)
      : reader(reader),
        inode(inode),
        location(location),
        from(from),
        size(size),
        deadline(deadline),
        damaged(damaged),
        order(reader.inOrder(location)),
        tasks(*this) {}

  kj::Promise<kj::Maybe<Answer>> run() {
    auto paf = kj::newPromiseAndFulfiller<kj::Maybe<Answer>>();
    winner = kj::mv(paf.fulfiller);
    startNext();
    if (next < order.size()) tasks.add(hedge());
    return kj::mv(paf.promise);
  }

 private:
  Reader& reader;
  const InodeId inode;
  const ChunkLocation& location;
  const uint32_t from, size;
  const kj::Duration deadline;
  std::set<ServerId>& damaged;  // servers whose bytes turned out to be bad
  const std::vector<ServerId> order;
  size_t next = 0, running = 0;
  kj::Own<kj::PromiseFulfiller<kj::Maybe<Answer>>> winner;
  kj::TaskSet tasks;

  void startNext() {
    if (next < order.size()) {
      ++running;
      tasks.add(ask(order[next++]));
    } else if (running == 0) {
      winner->fulfill(nullptr);
    }
  }
  Async<void> ask(ServerId server) {
    auto answer = co_await reader.ask(inode, location, server, from, size, deadline, damaged);
    --running;
    if (answer != nullptr) {
      winner->fulfill(kj::mv(answer));
    } else {
      startNext();
    }
  }
  Async<void> hedge() {
    while (next < order.size()) {
      co_await reader.timer.afterDelay(reader.timing.hedgeAfter);
      if (running > 0 && next < order.size()) startNext();
    }
  }
  void taskFailed(kj::Exception&& exception) override { winner->reject(kj::mv(exception)); }
};

Async<Result<FoundBytes>> Reader::readPiece(InodeId inode, uint64_t offset, uint32_t size,
                                            uint64_t fileSize) {
  auto [index, start] = locate(FileOffset(offset));
  // The checksums are of whole blocks, so whole blocks are read.
  uint32_t from = start.value() / BLOCK_SIZE * BLOCK_SIZE, skip = start.value() - from;
  uint32_t wanted = (skip + size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
  Patience patience(timer, entropy, timing);
  std::set<ServerId> damaged;
  for (;;) {
    auto located = co_await locator.forReading(inode, index, fileSize, patience);
    if (!located.ok()) co_return located.status();
    auto& location = *located;
    FoundBytes found;
    if (location.isHole() || location.validBytes <= start.value()) {
      found.addZeros(size);
      co_return kj::mv(found);
    }

    kj::Maybe<Answer> answer;
    {
      Race race(*this, inode, location, from, wanted, patience.deadline(timing.chunkDeadline), damaged);
      answer = co_await race.run();
    }
    KJ_IF_MAYBE (response, answer) {
      auto data = response->getData();
      uint32_t valid = std::min(size, location.validBytes - start.value());
      uint32_t there = data.size() > skip ? uint32_t(std::min<size_t>(data.size() - skip, valid)) : 0;
      if (there > 0) {
        found.views.add(data.slice(skip, skip + there));
        found.keepers.add(kj::heap(kj::mv(*response)));
      }
      found.addZeros(size - there);
      co_return kj::mv(found);
    }

    locator.known().forget(inode, index);
    // Those that do not answer may come back with good bytes; those that are damaged do not.
    bool allDamaged = damaged.size() >= session.defaultReplicas() &&
                      std::all_of(location.replicas.begin(), location.replicas.end(),
                                  [&](ServerId server) { return damaged.count(server) != 0; });
    if (allDamaged || patience.isOver()) {
      log.error("chunk ", location.handle, " v", location.version, " of inode ", inode,
                ": no replica answers with good bytes -> the application gets an error");
      co_return Status::IO_ERROR;
    }
    co_await patience.pause();
  }
}

bool Reader::verify(Answer& answer, uint32_t size) const {
  auto data = answer.getData();
  auto stored = answer.getChecksums();
  if (data.size() > size || stored.size() != env::blocksOf(data.size())) return false;
  auto sums = env::checksumBlocks(data);
  for (size_t i = 0; i < sums.size(); ++i) {
    if (sums[i] != stored[i]) return false;
  }
  return true;
}

Async<kj::Maybe<Reader::Answer>> Reader::ask(InodeId inode, const ChunkLocation& location, ServerId server,
                                             uint32_t from, uint32_t size, kj::Duration deadline,
                                             std::set<ServerId>& damaged) {
  // Null: this replica has no good answer; what that means has been noted.
  Tried<Answer> tried;
  KJ_IF_MAYBE (peer, servers.find(server)) {
    tried = co_await tryOnce(
        peer->call({"read", deadline, WhenDown::FAIL}, [handle = location.handle, version = location.version,
                                                        from, size](rpc::ChunkServer::Client& service) {
          auto request = service.readRequest();
          auto chunk = request.initChunk();
          chunk.setHandle(handle.value());
          chunk.setVersion(version.value());
          request.setOffset(from);
          request.setSize(size);
          return request.send();
        }));
  }
  KJ_IF_MAYBE (exception, tried.exception) {
    servers.failed(server);
    log.warning("chunkd-", server, " did not answer a read of chunk ", location.handle, " (",
                exception->getDescription(), ") -> another replica");
    co_return nullptr;
  }
  KJ_IF_MAYBE (answer, tried.answer) {
    auto status = answer->getStatus();
    if (ok(status) && verify(*answer, size)) {
      servers.answered(server);
      co_return kj::mv(*answer);
    }
    if (ok(status) || status == Status::CORRUPT) damaged.insert(server);
    if (ok(status)) {
      log.error("chunk ", location.handle, " v", location.version, " from chunkd-", server, " at ", from, "+",
                size, " fails its checksums -> another replica, reported to the metaserver");
      reportCorrupt(location, server);
    } else {
      log.warning("chunkd-", server, " cannot read chunk ", location.handle, " v", location.version, ": ",
                  status, " -> another replica");
      locator.known().forget(inode, location.index);
    }
  }
  co_return nullptr;
}

void Reader::reportCorrupt(const ChunkLocation& location, ServerId server) {
  // Not waited for by the read: it goes on with another replica.
  reports.add(session
                  .query("reportCorrupt",
                         [handle = location.handle, version = location.version,
                          server](rpc::Session::Client& client) {
                           auto request = client.reportCorruptRequest();
                           request.getChunk().setHandle(handle.value());
                           request.getChunk().setVersion(version.value());
                           request.setServer(server.value());
                           return request.send();
                         })
                  .ignoreResult());
}

void Reader::taskFailed(kj::Exception&& exception) {
  log.error("a corrupt replica could not be reported: ", exception.getDescription(),
            " -> the scrub will find it");
}

}  // namespace cairn::client
