// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/log_recovery.h"

#include <kj/debug.h>

#include <algorithm>

#include "metaserver/damage.h"
#include "rpc/coroutine.h"

namespace cairn {

constexpr uint64_t OPERATIONS_PER_BATCH = 1000;  // of a replay: bounds the memory of one RocksDB batch

void refuseToStart(kj::String sentence) {
  kj::throwFatalException(KJ_EXCEPTION(FAILED, kj::mv(sentence)));
}

namespace {

void requireDone(kj::StringPtr what, kj::StringPtr path, int error) {
  if (error != 0) {
    refuseToStart(kj::str("cannot ", what, " ", path, ": ", env::describeError(error),
                          ". Nothing was lost. Repair that and start again."));
  }
}

void checkHeader(kj::StringPtr path, const SegmentHeader& header, LogIndex first, ClusterId cluster) {
  if (header.format != LOG_FORMAT) {
    refuseToStart(kj::str(
        "the operation log ", path, " has format ", header.format, ", this program knows ", LOG_FORMAT,
        ". Nothing was changed. Start the version of CairnFS that wrote it, or a newer one."));
  }
  if (header.first != first) {
    refuseToStart(kj::str("the operation log ", path, " begins with operation ", header.first,
                          ", its name says ", first,
                          ": it was renamed. Nothing was changed. Give it back its name."));
  }
  if (cluster && header.cluster != cluster) {
    refuseToStart(
        kj::str("the operation log ", path, " belongs to cluster ", header.cluster, ", not to ", cluster,
                ". Nothing was changed. Start the metaserver on the directory of its own cluster."));
  }
}

class Recovery {
  // One start. Segments are read one after the other, oldest first.
 public:
  Recovery(env::Disk& disk, kj::String directory, const Recovering& recovering, env::Logger& logger)
      : disk(disk),
        directory(kj::mv(directory)),
        names(recovering.names),
        synced(recovering.synced),
        logger(logger) {
    result.cluster = names.state().cluster;
    KJ_IF_MAYBE (wanted, recovering.expected) {
      if (result.cluster && result.cluster != *wanted) {
        refuseToStart(
            kj::str("the namespace store belongs to cluster ", result.cluster, ", not to ", *wanted,
                    ". Nothing was changed. Start the metaserver on the directory of its own cluster."));
      }
      result.cluster = *wanted;
    }
    wantedCluster = result.cluster;
  }

  Async<RecoveredLog> run() {
    auto files = co_await listSegments(disk, directory);
    kj::Vector<LogIndex> firsts;
    for (auto& name : files) firsts.add(KJ_REQUIRE_NONNULL(parseSegmentName(name)));
    LogIndex applied = names.state().applied;
    if (files.empty() && applied) {
      refuseToStart(
          kj::str("the namespace store has operations up to ", applied, ", but ", directory,
                  " holds no log: "
                  "what was done after them is missing. Nothing was changed. Put the log's files back. Or: ",
                  HOW_TO_RESTORE));
    }
    if (files.empty()) {
      requireSynced(names.state().applied);
      result.cluster = {};
      co_return kj::mv(result);
    }
    for (size_t i = 0; i < files.size(); ++i) {
      bool last = i + 1 == files.size();
      if (!last && firsts[i + 1].value() <= applied.value() + 1) {
        co_await drop(files[i], kj::str("the namespace has all of it"));
        continue;
      }
      LogIndex end = last ? LogIndex() : LogIndex(firsts[i + 1].value() - 1);
      co_await replay(files[i], firsts[i], end);
    }
    requireSynced(names.state().applied);
    co_await persistNames();
    co_return kj::mv(result);
  }

 private:
  env::Disk& disk;
  kj::String directory;
  Namespace& names;
  LogIndex synced;
  env::Logger& logger;
  ClusterId wantedCluster;
  RecoveredLog result;

  kj::String pathOf(kj::StringPtr name) { return kj::str(directory, '/', name); }

  void requireSynced(LogIndex found) {
    // Whole as the files are that are there.
    if (found >= synced || names.state().applied >= synced) return;
    refuseToStart(kj::str(
        "operations ", found.next(), " to ", synced, " were on stable storage, and the operation log in ",
        directory,
        " ends before them: its last file is missing, or was cut. Nothing is lost that is not in it, and "
        "nothing was changed. Put the file back. Or: ",
        HOW_TO_RESTORE));
  }

  Async<void> persistNames() {
    auto outcome = co_await disk.syncDirectory(directory);
    requireDone("sync", directory, outcome.error);
  }

  Async<void> drop(kj::StringPtr name, kj::String why) {
    auto path = pathOf(name);
    logger.info("log segment ", name, ": ", why, " -> remove it");
    auto outcome = co_await disk.remove(path);
    requireDone("remove", path, outcome.error);
  }

