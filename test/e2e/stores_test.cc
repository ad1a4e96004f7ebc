// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One chunk daemon with several stores, as on a machine with several disks: each store is a server of its
// own, in a thread of its own, and they share the process only.
#include <unistd.h>

#include <algorithm>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

class Stores : public EndToEnd {
  // A cluster whose supervisor keeps a single chunk daemon with one store; the daemon with three is ours.
 protected:
  std::vector<std::string> words(LocalCluster& c) {
    std::vector<std::string> all = {program("cairn-chunkd"), "--metaserver", c.address(), "--listen",
                                    "127.0.0.1:0",           "--ready-file", ready};
    for (auto name : {"disk-a", "disk-b", "disk-c"}) all.insert(all.end(), {"--store", c.scratch(name)});
    return all;
  }
  bool serves() {
    return test::eventually(20s, [&]() { return readFile(ready).size() > 0; });
  }
  std::string ready;
};

TEST_F(Stores, OfOneDaemonAreServersOfTheirOwn) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  ready = c.scratch("ready");
  auto expected = randomBytes(9'000'000, 11);
  {
    test::Process daemon(words(c), {.patience = 300s});
    ASSERT_TRUE(serves()) << daemon.words();
    auto addresses = readFile(ready);
    EXPECT_EQ(std::count(addresses.begin(), addresses.end(), '\n'), 3) << addresses;
    ASSERT_TRUE(c.waitHealthy(4));
    c.killSupervisor();
    c.kill("chunkd-1");  // what is written now stands on our three stores
    for (int i = 0; i < 12; ++i) {
      ASSERT_EQ(writeDurably(c / ("f" + std::to_string(i)), expected), 0) << i;
    }
    daemon.signal(SIGKILL);
  }
  ::unlink(ready.c_str());

  test::Process again(words(c), {.patience = 300s});
  ASSERT_TRUE(serves()) << again.words();
  ASSERT_TRUE(c.waitHealthy(3));
  for (int i = 0; i < 12; ++i) EXPECT_TRUE(readFile(c / ("f" + std::to_string(i))) == expected) << i;
  unsigned used = 0;
  for (auto name : {"disk-a", "disk-b", "disk-c"}) {
    used += shell("find " + c.scratch(name) + "/chunks -name '*.data' | grep -q .").ok();
  }
  EXPECT_GE(used, 2u) << "placement treats them as one";
  again.signal(SIGTERM);
  EXPECT_EQ(again.wait().code, 0);
  EXPECT_NE(::access(ready.c_str(), F_OK), 0) << "it says that it serves, and does not";
}

TEST_F(Stores, OneThatIsTakenEndsTheDaemonWithASentence) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  ready = c.scratch("ready");
  auto all = words(c);
  all.insert(all.end(), {"--store", c.store(1)});
  EXPECT_REFUSES(test::run(all, {.patience = 30s}), c.store(1));
  EXPECT_NE(::access(ready.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace cairn::e2e
