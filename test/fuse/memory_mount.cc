// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// cairn-fuse with a file system in memory behind it: the whole life of a mount process without a cluster, for
// process_test.cc and for test/fuse/bench. The metaserver address HOST:1 is one where nobody answers.
#include "fuse/mount_process.h"
#include "rpc/coroutine.h"
#include "test/fuse/memory_filesystem.h"

int main(int argc, char** argv) {
  using namespace cairn;
  using namespace cairn::fuse;
  return runMount(argc, argv,
                  [](kj::AsyncIoContext&, const MountCommand& command,
                     env::Logger log) -> kj::Promise<kj::Own<Filesystem>> {
                    if (command.metaserver.ends_with(":1")) return kj::NEVER_DONE;
                    if (command.metaserver.ends_with(":2")) return KJ_EXCEPTION(FAILED, "wrong cluster");
                    return kj::Own<Filesystem>(kj::heap<MemoryFilesystem>());
                  });
}
