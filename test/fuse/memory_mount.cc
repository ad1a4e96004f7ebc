// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// cairn-fuse with a file system in memory behind it: the whole life of a mount process without a cluster, for
// process_test.cc and for test/fuse/bench. The metaserver address HOST:1 is one where nobody answers, HOST:2
// one that refuses; behind HOST:3 no write is ever answered, behind HOST:4 the flush at the end is not.
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
                    auto memory = kj::heap<MemoryFilesystem>();
                    kj::StringPtr stuck = command.metaserver.ends_with(":3")   ? "write"
                                          : command.metaserver.ends_with(":4") ? "shutdown"
                                                                               : "";
                    if (stuck != "") {
                      memory->before = [stuck](kj::StringPtr operation, InodeId) -> kj::Promise<void> {
                        if (operation == stuck) return kj::NEVER_DONE;
                        return kj::READY_NOW;
                      };
                    }
                    return kj::Own<Filesystem>(kj::mv(memory));
                  });
}
