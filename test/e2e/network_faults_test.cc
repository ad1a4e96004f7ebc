// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A metaserver, four chunk daemons and two mounts, each on a host of its own, in a network that loses
// packets, delays them, and is cut between any two of them, one way or both: no program sees an error, no
// call takes longer than docs/semantics.md says, and in the end content is right and all replicas are the
// same. CAIRN_NETWORK_CUT_MSEC (1500): how long each cut lasts.
#include <sys/mount.h>

#include "test/e2e/append_writers.h"
#include "test/e2e/host_network.h"
#include "test/e2e/syncing_writer.h"

namespace cairn::e2e {
namespace {

constexpr unsigned CHUNKDS = 4;
constexpr unsigned METASERVER = 0, CHUNKD = 1 /* to CHUNKDS */, FIRST_MOUNT = 5, SECOND_MOUNT = 6, HOSTS = 7;
const std::string METASERVER_ADDRESS = HostNetwork::address(METASERVER) + ":9400";

class NetworkFaults : public EndToEnd {
 protected:
  void SetUp() override {
    EndToEnd::SetUp();
    if (IsSkipped()) return;
    if (auto reason = HostNetwork::reasonToSkip(); !reason.empty()) GTEST_SKIP() << reason;
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    network = std::make_unique<HostNetwork>(HOSTS);
    startDaemon("metaserver", METASERVER,
                {program("cairn-metaserver"), "--dir", file("metaserver"), "--listen", METASERVER_ADDRESS,
                 "--repair-grace", "2"});
    for (unsigned i = CHUNKD; i < CHUNKD + CHUNKDS; ++i) {
      startDaemon("chunkd-" + std::to_string(i), i,
                  {program("cairn-chunkd"), "--store", store(i), "--metaserver", METASERVER_ADDRESS,
                   "--listen", HostNetwork::address(i) + ":9410"});
    }
    for (auto host : {FIRST_MOUNT, SECOND_MOUNT}) {
      mounts.push_back(file("mnt-" + std::to_string(host)));
      ::mkdir(mounts.back().c_str(), 0755);
      startDaemon("fuse-" + std::to_string(host), host,
                  {program("cairn-fuse"), "--metaserver", METASERVER_ADDRESS, mounts.back(), "-f"});
    }
    ASSERT_TRUE(waitHealthy());
  }
  void TearDown() override {
    if (HasFailure()) {
      for (auto& [name, daemon] : daemons) {
        auto text = daemon->words();
        if (text.size() > 6000) text = "...\n" + text.substr(text.size() - 6000);
        std::printf("---- log of %s\n%s\n", name.c_str(), text.c_str());
      }
    }
    for (auto& mount : mounts) ::umount2(mount.c_str(), MNT_DETACH);
    daemons.clear();
  }

  std::string file(const std::string& name) const { return temporary / name; }
  std::string store(unsigned chunkd) const { return file("store-" + std::to_string(chunkd)); }

  void startDaemon(const std::string& name, unsigned host, std::vector<std::string> words) {
    auto ready = file(name + ".ready");
    words.insert(words.end(), {"--ready-file", ready});
    daemons[name] = std::make_unique<test::Process>(network->on(host, words), RunOptions{.patience = 600s});
    ASSERT_TRUE(eventually(30s, [&]() { return ::access(ready.c_str(), F_OK) == 0; }))
        << name << ": " << daemons[name]->words();
  }

  Json json(std::vector<std::string> words) {
    words.insert(words.begin(), program("cairn"));
    words.push_back("--json");
    auto finished = test::run(network->on(FIRST_MOUNT, words));
    if (!finished.ok()) throw std::runtime_error(finished.describe());
    return Json::parse(finished.out);
  }
  Json status() { return json({"status", "--metaserver", METASERVER_ADDRESS}); }

  bool waitHealthy() {
    return eventually(30s, [&]() {
      unsigned up = 0;
      for (auto& server : status().at("servers").items()) up += server.at("state").text() == "up";
      return up == CHUNKDS;
    });
  }
  bool waitWhole() {
    return eventually(60s, [&]() { return isWhole(status()); });
  }

