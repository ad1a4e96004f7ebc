// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The chunk daemons this client has heard of: server id -> peer, and which of them have failed us just now.
// Addresses come with locations. Called by locator.cc, reader.cc, writer.cc, chunk_sync.cc and appender.cc.
#pragma once

#include <kj/timer.h>

#include <map>
#include <vector>

#include "rpc/chunkd.capnp.h"
#include "rpc/peer.h"
#include "rpc/units.h"

namespace cairn::client {

constexpr size_t SUSPECTS_MAX = 16;  // of Session.locate

using ChunkPeer = Peer<rpc::ChunkServer>;

class ChunkServers {
 public:
  ChunkServers(const PeerEnvironment& environment, kj::Duration suspectTime)
      : environment(environment), suspectTime(suspectTime) {}

  void learn(rpc::Replica::Reader replica);
  kj::Maybe<ChunkPeer&> find(ServerId server);  // valid for as long as this object

  void failed(ServerId server);    // it refused, broke or did not answer
  void answered(ServerId server);  // it works
  bool isSuspect(ServerId server) const;
  std::vector<ServerId> suspects();

 private:
  const PeerEnvironment& environment;
  const kj::Duration suspectTime;
  std::map<ServerId, kj::Own<ChunkPeer>> peers;
  std::map<ServerId, kj::TimePoint> suspected;
};

}  // namespace cairn::client
