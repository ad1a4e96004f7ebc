// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See restore.h.
#include "metaserver/restore.h"

#include <kj/debug.h>
#include <kj/filesystem.h>

#include <algorithm>

#include "metaserver/identity.h"
#include "metaserver/log_segment.h"
#include "metaserver/namespace.h"

namespace cairn {

namespace {

constexpr uint64_t FLOOR_STEP = 1 << 20;  // what may be given out in a second
constexpr uint64_t FLOOR_LEAST = 1ull << 32;
// Above what the backup knows, should the clock stand in the past.
constexpr uint64_t STARTS_SINCE_BACKUP = 256;  // more: the stores say so, and it begins another epoch

[[noreturn]] void refuse(kj::String sentence) {
  kj::throwFatalException(KJ_EXCEPTION(FAILED, kj::mv(sentence)));
}

kj::Own<const kj::Directory> makeEmpty(const kj::Directory& root, const kj::Path& path, kj::StringPtr name) {
  KJ_IF_MAYBE (there, root.tryOpenSubdir(path)) {
    for (auto& entry : (*there)->listNames()) {
      if (entry == "lost+found") continue;
      refuse(kj::str(
          name, " is not empty (", entry,
          "): a backup is restored into an empty or new directory. Nothing was changed. Move away what "
          "is there: it may be of use still."));
    }
  }
  constexpr auto MODE = kj::WriteMode::CREATE | kj::WriteMode::MODIFY | kj::WriteMode::CREATE_PARENT;
  KJ_IF_MAYBE (made, root.tryOpenSubdir(path, MODE)) return kj::mv(*made);
  refuse(kj::str("cannot make the directory ", name, ". Nothing was changed."));
}

NamespaceState check(kj::StringPtr path, const BackupManifest& manifest) {
  NamespaceOptions options;
  options.path = path;
  options.access = NamespaceOptions::Access::READ;
  auto names = Namespace::open(options);
  names->verify();
  auto state = names->state();
  if (state.applied != manifest.operation || state.cluster != manifest.cluster) {
    refuse(kj::str("what was restored to ", path, " is of cluster ", state.cluster, " and operation ",
                   state.applied, ", the backup says ", manifest.cluster, " and ", manifest.operation,
                   ". Remove the directory, and take another backup."));
  }
  return state;
}

void writeLog(const kj::Directory& log, const NamespaceState& state, kj::Date now) {
  int64_t seconds = std::max(int64_t(0), int64_t((now - kj::UNIX_EPOCH) / kj::SECONDS));
  uint64_t known = std::max({state.nextInode.value(), state.nextHandle.value(), state.nextSession.value()});
  LoggedOperation operation;
  auto body = operation.body();
  auto index = state.applied.next();
  body.setIndex(index.value());
  body.setEpoch(state.epoch.value());
  body.setTime((now - kj::UNIX_EPOCH) / kj::NANOSECONDS);
  auto restored = body.initRestored();
  restored.setFloor(std::max(uint64_t(seconds) * FLOOR_STEP, known + FLOOR_LEAST));
  restored.setEpochs(STARTS_SINCE_BACKUP);

  SegmentHeader header;
  header.cluster = state.cluster;
  header.epoch = state.epoch;
  header.first = index;
  header.synced = state.applied;
  auto head = encode(header);
  auto record = kj::heapArray<kj::byte>(recordSize(operation));
  writeRecord(record, operation, index, state.applied);
  auto file = log.openFile(kj::Path(segmentName(index)), kj::WriteMode::CREATE);
  file->write(0, head);
  file->write(head.size(), record);
  file->sync();
}

}  // namespace

BackupManifest restoreBackup(kj::StringPtr backup, kj::StringPtr name, kj::Date now) {
  BackupReader reader(backup);
  auto& manifest = reader.manifest();
  reader.verify();

  auto filesystem = kj::newDiskFilesystem();
  auto path = filesystem->getCurrentPath().evalNative(name);
  auto directory = makeEmpty(filesystem->getRoot(), path, name);
  auto names = directory->openSubdir(kj::Path("names"), kj::WriteMode::CREATE);
  for (auto& file : manifest.files) {
    reader.copy(file, *names->openFile(kj::Path(kj::str(file.name.c_str())), kj::WriteMode::CREATE));
  }
  names->sync();
  auto state = check(kj::str(name, "/names"), manifest);
  auto log = directory->openSubdir(kj::Path("log"), kj::WriteMode::CREATE);
  writeLog(*log, state, now);
  log->sync();
  directory->sync();
  auto identity = directory->openFile(kj::Path("IDENTITY.new"), kj::WriteMode::CREATE);
  identity->writeAll(identityText(manifest.cluster));
  identity->sync();
  directory->transfer(kj::Path("IDENTITY"), kj::WriteMode::CREATE, kj::Path("IDENTITY.new"),
                      kj::TransferMode::MOVE);
  directory->sync();
  return manifest;
}

}  // namespace cairn
