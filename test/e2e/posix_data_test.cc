// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Contents: holes and where they are, lengths up and down, limits, mappings, direct and synchronous I/O.
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <csignal>

#include "test/e2e/posix_fixture.h"

namespace cairn::e2e {
namespace {

constexpr off_t CHUNK = 64 << 20;

class DataRules : public PosixRules {
 protected:
  int openFile(const std::string& name, int flags = O_RDWR | O_CREAT) { return ::open(c(name), flags, 0644); }
  off_t sizeOf(int fd) {
    struct stat status = {};
    EXPECT_EQ(::fstat(fd, &status), 0);
    return status.st_size;
  }
  uint64_t blocksOf(int fd) {
    struct stat status = {};
    EXPECT_EQ(::fstat(fd, &status), 0);
    return uint64_t(status.st_blocks);
  }
  std::string bytesAt(int fd, off_t offset, size_t size) {
    std::string bytes(size, '?');
    auto got = ::pread(fd, bytes.data(), size, offset);
    return got < 0 ? std::string("error: ") + strerror(errno) : bytes.substr(0, size_t(got));
  }
  void put(int fd, off_t offset, const std::string& bytes) {
    ASSERT_EQ(::pwrite(fd, bytes.data(), bytes.size(), offset), ssize_t(bytes.size())) << strerror(errno);
  }
};
using Data = DataRules;
INSTANTIATE_TEST_SUITE_P(On, Data, testing::Values(Where::LOCAL_DISK, Where::CAIRN), PosixRules::nameOf);

const std::string ZEROS(100, '\0');

TEST_P(Data, LengthsGoUpAndDownWithZerosBetween) {
  int fd = openFile("f");
  put(fd, 0, std::string(10000, 'x'));
  ASSERT_EQ(::ftruncate(fd, 5000), 0);
  ASSERT_EQ(::ftruncate(fd, 20000), 0);
  EXPECT_EQ(bytesAt(fd, 4990, 30), std::string(10, 'x') + std::string(20, '\0'));
  EXPECT_EQ(bytesAt(fd, 9990, 100), ZEROS);
  put(fd, 15000, "y");
  ASSERT_EQ(::ftruncate(fd, 100), 0);
  put(fd, 30000, "z");
  EXPECT_EQ(bytesAt(fd, 14990, 100), ZEROS) << "what was cut off does not come back";
  EXPECT_EQ(sizeOf(fd), 30001);
  ::close(fd);
}

TEST_P(Data, HolesAreFoundAndDataToo) {
  int fd = openFile("f");
  put(fd, 1 << 20, std::string(8192, 'x'));
  put(fd, 5 << 20, std::string(4096, 'y'));
  ASSERT_EQ(::fsync(fd), 0);
  EXPECT_EQ(::lseek(fd, 0, SEEK_DATA), 1 << 20);
  EXPECT_EQ(::lseek(fd, 0, SEEK_HOLE), 0);
  EXPECT_EQ(::lseek(fd, 1 << 20, SEEK_HOLE), (1 << 20) + 8192);
  EXPECT_EQ(::lseek(fd, (1 << 20) + 100, SEEK_DATA), (1 << 20) + 100);
  EXPECT_EQ(::lseek(fd, (1 << 20) + 8192, SEEK_DATA), 5 << 20);
  EXPECT_EQ(::lseek(fd, 5 << 20, SEEK_HOLE), (5 << 20) + 4096) << "the end of the file is one";
  EXPECT_EQ(errnoOf(::lseek(fd, (5 << 20) + 4096, SEEK_DATA)), ENXIO);
  EXPECT_EQ(errnoOf(::lseek(fd, (5 << 20) + 4096, SEEK_HOLE)), ENXIO);
  EXPECT_EQ(errnoOf(::lseek(fd, -1, SEEK_DATA)), ENXIO);
  ASSERT_EQ(::ftruncate(fd, 10 << 20), 0);
  EXPECT_EQ(errnoOf(::lseek(fd, 6 << 20, SEEK_DATA)), ENXIO) << "nothing but a hole up to the end";
  EXPECT_EQ(::lseek(fd, 6 << 20, SEEK_HOLE), 6 << 20);
  ::close(fd);
}

TEST_P(Data, BlocksAreThoseThatHoldData) {
  int fd = openFile("f");
  put(fd, 100 << 20, std::string(40960, 'x'));
  EXPECT_GT(blocksOf(fd), 0u) << "never nothing for a file with data: tar would take it for a hole";
  ASSERT_EQ(::fsync(fd), 0);
  EXPECT_EQ(blocksOf(fd), 80u);
  ASSERT_EQ(::ftruncate(fd, (100 << 20) + 4096), 0);
  if (onCairn()) {
    EXPECT_LE(blocksOf(fd), 80u)
        << "of a chunk with holes that is cut, what is left is counted with the next write";
  } else {
    EXPECT_EQ(blocksOf(fd), 8u);
  }
  put(fd, 100 << 20, "x");
  ASSERT_EQ(::fsync(fd), 0);
  EXPECT_EQ(blocksOf(fd), 8u);
  ASSERT_EQ(::ftruncate(fd, 0), 0);
  EXPECT_EQ(blocksOf(fd), 0u);
  ASSERT_EQ(::ftruncate(fd, off_t(1) << 40), 0);
  EXPECT_EQ(blocksOf(fd), 0u);
  ::close(fd);
}

TEST_P(Data, PunchedHolesReadAsZerosAndTakeNoSpace) {
  int fd = openFile("f");
  put(fd, 0, std::string(1 << 20, 'x'));
  ASSERT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 500000)), 0);
  EXPECT_EQ(sizeOf(fd), 1 << 20);
  EXPECT_EQ(bytesAt(fd, 90, 20), std::string(10, 'x') + std::string(10, '\0'));
  EXPECT_EQ(bytesAt(fd, 500090, 20), std::string(10, '\0') + std::string(10, 'x'));
  EXPECT_EQ(bytesAt(fd, 250000, 100), ZEROS);
  ASSERT_EQ(::fsync(fd), 0);
  EXPECT_LT(blocksOf(fd), 1200u) << "2048 before";
  EXPECT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10)), EOPNOTSUPP) << "it must keep the size";
  ASSERT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 << 20, 10)), 0)
      << "beyond the end";
  EXPECT_EQ(sizeOf(fd), 1 << 20);
  ::close(fd);
}

