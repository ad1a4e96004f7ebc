// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "test/fuse/memory_filesystem.h"

#include <kj/debug.h>
#include <kj/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {
constexpr uint64_t SIZE = TRANSFER_SIZE_MAX;
const kj::byte ZEROS[SIZE] = {};
}  // namespace

struct MemoryFilesystem::Block : public kj::Refcounted {
  Block() { KJ_REQUIRE(bytes != nullptr, "out of memory"); }
  ~Block() noexcept(false) { free(bytes); }
  kj::byte* const bytes =
      static_cast<kj::byte*>(calloc(1, SIZE));  // zeros that cost nothing until they are touched
};

class MemoryFilesystem::File final : public OpenFile {
 public:
  File(MemoryFilesystem& filesystem, InodeId id) : filesystem(filesystem), id(id) {
    ++filesystem.nodes.at(id).open;
    ++filesystem.opened;
  }
  ~File() noexcept(false) {
    --filesystem.nodes.at(id).open;
    --filesystem.opened;
    filesystem.dropIfUnused(id);
  }
  InodeId inode() const override { return id; }
  FileAttributes attributes() const override { return filesystem.nodes.at(id).attributes; }

  Async<Result<ReadData>> read(FileOffset offset, uint32_t size, Origin) override {
    auto self = kj::addRef(*this);
    co_await filesystem.start("read", id);
    KJ_IF_MAYBE (status, filesystem.refused("read")) co_return *status;
    co_return filesystem.readNow(filesystem.nodes.at(id), offset.value(), size);
  }
  Async<Status> write(FileOffset offset, Bytes bytes, Origin) override {
    auto self = kj::addRef(*this);
    if (bytes.view.size() >= 65536 && reinterpret_cast<uintptr_t>(bytes.view.begin()) % 4096 == 80) {
      filesystem.handedOver += bytes.view.size();
    }
    co_await filesystem.start("write", id);
    KJ_IF_MAYBE (status, filesystem.refused("write")) co_return *status;
    filesystem.writeNow(filesystem.nodes.at(id), offset.value(), bytes.view);
    co_return Status::OK;
  }
  Async<Result<FileOffset>> append(Bytes bytes, Rest rest, kj::Maybe<ByteRange>) override {
    auto self = kj::addRef(*this);
    co_await filesystem.start(rest == Rest::FOLLOWS ? "append piece" : "append", id);
    KJ_IF_MAYBE (status, filesystem.refused(rest == Rest::FOLLOWS ? "append piece" : "append"))
      co_return *status;
    auto end = attributes().size;
    filesystem.writeNow(filesystem.nodes.at(id), end, bytes.view);
    co_return FileOffset(end);
  }
  Async<Status> flush() override {
    auto self = kj::addRef(*this);
    co_await filesystem.start("flush", id);
    KJ_IF_MAYBE (status, filesystem.refused("flush")) co_return *status;
    auto found = filesystem.flushFailures.find(id);
    if (found == filesystem.flushFailures.end()) co_return Status::OK;
    auto status = found->second;
    filesystem.flushFailures.erase(found);
    co_return status;
  }
  Async<Status> sync() override {
    auto self = kj::addRef(*this);
    co_await filesystem.start("sync", id);
    KJ_IF_MAYBE (status, filesystem.refused("sync")) co_return *status;
    co_return Status::OK;
  }
  kj::Promise<Result<kj::Maybe<FileOffset>>> seek(FileOffset offset, Sought sought) override {
    return found(offset, sought);
  }
  kj::Promise<Result<uint64_t>> copyFrom(OpenFile& source, CopyRange range) override {
    return copied(kj::downcast<File>(source), range);
  }
  kj::Promise<Result<FileOffset>> recordAppend(kj::ArrayPtr<const kj::byte> record) override {
    auto end = attributes().size;
    filesystem.writeNow(filesystem.nodes.at(id), end, record);
    return Result<FileOffset>(FileOffset(end));
  }

 private:
  MemoryFilesystem& filesystem;
  const InodeId id;

