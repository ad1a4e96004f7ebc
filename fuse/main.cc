// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// cairn-fuse, mount.cairn, mount.fuse.cairn: mounts a CairnFS file system. Makes what the client library asks
// for and hands it to mount_process.cc; everything else is there.
#include <kj/compat/http.h>
#include <unistd.h>

#include <memory>

#include "client/remote_filesystem.h"
#include "env/entropy.h"
#include "env/machine.h"
#include "fuse/mount_process.h"
#include "rpc/socket_network.h"

namespace cairn::fuse {

namespace {

struct World {
  // What the client library refers to for as long as it lives.
  env::SystemEntropy entropy;
  cairn::BufferPool pool;
  kj::Own<kj::Network> network;
};

kj::String nameForPeople(const MountCommand& command) {
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  return kj::str(host, ":", command.mountPoint.c_str(), " (pid ", getpid(), ")");
}

}  // namespace

}  // namespace cairn::fuse

int main(int argc, char** argv) {
  using namespace cairn;
  using namespace cairn::fuse;
  std::unique_ptr<World> world;  // made after the forks
  return runMount(argc, argv, [&world](kj::AsyncIoContext& io, const MountCommand& command, env::Logger log) {
    world = std::make_unique<World>();
    world->network = newSocketNetwork(io.provider->getNetwork(), io.unixEventPort);
    return connectFilesystem({.timer = io.provider->getTimer(),
                              .clock = kj::systemPreciseCalendarClock(),
                              .network = *world->network,
                              .entropy = world->entropy,
                              .pool = world->pool,
                              .log = kj::mv(log),
                              .metaservers = kj::arr(kj::str(command.metaserver.c_str())),
                              .name = nameForPeople(command),
                              .host = env::machineIdentity()});
  });
}
