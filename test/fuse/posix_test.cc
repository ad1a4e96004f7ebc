// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What POSIX promises, through a real mount: names, attributes, contents, errors.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "test/fuse/mounted.h"

namespace cairn::fuse {
namespace {

class Posix : public Mounted {};

std::string pattern(size_t size, unsigned seed) {
  std::string result(size, 0);
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (size_t i = 0; i + 8 <= size; i += 8) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    memcpy(&result[i], &state, 8);
  }
  return result;
}

struct stat statOf(const std::string& path) {
  struct stat result = {};
  EXPECT_EQ(lstat(path.c_str(), &result), 0) << path << ": " << strerror(errno);
  return result;
}

TEST_F(Posix, WhatWasWrittenIsRead) {
  writeAll("a", "hello");
  EXPECT_EQ(readAll("a"), "hello");
  EXPECT_EQ(statOf(path("a")).st_size, 5);
}

TEST_F(Posix, LargeFilesComeBackBitForBit) {
  auto content = pattern((20 << 20) + 12345, 7);
  writeAll("big", content);
  EXPECT_TRUE(readAll("big") == content);
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
    EXPECT_TRUE(memory.contentOf(memory.find("big")) == content);
    EXPECT_GE(memory.bytesHandedOver(), 20u << 20) << "large writes arrive in the buffer the kernel filled";
  });
}

TEST_F(Posix, WritesAtAnyOffsetAndSizeEndUpWhereTheyBelong) {
  std::string model;
  int fd = open(path("random").c_str(), O_RDWR | O_CREAT, 0644);
  ASSERT_GE(fd, 0);
  unsigned random = 12345;
  for (int i = 0; i < 300; ++i) {
    random = random * 1103515245 + 12345;
    size_t offset = random % (3 << 20), size = 1 + (random >> 7) % (i % 10 == 0 ? 700000 : 9000);
    auto data = pattern(size + 8, i).substr(0, size);
    if (model.size() < offset + size) model.resize(offset + size);
    model.replace(offset, size, data);
    ASSERT_EQ(pwrite(fd, data.data(), size, offset), ssize_t(size));
  }
  close(fd);
  EXPECT_TRUE(readAll("random") == model);
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
    EXPECT_TRUE(memory.contentOf(memory.find("random")) == model);
  });
}

TEST_F(Posix, HolesReadAsZeros) {
  int fd = open(path("hole").c_str(), O_RDWR | O_CREAT, 0644);
  ASSERT_EQ(pwrite(fd, "end", 3, 5 << 20), 3);
  close(fd);
  auto content = readAll("hole");
  ASSERT_EQ(content.size(), (5u << 20) + 3);
  EXPECT_EQ(content.find_first_not_of('\0'), 5u << 20);
}

TEST_F(Posix, DirectIoReadsAndWritesPastTheCache) {
  int fd = open(path("direct").c_str(), O_RDWR | O_CREAT | O_DIRECT, 0644);
  ASSERT_GE(fd, 0) << strerror(errno);
  void* memory = nullptr;
  ASSERT_EQ(posix_memalign(&memory, 4096, 4 << 20), 0);
  auto content = pattern(4 << 20, 3);
  memcpy(memory, content.data(), content.size());
  ASSERT_EQ(pwrite(fd, memory, 4 << 20, 0), 4 << 20);
  memset(memory, 0, 4 << 20);
  ASSERT_EQ(pread(fd, memory, 4 << 20, 0), 4 << 20);
  EXPECT_EQ(memcmp(memory, content.data(), content.size()), 0);
  free(memory);
  close(fd);
}

