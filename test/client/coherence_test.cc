// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Two clients of one metaserver: what one has done the other sees at once, whoever buffers and caches what,
// and recalls end whatever is under way.
#include <gtest/gtest.h>

#include <algorithm>

#include "client/remote_filesystem.h"
#include "test/client/fake_cluster.h"

namespace cairn::client {
namespace {

struct Kernel : Filesystem::Observer {
  // What the fuse side does: pages that a request has locked hold up who wants to forget them.
  struct Pass {
    InodeId inode;
    std::vector<Filesystem::Range> except;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  std::vector<Pass> passes;
  std::vector<InodeId> forgotten, attributesForgotten;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> held;  // who waits for the attributes to be forgotten
  bool isBusy = false, holdsAttributes = false;
  unsigned all = 0;

  kj::Promise<void> forget(InodeId inode, std::vector<Filesystem::Range> except) override {
    forgotten.push_back(inode);
    if (!isBusy) return kj::READY_NOW;
    auto paf = kj::newPromiseAndFulfiller<void>();
    passes.push_back({inode, std::move(except), kj::mv(paf.fulfiller)});
    return kj::mv(paf.promise);
  }
  kj::Promise<void> forgetAttributes(InodeId inode) override {
    attributesForgotten.push_back(inode);
    if (!holdsAttributes) return kj::READY_NOW;
    auto paf = kj::newPromiseAndFulfiller<void>();
    held.push_back(kj::mv(paf.fulfiller));
    return kj::mv(paf.promise);
  }
  kj::Promise<void> forgetAll() override {
    ++all;
    return kj::READY_NOW;
  }
};

struct CoherenceTest : testing::Test {
  ~CoherenceTest() noexcept override {}
  FakeCluster cluster;
  Kernel kernelA, kernelB;
  kj::Own<Filesystem> a = cluster.mount(), b = cluster.mount();

