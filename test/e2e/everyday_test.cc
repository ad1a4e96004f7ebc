// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a new user does in a mounted directory, with the programs everybody has.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

using Everyday = EndToEnd;

TEST_F(Everyday, ACopyOfALargeFileIsTheFileOnThreeReplicasPerChunk) {
  auto& c = start();
  writeFile(c.scratch("original"), randomBytes(300 << 20, 1));
  EXPECT_OK(c.sh("cp " + c.scratch("original") + " big; cmp " + c.scratch("original") + " big",
                 {.patience = 120s}));
  auto info = c.json({"info", c / "big"});
  auto chunks = info.at("chunks").items();
  ASSERT_EQ(chunks.size(), 5u) << "300 MiB are four chunks of 64 MiB and one of 44";
  for (auto& chunk : chunks) {
    EXPECT_GT(chunk.at("handle").number(), 0u);
    EXPECT_GT(chunk.at("version").number(), 0u);
    EXPECT_EQ(chunk.at("replicas").items().size(), 3u);
  }
}

TEST_F(Everyday, TwoThousandFilesAreListedWithTheirSizes) {
  auto& c = start();
  EXPECT_OK(c.sh("mkdir -p a/b; i=0; while [ $i -lt 2000 ]; do echo $i > a/b/file-$i; i=$((i+1)); done",
                 {.patience = 240s}));
  auto listed = c.sh("ls -lR . | grep -c 'file-'; find a -type f -size -1k -o -type f -size 1k | wc -l");
  EXPECT_EQ(listed.out, "2000\n2000\n") << listed.describe();
  EXPECT_EQ(c.sh("cat a/b/file-1234 a/b/file-1999").out, "1234\n1999\n");
}

TEST_F(Everyday, ATreeUnpackedIsTheTree) {
  // CAIRN_TREE=/usr/include is the whole of it; the kernel's part has all kinds of entries, too.
  auto& c = start();
  std::string tree = std::getenv("CAIRN_TREE") != nullptr ? std::getenv("CAIRN_TREE") : "/usr/include/linux";
  EXPECT_OK(shell("mkdir " + c.scratch("tree") + "; cp -a " + tree + " " + c.scratch("tree/t") +
                  "; ln -s t/nowhere " + c.scratch("tree/dangling")));
  EXPECT_OK(shell("tar -C " + c.scratch("tree") + " -cf " + c.scratch("tree.tar") + " ."));
  EXPECT_OK(c.sh("tar xf " + c.scratch("tree.tar"), {.patience = 300s}));
  EXPECT_OK(c.sh("diff -r --no-dereference " + c.scratch("tree") + " .", {.patience = 120s}));
  EXPECT_OK(c.sh("mv t moved; test ! -e t; test -d moved; rm -r moved dangling; test ! -e moved",
                 {.patience = 120s}));
  EXPECT_EQ(c.sh("ls -A").out, "");
}

TEST_F(Everyday, NamesModesAndLinksBehave) {
  auto& c = start();
  EXPECT_OK(c.sh("echo one > a; mv a b; test ! -e a; test \"$(cat b)\" = one"));
  EXPECT_OK(c.sh("echo two > c; mv c b; test \"$(cat b)\" = two"));
  EXPECT_OK(c.sh("chmod 640 b; test \"$(stat -c %a b)\" = 640"));
  EXPECT_OK(
      c.sh("ln b hard; test \"$(stat -c %h b)\" = 2; test b -ef hard; rm b; test \"$(cat hard)\" = two"));
  EXPECT_OK(c.sh("ln -s hard soft; test \"$(readlink soft)\" = hard; test \"$(cat soft)\" = two"));
  EXPECT_OK(c.sh("touch -d '2001-02-03 04:05:06 UTC' hard; test \"$(stat -c %Y hard)\" = 981173106"));
  EXPECT_OK(c.sh("mkfifo pipe; test -p pipe"));
  EXPECT_OK(c.sh("mkdir -p d/e; ! rmdir d 2>/dev/null; rmdir d/e; rmdir d"));
  EXPECT_OK(c.sh("df . | tail -1"));
}

TEST_F(Everyday, TruncatedAndSparseFilesReadZerosWhereNothingWasWritten) {
  auto& c = start();
  EXPECT_OK(
      c.sh("printf 0123456789 > f; truncate -s 4 f; truncate -s 8 f; printf '0123\\0\\0\\0\\0' | cmp - f"));
  EXPECT_OK(c.sh("printf end | dd of=sparse bs=1 seek=200000000 status=none conv=notrunc"));
  EXPECT_EQ(c.sh("stat -c %s sparse; tail -c 3 sparse").out, "200000003\nend");
  EXPECT_OK(c.sh("head -c 200000000 sparse | cmp - /dev/zero | true; cmp -n 200000000 sparse /dev/zero"));
}

TEST_F(Everyday, WhatIsRemovedWhileOpenLivesUntilItIsClosed) {
  auto& c = start();
  EXPECT_OK(c.sh("echo kept > f; exec 3< f; rm f; test ! -e f; test \"$(cat <&3)\" = kept"));
}

TEST_F(Everyday, ASecondMountSeesAFileOnceItIsClosed) {
  auto& c = start();
  auto second = c.scratch("second");
  ::mkdir(second.c_str(), 0755);
  EXPECT_OK(test::run({program("mount.cairn"), c.address(), second}));
  EXPECT_OK(c.sh("echo first > shared"));
  EXPECT_EQ(readFile(second + "/shared"), "first\n");
  writeFile(second + "/shared", "and back, longer than before\n");
  EXPECT_EQ(readFile(c / "shared"), "and back, longer than before\n");
  EXPECT_OK(c.sh("rm shared; mkdir d"));
  EXPECT_TRUE(eventually(2s, [&]() { return ::access((second + "/shared").c_str(), F_OK) != 0; }));
  EXPECT_EQ(::access((second + "/d").c_str(), F_OK), 0);
  EXPECT_OK(test::run({"umount", second}));
}

TEST_F(Everyday, DownAndUpAgainIsTheSameDirectory) {
  auto& c = start();
  EXPECT_OK(c.sh("echo stays > f; mkdir d; ln -s f d/l"));
  EXPECT_OK(c.down());
  for (auto& name : c.processes()) EXPECT_FALSE(c.alive(name)) << name;
  EXPECT_NE(::access((c / "f").c_str(), F_OK), 0) << "still mounted";
  EXPECT_OK(c.up());
  EXPECT_EQ(readFile(c / "f"), "stays\n");
  EXPECT_EQ(c.sh("readlink d/l").out, "f\n");
}

}  // namespace
}  // namespace cairn::e2e
