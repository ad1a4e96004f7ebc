// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The promises of the design that need a whole cluster and a misfortune, one story each.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include "test/sim/cluster/faults.h"
#include "test/sim/cluster/sim_cluster.h"

namespace cairn::sim {
namespace {

class Promises : public testing::Test {
 public:
  ~Promises() noexcept override {}

 protected:
  SimCluster cluster{{.seed = 7, .clients = 2}};

  void lightsOut() {
    cluster.powerCutAll();
    cluster.advance(1 * kj::SECONDS);
    startAll();
  }
  void startAll() {
    kj::Vector<kj::Promise<void>> starts;
    for (auto& name : cluster.daemons()) {
      auto& host = cluster.host(name.c_str());
      if (host.state() == SimHost::State::DARK || host.state() == SimHost::State::DOWN)
        starts.add(host.start());
    }
    cluster.run(kj::joinPromises(starts.releaseAsArray()));
    cluster.waitHealthy();
  }
  void put(OpenFile& to, kj::StringPtr text) {
    auto bytes = kj::heap<kj::String>(kj::heapString(text));
    auto view = bytes->asBytes();
    EXPECT_EQ(cluster.run(to.write(FileOffset(0), Bytes{view, kj::mv(bytes)})), Status::OK);
  }
  kj::Own<OpenFile> file;
  void loseAPublish() {
    cluster.write("/f", "synced......");
    cluster.sync("/f");
    file = cluster.open("/f");
    cluster.host(METASERVER).slowDisk(300 * kj::MILLISECONDS);
    put(*file, "published...");
    EXPECT_EQ(cluster.run(file->flush()), Status::OK);
    for (auto& name : cluster.daemons()) cluster.cut("client-1", name.c_str());
    put(*file, "not sent yet");
    cluster.powerCut(METASERVER);
    cluster.host(METASERVER).slowDisk(50 * kj::MICROSECONDS);
    cluster.advance(LEASE_CACHE_TERM + 2 * kj::SECONDS);
  }
  SimCluster::Chunk chunk(kj::StringPtr path) { return cluster.chunks(cluster.find(path, 2)).at(0); }
  kj::String secondaryOf(const SimCluster::Chunk& chunk) {
    for (auto& replica : chunk.replicas) {
      if (replica.server != chunk.primary) return kj::str("chunkd-", replica.server);
    }
    KJ_FAIL_REQUIRE("no secondary");
  }
};

TEST_F(Promises, WhatWasSyncedSurvivesAPowerCutOfEverything) {
  cluster.write("/f", "synced");
  cluster.sync("/f");
  lightsOut();
  EXPECT_EQ(cluster.read("/f"), "synced") << cluster.transcript.last(40);
}

TEST_F(Promises, AChunkThatIsGoneBeforeItsFirstSyncReadsAsZerosThoughASyncIsTheFirstToAskForIt) {
  // Which of them are gone from all stores is up to the seed.
  constexpr int FILES = 30;
  std::vector<kj::Own<OpenFile>> opened;
  for (int i = 0; i < FILES; ++i) {
    opened.push_back(cluster.open(kj::str("/f", i)));
    put(*opened.back(), "never synced");
    EXPECT_EQ(cluster.run(opened.back()->flush()), Status::OK);
  }
  cluster.sync("/other");  // so that the names are certain
  lightsOut();
  cluster.kill("chunkd-3");  // it might have them
  kj::Vector<kj::Promise<Status>> syncs;
  for (auto& file : opened) syncs.add(file->sync());
  cluster.advance(1 * kj::SECONDS);
  cluster.restart("chunkd-3");
  for (auto status : cluster.run(kj::joinPromises(syncs.releaseAsArray())))
    EXPECT_EQ(status, Status::IO_ERROR) << "its bytes may be lost";
  for (int i = 0; i < FILES; ++i) {
    EXPECT_EQ(cluster.run(opened[i]->sync()), Status::OK) << i << cluster.transcript.last(40);
    auto content = cluster.read(kj::str("/f", i), 2);
    EXPECT_TRUE(content == "never synced" || content == std::string(12, '\0')) << i;
  }
  EXPECT_NE(cluster.transcript.last(2000).find("made anew"), std::string::npos) << "another seed";
}

TEST_F(Promises, TwoDeathsOfTheMetaserverWithoutALossOfPowerLoseNothingThatWasAnswered) {
  // Commit mode `memory`, and a mount that was not there in between.
  cluster.write("/f", "published");
  file = cluster.open("/f");
  cluster.host(METASERVER).slowDisk(2 * kj::SECONDS);  // so that the mount does not know it to be durable
  put(*file, "PUBLISHED");
  EXPECT_EQ(cluster.run(file->flush()), Status::OK);
  cluster.cut("client-1", METASERVER);
  for (int i = 0; i < 2; ++i) {
    cluster.kill(METASERVER);
    cluster.restart(METASERVER);
    cluster.advance(1 * kj::SECONDS);
  }
  cluster.host(METASERVER).slowDisk(50 * kj::MICROSECONDS);
  cluster.heal("client-1", METASERVER);
  EXPECT_EQ(cluster.run(file->sync()), Status::OK) << cluster.transcript.last(40);
  EXPECT_EQ(cluster.read("/f", 2), "PUBLISHED");
}

TEST_F(Promises, WhatAMountStillHasIsSentThoughWhatItPublishedBeforeIsLost) {
  // Commit mode `memory`: the publish is answered, and gone with the power of the metaserver's machine, which
  // is away for longer than the term of the mount's write lease. Nobody else has written, so nothing is
  // dropped.
  loseAPublish();
  cluster.restart(METASERVER);
  for (auto& name : cluster.daemons()) cluster.heal("client-1", name.c_str());
  EXPECT_EQ(cluster.run(file->flush()), Status::OK) << cluster.transcript.last(40);
  EXPECT_EQ(cluster.read("/f", 2), "not sent yet");
}

TEST_F(Promises, WhatAMountStillHasIsNotSentOverWhatOthersHaveWrittenSinceAPublishWasLost) {
  // As many changes as were lost: by their count alone it is the content that the mount knows.
  loseAPublish();
  cluster.restart(METASERVER);
  auto others = cluster.run(cluster.client(2).open(cluster.find("/f", 2), Access::WRITE));
  ASSERT_TRUE(others.ok());
  put(**others, "by others...");
  EXPECT_EQ(cluster.run((*others)->flush()), Status::OK);
  for (auto& name : cluster.daemons()) cluster.heal("client-1", name.c_str());
  EXPECT_EQ(cluster.run(file->flush()), Status::IO_ERROR) << cluster.transcript.last(40);
  EXPECT_EQ(cluster.read("/f", 2), "by others...");
}

TEST_F(Promises, FsyncThroughALaterOpenCoversWhatWasWrittenAndClosedBefore) {
  cluster.write("/f", "closed, and opened again to be synced");
  cluster.advance(2 * kj::SECONDS);
  auto before = cluster.host("chunkd-1").disk.counters().syncs;
  cluster.sync("/f");
  EXPECT_GT(cluster.host("chunkd-1").disk.counters().syncs, before) << "nothing was synced";
  lightsOut();
  EXPECT_EQ(cluster.read("/f"), "closed, and opened again to be synced") << cluster.transcript.last(40);
}

TEST_F(Promises, SyncfsCoversFilesThatAreClosed) {
  cluster.write("/f", "closed");
  cluster.write("/g", "closed as well");
  cluster.advance(2 * kj::SECONDS);
  EXPECT_EQ(cluster.run(cluster.client().syncAll()), Status::OK);
  lightsOut();
  EXPECT_EQ(cluster.read("/f"), "closed");
  EXPECT_EQ(cluster.read("/g"), "closed as well");
}

TEST_F(Promises, AWriteThatWasFlushedSurvivesTheDeathOfEveryProcess) {
  cluster.write("/f", "flushed");
  for (auto& name : cluster.daemons()) cluster.kill(name.c_str());
  kj::Vector<kj::Promise<void>> starts;
  for (auto& name : cluster.daemons()) starts.add(cluster.host(name.c_str()).start());
  cluster.run(kj::joinPromises(starts.releaseAsArray()));
  cluster.waitHealthy();
  EXPECT_EQ(cluster.read("/f", 2), "flushed");
}

TEST_F(Promises, AReplicaThatTheWriterCannotReachHasLeftTheSetWhenFsyncReturns) {
  cluster.write("/f", "synced on all that count");
  auto before = chunk("/f");
  auto away = secondaryOf(before);
  cluster.cut("client-1", away);
  cluster.sync("/f");
  auto after = chunk("/f");
  EXPECT_GT(after.version, before.version);
  for (auto& replica : after.replicas) {
    EXPECT_FALSE(replica.host.starts_with(away.cStr()) && replica.state == "current")
        << cluster.transcript.last(40);
  }
  cluster.heal("client-1", away);
  // Power goes but for the one that was left out: it must not be taken for one that has it all.
  for (auto& name : cluster.daemons()) cluster.powerCut(name.c_str());
  cluster.advance(1 * kj::SECONDS);
  startAll();
  EXPECT_EQ(cluster.read("/f", 2), "synced on all that count");
}

TEST_F(Promises, AMachineThatLostPowerServesAgainWhenItsReplicasAreEqualToGoodOnes) {
  std::string content(300'000, 'u');
  cluster.write("/f", content.c_str());  // not synced
  auto inode = cluster.find("/f");
  for (auto name : {"chunkd-1", "chunkd-2"}) {
    cluster.powerCut(name);
    cluster.advance(BOOT_TIME);
    cluster.restart(name);
    EXPECT_TRUE(cluster.read("/f", 2) == content) << name;
    cluster.advance(20 * kj::SECONDS);
    cluster.waitRepaired();
    EXPECT_EQ(cluster.chunks(inode).at(0).replicas.size(), 3u);
    for (auto& problem : cluster.compareReplicas(inode)) ADD_FAILURE() << problem.cStr();
  }
  cluster.sync("/f");
  lightsOut();
  EXPECT_TRUE(cluster.read("/f", 2) == content);
}

TEST_F(Promises, FsyncFailsWhenTheBytesWentWithThePowerOfAllReplicas) {
  auto file = cluster.open("/f");
  auto put = [&](kj::StringPtr text) {
    auto bytes = kj::heap<kj::String>(kj::heapString(text));
    auto view = bytes->asBytes();
    EXPECT_EQ(cluster.run(file->write(FileOffset(0), Bytes{view, kj::mv(bytes)})), Status::OK);
  };
  put("first");
  ASSERT_EQ(cluster.run(file->sync()), Status::OK);
  put("SECOND");
  ASSERT_EQ(cluster.run(file->flush()), Status::OK) << "on all replicas, and on no disk";
  for (auto name : {"chunkd-1", "chunkd-2", "chunkd-3"}) cluster.powerCut(name);
  cluster.advance(BOOT_TIME);
  startAll();
  EXPECT_EQ(cluster.run(file->sync()), Status::IO_ERROR) << cluster.transcript.last(40);
  put("third!");
  EXPECT_EQ(cluster.run(file->sync()), Status::OK);
  lightsOut();
  EXPECT_EQ(cluster.read("/f", 2), "third!");
  for (auto& problem : cluster.compareReplicas(cluster.find("/f", 2))) ADD_FAILURE() << problem.cStr();
}

TEST_F(Promises, AfterAPowerCutOfEverythingReplicasAreEqualWithoutAWriter) {
  std::string content(400'000, 'p');
  cluster.write("/f", content.c_str());
  cluster.sync("/f");
  for (int i = 0; i < 20; ++i) cluster.write("/f", "unsynced here and there", uint64_t(i) * 20'000 + 3);
  lightsOut();
  cluster.advance(20 * kj::SECONDS);
  auto inode = cluster.find("/f", 2);
  EXPECT_EQ(cluster.chunks(inode).at(0).replicas.size(), 3u);
  for (auto& problem : cluster.compareReplicas(inode)) ADD_FAILURE() << problem.cStr();
  auto read = cluster.read("/f", 2);
  ASSERT_EQ(read.size(), content.size());
  for (size_t i = 0; i < read.size(); ++i) {
    if (i % 20'000 < 3 || i % 20'000 >= 26) EXPECT_EQ(read[i], 'p') << "synced, at " << i;
  }
}

TEST_F(Promises, AWriteThatDiedWithItsPrimaryAndItsWriterIsEverywhereOrNowhere) {
  auto& time = cluster.time.timer();
  for (int step = 0; step < 12; ++step) {
    auto path = kj::str("/f", step);
    cluster.write(path, "before");
    auto primary = chunk(path).primary;
    auto file = cluster.open(path);
    std::string large(800'000, char('a' + step));
    auto bytes = kj::heap<kj::String>(kj::heapString(large.data(), large.size()));
    auto view = bytes->asBytes();
    ASSERT_EQ(cluster.run(file->write(FileOffset(1000), Bytes{view, kj::mv(bytes)})), Status::OK);
    auto flushing = file->flush().eagerlyEvaluate([](kj::Exception&&) { return Status::IO_ERROR; });
    cluster.run(time.afterDelay((300 + 120 * step) * kj::MICROSECONDS));
    flushing = nullptr;
    file = nullptr;
    cluster.kill("client-1");
    auto host = kj::str("chunkd-", primary);
    cluster.kill(host);
    cluster.advance(300 * kj::MILLISECONDS);
    cluster.restart(host);
    cluster.restart("client-1");
    cluster.advance(8 * kj::SECONDS);
    for (auto& problem : cluster.compareReplicas(cluster.find(path, 2)))
      ADD_FAILURE() << "step " << step << ": " << problem.cStr() << "\n" << cluster.transcript.last(40);
  }
}

class LostAnswers : public Promises {
  // Commit mode `memory`: the metaserver's machine loses its power with answers that are not on stable
  // storage yet.
 protected:
  void beginToLose() { cluster.host(METASERVER).slowDisk(400 * kj::MILLISECONDS); }  // its syncs take so long
  void lose() {
    cluster.host(METASERVER).cutPower(SimHost::Unsynced::LOST);
    cluster.host(METASERVER).slowDisk(50 * kj::MICROSECONDS);
    cluster.advance(1 * kj::SECONDS);
    cluster.restart(METASERVER);
    cluster.waitHealthy();
  }
  void put(OpenFile& file, kj::StringPtr text, uint64_t offset = 0) {
    auto bytes = kj::heap<kj::String>(kj::heapString(text));
    auto view = bytes->asBytes();
    EXPECT_EQ(cluster.run(file.write(FileOffset(offset), Bytes{view, kj::mv(bytes)})), Status::OK);
  }
  Status sync(OpenFile& file) { return cluster.run(file.sync()); }
  Status syncNames(InodeId directory) { return cluster.run(cluster.client().syncNames(directory)); }
  Status lookup(kj::StringPtr name, uint32_t client = 1) {
    return cluster.run(cluster.client(client).lookup(ROOT_INODE, name)).status();
  }
};

TEST_F(LostAnswers, FsyncOfAFileWhoseCreationIsLostSaysSo) {
  beginToLose();
  auto file = cluster.open("/f");
  put(*file, "buffered");
  lose();
  ASSERT_EQ(lookup("f", 2), Status::NOT_FOUND) << "the story needs it lost";
  EXPECT_EQ(lookup("f"), Status::NOT_FOUND) << "nothing is answered from memory either";
  EXPECT_EQ(sync(*file), Status::IO_ERROR) << cluster.transcript.last(40);
  EXPECT_NE(sync(*file), Status::OK);
  beginToLose();
  auto untouched = cluster.open("/g");
  lose();
  ASSERT_EQ(lookup("g", 2), Status::NOT_FOUND) << "the story needs it lost";
  EXPECT_EQ(sync(*untouched), Status::IO_ERROR) << "nothing was written, and there is no file";
  EXPECT_NE(sync(*untouched), Status::OK);
}

TEST_F(LostAnswers, NumbersOfFilesAndChunksThatAreLostAreNotGivenAgain) {
  auto kept = cluster.open("/kept");
  ASSERT_EQ(sync(*kept), Status::OK);
  beginToLose();
  put(*kept, "its chunk is lost");
  ChunkHandle handle;
  auto flushing = kept->flush().eagerlyEvaluate(nullptr);
  while (!handle) {  // attached, and not on stable storage
    cluster.advance(10 * kj::MILLISECONDS);
    for (auto& chunk : cluster.chunks(kept->inode())) handle = chunk.handle;
  }
  lose();
  ASSERT_EQ(cluster.chunks(kept->inode()).size(), 0u) << "the story needs it lost";
  ASSERT_EQ(cluster.run(kj::mv(flushing)), Status::OK);
  beginToLose();
  auto lost = cluster.open("/f");
  lose();
  ASSERT_EQ(lookup("f", 2), Status::NOT_FOUND);
  auto fresh = cluster.open("/g");
  EXPECT_GT(fresh->inode(), lost->inode());
  put(*fresh, "another");
  ASSERT_EQ(sync(*fresh), Status::OK);
  EXPECT_GT(cluster.chunks(fresh->inode()).at(0).handle, handle);
  EXPECT_EQ(sync(*lost), Status::IO_ERROR);
  EXPECT_EQ(sync(*kept), Status::IO_ERROR);
  EXPECT_EQ(cluster.read("/g", 2), "another");
}

TEST_F(LostAnswers, FsyncSaysSoWhenTheLengthOrTheChunkIsLostThatWasPublished) {
  auto file = cluster.open("/f");
  put(*file, "synced");
  ASSERT_EQ(sync(*file), Status::OK);
  auto other = cluster.open("/other");
  put(*other, "synced");
  ASSERT_EQ(sync(*other), Status::OK);
  beginToLose();
  put(*file, " and longer", 6);
  ASSERT_EQ(cluster.run(file->flush()), Status::OK) << "published";
  lose();
  EXPECT_EQ(cluster.read("/f", 2), "synced") << "the story needs it lost";
  EXPECT_EQ(sync(*file), Status::IO_ERROR) << cluster.transcript.last(40);
  EXPECT_EQ(sync(*other), Status::OK) << "which had nothing to lose";
  put(*file, " and again", 6);
  EXPECT_EQ(sync(*file), Status::OK) << "told once: what was written since counts";
  lightsOut();
  EXPECT_EQ(cluster.read("/f", 2), "synced and again");
}

TEST_F(LostAnswers, FsyncOfADirectorySaysSoWhenANameInItIsLost) {
  cluster.makeDirectory("/a");
  auto directory = cluster.find("/a");
  ASSERT_EQ(syncNames(directory), Status::OK);
  beginToLose();
  auto made = cluster.run(
      cluster.client().make(directory, "b", {.type = FileType::DIRECTORY, .mode = 0755}, Credentials{}));
  ASSERT_TRUE(made.ok());
  lose();
  EXPECT_EQ(syncNames(made->inode), Status::IO_ERROR) << "it is not there";
  EXPECT_EQ(syncNames(directory), Status::IO_ERROR) << cluster.transcript.last(40);
  EXPECT_EQ(syncNames(directory), Status::OK) << "once";
  EXPECT_EQ(syncNames(ROOT_INODE), Status::OK) << "nothing in it is lost";
}

TEST_F(LostAnswers, FsyncOfAFileThatSomebodyHasDeletedIsFine) {
  auto file = cluster.open("/f");
  put(*file, "going");
  ASSERT_EQ(cluster.run(cluster.client(2).unlink(ROOT_INODE, "f", Credentials{})), Status::OK);
  put(*file, "gone!");
  EXPECT_EQ(sync(*file), Status::OK);
}

TEST_F(LostAnswers, TheDeathOfTheMetaserversProcessLosesNothing) {
  beginToLose();
  auto file = cluster.open("/f");
  put(*file, "kept");
  ASSERT_EQ(cluster.run(file->flush()), Status::OK);
  cluster.kill(METASERVER);
  cluster.restart(METASERVER);
  EXPECT_EQ(sync(*file), Status::OK) << cluster.transcript.last(40);
  EXPECT_EQ(cluster.read("/f", 2), "kept");
}

TEST_F(Promises, AnOrderToDeleteThatWasLateTakesNoNewerReplica) {
  cluster.write("/f", "first");
  auto before = chunk("/f");
  cluster.kill(secondaryOf(before));
  cluster.write("/f", "second");  // under a higher version
  cluster.restart(secondaryOf(before));
  cluster.waitRepaired();
  auto after = chunk("/f");
  ASSERT_GT(after.version, before.version);
  for (auto& replica : after.replicas)
    cluster.misdeliverDelete(kj::str("chunkd-", replica.server), before.handle, before.version);
  EXPECT_EQ(cluster.compareReplicas(cluster.find("/f")).size(), 0u);
  EXPECT_EQ(cluster.read("/f", 2), "second");
}

TEST_F(Promises, OneHungChunkDaemonIsAPauseOfSeconds) {
  cluster.write("/f", "before");
  cluster.stop("chunkd-1");
  auto begin = cluster.time.elapsed();
  cluster.write("/f", "during");
  EXPECT_EQ(cluster.read("/f", 2), "during");
  EXPECT_LT(cluster.time.elapsed() - begin, 10 * kj::SECONDS);
  cluster.resume("chunkd-1");
}

TEST_F(Promises, ReplicasOfAFileAreTheSame) {
  std::string large(3'000'000, 'x');
  cluster.write("/f", large.c_str());
  auto chunks = cluster.chunks(cluster.find("/f"));
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].replicas.size(), 3u);
  EXPECT_EQ(cluster.compareReplicas(cluster.find("/f")).size(), 0u);
}

}  // namespace
}  // namespace cairn::sim
