// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Who may do what: owner, group, supplementary groups, sticky directories, setuid and setgid bits.
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <filesystem>

#include "test/e2e/posix_fixture.h"

namespace cairn::e2e {
namespace {

POSIX_RULES(Rights);

TEST_P(Rights, OwnerGroupAndOthersHaveTheirOwnBits) {
  ASSERT_EQ(make("f", "x", 0640), 0);
  ASSERT_EQ(::chown(c("f"), ALICE.uid, ALICE.gid), 0);
  EXPECT_EQ(as(ALICE, [&]() { return closing(::open(c("f"), O_RDWR)); }), 0);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_RDONLY)); }), EACCES);
  ASSERT_EQ(::chmod(c("f"), 0606), 0);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_RDWR)); }), 0);
  ASSERT_EQ(::chmod(c("f"), 0066), 0);
  EXPECT_EQ(as(ALICE, [&]() { return closing(::open(c("f"), O_RDONLY)); }), EACCES)
      << "the owner's bits, no others";
}

TEST_P(Rights, ASupplementaryGroupCounts) {
  ASSERT_EQ(make("f", "x", 0060), 0);
  ASSERT_EQ(::chown(c("f"), 0, SHARED_GROUP), 0);
  EXPECT_EQ(as(ALICE, [&]() { return closing(::open(c("f"), O_RDWR)); }), 0);
  EXPECT_EQ(as(CAROL, [&]() { return closing(::open(c("f"), O_RDWR)); }), 0);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_RDONLY)); }), EACCES);
  ASSERT_EQ(makeDirectory("d", 0770), 0);
  ASSERT_EQ(::chown(c("d"), 0, SHARED_GROUP), 0);
  EXPECT_EQ(as(ALICE, [&]() { return closing(::open(c("d/new"), O_CREAT | O_WRONLY, 0600)); }), 0);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::mkdir(c("d/no"), 0700)); }), EACCES);
}

TEST_P(Rights, DirectoriesNeedSearchWriteAndRead) {
  ASSERT_EQ(makeDirectory("d", 0755), 0);
  ASSERT_EQ(make("d/f", "x", 0666), 0);
  auto asBob = [&](std::function<int()> body) { return as(BOB, body); };
  EXPECT_EQ(asBob([&]() { return errnoOf(::unlink(c("d/f"))); }), EACCES);
  EXPECT_EQ(asBob([&]() { return errnoOf(::rename(c("d/f"), c("d/g"))); }), EACCES);
  EXPECT_EQ(asBob([&]() { return errnoOf(::mkdir(c("d/e"), 0755)); }), EACCES);
  EXPECT_EQ(asBob([&]() { return errnoOf(::link(c("d/f"), c("d/h"))); }), EACCES);
  EXPECT_EQ(asBob([&]() { return errnoOf(::symlink("f", c("d/s"))); }), EACCES);
  EXPECT_EQ(asBob([&]() { return closing(::open(c("d/f"), O_RDWR)); }), 0);
  ASSERT_EQ(::chmod(c("d"), 0744), 0);
  EXPECT_EQ(asBob([&]() { return closing(::open(c("d"), O_RDONLY | O_DIRECTORY)); }), 0);
  EXPECT_EQ(asBob([&]() { return closing(::open(c("d/f"), O_RDONLY)); }), EACCES) << "no search";
  ASSERT_EQ(::chmod(c("d"), 0711), 0);
  EXPECT_EQ(asBob([&]() { return closing(::open(c("d"), O_RDONLY | O_DIRECTORY)); }), EACCES) << "no read";
  EXPECT_EQ(asBob([&]() { return closing(::open(c("d/f"), O_RDONLY)); }), 0);
  EXPECT_EQ(asBob([&]() { return errnoOf(::access(c("d/f"), X_OK)); }), EACCES);
}

