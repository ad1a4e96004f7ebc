// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Which syncs must say that what the metaserver had answered is lost.
#include "client/unsure_changes.h"

#include <gtest/gtest.h>

namespace cairn::client {
namespace {

constexpr InodeId A{7}, B{8};

TEST(UnsureChanges, WhatIsLostIsToldOnceForEachInodeItWasAbout) {
  UnsureChanges changes;
  changes.answered(A, LogIndex(10));
  changes.answered(B, LogIndex(11));
  changes.lost(LogIndex(11));
  EXPECT_FALSE(changes.takeLoss(A)) << "operation 10 is there";
  EXPECT_TRUE(changes.takeLoss(B));
  EXPECT_FALSE(changes.takeLoss(B)) << "once";
}

TEST(UnsureChanges, TheLastOperationDecides) {
  UnsureChanges changes;
  changes.answered(A, LogIndex(10));
  changes.answered(A, LogIndex(20));
  changes.answered(A, LogIndex(15));  // answers overtake each other
  changes.lost(LogIndex(16));
  EXPECT_TRUE(changes.takeLoss(A));
}

TEST(UnsureChanges, WhatIsOnStableStorageIsForgotten) {
  UnsureChanges changes;
  changes.answered(A, LogIndex(10));
  changes.answered(B, LogIndex(12));
  changes.durable(LogIndex(11));
  EXPECT_EQ(changes.size(), 1u);
  changes.answered(A, LogIndex(9));
  EXPECT_EQ(changes.size(), 1u) << "it was known to be on stable storage";
  changes.lost(changes.durableUpTo().next());  // an epoch was missed: nothing better is known
  EXPECT_FALSE(changes.takeLoss(A));
  EXPECT_TRUE(changes.takeLoss(B));
}

TEST(UnsureChanges, AnAnswerFromBeforeALossRestsOnWhatWasLost) {
  UnsureChanges changes;
  auto age = changes.age();
  changes.lost(LogIndex(10));
  changes.answered(A, LogIndex(9), age);
  changes.answered(B, LogIndex(10), age);  // a write was under way meanwhile
  EXPECT_FALSE(changes.takeLoss(A));
  EXPECT_TRUE(changes.takeLoss(B));
  changes.answered(A, LogIndex(10), changes.age());
  EXPECT_FALSE(changes.takeLoss(A)) << "operation 10 is another one now";
}

TEST(UnsureChanges, SyncingAllTellsOfAll) {
  UnsureChanges changes;
  EXPECT_FALSE(changes.takeLosses());
  changes.answered(A, LogIndex(10));
  changes.lost(LogIndex(10));
  EXPECT_TRUE(changes.takeLosses());
  EXPECT_FALSE(changes.takeLoss(A));
}

}  // namespace
}  // namespace cairn::client
