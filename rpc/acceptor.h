// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The port of a daemon: accepts connections on any number of addresses and answers hello on each. Only a
// caller of the same protocol version and cluster gets the daemon's service; nothing else can be reached.
// INVARIANT: a connection that does not say hello within `helloDeadline`, or talks garbage, disturbs no
// other.
#pragma once

#include <capnp/capability.h>
#include <kj/async-io.h>
#include <kj/function.h>
#include <kj/timer.h>

#include "env/log.h"
#include "rpc/units.h"

namespace cairn {

class BufferPool;

struct ConnectionInfo {
  uint64_t id = 0;                 // unique within its Acceptor
  kj::String caller;               // who says it is calling, for logs
  kj::Promise<void> onDisconnect;  // resolves once the connection is gone, for whatever reason
};

struct AcceptorOptions {
  // What they refer to outlives the acceptor.
  kj::Timer& timer;
  kj::Network& network;
  BufferPool& pool;
  kj::StringPtr name;  // of the daemon, for refusals: "metaserver"
  const ClusterId&
      cluster;  // read at each hello; all zero: we do not belong to a cluster yet, callers are told notReady
  const Epoch& epoch;  // told in each answer to hello
  kj::Duration helloDeadline = 10 * kj::SECONDS;
  env::Logger log = env::Logger::silent();
};

class Acceptor {
 public:
  using ServiceFactory = kj::Function<capnp::Capability::Client(ConnectionInfo)>;
  // Called once per connection, at its first accepted hello. The service is released when the connection
  // goes.

  Acceptor(const AcceptorOptions& options, ServiceFactory factory);
  ~Acceptor() noexcept(false);  // closes all connections
  KJ_DISALLOW_COPY(Acceptor);

  kj::Promise<uint16_t> listen(kj::StringPtr address);
  // A KJ address: HOST:PORT (port 0: any free one), *:PORT, unix:PATH, unix-abstract:NAME. Returns the port
  // once it listens (0 for Unix sockets); fails when the address is in use. May be called for several
  // addresses.

  void accept(kj::Own<kj::AsyncIoStream> connection);
  // Serves a connection that came another way.

  void stop();  // listening; connections stay
  size_t connectionCount() const;

 private:
  class Body;
  kj::Own<Body> body;
};

}  // namespace cairn
