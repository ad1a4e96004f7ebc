// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How a path is traced to its cluster, from texts in the form of /proc/self/mountinfo.
#include "cli/mount_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "cli/mounted_file.h"
#include "test/support/temporary_directory.h"

namespace cairn::cli {
namespace {

constexpr std::string_view TABLE =
    "22 28 0:21 / /sys rw,nosuid - sysfs sysfs rw\n"
    "28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro\n"
    "90 28 0:55 / /srv/a rw,nosuid,nodev shared:7 master:3 - fuse.cairn 127.0.0.1:9400 rw,user_id=0\n"
    "91 28 0:56 / /srv/with\\040space rw - fuse.cairn host:9400,other:9401 rw\n";

TEST(MountTable, KnowsTypeAndSourceWithAnyNumberOfOptionalFields) {
  auto table = parseMountTable(TABLE);
  ASSERT_EQ(table.size(), 4u);
  EXPECT_EQ(table[1].type, "ext4");
  EXPECT_FALSE(table[1].isCairn());
  EXPECT_TRUE(table[2].isCairn());
  EXPECT_EQ(table[2].source, "127.0.0.1:9400");
}

TEST(MountTable, EscapedSpacesArePartOfThePath) {
  auto mount = mountAt(parseMountTable(TABLE), "/srv/with space");
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->minor, 56u);
}

TEST(MountTable, DeviceOfAFileNamesItsMount) {
  auto mount = mountOfDevice(parseMountTable(TABLE), makedev(0, 55));
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->path, "/srv/a");
  EXPECT_FALSE(mountOfDevice(parseMountTable(TABLE), makedev(0, 99)));
}

TEST(MountTable, TheLastMountOnAPathIsTheOneSeen) {
  auto text = std::string(TABLE) + "95 90 0:60 / /srv/a rw - tmpfs none rw\n";
  EXPECT_EQ(mountAt(parseMountTable(text), "/srv/a")->type, "tmpfs");
}

TEST(MountTable, APathBelowAMountIsNotAMountPoint) {
  EXPECT_FALSE(mountAt(parseMountTable(TABLE), "/srv/a/below"));
  EXPECT_FALSE(mountAt(parseMountTable(TABLE), "/srv"));
}

TEST(MountTable, MalformedLinesAreLeftOut) {
  for (std::string_view line : {"", "\n\n", "1 2 3", "90 28 0:55 / /srv/a rw - fuse.cairn",
                                "90 28 x:y / /a rw - t s o", "90 28 055 / /a rw - t s o", "- - - - - - -"}) {
    EXPECT_TRUE(parseMountTable(line).empty()) << line;
  }
  EXPECT_EQ(parseMountTable("nonsense\n" + std::string(TABLE)).size(), 4u);
  EXPECT_EQ(parseMountTable("1 2 0:1 / /trailing\\04 rw - t s o").at(0).path, "/trailing\\04");
}

TEST(MountTable, TheTableOfThisMachineHasProc) {
  EXPECT_TRUE(mountAt(readMountTable(), "/proc"));  // "/" is no mount in a chroot
}

TEST(MountTable, AMountThatNamesNoMetaserverIsNoneOfOurs) {
  auto isCairn = [](const std::string& source) {
    return parseMountTable("90 28 0:55 / /srv/a rw - fuse.cairn " + source + " rw").at(0).isCairn();
  };
  EXPECT_TRUE(isCairn("host:9400,"));
  EXPECT_FALSE(isCairn(","));
  EXPECT_FALSE(isCairn(",,"));
}

TEST(MountTable, SourceMayNameSeveralMetaservers) {
  EXPECT_EQ(splitAddresses("a:1,b:2"), (std::vector<std::string>{"a:1", "b:2"}));
  EXPECT_EQ(splitAddresses(",a:1,,"), (std::vector<std::string>{"a:1"}));
  EXPECT_TRUE(splitAddresses("").empty());
}

TEST(PathInMount, OfNoMountOfOursIsNoneHoweverItLooks) {
  test::TemporaryDirectory directory;
  auto loop = directory / "loop";
  ASSERT_EQ(symlink("loop", loop.c_str()), 0);
  for (auto& path :
       {directory.path().string(), loop, loop + "/../below", std::string("missing/"), std::string("/")}) {
    EXPECT_FALSE(pathInMount(path)) << path;
  }
}

TEST(MountHolders, AnOpenFileIsFoundWithItsProcess) {
  test::TemporaryDirectory directory;
  auto path = directory / "file";
  int handle = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  auto holders = holdersOf(directory.path().string());
  ASSERT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders[0].pid, getpid());
  EXPECT_EQ(holders[0].what, "has open " + path);
  close(handle);
  EXPECT_TRUE(holdersOf(directory.path().string()).empty());
}

TEST(MountHolders, ADirectoryWithTheSameBeginningIsAnother) {
  test::TemporaryDirectory directory;
  int handle = open((directory / "file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  auto shorter = directory.path().string();
  shorter.pop_back();
  EXPECT_TRUE(holdersOf(shorter).empty());
  close(handle);
}

}  // namespace
}  // namespace cairn::cli
