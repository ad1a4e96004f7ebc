// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Deleted files in a real mount: they come back, they go when their time is over, and before anybody is
// refused space.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

constexpr unsigned STORE_RESERVE = 256;  // MiB that a store keeps free (chunkd/chunk_store.h StoreOptions)

class Trash : public EndToEnd {
 protected:
  LocalCluster& startKeeping(const std::string& time, ClusterOptions options = {}) {
    // As files in a test are: younger than what goes to the trash else.
    options.more = {"--trash-keep", time, "--metaserver-options", "--trash-age 0"};
    return start(std::move(options));
  }
  std::vector<Json> listed() {
    return cluster->json({"trash", "ls", "--dir", cluster->directory()}).at("files").items();
  }
  bool eventuallyListed(size_t count) {
    return eventually(10s, [&]() { return listed().size() == count; });
  }
};

TEST_F(Trash, ADeletedFileIsListedAndComesBackWithAllItHad) {
  auto& c = startKeeping("1d");
  auto content = randomBytes(3 << 20, 5);
  EXPECT_OK(c.sh("mkdir d"));
  writeFile(c / "d/f", content);
  ASSERT_EQ(::setxattr((c / "d/f").c_str(), "user.a", "b", 1, 0), 0);
  EXPECT_OK(c.sh("chmod 640 d/f; rm d/f; test ! -e d/f"));
  ASSERT_TRUE(eventuallyListed(1));
  auto file = listed()[0];
  EXPECT_EQ(file.at("path").text(), "/d/f");
  EXPECT_EQ(file.at("size").number(), content.size());
  EXPECT_EQ(file.at("bytes_used").number(), content.size());
  EXPECT_EQ(file.at("deleted_by").number(), 0u);
  EXPECT_EQ(c.json({"trash", "ls", c / "elsewhere"}).at("files").items().size(), 0u);

  c.kill("metaserver-1");
  EXPECT_OK(c.up());
  EXPECT_OK(c.cairn({"trash", "restore", c / "d/f"}));
  EXPECT_TRUE(readFile(c / "d/f") == content);
  EXPECT_EQ(c.sh("stat -c '%a %h' d/f").out, "640 1\n");
  char value[8];
  EXPECT_EQ(::getxattr((c / "d/f").c_str(), "user.a", value, sizeof(value)), 1);
  EXPECT_EQ(listed().size(), 0u);
}

TEST_F(Trash, WhatARenameReplacedIsRefusedItsOldNameAndGoesToAnother) {
  auto& c = startKeeping("1d");
  EXPECT_OK(c.sh("mkdir d; echo old > d/f; echo new > d/g; mv d/g d/f"));
  ASSERT_TRUE(eventuallyListed(1));
  auto refused = c.cairn({"trash", "restore", c / "d/f"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("there is a /d/f again"), std::string::npos) << refused.describe();
  EXPECT_OK(c.cairn({"trash", "restore", c / "d/f", "--to", c / "d/before"}));
  EXPECT_EQ(c.sh("cat d/before d/f").out, "old\nnew\n");

  EXPECT_OK(c.sh("rm -r d"));
  ASSERT_TRUE(eventuallyListed(2));
  auto gone = c.cairn({"trash", "restore", "/d/f", "--dir", c.directory()});
  EXPECT_EQ(gone.code, 1);
  EXPECT_NE(gone.err.find("is gone"), std::string::npos) << gone.describe();
  EXPECT_OK(c.cairn({"trash", "restore", "/d/f", "--to", c.mount()}));
  EXPECT_EQ(c.sh("cat f").out, "new\n");
  EXPECT_OK(c.cairn({"trash", "purge", "/d", "--dir", c.directory()}));
  EXPECT_EQ(listed().size(), 0u);
}

TEST_F(Trash, AnOpenFileHasNoLinksAndGoesThereWhenItIsClosed) {
  auto& c = startKeeping("1d");
  writeFile(c / "f", "kept");
  int file = ::open((c / "f").c_str(), O_RDWR);
  ASSERT_GE(file, 0);
  ASSERT_EQ(::unlink((c / "f").c_str()), 0);
  struct stat attributes{};
  ASSERT_EQ(::fstat(file, &attributes), 0);
  EXPECT_EQ(attributes.st_nlink, 0u);
  EXPECT_EQ(::pwrite(file, "K", 1, 0), 1);
  EXPECT_EQ(listed().size(), 0u);
  ::close(file);
  ASSERT_TRUE(eventuallyListed(1));
  EXPECT_OK(c.cairn({"trash", "restore", c / "f"}));
  EXPECT_EQ(readFile(c / "f"), "Kept");
}

TEST_F(Trash, WhenItsTimeIsOverItsSpaceComesBack) {
  auto& c = startKeeping("2s");
  writeFile(c / "f", randomBytes(1 << 20, 1));
  auto handle = c.chunks("f").at(0).handle;
  EXPECT_OK(c.sh("rm f"));
  EXPECT_TRUE(eventually(30s, [&]() {
    for (unsigned i = 1; i <= 3; ++i) {
      if (::access(c.chunkFile(i, handle, "data").c_str(), F_OK) == 0) return false;
    }
    return true;
  }));
  EXPECT_EQ(listed().size(), 0u);
}

TEST_F(Trash, ADirectoryCanDoWithoutIt) {
  auto& c = startKeeping("1d");
  EXPECT_OK(c.sh("mkdir scratch"));
  EXPECT_OK(c.cairn({"trash", "keep", c / "scratch", "0"}));
  EXPECT_OK(c.sh("mkdir scratch/in; echo x > scratch/in/f; rm scratch/in/f; echo y > g; rm g"));
  ASSERT_TRUE(eventuallyListed(1));
  EXPECT_EQ(listed()[0].at("path").text(), "/g");
  EXPECT_EQ(c.json({"trash", "keep", c / "scratch/in"}).at("keep_s").number(), 0u);
  EXPECT_EQ(c.json({"trash", "keep", c / "."}).at("keep_s").number(), 24u * 3600);
  EXPECT_OK(c.cairn({"trash", "purge", "--all", "--dir", c.directory()}));
  EXPECT_EQ(listed().size(), 0u);
}

TEST_F(Trash, ItGivesWayBeforeAnybodyIsRefusedSpace) {
  constexpr unsigned SIZE = STORE_RESERVE + 96;
  auto& c = startKeeping("1d", {.smallStores = {{1, SIZE}, {2, SIZE}, {3, SIZE}}});
  for (unsigned i = 0; i < 60; ++i) {
    ASSERT_EQ(writeDurably(c / "f", randomBytes(4 << 20, i)), 0)
        << "file " << i << ", of 96 MiB there is room for";
    ASSERT_EQ(::unlink((c / "f").c_str()), 0);
  }
  auto status = c.json({"status", "--dir", c.directory()});
  EXPECT_GT(status.at("trash").at("reclaimed").number(), 0u);
}

}  // namespace
}  // namespace cairn::e2e
