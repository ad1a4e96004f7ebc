// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What an operator asks of the metaserver's own storage: a checkpoint, and images for backups. Nobody waits
// for it but who asks: flushes, checks and copies are done by the worker. Made by meta_server.cc, called by
// archive_handlers.cc and main.cc.
#pragma once

#include "env/log.h"
#include "metaserver/local_log.h"
#include "metaserver/namespace_image.h"
#include "rpc/backup_directory.h"
#include "rpc/coroutine.h"

namespace cairn {

class Archive {
 public:
  Archive(const Namespace& names, LocalLog& log, rocksdb::Env& env, kj::StringPtr directory,
          env::Worker& worker, env::Logger logger);
  // Removes what a crash has left of an image in the metaserver's directory.

  struct Checkpoint {
    Status status = Status::OK;
    LogIndex operation;     // the last one that needs no log any more
    uint32_t segments = 0;  // of the log, that are left beside the current one
  };
  Async<Checkpoint> checkpoint();
  // Everything until now is in the namespace store, on stable storage, and the log that was needed for it is
  // gone: a start replays only what comes after. IO_ERROR: the log is broken.

  Async<Result<kj::Own<NamespaceImage>>> image();
  // As of some operation from now on. BUSY: there is one. Throws when it cannot be made, or is damaged.

  Async<BackupManifest> backup(BackupWriter& into);
  // A whole backup, written here, for a metaserver that serves nobody. Throws.

 private:
  class Taken;
  const Namespace& names;
  LocalLog& operations;
  rocksdb::Env& env;
  kj::String directory;
  env::Worker& worker;
  env::Logger log;
  enum class Image { NONE, TAKEN };
  Image state = Image::NONE;
};

BackupManifest manifestOf(const NamespaceState& state, int64_t taken);  // without its files

}  // namespace cairn
