// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Files that share chunks, in a whole cluster: while daemons die in the middle of sharing and of cloning,
// each file holds exactly what was written to it.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include "rpc/coroutine.h"
#include "test/sim/cluster/sim_cluster.h"

namespace cairn::sim {
namespace {

constexpr uint64_t SIZE = 2'000'000;

Async<Status> copyFile(Filesystem& client, InodeId from, InodeId to) {
  auto source = co_await client.open(from);
  auto target = co_await client.open(to);
  if (!source.ok() || !target.ok()) co_return source.ok() ? target.status() : source.status();
  for (uint64_t done = 0;;) {
    auto copied = co_await (*target)->copyFrom(**source, {FileOffset(done), FileOffset(done), UINT32_MAX});
    if (!copied.ok()) co_return copied.status();
    if (*copied == 0) co_return Status::OK;
    done += *copied;
  }
}

Async<Status> writeFile(Filesystem& client, InodeId inode, uint64_t offset, std::string content) {
  auto file = co_await client.open(inode);
  if (!file.ok()) co_return file.status();
  auto bytes = kj::heap<kj::String>(kj::heapString(content.data(), content.size()));
  auto view = bytes->asBytes();
  auto status = co_await (*file)->write(FileOffset(offset), Bytes{view, kj::mv(bytes)});
  if (ok(status)) status = co_await (*file)->sync();
  co_return status;
}

Async<Status> copyAndTouch(Filesystem& client, InodeId from, InodeId to, std::string firstByte) {
  // The write leaves the content as it is, and ends the sharing.
  auto status = co_await copyFile(client, from, to);
  if (ok(status)) status = co_await writeFile(client, to, 0, firstByte);
  co_return status;
}

std::string contentOf(uint64_t size, uint64_t seed) {
  std::string content(size, 'x');
  for (size_t i = 0; i < size; i += 61) content[i] = char('a' + (i * 7 + seed) % 26);
  return content;
}

class CopyStory : public testing::Test {
 public:
  ~CopyStory() noexcept override {}