  Async<Result<kj::Maybe<FileOffset>>> found(FileOffset offset, Sought sought) {
    auto self = kj::addRef(*this);
    co_await filesystem.start("seek", id);
    KJ_IF_MAYBE (status, filesystem.refused("seek")) co_return *status;
    if (!filesystem.seeksAndCopies) co_return Status::NOT_SUPPORTED;
    auto size = attributes().size;
    if (offset.value() >= size) co_return kj::Maybe<FileOffset>(nullptr);
    co_return kj::Maybe<FileOffset>(sought == Sought::DATA ? offset : FileOffset(size));
  }
  Async<Result<uint64_t>> copied(File& source, CopyRange range) {
    auto self = kj::addRef(*this), from = kj::addRef(source);
    co_await filesystem.start("copyFrom", id);
    KJ_IF_MAYBE (status, filesystem.refused("copyFrom")) co_return *status;
    if (!filesystem.seeksAndCopies) co_return Status::NOT_SUPPORTED;
    auto data = filesystem.readNow(filesystem.nodes.at(from->id), range.from.value(), range.length);
    auto at = range.to.value();
    for (auto piece : data.pieces) {
      filesystem.writeNow(filesystem.nodes.at(id), at, piece);
      at += piece.size();
    }
    co_return at - range.to.value();
  }
};

MemoryFilesystem::MemoryFilesystem() {
  auto& root = nodes[ROOT_INODE];
  root.parent = ROOT_INODE;
  root.attributes = {.inode = ROOT_INODE, .type = FileType::DIRECTORY, .mode = 0755, .links = 2};
  root.attributes.atime = root.attributes.mtime = root.attributes.ctime = now();
}

MemoryFilesystem::~MemoryFilesystem() noexcept(false) {}

kj::Promise<void> MemoryFilesystem::start(kj::StringPtr operation, InodeId inode) {
  ++calls[operation.cStr()];
  KJ_IF_MAYBE (function, before) return (*function)(operation, inode);
  return kj::READY_NOW;
}

kj::Maybe<Status> MemoryFilesystem::refused(kj::StringPtr operation) {
  if (callsLeft > 0 && --callsLeft == 0) {
    refusedCall = operation.cStr();
    return refusalOfCall;
  }
  auto found = refusals.find(operation.cStr());
  if (found == refusals.end()) return nullptr;
  return found->second;
}

Timestamp MemoryFilesystem::now() {
  return {(kj::systemPreciseCalendarClock().now() - kj::UNIX_EPOCH) / kj::NANOSECONDS};
}

MemoryFilesystem::Node* MemoryFilesystem::nodeOf(InodeId inode) {
  auto found = nodes.find(inode);
  return found == nodes.end() ? nullptr : &found->second;
}

void MemoryFilesystem::touch(Node& node) {
  node.attributes.mtime = node.attributes.ctime = now();
}

// ---------------------------------------------------------------------------------------- names

Result<FileAttributes> MemoryFilesystem::lookupNow(InodeId parent, kj::StringPtr name) {
  auto directory = nodeOf(parent);
  if (directory == nullptr) return Status::STALE;
  if (name.size() > NAME_SIZE_MAX) return Status::NAME_TOO_LONG;
  if (name == "..") return nodeOf(directory->parent)->attributes;
  auto found = directory->entries.find(name.cStr());
  if (found == directory->entries.end()) return Status::NOT_FOUND;
  return nodes.at(found->second.second).attributes;
}

void MemoryFilesystem::attach(Node& parent, kj::StringPtr name, InodeId inode) {
  auto cookie = nextCookie++;
  parent.entries[name.cStr()] = {cookie, inode};
  parent.order[cookie] = name.cStr();
  auto& node = nodes.at(inode);
  if (node.attributes.type == FileType::DIRECTORY) {
    node.parent = parent.attributes.inode;
    node.attributes.links = 2;
    ++parent.attributes.links;
  } else {
    ++node.attributes.links;
  }
  node.attributes.ctime = now();
  touch(parent);
}