  void SetUp() override {
    a->setObserver(kernelA);
    b->setObserver(kernelB);
  }
  kj::Own<OpenFile> open(Filesystem& filesystem, InodeId inode, Access access = Access::READ) {
    return cluster.run(filesystem.open(inode, access)).value();
  }
  uint64_t size(Filesystem& filesystem, InodeId inode) {
    return cluster.run(filesystem.getAttributes(inode)).value().size;
  }
  Status lookup(Filesystem& filesystem, kj::StringPtr name) {
    return cluster.run(filesystem.lookup(ROOT_INODE, name)).status();
  }
  std::string append(OpenFile& file, std::string text, Rest rest = Rest::NONE) {
    auto landed = cluster.run(file.append(FakeCluster::bytes(kj::mv(text)), rest));
    return landed.ok() ? std::to_string(landed.value().value()) : kj::str(landed.status()).cStr();
  }
  std::pair<kj::Own<OpenFile>, kj::Own<OpenFile>> writtenByBAndUnsentByA() {
    // "f" of a, and of b: a has lost its write lease, does not know yet, and has bytes that it has not sent.
    auto file = cluster.create(*a, "f");
    cluster.write(*file, 0, "hello");
    cluster.run(file->flush());
    cluster.loseLeases(1);
    auto other = open(*b, file->inode(), Access::WRITE);
    cluster.write(*other, 0, "HELLO");
    EXPECT_EQ(cluster.run(other->flush()), Status::OK);
    EXPECT_EQ(cluster.write(*file, 0, "xx"), Status::OK) << "it does not know yet";
    return {kj::mv(file), kj::mv(other)};
  }
  template <typename T>
  bool isDone(kj::Promise<T>& promise) {
    return promise.poll(cluster.scope);
  }
};

// ------------------------------------------------------------ names, attributes

TEST_F(CoherenceTest, NamesAndAttributesAreAnsweredFromMemoryUntilAnotherClientChangesThem) {
  auto file = cluster.create(*a, "f");
  file = nullptr;
  cluster.pass(100 * kj::MILLISECONDS);
  EXPECT_EQ(lookup(*b, "f"), Status::OK);
  EXPECT_EQ(lookup(*b, "g"), Status::NOT_FOUND);
  auto lookups = cluster.lookups;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(lookup(*b, "f"), Status::OK);
    EXPECT_EQ(lookup(*b, "g"), Status::NOT_FOUND);
  }
  EXPECT_EQ(cluster.lookups, lookups);
  EXPECT_GT(b->keepName(ROOT_INODE, "g", InodeId()), 9 * kj::SECONDS);
  cluster.create(*a, "g");
  EXPECT_EQ(b->keepName(ROOT_INODE, "g", InodeId()), 0 * kj::SECONDS);
  EXPECT_EQ(lookup(*b, "g"), Status::OK);
  EXPECT_EQ(cluster.run(a->unlink(ROOT_INODE, "f", {})), Status::OK);
  EXPECT_EQ(lookup(*b, "f"), Status::NOT_FOUND);
}

TEST_F(CoherenceTest, AChangeWaitsUntilTheOthersKernelHasForgotten) {
  auto file = cluster.create(*a, "f");
  auto inode = file->inode();
  file = nullptr;
  cluster.pass(100 * kj::MILLISECONDS);
  EXPECT_TRUE(cluster.run(b->getAttributes(inode)).ok());
  kernelB.isBusy = true;
  AttributeChange change;
  change.mode = uint16_t(0600);
  auto changed = a->setAttributes(inode, kj::mv(change)).eagerlyEvaluate(nullptr);
  cluster.pass(1 * kj::SECONDS);
  EXPECT_FALSE(isDone(changed));
  ASSERT_EQ(kernelB.passes.size(), 1u);
  kernelB.passes[0].fulfiller->fulfill();
  EXPECT_TRUE(cluster.run(kj::mv(changed)).ok());
  EXPECT_EQ(cluster.run(b->getAttributes(inode)).value().mode, 0600);
}

TEST_F(CoherenceTest, TheSizeOfAGrowingFileIsSeenWithoutAFlush) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  EXPECT_EQ(size(*b, file->inode()), 5u);
  cluster.write(*file, 5, ", world");
  EXPECT_EQ(size(*b, file->inode()), 12u);
  EXPECT_EQ(cluster.publishes, 0u) << "it was asked for, nothing had to be written out";
}

TEST_F(CoherenceTest, ASizeIsToldToOthersOnceTheWritersKernelHasForgottenTheOldOne) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  kernelA.holdsAttributes = true;
  auto asked = b->getAttributes(file->inode()).eagerlyEvaluate(nullptr);
  cluster.pass(10 * kj::MILLISECONDS);
  EXPECT_EQ(kernelA.attributesForgotten, std::vector{file->inode()});
  EXPECT_FALSE(isDone(asked));
  cluster.write(*file, 5, ", world");  // of this one the kernel has yet to forget what was before
  kernelA.holdsAttributes = false;
  kernelA.held.at(0)->fulfill();
  EXPECT_EQ(cluster.run(kj::mv(asked)).value().size, 5u);
  EXPECT_EQ(size(*b, file->inode()), 12u);
}

TEST_F(CoherenceTest, AReaderSeesWhatWasWrittenOnceTheWritersKernelHasForgottenTheOldSize) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  auto other = open(*b, file->inode());
  kernelA.holdsAttributes = true;
  auto read = other->read(FileOffset(0), 100).eagerlyEvaluate(nullptr);
  cluster.pass(10 * kj::MILLISECONDS);
  EXPECT_EQ(kernelA.attributesForgotten, std::vector{file->inode()});
  EXPECT_FALSE(isDone(read));
  kernelA.held.at(0)->fulfill();
  EXPECT_TRUE(cluster.run(kj::mv(read)).ok());
  EXPECT_EQ(kernelA.forgotten, std::vector<InodeId>{}) << "its pages are as they were";
}

TEST_F(CoherenceTest, ARecallIsNotAnsweredBeforeAPublishThatIsUnderWay) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  cluster.holdPublishes = true;
  auto flushed = file->flush().eagerlyEvaluate(nullptr);
  cluster.pass(100 * kj::MILLISECONDS);
  ASSERT_EQ(cluster.heldPublishes.size(), 1u);
  AttributeChange change;
  change.mode = uint16_t(0600);
  auto changed = b->setAttributes(file->inode(), kj::mv(change)).eagerlyEvaluate(nullptr);
  cluster.pass(1 * kj::SECONDS);
  EXPECT_FALSE(isDone(changed)) << "the metaserver does not know the size yet, and would nobody ask any more";
  cluster.holdPublishes = false;
  cluster.heldPublishes[0]->fulfill();
  EXPECT_EQ(cluster.run(kj::mv(changed)).value().size, 5u);
  EXPECT_EQ(cluster.run(kj::mv(flushed)), Status::OK);
}

