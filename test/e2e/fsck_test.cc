// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn fsck` on real processes: a cluster after a bit of everything is clean, also while it is written;
// each damage is found, and named by the files it is about; repairs repair.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

namespace fs = std::filesystem;

class Fsck : public EndToEnd {
 protected:
  struct Report {
    Finished run;
    std::vector<Json> findings;
    std::string text;  // troubles and paths
    bool has(const std::string& trouble, const std::string& path = "") const {
      for (auto& finding : findings) {
        if (finding.at("trouble").text() != trouble) continue;
        if (path.empty()) return true;
        for (auto& named : finding.at("paths").items()) {
          if (named.text() == path) return true;
        }
      }
      return false;
    }
  };
  Report fsck(LocalCluster& c, std::vector<std::string> more = {}) {
    std::vector<std::string> words{"fsck", "--json", "--dir", c.directory()};
    words.insert(words.end(), more.begin(), more.end());
    Report report{c.cairn(words, {.patience = 120s}), {}, ""};
    if (report.run.out.empty()) return report;
    report.findings = Json::parse(report.run.out).at("findings").items();
    for (auto& finding : report.findings) {
      report.text += finding.at("severity").text() + " " + finding.at("trouble").text() + ":";
      for (auto& path : finding.at("paths").items()) report.text += " " + path.text();
      report.text += ": " + finding.at("sentence").text() + "\n";
    }
    return report;
  }
  void expectClean(LocalCluster& c, std::vector<std::string> more = {}) {
    auto report = fsck(c, more);
    EXPECT_EQ(report.run.code, 0) << report.text << report.run.describe();
    EXPECT_EQ(report.text, "");
  }
};

TEST_F(Fsck, AClusterAfterABitOfEverythingIsClean) {
  auto& c = start();
  ASSERT_OK(
      c.sh("mkdir -p a/b/c && cp -r /usr/include/linux a/ && ln a/linux/fs.h a/b/link && ln -s x a/b/symlink "
           "&& mkfifo a/fifo && "
           "setfattr -n user.x -v y a/b && head -c 3000000 /dev/urandom > big && cp --reflink=auto big copy "
           "&& truncate -s 70M "
           "big && fallocate -p -o 0 -l 1000000 copy && mv a/linux a/b/moved && rm -r a/b/moved/netfilter && "
           "chmod 600 big && sync -f ."));
  ASSERT_OK(c.cairn({"quota", "set", c / "a", "--inodes", "100000"}));
  ASSERT_OK(c.cairn({"snapshot", c / "a", c / "snap"}, {.patience = 120s}));
  ASSERT_OK(c.sh("echo more >> snap/b/moved/fs.h; rm a/b/link; truncate -s 1000 copy; sync copy"));
  expectClean(c);
  expectClean(c, {"--data"});
  EXPECT_OK(c.cairn({"fsck", "--dir", c.directory()}));
  ASSERT_OK(c.down());
  EXPECT_OK(test::run({program("cairn-metaserver"), "fsck", "--dir", c.directory() + "/metaserver-1"}));
}

TEST_F(Fsck, ABusyClusterMakesNoFalseAlarm) {
  auto& c = start();
  writeFile(c.scratch("busy"),
            "for i in $(seq 2000); do [ -e w/go ] || break; d=w/$((i % 20)); rm -rf $d; mkdir $d\n"
            "for j in 1 2 3 4 5; do head -c $((j * 3000)) /dev/urandom > $d/$j; done\n"
            "mv $d/1 $d/6; ln $d/2 $d/7; done; echo > ended\n");
  ASSERT_OK(c.sh("mkdir w; echo > w/go; bash " + c.scratch("busy") + " > /dev/null 2>&1 &"));
  for (int i = 0; i < 3; ++i) expectClean(c);
  expectClean(c, {"--data"});
  EXPECT_FALSE(fs::exists(c / "ended")) << "it was not busy any more";
  ASSERT_OK(c.sh("rm w/go"));
  ASSERT_TRUE(eventually(60s, [&]() { return fs::exists(c / "ended"); }));
  expectClean(c);
}

