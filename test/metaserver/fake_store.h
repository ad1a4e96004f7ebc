// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A chunk daemon that does as it is told, or refuses, hangs or is slow: what is on its disk (FakeStore), and
// its process (FakeProcess).
#pragma once

#include <kj/async.h>
#include <kj/debug.h>
#include <kj/timer.h>

#include <deque>
#include <map>
#include <vector>

#include "rpc/chunkd.capnp.h"
#include "rpc/metaserver.capnp.h"
#include "rpc/units.h"
#include "test/support/refused_calls.h"

namespace cairn {

struct FakeStore {
  // What is on its disk, and how it behaves. Its process is FakeProcess.
  enum class Mood { OBEYS, HANGS, SLOW, REFUSES };
  struct Chunk {
    uint64_t version = 0;
    uint32_t truncated = ALL_BYTES_VALID;
    uint32_t length = 0;
    bool suspect = false, rotten = false, corrupt = false;
    uint64_t written = 1, serial = 0;  // its mark; written 0: not known
  };
  explicit FakeStore(uint32_t number) : number(number) {}

  uint32_t number;
  uint32_t server = 0;  // id, as the metaserver gave it
  std::map<uint64_t, Chunk> chunks;
  std::map<uint64_t, uint64_t> leases;               // handle -> version
  std::map<uint64_t, std::vector<uint32_t>> chains;  // handle -> secondaries
  Mood mood = Mood::OBEYS;
  Mood onlyAdopt = Mood::OBEYS;      // mood of adopt alone
  bool adoptsBeforeItHangs = false;  // carries the order out, and does not answer
  kj::Duration slowness = 2500 * kj::MILLISECONDS;
  Status refusal = Status::IO_ERROR;
  uint64_t bytesTotal = 100ull << 30, bytesFree = 50ull << 30;
  kj::StringPtr host = "h";
  uint32_t pid = 100;
  uint64_t boot = 1;
  bool heartbeats = true;
  uint64_t epochSeen = 0;
  uint32_t adopts = 0, revokes = 0, probes = 0, verifies = 0, copies = 0, commits = 0, reconciles = 0;
  uint32_t clones = 0;
  Mood onlyCopy = Mood::OBEYS, onlyCommit = Mood::OBEYS, onlyClone = Mood::OBEYS;
  Mood onlyReconcile = Mood::OBEYS;
  bool copiesBeforeItHangs = false;          // carries the commit out, and does not answer
  std::map<uint64_t, uint64_t> staged;       // handle -> bytes copied of a copy that is not committed
  std::deque<FakeStore>* fellows = nullptr;  // where sources are
  std::vector<uint64_t> deleted;
  RefusedCalls* refusals = nullptr;     // of a whole fleet
  std::vector<uint32_t> findsBad;       // servers whose bytes do not match, when it copies or reconciles
  kj::Maybe<rpc::Fleet::Client> fleet;  // while connected
  kj::Maybe<rpc::ChunkServer::Client> self;

  uint64_t versionOf(ChunkHandle chunk) const {
    auto found = chunks.find(chunk.value());
    return found == chunks.end() ? 0 : found->second.version;
  }
};

class FakeProcess final : public rpc::ChunkServer::Server {
 public:
  FakeProcess(FakeStore& store, kj::Timer& timer) : store(store), timer(timer) {}

  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId,
                                  RefusedCalls::Context context) override {
    if (store.refusals != nullptr) {
      auto refusal = store.refusals->refuses<rpc::ChunkServer>(interfaceId, methodId, context);
      KJ_IF_MAYBE (refused, refusal) return {kj::mv(*refused), false};
    }
    return rpc::ChunkServer::Server::dispatchCall(interfaceId, methodId, context);
  }