TEST_F(CoherenceTest, OfAnOpenFileThatLosesANameTheKernelAsksForTheLinks) {
  // It counts down those of the file that it took the name for, which may be another by now.
  auto closed = cluster.create(*a, "closed")->inode();
  cluster.pass(100 * kj::MILLISECONDS);
  EXPECT_EQ(cluster.run(a->unlink(ROOT_INODE, "closed", {})), Status::OK);
  EXPECT_EQ(kernelA.attributesForgotten, std::vector<InodeId>{}) << "nobody can ask for " << closed.value();

  auto file = cluster.create(*a, "f");
  cluster.names[{ROOT_INODE.value(), "g"}] = file->inode().value();
  cluster.file(file->inode()).attributes.links = 2;
  kernelA.holdsAttributes = true;
  for (auto name : {"f", "g"}) {
    auto removed = a->unlink(ROOT_INODE, name, {}).eagerlyEvaluate(nullptr);
    cluster.pass(10 * kj::MILLISECONDS);
    EXPECT_FALSE(isDone(removed)) << name;
    ASSERT_EQ(kernelA.held.size(), 1u);
    kernelA.held[0]->fulfill();
    kernelA.held.clear();
    EXPECT_EQ(cluster.run(kj::mv(removed)), Status::OK);
  }
  EXPECT_EQ(kernelA.attributesForgotten, (std::vector{file->inode(), file->inode()}));
  EXPECT_EQ(kernelA.forgotten, std::vector<InodeId>{}) << "its pages are as they were";
}

TEST_F(CoherenceTest, OfAFileThatHasLostItsNameWhenItIsOpenedTheKernelAsksForTheLinks) {
  auto file = cluster.create(*a, "f");  // somebody has it open, elsewhere
  cluster.file(file->inode()).attributes.links = 0;
  auto opened = open(*b, file->inode());
  EXPECT_EQ(kernelB.attributesForgotten, std::vector{file->inode()});
}

// ------------------------------------------------------------------------------------------- content

TEST_F(CoherenceTest, AReadSeesWhatAnotherClientHasBuffered) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  auto other = open(*b, file->inode());
  EXPECT_EQ(cluster.read(*other, 0, 100), "hello");
  cluster.write(*file, 0, "HE");
  EXPECT_EQ(cluster.read(*other, 0, 100), "HEllo");
  cluster.write(*other, 4, "O!");
  EXPECT_EQ(cluster.read(*file, 0, 100), "HEllO!");
}

TEST_F(CoherenceTest, OneClientAloneAsksForNothing) {
  auto file = cluster.create(*a, "f");
  for (int i = 0; i < 100; ++i) {
    cluster.write(*file, i * 10, "0123456789");
    cluster.read(*file, i * 10, 10);
  }
  EXPECT_EQ(cluster.run(file->flush()), Status::OK);
  EXPECT_EQ(cluster.acquires, 0u);
  EXPECT_EQ(cluster.recalls, 0u);
  EXPECT_EQ(cluster.questions, 0u);
}

TEST_F(CoherenceTest, AClosedFileIsReadByOthersWithoutARecall) {
  auto file = cluster.create(*a, "f");
  auto inode = file->inode();
  cluster.write(*file, 0, "hello");
  cluster.run(file->flush());
  file = nullptr;
  cluster.pass(100 * kj::MILLISECONDS);
  auto other = open(*b, inode);
  EXPECT_EQ(cluster.read(*other, 0, 100), "hello");
  EXPECT_EQ(cluster.recalls, 0u) << "the write lease went with the last close";
  auto asked = cluster.questions;
  EXPECT_EQ(size(*a, inode), 5u);
  EXPECT_EQ(cluster.questions, asked) << "and read is left";
}

TEST_F(CoherenceTest, PagesGoWithTheirLease) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  auto other = open(*b, file->inode());
  cluster.read(*other, 0, 100);
  kernelB.forgotten.clear();
  cluster.write(*file, 0, "HE");
  EXPECT_EQ(kernelB.forgotten, std::vector<InodeId>{file->inode()});
}

