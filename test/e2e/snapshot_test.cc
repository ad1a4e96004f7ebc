// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn snapshot` on a real mount: all of a tree is there a second time, and the two go their own ways.
// Large trees, which are copied in steps, are made of snapshots of small ones.
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "test/e2e/expect.h"
#include "test/e2e/mounts_fixture.h"

namespace cairn::e2e {
namespace {

class Snapshot : public EndToEnd {};

TEST_F(Snapshot, ATreeOfTwoThousandFilesIsThereASecondTimeAndBothAreWritten) {
  auto& c = start();
  ASSERT_OK(
      c.sh("mkdir tree && cd tree && for d in $(seq 40); do mkdir d$d; for f in $(seq 50); do "
           "echo content $d $f > d$d/f$f; done; done; ln -s d1/f1 link; ln d1/f2 hard; "
           "head -c 70M /dev/urandom > large; chmod 600 d3/f3; chown 7:8 d4; "
           "setfattr -n user.key -v value d5/f5",
           {.patience = 240s}));
  auto answer = c.json({"snapshot", c / "tree", c / "copy", "--json"});
  EXPECT_EQ(answer.at("inodes").number(), 2043u);
  EXPECT_OK(c.sh("diff -r tree copy", {.patience = 240s}));
  EXPECT_EQ(c.sh("stat -c '%a %u %g %Y' tree/d3/f3 tree/d4").out,
            c.sh("stat -c '%a %u %g %Y' copy/d3/f3 copy/d4").out);
  EXPECT_EQ(c.sh("stat -c %i copy/hard").out, c.sh("stat -c %i copy/d1/f2").out);
  EXPECT_EQ(c.sh("readlink copy/link").out, "d1/f1\n");
  EXPECT_EQ(c.sh("getfattr --only-values -n user.key copy/d5/f5").out, "value");
  auto chunk = c.json({"info", c / "copy/large", "--json"}).at("chunks").items().at(0);
  EXPECT_EQ(chunk.at("references").number(), 2u);

  ASSERT_OK(c.sh("cp -a copy/d1 " + test::quoted(c.scratch("d1")) + " && sha256sum < copy/large > " +
                     test::quoted(c.scratch("sum")),
                 {.patience = 60s}));
  ASSERT_OK(
      c.sh("echo changed > tree/d1/f1; rm tree/d1/f7; echo more >> tree/d1/f9; mv tree/d2 tree/e2; "
           "printf x | dd of=tree/large bs=1 seek=1000 conv=notrunc status=none"));
  EXPECT_OK(c.sh("diff -r copy/d1 " + test::quoted(c.scratch("d1"))));
  EXPECT_OK(c.sh("sha256sum < copy/large | cmp - " + test::quoted(c.scratch("sum"))));
  ASSERT_OK(
      c.sh("cp -a tree/d9 " + test::quoted(c.scratch("d9")) + " && rm -r copy/d9 && echo new > copy/d8/f8"));
  EXPECT_OK(c.sh("diff -r tree/d9 " + test::quoted(c.scratch("d9"))));
  EXPECT_EQ(c.sh("cat tree/d8/f8 copy/d8/f8").out, "content 8 8\nnew\n");
  ASSERT_OK(c.sh("rm -r tree && cat copy/d10/f10", {.patience = 120s}));
}

using SnapshotOfWrittenTree = Mounts;

TEST_F(SnapshotOfWrittenTree, HasEveryWriteThatHadReturnedAndNoneWithoutThoseBeforeIt) {
  auto& c = start({.chunkds = 2, .replicas = 2});
  auto second = mountAnother();
  ASSERT_OK(c.sh("mkdir tree snapshots"));
  // Neither closed nor synced.
  int unsent = ::open((second + "/tree/unsent").c_str(), O_CREAT | O_RDWR, 0644);
  ASSERT_EQ(::pwrite(unsent, "in memory", 9, 100), 9);
  ASSERT_OK(c.cairn({"snapshot", c / "tree", c / "snapshots/first"}));
  EXPECT_EQ(readFile(c / "snapshots/first/unsent"), std::string(100, 0) + "in memory");

  // Two files of one program, and a third of another mount that tells how far it was: each is written when
  // the one before is.
  std::atomic<bool> stop = false;
  std::atomic<int> error = 0, rounds = 0;
  std::thread writer([&]() {
    int fds[3] = {::open((second + "/tree/a").c_str(), O_CREAT | O_WRONLY, 0644),
                  ::open((c / "tree/b").c_str(), O_CREAT | O_WRONLY, 0644),
                  ::open((second + "/tree/c").c_str(), O_CREAT | O_WRONLY, 0644)};
    for (int round = 1; !stop; ++round) {
      char text[16];
      ::snprintf(text, sizeof text, "%08d", round);
      for (int fd : fds) {
        if (::pwrite(fd, text, 8, 0) != 8) error = errno;
      }
      rounds = round;
    }
    for (int fd : fds) ::close(fd);
  });
  for (int i = 0; i < 20; ++i) {
    int before = rounds;
    auto copy = c / ("snapshots/" + std::to_string(i));
    ASSERT_OK(c.cairn({"snapshot", c / "tree", copy}));
    int after = rounds;
    auto number = [&](const char* name) { return std::atoi(readFile(copy + "/" + name).c_str()); };
    int a = number("a"), b = number("b"), last = number("c");
    EXPECT_TRUE(a >= b && b >= last && last >= a - 1) << a << ' ' << b << ' ' << last;
    EXPECT_GE(last, before);
    EXPECT_LE(a, after + 1);
  }
  stop = true;
  writer.join();
  EXPECT_EQ(error, 0) << strerror(error);
  EXPECT_GT(rounds, 20) << "it went on between";
  ::close(unsent);
}

class LargeSnapshot : public Mounts {
 protected:
  static constexpr int SMALL = 2000, COPIES = 12;
  static constexpr uint64_t LARGE = uint64_t(COPIES) * (SMALL + 2) + 1;  // inodes of large/

