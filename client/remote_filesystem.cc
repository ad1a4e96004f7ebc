// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/remote_filesystem.h"

#include <kj/debug.h>

#include "client/access_times.h"
#include "client/attributes.h"
#include "client/inode_table.h"
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

class RemoteFilesystem final : public Filesystem, private SessionEvents {
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
              servers,       options.entropy, inodes},
        inodes(parts) {}

  kj::Promise<void> start() {
    auto status = co_await session.start();
    if (ok(status)) co_return;
    auto why = session.refusal();
    KJ_FAIL_REQUIRE("cannot use the metaserver", options.metaservers[0], status, why);
  }

  // names
  // ------------------------------------------------------------------------------------------------------

  kj::Promise<Result<FileAttributes>> lookup(InodeId parent, kj::StringPtr name) override {
    auto answer =
        co_await session.query("lookup", [parent, name = kj::str(name)](rpc::Session::Client& client) {
          auto request = client.lookupRequest();
          request.setParent(parent.value());
          request.setName(name);
          return request.send();
        });
    if (!answer.ok()) co_return answer.status();
    co_return withOverlay(answer->getAttributes());
  }

  kj::Promise<Result<FileAttributes>> getAttributes(InodeId inode) override {
    KJ_IF_MAYBE (state, inodes.find(inode)) {
      if (!state->isSettled()) co_return withAccessTime(state->attributes());
    }
    auto answer = co_await session.query("getAttributes", [inode](rpc::Session::Client& client) {
      auto request = client.getAttributesRequest();
      request.setInode(inode.value());
      return request.send();
    });
    if (answer.ok()) co_return withOverlay(answer->getAttributes());
    auto gone = removed.find(inode);
    if (answer.status() == Status::STALE && gone != removed.end()) co_return gone->second;
    co_return answer.status();
  }

  kj::Promise<Result<FileAttributes>> setAttributes(InodeId inode, AttributeChange change) override {
    if (change.atime != nullptr || change.atimeNow == AttributeChange::Now::YES) accessTimes.forget(inode);
    KJ_IF_MAYBE (state, inodes.find(inode)) {
      auto kept = kj::addRef(*state);
      co_return co_await kept->setAttributes(kj::mv(change));
    }
    auto outcome = co_await session.change(
        [inode, &change](rpc::Change::Builder builder) { fillAttributes(builder, inode, change); });
    if (!outcome.ok()) co_return outcome.status();
    KJ_IF_MAYBE (size, change.size) locator.known().forgetFrom(inode, locate(FileOffset(*size)).index);
    co_return overlaid(outcome->attributes);
  }

  kj::Promise<Result<FileAttributes>> make(InodeId parent, kj::StringPtr name, NewNode node,
                                           Credentials caller) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      fillCreate(change, parent, name, node, node.mode, caller);
      change.getCreate().setExclusive(true);
    });
    if (!outcome.ok()) co_return outcome.status();
    co_return outcome->attributes;
  }

  kj::Promise<Result<FileAttributes>> link(InodeId inode, InodeId parent, kj::StringPtr name) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      auto link = change.initLink();
      link.setInode(inode.value());
      link.setParent(parent.value());
      link.setName(name);
    });
    if (!outcome.ok()) co_return outcome.status();
    co_return overlaid(outcome->attributes);
  }

  kj::Promise<Status> unlink(InodeId parent, kj::StringPtr name, Credentials caller) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      fillCaller(change, caller);
      auto unlink = change.initUnlink();
      unlink.setParent(parent.value());
      unlink.setName(name);
    });
    if (outcome.ok()) {
      if (outcome->attributes.links == 0) inodes.removed(outcome->attributes.inode);
      noteRemoved(outcome->attributes);
      overlaid(outcome->attributes);
    }
    co_return outcome.status();
  }

  kj::Promise<Status> rmdir(InodeId parent, kj::StringPtr name) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      auto rmdir = change.initRmdir();
      rmdir.setParent(parent.value());
      rmdir.setName(name);
    });
    if (outcome.ok()) noteRemoved(outcome->attributes);
    co_return outcome.status();
  }

  kj::Promise<Status> rename(InodeId parent, kj::StringPtr name, InodeId newParent, kj::StringPtr newName,
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
    co_return outcome.status();
  }

  kj::Promise<Result<kj::String>> readLink(InodeId inode) override {
    auto answer = co_await session.query("readLink", [inode](rpc::Session::Client& client) {
      auto request = client.readLinkRequest();
      request.setInode(inode.value());
      return request.send();
    });
    if (!answer.ok()) co_return answer.status();
    co_return kj::str(answer->getTarget());
  }

  kj::Promise<Result<DirectoryPage>> readDirectory(InodeId inode, uint64_t cookie, uint32_t limit,
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
    auto entries = answer->getEntries();
    auto builder = kj::heapArrayBuilder<DirectoryEntry>(entries.size());
    for (auto entry : entries) {
      auto attributes = readAttributes(entry.getAttributes());
      if (detail == Detail::ATTRIBUTES) {
        inodes.overlay(attributes);
        accessTimes.overlay(attributes);
      }
      builder.add(DirectoryEntry{kj::str(entry.getName()), entry.getCookie(), attributes});
    }
    page.entries = builder.finish();
    page.more = answer->getEnd() ? DirectoryPage::More::NO : DirectoryPage::More::YES;
    co_return kj::mv(page);
  }

  // open files
  // -------------------------------------------------------------------------------------------------

  kj::Promise<Result<kj::Own<OpenFile>>> open(InodeId inode) override {
    InodeTable::Opening opening(inodes);
    auto answer = co_await session.query("open", [inode](rpc::Session::Client& client) {
      auto request = client.openRequest();
      request.setInode(inode.value());
      return request.send();
    });
    if (!answer.ok()) co_return answer.status();
    auto file = inodes.adopt(readAttributes(answer->getAttributes()));  // first: it may forget locations
    locator.learn(inode, answer->getLocations());
    KJ_IF_MAYBE (state, inodes.find(inode)) state->learnQuota(answer->getQuotaLeft());
    co_return kj::mv(file);
  }

  kj::Promise<Result<kj::Own<OpenFile>>> create(InodeId parent, kj::StringPtr name, uint16_t mode,
                                                Credentials caller, NewNode node, bool exclusive) override {
    InodeTable::Opening opening(inodes);
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      fillCreate(change, parent, name, node, mode, caller);
      auto create = change.getCreate();
      create.setType(FileType::REGULAR);
      create.setExclusive(exclusive);
      create.setOpen(true);
    });
    if (!outcome.ok()) co_return outcome.status();
    auto file = inodes.adopt(outcome->attributes);
    KJ_IF_MAYBE (state, inodes.find(outcome->attributes.inode)) state->learnQuota(outcome->quotaLeft);
    co_return kj::mv(file);
  }

  kj::Promise<Result<kj::Own<OpenFile>>> createTemporary(InodeId directory, uint16_t mode,
                                                         Credentials caller) override {
    InodeTable::Opening opening(inodes);
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      fillCreate(change, directory, "", NewNode{}, mode, caller);
      auto create = change.getCreate();
      create.setTemporary(true);
      create.setOpen(true);
    });
    if (!outcome.ok()) co_return outcome.status();
    auto file = inodes.adopt(outcome->attributes);
    KJ_IF_MAYBE (state, inodes.find(outcome->attributes.inode)) state->learnQuota(outcome->quotaLeft);
    co_return kj::mv(file);
  }

  void accessed(const FileAttributes& attributes) override { accessTimes.read(attributes); }

  bool isAccessDue(const FileAttributes& attributes) const override { return accessTimes.isDue(attributes); }

  void forgotten(InodeId inode) override { removed.erase(inode); }

  // the rest
  // ---------------------------------------------------------------------------------------------------

  kj::Promise<Result<SpaceStatistics>> statistics(InodeId inode) override {
    auto answer = co_await session.query("statistics", [inode](rpc::Session::Client& client) {
      auto request = client.statisticsRequest();
      request.setInode(inode.value());
      return request.send();
    });
    if (!answer.ok()) co_return answer.status();
    co_return SpaceStatistics{answer->getBlocksTotal(), answer->getBlocksFree(), answer->getInodes(),
                              answer->getInodesFree()};
  }

  kj::Promise<Result<kj::Array<kj::byte>>> getXattr(InodeId inode, kj::StringPtr name) override {
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

  kj::Promise<Status> setXattr(InodeId inode, kj::StringPtr name, kj::ArrayPtr<const kj::byte> value,
                               uint32_t flags) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      auto set = change.initSetXattr();
      set.setOwner(inode.value());
      set.setKey(name);
      set.setValue(value);
      set.setFlags(flags);
    });
    if (outcome.ok()) overlaid(outcome->attributes);  // an open file learns what it has
    co_return outcome.status();
  }

  kj::Promise<Status> removeXattr(InodeId inode, kj::StringPtr name) override {
    auto outcome = co_await session.change([&](rpc::Change::Builder change) {
      auto remove = change.initRemoveXattr();
      remove.setFrom(inode.value());
      remove.setAttribute(name);
    });
    if (outcome.ok()) overlaid(outcome->attributes);
    co_return outcome.status();
  }

  kj::Promise<Result<kj::Array<kj::String>>> listXattr(InodeId inode) override {
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

  kj::Promise<Status> syncNames() override {
    auto answer = co_await session.query("sync", [](rpc::Session::Client& client) {
      auto request = client.syncRequest();
      request.setIndex(0);
      return request.send();
    });
    co_return answer.status();
  }

  kj::Promise<Status> setLock(FileLock lock, kj::Maybe<kj::Promise<void>> givenUp) override {
    return locks.set(lock, kj::mv(givenUp));
  }
  kj::Promise<Result<FileLock>> testLock(FileLock lock) override { return locks.test(lock); }

  kj::Promise<Status> syncAll() override {
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
    auto names = co_await syncNames();
    co_return ok(result) ? names : result;
  }

  kj::Promise<void> shutdown() override {
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

  void setObserver(Observer& newObserver) override { observer = newObserver; }

 private:
  FilesystemOptions options;
  ClusterId cluster;
  PeerEnvironment peers;
  kj::Maybe<Observer&> observer;
  kj::Own<BufferBudget> budget;
  Session session;
  ChunkServers servers;
  Locator locator;
  Reader reader;
  Writer writer;
  Appender appender;
  ChunkSync chunkSync;
  FileParts parts;
  InodeTable inodes;
  LockKeeper locks{session, options.log.named("locks")};
  AccessTimes accessTimes{options.timer, options.clock, session, options.log.named("atime")};
  std::unordered_map<InodeId, FileAttributes> removed;
  // Directories and special files that this client has removed: the kernel may still hold them, and asks.

  FileAttributes overlaid(FileAttributes attributes) {
    inodes.overlay(attributes);
    accessTimes.overlay(attributes);
    return attributes;
  }

  FileAttributes withAccessTime(FileAttributes attributes) const {
    accessTimes.overlay(attributes);
    return attributes;
  }

  void noteRemoved(const FileAttributes& attributes) {
    if (attributes.links == 0 && attributes.type != FileType::REGULAR) removed[attributes.inode] = attributes;
  }
  FileAttributes withOverlay(rpc::Attributes::Reader reader) { return overlaid(readAttributes(reader)); }

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

  void invalidated(InodeId inode) override {
    KJ_IF_MAYBE (state, inodes.find(inode)) state->changedElsewhere();
    locator.known().forget(inode);
    KJ_IF_MAYBE (cacher, observer) cacher->inodeChanged(inode);
  }

  void nameInvalidated(InodeId parent, kj::StringPtr name) override {
    KJ_IF_MAYBE (cacher, observer) cacher->nameChanged(parent, name);
  }
};

}  // namespace

kj::Promise<kj::Own<Filesystem>> connectFilesystem(FilesystemOptions options) {
  auto filesystem = kj::heap<RemoteFilesystem>(kj::mv(options));
  co_await filesystem->start();
  co_return kj::Own<Filesystem>(kj::mv(filesystem));
}

}  // namespace cairn
