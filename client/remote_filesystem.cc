// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/remote_filesystem.h"

#include <kj/debug.h>
#include <sys/stat.h>

#include "client/access_times.h"
#include "client/attributes.h"
#include "client/inode_table.h"
#include "client/leases.h"
#include "client/lock_keeper.h"

namespace cairn {

using namespace client;  // NOLINT: this file joins the contract and what is behind it

size_t ReadData::size() const {
  size_t total = 0;
  for (auto& piece : pieces) total += piece.size();
  return total;
}

namespace {

kj::Array<PeerAddress> addressesOf(kj::ArrayPtr<const kj::String> texts) {
  KJ_REQUIRE(texts.size() > 0, "no metaserver is named");
  auto addresses = kj::heapArrayBuilder<PeerAddress>(texts.size());
  for (auto& text : texts) addresses.add(PeerAddress{kj::str(text), kj::str(), kj::str()});
  return addresses.finish();
}

class RemoteFilesystem final : public Filesystem, private SessionEvents, private LeasedFiles {
 public:
  explicit RemoteFilesystem(FilesystemOptions optionsArg)
      : options(kj::mv(optionsArg)),
        peers{options.timer, options.network, options.pool, options.entropy,
              cluster,       options.name,    options.host},
        budget(kj::refcounted<BufferBudget>(options.pool, options.bufferBytesMax)),
        session(Session::Options{options.timer, options.entropy, options.timing, options.log.named("session"),
                                 options.host, options.name},
                peers, addressesOf(options.metaservers), *this),
        servers(peers, options.timing.suspectTime),
        locator(options.timer, session, servers),
        reader(options.timer, options.entropy, options.timing, options.log.named("read"), locator, servers,
               session),
        writer(options.timer, options.entropy, options.timing, options.log.named("write"), locator, servers),
        appender(options.timer, options.entropy, options.timing, options.log.named("append"), locator,
                 servers),
        chunkSync(options.timer, options.entropy, options.timing, options.log.named("sync"), locator,
                  servers),
        parts{options.timer, options.clock,   options.timing, options.log.named("file"),
              *budget,       options.limits,  session,        locator,
              reader,        writer,          appender,       chunkSync,
              servers,       options.entropy, leases,         inodes},
        leases(options.timer, session, *this, options.log.named("leases")),
        inodes(parts) {}

  Async<void> start() {
    auto status = co_await session.start();
    if (ok(status)) co_return;
    auto why = session.refusal();
    KJ_FAIL_REQUIRE("cannot use the metaserver", options.metaservers[0], status, why);
  }

  // names
  // ------------------------------------------------------------------------------------------------------

  Async<Result<FileAttributes>> lookup(InodeId parent, kj::StringPtr name) override {
    KJ_IF_MAYBE (found, leases.cache().name(parent, name, leases.now())) {
      if (!*found) co_return Status::NOT_FOUND;
      KJ_IF_MAYBE (attributes, leases.cache().attributes(*found, leases.now()))
        co_return overlaid(*attributes);
    }
    auto asked = kj::str(name);
    auto answer = co_await session.queryWhole("lookup", [parent, &asked](rpc::Session::Client& client) {
      auto request = client.lookupRequest();
      request.setParent(parent.value());
      request.setName(asked);
      return request.send();
    });
    if (!answer.ok()) co_return answer.status();
    auto status = answer->getStatus();
    if (status == Status::NOT_FOUND) learnName(answer->getDirectory(), asked, InodeId());
    if (!ok(status)) co_return status;
    auto attributes = learned(readAttributes(answer->getAttributes()));
    learnName(answer->getDirectory(), asked, attributes.inode);
    if (leases.cache().attributes(attributes.inode, leases.now()) == nullptr) {
      // The kernel may not keep them and asks again at once; another mount may have removed it by then.
      lastSeen[attributes.inode] = attributes;
    }
    co_return attributes;
  }

  Async<Result<FileAttributes>> getAttributes(InodeId inode) override {
    KJ_IF_MAYBE (attributes, leases.cache().attributes(inode, leases.now())) co_return overlaid(*attributes);
    KJ_IF_MAYBE (state, inodes.find(inode)) {
      if (!state->isSettled() && leases.mayWrite(inode)) co_return withAccessTime(state->attributes());
    }
    auto answer = co_await session.query("getAttributes", [inode](rpc::Session::Client& client) {
      auto request = client.getAttributesRequest();
      request.setInode(inode.value());
      return request.send();
    });
    if (answer.ok()) co_return learned(readAttributes(answer->getAttributes()));
    auto gone = lastSeen.find(inode);
    if (answer.status() != Status::STALE || gone == lastSeen.end()) co_return answer.status();
    gone->second.links = 0;
    co_return gone->second;
  }

