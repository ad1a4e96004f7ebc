// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See archive.h.
#include "metaserver/archive.h"

#include <kj/debug.h>

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::StringPtr IMAGE = "/image"_kj;  // within the metaserver's directory

}  // namespace

class Archive::Taken {
  // One image at a time: it keeps files that the store has done with.
 public:
  explicit Taken(Image& state) : state(state) { state = Image::TAKEN; }
  ~Taken() { state = Image::NONE; }
  KJ_DISALLOW_COPY(Taken);

 private:
  Image& state;
};

Archive::Archive(const Namespace& names, LocalLog& log, rocksdb::Env& env, kj::StringPtr directory,
                 env::Worker& worker, env::Logger logger)
    : names(names),
      operations(log),
      env(env),
      directory(kj::str(directory, IMAGE)),
      worker(worker),
      log(kj::mv(logger)) {
  NamespaceImage::removeLeftover(env, this->directory);
}

Async<Archive::Checkpoint> Archive::checkpoint() {
  Checkpoint result;
  result.status = co_await operations.cut();
  if (!ok(result.status)) co_return result;
  co_await worker.run([this]() { names.flush(); });
  result.segments = co_await operations.dropPersisted();
  result.operation = names.persisted();
  log.info("an operator wants a checkpoint -> the namespace store has all operations up to ",
           result.operation, " on disk, ", result.segments, " older log segments are left");
  co_return result;
}

Async<Result<kj::Own<NamespaceImage>>> Archive::image() {
  if (state == Image::TAKEN) co_return Status::BUSY;
  auto taken = kj::heap<Taken>(state);
  auto image = co_await NamespaceImage::take(names, env, kj::str(directory), worker);
  log.info("an image of the namespace as of operation ", image->state().applied, ", ", image->files().size(),
           " files, each block compared with its checksum -> it may be copied");
  co_return image.attach(kj::mv(taken));
}

Async<BackupManifest> Archive::backup(BackupWriter& into) {
  auto taken = co_await image();
  KJ_REQUIRE(taken.ok(), "another backup is under way");
  auto& image = **taken;
  for (size_t i = 0; i < image.files().size(); ++i) {
    auto& file = image.files()[i];
    into.begin(file.name.c_str());
    for (uint64_t at = 0; at < file.size; at += BACKUP_PIECE_SIZE) {
      into.append(co_await image.read(i, at, BACKUP_PIECE_SIZE));
    }
  }
  auto manifest = manifestOf(image.state(), operations.now());
  into.finish(manifest);
  co_return kj::mv(manifest);
}

BackupManifest manifestOf(const NamespaceState& state, int64_t taken) {
  return BackupManifest{state.cluster, state.applied, state.epoch, state.inodes, state.chunks, taken, {}};
}

}  // namespace cairn
