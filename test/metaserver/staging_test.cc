// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Snapshots in steps, as operations: whatever the size of the steps, the copy is what one operation would
// have made; the namespace agrees with itself after each of them; and one that is given up leaves nothing.
#include <set>

#include "metaserver/ops/staging.h"
#include "metaserver/staging_ahead.h"
#include "test/metaserver/check_findings.h"

namespace cairn {
namespace {

constexpr uint64_t CHUNK = CHUNK_SIZE;

struct Staging : testing::Test {
  MetadataWorld world;
  kj::Own<Client> client;
  InodeId tree, below, file;
  uint64_t chunksBefore = 0;

  Staging() {
    world.start();
    client = kj::heap<Client>(world);
    tree = client->directory(ROOT_INODE, "tree");
    below = client->directory(tree, "below");
    file = client->file(below, "file");
    world.attach(file, 0);
    world.attach(file, 1);
    client->publish(file, CHUNK + 5000);
    client->setXattr(file, "user.a", "value");
    client->setXattr(tree, "user.b", "other");
    client->symlink(tree, "symlink", "below/file");
    client->create(tree, "pipe", {.type = FileType::FIFO});
    client->directory(below, "empty");
    auto deep = below;
    for (int i = 0; i < 7; ++i) {
      deep = client->directory(deep, kj::str("deep-", i));
      client->link(file, deep, "again");
      world.attach(client->file(deep, "own"), 0);
      client->publish(world.read().lookup(deep, "own")->inode, 100 + i);
    }
    for (int i = 0; i < 20; ++i) client->file(tree, kj::str("f", i));
    client->link(file, ROOT_INODE, "outside");
  }
  ~Staging() noexcept override {}

  std::vector<uint64_t> ahead(InodeId top, uint32_t budget) {
    std::set<uint64_t> handles;
    for (auto handle : chunksAhead(world.read(), top, budget)) handles.insert(handle.value());
    return {handles.begin(), handles.end()};
  }
  Outcome stage(InodeId original, InodeId directory, kj::StringPtr name) {
    return world.own([&](auto body) {
      auto request = body.initStageTree();
      request.setStagedFrom(original.value());
      request.setStagedFor(directory.value());
      request.setStagedName(name);
    });
  }
  InodeId stage() {
    auto outcome = stage(tree, ROOT_INODE, "copy");
    EXPECT_TRUE(outcome.ok());
    return InodeId(outcome.number);
  }
  Outcome step(InodeId top, uint32_t budget, std::vector<uint64_t> still) {
    return world.own([&](auto body) {
      auto request = body.initCopyStaged();
      request.setStaging(top.value());
      request.setCopyAtMost(budget);
      auto list = request.initStanding(unsigned(still.size()));
      for (unsigned i = 0; i < still.size(); ++i) list.set(i, still[i]);
    });
  }
  Outcome step(InodeId top, uint32_t budget) { return step(top, budget, ahead(top, budget)); }
  Outcome name(InodeId top, kj::StringPtr name = "copy") {
    return world.own([&](auto body) {
      auto request = body.initLinkStaged();
      request.setLinked(top.value());
      request.setLinkedAs(name);
    });
  }
  Outcome drop(InodeId top, uint32_t budget) {
    return world.own([&](auto body) {
      auto request = body.initDropStaged();
      request.setDropped(top.value());
      request.setDropAtMost(budget);
    });
  }
  uint32_t dropAll(InodeId top, uint32_t budget) {
    uint32_t steps = 1;
    for (; drop(top, budget).more == More::YES && steps < 10'000; ++steps) {
      EXPECT_EQ(told(findingsIn(world)), "");
    }
    return steps;
  }
  void count() {
    ASSERT_TRUE(limit(ROOT_INODE, 1'000'000).ok());
    while (world.own([](auto body) { body.setCountTree(1000); }).more == More::YES) {
    }
  }
  Outcome limit(InodeId directory, uint64_t inodes) {
    return world.own([&](auto body) {
      auto request = body.initSetQuota();
      request.setQuotaOf(directory.value());
      request.setInodesMax(inodes);
    });
  }

