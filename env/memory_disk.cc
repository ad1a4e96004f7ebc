// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "env/memory_disk.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <random>
#include <unordered_map>

namespace cairn::env {

namespace {

constexpr size_t PAGE_SIZE = 4096;
constexpr size_t SECTOR_SIZE = 512;

using Page = std::unique_ptr<std::array<kj::byte, PAGE_SIZE>>;

Page copyOf(const Page& page) {
  return page == nullptr ? nullptr : std::make_unique<std::array<kj::byte, PAGE_SIZE>>(*page);
}

Page& touch(Page& page) {
  if (page == nullptr) {
    page = std::make_unique<std::array<kj::byte, PAGE_SIZE>>();
    page->fill(0);
  }
  return page;
}

}  // namespace

struct MemoryDisk::Node {
  // INVARIANT: `stable` holds, for each page changed since it was last synced, what the medium has (null: a
  // hole); `stableSize` the size it has.
  std::unordered_map<uint64_t, Page> pages;
  std::unordered_map<uint64_t, Page> stable;
  uint64_t size = 0;
  uint64_t stableSize = 0;
  std::unique_ptr<kj::Array<kj::byte>> mapped;  // a mapped file's bytes live here instead of in pages

  void remember(uint64_t index) {
    if (stable.count(index) == 0) stable[index] = copyOf(pages[index]);
  }

  void readAt(uint64_t offset, kj::ArrayPtr<kj::byte> into) {
    if (mapped != nullptr) {
      memcpy(into.begin(), mapped->begin() + offset, into.size());
      return;
    }
    for (size_t done = 0; done < into.size();) {
      uint64_t at = offset + done;
      size_t within = at % PAGE_SIZE;
      size_t step = kj::min(PAGE_SIZE - within, into.size() - done);
      auto found = pages.find(at / PAGE_SIZE);
      if (found == pages.end() || found->second == nullptr) {
        memset(into.begin() + done, 0, step);
      } else {
        memcpy(into.begin() + done, found->second->data() + within, step);
      }
      done += step;
    }
  }

  void writeAt(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes) {
    for (size_t done = 0; done < bytes.size();) {
      uint64_t at = offset + done;
      size_t within = at % PAGE_SIZE;
      size_t step = kj::min(PAGE_SIZE - within, bytes.size() - done);
      remember(at / PAGE_SIZE);
      memcpy(touch(pages[at / PAGE_SIZE])->data() + within, bytes.begin() + done, step);
      done += step;
    }
    size = kj::max(size, offset + bytes.size());
  }

  void zero(uint64_t offset, uint64_t end) {
    for (uint64_t index = offset / PAGE_SIZE; index * PAGE_SIZE < end; index++) {
      auto found = pages.find(index);
      if (found == pages.end() || found->second == nullptr) continue;
      remember(index);
      uint64_t from = kj::max(offset, index * PAGE_SIZE), to = kj::min(end, (index + 1) * PAGE_SIZE);
      memset(found->second->data() + from % PAGE_SIZE, 0, to - from);
      if (to - from == PAGE_SIZE) found->second = nullptr;
    }
  }

  uint64_t endOfPages() {
    uint64_t end = 0;
    for (auto& page : pages) end = kj::max(end, (page.first + 1) * PAGE_SIZE);
    return end;
  }

  void resize(uint64_t newSize) {
    if (newSize < size) zero(newSize, endOfPages());
    size = newSize;
  }

  void synced() {
    stable.clear();
    stableSize = size;
  }

