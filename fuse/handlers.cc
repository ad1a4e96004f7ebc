// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/handlers.h"

#include "fuse/attributes.h"
#include "fuse/handler_parts.h"

namespace cairn::fuse {

Handlers::Handlers(Filesystem& filesystem, kj::Timer& timer, Interrupts& interrupts, KernelCaches& kernel,
                   env::Logger log, HandlerOptions options)
    : filesystem(filesystem),
      timer(timer),
      interrupts(interrupts),
      kernel(kernel),
      log(kj::mv(log)),
      options(options),
      tasks(*this) {}

Handlers::~Handlers() noexcept(false) {
  // After an abort or a detached unmount the kernel releases nothing.
  while (!fileHandles.empty()) dropHandle(fileHandles.front());
  while (!directoryHandles.empty()) dropDirectory(directoryHandles.front());
}

fuse_entry_param Handlers::entryOf(const FileAttributes& attributes) const {
  fuse_entry_param entry = {};
  entry.ino = attributes.inode.value();
  entry.generation = 0;  // inode ids are never reused
  entry.attr = statOf(attributes);
  entry.attr_timeout = options.attributeTimeout;
  entry.entry_timeout = options.entryTimeout;
  return entry;
}

void Handlers::replyEntry(Request& request, Result<FileAttributes>& result) {
  if (!result.ok()) {
    request.status(result.status());
  } else if (request.entry(entryOf(result.value())) == Request::Taken::YES) {
    inodes.lookedUp(result->inode);
    inodes.shown(result->inode, result->dataVersion, result->extended, timer.now());
  }
}

void Handlers::replyAttributes(Request& request, const Result<FileAttributes>& result) {
  if (!result.ok()) {
    request.status(result.status());
  } else if (request.attributes(statOf(result.value()), options.attributeTimeout) == Request::Taken::YES) {
    inodes.shown(result->inode, result->dataVersion, result->extended, timer.now());
  }
}

void Handlers::taskFailed(kj::Exception&& exception) {
  // The Request in the broken coroutine has answered EIO when it died.
  log.error("a request failed in a way no answer covers -> its caller got EIO: ", exception);
}

}  // namespace cairn::fuse
