// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "test/support/crash_report.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "test/support/process.h"

namespace cairn::test {

TEST(CrashReport, StartsWithTheLineThatSaysIt) {
  EXPECT_EQ(crashReport("fine\n==7==ERROR: AddressSanitizer: heap-use-after-free\n  #0 main\n"),
            "==7==ERROR: AddressSanitizer: heap-use-after-free\n  #0 main\n");
  EXPECT_NE(crashReport("../rpc/x.cc:3:7: runtime error: signed integer overflow"), "");
  EXPECT_NE(crashReport("terminate called after throwing an instance of 'kj::Exception'"), "");
}

TEST(CrashReport, OnlySignalsThatTestsDoNotSendAreStrange) {
  EXPECT_EQ(crashReport("chunkd-1 was killed by signal 9 (Killed) -> start it again in 100 ms\n"), "");
  EXPECT_EQ(crashReport("chunkd-1 was killed by signal 15 (Terminated)\n"), "");
  EXPECT_NE(crashReport("killed\nchunkd-1 was killed by signal 9 (Killed)\n"
                        "chunkd-2 was killed by signal 6 (Aborted) -> start it again\n"),
            "");
}

TEST(CrashReport, OfAProgramFailsTheTestThatRanIt) {
  testing::TestPartResultArray results;
  {
    testing::ScopedFakeTestPartResultReporter reporter(&results);
    run({"sh", "-c", "echo '==1==ERROR: LeakSanitizer: detected memory leaks' >&2"});
  }
  EXPECT_EQ(results.size(), 1);
}

}  // namespace cairn::test
