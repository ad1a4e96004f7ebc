// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Chunks that several places of files have: what share and ownChunk do to the namespace, and what the other
// operations do to shared chunks.
#include "test/metaserver/metadata_world.h"

namespace cairn {
namespace {

constexpr uint64_t CHUNK = CHUNK_SIZE;

struct Share : testing::Test {
  MetadataWorld world;
  kj::Own<Client> client;
  InodeId source, target;
  ChunkHandle first, second;

  Share() {
    world.start();
    client = kj::heap<Client>(world);
    source = client->file(ROOT_INODE, "source");
    target = client->file(ROOT_INODE, "target");
    first = world.attach(source, 0);
    second = world.attach(source, 1);
    client->publish(source, CHUNK + 5000);
    count(source, 0, first, 100);
    count(source, 1, second, 2);
  }
  ~Share() noexcept override {}

  void count(InodeId inode, uint64_t index, ChunkHandle handle, uint32_t blocks) {
    client->change([&](auto change) {
      auto publish = change.initPublish();
      publish.setFile(inode.value());
      publish.initChunks(1).set(0, handle.value());
      change.initChunkBlocks(1).set(0, blocks);
      change.initChunkIndexes(1).set(0, index);
    });
  }
  ChunkRecord record(ChunkHandle handle) { return KJ_REQUIRE_NONNULL(world.read().chunk(handle)); }
  ChunkHandle at(InodeId inode, uint64_t index) { return world.read().chunkAt(inode, ChunkIndex(index)); }
  uint32_t validAt(InodeId inode, uint64_t index) {
    return world.read().referenceAt(inode, ChunkIndex(index)).validBytes;
  }
  uint64_t blocksOf(InodeId inode) { return world.read().inode(inode)->attributes.bytesUsed / BLOCK_SIZE; }
  uint64_t reserved() {
    return world.own([](auto body) { body.setReserveHandles(1); }).number;
  }
};

TEST_F(Share, AWholeFileIsSharedAndBothCountItsBlocks) {
  auto outcome = client->share(source, 0, target, 0, CHUNK + 5000);
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(KJ_REQUIRE_NONNULL(outcome.attributes).size, CHUNK + 5000);
  EXPECT_EQ(at(target, 0), first);
  EXPECT_EQ(at(target, 1), second);
  EXPECT_EQ(record(first).references, 2u);
  EXPECT_EQ(world.state().chunks, 2u) << "there are no more chunks than before";
  EXPECT_EQ(blocksOf(source), 102u);
  EXPECT_EQ(blocksOf(target), 102u);
  EXPECT_EQ(validAt(target, 1), 5000u) << "what the source's writer may have applied behind is not in it";
  EXPECT_EQ(validAt(target, 0), ALL_BYTES_VALID);
}

TEST_F(Share, RefusesWhatWouldLoseBytesOrTakeTooMany) {
  EXPECT_EQ(client->share(source, 0, target, 0, CHUNK + 5001).status, Status::INVALID) << "beyond the end";
  EXPECT_EQ(client->share(source, 0, target, 0, 0).status, Status::INVALID);
  EXPECT_EQ(client->share(source, 0, ROOT_INODE, 0, CHUNK).status, Status::INVALID) << "a directory";
  EXPECT_EQ(client->share(source, 0, source, 1, CHUNK + 1).status, Status::INVALID) << "they overlap";
  EXPECT_EQ(client->share(source, 0, target, FILE_SIZE_MAX / CHUNK_SIZE, CHUNK).status, Status::TOO_BIG);
  client->truncate(target, 2 * CHUNK);
  EXPECT_EQ(client->share(source, 1, target, 1, 5000).status, Status::INVALID) << "the rest of that chunk";
  EXPECT_EQ(client->share(source, 0, target, 0, CHUNK).status, Status::OK) << "a whole one in the middle";
  EXPECT_EQ(record(first).references, 2u);
  EXPECT_EQ(record(second).references, 1u);
}

TEST_F(Share, AChunkThatIsNotTheOneThatWasMadeToStandStillRefusesAll) {
  auto stale = client->change([&](auto change) {
    auto request = change.initShare();
    request.setSource(source.value());
    request.setTarget(target.value());
    request.setBytes(CHUNK + 5000);
    auto handles = request.initHandles(2);
    handles.set(0, first.value());  // and of the second place it says that it is a hole
  });
  EXPECT_EQ(stale.status, Status::STALE_VERSION);
  EXPECT_EQ(record(first).references, 1u);
  EXPECT_EQ(at(target, 0), ChunkHandle());
}

TEST_F(Share, HolesAreSharedAsHolesAndWhatWasThereGoes) {
  auto old = world.attach(target, 1);
  client->publish(target, 2 * CHUNK);
  auto sparse = client->file(ROOT_INODE, "sparse");
  client->truncate(sparse, 3 * CHUNK);
  auto end = world.attach(sparse, 2);
  ASSERT_TRUE(client->share(sparse, 0, target, 0, 3 * CHUNK).ok());
  EXPECT_EQ(at(target, 1), ChunkHandle());
  EXPECT_EQ(at(target, 2), end);
  EXPECT_EQ(world.read().inode(target)->chunks, 1u);
  EXPECT_TRUE(world.read().chunk(old) == nullptr);
  EXPECT_EQ(world.state().garbage, 1u);
}

TEST_F(Share, SharingTheSameAgainAndWithinAFileKeepsTheCountsRight) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client->share(source, 0, target, 0, CHUNK).ok());
  EXPECT_EQ(record(first).references, 2u);
  ASSERT_TRUE(client->share(source, 0, source, 4, CHUNK).ok());
  EXPECT_EQ(record(first).references, 3u);
  EXPECT_EQ(world.read().inode(source)->chunks, 3u);
  EXPECT_EQ(world.read().inode(source)->attributes.size, 5 * CHUNK);
  EXPECT_EQ(blocksOf(source), 202u);
}

