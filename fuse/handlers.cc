// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/handlers.h"

#include "fuse/attributes.h"

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

namespace {

double secondsOf(kj::Duration duration, double most) {
  return kj::min(double(duration / kj::MICROSECONDS) / 1e6, most);
}

}  // namespace

double Handlers::keptAttributes(const FileAttributes& attributes, Answer answer) const {
  if (answer == Answer::TO_CHANGE) return 0;
  return secondsOf(filesystem.keepAttributes(attributes), options.attributeTimeout);
}

double Handlers::keptName(InodeId parent, kj::StringPtr name, InodeId found) {
  auto kept = secondsOf(kernel.keepNames(filesystem.keepName(parent, name, found)),
                        found ? options.entryTimeout : options.negativeTimeout);
  if (kept > 0) inodes.namesKept(parent);
  return kept;
}

fuse_entry_param Handlers::entryOf(InodeId parent, kj::StringPtr name, const FileAttributes& attributes,
                                   Answer answer) {
  fuse_entry_param entry = {};
  entry.ino = attributes.inode.value();
  entry.generation = 0;  // inode ids are never reused
  entry.attr = statOf(attributes);
  entry.attr_timeout = keptAttributes(attributes, answer);
  entry.entry_timeout = keptName(parent, name, attributes.inode);
  return entry;
}

void Handlers::replyEntry(Request& request, InodeId parent, kj::StringPtr name,
                          Result<FileAttributes>& result, Answer answer) {
  if (!result.ok()) {
    request.status(result.status());
  } else if (request.entry(entryOf(parent, name, result.value(), answer)) == Request::Taken::YES) {
    inodes.lookedUp(result->inode);
  }
}

void Handlers::replyAttributes(Request& request, const Result<FileAttributes>& result, Answer answer) {
  if (!result.ok()) {
    request.status(result.status());
  } else {
    request.attributes(statOf(result.value()), keptAttributes(result.value(), answer));
  }
}

void Handlers::taskFailed(kj::Exception&& exception) {
  // The Request in the broken coroutine has answered EIO when it died.
  log.error("a request failed in a way no answer covers -> its caller got EIO: ", exception);
}

}  // namespace cairn::fuse