void MemoryFilesystem::detach(Node& parent, kj::StringPtr name) {
  auto found = parent.entries.find(name.cStr());
  auto inode = found->second.second;
  parent.order.erase(found->second.first);
  parent.entries.erase(found);
  auto& node = nodes.at(inode);
  if (node.attributes.type == FileType::DIRECTORY) {
    node.attributes.links = 0;
    --parent.attributes.links;
  } else {
    --node.attributes.links;
  }
  node.attributes.ctime = now();
  touch(parent);
}

void MemoryFilesystem::dropIfUnused(InodeId inode) {
  auto& node = nodes.at(inode);
  if (node.open == 0 && node.attributes.links == 0) nodes.erase(inode);
}

Result<FileAttributes> MemoryFilesystem::makeNow(InodeId parent, kj::StringPtr name, const NewNode& node,
                                                 Credentials caller) {
  auto existing = lookupNow(parent, name);
  if (existing.ok()) return Status::EXISTS;
  if (existing.status() != Status::NOT_FOUND) return existing.status();
  InodeId id(nextInode++);
  auto& made = nodes[id];
  made.attributes = {.inode = id,
                     .type = node.type,
                     .mode = uint16_t(node.type == FileType::SYMLINK ? 0777 : node.mode & ~caller.umask),
                     .uid = caller.uid,
                     .gid = caller.gid,
                     .device = node.device,
                     .dataVersion = 1};
  made.attributes.atime = made.attributes.mtime = now();
  made.target = node.target.cStr();
  if (node.type == FileType::SYMLINK) made.attributes.size = made.target.size();
  attach(nodes.at(parent), name, id);
  return made.attributes;
}

Status MemoryFilesystem::unlinkNow(InodeId parent, kj::StringPtr name, bool directory) {
  auto found = lookupNow(parent, name);
  if (!found.ok()) return found.status();
  bool isDirectory = found->type == FileType::DIRECTORY;
  if (directory && !isDirectory) return Status::NOT_DIRECTORY;
  if (!directory && isDirectory) return Status::IS_DIRECTORY;
  if (directory && !nodes.at(found->inode).entries.empty()) return Status::NOT_EMPTY;
  detach(nodes.at(parent), name);
  dropIfUnused(found->inode);
  return Status::OK;
}

bool MemoryFilesystem::isBelow(InodeId inode, InodeId ancestor) {
  while (inode != ROOT_INODE && inode != ancestor) inode = nodes.at(inode).parent;
  return inode == ancestor;
}

Status MemoryFilesystem::renameNow(InodeId parent, kj::StringPtr name, InodeId newParent,
                                   kj::StringPtr newName, uint32_t flags) {
  auto moved = lookupNow(parent, name);
  if (!moved.ok()) return moved.status();
  auto replaced = lookupNow(newParent, newName);
  if (!replaced.ok() && replaced.status() != Status::NOT_FOUND) return replaced.status();
  if (moved->type == FileType::DIRECTORY && isBelow(newParent, moved->inode)) return Status::LOOP;
  if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) return Status::INVALID;
  if (flags & RENAME_EXCHANGE) {
    if (!replaced.ok()) return replaced.status();
    detach(nodes.at(parent), name);
    detach(nodes.at(newParent), newName);
    attach(nodes.at(parent), name, replaced->inode);
    attach(nodes.at(newParent), newName, moved->inode);
    return Status::OK;
  }
  if (replaced.ok()) {
    if (flags & RENAME_NOREPLACE) return Status::EXISTS;
    if (replaced->inode == moved->inode) return Status::OK;
    bool directory = moved->type == FileType::DIRECTORY;
    if (directory && replaced->type != FileType::DIRECTORY) return Status::NOT_DIRECTORY;
    auto status = unlinkNow(newParent, newName, directory);
    if (status != Status::OK) return status;
  }
  detach(nodes.at(parent), name);
  attach(nodes.at(newParent), newName, moved->inode);
  return Status::OK;
}

Async<Result<FileAttributes>> MemoryFilesystem::lookup(InodeId parent, kj::StringPtr name) {
  co_await start("lookup", parent);
  KJ_IF_MAYBE (status, refused("lookup")) co_return *status;
  co_return lookupNow(parent, name);
}

