// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The protocol of rpc/chunkd.capnp between real chunk daemons, on a simulated network and virtual time.
#include <errno.h>

#include "test/chunkd/chunk_cluster.h"

namespace cairn {
namespace {

struct ChunkServiceTest : testing::Test {
  ChunkCluster c{3};
  ~ChunkServiceTest() noexcept override {
    for (auto& daemon : c.daemons) {
      KJ_IF_MAYBE (server, daemon->server) (*server)->chunkStore().checkInvariants();
    }
  }
};

using Ids = std::set<uint32_t>;
using Piece = ChunkCluster::Piece;

template <typename... Pieces>
kj::Array<Piece> piecesOf(Pieces&&... pieces) {
  return kj::arr<Piece>(kj::mv(pieces)...);
}

TEST_F(ChunkServiceTest, AnAnsweredWriteIsOnEveryReplicaWithValidChecksums) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  auto data = pattern(1 << 20, 1);
  auto answer = c.write(1, chunk, 100, kj::heapArray<kj::byte>(data.slice(0, (1 << 20) - 100)));
  EXPECT_EQ(answer.status, Status::OK);
  EXPECT_EQ(answer.applied, (Ids{1, 2, 3}));
  auto expected = std::string(100, '\0') + text(data.slice(0, (1 << 20) - 100));
  for (uint32_t id : {1, 2, 3}) EXPECT_TRUE(c.wholeChunk(id, chunk) == expected) << id;
}

TEST_F(ChunkServiceTest, TheExtentsOfAWriteAreAppliedOnEveryReplicaTheLaterOverTheEarlier) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(30'000, 1)).status, Status::OK);
  auto expected = text(pattern(30'000, 1)) + std::string(70'000, '\0');
  uint32_t offsets[] = {90'000, 5,    8192,
                        20'000, 4000, 8190};  // in a block together, across blocks, on a boundary
  auto pieces = kj::heapArray<Piece>(6);
  for (unsigned i = 0; i < 6; i++) {
    pieces[i] = {offsets[i], pattern(i == 0 ? 10'000 : i * 100, 10 + i)};
    expected.replace(pieces[i].offset, pieces[i].data.size(), text(pieces[i].data));
  }
  auto answer = c.write(1, chunk, kj::mv(pieces));
  EXPECT_EQ(answer.status, Status::OK);
  EXPECT_EQ(answer.applied, (Ids{1, 2, 3}));
  for (uint32_t id : {1, 2, 3}) EXPECT_TRUE(c.wholeChunk(id, chunk) == expected) << id;
  auto record = pattern(100, 3);
  EXPECT_EQ(c.append(1, chunk, record).offset, 100'000u) << "behind the one that ends last";
}

TEST_F(ChunkServiceTest, AWriteMayHaveAnExtentForEachBlockAndMoreThanTheStoreAppliesAtOnce) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  auto pieces = kj::heapArray<Piece>(WRITE_EXTENTS_MAX);
  std::string expected(2 * TRANSFER_SIZE_MAX - BLOCK_SIZE, '\0');
  for (unsigned i = 0; i < pieces.size(); i++) {
    pieces[i] = {(WRITE_EXTENTS_MAX - 1 - i) * 2 * BLOCK_SIZE, pattern(BLOCK_SIZE, i)};
    expected.replace(pieces[i].offset, BLOCK_SIZE, text(pieces[i].data));
  }
  static_assert(WRITE_EXTENTS_MAX > INTENT_SLOTS);
  EXPECT_EQ(c.write(1, chunk, kj::mv(pieces)).status, Status::OK);
  for (uint32_t id : {1, 2, 3}) EXPECT_TRUE(c.wholeChunk(id, chunk) == expected) << id;
}

TEST_F(ChunkServiceTest, WritesAtOnceFromManyEndTheSameOnAllReplicas) {
  auto chunk = c.grant(1, 0, {2, 3, 1});
  std::mt19937 random(3);
  kj::Vector<kj::Promise<void>> writes;
  for (unsigned i = 0; i < 150; i++) {
    auto pieces = kj::heapArray<Piece>(i % 3 == 0 ? 1 + random() % 9 : 1);
    for (auto& piece : pieces) {
      uint32_t size = uint32_t(1 + random() % (30000 / pieces.size()));
      piece = {uint32_t(random() % 60000), pattern(size, i)};
    }
    writes.add(c.startWrite(2, chunk, kj::mv(pieces)).then([](ChunkCluster::Answer answer) {
      EXPECT_EQ(answer.status, Status::OK);
    }));
  }
  c.time.run(kj::joinPromises(writes.releaseAsArray()), c.scope);
  auto first = c.wholeChunk(1, chunk);
  EXPECT_TRUE(first == c.wholeChunk(2, chunk));
  EXPECT_TRUE(first == c.wholeChunk(3, chunk));
  EXPECT_GT(first.size(), 60000u);
}

TEST_F(ChunkServiceTest, OnlyThePrimaryTakesWritesAndOnlyUnderItsVersion) {
  auto chunk = c.grant(1, 0, {1, 2});
  EXPECT_EQ(c.write(2, chunk, 0, pattern(10, 1)).status, Status::NOT_PRIMARY);
  EXPECT_EQ(c.write(3, chunk, 0, pattern(10, 1)).status, Status::NO_REPLICA);
  auto next = c.grant(1, 1, {2, 1});
  EXPECT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::STALE_VERSION);
  EXPECT_EQ(c.write(1, next, 0, pattern(10, 1)).status, Status::NOT_PRIMARY);
  EXPECT_EQ(c.write(2, next, 0, pattern(10, 1)).status, Status::OK);
}

TEST_F(ChunkServiceTest, RefusalsChangeNothingAnywhere) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(5000, 1)).status, Status::OK);
  auto data = pattern(5000, 2);
  auto sums = pieceSums(data, 0);
  sums[1] ^= 1;
  EXPECT_EQ(c.startWrite(1, chunk, 0, kj::mv(data), kj::mv(sums)).wait(c.scope).status, Status::BAD_CHECKSUM);
  EXPECT_EQ(c.write(1, chunk, CHUNK_SIZE - 1, pattern(2, 2)).status, Status::INVALID);
  EXPECT_EQ(c.write(1, chunk, 0xffffffff, pattern(2, 2)).status, Status::INVALID);
  for (uint32_t id : {1, 2}) EXPECT_TRUE(c.wholeChunk(id, chunk) == text(pattern(5000, 1)));
  EXPECT_EQ(c.write(1, chunk, 0, pattern(1, 3)).status, Status::OK) << "the lease goes on";
}

TEST_F(ChunkServiceTest, AWriteWithOneExtentThatCannotBeChangesNothingAnywhere) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(5000, 1)).status, Status::OK);
  auto status = [&](kj::Array<Piece> pieces, kj::Maybe<kj::Array<uint32_t>> sums = nullptr) {
    return c.startWrite(1, chunk, kj::mv(pieces), kj::mv(sums)).wait(c.scope).status;
  };
  auto good = [] { return Piece{100, pattern(100, 2)}; };
  EXPECT_EQ(status(nullptr), Status::INVALID) << "none";
  EXPECT_EQ(status(piecesOf(good(), Piece{200, nullptr})), Status::INVALID) << "an empty one";
  EXPECT_EQ(status(piecesOf(good(), Piece{CHUNK_SIZE - 1, pattern(2, 2)})), Status::INVALID)
      << "beyond the chunk";
  EXPECT_EQ(status(piecesOf(good(), Piece{0xffffffff, pattern(2, 2)})), Status::INVALID);
  EXPECT_EQ(status(piecesOf(Piece{0, pattern(TRANSFER_SIZE_MAX, 2)}, good())), Status::INVALID)
      << "too many bytes";
  auto many = kj::heapArray<Piece>(WRITE_EXTENTS_MAX + 1);
  for (auto& run : many) run = good();
  EXPECT_EQ(status(kj::mv(many)), Status::INVALID) << "too many";
  auto sum = env::crc32c(pattern(100, 2));
  EXPECT_EQ(status(piecesOf(good(), good()), kj::heapArray<uint32_t>({sum})), Status::INVALID)
      << "a checksum is missing";
  EXPECT_EQ(status(piecesOf(good()), kj::heapArray<uint32_t>({sum, sum})), Status::INVALID)
      << "one more than extents";
  EXPECT_EQ(status(piecesOf(good(), good()), kj::heapArray<uint32_t>({sum, sum ^ 1})), Status::BAD_CHECKSUM);
  for (uint32_t id : {1, 2}) EXPECT_TRUE(c.wholeChunk(id, chunk) == text(pattern(5000, 1)));
  EXPECT_EQ(status(piecesOf(good(), good()), kj::heapArray<uint32_t>({sum, sum})), Status::OK)
      << "the lease goes on";
}

