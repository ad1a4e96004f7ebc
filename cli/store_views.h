// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the stores themselves say of replicas. The metaserver knows lengths as of the last report; for `cairn
// info` each store is asked now. One that does not answer in time is left out.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "rpc/chunkd.capnp.h"
#include "rpc/coroutine.h"
#include "rpc/metaserver.capnp.h"
#include "rpc/peer.h"

namespace cairn::cli {

struct StoreView {
  uint64_t version = 0;
  uint32_t length = 0;
  std::string state;  // "synced", "unsynced", "suspect", "corrupt": the worst that holds
};

class StoreViews {
 public:
  explicit StoreViews(const PeerEnvironment& environment) : environment(environment) {}

  kj::Promise<void> look(capnp::List<rpc::ChunkDetail>::Reader chunks);  // forgets what it saw before
  std::optional<StoreView> of(const std::string& address, uint64_t handle) const;

 private:
  const PeerEnvironment& environment;
  std::map<std::string, std::unique_ptr<Peer<rpc::ChunkServer>>> stores;  // by address
  std::map<std::pair<std::string, uint64_t>, StoreView> views;

  Async<void> ask(std::string address, std::vector<uint64_t> handles);
};

}  // namespace cairn::cli
