// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A kj::Network whose connections wake their loop only when there is something to do. KJ watches each socket
// for reading and for writing at once, edge by edge; a Unix socket makes a writing edge each time its peer
// reads, so that every message sent woke the sender once for nothing. Here writing is watched only while a
// write waits for room, and a read that has emptied the socket is not followed by another to hear so.
// INVARIANT: an edge is waited for from before the read that finds the socket empty, so that none is missed.
// Made by the main of each program, around the network of its loop.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>

namespace cairn {

kj::Own<kj::Network> newSocketNetwork(kj::Network& inner, kj::UnixEventPort& events);
// `inner` makes and accepts the connections; both outlive the answer. Addresses as KJ knows them.

kj::Own<kj::AsyncIoStream> newSocketStream(kj::AutoCloseFd socket, kj::UnixEventPort& events);
// A connected stream socket, non-blocking. For tests, and for connections that came another way.

}  // namespace cairn
