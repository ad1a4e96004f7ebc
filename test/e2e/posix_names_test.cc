// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Names: creating, linking, renaming, removing, with every refusal, and what lives on without a name.
#include <dirent.h>
#include <linux/fs.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include <set>

#include "test/e2e/posix_fixture.h"

namespace cairn::e2e {
namespace {

POSIX_RULES(Names);

TEST_P(Names, EachRefusalHasItsErrno) {
  ASSERT_EQ(make("f", "x"), 0);
  ASSERT_EQ(makeDirectory("d"), 0);
  ASSERT_EQ(make("d/x"), 0);
  ASSERT_EQ(::symlink("nowhere", c("dangling")), 0);
  ASSERT_EQ(::symlink("loop", c("loop")), 0);

  EXPECT_EQ(make("f"), EEXIST);
  EXPECT_EQ(make("dangling"), EEXIST) << "O_EXCL does not follow";
  EXPECT_EQ(make("none/x"), ENOENT);
  EXPECT_EQ(make("f/x"), ENOTDIR);
  EXPECT_EQ(closing(::open(c("d"), O_WRONLY)), EISDIR);
  EXPECT_EQ(closing(::open(c("d"), O_RDWR | O_CREAT, 0644)), EISDIR);
  EXPECT_EQ(closing(::open(c("f"), O_RDONLY | O_DIRECTORY)), ENOTDIR);
  EXPECT_EQ(closing(::open(c("loop"), O_RDONLY)), ELOOP);
  EXPECT_EQ(closing(::open(c("dangling"), O_RDONLY | O_NOFOLLOW)), ELOOP);
  EXPECT_EQ(closing(::open(c("dangling"), O_RDONLY)), ENOENT);
  EXPECT_EQ(errnoOf(::mkdir(c("d"), 0755)), EEXIST);
  EXPECT_EQ(errnoOf(::mkdir(c("dangling"), 0755)), EEXIST);
  EXPECT_EQ(errnoOf(::rmdir(c("d"))), ENOTEMPTY);
  EXPECT_EQ(errnoOf(::rmdir(c("f"))), ENOTDIR);
  EXPECT_EQ(errnoOf(::rmdir(c("none"))), ENOENT);
  EXPECT_EQ(errnoOf(::rmdir(c("d/."))), EINVAL);
  EXPECT_EQ(errnoOf(::rmdir(c("d/.."))), ENOTEMPTY);
  EXPECT_EQ(errnoOf(::unlink(c("d"))), EISDIR);
  EXPECT_EQ(errnoOf(::unlink(c("none"))), ENOENT);
  EXPECT_EQ(errnoOf(::unlink(c("f/"))), ENOTDIR);
  EXPECT_EQ(errnoOf(::symlink("", c("empty"))), ENOENT);
  EXPECT_EQ(errnoOf(::symlink("x", c("f"))), EEXIST);
  EXPECT_EQ(errnoOf(::link(c("d"), c("d2"))), EPERM);
  EXPECT_EQ(errnoOf(::link(c("f"), c("d"))), EEXIST);
  EXPECT_EQ(errnoOf(::link(c("none"), c("n2"))), ENOENT);
  char buffer[10];
  EXPECT_EQ(errnoOf(::readlink(c("f"), buffer, 10)), EINVAL);
  EXPECT_EQ(errnoOf(::truncate(c("d"), 0)), EISDIR);
  EXPECT_EQ(errnoOf(::truncate(c("f"), -1)), EINVAL);
  EXPECT_EQ(errnoOf(::mknod(c("f"), S_IFIFO | 0644, 0)), EEXIST);
  EXPECT_EQ(errnoOf(::chdir(c("f"))), ENOTDIR);
}

TEST_P(Names, LimitsOfNamesPathsAndTargets) {
  std::string longest(255, 'n'), tooLong(256, 'n');
  EXPECT_EQ(make(longest), 0);
  EXPECT_EQ(make(tooLong), ENAMETOOLONG);
  EXPECT_EQ(errnoOf(::mkdir(c(tooLong), 0755)), ENAMETOOLONG);
  EXPECT_EQ(errnoOf(::rename(c(longest), c(tooLong))), ENAMETOOLONG);
  EXPECT_EQ(errnoOf(::link(c(longest), c(tooLong))), ENAMETOOLONG);
  EXPECT_EQ(errnoOf(::unlink(c(tooLong))), ENAMETOOLONG);
  EXPECT_EQ(errnoOf(::access(c(tooLong), F_OK)), ENAMETOOLONG);
  std::string target(4095, 't');
  EXPECT_EQ(errnoOf(::symlink((target + "t").c_str(), c("s"))), ENAMETOOLONG);
  std::string path = *this / "";
  while (path.size() < 4088) path += "./";
  EXPECT_EQ(errnoOf(::access((path + std::string(4096 - path.size(), 'x')).c_str(), F_OK)), ENAMETOOLONG);
  EXPECT_EQ(errnoOf(::access((path + std::string(4095 - path.size(), 'x')).c_str(), F_OK)), ENOENT);
  for (auto name : {"\n", " ", "\x01\xff\xfe", "ä∂ß", "...", "-rf", "*"}) {
    EXPECT_EQ(make(name, "odd"), 0) << name;
    EXPECT_EQ(contentOf(name), "odd");
  }
}

TEST_P(Names, LongTargetsOfSymlinksAreKept) {
  if (!onCairn()) GTEST_SKIP() << "ext4 keeps a block less";
  std::string target(4095, 't');
  ASSERT_EQ(::symlink(target.c_str(), c("s")), 0);
  char buffer[5000];
  EXPECT_EQ(::readlink(c("s"), buffer, sizeof buffer), 4095);
  EXPECT_EQ(statOf("s").st_size, 4095);
}

TEST_P(Names, FortySymlinksAreFollowedAndNoMore) {
  ASSERT_EQ(make("s0", "end"), 0);
  for (int i = 1; i <= 41; ++i) {
    ASSERT_EQ(::symlink(("s" + std::to_string(i - 1)).c_str(), c("s" + std::to_string(i))), 0);
  }
  EXPECT_EQ(contentOf("s40"), "end");
  EXPECT_EQ(closing(::open(c("s41"), O_RDONLY)), ELOOP);
}

TEST_P(Names, LinksOfDirectoriesCountTheirSubdirectories) {
  ASSERT_EQ(makeDirectory("d"), 0);
  EXPECT_EQ(statOf("d").st_nlink, 2u);
  ASSERT_EQ(makeDirectory("d/a"), 0);
  ASSERT_EQ(makeDirectory("d/b"), 0);
  ASSERT_EQ(make("d/f"), 0);
  EXPECT_EQ(statOf("d").st_nlink, 4u);
  ASSERT_EQ(makeDirectory("e"), 0);
  ASSERT_EQ(::rename(c("d/a"), c("e/a")), 0);
  EXPECT_EQ(statOf("d").st_nlink, 3u);
  EXPECT_EQ(statOf("e").st_nlink, 3u);
  ASSERT_EQ(::rename(c("d/b"), c("e/a")), 0) << "over an empty directory";
  EXPECT_EQ(statOf("d").st_nlink, 2u);
  EXPECT_EQ(statOf("e").st_nlink, 3u);
  ASSERT_EQ(::renameat2(AT_FDCWD, c("d/f"), AT_FDCWD, c("e/a"), RENAME_EXCHANGE), 0);
  EXPECT_EQ(statOf("d").st_nlink, 3u);
  EXPECT_EQ(statOf("e").st_nlink, 2u);
  ASSERT_EQ(::rmdir(c("d/f")), 0);
  EXPECT_EQ(statOf("d").st_nlink, 2u);
}

TEST_P(Names, AFileHasAtMost65000Links) {
  if (!onCairn() || std::getenv("CAIRN_LONG") == nullptr) GTEST_SKIP() << "CAIRN_LONG=1 makes 65,000 links";
  ASSERT_EQ(make("f"), 0);
  ASSERT_EQ(makeDirectory("d"), 0);
  for (int i = 1; i < 65000; ++i)
    ASSERT_EQ(::link(c("f"), (*this / ("d/" + std::to_string(i))).c_str()), 0) << i;
  EXPECT_EQ(errnoOf(::link(c("f"), c("more"))), EMLINK);
}

TEST_P(Names, RenameReplacesAtomicallyWhatMayBeReplaced) {
  ASSERT_EQ(make("f", "F"), 0);
  ASSERT_EQ(make("g", "G"), 0);
  ASSERT_EQ(makeDirectory("d"), 0);
  ASSERT_EQ(makeDirectory("e"), 0);
  ASSERT_EQ(make("e/x"), 0);
  EXPECT_EQ(errnoOf(::rename(c("f"), c("d"))), EISDIR);
  EXPECT_EQ(errnoOf(::rename(c("d"), c("f"))), ENOTDIR);
  EXPECT_EQ(errnoOf(::rename(c("d"), c("e"))), ENOTEMPTY);
  EXPECT_EQ(errnoOf(::rename(c("none"), c("f"))), ENOENT);
  EXPECT_EQ(errnoOf(::rename(c("d"), c("d/in"))), EINVAL);
  EXPECT_EQ(errnoOf(::rename(c("e"), c("e/x/in"))), ENOTDIR);
  EXPECT_EQ(errnoOf(::rename(c("d/."), c("d3"))), EBUSY);
  EXPECT_EQ(errnoOf(::rename(c("f"), c("f/"))), ENOTDIR);
  ASSERT_EQ(makeDirectory("d/sub"), 0);
  EXPECT_EQ(errnoOf(::rename(c("d/sub"), c("d"))), ENOTEMPTY);
  EXPECT_EQ(errnoOf(::rename(c("f"), c("f"))), 0);
  EXPECT_EQ(contentOf("f"), "F");
  ASSERT_EQ(::link(c("f"), c("f2")), 0);
  EXPECT_EQ(::rename(c("f"), c("f2")), 0) << "two names of one inode: nothing happens";
  EXPECT_EQ(statOf("f").st_nlink, 2u);
  int held = ::open(c("g"), O_RDWR);
  EXPECT_EQ(::rename(c("f"), c("g")), 0);
  EXPECT_EQ(contentOf("g"), "F");
  char byte = 0;
  EXPECT_EQ(::pread(held, &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'G') << "who had it open still has it";
  struct stat status;
  ASSERT_EQ(::fstat(held, &status), 0);
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_EQ(::pwrite(held, "H", 1, 0), 1);
  ::close(held);
  ASSERT_EQ(makeDirectory("empty"), 0);
  held = ::open(c("empty"), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(::rename(c("e"), c("empty")), 0);
  ASSERT_EQ(::fstat(held, &status), 0);
  EXPECT_EQ(status.st_nlink, 0u) << "nor is a directory there any more";
  EXPECT_EQ(errnoOf(::fchmod(held, 0700)), 0) << "but who has it open may still change it";
  EXPECT_EQ(errnoOf(::fchown(held, ALICE.uid, ALICE.gid)), 0);
  ASSERT_EQ(::fstat(held, &status), 0);
  EXPECT_EQ(status.st_mode, mode_t(S_IFDIR | 0700));
  EXPECT_EQ(status.st_uid, ALICE.uid);
  EXPECT_EQ(status.st_nlink, 0u);
  ::close(held);
  ASSERT_EQ(::mkfifo(c("fifo"), 0644), 0);
  ASSERT_EQ(::mkfifo(c("fifo2"), 0644), 0);
  held = ::open(c("fifo2"), O_RDWR);
  EXPECT_EQ(::rename(c("fifo"), c("fifo2")), 0);
  EXPECT_EQ(errnoOf(::fchmod(held, 06711)), 0);
  EXPECT_EQ(errnoOf(::fchown(held, -1, ALICE.gid)), 0);
  ASSERT_EQ(::fstat(held, &status), 0);
  EXPECT_EQ(status.st_mode, mode_t(S_IFIFO | 0711));
  EXPECT_EQ(status.st_nlink, 0u);
  ::close(held);
  EXPECT_EQ(errnoOf(::access(c("empty/x"), F_OK)), 0);
}

TEST_P(Names, RenameFlagsAreThoseOfLinux) {
  auto rename2 = [&](const char* from, const char* to, unsigned flags) {
    return errnoOf(::renameat2(AT_FDCWD, c(from), AT_FDCWD, c(to), flags));
  };
  ASSERT_EQ(make("f", "F"), 0);
  ASSERT_EQ(make("g", "G"), 0);
  ASSERT_EQ(makeDirectory("d"), 0);
  ASSERT_EQ(make("d/x", "X"), 0);
  EXPECT_EQ(rename2("f", "g", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(rename2("f", "h", RENAME_NOREPLACE), 0);
  EXPECT_EQ(rename2("h", "none", RENAME_EXCHANGE), ENOENT);
  EXPECT_EQ(rename2("h", "g", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
  EXPECT_EQ(rename2("h", "g", RENAME_EXCHANGE), 0);
  EXPECT_EQ(contentOf("g") + contentOf("h"), "FG");
  EXPECT_EQ(rename2("d", "g", RENAME_EXCHANGE), 0) << "also of different kinds";
  EXPECT_EQ(contentOf("g/x") + contentOf("d"), "XF");
  EXPECT_EQ(rename2("g", "g/x", RENAME_EXCHANGE), EINVAL);
  EXPECT_EQ(rename2("g/x", "g", RENAME_EXCHANGE), EINVAL);
  EXPECT_EQ(rename2("h", "g", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
  EXPECT_EQ(rename2("h", "w", 0x80), EINVAL);
}

TEST_P(Names, AWhiteoutTakesThePlaceOfWhatIsRenamed) {
  ASSERT_EQ(make("f", "F"), 0);
  ASSERT_EQ(make("g", "G"), 0);
  ASSERT_EQ(errnoOf(::renameat2(AT_FDCWD, c("f"), AT_FDCWD, c("g"), RENAME_WHITEOUT)), 0);
  EXPECT_EQ(contentOf("g"), "F");
  auto whiteout = statOf("f");
  EXPECT_TRUE(S_ISCHR(whiteout.st_mode)) << std::oct << whiteout.st_mode;
  EXPECT_EQ(whiteout.st_rdev, makedev(0, 0));
  EXPECT_EQ(whiteout.st_nlink, 1u);
  EXPECT_EQ(::unlink(c("f")), 0);
}

TEST_P(Names, ATemporaryFileHasNoNameUntilItIsLinked) {
  int fd = ::open(c(""), O_TMPFILE | O_RDWR, 0640);
  ASSERT_GE(fd, 0) << strerror(errno);
  ASSERT_EQ(::write(fd, "secret", 6), 6);
  struct stat status;
  ASSERT_EQ(::fstat(fd, &status), 0);
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  auto self = "/proc/self/fd/" + std::to_string(fd);
  ASSERT_EQ(errnoOf(::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, c("named"), AT_SYMLINK_FOLLOW)), 0);
  ASSERT_EQ(::fstat(fd, &status), 0);
  EXPECT_EQ(status.st_nlink, 1u);
  ::close(fd);
  EXPECT_EQ(contentOf("named"), "secret");
  fd = ::open(c(""), O_TMPFILE | O_RDWR | O_EXCL, 0640);
  ASSERT_GE(fd, 0);
  self = "/proc/self/fd/" + std::to_string(fd);
  EXPECT_EQ(errnoOf(::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, c("never"), AT_SYMLINK_FOLLOW)), ENOENT);
  ::close(fd);
  EXPECT_EQ(closing(::open(c("named"), O_TMPFILE | O_RDWR, 0600)), ENOTDIR);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c(""), O_TMPFILE | O_RDWR, 0600)); }), 0);
}

TEST_P(Names, AnUnlinkedFileIsNotLinkedAgain) {
  int fd = ::open(c("f"), O_CREAT | O_RDWR, 0644);
  ASSERT_EQ(::unlink(c("f")), 0);
  auto self = "/proc/self/fd/" + std::to_string(fd);
  EXPECT_EQ(errnoOf(::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, c("again"), AT_SYMLINK_FOLLOW)), ENOENT);
  ::close(fd);
}

TEST_P(Names, WhatIsRemovedWhileItIsHeldStillAnswers) {
  ASSERT_EQ(makeDirectory("d"), 0);
  int directory = ::open(c("d"), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::mkfifo(c("p"), 0644), 0);
  int pipe = ::open(c("p"), O_RDONLY | O_NONBLOCK);
  ASSERT_EQ(::symlink("x", c("s")), 0);
  int link = ::open(c("s"), O_PATH | O_NOFOLLOW);
  ASSERT_EQ(::rmdir(c("d")), 0);
  ASSERT_EQ(::unlink(c("p")), 0);
  ASSERT_EQ(::unlink(c("s")), 0);
  struct stat status;
  EXPECT_EQ(errnoOf(::fstat(directory, &status)), 0);
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_EQ(errnoOf(::fstat(pipe, &status)), 0);
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_EQ(errnoOf(::fstat(link, &status)), 0);
  EXPECT_EQ(errnoOf(::mkdirat(directory, "sub", 0755)), ENOENT);
  EXPECT_EQ(closing(::openat(directory, "f", O_CREAT | O_WRONLY, 0644)), ENOENT);
  auto stream = ::fdopendir(directory);
  errno = 0;
  EXPECT_EQ(::readdir(stream), nullptr);
  EXPECT_EQ(errno, 0) << "an empty directory, not an error";
  ::closedir(stream);
  ::close(pipe), ::close(link);
}

TEST_P(Names, FifosSocketsAndDevicesWork) {
  ASSERT_EQ(::mkfifo(c("p"), 0644), 0);
  int reader = ::open(c("p"), O_RDONLY | O_NONBLOCK), writer = ::open(c("p"), O_WRONLY);
  EXPECT_EQ(::write(writer, "through", 7), 7);
  char buffer[8] = {};
  EXPECT_EQ(::read(reader, buffer, 8), 7);
  EXPECT_STREQ(buffer, "through");
  ::close(reader), ::close(writer);

  // A path that fits into sun_path, whatever the temporary directory is called.
  int where = ::open(c(""), O_PATH | O_DIRECTORY);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/sock", where);
  int server = ::socket(AF_UNIX, SOCK_STREAM, 0), client = ::socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_EQ(errnoOf(::bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address)), 0);
  EXPECT_TRUE(S_ISSOCK(statOf("sock").st_mode));
  EXPECT_EQ(errnoOf(::listen(server, 1)), 0);
  EXPECT_EQ(errnoOf(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address)), 0);
  ::close(server), ::close(client), ::close(where);
  EXPECT_EQ(closing(::open(c("sock"), O_RDONLY)), ENXIO);

