// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One story again and again, with what goes wrong in it one call further on each time, until it has no such
// call any more.
#pragma once

#include <gtest/gtest.h>

namespace cairn {

template <typename Story>
void eachInTurn(uint64_t least, Story story) {
  // story(number): whether it came to call `number`, from 1 on; it may skip some. Stops at the first failure.
  constexpr uint64_t MOST = 2000;
  uint64_t number = 1;
  for (; number < MOST; ++number) {
    SCOPED_TRACE(testing::Message() << "call " << number);
    if (!story(number) || testing::Test::HasFailure()) break;
  }
  EXPECT_GT(number, least) << "so many calls it takes";
  EXPECT_LT(number, MOST);
}

}  // namespace cairn
