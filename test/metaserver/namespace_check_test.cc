// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Namespaces that contradict themselves: each kind of contradiction is found, alone and by its right name,
// however small the passes are; what can be mended is, and then the namespace is clean.
#include "metaserver/finding_names.h"
#include "test/metaserver/check_findings.h"
#include "test/metaserver/raw_store.h"

namespace cairn {
namespace {

class CheckTest : public testing::Test {
 public:
  ~CheckTest() noexcept override {}
  CheckTest() {
    world.start();
    client = kj::heap<Client>(world);
    d = client->directory(ROOT_INODE, "d");
    e = client->directory(d, "e");
    f = client->file(d, "f");
    g = client->file(d, "g");
    chunk = world.attach(f, 0);
    world.attach(f, 3);
    client->publish(f, 1000);
    EXPECT_TRUE(client->link(g, e, "link").ok());
    symlink = client->symlink(e, "symlink", "target");
    client->setXattr(f, "user.key", "value");
  }

 protected:
  MetadataWorld world;
  kj::Own<Client> client;
  InodeId d, e, f, g, symlink;
  ChunkHandle chunk;

  template <typename Change>
  void damage(Change&& change) {
    EXPECT_EQ(told(findingsIn(world)), "") << "before the damage";
    world.stop();
    {
      RawStore store(world.rocksEnv.get());
      change(store);
    }
    world.start();
  }
  static Finding expected(Trouble trouble, InodeId inode, uint64_t found = 0, uint64_t right = 0) {
    Finding finding;
    finding.trouble = trouble;
    finding.inode = inode;
    finding.found = found;
    finding.right = right;
    return finding;
  }
  static Finding expected(Trouble trouble, ChunkHandle chunk, uint64_t found = 0, uint64_t right = 0) {
    auto finding = expected(trouble, InodeId(), found, right);
    finding.chunk = chunk;
    return finding;
  }
  std::vector<Finding> found() {
    auto findings = findingsIn(world);
    EXPECT_EQ(told(findingsIn(world, 1)).size(), told(findings).size()) << "in passes of one inode";
    for (auto& finding : findings) {
      EXPECT_NE(describe(finding), std::string(kj::str(finding.trouble).cStr()))
          << "it has a sentence of its own";
      EXPECT_TRUE(remedyOf(finding) == Remedy::MEND || !advise(finding).empty()) << told(findings);
    }
    return findings;
  }
  void expectOnly(const Finding& finding) {
    auto findings = found();
    ASSERT_EQ(findings.size(), 1u) << told(findings);
    EXPECT_EQ(findings[0], finding) << told(findings);
  }
  Outcome mendOne(const Finding& finding, LogIndex asOf) {
    return world.own([&](auto body) {
      auto mend = body.initMend();
      mend.setAsOf(asOf.value());
      auto mending = mend.initMendings(1)[0];
      mending.setTrouble(uint16_t(finding.trouble));
      mending.setInode(finding.inode.value());
      mending.setDirectory(finding.directory.value());
      mending.setName(kj::StringPtr(finding.name.c_str()).asBytes());
      mending.setChunk(finding.chunk.value());
      mending.setFound(finding.found);
      mending.setRight(finding.right);
    });
  }
  void mend() {
    auto asOf = world.state().applied;
    for (auto& finding : findingsIn(world)) {
      auto outcome = mendOne(finding, asOf);
      EXPECT_EQ(outcome.status, Status::OK);
      EXPECT_EQ(outcome.number, 1u) << describe(finding);
    }
    EXPECT_EQ(told(findingsIn(world)), "") << "after mending";
  }
  void expectOnlyAndMend(const Finding& finding) {
    EXPECT_EQ(remedyOf(finding), Remedy::MEND);
    expectOnly(finding);
    mend();
  }
  void trashOn() {
    EXPECT_TRUE(world.own([](auto body) { body.initConfigureTrash().setKeepS(1000); }).ok());
  }
  InodeId trashed(kj::StringPtr name) {
    auto inode = client->file(d, name);
    world.clock.advance(10 * kj::SECONDS);
    EXPECT_TRUE(client->unlink(d, name).ok());
    EXPECT_TRUE(world.purge({inode}).ok());
    EXPECT_EQ(world.state().trash, 1u);
    return inode;
  }
  void countUsage() {
    EXPECT_TRUE(world
                    .own([&](auto body) {
                      auto quota = body.initSetQuota();
                      quota.setQuotaOf(d.value());
                      quota.setInodesMax(1000);
                    })
                    .ok());
    while (world.own([](auto body) { body.setCountTree(100); }).more == More::YES) {
    }
    EXPECT_EQ(world.state().counting, Counting::DONE);
  }
};

TEST_F(CheckTest, ANameThatLeadsNowhereIsDropped) {
  damage([&](RawStore& store) {
    store.name(d, "dead", InodeId(7777));
    store.inode(d, [](Inode& node) { ++node.attributes.size; });
  });
  auto finding = expected(Trouble::NAME_LEADS_NOWHERE, InodeId(7777));
  finding.directory = d;
  finding.name = "dead";
  expectOnlyAndMend(finding);
  EXPECT_EQ(world.read().lookup(d, "dead").status(), Status::NOT_FOUND);
}

TEST_F(CheckTest, ANameOfTheWrongTypeIsCorrected) {
  damage([&](RawStore& store) { store.name(d, "f", f, FileType::FIFO); });
  auto finding =
      expected(Trouble::NAME_OF_WRONG_TYPE, f, uint64_t(FileType::FIFO), uint64_t(FileType::REGULAR));
  finding.directory = d;
  finding.name = "f";
  expectOnlyAndMend(finding);
}

TEST_F(CheckTest, NamesInWhatIsNoDirectory) {
  damage([&](RawStore& store) {
    store.name(f, "in a file", g);
    store.inode(g, [](Inode& node) { ++node.attributes.links; });
  });
  expectOnly(expected(Trouble::NAMES_OF_NO_DIRECTORY, f));
}

TEST_F(CheckTest, LinksOfAFileAreRecounted) {
  damage([&](RawStore& store) { store.inode(g, [](Inode& node) { node.attributes.links = 7; }); });
  expectOnlyAndMend(expected(Trouble::LINKS, g, 7, 2));
}

TEST_F(CheckTest, LinksOfADirectoryAreRecounted) {
  damage([&](RawStore& store) { store.inode(d, [](Inode& node) { node.attributes.links = 2; }); });
  expectOnlyAndMend(expected(Trouble::LINKS, d, 2, 3));
}

TEST_F(CheckTest, EntriesOfADirectoryAreRecounted) {
  damage([&](RawStore& store) { store.inode(d, [](Inode& node) { node.attributes.size = 0; }); });
  expectOnlyAndMend(expected(Trouble::DIRECTORY_SIZE, d, 0, 3));
}

TEST_F(CheckTest, ADirectoryWithTheWrongParentIsCorrected) {
  damage([&](RawStore& store) { store.inode(e, [](Inode& node) { node.parent = ROOT_INODE; }); });
  expectOnlyAndMend(expected(Trouble::PARENT, e, 1, d.value()));
}

TEST_F(CheckTest, ADirectoryWithTwoNames) {
  damage([&](RawStore& store) {
    store.name(ROOT_INODE, "again", e, FileType::DIRECTORY);
    store.inode(ROOT_INODE, [](Inode& node) { ++node.attributes.size, ++node.attributes.links; });
  });
  expectOnly(expected(Trouble::SEVERAL_NAMES, e, 2, 1));
}

TEST_F(CheckTest, AFileThatNoNameLeadsToIsFoundAgainInTheRoot) {
  damage([&](RawStore& store) {
    store.dropName(d, "f");
    store.inode(d, [](Inode& node) { --node.attributes.size; });
    store.inode(f, [](Inode& node) { node.attributes.links = 0; });
  });
  expectOnlyAndMend(expected(Trouble::UNREACHABLE, f));
  auto place = world.read().lookup(ROOT_INODE, kj::str("lost+found.", f));
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->size, 1000u);
}

TEST_F(CheckTest, ADirectoryThatNoNameLeadsToIsFoundAgainWithAllBelowIt) {
  damage([&](RawStore& store) {
    store.dropName(d, "e");
    store.inode(d, [](Inode& node) { --node.attributes.size, --node.attributes.links; });
  });
  expectOnlyAndMend(expected(Trouble::UNREACHABLE, e));
  EXPECT_TRUE(world.read().resolve(kj::str("/lost+found.", e, "/link")).ok());
}

TEST_F(CheckTest, ADirectoryBelowItself) {
  damage([&](RawStore& store) {
    store.dropName(ROOT_INODE, "d");
    store.inode(ROOT_INODE, [](Inode& node) { --node.attributes.size, --node.attributes.links; });
    store.name(e, "d", d, FileType::DIRECTORY);
    store.inode(e, [](Inode& node) { ++node.attributes.size, ++node.attributes.links; });
    store.inode(d, [&](Inode& node) { node.parent = e; });
  });
  auto findings = found();
  ASSERT_EQ(findings.size(), 2u) << told(findings);
  EXPECT_EQ(findings[0], expected(Trouble::CYCLE, d));
  EXPECT_EQ(findings[1], expected(Trouble::CYCLE, e));
  auto scan = world.theNames().scan();
  FindingNames(*scan, world.read(), []() -> kj::Promise<void> { return kj::READY_NOW; })
      .fillIn(findings)
      .wait(world.scope);
  EXPECT_EQ(findings[0].paths.at(0), "/?/d") << "and telling where it is comes to an end";
}

TEST_F(CheckTest, WhatIsBelowADirectoryThatIsGoneHasAPathAsFarAsItIsKnown) {
  damage([&](RawStore& store) { store.erase(Key(Table::INODES, d.value())); });
  std::vector<Finding> findings{expected(Trouble::LINKS, symlink)};
  auto scan = world.theNames().scan();
  FindingNames(*scan, world.read(), []() -> kj::Promise<void> { return kj::READY_NOW; })
      .fillIn(findings)
      .wait(world.scope);
  EXPECT_EQ(findings[0].paths, std::vector<std::string>{"/?/?/symlink"});
}

TEST_F(CheckTest, WhatNeedsADirectoryThatIsGoneGoesWithoutIt) {
  EXPECT_TRUE(world
                  .own([&](auto body) {
                    auto quota = body.initSetQuota();
                    quota.setQuotaOf(ROOT_INODE.value());
                    quota.setBytesMax(1 << 20);
                  })
                  .ok());
  for (bool more = true; more;) more = world.own([](auto body) { body.setCountTree(100); }).more == More::YES;
  auto& names = world.read();
  EXPECT_EQ(names.room(names.inode(f).value()).bytesLimit, 1u << 20);
  damage([&](RawStore& store) {
    store.erase(Key(Table::INODES, d.value()));
    store.erase(Key(Table::INODES, ROOT_INODE.value()));
  });
  auto& damaged = world.read();
  EXPECT_EQ(damaged.room(damaged.inode(f).value()).bytesLimit, 0u) << "none is known";
  EXPECT_FALSE(damaged.resolve("/d/f").ok());
}

TEST_F(CheckTest, ChunksOfAFileAreRecounted) {
  damage([&](RawStore& store) {
    store.inode(f, [](Inode& node) { node.chunks = 9, node.zeroBlocks += 7 * BLOCKS_PER_CHUNK; });
  });
  auto findings = found();
  ASSERT_EQ(findings.size(), 2u) << told(findings);
  EXPECT_EQ(findings[0], expected(Trouble::FILE_CHUNKS, f, 9, 2));
  EXPECT_EQ(findings[1].trouble, Trouble::ZERO_BLOCKS);
  mend();
}

TEST_F(CheckTest, BlocksOfZerosAreRecounted) {
  damage([&](RawStore& store) { store.inode(f, [](Inode& node) { node.zeroBlocks -= 3; }); });
  expectOnlyAndMend(expected(Trouble::ZERO_BLOCKS, f, 2 * BLOCKS_PER_CHUNK - 3, 2 * BLOCKS_PER_CHUNK));
}

TEST_F(CheckTest, AChunkBehindTheEndOfAllChunks) {
  damage([&](RawStore& store) { store.inode(f, [](Inode& node) { node.chunksEnd = 1; }); });
  expectOnlyAndMend(expected(Trouble::CHUNKS_END, f, 1, 4));
}

TEST_F(CheckTest, APlaceOfAFileThatIsNotThereGoesAndTheChunkStays) {
  damage([&](RawStore& store) {
    store.put(Key(Table::FILE_CHUNKS, 7777, 2), encode(ChunkReference{ChunkIndex(2), chunk}));
    store.chunk(chunk, [](ChunkRecord& record) { ++record.references; });
  });
  auto finding = expected(Trouble::PLACE_WITHOUT_FILE, InodeId(7777), 2);
  finding.chunk = chunk;
  expectOnlyAndMend(finding);
  EXPECT_EQ(KJ_ASSERT_NONNULL(world.read().chunk(chunk)).references, 1u);
}

TEST_F(CheckTest, TheLastPlaceOfAFileThatIsNotThereLeavesTheRecordThatLeadsToTheData) {
  ChunkHandle lost(99);
  damage([&](RawStore& store) {
    store.put(Key(Table::FILE_CHUNKS, 7777, 2), encode(ChunkReference{ChunkIndex(2), lost}));
    ChunkRecord record;
    record.version = record.floor = ChunkVersion(1);
    store.put(Key(Table::CHUNKS, lost.value()), encode(record));
    store.state([](NamespaceState& state) { ++state.chunks, state.nextHandle = ChunkHandle(1000); });
  });
  auto finding = expected(Trouble::PLACE_WITHOUT_FILE, InodeId(7777), 2);
  finding.chunk = lost;
  expectOnly(finding);
  EXPECT_EQ(mendOne(finding, world.state().applied).number, 1u);
  expectOnly(expected(Trouble::CHUNK_OF_NO_FILE, lost, 1, 0));
  EXPECT_EQ(world.state().garbage, 0u) << "nothing that leads to data goes";
}

TEST_F(CheckTest, AChunkWithoutARecord) {
  damage([&](RawStore& store) {
    store.erase(Key(Table::CHUNKS, chunk.value()));
    store.state([](NamespaceState& state) { --state.chunks; });
    store.inode(f, [](Inode& node) { node.zeroBlocks -= BLOCKS_PER_CHUNK; });
  });
  auto finding = expected(Trouble::PLACE_WITHOUT_RECORD, f, 0);
  finding.chunk = chunk;
  expectOnly(finding);
}

TEST_F(CheckTest, ASymlinkWithoutATarget) {
  damage([&](RawStore& store) { store.erase(Key(Table::TARGETS, symlink.value())); });
  expectOnly(expected(Trouble::SYMLINK_WITHOUT_TARGET, symlink));
}

TEST_F(CheckTest, ExtendedAttributesAreRecounted) {
  damage([&](RawStore& store) { store.inode(f, [](Inode& node) { node.xattrBytes = 1; }); });
  expectOnlyAndMend(expected(Trouble::ATTRIBUTE_BYTES, f, 1, 13));
  damage([&](RawStore& store) { store.inode(f, [](Inode& node) { node.xattrNames = 1; }); });
  expectOnlyAndMend(expected(Trouble::ATTRIBUTE_NAMES, f, 1, 9));
}

TEST_F(CheckTest, RowsOfAnInodeThatIsNotThere) {
  damage([&](RawStore& store) {
    store.put(Key(Table::XATTRS, 7777, "user.x"), encodeBytes(kj::StringPtr("v").asBytes()));
    store.put(Key(Table::TARGETS, 7777), encodeBytes(kj::StringPtr("t").asBytes()));
  });
  expectOnly(expected(Trouble::ROWS_OF_NO_INODE, InodeId(7777), 2));
}

TEST_F(CheckTest, ReferencesOfAChunkAreRecounted) {
  damage([&](RawStore& store) { store.chunk(chunk, [](ChunkRecord& record) { record.references = 5; }); });
  expectOnlyAndMend(expected(Trouble::REFERENCES, chunk, 5, 1));
}

TEST_F(CheckTest, AChunkOfNoFileIsKept) {
  damage([&](RawStore& store) {
    store.erase(Key(Table::FILE_CHUNKS, f.value(), 0));
    store.inode(f, [](Inode& node) { --node.chunks, node.zeroBlocks -= BLOCKS_PER_CHUNK; });
  });
  expectOnly(expected(Trouble::CHUNK_OF_NO_FILE, chunk, 1, 0));
  EXPECT_EQ(mendOne(expected(Trouble::CHUNK_OF_NO_FILE, chunk, 1, 0), world.state().applied).number, 0u);
  EXPECT_TRUE(world.read().chunk(chunk) != nullptr);
}

TEST_F(CheckTest, ALiveChunkIsTakenOffTheListOfGarbage) {
  damage([&](RawStore& store) {
    store.put(Key(Table::GARBAGE, chunk.value()), encodeNumber(1));
    store.state([](NamespaceState& state) { ++state.garbage; });
  });
  expectOnlyAndMend(expected(Trouble::CHUNK_AND_GARBAGE, chunk));
}

TEST_F(CheckTest, AFloorAboveTheVersion) {
  damage([&](RawStore& store) {
    store.chunk(chunk, [](ChunkRecord& record) { record.floor = ChunkVersion(9); });
  });
  expectOnly(expected(Trouble::FLOOR_ABOVE_VERSION, chunk, 9, 1));
}

TEST_F(CheckTest, AnOrphanThatIsNone) {
  damage([&](RawStore& store) {
    store.put(Key(Table::ORPHANS, 7777), encode(OrphanRecord{}));
    store.state([](NamespaceState& state) { ++state.orphans; });
  });
  expectOnlyAndMend(expected(Trouble::ORPHAN_GONE, InodeId(7777)));
}

TEST_F(CheckTest, AnOpenFileWithoutANameIsAsItShouldBe) {
  EXPECT_TRUE(client->unlink(d, "f").ok());
  EXPECT_EQ(world.state().orphans, 1u);
  EXPECT_EQ(told(found()), "");
}

TEST_F(CheckTest, AFileInTheTrashThatIsNotThere) {
  trashOn();
  trashed("t");
  damage([&](RawStore& store) {
    store.put(Key(Table::TRASH, 1'000'000, 7777), encode(Departure{}));
    store.state([](NamespaceState& state) { ++state.trash; });
  });
  expectOnlyAndMend(expected(Trouble::TRASH_GONE, InodeId(7777), 1'000'000));
}

TEST_F(CheckTest, AFileThatSaysThatItIsInTheTrash) {
  damage([&](RawStore& store) { store.inode(f, [](Inode& node) { node.set(TRASHED); }); });
  expectOnlyAndMend(expected(Trouble::TRASH_MARK, f, 1, 0));
}

TEST_F(CheckTest, DirectoriesThatTheTrashRemembersAreRecounted) {
  trashOn();
  trashed("t");
  damage([&](RawStore& store) {
    auto key = Key(Table::WHEREABOUTS, d.value());
    auto whereabouts = decodeWhereabouts(store.get(key));
    whereabouts.needed = 5;
    store.put(key, encode(whereabouts));
  });
  expectOnlyAndMend(expected(Trouble::WHEREABOUTS, d, 5, 1));
}

TEST_F(CheckTest, UsageIsRecountedAndThoseAboveFollow) {
  countUsage();
  damage([&](RawStore& store) {
    auto key = Key(Table::USAGE, e.value());
    auto usage = decodeUsage(store.get(key));
    usage.inodes += 10;
    usage.bytes += 4096;
    store.put(key, encode(usage));
    for (auto above : {d, ROOT_INODE}) {  // they agree with it
      auto sum = decodeUsage(store.get(Key(Table::USAGE, above.value())));
      sum.inodes += 10;
      sum.bytes += 4096;
      store.put(Key(Table::USAGE, above.value()), encode(sum));
    }
  });
  auto findings = found();
  ASSERT_EQ(findings.size(), 2u) << told(findings);
  EXPECT_EQ(findings[0].trouble, Trouble::USAGE_INODES);
  EXPECT_EQ(findings[0].inode, e);
  EXPECT_EQ(findings[1].trouble, Trouble::USAGE_BYTES);
  mend();
}

TEST_F(CheckTest, UsageOfTheTrashIsRecounted) {
  trashOn();
  countUsage();
  trashed("t");
  damage([&](RawStore& store) {
    auto key = Key(Table::USAGE, d.value());
    auto usage = decodeUsage(store.get(key));
    ++usage.trashInodes;
    usage.trashBytes += 8192;
    store.put(key, encode(usage));
  });
  auto findings = found();
  ASSERT_EQ(findings.size(), 4u) << told(findings) << "in d, and in the root, which counts d as it was";
  mend();
}

TEST_F(CheckTest, AQuotaThatTheDirectoryDoesNotKnowOf) {
  countUsage();
  damage([&](RawStore& store) { store.inode(d, [](Inode& node) { node.clear(QUOTA); }); });
  expectOnlyAndMend(expected(Trouble::QUOTA_MARK, d, 0, 1));
}

TEST_F(CheckTest, NamesOfAFileInEachDirectoryAreRecounted) {
  countUsage();
  damage([&](RawStore& store) {
    auto key = Key(Table::BACKLINKS, g.value());
    auto links = decodeBacklinks(store.get(key));
    for (auto& link : links) {
      if (link.directory == e) link.names = 4;
    }
    store.put(key, encode(links));
  });
  auto finding = expected(Trouble::BACKLINKS, g, 4, 1);
  finding.directory = e;
  expectOnlyAndMend(finding);
}

TEST_F(CheckTest, AnswersToASessionThatIsOver) {
  damage([&](RawStore& store) { store.put(Key(Table::ANSWERS, 7777, 3), encode(Answer{})); });
  expectOnly(expected(Trouble::ANSWERS_OF_NO_SESSION, InodeId(), 7777));
}

TEST_F(CheckTest, EveryCounterOfTheNamespaceIsRecounted) {
  damage([&](RawStore& store) {
    store.state([](NamespaceState& state) {
      state.inodes += 1, state.chunks += 2, state.garbage += 3, state.orphans += 4, state.trash += 5;
      state.trashBytes += 6, state.quotas += 7, state.toCount += 8;
    });
  });
  auto findings = found();
  ASSERT_EQ(findings.size(), 8u) << told(findings);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(findings[i].found - findings[i].right, i + 1);
  mend();
}

TEST_F(CheckTest, NumbersThatWereNeverGivenOutAreNotGivenOutOnceMore) {
  damage([&](RawStore& store) { store.state([&](NamespaceState& state) { state.nextInode = symlink; }); });
  expectOnlyAndMend(expected(Trouble::NUMBER_NOT_GIVEN_OUT, symlink, symlink.value(), symlink.value()));
  damage([&](RawStore& store) {
    store.state([&](NamespaceState& state) { state.nextHandle = ChunkHandle(1); });
  });
  EXPECT_EQ(found().size(), 2u);
  mend();
}

TEST_F(CheckTest, MendingKeepsWhatWasChangedRightlySinceTheCheck) {
  damage([&](RawStore& store) { store.inode(g, [](Inode& node) { node.attributes.links = 7; }); });
  auto asOf = world.state().applied;
  auto findings = findingsIn(world);
  EXPECT_TRUE(client->link(g, d, "third").ok());
  EXPECT_EQ(mendOne(findings.at(0), asOf).number, 1u);
  EXPECT_EQ(world.read().inode(g)->attributes.links, 3u);
  EXPECT_EQ(told(findingsIn(world)), "");
}

TEST_F(CheckTest, TwoChecksDoNotMendTheSameTwice) {
  damage([&](RawStore& store) { store.inode(g, [](Inode& node) { node.attributes.links = 7; }); });
  auto asOf = world.state().applied;
  auto findings = findingsIn(world);
  client->file(d, "something else");
  auto later = world.state().applied;
  ASSERT_EQ(told(findingsIn(world)), told(findings));
  EXPECT_EQ(mendOne(findings[0], asOf).number, 1u);
  EXPECT_EQ(mendOne(findings[0], later).status, Status::STALE_VERSION);
  EXPECT_EQ(told(findingsIn(world)), "");
}

TEST_F(CheckTest, ACheckSeesTheNamespaceAsItWasWhenItBegan) {
  auto scan = world.theNames().scan();
  for (int i = 0; i < 100; ++i) client->file(d, kj::str("later-", i));
  client->unlink(d, "f");
  FindingList sink;
  NamespaceCheck check(*scan, sink);
  check.run().wait(world.scope);
  EXPECT_EQ(told(sink.findings), "");
}

TEST_F(CheckTest, AllNamesOfAFileAreTold) {
  damage([&](RawStore& store) {
    store.inode(g, [](Inode& node) { node.attributes.links = 7; });
    store.chunk(chunk, [](ChunkRecord& record) { record.references = 5; });
  });
  auto findings = findingsIn(world);
  ASSERT_EQ(findings.size(), 2u);
  auto scan = world.theNames().scan();
  FindingNames(*scan, world.read(), []() -> kj::Promise<void> { return kj::READY_NOW; })
      .fillIn(findings)
      .wait(world.scope);
  std::sort(findings[0].paths.begin(), findings[0].paths.end());
  EXPECT_EQ(findings[0].paths, (std::vector<std::string>{"/d/e/link", "/d/g"}));
  EXPECT_EQ(findings[1].paths, (std::vector<std::string>{"/d/f"})) << "the file that has the chunk";
}

TEST_F(CheckTest, AReadThatMeetsANameWithoutItsInodeIsAnAnswer) {
  damage([&](RawStore& store) {
    store.erase(Key(Table::INODES, f.value()));
    store.erase(Key(Table::INODES, d.value()));
  });
  auto& names = world.read();
  EXPECT_EQ(names.lookup(ROOT_INODE, "d").status(), Status::STALE) << "the name leads nowhere";
  EXPECT_EQ(names.resolve("/d/e").status(), Status::STALE);
  EXPECT_FALSE(names.isBelow(e, ROOT_INODE)) << "looking upwards ends where there is no more";
}

}  // namespace
}  // namespace cairn
