// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a socket needs before messages go over it, and the wiring: see connection.h.
#include "rpc/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace cairn {

using capnp::rpc::twoparty::Side;
using capnp::rpc::twoparty::VatId;

namespace {

kj::Own<kj::AsyncIoStream> tuned(kj::Own<kj::AsyncIoStream> stream) {
  // We batch messages ourselves, the kernel must not wait for more. Refused by Unix sockets, which never
  // wait.
  KJ_IF_MAYBE (fd, stream->getFd()) {
    int yes = 1;
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  }
  return stream;
}

}  // namespace

Connection::Connection(kj::Own<kj::AsyncIoStream> streamParam, BufferPool& pool,
                       capnp::Capability::Client bootstrap)
    : stream(tuned(kj::mv(streamParam))),
      network(*stream, pool, Side::SERVER),
      system(capnp::makeRpcServer(network, kj::mv(bootstrap))) {}

Connection::Connection(kj::Own<kj::AsyncIoStream> streamParam, BufferPool& pool)
    : stream(tuned(kj::mv(streamParam))),
      network(*stream, pool, Side::CLIENT),
      system(capnp::makeRpcClient(network)) {}

capnp::Capability::Client Connection::bootstrap() {
  capnp::MallocMessageBuilder message(4);
  auto server = message.initRoot<VatId>();
  server.setSide(Side::SERVER);
  return system.bootstrap(server);
}

}  // namespace cairn
