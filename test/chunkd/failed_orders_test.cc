// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Orders and calls that end badly: the disk fails in the middle of a copy or a reconcile, another store lies
// or hangs, the metaserver refuses, and what an operation waited for has changed everything.
#include <errno.h>

#include "test/chunkd/chunk_cluster.h"

namespace cairn {
namespace {

using Ids = std::set<uint32_t>;

// ------------------------------------------------------------ who has waited

// A slow write holds a chunk, and behind it waits what changes everything. What was let in before that and
// waits behind it must look again.
struct WhoHasWaited : testing::Test {
  MemoryHouse place;
  StoreHouse& house = place.house;
  ChunkKey chunk;
  kj::Array<kj::byte> bytes = pattern(10'000, 1);
  kj::Array<uint32_t> sums = pieceSums(bytes, 0);
  kj::Array<kj::byte> room = kj::heapArray<kj::byte>(BLOCK_SIZE);
  uint32_t roomSum = 0;

  WhoHasWaited() {
    house.open();
    chunk = house.create(1);
    EXPECT_EQ(house.write(chunk, 0, bytes), Status::OK);
    place.disk.setDelay(house.timer, 10 * kj::MILLISECONDS);
  }
  ~WhoHasWaited() noexcept override { house.current = nullptr; }
  kj::Promise<Status> write() { return house.store().write(chunk, 0, bytes, sums); }
  template <typename Answer>
  kj::Promise<Status> statusOf(Async<Answer> asked) {
    return kj::Promise<Answer>(kj::mv(asked)).then([](Answer answer) { return answer.status; });
  }
  kj::Promise<Status> read() {
    return statusOf(house.store().read(chunk, 0, room, kj::arrayPtr(&roomSum, 1)));
  }
  kj::Promise<Status> raise(uint64_t version) {
    return statusOf(house.store().adopt({chunk.handle, chunk.version, ChunkVersion(version), nullptr}));
  }
  Status ended(kj::Promise<Status>& promise) {
    for (int i = 0; i < 1000 && !promise.poll(place.waitScope); i++) house.advance(10 * kj::MILLISECONDS);
    return promise.wait(place.waitScope);
  }
};

TEST_F(WhoHasWaited, BehindARemovalFindsNoReplica) {
  auto& store = house.store();
  auto slow = write();
  kj::Promise<Status> removal = store.remove(chunk);
  kj::Vector<kj::Promise<Status>> waiting;
  waiting.add(write());
  waiting.add(read());
  waiting.add(statusOf(store.checksums(chunk)));
  waiting.add(store.writeReconciled(chunk, 0, bytes, sums));
  waiting.add(store.resizeReconciled(chunk, 100));
  waiting.add(statusOf(store.clone(chunk, ChunkHandle(2), CHUNK_SIZE)));
  waiting.add(store.sync(chunk));
  EXPECT_EQ(ended(slow), Status::OK);
  EXPECT_EQ(ended(removal), Status::OK);
  for (auto& one : waiting) EXPECT_EQ(ended(one), Status::NO_REPLICA) << &one - waiting.begin();
  EXPECT_EQ(store.count(), 0u) << "nothing is left of a clone";
}

TEST_F(WhoHasWaited, BehindARaiseFindsANewerVersion) {
  auto slow = write();
  auto raised = raise(3);
  kj::Vector<kj::Promise<Status>> waiting;
  waiting.add(write());
  waiting.add(read());
  waiting.add(house.store().stage(chunk.handle, ChunkVersion(2), ChunkVersion(1)));
  EXPECT_EQ(ended(slow), Status::OK);
  EXPECT_EQ(ended(raised), Status::OK);
  for (auto& one : waiting) EXPECT_EQ(ended(one), Status::STALE_VERSION) << &one - waiting.begin();
}

TEST_F(WhoHasWaited, ForASyncToEndTheSuspicionOfAReplicaThatIsRaisedMeanwhileDoesNotEndIt) {
  auto ending = kj::Promise<Status>(house.store().endSuspicion(chunk));
  ending.poll(place.waitScope);  // the disk syncs
  auto raised = raise(2);
  EXPECT_EQ(ended(raised), Status::OK);
  EXPECT_EQ(ended(ending), Status::STALE_VERSION);
}

TEST_F(WhoHasWaited, ForItsFilesToBeOpenedBehindARaiseFindsANewerVersion) {
  place.disk.setDelay(house.timer, 0 * kj::SECONDS);
  house.open();  // nothing is open
  place.disk.setDelay(house.timer, 10 * kj::MILLISECONDS);
  auto raised = raise(2);
  auto synced = kj::Promise<Status>(house.store().sync(chunk));
  EXPECT_EQ(ended(raised), Status::OK);
  EXPECT_EQ(ended(synced), Status::STALE_VERSION);
}

// ------------------------------------------------------------ disks that fail under an order

struct FailedOrders : testing::Test {
  ChunkCluster c{3};
  ~FailedOrders() noexcept override {
    for (auto& daemon : c.daemons) {
      KJ_IF_MAYBE (server, daemon->server) (*server)->chunkStore().checkInvariants();
    }
  }
  ChunkKey written(std::vector<uint32_t> replicas, uint64_t handle, size_t size = 20'000) {
    auto chunk = c.grant(handle, 0, replicas);
    EXPECT_EQ(c.write(replicas[0], chunk, 0, pattern(size, unsigned(handle))).status, Status::OK);
    return chunk;
  }
  ChunkKey alone(std::vector<uint32_t> replicas, uint64_t handle) {
    // On each for itself: one that has just been restarted is not reached by the others at once.
    ChunkKey chunk{ChunkHandle(handle), ChunkVersion(1)};
    for (auto id : replicas) {
      EXPECT_EQ(c.adopt(id, chunk, 0), Status::OK);
      writeTo(id, chunk, 0, pattern(20'000, unsigned(handle)));
    }
    return chunk;
  }
  void writeTo(uint32_t id, ChunkKey chunk, uint32_t offset, kj::Array<kj::byte> bytes) {
    EXPECT_EQ(c.lease(id, chunk, {}), Status::OK);
    EXPECT_EQ(c.write(id, chunk, offset, kj::mv(bytes)).status, Status::OK);
  }
  bool isThere(uint32_t id, ChunkHandle handle) { return c.store(id).describe(handle) != nullptr; }
  static ChunkKey raised(ChunkKey key) { return {key.handle, key.version.next()}; }
};

TEST_F(FailedOrders, ACopyThatFailsAtAnyCallOfTheDiskIsNoReplicaOrTheWholeOne) {
  for (bool commit : {false, true}) {
    for (bool onIndex : {false, true}) {
      bool failed = true;
      for (uint64_t call = 1; failed; call++) {
        SCOPED_TRACE(testing::Message() << "call " << call << (onIndex ? " of the index" : ""));
        auto chunk = alone({1, 3}, (uint64_t(commit) * 2 + onIndex) * 1000 + call);
        ASSERT_EQ(c.adopt(1, raised(chunk), 1), Status::OK);
        if (call % 2 == 0) writeTo(3, chunk, 20'000, pattern(9'000, 9));  // it is longer: it is cut first
        writeTo(3, chunk, 100, pattern(100, 9));
        c.kill(3), c.start(3);  // nothing is open
        chunk = raised(chunk);
        auto& three = c.daemon(3);
        onIndex ? three.rocks.failFrom(call, EIO, FailingRocks::Until::ONCE)
                : three.failing.failFrom(call, EIO, FailingDisk::Until::ONCE);
        auto copy = c.copy(3, chunk, {1}, {.replace = 1, .commit = commit});
        failed = three.rocks.hasFailed() || three.failing.hasFailed();
        three.failing.recover(), three.rocks.recover();
        if (onIndex && failed) c.kill(3), c.start(3);  // a RocksDB that has failed takes nothing more
        if (!failed) EXPECT_EQ(copy.status, Status::OK);
        if (failed && !ok(copy.status)) EXPECT_EQ(copy.status, Status::IO_ERROR);
        auto again = c.copy(3, chunk, {1}, {.replace = 1});
        EXPECT_EQ(again.status, Status::OK) << "another attempt takes what is there";
        EXPECT_TRUE(c.wholeChunk(3, chunk) == c.wholeChunk(1, chunk));
        three.failing.failFrom(UINT64_MAX, EIO, FailingDisk::Until::ONCE);  // counts anew
        three.rocks.failFrom(UINT64_MAX, EIO, FailingRocks::Until::ONCE);
      }
    }
  }
}

TEST_F(FailedOrders, AReconcileThatFailsAtAnyCallOfTheDiskLeavesAReplicaThatTheNextOneMakesEqual) {
  bool failed = true;
  for (uint64_t call = 1; failed; call++) {
    SCOPED_TRACE(call);
    auto chunk = alone({1, 3}, call);
    writeTo(1, chunk, 15'000, pattern(call % 2 ? 9'000 : 100, 9));
    c.kill(3);  // it has nothing open
    c.start(3);
    auto& three = c.daemon(3);
    three.failing.failFrom(call, EIO, FailingDisk::Until::ONCE);
    auto done = c.reconcile(3, chunk, {1});
    failed = three.failing.hasFailed();
    three.failing.recover();
    if (!failed) EXPECT_EQ(done.status, Status::OK);
    bool isQuarantined = c.store(3).verify(chunk).wait(c.scope).status == Status::CORRUPT;
    if (isQuarantined) continue;
    EXPECT_EQ(c.reconcile(3, chunk, {1}).status, Status::OK);
    EXPECT_TRUE(c.wholeChunk(3, chunk) == c.wholeChunk(1, chunk));
    three.failing.failFrom(UINT64_MAX, EIO, FailingDisk::Until::ONCE);
  }
}

TEST_F(FailedOrders, ASuspectWhoseIndexFailsStaysOne) {
  auto chunk = written({1, 3}, 1);
  c.kill(3);
  c.daemon(3).disk.losePower(3, env::MemoryDisk::Unsynced::LOST);
  c.start(3, SECOND_BOOT);
  c.daemon(3).rocks.failFrom(1, EIO, FailingRocks::Until::FOR_GOOD);
  EXPECT_NE(c.reconcile(3, chunk, {}).status, Status::OK);
  EXPECT_TRUE(c.daemon(3).rocks.hasFailed());
  c.daemon(3).rocks.recover();
  EXPECT_EQ(c.read(3, chunk, 0, BLOCK_SIZE).status, Status::REBOOTED);
  c.kill(3);
  c.start(3, SECOND_BOOT);
  EXPECT_EQ(c.read(3, chunk, 0, BLOCK_SIZE).status, Status::REBOOTED);
}

TEST_F(FailedOrders, ADeleteThatTheDiskRefusesIsToldAndHasAskedForWhateverElseItCan) {
  auto one = written({1}, 1), two = written({1}, 2);
  auto request = c.orders(1).deleteRequest();
  request.setEpoch(1);
  auto list = request.initChunks(2);
  for (unsigned i = 0; i < 2; i++) {
    list[i].setHandle(i + 1);
    list[i].setVersion(1);
  }
  c.daemon(1).failing.failFrom(1, EIO, FailingDisk::Until::ONCE);
  EXPECT_EQ(request.send().wait(c.scope).getStatus(), Status::IO_ERROR);
  EXPECT_FALSE(isThere(1, two.handle));
  EXPECT_FALSE(isThere(1, one.handle)) << "being deleted, it serves nobody";
  c.kill(1);
  c.start(1);
  EXPECT_EQ(c.daemon(1).disk.filesEndingWith(".data").size(), 0u) << "the next start has finished it";
}

TEST_F(FailedOrders, ADropThatAHeartbeatAsksForAndTheDiskRefusesIsAskedForAgain) {
  auto chunk = written({1}, 1);
  c.daemon(1).failing.failFrom(1, EIO, FailingDisk::Until::FOR_GOOD);
  c.meta.stores[1].deleteNext.push_back(chunk);
  c.pass(3 * kj::SECONDS);
  EXPECT_TRUE(c.daemon(1).log.has("dropping chunk 1 v1: ioError -> the metaserver will ask again"));
  c.daemon(1).failing.recover();
  c.meta.stores[1].deleteNext.push_back(chunk);
  c.pass(3 * kj::SECONDS);
  EXPECT_EQ(c.daemon(1).disk.filesEndingWith(".data").size(), 0u);
}

TEST_F(FailedOrders, AnAppendOfSeveralPiecesOfWhichOneFailsIsToldAsFailed) {
  auto chunk = c.grant(1, 0, {1, 2});
  ASSERT_EQ(c.append(1, chunk, pattern(10, 1)).status, Status::OK);
  c.daemon(2).disk.failWrites(EIO);
  auto answer = c.append(1, chunk, pattern(3'000'000, 2));
  EXPECT_EQ(answer.status, Status::REPLICA_FAILED);
  EXPECT_EQ(answer.failed, (Ids{2}));
  EXPECT_EQ(answer.applied, (Ids{1}));

  auto alone = c.grant(2, 0, {3});
  c.daemon(3).disk.failWrites(ENOSPC);
  EXPECT_EQ(c.append(3, alone, pattern(3'000'000, 2)).status, Status::NO_SPACE) << "nobody has any of it";
}

TEST_F(FailedOrders, AnOrderToReconcileOfAnOlderEpochIsRefused) {
  auto chunk = written({1, 2}, 1);
  c.meta.epoch = Epoch(2);
  ASSERT_EQ(c.adopt(1, raised(chunk), 1), Status::OK) << "it has heard of the new one";
  EXPECT_EQ(c.time.run(c.startReconcile(1, raised(chunk), {2}, Epoch(1)), c.scope).status,
            Status::STALE_EPOCH);
}

TEST_F(FailedOrders, AFileThatCannotBeOpenedIsToldAndIsNoDamage) {
  auto chunk = written({1}, 1);
  c.kill(1);
  c.start(1);
  c.daemon(1).failing.failFrom(1, EIO, FailingDisk::Until::ONCE);
  auto check = c.time.run(c.store(1).checkFiles(ChunkHandle(), 10), c.scope);
  ASSERT_EQ(check.problems.size(), 1u);
  EXPECT_EQ(check.problems[0].text, "a file cannot be opened: Input/output error (EIO)");
  c.daemon(1).failing.failFrom(2, EIO, FailingDisk::Until::ONCE);
  EXPECT_EQ(c.time.run(c.store(1).checksums(chunk), c.scope).status, Status::IO_ERROR);
  EXPECT_EQ(c.read(1, chunk, 0, BLOCK_SIZE).status, Status::OK) << "and it is asked again";
}

TEST_F(FailedOrders, AStoreThatCannotRememberItsClusterDoesNotServe) {
  bool told = false;
  for (uint64_t call = 1; call < 40; call++) {
    c.addDaemon();
    auto id = uint32_t(c.daemons.size());
    ASSERT_EQ(c.tryStart(id), "");
    auto& server = *KJ_ASSERT_NONNULL(c.daemon(id).server);
    c.daemon(id).failing.failFrom(call, EIO, FailingDisk::Until::ONCE);
    kj::String refusal;
    c.time.run(
        server.whenRegistered().catch_([&](kj::Exception&& e) { refusal = kj::str(e.getDescription()); }),
        c.scope);
    bool failed = c.daemon(id).failing.hasFailed();
    c.daemon(id).failing.recover();
    if (refusal.size() > 0) {
      told = true;
      EXPECT_EQ(refusal, "The store cannot remember its cluster: ioError");
    }
    c.kill(id);
    c.start(id);
    if (!failed) break;
  }
  EXPECT_TRUE(told);
}

// ------------------------------------------------------------ others that lie or hang

class Liar final : public rpc::ChunkServer::Server {
  // A store that answers what a test says.
 public:
  struct Words {
    Status checksums = Status::OK, read = Status::OK, apply = Status::OK;
    uint32_t length = 0;
    kj::Array<uint32_t> sums;
    bool breaks = false, hangs = false;  // at a read, at an apply
  };
  explicit Liar(Words& words) : words(words) {}
  kj::Promise<void> checksums(ChecksumsContext context) override {
    auto results = context.getResults();
    results.setStatus(words.checksums);
    results.setLength(words.length);
    results.setChecksums(words.sums.asBytes());
    return kj::READY_NOW;
  }
  kj::Promise<void> read(ReadContext context) override {
    KJ_REQUIRE(!words.breaks, "as if it had died");
    context.getResults().setStatus(words.read);
    return kj::READY_NOW;
  }
  kj::Promise<void> apply(ApplyContext context) override {
    if (words.hangs) return kj::NEVER_DONE;
    context.getResults().setStatus(words.apply);
    return kj::READY_NOW;
  }
  kj::Promise<void> describe(DescribeContext) override { return kj::READY_NOW; }

