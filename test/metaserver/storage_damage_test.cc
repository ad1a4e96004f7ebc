// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Any file of the metaserver's storage flipped, cut or gone: the next start finds exactly what was there, or
// refuses with a sentence that says how to go on, or a read fails. Never a namespace that is silently another
// one.
#include <rocksdb/env.h>

#include <algorithm>
#include <random>
#include <string>

#include "test/metaserver/metadata_world.h"

namespace cairn {
namespace {

struct Victim {
  std::string path;
  enum class Where { LOG, NAMES } where;
};

class DamagedWorld : public MetadataWorld {
 public:
  std::vector<Victim> files() {
    std::vector<Victim> result;
    for (auto& name : disk.list("log").wait(scope).names) {
      result.push_back({std::string("log/") + name.cStr(), Victim::Where::LOG});
    }
    std::vector<std::string> names;
    rocksEnv->GetChildren("/names", &names);
    for (auto& name : names) {
      bool ofStore =
          name == "CURRENT" || name.rfind("MANIFEST", 0) == 0 || name.find(".sst") != std::string::npos;
      if (ofStore) result.push_back({"/names/" + name, Victim::Where::NAMES});
    }
    std::sort(result.begin(), result.end(), [](auto& a, auto& b) { return a.path < b.path; });
    return result;
  }
  std::string content(const Victim& victim) {
    if (victim.where == Victim::Where::LOG) {
      auto bytes = disk.contents(victim.path.c_str());
      return {bytes.asChars().begin(), bytes.size()};
    }
    std::string bytes;
    rocksdb::ReadFileToString(rocksEnv.get(), victim.path, &bytes);
    return bytes;
  }
  void replace(const Victim& victim, const std::string& content) {
    if (victim.where == Victim::Where::LOG) {
      disk.replaceContents(victim.path.c_str(), kj::StringPtr(content.c_str(), content.size()).asBytes());
    } else {
      rocksdb::WriteStringToFile(rocksEnv.get(), content, victim.path, true);
    }
  }
  void remove(const Victim& victim) {
    if (victim.where == Victim::Where::LOG) {
      EXPECT_TRUE(disk.remove(victim.path.c_str()).wait(scope).ok());
    } else {
      EXPECT_TRUE(rocksEnv->DeleteFile(victim.path).ok());
    }
  }
};

std::string withoutStart(kj::String dump) {
  // Each start raises the epoch and the applied index, which are in the state record, the last line.
  std::string text(dump.cStr());
  std::string rest;
  for (size_t at = 0; at < text.size();) {
    auto end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    if (line.rfind("state", 0) != 0) rest += line + "\n";
    at = end + 1;
  }
  return rest;
}

struct Story {
  // Some life: segments of the log, tables of the store, and a death without a flush.
  explicit Story(uint64_t seed) : random(seed) {
    world.options.segmentBytes = 4096;
    world.options.commit = random() % 2 == 0 ? CommitMode::DISK : CommitMode::MEMORY;
    world.start();
    Client client(world);
    for (int round = 0; round < 3; ++round) {
      auto directory = client.directory(ROOT_INODE, kj::str("d-", round));
      for (uint64_t i = 0; i < 10 + random() % 20; ++i) {
        auto file = client.file(directory, kj::str("file-", i));
        if (random() % 4 == 0) world.attach(file, 0);
        if (random() % 8 == 0) client.unlink(directory, kj::str("file-", i));
      }
      if (random() % 2 == 0) world.theNames().flush();
    }
    EXPECT_EQ(world.sync(), Status::OK);
    dump = withoutStart(world.theNames().dump());
    world.kill();
  }
  DamagedWorld world;
  std::mt19937_64 random;
  std::string dump;
};

std::string damage(Story& story, const Victim& victim) {
  auto whole = story.world.content(victim);
  switch (story.random() % 4) {
    case 0:
      story.world.remove(victim);
      return "gone";
    case 1:
      story.world.replace(victim, whole.substr(0, story.random() % (whole.size() + 1)));
      return "cut";
    default: {
      if (whole.empty()) return "untouched";
      auto bit = story.random() % (whole.size() * 8);
      whole[bit / 8] = char(whole[bit / 8] ^ (1 << bit % 8));
      story.world.replace(victim, whole);
      return "bit " + std::to_string(bit);
    }
  }
}

TEST(StorageDamage, IsRecoveredExactlyOrRefusedWithASentence) {
  uint64_t recovered = 0, refused = 0;
  uint64_t first = 1, last = 400;
  if (auto* seed = getenv("DAMAGE_SEED")) first = last = strtoull(seed, nullptr, 10);
  for (uint64_t seed = first; seed <= last; ++seed) {
    Story story(seed);
    auto files = story.world.files();
    auto& victim = files[story.random() % files.size()];
    auto how = victim.path + " " + damage(story, victim) + ", DAMAGE_SEED=" + std::to_string(seed);
    std::string found;
    auto why = story.world.whyItDoesNotStart();
    if (why.empty()) {
      KJ_IF_MAYBE (exception, kj::runCatchingExceptions(
                                  [&]() { found = withoutStart(story.world.theNames().dump()); })) {
        why = exception->getDescription().cStr();
      }
    }
    if (why.empty()) {
      ++recovered;
      ASSERT_EQ(found, story.dump) << how;
    } else {
      ++refused;
      ASSERT_TRUE(why.find("othing was changed") != std::string::npos ||
                  why.find("Nothing is lost") != std::string::npos)
          << how << ": " << why;
    }
  }
  if (first == last) return;
  EXPECT_GT(recovered, 20u) << "what is not needed any more may be damaged";
  EXPECT_GT(refused, 100u);
}

struct DamageTest : testing::Test {
  ~DamageTest() noexcept override {}
  DamagedWorld world;