TEST_P(Data, HolesArePunchedAcrossChunks) {
  int fd = openFile("f");
  for (int i = 0; i < 4; ++i) put(fd, i * CHUNK + 1000, "data " + std::to_string(i));
  put(fd, 3 * CHUNK - 5, "0123456789");
  ASSERT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, CHUNK - 10, 2 * CHUNK + 10)),
            0);
  EXPECT_EQ(bytesAt(fd, 1000, 6), "data 0");
  EXPECT_EQ(bytesAt(fd, CHUNK + 1000, 6), ZEROS.substr(0, 6));
  EXPECT_EQ(bytesAt(fd, 2 * CHUNK + 1000, 6), ZEROS.substr(0, 6));
  EXPECT_EQ(bytesAt(fd, 3 * CHUNK - 5, 10), std::string(5, '\0') + "56789");
  EXPECT_EQ(bytesAt(fd, 3 * CHUNK + 1000, 6), "data 3");
  put(fd, CHUNK + 1000, "again");
  EXPECT_EQ(bytesAt(fd, CHUNK + 998, 8), std::string(2, '\0') + "again" + std::string(1, '\0'));
  ::close(fd);
  int again = openFile("f", O_RDONLY);
  EXPECT_EQ(bytesAt(again, CHUNK + 998, 8), std::string(2, '\0') + "again" + std::string(1, '\0'));
  EXPECT_EQ(bytesAt(again, 3 * CHUNK - 5, 10), std::string(5, '\0') + "56789");
  ::close(again);
}

TEST_P(Data, RangesAreZeroedAndFilesGrownByFallocate) {
  int fd = openFile("f");
  put(fd, 0, "0123456789");
  ASSERT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_ZERO_RANGE, 5, 100)), 0);
  EXPECT_EQ(sizeOf(fd), 105);
  EXPECT_EQ(bytesAt(fd, 0, 10), std::string("01234") + std::string(5, '\0'));
  ASSERT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 1000)), 0);
  EXPECT_EQ(sizeOf(fd), 105);
  EXPECT_EQ(bytesAt(fd, 0, 10), ZEROS.substr(0, 10));
  ASSERT_EQ(errnoOf(::fallocate(fd, 0, 0, 200)), 0);
  EXPECT_EQ(sizeOf(fd), 200);
  ASSERT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 5000)), 0);
  EXPECT_EQ(sizeOf(fd), 200);
  ASSERT_EQ(::posix_fallocate(fd, 1000, 1000), 0);
  EXPECT_EQ(sizeOf(fd), 2000);
  put(fd, 0, "kept");
  ASSERT_EQ(errnoOf(::fallocate(fd, 0, 0, 100)), 0);
  EXPECT_EQ(bytesAt(fd, 0, 4), "kept") << "allocating changes no bytes";
  EXPECT_EQ(errnoOf(::fallocate(fd, 0, 0, 0)), EINVAL);
  EXPECT_EQ(errnoOf(::fallocate(fd, 0, -1, 10)), EINVAL);
  EXPECT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096)), EOPNOTSUPP);
  ::close(fd);
  fd = openFile("f", O_RDONLY);
  EXPECT_EQ(errnoOf(::fallocate(fd, 0, 0, 10)), EBADF);
  ::close(fd);
}

