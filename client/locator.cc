// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/locator.h"

namespace cairn::client {

void Locator::learn(InodeId inode, capnp::List<rpc::Location>::Reader locations) {
  auto now = timer.now();
  for (auto reader : locations) {
    ChunkLocation location;
    location.index = ChunkIndex(reader.getIndex());
    location.handle = ChunkHandle(reader.getChunk().getHandle());
    location.version = ChunkVersion(reader.getChunk().getVersion());
    auto replicas = reader.getReplicas();
    location.replicas = kj::heapArray<ServerId>(replicas.size());
    for (unsigned i = 0; i < replicas.size(); ++i) {
      location.replicas[i] = ServerId(replicas[i].getServer());
      servers.learn(replicas[i]);
    }
    location.primary = ServerId(reader.getPrimary());
    location.leaseEnd = now + reader.getLeaseMs() * kj::MILLISECONDS;
    location.validBytes = reader.getValidBytes();
    location.lostAt = LogIndex(reader.getLostAt());
    location.asOf = LogIndex(reader.getAsOf());
    location.age = session.age();
    if (reader.getComplete()) location.complete = ChunkLocation::Complete::YES;
    cache.learn(inode, kj::mv(location), now);
  }
}

Async<Result<ChunkLocation>> Locator::forReading(InodeId inode, ChunkIndex index, uint64_t fileSize,
                                                 Patience& patience) {
  for (;;) {
    KJ_IF_MAYBE (location, cache.forReading(inode, index, timer.now())) {
      // A chunk without a known replica is no use; daemons may be on their way back.
      if (location->isHole() || location->replicas.size() > 0) co_return location->clone();
      cache.forget(inode, index);
    }
    auto status = co_await ask(inode, index, Purpose::READING, fileSize);
    if (ok(status) && cache.forReading(inode, index, timer.now()) != nullptr) {
      KJ_IF_MAYBE (location, cache.forReading(inode, index, timer.now())) {
        if (location->isHole() || location->replicas.size() > 0) co_return location->clone();
      }
      status = Status::NO_REPLICA;
    }
    if (!ok(status) && status != Status::NO_REPLICA) co_return status;
    if (patience.isOver()) co_return ok(status) ? Status::IO_ERROR : status;
    co_await patience.pause();
  }
}

Async<Result<ChunkLocation>> Locator::forWriting(InodeId inode, ChunkIndex index, Patience& patience) {
  for (;;) {
    KJ_IF_MAYBE (location, cache.forWriting(inode, index, timer.now())) co_return location->clone();
    auto status = co_await ask(inode, index, Purpose::WRITING, 0);
    KJ_IF_MAYBE (location, cache.forWriting(inode, index, timer.now())) co_return location->clone();
    if (!ok(status) && status != Status::NO_REPLICA) co_return status;
    if (patience.isOver()) co_return ok(status) ? Status::IO_ERROR : status;
    co_await patience.pause();
  }
}

Async<Locator::MoreSpace> Locator::moreSpace() {
  auto answer = co_await session.query(
      "needSpace", [](rpc::Session::Client& client) { return client.needSpaceRequest().send(); });
  co_return answer.ok() ? MoreSpace::MAY_COME : MoreSpace::NONE;
}

Async<Result<ChunkLocation>> Locator::forSyncing(InodeId inode, ChunkIndex index, ChunkHandle handle,
                                                 ChunkVersion version, const std::set<ServerId>& unable,
                                                 Patience& patience) {
  for (;;) {
    cache.forget(inode, index);
    auto status =
        co_await askWithout(inode, index, version, std::vector<ServerId>(unable.begin(), unable.end()));
    KJ_IF_MAYBE (location, cache.forReading(inode, index, timer.now())) {
      if (location->handle != handle) co_return location->clone();
      bool enough = location->version > version || unable.empty();
      if (enough && location->complete == ChunkLocation::Complete::YES) co_return location->clone();
    }
    if (!ok(status) && status != Status::NO_REPLICA) co_return status;
    if (patience.isOver()) co_return ok(status) ? Status::IO_ERROR : status;
    co_await patience.pause();
  }
}

kj::Promise<Status> Locator::ask(InodeId inode, ChunkIndex index, Purpose purpose, uint64_t fileSize) {
  questions.remove_if([](auto& question) { return question.answered; });
  for (auto& question : questions) {
    if (question.inode == inode && question.purpose == purpose && question.first <= index &&
        index.value() < question.first.value() + question.count) {
      return question.answer.addBranch();
    }
  }
  uint32_t count = purpose == Purpose::WRITING ? 1 : cache.countToAsk(inode, index, fileSize);
  auto& question = questions.emplace_back(Question{inode, index, count, purpose});
  question.answer = askOnce(inode, index, count, purpose)
                        .attach(kj::defer([&question]() { question.answered = true; }))
                        .fork();
  return question.answer.addBranch();
}

Async<Status> Locator::askOnce(InodeId inode, ChunkIndex first, uint32_t count, Purpose purpose) {
  auto suspects = purpose == Purpose::WRITING ? servers.suspects() : std::vector<ServerId>();
  auto answer = co_await session.query("locate", [=](rpc::Session::Client& client) {
    auto request = client.locateRequest();
    request.setInode(inode.value());
    request.setFirst(first.value());
    request.setCount(count);
    request.setForWrite(purpose == Purpose::WRITING);
    auto list = request.initSuspects(suspects.size());
    for (size_t i = 0; i < suspects.size(); ++i) list.set(i, suspects[i].value());
    return request.send();
  });
  if (!answer.ok()) co_return answer.status();
  learn(inode, answer->getLocations());
  co_return Status::OK;
}

Async<Status> Locator::askWithout(InodeId inode, ChunkIndex index, ChunkVersion version,
                                  std::vector<ServerId> unable) {
  auto suspects = servers.suspects();
  if (unable.size() > SUSPECTS_MAX) unable.resize(SUSPECTS_MAX);
  auto answer = co_await session.query("locate", [=](rpc::Session::Client& client) {
    auto request = client.locateRequest();
    request.setInode(inode.value());
    request.setFirst(index.value());
    request.setCount(1);
    auto list = request.initSuspects(suspects.size());
    for (size_t i = 0; i < suspects.size(); ++i) list.set(i, suspects[i].value());
    auto without = request.initUnsynced(unable.size());
    for (size_t i = 0; i < unable.size(); ++i) without.set(i, unable[i].value());
    request.setVersion(version.value());
    return request.send();
  });
  if (!answer.ok()) co_return answer.status();
  learn(inode, answer->getLocations());
  co_return Status::OK;
}

}  // namespace cairn::client
