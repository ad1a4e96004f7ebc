// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Requests about attributes: stat, chmod, chown, truncate, utimensat, statfs.
#include <sys/statvfs.h>

#include "fuse/attributes.h"
#include "fuse/handlers.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {

bool isEmpty(const AttributeChange& change) {
  using Now = AttributeChange::Now;
  bool times = change.atime != nullptr || change.mtime != nullptr || change.atimeNow == Now::YES ||
               change.mtimeNow == Now::YES;
  return change.mode == nullptr && change.uid == nullptr && change.gid == nullptr && change.size == nullptr &&
         !times;
}

}  // namespace

Async<void> Handlers::getAttributes(Request request, InodeId inode) {
  auto attributes = co_await filesystem.getAttributes(inode);
  replyAttributes(request, attributes, Answer::TO_LOOK);
}

Async<void> Handlers::setAttributes(Request request, InodeId inode, AttributeChange change,
                                    Privileges privileges) {
  // An empty change is chown(2) that sets neither, which takes them, too. Or it is what the kernel sends
  // ahead of a write, that is maybe not the owner's; then the write says itself what it takes.
  if ((privileges == Privileges::KILL && change.mode == nullptr) || isEmpty(change)) {
    auto before = co_await filesystem.getAttributes(inode);
    if (!before.ok()) {
      request.status(before.status());
      co_return;
    }
    auto mode = modeWithoutPrivileges(request, *before);
    bool mayChange =
        privileges == Privileges::KILL || request.caller().uid == 0 || request.caller().uid == before->uid;
    if (mayChange && before->type != FileType::DIRECTORY && mode != before->mode) change.mode = mode;
  }
  auto attributes = co_await filesystem.setAttributes(inode, kj::mv(change));
  replyAttributes(request, attributes, Answer::TO_CHANGE);
}

void Handlers::accessed(const FileAttributes& attributes) {
  using Policy = HandlerOptions::AccessTimes;
  if (options.accessTimes == Policy::NEVER) return;
  if (attributes.type == FileType::DIRECTORY && options.accessTimes == Policy::FILES) return;
  filesystem.accessed(attributes);
}

Async<void> Handlers::statistics(Request request, InodeId inode) {
  auto space = co_await filesystem.statistics(inode);
  if (!space.ok()) {
    request.status(space.status());
    co_return;
  }
  struct statvfs reply = {};
  reply.f_bsize = BLOCK_SIZE;
  reply.f_frsize = BLOCK_SIZE;
  reply.f_blocks = space->blocksTotal;
  reply.f_bfree = space->blocksFree;
  reply.f_bavail = space->blocksFree;
  reply.f_files = space->inodes + space->inodesFree;
  reply.f_ffree = reply.f_favail = space->inodesFree;
  reply.f_namemax = NAME_SIZE_MAX;
  request.statistics(reply);
}

}  // namespace cairn::fuse
