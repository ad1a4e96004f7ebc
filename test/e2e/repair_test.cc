// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A chunk daemon that is gone for good, a file that rots on a disk: every chunk has its copies again, the
// same bytes in each.
#include <unistd.h>

#include <filesystem>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

class Repair : public EndToEnd {
 protected:
  LocalCluster& four(unsigned replicas = 3) {
    return start({.chunkds = 4,
                  .replicas = replicas,
                  .more = {"--no-restart", "--metaserver-options", "--repair-grace 2"}});
  }
  // The content of every replica of a file's first chunk on the stores that are not `without`.
  std::vector<std::string> copies(LocalCluster& c, const std::string& name, unsigned without = 0) {
    std::vector<std::string> found;
    auto handle = c.chunks(name).at(0).handle;
    for (unsigned i = 1; i <= 4; ++i) {
      auto path = c.chunkFile(i, handle, "data");
      if (i != without && ::access(path.c_str(), F_OK) == 0) found.push_back(readFile(path));
    }
    return found;
  }
};

TEST_F(Repair, ADaemonKilledForGoodIsReplacedByteForByte) {
  auto& c = four();
  for (int i = 1; i <= 12; ++i) writeFile(c / ("f" + std::to_string(i)), randomBytes(300'000 + i * 1000, i));
  ASSERT_OK(c.sh("sync"));
  ASSERT_TRUE(c.waitWhole(60s));
  c.kill("chunkd-2");
  ASSERT_TRUE(eventually(10s, [&]() {
    return c.json({"status", "--dir", c.directory()}).at("repair").at("under").number() > 0;
  }));
  ASSERT_TRUE(c.waitWhole(60s)) << c.log("metaserver-1");
  for (int i = 1; i <= 12; ++i) {
    auto name = "f" + std::to_string(i);
    auto expected = randomBytes(300'000 + i * 1000, i);
    auto found = copies(c, name, 2);
    EXPECT_EQ(found.size(), 3u) << name;
    for (auto& copy : found) EXPECT_TRUE(copy == expected) << name;
    EXPECT_TRUE(readFile(c / name) == expected) << name;
  }
}

TEST_F(Repair, WhileItIsWrittenAFileGetsItsCopiesBack) {
  auto& c = four();
  test::Process fio(
      {"fio", "--name=busy", "--directory=" + c.mount(), "--rw=randwrite", "--bs=64k", "--size=48m",
       "--time_based", "--runtime=15", "--rate=8m", "--verify=crc32c", "--verify_fatal=1", "--ioengine=psync",
       "--fallocate=none", "--randseed=7", "--end_fsync=1", "--output-format=terse"},
      {.patience = 120s});
  unsigned lost = 0;  // one that has a replica of it
  ASSERT_TRUE(eventually(10s, [&]() {
    if (::access((c / "busy.0.0").c_str(), F_OK) != 0) return false;
    auto chunks = c.chunks("busy.0.0");
    for (unsigned i = 1; i <= 4 && !chunks.empty(); ++i) {
      if (::access(c.chunkFile(i, chunks[0].handle, "data").c_str(), F_OK) == 0) lost = i;
    }
    return lost != 0;
  }));
  c.kill("chunkd-" + std::to_string(lost));
  ASSERT_TRUE(eventually(60s, [&]() {
    return c.json({"status", "--dir", c.directory()}).at("repair").at("copied").number() > 0;
  })) << c.log("metaserver-1");
  EXPECT_OK(fio.wait());
  ASSERT_TRUE(c.waitWhole(60s)) << c.log("metaserver-1");
  auto found = copies(c, "busy.0.0", lost);
  ASSERT_EQ(found.size(), 3u);
  auto expected = readFile(c / "busy.0.0");
  for (auto& copy : found) EXPECT_TRUE(copy == expected);
}

TEST_F(Repair, ARottenReplicaIsFoundByScrubbingAndReplaced) {
  auto& c = start({.chunkds = 3, .replicas = 3, .more = {"--chunkd-options", "--scrub-mib 256"}});
  auto expected = randomBytes(200'000, 5);
  writeFile(c / "f", expected);
  ASSERT_OK(c.sh("sync f"));
  auto handle = c.chunks("f").at(0).handle;
  for (unsigned i = 1; i <= 3; ++i) {
    auto path = c.chunkFile(i, handle, "data");
    ASSERT_OK(c.sh("printf X | dd of=" + test::quoted(path) + " bs=1 seek=" + std::to_string(60'000 + i) +
                   " conv=notrunc status=none"));
    ASSERT_TRUE(readFile(path) != expected);
    ASSERT_TRUE(eventually(90s, [&]() { return readFile(path) == expected; })) << "chunkd-" << i << "\n"
                                                                               << c.log("metaserver-1");
  }
  EXPECT_TRUE(readFile(c / "f") == expected);
  uint64_t damaged = 0;
  for (auto& server : c.json({"status", "--dir", c.directory()}).at("servers").items()) {
    damaged += server.at("scrub").at("damaged").number();
  }
  EXPECT_EQ(damaged, 3u);
}

TEST_F(Repair, ADrainedDaemonMayBeTakenAway) {
  auto& c = four();
  for (int i = 1; i <= 12; ++i) writeFile(c / ("f" + std::to_string(i)), randomBytes(100'000, i));
  ASSERT_OK(c.sh("sync"));
  auto address = c.chunkdAddress(2);
  auto drained = c.cairn({"drain", address, "--dir", c.directory()});
  ASSERT_OK(drained);
  EXPECT_NE(drained.out.find("is empty"), std::string::npos) << drained.out;
  EXPECT_REFUSES(c.cairn({"drain", address, "--dir", c.directory(), "--remove"}), "is connected");
  c.kill("chunkd-2");
  ASSERT_TRUE(eventually(
      10s, [&]() { return c.cairn({"drain", address, "--dir", c.directory(), "--remove"}).ok(); }));
  EXPECT_EQ(c.json({"status", "--dir", c.directory()}).at("servers").items().size(), 3u);
  for (int i = 1; i <= 12; ++i) {
    auto name = "f" + std::to_string(i);
    auto expected = randomBytes(100'000, i);
    auto found = copies(c, name, 2);
    EXPECT_EQ(found.size(), 3u) << name;
    for (auto& copy : found) EXPECT_TRUE(copy == expected) << name;
  }
  EXPECT_REFUSES(c.cairn({"drain", "77", "--dir", c.directory()}), "there is no store 77");
}

TEST_F(Repair, ATreeGetsMoreCopiesAndFewer) {
  auto& c = four();
  ASSERT_OK(
      c.sh("mkdir -p d/e; head -c 100000 /usr/bin/perl > d/f; head -c 50000 /usr/bin/perl > d/e/g; sync"));
  ASSERT_OK(c.cairn({"replicas", "4", c / "d", "--recursive"}));
  EXPECT_TRUE(
      eventually(30s, [&]() { return copies(c, "d/f").size() == 4 && copies(c, "d/e/g").size() == 4; }));
  ASSERT_OK(c.cairn({"replicas", "2", c / "d/f"}));
  EXPECT_TRUE(eventually(30s, [&]() { return copies(c, "d/f").size() == 2; }));
  EXPECT_EQ(copies(c, "d/e/g").size(), 4u);
  EXPECT_OK(c.sh("head -c 100000 /usr/bin/perl | cmp - d/f; head -c 50000 /usr/bin/perl | cmp - d/e/g"));
  EXPECT_OK(c.cairn({"rebalance", "--dir", c.directory()}));
}

}  // namespace
}  // namespace cairn::e2e