TEST_F(Posix, OpenTruncEmptiesAndTruncateCutsAndGrows) {
  writeAll("t", "0123456789");
  ASSERT_EQ(truncate(path("t").c_str(), 4), 0);
  EXPECT_EQ(readAll("t"), "0123");
  ASSERT_EQ(truncate(path("t").c_str(), 6), 0);
  EXPECT_EQ(readAll("t"), std::string("0123\0\0", 6));
  int fd = open(path("t").c_str(), O_WRONLY | O_TRUNC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(statOf(path("t")).st_size, 0);
  ASSERT_EQ(ftruncate(fd, 3), 0);
  close(fd);
  EXPECT_EQ(readAll("t"), std::string(3, '\0'));
}

TEST_F(Posix, AppendsGoToTheEnd) {
  writeAll("log", "one ");
  int fd = open(path("log").c_str(), O_WRONLY | O_APPEND),
      other = open(path("log").c_str(), O_WRONLY | O_APPEND);
  ASSERT_EQ(write(fd, "two ", 4), 4);
  ASSERT_EQ(write(other, "three ", 6), 6);
  ASSERT_EQ(write(fd, "four", 4), 4);
  close(fd), close(other);
  EXPECT_EQ(readAll("log"), "one two three four");
}

TEST_F(Posix, AppendGoesBehindWhatTheLibraryKnowsOfAnotherClient) {
  writeAll("log", "one ");
  int fd = open(path("log").c_str(), O_WRONLY | O_APPEND);
  ASSERT_GE(fd, 0);
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
    memory.appendElsewhere(memory.find("log"), "elsewhere ");
  });
  ASSERT_EQ(write(fd, "two", 3), 3);
  close(fd);
  EXPECT_EQ(readAll("log"), "one elsewhere two");
}

TEST_F(Posix, SyncWritesAreSyncedBeforeTheyReturn) {
  int fd = open(path("s").c_str(), O_WRONLY | O_CREAT | O_DSYNC, 0644);
  ASSERT_EQ(write(fd, "x", 1), 1);
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) { EXPECT_GE(memory.calls["sync"], 1u); });
  close(fd);
}

TEST_F(Posix, FsyncReachesTheLibraryForFilesAndDirectories) {
  int fd = open(path("s").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_EQ(fsync(fd), 0);
  ASSERT_EQ(fdatasync(fd), 0);
  close(fd);
  int directory = open(path().c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(fsync(directory), 0);
  close(directory);
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
    EXPECT_EQ(memory.calls["sync"], 2u);
    EXPECT_EQ(memory.calls["syncNames"], 1u);
  });
}

TEST_F(Posix, CloseTellsWhatWriteBehindMet) {
  int fd = open(path("full").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_EQ(write(fd, "x", 1), 1);
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
    memory.failNextFlush(memory.find("full"), Status::NO_SPACE);
  });
  EXPECT_EQ(close(fd), -1);
  EXPECT_EQ(errno, ENOSPC);
}

TEST_F(Posix, ClosingWhatWasOnlyReadAsksNobody) {
  writeAll("r", "x");
  auto before = onLoop([](MemoryFilesystem& memory, SessionLoop&) { return memory.calls["flush"]; });
  EXPECT_EQ(readAll("r"), "x");
  EXPECT_EQ(onLoop([](MemoryFilesystem& memory, SessionLoop&) { return memory.calls["flush"]; }), before);
}

TEST_F(Posix, MappingsReadAndWrite) {
  auto content = pattern(3 << 20, 9);
  writeAll("map", content);
  EXPECT_EQ(inChild([&]() {
              int fd = open(path("map").c_str(), O_RDWR);
              auto bytes =
                  static_cast<char*>(mmap(nullptr, 3 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
              if (bytes == MAP_FAILED) return 1;
              if (memcmp(bytes, content.data(), content.size()) != 0) return 2;
              memcpy(bytes + 100000, "written through the mapping", 27);
              if (msync(bytes, 3 << 20, MS_SYNC) != 0) return 3;
              memcpy(bytes + 2000000, "written back after close", 24);
              close(fd);
              return 0;
            }),
            0);
  content.replace(100000, 27, "written through the mapping").replace(2000000, 24, "written back after close");
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) { EXPECT_GE(memory.calls["sync"], 1u); });
  unmount();
}

