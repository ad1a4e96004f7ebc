// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn snapshot` on a real mount: all of a tree is there a second time, and the two go their own ways.
#include <unistd.h>

#include <atomic>
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
           "setfattr -n user.key -v value d5/f5 || true",
           {.patience = 240s}));
  auto answer = c.json({"snapshot", c / "tree", c / "copy", "--json"});
  EXPECT_EQ(answer.at("inodes").number(), 2043u);
  EXPECT_OK(c.sh("diff -r tree copy", {.patience = 240s}));
  EXPECT_EQ(c.sh("stat -c '%a %u %g %Y' tree/d3/f3 tree/d4").out,
            c.sh("stat -c '%a %u %g %Y' copy/d3/f3 copy/d4").out);
  EXPECT_EQ(c.sh("stat -c %i copy/hard").out, c.sh("stat -c %i copy/d1/f2").out);
  EXPECT_EQ(c.sh("readlink copy/link").out, "d1/f1\n");
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
