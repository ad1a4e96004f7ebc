// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What `cairn up` starts, given its options and what was started before; what it refuses; restarts and their
// pauses.
#include "cli/cluster_plan.h"

#include <gtest/gtest.h>

#include <fstream>

#include "cli/restart_policy.h"
#include "test/support/temporary_directory.h"

namespace cairn::cli {
namespace {

class Plan : public testing::Test {
 protected:
  UpOptions options{.dir = "d", .mount = "/m"};

  std::string refusal(const std::optional<ClusterPlan>& before = {}) {
    try {
      makePlan(options, before);
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.code, ExitCode::USAGE);
      return failure.what();
    }
    return "";
  }
};

TEST_F(Plan, DefaultsAreThreeDaemonsThreeReplicasTwoAtTheLeast) {
  auto plan = makePlan(options, {});
  EXPECT_EQ(plan.chunkdPorts.size(), 3u);
  EXPECT_EQ(plan.replicas, 3u);
  EXPECT_EQ(plan.minReplicas, 2u);
  EXPECT_EQ(plan.mount, "/m");
}

TEST_F(Plan, FewerDaemonsMeanFewerReplicasUnlessSaid) {
  options.chunkds = 1;
  auto plan = makePlan(options, {});
  EXPECT_EQ(plan.replicas, 1u);
  EXPECT_EQ(plan.minReplicas, 1u);
  options.replicas = 3;
  EXPECT_NE(refusal().find("raise --chunkds"), std::string::npos);
}

TEST_F(Plan, WhatWasStartedBeforeHoldsForWhatIsNotSaid) {
  options.chunkds = 5;
  options.commit = "disk";
  auto before = makePlan(options, {});
  before.metaserverPort = 9999;
  auto plan = makePlan(UpOptions{.dir = "d"}, before);
  EXPECT_EQ(plan, before);
}

TEST_F(Plan, ACommandRepeatedWordForWordChangesNothing) {
  options.chunkds = 4;
  options.replicas = 1;
  auto before = makePlan(options, {});
  EXPECT_EQ(makePlan(options, before), before);
}

TEST_F(Plan, ChunkDaemonsCanBeAddedAndKeepTheirPorts) {
  auto before = makePlan(options, {});
  before.chunkdPorts = {1, 2, 3};
  options.chunkds = 4;
  EXPECT_EQ(makePlan(options, before).chunkdPorts, (std::vector<uint16_t>{1, 2, 3, 0}));
}

TEST_F(Plan, ChunkDaemonsCannotBeLeftOut) {
  auto before = makePlan(options, {});
  options.chunkds = 2;
  EXPECT_NE(refusal(before).find("leave out data"), std::string::npos);
}

TEST_F(Plan, MoreThanOneMetaserverIsNotInThisRelease) {
  options.metaservers = 3;
  EXPECT_NE(refusal().find("not in this release"), std::string::npos);
}

TEST_F(Plan, NumbersThatMakeNoSenseAreRefused) {
  options.chunkds = 0;
  EXPECT_NE(refusal(), "");
  options.chunkds = 3;
  options.replicas = 0;
  EXPECT_NE(refusal(), "");
  options.replicas = 2;
  options.minReplicas = 3;
  EXPECT_NE(refusal(), "");
  options.minReplicas = 0;
  EXPECT_NE(refusal(), "");
}

TEST_F(Plan, ARunningClusterIsTheSameOnlyWithTheSameOptions) {
  auto running = makePlan(options, {});
  EXPECT_NO_THROW(checkSame(options, running, "d"));
  options.mount = "/other";
  EXPECT_THROW(checkSame(options, running, "d"), Failure);
}

class MountPointCheck : public testing::Test {
 protected:
  test::TemporaryDirectory temporary;
  std::string refusal(const std::filesystem::path& path) {
    ClusterPlan plan;
    plan.mount = path.string();
    try {
      prepareMountPoint(plan, temporary.path() / "cluster");
    } catch (const Failure& failure) {
      return failure.what();
    }
    return "";
  }
};

TEST_F(MountPointCheck, AMissingLastDirectoryIsMade) {
  EXPECT_EQ(refusal(temporary.path() / "m"), "");
  EXPECT_TRUE(std::filesystem::is_directory(temporary.path() / "m"));
  EXPECT_EQ(refusal(temporary.path() / "m"), "");
}

TEST_F(MountPointCheck, AMissingParentIsRefused) {
  EXPECT_NE(refusal(temporary.path() / "a/b").find("does not exist"), std::string::npos);
}

TEST_F(MountPointCheck, ADirectoryInAClusterThatIsNotThereYetIsMadeWithIt) {
  EXPECT_EQ(refusal(temporary.path() / "cluster/mnt"), "");
  EXPECT_TRUE(std::filesystem::is_directory(temporary.path() / "cluster/mnt"));
}

TEST_F(MountPointCheck, AFileIsRefused) {
  std::ofstream(temporary.path() / "f") << "x";
  EXPECT_NE(refusal(temporary.path() / "f").find("not a directory"), std::string::npos);
}

TEST_F(MountPointCheck, ADirectoryWithContentIsRefused) {
  std::ofstream(temporary.path() / "f") << "x";
  EXPECT_NE(refusal(temporary.path()).find("not empty"), std::string::npos);
}

TEST_F(MountPointCheck, AnotherFilesystemsMountIsBusy) {
  EXPECT_NE(refusal("/proc").find("busy"), std::string::npos);
}

TEST(RestartPolicy, TheFirstRestartComesAtOnceAndFurtherOnesEverLater) {
  RestartPolicy policy;
  EXPECT_EQ(policy.pauseAfter(1 * kj::SECONDS), RestartPolicy::FIRST_PAUSE);
  EXPECT_EQ(policy.pauseAfter(1 * kj::SECONDS), RestartPolicy::FIRST_PAUSE * 2);
  for (int i = 0; i < 20; ++i) (void)policy.pauseAfter(1 * kj::SECONDS);
  EXPECT_EQ(policy.pauseAfter(1 * kj::SECONDS), RestartPolicy::LONGEST_PAUSE);
}

TEST(RestartPolicy, AGoodRunForgetsWhatWasBefore) {
  RestartPolicy policy;
  for (int i = 0; i < 5; ++i) (void)policy.pauseAfter(1 * kj::SECONDS);
  EXPECT_EQ(policy.pauseAfter(RestartPolicy::GOOD_RUN), RestartPolicy::FIRST_PAUSE);
}

}  // namespace
}  // namespace cairn::cli
