// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Names, paths and places that cannot be: each ends in the right errno or a clear sentence, and changes
// nothing.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

using Limits = EndToEnd;

int errnoOf(int answer) {
  return answer < 0 ? errno : 0;
}

int makeFile(const std::string& path) {
  int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
  auto error = errnoOf(fd);
  if (fd >= 0) ::close(fd);
  return error;
}

TEST_F(Limits, NamesPathsAndLoopsGetTheirErrno) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  EXPECT_EQ(makeFile(c / std::string(255, 'n')), 0);
  EXPECT_EQ(makeFile(c / std::string(256, 'n')), ENAMETOOLONG);
  EXPECT_EQ(errnoOf(::mkdir((c / std::string(256, 'd')).c_str(), 0755)), ENAMETOOLONG);
  EXPECT_EQ(errnoOf(::symlink("x", (c / std::string(256, 'l')).c_str())), ENAMETOOLONG);
  EXPECT_EQ(errnoOf(::rename((c / std::string(255, 'n')).c_str(), (c / std::string(256, 'm')).c_str())),
            ENAMETOOLONG);

  auto path = c.mount();
  while (path.size() < 4097 - 2) path += "/.";
  path.resize(4097, 'x');
  EXPECT_EQ(makeFile(path), ENAMETOOLONG);

  ASSERT_EQ(::symlink("b", (c / "a").c_str()), 0);
  ASSERT_EQ(::symlink("a", (c / "b").c_str()), 0);
  EXPECT_EQ(errnoOf(::open((c / "a").c_str(), O_RDONLY)), ELOOP);
  EXPECT_EQ(c.sh("ls").out, "a\nb\n" + std::string(255, 'n') + "\n") << "nothing else was made";
}

TEST_F(Limits, ImpossibleOperationsGetTheirErrno) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  ASSERT_OK(c.sh("mkdir d d/sub; echo x > f"));
  EXPECT_EQ(errnoOf(::rmdir((c / "d").c_str())), ENOTEMPTY);
  EXPECT_EQ(errnoOf(::rmdir((c / "f").c_str())), ENOTDIR);
  EXPECT_EQ(errnoOf(::unlink((c / "d").c_str())), EISDIR);
  EXPECT_EQ(errnoOf(::rename((c / "d").c_str(), (c / "d/sub/under").c_str())), EINVAL);
  EXPECT_EQ(errnoOf(::rename((c / "f").c_str(), (c / "d").c_str())), EISDIR);
  EXPECT_EQ(errnoOf(::link((c / "d").c_str(), (c / "hard").c_str())), EPERM);
  EXPECT_EQ(makeFile(c / "f"), EEXIST);
  EXPECT_EQ(makeFile(c / "f/below"), ENOTDIR);
  EXPECT_EQ(makeFile(c / "none/below"), ENOENT);
  EXPECT_EQ(errnoOf(::truncate((c / "f").c_str(), -1)), EINVAL);
  EXPECT_EQ(errnoOf(::truncate((c / "d").c_str(), 0)), EISDIR);
  EXPECT_EQ(readFile(c / "f"), "x\n");
}

TEST_F(Limits, AFileMayBeLargeAndSparseButNotLargerThanOffsetsGo) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  int fd = ::open((c / "f").c_str(), O_CREAT | O_RDWR, 0644);
  ASSERT_GE(fd, 0);
  constexpr off_t FAR = off_t(1) << 42;  // 4 TiB
  EXPECT_EQ(::pwrite(fd, "far", 3, FAR), 3);
  EXPECT_EQ(::fsync(fd), 0);
  char bytes[4] = {};
  EXPECT_EQ(::pread(fd, bytes, 3, FAR), 3);
  EXPECT_STREQ(bytes, "far");
  EXPECT_EQ(::lseek(fd, 0, SEEK_END), FAR + 3);
  EXPECT_EQ(errnoOf(int(::pwrite(fd, "x", 1, INT64_MAX))), EINVAL) << "its end would be beyond off_t";
  EXPECT_EQ(::lseek(fd, 0, SEEK_END), FAR + 3);
  ::close(fd);
}

TEST_F(Limits, AMountPointThatIsMissingOrTakenIsNamed) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  EXPECT_REFUSES(test::run({program("mount.cairn"), c.address(), c.scratch("missing")}),
                 c.scratch("missing"));
  writeFile(c.scratch("file"), "");
  EXPECT_REFUSES(test::run({program("mount.cairn"), c.address(), c.scratch("file")}), c.scratch("file"));
  EXPECT_REFUSES(test::run({program("mount.cairn"), c.address(), c.mount()}), c.mount());
  EXPECT_OK(c.sh("echo still fine > f; cat f"));
}

TEST_F(Limits, MountingWhereNoMetaserverAnswersSaysSo) {
  if (IsSkipped()) return;
  test::TemporaryDirectory temporary;
  std::filesystem::create_directory(temporary / "mnt");
  EXPECT_REFUSES(test::run({program("mount.cairn"), "127.0.0.1:1", temporary / "mnt"}), "127.0.0.1:1");
}

uint64_t residentBytes(pid_t pid) {
  auto status = readFile("/proc/" + std::to_string(pid) + "/status");
  return std::stoull(status.substr(status.find("VmRSS:") + 6)) << 10;
}

constexpr uint64_t keptByASanitizer() {
  // What is freed waits there for a while, so that whoever uses it is found.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
  return 256 << 20;
#endif
#endif
  return 0;
}

TEST_F(Limits, ABigDirectoryIsListedInMemoryThatDoesNotGrowWithIt) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  constexpr int FEW = 2000, MANY = 20'000;
  ASSERT_OK(c.sh("mkdir few many; seq " + std::to_string(FEW) + " | (cd few; xargs touch); seq " +
                     std::to_string(MANY) + " | (cd many; xargs touch)",
                 {.patience = 300s}));
  auto list = [&](const std::string& name) {
    return c.sh("ls -f " + name + " | wc -l", {.patience = 120s}).out;
  };
  EXPECT_EQ(list("few"), std::to_string(FEW + 2) + "\n");
  auto mount = residentBytes(c.pid("fuse-1")), metaserver = residentBytes(c.pid("metaserver-1"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(list("many"), std::to_string(MANY + 2) + "\n");
  // Some pages of 1,000 entries, and what allocators keep.
  constexpr uint64_t PAGES = (5 << 20) + keptByASanitizer();
  EXPECT_LT(residentBytes(c.pid("fuse-1")), mount + PAGES);
  EXPECT_LT(residentBytes(c.pid("metaserver-1")), metaserver + PAGES);
}

}  // namespace
}  // namespace cairn::e2e
