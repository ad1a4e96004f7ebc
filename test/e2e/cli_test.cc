// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn` as its user meets it: what is started, watched, told and stopped.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

class Cli : public EndToEnd {
 protected:
  static bool says(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  Json daemon(const std::string& name) {
    for (auto& one : cluster->json({"status", "--dir", cluster->directory()}).at("daemons").items()) {
      if (one.at("name").text() == name) return one;
    }
    throw std::runtime_error("status does not know " + name);
  }
};

TEST_F(Cli, StatusNamesEveryDaemonAndEveryStore) {
  auto& c = start();
  ASSERT_TRUE(c.waitHealthy(3));
  auto status = c.json({"status", "--dir", c.directory()});
  EXPECT_OK(c.cairn({"status", "--dir", c.directory(), "--check"}));
  std::set<std::string> names, addresses;
  for (auto& one : status.at("daemons").items()) names.insert(one.at("name").text());
  EXPECT_EQ(names, (std::set<std::string>{"metaserver-1", "chunkd-1", "chunkd-2", "chunkd-3", "fuse-1"}));
  for (auto& one : status.at("servers").items()) addresses.insert(one.at("address").text());
  EXPECT_EQ(addresses.size(), 3u);
  EXPECT_EQ(c.cairn({"status", "--metaserver", c.address(), "--check"}).code, 0);
}

TEST_F(Cli, AKilledDaemonIsBackAndReported) {
  auto& c = start();
  auto before = c.pid("chunkd-2");
  c.kill("chunkd-2");
  EXPECT_TRUE(eventually(5s, [&]() { return c.pid("chunkd-2") != before && c.alive("chunkd-2"); }));
  EXPECT_TRUE(eventually(5s, [&]() { return daemon("chunkd-2").at("state").text() == "up"; }));
  EXPECT_EQ(daemon("chunkd-2").at("restarts").number(), 1u);
  EXPECT_EQ(daemon("chunkd-2").at("last_exit").text(), "was killed by signal 9 (Killed)");
  EXPECT_TRUE(says(c.log("supervisor"), "was killed by signal 9 (Killed) -> start it again"));
}

TEST_F(Cli, WithoutRestartADeadDaemonStaysDownUntilUp) {
  auto& c = start({.more = {"--no-restart"}});
  c.kill("chunkd-1");
  EXPECT_TRUE(eventually(5s, [&]() { return daemon("chunkd-1").at("state").text() == "down"; }));
  EXPECT_EQ(c.cairn({"status", "--dir", c.directory(), "--check"}).code, 3);
  EXPECT_OK(c.up());
  EXPECT_TRUE(c.alive("chunkd-1"));
}

TEST_F(Cli, AKilledSupervisorCostsNothingAndTheNextOneTakesOver) {
  auto& c = start();
  writeFile(c / "a", "before");
  auto chunkd = c.pid("chunkd-1"), fuse = c.pid("fuse-1");
  c.killSupervisor();
  EXPECT_EQ(readFile(c / "a"), "before");
  EXPECT_TRUE(says(c.cairn({"status", "--dir", c.directory()}).out, "NO SUPERVISOR"));
  EXPECT_OK(c.up());
  EXPECT_EQ(c.pid("chunkd-1"), chunkd);
  EXPECT_EQ(c.pid("fuse-1"), fuse);
  c.kill("chunkd-1");  // it is watched, though it is not the new one's child
  EXPECT_TRUE(eventually(5s, [&]() { return c.pid("chunkd-1") != chunkd && c.alive("chunkd-1"); }));
}

TEST_F(Cli, UpTwiceIsUpAndOtherOptionsAreRefused) {
  auto& c = start();
  auto before = c.pid("metaserver-1");
  auto again = c.up();
  EXPECT_OK(again);
  EXPECT_TRUE(says(again.out, "up already")) << again.describe();
  EXPECT_EQ(c.pid("metaserver-1"), before);
  EXPECT_OK(test::run({"env", "-u", "CAIRN_PROGRAMS", program("cairn"), "up", "--dir", c.directory()}));
  auto other = c.cairn({"up", "--dir", c.directory(), "--chunkds", "4", "--detach"});
  EXPECT_EQ(other.code, 1) << other.describe();
  EXPECT_TRUE(says(other.err, "cairn down")) << other.describe();
  EXPECT_EQ(c.cairn({"up", "--dir", c.scratch("x"), "--metaservers", "3"}).code, 2);
  EXPECT_NE(::access(c.scratch("x").c_str(), F_OK), 0) << "a refused command makes nothing";
}

TEST_F(Cli, InfoTellsWhatTheStoresHold) {
  auto& c = start();
  EXPECT_OK(c.sh("head -c 70000000 /dev/urandom > f; sync f; ln -s f link"));
  auto chunks = c.json({"info", c / "f"}).at("chunks").items();
  ASSERT_EQ(chunks.size(), 2u);
  std::vector<uint64_t> lengths{64u << 20, 70'000'000 - (64u << 20)};
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(chunks[i].at("index").number(), i);
    for (auto& replica : chunks[i].at("replicas").items()) {
      EXPECT_EQ(replica.at("length").number(), lengths[i]);
      EXPECT_EQ(replica.at("version").number(), chunks[i].at("version").number());
      EXPECT_EQ(replica.at("state").text(), "current");
    }
  }
  auto text = c.cairn({"info", c / "f"});
  EXPECT_TRUE(says(text.out, "3 replicas wanted")) << text.describe();
  EXPECT_EQ(c.json({"info", c / "link"}).at("chunks").items().size(), 0u) << "the link, not what it names";
}

