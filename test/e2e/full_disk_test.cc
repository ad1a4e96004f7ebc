// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Stores that fill up: one of them costs a replica, all of them cost ENOSPC at write or fsync; never silence,
// and nothing that was acknowledged.
#include <fcntl.h>
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

}  // namespace
}  // namespace cairn::e2e
