// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The log behind the namespace: what survives which death, what is refused at a start, what a full or broken
// disk does.
#include <memory>
#include <string>

#include "metaserver/log_segment.h"
#include "test/metaserver/metadata_world.h"

namespace cairn {
namespace {

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

struct LogTest : testing::Test {
  ~LogTest() noexcept override {}
  MetadataWorld world;

  std::string segment(uint64_t first) { return std::string("log/") + segmentName(LogIndex(first)).cStr(); }
  void remove(const std::string& path) {
    EXPECT_TRUE(world.disk.remove(path.c_str()).wait(world.scope).ok());
  }
  uint64_t sizeOf(const std::string& path) { return world.disk.contents(path.c_str()).size(); }
  bool exists(const char* name) { return world.read().lookup(ROOT_INODE, name).ok(); }

  uint64_t currentSegment() {
    uint64_t newest = 0;
    for (uint64_t first = 1; first <= world.state().applied.value() + 1; ++first) {
      if (world.disk.exists(segment(first).c_str())) newest = first;
    }
    return newest;
  }
};

TEST_F(LogTest, AnEmptyDirectoryFoundsTheClusterAndEachStartBeginsANewEpoch) {
  world.start();
  EXPECT_EQ(world.state().cluster, MetadataWorld::CLUSTER);
  EXPECT_EQ(world.theLog().epoch(), Epoch(1));
  auto root = world.read().inode(ROOT_INODE);
  ASSERT_TRUE(root.ok());
  EXPECT_TRUE(root->attributes.isDirectory());
  world.killAndRestart();
  EXPECT_EQ(world.theLog().epoch(), Epoch(2));
  world.losePowerAndRestart();
  EXPECT_EQ(world.theLog().epoch(), Epoch(3)) << "an epoch is durable before anyone hears of it";
}

TEST_F(LogTest, AnAnsweredChangeSurvivesTheDeathOfTheProcess) {
  world.start();
  Client client(world);
  for (int i = 0; i < 50; ++i) {
    auto name = kj::str("file-", i);
    client.file(ROOT_INODE, name);
    world.killAndRestart(uint64_t(i));
    ASSERT_TRUE(exists(name.cStr()));
  }
}

TEST_F(LogTest, InModeDiskAnAnsweredChangeSurvivesThePowerCut) {
  world.options.commit = CommitMode::DISK;
  world.start();
  Client client(world);
  for (int i = 0; i < 50; ++i) {
    auto name = kj::str("file-", i);
    client.file(ROOT_INODE, name);
    world.losePowerAndRestart(uint64_t(i));
    ASSERT_TRUE(exists(name.cStr())) << i;
  }
}

TEST(LogOfManySeeds, InModeMemoryWhatDurableCoversSurvivesThePowerCutAndTheRestIsAPrefix) {
  bool everLost = false, everKept = false;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    MetadataWorld world;
    world.start();
    Client client(world);
    for (int i = 0; i < 5; ++i) client.file(ROOT_INODE, kj::str("synced-", i));
    ASSERT_EQ(world.sync(), Status::OK);
    for (int i = 0; i < 8; ++i) client.file(ROOT_INODE, kj::str("late-", i));
    world.losePowerAndRestart(seed);
    for (int i = 0; i < 5; ++i)
      ASSERT_TRUE(world.read().lookup(ROOT_INODE, kj::str("synced-", i)).ok()) << seed;
    bool lost = false;
    for (int i = 0; i < 8; ++i) {
      bool there = world.read().lookup(ROOT_INODE, kj::str("late-", i)).ok();
      ASSERT_FALSE(there && lost) << "seed " << seed << ": a later change without an earlier one";
      lost = lost || !there;
    }
    (lost ? everLost : everKept) = true;
  }
  EXPECT_TRUE(everLost && everKept) << "the disk did not do what this test is about";
}

TEST_F(LogTest, NoInodeNumberIsGivenTwiceWhateverAPowerCutTakes) {
  world.options.boot = 1;
  world.start();
  EXPECT_EQ(world.theLog().lostFrom(), LogIndex()) << "a new cluster has nothing to lose";
  InodeId highest;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    auto client = std::make_unique<Client>(world);
    ASSERT_EQ(world.sync(), Status::OK);
    auto first = client->file(ROOT_INODE, kj::str("first-", seed));
    EXPECT_GT(first, highest);
    for (int i = 0; i < 5; ++i) highest = client->file(ROOT_INODE, kj::str("late-", seed, "-", i));
    auto last = world.state().applied;
    client = nullptr;
    world.options.boot += 1;
    world.losePowerAndRestart(seed);
    EXPECT_GT(world.theLog().lostFrom(), LogIndex());
    EXPECT_LE(world.theLog().lostFrom(), last.next());
    bool isThere = world.read().inode(highest).ok();
    EXPECT_EQ(world.read().inode(highest).status(), isThere ? Status::OK : Status::NOT_FOUND)
        << "nobody has deleted it: stale would say so";
    EXPECT_EQ(world.theLog().lostFrom() == last.next(), isThere);
    EXPECT_EQ(world.read().inode(InodeId(highest.value() + 1000)).status(), Status::NOT_FOUND);
  }
  world.killAndRestart();
  EXPECT_EQ(world.theLog().lostFrom(), LogIndex()) << "the process alone takes nothing with it";
}

