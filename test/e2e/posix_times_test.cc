// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Which operation moves which of the three times, of what, and by how little: nanoseconds.
#include <dirent.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#include "test/e2e/posix_fixture.h"

namespace cairn::e2e {
namespace {

class TimeRules : public PosixRules {
 protected:
  // What has moved of `name` through `act`: "m", "c", "mc" or "".
  std::string moves(const std::string& name, const std::function<int()>& act) {
    auto from = statOf(name);
    letTimePass();
    EXPECT_EQ(act(), 0) << strerror(errno);
    auto to = statOf(name);
    std::string moved;
    if (!same(from.st_mtim, to.st_mtim)) moved += before(from.st_mtim, to.st_mtim) ? "m" : "m backwards ";
    if (!same(from.st_ctim, to.st_ctim)) moved += before(from.st_ctim, to.st_ctim) ? "c" : "c backwards ";
    return moved;
  }
  void setAccess(const std::string& name, const struct timespec& access) {
    struct timespec times[2] = {access, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
    ASSERT_EQ(::utimensat(AT_FDCWD, c(name), times, AT_SYMLINK_NOFOLLOW), 0);
  }
};
using Times = TimeRules;
INSTANTIATE_TEST_SUITE_P(On, Times, testing::Values(Where::LOCAL_DISK, Where::CAIRN), PosixRules::nameOf);

TEST_P(Times, NamesMoveTheDirectoryAndLinksTheInode) {
  ASSERT_EQ(makeDirectory("d"), 0);
  ASSERT_EQ(makeDirectory("e"), 0);
  EXPECT_EQ(moves("d", [&]() { return make("d/f", ""); }), "mc");
  EXPECT_EQ(moves("d", [&]() { return ::mkdir(c("d/sub"), 0755); }), "mc");
  EXPECT_EQ(moves("d/f", [&]() { return ::link(c("d/f"), c("e/g")); }), "c");
  EXPECT_EQ(moves("e", [&]() { return ::link(c("d/f"), c("e/h")); }), "mc");
  EXPECT_EQ(moves("d", [&]() { return ::link(c("d/f"), c("e/i")); }), "");
  EXPECT_EQ(moves("d/f", [&]() { return ::unlink(c("e/g")); }), "c");
  EXPECT_EQ(moves("e", [&]() { return ::unlink(c("e/h")); }), "mc");
  EXPECT_EQ(moves("d", [&]() { return ::rmdir(c("d/sub")); }), "mc");
  EXPECT_EQ(moves("d", [&]() { return ::symlink("f", c("d/s")); }), "mc");
  EXPECT_EQ(moves("d", [&]() { return ::mkfifo(c("d/p"), 0644); }), "mc");
}

TEST_P(Times, RenameMovesBothDirectoriesAndWhatIsRenamed) {
  ASSERT_EQ(makeDirectory("d"), 0);
  ASSERT_EQ(makeDirectory("e"), 0);
  ASSERT_EQ(make("d/f"), 0);
  EXPECT_EQ(moves("d", [&]() { return ::rename(c("d/f"), c("e/f")); }), "mc");
  EXPECT_EQ(moves("e", [&]() { return ::rename(c("e/f"), c("d/f")); }), "mc");
  auto from = statOf("d/f");
  letTimePass();
  ASSERT_EQ(::rename(c("d/f"), c("d/g")), 0);
  auto to = statOf("d/g");
  EXPECT_TRUE(same(from.st_mtim, to.st_mtim));
  EXPECT_TRUE(before(from.st_ctim, to.st_ctim));
}

TEST_P(Times, AttributesMoveTheChangeTimeOnly) {
  ASSERT_EQ(make("f", "content"), 0);
  EXPECT_EQ(moves("f", [&]() { return ::chmod(c("f"), 0600); }), "c");
  EXPECT_EQ(moves("f", [&]() { return ::chmod(c("f"), 0600); }), "c") << "also when nothing changes";
  EXPECT_EQ(moves("f", [&]() { return ::chown(c("f"), 1, 2); }), "c");
  EXPECT_EQ(moves("f", [&]() { return ::setxattr(c("f"), "user.x", "1", 1, 0); }), "c");
  EXPECT_EQ(moves("f", [&]() { return ::removexattr(c("f"), "user.x"); }), "c");
  const struct timespec access[2] = {{.tv_sec = 9, .tv_nsec = 9}, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  EXPECT_EQ(moves("f", [&]() { return ::utimensat(AT_FDCWD, c("f"), access, 0); }), "c");
}

TEST_P(Times, WritesAndTruncatesMoveBoth) {
  ASSERT_EQ(make("f", "content"), 0);
  int fd = ::open(c("f"), O_RDWR);
  EXPECT_EQ(moves("f", [&]() { return ::pwrite(fd, "C", 1, 0) == 1 ? 0 : -1; }), "mc");
  EXPECT_EQ(moves("f", [&]() { return ::pwrite(fd, "C", 0, 0) == 0 ? 0 : -1; }), "") << "nothing written";
  EXPECT_EQ(moves("f", [&]() { return ::ftruncate(fd, 3); }), "mc");
  EXPECT_EQ(moves("f", [&]() { return ::ftruncate(fd, 3); }), "mc") << "ftruncate to the same size";
  EXPECT_EQ(moves("f", [&]() { return ::truncate(c("f"), 9); }), "mc");
  EXPECT_EQ(moves("f", [&]() { return ::fsync(fd); }), "");
  EXPECT_EQ(moves("f", [&]() { return ::close(fd); }), "");
  EXPECT_EQ(moves("f", [&]() { return closing(::open(c("f"), O_WRONLY)); }), "") << "opening is no write";
  EXPECT_EQ(moves("f", [&]() { return closing(::open(c("f"), O_WRONLY | O_TRUNC)); }), "mc");
  EXPECT_EQ(moves("f", [&]() { return closing(::open(c("f"), O_WRONLY | O_TRUNC)); }), "mc")
      << "also when empty";
}

TEST_P(Times, AfterAWriteTheTimesStandStill) {
  // Build tools and git compare what they saw with what they see: closing, publishing and syncing move
  // nothing.
  int fd = ::open(c("f"), O_CREAT | O_RDWR, 0644);
  ASSERT_EQ(::write(fd, "x", 1), 1);
  auto written = statOf("f");
  EXPECT_TRUE(same(written.st_mtim, written.st_ctim));
  letTimePass();
  ASSERT_EQ(::fsync(fd), 0);
  ::close(fd);
  ::usleep(1'200'000);  // longer than a length may wait to be published, and than attributes are cached
  auto later = statOf("f");
  EXPECT_TRUE(same(written.st_mtim, later.st_mtim));
  EXPECT_TRUE(same(written.st_ctim, later.st_ctim));
}

TEST_P(Times, SetTimesAreKeptToTheNanosecondAlsoThroughLaterCloses) {
  int fd = ::open(c("f"), O_CREAT | O_RDWR, 0644);
  ASSERT_EQ(::write(fd, "x", 1), 1);
  const struct timespec times[2] = {{.tv_sec = 1000000001, .tv_nsec = 123456789},
                                    {.tv_sec = -1, .tv_nsec = 999999999}};
  ASSERT_EQ(::futimens(fd, times), 0);
  ::close(fd);
  auto status = statOf("f");
  EXPECT_EQ(status.st_atim.tv_sec, 1000000001);
  EXPECT_EQ(status.st_atim.tv_nsec, 123456789);
  EXPECT_EQ(status.st_mtim.tv_sec, -1);
  EXPECT_EQ(status.st_mtim.tv_nsec, 999999999);
}

TEST_P(Times, ReadingMovesTheAccessTimeAsRelatimeSays) {
  ASSERT_EQ(make("f", "content"), 0);
  auto fresh = statOf("f");
  letTimePass();
  EXPECT_EQ(contentOf("f"), "content");
  auto read = statOf("f");
  EXPECT_TRUE(before(fresh.st_atim, read.st_atim)) << "it was not newer than the last change";
  EXPECT_TRUE(same(fresh.st_ctim, read.st_ctim)) << "reading is no change";
  letTimePass();
  EXPECT_EQ(contentOf("f"), "content");
  EXPECT_TRUE(same(read.st_atim, statOf("f").st_atim)) << "it is newer than the last change and of today";

  setAccess("f", {.tv_sec = fresh.st_atim.tv_sec - 100000, .tv_nsec = 7});
  ASSERT_EQ(statOf("f").st_atim.tv_nsec, 7);
  EXPECT_EQ(contentOf("f"), "content");
  EXPECT_FALSE(before(statOf("f").st_atim, fresh.st_atim)) << "it was older than a day";
}

TEST_P(Times, ListingAndFollowingMoveTheAccessTimeToo) {
  ASSERT_EQ(makeDirectory("d"), 0);
  ASSERT_EQ(make("d/f"), 0);
  auto fresh = statOf("d");
  letTimePass();
  auto directory = ::opendir(c("d"));
  while (::readdir(directory) != nullptr) continue;
  ::closedir(directory);
  EXPECT_TRUE(before(fresh.st_atim, statOf("d").st_atim));

  ASSERT_EQ(::symlink("d", c("s")), 0);
  setAccess("s", {.tv_sec = 1000, .tv_nsec = 7});
  char target[10];
  ASSERT_EQ(::readlink(c("s"), target, sizeof target), 1);
  EXPECT_GT(statOf("s").st_atim.tv_sec, 1000);
}

TEST_P(Times, ReadersWhoAskForItLeaveNoTrace) {
  ASSERT_EQ(make("f", "content"), 0);
  setAccess("f", {.tv_sec = 1000, .tv_nsec = 7});
  int fd = ::open(c("f"), O_RDONLY | O_NOATIME);
  ASSERT_GE(fd, 0) << strerror(errno);
  char byte;
  EXPECT_EQ(::read(fd, &byte, 1), 1);
  ::close(fd);
  EXPECT_EQ(statOf("f").st_atim.tv_sec, 1000);
  EXPECT_EQ(statOf("f").st_atim.tv_nsec, 7);
}

TEST_P(Times, StoresThroughAMappingMoveTheTimesBySyncAtTheLatest) {
  ASSERT_EQ(make("f", std::string(8192, 'x')), 0);
  int fd = ::open(c("f"), O_RDWR);
  auto memory = static_cast<char*>(::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_EQ(moves("f",
                  [&]() {
                    memory[100] = 'y';
                    return ::msync(memory, 8192, MS_SYNC);
                  }),
            "mc");
  ::munmap(memory, 8192);
  ::close(fd);
}

}  // namespace
}  // namespace cairn::e2e
