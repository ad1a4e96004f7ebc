// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a kill -9 costs: of everything, nothing that was acknowledged; of one storage daemon, a pause.
#include <unistd.h>

#include <cstring>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"
#include "test/e2e/syncing_writer.h"

namespace cairn::e2e {
namespace {

using Crash = EndToEnd;

std::vector<std::string> fioWords(const LocalCluster& c, const std::string& name, const std::string& size) {
  return {"fio",
          "--name=" + name,
          "--directory=" + c.mount(),
          "--rw=randwrite",
          "--bsrange=4k-1m",
          "--size=" + size,
          "--verify=crc32c",
          "--verify_fatal=1",
          "--do_verify=1",
          "--ioengine=psync",
          "--fallocate=none",
          "--randseed=42",
          "--end_fsync=1",
          "--output-format=terse"};
}

TEST_F(Crash, EverythingKilledAndStartedAgainHasAllThatWasAcknowledged) {
  auto& c = start();
  ASSERT_OK(
      c.sh("mkdir d; for i in 1 2 3 4 5 6 7 8; do head -c ${i}00000 /usr/bin/perl > d/$i; done; mv d e; ln "
           "e/1 l"));
  SyncingWriter writer(c / "synced");
  ASSERT_TRUE(writer.waitForMore(20)) << strerror(writer.error());
  c.killEverything();
  writer.finish();
  auto synced = writer.synced();

  ASSERT_OK(c.up());
  SyncingWriter::expectRecords(c / "synced", synced);
  EXPECT_OK(
      c.sh("for i in 1 2 3 4 5 6 7 8; do head -c ${i}00000 /usr/bin/perl | cmp - e/$i; done; test l -ef e/1; "
           "test ! -e d"));
  EXPECT_OK(c.sh("echo and it can be written > e/new; test -s e/new"));
}

TEST_F(Crash, AMountLeftBehindByAKilledClientIsReplacedByTheNextStart) {
  auto& c = start();
  writeFile(c / "f", "content");
  c.killSupervisor();
  c.kill("fuse-1");
  EXPECT_NE(::access((c / "f").c_str(), F_OK), 0);
  ASSERT_OK(c.up());
  EXPECT_EQ(readFile(c / "f"), "content");
}

TEST_F(Crash, TheMetaserverKilledWhileFioWritesIsAPause) {
  auto& c = start();
  test::Process fio(fioWords(c, "meta", "96m"), {.patience = 120s});
  for (int round = 0; round < 2; ++round) {
    auto before = c.pid("metaserver-1");
    ASSERT_TRUE(eventually(30s, [&]() { return c.alive("metaserver-1"); }));
    c.kill("metaserver-1");
    ASSERT_TRUE(eventually(30s, [&]() { return c.alive("metaserver-1") && c.pid("metaserver-1") != before; }))
        << "the supervisor does not start it again";
  }
  EXPECT_OK(fio.wait());
}

TEST_F(Crash, AChunkDaemonKilledWhileWritingIsNoErrno) {
  auto& c = start();
  test::Process fio(fioWords(c, "chunk", "96m"), {.patience = 120s});
  SyncingWriter writer(c / "synced");
  for (auto name : {"chunkd-1", "chunkd-2", "chunkd-3"}) {
    ASSERT_TRUE(writer.waitForMore(10)) << strerror(writer.error());
    c.kill(name);
    ASSERT_TRUE(writer.waitForMore(10)) << "after the death of " << name << ": " << strerror(writer.error());
    ASSERT_TRUE(c.waitHealthy(3));
  }
  writer.finish();
  EXPECT_EQ(writer.error(), 0);
  EXPECT_OK(fio.wait());
  SyncingWriter::expectRecords(c / "synced", writer.synced());
}

TEST_F(Crash, AChunkDaemonThatHangsIsAPause) {
  auto& c = start();
  SyncingWriter writer(c / "synced");
  ASSERT_TRUE(writer.waitForMore(10)) << strerror(writer.error());
  c.kill("chunkd-1", SIGSTOP);
  EXPECT_TRUE(writer.waitForMore(10)) << strerror(writer.error());
  c.kill("chunkd-1", SIGCONT);
  EXPECT_TRUE(writer.waitForMore(10)) << strerror(writer.error());
  writer.finish();
  SyncingWriter::expectRecords(c / "synced", writer.synced());
}

TEST_F(Crash, ACallerIsFreedBySigkillWhateverIsDead) {
  auto& c = start();
  writeFile(c / "f", "x");
  for (auto name : {"metaserver-1", "chunkd-1", "chunkd-2", "chunkd-3"}) c.kill(name, SIGSTOP);
  test::Process reader({"sh", "-c", "echo more >> f; sync f"}, {.patience = 60s, .directory = c.mount()});
  ASSERT_FALSE(eventually(500ms, [&]() { return !reader.running(); })) << "it should be waiting";
  reader.signal(SIGKILL);
  EXPECT_TRUE(eventually(5s, [&]() { return !reader.running(); })) << "SIGKILL does not free it";
  for (auto name : {"metaserver-1", "chunkd-1", "chunkd-2", "chunkd-3"}) c.kill(name, SIGCONT);
}

}  // namespace
}  // namespace cairn::e2e
