// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Files of a store damaged under a running cluster: what is read is right, from another replica, or it is an
// error; never other bytes.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

enum class Damage { BIT_FLIPPED, CUT_SHORT, GONE };
enum class Victim { DATA, SUMS };

struct Case {
  Victim victim;
  Damage damage;
};

std::string nameOf(const testing::TestParamInfo<Case>& info) {
  static const char* VICTIMS[] = {"Data", "Sums"};
  static const char* DAMAGES[] = {"BitFlipped", "CutShort", "Gone"};
  return std::string(VICTIMS[int(info.param.victim)]) + DAMAGES[int(info.param.damage)];
}

void damage(const std::string& path, Damage how) {
  auto content = readFile(path);
  ASSERT_GT(content.size(), 4096u) << path;
  switch (how) {
    case Damage::BIT_FLIPPED: {
      // In place, as a bad medium does it: the file keeps its inode, and the daemon its open descriptor.
      int fd = ::open(path.c_str(), O_WRONLY);
      auto offset = off_t(content.size() - 100);
      char flipped = char(content[size_t(offset)] ^ 4);
      ASSERT_EQ(::pwrite(fd, &flipped, 1, offset), 1);
      ::close(fd);
      break;
    }
    case Damage::CUT_SHORT:
      ASSERT_EQ(::truncate(path.c_str(), off_t(content.size() / 2)), 0);
      break;
    case Damage::GONE:
      ASSERT_EQ(::unlink(path.c_str()), 0);
      break;
  }
}

class Damaged : public EndToEnd, public testing::WithParamInterface<Case> {
 protected:
  std::string expected = randomBytes(1'500'000, 5);

  // What a client with empty caches reads: the content, or nothing when there was an error.
  std::string readAfresh(LocalCluster& c, const std::string& name) {
    auto place = c.scratch("fresh");
    ::mkdir(place.c_str(), 0755);
    auto mounted = test::run({program("mount.cairn"), c.address(), place});
    EXPECT_TRUE(mounted.ok()) << mounted.describe();
    auto read = test::run({"cat", place + "/" + name}, {.patience = 90s});
    EXPECT_NE(read.code, 124) << "reading hangs";
    auto unmounted = test::run({"umount", place});
    EXPECT_TRUE(unmounted.ok()) << unmounted.describe();
    return read.ok() ? read.out : "";
  }
};

TEST_P(Damaged, ReplicasAreNotServed) {
  auto& c = start();
  writeFile(c / "f", expected);
  ASSERT_OK(c.sh("sync f"));
  auto handle = c.chunks("f").at(0).handle;
  auto file = [&](unsigned store) {
    return c.chunkFile(store, handle, GetParam().victim == Victim::DATA ? "data" : "sum");
  };
  for (unsigned store : {1, 2}) damage(file(store), GetParam().damage);
  EXPECT_TRUE(readAfresh(c, "f") == expected) << "with two of three damaged";

  for (auto name : {"chunkd-1", "chunkd-2", "chunkd-3"}) c.kill(name);
  ASSERT_TRUE(c.waitHealthy(3));
  EXPECT_TRUE(readAfresh(c, "f") == expected) << "after a restart of the daemons";

  damage(file(3), GetParam().damage);
  auto last = readAfresh(c, "f");
  EXPECT_TRUE(last == expected || last.empty()) << "bytes that nobody wrote";
  writeFile(c / "other", expected);
  EXPECT_TRUE(readAfresh(c, "other") == expected) << "the rest serves";
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, Damaged,
    testing::Values(Case{Victim::DATA, Damage::BIT_FLIPPED}, Case{Victim::DATA, Damage::CUT_SHORT},
                    Case{Victim::DATA, Damage::GONE}, Case{Victim::SUMS, Damage::BIT_FLIPPED},
                    Case{Victim::SUMS, Damage::CUT_SHORT}, Case{Victim::SUMS, Damage::GONE}),
    nameOf);

using EveryReplica = EndToEnd;

TEST_F(EveryReplica, FlippedIsEio) {
  auto& c = start();
  writeFile(c / "f", randomBytes(100'000, 6));
  ASSERT_OK(c.sh("sync f"));
  for (unsigned store : {1, 2, 3})
    damage(c.chunkFile(store, c.chunks("f").at(0).handle, "data"), Damage::BIT_FLIPPED);
  ::mkdir(c.scratch("fresh").c_str(), 0755);
  ASSERT_OK(test::run({program("mount.cairn"), c.address(), c.scratch("fresh")}));
  int fd = ::open((c.scratch("fresh") + "/f").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  std::string bytes(100'000, '\0');
  ssize_t got = ::pread(fd, bytes.data() + 98'304, 1'696, 98'304);  // the last block, where the bit is
  EXPECT_EQ(got, -1);
  EXPECT_EQ(errno, EIO);
  ::close(fd);
  EXPECT_OK(test::run({"umount", c.scratch("fresh")}));
}

}  // namespace
}  // namespace cairn::e2e