TEST_F(Share, AnOwnChunkEndsTheSharingForOnePlaceOnly) {
  client->share(source, 0, target, 0, CHUNK + 5000);
  auto clone = reserved();
  auto outcome = world.ownChunk(target, 1, second.value(), 1, clone);
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(at(target, 1).value(), clone);
  EXPECT_EQ(at(source, 1), second);
  EXPECT_EQ(record(second).references, 1u);
  EXPECT_EQ(record(ChunkHandle(clone)).version, ChunkVersion(1));
  EXPECT_EQ(validAt(target, 1), ALL_BYTES_VALID) << "the clone was cut when it was made";
  EXPECT_EQ(blocksOf(target), 102u);
  EXPECT_EQ(world.state().chunks, 3u);
  EXPECT_EQ(world.ownChunk(target, 1, second.value(), 1, reserved()).status, Status::STALE_VERSION);
  EXPECT_EQ(world.ownChunk(source, 0, first.value(), 1, clone).status, Status::INVALID) << "it is in use";
}

TEST_F(Share, AVersionThatWasRaisedSinceItWasClonedRefusesTheClone) {
  client->share(source, 0, target, 0, CHUNK);
  world.raise(first, 1);
  EXPECT_EQ(world.ownChunk(target, 0, first.value(), 1, reserved()).status, Status::STALE_VERSION);
  EXPECT_EQ(world.ownChunk(target, 0, first.value(), 2, reserved()).status, Status::OK);
}

TEST_F(Share, TheLastPlaceKeepsTheChunkCutToWhatIsValidOfIt) {
  client->share(source, 0, target, 0, CHUNK + 5000);
  EXPECT_EQ(world.ownChunk(target, 1, second.value(), 1, 0).status, Status::STALE_VERSION);
  client->unheld = source;
  ASSERT_TRUE(client->unlink(ROOT_INODE, "source").ok());
  EXPECT_EQ(record(second).references, 1u);
  ASSERT_TRUE(world.ownChunk(target, 1, second.value(), 1, 0).ok());
  EXPECT_EQ(validAt(target, 1), ALL_BYTES_VALID);
  EXPECT_EQ(record(second).validBytes, 5000u) << "the replicas are told with the next grant";
  EXPECT_EQ(blocksOf(target), 102u);
}

TEST_F(Share, CuttingASharedChunkCutsOnlyTheFilesViewOfIt) {
  client->share(source, 0, target, 0, CHUNK + 5000);
  auto cut = client->truncate(target, 10 * BLOCK_SIZE + 1);
  ASSERT_TRUE(cut.ok());
  EXPECT_EQ(cut.cut, ChunkHandle()) << "there is no lease to take back";
  EXPECT_EQ(validAt(target, 0), 10 * BLOCK_SIZE + 1);
  EXPECT_EQ(record(first).validBytes, ALL_BYTES_VALID);
  EXPECT_EQ(validAt(source, 0), ALL_BYTES_VALID);
  EXPECT_EQ(blocksOf(target), 11u);
  EXPECT_EQ(blocksOf(source), 102u);
  EXPECT_EQ(record(second).references, 1u);
}

TEST_F(Share, BlocksThatArePublishedLateAreNotCountedForAChunkThatIsNoLongerThere) {
  client->share(source, 0, target, 0, CHUNK);
  count(source, 0, first, 300);
  EXPECT_EQ(blocksOf(source), 102u) << "it is shared, so it cannot have been written since";
  ASSERT_TRUE(world.ownChunk(source, 0, first.value(), 1, reserved()).ok());
  count(source, 0, first, 300);
  EXPECT_EQ(blocksOf(source), 102u);
  EXPECT_EQ(record(first).zeroBlocks, BLOCKS_PER_CHUNK - 100);
}

TEST_F(Share, OnlyTheLastReferenceMakesAChunkGarbage) {
  client->share(source, 0, target, 0, CHUNK + 5000);
  client->unheld = source;
  ASSERT_TRUE(client->unlink(ROOT_INODE, "source").ok());
  EXPECT_EQ(world.state().garbage, 0u);
  EXPECT_EQ(world.state().chunks, 2u);
  client->truncate(target, 0);
  EXPECT_EQ(world.state().garbage, 2u);
  EXPECT_EQ(world.state().chunks, 0u);
}

TEST_F(Share, ASharedChunkWantsAsManyCopiesAsTheFileThatWantsMost) {
  auto wants = [&](InodeId inode, uint8_t copies) {
    return world.own([&](auto body) {
      auto request = body.initSetReplicas();
      request.setSubject(inode.value());
      request.setCopies(copies);
    });
  };
  ASSERT_TRUE(wants(source, 2).ok());
  ASSERT_TRUE(wants(target, 5).ok());
  client->share(source, 0, target, 0, CHUNK + 5000);
  EXPECT_EQ(record(first).replicas, 5);
  ASSERT_TRUE(wants(source, 1).ok());
  EXPECT_EQ(record(first).replicas, 5);
}

TEST_F(Share, SurvivesAPowerCutAsAnyOperation) {
  client->share(source, 0, target, 0, CHUNK + 5000);
  auto before = world.theNames().dump();
  ASSERT_EQ(world.sync(), Status::OK);
  world.losePowerAndRestart(3);
  EXPECT_EQ(at(target, 1), second);
  EXPECT_EQ(validAt(target, 1), 5000u);
  EXPECT_EQ(record(second).references, 2u);
}

}  // namespace
}  // namespace cairn