  std::vector<unsigned> chain() {
    // The hosts that have a replica of the file that is being synced, its primary first.
    std::vector<unsigned> hosts;
    EXPECT_TRUE(eventually(20s, [&]() {
      hosts.clear();
      auto chunk = json({"info", mounts[0] + "/synced"}).at("chunks").items().at(0);
      for (auto& replica : chunk.at("replicas").items()) {
        if (replica.at("state").text() != "current") continue;
        auto host = hostAt(replica.at("address").text());
        bool isPrimary = replica.at("server").number() == chunk.at("primary").number();
        hosts.insert(isPrimary ? hosts.begin() : hosts.end(), host);
      }
      return chunk.at("primary").number() != 0 && hosts.size() >= 2;
    }));
    return hosts;
  }
  static unsigned hostAt(const std::string& chunkd) {
    for (unsigned i = CHUNKD; i < CHUNKD + CHUNKDS; ++i) {
      if (chunkd == HostNetwork::address(i) + ":9410") return i;
    }
    throw std::runtime_error("no host has " + chunkd);
  }

  void expectEqualReplicas(const std::string& name) {
    e2e::expectEqualReplicas(json({"info", mounts[0] + "/" + name}), 3,
                             [this](const std::string& address) { return store(hostAt(address)); });
  }

  test::TemporaryDirectory temporary;
  std::unique_ptr<HostNetwork> network;
  std::map<std::string, std::unique_ptr<test::Process>> daemons;
  std::vector<std::string> mounts;
};

enum class Ways { BOTH, THERE, BACK };

class Work {
  // What goes on all the time: one process that writes and syncs, and four that append through two mounts.
 public:
  explicit Work(const std::vector<std::string>& mounts)
      : mounts(mounts), writer(mounts[0] + "/synced", 8 << 20), appenders(mounts, "log") {}

  void goOn(const std::string& fault, std::chrono::milliseconds bound) {
    // No call has failed, and all have gone on since the fault was over; none took longer than that.
    EXPECT_TRUE(writer.waitForMore(5)) << fault << ": write and fsync: " << strerror(writer.error());
    EXPECT_TRUE(appenders.waitForMore(2)) << fault << ": append: " << appenders.errors();
    auto write = writer.longestPause() / 1ms, append = appenders.longestPause() / 1ms;
    std::printf("%-60s longest: write and fsync %5ld ms, append %5ld ms\n", fault.c_str(), long(write),
                long(append));
    std::fflush(stdout);
    EXPECT_LT(write, bound / 1ms) << fault;
    EXPECT_LT(append, bound / 1ms) << fault;
  }
  void finish() {
    appenders.finish();
    writer.finish();
    EXPECT_EQ(appenders.errors(), "");
    EXPECT_EQ(writer.error(), 0) << strerror(writer.error());
    for (auto& mount : mounts) writer.expectAll(mount + "/synced");
    expectRecordsOnce(mounts, "log", 0, appenders.counts());
  }

