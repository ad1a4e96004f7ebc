// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See inspect.h.
#include "metaserver/inspect.h"

#include <kj/async-io.h>

#include <filesystem>
#include <iostream>

#include "env/disk.h"
#include "env/entropy.h"
#include "metaserver/identity.h"
#include "metaserver/namespace.h"

namespace cairn {

int inspectDirectory(kj::StringPtr directory) {
  KJ_REQUIRE(std::filesystem::exists((directory.cStr() + std::string("/IDENTITY"))),
             kj::str(directory, " is no metaserver directory: it has no IDENTITY"));
  auto io = kj::setupAsyncIo();
  auto disk = env::newDisk(directory, io.unixEventPort, kj::systemPreciseMonotonicClock());
  env::SystemEntropy entropy;
  auto identity = claimDirectory(*disk, directory, entropy).wait(io.waitScope);
  std::cout << "directory " << directory.cStr() << "\nformat " << DIRECTORY_FORMAT << "\ncluster "
            << kj::str(identity.cluster).cStr() << "\n";
  auto path = kj::str(directory, "/names");
  NamespaceOptions options;
  options.path = path;
  auto names = Namespace::open(options);
  auto& state = names->state();
  std::cout << "epoch " << state.epoch.value() << "\napplied " << state.applied.value() << "\ninodes "
            << state.inodes << "\nchunks " << state.chunks << "\ngarbage " << state.garbage << "\norphans "
            << state.orphans << "\nnextHandle " << state.nextHandle.value() << "\n"
            << names->dump().cStr() << std::flush;
  return 0;
}

}  // namespace cairn