  // A tree as a text: names with all that stat tells, contents as chunks, and which names are of one file.
  std::string textOf(InodeId top) {
    std::map<InodeId, int> numbers;
    std::string text;
    describe(top, "", numbers, text);
    return text;
  }
  void describe(InodeId id, std::string path, std::map<InodeId, int>& numbers, std::string& text) {
    auto inode = world.read().inode(id).value();
    auto attributes = inode.attributes;
    attributes.inode = InodeId();
    auto number = numbers.emplace(id, int(numbers.size())).first->second;
    text += path + " #" + std::to_string(number) + ' ' +
            kj::str(uint16_t(attributes.type), ' ', attributes.mode, ' ', attributes.uid, ' ',
                    attributes.links, ' ', attributes.size, ' ', attributes.bytesUsed, ' ', attributes.mtime,
                    ' ', attributes.ctime, ' ', inode.chunks, ' ', inode.xattrBytes)
                .cStr();
    for (auto& chunk : world.read().chunksOf(id, ChunkIndex(0), 10'000)) {
      text += kj::str(' ', chunk.index, ':', chunk.handle, '/',
                      world.read().referenceAt(id, chunk.index).validIn(chunk.record))
                  .cStr();
    }
    if (attributes.type == FileType::SYMLINK) text += kj::str(' ', world.read().readLink(id).value()).cStr();
    text += '\n';
    if (!attributes.isDirectory()) return;
    auto page = world.read().list(id, 0, 1000, ListingDetail::NAMES);
    for (auto& entry : page->entries)
      describe(entry.attributes.inode, path + "/" + entry.name.cStr(), numbers, text);
  }
  std::string inOneOperation() {
    // What the operation for small trees makes.
    std::set<uint64_t> handles;
    for (uint64_t handle = 1; handle < world.state().nextHandle.value(); ++handle) handles.insert(handle);
    auto outcome = world.own([&](auto body) {
      auto request = body.initSnapshot();
      request.setOriginal(tree.value());
      request.setInDirectory(ROOT_INODE.value());
      request.setCalled("whole");
      auto list = request.initStill(unsigned(handles.size()));
      unsigned i = 0;
      for (auto handle : handles) list.set(i++, handle);
    });
    EXPECT_TRUE(outcome.ok());
    return textOf(world.read().resolve("/whole")->inode);
  }
  bool exists(kj::StringPtr path) { return world.read().resolve(path).ok(); }
};

TEST_F(Staging, StepsOfAnySizeMakeWhatOneOperationMakes) {
  auto expected = inOneOperation();
  for (uint32_t budget : {1, 2, 3, 7, 20, 1000}) {
    auto top = InodeId(stage(tree, ROOT_INODE, kj::str("copy-", budget)).number);
    uint32_t steps = 1;
    auto outcome = step(top, budget);
    for (; outcome.ok() && outcome.more == More::YES; ++steps) {
      ASSERT_EQ(told(findingsIn(world, 10)), "") << "after step " << steps << " of " << budget;
      EXPECT_FALSE(exists(kj::str("/copy-", budget)));
      outcome = step(top, budget);
    }
    ASSERT_TRUE(outcome.ok()) << kj::str(outcome.status).cStr() << " in step " << steps << " of " << budget;
    EXPECT_EQ(outcome.number, 40u);
    EXPECT_EQ(steps == 1, budget == 1000) << budget;
    auto linked = name(top, kj::str("copy-", budget));
    ASSERT_TRUE(linked.ok());
    EXPECT_EQ(linked.number, 40u);
    EXPECT_EQ(textOf(top), expected) << budget;
    EXPECT_EQ(world.read().resolve(kj::str("/copy-", budget))->inode, top);
    EXPECT_EQ(world.read().lookup(top, "..")->inode, ROOT_INODE);
    while (drop(top, budget).more == More::YES) EXPECT_EQ(told(findingsIn(world)), "");
    EXPECT_EQ(textOf(top), expected) << "only what was noted has gone";
    EXPECT_EQ(told(findingsIn(world)), "");
  }
  EXPECT_EQ(world.read().stagings(10).size(), 0u);
  EXPECT_EQ(world.state().format, 4u);
}

TEST_F(Staging, AReplayOfTheLogMakesTheSameCopy) {
  auto top = stage();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(step(top, 5).ok());
  auto before = world.theNames().dump();
  world.killAndRestart();
  std::string now(world.theNames().dump().cStr()), then(before.cStr());
  EXPECT_EQ(now.substr(0, now.find("\nstate cluster")), then.substr(0, then.find("\nstate cluster")));
  EXPECT_EQ(told(findingsIn(world)), "");
  while (step(top, 5).more == More::YES) {
  }
  EXPECT_TRUE(name(top).ok());
  EXPECT_EQ(textOf(top), inOneOperation());
}

TEST_F(Staging, OneThatIsGivenUpAtAnyPointLeavesNothing) {
  count();
  auto before = world.state();
  auto usage = world.read().usage(ROOT_INODE);
  for (uint32_t steps = 0, all = 0; all == 0; ++steps) {
    for (uint32_t budget : {1, 4, 1000}) {
      auto top = stage();
      auto more = More::YES;
      for (uint32_t i = 0; i < steps && more == More::YES; ++i) more = step(top, 6).more;
      if (more == More::NO) all = steps;
      dropAll(top, budget);
      ASSERT_EQ(told(findingsIn(world)), "");
      ASSERT_EQ(world.state().inodes, before.inodes);
      ASSERT_EQ(world.state().chunks, before.chunks);
      ASSERT_EQ(world.state().garbage, 0u);
      ASSERT_TRUE(world.read().usage(ROOT_INODE) == usage);
      ASSERT_EQ(world.read().stagings(10).size(), 0u);
      for (auto& chunk : world.read().chunksOf(file, ChunkIndex(0), 10)) {
        ASSERT_EQ(chunk.record.references, 1u);
      }
    }
  }
  EXPECT_TRUE(drop(InodeId(4711), 1).ok()) << "one that is not there is ignored";
}

TEST_F(Staging, WhatOnlyTheCopyHasBecomesGarbageWhenItIsGivenUp) {
  auto top = stage();
  while (step(top, 10).more == More::YES) {
  }
  auto own = world.read().resolve("/tree/below/deep-0/own")->inode;
  client->unheld = own;
  client->unlink(world.read().resolve("/tree/below/deep-0")->inode, "own");
  EXPECT_EQ(world.state().garbage, 0u);
  dropAll(top, 3);
  EXPECT_EQ(world.state().garbage, 1u);
}

TEST_F(Staging, AStepEndsAtTheFirstChunkThatMayBeBeingWritten) {
  auto top = stage();
  while (step(top, 1000, {}).ok()) {
    EXPECT_EQ(told(findingsIn(world)), "");
  }
  auto before = world.theNames().dump();
  auto stuck = step(top, 1000, {});
  EXPECT_EQ(stuck.status, Status::STALE_VERSION);
  EXPECT_EQ(name(top).status, Status::NOT_READY);
  std::string now(world.theNames().dump().cStr()), then(before.cStr());
  EXPECT_EQ(now.substr(0, now.find("\nstate cluster")), then.substr(0, then.find("\nstate cluster")));
  EXPECT_EQ(step(top, 1000).more, More::NO) << "all that is left in one step, with its chunks";
  EXPECT_TRUE(name(top).ok());
}

TEST_F(Staging, AFileOfManyChunksIsCopiedPieceByPiece) {
  auto large = client->file(tree, "large");
  constexpr uint64_t COUNT = ops::STAGED_FILE_CHUNKS_MAX + 500;
  for (uint64_t i = 0; i < COUNT; ++i) world.attach(large, i);
  client->publish(large, (COUNT - 100) * CHUNK + 7);
  auto expected = inOneOperation();
  auto top = stage();
  uint32_t steps = 1;
  for (; step(top, 400).more == More::YES; ++steps) {
    ASSERT_EQ(told(findingsIn(world)), "");
  }
  EXPECT_GE(steps, 4u);
  EXPECT_TRUE(name(top).ok());
  EXPECT_EQ(textOf(top), expected) << "up to its length";
  EXPECT_EQ(world.read().inode(world.read().lookup(top, "large")->inode)->chunks, COUNT - 99);
}

TEST_F(Staging, ItIsCountedByTheQuotaWhenItHasItsName) {
  auto own = world.read().resolve("/tree/below/deep-0/own")->inode;
  client->change([&](auto change) {
    auto publish = change.initPublish();
    publish.setFile(own.value());
    publish.setLength(5 * BLOCK_SIZE);
    publish.initChunks(1).set(0, world.read().chunkAt(own, ChunkIndex(0)).value());
    change.initChunkBlocks(1).set(0, 5);
  });
  count();
  auto place = client->directory(ROOT_INODE, "place");
  ASSERT_TRUE(limit(place, 100).ok());
  auto top = InodeId(stage(tree, place, "copy").number);
  while (step(top, 9).more == More::YES) EXPECT_EQ(world.read().usage(place).inodes, 0u);
  auto bytes = world.read().usage(tree).bytes;
  ASSERT_TRUE(name(top).ok());
  EXPECT_EQ(world.read().usage(place).inodes, 40u);
  EXPECT_GT(bytes, 0u);
  EXPECT_EQ(world.read().usage(top).bytes, bytes);
  EXPECT_EQ(told(findingsIn(world)), "");
}

TEST_F(Staging, AQuotaThatHasNoRoomForItEndsItAsSoonAsThatIsCertain) {
  count();
  auto place = client->directory(ROOT_INODE, "place");
  ASSERT_TRUE(limit(place, 15).ok());
  auto top = InodeId(stage(tree, place, "copy").number);
  auto outcome = step(top, 10);
  while (outcome.ok() && outcome.more == More::YES) outcome = step(top, 10);
  EXPECT_EQ(outcome.status, Status::OVER_QUOTA);
  EXPECT_LT(world.state().inodes, 75u) << "not all had been copied";
  dropAll(top, 10);
  ASSERT_TRUE(limit(place, 39).ok());
  top = InodeId(stage(tree, place, "copy").number);
  while (step(top, 1000).more == More::YES) {
  }
  EXPECT_EQ(name(top).status, Status::OVER_QUOTA);
  EXPECT_FALSE(exists("/place/copy"));
  ASSERT_TRUE(limit(place, 40).ok());
  EXPECT_TRUE(name(top).ok());
}

TEST_F(Staging, RefusesAndChangesNothing) {
  EXPECT_EQ(stage(tree, ROOT_INODE, "tree").status, Status::EXISTS);
  EXPECT_EQ(stage(tree, below, "copy").status, Status::LOOP);
  EXPECT_EQ(stage(ROOT_INODE, tree, "copy").status, Status::LOOP);
  EXPECT_EQ(stage(file, ROOT_INODE, "copy").status, Status::NOT_DIRECTORY);
  EXPECT_EQ(stage(tree, ROOT_INODE, "a/b").status, Status::INVALID);
  EXPECT_EQ(stage(InodeId(4711), ROOT_INODE, "copy").status, Status::NOT_FOUND);
  EXPECT_EQ(world.state().format, 1u);
  EXPECT_EQ(step(tree, 10).status, Status::NOT_FOUND);
  EXPECT_EQ(name(tree).status, Status::NOT_FOUND);
  auto top = stage();
  EXPECT_EQ(name(top).status, Status::NOT_READY);
  while (step(top, 1000).more == More::YES) {
  }
  EXPECT_EQ(name(top, "tree").status, Status::EXISTS);
  EXPECT_TRUE(name(top).ok());
  EXPECT_EQ(step(top, 1000).status, Status::STALE) << "it has its name";
  EXPECT_EQ(name(top, "again").status, Status::NOT_READY);
}

TEST_F(Staging, WhereNoInodeMayBeMadeItDoesNotBegin) {
  count();
  auto full = client->directory(ROOT_INODE, "full");
  ASSERT_TRUE(limit(full, 1).ok());
  client->file(full, "f");
  auto inodes = world.state().inodes;
  EXPECT_EQ(stage(tree, full, "copy").status, Status::OVER_QUOTA);
  EXPECT_EQ(world.state().inodes, inodes);
}

TEST_F(Staging, AnOriginalThatIsGoneHasNothingMoreToCopyAndGivesNoName) {
  for (auto copied : {More::YES, More::NO}) {
    auto bare = client->directory(ROOT_INODE, "bare");
    InodeId top(stage(bare, ROOT_INODE, "copy").number);
    if (copied == More::NO) EXPECT_EQ(step(top, 100).more, More::NO);
    ASSERT_TRUE(client->rmdir(ROOT_INODE, "bare").ok());
    if (copied == More::YES) {
      EXPECT_EQ(ahead(top, 100).size(), 0u);
      EXPECT_EQ(name(top).status, Status::NOT_READY);
    } else {
      EXPECT_EQ(name(top).status, Status::STALE);
    }
    dropAll(top, 100);
    EXPECT_EQ(told(findingsIn(world)), "");
  }
}

TEST_F(Staging, WhatIsOpenWithoutANameIsNotInIt) {
  auto gone = client->file(tree, "gone");
  client->unlink(tree, "gone");
  EXPECT_EQ(world.read().inode(gone)->attributes.links, 0u);
  auto top = stage();
  while (step(top, 5).more == More::YES) {
  }
  ASSERT_TRUE(name(top).ok());
  EXPECT_EQ(textOf(top), inOneOperation());
  EXPECT_FALSE(exists("/copy/gone"));
}

TEST_F(Staging, AFullDiskOfTheMetaserverRefusesToCopyAndDropsAllTheSame) {
  auto top = stage();
  ASSERT_TRUE(step(top, 5).ok());
  world.stop();
  world.options.reserveBytes = UINT64_MAX;  // nothing is enough
  world.start();
  EXPECT_EQ(step(top, 5).status, Status::NO_SPACE);
  EXPECT_EQ(stage(tree, ROOT_INODE, "other").status, Status::NO_SPACE);
  dropAll(top, 5);
  EXPECT_EQ(world.read().stagings(10).size(), 0u);
}

}  // namespace
}  // namespace cairn
