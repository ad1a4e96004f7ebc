// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Requests about directory listings. The kernel asks for about 25 entries at a time, the library is asked for
// PAGE_ENTRIES, so pages are kept with the open directory. That is safe only because:
// - a name that this mount has changed since is taken out of the page (names.cc);
// - attributes that are not those known under a lease now are left out of the answer (node id 0): the kernel
// then asks for
//   them by name when it needs them.
// Offsets are the library's cookies, except those after "." and "..", which the library does not list.
#include <kj/debug.h>

#include "fuse/attributes.h"
#include "fuse/handlers.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {

constexpr uint32_t PAGE_ENTRIES = 1000;
constexpr uint64_t AFTER_DOT = INT64_MAX - 1, AFTER_DOT_DOT = INT64_MAX - 2;
constexpr uint64_t UNKNOWN_INODE = 0xffffffff;  // what libfuse shows when it does not know either

}  // namespace

struct Handlers::Listing {
  // The answer to one READDIR or READDIRPLUS while it is put together.
  Listing(fuse_req_t request, size_t size, Detail detail)
      : request(request), buffer(kj::heapArray<char>(size)), detail(detail) {}

  enum class Room { NO, YES };
  Room add(const char* name, const fuse_entry_param& entry, uint64_t offset) {
    auto rest = buffer.slice(used, buffer.size());
    auto next = static_cast<off_t>(offset);
    auto size = detail == Detail::NAMES
                    ? fuse_add_direntry(request, rest.begin(), rest.size(), name, &entry.attr, next)
                    : fuse_add_direntry_plus(request, rest.begin(), rest.size(), name, &entry, next);
    if (size > rest.size()) return Room::NO;
    used += size;
    if (detail == Detail::ATTRIBUTES && entry.ino != 0) {
      given.add(InodeId(entry.ino));
      if (entry.entry_timeout > 0) names = Names::KEPT;
    }
    return Room::YES;
  }
  Room addSelf(const char* name, uint64_t inode, uint64_t offset) {
    fuse_entry_param entry = {};
    entry.attr.st_ino = inode;
    entry.attr.st_mode = S_IFDIR;
    return add(name, entry, offset);
  }

  fuse_req_t request;
  kj::Array<char> buffer;
  size_t used = 0;
  const Detail detail;
  kj::Vector<InodeId> given;  // count as looked up once the kernel has taken the answer
  enum class Names { NOT_KEPT, KEPT } names = Names::NOT_KEPT;
};

Async<void> Handlers::openDirectory(Request request, InodeId inode, fuse_file_info file) {
  // Whether it still exists is seen when it is read.
  auto handle = kj::refcounted<DirectoryHandle>(inode);
  auto& kept = *handle;
  directoryHandles.add(kept);
  kept.self = kj::mv(handle);
  file.fh = reinterpret_cast<uint64_t>(&kept);
  if (request.opened(file) == Request::Taken::NO) dropDirectory(kept);
  return kj::READY_NOW;
}

Async<void> Handlers::readDirectory(Request request, fuse_file_info file, uint64_t offset, size_t size,
                                    Detail detail) {
  auto directory = kj::addRef(*reinterpret_cast<DirectoryHandle*>(file.fh));
  kernel.listingTaken(directory.get());    // the one before: there is one at a time of an open directory
  Listing listing(nullptr, size, detail);  // libfuse does not look at the request
  if (offset == 0) {
    directory->state = DirectoryHandle::Page::NONE;  // opened or rewound: shows what is there from now on
    accessed({.inode = directory->inode, .type = FileType::DIRECTORY});
    listing.addSelf(".", directory->inode.value(), AFTER_DOT);
  }
  if (offset == 0 || offset == AFTER_DOT) listing.addSelf("..", UNKNOWN_INODE, AFTER_DOT_DOT);
  auto cookie = offset == AFTER_DOT || offset == AFTER_DOT_DOT ? 0 : offset;

  while (true) {
    if (!serves(*directory, cookie, detail)) {
      auto status = co_await readPage(kj::addRef(*directory), cookie, detail);
      if (status != Status::OK) {
        request.status(status);
        co_return;
      }
      if (!serves(*directory, cookie, detail))
        continue;  // an interrupted listing of this handle came in between
    }
    appendPage(listing, *directory);
    // Go on only while there is nothing to answer with: an empty answer means the end.
    if (listing.used > 0 || directory->next < directory->page.entries.size() ||
        directory->page.more == DirectoryPage::More::NO) {
      break;
    }
    cookie = directory->position;
    directory->state = DirectoryHandle::Page::NONE;
  }

  auto reply = kj::arrayPtr(reinterpret_cast<const kj::byte*>(listing.buffer.begin()), listing.used);
  if (request.bytes(reply) == Request::Taken::YES) {
    for (auto inode : listing.given) inodes.lookedUp(inode);
    if (listing.names == Listing::Names::KEPT) kernel.listingGiven(directory.get(), directory->inode);
  }
}

bool Handlers::serves(const DirectoryHandle& directory, uint64_t cookie, Detail detail) const {
  if (directory.state == DirectoryHandle::Page::NONE || directory.position != cookie) return false;
  if (directory.next == directory.page.entries.size() && directory.page.more == DirectoryPage::More::YES) {
    return false;
  }
  return detail == Detail::NAMES || directory.detail == Detail::ATTRIBUTES;
}

Async<Status> Handlers::readPage(kj::Own<DirectoryHandle> directory, uint64_t cookie, Detail detail) {
  auto page = co_await filesystem.readDirectory(directory->inode, cookie, PAGE_ENTRIES, detail);
  if (!page.ok()) co_return page.status();
  directory->page = kj::mv(page).value();
  directory->position = cookie;
  directory->next = 0;
  directory->detail = detail;
  directory->state = DirectoryHandle::Page::VALID;
  co_return Status::OK;
}

void Handlers::appendPage(Listing& listing, DirectoryHandle& directory) {
  for (; directory.next < directory.page.entries.size(); ++directory.next) {
    auto& entry = directory.page.entries[directory.next];
    KJ_ASSERT(entry.cookie != 0 && entry.cookie < AFTER_DOT_DOT, "a cookie that is reserved", entry.cookie);
    if (entry.attributes.inode != InodeId()) {  // else gone since the page was read
      fuse_entry_param answer = {};
      if (directory.detail == Detail::ATTRIBUTES)
        answer = entryOf(directory.inode, entry.name, entry.attributes, Answer::TO_LOOK);
      if (answer.attr_timeout <= 0) {
        answer.ino = 0;
        answer.attr = statOf(entry.attributes);
      }
      if (listing.add(entry.name.cStr(), answer, entry.cookie) == Listing::Room::NO) break;
    }
    directory.position = entry.cookie;
  }
}

Async<void> Handlers::releaseDirectory(Request request, fuse_file_info file) {
  dropDirectory(*reinterpret_cast<DirectoryHandle*>(file.fh));
  request.fail(0);
  return kj::READY_NOW;
}

void Handlers::dropDirectory(DirectoryHandle& directory) {
  kernel.listingTaken(&directory);
  directoryHandles.remove(directory);
  auto drop = kj::mv(directory.self);
}

Async<void> Handlers::syncDirectory(Request request, InodeId inode) {
  request.status(co_await filesystem.syncNames(inode));
}

}  // namespace cairn::fuse
