// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The simulator finds the mistakes that it is there for: each mutant (env/mutation.h) breaks an invariant of
// life.h within a few seeds, and the same seeds are fine without it (cluster_test.cc).
#include <gtest/gtest.h>

#include "env/mutation.h"
#include "test/sim/cluster/life.h"

namespace cairn::sim {
namespace {

using MakeLife = Life (*)(uint64_t seed, uint32_t operations);

class Mutants : public testing::Test {
 public:
  ~Mutants() noexcept override { mutant = Mutant::NONE; }

 protected:
  void expectFound(Mutant which, MakeLife make, uint64_t seedsMax, uint32_t operations = 150) {
    mutant = which;
    for (uint64_t seed = 1; seed <= seedsMax; ++seed) {
      auto outcome = live(make(seed, operations));
      if (outcome.problems.empty()) continue;
      std::printf("found by seed %llu: %s\n", static_cast<unsigned long long>(seed),
                  outcome.problems[0].substr(0, 300).c_str());
      return;
    }
    ADD_FAILURE() << "no seed up to " << seedsMax << " finds it";
  }
};

TEST_F(Mutants, ReplicasLeftBehindThatStillCountAreFound) {
  expectFound(Mutant::KEEP_FLOOR, lifeUnderMisfortune, 8, 250);
}

TEST_F(Mutants, AHandOverWithoutReconcileIsFound) {
  expectFound(Mutant::SKIP_RECONCILE, lifeUnderPowerCuts, 6);
}

TEST_F(Mutants, AnFsyncThatDoesNotAskForTheBootIsFound) {
  // Of a file that nobody has touched between the return of the machines and the settling of its chunks,
  // seconds later: too rare in a life. The story is that of
  // Promises.FsyncFailsWhenTheBytesWentWithThePowerOfAllReplicas.
  for (auto which : {Mutant::NONE, Mutant::SYNC_IN_ANY_BOOT}) {
    mutant = which;
    SimCluster cluster;
    auto file = cluster.open("/f");
    auto bytes = kj::heap<kj::String>(kj::heapString("on all replicas, and on no disk"));
    auto view = bytes->asBytes();
    ASSERT_EQ(cluster.run(file->write(FileOffset(0), Bytes{view, kj::mv(bytes)})), Status::OK);
    ASSERT_EQ(cluster.run(file->sync()), Status::OK);
    bytes = kj::heap<kj::String>(kj::heapString("written since"));
    view = bytes->asBytes();
    ASSERT_EQ(cluster.run(file->write(FileOffset(0), Bytes{view, kj::mv(bytes)})), Status::OK);
    ASSERT_EQ(cluster.run(file->flush()), Status::OK);
    for (auto name : {"chunkd-1", "chunkd-2", "chunkd-3"}) cluster.powerCut(name);
    cluster.advance(1 * kj::SECONDS);
    for (auto name : {"chunkd-1", "chunkd-2", "chunkd-3"}) cluster.restart(name);
    cluster.write("/g", "so that there are connections again: a broken one makes fsync look for who counts");
    cluster.sync("/g");
    auto status = cluster.run(file->sync());
    EXPECT_EQ(status == Status::OK, which == Mutant::SYNC_IN_ANY_BOOT);
  }
}

TEST_F(Mutants, AnAnswerBeforeTheSecondariesIsFound) {
  expectFound(Mutant::ANSWER_BEFORE_THE_OTHERS, lifeUnderMisfortune, 8, 250);
}

TEST_F(Mutants, ADeleteByHandleAloneIsFound) {
  // Orders overtake nothing on their connection, so no life sees it: this is the second line of defence, and
  // the story is that of Promises.AnOrderToDeleteThatWasLateTakesNoNewerReplica.
  for (auto which : {Mutant::NONE, Mutant::DELETE_BY_HANDLE}) {
    mutant = which;
    SimCluster cluster;
    cluster.write("/f", "first");
    auto inode = cluster.find("/f");
    auto before = cluster.chunks(inode).at(0);
    auto other = kj::str("chunkd-", before.primary == ServerId(1) ? 2 : 1);
    cluster.kill(other);
    cluster.write("/f", "second");
    cluster.restart(other);
    cluster.waitRepaired();
    cluster.misdeliverDelete(other, before.handle, before.version);
    EXPECT_EQ(cluster.compareReplicas(inode).size() > 0, which == Mutant::DELETE_BY_HANDLE);
  }
}

TEST_F(Mutants, ATermThatEndsForOthersWithoutAMarginForClocksIsFound) {
  // A client is cut off with something in its memory, which another one changes: when that is answered, the
  // slowest clock says that the term is over, whatever the metaserver's says.
  for (auto which : {Mutant::NONE, Mutant::NO_CLOCK_MARGIN}) {
    mutant = which;
    SimCluster cluster({.clients = 2, .clocks = clocksApart("client-1")});
    cluster.write("/f", "x");
    auto inode = cluster.find("/f", 2);
    cluster.advance(500 * kj::MILLISECONDS);  // written out, and looked at since
    auto uidSeen = [&]() { return cluster.client(1).getAttributes(inode); };
    EXPECT_EQ(cluster.run(uidSeen())->uid, 0u);
    cluster.cut("client-1", METASERVER);
    AttributeChange change;
    change.uid = 7;
    auto began = cluster.time.elapsed();
    EXPECT_EQ(cluster.run(cluster.client(2).setAttributes(inode, kj::mv(change))).status(), Status::OK);
    EXPECT_GT(cluster.time.elapsed() - began, 5 * kj::SECONDS) << "it was waited for";
    auto answeredFromMemory =
        cluster.run(uidSeen()
                        .then([](auto&&) { return true; })
                        .exclusiveJoin(cluster.time.timer().afterDelay(1 * kj::MILLISECONDS).then([]() {
                          return false;
                        })));
    EXPECT_EQ(answeredFromMemory, which == Mutant::NO_CLOCK_MARGIN);
  }
}

}  // namespace
}  // namespace cairn::sim
