// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The chunk daemons of a FakeCluster. Made by fake_cluster.cc.
#pragma once

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "test/client/fake_cluster.h"

namespace cairn::client {

class FakeChunkServer final : public rpc::ChunkServer::Server {
 public:
  FakeChunkServer(FakeCluster& cluster, FakeStore& store) : cluster(cluster), store(store) {}

  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId,
                                  RefusedCalls::Context context) override {
    auto refusal = cluster.storesRefuse.refuses<rpc::ChunkServer>(interfaceId, methodId, context);
    KJ_IF_MAYBE (refused, refusal) return {kj::mv(*refused), false};
    return rpc::ChunkServer::Server::dispatchCall(interfaceId, methodId, context);
  }

 protected:
  kj::Promise<void> write(WriteContext context) override { return writing(context); }

  Async<void> writing(WriteContext context) {
    auto params = context.getParams();
    auto results = context.getResults();
    store.writesInFlightMax = std::max(store.writesInFlightMax, ++store.writesInFlight);
    co_await cluster.time.timer().afterDelay(1 * kj::MILLISECONDS);
    --store.writesInFlight;
    if (!ok(store.refuseWrites)) {
      results.setStatus(store.refuseWrites);
      co_return;
    }
    auto status = check(params);
    if (!ok(status)) {
      results.setStatus(status);
      co_return;
    }
    ++store.writes;
    std::vector<uint32_t> applied, failed;
    kj::Vector<kj::String> words;
    size_t at = 0;
    for (auto extent : params.getExtents()) {
      auto data = params.getData().slice(at, at + extent.getSize());
      std::tie(applied, failed) = applyEverywhere(params.getChunk(), extent.getOffset(), data);
      words.add(kj::str(extent.getOffset(), "+", extent.getSize()));
      at += extent.getSize();
    }
    store.log.push_back(kj::strArray(words, " ").cStr());
    report(results, applied, failed);
  }

  kj::Promise<void> append(AppendContext context) override {
    auto params = context.getParams();
    auto results = context.getResults();
    auto chunk = params.getChunk();
    auto status = checkLease(chunk);
    if (ok(status) && env::crc32c(params.getData()) != params.getChecksum()) status = Status::BAD_CHECKSUM;
    if (!ok(status)) {
      results.setStatus(status);
      return kj::READY_NOW;
    }
    uint32_t offset = store.chunks.at(chunk.getHandle()).bytes.size();
    if (offset + params.getData().size() > store.appendLimit) {
      results.setStatus(Status::CHUNK_FULL);
      return kj::READY_NOW;
    }
    auto [applied, failed] = applyEverywhere(chunk, offset, params.getData());
    results.setOffset(offset);
    report(results, applied, failed);
    return kj::READY_NOW;
  }

  kj::Promise<void> read(ReadContext context) override {
    auto params = context.getParams();
    auto results = context.getResults();
    ++store.reads;
    auto replica = store.chunks.find(params.getChunk().getHandle());
    KJ_REQUIRE(params.getOffset() % BLOCK_SIZE == 0 && params.getSize() % BLOCK_SIZE == 0);
    KJ_REQUIRE(params.getSize() <= TRANSFER_SIZE_MAX);
    if (replica == store.chunks.end() || replica->second.version != params.getChunk().getVersion()) {
      results.setStatus(replica == store.chunks.end() ? Status::NO_REPLICA : Status::STALE_VERSION);
      return kj::READY_NOW;
    }
    auto& all = replica->second.bytes;
    size_t from = std::min<size_t>(params.getOffset(), all.size());
    size_t to = std::min<size_t>(from + params.getSize(), all.size());
    auto data = results.initData(to - from);
    if (to > from) memcpy(data.begin(), all.data() + from, to - from);
    auto sums = env::checksumBlocks(data);
    results.setChecksums(sums);
    if (store.isCorrupt && data.size() > 0) data[data.size() / 2] ^= 1;
    return kj::READY_NOW;
  }