  void live(int files = 50) {
    world.start();
    Client client(world);
    for (int i = 0; i < files; ++i) client.file(ROOT_INODE, kj::str("file-", i));
  }
  Victim one(const char* part) {
    for (auto& file : world.files()) {
      if (file.path.find(part) != std::string::npos) return file;
    }
    KJ_FAIL_REQUIRE("no such file", part);
  }
  static bool contains(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  }
};

TEST_F(DamageTest, TheVeryLastSyncedRecordIsNoTornTail) {
  live();
  ASSERT_EQ(world.sync(), Status::OK);
  world.kill();
  world.disk.killProcess(1);
  auto log = one(".log");
  auto content = world.content(log);
  content[content.size() - 3] ^= 8;
  world.replace(log, content);
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "is damaged at byte")) << why;
  EXPECT_TRUE(contains(why, "cairn-metaserver restore --dir")) << why;
}

TEST_F(DamageTest, ALastSegmentThatIsGoneIsMissed) {
  live();
  ASSERT_EQ(world.sync(), Status::OK);
  world.killAndRestart();
  Client client(world);
  client.file(ROOT_INODE, "late");
  ASSERT_EQ(world.sync(), Status::OK);
  world.kill();
  Victim last;
  for (auto& file : world.files()) {
    if (contains(file.path, ".log")) last = file;
  }
  world.remove(last);
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "its last file is missing, or was cut")) << why;
}

TEST_F(DamageTest, ANamespaceOfWhichNothingIsLeftIsNotFoundedAnew) {
  live();
  ASSERT_EQ(world.sync(), Status::OK);
  world.kill();
  for (auto& file : world.files()) {
    if (file.where == Victim::Where::LOG && !contains(file.path, "SYNCED")) world.remove(file);
  }
  std::vector<std::string> names;
  world.rocksEnv->GetChildren("/names", &names);
  for (auto& name : names) world.rocksEnv->DeleteFile("/names/" + name);
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "operations 1 to")) << why;
}

TEST_F(DamageTest, ATailThatWasNotSyncedIsStillCutOff) {
  live();
  ASSERT_EQ(world.sync(), Status::OK);
  auto path = one(".log");
  auto size = world.content(path).size();
  world.disk.failSyncs(EIO);  // what follows never gets to the disk
  Client client(world);
  world.kill();
  world.disk.failSyncs(0);
  auto content = world.content(path);
  ASSERT_GT(content.size(), size);
  world.replace(path, content.substr(0, content.size() - 4));
  EXPECT_EQ(world.whyItDoesNotStart(), "");
  EXPECT_TRUE(world.read().lookup(ROOT_INODE, "file-49").ok());
}

TEST_F(DamageTest, WithoutTheMarkOrWithADamagedOneAStartGoesAsBefore) {
  live();
  world.kill();
  world.remove(one("SYNCED"));
  ASSERT_EQ(world.whyItDoesNotStart(), "");
  ASSERT_EQ(world.sync(), Status::OK);
  world.kill();
  auto mark = one("SYNCED");
  auto content = world.content(mark);
  for (auto& byte : content) byte ^= 1;
  world.replace(mark, content);
  EXPECT_EQ(world.whyItDoesNotStart(), "");
  EXPECT_TRUE(world.read().lookup(ROOT_INODE, "file-49").ok());
}

TEST_F(DamageTest, AStoreWithoutItsCurrentFileIsNotTakenForAnEmptyDirectory) {
  live();
  world.theNames().flush();
  world.kill();
  auto before = world.files().size();
  world.remove(one("CURRENT"));
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "its file CURRENT is missing")) << why;
  EXPECT_TRUE(contains(why, "cairn-metaserver restore --dir")) << why;
  EXPECT_EQ(world.files().size(), before - 1) << "it has thrown away what it refused";
}

TEST_F(DamageTest, AFlippedBlockOfATableIsFoundAtTheStart) {
  live();
  world.theNames().flush();
  world.kill();
  auto table = one(".sst");
  auto content = world.content(table);
  content[100] ^= 1;
  world.replace(table, content);
  auto why = world.whyItDoesNotStart();
  EXPECT_TRUE(contains(why, "cannot be opened")) << why;
  EXPECT_TRUE(contains(why, "cairn-metaserver restore --dir")) << why;
}

TEST_F(DamageTest, AReadOfADamagedBlockFailsWithALineInTheLogAndIsNotAnsweredAsAbsence) {
  live(400);
  world.theNames().flush();
  world.kill();
  auto table = one(".sst");
  auto content = world.content(table);
  content[content.size() * 2 / 5] ^= 1;  // within the inodes
  world.replace(table, content);
  // As a store that is too big to be read at the start.
  auto names = Namespace::open({.path = "/names", .env = world.rocksEnv.get(), .verifiedBytes = 0});
  EXPECT_FALSE(names->verified());
  std::string told;
  names->witness().tell = [&](kj::StringPtr problem) { told = problem.cStr(); };
  size_t failed = 0;
  for (int i = 0; i < 400; ++i) {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                   auto found = names->read().lookup(ROOT_INODE, kj::str("file-", i));
                   EXPECT_TRUE(found.ok()) << "a name that is there is answered as if it were not";
                 })) {
      ++failed;
      EXPECT_TRUE(contains(exception->getDescription().cStr(), "cannot be read"));
    }
  }
  EXPECT_GT(failed, 0u);
  EXPECT_TRUE(contains(told, "Corruption")) << told;
  EXPECT_THROW(names->verify(), kj::Exception);
}

}  // namespace
}  // namespace cairn