TEST_F(Posix, NamesComeAndGo) {
  ASSERT_EQ(mkdir(path("d").c_str(), 0750), 0);
  EXPECT_EQ(statOf(path("d")).st_mode, mode_t(S_IFDIR | 0750));
  EXPECT_EQ(statOf(path()).st_nlink, 3u);
  writeAll("d/f", "x");
  EXPECT_EQ(rmdir(path("d").c_str()), -1);
  EXPECT_EQ(errno, ENOTEMPTY);
  EXPECT_EQ(unlink(path("d").c_str()), -1);
  EXPECT_EQ(errno, EISDIR);
  ASSERT_EQ(unlink(path("d/f").c_str()), 0);
  EXPECT_EQ(access(path("d/f").c_str(), F_OK), -1);
  EXPECT_EQ(errno, ENOENT);
  ASSERT_EQ(rmdir(path("d").c_str()), 0);
  EXPECT_EQ(statOf(path()).st_nlink, 2u);
}

TEST_F(Posix, RenameReplacesExchangesAndRefuses) {
  writeAll("a", "A"), writeAll("b", "B");
  EXPECT_EQ(renameat2(AT_FDCWD, path("a").c_str(), AT_FDCWD, path("b").c_str(), RENAME_NOREPLACE), -1);
  EXPECT_EQ(errno, EEXIST);
  ASSERT_EQ(renameat2(AT_FDCWD, path("a").c_str(), AT_FDCWD, path("b").c_str(), RENAME_EXCHANGE), 0);
  EXPECT_EQ(readAll("a"), "B");
  ASSERT_EQ(rename(path("a").c_str(), path("b").c_str()), 0);
  EXPECT_EQ(readAll("b"), "B");
  EXPECT_EQ(access(path("a").c_str(), F_OK), -1);
  ASSERT_EQ(mkdir(path("d").c_str(), 0755), 0);
  ASSERT_EQ(mkdir(path("d/e").c_str(), 0755), 0);
  EXPECT_EQ(rename(path("d").c_str(), path("d/e/f").c_str()), -1);
  EXPECT_EQ(errno, EINVAL);
  ASSERT_EQ(rename(path("b").c_str(), path("d/e/b").c_str()), 0);
  EXPECT_EQ(readAll("d/e/b"), "B");
}

