// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One connection with everything that stands on it, in the order in which it must be torn down. Used by
// acceptor.cc (server side) and peer.cc (client side) only.
#pragma once

#include "rpc/vat_network.h"

namespace cairn {

struct Connection {
  kj::Own<kj::AsyncIoStream> stream;
  VatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> system;

  Connection(kj::Own<kj::AsyncIoStream> stream, BufferPool& pool, kj::Timer& timer,
             capnp::Capability::Client bootstrap);                                    // server
  Connection(kj::Own<kj::AsyncIoStream> stream, BufferPool& pool, kj::Timer& timer);  // client
  capnp::Capability::Client bootstrap();  // of the server, on the client side
};

}  // namespace cairn
