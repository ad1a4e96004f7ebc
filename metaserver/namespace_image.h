// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A copy of the namespace store as of one operation, for a backup: in a directory beside the store, with
// which it shares its files, so that it costs no copy. Every block of it has been compared with its checksum:
// a backup of damage would be worth nothing. Goes with the object; what a crash has left goes at the next
// start. Blocking work is done by the worker. Made by archive.cc.
#pragma once

#include <kj/async.h>

#include <memory>
#include <string>
#include <vector>

#include "env/worker.h"
#include "metaserver/namespace.h"
#include "rpc/coroutine.h"

namespace rocksdb {
class RandomAccessFile;
}

namespace cairn {

class NamespaceImage {
 public:
  static Async<kj::Own<NamespaceImage>> take(const Namespace& names, rocksdb::Env& env, kj::String directory,
                                             env::Worker& worker);
  // Throws. `names`, `env` and `worker` outlive the image.

  NamespaceImage(rocksdb::Env& env, kj::String directory, env::Worker& worker);  // use take()
  ~NamespaceImage() noexcept(false);
  KJ_DISALLOW_COPY(NamespaceImage);

  const NamespaceState& state() const { return content; }
  struct File {
    std::string name;
    uint64_t size = 0;
  };
  const std::vector<File>& files() const { return list; }
  Async<kj::Array<kj::byte>> read(size_t file, uint64_t offset, size_t size);
  // Fewer bytes only where the file ends. Throws. The image outlives the promise.

  static void removeLeftover(rocksdb::Env& env, kj::StringPtr directory);

 private:
  rocksdb::Env& env;
  kj::String directory;
  env::Worker& worker;
  NamespaceState content;
  std::vector<File> list;

  void make(const Namespace& names);
};

}  // namespace cairn
