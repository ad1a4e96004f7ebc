// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/store_views.h"

#include "rpc/coroutine.h"

namespace cairn::cli {

namespace {

constexpr kj::Duration STORE_PATIENCE = 2 * kj::SECONDS;

std::string stateOf(rpc::ChunkReport::Reader report) {
  return report.getCorrupt()    ? "corrupt"
         : report.getSuspect()  ? "suspect"
         : report.getUnsynced() ? "unsynced"
                                : "synced";
}

}  // namespace

kj::Promise<void> StoreViews::look(capnp::List<rpc::ChunkDetail>::Reader chunks) {
  views.clear();
  std::map<std::string, std::vector<uint64_t>> wanted;
  for (auto chunk : chunks) {
    for (auto replica : chunk.getReplicas())
      wanted[replica.getAddress().cStr()].push_back(chunk.getChunk().getHandle());
  }
  auto asking = kj::heapArrayBuilder<kj::Promise<void>>(wanted.size());
  for (auto& [address, handles] : wanted) {
    asking.add(ask(address, handles).catch_([](kj::Exception&&) {}));  // then its views are missing
  }
  return kj::joinPromises(asking.finish());
}

Async<void> StoreViews::ask(std::string address, std::vector<uint64_t> handles) {
  auto& store = stores[address];
  if (store == nullptr) {
    store = std::make_unique<Peer<rpc::ChunkServer>>(environment, "store",
                                                     PeerAddress{kj::str(address), nullptr, nullptr});
  }
  auto answer =
      co_await store->call({"describe", STORE_PATIENCE}, [handles](rpc::ChunkServer::Client& server) {
        auto request = server.describeRequest();
        auto list = request.initChunks(static_cast<uint32_t>(handles.size()));
        for (uint32_t i = 0; i < handles.size(); ++i) list.set(i, handles[i]);
        return request.send();
      });
  for (auto report : answer.getChunks()) {
    views[{address, report.getHandle()}] = {report.getVersion(), report.getLength(), stateOf(report)};
  }
}

std::optional<StoreView> StoreViews::of(const std::string& address, uint64_t handle) const {
  auto found = views.find({address, handle});
  return found == views.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace cairn::cli