TEST_F(LogTest, OperationsOfOneTurnGoIntoOneWrite) {
  world.start();
  Client client(world);
  auto before = world.disk.counters().writes;
  kj::Vector<kj::Promise<Outcome>> promises;
  for (int i = 0; i < 100; ++i) {
    promises.add(world.theLog().propose(client.prepare([&](auto change) {
      auto request = change.initCreate();
      request.setParent(1);
      request.setName(kj::str("file-", i));
    })));
  }
  EXPECT_EQ(world.theLog().inFlight(), 100u);
  auto outcomes = kj::joinPromises(promises.releaseAsArray()).wait(world.scope);
  for (size_t i = 0; i < outcomes.size(); ++i) {
    EXPECT_TRUE(outcomes[i].ok());
    EXPECT_EQ(outcomes[i].index.value(), outcomes[0].index.value() + i);
  }
  EXPECT_EQ(world.theLog().inFlight(), 0u);
  EXPECT_EQ(world.disk.counters().writes, before + 1);
}

TEST_F(LogTest, AProposalWhosePromiseIsDroppedIsCarriedOutAllTheSame) {
  world.start();
  Client client(world);
  {
    auto dropped = world.theLog().propose(client.prepare([](auto change) {
      auto request = change.initCreate();
      request.setParent(1);
      request.setName("orphaned answer");
    }));
  }
  EXPECT_EQ(world.sync(), Status::OK);
  EXPECT_TRUE(exists("orphaned answer"));
}

TEST_F(LogTest, FullSegmentsGoOnceTheNamespaceHasThemOnDisk) {
  world.options.segmentBytes = 4096;
  world.start();
  Client client(world);
  for (int i = 0; i < 400; ++i) {
    client.file(ROOT_INODE, kj::str("file-", i));
    if (i % 50 == 49) world.theNames().flush();
  }
  EXPECT_FALSE(world.disk.exists(segment(1).c_str()));
  EXPECT_GT(currentSegment(), 1u);
  world.killAndRestart();
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(exists(kj::str("file-", i).cStr()));
}

TEST_F(LogTest, ACleanStopLeavesNothingToReplay) {
  world.start();
  Client client(world);
  client.file(ROOT_INODE, "a");
  auto applied = world.state().applied;
  world.stop();
  auto names = Namespace::open({.path = "/names", .env = world.rocksEnv.get()});
  EXPECT_EQ(names->state().applied, applied);
  names = nullptr;
  world.start();
  EXPECT_TRUE(exists("a"));
}