 protected:
  void expectEqualReplicas(SimCluster& cluster, InodeId inode) {
    for (auto& problem : cluster.compareReplicas(inode)) ADD_FAILURE() << problem.cStr();
  }
};

TEST_F(CopyStory, ACopySharesTheChunkAndCostsTheStoresNothing) {
  SimCluster cluster({.seed = 1, .clients = 2});
  auto content = contentOf(SIZE, 1);
  cluster.write("/f", content.c_str());
  cluster.write("/g", "");
  auto f = cluster.find("/f"), g = cluster.find("/g");
  auto before = cluster.host("chunkd-1").disk.counters().bytesWritten;
  ASSERT_EQ(cluster.run(copyFile(cluster.client(), f, g)), Status::OK);
  EXPECT_EQ(cluster.host("chunkd-1").disk.counters().bytesWritten, before);
  EXPECT_EQ(cluster.chunks(f).at(0).handle, cluster.chunks(g).at(0).handle);
  EXPECT_TRUE(cluster.read("/g", 2) == content);

  cluster.write("/f", "one side", 1'000'000);
  EXPECT_NE(cluster.chunks(f).at(0).handle, cluster.chunks(g).at(0).handle);
  EXPECT_TRUE(cluster.read("/g", 2) == content);
  content.replace(1'000'000, 8, "one side");
  EXPECT_TRUE(cluster.read("/f", 2) == content);
  expectEqualReplicas(cluster, f);
  expectEqualReplicas(cluster, g);
}

TEST_F(CopyStory, AFileThatAnotherMountWritesIsCopiedAsPublishedAndNeverMixed) {
  SimCluster cluster({.seed = 2, .clients = 2});
  auto content = contentOf(SIZE, 2);
  cluster.write("/f", content.c_str());
  cluster.write("/g", "");
  auto f = cluster.find("/f"), g = cluster.find("/g", 2);
  auto open = cluster.run(cluster.client(1).open(f));
  ASSERT_TRUE(open.ok());
  ASSERT_EQ(cluster.run(copyFile(cluster.client(2), f, g)), Status::OK);
  // The first mount still believes in its lease.
  ASSERT_EQ(cluster.run(writeFile(cluster.client(1), f, 5, "later")), Status::OK);
  EXPECT_TRUE(cluster.read("/g", 2) == content);
  EXPECT_TRUE(cluster.read("/g", 1) == content);
  content.replace(5, 5, "later");
  EXPECT_TRUE(cluster.read("/f", 2) == content);
}

// Copies and writes of four files, and a daemon that dies (or loses power) while one is under way.
class CopiesUnderFaults : public CopyStory, public testing::WithParamInterface<uint64_t> {};

TEST_P(CopiesUnderFaults, EachFileHoldsWhatWasWrittenToIt) {
  auto seed = GetParam();
  SeededEntropy chance(seed);
  SimCluster cluster({.seed = seed, .chunkServers = 4});
  if (std::getenv("SIM_ECHO") != nullptr) cluster.transcript.echo();
  auto& client = cluster.client();
  std::vector<InodeId> inodes;
  std::vector<std::string> contents;
  for (int i = 0; i < 4; ++i) {
    auto name = kj::str("/f", i);
    contents.push_back(contentOf(SIZE + i * 5000, i));
    cluster.write(name, contents.back().c_str());
    cluster.sync(name);
    inodes.push_back(cluster.find(name));
  }
  auto pick = [&](uint64_t limit) { return chance.next() % limit; };
  for (int step = 0; step < 25; ++step) {
    SCOPED_TRACE(kj::str("seed ", seed, ", step ", step).cStr());
    auto from = pick(4), to = (from + 1 + pick(3)) % 4;
    kj::Promise<Status> work = nullptr;
    if (pick(2) == 0 && contents[from].size() >= contents[to].size()) {
      contents[to] = contents[from];
      work = copyAndTouch(client, inodes[from], inodes[to], contents[to].substr(0, 1));
    } else {
      auto at = pick(contents[to].size() - 5000);
      auto piece = contentOf(1 + pick(5000), chance.next());
      contents[to].replace(at, piece.size(), piece);
      work = writeFile(client, inodes[to], at, piece);
    }
    work = work.eagerlyEvaluate(nullptr);
    cluster.advance(pick(40) * kj::MILLISECONDS);
    auto victim = kj::str(pick(3) == 0 ? METASERVER : "chunkd-"_kj, "");
    if (victim != METASERVER) victim = kj::str(victim, 1 + pick(4));
    switch (pick(4)) {
      case 0:
        cluster.kill(victim);
        cluster.advance(pick(300) * kj::MILLISECONDS);
        cluster.restart(victim);
        break;
      case 1:
        if (victim == METASERVER) break;
        cluster.powerCut(victim);
        cluster.advance(5 * kj::SECONDS);  // until nobody counts on its old connection
        cluster.restart(victim);
        break;
      default:
        break;
    }
    ASSERT_EQ(cluster.run(kj::mv(work)), Status::OK) << cluster.transcript.last(60);
    for (size_t i = 0; i < 4; ++i) {
      ASSERT_TRUE(cluster.read(kj::str("/f", i)) == contents[i]) << "file " << i << "\n"
                                                                 << cluster.transcript.last(60);
    }
  }
  cluster.waitHealthy();
  cluster.powerCutAll();
  for (auto& name : cluster.daemons()) cluster.restart(name.c_str());
  cluster.waitHealthy();
  cluster.advance(30 * kj::SECONDS);
  cluster.waitRepaired();
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(cluster.read(kj::str("/f", i)) == contents[i]) << "file " << i;
    expectEqualReplicas(cluster, inodes[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, CopiesUnderFaults, testing::Range(uint64_t(1), uint64_t(9)));

}  // namespace
}  // namespace cairn::sim
