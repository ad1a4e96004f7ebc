// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/operations.h"

#include "fuse/attributes.h"

namespace cairn::fuse {

namespace {

OperationContext& contextOf(fuse_req_t request) {
  return *static_cast<OperationContext*>(fuse_req_userdata(request));
}
Handlers& handlersOf(fuse_req_t request) {
  return contextOf(request).handlers;
}

// ---------------------------------------------------------------- names

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  handlersOf(request).start(request, &Handlers::lookup, InodeId(parent), kj::str(name));
}

void forget(fuse_req_t request, fuse_ino_t inode, uint64_t lookups) {
  handlersOf(request).forget(InodeId(inode), lookups);
  fuse_reply_none(request);
}

void forgetMulti(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  for (auto& one : kj::arrayPtr(forgets, count)) handlersOf(request).forget(InodeId(one.ino), one.nlookup);
  fuse_reply_none(request);
}

void makeNode(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  handlersOf(request).start(request, &Handlers::make, InodeId(parent), kj::str(name), mode, device);
}

void makeDirectory(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  handlersOf(request).start(request, &Handlers::make, InodeId(parent), kj::str(name),
                            mode_t((mode & 07777) | S_IFDIR), dev_t(0));
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  handlersOf(request).start(request, &Handlers::symlink, InodeId(parent), kj::str(name), kj::str(target));
}

void link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name) {
  handlersOf(request).start(request, &Handlers::link, InodeId(inode), InodeId(parent), kj::str(name));
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  handlersOf(request).start(request, &Handlers::unlink, InodeId(parent), kj::str(name));
}

void removeDirectory(fuse_req_t request, fuse_ino_t parent, const char* name) {
  handlersOf(request).start(request, &Handlers::rmdir, InodeId(parent), kj::str(name));
}

void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t newParent,
            const char* newName, unsigned flags) {
  handlersOf(request).start(request, &Handlers::rename, InodeId(parent), kj::str(name), InodeId(newParent),
                            kj::str(newName), uint32_t(flags));
}

void readLink(fuse_req_t request, fuse_ino_t inode) {
  handlersOf(request).start(request, &Handlers::readLink, InodeId(inode));
}

// ---------------------------------------------------------------- attributes

void getAttributes(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  handlersOf(request).start(request, &Handlers::getAttributes, InodeId(inode));
}

void setAttributes(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int toSet, fuse_file_info*) {
  handlersOf(request).start(request, &Handlers::setAttributes, InodeId(inode), changeOf(*wanted, toSet),
                            contextOf(request).message.privileges());
}

void statistics(fuse_req_t request, fuse_ino_t inode) {
  handlersOf(request).start(request, &Handlers::statistics, InodeId(inode));
}

// ---------------------------------------------------------------- files

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* file) {
  if (contextOf(request).message.creation() == IncomingMessage::Creation::TEMPORARY) {
    handlersOf(request).start(request, &Handlers::createTemporary, InodeId(parent), mode, *file);
    return;
  }
  handlersOf(request).start(request, &Handlers::create, InodeId(parent), kj::str(name), mode, *file);
}

void open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::open, InodeId(inode), *file,
                            contextOf(request).message.privileges());
}

void read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::read, *file, FileOffset(offset), uint32_t(size));
}

void write(fuse_req_t request, fuse_ino_t, const char* data, size_t size, off_t offset,
           fuse_file_info* file) {
  auto& message = contextOf(request).message;
  auto payload = kj::arrayPtr(reinterpret_cast<const kj::byte*>(data), size);
  handlersOf(request).start(request, &Handlers::write, *file, FileOffset(offset), message.keep(payload),
                            message.privileges());
}

void flush(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::flush, *file);
}

void release(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::release, *file);
}

void sync(fuse_req_t request, fuse_ino_t, int, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::sync, *file);
}

void allocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::allocate, *file, FileOffset(offset), uint64_t(length), mode);
}

void seek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::seek, *file, FileOffset(offset), whence);
}