  kj::Promise<void> sync(SyncContext context) override {
    auto params = context.getParams();
    auto results = context.getResults();
    ++store.syncs;
    Status status = store.refuseSyncs;
    for (auto chunk : params.getChunks()) {
      auto replica = store.chunks.find(chunk.getHandle());
      if (!ok(status)) break;
      if (replica == store.chunks.end()) {
        status = Status::NO_REPLICA;
      } else if (replica->second.version != chunk.getVersion()) {
        status = Status::STALE_VERSION;
      }
    }
    if (params.getBoot() != 0 && params.getBoot() != store.boot) status = Status::REBOOTED;
    results.setStatus(status);
    if (ok(status)) return kj::READY_NOW;
    auto failed = results.initFailed(params.getChunks().size());
    for (unsigned i = 0; i < failed.size(); ++i) failed.set(i, params.getChunks()[i].getHandle());
    return kj::READY_NOW;
  }

  kj::Promise<void> checksums(ChecksumsContext context) override {
    auto results = context.getResults();
    auto& bytes = store.chunks.at(context.getParams().getChunk().getHandle()).bytes;
    auto sums = env::checksumBlocks(kj::arrayPtr(bytes.data(), bytes.size()));
    results.setLength(uint32_t(bytes.size()));
    results.setChecksums(sums.asBytes());
    return kj::READY_NOW;
  }
  kj::Promise<void> describe(DescribeContext) override { return kj::READY_NOW; }

 private:
  FakeCluster& cluster;
  FakeStore& store;

  FakeFile::Chunk* record(uint64_t handle) {
    for (auto& [inode, file] : cluster.files) {
      for (auto& [index, chunk] : file.chunks) {
        if (chunk.handle == handle) return &chunk;
      }
    }
    return nullptr;
  }
  Status checkLease(rpc::ChunkId::Reader id) {
    auto chunk = record(id.getHandle());
    if (chunk == nullptr) return Status::NO_REPLICA;
    if (chunk->version != id.getVersion()) return Status::STALE_VERSION;
    return chunk->primary == store.id ? Status::OK : Status::NOT_PRIMARY;
  }
  Status check(rpc::ChunkServer::WriteParams::Reader params) {
    auto lease = checkLease(params.getChunk());
    if (!ok(lease)) return lease;
    auto data = params.getData();
    auto sums = params.getChecksums();
    auto extents = params.getExtents();
    if (extents.size() == 0 || extents.size() > WRITE_EXTENTS_MAX || data.size() > TRANSFER_SIZE_MAX) {
      return Status::INVALID;
    }
    size_t at = 0, piece = 0;
    for (auto extent : extents) {
      uint64_t offset = extent.getOffset(), end = offset + extent.getSize();
      if (offset == end || end > CHUNK_SIZE || at + extent.getSize() > data.size()) return Status::INVALID;
      for (; offset < end; ++piece) {
        auto size = std::min<uint64_t>(end - offset, BLOCK_SIZE - offset % BLOCK_SIZE);
        if (piece >= sums.size() || env::crc32c(data.slice(at, at + size)) != sums[piece]) {
          return Status::BAD_CHECKSUM;
        }
        at += size;
        offset += size;
      }
    }
    return at == data.size() && piece == sums.size() ? Status::OK : Status::INVALID;
  }
  std::pair<std::vector<uint32_t>, std::vector<uint32_t>> applyEverywhere(rpc::ChunkId::Reader id,
                                                                          uint32_t offset,
                                                                          capnp::Data::Reader data) {
    std::vector<uint32_t> applied, failed;
    for (auto server : record(id.getHandle())->replicas) {
      auto& other = cluster.stores.at(server);
      if (!other.isUp()) {
        failed.push_back(server);
        continue;
      }
      auto& replica = other.chunks.at(id.getHandle()).bytes;
      if (replica.size() < offset + data.size()) replica.resize(offset + data.size());
      memcpy(replica.data() + offset, data.begin(), data.size());
      applied.push_back(server);
    }
    return {applied, failed};
  }
  template <typename Results>
  void report(Results& results, const std::vector<uint32_t>& applied, const std::vector<uint32_t>& failed) {
    results.setStatus(failed.empty() ? Status::OK : Status::REPLICA_FAILED);
    auto list = results.initApplied(applied.size());
    for (unsigned i = 0; i < applied.size(); ++i) {
      list[i].setServer(applied[i]);
      list[i].setBoot(cluster.stores.at(applied[i]).boot);
    }
    auto bad = results.initFailed(failed.size());
    for (unsigned i = 0; i < failed.size(); ++i) bad.set(i, failed[i]);
  }
};

}  // namespace cairn::client