Async<Result<FileAttributes>> MemoryFilesystem::make(InodeId parent, kj::StringPtr name, NewNode node,
                                                     Credentials caller) {
  co_await start("make", parent);
  KJ_IF_MAYBE (status, refused("make")) co_return *status;
  co_return makeNow(parent, name, node, caller);
}

Async<Result<FileAttributes>> MemoryFilesystem::link(InodeId inode, InodeId parent, kj::StringPtr name) {
  co_await start("link", inode);
  KJ_IF_MAYBE (status, refused("link")) co_return *status;
  if (nodeOf(inode) == nullptr) co_return Status::STALE;
  auto existing = lookupNow(parent, name);
  if (existing.ok()) co_return Status::EXISTS;
  if (existing.status() != Status::NOT_FOUND) co_return existing.status();
  attach(nodes.at(parent), name, inode);
  co_return nodes.at(inode).attributes;
}

Async<Status> MemoryFilesystem::unlink(InodeId parent, kj::StringPtr name, Credentials) {
  co_await start("unlink", parent);
  KJ_IF_MAYBE (status, refused("unlink")) co_return *status;
  co_return unlinkNow(parent, name, false);
}

Async<Status> MemoryFilesystem::rmdir(InodeId parent, kj::StringPtr name) {
  co_await start("rmdir", parent);
  KJ_IF_MAYBE (status, refused("rmdir")) co_return *status;
  co_return unlinkNow(parent, name, true);
}

Async<Status> MemoryFilesystem::rename(InodeId parent, kj::StringPtr name, InodeId newParent,
                                       kj::StringPtr newName, uint32_t flags, Credentials) {
  co_await start("rename", parent);
  KJ_IF_MAYBE (status, refused("rename")) co_return *status;
  co_return renameNow(parent, name, newParent, newName, flags);
}

Async<Result<kj::String>> MemoryFilesystem::readLink(InodeId inode) {
  co_await start("readLink", inode);
  KJ_IF_MAYBE (status, refused("readLink")) co_return *status;
  auto node = nodeOf(inode);
  if (node == nullptr) co_return Status::STALE;
  if (node->attributes.type != FileType::SYMLINK) co_return Status::INVALID;
  co_return kj::str(node->target.c_str());
}

Async<Result<DirectoryPage>> MemoryFilesystem::readDirectory(InodeId inode, uint64_t cookie, uint32_t limit,
                                                             Detail detail) {
  co_await start("readDirectory", inode);
  KJ_IF_MAYBE (status, refused("readDirectory")) co_return *status;
  auto node = nodeOf(inode);
  if (node == nullptr) co_return Status::STALE;
  if (node->attributes.type != FileType::DIRECTORY) co_return Status::NOT_DIRECTORY;
  kj::Vector<DirectoryEntry> entries;
  auto at = node->order.upper_bound(cookie);
  for (; at != node->order.end() && entries.size() < limit; ++at) {
    auto& attributes = nodes.at(node->entries.at(at->second).second).attributes;
    auto brief = FileAttributes{.inode = attributes.inode, .type = attributes.type};
    entries.add(
        DirectoryEntry{kj::str(at->second.c_str()), at->first, detail == Detail::NAMES ? brief : attributes});
  }
  DirectoryPage page;
  page.entries = entries.releaseAsArray();
  page.more = at == node->order.end() ? DirectoryPage::More::NO : DirectoryPage::More::YES;
  co_return kj::mv(page);
}

// ---------------------------------------------------------------------------------------- attributes

Async<Result<FileAttributes>> MemoryFilesystem::getAttributes(InodeId inode) {
  co_await start("getAttributes", inode);
  KJ_IF_MAYBE (status, refused("getAttributes")) co_return *status;
  auto node = nodeOf(inode);
  if (node == nullptr) co_return Status::STALE;
  co_return node->attributes;
}

