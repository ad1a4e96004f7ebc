// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Expectations about programs, with what they said in the message.
#pragma once

#include <gtest/gtest.h>

#include "test/support/process.h"

#define EXPECT_OK(command)                                                   \
  do {                                                                       \
    auto finished_ = (command);                                              \
    EXPECT_TRUE(finished_.ok()) << #command << "\n" << finished_.describe(); \
  } while (false)

#define ASSERT_OK(command)                                                   \
  do {                                                                       \
    auto finished_ = (command);                                              \
    ASSERT_TRUE(finished_.ok()) << #command << "\n" << finished_.describe(); \
  } while (false)

// The program refuses: it ends with a failure, and says why in a sentence that has `part` in it.
#define EXPECT_REFUSES(command, part)                                                                 \
  do {                                                                                                \
    auto finished_ = (command);                                                                       \
    EXPECT_FALSE(finished_.ok()) << #command;                                                         \
    EXPECT_NE(finished_.code, 124) << #command << " did not end by itself";                           \
    EXPECT_NE((finished_.err + finished_.out).find(part), std::string::npos) << finished_.describe(); \
  } while (false)