  void losePower(std::mt19937_64& random, Unsynced unsynced) {
    if (mapped != nullptr) {
      for (size_t at = 0; at < mapped->size(); at += PAGE_SIZE) {
        if (random() % 2 == 0) memset(mapped->begin() + at, 0, kj::min(PAGE_SIZE, mapped->size() - at));
      }
      return;
    }
    std::map<uint64_t, Page> ordered;  // so that the outcome depends on the seed alone
    for (auto& old : stable) ordered[old.first] = kj::mv(old.second);
    for (auto& old : ordered) {
      auto& page = pages[old.first];
      switch (unsynced == Unsynced::LOST ? 1 : random() % 3) {
        case 0:
          break;
        case 1:
          page = kj::mv(old.second);
          break;
        default:
          for (size_t sector = 0; sector < PAGE_SIZE; sector += SECTOR_SIZE) {
            if (random() % 2 == 0) continue;
            if (old.second == nullptr) {
              memset(touch(page)->data() + sector, 0, SECTOR_SIZE);
            } else {
              memcpy(touch(page)->data() + sector, old.second->data() + sector, SECTOR_SIZE);
            }
          }
      }
    }
    if (unsynced == Unsynced::LOST || random() % 2 == 0) size = stableSize;
    zero(size, endOfPages());
    synced();
  }
};

class MemoryDisk::OpenFile final : public DiskFile {
 public:
  OpenFile(MemoryDisk& disk, std::string name, std::shared_ptr<Node> node)
      : disk(disk), name(kj::mv(name)), node(kj::mv(node)), life(disk.life) {
    disk.openFiles.add(this);
  }
  ~OpenFile() noexcept(false) {
    auto found = std::find(disk.openFiles.begin(), disk.openFiles.end(), this);
    *found = disk.openFiles.back();
    disk.openFiles.removeLast();
  }

  kj::Promise<IoOutcome> read(uint64_t offset, kj::ArrayPtr<kj::byte> into) override {
    return disk.pause().then([this, offset, into]() mutable {
      if (dead()) return IoOutcome{0, EIO};
      if (disk.readError != 0) return IoOutcome{0, disk.readError};
      disk.count.reads++;
      if (offset >= node->size) return IoOutcome{0, 0};
      auto got = into.slice(0, kj::min(into.size(), node->size - offset));
      node->readAt(offset, got);
      return IoOutcome{got.size(), 0};
    });
  }

  kj::Promise<IoOutcome> write(uint64_t offset, Pieces pieces) override {
    return kj::newAdaptedPromise<IoOutcome, Write>(*this, offset, pieces);
  }

  kj::Promise<IoOutcome> sync() override {
    return disk.pause().then([this] {
      if (dead()) return IoOutcome{0, EIO};
      if (disk.syncError != 0) return IoOutcome{0, disk.syncError};
      disk.count.syncs++;
      node->synced();
      return IoOutcome{};
    });
  }

  kj::Promise<IoOutcome> truncate(uint64_t size) override {
    if (dead()) return IoOutcome{0, EIO};
    if (disk.writeError != 0) return IoOutcome{0, disk.writeError};
    node->resize(size);
    return IoOutcome{};
  }

  kj::Promise<IoOutcome> punch(uint64_t offset, uint64_t size) override {
    if (dead()) return IoOutcome{0, EIO};
    if (disk.writeError != 0) return IoOutcome{0, disk.writeError};
    node->zero(offset, kj::min(offset + size, node->size));
    return IoOutcome{};
  }

  kj::Promise<IoOutcome> cloneFrom(DiskFile& source) override {
    if (dead()) return IoOutcome{0, EIO};
    if (!disk.clones) return IoOutcome{0, EOPNOTSUPP};
    if (disk.writeError != 0) return IoOutcome{0, disk.writeError};
    auto& from = *kj::downcast<OpenFile>(source).node;
    node->resize(0);
    for (auto& page : from.pages) {
      if (page.second == nullptr) continue;
      node->remember(page.first);
      node->pages[page.first] = copyOf(page.second);
    }
    node->size = from.size;
    disk.count.clones++;
    return IoOutcome{};
  }

  kj::Promise<IoOutcome> size() override {
    if (dead()) return IoOutcome{0, EIO};
    return IoOutcome{node->size, 0};
  }

  kj::Maybe<int> descriptor() override { return nullptr; }

  void tearWrites(std::mt19937_64& random, Tear tear) {
    // The process dies with these under way: of each, some bytes from its start have reached the page cache.
    for (Write* write : underWay) {
      uint64_t total = 0;
      for (auto& piece : write->pieces) total += piece.size();
      auto done = random() % (total + 1);
      if (tear == Tear::BETWEEN_PAGES && done < total) {
        auto end = (write->offset + done) / PAGE_SIZE * PAGE_SIZE;
        done = end > write->offset ? end - write->offset : 0;
      }
      apply(write->offset, write->pieces, done);
    }
  }

