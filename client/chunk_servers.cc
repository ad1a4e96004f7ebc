// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/chunk_servers.h"

namespace cairn::client {

void ChunkServers::learn(rpc::Replica::Reader replica) {
  ServerId id(replica.getServer());
  auto known = peers.find(id);
  if (known == peers.end()) {
    auto name = kj::str("chunkd-", id);
    peers.emplace(id, kj::heap<ChunkPeer>(environment, name, PeerAddress::from(replica.getAddress())));
    return;
  }
  auto& address = known->second->address();
  auto now = replica.getAddress();
  if (address.network == now.getNetwork() && address.local == now.getLocal()) return;
  known->second->setAddress(PeerAddress::from(now));
}

kj::Maybe<ChunkPeer&> ChunkServers::find(ServerId server) {
  auto known = peers.find(server);
  if (known == peers.end()) return nullptr;
  return *known->second;
}

void ChunkServers::failed(ServerId server) {
  suspected.insert_or_assign(server, environment.timer.now() + suspectTime);
}

void ChunkServers::answered(ServerId server) {
  if (!suspected.empty()) suspected.erase(server);
}

bool ChunkServers::isSuspect(ServerId server) const {
  auto suspect = suspected.find(server);
  return suspect != suspected.end() && suspect->second > environment.timer.now();
}

std::vector<ServerId> ChunkServers::suspects() {
  std::erase_if(suspected, [&](auto& suspect) { return suspect.second <= environment.timer.now(); });
  std::vector<ServerId> servers;
  for (auto& [server, until] : suspected) {
    if (servers.size() < SUSPECTS_MAX) servers.push_back(server);
  }
  return servers;
}

}  // namespace cairn::client