TEST_F(Posix, LinksShareAnInodeAndSymlinksNameAPath) {
  writeAll("a", "x");
  ASSERT_EQ(link(path("a").c_str(), path("b").c_str()), 0);
  EXPECT_EQ(statOf(path("a")).st_ino, statOf(path("b")).st_ino);
  EXPECT_EQ(statOf(path("a")).st_nlink, 2u);
  ASSERT_EQ(unlink(path("a").c_str()), 0);
  EXPECT_EQ(readAll("b"), "x");
  EXPECT_EQ(statOf(path("b")).st_nlink, 1u);
  ASSERT_EQ(symlink("b", path("s").c_str()), 0);
  char target[16] = {};
  EXPECT_EQ(readlink(path("s").c_str(), target, sizeof(target)), 1);
  EXPECT_STREQ(target, "b");
  EXPECT_EQ(readAll("s"), "x");
  ASSERT_EQ(symlink("loop", path("loop").c_str()), 0);
  EXPECT_EQ(open(path("loop").c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, ELOOP);
}

TEST_F(Posix, AnUnlinkedFileLivesWhileItIsOpen) {
  writeAll("gone", "still here");
  int fd = open(path("gone").c_str(), O_RDWR);
  ASSERT_EQ(unlink(path("gone").c_str()), 0);
  char text[16] = {};
  EXPECT_EQ(pread(fd, text, 10, 0), 10);
  EXPECT_STREQ(text, "still here");
  EXPECT_EQ(pwrite(fd, "S", 1, 0), 1);
  struct stat status;
  ASSERT_EQ(fstat(fd, &status), 0);
  EXPECT_EQ(status.st_nlink, 0u);
  close(fd);
}

TEST_F(Posix, AttributesAreSetAndKept) {
  writeAll("a", "x");
  auto name = path("a");
  ASSERT_EQ(chmod(name.c_str(), 04711), 0);
  EXPECT_EQ(statOf(name).st_mode, mode_t(S_IFREG | 04711));
  ASSERT_EQ(chown(name.c_str(), 1000, 1001), 0);
  EXPECT_EQ(statOf(name).st_uid, 1000u);
  EXPECT_EQ(statOf(name).st_gid, 1001u);
  EXPECT_EQ(statOf(name).st_mode & 07777, 0711u) << "chown(2) takes setuid away";
  struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 1}, {.tv_sec = -5, .tv_nsec = 999999999}};
  ASSERT_EQ(utimensat(AT_FDCWD, name.c_str(), times, 0), 0);
  EXPECT_EQ(statOf(name).st_atim.tv_nsec, 1);
  EXPECT_EQ(statOf(name).st_mtim.tv_sec, -5);
  EXPECT_EQ(statOf(name).st_mtim.tv_nsec, 999999999);
  times[0].tv_nsec = UTIME_OMIT, times[1].tv_nsec = UTIME_NOW;
  auto before = time(nullptr);
  ASSERT_EQ(utimensat(AT_FDCWD, name.c_str(), times, 0), 0);
  EXPECT_EQ(statOf(name).st_atim.tv_sec, 1000);
  EXPECT_GE(statOf(name).st_mtim.tv_sec, before);
}

TEST_F(Posix, WritesByOthersTakeSetuidAway) {
  writeAll("suid", "x");
  ASSERT_EQ(chmod(path("suid").c_str(), 06777), 0);
  ASSERT_EQ(chmod(path().c_str(), 0777), 0);
  EXPECT_EQ(inChild([&]() {
              if (setgid(1234) != 0 || setuid(1234) != 0) return 1;
              int fd = open(path("suid").c_str(), O_WRONLY);
              return fd >= 0 && write(fd, "y", 1) == 1 ? 0 : 2;
            }),
            0);
  EXPECT_EQ(statOf(path("suid")).st_mode & 07777, 0777u);
}

TEST_F(Posix, WritesDoNotAskForXattrs) {
  writeAll("plain", "x");
  auto messages = [&]() {
    return onLoop([](MemoryFilesystem&, SessionLoop& session) { return session.messages(); });
  };
  int fd = open(path("plain").c_str(), O_WRONLY);
  ASSERT_EQ(write(fd, "1", 1), 1);
  auto before = messages();
  for (int i = 0; i < 10; ++i) ASSERT_EQ(pwrite(fd, "22", 2, i * 2), 2);
  EXPECT_EQ(messages() - before, 10u) << "one message for each write, no GETXATTR of security.capability";
  close(fd);
}

TEST_F(Posix, PermissionsAreChecked) {
  writeAll("secret", "x");
  ASSERT_EQ(chmod(path("secret").c_str(), 0600), 0);
  EXPECT_EQ(inChild([&]() {
              if (setgid(1234) != 0 || setuid(1234) != 0) return 1;
              return open(path("secret").c_str(), O_RDONLY) == -1 && errno == EACCES ? 0 : 2;
            }),
            0);
}