 private:
  struct Write {
    Write(kj::PromiseFulfiller<IoOutcome>& fulfiller, OpenFile& file, uint64_t offset, Pieces piecesParam)
        : file(file), offset(offset), pieces(kj::heapArray<kj::ArrayPtr<const kj::byte>>(piecesParam)) {
      file.underWay.add(this);
      timing = file.disk.pause()
                   .then([this, &fulfiller] {
                     auto outcome = this->file.finish(*this);
                     fulfiller.fulfill(kj::mv(outcome));
                   })
                   .eagerlyEvaluate([&fulfiller](kj::Exception&& e) { fulfiller.reject(kj::mv(e)); });
    }
    ~Write() noexcept(false) { file.forget(this); }

    OpenFile& file;
    uint64_t offset;
    kj::Array<kj::ArrayPtr<const kj::byte>> pieces;
    kj::Promise<void> timing = nullptr;
  };

  MemoryDisk& disk;
  const std::string name;
  std::shared_ptr<Node> node;
  uint64_t life;
  kj::Vector<Write*> underWay;

  bool dead() const { return life != disk.life; }

  void forget(Write* write) {
    auto found = std::find(underWay.begin(), underWay.end(), write);
    if (found == underWay.end()) return;
    *found = underWay.back();
    underWay.removeLast();
  }

  IoOutcome finish(Write& write) {
    forget(&write);
    if (dead()) return {0, EIO};
    if (disk.writeError != 0) return {0, disk.writeError};
    disk.count.writes++;
    uint64_t total = 0;
    for (auto& piece : write.pieces) total += piece.size();
    uint64_t end = write.offset + total;
    uint64_t fresh = 0;
    for (uint64_t index = write.offset / PAGE_SIZE; index * PAGE_SIZE < end; index++) {
      auto found = node->pages.find(index);
      if (found == node->pages.end() || found->second == nullptr) fresh += PAGE_SIZE;
    }
    if (disk.used + fresh > disk.capacity) return {0, ENOSPC};
    disk.used += fresh;
    disk.count.bytesWritten += total;
    auto offset = write.offset;
    if (disk.spoil != nullptr && name.ends_with(disk.spoiled)) {
      bool lost = KJ_ASSERT_NONNULL(disk.spoil) == Spoil::LOSE;
      disk.spoil = nullptr;
      if (lost) return {total, 0};
      offset += PAGE_SIZE;
    }
    apply(offset, write.pieces, total);
    return {total, 0};
  }

  void apply(uint64_t offset, Pieces pieces, uint64_t limit) {
    for (auto& piece : pieces) {
      size_t step = kj::min(piece.size(), limit);
      if (step > 0) node->writeAt(offset, piece.slice(0, step));
      offset += step;
      limit -= step;
    }
  }
};

class MemoryDisk::Mapping final : public DiskMapping {
 public:
  explicit Mapping(std::shared_ptr<Node> node) : node(kj::mv(node)) {}
  kj::ArrayPtr<kj::byte> bytes() override { return *node->mapped; }

 private:
  std::shared_ptr<Node> node;
};

class MemoryDisk::Lock final : public DiskLock {
 public:
  Lock(MemoryDisk& disk, std::string path) : disk(disk), path(kj::mv(path)), life(disk.life) {}
  ~Lock() noexcept(false) {
    if (life == disk.life) disk.locks.erase(path);
  }