  ASSERT_EQ(::mknod(c("null"), S_IFCHR | 0666, makedev(1, 3)), 0);
  EXPECT_EQ(statOf("null").st_rdev, makedev(1, 3));
  EXPECT_EQ(statOf("null").st_size, 0);
  ASSERT_EQ(::mknod(c("block"), S_IFBLK | 0600, makedev(4095, 65535)), 0);
  EXPECT_EQ(statOf("block").st_rdev, makedev(4095, 65535));
}

TEST_P(Names, ListingsAreStableWhileEntriesComeAndGo) {
  ASSERT_EQ(makeDirectory("d"), 0);
  std::set<std::string> stays;
  for (int i = 0; i < 3000; ++i) {
    auto name = "stays-" + std::to_string(i);
    ASSERT_EQ(make("d/" + name), 0);
    stays.insert(name);
  }
  auto directory = ::opendir(c("d"));
  std::multiset<std::string> seen;
  int turn = 0;
  while (auto entry = ::readdir(directory)) {
    if (std::string(entry->d_name).starts_with("stays-")) seen.insert(entry->d_name);
    if (++turn % 10 == 0) ASSERT_EQ(make("d/new-" + std::to_string(turn)), 0);
    if (turn % 20 == 0) ASSERT_EQ(::unlink(c("d/new-" + std::to_string(turn - 10))), 0);
  }
  ::closedir(directory);
  EXPECT_EQ(seen.size(), stays.size()) << "each exactly once";
  EXPECT_TRUE(std::set<std::string>(seen.begin(), seen.end()) == stays);
}

