// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Who this machine is: the identity that Address.host carries (same text, same machine), the identity of its
// boot (what was not on stable storage does not survive a new one), and the names of local sockets. Read by
// main() of each program and passed on from there.
#pragma once

#include <kj/string.h>

#include <cstdint>

namespace cairn::env {

kj::String machineIdentity();
// "HOSTNAME/BOOT-ID". Network namespaces of one machine have the same: an abstract socket of another
// namespace is not reached, callers then fall back to the network.

uint64_t bootIdentity();
// A hash of the kernel's boot id; never 0.

kj::String localAddress(kj::StringPtr daemon, uint16_t port);
// "unix-abstract:cairn-DAEMON-PORT": where a daemon that listens on a TCP port of this network namespace also
// listens.

}  // namespace cairn::env