TEST_P(Data, CollapsingAndInsertingAreRefused) {
  if (!onCairn()) GTEST_SKIP() << "ext4 can";
  int fd = openFile("f");
  put(fd, 0, std::string(16384, 'x'));
  EXPECT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096)), EOPNOTSUPP);
  EXPECT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096)), EOPNOTSUPP);
  ::close(fd);
}

TEST_P(Data, AFileMayBeHugeAndSparse) {
  if (!onCairn()) GTEST_SKIP() << "ext4 ends at 16 TiB";
  int fd = openFile("f");
  constexpr off_t FAR = INT64_MAX - 4;  // 8 EiB
  put(fd, FAR, "end.");
  EXPECT_EQ(sizeOf(fd), INT64_MAX) << "as far as offsets go";
  EXPECT_EQ(errnoOf(::pwrite(fd, "beyond", 6, FAR)), EINVAL);
  EXPECT_EQ(errnoOf(::pwrite(fd, "x", 1, INT64_MAX)), EINVAL);
  put(fd, off_t(1) << 50, "middle");
  ASSERT_EQ(::fsync(fd), 0);
  EXPECT_EQ(::lseek(fd, 0, SEEK_DATA), off_t(1) << 50);
  EXPECT_EQ(::lseek(fd, (off_t(1) << 50) + 4096, SEEK_DATA), FAR & ~4095ll);
  EXPECT_EQ(bytesAt(fd, FAR - 2, 4), std::string(2, '\0') + "en");
  EXPECT_EQ(blocksOf(fd), 16u);
  ASSERT_EQ(errnoOf(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, INT64_MAX)), 0);
  EXPECT_EQ(blocksOf(fd), 0u);
  EXPECT_EQ(errnoOf(::lseek(fd, 0, SEEK_DATA)), ENXIO);
  ASSERT_EQ(::ftruncate(fd, 1), 0);
  ASSERT_EQ(::ftruncate(fd, INT64_MAX), 0);
  ::close(fd);
}

TEST_P(Data, TheLimitOfTheProcessIsKept) {
  EXPECT_EQ(as(BOB,
               [&]() {
                 ::signal(SIGXFSZ, SIG_IGN);
                 struct rlimit limit = {10000, 10000};
                 if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 100;
                 int fd = ::open(c("f"), O_RDWR | O_CREAT, 0644);
                 std::string bytes(20000, 'x');
                 if (::write(fd, bytes.data(), bytes.size()) != 10000) return 101;
                 if (::write(fd, "x", 1) != -1 || errno != EFBIG) return 102;
                 if (::ftruncate(fd, 10001) != -1 || errno != EFBIG) return 103;
                 if (::fallocate(fd, 0, 0, 10001) != -1 || errno != EFBIG) return 104;
                 return errnoOf(::ftruncate(fd, 10000));
               }),
            0);
  EXPECT_EQ(statOf("f").st_size, 10000);
}

TEST_P(Data, AppendsGoToTheEndWhateverTheOffset) {
  ASSERT_EQ(make("f", "one"), 0);
  int fd = openFile("f", O_RDWR | O_APPEND);
  EXPECT_EQ(::pwrite(fd, "two", 3, 0), 3);
  ::lseek(fd, 0, SEEK_SET);
  EXPECT_EQ(::write(fd, "three", 5), 5);
  EXPECT_EQ(::lseek(fd, 0, SEEK_CUR), 11);
  EXPECT_EQ(contentOf("f"), "onetwothree");
  ::close(fd);
}