TEST_F(CoherenceTest, ACutOfOneClientIsSeenByTheOther) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  auto other = open(*b, file->inode());
  AttributeChange change;
  change.size = uint64_t(2);
  EXPECT_TRUE(cluster.run(b->setAttributes(file->inode(), kj::mv(change))).ok());
  EXPECT_EQ(cluster.read(*file, 0, 100), "he");
  cluster.write(*file, 4, "y");
  EXPECT_EQ(cluster.read(*other, 0, 100), std::string("he\0\0y", 5));
}

TEST_F(CoherenceTest, ARequestThatHasPagesLockedAndWaitsDoesNotHoldUpARecall) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, std::string(20'000, 'a'));
  auto other = open(*b, file->inode());
  cluster.read(*other, 0, 100);
  kernelB.isBusy = true;
  // A wants to write: B is asked to forget, and its kernel is stopped by a page that a write has locked.
  auto written = file->write(FileOffset(0), FakeCluster::bytes("A")).eagerlyEvaluate(nullptr);
  cluster.pass(10 * kj::MILLISECONDS);
  ASSERT_EQ(kernelB.passes.size(), 1u);
  auto blocked =
      other->write(FileOffset(8192), FakeCluster::bytes("B"), Origin::PAGES).eagerlyEvaluate(nullptr);
  cluster.pass(10 * kj::MILLISECONDS);
  ASSERT_EQ(kernelB.passes.size(), 2u) << "another one overtakes it";
  ASSERT_EQ(kernelB.passes[1].except.size(), 1u);
  EXPECT_EQ(kernelB.passes[1].except[0].offset, 8192u);
  EXPECT_FALSE(isDone(written));
  EXPECT_FALSE(isDone(blocked));
  kernelB.isBusy = false;
  kernelB.passes[1].fulfiller->fulfill();
  EXPECT_EQ(cluster.run(kj::mv(written)), Status::OK);
  EXPECT_EQ(cluster.run(kj::mv(blocked)), Status::OK);
  kernelB.passes[0].fulfiller->fulfill();
  EXPECT_EQ(cluster.read(*file, 0, 1) + cluster.read(*file, 8192, 1), "AB");
}

TEST_F(CoherenceTest, WhatAMappingHadChangedIsWrittenOutByTheRecall) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  auto other = open(*b, file->inode());
  kernelA.isBusy = true;
  auto written = other->write(FileOffset(0), FakeCluster::bytes("B")).eagerlyEvaluate(nullptr);
  cluster.pass(10 * kj::MILLISECONDS);
  ASSERT_EQ(kernelA.passes.size(), 1u);
  // Forgetting makes the kernel write its page first.
  EXPECT_EQ(cluster.run(file->write(FileOffset(4), FakeCluster::bytes("O"), Origin::WRITEBACK)), Status::OK);
  kernelA.isBusy = false;
  for (auto& pass : kernelA.passes) pass.fulfiller->fulfill();
  EXPECT_EQ(cluster.run(kj::mv(written)), Status::OK);
  EXPECT_EQ(cluster.read(*file, 0, 100), "BellO");
}

TEST_F(CoherenceTest, TwoWritersThatWantTheSameFileBothGetOn) {
  auto file = cluster.create(*a, "f");
  auto other = open(*b, file->inode(), Access::WRITE);
  kj::Vector<kj::Promise<Status>> writes;
  for (int i = 0; i < 50; ++i) {
    writes.add(file->write(FileOffset(2 * i), FakeCluster::bytes("a")).eagerlyEvaluate(nullptr));
    writes.add(other->write(FileOffset(2 * i + 1), FakeCluster::bytes("b")).eagerlyEvaluate(nullptr));
  }
  for (auto& write : writes) EXPECT_EQ(cluster.run(kj::mv(write)), Status::OK);
  auto content = cluster.read(*file, 0, 1000);
  EXPECT_EQ(content.size(), 100u);
  for (size_t i = 0; i < content.size(); ++i) EXPECT_EQ(content[i], i % 2 ? 'b' : 'a') << i;
}

// ------------------------------------------------------------------------------------------- appending