TEST_F(LogTest, ATornTailIsCutOffWithALineInTheLog) {
  world.start();
  Client client(world);
  client.file(ROOT_INODE, "kept");
  auto path = segment(currentSegment());
  auto size = sizeOf(path);
  client.file(ROOT_INODE, "torn");
  world.kill();
  auto bytes = world.disk.contents(path.c_str());
  world.disk.replaceContents(path.c_str(), bytes.slice(0, size + 40));
  world.start();
  EXPECT_TRUE(exists("kept"));
  EXPECT_FALSE(exists("torn"));
  EXPECT_TRUE(contains(world.trace, "40 bytes after operation")) << world.trace;
  EXPECT_TRUE(contains(world.trace, "cut them off"));
  world.killAndRestart();
  EXPECT_TRUE(exists("kept"));
}

TEST_F(LogTest, DamageBeforeASyncedRecordIsRefusedAndChangesNothing) {
  world.start();
  Client client(world);
  auto path = segment(currentSegment());
  auto offset = sizeOf(path);
  for (int i = 0; i < 10; ++i) {
    client.file(ROOT_INODE, kj::str("file-", i));
    ASSERT_EQ(world.sync(), Status::OK);
  }
  world.kill();
  world.disk.flipBit(path.c_str(), (offset + 60) * 8 + 3);
  auto before = world.disk.contents(path.c_str());
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "is damaged at byte")) << why;
  EXPECT_TRUE(contains(why, "cairn-metaserver restore --dir DIR BACKUP")) << why;
  EXPECT_EQ(before, world.disk.contents(path.c_str()));
}

TEST_F(LogTest, DamageInAnOlderSegmentIsRefused) {
  world.start();
  Client client(world);
  auto path = segment(currentSegment());
  client.file(ROOT_INODE, "a");
  world.killAndRestart();  // begins another segment
  auto size = sizeOf(path);
  world.kill();
  world.disk.flipBit(path.c_str(), (size - 1) * 8);
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "is damaged at byte")) << why;
}

TEST_F(LogTest, AMissingSegmentIsRefused) {
  world.start();
  Client client(world);
  auto first = segment(currentSegment());
  client.file(ROOT_INODE, "a");
  world.killAndRestart();
  world.kill();
  remove(first);
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "are missing")) << why;
  EXPECT_TRUE(contains(why, "Put the missing log files back")) << why;
}

TEST_F(LogTest, ALogThatIsGoneAltogetherIsRefused) {
  world.start();
  world.stop();
  auto names = world.disk.list("log").wait(world.scope);
  for (auto& name : names.names) remove(std::string("log/") + name.cStr());
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "holds no log")) << why;
}

TEST_F(LogTest, AnotherClustersLogIsRefused) {
  world.start();
  world.kill();
  world.options.cluster = ClusterId{7, 7};
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "belongs to cluster 112233445566778899aabbccddeeff00")) << why;
}

TEST_F(LogTest, ANewerFormatIsRefused) {
  world.start();
  auto first = currentSegment();
  auto path = segment(first);
  world.kill();
  SegmentHeader header;
  header.format = 9;
  header.cluster = MetadataWorld::CLUSTER;
  header.first = LogIndex(first);
  world.disk.replaceContents(path.c_str(), encode(header));
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "has format 9, this program knows 1")) << why;
}

TEST_F(LogTest, AHalfMadeSegmentIsRemoved) {
  world.start();
  Client client(world);
  client.file(ROOT_INODE, "a");
  auto next = segment(world.state().applied.value() + 1);
  world.kill();
  kj::byte junk[20] = {1, 2, 3};
  world.disk.replaceContents(next.c_str(), junk);
  world.start();
  EXPECT_TRUE(exists("a"));
}