TEST_F(ChunkServiceTest, ExtentsThatSayAnotherSizeThanTheirBytesHaveAreRefused) {
  auto chunk = c.grant(1, 0, {1});
  auto data = pattern(100, 2);
  for (auto [first, second] : {std::pair{50u, 49u}, {50u, 51u}, {101u, 1u}, {100u, 0xffffffffu}}) {
    auto answer = c.peer(1)
                      .call({"write", 60 * kj::SECONDS},
                            [&, first = first, second = second](rpc::ChunkServer::Client& client) {
                              auto request = client.writeRequest();
                              request.getChunk().setHandle(chunk.handle.value());
                              request.getChunk().setVersion(chunk.version.value());
                              auto extents = request.initExtents(2);
                              extents[0].setSize(first);
                              extents[1].setSize(second);
                              request.setData(data);
                              request.initChecksums(2);
                              return request.send();
                            })
                      .wait(c.scope);
    EXPECT_EQ(answer.getStatus(), Status::INVALID) << first << ", " << second;
  }
  EXPECT_EQ(c.wholeChunk(1, chunk), "");
}

TEST_F(ChunkServiceTest, ReadsAreOfExactlyTheVersionAndOfWholeBlocks) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(5000, 1)).status, Status::OK);
  auto part = c.read(2, chunk, 4096, 8192);
  EXPECT_EQ(part.bytes, text(pattern(5000, 1)).substr(4096));
  EXPECT_TRUE(part.valid);
  EXPECT_EQ(c.read(2, chunk, 1, 4096).status, Status::INVALID);
  EXPECT_EQ(c.read(2, chunk, 0, 4095).status, Status::INVALID);
  EXPECT_EQ(c.read(2, chunk, 0, TRANSFER_SIZE_MAX + BLOCK_SIZE).status, Status::INVALID);
  EXPECT_EQ(c.read(2, chunk, 1 << 20, 4096).bytes, "");
  EXPECT_EQ(c.read(3, chunk, 0, 4096).status, Status::NO_REPLICA);
  EXPECT_EQ(c.read(2, {chunk.handle, chunk.version.next()}, 0, 4096).status, Status::BEHIND_VERSION);
}

