// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Disks that fill up: that of one store costs a replica, those of all cost ENOSPC at write or fsync, that of
// the metaserver ENOSPC for what makes the namespace grow; never silence, and nothing that was acknowledged.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

using FullDisk = EndToEnd;

constexpr unsigned RESERVE = 256;  // MiB that a store keeps free (chunkd/chunk_store.h StoreOptions)
constexpr size_t FILE_SIZE = 4 << 20;

std::string contentOf(unsigned number) {
  return randomBytes(FILE_SIZE, 77 + number);
}

TEST_F(FullDisk, UnderOneChunkDaemonCostsAReplicaAndNoError) {
  auto& c = start({.smallStores = {{1, RESERVE + 64}}});
  for (unsigned i = 0; i < 30; ++i) {
    ASSERT_EQ(writeDurably(c / std::to_string(i), contentOf(i)), 0)
        << "file " << i << ", " << 4 * i << " MiB";
  }
  for (unsigned i = 0; i < 30; ++i) EXPECT_TRUE(readFile(c / std::to_string(i)) == contentOf(i)) << i;
}

TEST_F(FullDisk, UnderAllIsEnospcAndLosesNothing) {
  auto& c = start({.smallStores = {{1, RESERVE + 64}, {2, RESERVE + 64}, {3, RESERVE + 64}}});
  unsigned written = 0;
  int error = 0;
  while (written < 40 && (error = writeDurably(c / std::to_string(written), contentOf(written))) == 0)
    ++written;
  EXPECT_EQ(error, ENOSPC) << strerror(error) << " after " << written << " files";
  EXPECT_GT(written, 3u);
  EXPECT_EQ(writeDurably(c / "one-more", contentOf(99)), ENOSPC);

  for (unsigned i = 0; i < written; ++i) EXPECT_TRUE(readFile(c / std::to_string(i)) == contentOf(i)) << i;
  EXPECT_OK(c.sh("mkdir names-go-on; ls; rm 0 1 one-more; test ! -e 0"));
  for (auto name : {"chunkd-1", "chunkd-2", "chunkd-3"}) c.kill(name);
  ASSERT_TRUE(c.waitHealthy(3));
  for (unsigned i = 2; i < written; ++i) EXPECT_TRUE(readFile(c / std::to_string(i)) == contentOf(i)) << i;
}

TEST_F(FullDisk, UnderTheMetaserverRefusesNewNamesAndReadsWritesAndDeletesGoOn) {
  auto& c = start({.smallStores = {{0, 256}}});
  ASSERT_OK(c.sh("mkdir d; head -c 300000 /dev/urandom > kept; cp kept d/copy; sync kept d/copy"));
  auto ballast = c.store(0) + "/ballast";
  ASSERT_OK(test::run({"sh", "-c", "head -c 1G /dev/zero > " + ballast + "; truncate -s -20M " + ballast}));
  int error = 0;
  unsigned made = 0;
  auto name = [](unsigned number) { return "d/" + std::string(200, 'n') + std::to_string(number); };
  while (made < 20'000 && (error = ::mknod((c / name(made)).c_str(), S_IFREG | 0644, 0)) == 0) ++made;
  if (error != 0) error = errno;
  ASSERT_EQ(error, ENOSPC) << strerror(error) << " after " << made << " files";
  EXPECT_OK(
      c.sh("cmp kept d/copy; ls d | wc -l; echo x | dd of=kept bs=1 seek=5 conv=notrunc,fsync status=none"));
  EXPECT_OK(c.sh("rm d/copy; mv kept moved; chmod 600 moved; ! mkdir e"));
  EXPECT_NE(c.log("metaserver-1").find("make room"), std::string::npos) << "the operator is told";

  // A start on the full disk is one, too.
  auto before = c.pid("metaserver-1");
  c.kill("metaserver-1");
  ASSERT_TRUE(eventually(30s, [&]() { return c.alive("metaserver-1") && c.pid("metaserver-1") != before; }));
  ASSERT_TRUE(c.waitHealthy(3)) << c.log("metaserver-1");
  EXPECT_OK(c.sh("test -e moved; test ! -e d/copy; test $(stat -c %a moved) = 600"));
  EXPECT_EQ(c.sh("ls d | wc -l").out, std::to_string(made) + "\n");
  EXPECT_EQ(::mkdir((c / "e").c_str(), 0755) == 0 ? 0 : errno, ENOSPC);
  ::unlink(ballast.c_str());
  EXPECT_OK(c.sh("mkdir e && cp moved e/ && cmp moved e/moved"));
}

}  // namespace
}  // namespace cairn::e2e