TEST_F(LogTest, AFullDiskRefusesTheChangeAndReadsGoOn) {
  world.options.reserveBytes = 0;
  world.start();
  Client client(world);
  client.file(ROOT_INODE, "before");
  auto applied = world.state().applied.value();
  world.disk.setCapacity(0);
  auto longName = std::string(255, 'x');
  Status status = Status::OK;
  for (int i = 0; i < 100 && ok(status); ++i) {  // until the page that is there already is full
    status = client.create(ROOT_INODE, kj::str(i, longName.substr(10).c_str())).status;
    if (ok(status)) ++applied;
  }
  EXPECT_EQ(status, Status::NO_SPACE);
  EXPECT_EQ(client.create(ROOT_INODE, longName.c_str()).status, Status::NO_SPACE);
  EXPECT_EQ(world.state().applied.value(), applied);
  EXPECT_TRUE(exists("before"));
  EXPECT_FALSE(exists(longName.c_str()));
  world.disk.setCapacity(UINT64_MAX);
  EXPECT_TRUE(client.create(ROOT_INODE, "full").ok()) << "there is room again";
  world.killAndRestart();
  EXPECT_TRUE(exists("full"));
}

TEST_F(LogTest, ADiskThatIsFullAtTheEndOfASegmentGoesOnInTheOldOne) {
  world.options.reserveBytes = 0;
  world.options.segmentBytes = 600;
  world.start();
  Client client(world);
  int made = 0;
  for (int round = 0; round < 5; ++round) {
    world.disk.setCapacity(0);
    Status status = Status::OK;
    while (ok(status)) {
      status = client.create(ROOT_INODE, kj::str("file-", made)).status;
      if (ok(status)) ++made;
    }
    EXPECT_EQ(status, Status::NO_SPACE);
    world.disk.setCapacity(UINT64_MAX);
    for (int i = 0; i < 20; ++i) client.file(ROOT_INODE, kj::str("file-", made++));
    EXPECT_EQ(world.sync(), Status::OK);
    world.losePowerAndRestart(uint64_t(round));
    for (int i = 0; i < made; ++i) ASSERT_TRUE(exists(kj::str("file-", i).cStr())) << i;
  }
}

TEST_F(LogTest, ARetryIsAnsweredAlsoWhenThereIsNoRoomForNewChanges) {
  world.start();
  Client client(world);
  auto first = client.create(ROOT_INODE, "a");
  world.options.reserveBytes = UINT64_MAX;
  world.killAndRestart();
  --client.sequence;
  auto again = client.create(ROOT_INODE, "a");
  EXPECT_TRUE(again.ok());
  EXPECT_EQ(again.index, first.index);
  EXPECT_EQ(client.create(ROOT_INODE, "b").status, Status::NO_SPACE);
}

TEST_F(LogTest, TwoProcessesOnOneStoreAreRefused) {
  world.start();
  std::string why;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions(
                              [&]() { Namespace::open({.path = "/names", .env = world.rocksEnv.get()}); })) {
    why = exception->getDescription().cStr();
  }
  EXPECT_TRUE(contains(why, "one metaserver serves a directory")) << why;
}

TEST_F(LogTest, AnOperationOfALaterVersionIsRefused) {
  world.start();
  auto first = currentSegment();
  auto path = segment(first);
  auto next = world.state().applied.next();
  world.kill();
  LoggedOperation operation;
  operation.body().setIndex(next.value());
  operation.body().setStartEpoch();
  auto bytes = world.disk.contents(path.c_str());
  auto longer = kj::heapArray<kj::byte>(bytes.size() + recordSize(operation));
  memcpy(longer.begin(), bytes.begin(), bytes.size());
  // The discriminant of the union is where startEpoch's is: give it a number that no arm has.
  auto raw = operation.builder().getSegmentsForOutput()[0];
  auto words = const_cast<uint16_t*>(reinterpret_cast<const uint16_t*>(raw.begin()));
  bool patched = false;
  for (size_t i = 0; i < raw.size() * 4 && !patched; ++i) {
    auto old = words[i];
    words[i] = 250;
    patched = static_cast<uint16_t>(operation.body().which()) == 250;
    if (!patched) words[i] = old;
  }
  ASSERT_TRUE(patched);
  writeRecord(longer.slice(bytes.size(), longer.size()), operation, next, LogIndex());
  world.disk.replaceContents(path.c_str(), longer);
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "of a kind this program does not know")) << why;
}

