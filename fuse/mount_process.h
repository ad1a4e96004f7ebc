// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The life of one mount, from the command line to the exit code: check, fork, connect, mount, serve, flush,
// unmount. INVARIANT: the caller sees success only when the directory is mounted and answers; a process that
// ends by itself leaves neither a mount nor unflushed data behind. Called by main.cc with the real client, by
// tests with one in memory.
#pragma once

#include <kj/async-io.h>
#include <kj/function.h>

#include "client/filesystem.h"
#include "env/log.h"
#include "fuse/mount_command.h"

namespace cairn::fuse {

using Connect = kj::Function<kj::Promise<kj::Own<Filesystem>>(kj::AsyncIoContext& io,
                                                              const MountCommand& command, env::Logger log)>;
// Throws, with a sentence for the user, when there is no file system at that address. What it returns lives
// until exit.

int runMount(int argc, const char* const* argv, Connect connect);  // what main() returns

}  // namespace cairn::fuse