Async<Result<FileAttributes>> MemoryFilesystem::setAttributes(InodeId inode, AttributeChange change) {
  co_await start("setAttributes", inode);
  KJ_IF_MAYBE (status, refused("setAttributes")) co_return *status;
  auto node = nodeOf(inode);
  if (node == nullptr) co_return Status::STALE;
  auto& attributes = node->attributes;
  KJ_IF_MAYBE (mode, change.mode) attributes.mode = *mode;
  KJ_IF_MAYBE (uid, change.uid) attributes.uid = *uid;
  KJ_IF_MAYBE (gid, change.gid) attributes.gid = *gid;
  KJ_IF_MAYBE (size, change.size) {
    if (attributes.type == FileType::DIRECTORY) co_return Status::IS_DIRECTORY;
    truncateNow(*node, *size);
  }
  KJ_IF_MAYBE (atime, change.atime) attributes.atime = *atime;
  KJ_IF_MAYBE (mtime, change.mtime) attributes.mtime = *mtime;
  if (change.atimeNow == AttributeChange::Now::YES) attributes.atime = now();
  if (change.mtimeNow == AttributeChange::Now::YES) attributes.mtime = now();
  attributes.ctime = now();
  co_return attributes;
}

Async<Result<SpaceStatistics>> MemoryFilesystem::statistics(InodeId) {
  co_await start("statistics", ROOT_INODE);
  KJ_IF_MAYBE (status, refused("statistics")) co_return *status;
  co_return SpaceStatistics{.blocksTotal = 1 << 20, .blocksFree = 1 << 19, .inodes = nodes.size()};
}

Async<Result<kj::Array<kj::byte>>> MemoryFilesystem::getXattr(InodeId inode, kj::StringPtr name) {
  co_await start("getXattr", inode);
  KJ_IF_MAYBE (status, refused("getXattr")) co_return *status;
  auto node = nodeOf(inode);
  if (node == nullptr) co_return Status::STALE;
  auto found = node->xattrs.find(name.cStr());
  if (found == node->xattrs.end()) co_return Status::NO_DATA;
  co_return kj::heapArray<kj::byte>(found->second.data(), found->second.size());
}

Status MemoryFilesystem::setXattrNow(InodeId inode, kj::StringPtr name, kj::ArrayPtr<const kj::byte> value,
                                     uint32_t flags) {
  auto node = nodeOf(inode);
  if (node == nullptr) return Status::STALE;
  bool exists = node->xattrs.count(name.cStr()) != 0;
  if (flags & XATTR_CREATE && exists) return Status::EXISTS;
  if (flags & XATTR_REPLACE && !exists) return Status::NO_DATA;
  node->xattrs[name.cStr()] = std::vector<kj::byte>(value.begin(), value.end());
  node->attributes.extended = 0xff;
  return Status::OK;
}

Async<Status> MemoryFilesystem::setXattr(InodeId inode, kj::StringPtr name,
                                         kj::ArrayPtr<const kj::byte> value, uint32_t flags) {
  co_await start("setXattr", inode);
  KJ_IF_MAYBE (status, refused("setXattr")) co_return *status;
  co_return setXattrNow(inode, name, value, flags);
}

Async<Status> MemoryFilesystem::removeXattr(InodeId inode, kj::StringPtr name) {
  co_await start("removeXattr", inode);
  KJ_IF_MAYBE (status, refused("removeXattr")) co_return *status;
  auto node = nodeOf(inode);
  if (node == nullptr) co_return Status::STALE;
  co_return node->xattrs.erase(name.cStr()) == 0 ? Status::NO_DATA : Status::OK;
}

Async<Result<kj::Array<kj::String>>> MemoryFilesystem::listXattr(InodeId inode) {
  co_await start("listXattr", inode);
  KJ_IF_MAYBE (status, refused("listXattr")) co_return *status;
  auto node = nodeOf(inode);
  if (node == nullptr) co_return Status::STALE;
  kj::Vector<kj::String> names;
  for (auto& [name, value] : node->xattrs) names.add(kj::str(name.c_str()));
  co_return names.releaseAsArray();
}

// ---------------------------------------------------------------------------------------- files

Async<Result<kj::Own<OpenFile>>> MemoryFilesystem::open(InodeId inode, Access) {
  co_await start("open", inode);
  KJ_IF_MAYBE (status, refused("open")) co_return *status;
  if (nodeOf(inode) == nullptr) co_return Status::STALE;
  co_return kj::Own<OpenFile>(kj::refcounted<File>(*this, inode));
}

