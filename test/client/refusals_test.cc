// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Any call may be refused, or break as over a bug of the other side. One story (create, write, append, cut,
// punch, copy, seek, lock, sync, close) is told again and again, with the refusal one call further on each
// time, from the metaserver and from the stores. Each call of the story ends; what an error was told for may
// be lost; what a sync has answered ok for is there, for another mount; and the file goes on.
#include <algorithm>

#include "test/client/remote_filesystem_fixture.h"
#include "test/support/in_turn.h"

namespace cairn::client {
namespace {

using How = RefusedCalls::How;
enum class Whose { METASERVER, STORES };

struct Case {
  Whose whose;
  Status status = Status::OK;
  How how = How::STATUS;
  bool isHarmless = false;  // no call of the story may notice it
  bool isGone = false;      // it says that the file has been deleted: nobody misses what was written to it
};

class Content {
  // Of a file of little more than a chunk, of which only the beginning of each chunk is written to.
 public:
  static constexpr size_t PART = 300'000;
  size_t size() const { return length; }
  void resize(size_t size) {
    length = size;
    for (size_t i = 0; i < 2; ++i)
      parts[i].resize(std::clamp(length, i * CHUNK_SIZE, i * CHUNK_SIZE + PART) - i * CHUNK_SIZE);
  }
  void replace(size_t start, const std::string& bytes) {
    if (length < start + bytes.size()) resize(start + bytes.size());
    parts[start / CHUNK_SIZE].replace(start % CHUNK_SIZE, bytes.size(), bytes);
  }
  const std::string& part(size_t i) const { return parts[i]; }

 private:
  std::string parts[2];
  size_t length = 0;
};

class Story {
 public:
  Story(uint64_t call, Case refused) : refused(refused) {
    cluster.timing.patience = 5 * kj::SECONDS;
    filesystem = cluster.mount();
    other = cluster.mount();
    refusals().refuse(call, refused.status, refused.how);
    tell();
    cluster.pass(3 * kj::SECONDS);  // what goes on behind its back
    method = refusals().method().cStr();
    hit = !method.empty();
    refusals().stop();
    if (hit) judge();
    file = nullptr;
    copy = nullptr;
    cluster.run(other->shutdown());
    cluster.run(filesystem->shutdown());
  }

  bool hit = false;
  std::string method;

 private:
  FakeCluster cluster;
  Case refused;
  kj::Own<Filesystem> filesystem, other;
  kj::Own<OpenFile> file, copy;
  InodeId inode;
  struct Range {
    size_t start, end;
  };
  Content model;
  std::vector<Range> unsynced, torn;  // by what may be lost with an error; by what has been
  unsigned letters = 0;

  RefusedCalls& refusals() {
    return refused.whose == Whose::METASERVER ? cluster.metaserverRefuses : cluster.storesRefuse;
  }
  template <typename Promise>
  auto run(Promise&& promise) {
    auto began = cluster.time.elapsed();
    auto answer = cluster.run(kj::mv(promise));
    EXPECT_LT(cluster.time.elapsed() - began, 20 * kj::SECONDS) << "it has to end";
    return answer;
  }
  bool note(Status status) {
    // Of a call about the file. An error tells that what was not synced may be lost.
    if (ok(status)) return true;
    EXPECT_FALSE(refused.isHarmless) << kj::str(status).cStr();
    EXPECT_FALSE(refusals().method() == "") << "nothing was refused, and there is " << kj::str(status).cStr();
    torn.insert(torn.end(), unsynced.begin(), unsynced.end());
    return false;
  }
  std::string some(size_t size) { return std::string(size, char('a' + letters++ % 26)); }

