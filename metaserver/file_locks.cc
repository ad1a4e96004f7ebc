// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/file_locks.h"

#include <kj/debug.h>

#include <set>

namespace cairn {

template <typename Visit>
void FileLocks::forConflicts(const LockRequest& request, Visit&& visit) const {
  // Until `visit` answers false.
  if (request.range.type == LockType::UNLOCK) return;
  auto file = files.find({request.inode, request.kind});
  if (file == files.end()) return;
  for (auto& [owner, ranges] : file->second.owners) {
    if (owner == request.owner) continue;
    for (auto& range : ranges.all()) {
      if (!range.overlaps(request.range) || !excludes(range.type, request.range.type)) continue;
      if (!visit(LockRequest{request.inode, request.kind, owner, range, file->second.pids.at(owner)})) return;
    }
  }
}

kj::Maybe<LockRequest> FileLocks::conflict(const LockRequest& request) const {
  // The first byte that is taken, as local filesystems show it.
  kj::Maybe<LockRequest> found;
  forConflicts(request, [&](const LockRequest& held) {
    KJ_IF_MAYBE (first, found) {
      if (held.range.start < first->range.start) found = held;
    } else {
      found = held;
    }
    return true;
  });
  return found;
}

void FileLocks::set(const LockRequest& request) {
  FileKey key{request.inode, request.kind};
  auto place = files.find(key);
  if (place == files.end()) {
    if (request.range.type == LockType::UNLOCK) return;
    place = files.emplace(key, File()).first;
  }
  auto& file = place->second;
  auto& ranges = file.owners[request.owner];
  ranges.set(request.range);
  if (ranges.isEmpty()) {
    file.owners.erase(request.owner);
    file.pids.erase(request.owner);
  } else {
    file.pids[request.owner] = request.pid;
  }
  if (file.owners.empty()) files.erase(place);
}

bool FileLocks::wouldDeadlock(const LockRequest& request) const {
  if (request.kind != LockKind::POSIX) return false;
  std::set<LockOwner> seen;
  kj::Vector<LockOwner> toLookAt;
  auto follow = [&](const LockRequest& wanted) {
    forConflicts(wanted, [&](const LockRequest& held) {
      if (seen.insert(held.owner).second) toLookAt.add(held.owner);
      return true;
    });
  };
  follow(request);
  while (!toLookAt.empty()) {
    auto owner = toLookAt.back();
    toLookAt.removeLast();
    if (owner == request.owner) return true;
    for (auto& waiter : waiting) {
      if (waiter.request.owner == owner && waiter.request.kind == LockKind::POSIX) follow(waiter.request);
    }
  }
  return seen.count(request.owner) > 0;
}

void FileLocks::wait(LockTicket ticket, const LockRequest& request) {
  giveUp(ticket);
  waiting.push_back({ticket, request});
}

void FileLocks::giveUp(LockTicket ticket) {
  waiting.remove_if([&](const Waiter& waiter) { return waiter.ticket == ticket; });
}

kj::Vector<LockTicket> FileLocks::grant(InodeId inode, LockKind kind) {
  kj::Vector<LockTicket> granted;
  for (auto waiter = waiting.begin(); waiter != waiting.end();) {
    auto& request = waiter->request;
    if (request.inode != inode || request.kind != kind || conflict(request) != nullptr) {
      ++waiter;
      continue;
    }
    set(request);
    granted.add(waiter->ticket);
    waiter = waiting.erase(waiter);
  }
  return granted;
}

kj::Vector<LockTicket> FileLocks::ended(SessionId session) {
  waiting.remove_if([&](const Waiter& waiter) { return waiter.ticket.session == session; });
  kj::Vector<FileKey> touched;
  for (auto file = files.begin(); file != files.end();) {
    auto& owners = file->second.owners;
    auto first = owners.lower_bound(LockOwner{session, 0}), last = first;
    while (last != owners.end() && last->first.session == session) file->second.pids.erase((last++)->first);
    if (first != last) touched.add(file->first);
    owners.erase(first, last);
    file = owners.empty() ? files.erase(file) : std::next(file);
  }
  kj::Vector<LockTicket> granted;
  for (auto& key : touched) granted.addAll(grant(key.first, key.second));
  return granted;
}

bool FileLocks::holdsAny(InodeId inode, LockKind kind, LockOwner owner) const {
  auto file = files.find({inode, kind});
  return file != files.end() && file->second.owners.count(owner) > 0;
}

void FileLocks::checkInvariants() const {
  for (auto& [key, file] : files) {
    KJ_ASSERT(!file.owners.empty());
    for (auto& [owner, ranges] : file.owners) {
      KJ_ASSERT(!ranges.isEmpty() && file.pids.count(owner) == 1);
      for (auto& range : ranges.all()) {
        KJ_ASSERT(range.start <= range.end && range.type != LockType::UNLOCK);
        KJ_ASSERT(conflict({key.first, key.second, owner, range, 0}) == nullptr, key.first, owner.number);
      }
    }
  }
  for (auto& waiter : waiting) KJ_ASSERT(conflict(waiter.request) != nullptr, "waits for nobody");
}

}  // namespace cairn