TEST_F(ChunkServiceTest, AReadBehindAWriteThatLengthensTheLastBlockIsOfItWhole) {
  auto chunk = c.grant(1, 0, {1, 2});
  std::string expected;
  for (unsigned i = 0; i < 20; i++) {
    auto more = pattern(100, i);
    auto writing = promiseOf(c.startWrite(1, chunk, uint32_t(expected.size()), kj::heapArray(more.asPtr())));
    auto reading = c.startRead(1, chunk, 0, BLOCK_SIZE);
    expected += text(more);
    auto part = c.time.run(kj::mv(reading), c.scope);
    EXPECT_EQ(part.status, Status::OK);
    EXPECT_TRUE(part.valid) << "of " << i << " writes";
    EXPECT_TRUE(part.bytes == expected || part.bytes == expected.substr(0, i * 100u)) << part.bytes.size();
    EXPECT_EQ(c.time.run(kj::mv(writing), c.scope).status, Status::OK);
  }
}

// -- leases

TEST_F(ChunkServiceTest, ALeaseInUseIsExtendedByHeartbeats) {
  auto chunk = c.grant(1, 0, {1, 2});
  for (int second = 0; second < 200; second += 10) {
    EXPECT_EQ(c.write(1, chunk, 0, pattern(10, unsigned(second))).status, Status::OK) << second;
    c.pass(10 * kj::SECONDS);
  }
  EXPECT_GT(c.meta.extensions, 2u);
}

