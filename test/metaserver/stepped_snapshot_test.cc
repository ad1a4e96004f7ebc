// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A snapshot of a tree that is too large for one operation, here of more than ten inodes: what waits for it,
// what does not, and how it ends when it is given up, by whomever. Virtual time: a step is made in each 50
// ms.
#include <set>

#include "metaserver/namespace_check.h"
#include "metaserver/namespace_scan.h"
#include "rpc/administration.capnp.h"
#include "test/metaserver/fleet_fixture.h"
#include "test/support/in_turn.h"

namespace cairn {
namespace {

using Obeys = FakeMount::Obeys;
using Begun = capnp::Response<rpc::Administration::SnapshotResults>;
using Told = capnp::Response<rpc::TreeCopy::NextResults>;

class FindingTexts final : public CheckSink {
 public:
  std::string text;
  kj::Promise<void> found(Finding finding) override {
    text += describe(finding) + "\n";
    return kj::READY_NOW;
  }
  kj::Promise<void> rest(uint64_t) override { return kj::READY_NOW; }
};

class SteppedSnapshots : public FleetTest {
 protected:
  static constexpr int FILES = 30;
  FakeMount *one = nullptr, *two = nullptr;
  uint64_t tree = 0, below = 0, elsewhere = 0;
  std::vector<uint64_t> files;
  uint64_t inodesBefore = 0;
  using Phase = rpc::SnapshotStatus::Phase;

  void SetUp() override {
    options.snapshots = {.inodes = 10, .chunks = 1000, .step = 5};
    service = nullptr;
    service = kj::heap<MetaService>(options, *log, names->read(), timer, entropy, logger());
    joinAll(3);
    one = &cachingMount();
    two = &cachingMount();
    tree = createDirectory(*two, "tree");
    below = createDirectory(*two, "below", InodeId(tree));
    elsewhere = createDirectory(*two, "elsewhere");
    for (int i = 0; i < FILES; ++i) {
      files.push_back(createFile(*two, kj::str("f", i), Create::CLOSED, InodeId(i % 2 == 0 ? tree : below)));
    }
    inodesBefore = names->state().inodes;
  }
  void TearDown() override {
    if (service.get() != nullptr) expectNothingWrong();
    FleetTest::TearDown();
  }
  void expectNothingWrong() {
    auto scan = names->scan();
    FindingTexts sink;
    NamespaceCheck check(*scan, sink);
    promiseOf(check.run()).wait(scope);
    EXPECT_EQ(sink.text, "");
  }

  enum class Steps { NOT_FOLLOWED, FOLLOWED };
  Begun ask(kj::StringPtr name = "copy", uint64_t directory = ROOT_INODE.value(),
            Steps steps = Steps::FOLLOWED, uint64_t original = 0) {
    auto request = administration().snapshotRequest();
    request.setOriginal(original == 0 ? tree : original);
    request.setDirectory(directory);
    request.setName(name);
    request.setSteps(steps == Steps::FOLLOWED);
    return await(kj::Promise<Begun>(request.send()));
  }
  Told next(rpc::TreeCopy::Client& copy) { return await(kj::Promise<Told>(copy.nextRequest().send())); }
  Told finish(rpc::TreeCopy::Client& copy) {
    for (;;) {
      auto told = next(copy);
      if (told.getDone()) return told;
    }
  }
  struct Shown {
    Phase phase;
    uint64_t inodes, heldMs;
    uint32_t held;
  };
  Shown shown() {
    // As `cairn status` is told.
    auto request = service->newConnection("cli").statusRequest();
    auto answer = await(kj::Promise<capnp::Response<rpc::Metaserver::StatusResults>>(request.send()));
    auto snapshot = answer.getStatus().getSnapshot();
    return {snapshot.getPhase(), snapshot.getInodes(), snapshot.getHeldMs(), snapshot.getHeld()};
  }
  rpc::TreeCopy::Client beginAndCopySome(kj::StringPtr name = "copy") {
    // In the middle of it.
    auto begun = ask(name);
    EXPECT_EQ(begun.getStatus(), Status::OK);
    EXPECT_TRUE(begun.hasCopy());
    advanceUntil([this]() { return names->state().inodes >= inodesBefore + 12; });
    EXPECT_FALSE(exists(name));
    return begun.getCopy();
  }
  template <typename Condition>
  void advanceUntil(Condition condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) advance(50);
    EXPECT_TRUE(condition());
  }
  bool exists(kj::StringPtr name, uint64_t directory = ROOT_INODE.value()) {
    return names->read().lookup(InodeId(directory), name).ok();
  }
  uint64_t find(kj::StringPtr name, uint64_t directory = ROOT_INODE.value()) {
    return names->read().lookup(InodeId(directory), name).value().inode.value();
  }
  std::set<std::string> namesIn(uint64_t directory) {
    std::set<std::string> result;
    auto page = names->read().list(InodeId(directory), 0, 1000, ListingDetail::NAMES);
    for (auto& entry : page->entries) result.emplace(entry.name.cStr());
    return result;
  }
  void expectItIsAllGone() {
    advance(3000);
    EXPECT_EQ(names->read().stagings(10).size(), 0u);
    EXPECT_EQ(names->state().inodes, inodesBefore);
    EXPECT_FALSE(exists("copy"));
    EXPECT_TRUE(service->gate.isOpen());
  }

