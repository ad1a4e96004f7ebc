// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/chunk_sync.h"

#include <kj/debug.h>

#include <algorithm>

#include "client/liveness.h"

namespace cairn::client {

kj::Promise<DirtyChunks> ChunkSync::sync(InodeId inode, DirtyChunks chunks) {
  Patience patience(timer, entropy, timing);
  while (!chunks.empty()) {
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

    // Chunks whose every replica has answered well are done; the others lose those that have not.
    std::erase_if(chunks, [&](auto& entry) {
      return !entry.second.boots.empty() && round.good[entry.first].size() == entry.second.boots.size();
    });
    if (chunks.empty()) break;
    kj::Vector<kj::Promise<void>> leaving;
    for (auto& [index, chunk] : chunks) leaving.add(leaveOutTheBad(inode, index, chunk, round, patience));
    co_await kj::joinPromises(leaving.releaseAsArray());
    std::erase_if(chunks, [&](auto& entry) {
      auto& good = round.good[entry.first];
      return !good.empty() && std::all_of(entry.second.boots.begin(), entry.second.boots.end(),
                                          [&](auto& boot) { return good.contains(boot.first); });
    });
    bool hopeless =
        std::any_of(chunks.begin(), chunks.end(), [](auto& entry) { return entry.second.boots.empty(); });
    if (chunks.empty() || hopeless || patience.isOver()) break;
    co_await patience.pause();
  }
  co_return chunks;
}

kj::Promise<Status> ChunkSync::recall(InodeId inode, uint64_t size, DirtyChunks& chunks) {
  Patience patience(timer, entropy, timing);
  for (ChunkIndex index; startOf(index).value() < size; index = index.next()) {
    if (chunks.count(index) > 0) continue;
    auto located = co_await locator.forReading(inode, index, size, patience);
    if (!located.ok()) co_return located.status();
    if (located->isHole()) continue;
    DirtyChunk chunk{located->handle, located->version, {}};
    for (auto server : located->replicas) chunk.boots[server] = 0;
    chunks.emplace(index, kj::mv(chunk));
  }
  co_return Status::OK;
}

kj::Promise<void> ChunkSync::syncAt(const DirtyChunks& chunks, Target target, Round& round) {
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
        log.warning("chunkd-", target.server, " could not sync: ", status, ", ", failed.size(),
                    " chunks named -> ",
                    status == Status::STALE_VERSION ? "look again" : "it does not count for them");
      }
    }
    KJ_IF_MAYBE (exception, tried.exception) {
      log.warning("chunkd-", target.server, " did not answer a sync (", exception->getDescription(),
                  ") -> it does not count");
    }
  }
  for (auto index : target.chunks) {
    bool isUnwell = all || failed.contains(chunks.at(index).handle);
    (isUnwell ? *unwell : round.good)[index].insert(target.server);
  }
}

kj::Promise<Tried<capnp::Response<rpc::ChunkServer::SyncResults>>> ChunkSync::ask(const DirtyChunks& chunks,
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

kj::Promise<void> ChunkSync::leaveOutTheBad(InodeId inode, ChunkIndex index, DirtyChunk& chunk, Round& round,
                                            Patience& patience) {
  // The metaserver decides who is in the set: it raises the version without those that failed.
  auto& bad = round.bad[index];
  for (auto server : bad) servers.failed(server);
  if (bad.empty()) {
    locator.known().forget(inode, index);  // somebody else had the version raised: just look again
  } else {
    locator.known().leaseLost(inode, index, chunk.version);
  }
  auto located = co_await (bad.empty() ? locator.forReading(inode, index, 0, patience)
                                       : locator.forWriting(inode, index, patience));
  if (!located.ok()) {
    log.error("chunk ", chunk.handle, ": ", located.status(), " after a failed sync -> fsync fails");
    chunk.boots.clear();
    co_return;
  }
  if (located->handle != chunk.handle) {
    // Somebody has cut the file below this chunk and written anew: what we wrote is gone by their will.
    chunk.boots = {{ServerId(), 0}};
    round.good[index].insert(ServerId());
    co_return;
  }
  chunk.version = located->version;
  std::map<ServerId, uint64_t> current;
  for (auto server : located->replicas) {
    // Who has already said yes counts; who failed must not be asked for another boot than the one that has
    // our write.
    auto known = chunk.boots.find(server);
    if (known == chunk.boots.end()) {
      current.emplace(server, 0);
    } else if (!bad.contains(server)) {
      current.insert(*known);
    } else {
      log.warning("chunkd-", server, " failed the sync of chunk ", chunk.handle,
                  " and is still in its set -> counted without it");
    }
  }
  chunk.boots = std::move(current);
}

}  // namespace cairn::client