// From the moment its lease runs out a primary may have a successor, so one that is cut off from the
// metaserver falls silent by itself.
TEST_F(ChunkServiceTest, APrimaryCutOffFromTheMetaserverFallsSilentWhenItsLeaseEnds) {
  auto chunk = c.grant(1, 0, {1, 2});
  c.network.cut("h1", "meta");
  c.pass(LEASE_TERM - 1 * kj::SECONDS);
  EXPECT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::OK);
  c.pass(1 * kj::SECONDS);
  EXPECT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::LEASE_EXPIRED);
  c.network.healAll();
  c.pass(10 * kj::SECONDS);
  EXPECT_GE(c.meta.stores[1].registrations, 2u) << "it has registered again";
}

TEST_F(ChunkServiceTest, ARevokeAnswersWhenTheAcceptedWritesAreDone) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::OK);
  c.daemon(2).disk.setDelay(c.time.timer(), 200 * kj::MILLISECONDS);
  auto writing = c.startWrite(1, chunk, 0, pattern(4096, 2)).eagerlyEvaluate(nullptr);
  c.pass(20 * kj::MILLISECONDS);
  auto request = c.orders(1).revokeRequest();
  request.setEpoch(1);
  auto named = request.initChunks(1)[0];
  named.setHandle(1);
  named.setVersion(chunk.version.value());
  auto began = c.time.elapsed();
  EXPECT_EQ(request.send().wait(c.scope).getStatus(), Status::OK);
  EXPECT_GT(c.time.elapsed() - began, 100 * kj::MILLISECONDS);
  EXPECT_TRUE(writing.poll(c.scope) || c.time.elapsed() - began > 150 * kj::MILLISECONDS);
  EXPECT_EQ(writing.wait(c.scope).status, Status::OK);
  EXPECT_EQ(c.write(1, chunk, 0, pattern(10, 3)).status, Status::NOT_PRIMARY);
}

// -- failures of replicas

TEST_F(ChunkServiceTest, ADeadSecondaryIsReportedAndTheNextVersionDoesWithout) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::OK);
  c.kill(2);
  auto answer = c.write(1, chunk, 0, pattern(10, 2));
  EXPECT_EQ(answer.status, Status::REPLICA_FAILED);
  EXPECT_EQ(answer.failed, (Ids{2})) << "of those behind it nothing is known";
  ASSERT_EQ(c.meta.failures.size(), 1u);
  EXPECT_EQ(c.meta.failures[0].servers, (std::vector<uint32_t>{2}));
  EXPECT_EQ(c.write(1, chunk, 0, pattern(10, 2)).status, Status::NOT_PRIMARY)
      << "the lease has ended with it";
  auto next = c.grant(1, 1, {1, 3});
  EXPECT_EQ(c.write(1, next, 0, pattern(10, 2)).applied, (Ids{1, 3}));
}

TEST_F(ChunkServiceTest, AFailureAtTheEndOfTheChainNamesThatReplicaOnly) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::OK);
  c.kill(3);
  auto answer = c.write(1, chunk, 0, pattern(10, 2));
  EXPECT_EQ(answer.status, Status::REPLICA_FAILED);
  EXPECT_EQ(answer.failed, (Ids{3}));
  EXPECT_EQ(answer.applied, (Ids{1, 2}));
}

