// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See placement.h.
#include "metaserver/placement.h"

#include <algorithm>
#include <tuple>

namespace cairn {

namespace {

constexpr uint64_t RESERVE_MAX = 1ull << 30;
constexpr uint32_t RESERVE_DIVISOR = 20;    // 5 %
constexpr uint32_t CREATIONS_PER_STEP = 8;  // that many in a minute weigh as much as being above average

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

double useOf(const PlacementCandidate& candidate) {
  if (candidate.bytesTotal == 0) return 1;
  return 1 - double(std::min(candidate.bytesFree, candidate.bytesTotal)) / double(candidate.bytesTotal);
}

}  // namespace

bool hasRoom(uint64_t bytesTotal, uint64_t bytesFree) {
  return bytesFree > std::min(RESERVE_MAX, bytesTotal / RESERVE_DIVISOR);
}

kj::Vector<ServerId> place(const PlacementRequest& request,
                           kj::ArrayPtr<const PlacementCandidate> candidates) {
  kj::Vector<const PlacementCandidate*> eligible;
  double use = 0;
  for (auto& candidate : candidates) {
    if (!hasRoom(candidate.bytesTotal, candidate.bytesFree)) continue;
    eligible.add(&candidate);
    use += useOf(candidate);
  }
  double average = eligible.size() == 0 ? 0 : use / double(eligible.size());

  kj::Vector<ServerId> chosen;
  kj::Vector<const PlacementCandidate*> taken;
  while (chosen.size() < request.count && taken.size() < eligible.size()) {
    auto cost = [&](const PlacementCandidate& candidate) {
      uint32_t sameHost = 0, sameRack = 0;
      for (auto other : taken) {
        sameHost += other->host == candidate.host;
        sameRack += other->rack == candidate.rack;
      }
      // A hair above the average is not "above": equal stores must share the load by chance, not by rounding.
      uint32_t burden = candidate.recentCreations / CREATIONS_PER_STEP + (useOf(candidate) > average + 0.02);
      bool far = chosen.size() == 0 && (request.writer.size() == 0 || candidate.host != request.writer);
      return std::make_tuple(sameHost, sameRack, burden, far,
                             mix(request.random ^ mix(candidate.server.value())));
    };
    const PlacementCandidate* best = nullptr;
    for (auto candidate : eligible) {
      if (std::find(taken.begin(), taken.end(), candidate) != taken.end()) continue;
      if (best == nullptr || cost(*candidate) < cost(*best)) best = candidate;
    }
    taken.add(best);
    chosen.add(best->server);
  }
  return chosen;
}

}  // namespace cairn
