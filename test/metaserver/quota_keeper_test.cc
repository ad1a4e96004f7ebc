// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Quotas of a running metaserver: the count in the background, what mounts are told and refused, and the
// trash that gives way. Virtual time.
#include "rpc/administration.capnp.h"
#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

class QuotaKeeperTest : public FleetTest {
 protected:
  FakeMount* client = nullptr;

  void SetUp() override {
    joinAll(4);
    client = &mount();
  }
  Status limit(uint64_t directory, uint64_t bytes, uint64_t inodes = 0) {
    auto request = administration().setQuotaRequest();
    request.setDirectory(directory);
    request.setBytes(bytes);
    request.setInodes(inodes);
    auto answer = await(kj::Promise<capnp::Response<rpc::Administration::SetQuotaResults>>(request.send()));
    return answer.getStatus();
  }
  struct Listed {
    std::string path;
    uint64_t bytes, inodes, trashBytes;
    bool counting;
  };
  std::vector<Listed> quotas() {
    auto request = administration().quotasRequest();
    request.setLimit(10);
    auto answer = await(kj::Promise<capnp::Response<rpc::Administration::QuotasResults>>(request.send()));
    std::vector<Listed> all;
    for (auto quota : answer.getQuotas()) {
      all.push_back({quota.getPath().cStr(), quota.getBytes(), quota.getInodes(), quota.getTrashBytes(),
                     answer.getCounting()});
    }
    return all;
  }
  uint64_t make(uint64_t parent, kj::StringPtr name, FileType type = FileType::REGULAR) {
    return create(*client, name, type, InodeId(parent), Create::CLOSED);
  }
  uint64_t publishBlocks(uint64_t inode, ChunkHandle chunk, uint32_t blocks) {  // what the quota leaves then
    auto answer = change(*client, [&](rpc::Change::Builder change) {
      auto publish = change.initPublish();
      publish.setFile(inode);
      publish.setLength(uint64_t(blocks) * BLOCK_SIZE);
      publish.initChunks(1).set(0, chunk.value());
      change.initChunkBlocks(1).set(0, blocks);
    });
    EXPECT_EQ(answer.getOutcome().getStatus(), Status::OK);
    return answer.getOutcome().getQuotaLeft();
  }
  struct Space {
    uint64_t blocks, blocksFree, inodes, inodesFree;
    bool overQuota;
  };
  Space space(uint64_t inode) {
    auto request = client->session.statisticsRequest();
    request.setInode(inode);
    auto answer = await(kj::Promise<capnp::Response<rpc::Session::StatisticsResults>>(request.send()));
    return {answer.getBlocksTotal(), answer.getBlocksFree(), answer.getInodes(), answer.getInodesFree(),
            answer.getOverQuota()};
  }
};

TEST_F(QuotaKeeperTest, TheFirstOneIsCountedInTheBackgroundAndThenShown) {
  auto a = make(ROOT_INODE.value(), "a", FileType::DIRECTORY);
  auto b = make(a, "b", FileType::DIRECTORY);
  for (int i = 0; i < 50; ++i) make(b, kj::str(i));
  EXPECT_EQ(limit(b, 0, 1000), Status::OK);
  EXPECT_TRUE(quotas()[0].counting);
  advance(2000);
  auto shown = quotas();
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_FALSE(shown[0].counting);
  EXPECT_EQ(shown[0].path, "/a/b");
  EXPECT_EQ(shown[0].inodes, 50u);
}

TEST_F(QuotaKeeperTest, AWriterIsToldWhatIsLeftAndGetsNoNewChunkWhenNothingIs) {
  auto d = make(ROOT_INODE.value(), "d", FileType::DIRECTORY);
  EXPECT_EQ(limit(d, 10 * BLOCK_SIZE), Status::OK);
  advance(2000);
  auto f = make(d, "f");
  auto location = locate(*client, f, For::WRITE);
  EXPECT_EQ(publishBlocks(f, location.handle, 4), 6u * BLOCK_SIZE);
  EXPECT_EQ(publishBlocks(f, location.handle, 12), 0u);
  EXPECT_EQ(locate(*client, f, For::WRITE).status, Status::OK) << "what is there may be overwritten";
  auto g = make(d, "g");
  EXPECT_EQ(locate(*client, g, For::WRITE).status, Status::OVER_QUOTA);
  auto free = make(ROOT_INODE.value(), "free");
  auto elsewhere = locate(*client, free, For::WRITE);
  EXPECT_EQ(elsewhere.status, Status::OK);
  EXPECT_EQ(publishBlocks(free, elsewhere.handle, 4), UINT64_MAX);
}

TEST_F(QuotaKeeperTest, StatfsShowsTheTightestQuota) {
  auto d = make(ROOT_INODE.value(), "d", FileType::DIRECTORY);
  auto before = space(d);
  EXPECT_EQ(before.blocks, 400ull * (1 << 30) / 3 / BLOCK_SIZE);
  EXPECT_GT(before.inodesFree, 0u);
  EXPECT_EQ(limit(d, 100 * BLOCK_SIZE, 7), Status::OK);
  advance(2000);
  auto f = make(d, "f");
  publishBlocks(f, locate(*client, f, For::WRITE).handle, 30);
  for (auto inode : {d, f}) {
    auto now = space(inode);
    EXPECT_EQ(now.blocks, 100u);
    EXPECT_EQ(now.blocksFree, 70u);
    EXPECT_EQ(now.inodes, 1u);
    EXPECT_EQ(now.inodesFree, 6u);
    EXPECT_TRUE(now.overQuota);
  }
  EXPECT_EQ(space(ROOT_INODE.value()).blocks, before.blocks);
}

TEST_F(QuotaKeeperTest, TheTrashOfADirectoryGivesWayWhenItIsOverItsQuotaWithIt) {
  keepTrashFor(24 * 3600);
  auto d = make(ROOT_INODE.value(), "d", FileType::DIRECTORY);
  EXPECT_EQ(limit(d, 10 * BLOCK_SIZE), Status::OK);
  advance(2000);
  for (auto name : {"a", "b", "c"}) {
    auto file = make(d, name);
    publishBlocks(file, locate(*client, file, For::WRITE).handle, 4);
    log->time += 1'000'000'000;
    change(*client, [&](rpc::Change::Builder change) {
      auto unlink = change.initUnlink();
      unlink.setParent(d);
      unlink.setName(name);
    });
    advance(200);
  }
  EXPECT_EQ(quotas()[0].bytes, 12u * BLOCK_SIZE);
  EXPECT_EQ(quotas()[0].trashBytes, 12u * BLOCK_SIZE);
  EXPECT_EQ(space(d).blocksFree, 10u) << "nobody is refused for what is in the trash";
  log->refuse = Status::NO_SPACE;
  advance(3000);
  EXPECT_GT(log->refused, 0u);
  EXPECT_EQ(quotas()[0].bytes, 12u * BLOCK_SIZE) << "until the log takes it";
  log->refuse = Status::OK;
  advance(3000);
  EXPECT_EQ(quotas()[0].bytes, 8u * BLOCK_SIZE) << "the first one has gone, and that is enough";
}

}  // namespace
}  // namespace cairn
