// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// recordAppend (GFS paper, section 3.3): the primary of the last chunk picks the offset; when the chunk is
// full the record goes to the next one. At least once: a retry may leave the record twice. Called by
// open_file.cc.
#pragma once

#include "client/writer.h"
#include "rpc/coroutine.h"

namespace cairn::client {

class Appender {
 public:
  Appender(kj::Timer& timer, kj::EntropySource& entropy, const Timing& timing, env::Logger log,
           Locator& locator, ChunkServers& servers)
      : timer(timer),
        entropy(entropy),
        timing(timing),
        log(kj::mv(log)),
        locator(locator),
        servers(servers) {}
  KJ_DISALLOW_COPY(Appender);

  struct Appended {
    uint64_t offset = 0;  // in the file
    ChunkIndex index;
    DirtyChunk chunk;
  };
  Async<Result<Appended>> append(InodeId inode, ChunkIndex last, kj::Own<BufferMemory> record, uint32_t size);

 private:
  kj::Timer& timer;
  kj::EntropySource& entropy;
  const Timing& timing;
  env::Logger log;
  Locator& locator;
  ChunkServers& servers;
};

}  // namespace cairn::client