  void makeLarge(LocalCluster& c) {
    ASSERT_OK(c.sh("mkdir small large && cd small && for f in $(seq " + std::to_string(SMALL) +
                       "); do echo $f > f$f; done; ln f1 hard; mkdir below",
                   {.patience = 240s}));
    for (int i = 0; i < COPIES; ++i) {
      ASSERT_OK(c.cairn({"snapshot", c / "small", c / ("large/" + std::to_string(i))}));
    }
  }
  static uint64_t inodes(LocalCluster& c) {
    return c.json({"status", "--json", "--dir", c.directory()}).at("inodes").number();
  }
  static bool says(LocalCluster& c, const std::string& part) {
    return c.log("metaserver-1").find(part) != std::string::npos;
  }
  static uint64_t makeWhatHoldsItUp(LocalCluster& c) {
    // A file of the tree whose chunk has just been written, and so cannot be shared before its primary has
    // been asked, in the directory that is listed last and so is copied last. Answers how many inodes there
    // are.
    std::string last;
    for (auto& entry : std::filesystem::directory_iterator(c / "large")) last = entry.path();
    EXPECT_EQ(writeDurably(last + "/held", std::string(5000, 'h')), 0);
    return inodes(c);
  }
  static void signalStores(LocalCluster& c, int signal) {
    for (auto store : {"chunkd-1", "chunkd-2"}) c.kill(store, signal);
  }
  static test::Process begin(LocalCluster& c) {
    signalStores(c, SIGSTOP);
    return test::Process({program("cairn"), "snapshot", c / "large", c / "copy"});
  }
  static std::string phase(LocalCluster& c) {
    return c.json({"status", "--json", "--dir", c.directory()}).at("snapshot").at("phase").text();
  }
  static void waitUntilItIsHeldUp(LocalCluster& c) {
    ASSERT_TRUE(eventually(60s, [&]() { return says(c, " inodes for stores to settle their chunks"); }));
    EXPECT_FALSE(says(c, " waits after 0 inodes"));
  }
  void expectNothingIsLeft(LocalCluster& c, uint64_t before) {
    EXPECT_TRUE(eventually(60s, [&]() { return says(c, " was given up -> its ") && inodes(c) == before; }))
        << inodes(c) << " inodes, there were " << before;
    EXPECT_NE(::access((c / "copy").c_str(), F_OK), 0);
    auto chunk = c.json({"info", c / "small/f5", "--json"}).at("chunks").items().at(0);
    EXPECT_EQ(chunk.at("references").number(), uint64_t(COPIES) + 1);
    EXPECT_TRUE(eventually(60s, [&]() { return c.cairn({"fsck", "--dir", c.directory()}).code == 0; }));
  }
};

TEST_F(LargeSnapshot, IsWholeAndOfOneMomentAndWhoChangesWaitsForIt) {
  auto& c = start({.chunkds = 2, .replicas = 2});
  makeLarge(c);
  auto second = mountAnother();
  // Makes a file, and then another one elsewhere: the second is never there without the first.
  std::atomic<bool> stop = false;
  std::atomic<int> error = 0, rounds = 0;
  std::thread changes([&]() {
    for (int round = 1; !stop && error == 0; ++round) {
      auto name = "/n" + std::to_string(round);
      if (int failed = put(second + "/large/0" + name, "first")) error = failed;
      if (int failed = put(second + "/large/11" + name, "second")) error = failed;
      rounds = round;
    }
  });
  EXPECT_TRUE(eventually(30s, [&]() { return rounds > 5; }));
  int before = rounds;
  auto answer = c.json({"snapshot", c / "large", c / "copy", "--json"});
  int after = rounds;
  EXPECT_TRUE(eventually(30s, [&]() { return rounds > after + 5; }));
  stop = true;
  changes.join();
  EXPECT_EQ(error, 0) << strerror(error);
  EXPECT_GE(answer.at("inodes").number(), LARGE);
  EXPECT_TRUE(says(c, "inodes are copied -> inode"));

  auto listed = c.sh("cd copy/0 && ls | grep ^n | wc -l; cd ../11 && ls | grep ^n | wc -l").out;
  int first = 0, then = 0;
  ASSERT_EQ(std::sscanf(listed.c_str(), "%d %d", &first, &then), 2) << listed;
  EXPECT_TRUE(then == first || then + 1 == first) << listed;
  EXPECT_GE(then, before);
  EXPECT_LE(first, after + 1);
  ASSERT_OK(c.sh("cd small && for f in 1 999 2000; do cmp f$f ../copy/7/f$f; done; test -d ../copy/3/below"));
  EXPECT_EQ(c.sh("stat -c %i copy/4/hard").out, c.sh("stat -c %i copy/4/f1").out);
  ASSERT_OK(c.sh("echo changed > copy/5/f7; cat large/5/f7 | grep -x 7; rm -r copy/5", {.patience = 300s}));
}

TEST_F(LargeSnapshot, AMetaserverThatIsKilledInTheMiddleLeavesNothingOfIt) {
  auto& c = start({.chunkds = 2, .replicas = 2});
  makeLarge(c);
  auto before = makeWhatHoldsItUp(c);
  EXPECT_TRUE(eventually(60s, [&]() { return c.cairn({"fsck", "--dir", c.directory()}).code == 0; }));
  auto taking = begin(c);
  waitUntilItIsHeldUp(c);
  c.kill("metaserver-1");
  signalStores(c, SIGCONT);
  auto finished = taking.wait();
  EXPECT_FALSE(finished.ok());
  EXPECT_NE(finished.err.find("The snapshot was given up"), std::string::npos) << finished.describe();
  EXPECT_EQ(put(c / "small/later", "it can be changed again"), 0);
  expectNothingIsLeft(c, before + 1);
}

TEST_F(LargeSnapshot, EndsWithItsProgram) {
  auto& c = start({.chunkds = 2, .replicas = 2});
  makeLarge(c);
  auto before = makeWhatHoldsItUp(c);
  auto taking = begin(c);
  waitUntilItIsHeldUp(c);
  EXPECT_NE(phase(c), "none");
  taking.signal(SIGINT);
  taking.wait();
  EXPECT_TRUE(eventually(60s, [&]() { return says(c, "nobody wants it any more -> changes go on"); }));
  signalStores(c, SIGCONT);
  EXPECT_EQ(put(c / "small/later", "it can be changed again"), 0);
  expectNothingIsLeft(c, before + 1);
  EXPECT_EQ(phase(c), "none");
  EXPECT_OK(c.cairn({"snapshot", c / "large", c / "copy"}, {.patience = 200s}));
  EXPECT_OK(c.sh("test -s copy/11/f2000"));
}

TEST_F(Snapshot, SaysWhyItDoesNot) {
  auto& c = start();
  ASSERT_OK(c.sh("mkdir -p tree/below && echo x > tree/f && mkdir there"));
  EXPECT_REFUSES(c.cairn({"snapshot", c / "tree", c / "there"}), "exists");
  EXPECT_REFUSES(c.cairn({"snapshot", c / "tree", c / "tree/below/copy"}), "lies in");
  EXPECT_REFUSES(c.cairn({"snapshot", c / "tree/f", c / "copy"}), "no directory");
  EXPECT_REFUSES(c.cairn({"snapshot", c / "nothing", c / "copy"}), "nothing");
  EXPECT_REFUSES(c.cairn({"snapshot", "/etc", c / "copy"}), "/etc");
  EXPECT_OK(c.cairn({"snapshot", c / "tree", c / "copy/"}));
  EXPECT_EQ(c.sh("cat copy/f").out, "x\n");
}

}  // namespace
}  // namespace cairn::e2e