TEST_F(CoherenceTest, AppendsOfTwoClientsFollowEachOther) {
  auto file = cluster.create(*a, "f");
  auto other = open(*b, file->inode(), Access::WRITE);
  EXPECT_EQ(append(*file, "one "), "0");
  EXPECT_EQ(append(*other, "two "), "4");
  EXPECT_EQ(append(*other, "three "), "8");
  EXPECT_EQ(append(*file, "four"), "14");
  EXPECT_EQ(cluster.read(*other, 0, 100), "one two three four");
}

TEST_F(CoherenceTest, ThePiecesOfARecordStayTogether) {
  auto file = cluster.create(*a, "f");
  auto other = open(*b, file->inode(), Access::WRITE);
  EXPECT_EQ(append(*file, "first ", Rest::FOLLOWS), "0");
  auto landed = other->append(FakeCluster::bytes("other"), Rest::NONE, nullptr).eagerlyEvaluate(nullptr);
  cluster.pass(50 * kj::MILLISECONDS);
  EXPECT_FALSE(isDone(landed));
  EXPECT_EQ(append(*file, "second ", Rest::NONE), "6");
  EXPECT_EQ(cluster.run(kj::mv(landed)).value(), FileOffset(13));
  EXPECT_EQ(cluster.read(*file, 0, 100), "first second other");
}

TEST_F(CoherenceTest, ARecordWhoseRestNeverComesHoldsNobodyUpForLong) {
  auto file = cluster.create(*a, "f");
  auto other = open(*b, file->inode(), Access::WRITE);
  EXPECT_EQ(append(*file, "first ", Rest::FOLLOWS), "0");
  auto landed = other->append(FakeCluster::bytes("other"), Rest::NONE, nullptr).eagerlyEvaluate(nullptr);
  cluster.pass(200 * kj::MILLISECONDS);
  EXPECT_TRUE(isDone(landed));
}

TEST_F(CoherenceTest, ARecordAcrossAChunkBoundaryIsWhole) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, CHUNK_SIZE - 3, "abc");
  auto other = open(*b, file->inode(), Access::WRITE);
  EXPECT_EQ(append(*other, "defgh"), std::to_string(CHUNK_SIZE));
  AttributeChange change;
  change.size = uint64_t(CHUNK_SIZE - 2);
  EXPECT_TRUE(cluster.run(b->setAttributes(file->inode(), kj::mv(change))).ok());
  EXPECT_EQ(append(*file, "12345"), std::to_string(CHUNK_SIZE - 2));
  EXPECT_EQ(cluster.read(*other, CHUNK_SIZE - 3, 100), "a12345");
}

// ------------------------------------------------------------------------------------------- silence

TEST_F(CoherenceTest, AClientThatIsCutOffAnswersNothingFromMemoryBeyondTheTerm) {
  auto file = cluster.create(*a, "f");
  file = nullptr;
  cluster.pass(100 * kj::MILLISECONDS);
  EXPECT_EQ(lookup(*b, "f"), Status::OK);
  cluster.killMetaserver();
  cluster.pass(5 * kj::SECONDS);
  EXPECT_EQ(lookup(*b, "f"), Status::OK) << "the term has not run out";
  EXPECT_EQ(kernelB.all, 0u);
  cluster.pass(5 * kj::SECONDS);
  EXPECT_EQ(b->keepName(ROOT_INODE, "f", InodeId(101)), 0 * kj::SECONDS);
  EXPECT_EQ(kernelB.all, 1u) << "the kernel's pages have no term of their own";
  auto looked = b->lookup(ROOT_INODE, "f").eagerlyEvaluate(nullptr);
  cluster.pass(1 * kj::SECONDS);
  EXPECT_FALSE(isDone(looked));
  cluster.startMetaserver();
  EXPECT_TRUE(cluster.run(kj::mv(looked)).ok());
  EXPECT_GT(b->keepName(ROOT_INODE, "f", InodeId(101)), 5 * kj::SECONDS);
}

TEST_F(CoherenceTest, LeasesSurviveARestartOfTheMetaserver) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  cluster.killMetaserver();
  cluster.leases.clear();
  cluster.startMetaserver();
  cluster.pass(3 * kj::SECONDS);
  EXPECT_EQ(cluster.leaseOf(1, file->inode().value()), rpc::LeaseKind::WRITE);
  auto other = open(*b, file->inode());
  EXPECT_EQ(cluster.read(*other, 0, 100), "hello");
}

