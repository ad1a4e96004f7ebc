// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See session_table.h.
#include "metaserver/session_table.h"

#include <kj/debug.h>

#include <algorithm>

namespace cairn {

void SessionTable::restored(const SessionRecord& record, kj::TimePoint now) {
  auto& session = sessions[record.id];
  session.host = kj::str(record.host);
  session.name = kj::str(record.name);
  session.seen = now;
  session.holdings = Session::Holdings::UNKNOWN;
  ++unknown;
}

void SessionTable::opened(SessionId id, kj::StringPtr host, kj::StringPtr name, kj::TimePoint now) {
  auto& session = sessions[id];
  session.host = kj::str(host);
  session.name = kj::str(name);
  session.seen = now;
}

void SessionTable::known(Session& session) {
  if (session.holdings == Session::Holdings::UNKNOWN) --unknown;
  session.holdings = Session::Holdings::KNOWN;
}

Result<kj::Vector<InodeId>> SessionTable::resume(SessionId id, kj::ArrayPtr<const InodeId> openInodes,
                                                 kj::TimePoint now) {
  auto found = sessions.find(id);
  if (found == sessions.end()) return Status::SESSION_EXPIRED;
  auto& session = found->second;
  session.seen = now;
  known(session);
  auto before = session.open;
  for (auto inode : openInodes) open(id, inode);
  std::unordered_set<InodeId> named(openInodes.begin(), openInodes.end());
  kj::Vector<InodeId> unheld;
  for (auto inode : before) {
    if (named.count(inode) == 0 && drop(id, inode)) unheld.add(inode);
  }
  std::sort(unheld.begin(), unheld.end());
  return kj::mv(unheld);
}

Status SessionTable::touch(SessionId id, kj::TimePoint now) {
  auto found = sessions.find(id);
  if (found == sessions.end()) return Status::SESSION_EXPIRED;
  found->second.seen = now;
  return Status::OK;
}

kj::StringPtr SessionTable::host(SessionId id) const {
  auto found = sessions.find(id);
  return found == sessions.end() ? kj::StringPtr() : kj::StringPtr(found->second.host);
}

void SessionTable::open(SessionId id, InodeId inode) {
  auto found = sessions.find(id);
  if (found == sessions.end()) return;
  if (found->second.open.insert(inode).second) holders[inode].add(id);
}

bool SessionTable::drop(SessionId id, InodeId inode) {
  auto found = sessions.find(id);
  if (found == sessions.end() || found->second.open.erase(inode) == 0) return false;
  auto place = holders.find(inode);
  KJ_ASSERT(place != holders.end(), inode);
  kj::Vector<SessionId> rest;
  for (auto holder : place->second) {
    if (holder != id) rest.add(holder);
  }
  if (rest.empty()) {
    holders.erase(place);
    return true;
  }
  place->second = kj::mv(rest);
  return false;
}

kj::Vector<InodeId> SessionTable::release(SessionId id, kj::ArrayPtr<const InodeId> inodes) {
  kj::Vector<InodeId> unheld;
  for (auto inode : inodes) {
    if (drop(id, inode)) unheld.add(inode);
  }
  return unheld;
}

kj::Vector<InodeId> SessionTable::ended(SessionId id) {
  kj::Vector<InodeId> unheld;
  auto found = sessions.find(id);
  if (found == sessions.end()) return unheld;
  known(found->second);
  auto held = found->second.open;
  for (auto inode : held) {
    if (drop(id, inode)) unheld.add(inode);
  }
  sessions.erase(id);
  return unheld;
}

kj::Vector<SessionId> SessionTable::othersHolding(InodeId inode, SessionId except) const {
  kj::Vector<SessionId> result;
  auto found = holders.find(inode);
  if (found == holders.end()) return result;
  for (auto holder : found->second) {
    if (holder != except) result.add(holder);
  }
  return result;
}

kj::Vector<SessionId> SessionTable::overdue(kj::TimePoint now) const {
  kj::Vector<SessionId> result;
  for (auto& [id, session] : sessions) {
    if (now - session.seen >= SESSION_TERM) result.add(id);
  }
  return result;
}

void SessionTable::visit(kj::FunctionParam<void(const View&)>& visit) const {
  for (auto& [id, session] : sessions) visit({id, session.host, session.name, session.seen});
}

void SessionTable::checkInvariants() const {
  uint32_t unknownCount = 0;
  size_t pairs = 0;
  for (auto& [id, session] : sessions) {
    unknownCount += session.holdings == Session::Holdings::UNKNOWN;
    pairs += session.open.size();
    for (auto inode : session.open) {
      auto found = holders.find(inode);
      KJ_ASSERT(found != holders.end(), inode);
      KJ_ASSERT(std::count(found->second.begin(), found->second.end(), id) == 1, inode, id);
    }
  }
  for (auto& [inode, list] : holders) {
    KJ_ASSERT(!list.empty(), inode);
    pairs -= list.size();
  }
  KJ_ASSERT(pairs == 0 && unknownCount == unknown);
}

}  // namespace cairn
