// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Every kind of process is killed, stopped and restarted in random order while fio verifies, SQLite commits,
// and lines are appended: no program sees an errno, no byte is lost or wrong, and at rest all replicas are
// the same. CAIRN_CHAOS_SECONDS (30), CAIRN_CHAOS_SEED, CAIRN_CHAOS_ROUNDS (of each fault that is timed, 1):
// for longer, and otherwise.
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "test/e2e/mounts_fixture.h"
#include "test/e2e/syncing_writer.h"

namespace cairn::e2e {
namespace {

namespace fs = std::filesystem;

class Chaos : public Mounts {
 protected:
  static constexpr unsigned CHUNKDS = 4;

  LocalCluster& startFour(std::vector<std::string> more = {}) {
    return start({.chunkds = CHUNKDS, .replicas = 3, .more = std::move(more), .smallStores = {}});
  }

  void restart(const std::string& name) {
    // As a rolling upgrade does: told to end, and started again by its supervisor.
    auto before = cluster->pid(name);
    cluster->kill(name, SIGTERM);
    EXPECT_TRUE(eventually(30s, [&]() { return cluster->alive(name) && cluster->pid(name) != before; }))
        << name << " is not started again";
  }

  void hurt(const std::string& name, unsigned how, std::chrono::milliseconds hang) {
    // Returns when all daemons are up again. How: 0 kill -9, 1 stopped for a while, 2 restarted.
    std::printf("  %s %s\n", how == 0 ? "kill" : how == 1 ? "stop" : "restart", name.c_str());
    std::fflush(stdout);
    auto before = cluster->pid(name);
    if (how == 0) {
      cluster->kill(name);
      EXPECT_TRUE(eventually(30s, [&]() { return cluster->alive(name) && cluster->pid(name) != before; }))
          << name;
    } else if (how == 1) {
      cluster->kill(name, SIGSTOP);
      std::this_thread::sleep_for(hang);  // the length of the fault, not a wait for something
      cluster->kill(name, SIGCONT);
    } else {
      restart(name);
    }
    EXPECT_TRUE(cluster->waitHealthy(CHUNKDS)) << "after " << name;
  }
};

TEST_F(Chaos, NoProgramNoticesThatProcessesDieHangAndRestart) {
  auto seconds = numberFrom("CAIRN_CHAOS_SECONDS", 30);
  auto seed = numberFrom("CAIRN_CHAOS_SEED", 1);
  std::printf("CAIRN_CHAOS_SEED=%lu\n", static_cast<unsigned long>(seed));
  auto& c = startFour({"--metaserver-options", "--repair-grace 2"});
  auto second = mountAnother();
  auto patience = std::chrono::seconds(seconds * 3 + 240);

  test::Process fio(
      {"fio", "--name=chaos", "--directory=" + c.mount(), "--numjobs=4", "--rw=randwrite",
       "--bsrange=4k-256k", "--size=24m", "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=200",
       "--do_verify=1", "--ioengine=psync", "--fallocate=none", "--time_based",
       "--runtime=" + std::to_string(seconds), "--output-format=terse", "--randseed=" + std::to_string(seed)},
      {.patience = patience});
  // Each says how many it has been told are done; `stop` ends both.
  auto until = "; until [ -e " + c.scratch("stop") + " ]; do ";
  test::Process sqlite(
      {"sh", "-ec",
       "sqlite3 db 'PRAGMA journal_mode=DELETE; CREATE TABLE t(n INTEGER, text TEXT)' >/dev/null; n=0" +
           until +
           "sqlite3 -cmd '.timeout 60000' -cmd 'PRAGMA synchronous=FULL' db \"INSERT INTO t VALUES($n, "
           "hex(randomblob(3000)))\"; n=$((n+1)); echo $n > " +
           c.scratch("inserted") + "; done"},
      {.patience = patience, .directory = c.mount()});
  auto appender = [&](const std::string& mount, const std::string& name) {
    return std::vector<std::string>{
        "sh", "-ec",
        "n=0" + until + "echo " + name + " $n >> log; n=$((n+1)); echo $n > " + c.scratch(name) + "; done"};
  };
  test::Process one(appender(c.mount(), "one"), {.patience = patience, .directory = c.mount()});
  test::Process two(appender(second, "two"), {.patience = patience, .directory = second});
  SyncingWriter writer(c / "synced", 8 << 20);

  std::mt19937_64 random(seed);
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::map<std::string, unsigned> faults;
  while (std::chrono::steady_clock::now() < end && !HasFailure()) {
    auto name =
        random() % 4 == 0 ? std::string("metaserver-1") : "chunkd-" + std::to_string(1 + random() % CHUNKDS);
    auto how = unsigned(random() % 3);
    hurt(name, how, std::chrono::milliseconds(500 + random() % 4000));
    ++faults[std::string(how == 0   ? "kill"
                         : how == 1 ? "stop"
                                    : "restart") +
             (name[0] == 'm' ? " metaserver" : " chunkd")];
    // A client that hangs while it holds leases and locks is a fault, too: for the others a pause.
    if (random() % 6 == 0) {
      ::kill(pidOf(second), SIGSTOP);
      std::this_thread::sleep_for(std::chrono::milliseconds(200 + random() % 1500));  // as above
      ::kill(pidOf(second), SIGCONT);
      ++faults["stop mount"];
    }
    EXPECT_TRUE(writer.waitForMore(5)) << "write and fsync: " << strerror(writer.error());
    for (auto process : {&fio, &sqlite, &one, &two}) {
      EXPECT_TRUE(process->running() || std::chrono::steady_clock::now() > end) << process->words();
    }
  }
  std::string told;
  for (auto& [fault, count] : faults) told += " " + fault + " " + std::to_string(count) + ",";
  std::printf("faults:%s longest write+fsync %ld ms\n", told.c_str(), long(writer.longestPause() / 1ms));

  writeFile(c.scratch("stop"), "");
  auto verified = fio.wait();
  EXPECT_TRUE(verified.ok()) << verified.describe();
  EXPECT_EQ((verified.out + verified.err).find("verify:"), std::string::npos) << verified.describe();
  for (auto process : {&sqlite, &one, &two}) EXPECT_OK(process->wait());
  writer.finish();
  EXPECT_EQ(writer.error(), 0) << strerror(writer.error());

  auto inserted = readFile(c.scratch("inserted"));
  EXPECT_EQ(c.sh("sqlite3 db 'PRAGMA integrity_check; SELECT count(*) FROM t;'").out, "ok\n" + inserted);
  for (std::string name : {"one", "two"}) {
    auto count = std::atoi(readFile(c.scratch(name)).c_str());
    EXPECT_OK(c.sh("grep -x '" + name + " [0-9]*' log > " + c.scratch("found") + "; seq 0 " +
                   std::to_string(count - 1) + " | sed 's/^/" + name + " /' | cmp - " + c.scratch("found")));
  }
  EXPECT_EQ(c.sh("grep -cvxE '(one|two) [0-9]+' log").out, "0\n") << "torn or padded";

  ASSERT_TRUE(c.waitWhole(120s)) << c.log("metaserver-1");
  ASSERT_OK(c.sh("sync db log synced; for f in chaos.*; do sync $f; done"));
  for (auto& entry : fs::directory_iterator(c.mount())) {
    if (entry.is_regular_file()) expectEqualReplicas(entry.path().filename(), 3);
  }
}

TEST_F(Chaos, PausesOfAWriterThatSyncs) {
  // How long one write and fsync took at the longest, by fault: printed for docs/reliability.md, and bounded.
  auto rounds = numberFrom("CAIRN_CHAOS_ROUNDS", 1);
  auto& c = startFour({"--metaserver-options", "--repair-grace 2"});
  SyncingWriter writer(c / "synced", 8 << 20);
  ASSERT_TRUE(writer.waitForMore(50));
  struct Fault {
    const char* what;
    std::string name;
    unsigned how;
    std::chrono::milliseconds bound;
  };
  for (auto& fault : {Fault{"kill of a chunk daemon", "chunkd", 0, 4s},
                      Fault{"hang of a chunk daemon for 5 s", "chunkd", 1, 4s},
                      Fault{"restart of a chunk daemon", "chunkd", 2, 4s},
                      Fault{"kill of the metaserver", "metaserver-1", 0, 10s},
                      Fault{"hang of the metaserver for 5 s", "metaserver-1", 1, 10s},
                      Fault{"restart of the metaserver", "metaserver-1", 2, 10s}}) {
    std::vector<std::chrono::microseconds> pauses;
    for (unsigned round = 0; round < rounds; ++round) {
      auto name = fault.name;
      if (name == "chunkd") {
        // One that has a replica of the chunk that is being written.
        auto handle = c.chunks("synced").at(0).handle;
        for (unsigned i = 1; i <= CHUNKDS; ++i) {
          auto candidate = 1 + (i + round) % CHUNKDS;
          if (::access(c.chunkFile(candidate, handle, "data").c_str(), F_OK) == 0)
            name = "chunkd-" + std::to_string(candidate);
        }
      }
      writer.longestPause();
      hurt(name, fault.how, 5s);
      ASSERT_TRUE(writer.waitForMore(20)) << fault.what << ": " << strerror(writer.error());
      pauses.push_back(writer.longestPause());
      ASSERT_TRUE(c.waitWhole(60s));
    }
    std::sort(pauses.begin(), pauses.end());
    std::printf("%-34s p50 %5ld ms, max %5ld ms of %zu\n", fault.what, long(pauses[pauses.size() / 2] / 1ms),
                long(pauses.back() / 1ms), pauses.size());
    EXPECT_LT(pauses.back(), fault.bound) << fault.what;
  }
  writer.finish();
  EXPECT_EQ(writer.error(), 0) << strerror(writer.error());
}

}  // namespace
}  // namespace cairn::e2e