TEST_F(CoherenceTest, BufferedWritesOfALostLeaseGoOutIfNobodyHasWrittenSince) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  cluster.run(file->flush());
  cluster.loseLeases(1);
  EXPECT_EQ(cluster.write(*file, 5, ", world"), Status::OK) << "it does not know yet";
  EXPECT_EQ(cluster.run(file->flush()), Status::OK);
  EXPECT_EQ(cluster.run(open(*b, file->inode())->read(FileOffset(0), 100)).value().size(), 12u);
}

TEST_F(CoherenceTest, LeasesThatAreVoidAreGivenUpAtTheNextRenewal) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  cluster.run(file->flush());
  cluster.loseLeases(1);
  cluster.pass(LEASE_RENEW_INTERVAL + 1 * kj::SECONDS);
  EXPECT_TRUE(std::any_of(cluster.warnings.begin(), cluster.warnings.end(),
                          [](auto& line) { return line.find("of them are void") != std::string::npos; }));
  auto other = open(*b, file->inode(), Access::WRITE);
  cluster.write(*other, 0, "HELLO");
  EXPECT_EQ(cluster.run(other->flush()), Status::OK);
  EXPECT_EQ(cluster.read(*file, 0, 100), "HELLO");
}

TEST_F(CoherenceTest, BufferedWritesOfALostLeaseAreLostWhenOthersHaveWrittenAndThatIsTold) {
  auto [file, other] = writtenByBAndUnsentByA();
  EXPECT_EQ(cluster.run(file->flush()), Status::IO_ERROR);
  EXPECT_EQ(cluster.run(file->flush()), Status::OK) << "told once";
  EXPECT_EQ(cluster.read(*file, 0, 100), "HELLO");
  EXPECT_EQ(cluster.write(*file, 0, "yy"), Status::OK);
  EXPECT_EQ(cluster.run(file->flush()), Status::OK);
  EXPECT_EQ(cluster.read(*other, 0, 100), "yyLLO");
}

TEST_F(CoherenceTest, AReadDoesNotShowBytesOfALostLeaseThatAreAboutToBeDropped) {
  auto [file, other] = writtenByBAndUnsentByA();
  kernelB.isBusy = true;
  auto flushed = file->flush().eagerlyEvaluate(nullptr);
  cluster.pass(300 * kj::MILLISECONDS);
  ASSERT_FALSE(isDone(flushed)) << "it waits for the lease";
  auto reading = file->read(FileOffset(0), 100).eagerlyEvaluate(nullptr);
  cluster.pass(1 * kj::MILLISECONDS);
  kernelB.isBusy = false;
  for (auto& pass : kernelB.passes) pass.fulfiller->fulfill();
  auto read = cluster.run(kj::mv(reading));
  ASSERT_TRUE(read.ok());
  std::string text;
  for (auto& piece : read->pieces) text.append(piece.asChars().begin(), piece.size());
  EXPECT_EQ(text, "HELLO");
  EXPECT_EQ(cluster.run(kj::mv(flushed)), Status::IO_ERROR);
}

TEST_F(CoherenceTest, ARecallThatComesAgainOnAnotherConnectionIsObeyedOnce) {
  auto file = cluster.create(*a, "f");
  cluster.write(*file, 0, "hello");
  kernelA.isBusy = true;
  auto recall = [&]() {
    auto request = cluster.sessions.at(1).callback.recallRequest();
    auto lease = request.initLeases(1)[0];
    lease.setInode(file->inode().value());
    lease.setKind(rpc::LeaseKind::NONE);
    lease.setStamp(++cluster.stamp);
    return request.send().ignoreResult().eagerlyEvaluate(nullptr);
  };
  kj::Promise<void> first = recall();
  cluster.pass(1 * kj::MILLISECONDS);
  first = kj::READY_NOW;  // the connection broke
  auto second = recall();
  cluster.pass(1 * kj::MILLISECONDS);
  EXPECT_FALSE(isDone(second));
  for (size_t i = 0; i < kernelA.passes.size(); ++i) kernelA.passes[i].fulfiller->fulfill();
  cluster.run(kj::mv(second));
  EXPECT_EQ(cluster.file(file->inode()).attributes.size, 5u) << "written out and published";
}

}  // namespace
}  // namespace cairn::client
