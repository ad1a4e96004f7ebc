// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "env/daemon.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "test/support/temporary_directory.h"

namespace cairn::env {

TEST(PresenceFile, IsThereAndWholeAsLongAsItsObject) {
  test::TemporaryDirectory directory;
  auto path = directory / "ready";
  {
    PresenceFile ready;
    ready = PresenceFile(path, "127.0.0.1:9400\n");
    std::string line;
    std::getline(std::ifstream(path) >> std::ws, line);
    EXPECT_EQ(line, "127.0.0.1:9400");
    EXPECT_FALSE(std::filesystem::exists(path + ".new"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(PresenceFile, ThatCannotBeWrittenIsAProblemNotSilence) {
  test::TemporaryDirectory directory;
  EXPECT_ANY_THROW(PresenceFile(directory / "missing/ready", "x"));
  EXPECT_ANY_THROW(PresenceFile("/dev/full/x", "x"));
  std::filesystem::create_symlink("/dev/full", directory / "full.new");
  EXPECT_ANY_THROW(PresenceFile(directory / "full", "x"));
  EXPECT_FALSE(std::filesystem::exists(directory / "full"));
}

TEST(HostPort, NeedsAHostAndAPortThatExists) {
  for (auto good : {"127.0.0.1:9400", "[::1]:0", "a.b:65535", "*:1"})
    EXPECT_EQ(hostPortProblem(good), "") << good;
  for (auto bad : {"", ":", "host", ":9400", "host:", "host:65536", "host:94x", "host:-1", "host: 1"}) {
    EXPECT_NE(hostPortProblem(bad), "") << bad;
  }
}

TEST(Durations, AreANumberAndAUnit) {
  EXPECT_EQ(durationSeconds("0"), 0u);
  EXPECT_EQ(durationSeconds("90s"), 90u);
  EXPECT_EQ(durationSeconds("30m"), 1800u);
  EXPECT_EQ(durationSeconds("12h"), 43200u);
  EXPECT_EQ(durationSeconds("7d"), 604800u);
  EXPECT_EQ(durationSeconds("2w"), 1209600u);
  for (auto text : {"", "1", "d", "1x", "1dd", "-1d", "1.5h", "99999999999w", "101w1", "6000w"}) {
    EXPECT_NE(durationProblem(text), "") << text;
  }
  for (auto text : {"0", "59s", "90m", "36h", "1d", "2w"}) {
    EXPECT_EQ(durationText(durationSeconds(text)), text);
  }
}

TEST(RunDaemon, EndsWithASentenceWhateverWasThrown) {
  EXPECT_EQ(runDaemon("d", [] { return 7; }), 7);
  testing::internal::CaptureStderr();
  EXPECT_EQ(runDaemon("d", []() -> int { throw std::invalid_argument("stone"); }), 1);
  EXPECT_EQ(runDaemon("d", []() -> int { KJ_FAIL_REQUIRE("rain"); }), 1);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "d: stone\nd: rain\n");
}

}  // namespace cairn::env