TEST_P(Rights, InAStickyDirectoryOnlyOwnersRemove) {
  ASSERT_EQ(makeDirectory("tmp", 01777), 0);
  ASSERT_EQ(as(ALICE, [&]() { return closing(::open(c("tmp/hers"), O_CREAT | O_WRONLY, 0666)); }), 0);
  ASSERT_EQ(as(BOB, [&]() { return closing(::open(c("tmp/his"), O_CREAT | O_WRONLY, 0666)); }), 0);
  ASSERT_EQ(as(ALICE, [&]() { return errnoOf(::mkdir(c("tmp/d"), 0777)); }), 0);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::unlink(c("tmp/hers"))); }), EPERM);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::rename(c("tmp/hers"), c("tmp/other"))); }), EPERM);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::rename(c("tmp/his"), c("tmp/hers"))); }), EPERM);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::rmdir(c("tmp/d"))); }), EPERM);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::rename(c("tmp/his"), c("tmp/his2"))); }), 0);
  EXPECT_EQ(as(ALICE, [&]() { return errnoOf(::unlink(c("tmp/hers"))); }), 0);
  ASSERT_EQ(::chown(c("tmp"), ALICE.uid, ALICE.gid), 0);
  EXPECT_EQ(as(ALICE, [&]() { return errnoOf(::unlink(c("tmp/his2"))); }), 0) << "she owns the directory";
}

TEST_P(Rights, OnlyRootGivesFilesAwayAndOwnersChangeToTheirGroups) {
  ASSERT_EQ(make("f", "x", 0644), 0);
  ASSERT_EQ(::chown(c("f"), ALICE.uid, ALICE.gid), 0);
  EXPECT_EQ(as(ALICE, [&]() { return errnoOf(::chown(c("f"), BOB.uid, -1)); }), EPERM);
  EXPECT_EQ(as(ALICE, [&]() { return errnoOf(::chown(c("f"), -1, BOB.gid)); }), EPERM);
  EXPECT_EQ(as(ALICE, [&]() { return errnoOf(::chown(c("f"), -1, SHARED_GROUP)); }), 0);
  EXPECT_EQ(statOf("f").st_gid, SHARED_GROUP);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::chown(c("f"), -1, BOB.gid)); }), EPERM);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::chmod(c("f"), 0777)); }), EPERM);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::chown(c("f"), -1, -1)); }), 0);
}

TEST_P(Rights, TimesAreSetByOwnersAndNowByWriters) {
  ASSERT_EQ(make("f", "x", 0666), 0);
  ASSERT_EQ(::chown(c("f"), ALICE.uid, ALICE.gid), 0);
  const struct timespec fixed[2] = {{.tv_sec = 5, .tv_nsec = 6}, {.tv_sec = 7, .tv_nsec = 8}};
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::utimensat(AT_FDCWD, c("f"), fixed, 0)); }), EPERM);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::utimensat(AT_FDCWD, c("f"), nullptr, 0)); }), 0);
  EXPECT_EQ(as(ALICE, [&]() { return errnoOf(::utimensat(AT_FDCWD, c("f"), fixed, 0)); }), 0);
  EXPECT_EQ(statOf("f").st_mtim.tv_nsec, 8);
  ASSERT_EQ(::chmod(c("f"), 0644), 0);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::utimensat(AT_FDCWD, c("f"), nullptr, 0)); }), EACCES);
}

TEST_P(Rights, ChownTakesSetuidAndSetgidAlsoFromRoot) {
  for (mode_t mode : {04755, 02755, 06755, 06745, 02745}) {
    auto name = "f" + std::to_string(mode);
    ASSERT_EQ(make(name, "x"), 0);
    ASSERT_EQ(::chmod(c(name), mode), 0);
    ASSERT_EQ(::chown(c(name), ALICE.uid, ALICE.gid), 0);
    // setgid without group execution is no privilege (it was mandatory locking once)
    EXPECT_EQ(modeOf(name), mode & 010 ? mode & ~06000u : mode & ~04000u) << std::oct << mode;
  }
  for (mode_t mode : {04755, 02755, 06745}) {
    // Also when it changes neither.
    auto name = "g" + std::to_string(mode);
    ASSERT_EQ(make(name, "x"), 0);
    ASSERT_EQ(::chmod(c(name), mode), 0);
    ASSERT_EQ(::chown(c(name), -1, -1), 0);
    EXPECT_EQ(modeOf(name), mode & 010 ? mode & ~06000u : mode & ~04000u) << std::oct << mode;
    ASSERT_EQ(::chmod(c(name), mode), 0);
    as(BOB, [&]() { return errnoOf(::chown(c(name), -1, -1)); });
    EXPECT_EQ(modeOf(name), mode) << "but not by somebody else";
  }
  ASSERT_EQ(makeDirectory("d", 06755), 0);
  ASSERT_EQ(::chown(c("d"), -1, -1), 0);
  EXPECT_EQ(modeOf("d"), 06755u);
  ASSERT_EQ(::chown(c("d"), ALICE.uid, ALICE.gid), 0);
  EXPECT_EQ(modeOf("d"), 06755u) << "of a directory they mean something else";
}

