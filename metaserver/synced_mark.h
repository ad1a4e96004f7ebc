// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How far the operation log was on stable storage, noted where it costs no system call: in the mapped file
// log/SYNCED. A record tells it only of those before it; with this note the very last ones are told from a
// torn tail as well, whatever the process died of. It is written after the sync that it speaks of, so it is
// true whenever it is found, old as it may be; a power cut may take it back.
//
//   file = slot{2}                                              the valid one with the higher count counts
//   slot = "cairnsyn" count:u64 cluster:u64[2] synced:u64 crc:u32      crc32c of what is before it; 64 bytes
//   each
//
// Written to in turns, so that a process that dies in the middle of it leaves the other one. Used by
// local_log.cc.
#pragma once

#include "env/disk.h"
#include "rpc/units.h"

namespace cairn {

class SyncedMark {
 public:
  SyncedMark(env::Disk& disk, kj::StringPtr directory);
  // Where the file cannot be made or mapped there is no mark: error() says why.

  int error() const { return problem; }
  LogIndex read(ClusterId cluster);  // 0: there is none, or it is another cluster's
  void write(ClusterId cluster, LogIndex synced);

 private:
  kj::Maybe<kj::Own<env::DiskMapping>> mapping;
  int problem = 0;
  uint64_t count = 0;
  kj::ArrayPtr<kj::byte> slot(size_t number);
};

}  // namespace cairn
