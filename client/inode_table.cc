// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/inode_table.h"

#include <kj/debug.h>

namespace cairn::client {

namespace {

// Releases are collected for this long, or until no open is under way: one message for many files, and a file
// that is opened again soon is not released at all.
constexpr kj::Duration RELEASE_DELAY = 20 * kj::MILLISECONDS;

}  // namespace

class InodeTable::Handle final : public OpenFile {
  // What applications hold. A thin front: it may go while its state has still something to write.
 public:
  Handle(InodeTable& table, kj::Own<FileState> state) : table(table), state(kj::mv(state)) {}
  ~Handle() noexcept(false) { table.closed(state->inode()); }

  InodeId inode() const override { return state->inode(); }
  FileAttributes attributes() const override { return state->attributes(); }
  Async<Result<ReadData>> read(FileOffset offset, uint32_t size, Origin origin) override {
    return state->read(offset.value(), size, origin);
  }
  Async<Status> write(FileOffset offset, Bytes bytes, Origin origin) override {
    return state->write(offset.value(), kj::mv(bytes), origin);
  }
  kj::Own<void> holdPages(ByteRange range) override { return state->holdPages(range); }
  Async<Result<FileOffset>> append(Bytes bytes, Rest rest, kj::Maybe<ByteRange> locked) override {
    return state->append(kj::mv(bytes), rest, locked);
  }
  Async<Status> flush() override { return state->flush(); }
  Async<Status> sync() override { return state->sync(); }
  kj::Promise<Status> allocate(FileOffset offset, uint64_t length, Growth growth) override {
    return state->allocate(offset.value(), length, growth);
  }
  kj::Promise<Status> zero(FileOffset offset, uint64_t length, Growth growth) override {
    return state->zero(offset.value(), length, growth);
  }
  kj::Promise<Result<kj::Maybe<FileOffset>>> seek(FileOffset offset, Sought sought) override {
    return state->seek(offset.value(), sought);
  }
  kj::Promise<Result<uint64_t>> copyFrom(OpenFile& source, CopyRange range) override {
    KJ_IF_MAYBE (from, table.find(source.inode())) {
      auto kept = kj::addRef(*from);
      auto& file = *kept;
      return state->copyFrom(file, range.from.value(), range.to.value(), range.length).attach(kj::mv(kept));
    }
    return Result<uint64_t>(Status::STALE);
  }
  kj::Promise<Result<FileOffset>> recordAppend(kj::ArrayPtr<const kj::byte> record) override {
    return state->recordAppend(record);
  }
  kj::Own<OpenFile> addRef() { return kj::addRef(*this); }