  Async<Result<FileAttributes>> setAttributes(InodeId inode, AttributeChange change) override {
    if (change.atime != nullptr || change.atimeNow == AttributeChange::Now::YES) accessTimes.forget(inode);
    KJ_IF_MAYBE (state, inodes.find(inode)) {
      auto kept = kj::addRef(*state);
      co_return co_await kept->setAttributes(kj::mv(change));
    }
    auto outcome = co_await session.change(
        [inode, &change](rpc::Change::Builder builder) { fillAttributes(builder, inode, change); });
    auto gone = lastSeen.find(inode);
    if (outcome.status() == Status::STALE && gone != lastSeen.end()) {
      changeGone(gone->second, change);
      co_return learned(gone->second);
    }
    if (!outcome.ok()) co_return outcome.status();
    KJ_IF_MAYBE (size, change.size) locator.known().forgetFrom(inode, locate(FileOffset(*size)).index);
    co_return learned(outcome->attributes);
  }

  Async<Result<FileAttributes>> make(InodeId parent, kj::StringPtr name, NewNode node,
                                     Credentials caller) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      fillCreate(change, parent, name, node, node.mode, caller);
      change.getCreate().setExclusive(true);
    });
    noteName(outcome, parent, name);
    if (!outcome.ok()) co_return outcome.status();
    co_return learned(outcome->attributes);
  }

  Async<Result<FileAttributes>> link(InodeId inode, InodeId parent, kj::StringPtr name) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      auto link = change.initLink();
      link.setInode(inode.value());
      link.setParent(parent.value());
      link.setName(name);
    });
    noteName(outcome, parent, name);
    if (!outcome.ok()) co_return outcome.status();
    co_return learned(outcome->attributes);
  }

  Async<Status> unlink(InodeId parent, kj::StringPtr name, Credentials caller) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      fillCaller(change, caller);
      auto unlink = change.initUnlink();
      unlink.setParent(parent.value());
      unlink.setName(name);
    });
    if (outcome.ok()) {
      if (outcome->attributes.links == 0) inodes.removed(outcome->attributes.inode);
      noteRemoved(outcome->attributes);
      noteAbsence(*outcome, parent, name);
      learned(outcome->attributes);
      co_await linkLost(outcome->attributes);
    }
    co_return outcome.status();
  }

  Async<Status> rmdir(InodeId parent, kj::StringPtr name) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      auto rmdir = change.initRmdir();
      rmdir.setParent(parent.value());
      rmdir.setName(name);
    });
    if (outcome.ok()) {
      noteRemoved(outcome->attributes);
      noteAbsence(*outcome, parent, name);
      learned(outcome->attributes);
    }
    co_return outcome.status();
  }

  Async<Status> rename(InodeId parent, kj::StringPtr name, InodeId newParent, kj::StringPtr newName,
                       uint32_t flags, Credentials caller) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      fillCaller(change, caller);
      auto rename = change.initRename();
      rename.setParent(parent.value());
      rename.setName(name);
      rename.setNewParent(newParent.value());
      rename.setNewName(newName);
      rename.setFlags(flags);
    });
    if (outcome.ok()) {
      auto& other = outcome->newParent.inode ? outcome->newParent : outcome->parent;
      learned(outcome->parent);
      learned(other);
      learned(outcome->attributes);
      if (outcome->loser.inode) learned(outcome->loser);
      if (outcome->replaced && outcome->loser.links == 0) inodes.removed(outcome->replaced);
      noteReplaced(outcome->replaced, outcome->loser);
      // What the names are now depends on the flags, and on whether both were one inode: they are asked for
      // anew.
      leases.cache().forgetName(parent, name, outcome->parent.stamp);
      leases.cache().forgetName(newParent, newName, other.stamp);
      if (outcome->loser.inode) co_await linkLost(outcome->loser);
    }
    co_return outcome.status();
  }

  Async<Result<kj::String>> readLink(InodeId inode) override {
    auto answer = co_await session.query("readLink", [inode](rpc::Session::Client& client) {
      auto request = client.readLinkRequest();
      request.setInode(inode.value());
      return request.send();
    });
    if (!answer.ok()) co_return answer.status();
    co_return kj::str(answer->getTarget());
  }

  Async<Result<DirectoryPage>> readDirectory(InodeId inode, uint64_t cookie, uint32_t limit,
                                             Detail detail) override {
    auto answer = co_await session.query("readDirectory", [=](rpc::Session::Client& client) {
      auto request = client.readDirectoryRequest();
      request.setInode(inode.value());
      request.setCookie(cookie);
      request.setLimit(limit);
      request.setAttributes(detail == Detail::ATTRIBUTES);
      return request.send();
    });
    if (!answer.ok()) co_return answer.status();
    DirectoryPage page;
    auto directory = readLease(answer->getDirectory());
    leases.cache().learnLease(directory);
    auto entries = answer->getEntries();
    auto builder = kj::heapArrayBuilder<DirectoryEntry>(entries.size());
    for (auto entry : entries) {
      auto attributes = readAttributes(entry.getAttributes());
      if (detail == Detail::ATTRIBUTES) attributes = learned(attributes);
      leases.cache().learnName(inode, entry.getName(), attributes.inode, directory.stamp);
      builder.add(DirectoryEntry{kj::str(entry.getName()), entry.getCookie(), attributes});
    }
    leases.trim();
    page.entries = builder.finish();
    page.more = answer->getEnd() ? DirectoryPage::More::NO : DirectoryPage::More::YES;
    co_return kj::mv(page);
  }

  // open files
  // -------------------------------------------------------------------------------------------------

  Async<Result<kj::Own<OpenFile>>> open(InodeId inode, Access access) override {
    InodeTable::Opening opening(inodes);
    auto answer = co_await session.query("open", [inode, access](rpc::Session::Client& client) {
      auto request = client.openRequest();
      request.setInode(inode.value());
      request.setForWrite(access == Access::WRITE);
      return request.send();
    });
    if (!answer.ok()) co_return answer.status();
    auto attributes = readAttributes(answer->getAttributes());
    leases.cache().learn(attributes);
    auto file = inodes.adopt(attributes);  // first: it may forget locations
    locator.learn(inode, answer->getLocations());
    KJ_IF_MAYBE (state, inodes.find(inode)) state->learnQuota(answer->getQuotaLeft());
    // It was found by a name, and with a link, that it has lost since.
    if (attributes.links == 0) co_await leases.forgetAttributes(inode);
    co_return kj::mv(file);
  }

  Async<Result<kj::Own<OpenFile>>> create(InodeId parent, kj::StringPtr name, uint16_t mode,
                                          Credentials caller, NewNode node, bool exclusive) override {
    InodeTable::Opening opening(inodes);
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      fillCreate(change, parent, name, node, mode, caller);
      auto create = change.getCreate();
      create.setType(FileType::REGULAR);
      create.setExclusive(exclusive);
      create.setOpen(true);
    });
    noteName(outcome, parent, name);
    if (!outcome.ok()) co_return outcome.status();
    leases.cache().learn(outcome->attributes);
    auto file = inodes.adopt(outcome->attributes);
    KJ_IF_MAYBE (state, inodes.find(outcome->attributes.inode)) state->learnQuota(outcome->quotaLeft);
    co_return kj::mv(file);
  }

  Async<Result<kj::Own<OpenFile>>> createTemporary(InodeId directory, uint16_t mode,
                                                   Credentials caller) override {
    InodeTable::Opening opening(inodes);
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      fillCreate(change, directory, "", NewNode{}, mode, caller);
      auto create = change.getCreate();
      create.setTemporary(true);
      create.setOpen(true);
    });
    if (!outcome.ok()) co_return outcome.status();
    leases.cache().learn(outcome->attributes);
    auto file = inodes.adopt(outcome->attributes);
    KJ_IF_MAYBE (state, inodes.find(outcome->attributes.inode)) state->learnQuota(outcome->quotaLeft);
    co_return kj::mv(file);
  }

  void accessed(const FileAttributes& attributes) override { accessTimes.read(attributes); }

  bool isAccessDue(const FileAttributes& attributes) const override { return accessTimes.isDue(attributes); }

  void forgotten(InodeId inode) override { lastSeen.erase(inode); }

  // the rest
  // ---------------------------------------------------------------------------------------------------

  Async<Result<SpaceStatistics>> statistics(InodeId inode) override {
    auto answer = co_await session.query("statistics", [inode](rpc::Session::Client& client) {
      auto request = client.statisticsRequest();
      request.setInode(inode.value());
      return request.send();
    });
    if (!answer.ok()) co_return answer.status();
    co_return SpaceStatistics{answer->getBlocksTotal(), answer->getBlocksFree(), answer->getInodes(),
                              answer->getInodesFree()};
  }

  Async<Result<kj::Array<kj::byte>>> getXattr(InodeId inode, kj::StringPtr name) override {
    auto answer =
        co_await session.query("getXattr", [inode, name = kj::str(name)](rpc::Session::Client& client) {
          auto request = client.getXattrRequest();
          request.setInode(inode.value());
          request.setName(name);
          return request.send();
        });
    if (!answer.ok()) co_return answer.status();
    co_return kj::heapArray<kj::byte>(answer->getValue());
  }

  Async<Status> setXattr(InodeId inode, kj::StringPtr name, kj::ArrayPtr<const kj::byte> value,
                         uint32_t flags) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      auto set = change.initSetXattr();
      set.setOwner(inode.value());
      set.setKey(name);
      set.setValue(value);
      set.setFlags(flags);
    });
    if (outcome.ok()) learned(outcome->attributes);
    co_return outcome.status();
  }

  Async<Status> removeXattr(InodeId inode, kj::StringPtr name) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      auto remove = change.initRemoveXattr();
      remove.setFrom(inode.value());
      remove.setAttribute(name);
    });
    if (outcome.ok()) learned(outcome->attributes);
    co_return outcome.status();
  }

  Async<Result<kj::Array<kj::String>>> listXattr(InodeId inode) override {
    auto answer = co_await session.query("listXattr", [inode](rpc::Session::Client& client) {
      auto request = client.listXattrRequest();
      request.setInode(inode.value());
      return request.send();
    });
    if (!answer.ok()) co_return answer.status();
    auto names = answer->getNames();
    auto builder = kj::heapArrayBuilder<kj::String>(names.size());
    for (auto name : names) builder.add(kj::str(name));
    co_return builder.finish();
  }

  Async<Status> syncNames(InodeId directory) override {
    auto status = co_await session.sync(directory);
    if (session.takeLoss(directory) || status == Status::NOT_FOUND) co_return Status::IO_ERROR;
    co_return status == Status::STALE ? Status::OK : status;  // nothing is left in one that has been removed
  }

  kj::Promise<Status> setLock(FileLock lock, kj::Maybe<kj::Promise<void>> givenUp) override {
    return locks.set(lock, kj::mv(givenUp));
  }
  kj::Promise<Result<FileLock>> testLock(FileLock lock) override { return locks.test(lock); }

  Async<Status> syncAll() override {
    auto states = inodes.all();
    std::vector<kj::Promise<Status>> syncs;
    for (auto& state : states) syncs.push_back(state->sync().eagerlyEvaluate(nullptr));
    auto closed = inodes.syncClosed().eagerlyEvaluate(nullptr);
    Status result = Status::OK;
    for (auto& sync : syncs) {
      auto status = co_await sync;
      if (ok(result)) result = status;
    }
    auto status = co_await closed;
    if (ok(result)) result = status;
    auto names = co_await session.sync();
    if (session.takeLosses() && ok(result)) result = Status::IO_ERROR;
    co_return ok(result) ? names : result;
  }

  Async<void> shutdown() override {
    auto states = inodes.all();
    std::vector<kj::Promise<Status>> flushes;
    for (auto& state : states) flushes.push_back(state->settle().eagerlyEvaluate(nullptr));
    for (auto& flush : flushes) {
      auto status = co_await flush;
      if (!ok(status)) options.log.error("a file could not be flushed at shutdown: ", status);
    }
    co_await inodes.finish();
    co_await accessTimes.publish();
    co_await session.close();
  }

  void setObserver(Observer& newObserver) override { leases.setObserver(newObserver); }

  kj::Duration keepAttributes(const FileAttributes& attributes) const override {
    // While something is buffered size and times move on; who asks is answered from here.
    if (!leases.cache().isCurrent(attributes, leases.now()) || !isSettled(attributes.inode))
      return 0 * kj::SECONDS;
    return leases.left();
  }
  kj::Duration keepName(InodeId parent, kj::StringPtr name, InodeId found) const override {
    KJ_IF_MAYBE (known, leases.cache().name(parent, name, leases.now())) {
      if (*known == found) return leases.left();
    }
    return 0 * kj::SECONDS;
  }
  bool isToldOfNames(InodeId directory) const override { return leases.mayRead(directory); }
  kj::Maybe<uint8_t> knownExtended(InodeId inode) const override {
    KJ_IF_MAYBE (attributes, leases.cache().attributes(inode, leases.now())) return attributes->extended;
    return nullptr;
  }

 private:
  FilesystemOptions options;
  ClusterId cluster;
  PeerEnvironment peers;
  kj::Own<BufferBudget> budget;
  Session session;
  ChunkServers servers;
  Locator locator;
  Reader reader;
  Writer writer;
  Appender appender;
  ChunkSync chunkSync;
  FileParts parts;
  Leases leases;
  InodeTable inodes;
  LockKeeper locks{session, options.log.named("locks")};
  AccessTimes accessTimes{options.timer, options.clock, session, options.log.named("atime"),
                          [this](InodeId inode, Timestamp time) {
                            leases.cache().accessed(inode, time);
                            KJ_IF_MAYBE (state, inodes.find(inode)) state->accessed(time);
                          }};
  std::unordered_map<InodeId, FileAttributes> lastSeen;
  // Directories and special files that this client has removed, and what was found without a lease: the
  // kernel holds them, and asks about them when they may be gone.

  FileAttributes learned(const FileAttributes& answer) {
    // What is known under a lease is at least as new as any answer.
    leases.cache().learn(answer);
    leases.trim();
    KJ_IF_MAYBE (known, leases.cache().attributes(answer.inode, leases.now())) return overlaid(*known);
    return overlaid(answer);
  }

  static LeaseHeld readLease(rpc::Lease::Reader lease) {
    return {InodeId(lease.getInode()), lease.getKind(), lease.getStamp()};
  }

  void learnName(rpc::Lease::Reader directory, kj::StringPtr name, InodeId found) {
    auto lease = readLease(directory);
    leases.cache().learnLease(lease);
    if (name == ".." || name == ".")
      return;  // not a name of the directory: it changes when the directory is moved
    leases.cache().learnName(lease.inode, name, found, lease.stamp);
  }

  void noteName(Result<Session::ChangeOutcome>& outcome, InodeId parent, kj::StringPtr name) {
    if (!outcome.ok() || !outcome->parent.inode) return;
    learned(outcome->parent);
    leases.cache().learnName(parent, name, outcome->attributes.inode, outcome->parent.stamp);
  }

  void noteAbsence(const Session::ChangeOutcome& outcome, InodeId parent, kj::StringPtr name) {
    if (!outcome.parent.inode) return;
    learned(outcome.parent);
    leases.cache().learnName(parent, name, InodeId(), outcome.parent.stamp);
  }

  bool isSettled(InodeId inode) const {
    KJ_IF_MAYBE (state, const_cast<InodeTable&>(inodes).find(inode)) return state->isSettled();
    return true;
  }

  FileAttributes overlaid(FileAttributes attributes) {
    inodes.overlay(attributes);
    accessTimes.overlay(attributes);
    return attributes;
  }

  FileAttributes withAccessTime(FileAttributes attributes) const {
    accessTimes.overlay(attributes);
    return attributes;
  }

  kj::Promise<void> linkLost(const FileAttributes& attributes) {
    // By a change of our own, as its answer tells. The kernel counts down the links of the inode that it took
    // the name for, which another client's rename may have made another: it must ask for those of this one,
    // if anybody still can.
    bool isOpen = attributes.type == FileType::REGULAR ? inodes.find(attributes.inode) != nullptr
                                                       : attributes.type != FileType::SYMLINK;
    if (attributes.type == FileType::DIRECTORY || (attributes.links == 0 && !isOpen)) return kj::READY_NOW;
    return leases.forgetAttributes(attributes.inode);
  }

  void noteRemoved(const FileAttributes& attributes) {
    if (attributes.links == 0 && attributes.type != FileType::REGULAR)
      lastSeen[attributes.inode] = attributes;
  }

  void noteReplaced(InodeId replaced, const FileAttributes& loser) {
    // A directory or special file that a rename has put something else in the place of is gone, and the
    // metaserver tells no more of it; the kernel may have it open.
    if (!replaced || loser.inode) return;
    KJ_IF_MAYBE (known, leases.cache().attributes(replaced, leases.now())) {
      auto gone = *known;
      gone.links = 0;
      noteRemoved(gone);
      learned(gone);
    }
  }

  void changeGone(FileAttributes& attributes, const AttributeChange& change) {
    // A directory or special file that is removed, and open here: only its descriptors lead to it, so it is
    // changed here only, by the rules of metaserver/ops/set_attributes.cc.
    using Now = AttributeChange::Now;
    Timestamp now{(options.clock.now() - kj::UNIX_EPOCH) / kj::NANOSECONDS};
    bool isGiven = change.uid != nullptr || change.gid != nullptr;
    if (isGiven && attributes.type != FileType::DIRECTORY) {
      uint16_t privileges = attributes.mode & S_IXGRP ? S_ISUID | S_ISGID : S_ISUID;
      attributes.mode &= uint16_t(~privileges);
    }
    attributes.links = 0;
    KJ_IF_MAYBE (mode, change.mode) attributes.mode = *mode & 07777;
    KJ_IF_MAYBE (uid, change.uid) attributes.uid = *uid;
    KJ_IF_MAYBE (gid, change.gid) attributes.gid = *gid;
    KJ_IF_MAYBE (atime, change.atime) attributes.atime = *atime;
    KJ_IF_MAYBE (mtime, change.mtime) attributes.mtime = *mtime;
    if (change.atimeNow == Now::YES) attributes.atime = now;
    if (change.mtimeNow == Now::YES) attributes.mtime = now;
    attributes.ctime = now;
  }

  static void fillCaller(rpc::Change::Builder change, Credentials caller) {
    change.initCaller().setUid(caller.uid);
    change.getCaller().setGid(caller.gid);
  }

  static void fillCreate(rpc::Change::Builder change, InodeId parent, kj::StringPtr name, const NewNode& node,
                         uint16_t mode, Credentials caller) {
    fillCaller(change, caller);
    auto create = change.initCreate();
    create.setUmask(caller.umask);
    create.setParent(parent.value());
    create.setName(name);
    create.setType(node.type);
    create.setMode(mode);
    create.setDevice(node.device);
    create.setTarget(node.target);
  }

  // what happens to the session
  // --------------------------------------------------------------------------------

  std::vector<InodeId> openInodes() override { return inodes.openInodes(); }
  std::vector<FileLock> heldLocks() override { return locks.held(); }

  void reopened(InodeId inode, Result<FileAttributes> answer) override {
    KJ_IF_MAYBE (state, inodes.find(inode)) {
      if (answer.ok()) {
        state->learn(*answer);
      } else {
        state->becomeStale();
      }
    }
  }

  std::vector<LeaseHeld> heldLeases() override { return leases.held(); }
  kj::Promise<void> recall(std::vector<LeaseHeld> asked) override { return leases.recall(kj::mv(asked)); }
  void renewed(kj::TimePoint sent, uint64_t voidUpTo) override { leases.renewed(sent, voidUpTo); }
  void resumed(kj::TimePoint sent, kj::Duration leaseTerm, uint64_t voidUpTo,
               const std::vector<InodeId>& refused) override {
    leases.resumed(sent, leaseTerm, voidUpTo, refused);
  }
  void fenced() override { leases.lost(); }
  void answersLost(LogIndex from) override {
    leases.lost();
    locator.known().forgetAll();
    inodes.answersLost(from);
  }

  kj::Promise<kj::Maybe<FileAttributes>> describe(InodeId inode) override {
    kj::Maybe<FileAttributes> described;
    if (leases.mayWrite(inode)) {
      KJ_IF_MAYBE (attributes, leases.cache().attributes(inode, leases.now())) described = *attributes;
      KJ_IF_MAYBE (state, inodes.find(inode)) described = state->attributes();
    }
    if (described == nullptr) return described;
    // What is written meanwhile is not in this answer.
    return leases.forgetAttributes(inode).then([described]() { return described; });
  }

  // what happens to leases
  // --------------------------------------------------------------------------------

  Async<void> writeOut(InodeId inode) override {
    KJ_IF_MAYBE (state, inodes.find(inode)) {
      auto kept = kj::addRef(*state);
      co_await kept->writeOut();
    }
  }
  void learned(InodeId inode, const FileAttributes& attributes) override {
    KJ_IF_MAYBE (state, inodes.find(inode)) state->learn(attributes);
  }
  void leaseLost(InodeId inode) override {
    KJ_IF_MAYBE (state, inodes.find(inode)) state->leaseLost();
  }
  void forgetLocations(InodeId inode) override { locator.known().forget(inode); }
};

}  // namespace

Async<kj::Own<Filesystem>> connectFilesystem(FilesystemOptions options) {
  auto filesystem = kj::heap<RemoteFilesystem>(kj::mv(options));
  co_await filesystem->start();
  co_return kj::Own<Filesystem>(kj::mv(filesystem));
}

}  // namespace cairn
