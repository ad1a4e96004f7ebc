// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See stepped_snapshot.h.
#include "metaserver/stepped_snapshot.h"

#include <algorithm>

#include "env/turn.h"
#include "metaserver/staging_ahead.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration QUIET_PATIENCE = 2 * kj::SECONDS;   // for a mount, while nobody begins to write
constexpr kj::Duration CLOSE_PATIENCE = 5 * kj::SECONDS;   // for changes under way
constexpr kj::Duration STILL_PATIENCE = 10 * kj::SECONDS;  // for stores, if some fail meanwhile
constexpr kj::Duration STILL_PAUSE = 200 * kj::MILLISECONDS;

}  // namespace

SteppedSnapshot::SteppedSnapshot(MetaService& service, Wanted wanted)
    : service(service), wanted(kj::mv(wanted)) {}

kj::Own<SteppedSnapshot> SteppedSnapshot::begin(MetaService& service, Wanted wanted) {
  auto snapshot = kj::refcounted<SteppedSnapshot>(service, kj::mv(wanted));
  service.stagings.begunSteps();
  kj::Promise<void> running = snapshot->run();
  service.stagings.carryOut(running.attach(kj::addRef(*snapshot)));
  return snapshot;
}

Async<void> SteppedSnapshot::run() {
  try {
    outcome = co_await take();
  } catch (const kj::Exception& exception) {
    // The log has broken over one of its operations, or it is a bug: the caller is told as it is.
    problem = kj::cp(exception);
    service.log.error("a snapshot in steps ended: ", exception);
  }
  over = true;
  service.stagings.endedSteps();
  ending.fulfiller->fulfill();
}

Status SteppedSnapshot::lookAtPlace() const {
  // Nobody is disturbed for one that will be refused.
  auto named = service.names.lookup(wanted.directory, wanted.name);
  if (named.ok()) return Status::EXISTS;
  if (named.status() != Status::NOT_FOUND) return named.status();
  return service.names.isBelow(wanted.directory, wanted.original) ? Status::LOOP : Status::OK;
}

void SteppedSnapshot::tell(SnapshotSteps::Phase phase) {
  service.stagings.stepped({phase, copied});
}

Async<Status> SteppedSnapshot::take() {
  auto busy = [&](kj::StringPtr what) {
    service.log.warning("a snapshot of the tree below inode ", wanted.original, " cannot begin: ", what,
                        " -> refused");
    return Status::BUSY;
  };
  auto status = lookAtPlace();
  if (ok(status)) status = co_await service.leases.endWriting(nullptr);
  if (status == Status::BUSY) co_return busy("files are opened for writing faster than they are given back");
  if (!ok(status) || !isWanted) co_return status;
  auto pause = service.leases.pauseWriting();
  status = co_await service.leases.endWriting(QUIET_PATIENCE);
  if (!ok(status)) co_return busy("a mount does not give back the files it writes");
  if (!isWanted) co_return status;
  auto turn = co_await service.leases.excludeAll(kj::arr(wanted.directory), QUIET_PATIENCE);
  if (!turn.isReady()) co_return busy("a mount does not give back the directory that it is to be in");
  tell(SnapshotSteps::Phase::COPYING);
  auto closed = co_await service.gate.close(CLOSE_PATIENCE);
  if (!closed.isClosed()) co_return busy("changes under way do not end");
  if (service.leases.anyWriter()) co_return busy("somebody has come back as a writer");
  if (!isWanted) co_return Status::BUSY;
  co_return co_await copyTree();
}

Async<Status> SteppedSnapshot::copyTree() {
  auto began = service.timer.now();
  auto stage = kj::heap<LoggedOperation>();
  auto request = stage->body().initStageTree();
  request.setStagedFrom(wanted.original.value());
  request.setStagedFor(wanted.directory.value());
  request.setStagedName(wanted.name);
  auto staged = co_await service.operations.propose(kj::mv(stage));
  if (!staged.ok()) co_return staged.status;
  top = InodeId(staged.number);
  service.log.info("an operator wants a snapshot of the large tree below inode ", wanted.original,
                   " -> changes wait, and it is copied as inode ", top);

  auto status = co_await copyAll();
  if (!ok(status)) {
    service.log.warning("the snapshot ", top, " is given up after ", copied,
                        " inodes: ", isWanted ? kj::str(status) : kj::str("nobody wants it any more"),
                        " -> changes go on, and they are dropped");
    co_return status;
  }
  auto link = kj::heap<LoggedOperation>();
  auto naming = link->body().initLinkStaged();
  naming.setLinked(top.value());
  naming.setLinkedAs(wanted.name);
  auto linked = co_await service.operations.propose(kj::mv(link));
  if (!linked.ok()) co_return linked.status;
  KJ_IF_MAYBE (parent, linked.parent) service.sessions.changed(parent->inode, SessionId());
  service.log.info("all ", copied, " inodes are copied -> inode ", top, " is ", wanted.name, " in inode ",
                   wanted.directory, "; changes have waited for ",
                   (service.timer.now() - began) / kj::MILLISECONDS, " ms");
  co_return Status::OK;
}

Async<Status> SteppedSnapshot::copyAll() {
  auto lastDone = service.timer.now();
  bool waits = false;
  while (isWanted) {
    auto step = co_await copyMore();
    if (step.ok()) {
      copied = step.number;
      if (step.more == More::NO) co_return isWanted ? Status::OK : Status::BUSY;
      lastDone = service.timer.now();
      waits = false;
      co_await env::othersTurn(service.timer);
      continue;
    }
    // Stores that come or go in this moment: most likely it can be done a little later.
    if (step.status != Status::BUSY) co_return step.status;
    if (!waits) {
      service.log.info("the snapshot ", top, " waits after ", copied,
                       " inodes for stores to settle their chunks -> given up after ",
                       STILL_PATIENCE / kj::SECONDS, " s of it");
    }
    waits = true;
    if (service.timer.now() - lastDone >= STILL_PATIENCE) break;
    co_await service.timer.afterDelay(STILL_PAUSE);
  }
  co_return Status::BUSY;
}

Async<Outcome> SteppedSnapshot::copyMore() {
  auto handles = chunksAhead(service.names, top, service.snapshotLimits.step);
  std::sort(handles.begin(), handles.end());
  auto end = std::unique(handles.begin(), handles.end());
  auto operation = kj::heap<LoggedOperation>();
  auto request = operation->body().initCopyStaged();
  request.setStaging(top.value());
  request.setCopyAtMost(service.snapshotLimits.step);
  auto list = request.initStanding(unsigned(end - handles.begin()));
  for (unsigned i = 0; i < list.size(); ++i) list.set(i, handles[i].value());

  tell(SnapshotSteps::Phase::STORES);
  auto still = co_await service.grants.standStill(kj::heapArray<ChunkHandle>(handles.begin(), list.size()));
  auto status = still->status;
  still->status = Status::OK;
  if (!ok(status)) co_return refusal(Status::BUSY);
  tell(SnapshotSteps::Phase::COPYING);
  auto step = co_await service.grants.proposeStill(kj::mv(still), kj::mv(operation));
  if (step.status == Status::STALE_VERSION) step.status = Status::BUSY;
  co_return kj::mv(step);
}

}  // namespace cairn