TEST_F(Posix, DeviceNodesAndFifosAreKept) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_TRUE(S_ISFIFO(statOf(path("fifo")).st_mode));
  ASSERT_EQ(mknod(path("null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  EXPECT_TRUE(S_ISCHR(statOf(path("null")).st_mode));
  EXPECT_EQ(statOf(path("null")).st_rdev, makedev(1, 3));
  ASSERT_EQ(mknod(path("plain").c_str(), S_IFREG | 0644, 0), 0);
  EXPECT_EQ(readAll("plain"), "");
}

TEST_F(Posix, ExtendedAttributesAreKeptAndUnknownNamespacesRefused) {
  writeAll("a", "x");
  auto name = path("a");
  ASSERT_EQ(setxattr(name.c_str(), "user.one", "1", 1, XATTR_CREATE), 0);
  EXPECT_EQ(setxattr(name.c_str(), "user.one", "2", 1, XATTR_CREATE), -1);
  EXPECT_EQ(errno, EEXIST);
  ASSERT_EQ(setxattr(name.c_str(), "user.two", "22", 2, 0), 0);
  char value[64] = {};
  EXPECT_EQ(getxattr(name.c_str(), "user.two", nullptr, 0), 2);
  EXPECT_EQ(getxattr(name.c_str(), "user.two", value, 1), -1);
  EXPECT_EQ(errno, ERANGE);
  EXPECT_EQ(getxattr(name.c_str(), "user.two", value, sizeof(value)), 2);
  EXPECT_EQ(listxattr(name.c_str(), value, sizeof(value)), 18);
  EXPECT_EQ(memcmp(value, "user.one\0user.two\0", 18), 0);
  ASSERT_EQ(removexattr(name.c_str(), "user.one"), 0);
  EXPECT_EQ(getxattr(name.c_str(), "user.one", value, sizeof(value)), -1);
  EXPECT_EQ(errno, ENODATA);
  EXPECT_EQ(getxattr(name.c_str(), "security.capability", value, sizeof(value)), -1);
  EXPECT_EQ(errno, ENODATA);
  EXPECT_EQ(getxattr(name.c_str(), "system.posix_acl_access", value, sizeof(value)), -1);
  EXPECT_EQ(errno, ENODATA);
  EXPECT_EQ(setxattr(name.c_str(), "security.other", "x", 1, 0), 0);
  EXPECT_EQ(setxattr(name.c_str(), "other.x", "x", 1, 0), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(getxattr(name.c_str(), "other.x", value, sizeof(value)), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(removexattr(name.c_str(), "other.x"), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(Posix, WhatIsNotThereIsAnsweredByTheKernel) {
  writeAll("a", "0123456789");
  int fd = open(path("a").c_str(), O_RDWR);
  EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(lseek(fd, 0, SEEK_DATA), 0);
  EXPECT_EQ(lseek(fd, 0, SEEK_HOLE), 10);
  loff_t start = 0;
  int copy = open(path("copy").c_str(), O_WRONLY | O_CREAT, 0644);
  EXPECT_EQ(copy_file_range(fd, &start, copy, nullptr, 10, 0), 10);
  close(fd), close(copy);
  EXPECT_EQ(readAll("copy"), "0123456789");
}

TEST_F(Posix, StatfsShowsTheSpace) {
  struct statvfs space;
  ASSERT_EQ(statvfs(path().c_str(), &space), 0);
  EXPECT_EQ(space.f_blocks, 1u << 20);
  EXPECT_EQ(space.f_bavail, 1u << 19);
  EXPECT_EQ(space.f_frsize, 4096u);
  EXPECT_EQ(space.f_namemax, 255u);
}

TEST_F(Posix, BadNamesGetTheirErrors) {
  EXPECT_EQ(open(path(std::string(256, 'x')).c_str(), O_CREAT | O_WRONLY, 0644), -1);
  EXPECT_EQ(errno, ENAMETOOLONG);
  EXPECT_EQ(open(path(std::string(4097, 'x')).c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, ENAMETOOLONG);
  int fd = open(path(std::string(255, 'x')).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
  EXPECT_GE(fd, 0);
  EXPECT_EQ(open(path(std::string(255, 'x')).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644), -1);
  EXPECT_EQ(errno, EEXIST);
  close(fd);
  writeAll("file", "x");
  EXPECT_EQ(open(path("file/below").c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, ENOTDIR);
}

}  // namespace
}  // namespace cairn::fuse