 private:
  MemoryDisk& disk;
  std::string path;
  uint64_t life;
};

MemoryDisk::MemoryDisk() = default;
MemoryDisk::~MemoryDisk() noexcept(false) {
  KJ_ASSERT(openFiles.size() == 0, "files outlive their disk");
}

void MemoryDisk::setDelay(kj::Timer& newTimer, kj::Duration newDelay) {
  timer = newTimer;
  delay = newDelay;
}

void MemoryDisk::setCapacity(uint64_t bytes) {
  capacity = bytes;
}

kj::Promise<void> MemoryDisk::pause() {
  KJ_IF_MAYBE (t, timer) {
    if (delay > 0 * kj::SECONDS) return t->afterDelay(delay);
  }
  return kj::READY_NOW;
}

std::shared_ptr<MemoryDisk::Node> MemoryDisk::find(kj::StringPtr path) {
  auto found = tree.find(path.cStr());
  return found == tree.end() ? nullptr : found->second;
}

bool MemoryDisk::parentExists(const std::string& path) {
  auto slash = path.rfind('/');
  if (slash == std::string::npos) return true;
  auto found = tree.find(path.substr(0, slash));
  return found != tree.end() && found->second == nullptr;
}

void MemoryDisk::treeChanges(std::initializer_list<std::string> paths) {
  auto& change = unsyncedChanges.add();
  for (auto& path : paths) {
    auto found = tree.find(path);
    bool existed = found != tree.end();
    change.add(Before{path, existed, existed ? found->second : nullptr});
  }
}

void MemoryDisk::flipBit(kj::StringPtr path, uint64_t bit) {
  auto node = find(path);
  KJ_REQUIRE(node != nullptr && bit / 8 < node->size, path, bit);
  kj::byte value;
  node->readAt(bit / 8, kj::arrayPtr(&value, 1));
  value ^= kj::byte(1u << (bit % 8));
  uint64_t index = bit / 8 / PAGE_SIZE;
  touch(node->pages[index])->at(bit / 8 % PAGE_SIZE) = value;
}

void MemoryDisk::spoilNextWrite(kj::StringPtr ending, Spoil how) {
  spoil = how;
  spoiled = ending.cStr();
}

std::vector<std::string> MemoryDisk::filesEndingWith(kj::StringPtr ending) const {
  std::vector<std::string> names;
  for (auto& [path, node] : tree) {
    if (node != nullptr && path.ends_with(ending.cStr())) names.push_back(path);
  }
  return names;
}

uint64_t MemoryDisk::sizeOf(kj::StringPtr path) {
  auto node = find(path);
  return node == nullptr ? 0 : node->size;
}

void MemoryDisk::killProcess(uint64_t seed, Tear tear) {
  std::mt19937_64 random(seed);
  for (OpenFile* file : openFiles) file->tearWrites(random, tear);
  life++;
  locks.clear();
}

void MemoryDisk::losePower(uint64_t seed, Unsynced unsynced) {
  std::mt19937_64 random(seed);
  for (OpenFile* file : openFiles) file->tearWrites(random, Tear::ANYWHERE);
  life++;
  locks.clear();
  size_t kept =
      unsyncedChanges.size() == 0 || unsynced == Unsynced::LOST ? 0 : random() % (unsyncedChanges.size() + 1);
  while (unsyncedChanges.size() > kept) {
    for (auto& before : unsyncedChanges.back()) {
      if (before.existed) {
        tree[before.path] = before.node;
      } else {
        tree.erase(before.path);
      }
    }
    unsyncedChanges.removeLast();
  }
  unsyncedChanges.clear();
  std::set<Node*> seen;
  for (auto& entry : tree) {
    if (entry.second != nullptr && seen.insert(entry.second.get()).second)
      entry.second->losePower(random, unsynced);
  }
}

kj::Array<kj::byte> MemoryDisk::contents(kj::StringPtr path) {
  auto node = find(path);
  KJ_REQUIRE(node != nullptr, "no such file", path);
  auto bytes = kj::heapArray<kj::byte>(node->size);
  node->readAt(0, bytes);
  return bytes;
}

void MemoryDisk::replaceContents(kj::StringPtr path, kj::ArrayPtr<const kj::byte> bytes) {
  auto& node = tree[path.cStr()];
  if (node == nullptr) node = std::make_shared<Node>();
  node->resize(0);
  node->writeAt(0, bytes);
  node->synced();
}

bool MemoryDisk::exists(kj::StringPtr path) {
  return tree.count(path.cStr()) > 0;
}

kj::Promise<OpenOutcome> MemoryDisk::open(kj::StringPtr path, OpenMode mode) {
  std::string name = path.cStr();
  bool create = mode == OpenMode::CREATE || mode == OpenMode::CREATE_OR_OPEN;
  auto found = tree.find(name);
  if (found != tree.end()) {
    if (mode == OpenMode::CREATE) return OpenOutcome{nullptr, EEXIST};
    if (found->second == nullptr) return OpenOutcome{nullptr, EISDIR};
  } else {
    if (!create || !parentExists(name)) return OpenOutcome{nullptr, ENOENT};
    if (writeError != 0) return OpenOutcome{nullptr, writeError};
    treeChanges({name});
    found = tree.emplace(name, std::make_shared<Node>()).first;
  }
  return OpenOutcome{kj::Own<DiskFile>(kj::heap<OpenFile>(*this, name, found->second)), 0};
}

kj::Promise<IoOutcome> MemoryDisk::remove(kj::StringPtr path) {
  auto found = tree.find(path.cStr());
  if (found == tree.end()) return IoOutcome{0, ENOENT};
  if (found->second == nullptr) return IoOutcome{0, EISDIR};
  if (writeError != 0 && writeError != ENOSPC) return IoOutcome{0, writeError};
  uint64_t freed = 0;
  for (auto& page : found->second->pages) {
    if (page.second != nullptr) freed += PAGE_SIZE;
  }
  used -= kj::min(used, freed);
  treeChanges({path.cStr()});
  tree.erase(found);
  return IoOutcome{};
}

kj::Promise<IoOutcome> MemoryDisk::rename(kj::StringPtr from, kj::StringPtr to) {
  auto found = tree.find(from.cStr());
  if (found == tree.end() || !parentExists(to.cStr())) return IoOutcome{0, ENOENT};
  treeChanges({from.cStr(), to.cStr()});
  auto node = found->second;
  tree.erase(found);
  tree[to.cStr()] = node;
  return IoOutcome{};
}

kj::Promise<IoOutcome> MemoryDisk::makeDirectory(kj::StringPtr path) {
  std::string name = path.cStr();
  auto found = tree.find(name);
  if (found != tree.end()) return IoOutcome{0, found->second == nullptr ? 0 : EEXIST};
  if (!parentExists(name)) return IoOutcome{0, ENOENT};
  treeChanges({name});
  tree[name] = nullptr;
  return IoOutcome{};
}

kj::Promise<ListOutcome> MemoryDisk::list(kj::StringPtr directory) {
  ListOutcome outcome;
  if (directory != "" && (tree.count(directory.cStr()) == 0 || tree[directory.cStr()] != nullptr)) {
    outcome.error = ENOENT;
    return kj::mv(outcome);
  }
  std::string prefix = directory == "" ? "" : std::string(directory.cStr()) + "/";
  for (auto& entry : tree) {
    if (entry.first.compare(0, prefix.size(), prefix) != 0) continue;
    auto rest = entry.first.substr(prefix.size());
    if (rest.find('/') == std::string::npos) outcome.names.add(kj::str(rest.c_str()));
  }
  return kj::mv(outcome);
}

kj::Promise<IoOutcome> MemoryDisk::syncDirectory(kj::StringPtr directory) {
  auto found = tree.find(directory.cStr());
  if (directory != "" && (found == tree.end() || found->second != nullptr)) return IoOutcome{0, ENOENT};
  return pause().then([this] {
    if (syncError != 0) return IoOutcome{0, syncError};
    count.syncs++;
    unsyncedChanges.clear();  // like a journal: syncing one directory commits all changes before it
    return IoOutcome{};
  });
}

kj::Promise<IoOutcome> MemoryDisk::syncEverything() {
  return pause().then([this, asked = life] {
    if (life != asked) return IoOutcome{0, EIO};
    if (syncError != 0) return IoOutcome{0, syncError};
    count.syncs++;
    for (auto& [path, node] : tree) {
      if (node != nullptr) node->synced();
    }
    unsyncedChanges.clear();
    return IoOutcome{};
  });
}

SpaceOutcome MemoryDisk::space() {
  uint64_t total = kj::min(capacity, uint64_t(1) << 40);
  return {total, total - kj::min(used, total), 0};
}

MapOutcome MemoryDisk::map(kj::StringPtr path, size_t size) {
  if (!parentExists(path.cStr())) return {nullptr, ENOENT};
  auto& node = tree[path.cStr()];
  if (node == nullptr) node = std::make_shared<Node>();
  if (node->mapped == nullptr || node->mapped->size() != size) {
    auto bytes = kj::heapArray<kj::byte>(size);
    memset(bytes.begin(), 0, size);
    if (node->mapped != nullptr) {
      memcpy(bytes.begin(), node->mapped->begin(), kj::min(size, node->mapped->size()));
    }
    node->mapped = std::make_unique<kj::Array<kj::byte>>(kj::mv(bytes));
    node->size = size;
  }
  return {kj::Own<DiskMapping>(kj::heap<Mapping>(node)), 0};
}

LockOutcome MemoryDisk::lock(kj::StringPtr path) {
  std::string name = path.cStr();
  if (!parentExists(name)) return {nullptr, nullptr, ENOENT};
  if (!locks.insert(name).second) return {nullptr, kj::str("1"), EWOULDBLOCK};
  if (tree.count(name) == 0) replaceContents(path, kj::StringPtr("1\n").asBytes());
  return {kj::Own<DiskLock>(kj::heap<Lock>(*this, name)), nullptr, 0};
}

}  // namespace cairn::env