TEST_P(Rights, WritesAndTruncatesOfOthersTakeSetuidAndSetgid) {
  using Act = std::function<int(int fd)>;
  // Large enough to be copied without the kernel.
  ASSERT_EQ(make("source", std::string(2 << 20, 's')), 0);
  const Act acts[] = {
      [](int fd) { return errnoOf(::write(fd, "y", 1)); },
      [](int fd) { return errnoOf(::ftruncate(fd, 0)); },
      [](int fd) { return errnoOf(::pwrite(fd, "yy", 2, 100000)); },
      [](int fd) { return errnoOf(::fallocate(fd, 0, 0, 100)); },
      [](int fd) { return errnoOf(::fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 10000)); },
      [](int fd) { return errnoOf(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096)); },
      [&](int fd) {
        int source = ::open(c("source"), O_RDONLY);
        auto copied = ::copy_file_range(source, nullptr, fd, nullptr, 2 << 20, 0);
        return copied == 2 << 20 ? closing(source) : copied < 0 ? errno : EIO;
      }};
  for (size_t i = 0; i < std::size(acts); ++i) {
    auto name = "f" + std::to_string(i);
    ASSERT_EQ(make(name, "content"), 0);
    ASSERT_EQ(::chmod(c(name), 06777), 0);
    int fd = ::open(c(name), O_WRONLY);
    ASSERT_EQ(acts[i](fd), 0);
    ::close(fd);
    EXPECT_EQ(modeOf(name), 06777u) << "root keeps them, act " << i;
    EXPECT_EQ(as(BOB,
                 [&]() {
                   int fd = ::open(c(name), O_WRONLY);
                   return fd < 0 ? errno : acts[i](fd);
                 }),
              0);
    EXPECT_EQ(modeOf(name), 0777u) << "act " << i;
  }
}

TEST_P(Rights, OpeningWithTruncationTakesSetuid) {
  ASSERT_EQ(make("f", "content"), 0);
  ASSERT_EQ(::chmod(c("f"), 06777), 0);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_WRONLY | O_TRUNC)); }), 0);
  EXPECT_EQ(modeOf("f"), 0777u);
}

TEST_P(Rights, ASetgidDirectoryPassesItsGroupOn) {
  ASSERT_EQ(makeDirectory("d", 0777), 0);
  ASSERT_EQ(::chown(c("d"), 0, SHARED_GROUP), 0);
  ASSERT_EQ(::chmod(c("d"), 02777), 0);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("d/f"), O_CREAT | O_WRONLY, 0644)); }), 0);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::mkdir(c("d/e"), 0755)); }), 0);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::symlink("f", c("d/s"))); }), 0);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::mkfifo(c("d/p"), 0644)); }), 0);
  for (auto name : {"d/f", "d/e", "d/s", "d/p"}) EXPECT_EQ(statOf(name).st_gid, SHARED_GROUP) << name;
  EXPECT_EQ(modeOf("d/e"), 02755u) << "a directory passes the bit on as well";
  EXPECT_EQ(modeOf("d/f"), 0644u);
  ASSERT_EQ(make("plain", "x"), 0);
  EXPECT_EQ(statOf("plain").st_gid, 0u) << "elsewhere it is the group of the process";
}

TEST_P(Rights, SetgidNeedsMembership) {
  ASSERT_EQ(make("f", "x", 0644), 0);
  ASSERT_EQ(::chown(c("f"), BOB.uid, SHARED_GROUP), 0);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::chmod(c("f"), 02755)); }), 0);
  EXPECT_EQ(modeOf("f"), 0755u) << "chmod by one who is not in the group drops the bit";
  ASSERT_EQ(::chown(c("f"), CAROL.uid, SHARED_GROUP), 0);
  EXPECT_EQ(as(CAROL, [&]() { return errnoOf(::chmod(c("f"), 02755)); }), 0);
  EXPECT_EQ(modeOf("f"), 02755u);
  ASSERT_EQ(makeDirectory("d", 0777), 0);
  ASSERT_EQ(::chown(c("d"), 0, SHARED_GROUP), 0);
  ASSERT_EQ(::chmod(c("d"), 02777), 0);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("d/g"), O_CREAT | O_WRONLY, 02775)); }), 0);
  EXPECT_EQ(modeOf("d/g"), 0755u);
}

