// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/chunk_sync.h"

#include <kj/debug.h>

#include <algorithm>

#include "client/liveness.h"

namespace cairn::client {

Async<ChunkSync::Outcome> ChunkSync::sync(InodeId inode, DirtyChunks chunks) {
  Patience patience(timer, entropy, timing);
  Outcome outcome;
  for (;;) {
    std::erase_if(chunks, [&](auto& entry) {
      auto& chunk = entry.second;
      if (!chunk.isLost()) return false;
      log.error("chunk ", chunk.handle, " of inode ", inode, ": written as of operation ", chunk.oldest,
                ", and what was not synced by operation ", chunk.lostAt, " may be lost -> fsync fails");
      outcome.loss = Outcome::Loss::SOME;
      return true;
    });
    if (chunks.empty()) break;
    // One call per daemon and boot, for all its chunks.
    std::map<std::pair<ServerId, uint64_t>, Target> targets;
    for (auto& [index, chunk] : chunks) {
      for (auto& [server, boot] : chunk.boots) {
        auto& target = targets.try_emplace({server, boot}, Target{server, boot, {}}).first->second;
        target.chunks.push_back(index);
      }
    }
    Round round;
    kj::Vector<kj::Promise<void>> calls;
    for (auto& [key, target] : targets) calls.add(syncAt(chunks, target, round));
    co_await kj::joinPromises(calls.releaseAsArray());

    std::erase_if(chunks, [&](auto& entry) {
      return !entry.second.boots.empty() && round.good[entry.first].size() == entry.second.boots.size();
    });
    if (chunks.empty() || patience.isOver()) break;
    kj::Vector<kj::Promise<void>> looking;
    for (auto& [index, chunk] : chunks) looking.add(lookAgain(inode, index, chunk, round, patience));
    co_await kj::joinPromises(looking.releaseAsArray());
    std::erase_if(chunks, [](auto& entry) { return !entry.second.handle; });
    bool hopeless =
        std::any_of(chunks.begin(), chunks.end(), [](auto& entry) { return entry.second.boots.empty(); });
    if (hopeless) break;
    co_await patience.pause();
  }
  outcome.left = std::move(chunks);
  co_return outcome;
}

Async<Status> ChunkSync::recall(InodeId inode, uint64_t size, DirtyChunks& chunks) {
  Patience patience(timer, entropy, timing);
  for (ChunkIndex index; startOf(index).value() < size; index = index.next()) {
    if (chunks.count(index) > 0) continue;
    auto located = co_await locator.forReading(inode, index, size, patience);
    if (!located.ok()) co_return located.status();
    if (located->isHole()) continue;
    DirtyChunk chunk{located->handle, located->version, {}};
    chunk.lostAt = located->lostAt;
    // Unless these are all that count, the first look finds out who does.
    if (located->complete == ChunkLocation::Complete::YES) {
      for (auto server : located->replicas) chunk.boots[server] = 0;
    } else {
      located = co_await locator.forSyncing(inode, index, chunk.handle, located->version, {}, patience);
      if (!located.ok()) co_return located.status();
      if (located->isHole() || located->handle != chunk.handle) continue;  // cut, or made anew, meanwhile
      chunk.version = located->version;
      chunk.lostAt = located->lostAt;
      for (auto server : located->replicas) chunk.boots[server] = 0;
    }
    chunks.emplace(index, kj::mv(chunk));
  }
  co_return Status::OK;
}

Async<void> ChunkSync::syncAt(const DirtyChunks& chunks, Target target, Round& round) {
  // `chunks` and `round` are in the frame of sync(), which waits for us.
  std::set<ChunkHandle> failed;
  auto* unwell = &round.bad;
  bool all = true;
  KJ_IF_MAYBE (peer, servers.find(target.server)) {
    auto tried = co_await ask(chunks, target, *peer);
    KJ_IF_MAYBE (answer, tried.answer) {
      auto status = answer->getStatus();
      all = !ok(status) && answer->getFailed().size() == 0;
      for (auto handle : answer->getFailed()) failed.insert(ChunkHandle(handle));
      if (status == Status::STALE_VERSION) unwell = &round.stale;
      if (!ok(status)) {
        log.info("chunkd-", target.server, " could not sync: ", status, ", ", failed.size(),
                 " chunks named -> look again");
      }
    }
    KJ_IF_MAYBE (exception, tried.exception) {
      log.warning("chunkd-", target.server, " did not answer a sync (", exception->getDescription(),
                  ") -> it does not count");
      servers.failed(target.server);
    }
  }
  for (auto index : target.chunks) {
    bool isUnwell = all || failed.contains(chunks.at(index).handle);
    (isUnwell ? *unwell : round.good)[index].insert(target.server);
  }
}

Async<Tried<capnp::Response<rpc::ChunkServer::SyncResults>>> ChunkSync::ask(const DirtyChunks& chunks,
                                                                            const Target& target,
                                                                            ChunkPeer& peer) {
  // A disk may take long for a good reason, so the call may; whether the daemon lives is asked beside it.
  auto call = peer.call({"sync", timing.patience, WhenDown::FAIL}, [&](rpc::ChunkServer::Client& service) {
    auto request = service.syncRequest();
    request.setBoot(target.boot);
    auto list = request.initChunks(target.chunks.size());
    for (size_t i = 0; i < target.chunks.size(); ++i) {
      auto& chunk = chunks.at(target.chunks[i]);
      list[i].setHandle(chunk.handle.value());
      list[i].setVersion(chunk.version.value());
    }
    return request.send();
  });
  co_return co_await tryOnce(whileAlive(timer, timing, peer, kj::mv(call)));
}

Async<void> ChunkSync::lookAgain(InodeId inode, ChunkIndex index, DirtyChunk& chunk, const Round& round,
                                 Patience& patience) {
  // The metaserver decides who is in the set: it raises the version without those that could not sync.
  std::set<ServerId> unable;
  auto bad = round.bad.find(index);
  if (bad != round.bad.end()) unable = bad->second;
  auto located = co_await locator.forSyncing(inode, index, chunk.handle, chunk.version, unable, patience);
  if (located.status() == Status::STALE) {
    // The file has neither a name nor anybody who has it open, or ends before this chunk: there is nothing
    // to sync.
    chunk.handle = ChunkHandle();
    co_return;
  }
  if (!located.ok()) {
    log.error("chunk ", chunk.handle, ": ", located.status(), " after a failed sync -> fsync fails");
    chunk.boots.clear();
    co_return;
  }
  if (located->handle != chunk.handle) {
    // Somebody has cut the file below this chunk, and maybe written anew: what we wrote is gone by their
    // will. Or it is in a clone, which was on stable storage from the beginning, but for what was lost
    // before.
    chunk.lostAt = located->lostAt;
    if (!chunk.isLost()) chunk.handle = ChunkHandle();
    co_return;
  }
  if (!unable.empty()) {
    auto names = KJ_MAP(server, unable) {
      return kj::str("chunkd-", server);
    };
    log.warning("chunk ", chunk.handle, " v", chunk.version, " could not be synced by ",
                kj::strArray(names, ", "), " -> not counted for it");
  }
  chunk.version = located->version;
  chunk.lostAt = kj::max(chunk.lostAt, located->lostAt);
  chunk.boots.clear();
  for (auto server : located->replicas) chunk.boots.emplace(server, 0);
}

}  // namespace cairn::client