TEST_F(ChunkServiceTest, AHungSecondaryCostsLessThanTwoSeconds) {
  auto chunk = c.grant(1, 0, {1, 2, 3});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::OK);
  for (uint32_t hung : {3, 2}) {
    auto host = "h" + std::to_string(hung);
    c.network.stop(host.c_str());
    auto began = c.time.elapsed();
    auto answer = c.write(1, chunk, 0, pattern(100000, 2));
    EXPECT_EQ(answer.status, Status::REPLICA_FAILED);
    EXPECT_EQ(answer.failed, (Ids{hung}));
    EXPECT_LT(c.time.elapsed() - began, 2 * kj::SECONDS);
    c.network.resume(host.c_str());
    c.pass(5 * kj::SECONDS);
    chunk = c.grant(1, chunk.version.value(), {1, 2, 3});
    EXPECT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::OK);
  }
}

TEST_F(ChunkServiceTest, ASlowSecondaryThatIsAliveIsWaitedFor) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::OK);
  c.daemon(2).disk.setDelay(c.time.timer(), 3 * kj::SECONDS);
  EXPECT_EQ(c.write(1, chunk, 0, pattern(8192, 2)).status, Status::OK);
}

TEST_F(ChunkServiceTest, ASecondaryThatRestartedInTheMiddleOfALeaseDoesNotGoOn) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::OK);
  c.kill(2);
  c.start(2);
  auto answer = c.write(1, chunk, 0, pattern(10, 2));
  EXPECT_EQ(answer.status, Status::REPLICA_FAILED);
  EXPECT_EQ(answer.failed, (Ids{2}));
}

TEST_F(ChunkServiceTest, AFullDiskUnderOneReplicaCostsThatReplicaAndUnderAllIsNoSpace) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(8192, 1)).status, Status::OK);
  auto fill = [&](uint32_t id) {
    auto space = c.daemon(id).disk.space();
    c.daemon(id).disk.setCapacity(space.totalBytes - space.freeBytes);
  };
  fill(1);
  auto answer = c.write(1, chunk, 8192, pattern(100000, 2));
  EXPECT_EQ(answer.status, Status::REPLICA_FAILED);
  EXPECT_EQ(answer.failed, (Ids{1})) << "the primary itself";
  auto next = c.grant(1, 1, {1, 2});
  fill(2);
  answer = c.write(1, next, 8192, pattern(500000, 2));
  EXPECT_EQ(answer.status, Status::NO_SPACE);
  for (uint32_t id : {1, 2}) EXPECT_EQ(c.wholeChunk(id, next).substr(0, 8192), text(pattern(8192, 1)));
}

TEST_F(ChunkServiceTest, AWriteOfWhichOneExtentFindsNoRoomIsNoSpaceWhateverBecameOfTheOthers) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(8192, 1)).status, Status::OK);
  for (uint32_t id : {1, 2}) {
    auto space = c.daemon(id).disk.space();
    c.daemon(id).disk.setCapacity(space.totalBytes - space.freeBytes);
  }
  auto answer = c.write(1, chunk, piecesOf(Piece{1 << 20, pattern(200'000, 2)}, Piece{100, pattern(50, 3)}));
  EXPECT_EQ(answer.status, Status::NO_SPACE);
  EXPECT_EQ(c.write(1, chunk, 0, pattern(10, 1)).status, Status::NOT_PRIMARY) << "the lease has ended";
  auto after = text(pattern(8192, 1)).replace(100, 50, text(pattern(50, 3)));
  for (uint32_t id : {1, 2}) EXPECT_EQ(c.wholeChunk(id, chunk), after) << id;
}

// -- sync

TEST_F(ChunkServiceTest, ASyncForAnotherBootOfTheMachineIsRefused) {
  auto chunk = c.grant(1, 0, {1});
  auto answer = c.write(1, chunk, 0, pattern(8192, 1));
  EXPECT_EQ(c.sync(1, chunk, answer.boot), Status::OK);
  c.kill(1);
  c.start(1, FIRST_BOOT);
  EXPECT_EQ(c.sync(1, chunk, answer.boot), Status::OK) << "the process died, the machine did not";
  c.kill(1);
  c.daemon(1).disk.losePower(1);
  c.start(1, SECOND_BOOT);
  EXPECT_EQ(c.sync(1, chunk, answer.boot), Status::REBOOTED);
  EXPECT_EQ(c.sync(1, chunk), Status::REBOOTED) << "a suspect counts for nothing";
  ASSERT_EQ(c.adopt(1, {chunk.handle, ChunkVersion(2)}, 1), Status::OK);
  ASSERT_EQ(c.reconcile(1, {chunk.handle, ChunkVersion(2)}, {}).status, Status::OK);
  EXPECT_EQ(c.sync(1, {chunk.handle, ChunkVersion(2)}, answer.boot), Status::REBOOTED);
  EXPECT_EQ(c.sync(1, {chunk.handle, ChunkVersion(2)}), Status::OK);
}

// -- append

TEST_F(ChunkServiceTest, AppendsLandOneBehindTheOtherOnAllReplicas) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(1000, 1)).status, Status::OK);
  std::string expected = text(pattern(1000, 1));
  for (unsigned i = 0; i < 5; i++) {
    auto record = pattern(i == 3 ? 3'000'001 : 7001, 10 + i);
    auto answer = c.append(1, chunk, record);
    EXPECT_EQ(answer.status, Status::OK);
    EXPECT_EQ(answer.offset, expected.size());
    EXPECT_EQ(answer.applied, (Ids{1, 2}));
    expected += text(record);
  }
  EXPECT_TRUE(c.wholeChunk(1, chunk) == expected);
  EXPECT_TRUE(c.wholeChunk(2, chunk) == expected);
  auto record = pattern(10, 1);
  EXPECT_EQ(c.append(1, chunk, record, 1).status, Status::BAD_CHECKSUM);
  EXPECT_EQ(c.append(2, chunk, record).status, Status::NOT_PRIMARY);
}

