// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Who may cache what, and whose turn it is. Time is set by hand.
#include "metaserver/cache_leases.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

namespace cairn {
namespace {

constexpr SessionId A{1}, B{2}, C{3};
constexpr InodeId FILE{7}, OTHER{8}, THIRD{9};
constexpr auto NONE = LeaseKind::NONE, READ = LeaseKind::READ, WRITE = LeaseKind::WRITE;
constexpr kj::Duration BELIEVED = LEASE_CACHE_TERM + CLOCK_ERROR_MAX;

class CacheLeasesTest : public testing::Test {
 public:
  ~CacheLeasesTest() noexcept override { leases->checkInvariants(); }

 protected:
  using Caching = CacheLeases::Caching;
  using End = CacheLeases::End;
  std::unique_ptr<CacheLeases> leases = std::make_unique<CacheLeases>(CacheLeases::Start{Epoch(1)});
  kj::TimePoint now = kj::origin<kj::TimePoint>();
  LeaseActions seen;  // all since the last expect...()

  void join(std::initializer_list<SessionId> ids) {
    for (auto id : ids) leases->opened(id, Caching::YES, now);
  }
  void restart(std::initializer_list<SessionId> known, LeaseLimits limits = {}) {
    static uint64_t epoch = 1;
    leases = std::make_unique<CacheLeases>(CacheLeases::Start{Epoch(++epoch), InodeId(100), now}, limits);
    for (auto id : known) leases->restored(id);
  }
  LeaseKind grant(SessionId id, LeaseKind most = READ, InodeId inode = FILE) {
    return leases->grant(id, inode, most, now).kind;
  }
  ClaimId claim(SessionId id, Wish wish, std::initializer_list<InodeId> inodes = {FILE}) {
    auto claim = leases->claim(id, kj::arrayPtr(inodes.begin(), inodes.size()), wish, now);
    look();
    return claim;
  }
  void look() {
    leases->checkInvariants();
    auto actions = leases->take();
    for (auto& recall : actions.recalls) seen.recalls.add(recall);
    for (auto inode : actions.unclean) seen.unclean.add(inode);
    for (auto id : actions.unresponsive) seen.unresponsive.add(id);
    for (auto id : actions.lost) seen.lost.add(id);
  }
  bool isReady(ClaimId claim) {
    look();
    return leases->isReady(claim);
  }
  void done(ClaimId claim) {
    leases->done(claim, now);
    look();
  }
  void pass(kj::Duration duration) {
    // As the driver does: wakes when it is asked to, not later.
    auto end = now + duration;
    for (;;) {
      auto next = leases->next();
      KJ_IF_MAYBE (at, next) {
        if (*at <= end) {
          now = kj::max(now, *at);
          leases->tick(now);
          look();
          if (leases->next() == next) break;  // nothing comes of it any more
          continue;
        }
      }
      break;
    }
    now = end;
    leases->tick(now);
    look();
  }
  void renew(SessionId id) { leases->renewed(id, now); }
  std::string recalls() {
    // "A7:none B8:read": those sent since the last call, and they are forgotten here.
    look();
    std::string text;
    const char* kinds[] = {"none", "read", "append", "write"};
    for (auto& recall : seen.recalls) {
      if (!text.empty()) text += " ";
      text +=
          kj::str(char('A' + recall.session.value() - 1), recall.inode, ":", kinds[uint16_t(recall.allowed)])
              .cStr();
      last[{recall.session, recall.inode}] = recall;
    }
    seen.recalls.clear();
    return text;
  }
  void obey(SessionId id, InodeId inode = FILE) {
    // Answers the last recall that recalls() has shown.
    auto& recall = last.at({id, inode});
    leases->givenBack(id, {inode, recall.allowed, recall.stamp}, now);
    look();
  }
  kj::Vector<InodeId> resume(SessionId id, std::initializer_list<HeldLease> named) {
    auto refused = leases->resumed(id, Caching::YES, kj::arrayPtr(named.begin(), named.size()), now);
    look();
    return refused;
  }
  std::map<std::pair<SessionId, InodeId>, LeaseRecall> last;
};

// ---------------------------------------------------------------------------------------- pauses of writing

TEST_F(CacheLeasesTest, APauseGivesWriteLeasesOnlyToThoseWhoClaimedBefore) {
  join({A, B});
  EXPECT_EQ(grant(A, WRITE), WRITE);
  auto before = claim(B, Wish::WRITE);
  auto pause = leases->pauseWriting();
  EXPECT_TRUE(leases->hasWriter(FILE));
  EXPECT_EQ(grant(A, WRITE, OTHER), READ) << "an answer gives what can be read";
  EXPECT_EQ(grant(A, WRITE), NONE) << "it is being recalled";
  auto after = claim(B, Wish::WRITE, {OTHER}), appends = claim(A, Wish::APPEND, {THIRD});
  auto reads = claim(B, Wish::READ, {InodeId(20)});
  EXPECT_TRUE(isReady(reads));
  EXPECT_EQ(recalls(), "A7:none");
  obey(A);
  EXPECT_TRUE(isReady(before));
  EXPECT_FALSE(isReady(after));
  EXPECT_FALSE(isReady(appends));
  EXPECT_FALSE(leases->hasWriter(OTHER)) << "who waits for the end of the pause is none";
  leases->resumeWriting(pause, now);
  EXPECT_TRUE(isReady(appends));
  EXPECT_EQ(recalls(), "A8:none");
  obey(A, OTHER);
  EXPECT_TRUE(isReady(after));
  EXPECT_TRUE(leases->hasWriter(OTHER));
}

TEST_F(CacheLeasesTest, NobodyWaitsForThoseWhoWaitForTheEndOfAPause) {
  join({A, B, C});
  EXPECT_EQ(grant(A, WRITE), WRITE);
  auto pause = leases->pauseWriting();
  auto own = claim(SessionId(), Wish::CHANGE, {FILE, OTHER});
  auto later = claim(B, Wish::WRITE), change = claim(A, Wish::CHANGE, {FILE, OTHER});
  EXPECT_EQ(recalls(), "A7:none");
  obey(A);
  EXPECT_TRUE(isReady(own));
  EXPECT_FALSE(isReady(later));
  done(own);
  EXPECT_TRUE(isReady(change)) << "it overtakes one that waits for the end";
  leases->resumeWriting(pause, now);
  EXPECT_FALSE(isReady(later)) << "it is before it now";
  done(change);
  EXPECT_TRUE(isReady(later));
}

TEST_F(CacheLeasesTest, InAPauseFilesThatSomebodyWaitsToWriteAreReadAsAnyOther) {
  join({A, B, C});
  auto pause = leases->pauseWriting();
  auto writes = claim(A, Wish::WRITE);
  EXPECT_EQ(grant(B), READ);
  auto reads = claim(C, Wish::READ);
  EXPECT_TRUE(isReady(reads));
  done(reads);
  EXPECT_FALSE(isReady(writes));
  leases->resumeWriting(pause, now);
  EXPECT_EQ(recalls(), "B7:none C7:none");
  obey(B);
  obey(C);
  EXPECT_TRUE(isReady(writes));
}

TEST_F(CacheLeasesTest, WhatIsWrittenIsWhatHasAWriterOrOneWhoMayStillBecomeIt) {
  join({A, B});
  EXPECT_EQ(grant(A, WRITE), WRITE);
  EXPECT_EQ(grant(A, READ, THIRD), READ);
  auto before = claim(B, Wish::APPEND, {THIRD});
  auto pause = leases->pauseWriting();
  auto after = claim(B, Wish::WRITE, {OTHER});
  auto written = leases->written();
  EXPECT_EQ(std::vector<InodeId>(written.begin(), written.end()), (std::vector<InodeId>{FILE, THIRD}));
  done(before);
  done(after);
  leases->resumeWriting(pause, now);
}

TEST_F(CacheLeasesTest, OfTwoPausesTheFirstHoldsUpWhatWasClaimedBetween) {
  join({A});
  auto first = leases->pauseWriting();
  auto between = claim(A, Wish::WRITE);
  auto second = leases->pauseWriting();
  auto after = claim(A, Wish::WRITE, {OTHER});
  EXPECT_FALSE(isReady(between));
  leases->resumeWriting(first, now);
  EXPECT_TRUE(isReady(between));
  EXPECT_FALSE(isReady(after));
  leases->resumeWriting(second, now);
  EXPECT_TRUE(isReady(after));
}

// ---------------------------------------------------------------------------------------- in answers

TEST_F(CacheLeasesTest, ManyMayReadAndOneMayWrite) {
  join({A, B});
  EXPECT_EQ(grant(A), READ);
  EXPECT_EQ(grant(B), READ);
  EXPECT_EQ(grant(A, WRITE), READ) << "an answer takes nothing from another";
  EXPECT_EQ(grant(A, WRITE, OTHER), WRITE);
  EXPECT_EQ(grant(B, READ, OTHER), NONE);
  EXPECT_EQ(recalls(), "");
}

TEST_F(CacheLeasesTest, AnAnswerNeverSaysLessThanWhatIsHeld) {
  join({A});
  EXPECT_EQ(grant(A, WRITE), WRITE);
  EXPECT_EQ(grant(A, READ), WRITE);
}

TEST_F(CacheLeasesTest, StampsRiseWithEveryAnswerAndEveryStart) {
  join({A, B});
  auto first = leases->grant(A, FILE, READ, now).stamp;
  auto second = leases->grant(B, FILE, WRITE, now).stamp;
  EXPECT_LT(first, second);
  restart({});
  join({A});
  EXPECT_LT(second, leases->grant(A, FILE, READ, now).stamp);
}

TEST_F(CacheLeasesTest, WhoKnowsNoLeasesGetsNone) {
  leases->opened(A, Caching::NO, now);
  EXPECT_EQ(grant(A, WRITE), NONE);
  auto change = claim(A, Wish::CHANGE);
  EXPECT_TRUE(isReady(change));
  done(change);
  EXPECT_TRUE(leases->isAlone(A));
}

TEST_F(CacheLeasesTest, WhoIsSilentForTheTermGetsNoneUntilItRenews) {
  join({A});
  pass(LEASE_CACHE_TERM);
  EXPECT_EQ(grant(A), NONE);
  renew(A);
  EXPECT_EQ(grant(A), READ);
}

// -------------------------------------------------------------------------------------- claims and recalls

TEST_F(CacheLeasesTest, AChangeWaitsUntilOthersHaveForgottenAndTheCallerKeepsItsOwn) {
  join({A, B, C});
  grant(A), grant(B), grant(C);
  auto change = claim(A, Wish::CHANGE);
  EXPECT_EQ(recalls(), "B7:none C7:none");
  obey(B);
  EXPECT_FALSE(isReady(change));
  obey(C);
  EXPECT_TRUE(isReady(change));
  EXPECT_EQ(grant(B), NONE) << "the change is under way";
  EXPECT_EQ(grant(A), READ);
  done(change);
  EXPECT_EQ(grant(B), READ);
}

TEST_F(CacheLeasesTest, AReaderLeavesAWriterTheRead) {
  join({A, B});
  grant(A, WRITE);
  auto reading = claim(B, Wish::READ);
  EXPECT_EQ(recalls(), "A7:read");
  obey(A);
  EXPECT_TRUE(isReady(reading));
  EXPECT_EQ(grant(B), READ);
  done(reading);
  EXPECT_EQ(grant(A), READ);
  EXPECT_FALSE(leases->mayWrite(A, FILE));
}

TEST_F(CacheLeasesTest, AWriterHasTheFileToItself) {
  join({A, B, C});
  grant(B), grant(C);
  auto writing = claim(A, Wish::WRITE);
  EXPECT_EQ(recalls(), "B7:none C7:none");
  obey(B), obey(C);
  EXPECT_TRUE(isReady(writing));
  done(writing);
  EXPECT_TRUE(leases->mayWrite(A, FILE));
  EXPECT_EQ(grant(B), NONE);
}

TEST_F(CacheLeasesTest, ManyMayAppendAndThenNobodyCaches) {
  join({A, B, C});
  auto one = claim(A, Wish::APPEND), two = claim(B, Wish::APPEND);
  EXPECT_TRUE(isReady(one) && isReady(two));
  done(one), done(two);
  EXPECT_EQ(recalls(), "");
  EXPECT_EQ(grant(C), NONE);
  auto reading = claim(C, Wish::READ);
  EXPECT_EQ(recalls(), "A7:none B7:none");
  obey(A), obey(B);
  EXPECT_TRUE(isReady(reading));
  done(reading);
}

TEST_F(CacheLeasesTest, WhoReadsWhatItAppendsToGetsTheWriteLease) {
  join({A, B});
  done(claim(A, Wish::APPEND));
  done(claim(B, Wish::APPEND));
  auto reading = claim(A, Wish::READ);
  EXPECT_EQ(recalls(), "B7:none");
  obey(B);
  EXPECT_TRUE(isReady(reading));
  EXPECT_EQ(grant(A), WRITE);
  done(reading);
}

TEST_F(CacheLeasesTest, TurnsAreTakenInTheOrderOfTheCalls) {
  join({A, B, C});
  auto first = claim(A, Wish::WRITE);
  auto second = claim(B, Wish::WRITE);
  auto third = claim(C, Wish::READ);
  auto late = claim(A, Wish::CHANGE);
  EXPECT_TRUE(isReady(first));
  EXPECT_EQ(recalls(), "") << "the first has not been told yet";
  done(first);
  EXPECT_EQ(recalls(), "A7:none");
  obey(A);
  EXPECT_TRUE(isReady(second));
  EXPECT_FALSE(isReady(third) || isReady(late));
  done(second);
  EXPECT_EQ(recalls(), "B7:read");
  obey(B);
  EXPECT_TRUE(isReady(third));
  done(third);
  EXPECT_EQ(recalls(), "B7:none C7:none");
  obey(B), obey(C);
  EXPECT_TRUE(isReady(late));
  done(late);
}

TEST_F(CacheLeasesTest, ChangesOfOneSessionDoNotWaitForEachOther) {
  join({A, B});
  auto one = claim(A, Wish::CHANGE), two = claim(A, Wish::CHANGE, {FILE, OTHER});
  EXPECT_TRUE(isReady(one) && isReady(two));
  auto others = claim(B, Wish::CHANGE, {OTHER});
  EXPECT_FALSE(isReady(others));
  done(one), done(two);
  EXPECT_TRUE(isReady(others));
  done(others);
}

TEST_F(CacheLeasesTest, ClaimsOnSeveralInodesDoNotWaitForEachOtherInACircle) {
  join({A, B, C});
  auto one = claim(A, Wish::CHANGE, {FILE, OTHER});
  auto two = claim(B, Wish::CHANGE, {OTHER, THIRD});
  auto three = claim(C, Wish::CHANGE, {THIRD, FILE});
  EXPECT_TRUE(isReady(one));
  EXPECT_FALSE(isReady(two) || isReady(three));
  done(one);
  EXPECT_TRUE(isReady(two));
  done(two);
  EXPECT_TRUE(isReady(three));
  done(three);
}

TEST_F(CacheLeasesTest, WhileSomebodyWaitsNobodyElseIsGrantedAnything) {
  join({A, B, C});
  grant(A, WRITE);
  auto change = claim(B, Wish::CHANGE);
  EXPECT_EQ(recalls(), "A7:none");
  EXPECT_EQ(grant(C), NONE);
  EXPECT_EQ(grant(A), NONE) << "an answer under a recall would outlive it";
  obey(A);
  EXPECT_EQ(grant(A), NONE);
  done(change);
  EXPECT_EQ(grant(A), READ);
}

TEST_F(CacheLeasesTest, ALaterClaimMayAskForMoreThanTheOneBefore) {
  join({A, B, C});
  grant(A, WRITE);
  auto reading = claim(B, Wish::READ);
  EXPECT_EQ(recalls(), "A7:read");
  done(reading);  // it has been waited for long enough
  auto change = claim(C, Wish::CHANGE);
  EXPECT_EQ(recalls(), "A7:none");
  leases->givenBack(A, {FILE, READ, last.at({A, FILE}).stamp}, now);
  EXPECT_FALSE(isReady(change)) << "half an answer";
  obey(A);
  EXPECT_TRUE(isReady(change));
  done(change);
}

TEST_F(CacheLeasesTest, TheAnswerToAnOldRecallTakesNoNewGrant) {
  join({A, B});
  grant(A);
  auto change = claim(B, Wish::CHANGE);
  EXPECT_EQ(recalls(), "A7:none");
  obey(A);
  done(change);
  EXPECT_EQ(grant(A), READ);
  obey(A);
  EXPECT_TRUE(leases->anyBeside(B, FILE));
}

TEST_F(CacheLeasesTest, WhatIsGivenBackInTimeNeedsNoRecall) {
  join({A, B});
  auto stamp = leases->grant(A, FILE, WRITE, now).stamp;
  leases->givenBack(A, {FILE, NONE, LeaseStamp(stamp.value() - 1)}, now);
  EXPECT_TRUE(leases->mayWrite(A, FILE)) << "a newer grant is on its way to it";
  leases->givenBack(A, {FILE, READ, stamp}, now);
  EXPECT_FALSE(leases->mayWrite(A, FILE));
  leases->givenBack(A, {FILE, NONE, stamp}, now);
  auto change = claim(B, Wish::CHANGE);
  EXPECT_TRUE(isReady(change));
  EXPECT_EQ(recalls(), "");
  done(change);
}

TEST_F(CacheLeasesTest, ACallerThatAsksAgainHasKeptItsPlaceForAWhile) {
  join({A, B});
  grant(A, WRITE);
  auto change = claim(B, Wish::CHANGE);
  leases->leave(change, now + 4 * kj::SECONDS);
  EXPECT_EQ(recalls(), "A7:none");
  obey(A);
  EXPECT_EQ(grant(A, WRITE), NONE) << "the caller is still to come";
  renew(A), renew(B);
  pass(3 * kj::SECONDS);
  leases->join(change);
  pass(3 * kj::SECONDS);
  EXPECT_TRUE(isReady(change));
  leases->leave(change, now + 4 * kj::SECONDS);
  pass(4 * kj::SECONDS);
  EXPECT_FALSE(leases->knows(change));
  EXPECT_EQ(grant(A, WRITE), NONE) << "silent for its term";
  renew(A);
  EXPECT_EQ(grant(A, WRITE), WRITE);
}

// --------------------------------------------------------------------------------------------- silence

TEST_F(CacheLeasesTest, ASilentSessionDelaysOthersUntilItCannotBelieveInItsLeasesAnyMore) {
  join({A, B});
  grant(A), grant(A, READ, OTHER);
  pass(2 * kj::SECONDS);
  renew(A);
  auto change = claim(B, Wish::CHANGE);
  pass(BELIEVED - 1 * kj::MILLISECONDS);
  EXPECT_FALSE(isReady(change));
  pass(1 * kj::MILLISECONDS);
  EXPECT_TRUE(isReady(change));
  EXPECT_EQ(seen.lost.size(), 1u);
  EXPECT_EQ(seen.unclean.size(), 0u) << "it did not write";
  EXPECT_FALSE(leases->anyBeside(B, OTHER)) << "it hears of one stamp, not of each lease";
  EXPECT_TRUE(leases->voidUpTo(A));
  done(change);
  renew(A);
  EXPECT_GT(leases->grant(A, FILE, READ, now).stamp, leases->voidUpTo(A));
}

TEST_F(CacheLeasesTest, NothingIsTakenFromASilentSessionThatNobodyWants) {
  join({A, B});
  grant(A, WRITE);
  pass(50 * kj::SECONDS);
  renew(A), renew(B);
  EXPECT_EQ(grant(A), WRITE);
  EXPECT_FALSE(leases->voidUpTo(A));
}

TEST_F(CacheLeasesTest, AfterALostWriterTheChunksAreFencedFirst) {
  join({A, B, C});
  grant(A, WRITE);
  auto writing = claim(B, Wish::WRITE);
  for (auto i = 0; i < 12; ++i) pass(1 * kj::SECONDS), renew(B), renew(C);
  EXPECT_FALSE(isReady(writing));
  ASSERT_EQ(seen.unclean.size(), 1u);
  EXPECT_EQ(grant(C), NONE);
  leases->fenced(FILE, now);
  EXPECT_TRUE(isReady(writing));
  EXPECT_EQ(seen.unclean.size(), 1u) << "once is enough";
  done(writing);
}

TEST_F(CacheLeasesTest, WhatALostWriterHasPublishedComesFirst) {
  join({A, B});
  grant(A, WRITE);
  auto change = claim(B, Wish::CHANGE);
  for (auto i = 0; i < 10; ++i) pass(1 * kj::SECONDS), renew(B);
  auto publishing = leases->publish(A, FILE);  // on its way to the log
  pass(1 * kj::SECONDS);
  EXPECT_EQ(seen.lost.size(), 1u);
  EXPECT_FALSE(isReady(change));
  EXPECT_EQ(seen.unclean.size(), 0u);
  done(publishing);
  EXPECT_EQ(seen.unclean.size(), 1u);
  leases->fenced(FILE, now);
  EXPECT_TRUE(isReady(change));
  done(change);
}

TEST_F(CacheLeasesTest, AFileOfALostWriterIsFencedWhenItIsWantedAndIsNotGivenOutBefore) {
  join({A, B});
  grant(A, WRITE), grant(A, WRITE, OTHER);
  auto change = claim(B, Wish::CHANGE);
  for (auto i = 0; i < 12; ++i) pass(1 * kj::SECONDS), renew(B);
  EXPECT_EQ(seen.unclean.size(), 1u);
  leases->fenced(FILE, now);
  done(change);
  EXPECT_EQ(grant(B, READ, OTHER), NONE);
  renew(A);
  EXPECT_EQ(grant(A, WRITE, OTHER), NONE) << "what it sent before may still be on its way";
  auto again = claim(A, Wish::WRITE, {OTHER});
  EXPECT_EQ(seen.unclean.size(), 2u);
  leases->fenced(OTHER, now);
  EXPECT_TRUE(isReady(again));
  done(again);
}

TEST_F(CacheLeasesTest, ASessionThatRenewsAndDoesNotObeyIsFencedAndItsBeliefWaitedOut) {
  join({A, B});
  grant(A);
  auto change = claim(B, Wish::CHANGE);
  for (auto i = 0; i < 44; ++i) pass(1 * kj::SECONDS), renew(A), renew(B);
  EXPECT_EQ(seen.unresponsive.size(), 0u);
  pass(1 * kj::SECONDS);
  renew(A), renew(B);
  ASSERT_EQ(seen.unresponsive.size(), 1u);
  EXPECT_FALSE(isReady(change));
  leases->ended(A, End::FENCED, now);
  pass(BELIEVED - 1 * kj::MILLISECONDS);
  EXPECT_FALSE(isReady(change)) << "it has not heard of its end";
  pass(1 * kj::MILLISECONDS);
  EXPECT_TRUE(isReady(change));
  done(change);
}

TEST_F(CacheLeasesTest, ASessionThatClosesHasGivenAllBack) {
  join({A, B});
  grant(A, WRITE);
  auto change = claim(B, Wish::CHANGE);
  leases->ended(A, End::CLOSED, now);
  EXPECT_TRUE(isReady(change));
  EXPECT_EQ(seen.unclean.size(), 0u);
  done(change);
  EXPECT_TRUE(leases->isAlone(B));
}

// -------------------------------------------------------------------------------- reconnecting, restarting

TEST_F(CacheLeasesTest, WhatASessionDoesNotNameWhenItComesBackItHasNot) {
  join({A, B});
  auto stamp = leases->grant(A, FILE, READ, now).stamp;
  grant(A, READ, OTHER);
  EXPECT_EQ(resume(A, {{FILE, READ, stamp}}).size(), 0u);
  EXPECT_TRUE(leases->anyBeside(B, FILE));
  EXPECT_FALSE(leases->anyBeside(B, OTHER));
}

TEST_F(CacheLeasesTest, ARecallIsSentAgainToASessionThatComesBack) {
  join({A, B});
  auto stamp = leases->grant(A, FILE, WRITE, now).stamp;
  auto change = claim(B, Wish::CHANGE);
  EXPECT_EQ(recalls(), "A7:none");
  resume(A, {{FILE, WRITE, stamp}});
  EXPECT_EQ(recalls(), "A7:none");
  obey(A);
  EXPECT_TRUE(isReady(change));
  done(change);
}

TEST_F(CacheLeasesTest, ASessionThatComesBackWithoutWhatWasRecalledHasAnswered) {
  join({A, B});
  grant(A);
  auto change = claim(B, Wish::CHANGE);
  resume(A, {});
  EXPECT_TRUE(isReady(change));
  done(change);
}

TEST_F(CacheLeasesTest, ASessionCannotNameWhatWasTakenFromIt) {
  join({A, B});
  auto stamp = leases->grant(A, FILE, READ, now).stamp;
  auto change = claim(B, Wish::CHANGE);
  pass(BELIEVED);
  done(change);
  EXPECT_EQ(resume(A, {{FILE, READ, stamp}}).size(), 1u);
  EXPECT_FALSE(leases->anyBeside(B, FILE));
}

TEST_F(CacheLeasesTest, AfterAStartNothingIsGivenOutBeforeEverySessionHasComeBack) {
  join({A, B});
  auto stamp = leases->grant(A, FILE, WRITE, now).stamp;
  restart({A, B});
  resume(B, {});
  EXPECT_EQ(grant(B), NONE);
  auto change = claim(B, Wish::CHANGE);
  EXPECT_FALSE(isReady(change));
  EXPECT_EQ(resume(A, {{FILE, WRITE, stamp}}).size(), 0u);
  EXPECT_EQ(recalls(), "A7:none");
  obey(A);
  EXPECT_TRUE(isReady(change));
  done(change);
}

TEST_F(CacheLeasesTest, AfterAStartAWriterGoesOnAtOnce) {
  join({A, B});
  auto stamp = leases->grant(A, FILE, WRITE, now).stamp;
  restart({A, B});
  resume(A, {{FILE, WRITE, stamp}});
  auto change = claim(A, Wish::CHANGE);
  EXPECT_TRUE(isReady(change));
  EXPECT_FALSE(isReady(claim(A, Wish::CHANGE, {OTHER})));
  EXPECT_EQ(grant(A), WRITE);
  done(change);
}

TEST_F(CacheLeasesTest, ASessionThatDoesNotComeBackIsWaitedForForItsTermAndHauntsFilesForThatOfChunkLeases) {
  join({A, B});
  auto stamp = leases->grant(A, FILE, WRITE, now).stamp;
  restart({A, B});
  resume(B, {});
  auto change = claim(B, Wish::CHANGE);
  for (auto i = 0; i < 10; ++i) pass(1 * kj::SECONDS), renew(B);
  EXPECT_FALSE(leases->known());
  pass(1 * kj::SECONDS);
  renew(B);
  EXPECT_TRUE(leases->known());
  EXPECT_EQ(seen.unclean.size(), 1u) << "the missing one may have been its writer";
  leases->fenced(FILE, now);
  EXPECT_TRUE(isReady(change));
  done(change);
  EXPECT_EQ(grant(B), READ);
  EXPECT_EQ(grant(B, READ, OTHER), NONE);
  EXPECT_EQ(grant(B, WRITE, InodeId(100)), WRITE) << "made since";
  EXPECT_EQ(resume(A, {{FILE, WRITE, stamp}}).size(), 1u) << "too late";
  for (auto i = 0; i < 50; ++i) pass(1 * kj::SECONDS), renew(B);
  EXPECT_EQ(grant(B, READ, OTHER), READ);
}

// --------------------------------------------------------------------------------------------- bounds

TEST_F(CacheLeasesTest, BeyondTheBoundTheOldestOfTheGreediestAreRecalled) {
  restart({}, {.all = 100, .perSession = 80, .batch = 10});
  join({A, B});
  for (uint64_t i = 1; i <= 80; ++i) EXPECT_EQ(grant(A, READ, InodeId(i)), READ);
  for (uint64_t i = 1; i <= 20; ++i) EXPECT_EQ(grant(B, READ, InodeId(1000 + i)), READ);
  EXPECT_EQ(recalls(), "");
  EXPECT_EQ(grant(B, READ, InodeId(2000)), READ);
  EXPECT_EQ(recalls(), "A1:none A2:none A3:none A4:none A5:none A6:none A7:none A8:none A9:none A10:none");
  for (uint64_t i = 1; i <= 9; ++i) grant(B, READ, InodeId(2000 + i));
  EXPECT_EQ(recalls(), "") << "those on their way count as gone";
  for (uint64_t i = 1; i <= 10; ++i) obey(A, InodeId(i));
  EXPECT_EQ(leases->counts().held, 100u);
}

TEST_F(CacheLeasesTest, AnInodeThatIsGoneIsForgotten) {
  join({A, B});
  grant(A), grant(B);
  leases->forget(FILE);
  EXPECT_EQ(leases->counts().held, 0u);
}

}  // namespace
}  // namespace cairn