Async<Result<kj::Own<OpenFile>>> MemoryFilesystem::create(InodeId parent, kj::StringPtr name, uint16_t mode,
                                                          Credentials caller, NewNode options,
                                                          bool exclusive) {
  co_await start("create", parent);
  KJ_IF_MAYBE (status, refused("create")) co_return *status;
  options.mode = mode;
  auto made = makeNow(parent, name, options, caller);
  if (made.status() == Status::EXISTS && !exclusive) made = lookupNow(parent, name);
  if (!made.ok()) co_return made.status();
  if (made->type == FileType::DIRECTORY) co_return Status::IS_DIRECTORY;
  co_return kj::Own<OpenFile>(kj::refcounted<File>(*this, made->inode));
}

void MemoryFilesystem::writeNow(Node& node, uint64_t offset, kj::ArrayPtr<const kj::byte> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    auto at = offset + done;
    auto size = kj::min(bytes.size() - done, SIZE - at % SIZE);
    auto& block = node.blocks[at / SIZE];
    if (block.get() == nullptr) {
      block = kj::refcounted<Block>();
    } else if (block->isShared()) {  // a reader has it
      auto copy = kj::refcounted<Block>();
      memcpy(copy->bytes, block->bytes, SIZE);
      block = kj::mv(copy);
    }
    memcpy(block->bytes + at % SIZE, bytes.begin() + done, size);
    done += size;
  }
  node.attributes.size = kj::max(node.attributes.size, offset + bytes.size());
  node.attributes.bytesUsed = node.blocks.size() * SIZE;
  ++node.attributes.dataVersion;
  touch(node);
}

ReadData MemoryFilesystem::readNow(Node& node, uint64_t offset, uint64_t size) {
  struct Keeper {
    kj::Vector<kj::Own<Block>> blocks;
  };
  auto keeper = kj::heap<Keeper>();
  kj::Vector<kj::ArrayPtr<const kj::byte>> pieces;
  auto end = kj::min(offset + size, node.attributes.size);
  while (offset < end) {
    auto part = kj::min(end - offset, SIZE - offset % SIZE);
    auto found = node.blocks.find(offset / SIZE);
    if (found == node.blocks.end()) {
      pieces.add(kj::arrayPtr(ZEROS, part));
    } else {
      keeper->blocks.add(kj::addRef(*found->second));
      pieces.add(kj::arrayPtr(found->second->bytes + offset % SIZE, part));
    }
    offset += part;
  }
  ReadData data;
  data.pieces = pieces.releaseAsArray();
  data.keeper = kj::mv(keeper);
  return data;
}

void MemoryFilesystem::truncateNow(Node& node, uint64_t size) {
  if (size < node.attributes.size) {
    node.blocks.erase(node.blocks.lower_bound((size + SIZE - 1) / SIZE), node.blocks.end());
    auto rest = kj::min((size + SIZE - 1) / SIZE * SIZE, node.attributes.size) - size;
    if (rest > 0) writeNow(node, size, kj::arrayPtr(ZEROS, rest));
  }
  node.attributes.size = size;
  ++node.attributes.dataVersion;
  touch(node);
}

Async<Result<kj::Own<OpenFile>>> MemoryFilesystem::createTemporary(InodeId directory, uint16_t mode,
                                                                   Credentials caller) {
  co_await start("createTemporary", directory);
  KJ_IF_MAYBE (status, refused("createTemporary")) co_return *status;
  co_return Status::NOT_SUPPORTED;
}

Async<Status> MemoryFilesystem::lock(FileLock lock, kj::Maybe<kj::Promise<void>> givenUp) {
  co_await start("setLock", lock.inode);
  KJ_IF_MAYBE (status, refused("setLock")) co_return *status;
  if (!lockedElsewhere || lock.range.type == LockType::UNLOCK) co_return Status::OK;
  KJ_IF_MAYBE (interrupted, givenUp) co_await kj::mv(*interrupted);
  co_return Status::WOULD_BLOCK;
}
kj::Promise<Status> MemoryFilesystem::setLock(FileLock lock, kj::Maybe<kj::Promise<void>> givenUp) {
  return this->lock(lock, kj::mv(givenUp));
}