 private:
  Words& words;
};

struct LyingStores : FailedOrders {
  static constexpr uint32_t LIAR = 9;
  Liar::Words words;
  const Epoch epoch{1};
  kj::Own<Acceptor> acceptor = kj::heap<Acceptor>(
      AcceptorOptions{c.time.timer(), c.network.at("liar"), c.pool, "chunk daemon", TEST_CLUSTER, epoch},
      [this](ConnectionInfo) -> capnp::Capability::Client { return kj::heap<Liar>(words); });
  LyingStores() {
    c.time.run(acceptor->listen("*:7000").ignoreResult(), c.scope);
    c.meta.stores[LIAR].address = kj::str("liar:7000");
  }
  ~LyingStores() noexcept override {
    for (auto& daemon : c.daemons) c.kill(daemon->id);
  }
  void claims(ChunkKey chunk, uint32_t id) {
    auto table = c.time.run(c.store(id).checksums(chunk), c.scope);
    words.length = table.length;
    words.sums = kj::mv(table.checksums);
  }
};

TEST_F(LyingStores, ACopyGoesOnFromAnotherSourceWhateverIsWrongWithTheFirst) {
  auto chunk = written({1, 2}, 1);
  auto expected = c.wholeChunk(1, chunk);
  auto copied = [&](const char* what) {
    auto copy = c.copy(3, chunk, {LIAR, 1});
    EXPECT_EQ(copy.status, Status::OK) << what;
    EXPECT_TRUE(c.wholeChunk(3, chunk) == expected) << what;
    EXPECT_EQ(c.time.run(c.store(3).remove(chunk), c.scope), Status::OK);
    return copy.bad;
  };
  words.length = 8192;
  words.sums = kj::heapArray<uint32_t>(1);
  EXPECT_EQ(copied("checksums that do not fit the length"), (Ids{LIAR}));
  words.length = CHUNK_SIZE + 1;
  words.sums = kj::heapArray<uint32_t>(env::blocksOf(CHUNK_SIZE + 1));
  EXPECT_EQ(copied("a chunk longer than chunks are"), (Ids{LIAR}));
  claims(chunk, 1);
  words.read = Status::REBOOTED;
  EXPECT_EQ(copied("reads that are refused"), Ids{});
  words.breaks = true;
  EXPECT_EQ(copied("reads that break"), Ids{});
  EXPECT_TRUE(c.daemon(3).log.has("store 9 does not answer a read of chunk 1 v1"));
  words.checksums = Status::BEHIND_VERSION;
  EXPECT_EQ(copied("no such version"), Ids{});
}

TEST_F(LyingStores, OfSeveralReasonsTheOneAboutTheOrderIsTold) {
  auto chunk = written({1, 2}, 1);
  ASSERT_EQ(c.adopt(1, raised(chunk), 1), Status::OK);
  words.checksums = Status::CORRUPT;
  EXPECT_EQ(c.copy(3, chunk, {1, LIAR}).status, Status::STALE_VERSION);
  EXPECT_EQ(c.copy(3, chunk, {LIAR, 1}).status, Status::STALE_VERSION);
}

TEST_F(LyingStores, ASecondaryThatRefusesAWriteWithoutNamingAnybodyHasFailedItself) {
  auto chunk = c.grant(1, 0, {1});
  ASSERT_EQ(c.lease(1, chunk, {LIAR}), Status::OK);
  words.apply = Status::STALE_VERSION;
  auto answer = c.write(1, chunk, 0, pattern(100, 1));
  EXPECT_EQ(answer.status, Status::REPLICA_FAILED);
  EXPECT_EQ(answer.failed, (Ids{LIAR}));
  EXPECT_EQ(answer.applied, (Ids{1}));
}

TEST_F(LyingStores, ASecondaryThatIsAliveAndNeverAnswersAWriteCountsAsFailedInTheEnd) {
  auto chunk = c.grant(1, 0, {1});
  ASSERT_EQ(c.lease(1, chunk, {LIAR}), Status::OK);
  words.hangs = true;
  auto answer = c.write(1, chunk, 0, pattern(100, 1));
  EXPECT_EQ(answer.status, Status::REPLICA_FAILED);
  EXPECT_EQ(answer.failed, (Ids{LIAR}));
}

TEST_F(LyingStores, AWriteThatIsPassedOnUnderAnotherVersionOrOutOfOrderIsRefusedByTheOneItReaches) {
  auto chunk = written({1, 2}, 1);
  auto apply = [&](ChunkKey key, uint32_t serial) {
    auto data = pattern(BLOCK_SIZE, 5);
    auto response = c.time.run(c.peer(2).call({"apply", 60 * kj::SECONDS},
                                              [&](rpc::ChunkServer::Client& client) {
                                                auto request = client.applyRequest();
                                                request.getChunk().setHandle(key.handle.value());
                                                request.getChunk().setVersion(key.version.value());
                                                request.setSerial(serial);
                                                request.initExtents(1)[0].setSize(uint32_t(data.size()));
                                                request.setData(data);
                                                request.setChecksums(pieceSums(data, 0));
                                                return request.send();
                                              }),
                               c.scope);
    EXPECT_EQ(response.getFailed().size(), 1u);
    if (response.getFailed().size() == 1) EXPECT_EQ(response.getFailed()[0], 2u);
    return response.getStatus();
  };
  EXPECT_EQ(apply(raised(chunk), 2), Status::BEHIND_VERSION);
  EXPECT_EQ(apply(chunk, 7), Status::INVALID);
  EXPECT_TRUE(c.daemon(2).log.has("came out of order: we have missed one -> refused until the next version"));
  EXPECT_TRUE(c.wholeChunk(2, chunk) == c.wholeChunk(1, chunk));
}

// ------------------------------------------------------------ the metaserver

TEST_F(FailedOrders, AStoreThatTheMetaserverDoesNotKnowAnyMoreRegistersAgain) {
  auto registrations = c.meta.stores[1].registrations;
  c.meta.beatAnswer = Status::NOT_FOUND;
  c.pass(3 * kj::SECONDS);
  c.meta.beatAnswer = Status::OK;
  c.pass(10 * kj::SECONDS);
  EXPECT_GT(c.meta.stores[1].registrations, registrations);
  auto beats = c.meta.stores[1].beats;
  c.pass(3 * kj::SECONDS);
  EXPECT_GT(c.meta.stores[1].beats, beats);
}

TEST_F(FailedOrders, AStoreThatIsRefusedAfterItHasServedTriesAgain) {
  c.meta.registerAnswer = Status::EXISTS;
  c.meta.stop();
  c.meta.listen();
  c.pass(10 * kj::SECONDS);
  EXPECT_TRUE(c.daemon(1).log.has("the metaserver refuses us: The metaserver does not take this store"));
  c.meta.registerAnswer = Status::OK;
  auto registrations = c.meta.stores[1].registrations;
  c.pass(30 * kj::SECONDS);
  EXPECT_GT(c.meta.stores[1].registrations, registrations);
}

TEST_F(FailedOrders, AMetaserverThatIsSlowToHearOfAFailureHoldsNobodyUp) {
  auto chunk = c.grant(1, 0, {1, 2});
  c.meta.hearsOfFailures = false;
  c.daemon(2).disk.failWrites(EIO);
  auto before = c.time.timer().now();
  EXPECT_EQ(c.write(1, chunk, 0, pattern(100, 1)).status, Status::REPLICA_FAILED);
  EXPECT_LE(c.time.timer().now() - before, 2 * kj::SECONDS);
  EXPECT_TRUE(c.daemon(1).log.has("telling the metaserver: "));
  c.pass(10 * kj::SECONDS);  // until it has
}

// ------------------------------------------------------------ addresses

TEST_F(FailedOrders, AnAddressThatIsTakenIsRefusedAndALocalNameThatIsTakenIsDoneWithout) {
  auto again = [&](const char* listen, const char* local) {
    ChunkServerOptions options;
    options.directory = kj::str("/store");
    options.boot = kj::str(FIRST_BOOT);
    options.host = kj::str("h1");
    options.metaserver = kj::str("meta:9400");
    options.listen = kj::str(listen);
    options.advertise = kj::str("h1");
    options.localPrefix = kj::str(local);
    options.reserveBytes = uint64_t(0);
    auto& one = *c.daemons.back();
    return ChunkServer::start({c.time.timer(), c.network.at("h1"), one.failing, one.rocks, *one.worker,
                               one.entropy, c.pool, one.log.log, c.time},
                              kj::mv(options))
        .wait(c.scope);
  };
  c.addDaemon();
  auto taken = again("*:7000", "unix-abstract:other-");
  EXPECT_EQ(taken.server, nullptr);
  EXPECT_TRUE(taken.refusal.startsWith("Cannot listen on *:7000: ")) << taken.refusal.cStr();
  auto other = c.time.run(c.network.at("h1").parseAddress("unix-abstract:other-7001"), c.scope)->listen();
  auto alone = again("*:7001", "unix-abstract:other-");
  EXPECT_NE(alone.server, nullptr) << alone.refusal.cStr();
  EXPECT_TRUE(c.daemons.back()->log.has("-> over the network only"));
}

}  // namespace
}  // namespace cairn
