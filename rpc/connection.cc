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

constexpr int UNIX_SEND_BUFFER = 2 << 20;
// Two payloads without waking the other side in between: 5 to 10 % less CPU per byte than with the default of
// 208 KiB. Beyond net.core.wmem_max only for root. TCP tunes itself.

constexpr uint64_t CALLS_IN_FLIGHT_MAX = 128 << 20;
// Bytes of calls a server has taken from one connection and not yet answered; then it stops reading that one.

kj::Own<kj::AsyncIoStream> tuned(kj::Own<kj::AsyncIoStream> stream) {
  KJ_IF_MAYBE (fd, stream->getFd()) {
    int domain = 0, yes = 1, size = UNIX_SEND_BUFFER;
    socklen_t length = sizeof(domain);
    getsockopt(*fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    if (domain == AF_UNIX) {
      if (setsockopt(*fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0) {
        setsockopt(*fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
      }
    } else {
      setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &yes,
                 sizeof(yes));  // we batch ourselves, the kernel must not wait
    }
  }
  return stream;
}

}  // namespace

Connection::Connection(kj::Own<kj::AsyncIoStream> streamParam, BufferPool& pool, kj::Timer& timer,
                       capnp::Capability::Client bootstrap)
    : stream(tuned(kj::mv(streamParam))),
      network(*stream, pool, timer, Side::SERVER),
      system(capnp::makeRpcServer(network, kj::mv(bootstrap))) {
  system.setFlowLimit(CALLS_IN_FLIGHT_MAX / sizeof(capnp::word));
}

Connection::Connection(kj::Own<kj::AsyncIoStream> streamParam, BufferPool& pool, kj::Timer& timer)
    : stream(tuned(kj::mv(streamParam))),
      network(*stream, pool, timer, Side::CLIENT),
      system(capnp::makeRpcClient(network)) {}

capnp::Capability::Client Connection::bootstrap() {
  capnp::MallocMessageBuilder message(4);
  auto server = message.initRoot<VatId>();
  server.setSide(Side::SERVER);
  return system.bootstrap(server);
}

}  // namespace cairn
