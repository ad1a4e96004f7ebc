// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Quotas of directories in a real mount: what is refused and when, what df shows, and that usage stays exact.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

constexpr uint64_t MIB = 1 << 20;

class Quota : public EndToEnd {
 protected:
  void limit(const std::string& name, std::vector<std::string> limits) {
    std::vector<std::string> words{"quota", "set", *cluster / name};
    words.insert(words.end(), limits.begin(), limits.end());
    EXPECT_OK(cluster->cairn(words));
    EXPECT_TRUE(eventually(10s, [&]() {
      return cluster->json({"quota", "get", *cluster / name}).at("counting").text() == "false";
    }));
  }
  Json used(const std::string& name) {
    return cluster->json({"quota", "get", *cluster / name}).at("quotas").items().at(0);
  }
  static int createError(const std::string& path) {
    int file = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (file < 0) return errno;
    ::close(file);
    return 0;
  }
};

TEST_F(Quota, CreatingAndWritingAreRefusedAtTheLimitAndGoOnBelowIt) {
  auto& c = start();
  EXPECT_OK(c.sh("mkdir d; echo before > d/before"));
  limit("d", {"--bytes", "8M", "--inodes", "4"});
  EXPECT_EQ(used("d").at("inodes").number(), 1u);
  EXPECT_EQ(createError(c / "d/2"), 0);
  EXPECT_EQ(createError(c / "d/3"), 0);
  EXPECT_EQ(::mkdir((c / "d/4").c_str(), 0755), 0);
  EXPECT_EQ(createError(c / "d/4/5"), EDQUOT);
  EXPECT_EQ(createError(c / "elsewhere"), 0);

  EXPECT_EQ(writeDurably(c / "d/2", randomBytes(5 * MIB, 1)), 0);
  EXPECT_EQ(writeDurably(c / "d/3", randomBytes(5 * MIB, 2)), EDQUOT);
  EXPECT_LE(used("d").at("bytes").number(), 9 * MIB) << "at the write, not 64 MiB later";
  EXPECT_EQ(writeDurably(c / "d/2", randomBytes(5 * MIB, 3)), 0) << "overwriting what is there takes nothing";
  EXPECT_OK(c.sh("rm d/3"));
  EXPECT_TRUE(eventually(10s, [&]() { return writeDurably(c / "d/before", randomBytes(2 * MIB, 4)) == 0; }));
  EXPECT_OK(c.cairn({"quota", "clear", c / "d"}));
  EXPECT_EQ(writeDurably(c / "d/6", randomBytes(20 * MIB, 5)), 0);
}

TEST_F(Quota, DfShowsTheQuotaOfADirectoryAndDuAgrees) {
  auto& c = start();
  EXPECT_OK(c.sh("mkdir -p d/e"));
  limit("d", {"--bytes", "100M", "--inodes", "50"});
  EXPECT_EQ(writeDurably(c / "d/e/f", randomBytes(10 * MIB, 1)), 0);
  EXPECT_OK(
      c.sh("truncate -s 1G d/sparse; printf x | dd of=d/sparse bs=1 seek=500000000 conv=notrunc,fsync "
           "status=none"));
  struct statvfs space{};
  ASSERT_EQ(::statvfs((c / "d/e").c_str(), &space), 0);
  EXPECT_EQ(space.f_blocks * space.f_frsize, 100 * MIB);
  EXPECT_EQ(space.f_bfree * space.f_frsize, 90 * MIB - 4096);
  EXPECT_EQ(space.f_files, 50u);
  EXPECT_EQ(space.f_ffree, 47u);
  struct statvfs whole{};
  ASSERT_EQ(::statvfs(c.mount().c_str(), &whole), 0);
  EXPECT_GT(whole.f_blocks, space.f_blocks);
  EXPECT_GT(whole.f_ffree, 0u);
  auto du = std::stoull(c.sh("du -s --block-size=1 d | cut -f1").out);
  EXPECT_EQ(used("d").at("bytes").number(), du) << "directories take none";
}

TEST_F(Quota, NamesMoveWithTheirUsageAndLinksDoNotCross) {
  auto& c = start();
  EXPECT_OK(c.sh("mkdir a b; echo x > a/f; mkdir a/t; echo y > a/t/g"));
  limit("a", {"--inodes", "10"});
  limit("b", {"--inodes", "2"});
  EXPECT_NE(::link((c / "a/f").c_str(), (c / "b/f").c_str()), 0);
  EXPECT_EQ(errno, EXDEV);
  EXPECT_EQ(::rename((c / "a/t").c_str(), (c / "b/t").c_str()), 0);
  EXPECT_EQ(used("a").at("inodes").number(), 1u);
  EXPECT_EQ(used("b").at("inodes").number(), 2u);
  EXPECT_NE(::rename((c / "a/f").c_str(), (c / "b/f").c_str()), 0);
  EXPECT_EQ(errno, EDQUOT);
  EXPECT_EQ(c.json({"quota", "ls", "--dir", c.directory()}).at("quotas").items().size(), 2u);

  c.kill("metaserver-1");
  EXPECT_OK(c.up());
  EXPECT_EQ(used("a").at("inodes").number(), 1u);
  EXPECT_EQ(used("b").at("inodes").number(), 2u);
  EXPECT_OK(c.sh("rm -r b/t"));
  EXPECT_EQ(::rename((c / "a/f").c_str(), (c / "b/f").c_str()), 0);
}

}  // namespace
}  // namespace cairn::e2e