void copyRange(fuse_req_t request, fuse_ino_t, off_t from, fuse_file_info* source, fuse_ino_t, off_t to,
               fuse_file_info* target, size_t length, int flags) {
  OpenFile::CopyRange range{FileOffset(from), FileOffset(to), length};
  handlersOf(request).start(request, &Handlers::copyRange, *source, *target, range, flags);
}

// ---------------------------------------------------------------- locks

void getLock(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file, struct flock* lock) {
  handlersOf(request).start(request, &Handlers::getLock, InodeId(inode), *file, *lock);
}

void setLock(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file, struct flock* lock, int sleep) {
  handlersOf(request).start(request, &Handlers::setLock, InodeId(inode), *file, *lock,
                            sleep ? Handlers::Waiting::YES : Handlers::Waiting::NO);
}

void lockWhole(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file, int operation) {
  handlersOf(request).start(request, &Handlers::lockWhole, InodeId(inode), *file, operation);
}

// ---------------------------------------------------------------- directories

void openDirectory(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::openDirectory, InodeId(inode), *file);
}

void readDirectory(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::readDirectory, *file, uint64_t(offset), size, Detail::NAMES);
}

void readDirectoryPlus(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::readDirectory, *file, uint64_t(offset), size,
                            Detail::ATTRIBUTES);
}

void releaseDirectory(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  handlersOf(request).start(request, &Handlers::releaseDirectory, *file);
}

void syncDirectory(fuse_req_t request, fuse_ino_t inode, int, fuse_file_info*) {
  handlersOf(request).start(request, &Handlers::syncDirectory, InodeId(inode));
}

// ---------------------------------------------------------------- extended attributes

void getXattr(fuse_req_t request, fuse_ino_t inode, const char* name, size_t size) {
  handlersOf(request).start(request, &Handlers::getXattr, InodeId(inode), kj::str(name), size);
}

void setXattr(fuse_req_t request, fuse_ino_t inode, const char* name, const char* value, size_t size,
              int flags) {
  auto copy = kj::heapArray(reinterpret_cast<const kj::byte*>(value), size);
  handlersOf(request).start(request, &Handlers::setXattr, InodeId(inode), kj::str(name), kj::mv(copy),
                            uint32_t(flags));
}

void listXattr(fuse_req_t request, fuse_ino_t inode, size_t size) {
  handlersOf(request).start(request, &Handlers::listXattr, InodeId(inode), size);
}

void removeXattr(fuse_req_t request, fuse_ino_t inode, const char* name) {
  handlersOf(request).start(request, &Handlers::removeXattr, InodeId(inode), kj::str(name));
}

// ---------------------------------------------------------------- the connection

void initialize(void* context, fuse_conn_info* connection) {
  static_cast<OperationContext*>(context)->message.negotiate(*connection);
}

}  // namespace

// What is missing here the kernel does by itself once it has been told so: access (default_permissions).
const fuse_lowlevel_ops OPERATIONS = {
    .init = initialize,
    .lookup = lookup,
    .forget = forget,
    .getattr = getAttributes,
    .setattr = setAttributes,
    .readlink = readLink,
    .mknod = makeNode,
    .mkdir = makeDirectory,
    .unlink = unlink,
    .rmdir = removeDirectory,
    .symlink = symlink,
    .rename = rename,
    .link = link,
    .open = open,
    .read = read,
    .write = write,
    .flush = flush,
    .release = release,
    .fsync = sync,
    .opendir = openDirectory,
    .readdir = readDirectory,
    .releasedir = releaseDirectory,
    .fsyncdir = syncDirectory,
    .statfs = statistics,
    .setxattr = setXattr,
    .getxattr = getXattr,
    .listxattr = listXattr,
    .removexattr = removeXattr,
    .create = create,
    .getlk = getLock,
    .setlk = setLock,
    .forget_multi = forgetMulti,
    .flock = lockWhole,
    .fallocate = allocate,
    .readdirplus = readDirectoryPlus,
    .copy_file_range = copyRange,
    .lseek = seek,
};

}  // namespace cairn::fuse
