// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The judge must be right: what it accepts, and what it does not.
#include "test/sim/file_oracle.h"

#include <gtest/gtest.h>

namespace cairn::sim {
namespace {

class Oracle : public testing::Test {
 protected:
  FileOracle oracle;

  kj::Array<kj::byte> of(WriteNumber write, uint64_t offset, size_t size) {
    auto bytes = kj::heapArray<kj::byte>(size);
    fillWith(write, offset, bytes);
    return bytes;
  }
  bool accepts(Viewer viewer, WriteNumber write, uint64_t offset, size_t size, size_t asked = 0) {
    return !oracle.judge(viewer, offset, asked == 0 ? size : asked, of(write, offset, size));
  }
};

TEST_F(Oracle, TheWriterSeesItsWriteAtOnceOthersMayOnceItIsCalled) {
  oracle.write(0, 100, 1);
  EXPECT_TRUE(accepts(Viewer::WRITER, 1, 0, 100));
  EXPECT_FALSE(accepts(Viewer::WRITER, ZEROS, 0, 100));
  EXPECT_TRUE(accepts(Viewer::OTHER, 1, 0, 100));
  EXPECT_TRUE(accepts(Viewer::OTHER, 1, 0, 50, 100)) << "half of it, as the end of the file";
  EXPECT_TRUE(accepts(Viewer::OTHER, ZEROS, 0, 0, 100)) << "nothing yet";
}

TEST_F(Oracle, AfterTheFlushOnlyTheNewBytesAreRight) {
  oracle.write(0, 100, 1);
  oracle.settle();
  oracle.write(20, 10, 2);
  EXPECT_TRUE(accepts(Viewer::OTHER, 1, 20, 10)) << "old";
  EXPECT_TRUE(accepts(Viewer::OTHER, 2, 20, 10)) << "new";
  EXPECT_FALSE(accepts(Viewer::OTHER, ZEROS, 20, 10));
  oracle.settle();
  EXPECT_FALSE(accepts(Viewer::OTHER, 1, 20, 10));
  EXPECT_TRUE(accepts(Viewer::OTHER, 2, 20, 10));
  EXPECT_TRUE(accepts(Viewer::OTHER, 1, 0, 20));
  EXPECT_TRUE(accepts(Viewer::OTHER, 1, 30, 70, 200));
  EXPECT_FALSE(accepts(Viewer::OTHER, 1, 30, 60, 200)) << "the end comes too early";
  EXPECT_FALSE(accepts(Viewer::OTHER, 1, 30, 71)) << "bytes beyond the end";
}

TEST_F(Oracle, GapsAndTruncatedPartsAreZeros) {
  oracle.write(1000, 10, 1);
  oracle.settle();
  EXPECT_TRUE(accepts(Viewer::OTHER, ZEROS, 0, 1000));
  EXPECT_FALSE(accepts(Viewer::OTHER, 1, 0, 1000));
  oracle.truncate(1004);
  oracle.truncate(2000);
  EXPECT_TRUE(accepts(Viewer::WRITER, ZEROS, 1004, 996));
  EXPECT_TRUE(accepts(Viewer::OTHER, 1, 1004, 6)) << "not yet returned";
  oracle.settle();
  EXPECT_FALSE(accepts(Viewer::OTHER, 1, 1004, 6)) << "what was cut off comes back";
  EXPECT_TRUE(accepts(Viewer::OTHER, 1, 1000, 4));
  EXPECT_FALSE(oracle.judgeSize(Viewer::OTHER, 2000));
  EXPECT_TRUE(oracle.judgeSize(Viewer::OTHER, 1999));
}

TEST_F(Oracle, AWriteOfADeadWriterStaysInDoubt) {
  oracle.write(0, 10, 1);
  oracle.settle();
  oracle.write(0, 10, 2);
  oracle.lose();
  oracle.settle();
  EXPECT_TRUE(accepts(Viewer::WRITER, 1, 0, 10));
  EXPECT_TRUE(accepts(Viewer::OTHER, 2, 0, 10));
}

TEST_F(Oracle, OverlappingWritesKeepTheirPlaces) {
  oracle.write(0, 100, 1);
  oracle.write(50, 100, 2);
  oracle.write(75, 5, 3);
  oracle.settle();
  EXPECT_TRUE(accepts(Viewer::WRITER, 1, 0, 50));
  EXPECT_TRUE(accepts(Viewer::WRITER, 2, 50, 25));
  EXPECT_TRUE(accepts(Viewer::WRITER, 3, 75, 5));
  EXPECT_TRUE(accepts(Viewer::WRITER, 2, 80, 70));
  EXPECT_FALSE(accepts(Viewer::WRITER, 2, 74, 3));
  EXPECT_EQ(oracle.size(), 150u);
}

}  // namespace
}  // namespace cairn::sim
