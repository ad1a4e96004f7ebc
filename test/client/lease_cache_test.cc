// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What may be answered from memory, whatever overtakes what.
#include "client/lease_cache.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "client/leases.h"

namespace cairn::client {
namespace {

const InodeId DIRECTORY(1), FILE(7), OTHER(8);

struct LeaseCacheTest : testing::Test {
  ~LeaseCacheTest() noexcept override {}
  LeaseCache cache{{.inodesMax = 32, .namesMax = 64}};
  kj::TimePoint now = kj::origin<kj::TimePoint>() + 100 * kj::SECONDS;

  void SetUp() override { cache.renewed(now, 10 * kj::SECONDS); }
  void TearDown() override { cache.checkInvariants(); }

  static FileAttributes told(InodeId inode, LeaseKind lease, uint64_t stamp, uint64_t size = 0) {
    FileAttributes attributes;
    attributes.inode = inode;
    attributes.size = size;
    attributes.lease = lease;
    attributes.stamp = stamp;
    return attributes;
  }
  kj::Maybe<uint64_t> size(InodeId inode) {
    return cache.attributes(inode, now).map([](const FileAttributes& attributes) { return attributes.size; });
  }
  bool mayWrite(InodeId inode) { return cache.allows(inode, LeaseKind::WRITE, now); }
  bool mayRead(InodeId inode) { return cache.allows(inode, LeaseKind::READ, now); }
};

TEST_F(LeaseCacheTest, AttributesAreAnsweredWhileTheLeaseIsHeldAndInTerm) {
  cache.learn(told(FILE, LeaseKind::READ, 5, 50));
  EXPECT_EQ(KJ_ASSERT_NONNULL(size(FILE)), 50u);
  EXPECT_TRUE(mayRead(FILE));
  EXPECT_FALSE(mayWrite(FILE));
  now += 10 * kj::SECONDS;
  EXPECT_TRUE(size(FILE) == nullptr) << "nobody has renewed it";
  EXPECT_FALSE(mayRead(FILE));
  cache.renewed(now - 1 * kj::SECONDS, 10 * kj::SECONDS);
  EXPECT_EQ(KJ_ASSERT_NONNULL(size(FILE)), 50u) << "valid again: nobody wanted it meanwhile";
}

TEST_F(LeaseCacheTest, AnAnswerWithoutALeaseIsNotKept) {
  cache.learn(told(FILE, LeaseKind::NONE, 5, 50));
  EXPECT_TRUE(size(FILE) == nullptr);
  EXPECT_EQ(cache.inodes(), 0u);
  auto unsure = told(FILE, LeaseKind::READ, 6, 60);
  unsure.unsure = true;
  cache.learn(unsure);
  EXPECT_TRUE(size(FILE) == nullptr) << "another client knows better";
}

TEST_F(LeaseCacheTest, OfTwoAnswersTheOneWithTheHigherStampIsTrue) {
  cache.learn(told(FILE, LeaseKind::WRITE, 6, 60));
  cache.learn(told(FILE, LeaseKind::READ, 5, 50));
  EXPECT_EQ(KJ_ASSERT_NONNULL(size(FILE)), 60u);
  EXPECT_TRUE(mayWrite(FILE)) << "only a recall takes away";
  cache.learn(told(FILE, LeaseKind::READ, 7, 70));
  EXPECT_EQ(KJ_ASSERT_NONNULL(size(FILE)), 70u);
  EXPECT_TRUE(mayWrite(FILE));
}

TEST_F(LeaseCacheTest, AGrantThatARecallHasOvertakenIsVoid) {
  cache.recall(FILE, LeaseKind::NONE, 10);
  cache.recalled(FILE);
  cache.learn(told(FILE, LeaseKind::WRITE, 9, 90));
  EXPECT_FALSE(mayRead(FILE));
  EXPECT_TRUE(size(FILE) == nullptr);
  cache.learn(told(FILE, LeaseKind::READ, 11, 110));
  EXPECT_EQ(KJ_ASSERT_NONNULL(size(FILE)), 110u);
}

TEST_F(LeaseCacheTest, AnAnswerThatARecallHasOvertakenIsTrueOfTheReadThatIsLeft) {
  cache.learn(told(FILE, LeaseKind::WRITE, 5, 50));
  cache.recall(FILE, LeaseKind::READ, 10);
  cache.recalled(FILE);
  cache.learn(told(FILE, LeaseKind::WRITE, 9, 90));  // to a truncate of our own
  EXPECT_FALSE(mayWrite(FILE));
  EXPECT_EQ(KJ_ASSERT_NONNULL(size(FILE)), 90u);
  cache.recall(FILE, LeaseKind::NONE, 20);
  cache.recalled(FILE);
  cache.learnLease({FILE, LeaseKind::READ, 25});
  cache.learn(told(FILE, LeaseKind::READ, 15, 150));
  EXPECT_TRUE(size(FILE) == nullptr) << "of before a recall that left nothing";
}

TEST_F(LeaseCacheTest, AGrantDoesNotGoOnWithALeaseThatASilenceHasTaken) {
  cache.learn(told(FILE, LeaseKind::WRITE, 5, 50));
  now += 11 * kj::SECONDS;
  cache.learn(told(FILE, LeaseKind::WRITE, 30, 300));  // it comes before the news
  EXPECT_EQ(cache.voidUpTo(20), std::vector<InodeId>{FILE});
  cache.renewed(now, 10 * kj::SECONDS);
  EXPECT_FALSE(mayRead(FILE));
  cache.learn(told(FILE, LeaseKind::WRITE, 31, 310));
  EXPECT_TRUE(mayWrite(FILE));
}

TEST_F(LeaseCacheTest, TheStampOfAForgottenRecallCountsForEverybody) {
  cache.recall(FILE, LeaseKind::NONE, 10);
  cache.recalled(FILE);
  EXPECT_EQ(cache.inodes(), 0u) << "nothing is left of it but its stamp";
  cache.learn(told(OTHER, LeaseKind::READ, 8, 80));
  EXPECT_FALSE(mayRead(OTHER));
  cache.learn(told(OTHER, LeaseKind::READ, 12, 120));
  EXPECT_TRUE(mayRead(OTHER));
}

TEST_F(LeaseCacheTest, NothingBeginsDuringARecallAndWhatIsUnderWayStillHoldsIt) {
  cache.learn(told(FILE, LeaseKind::WRITE, 5, 50));
  cache.recall(FILE, LeaseKind::READ, 10);
  EXPECT_FALSE(mayWrite(FILE));
  EXPECT_TRUE(mayRead(FILE)) << "that much is left";
  EXPECT_TRUE(size(FILE) != nullptr);
  EXPECT_TRUE(cache.has(FILE, LeaseKind::WRITE));
  EXPECT_EQ(cache.held().at(0).kind, LeaseKind::WRITE) << "a resumed session names it";
  cache.recalled(FILE);
  EXPECT_FALSE(cache.has(FILE, LeaseKind::WRITE));
  EXPECT_TRUE(mayRead(FILE));
}

TEST_F(LeaseCacheTest, WhatTheRecallOfAWriteLeasePublishesIsKnownUnderTheReadLeaseThatIsLeft) {
  cache.learn(told(FILE, LeaseKind::WRITE, 5, 50));
  cache.recall(FILE, LeaseKind::READ, 10);
  cache.learn(told(FILE, LeaseKind::READ, 11, 60));
  cache.recalled(FILE);
  EXPECT_EQ(KJ_ASSERT_NONNULL(size(FILE)), 60u);
}

TEST_F(LeaseCacheTest, ARecallThatComesTwiceEndsWithTheLast) {
  cache.learn(told(FILE, LeaseKind::WRITE, 5, 50));
  cache.recall(FILE, LeaseKind::READ, 10);
  cache.recall(FILE, LeaseKind::NONE, 11);
  EXPECT_FALSE(mayRead(FILE));
  cache.recalled(FILE);
  EXPECT_TRUE(cache.has(FILE, LeaseKind::WRITE));
  cache.recalled(FILE);
  EXPECT_FALSE(cache.has(FILE, LeaseKind::READ));
}

TEST_F(LeaseCacheTest, WhatAnswersGrantDuringARecallGoesWithIt) {
  cache.learn(told(FILE, LeaseKind::WRITE, 5, 50));
  cache.recall(FILE, LeaseKind::NONE, 10);
  cache.learn(told(FILE, LeaseKind::WRITE, 12, 120));  // to the publish that the recall needs
  cache.recalled(FILE);
  EXPECT_FALSE(cache.has(FILE, LeaseKind::READ));
}

TEST_F(LeaseCacheTest, AnAppendLeaseCachesNothing) {
  cache.learn(told(FILE, LeaseKind::APPEND, 5, 50));
  EXPECT_TRUE(cache.allows(FILE, LeaseKind::APPEND, now));
  EXPECT_FALSE(mayRead(FILE));
  EXPECT_TRUE(size(FILE) == nullptr);
  cache.learn(told(FILE, LeaseKind::READ, 6, 60));
  EXPECT_TRUE(mayRead(FILE)) << "the newer of the two is what we have";
  EXPECT_FALSE(cache.allows(FILE, LeaseKind::APPEND, now));
}

TEST_F(LeaseCacheTest, NamesAndTheirAbsenceAreAnsweredUnderTheLeaseOfTheDirectory) {
  cache.learnName(DIRECTORY, "a", FILE, 5);
  EXPECT_TRUE(cache.name(DIRECTORY, "a", now) == nullptr) << "the directory is not leased";
  cache.learnLease({DIRECTORY, LeaseKind::READ, 6});
  cache.learnName(DIRECTORY, "a", FILE, 6);
  cache.learnName(DIRECTORY, "b", InodeId(), 6);
  EXPECT_EQ(KJ_ASSERT_NONNULL(cache.name(DIRECTORY, "a", now)), FILE);
  EXPECT_EQ(KJ_ASSERT_NONNULL(cache.name(DIRECTORY, "b", now)), InodeId());
  EXPECT_TRUE(cache.name(DIRECTORY, "c", now) == nullptr);
  cache.recall(DIRECTORY, LeaseKind::NONE, 10);
  EXPECT_TRUE(cache.name(DIRECTORY, "a", now) == nullptr);
  cache.recalled(DIRECTORY);
}

TEST_F(LeaseCacheTest, AnOldAnswerAboutANameDoesNotUndoAnOwnChange) {
  cache.learnLease({DIRECTORY, LeaseKind::READ, 6});
  cache.learnName(DIRECTORY, "a", FILE, 10);      // made here
  cache.learnName(DIRECTORY, "a", InodeId(), 9);  // looked up before that
  EXPECT_EQ(KJ_ASSERT_NONNULL(cache.name(DIRECTORY, "a", now)), FILE);
  cache.forgetName(DIRECTORY, "a", 12);       // renamed here
  cache.learnName(DIRECTORY, "a", FILE, 11);  // looked up before that
  EXPECT_TRUE(cache.name(DIRECTORY, "a", now) == nullptr);
  cache.learnName(DIRECTORY, "a", OTHER, 13);
  EXPECT_EQ(KJ_ASSERT_NONNULL(cache.name(DIRECTORY, "a", now)), OTHER);
}

TEST_F(LeaseCacheTest, NamesThatAreTooManyGoWithoutTheirLease) {
  cache.learnLease({DIRECTORY, LeaseKind::READ, 1});
  for (int i = 0; i < 60; ++i) cache.learnName(DIRECTORY, kj::str("n", i), FILE, 2);
  cache.learnLease({OTHER, LeaseKind::READ, 3});
  for (int i = 0; i < 10; ++i) cache.learnName(OTHER, kj::str("n", i), FILE, 4);
  EXPECT_LE(cache.names(), 64u);
  EXPECT_TRUE(cache.name(DIRECTORY, "n1", now) == nullptr);
  EXPECT_TRUE(mayRead(DIRECTORY));
  EXPECT_EQ(KJ_ASSERT_NONNULL(cache.name(OTHER, "n9", now)), FILE);
  cache.learnName(DIRECTORY, "n1", InodeId(), 1);
  EXPECT_TRUE(cache.name(DIRECTORY, "n1", now) == nullptr) << "older than what was dropped";
}

TEST_F(LeaseCacheTest, LeasesThatAreTooManyAreGivenBackOldestFirst) {
  cache.learn(told(InodeId(100), LeaseKind::WRITE, 1));
  for (uint64_t i = 101; i < 140; ++i) cache.learn(told(InodeId(i), LeaseKind::READ, i));
  EXPECT_TRUE(size(InodeId(101)) != nullptr) << "used just now";
  auto excess = cache.excess();
  EXPECT_EQ(excess.size(), 40u - 32 + 2);
  std::set<InodeId> named;
  for (auto& lease : excess) {
    named.insert(lease.inode);
    EXPECT_EQ(lease.stamp, lease.inode.value());
    EXPECT_FALSE(mayRead(lease.inode));
  }
  EXPECT_FALSE(named.count(InodeId(100))) << "files that are written stay";
  EXPECT_FALSE(named.count(InodeId(101)));
  EXPECT_TRUE(named.count(InodeId(102)));
  for (auto& lease : excess) cache.recalled(lease.inode);
  EXPECT_EQ(cache.inodes(), 30u);
  EXPECT_TRUE(cache.excess().empty());
}

TEST_F(LeaseCacheTest, AfterSilenceTheLeasesUpToAStampAreVoid) {
  cache.learn(told(FILE, LeaseKind::WRITE, 5));
  cache.learn(told(OTHER, LeaseKind::READ, 9));
  EXPECT_EQ(cache.voidUpTo(7), std::vector<InodeId>{FILE});
  EXPECT_FALSE(mayRead(FILE));
  EXPECT_TRUE(mayRead(OTHER));
  cache.learn(told(FILE, LeaseKind::READ, 6));
  EXPECT_FALSE(mayRead(FILE)) << "an answer from before";
  cache.refuse(OTHER);
  EXPECT_FALSE(mayRead(OTHER));
}

TEST_F(LeaseCacheTest, AWriteLeaseIsLoweredWithTheStampItIsKnownBy) {
  cache.learn(told(FILE, LeaseKind::WRITE, 5));
  auto lowered = KJ_ASSERT_NONNULL(cache.lower(FILE));
  EXPECT_EQ(lowered.kind, LeaseKind::READ);
  EXPECT_EQ(lowered.stamp, 5u);
  EXPECT_FALSE(mayWrite(FILE));
  EXPECT_TRUE(mayRead(FILE));
  EXPECT_TRUE(cache.lower(FILE) == nullptr);
}

// ---------------------------------------------------------------------------------------------------------
// A model: one true value per inode, which others change only once our lease has been recalled. Whatever
// order answers and recalls come in, what is answered from memory is a value that was true at some moment
// since it was granted.

TEST_F(LeaseCacheTest, WhateverOvertakesWhatNoOverwrittenValueIsAnswered) {
  uint64_t seed = std::random_device()();
  if (auto given = std::getenv("CAIRN_SEED")) seed = std::strtoull(given, nullptr, 10);
  SCOPED_TRACE(kj::str("CAIRN_SEED=", seed).cStr());
  std::mt19937_64 random(seed);
  struct Truth {
    uint64_t value = 0;
    bool isLeased = false, isRecalling = false;
  };
  std::map<uint64_t, Truth> truths;
  std::vector<FileAttributes> onTheirWay;
  std::vector<uint64_t> recalls;
  uint64_t stamp = 0;
  for (int step = 0; step < 200'000; ++step) {
    auto inode = 1 + random() % 20;
    auto& truth = truths[inode];
    switch (random() % 6) {
      case 0:  // an answer leaves the metaserver
        if (!truth.isRecalling) truth.isLeased = true;
        onTheirWay.push_back(told(InodeId(inode), truth.isRecalling ? LeaseKind::NONE : LeaseKind::READ,
                                  ++stamp, truth.value));
        break;
      case 1:
      case 2:  // one arrives
        if (!onTheirWay.empty()) {
          auto place = onTheirWay.begin() + long(random() % onTheirWay.size());
          cache.learn(*place);
          onTheirWay.erase(place);
        }
        break;
      case 3:  // another client wants to change it
        if (truth.isRecalling) break;
        if (truth.isLeased) {
          truth.isRecalling = true;
          cache.recall(InodeId(inode), LeaseKind::NONE, ++stamp);
          recalls.push_back(inode);
        } else {
          ++truth.value;
        }
        break;
      case 4:  // a recall has been obeyed: the change is made
        if (!recalls.empty()) {
          auto place = recalls.begin() + long(random() % recalls.size());
          cache.recalled(InodeId(*place));
          auto& done = truths[*place];
          done.isLeased = done.isRecalling = false;
          ++done.value;
          recalls.erase(place);
        }
        break;
      case 5:
        KJ_IF_MAYBE (answered, size(InodeId(inode))) {
          ASSERT_EQ(*answered, truth.value) << "step " << step;
        }
        break;
    }
    if (step % 1000 == 0) cache.checkInvariants();
  }
}

}  // namespace
}  // namespace cairn::client