TEST_F(LogTest, ALogThatCanNeitherBeWrittenNorCutBackEnds) {
  world.start();
  Client client(world);
  world.disk.failWrites(EIO);
  EXPECT_THROW(client.create(ROOT_INODE, "a"), kj::Exception) << "what it left may be the record or not";
  EXPECT_THROW(world.theLog().whenBroken().wait(world.scope), kj::Exception);
  world.disk.failWrites(0);
  EXPECT_EQ(client.create(ROOT_INODE, "b").status, Status::IO_ERROR);
  world.killAndRestart();
  EXPECT_FALSE(exists("b"));
}

TEST_F(LogTest, SpaceIsKeptForTheNamespaceAndRemovingGoesOn) {
  world.start();
  Client client(world);
  client.file(ROOT_INODE, "old");
  world.options.reserveBytes = UINT64_MAX;
  world.killAndRestart();
  EXPECT_EQ(client.create(ROOT_INODE, "new").status, Status::NO_SPACE);
  EXPECT_TRUE(client.unlink(ROOT_INODE, "old").ok());
  EXPECT_TRUE(contains(world.trace, "make room")) << world.trace;
}

TEST_F(LogTest, AFailedSyncIsToldAndEndsTheLog) {
  world.start();
  Client client(world);
  ASSERT_EQ(world.sync(), Status::OK);
  world.disk.failSyncs(EIO);
  client.file(ROOT_INODE, "a");
  EXPECT_EQ(world.sync(), Status::IO_ERROR);
  EXPECT_THROW(world.theLog().whenBroken().wait(world.scope), kj::Exception);
  EXPECT_EQ(client.create(ROOT_INODE, "b").status, Status::IO_ERROR);
  EXPECT_TRUE(exists("a")) << "reads go on until the process ends";
  world.disk.failSyncs(0);
  EXPECT_EQ(world.sync(), Status::IO_ERROR) << "what the disk has dropped does not come back";
}

TEST(LogRecords, EveryBitFlipInARecordIsFound) {
  LoggedOperation operation;
  operation.body().initPurge(3);
  auto file = kj::heapArray<kj::byte>(SEGMENT_HEADER_SIZE + recordSize(operation));
  writeRecord(file.slice(SEGMENT_HEADER_SIZE, file.size()), operation, LogIndex(5), LogIndex(4));
  EXPECT_EQ(scanRecords(file, LogIndex(5)).records.size(), 1u);
  EXPECT_EQ(scanRecords(file, LogIndex(6)).records.size(), 0u) << "another index";
  for (size_t bit = SEGMENT_HEADER_SIZE * 8; bit < file.size() * 8; ++bit) {
    file[bit / 8] ^= kj::byte(1 << bit % 8);
    EXPECT_EQ(scanRecords(file, LogIndex(5)).records.size(), 0u) << bit;
    file[bit / 8] ^= kj::byte(1 << bit % 8);
  }
  for (size_t size = SEGMENT_HEADER_SIZE; size < file.size(); ++size) {
    auto scan = scanRecords(file.slice(0, size), LogIndex(5));
    EXPECT_EQ(scan.records.size(), 0u) << size;
    EXPECT_EQ(scan.validBytes, SEGMENT_HEADER_SIZE);
  }
}

TEST(LogRecords, EveryBitFlipInAHeaderIsFound) {
  SegmentHeader header;
  header.cluster = {1, 2};
  auto bytes = encode(header);
  ASSERT_TRUE(decodeHeader(bytes) != nullptr);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= kj::byte(1 << bit % 8);
    EXPECT_TRUE(decodeHeader(bytes) == nullptr) << bit;
    bytes[bit / 8] ^= kj::byte(1 << bit % 8);
  }
}

TEST(LogRecords, NamesOfSegmentsAreTheirFirstIndex) {
  EXPECT_EQ(segmentName(LogIndex(0x1234)), "0000000000001234.log");
  EXPECT_EQ(KJ_REQUIRE_NONNULL(parseSegmentName("0000000000001234.log")), LogIndex(0x1234));
  EXPECT_TRUE(parseSegmentName("000000000000123g.log") == nullptr);
  EXPECT_TRUE(parseSegmentName("1234.log") == nullptr);
}

}  // namespace
}  // namespace cairn
