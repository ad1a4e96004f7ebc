// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Backups on a real disk: what is in one, what a restore makes of it, and every damage that a restore must
// refuse.
#include <errno.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "env/entropy.h"
#include "metaserver/archive.h"
#include "metaserver/meta_server.h"
#include "metaserver/restore.h"
#include "rpc/buffer_pool.h"
#include "test/support/failing_disk.h"
#include "test/support/in_turn.h"
#include "test/support/temporary_directory.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;

std::string readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
void writeFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

class BackupTest : public testing::Test {
 public:
  ~BackupTest() noexcept override {}

 protected:
  test::TemporaryDirectory temporary;
  BufferPool pool;
  kj::AsyncIoContext io = kj::setupAsyncIo();
  env::SystemEntropy entropy;
  kj::Own<env::Worker> worker = env::newThreadWorker(io.unixEventPort, 1);
  kj::Own<env::Disk> disk;
  kj::Own<FailingDisk> failing;
  kj::Own<MetaServer> server;
  MetaServerOptions wanted;  // but for the directory
  uint64_t failAt = 0;       // that call of the disk at the start
  std::string said;
  kj::Date restoreTime = kj::UNIX_EPOCH + 1'800'000'000 * kj::SECONDS;

  std::string why(kj::Function<void()> body) {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { body(); })) {
      return exception->getDescription().cStr();
    }
    return "";
  }
  void start(const std::string& name) {
    auto directory = temporary / name;
    fs::create_directories(directory);
    disk = env::newDisk(directory.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock());
    failing = kj::heap<FailingDisk>(*disk);
    failing->failFrom(failAt, ENOSPC, FailingDisk::Until::ONCE);
    wanted.directory = directory.c_str();
    auto sink = env::newFunctionSink([this](kj::Date, env::LogLevel, kj::StringPtr, kj::StringPtr text) {
      said += kj::str(text, "\n").cStr();
    });
    env::Logger log(sink, kj::systemPreciseCalendarClock(), env::LogLevel::WARNING, "test");
    server = MetaServer::start({io.provider->getTimer(), kj::systemPreciseCalendarClock(),
                                io.provider->getNetwork(), *failing, nullptr, entropy, pool, log, *worker},
                               wanted)
                 .wait(io.waitScope);
  }
  bool hasSaid(const std::string& text) { return said.find(text) != std::string::npos; }
  void damageTheLargestTable(const std::string& name) {
    fs::path largest;
    for (auto& file : fs::directory_iterator(temporary / (name + "/names"))) {
      if (file.path().extension() != ".sst") continue;
      if (largest.empty() || file.file_size() > fs::file_size(largest)) largest = file.path();
    }
    auto content = readFile(largest);
    content[content.size() * 3 / 4] ^= 1;  // within the names
    writeFile(largest, content);
  }
  void kill() {
    server = nullptr;
    failing = nullptr;
    disk = nullptr;
  }
  Outcome propose(kj::Function<void(rpc::Operation::Builder)> fill) {
    auto operation = kj::heap<LoggedOperation>();
    fill(operation->body());
    return server->service().operations.propose(kj::mv(operation)).wait(io.waitScope);
  }
  void make(kj::StringPtr name) {
    if (!session) {
      session = propose([](auto body) { body.initOpenSession().setHost("h"); }).number;
    }
    auto outcome = propose([&](auto body) {
      body.setSession(session);
      auto change = body.initChange();
      change.setSequence(++sequence);
      auto create = change.initCreate();
      create.setParent(1);
      create.setName(name);
      create.setMode(0644);
    });
    EXPECT_TRUE(outcome.ok());
  }
  bool has(kj::StringPtr name) { return server->service().names.lookup(ROOT_INODE, name).ok(); }
  BackupManifest backUp(const std::string& name) {
    BackupWriter writer((temporary / name).c_str());
    return server->archive().backup(writer).wait(io.waitScope);
  }
  BackupManifest restore(const std::string& backup, const std::string& name) {
    return restoreBackup((temporary / backup).c_str(), (temporary / name).c_str(), restoreTime);
  }

 private:
  uint64_t session = 0, sequence = 0;
};