TEST_F(ChunkServiceTest, AnAppendThatDoesNotFitFillsTheChunkWithZeros) {
  auto chunk = c.grant(1, 0, {1, 2});
  auto last = pattern(100, 1);
  ASSERT_EQ(c.write(1, chunk, CHUNK_SIZE - 5000, kj::heapArray<kj::byte>(last.asPtr())).status, Status::OK);
  auto record = pattern(4901, 2);
  EXPECT_EQ(c.append(1, chunk, record).status, Status::CHUNK_FULL);
  EXPECT_EQ(c.append(1, chunk, record).status, Status::CHUNK_FULL) << "again";
  for (uint32_t id : {1, 2}) {
    auto tail = c.read(id, chunk, CHUNK_SIZE - 8192, 8192);
    EXPECT_TRUE(tail.valid);
    EXPECT_EQ(tail.bytes, std::string(8192 - 5000, '\0') + text(last) + std::string(4900, '\0'));
  }
}

// -- the metaserver

TEST_F(ChunkServiceTest, OrdersOfAnOlderEpochAreRefusedAndANewerIsRemembered) {
  auto chunk = c.grant(1, 0, {1});
  EXPECT_EQ(c.adopt(1, {chunk.handle, ChunkVersion(2)}, 1, Epoch(7)), Status::OK);
  EXPECT_EQ(c.store(1).identity().epoch, Epoch(7));
  EXPECT_EQ(c.adopt(1, {chunk.handle, ChunkVersion(3)}, 2, Epoch(6)), Status::STALE_EPOCH);
  EXPECT_EQ(c.lease(1, {chunk.handle, ChunkVersion(2)}, {}, Epoch(6)), Status::STALE_EPOCH);
  auto request = c.orders(1).deleteRequest();
  request.setEpoch(6);
  auto doomed = request.initChunks(1)[0];
  doomed.setHandle(1);
  doomed.setVersion(9);
  EXPECT_EQ(request.send().wait(c.scope).getStatus(), Status::STALE_EPOCH);
  EXPECT_EQ(c.store(1).count(), 1u);
}

