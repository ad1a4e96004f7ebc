// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See cluster_view.h.
#include "metaserver/cluster_view.h"

namespace cairn {

uint64_t ClusterView::standing(kj::TimePoint now) const {
  constexpr uint64_t MIX = 0x9e3779b97f4a7c15ull;
  uint64_t digest = safeMode.on();
  for (auto& [id, server] : servers.all()) {
    digest = (digest + id.value()) * MIX;
    digest = (digest + server.registration) * MIX;
    digest += uint64_t(server.state(now)) + (draining.count(id) > 0 ? 8 : 0);
  }
  return digest;
}

bool ClusterView::moreMayCome(kj::TimePoint now) const {
  if (safeMode.on()) return true;
  for (auto& [id, server] : servers.all()) {
    if (server.state(now) == ServerState::REPORTING && now - server.registered < REPORT_PATIENCE) return true;
  }
  return false;
}

Status ClusterView::noneLeft(ChunkHandle chunk, const ChunkRecord& record, kj::TimePoint now) const {
  if (moreMayCome(now)) return Status::NOT_READY;
  for (auto& replica : chunks.replicas(chunk)) {
    if (replica.version > record.version) return Status::NOT_READY;  // a restored record is about to follow
  }
  for (auto& [id, server] : servers.all()) {
    if (server.state(now) != ServerState::UP) return Status::NO_REPLICA;
  }
  return Status::IO_ERROR;
}

ClusterView::Nearness ClusterView::nearness(ServerId a, ServerId b) const {
  KJ_IF_MAYBE (one, servers.find(a)) {
    KJ_IF_MAYBE (two, servers.find(b)) {
      if (one->address.host.size() > 0 && one->address.host == two->address.host) return Nearness::SAME_HOST;
      if (one->rack.size() > 0 && one->rack == two->rack) return Nearness::SAME_RACK;
    }
  }
  return Nearness::ELSEWHERE;
}

}  // namespace cairn