 private:
  const std::vector<std::string> mounts;
  SyncingWriter writer;
  AppendWriters appenders;
};

TEST_F(NetworkFaults, NoProgramSeesThatPacketsAreLostAndHostsAreCutOff) {
  auto cutFor = std::chrono::milliseconds(numberFrom("CAIRN_NETWORK_CUT_MSEC", 1500));
  // A hang is found out about within a second, and a lease that must end first is asked back within another
  // two; the rest is for a machine that is busy.
  constexpr auto BOUND = 8s;
  ASSERT_EQ(put(mounts[0] + "/log", ""), 0);
  Work work(mounts);
  work.goOn("no fault", BOUND);

  constexpr uint64_t LOST = 100;
  network->all({.lost = 10, .delayMsec = 2});
  EXPECT_TRUE(eventually(60s, [&]() { return network->counts().lost >= LOST; })) << network->counts().lost;
  work.goOn("one packet of a hundred is lost, each is 2 to 3 ms late", BOUND);
  network->heal();

  using Pairs = std::vector<std::pair<unsigned, unsigned>>;
  auto cut = [&](const std::string& what, const Pairs& pairs, Ways ways = Ways::BOTH) {
    HostNetwork::Fault fault{.cut = true, .lasts = cutFor};
    for (auto [from, to] : pairs) {
      if (ways != Ways::BACK) network->oneWay(from, to, fault);
      if (ways != Ways::THERE) network->oneWay(to, from, fault);
    }
    EXPECT_TRUE(eventually(cutFor + 10s, [&]() { return network->isWhole(); }));
    work.goOn("cut: " + what, cutFor + BOUND);
  };
  for (auto ways : {Ways::BOTH, Ways::THERE, Ways::BACK}) {
    std::string how = ways == Ways::BOTH ? "" : ways == Ways::THERE ? ", one way" : ", the other way";
    cut("a mount and the metaserver" + how, {{FIRST_MOUNT, METASERVER}}, ways);
    cut("a mount and the primary" + how, {{FIRST_MOUNT, chain()[0]}}, ways);
    cut("the primary and the metaserver" + how, {{chain()[0], METASERVER}}, ways);
    auto hosts = chain();
    cut("the primary and another replica" + how, {{hosts[0], hosts.at(1)}}, ways);
  }
  Pairs all;
  auto lonely = chain()[0];
  for (unsigned host = 0; host < HOSTS; ++host) {
    if (host != lonely) all.emplace_back(lonely, host);
  }
  cut("the primary and everybody", all);

  work.finish();
  auto counts = network->counts();
  std::printf("%lu packets carried, %lu lost, %lu late\n", static_cast<unsigned long>(counts.passed),
              static_cast<unsigned long>(counts.lost), static_cast<unsigned long>(counts.delayed));
  ASSERT_TRUE(waitHealthy());
  ASSERT_TRUE(waitWhole());
  for (std::string name : {"log", "synced"}) {
    ASSERT_OK(test::run({"sync", mounts[0] + "/" + name}));
    expectEqualReplicas(name);
  }
}

TEST_F(NetworkFaults, AMountThatIsCutOffFromTheMetaserverCannotWriteBehindItsSuccessor) {
  // It still reaches all chunk daemons, and it has a lease, locations, and a write that nobody knows of.
  auto name = [&](size_t mount) { return mounts[mount] + "/f"; };
  ASSERT_EQ(writeDurably(name(1), std::string(100'000, 'o')), 0);
  int fd = ::open(name(1).c_str(), O_WRONLY);
  ASSERT_EQ(::pwrite(fd, "buffered", 8, 0), 8);
  network->bothWays(SECOND_MOUNT, METASERVER, {.cut = true});
  auto began = std::chrono::steady_clock::now();
  std::string text(100'000, 'n');
  ASSERT_EQ(writeDurably(name(0), text), 0);
  auto took = (std::chrono::steady_clock::now() - began) / 1ms;
  std::printf("the other mount had the file after %ld ms\n", long(took));
  EXPECT_LT(took, 14'000) << "10.5 s, and some for a machine that is busy";
  EXPECT_TRUE(readFile(name(0)) == text);
  // Its program writes on; what it is told is an error, or nothing for as long as it is cut off.
  int begun[2];
  ASSERT_EQ(::pipe(begun), 0);
  auto child = ::fork();
  if (child == 0) {
    bool isBegun = ::write(begun[1], "x", 1) == 1;
    bool told = ::pwrite(fd, "late", 4, 50'000) != 4 || ::fsync(fd) != 0;
    ::_exit(isBegun && told ? 0 : 1);
  }
  char byte;
  ASSERT_EQ(::read(begun[0], &byte, 1), 1);
  ::close(begun[0]), ::close(begun[1]);
  auto lost = network->counts().lost;
  EXPECT_TRUE(eventually(30s, [&]() { return network->counts().lost >= lost + 3; }))
      << "its mount tries to reach the metaserver";
  network->heal();
  int status = -1;
  EXPECT_TRUE(eventually(30s, [&]() { return ::waitpid(child, &status, WNOHANG) == child; }));
  EXPECT_EQ(status, 0) << "it was told that all is well";
  ::close(fd);
  for (size_t mount : {0, 1}) EXPECT_TRUE(readFile(name(mount)) == text) << "through mount " << mount;
  ASSERT_TRUE(waitHealthy());
  ASSERT_TRUE(waitWhole());
  expectEqualReplicas("f");
}

}  // namespace
}  // namespace cairn::e2e