  using Changed = kj::Promise<capnp::Response<rpc::Session::ChangeResults>>;
  template <typename Fill>
  Changed changing(FakeMount& mount, uint64_t sequence, Fill fill) {
    auto request = mount.session.changeRequest();
    auto change = request.getChange();
    change.setSequence(sequence);
    fill(change);
    return Changed(request.send()).eagerlyEvaluate(nullptr);
  }
  Changed creating(FakeMount& mount, uint64_t parent, kj::StringPtr name) {
    return changing(mount, ++mount.sequence, [&](rpc::Change::Builder change) {
      auto create = change.initCreate();
      create.setParent(parent);
      create.setName(name);
      create.setMode(0644);
    });
  }
  kj::Promise<capnp::Response<rpc::Session::AcquireResults>> acquiring(FakeMount& mount, uint64_t inode,
                                                                       LeaseKind kind) {
    auto request = mount.session.acquireRequest();
    request.setInode(inode);
    request.setKind(kind);
    return kj::Promise<capnp::Response<rpc::Session::AcquireResults>>(request.send())
        .eagerlyEvaluate(nullptr);
  }
  LeaseKind acquire(FakeMount& mount, uint64_t inode, LeaseKind kind = LeaseKind::WRITE) {
    return await(acquiring(mount, inode, kind)).getAttributes().getLease();
  }
  template <typename T>
  bool isDone(kj::Promise<T>& promise) {
    settle();
    return promise.poll(scope);
  }
};

TEST_F(SteppedSnapshots, HaveAllThatTheTreeHas) {
  ASSERT_EQ(acquire(*one, files[0]), LeaseKind::WRITE);
  auto chunk = locate(*one, files[0], For::WRITE);
  ASSERT_EQ(chunk.status, Status::OK);
  ASSERT_EQ(publish(*one, files[0], 5000), Status::OK);
  auto copy = ask().getCopy();
  auto told = finish(copy);
  EXPECT_EQ(told.getStatus(), Status::OK);
  EXPECT_EQ(told.getInodes(), uint64_t(FILES) + 2);
  EXPECT_EQ(told.getInode(), find("copy"));
  EXPECT_EQ(namesIn(find("copy")), namesIn(tree));
  EXPECT_EQ(namesIn(find("below", find("copy"))), namesIn(below));
  auto shared = names->read().lookup(InodeId(find("copy")), "f0");
  EXPECT_EQ(shared->size, 5000u);
  EXPECT_EQ(names->read().chunkAt(shared->inode, ChunkIndex(0)), chunk.handle);
  EXPECT_EQ(record(chunk.handle).references, 2u);
  createFile(*two, "afterwards", Create::CLOSED, InodeId(tree));
}

TEST_F(SteppedSnapshots, AreRefusedToWhoDoesNotFollowThem) {
  EXPECT_EQ(ask("copy", ROOT_INODE.value(), Steps::NOT_FOLLOWED).getStatus(), Status::TOO_BIG);
  EXPECT_TRUE(service->gate.isOpen());
  auto small = createDirectory(*two, "small");
  auto answer = ask("copy", ROOT_INODE.value(), Steps::FOLLOWED, small);
  EXPECT_EQ(answer.getStatus(), Status::OK);
  EXPECT_FALSE(answer.hasCopy()) << "what fits into one operation is one";
  EXPECT_TRUE(exists("copy"));
}

TEST_F(SteppedSnapshots, WhatChangesWaitsAndIsNotInIt) {
  EXPECT_EQ(shown().phase, Phase::NONE);
  auto copy = beginAndCopySome();
  auto created = creating(*one, tree, "later");
  auto moved = changing(*two, ++two->sequence, [&](rpc::Change::Builder change) {
    auto rename = change.initRename();
    rename.setParent(tree);
    rename.setName("below");
    rename.setNewParent(elsewhere);
    rename.setNewName("moved");
  });
  advance(100);
  EXPECT_FALSE(isDone(created));
  EXPECT_FALSE(isDone(moved));
  EXPECT_TRUE(exists("below", tree));
  EXPECT_EQ(shown().phase, Phase::COPYING);
  EXPECT_GE(shown().inodes, 12u);
  EXPECT_GE(shown().heldMs, 100u);
  EXPECT_EQ(shown().held, 2u);
  EXPECT_EQ(finish(copy).getStatus(), Status::OK);
  EXPECT_EQ(shown().phase, Phase::NONE);
  EXPECT_EQ(shown().heldMs, 0u);
  EXPECT_EQ(await(kj::mv(created)).getOutcome().getStatus(), Status::OK);
  EXPECT_EQ(await(kj::mv(moved)).getOutcome().getStatus(), Status::OK);
  EXPECT_TRUE(exists("moved", elsewhere));
  EXPECT_FALSE(exists("later", find("copy")));
  EXPECT_EQ(namesIn(find("below", find("copy"))).size(), size_t(FILES / 2)) << "where it was at that moment";
}

TEST_F(SteppedSnapshots, WhoWaitsForLongIsToldWhyAndAsksAgain) {
  ASSERT_EQ(acquire(*one, files[FILES - 1]), LeaseKind::WRITE);
  ASSERT_EQ(locate(*one, files[FILES - 1], For::WRITE).status, Status::OK);
  ASSERT_EQ(publish(*one, files[FILES - 1], 100), Status::OK);
  auto copy = beginAndCopySome();
  for (uint32_t number : {1, 2, 3})
    store(number).mood = FakeStore::Mood::HANGS;  // the chunk cannot stand still
  advance(300);
  auto sequence = ++one->sequence;
  auto fill = [&](rpc::Change::Builder change) {
    auto create = change.initCreate();
    create.setParent(tree);
    create.setName("later");
  };
  auto created = changing(*one, sequence, fill);
  auto acquired = acquiring(*one, files[1], LeaseKind::WRITE);
  advance(1050);
  EXPECT_EQ(shown().phase, Phase::STORES);
  auto outcome = await(kj::mv(created), 50);
  EXPECT_EQ(outcome.getOutcome().getStatus(), Status::NOT_READY);
  EXPECT_TRUE(outcome.getOutcome().getHeldUp());
  auto lease = await(kj::mv(acquired), 50);
  EXPECT_EQ(lease.getStatus(), Status::NOT_READY);
  EXPECT_TRUE(lease.getHeldUp());
  for (uint32_t number : {1, 2, 3}) store(number).mood = FakeStore::Mood::OBEYS;
  EXPECT_EQ(finish(copy).getStatus(), Status::OK) << "the stores are back";
  EXPECT_EQ(await(changing(*one, sequence, fill)).getOutcome().getStatus(), Status::OK);
  EXPECT_FALSE(exists("later", find("copy")));
}

TEST_F(SteppedSnapshots, ReadingGoesOnBesideThoseWhoWaitToWrite) {
  auto copy = beginAndCopySome();
  auto writing = acquiring(*one, files[3], LeaseKind::WRITE);
  advance(50);
  EXPECT_FALSE(isDone(writing));
  auto reading = acquiring(*two, files[3], LeaseKind::READ);
  EXPECT_TRUE(isDone(reading)) << "in the same moment";
  EXPECT_EQ(await(kj::mv(reading), 50).getAttributes().getLease(), LeaseKind::READ);
  auto lookup = two->session.lookupRequest();
  lookup.setParent(tree);
  lookup.setName("f0");
  kj::Promise<capnp::Response<rpc::Session::LookupResults>> found = lookup.send();
  EXPECT_TRUE(isDone(found));
  EXPECT_EQ(await(kj::mv(found)).getStatus(), Status::OK);
  EXPECT_EQ(renew(*two), Status::OK);
  EXPECT_EQ(sync(*two, {}), Status::OK);
  FakeMount newcomer;
  newcomer.caching = true;
  EXPECT_EQ(openSession(newcomer), Status::OK);
  newcomer.session = nullptr;
  EXPECT_FALSE(service->gate.isOpen()) << "all of this was before the end";
  EXPECT_EQ(finish(copy).getStatus(), Status::OK);
  EXPECT_EQ(await(kj::mv(writing)).getAttributes().getLease(), LeaseKind::WRITE);
}

TEST_F(SteppedSnapshots, WhatAnybodyHasWrittenIsSentFirst) {
  auto outside = createFile(*one, "outside", Create::CLOSED, InodeId(elsewhere));
  ASSERT_EQ(acquire(*one, files[5]), LeaseKind::WRITE);
  ASSERT_EQ(acquire(*one, outside), LeaseKind::WRITE);
  one->obeys = Obeys::WHEN_TOLD;
  auto copy = ask().getCopy();
  advance(300);
  EXPECT_EQ(names->state().inodes, inodesBefore + 1) << "it may have written what nobody else knows of";
  EXPECT_TRUE(service->gate.isOpen()) << "others are not held up by that";
  EXPECT_EQ(shown().phase, Phase::WRITERS);
  EXPECT_EQ(shown().heldMs, 0u);
  EXPECT_EQ(publish(*one, files[5], 4711), Status::OK);
  one->obeys = Obeys::AT_ONCE;
  one->obey();
  EXPECT_EQ(finish(copy).getStatus(), Status::OK);
  EXPECT_EQ(names->read().lookup(InodeId(find("below", find("copy"))), "f5")->size, 4711u);
}

TEST_F(SteppedSnapshots, WhoFallsSilentInThePauseEndsItWithBusy) {
  ASSERT_EQ(acquire(*one, files[5]), LeaseKind::WRITE);
  one->obeys = Obeys::WHEN_TOLD;
  auto copy = ask().getCopy();
  advance(100);
  ASSERT_EQ(acquire(*one, files[6]), LeaseKind::WRITE) << "nobody is in a pause yet";
  one->obey();
  EXPECT_EQ(finish(copy).getStatus(), Status::BUSY);
  expectItIsAllGone();
  EXPECT_EQ(acquire(*two, files[7]), LeaseKind::WRITE) << "the pause is over";
}

TEST_F(SteppedSnapshots, TimeInWhichTheMetaserverWasBusyIsNobodysSilence) {
  ASSERT_EQ(acquire(*one, ROOT_INODE.value(), LeaseKind::READ), LeaseKind::READ);
  one->obeys = Obeys::WHEN_TOLD;
  auto copy = ask().getCopy();
  settle();
  ASSERT_EQ(one->held.size(), 1u) << "it is asked for the directory";
  timer.advanceTo(timer.now() + 3 * kj::SECONDS);  // as after a long walk in that turn of the loop
  settle();
  one->obey();
  EXPECT_EQ(finish(copy).getStatus(), Status::OK);
}

TEST_F(SteppedSnapshots, WhoKeepsTheDirectoryThatItIsToBeInEndsItWithBusy) {
  ASSERT_EQ(acquire(*one, ROOT_INODE.value(), LeaseKind::READ), LeaseKind::READ);
  one->obeys = Obeys::WHEN_TOLD;
  auto began = timer.now();
  auto copy = ask().getCopy();
  EXPECT_EQ(finish(copy).getStatus(), Status::BUSY);
  EXPECT_GE(timer.now() - began, 2 * kj::SECONDS);
  EXPECT_LE(timer.now() - began, 3 * kj::SECONDS + 500 * kj::MILLISECONDS);
  one->obey();
  expectItIsAllGone();
}

TEST_F(SteppedSnapshots, DroppingItEndsItAtOnceAndNothingIsLeft) {
  auto copy = beginAndCopySome();
  auto created = creating(*one, tree, "later");
  advance(50);
  EXPECT_FALSE(isDone(created));
  copy = nullptr;
  EXPECT_EQ(await(kj::mv(created), 100).getOutcome().getStatus(), Status::OK);
  ++inodesBefore;
  expectItIsAllGone();
  auto again = ask().getCopy();
  EXPECT_EQ(finish(again).getStatus(), Status::OK) << "the next one can be taken";
}

TEST_F(SteppedSnapshots, ACrashInTheMiddleLeavesNothing) {
  {
    auto copy = beginAndCopySome();
  }
  auto begun = names->read().stagings(10).size();
  EXPECT_EQ(begun, 1u);
  restart();
  EXPECT_EQ(names->read().stagings(10).size(), 1u);
  expectNothingWrong();
  expectItIsAllGone();
}

TEST_F(SteppedSnapshots, OneAtATimeAndOthersAreToldToAskAgain) {
  auto small = createDirectory(*two, "small");
  ++inodesBefore;
  auto copy = beginAndCopySome();
  for (auto original : {tree, small}) {
    auto other = ask("other", ROOT_INODE.value(), Steps::FOLLOWED, original);
    EXPECT_EQ(other.getStatus(), Status::BUSY);
    EXPECT_TRUE(other.getUnderWay());
  }
  EXPECT_EQ(finish(copy).getStatus(), Status::OK);
  EXPECT_EQ(ask("other", ROOT_INODE.value(), Steps::FOLLOWED, small).getStatus(), Status::OK);
  auto second = ask("second").getCopy();
  EXPECT_EQ(finish(second).getStatus(), Status::OK);
}

TEST_F(SteppedSnapshots, APlaceThatIsNoneIsToldBeforeAnybodyIsDisturbed) {
  ASSERT_EQ(acquire(*one, files[5]), LeaseKind::WRITE);
  auto expectRefusal = [&](kj::StringPtr name, uint64_t directory, Status status) {
    auto copy = ask(name, directory).getCopy();
    EXPECT_EQ(next(copy).getStatus(), status);
  };
  expectRefusal("tree", ROOT_INODE.value(), Status::EXISTS);
  expectRefusal("copy", below, Status::LOOP);
  expectRefusal("copy", tree, Status::LOOP);
  expectRefusal("copy", files[0], Status::NOT_DIRECTORY);
  EXPECT_EQ(one->recalls.size(), 0u);
  EXPECT_EQ(names->state().inodes, inodesBefore);
}

TEST_F(SteppedSnapshots, AQuotaThatHasNoRoomForItEndsIt) {
  auto limited = administration().setQuotaRequest();
  limited.setDirectory(elsewhere);
  limited.setInodes(20);
  EXPECT_EQ(await(limited.send().ignoreResult().then([]() { return Status::OK; })), Status::OK);
  advanceUntil([this]() { return names->state().counting == Counting::DONE; });
  auto copy = ask("copy", elsewhere).getCopy();
  EXPECT_EQ(finish(copy).getStatus(), Status::OVER_QUOTA);
  expectItIsAllGone();
  EXPECT_FALSE(exists("copy", elsewhere));
}

TEST_F(SteppedSnapshots, WhatTheMetaserverItselfWouldChangeWaitsToo) {
  auto orphan = createFile(*one, "orphan");
  ASSERT_EQ(open(*one, orphan), Status::OK);
  ASSERT_EQ(unlink(*two, "orphan"), Status::OK);
  inodesBefore = names->state().inodes;
  auto copy = beginAndCopySome();
  release(*one, orphan);
  advance(100);
  EXPECT_EQ(names->state().orphans, 1u);
  EXPECT_FALSE(service->gate.isOpen());
  EXPECT_EQ(finish(copy).getStatus(), Status::OK);
  advance(3000);
  EXPECT_EQ(names->state().orphans, 0u) << "nobody holds it";
}

TEST_F(SteppedSnapshots, WhicheverOfItsOperationsIsRefusedItIsWholeOrNotThere) {
  enum class How { NO_SPACE, STALE_VERSION, NOT_ON_DISK, BREAKS };
  unsigned number = 0;
  for (auto how : {How::NO_SPACE, How::STALE_VERSION, How::NOT_ON_DISK, How::BREAKS}) {
    SCOPED_TRACE(testing::Message() << "in the manner " << int(how));
    eachInTurn(how == How::NOT_ON_DISK ? 1 : 5, [&](uint64_t operation) {
      auto name = kj::str("copy", ++number);
      log->refused = 0;
      if (how == How::NOT_ON_DISK) log->failSync = operation;
      if (how == How::BREAKS) log->breakAt = operation;
      if (how == How::NO_SPACE) log->refuseOnce(operation, Status::NO_SPACE);
      if (how == How::STALE_VERSION) log->refuseOnce(operation, Status::STALE_VERSION);
      auto copy = ask(name).getCopy();
      auto status = Status::IO_ERROR;
      auto broken = kj::runCatchingExceptions([&]() { status = finish(copy).getStatus(); });
      bool hit = log->refused > 0;
      log->refuse = Status::OK, log->failSync = 0, log->breakAt = 0;
      EXPECT_EQ(broken != nullptr, hit && how == How::BREAKS) << "its caller is told what it was";
      advance(3000);
      EXPECT_EQ(names->read().stagings(10).size(), 0u);
      EXPECT_TRUE(service->gate.isOpen());
      EXPECT_EQ(exists(name), ok(status));
      if (ok(status)) inodesBefore += FILES + 2;
      EXPECT_EQ(names->state().inodes, inodesBefore);
      return hit;
    });
  }
}

TEST_F(SteppedSnapshots, WhatIsLeftOfOneGoesOnceTheLogTakesIt) {
  auto copy = beginAndCopySome();
  log->refuse = Status::NO_SPACE;
  EXPECT_EQ(finish(copy).getStatus(), Status::NO_SPACE);
  advance(3000);
  EXPECT_TRUE(hasSaid("could not be dropped: noSpace"));
  EXPECT_EQ(names->read().stagings(10).size(), 1u);
  log->refuse = Status::OK;
  expectItIsAllGone();
}

TEST_F(SteppedSnapshots, AStoreThatIsHungForTooLongEndsIt) {
  for (auto file : files) {
    ASSERT_EQ(acquire(*one, file), LeaseKind::WRITE);
    ASSERT_EQ(locate(*one, file, For::WRITE).status, Status::OK);
    ASSERT_EQ(publish(*one, file, 100), Status::OK);
  }
  auto chunks = names->state().chunks;
  auto copy = beginAndCopySome();
  for (uint32_t number : {1, 2, 3}) store(number).mood = FakeStore::Mood::HANGS;
  EXPECT_EQ(finish(copy).getStatus(), Status::BUSY);
  for (uint32_t number : {1, 2, 3}) store(number).mood = FakeStore::Mood::OBEYS;
  expectItIsAllGone();
  EXPECT_EQ(names->state().chunks, chunks);
  EXPECT_EQ(names->state().garbage, 0u);
  for (auto file : files) {
    for (auto& chunk : names->read().chunksOf(InodeId(file), ChunkIndex(0), 10))
      EXPECT_EQ(chunk.record.references, 1u);
  }
}

}  // namespace
}  // namespace cairn