 private:
  InodeTable& table;
  kj::Own<FileState> state;
};

InodeTable::~InodeTable() noexcept(false) {
  for (auto& [inode, entry] : entries) {
    KJ_ASSERT(entry.handle == nullptr, "a file is still open while its filesystem goes", inode) {
      break;
    }
  }
}

InodeTable::Opening::~Opening() noexcept(false) {
  --table.openings;
  table.armRelease();
}

kj::Maybe<FileState&> InodeTable::find(InodeId inode) {
  auto entry = entries.find(inode);
  if (entry == entries.end()) return nullptr;
  return *entry->second.state;
}

void InodeTable::overlay(FileAttributes& attributes) {
  if (entries.empty()) return;
  KJ_IF_MAYBE (state, find(attributes.inode)) {
    state->learn(attributes);
    state->overlay(attributes);
  }
}

kj::Own<OpenFile> InodeTable::adopt(const FileAttributes& attributes) {
  toRelease.erase(attributes.inode);
  auto [place, fresh] = entries.try_emplace(attributes.inode);
  auto& entry = place->second;
  if (fresh) {
    // What is cached of its chunks is from before: a hole may be filled since, a cut chunk written again.
    parts.locator.known().forget(attributes.inode);
    entry.state = kj::refcounted<FileState>(parts, attributes);
    entry.state->inherit(unsynced.reopened(attributes.inode));
  } else {
    entry.state->learn(attributes);
  }
  if (entry.handle != nullptr) return entry.handle->addRef();
  auto handle = kj::refcounted<Handle>(*this, kj::addRef(*entry.state));
  entry.handle = handle;
  return handle;
}

std::vector<InodeId> InodeTable::openInodes() const {
  std::vector<InodeId> inodes;
  for (auto& [inode, entry] : entries) inodes.push_back(inode);
  return inodes;
}

std::vector<kj::Own<FileState>> InodeTable::all() {
  std::vector<kj::Own<FileState>> states;
  for (auto& [inode, entry] : entries) states.push_back(kj::addRef(*entry.state));
  return states;
}

void InodeTable::answersLost(LogIndex from) {
  for (auto& [inode, entry] : entries) entry.state->answersLost(from);
  unsynced.answersLost(from);
}

void InodeTable::relieve() {
  for (auto& [inode, entry] : entries) entry.state->relieve();
}

// ------------------------------------------------------------ closing

void InodeTable::closed(InodeId inode) {
  entries.at(inode).handle = nullptr;
  tasks.add(close(inode));
}

Async<void> InodeTable::close(InodeId inode) {
  // Who opens it again meanwhile gets the same state, and another close() when that one goes.
  auto state = kj::addRef(*entries.at(inode).state);
  for (int attempts = 0; !state->isSettled() && attempts < 3; ++attempts) {
    auto status = co_await state->settle();
    if (!ok(status)) parts.log.warning("inode ", inode, " is closed and cannot be published: ", status);
  }
  auto entry = entries.find(inode);
  if (entry == entries.end() || entry->second.state.get() != state.get() || entry->second.handle != nullptr) {
    co_return;
  }
  KJ_IF_MAYBE (status, state->takeError()) {
    parts.log.error("inode ", inode, " was closed before its error could be told: ", *status,
                    " -> written bytes are lost, its next sync says so");
  }
  // What has no name any more is gone with this close: nobody will ask for it.
  if (state->attributes().links > 0) unsynced.closed(inode, state->takeUnsynced());
  entries.erase(entry);
  toRelease.insert(inode);
  armRelease();
}

void InodeTable::armRelease() {
  if (releaseArmed || openings > 0 || toRelease.empty()) return;
  releaseArmed = true;
  tasks.add(releaseSoon());
}

Async<void> InodeTable::releaseSoon() {
  co_await parts.timer.afterDelay(RELEASE_DELAY);
  releaseArmed = false;
  if (openings == 0) co_await release();  // else the end of the last opening arms it again
}

Async<void> InodeTable::release() {
  if (toRelease.empty()) co_return;
  auto inodes = std::move(toRelease);
  toRelease.clear();
  // Calls leave in order: whoever opens one of these from now on does so after its release.
  auto answer = co_await parts.session.query("release", [inodes](rpc::Session::Client& client) {
    auto request = client.releaseRequest();
    auto list = request.initInodes(inodes.size());
    unsigned i = 0;
    for (auto inode : inodes) list.set(i++, inode.value());
    return request.send();
  });
  if (!answer.ok()) {
    parts.log.warning(inodes.size(), " inodes could not be released: ", answer.status(),
                      " -> they are with the next resume");
  }
  // Others that look at what was written here need not ask us any more.
  std::vector<InodeId> closed;
  for (auto inode : inodes) {
    if (entries.count(inode) == 0) closed.push_back(inode);
  }
  if (openings == 0) co_await parts.leases.giveBack(kj::mv(closed));
}

Async<void> InodeTable::finish() {
  co_await tasks.onEmpty();
  co_await release();
}

void InodeTable::taskFailed(kj::Exception&& exception) {
  parts.log.error("closing a file broke: ", exception,
                  " -> it stays open at the metaserver until the session ends");
}

}  // namespace cairn::client
