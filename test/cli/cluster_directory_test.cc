// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What is kept about a local cluster between two starts, and how ports are found.
#include "cli/cluster_directory.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "cli/failure.h"
#include "test/support/temporary_directory.h"

namespace cairn::cli {
namespace {

ClusterPlan examplePlan() {
  ClusterPlan plan;
  plan.metaserverPort = 9400;
  plan.chunkdPorts = {9410, 9411, 9412};
  plan.mount = "/srv/with \"quotes\" and \\";
  return plan;
}

std::string refusal(std::string_view text) {
  try {
    planFromToml(text, "/d/cluster.toml");
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "";
}

TEST(ClusterPlan, SurvivesBeingWrittenAndRead) {
  auto plan = examplePlan();
  EXPECT_EQ(planFromToml(toToml(plan), "x"), plan);
}

TEST(ClusterPlan, ANewerFormatIsRefusedWithWhatToDo) {
  auto text = toToml(examplePlan());
  text.replace(text.find("format = 1"), 10, "format = 2");
  auto sentence = refusal(text);
  EXPECT_NE(sentence.find("/d/cluster.toml"), std::string::npos);
  EXPECT_NE(sentence.find("format 2"), std::string::npos);
  EXPECT_NE(sentence.find("Nothing was changed"), std::string::npos);
}

TEST(ClusterPlan, BrokenTomlIsNamedWithItsLine) {
  EXPECT_NE(refusal("format = 1\nhost = [").find("line 2"), std::string::npos);
}

TEST(ClusterPlan, ImpossibleValuesAreRefused) {
  EXPECT_NE(refusal("format = 1\nmetaserver_port = 70000\nchunkd_ports = [1]").find("metaserver_port"),
            std::string::npos);
  EXPECT_NE(refusal("format = 1\nmetaserver_port = 1\nchunkd_ports = [0]").find("chunkd_ports"),
            std::string::npos);
  EXPECT_NE(refusal("format = 1\nmetaserver_port = 1").find("chunkd_ports"), std::string::npos);
  EXPECT_NE(refusal("").find("format 0"), std::string::npos);
}

class Ports : public testing::Test {
 protected:
  ClusterPlan plan = examplePlan();
  std::set<uint16_t> taken;
  std::vector<std::string> choose() {
    return choosePorts(plan, [&](uint16_t port) { return !taken.contains(port); });
  }
};

TEST_F(Ports, TheFirstStartTakesTheWellKnownOnes) {
  plan.metaserverPort = 0;
  plan.chunkdPorts = {0, 0};
  EXPECT_TRUE(choose().empty());
  EXPECT_EQ(plan.metaserverPort, METASERVER_PORT);
  EXPECT_EQ(plan.chunkdPorts, (std::vector<uint16_t>{CHUNKD_PORT, CHUNKD_PORT + 1}));
}

TEST_F(Ports, TakenOnesArePassedOver) {
  plan.metaserverPort = 0;
  plan.chunkdPorts = {0, 0};
  taken = {9400, 9401, 9411};
  EXPECT_TRUE(choose().empty());
  EXPECT_EQ(plan.metaserverPort, 9402);
  EXPECT_EQ(plan.chunkdPorts, (std::vector<uint16_t>{9410, 9412}));
}

TEST_F(Ports, TheNextStartKeepsThem) {
  plan.metaserverPort = 9777;
  plan.chunkdPorts = {9888, 9410};
  auto before = plan;
  EXPECT_TRUE(choose().empty());
  EXPECT_EQ(plan, before);
}

TEST_F(Ports, AKeptPortThatIsTakenIsReplacedAndTheUserIsTold) {
  taken = {9411};
  auto notices = choose();
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_NE(notices[0].find("9411"), std::string::npos);
  EXPECT_NE(notices[0].find("chunkd-2"), std::string::npos);
  EXPECT_EQ(std::set<uint16_t>(plan.chunkdPorts.begin(), plan.chunkdPorts.end()).size(), 3u);
  EXPECT_FALSE(std::count(plan.chunkdPorts.begin(), plan.chunkdPorts.end(), 9411));
}

TEST_F(Ports, NoTwoDaemonsShareOne) {
  plan.metaserverPort = 9410;
  plan.chunkdPorts = {9410, 0, 9410};
  choose();
  std::set<uint16_t> all(plan.chunkdPorts.begin(), plan.chunkdPorts.end());
  all.insert(plan.metaserverPort);
  EXPECT_EQ(all.size(), 4u);
}

TEST_F(Ports, NoneFreeIsASentence) {
  EXPECT_THROW(choosePorts(plan, [](uint16_t) { return false; }), Failure);
}

TEST(CanListen, NotWhereSomebodyListens) {
  int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(socket, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(socket, 1), 0);
  ASSERT_EQ(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_FALSE(canListen("127.0.0.1", ntohs(address.sin_port)));
  close(socket);
  EXPECT_TRUE(canListen("127.0.0.1", ntohs(address.sin_port)));
}

TEST(CanListen, AnAddressOfAnotherMachineIsASentence) {
  EXPECT_THROW(canListen("192.0.2.1", 9400), Failure);
  EXPECT_THROW(canListen(std::string(300, 'x'), 9400), Failure) << "no name of a machine";
}

TEST(ClusterDirectory, IsUnusedUntilSaved) {
  test::TemporaryDirectory temporary;
  ClusterDirectory directory(temporary.path() / "d");
  EXPECT_FALSE(directory.load());
  directory.prepare();
  EXPECT_FALSE(directory.load());
  directory.save(examplePlan());
  EXPECT_EQ(directory.load(), examplePlan());
  EXPECT_EQ(readWhole(temporary.path() / "d/client.toml"), "metaservers = [\"127.0.0.1:9400\"]\n");
}

TEST(ClusterDirectory, APathThatCannotBeMadeIsASentence) {
  test::TemporaryDirectory temporary;
  std::ofstream(temporary.path() / "file") << "x";
  EXPECT_THROW(ClusterDirectory(temporary.path() / "file/d").prepare(), Failure);
}

TEST(ClusterDirectory, WhatCannotBeWrittenIsASentenceAndTheOldOneStays) {
  test::TemporaryDirectory temporary;
  auto path = temporary.path() / "f";
  writeWhole(path, "old");
  std::filesystem::create_directory(temporary.path() / "f.new");
  EXPECT_THROW(writeWhole(path, "new"), Failure);
  EXPECT_EQ(readWhole(path), "old");
  std::filesystem::create_directories(temporary.path() / "d/in");
  EXPECT_THROW(writeWhole(temporary.path() / "d", "new"), Failure) << "there is a directory of that name";
}

TEST(ClusterDirectory, DaemonsKeepTheirNamesAndGetTheMetaserversAddress) {
  auto specs = ClusterDirectory("/d").daemons(examplePlan(), "/bin");
  ASSERT_EQ(specs.size(), 5u);
  EXPECT_EQ(specs[0].name, "metaserver-1");
  EXPECT_EQ(specs[3].name, "chunkd-3");
  EXPECT_EQ(specs[4].name, "fuse-1");
  EXPECT_EQ(specs[4].mount, examplePlan().mount);
  for (size_t i = 1; i < specs.size(); ++i) {
    auto& words = specs[i].arguments;
    auto flag = std::find(words.begin(), words.end(), "--metaserver");
    ASSERT_NE(flag, words.end());
    EXPECT_EQ(flag[1], "127.0.0.1:9400");
  }
}

TEST(ClusterDirectory, WithoutAMountPointNothingIsMounted) {
  auto plan = examplePlan();
  plan.mount = "";
  EXPECT_EQ(ClusterDirectory("/d").daemons(plan, "/bin").size(), 4u);
}

TEST(LastLines, AreTheLastOnesInOrderWithoutEmptyOnes) {
  test::TemporaryDirectory temporary;
  auto path = temporary.path() / "log";
  EXPECT_TRUE(lastLines(path, 2).empty());
  std::ofstream(path) << std::string(100'000, 'x') << "\na\n\nb\nc";
  EXPECT_EQ(lastLines(path, 2), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(lastLines(path, 3), (std::vector<std::string>{"a", "b", "c"}));
}

class Programs : public testing::Test {
  // Where they are looked for; as it was again at the end.
 public:
  Programs() {
    for (auto name : {"CAIRN_PROGRAMS", "PATH"}) {
      if (auto value = std::getenv(name)) before[name] = value;
      unsetenv(name);
    }
  }
  ~Programs() noexcept override {
    for (auto name : {"CAIRN_PROGRAMS", "PATH"}) unsetenv(name);
    for (auto& [name, value] : before) setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::map<std::string, std::string> before;
};

TEST_F(Programs, AreWhereTheEnvironmentSaysElseInPathElseThereIsASentence) {
  // Beside this test there are none.
  EXPECT_THROW(programsDirectory(), Failure);
  test::TemporaryDirectory temporary;
  setenv("PATH", (":/nowhere:" + temporary.path().string()).c_str(), 1);
  EXPECT_THROW(programsDirectory(), Failure);
  std::ofstream(temporary.path() / "cairn-metaserver") << "x";
  EXPECT_EQ(programsDirectory(), temporary.path());
  setenv("CAIRN_PROGRAMS", "/else/where", 1);
  EXPECT_EQ(programsDirectory(), "/else/where");
}

}  // namespace
}  // namespace cairn::cli