TEST_F(Cli, InfoOutsideAMountSaysSo) {
  auto& c = start();
  writeFile(c.scratch("local"), "x");
  auto outside = c.cairn({"info", c.scratch("local")});
  EXPECT_EQ(outside.code, 1);
  EXPECT_TRUE(says(outside.err, "not in a mounted CairnFS")) << outside.describe();
  auto missing = c.cairn({"info", c / "missing"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_TRUE(says(missing.err, "No such file")) << missing.describe();
}

TEST_F(Cli, RecordsAppendedByManyAreWholeAtTheOffsetsAnswered) {
  auto& c = start();
  constexpr int WRITERS = 4, RECORDS = 6;
  std::vector<std::vector<std::pair<uint64_t, std::string>>> answered(WRITERS);
  std::vector<std::thread> writers;
  for (int w = 0; w < WRITERS; ++w) {
    writers.emplace_back([&, w]() {
      for (int r = 0; r < RECORDS; ++r) {
        auto record = "<" + std::to_string(w) + ":" + std::to_string(r) + ":" +
                      std::string(size_t(100 + 13 * r), char('a' + w)) + ">";
        auto done = c.cairn({"append", "--json", c / "log"}, {.input = record});
        if (done.ok()) answered[size_t(w)].emplace_back(Json::parse(done.out).at("offset").number(), record);
      }
    });
  }
  for (auto& writer : writers) writer.join();
  auto inFile = [&]() {
    auto content = readFile(c / "log");
    for (auto& records : answered) {
      for (auto& [offset, record] : records) {
        if (offset + record.size() > content.size() || content.substr(offset, record.size()) != record)
          return false;
      }
    }
    return true;
  };
  EXPECT_TRUE(eventually(5s, inFile)) << "the mount may learn the length a second later";
  for (auto& records : answered) EXPECT_EQ(records.size(), size_t(RECORDS));
}

TEST_F(Cli, AppendRefusesWhatIsNoRecord) {
  auto& c = start();
  EXPECT_EQ(c.cairn({"append", c / "log", "--data", ""}).code, 2);
  EXPECT_EQ(c.cairn({"append", c / "log"}, {.input = std::string((16 << 20) + 1, 'x')}).code, 2);
  EXPECT_EQ(c.cairn({"append", c.mount(), "--data", "x"}).code, 1) << "a directory";
  EXPECT_EQ(c.cairn({"append", c.scratch("local"), "--data", "x"}).code, 1) << "not in the mount";
}

TEST_F(Cli, DownRefusesWhileTheMountIsInUseAndNamesTheHolder) {
  auto& c = start();
  writeFile(c / "held", "x");
  int handle = ::open((c / "held").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(handle, 0);
  auto refused = c.down();
  EXPECT_EQ(refused.code, 4) << refused.describe();
  EXPECT_TRUE(says(refused.err, "pid " + std::to_string(getpid()))) << refused.describe();
  EXPECT_EQ(readFile(c / "held"), "x") << "nothing was stopped";
  EXPECT_OK(c.cairn({"down", "--dir", c.directory(), "--force"}));
  EXPECT_FALSE(c.alive("metaserver-1"));
  ::close(handle);
}

TEST_F(Cli, DownStopsNothingWhereItCannotUnmount) {
  auto& c = start();
  auto second = c.scratch("second"), above = c.scratch("above");
  ASSERT_EQ(::mkdir(above.c_str(), 0755), 0);
  ASSERT_OK(c.cairn({"up", "--dir", second, "--mount", above + "/mnt", "--chunkds", "1", "--detach"}));
  ASSERT_EQ(::mount("none", above.c_str(), "tmpfs", 0, nullptr), 0);
  auto refused = c.cairn({"down", "--dir", second});
  EXPECT_EQ(refused.code, 1) << refused.describe();
  EXPECT_TRUE(says(refused.err, "cannot unmount " + above + "/mnt")) << refused.describe();
  EXPECT_TRUE(says(refused.err, "Nothing was stopped")) << refused.describe();
  ASSERT_EQ(::umount2(above.c_str(), 0), 0);
  writeFile(above + "/mnt/f", "it goes on");
  EXPECT_EQ(readFile(above + "/mnt/f"), "it goes on");
  EXPECT_OK(c.cairn({"down", "--dir", second}));
}

TEST_F(Cli, AMountThatSomebodyUnmountsStaysSoUntilUp) {
  auto& c = start();
  writeFile(c / "a", "kept");
  ASSERT_EQ(::umount2(c.mount().c_str(), 0), 0);
  EXPECT_TRUE(eventually(5s, [&]() { return daemon("fuse-1").at("state").text() == "unmounted"; }));
  EXPECT_OK(c.up());
  EXPECT_EQ(readFile(c / "a"), "kept");
}

TEST_F(Cli, TwoClustersOnOneMachineGetTheirOwnPorts) {
  auto& c = start();
  auto second = c.scratch("second"), mount = c.scratch("mnt2");
  auto up = c.cairn({"up", "--dir", second, "--mount", mount, "--chunkds", "1", "--detach"});
  EXPECT_OK(up);
  auto ports = readFile(second + "/cluster.toml");
  EXPECT_NE(readFile(second + "/client.toml"), readFile(c.directory() + "/client.toml"));
  writeFile(mount + "/here", "x");
  EXPECT_NE(::access((c / "here").c_str(), F_OK), 0);
  EXPECT_OK(c.cairn({"down", "--dir", second}));
  EXPECT_OK(c.cairn({"up", "--dir", second, "--detach"}));  // the rest is remembered
  EXPECT_EQ(readFile(second + "/cluster.toml"), ports);
  EXPECT_EQ(readFile(mount + "/here"), "x");
  EXPECT_OK(c.cairn({"down", "--dir", second}));
}

TEST_F(Cli, ADaemonThatCannotStartIsNamedWithItsLastWords) {
  auto& c = start();
  EXPECT_OK(c.down());
  auto identity = c.store(3) + "/store.identity";
  ASSERT_FALSE(readFile(identity).empty());
  writeFile(identity, "this is no identity\n");
  auto up = c.up();
  EXPECT_EQ(up.code, 3) << up.describe();
  EXPECT_TRUE(says(up.out, "chunkd-3 ended before it served")) << up.describe();
  EXPECT_TRUE(says(up.out, "chunkd-3.log")) << up.describe();
  EXPECT_OK(c.sh("echo the rest serves > f; cat f"));
}

TEST_F(Cli, AMountPointWithSomethingInItIsRefused) {
  auto& c = start();
  writeFile(c.scratch("full"), "x");
  auto refused = c.cairn({"up", "--dir", c.scratch("d2"), "--mount", c.scratch("full"), "--detach"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_TRUE(says(refused.err, "not a directory")) << refused.describe();
  refused = c.cairn({"up", "--dir", c.scratch("d2"), "--mount", c.mount(), "--detach"});
  EXPECT_TRUE(says(refused.err, "busy")) << refused.describe();
  refused = c.cairn({"up", "--dir", c.scratch("d2"), "--mount", c.scratch("no/such"), "--detach"});
  EXPECT_TRUE(says(refused.err, "does not exist")) << refused.describe();
}

}  // namespace
}  // namespace cairn::e2e