Async<Result<FileLock>> MemoryFilesystem::lockInTheWay(FileLock lock) {
  co_await start("testLock", lock.inode);
  KJ_IF_MAYBE (status, refused("testLock")) co_return *status;
  lock.range = {.type = lockedElsewhere ? LockType::EXCLUSIVE : LockType::UNLOCK};
  co_return lock;
}
kj::Promise<Result<FileLock>> MemoryFilesystem::testLock(FileLock lock) {
  return lockInTheWay(lock);
}

Async<Status> MemoryFilesystem::syncAll() {
  co_await start("syncAll", ROOT_INODE);
  KJ_IF_MAYBE (status, refused("syncAll")) co_return *status;
  co_return Status::OK;
}
Async<Status> MemoryFilesystem::syncNames(InodeId directory) {
  co_await start("syncNames", ROOT_INODE);
  KJ_IF_MAYBE (status, refused("syncNames")) co_return *status;
  co_return Status::OK;
}
Async<void> MemoryFilesystem::shutdown() {
  return start("shutdown", ROOT_INODE);
}

// ---------------------------------------------------------------------------------------- for tests

kj::Duration MemoryFilesystem::keepAttributes(const FileAttributes& attributes) const {
  auto node = nodes.find(attributes.inode);
  if (node == nodes.end()) return 0 * kj::SECONDS;
  auto& now = node->second.attributes;
  return now.ctime.ns == attributes.ctime.ns && now.size == attributes.size ? keep : 0 * kj::SECONDS;
}

kj::Duration MemoryFilesystem::keepName(InodeId parent, kj::StringPtr name, InodeId found) const {
  auto directory = nodes.find(parent);
  if (directory == nodes.end() || !isToldOfNames(parent)) return 0 * kj::SECONDS;
  auto entry = directory->second.entries.find(name.cStr());
  auto now = entry == directory->second.entries.end() ? InodeId() : entry->second.second;
  return now == found ? keep : 0 * kj::SECONDS;
}

void MemoryFilesystem::appendElsewhere(InodeId inode, kj::StringPtr text) {
  auto& node = nodes.at(inode);
  writeNow(node, node.attributes.size, text.asBytes());
}

void MemoryFilesystem::makeElsewhere(InodeId parent, kj::StringPtr name) {
  KJ_REQUIRE(makeNow(parent, name, {}, {}).ok());
}

void MemoryFilesystem::removeElsewhere(InodeId parent, kj::StringPtr name) {
  KJ_REQUIRE(unlinkNow(parent, name, false) == Status::OK);
}

std::string MemoryFilesystem::contentOf(InodeId inode) const {
  auto data =
      const_cast<MemoryFilesystem*>(this)->readNow(const_cast<Node&>(nodes.at(inode)), 0, INT64_MAX / 2);
  std::string result;
  for (auto piece : data.pieces) result.append(reinterpret_cast<const char*>(piece.begin()), piece.size());
  return result;
}

InodeId MemoryFilesystem::find(kj::StringPtr path) const {
  InodeId inode = ROOT_INODE;
  std::string rest = path.cStr();
  while (!rest.empty()) {
    auto slash = rest.find('/');
    inode = nodes.at(inode).entries.at(rest.substr(0, slash)).second;
    rest = slash == std::string::npos ? "" : rest.substr(slash + 1);
  }
  return inode;
}

void MemoryFilesystem::checkInvariants() const {
  std::map<InodeId, uint32_t> links;
  for (auto& [inode, node] : nodes) {
    KJ_ASSERT(node.entries.size() == node.order.size());
    for (auto& [name, entry] : node.entries) ++links[entry.second];
  }
  for (auto& [inode, node] : nodes) {
    KJ_ASSERT(links[inode] > 0 || node.open > 0 || inode == ROOT_INODE, "an inode nobody has", inode.value());
    if (node.attributes.type != FileType::DIRECTORY) {
      KJ_ASSERT(links[inode] == node.attributes.links, inode.value(), links[inode], node.attributes.links);
    }
  }
}

}  // namespace cairn::fuse