TEST_F(ChunkServiceTest, AMetaserverOfAnOlderEpochIsNotObeyed) {
  auto chunk = c.grant(1, 0, {1});
  ASSERT_EQ(c.adopt(1, {chunk.handle, ChunkVersion(2)}, 1, Epoch(7)), Status::OK);
  c.meta.stores[1].deleteNext.push_back({chunk.handle, ChunkVersion(9)});
  c.pass(5 * kj::SECONDS);  // its heartbeats answer epoch 1
  EXPECT_EQ(c.store(1).count(), 1u);
  EXPECT_TRUE(c.daemon(1).log.has("is of epoch 1, we have seen 7 -> not obeyed")) << c.daemon(1).log.lines;
  c.meta.epoch = Epoch(8);
  c.meta.stores[1].deleteNext.push_back({chunk.handle, ChunkVersion(1)});
  c.pass(10 * kj::SECONDS);
  EXPECT_EQ(c.store(1).count(), 1u) << "its version is above the named one";
  c.meta.stores[1].deleteNext.push_back({chunk.handle, ChunkVersion(2)});
  c.pass(3 * kj::SECONDS);
  EXPECT_EQ(c.store(1).count(), 0u);
}

TEST_F(ChunkServiceTest, ChunksAreReportedAgainToAMetaserverThatCameBack) {
  for (uint64_t handle = 1; handle <= 12; handle++) {
    ASSERT_EQ(c.write(1, c.grant(handle, 0, {1, 2}), 0, pattern(handle, 1)).status, Status::OK);
  }
  c.meta.stop();
  c.pass(3 * kj::SECONDS);
  c.meta.epoch = Epoch(2);
  c.meta.listen();
  c.pass(5 * kj::SECONDS);
  auto& known = c.meta.stores[1];
  EXPECT_EQ(known.registrations, 2u);
  EXPECT_TRUE(known.reportComplete);
  ASSERT_EQ(known.reported.size(), 12u);
  EXPECT_EQ(known.reported[7].length, 7u);
  EXPECT_EQ(known.reported[7].version, ChunkVersion(1));
  EXPECT_EQ(c.store(1).identity().epoch, Epoch(2));
}

TEST_F(ChunkServiceTest, ADamagedReplicaIsToldToTheMetaserver) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.write(1, chunk, 0, pattern(8192, 1)).status, Status::OK);
  c.daemon(2).disk.flipBit(dataPath(chunk.handle), 5);
  EXPECT_FALSE(c.read(2, chunk, 0, 8192).valid) << "the reader sees it";
  EXPECT_EQ(c.store(2).verify(chunk).wait(c.scope).status, Status::CORRUPT);
  c.pass(2 * kj::SECONDS);
  EXPECT_EQ(c.meta.stores[2].removed.count(1), 1u);
  EXPECT_EQ(c.read(2, chunk, 0, 8192).status, Status::CORRUPT);
}

TEST_F(ChunkServiceTest, AStoreOfAnotherClusterIsRefusedForGoodAndUntouched) {
  ASSERT_EQ(c.write(1, c.grant(1, 0, {1}), 0, pattern(10, 1)).status, Status::OK);
  c.kill(1);
  c.meta.stop();
  c.meta.cluster = ClusterId{9, 9};
  c.meta.listen();
  EXPECT_EQ(c.tryStart(1), "");
  auto sentence = KJ_ASSERT_NONNULL(c.daemon(1).server)
                      ->whenRegistered()
                      .then([] { return std::string(); },
                            [](kj::Exception&& e) { return std::string(e.getDescription().cStr()); })
                      .wait(c.scope);
  EXPECT_NE(sentence.find("cluster"), std::string::npos) << sentence;
  EXPECT_EQ(c.store(1).identity().cluster, TEST_CLUSTER);
  EXPECT_EQ(c.store(1).count(), 1u);
}

TEST_F(ChunkServiceTest, AStoreThatAnotherProcessServesIsRefused) {
  c.kill(1);
  c.meta.registerAnswer = Status::EXISTS;
  EXPECT_EQ(c.tryStart(1), "");
  auto sentence = KJ_ASSERT_NONNULL(c.daemon(1).server)
                      ->whenRegistered()
                      .then([] { return std::string(); },
                            [](kj::Exception&& e) { return std::string(e.getDescription().cStr()); })
                      .wait(c.scope);
  EXPECT_NE(sentence.find("because the test says so"), std::string::npos) << sentence;
}

}  // namespace
}  // namespace cairn
