// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The part of the Administration interface that is about the trash.
#include "env/turn.h"
#include "metaserver/administration_handlers.h"
#include "metaserver/path_finder.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t TRASH_LIMIT_MAX = 1000;

void write(rpc::TrashedFile::Builder builder, const TrashedFile& file, kj::StringPtr path) {
  auto id = builder.initId();
  id.setInode(file.inode.id().value());
  id.setUntil(file.departure.until);
  builder.setPath(path);
  builder.setDeleted(file.departure.deleted);
  builder.setUid(file.departure.uid);
  builder.setOwner(file.inode.attributes.uid);
  builder.setSize(file.inode.attributes.size);
  builder.setBytesUsed(file.inode.attributes.bytesUsed);
  builder.setDirectory(file.departure.directory.value());
}

}  // namespace

Async<void> AdministrationHandlers::listingTrash(TrashContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto limit = kj::min(kj::max(params.getLimit(), 1u), TRASH_LIMIT_MAX);
  auto page = service.names.trash(params.getUntil(), InodeId(params.getInode()), limit + 1);
  auto count = kj::min(page.size(), size_t(limit));
  results.setMore(page.size() > count);
  auto files = results.initFiles(uint32_t(count));
  PathFinder paths(service.names);
  for (uint32_t i = 0; i < count; ++i) {
    auto directory = page[i].departure.directory;
    auto path = co_await paths.pathOf(directory);
    write(files[i], page[i], kj::str(path.c_str(), "/", page[i].departure.name.c_str()));
    files[i].setDirectoryGone(!service.names.inode(directory).ok());
  }
}

Async<void> AdministrationHandlers::restoring(RestoreContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  InodeId file(params.getFile().getInode());
  auto found = service.names.trashed(file, params.getFile().getUntil());
  if (found == nullptr) {
    results.setStatus(Status::NOT_FOUND);
    co_return;
  }
  auto& departure = KJ_ASSERT_NONNULL(found);
  auto operation = kj::heap<LoggedOperation>();
  auto restore = operation->body().initRestoreTrash();
  restore.initRestored().setInode(file.value());
  restore.getRestored().setUntil(params.getFile().getUntil());
  restore.setInto(params.getDirectory() != 0 ? params.getDirectory() : departure.directory.value());
  restore.setAs(params.getName().size() > 0 ? params.getName() : kj::StringPtr(departure.name.c_str()));
  // Mounts may have it cached that there is no such name.
  auto turn = co_await service.leases.excludeAll(
      kj::heapArray<InodeId>({file, InodeId(restore.asReader().getInto())}));
  auto outcome = co_await service.operations.propose(kj::mv(operation));
  results.setStatus(outcome.status);
  if (!outcome.ok()) co_return;
  KJ_IF_MAYBE (parent, outcome.parent) service.sessions.changed(parent->inode, SessionId());
  service.log.info("an operator wants inode ", file, " (", departure.name.c_str(),
                   ") back from the trash -> it has a name again");
}

Async<void> AdministrationHandlers::purgingTrash(PurgeTrashContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  kj::Vector<TrashedFile> files;
  for (auto id : params.getFiles()) {
    TrashedFile file;
    file.inode.attributes.inode = InodeId(id.getInode());
    file.departure.until = id.getUntil();
    files.add(kj::mv(file));
  }
  auto purged = co_await service.trash.purge(files.releaseAsArray());
  results.setStatus(purged.status());
  if (!purged.ok()) co_return;
  results.setPurged(*purged);
  service.log.info("an operator wants space back -> ", *purged, " files are purged from the trash");
}

Async<void> AdministrationHandlers::keepingTrash(KeepTrashContext context) {
  // Breadth first; what comes or goes meanwhile is as if it had done so before or after.
  auto params = context.getParams();
  auto results = context.getResults();
  kj::Vector<InodeId> directories;
  directories.add(params.getDirectory());
  uint64_t count = 0;
  for (size_t next = 0; next < directories.size(); ++next) {
    auto operation = kj::heap<LoggedOperation>();
    auto keep = operation->body().initKeepTrash();
    keep.setKeeper(directories[next].value());
    keep.setSeconds(params.getSeconds());
    auto outcome = co_await service.operations.propose(kj::mv(operation));
    if (!outcome.ok() && next > 0 && outcome.status == Status::STALE) continue;
    results.setStatus(outcome.status);
    if (!outcome.ok()) co_return;
    results.setDirectories(++count);
    if (!params.getRecursive()) co_return;
    for (uint64_t cookie = 0;;) {
      auto page = service.names.list(directories[next], cookie, LISTING_LIMIT_MAX, ListingDetail::NAMES);
      if (!page.ok()) break;
      for (auto& entry : page->entries) {
        cookie = entry.cookie;
        if (entry.attributes.isDirectory()) directories.add(entry.attributes.inode);
      }
      if (page->end == ListingEnd::YES) break;
      co_await env::othersTurn(service.timer);
    }
  }
}

kj::Promise<void> AdministrationHandlers::trashOf(TrashOfContext context) {
  auto results = context.getResults();
  auto found = service.names.inode(InodeId(context.getParams().getDirectory()));
  results.setStatus(found.ok() && !found->attributes.isDirectory() ? Status::NOT_DIRECTORY : found.status());
  results.setCluster(service.names.state().trashKeep);
  if (found.ok()) results.setSeconds(found->trashKeep);
  return kj::READY_NOW;
}

}  // namespace cairn