  Async<void> replay(kj::StringPtr name, LogIndex first, LogIndex end) {
    // `end`: the last operation it must have, because the next segment goes on after it. 0: it is the last
    // segment.
    auto path = pathOf(name);
    auto bytes = co_await loadFile(disk, kj::str(path));
    auto header = decodeHeader(bytes);
    if (header == nullptr) {
      auto scan = scanRecords(bytes, first);
      bool hadRecords = scan.records.size() > 0 || (first <= synced && names.state().applied < synced);
      if (end || hadRecords || scan.tail == SegmentScan::Tail::DAMAGED) refuseDamage(path, 0, first, end);
      co_await drop(name, kj::str("it was being made when the metaserver stopped"));
      co_return;
    }
    checkHeader(path, KJ_REQUIRE_NONNULL(header), first, wantedCluster);
    result.cluster = wantedCluster = KJ_REQUIRE_NONNULL(header).cluster;
    LogIndex applied = names.state().applied;
    if (first.value() > applied.value() + 1) {
      refuseToStart(kj::str("operations ", applied.value() + 1, " to ", first.value() - 1,
                            " are missing: the namespace store ends "
                            "before them and ",
                            path,
                            " begins after them. Nothing was changed. Put the missing log "
                            "files back. Or: ",
                            HOW_TO_RESTORE));
    }

    auto scan = scanRecords(bytes, first);
    LogIndex found(first.value() + scan.records.size() - 1);
    if (!end && scan.tail == SegmentScan::Tail::CLEAN) requireSynced(found);
    bool incomplete = end ? found != end : found < synced && names.state().applied < synced;
    if (scan.tail == SegmentScan::Tail::DAMAGED || incomplete) {
      refuseDamage(path, scan.validBytes, found.next(), end);
    }
    apply(scan);
    co_await finish(kj::str(path), scan, bytes.size(), found);
    result.segments.add(kj::str(name));
    result.firsts.add(first);
  }

  [[noreturn]] void refuseDamage(kj::StringPtr path, size_t offset, LogIndex lost, LogIndex end) {
    refuseToStart(kj::str("the operation log ", path, " is damaged at byte ", offset, ": operation ", lost,
                          " was on stable storage and cannot be read any more. Nothing was changed; what is "
                          "before it is not lost. "
                          "If you have a good copy of this file, put it back. Or: ",
                          HOW_TO_RESTORE));
  }

  void apply(const SegmentScan& scan) {
    uint64_t inBatch = 0;
    for (auto& record : scan.records) {
      if (record.index <= names.state().applied) continue;
      OperationReader reader(record.payload);
      names.apply(reader.operation());
      ++result.replayed;
      if (++inBatch % OPERATIONS_PER_BATCH == 0) names.commit();
    }
    if (inBatch > 0) names.commit();
  }

  Async<void> finish(kj::String path, const SegmentScan& scan, size_t size, LogIndex found) {
    // What was read counts from now on: it must not be lost to a power cut that comes next.
    auto opened = co_await disk.open(path, env::OpenMode::WRITE);
    requireDone("open", path, opened.error);
    auto file = kj::mv(KJ_REQUIRE_NONNULL(opened.file));
    if (scan.tail == SegmentScan::Tail::UNSYNCED) {
      logger.warning("log segment ", path, ": ", size - scan.validBytes, " bytes after operation ", found,
                     " were never known to be on stable storage and are not whole -> cut them off");
      auto cut = co_await file->truncate(scan.validBytes);
      requireDone("truncate", path, cut.error);
    }
    auto synced = co_await file->sync();
    requireDone("sync", path, synced.error);
  }
};

}  // namespace

Async<kj::Vector<kj::String>> listSegments(env::Disk& disk, kj::StringPtr directory) {
  auto listing = co_await disk.list(directory);
  requireDone("list", directory, listing.error);
  kj::Vector<kj::String> names;
  for (auto& name : listing.names) {
    if (parseSegmentName(name) != nullptr) names.add(kj::mv(name));
  }
  std::sort(names.begin(), names.end());
  co_return kj::mv(names);
}

Async<kj::Array<kj::byte>> loadFile(env::Disk& disk, kj::String path) {
  auto opened = co_await disk.open(path, env::OpenMode::READ);
  requireDone("open", path, opened.error);
  auto file = kj::mv(KJ_REQUIRE_NONNULL(opened.file));
  auto size = co_await file->size();
  requireDone("read", path, size.error);
  auto bytes = kj::heapArray<kj::byte>(size.bytes);
  auto outcome = co_await file->read(0, bytes);
  requireDone("read", path, outcome.error);
  if (outcome.bytes != bytes.size()) requireDone("read", path, EIO);
  co_return kj::mv(bytes);
}

Async<RecoveredLog> recoverLog(env::Disk& disk, kj::String directory, Recovering recovering,
                               env::Logger& logger) {
  Recovery recovery(disk, kj::mv(directory), recovering, logger);
  co_return co_await recovery.run();
}

}  // namespace cairn
