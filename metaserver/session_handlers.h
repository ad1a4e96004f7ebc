// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The Session interface of one mount. Reads are answered from the namespace at once; changes go through the
// log; locate drives the grants. Every call renews the session, and a fenced one is refused whatever it asks.
// Made by metaserver_handlers.cc for each openSession; several objects may stand for one session
// (reconnects).
#pragma once

#include "metaserver/change_subjects.h"
#include "metaserver/meta_service.h"
#include "rpc/coroutine.h"

namespace cairn {

class SessionHandlers final : public rpc::Session::Server {
 public:
  SessionHandlers(MetaService& service, SessionId session) : service(service), session(session) {}

  kj::Promise<void> renew(RenewContext context) override;
  kj::Promise<void> close(CloseContext context) override { return service.guard(closing(context)); }
  kj::Promise<void> change(ChangeContext context) override { return service.guard(changing(context)); }
  kj::Promise<void> lookup(LookupContext context) override;
  kj::Promise<void> getAttributes(GetAttributesContext context) override;
  kj::Promise<void> readDirectory(ReadDirectoryContext context) override;
  kj::Promise<void> readLink(ReadLinkContext context) override;
  kj::Promise<void> open(OpenContext context) override { return service.guard(opening(context)); }
  kj::Promise<void> release(ReleaseContext context) override;
  kj::Promise<void> locate(LocateContext context) override { return service.guard(locating(context)); }
  kj::Promise<void> sync(SyncContext context) override { return service.guard(syncing(context)); }
  kj::Promise<void> statistics(StatisticsContext context) override;
  kj::Promise<void> reportCorrupt(ReportCorruptContext context) override {
    return service.guard(reporting(context));
  }
  kj::Promise<void> getXattr(GetXattrContext context) override;
  kj::Promise<void> listXattr(ListXattrContext context) override;
  kj::Promise<void> findChunk(FindChunkContext context) override;
  kj::Promise<void> needSpace(NeedSpaceContext context) override;

  // lease_handlers.cc
  kj::Promise<void> acquire(AcquireContext context) override { return service.guard(acquiring(context)); }
  kj::Promise<void> giveBack(GiveBackContext context) override;

  // lock_handlers.cc
  kj::Promise<void> lock(LockContext context) override { return service.guard(locking(context)); }
  kj::Promise<void> testLock(TestLockContext context) override;
  kj::Promise<void> cancelLock(CancelLockContext context) override;
  kj::Promise<void> reclaimLocks(ReclaimLocksContext context) override;

 private:
  kj::Promise<void> closing(CloseContext context);
  Async<void> changing(ChangeContext context);
  kj::Promise<Outcome> carryOut(rpc::Change::Reader change);
  kj::Promise<Outcome> cover(capnp::List<uint64_t>::Reader covered);
  Async<Outcome> share(rpc::Change::Reader change);  // share_handlers.cc
  Async<void> opening(OpenContext context);
  Async<void> locating(LocateContext context);
  Async<void> syncing(SyncContext context);
  kj::Promise<void> reporting(ReportCorruptContext context);
  Async<void> locking(LockContext context);
  Async<void> acquiring(AcquireContext context);

  // lease_handlers.cc: other mounts, while this one asks or changes something
  Async<void> lookingUp(LookupContext context);
  Async<void> gettingAttributes(GetAttributesContext context);
  Async<Status> ascertain(InodeId inode, kj::Maybe<Attributes>& described, LeaseRecalls::Turn& turn);
  void answerSure(const Attributes& known, const kj::Maybe<Attributes>& described,
                  rpc::Attributes::Builder builder);
  Async<Status> excludeOthers(rpc::Change::Reader change, ChangeSubjects& subjects, LeaseRecalls::Turn& turn);
  Async<Status> excludeOthersAfter(rpc::Change::Reader change, kj::Vector<InodeId> touched);
  enum class Applied { NOW, EARLIER };
  void grantAfter(rpc::Change::Reader change, const Outcome& outcome, Applied applied,
                  rpc::Outcome::Builder builder);
  void answer(const Attributes& attributes, rpc::Attributes::Builder builder,
              LeaseKind most = LeaseKind::READ);
  bool mayWrite(InodeId inode);

  uint64_t quotaLeft(InodeId inode) const;
  bool fenced() { return !ok(service.sessions.touch(session)); }

  MetaService& service;
  SessionId session;
};

}  // namespace cairn