TEST_F(BackupTest, ARestoredDirectoryHasWhatWasThereAtTheBackupAndNothingSince) {
  start("meta");
  for (int i = 0; i < 50; ++i) make(kj::str("before-", i));
  auto cluster = server->cluster();
  auto manifest = backUp("backup");
  EXPECT_EQ(manifest.inodes, 51u);
  EXPECT_EQ(manifest.operation, server->service().operations.last());
  auto lost = server->service().names.state().nextInode;
  make("after");
  kill();
  fs::remove_all(temporary / "meta");

  restore("backup", "meta");
  start("meta");
  EXPECT_EQ(server->cluster(), cluster);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(has(kj::str("before-", i)));
  EXPECT_FALSE(has("after"));
  auto& state = server->service().names.state();
  EXPECT_EQ(state.restored, Restored::TAKING_OVER);
  EXPECT_FALSE(state.wasGiven(lost)) << "or an fsync of what was made since would take it for deleted";
  EXPECT_GE(state.nextInode.value(), 1'800'000'000ull << 20);
  EXPECT_GE(state.nextHandle.value(), 1'800'000'000ull << 20);
  EXPECT_GT(server->epoch().value(), manifest.epoch.value() + 200);
  EXPECT_EQ(server->service().names.sessions().size(), 0u);
}

TEST_F(BackupTest, ALaterRestoreOfTheSameBackupGivesOutHigherNumbers) {
  start("meta");
  backUp("backup");
  kill();
  restore("backup", "one");
  restoreTime += 1 * kj::SECONDS;
  restore("backup", "two");
  start("one");
  auto first = server->service().names.state();
  kill();
  start("two");
  auto second = server->service().names.state();
  EXPECT_GE(second.nextInode.value(), first.nextInode.value() + (1 << 20));
  EXPECT_GE(second.nextHandle.value(), first.nextHandle.value() + (1 << 20));
}

TEST_F(BackupTest, AClockInThePastStillGivesOutHigherNumbers) {
  start("meta");
  make("f");
  backUp("backup");
  auto before = server->service().names.state();
  kill();
  restoreTime = kj::UNIX_EPOCH;
  restore("backup", "again");
  start("again");
  EXPECT_GT(server->service().names.state().nextInode.value(), before.nextInode.value() + 1'000'000'000);
}

TEST_F(BackupTest, ChangesGoOnWhileAnImageIsThereAndAreNotInIt) {
  start("meta");
  make("before");
  auto image = KJ_REQUIRE_NONNULL(
      kj::Maybe<Result<kj::Own<NamespaceImage>>>(server->archive().image().wait(io.waitScope)));
  ASSERT_TRUE(image.ok());
  EXPECT_EQ(server->archive().image().wait(io.waitScope).status(), Status::BUSY);
  for (int i = 0; i < 1000; ++i) make(kj::str("later-", i));
  auto applied = (*image)->state().applied;
  EXPECT_LT(applied, server->service().operations.last());
  auto& files = (*image)->files();
  size_t current = 0;
  while (files.at(current).name != "CURRENT") ++current;
  auto bytes = (*image)->read(current, 0, 1 << 20).wait(io.waitScope);
  EXPECT_EQ(bytes.size(), files[current].size);
  EXPECT_EQ(kj::str(bytes.slice(0, 9).asChars()), "MANIFEST-");
  EXPECT_TRUE(fs::exists(temporary / "meta/image"));
  {
    auto gone = kj::mv(*image);
  }
  EXPECT_FALSE(fs::exists(temporary / "meta/image"));
  EXPECT_TRUE(server->archive().image().wait(io.waitScope).ok()) << "there may be another one now";
}

TEST_F(BackupTest, WhatACrashHasLeftOfAnImageGoesAtTheNextStart) {
  start("meta");
  make("f");
  kill();
  fs::create_directories(temporary / "meta/image");
  writeFile(temporary / "meta/image/000009.sst", "junk");
  fs::create_directories(temporary / "meta/image.tmp");
  start("meta");
  EXPECT_FALSE(fs::exists(temporary / "meta/image"));
  EXPECT_FALSE(fs::exists(temporary / "meta/image.tmp"));
  EXPECT_TRUE(has("f"));
}

TEST_F(BackupTest, ACheckpointLeavesNothingToReplayAndNoOldLog) {
  start("meta");
  for (int i = 0; i < 20; ++i) make(kj::str("f-", i));
  auto done = server->archive().checkpoint().wait(io.waitScope);
  EXPECT_EQ(done.status, Status::OK);
  EXPECT_EQ(done.operation, server->service().operations.last());
  EXPECT_EQ(done.segments, 0u);
  size_t segments = 0;
  for (auto& entry : fs::directory_iterator(temporary / "meta/log"))
    segments += entry.path().extension() == ".log";
  EXPECT_EQ(segments, 1u);
  EXPECT_EQ(server->archive().checkpoint().wait(io.waitScope).status, Status::OK) << "with nothing to do";
  make("after");
  kill();
  start("meta");
  EXPECT_TRUE(has("f-19"));
  EXPECT_TRUE(has("after"));
}

TEST_F(BackupTest, ACheckpointThatTheDiskRefusesIsToldAndNothingIsLost) {
  start("meta");
  make("f");
  failing->failFrom(1, EIO, FailingDisk::Until::FOR_GOOD);
  EXPECT_EQ(server->archive().checkpoint().wait(io.waitScope).status, Status::IO_ERROR);
  failing->recover();
  kill();
  start("meta");
  EXPECT_TRUE(has("f"));
}

TEST_F(BackupTest, NeitherABackupNorARestoreTouchesADirectoryThatIsNotEmpty) {
  start("meta");
  make("f");
  backUp("backup");
  EXPECT_NE(why([&]() { backUp("backup"); }).find("is not empty"), std::string::npos);
  kill();
  auto sentence = why([&]() { restore("backup", "meta"); });
  EXPECT_NE(sentence.find("is not empty"), std::string::npos) << sentence;
  start("meta");
  EXPECT_TRUE(has("f"));
}

TEST_F(BackupTest, WhatIsNoBackupIsRefused) {
  EXPECT_NE(why([&]() { restore("nowhere", "new"); }).find("is no directory"), std::string::npos);
  fs::create_directories(temporary / "empty");
  EXPECT_NE(why([&]() { restore("empty", "new"); }).find("has no file BACKUP"), std::string::npos);
  writeFile(temporary / "empty/BACKUP", "something else\n");
  EXPECT_NE(why([&]() { restore("empty", "new"); }).find("is no backup"), std::string::npos);
  BackupManifest manifest;
  manifest.cluster = {1, 2};
  manifest.files.push_back({"CURRENT", 1, 2});
  auto newer = encode(manifest);
  newer.replace(newer.find("format 1"), 8, "format 9");
  writeFile(temporary / "empty/BACKUP", newer);
  EXPECT_NE(why([&]() { restore("empty", "new"); }).find("has format 9"), std::string::npos);
  EXPECT_FALSE(fs::exists(temporary / "new"));
}

TEST_F(BackupTest, EveryFileThatIsFlippedCutOrGoneIsFoundBeforeAnythingIsWritten) {
  start("meta");
  for (int i = 0; i < 300; ++i) make(kj::str("file-", i));
  backUp("backup");
  kill();
  auto root = fs::path(temporary / "backup");
  std::vector<std::string> files{"BACKUP"};
  for (auto& entry : fs::directory_iterator(root / "names"))
    files.push_back("names/" + entry.path().filename().string());
  ASSERT_GE(files.size(), 5u);
  std::mt19937_64 random(4711);
  for (auto& file : files) {
    auto path = (root / file).string();
    auto whole = readFile(path);
    auto refused = [&](const std::string& what) {
      auto sentence = why([&]() { restore("backup", "new"); });
      EXPECT_FALSE(sentence.empty()) << file << " " << what << ", seed 4711";
      EXPECT_NE(sentence.find("Nothing was changed"), std::string::npos) << sentence;
      EXPECT_FALSE(fs::exists(temporary / "new")) << file << " " << what;
    };
    for (int i = 0; i < 24; ++i) {
      auto bit = random() % (whole.size() * 8);
      auto flipped = whole;
      flipped[bit / 8] = char(flipped[bit / 8] ^ (1 << bit % 8));
      writeFile(path, flipped);
      refused("bit " + std::to_string(bit));
    }
    writeFile(path, whole.substr(0, random() % whole.size()));
    refused("cut");
    writeFile(path, whole + "x");
    refused("longer");
    fs::remove(path);
    refused("gone");
    writeFile(path, whole);
  }
  restore("backup", "new");
  start("new");
  EXPECT_TRUE(has("file-299"));
}

TEST_F(BackupTest, ADamagedNamespaceIsNotBackedUp) {
  start("meta");
  for (int i = 0; i < 300; ++i) make(kj::str("file-", i));
  ASSERT_EQ(server->archive().checkpoint().wait(io.waitScope).status, Status::OK);
  kill();
  for (auto& entry : fs::directory_iterator(temporary / "meta/names")) {
    if (entry.path().extension() != ".sst") continue;
    auto content = readFile(entry.path());
    content[content.size() * (getenv("OFF") ? atoi(getenv("OFF")) : 50) / 100] ^= 4;
    writeFile(entry.path(), content);
  }
  auto sentence = why([&]() {
    start("meta");
    backUp("backup");
  });
  EXPECT_FALSE(sentence.empty());
  EXPECT_FALSE(fs::exists(temporary / "backup/BACKUP"));
}

// ---------------------------------------------------------------- starts of a whole metaserver

TEST_F(BackupTest, AnotherNumberOfReplicasThanTheClusterWasMadeWithIsSaidAndNotTaken) {
  start("meta");
  kill();
  wanted.replicas = 2;
  start("meta");
  EXPECT_TRUE(hasSaid("the cluster was made with 3 replicas, not 2 -> new files want 3")) << said;
}

TEST_F(BackupTest, ATrashThatCannotBeConfiguredForWantOfSpaceIsAsItWas) {
  bool wasSaid = false;
  eachInTurn(5, [&](uint64_t call) {
    auto name = "meta-" + std::to_string(call);
    start(name);
    kill();
    wanted.trash = TrashOptions{.keepSeconds = 100};
    failAt = call;
    said.clear();
    auto refused = why([&]() { start(name); });
    bool hit = failing->hasFailed();
    if (refused == "") {
      bool asItWas = hasSaid("the trash could not be configured: noSpace -> it is as it was");
      EXPECT_EQ(server->service().names.state().trashKeep, asItWas ? 0u : 100u);
      wasSaid |= asItWas;
    }
    kill();
    failAt = 0, wanted.trash = nullptr;
    return hit && !wasSaid;
  });
  EXPECT_TRUE(wasSaid);
}

TEST_F(BackupTest, ADamagedBlockOfALargeStoreIsSaidInTheBackgroundAndWhenItIsRead) {
  start("meta");
  for (int i = 0; i < 400; ++i) make(kj::str("file-", i));
  server->stop().wait(io.waitScope);
  kill();
  damageTheLargestTable("meta");
  wanted.verifiedBytes = 0;  // as one that is too big to be read at the start
  start("meta");
  for (int i = 0; i < 400; ++i) (void)why([&]() { has(kj::str("file-", i)); });
  EXPECT_TRUE(hasSaid("the namespace store cannot be read: ")) << said;
  while (!hasSaid("-> what lies there fails, the rest is served")) {
    io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  }
}

TEST(BackupManifestTest, IsReadAsItWasWrittenAndEveryFlippedBitIsFound) {
  BackupManifest manifest;
  manifest.cluster = {0x1122334455667788, 0x99aabbccddeeff00};
  manifest.operation = LogIndex(77);
  manifest.epoch = Epoch(5);
  manifest.inodes = 3;
  manifest.chunks = 2;
  manifest.taken = 1'700'000'000'000'000'000;
  manifest.files = {{"CURRENT", 16, 0xdeadbeef}, {"000123.sst", 1 << 30, 7}};
  auto text = encode(manifest);
  EXPECT_EQ(parseBackup(text.c_str(), "x"), manifest);
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    auto flipped = text;
    flipped[bit / 8] = char(flipped[bit / 8] ^ (1 << bit % 8));
    EXPECT_TRUE(kj::runCatchingExceptions(
                    [&]() { parseBackup(kj::StringPtr(flipped.c_str(), flipped.size()), "x"); }) != nullptr)
        << bit;
  }
}

}  // namespace
}  // namespace cairn