  void change(size_t start, std::string bytes, Status status) {
    auto end = start + bytes.size();
    if (note(status)) {
      model.replace(start, bytes);
      unsynced.push_back({start, end});
    } else {
      torn.push_back({start, end});
    }
  }
  void write(size_t start, size_t size) {
    auto bytes = some(size);
    change(start, bytes, run(file->write(FileOffset(start), FakeCluster::bytes(bytes))));
  }
  void append(size_t size) {
    auto bytes = some(size);
    auto at = run(file->append(FakeCluster::bytes(bytes)));
    if (at.ok()) {
      change(at->value(), bytes, Status::OK);
    } else {
      note(at.status());
      torn.push_back({model.size(), SIZE_MAX});
    }
  }
  void recordAppend(size_t size) {
    auto bytes = some(size);
    auto at = run(file->recordAppend(kj::StringPtr(bytes.c_str(), bytes.size()).asBytes()));
    if (at.ok()) {
      if (model.size() < at->value()) torn.push_back({model.size(), at->value()});  // an earlier attempt
      change(at->value(), bytes, Status::OK);
    } else {
      note(at.status());
      torn.push_back({model.size(), SIZE_MAX});
    }
  }
  void cut(size_t size) {
    AttributeChange wanted;
    wanted.size = size;
    if (note(run(filesystem->setAttributes(inode, kj::mv(wanted))).status())) {
      model.resize(size);
    } else {
      torn.push_back({std::min(size, model.size()), SIZE_MAX});
    }
  }
  void zero(size_t start, size_t size) {
    change(start, std::string(size, '\0'), run(file->zero(FileOffset(start), size, Growth::YES)));
  }
  void zeroWhileAnotherLooks(size_t start, size_t size) {
    // It takes the lease away between two steps.
    auto opened = run(other->open(inode));
    write(start, size);
    note(run(file->flush()));
    kj::Promise<Result<ReadData>> looking = nullptr;
    if (opened.ok()) looking = promiseOf((*opened)->read(FileOffset(0), 100)).eagerlyEvaluate(nullptr);
    zero(start, size);
    if (opened.ok()) (void)run(kj::mv(looking));
  }
  void sync(Status status) {
    if (note(status)) unsynced.clear();
  }
  void look() {
    // Another mount has the file's lease for a moment.
    auto opened = run(other->open(inode));
    if (opened.ok()) (void)cluster.read(**opened, 0, 100);
  }
  void open() {
    if (file.get() != nullptr) {
      file = nullptr;
      cluster.pass(1 * kj::SECONDS);
    }
    for (int attempt = 0; attempt < 3; ++attempt) {
      auto opened = run(filesystem->open(inode, Access::WRITE));
      if (!opened.ok()) {
        note(opened.status());
        continue;
      }
      file = kj::mv(opened).value();
      return;
    }
    ADD_FAILURE() << "it does not open again";
  }
  void tell();
  void judge();
};

void Story::tell() {
  for (int attempt = 0; attempt < 3 && !inode; ++attempt) {
    auto made = run(filesystem->create(ROOT_INODE, "a", 0644, {}, {}, false));
    note(made.status());
    if (!made.ok()) continue;
    file = kj::mv(made).value();
    inode = file->inode();
  }
  KJ_ASSERT(file.get() != nullptr);
  write(0, 10'000);
  sync(run(file->sync()));
  write(CHUNK_SIZE, 5'000);
  note(run(file->flush()));
  look();
  append(3'000);
  look();
  recordAppend(2'000);
  look();
  write(2'000, 100);
  cut(CHUNK_SIZE + 2'000);
  look();
  zero(1'000, 2'000);
  zeroWhileAnotherLooks(4'000, 100);
  note(run(file->allocate(FileOffset(0), 100'000, Growth::NO)));
  note(run(file->seek(FileOffset(0), Sought::HOLE)).status());
  note(run(file->seek(FileOffset(0), Sought::DATA)).status());
  write(0, 500);
  recordAppend(700);
  sync(run(file->sync()));
  auto second = run(filesystem->create(ROOT_INODE, "b", 0644, {}, {}, false));
  if (second.ok()) {
    copy = kj::mv(second).value();
    note(run(copy->copyFrom(*file, {FileOffset(0), FileOffset(0), 9'000})).status());
    note(run(copy->copyFrom(*file, {FileOffset(5'000), FileOffset(CHUNK_SIZE), 50'000})).status());  // a hole
    note(run(copy->sync()));
  }
  // What is about names and not about the file.
  (void)run(filesystem->lookup(ROOT_INODE, "nobody"));
  (void)run(filesystem->make(ROOT_INODE, "d", {}, {}));
  (void)run(filesystem->statistics(inode));
  (void)run(filesystem->unlink(ROOT_INODE, "d", {}));
  (void)run(filesystem->syncNames(ROOT_INODE));
  (void)run(filesystem->setAttributes(ROOT_INODE, {.mode = uint16_t(0755)}));
  FileLock lock{inode, LockKind::POSIX, 1, {}, 1};
  (void)run(filesystem->setLock(lock, nullptr));
  filesystem->accessed(file->attributes());
  // Closed with something to send, and opened anew.
  cut(20'000);
  write(8'000, 1'000);
  file = nullptr;
  cluster.pass(1 * kj::SECONDS);
  open();
  sync(run(file->sync()));  // of what an earlier open has written
  cluster.quotaLeft = 40 * BLOCK_SIZE;
  note(run(file->flush()));
  write(9'500, 1'000);
  note(run(file->flush()));
  write(20'000, 39 * BLOCK_SIZE);  // it has to be found out how much there is
  append(3 * BLOCK_SIZE);
  cluster.quotaLeft = UINT64_MAX;
  file = nullptr;
  cluster.pass(1 * kj::SECONDS);
  auto all = run(filesystem->syncAll());
  if (ok(all)) unsynced.clear();
  note(all);
  cluster.pass(30 * kj::SECONDS);  // closed files are synced, the session and its leases renewed
  open();
  append(100);
}

void Story::judge() {
  SCOPED_TRACE("refused: " + method);
  auto status = Status::IO_ERROR;
  for (int attempt = 0; attempt < 3 && !ok(status); ++attempt) {
    if (file.get() == nullptr || run(file->flush()) == Status::STALE) open();
    write(0, 100);
    status = run(file->sync());
    sync(status);
  }
  EXPECT_EQ(status, Status::OK) << "the file goes on";
  if (refused.isGone) return;
  auto mount = cluster.mount();
  auto found = run(mount->open(inode));
  ASSERT_TRUE(found.ok());
  auto& theirs = **found;
  size_t size = theirs.attributes().size;
  auto isTorn = [&](size_t at) {
    return std::any_of(torn.begin(), torn.end(), [&](auto& it) { return it.start <= at && at < it.end; });
  };
  if (!isTorn(model.size()) && !isTorn(model.size() - 1)) EXPECT_EQ(size, model.size());
  for (size_t i : {0, 1}) {
    auto at = i * CHUNK_SIZE;
    auto expected = model.part(i);
    auto got = cluster.read(theirs, at, Content::PART);
    got.resize(expected.size());
    for (auto& it : torn) {
      auto from = std::clamp(it.start, at, at + expected.size()),
           to = std::clamp(it.end, at, at + expected.size());
      if (from < to) expected.replace(from - at, to - from, got.substr(from - at, to - from));
    }
    auto differs = std::mismatch(expected.begin(), expected.end(), got.begin()).first - expected.begin();
    EXPECT_TRUE(expected == got) << "from byte " << at + differs << " on";
  }
  cluster.run(mount->shutdown());
}

void everyCallIsRefused(Case refused, uint64_t least) {
  SCOPED_TRACE(kj::str(refused.status).cStr());
  eachInTurn(least, [&](uint64_t call) { return Story(call, refused).hit; });
}

TEST(Refusals, ACallThatTheMetaserverCannotCarryOutLosesNothingWithoutAWord) {
  everyCallIsRefused({Whose::METASERVER, Status::IO_ERROR}, 40);
  everyCallIsRefused({Whose::METASERVER, Status::NO_SPACE}, 40);
}
TEST(Refusals, ACallThatMeetsABugOfTheMetaserverLosesNothingWithoutAWord) {
  everyCallIsRefused({Whose::METASERVER, Status::OK, How::EXCEPTION}, 40);
}
TEST(Refusals, AMetaserverThatIsNotReadyIsNoticedByNobody) {
  everyCallIsRefused({.whose = Whose::METASERVER, .status = Status::NOT_READY, .isHarmless = true}, 40);
}
TEST(Refusals, ASessionThatIsTakenForExpiredIsNoticedByNobody) {
  everyCallIsRefused({.whose = Whose::METASERVER, .status = Status::SESSION_EXPIRED, .isHarmless = true}, 40);
}
TEST(Refusals, AFileOfWhichTheMetaserverKnowsNothingLosesNothingWithoutAWord) {
  for (auto status : {Status::NOT_FOUND, Status::NOT_LEASED})
    everyCallIsRefused({Whose::METASERVER, status}, 40);
  everyCallIsRefused({.whose = Whose::METASERVER, .status = Status::STALE, .isGone = true}, 40);
}
TEST(Refusals, ACallThatOneStoreRefusesForAReasonOfItsOwnIsNoticedByNobody) {
  for (auto status : {Status::NO_REPLICA, Status::BEHIND_VERSION, Status::STALE_VERSION, Status::CORRUPT,
                      Status::BAD_CHECKSUM, Status::NOT_READY}) {
    everyCallIsRefused({.whose = Whose::STORES, .status = status, .isHarmless = true}, 10);
  }
}
TEST(Refusals, ACallThatMeetsABugOfAStoreLosesNothingWithoutAWord) {
  everyCallIsRefused({Whose::STORES, Status::OK, How::EXCEPTION}, 10);
}
TEST(Refusals, AStoreThatRefusesWhatItIsAskedForLosesNothingWithoutAWord) {
  for (auto status : {Status::INVALID, Status::NO_SPACE}) everyCallIsRefused({Whose::STORES, status}, 10);
}

}  // namespace
}  // namespace cairn::client