TEST_P(Names, PositionsInAListingCanBeSoughtAgain) {
  ASSERT_EQ(makeDirectory("d"), 0);
  for (int i = 0; i < 500; ++i) ASSERT_EQ(make("d/" + std::to_string(i)), 0);
  auto directory = ::opendir(c("d"));
  std::vector<std::pair<long, std::string>> places;
  for (long at = ::telldir(directory);; at = ::telldir(directory)) {
    auto entry = ::readdir(directory);
    if (entry == nullptr) break;
    places.emplace_back(at, entry->d_name);
  }
  ASSERT_EQ(places.size(), 502u);
  for (size_t i = places.size(); i-- > 0; i -= std::min<size_t>(i, 36)) {
    ::seekdir(directory, places[i].first);
    auto entry = ::readdir(directory);
    ASSERT_NE(entry, nullptr) << i;
    EXPECT_EQ(entry->d_name, places[i].second);
  }
  ::rewinddir(directory);
  size_t again = 0;
  while (::readdir(directory) != nullptr) ++again;
  EXPECT_EQ(again, 502u);
  ::closedir(directory);
}

TEST_P(Names, PositionsInAListingStayWhileEntriesComeAndGo) {
  ASSERT_EQ(makeDirectory("d"), 0);
  for (int i = 0; i < 1500; ++i)
    ASSERT_EQ(make("d/" + std::string(i % 2 ? "stays-" : "goes-") + std::to_string(i)), 0);
  auto directory = ::opendir(c("d"));
  std::vector<std::pair<long, std::string>> places;  // of those that stay: where they come next
  for (long at = ::telldir(directory);; at = ::telldir(directory)) {
    auto entry = ::readdir(directory);
    if (entry == nullptr) break;
    if (std::string(entry->d_name).starts_with("stays-")) places.emplace_back(at, entry->d_name);
  }
  ASSERT_EQ(places.size(), 750u);
  for (int i = 0; i < 1500; i += 2) {
    ASSERT_EQ(::unlink(c("d/goes-" + std::to_string(i))), 0);
    ASSERT_EQ(make("d/comes-" + std::to_string(i)), 0);
  }
  for (size_t i : {size_t(749), size_t(0), size_t(400), size_t(1), size_t(600)}) {
    ::seekdir(directory, places[i].first);
    auto expected = i;
    while (auto entry = ::readdir(directory)) {
      if (!std::string(entry->d_name).starts_with("stays-")) continue;
      ASSERT_LT(expected, places.size());
      ASSERT_EQ(entry->d_name, places[expected++].second) << "from " << i;
    }
    EXPECT_EQ(expected, places.size()) << "from " << i;
  }
  ::closedir(directory);
}

TEST_P(Names, RemovingWhileListingEmptiesADirectory) {
  ASSERT_EQ(makeDirectory("d"), 0);
  for (int i = 0; i < 2500; ++i) ASSERT_EQ(make("d/" + std::to_string(i)), 0);
  auto directory = ::opendir(c("d"));
  while (auto entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.') ASSERT_EQ(::unlink(c("d/" + std::string(entry->d_name))), 0);
  }
  ::closedir(directory);
  EXPECT_EQ(errnoOf(::rmdir(c("d"))), 0);
}

}  // namespace
}  // namespace cairn::e2e
