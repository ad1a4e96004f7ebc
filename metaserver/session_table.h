// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The mounts: who is there, what each holds open, who is overdue. That a session exists is persistent (the
// namespace); what it holds open is learned when it opens files and, after a restart of the metaserver, when
// it resumes. INVARIANT: while a session that existed before the start has neither resumed nor been fenced,
// we do not know what it holds open, so nothing counts as unheld. Pure: the caller passes `now`. Called by
// sessions.cc.
#pragma once

#include <kj/function.h>
#include <kj/string.h>
#include <kj/vector.h>

#include <map>
#include <unordered_map>
#include <unordered_set>

#include "metaserver/inode.h"
#include "rpc/result.h"
#include "rpc/units.h"

namespace cairn {

class SessionTable {
 public:
  void restored(const SessionRecord& record, kj::TimePoint now);  // of the namespace, at the start
  void opened(SessionId id, kj::StringPtr host, kj::StringPtr name, kj::TimePoint now);

  Result<kj::Vector<InodeId>> resume(SessionId id, kj::ArrayPtr<const InodeId> openInodes, kj::TimePoint now);
  // What it says it holds open replaces what we remember: it may have closed files, and that was lost with
  // its connection. Answers what nobody holds open any more. SESSION_EXPIRED: it has been fenced or closed.

  Status touch(SessionId id, kj::TimePoint now);  // any call renews. SESSION_EXPIRED
  kj::StringPtr host(SessionId id) const;         // machine of the client; empty if it is gone

  void open(SessionId id, InodeId inode);
  kj::Vector<InodeId> release(SessionId id, kj::ArrayPtr<const InodeId> inodes);
  kj::Vector<InodeId> ended(SessionId id);
  // Both answer what nobody holds open any more.

  bool held(InodeId inode) const { return holders.find(inode) != holders.end(); }
  bool everyoneKnown() const { return unknown == 0; }
  kj::Vector<SessionId> othersHolding(InodeId inode, SessionId except) const;
  kj::Vector<SessionId> overdue(kj::TimePoint now) const;
  size_t size() const { return sessions.size(); }

  struct View {
    // Of a session, for people.
    SessionId id;
    kj::StringPtr host, name;
    kj::TimePoint seen = kj::origin<kj::TimePoint>();
  };
  void visit(kj::FunctionParam<void(const View&)>& visit) const;
  void checkInvariants() const;

 private:
  struct Session {
    kj::String host, name;
    kj::TimePoint seen = kj::origin<kj::TimePoint>();
    std::unordered_set<InodeId> open;
    enum class Holdings { KNOWN, UNKNOWN } holdings = Holdings::KNOWN;
  };
  void known(Session& session);
  bool drop(SessionId id, InodeId inode);  // true: it was the last holder

  std::map<SessionId, Session> sessions;
  std::unordered_map<InodeId, kj::Vector<SessionId>> holders;
  uint32_t unknown = 0;  // sessions whose holdings are
};

}  // namespace cairn