  kj::Promise<void> adopt(AdoptContext context) override {
    store.epochSeen = context.getParams().getEpoch();
    ++store.adopts;
    auto mood = store.mood != FakeStore::Mood::OBEYS ? store.mood : store.onlyAdopt;
    if (mood == FakeStore::Mood::OBEYS || (mood == FakeStore::Mood::HANGS && store.adoptsBeforeItHangs))
      carryOut(context);
    return react(
        mood, [this, context]() mutable { carryOut(context); },
        [this, context]() mutable {
          auto results = context.getResults().initResults(context.getParams().getChunks().size());
          for (uint32_t i = 0; i < results.size(); ++i) {
            results[i].setHandle(context.getParams().getChunks()[i].getHandle());
            results[i].setStatus(store.refusal);
          }
        });
  }
  kj::Promise<void> lease(LeaseContext context) override {
    auto grant = context.getParams().getLeases()[0];
    auto handle = grant.getChunk().getHandle();
    return react(
        store.mood,
        [this, context, grant, handle]() mutable {
          if (store.chunks[handle].version != grant.getChunk().getVersion()) {
            context.getResults().setStatus(Status::STALE_VERSION);
            return;
          }
          store.leases[handle] = grant.getChunk().getVersion();
          store.chains[handle].clear();
          for (auto secondary : grant.getSecondaries()) store.chains[handle].push_back(secondary.getServer());
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }
  kj::Promise<void> revoke(RevokeContext context) override {
    ++store.revokes;
    return react(
        store.mood,
        [this, context]() mutable {
          for (auto chunk : context.getParams().getChunks()) store.leases.erase(chunk.getHandle());
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }
  kj::Promise<void> delete_(DeleteContext context) override {
    return react(
        store.mood,
        [this, context]() mutable {
          for (auto chunk : context.getParams().getChunks()) {
            auto found = store.chunks.find(chunk.getHandle());
            if (found == store.chunks.end() || found->second.version > chunk.getVersion()) continue;
            store.chunks.erase(found);
            store.deleted.push_back(chunk.getHandle());
          }
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }
  kj::Promise<void> describe(DescribeContext context) override {
    ++store.probes;
    return react(
        store.mood,
        [this, context]() mutable {
          auto asked = context.getParams().getChunks();
          std::vector<uint64_t> held;
          for (auto handle : asked) {
            if (store.chunks.count(handle) > 0) held.push_back(handle);
          }
          auto list = context.getResults().initChunks(held.size());
          for (size_t i = 0; i < held.size(); ++i) {
            auto& chunk = store.chunks[held[i]];
            list[i].setHandle(held[i]);
            list[i].setVersion(chunk.version);
            list[i].setSuspect(chunk.suspect);
            list[i].setCorrupt(chunk.corrupt);
          }
        },
        []() {});
  }
  kj::Promise<void> copy(CopyContext context) override {
    store.epochSeen = context.getParams().getEpoch();
    auto commit = context.getParams().getCommit();
    ++(commit ? store.commits : store.copies);
    auto mood = store.mood != FakeStore::Mood::OBEYS ? store.mood
                : commit                             ? store.onlyCommit
                                                     : store.onlyCopy;
    if (commit && mood == FakeStore::Mood::HANGS && store.copiesBeforeItHangs) takeCopy(context);
    return react(
        mood, [this, context]() mutable { takeCopy(context); },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }

  kj::Promise<void> clone(CloneContext context) override {
    ++store.clones;
    auto mood = store.mood != FakeStore::Mood::OBEYS ? store.mood : store.onlyClone;
    return react(
        mood,
        [this, context]() mutable {
          auto params = context.getParams();
          auto found = store.chunks.find(params.getChunk().getHandle());
          auto status = found == store.chunks.end()                              ? Status::NO_REPLICA
                        : found->second.version > params.getChunk().getVersion() ? Status::STALE_VERSION
                        : found->second.version < params.getChunk().getVersion() ? Status::BEHIND_VERSION
                                                                                 : Status::OK;
          context.getResults().setStatus(status);
          if (!ok(status)) return;
          auto& clone = store.chunks[params.getClone()];
          clone.version = 1;
          clone.length = kj::min(found->second.length, params.getBytes());
          context.getResults().setLength(clone.length);
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }

  kj::Promise<void> checksums(ChecksumsContext context) override {
    return react(
        store.mood,
        [this, context]() mutable {
          auto& chunk = store.chunks[context.getParams().getChunk().getHandle()];
          bool same = chunk.version == context.getParams().getChunk().getVersion() && !chunk.suspect;
          context.getResults().setStatus(same ? Status::OK : Status::STALE_VERSION);
          context.getResults().setLength(chunk.length);
          context.getResults().setChecksums(kj::str(chunk.serial).asBytes());
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }
  kj::Promise<void> reconcile(ReconcileContext context) override {
    ++store.reconciles;
    auto mood = store.mood != FakeStore::Mood::OBEYS ? store.mood : store.onlyReconcile;
    return react(
        mood,
        [this, context]() mutable {
          auto params = context.getParams();
          auto& chunk = store.chunks[params.getChunk().getHandle()];
          context.getResults().setStatus(
              chunk.version == params.getChunk().getVersion() ? Status::OK : Status::BEHIND_VERSION);
          if (context.getResults().getStatus() != Status::OK) return;
          chunk.suspect = false;
          if (params.getSources().size() > 0) chunk.written = 0;
          auto bad = context.getResults().initBad(unsigned(store.findsBad.size()));
          for (unsigned i = 0; i < bad.size(); ++i) bad.set(i, store.findsBad[i]);
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }

  kj::Promise<void> verify(VerifyContext context) override {
    ++store.verifies;
    return react(
        store.mood,
        [this, context]() mutable {
          auto handle = context.getParams().getChunk().getHandle();
          auto& chunk = store.chunks[handle];
          chunk.corrupt |= chunk.rotten;  // and is quarantined
          context.getResults().setStatus(chunk.corrupt ? Status::CORRUPT : Status::OK);
        },
        [this, context]() mutable { context.getResults().setStatus(store.refusal); });
  }

 private:
  template <typename Do, typename Refuse>
  kj::Promise<void> react(FakeStore::Mood mood, Do obey, Refuse refuse) {
    switch (mood) {
      case FakeStore::Mood::OBEYS:
        obey();
        return kj::READY_NOW;
      case FakeStore::Mood::HANGS:
        return kj::NEVER_DONE;
      case FakeStore::Mood::SLOW:
        return timer.afterDelay(store.slowness).then(kj::mv(obey));
      case FakeStore::Mood::REFUSES:
        refuse();
        return kj::READY_NOW;
    }
    KJ_UNREACHABLE;
  }
  void takeCopy(CopyContext context) {
    // A chunk has CHUNK_BYTES; each is copied once.
    constexpr uint64_t CHUNK_BYTES = 20ull << 20;
    auto params = context.getParams();
    auto results = context.getResults();
    auto handle = params.getChunk().getHandle(), version = params.getChunk().getVersion();
    auto found = store.chunks.find(handle);
    if (found != store.chunks.end() && !found->second.corrupt &&
        found->second.version > params.getReplace()) {
      bool same = found->second.version == version && params.getCommit();
      results.setStatus(same                              ? Status::OK
                        : found->second.version > version ? Status::STALE_VERSION
                                                          : Status::EXISTS);
      return;
    }
    auto status = Status::NO_REPLICA;
    for (auto replica : params.getSources()) {
      for (auto& other : *store.fellows) {
        if (other.server != replica.getServer() || other.chunks.count(handle) == 0) continue;
        auto& chunk = other.chunks[handle];
        if (chunk.version == version && !chunk.corrupt) status = Status::OK;
        if (chunk.version != version && status != Status::OK) status = Status::STALE_VERSION;
      }
    }
    results.setStatus(status);
    if (status != Status::OK) return;
    if (found != store.chunks.end() && !found->second.corrupt) store.chunks.erase(found);  // used up
    auto bad = results.initBad(unsigned(store.findsBad.size()));
    for (unsigned i = 0; i < bad.size(); ++i) bad.set(i, store.findsBad[i]);
    auto& bytes = store.staged[handle];
    auto copied = kj::min(CHUNK_BYTES - bytes, params.getLimit());
    bytes += copied;
    results.setCopied(copied);
    results.setLeft(CHUNK_BYTES - bytes);
    results.setLength(CHUNK_BYTES);
    if (bytes < CHUNK_BYTES || !params.getCommit()) return;
    store.chunks[handle] = FakeStore::Chunk{version};
    store.chunks[handle].length = CHUNK_BYTES;
    store.staged.erase(handle);
  }
  void carryOut(AdoptContext context) {
    auto orders = context.getParams().getChunks();
    auto results = context.getResults().initResults(orders.size());
    for (uint32_t i = 0; i < orders.size(); ++i) {
      auto order = orders[i];
      results[i].setHandle(order.getHandle());
      auto& chunk = store.chunks[order.getHandle()];
      if (order.getFrom() > 0 && chunk.version == 0) {
        store.chunks.erase(order.getHandle());
        results[i].setStatus(Status::NO_REPLICA);
        continue;
      }
      if (chunk.version < order.getFrom()) results[i].setStatus(Status::BEHIND_VERSION);
      if (chunk.version > order.getVersion()) results[i].setStatus(Status::STALE_VERSION);
      if (results[i].getStatus() != Status::OK) continue;
      chunk.version = order.getVersion();
      results[i].setLength(chunk.length);
      results[i].setSuspect(chunk.suspect);
      results[i].setWritten(chunk.written);
      results[i].setSerial(chunk.serial);
      if (order.getTruncate() != ALL_BYTES_VALID) chunk.truncated = order.getTruncate();
      store.leases.erase(order.getHandle());
    }
  }

  FakeStore& store;
  kj::Timer& timer;
};

}  // namespace cairn
