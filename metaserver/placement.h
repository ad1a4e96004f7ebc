// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Placement: which stores get the replicas of a new chunk (GFS paper, section 4.2). In this order of weight:
// room beyond the reserve (a must), different hosts, different racks, few recent creations (a new chunk means
// writes soon, and an empty store that just joined must not get them all), below-average use, then chance.
// The first one is the natural primary: the writer's own host when it has a store that qualifies as well.
// Pure and deterministic: `random` comes from the caller. Called by chunk_grants.cc.
#pragma once

#include <kj/vector.h>

#include "rpc/units.h"

namespace cairn {

struct PlacementCandidate {
  ServerId server;
  kj::StringPtr host;
  kj::StringPtr rack;
  uint64_t bytesTotal = 0;
  uint64_t bytesFree = 0;
  uint32_t recentCreations = 0;
};

struct PlacementRequest {
  uint32_t count = 0;
  kj::StringPtr writer;  // machine of the client, empty if unknown
  uint64_t random = 0;
};

bool hasRoom(uint64_t bytesTotal, uint64_t bytesFree);
// Beyond the reserve of min(5 %, 1 GiB), which is left for the growth of chunks already there.

kj::Vector<ServerId> place(const PlacementRequest& request,
                           kj::ArrayPtr<const PlacementCandidate> candidates);
// At most `count` different servers, fewer when there are not as many with room. Never an error: the caller
// knows its minimum.

}  // namespace cairn