TEST_P(Data, MappingsAndCallsSeeEachOther) {
  int fd = openFile("f");
  put(fd, 0, std::string(3 * 4096, 'x'));
  auto shared = static_cast<char*>(::mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  auto own = static_cast<char*>(::mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  ASSERT_NE(shared, MAP_FAILED);
  ASSERT_NE(own, MAP_FAILED);
  shared[5000] = 'S';
  EXPECT_EQ(bytesAt(fd, 5000, 1), "S") << "a store is seen by read(2)";
  put(fd, 5001, "W");
  EXPECT_EQ(shared[5001], 'W') << "a write(2) is seen through the mapping";
  own[100] = 'P';
  EXPECT_EQ(bytesAt(fd, 100, 1), "x") << "a private store is nobody else's";
  ASSERT_EQ(::msync(shared, 3 * 4096, MS_SYNC), 0);
  ::munmap(shared, 3 * 4096), ::munmap(own, 3 * 4096);
  ::close(fd);
  EXPECT_EQ(contentOf("f").substr(4999, 4), "xSWx");
}

TEST_P(Data, AStoreBeyondTheEndIsABusError) {
  ASSERT_EQ(make("f", "short"), 0);
  int fd = openFile("f", O_RDWR);
  auto child = ::fork();
  if (child == 0) {
    ::signal(SIGBUS, SIG_DFL);  // a sanitizer would explain it
    auto memory = static_cast<char*>(::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    memory[10] = 'x';    // in the last page: lost
    memory[5000] = 'x';  // beyond it
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
  ::close(fd);
  EXPECT_EQ(contentOf("f"), "short");
}

TEST_P(Data, DirectSynchronousAndVectoredWritesAreRead) {
  int fd = ::open(c("f"), O_RDWR | O_CREAT | O_DIRECT, 0644);
  ASSERT_GE(fd, 0);
  void* memory = nullptr;
  ASSERT_EQ(::posix_memalign(&memory, 4096, 1 << 20), 0);
  ::memset(memory, 'd', 1 << 20);
  EXPECT_EQ(::pwrite(fd, memory, 1 << 20, 1 << 20), 1 << 20);
  int plain = openFile("f", O_RDONLY);
  EXPECT_EQ(bytesAt(plain, (1 << 20) - 1, 2), std::string(1, '\0') + "d");
  ::close(fd), ::close(plain);
  ::free(memory);
  int sync = ::open(c("g"), O_RDWR | O_CREAT | O_SYNC, 0644);
  char one[] = "one", two[] = "two";
  struct iovec pieces[] = {{one, 3}, {two, 3}};
  EXPECT_EQ(::writev(sync, pieces, 2), 6);
  EXPECT_EQ(::pwritev(sync, pieces, 2, 3), 6);
  ::close(sync);
  EXPECT_EQ(contentOf("g"), "oneonetwo");
}

TEST_P(Data, BytesGoFromFileToFileInTheKernel) {
  auto content = randomBytes(300'000, 5);
  ASSERT_EQ(make("f", content), 0);
  int from = openFile("f", O_RDONLY), to = openFile("g");
  EXPECT_EQ(::sendfile(to, from, nullptr, 200'000), 200'000);
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  for (ssize_t left = 100'000; left > 0;) {
    auto taken = ::splice(from, nullptr, pipes[1], nullptr, size_t(left), 0);
    ASSERT_GT(taken, 0);
    for (auto rest = taken; rest > 0;) {
      auto given = ::splice(pipes[0], nullptr, to, nullptr, size_t(rest), 0);
      ASSERT_GT(given, 0);
      rest -= given;
    }
    left -= taken;
  }
  ::close(to);
  EXPECT_TRUE(contentOf("g") == content);
  loff_t at = 0;
  int copy = openFile("h");
  size_t copied = 0;
  while (copied < content.size()) {
    auto more = ::copy_file_range(from, &at, copy, nullptr, content.size() - copied, 0);
    ASSERT_GT(more, 0) << strerror(errno);
    copied += size_t(more);
  }
  ::close(copy), ::close(from), ::close(pipes[0]), ::close(pipes[1]);
  EXPECT_TRUE(contentOf("h") == content);
}

TEST_P(Data, ReadingAndWritingDirectoriesAndWithoutRightsFails) {
  ASSERT_EQ(makeDirectory("d"), 0);
  int directory = ::open(c("d"), O_RDONLY);
  char byte;
  EXPECT_EQ(errnoOf(::read(directory, &byte, 1)), EISDIR);
  EXPECT_EQ(errnoOf(::ftruncate(directory, 0)), EINVAL);
  EXPECT_EQ(errnoOf(::fsync(directory)), 0);
  ::close(directory);
  int reader = openFile("f", O_RDONLY | O_CREAT), writer = openFile("f", O_WRONLY);
  EXPECT_EQ(errnoOf(::write(reader, "x", 1)), EBADF);
  EXPECT_EQ(errnoOf(::ftruncate(reader, 0)), EINVAL);
  EXPECT_EQ(errnoOf(::read(writer, &byte, 1)), EBADF);
  ::close(reader), ::close(writer);
}

}  // namespace
}  // namespace cairn::e2e
