// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Whose directory it is: found, made, shared, foreign, newer, damaged.
#include "metaserver/identity.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>

#include "env/memory_disk.h"
#include "test/sim/seeded_entropy.h"

namespace cairn {
namespace {

class IdentityTest : public testing::Test {
 public:
  ~IdentityTest() noexcept override {}

 protected:
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  env::MemoryDisk disk;
  sim::SeededEntropy entropy{1};

  DirectoryIdentity claim() { return claimDirectory(disk, "/d", entropy).wait(scope); }
  void put(kj::StringPtr name, kj::StringPtr text) {
    auto opened = disk.open(name, env::OpenMode::CREATE_OR_OPEN).wait(scope);
    auto& file = *KJ_ASSERT_NONNULL(opened.file);
    ASSERT_TRUE(file.truncate(0).wait(scope).ok());
    ASSERT_TRUE(file.write(0, text.asBytes()).wait(scope).ok());
  }
  std::string refusal() {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { claim(); }))
      return exception->getDescription().cStr();
    return "";
  }
  void expectRefused(const char* word) {
    auto text = refusal();
    EXPECT_NE(text.find(word), std::string::npos) << text;
  }
};

TEST_F(IdentityTest, AnEmptyDirectoryBecomesANewClustersAndKeepsItsId) {
  auto first = claim();
  EXPECT_EQ(first.age, DirectoryIdentity::Age::NEW);
  EXPECT_TRUE(bool(first.cluster));
  first.lock = nullptr;
  auto second = claim();
  EXPECT_EQ(second.age, DirectoryIdentity::Age::FOUND);
  EXPECT_EQ(second.cluster, first.cluster);
}

TEST_F(IdentityTest, TwoCannotHaveItAtOnce) {
  auto first = claim();
  expectRefused("in use");
}

TEST_F(IdentityTest, ADirectoryOfSomethingElseIsLeftAlone) {
  put("photo.jpg", "...");
  expectRefused("photo.jpg");
  auto opened = disk.open("IDENTITY", env::OpenMode::READ).wait(scope);
  EXPECT_NE(opened.error, 0) << "nothing was changed";
}

TEST_F(IdentityTest, AnotherProgramsDirectoryIsRefused) {
  put("IDENTITY", "cairn store\nformat 1\ncluster 00000000000000010000000000000002\n");
  expectRefused("no metaserver directory");
}

TEST_F(IdentityTest, ANewerFormatSaysWhatToDo) {
  put("IDENTITY", "cairn metaserver\nformat 2\ncluster 00000000000000010000000000000002\n");
  expectRefused("newer cairn-metaserver");
}

TEST_F(IdentityTest, DamageIsNamedAtEveryPlace) {
  for (const char* text :
       {"cairn metaserver\n", "cairn metaserver\nformat 1\n", "cairn metaserver\nformat 0\ncluster 1\n",
        "cairn metaserver\nformat 1\ncluster xyz\n",
        "cairn metaserver\nformat 1\ncluster 00000000000000000000000000000000\n"}) {
    put("IDENTITY", text);
    expectRefused("damaged");
  }
}

TEST_F(IdentityTest, AnAttemptThatWasCutOffIsRepeated) {
  put("IDENTITY.new", "cairn meta");
  EXPECT_EQ(claim().age, DirectoryIdentity::Age::NEW);
}

}  // namespace
}  // namespace cairn