TEST_F(Fsck, DamageOfStoresIsFoundNamedAndRepaired) {
  auto& c = start({.more = {"--chunkd-options", "--scrub-mib 0"}});  // it would find some of it first
  ASSERT_OK(c.sh(
      "mkdir d; head -c 200000 /dev/urandom > d/lost; head -c 200000 /dev/urandom > short; head -c 200000 "
      "/dev/urandom > gone; head -c 200000 /dev/urandom > flipped; ln short d/second; sync d/lost short gone "
      "flipped"));
  auto handle = [&](const std::string& name) { return c.chunks(name).at(0).handle; };
  // At rest, and not open in a daemon: else the stores notice before they are asked.
  auto isSynced = [&](const std::string& name) {
    for (auto& replica : c.json({"info", c / name}).at("chunks").items().at(0).at("replicas").items()) {
      if (replica.at("store").text() == "unsynced") return false;
    }
    return true;
  };
  for (auto name : {"short", "gone", "flipped"}) {
    ASSERT_TRUE(eventually(60s, [&]() { return isSynced(name); })) << name;
  }
  ASSERT_OK(c.down());
  ASSERT_OK(c.up());
  ASSERT_TRUE(c.waitHealthy(3));
  auto shortFile = c.chunkFile(1, handle("short"), "data"), goneFile = c.chunkFile(2, handle("gone"), "sum");
  auto flippedFile = c.chunkFile(3, handle("flipped"), "data");
  ASSERT_EQ(::truncate(shortFile.c_str(), 1000), 0);
  fs::remove(goneFile);
  fs::create_directories(c.store(1) + "/chunks/00");
  writeFile(c.store(1) + "/chunks/00/00000000000fff00.data", "stray");
  auto report = fsck(c);
  EXPECT_EQ(report.run.code, 4) << report.run.describe();
  EXPECT_TRUE(report.has("data-file", "/short")) << report.text;
  EXPECT_TRUE(report.has("data-file", "/d/second")) << report.text << "all names of the file";
  EXPECT_TRUE(report.has("data-file", "/gone")) << report.text;
  EXPECT_TRUE(report.has("stray-file")) << report.text;
  EXPECT_FALSE(report.has("data-file", "/flipped")) << report.text << "that takes --data";

  {
    int fd = ::open(flippedFile.c_str(), O_RDWR);
    ASSERT_GE(fd, 0);
    char byte = 0;
    ASSERT_EQ(::pread(fd, &byte, 1, 100'000), 1);
    byte = char(byte ^ 1);
    ASSERT_EQ(::pwrite(fd, &byte, 1, 100'000), 1);
    ::close(fd);
  }
  report = fsck(c, {"--data", "--repair"});
  EXPECT_TRUE(report.has("replica-corrupt", "/flipped")) << report.text;
  EXPECT_TRUE(eventually(90s, [&]() { return fsck(c).run.code == 0; })) << fsck(c).text;
  fs::remove(c.store(1) + "/chunks/00/00000000000fff00.data");
  expectClean(c, {"--data"});
}

TEST_F(Fsck, AFileThatIsGoneAndStillOpenInItsDaemonIsReplacedAfterARestart) {
  auto& c = start({.more = {"--chunkd-options", "--scrub-mib 0"}});
  ASSERT_OK(c.sh("head -c 200000 /dev/urandom > f; sync f"));
  auto file = c.chunkFile(2, c.chunks("f").at(0).handle, "data");
  ASSERT_TRUE(fs::remove(file));
  auto report = fsck(c, {"--repair"});
  EXPECT_EQ(report.run.code, 4) << report.run.describe();
  EXPECT_TRUE(report.has("data-file", "/f")) << report.text;
  EXPECT_NE(report.run.out.find("once the daemon is restarted"), std::string::npos) << report.run.out;
  EXPECT_EQ(Json::parse(report.run.out).at("begun").number(), 0u) << report.run.out;
  auto before = c.pid("chunkd-2");
  c.kill("chunkd-2", SIGTERM);
  ASSERT_TRUE(eventually(30s, [&]() { return c.alive("chunkd-2") && c.pid("chunkd-2") != before; }));
  ASSERT_TRUE(c.waitHealthy(3));
  EXPECT_TRUE(eventually(90s, [&]() { return fsck(c, {"--repair"}).run.code == 0; })) << fsck(c).text;
  EXPECT_TRUE(fs::exists(file)) << "made anew from another replica";
}

TEST_F(Fsck, ChunksThatAreLostAreNamedByTheirFiles) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  ASSERT_OK(c.sh(
      "mkdir d; head -c 200000 /dev/urandom > d/lost; echo fine > fine; ln d/lost link; sync d/lost fine"));
  auto handle = c.chunks("d/lost").at(0).handle;
  ASSERT_OK(c.down());
  fs::remove(c.chunkFile(1, handle, "data"));
  ASSERT_OK(c.up());
  ASSERT_TRUE(c.waitHealthy(1));
  auto report = fsck(c, {"--data"});
  EXPECT_EQ(report.run.code, 4) << report.run.describe();
  EXPECT_TRUE(report.has("chunk-missing", "/d/lost") || report.has("replica-corrupt", "/d/lost") ||
              report.has("data-file", "/d/lost"))
      << report.text;
  EXPECT_EQ(report.text.find("/fine"), std::string::npos) << report.text;
  EXPECT_NE(report.text.find("/link"), std::string::npos) << report.text;
}

TEST_F(Fsck, WhatARestoreHasKeptIsShownAndGoesWhenItIsToldTo) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  ASSERT_OK(c.sh("echo before > before; sync before"));
  auto backup = c.scratch("backup");
  ASSERT_OK(c.cairn({"backup", backup, "--dir", c.directory()}));
  ASSERT_OK(c.sh("head -c 200000 /dev/urandom > after; sync after"));
  auto file = c.chunkFile(1, c.chunks("after").at(0).handle, "data");
  ASSERT_OK(c.down());
  fs::remove_all(c.directory() + "/metaserver-1");
  ASSERT_OK(
      test::run({program("cairn-metaserver"), "restore", "--dir", c.directory() + "/metaserver-1", backup}));
  ASSERT_OK(c.up());
  ASSERT_TRUE(c.waitHealthy(1));
  auto report = fsck(c);
  EXPECT_EQ(report.run.code, 0) << report.run.describe() << "a note, no problem";
  EXPECT_TRUE(report.has("chunk-kept")) << report.text;
  EXPECT_TRUE(fs::exists(file));
  ASSERT_OK(c.cairn({"fsck", "--repair", "--drop-kept", "--dir", c.directory()}, {.patience = 60s}));
  EXPECT_TRUE(eventually(120s, [&]() { return !fs::exists(file); }));
  EXPECT_EQ(readFile(c / "before"), "before\n");
}

}  // namespace
}  // namespace cairn::e2e
