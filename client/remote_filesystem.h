// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A Filesystem (client/filesystem.h) whose other side is a metaserver and chunk daemons. connectFilesystem()
// is the door: fuse and cli call it with what main() made, tests and the simulator with their own.
#pragma once

#include "client/attempt.h"
#include "client/filesystem.h"
#include "client/write_buffer.h"
#include "env/log.h"
#include "rpc/buffer_pool.h"
#include "rpc/coroutine.h"

namespace cairn {

struct FilesystemOptions {
  // What they refer to outlives the filesystem.
  kj::Timer& timer;
  const kj::Clock& clock;
  kj::Network& network;
  kj::EntropySource& entropy;
  BufferPool& pool;
  env::Logger log;
  kj::Array<kj::String> metaservers;  // HOST:PORT, at least one
  kj::String name;                    // for people: host name, mount point, pid
  kj::String host;                    // identity of this machine, as in rpc::Address.host; may be empty
  size_t bufferBytesMax = 64 << 20;   // of write-behind, all files together
  client::Timing timing = {};         // timing.patience: how long a call may take before it fails
  client::WriteBuffer::Limits limits = {};
};

Async<kj::Own<Filesystem>> connectFilesystem(FilesystemOptions options);
// Resolves when the session is open. Throws with a sentence for the user when the metaserver refuses (another
// cluster or protocol version) or cannot be reached for `patience`.

}  // namespace cairn