TEST_P(Rights, ReadOnlyFilesMayBeCreatedForWriting) {
  // The mode counts for later opens (POSIX open()): a lock file of git is made like this.
  EXPECT_EQ(as(BOB,
               [&]() {
                 int fd = ::open(c("f"), O_CREAT | O_EXCL | O_WRONLY, 0444);
                 return fd < 0 ? errno : errnoOf(::write(fd, "x", 1));
               }),
            0);
  EXPECT_EQ(as(BOB, [&]() { return closing(::open(c("f"), O_WRONLY)); }), EACCES);
  EXPECT_EQ(contentOf("f"), "x");
}

TEST_P(Rights, TheUmaskIsTakenFromNewNodes) {
  ::umask(027);
  ASSERT_EQ(closing(::open(c("f"), O_CREAT | O_WRONLY, 0666)), 0);
  ASSERT_EQ(::mkdir(c("d"), 0777), 0);
  ASSERT_EQ(::mkfifo(c("p"), 0666), 0);
  ::umask(0);
  EXPECT_EQ(modeOf("f"), 0640u);
  EXPECT_EQ(modeOf("d"), 0750u);
  EXPECT_EQ(modeOf("p"), 0640u);
}

TEST_P(Rights, DevicesNeedPrivilege) {
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::mknod(c("null"), S_IFCHR | 0666, 0x103)); }), EPERM);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::mknod(c("pipe"), S_IFIFO | 0666, 0)); }), 0);
  EXPECT_EQ(as(BOB, [&]() { return errnoOf(::mknod(c("sock"), S_IFSOCK | 0666, 0)); }), 0);
}

TEST_P(Rights, WhatRunsCannotBeWritten) {
  ASSERT_OK(
      shell("cp /bin/sleep " + quoted(*this / "program") + " && chmod 755 " + quoted(*this / "program")));
  test::Process running({*this / "program", "60"});
  ASSERT_TRUE(test::eventually(5s, [&]() {
    std::error_code error;
    return std::filesystem::read_symlink("/proc/" + std::to_string(running.pid()) + "/exe", error) ==
           *this / "program";
  }));
  EXPECT_EQ(closing(::open(c("program"), O_WRONLY)), ETXTBSY);
  EXPECT_EQ(errnoOf(::truncate(c("program"), 0)), ETXTBSY);
  running.signal(SIGKILL);
  running.wait();
  EXPECT_EQ(closing(::open(c("program"), O_WRONLY)), 0);
  int fd = ::open(c("program"), O_WRONLY);
  auto refused = test::run({*this / "program", "0"});
  EXPECT_NE(refused.code, 0) << "what is open for writing cannot be run";
  ::close(fd);
  EXPECT_OK(test::run({*this / "program", "0"}));
}

TEST_P(Rights, AReadOnlyMountRefusesChangesAndReads) {
  ASSERT_EQ(make("f", "content"), 0);
  auto second = cluster().scratch("readonly");
  ::mkdir(second.c_str(), 0755);
  std::string file;
  if (onCairn()) {
    ASSERT_OK(test::run({program("mount.cairn"), cluster().address(), second, "-o", "ro"}));
    file = second + directory.substr(cluster().mount().size()) + "/f";
  } else {
    ASSERT_EQ(::mount(directory.c_str(), second.c_str(), nullptr, MS_BIND, nullptr), 0);
    ASSERT_EQ(::mount(nullptr, second.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr), 0);
    file = second + "/f";
  }
  auto path = file.c_str();
  EXPECT_EQ(readFile(file), "content");
  EXPECT_EQ(closing(::open(path, O_WRONLY)), EROFS);
  EXPECT_EQ(closing(::open((file + "2").c_str(), O_CREAT | O_WRONLY, 0644)), EROFS);
  EXPECT_EQ(errnoOf(::unlink(path)), EROFS);
  EXPECT_EQ(errnoOf(::mkdir((file + "d").c_str(), 0755)), EROFS);
  EXPECT_EQ(errnoOf(::chmod(path, 0600)), EROFS);
  EXPECT_EQ(errnoOf(::truncate(path, 0)), EROFS);
  EXPECT_EQ(errnoOf(::rename(path, (file + "3").c_str())), EROFS);
  EXPECT_EQ(errnoOf(::utimensat(AT_FDCWD, path, nullptr, 0)), EROFS);
  EXPECT_EQ(errnoOf(::access(path, W_OK)), EROFS);
  EXPECT_EQ(::umount(second.c_str()), 0);
}

}  // namespace
}  // namespace cairn::e2e
