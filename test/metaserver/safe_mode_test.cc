// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// When a started metaserver trusts its picture of the stores.
#include "metaserver/safe_mode.h"

#include <gtest/gtest.h>

#include <string>

namespace cairn {
namespace {

class SafeModeTest : public testing::Test {
 public:
  ~SafeModeTest() noexcept override {}

 protected:
  SafeMode mode{at(0), 2};
  static kj::TimePoint at(int64_t ms) { return kj::origin<kj::TimePoint>() + ms * kj::MILLISECONDS; }
  bool leaves(uint32_t known, uint32_t reported, int64_t ms) {
    return mode.update(known, reported, at(ms)) == SafeMode::Change::LEFT;
  }
};

TEST_F(SafeModeTest, EndsAtOnceWhenAllKnownStoresHaveReported) {
  EXPECT_TRUE(mode.on());
  EXPECT_FALSE(leaves(3, 2, 1));
  EXPECT_TRUE(leaves(3, 3, 2));
  EXPECT_FALSE(mode.on());
  EXPECT_EQ(mode.reason().size(), 0u);
}

TEST_F(SafeModeTest, ANewClusterHasNothingToWaitFor) {
  EXPECT_TRUE(leaves(0, 0, 0));
}

TEST_F(SafeModeTest, AfterAWhileMoreThanHalfAreEnough) {
  EXPECT_FALSE(leaves(6, 4, 9'999));
  EXPECT_FALSE(leaves(6, 3, 10'000));
  EXPECT_TRUE(leaves(6, 4, 10'000));
}

TEST_F(SafeModeTest, AfterALongWhileTheMinimumIsEnough) {
  EXPECT_FALSE(leaves(6, 2, 59'999));
  EXPECT_FALSE(leaves(6, 1, 60'000));
  EXPECT_TRUE(leaves(6, 2, 60'000));
}

TEST_F(SafeModeTest, NeverLeftWithFewerThanTheMinimum) {
  EXPECT_FALSE(leaves(3, 1, 1'000'000));
  EXPECT_NE(std::string(mode.reason().cStr()).find("1 of 3"), std::string::npos) << mode.reason().cStr();
}

TEST_F(SafeModeTest, OneStoreInAllIsEnoughWhenItIsThere) {
  EXPECT_TRUE(leaves(1, 1, 0)) << "a minimum of 2 cannot ask for more stores than there are";
}

TEST_F(SafeModeTest, AfterARestoreItWaitsForAllHoweverLong) {
  mode = SafeMode(at(0), 2, SafeMode::WaitFor::ALL);
  EXPECT_FALSE(leaves(3, 2, 1'000'000));
  EXPECT_NE(std::string(mode.reason().cStr()).find("restored from a backup"), std::string::npos);
  EXPECT_TRUE(leaves(3, 3, 1'000'001));
}

TEST_F(SafeModeTest, OnceLeftItDoesNotReturn) {
  EXPECT_TRUE(leaves(2, 2, 0));
  EXPECT_FALSE(leaves(5, 2, 1));
  EXPECT_FALSE(mode.on());
}

}  // namespace
}  // namespace cairn
