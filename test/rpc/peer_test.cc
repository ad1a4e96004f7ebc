// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What daemons and clients may rely on between them: hello, reconnecting, deadlines, order, payloads.
#include "rpc/peer.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "rpc/acceptor.h"
#include "rpc/buffer_pool.h"
#include "rpc/chunkd.capnp.h"
#include "rpc/connection.h"
#include "rpc/coroutine.h"
#include "rpc/message_builder.h"
#include "rpc/metaserver.capnp.h"
#include "test/sim/seeded_entropy.h"
#include "test/sim/sim_network.h"
#include "test/support/resource_limit.h"

namespace cairn {
namespace {

constexpr ClusterId CLUSTER{1, 2}, ANOTHER_CLUSTER{3, 4};
constexpr uint32_t PAYLOAD = 1 << 20;

bool isFilledWith(kj::ArrayPtr<const kj::byte> data, kj::byte content) {
  return data.size() == 0 ||
         (data[0] == content && memcmp(data.begin(), data.begin() + 1, data.size() - 1) == 0);
}

class Store final : public rpc::ChunkServer::Server {
  // Answers reads with a pattern, takes writes, and remembers the offsets in the order they came.
 public:
  Store(BufferPool& pool, std::string& story) : pool(pool), story(story) {}

 protected:
  kj::Promise<void> read(ReadContext context) override {
    auto size = context.getParams().getSize();
    auto data = initPayload(pool, [&]() { return context.getResults().initData(size); });
    memset(data.begin(), 0x5a, size);
    story += "r" + std::to_string(context.getParams().getOffset()) + " ";
    return kj::READY_NOW;
  }
  kj::Promise<void> write(WriteContext context) override {
    auto data = context.getParams().getData();
    KJ_ASSERT(isFilledWith(data, 0x77));
    story += "w" + std::to_string(data.size()) + " ";
    return kj::READY_NOW;
  }
  kj::Promise<void> sync(SyncContext) override { return KJ_EXCEPTION(FAILED, "a bug in the handler"); }

 private:
  BufferPool& pool;
  std::string& story;
};

class Meta final : public rpc::Metaserver::Server {
  // Asks back through the capability it was given, before it answers.
 protected:
  kj::Promise<void> register_(RegisterContext context) override { return registering(context); }

 private:
  Async<void> registering(RegisterContext context) {
    auto request = context.getParams().getOrders().readRequest();
    request.setSize(PAYLOAD);
    auto answer = co_await request.send();
    KJ_ASSERT(answer.getData().size() == PAYLOAD);
    context.getResults().setServer(42);
  }
};

struct Daemon {
  Daemon(kj::Timer& timer, kj::Network& network, BufferPool& pool, std::string& story,
         ClusterId cluster = CLUSTER)
      : cluster(cluster),
        acceptor({.timer = timer,
                  .network = network,
                  .pool = pool,
                  .name = "chunk daemon",
                  .cluster = this->cluster,
                  .epoch = epoch},
                 [this, &pool, &story](ConnectionInfo info) -> capnp::Capability::Client {
                   story += "hello(" + std::string(info.caller.cStr()) + ") ";
                   departures.add(
                       info.onDisconnect.then([&story]() { story += "bye "; }).eagerlyEvaluate(nullptr));
                   return kj::heap<Store>(pool, story);
                 }) {}
  ~Daemon() noexcept(false) {}
  ClusterId cluster;
  Epoch epoch{7};
  kj::Vector<kj::Promise<void>> departures;
  Acceptor acceptor;
};

class PeerTest : public testing::Test {
 public:
  PeerTest() : scope(loop), network(time.timer(), 1) {}
  ~PeerTest() noexcept override {}

 protected:
  using ChunkPeer = Peer<rpc::ChunkServer>;

  PeerEnvironment environment(kj::StringPtr host = "c") {
    return {.timer = time.timer(),
            .network = network.at(host),
            .pool = pool,
            .entropy = entropy,
            .cluster = knownCluster,
            .caller = "client 1",
            .host = host};
  }
  PeerAddress at(kj::StringPtr address) { return {kj::str(address), kj::str(), kj::str("s")}; }

  void start(ClusterId cluster = CLUSTER) {
    auto& fresh = *daemon.emplace(kj::heap<Daemon>(time.timer(), network.at("s"), pool, story, cluster));
    EXPECT_EQ(fresh.acceptor.listen("*:7000").wait(scope), 7000);
  }
  void kill() { daemon = nullptr; }

  Async<uint32_t> read(ChunkPeer& peer, uint32_t offset = 0, uint32_t size = 4096,
                       CallOptions options = {"read", 2 * kj::SECONDS}) {
    auto answer = co_await peer.call(options, [=](rpc::ChunkServer::Client& server) {
      auto request = server.readRequest();
      request.setOffset(offset);
      request.setSize(size);
      return request.send();
    });
    KJ_ASSERT(isFilledWith(answer.getData(), 0x5a));
    co_return answer.getData().size();
  }

  auto write(ChunkPeer& peer, uint32_t size) {
    auto payload = pool.take(size);
    memset(payload.begin(), 0x77, size);
    auto bytes = payload.bytes();
    return peer.call(
        {"write", 2 * kj::SECONDS},
        [bytes](rpc::ChunkServer::Client& server) {
          auto request = server.writeRequest();
          request.adoptData(
              capnp::Orphanage::getForMessageContaining(rpc::ChunkServer::WriteParams::Builder(request))
                  .referenceExternalData(bytes));
          return request.send();
        },
        kj::mv(payload));
  }

  template <typename Promise>
  kj::Exception failure(Promise&& promise) {
    kj::Maybe<kj::Exception> result;
    time.run(promiseOf(kj::mv(promise)).ignoreResult().catch_([&](kj::Exception&& e) { result = kj::mv(e); }),
             scope);
    KJ_IF_MAYBE (exception, result) return kj::mv(*exception);
    return KJ_EXCEPTION(UNIMPLEMENTED, "did not fail");
  }
  template <typename Promise>
  auto run(Promise&& promise) {
    return time.run(kj::mv(promise), scope);
  }
  void pass(kj::Duration duration) { time.timer().afterDelay(duration).wait(scope); }

  static std::string text(const kj::Exception& exception) { return exception.getDescription().cStr(); }

  sim::VirtualTime time;
  kj::EventLoop loop{time};
  kj::WaitScope scope;
  sim::SimNetwork network;
  sim::SeededEntropy entropy{1};
  BufferPool pool;
  ClusterId knownCluster;
  std::string story;
  kj::Maybe<kj::Own<Daemon>> daemon;
};

TEST_F(PeerTest, FirstCallConnectsSaysHelloAndLearnsTheCluster) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  EXPECT_FALSE(peer.generation());
  EXPECT_EQ(run(read(peer)), 4096u);
  EXPECT_EQ(story, "hello(client 1) r0 ");
  EXPECT_EQ(knownCluster, CLUSTER);
  EXPECT_EQ(peer.epoch(), Epoch(7));
  EXPECT_EQ(peer.generation(), ConnectionGeneration(1));
}

TEST_F(PeerTest, LargeAnswersAndPayloadsArriveWhole) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  EXPECT_EQ(run(read(peer, 0, PAYLOAD)), PAYLOAD);
  run(write(peer, PAYLOAD).ignoreResult());
  run(write(peer, 100).ignoreResult());
  EXPECT_EQ(story, "hello(client 1) r0 w1048576 w100 ");
}

TEST_F(PeerTest, CallsLeaveInOrderAlsoThoseThatWaitedForTheConnection) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  kj::Vector<kj::Promise<uint32_t>> calls;
  for (uint32_t i = 0; i < 5; ++i) calls.add(read(peer, i));
  run(peer.connect());
  for (uint32_t i = 5; i < 8; ++i) calls.add(read(peer, i));
  for (auto& call : calls) run(kj::mv(call));
  EXPECT_EQ(story, "hello(client 1) r0 r1 r2 r3 r4 r5 r6 r7 ");
}

TEST_F(PeerTest, AnotherClusterIsRefusedWithASentenceAndNotTriedEvery10Milliseconds) {
  start(ANOTHER_CLUSTER);
  knownCluster = CLUSTER;
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  auto exception = failure(read(peer));
  EXPECT_EQ(exception.getType(), kj::Exception::Type::FAILED);
  EXPECT_NE(text(exception).find("belongs to cluster"), std::string::npos) << text(exception);
  EXPECT_EQ(KJ_ASSERT_NONNULL(peer.refusal()).status, Status::WRONG_CLUSTER);
  EXPECT_EQ(story, "");
  auto before = time.elapsed();
  failure(read(peer));
  EXPECT_EQ(time.elapsed(), before) << "told at once";

  kill();
  start(CLUSTER);
  pass(10 * kj::SECONDS);
  EXPECT_EQ(run(read(peer)), 4096u) << "a mistake that was corrected heals without a restart";
  EXPECT_EQ(peer.refusal(), nullptr);
}

TEST_F(PeerTest, AnotherProtocolIsRefusedWithASentenceForTheUser) {
  start();
  auto stream = network.at("c").parseAddress("s:7000").wait(scope)->connect().wait(scope);
  Connection connection(kj::mv(stream), pool, time.timer());
  auto request = connection.bootstrap().castAs<rpc::Gate>().helloRequest();
  request.setProtocol(1);
  request.setCaller("client");
  auto answer = run(request.send().then([](auto&& answer) { return kj::mv(answer); }));
  EXPECT_EQ(answer.getStatus(), Status::WRONG_PROTOCOL);
  EXPECT_STREQ(answer.getMessage().cStr(),
               "this client speaks protocol 1, the chunk daemon speaks 2: install the same release on both");
  EXPECT_FALSE(answer.hasService());
}

TEST_F(PeerTest, ADaemonThatHasNotJoinedYetIsTriedAgain) {
  start(ClusterId());
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  kj::Promise<uint32_t> call = read(peer);
  pass(100 * kj::MILLISECONDS);
  EXPECT_EQ(story, "");
  KJ_ASSERT_NONNULL(daemon)->cluster = CLUSTER;
  EXPECT_EQ(run(kj::mv(call)), 4096u);
}

TEST_F(PeerTest, ComesBackAfterTheDaemonWasKilledAndRunsOnConnectFirst) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  peer.onConnect([this](rpc::ChunkServer::Client client, ConnectionGeneration generation) {
    story += "attach" + std::to_string(generation.value()) + " ";
    auto request = client.readRequest();
    request.setOffset(1000 + generation.value());
    return request.send().ignoreResult();
  });
  peer.onDisconnect([this](ConnectionGeneration generation, const kj::Exception&) {
    story += "lost" + std::to_string(generation.value()) + " ";
  });
  EXPECT_EQ(run(read(peer, 1)), 4096u);
  kill();
  pass(1 * kj::SECONDS);
  EXPECT_FALSE(peer.generation());
  EXPECT_NE(peer.suspectSince(), nullptr);
  kj::Promise<uint32_t> waits = read(peer, 2);
  kj::Promise<uint32_t> waitsAsWell = read(peer, 3);
  pass(300 * kj::MILLISECONDS);
  start();
  EXPECT_EQ(run(kj::mv(waits)), 4096u);
  EXPECT_EQ(run(kj::mv(waitsAsWell)), 4096u);
  EXPECT_EQ(peer.suspectSince(), nullptr);
  EXPECT_EQ(story, "hello(client 1) attach1 r1001 r1 lost1 hello(client 1) attach" +
                       std::to_string(peer.generation().value()) + " r" +
                       std::to_string(1000 + peer.generation().value()) + " r2 r3 ");
}

TEST_F(PeerTest, ACallInFlightFailsAsDisconnectedWhenTheDaemonDies) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  run(peer.connect());
  network.stop("s");
  kj::Promise<uint32_t> call = read(peer);
  pass(1 * kj::MILLISECONDS);
  kill();
  network.resume("s");
  EXPECT_EQ(failure(kj::mv(call)).getType(), kj::Exception::Type::DISCONNECTED);
}

TEST_F(PeerTest, ASilentPeerMissesTheDeadlineAndIsDroppedAfterTwo) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  EXPECT_EQ(run(read(peer)), 4096u);
  network.stop("s");
  auto before = time.elapsed();
  auto exception = failure(read(peer));
  EXPECT_EQ(exception.getType(), kj::Exception::Type::OVERLOADED);
  EXPECT_EQ(text(exception), "chunkd-1: read: no answer within 2000 ms");
  EXPECT_EQ(time.elapsed() - before, 2 * kj::SECONDS);
  EXPECT_NE(peer.suspectSince(), nullptr);
  EXPECT_TRUE(peer.generation()) << "one may be bad luck";
  EXPECT_EQ(peer.callsInFlight(), 1u) << "it is not cancelled";

  EXPECT_EQ(failure(read(peer)).getType(), kj::Exception::Type::OVERLOADED);
  EXPECT_FALSE(peer.generation());
  EXPECT_EQ(failure(read(peer, 0, 4096, {"read", 2 * kj::SECONDS, WhenDown::FAIL})).getType(),
            kj::Exception::Type::DISCONNECTED);
  network.resume("s");
  EXPECT_EQ(run(read(peer)), 4096u);
  EXPECT_EQ(peer.suspectSince(), nullptr);
}

TEST_F(PeerTest, ALateAnswerClearsTheSuspicionAndTheCount) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  run(peer.connect());
  for (int round = 0; round < 3; ++round) {
    network.stop("s");
    EXPECT_EQ(failure(read(peer)).getType(), kj::Exception::Type::OVERLOADED);
    network.resume("s");
    pass(1 * kj::SECONDS);
    EXPECT_EQ(peer.suspectSince(), nullptr);
    EXPECT_EQ(peer.callsInFlight(), 0u);
  }
  EXPECT_EQ(peer.generation(), ConnectionGeneration(1));
}

TEST_F(PeerTest, ACallerWhoCannotWaitIsToldAtOnceWhileTheDaemonIsDown) {
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  CallOptions options{"read", 2 * kj::SECONDS, WhenDown::FAIL};
  auto exception = failure(read(peer, 0, 4096, options));
  EXPECT_EQ(exception.getType(), kj::Exception::Type::DISCONNECTED);
  auto before = time.elapsed();
  EXPECT_EQ(failure(read(peer, 0, 4096, options)).getType(), kj::Exception::Type::DISCONNECTED);
  EXPECT_EQ(time.elapsed(), before);
  kj::Promise<uint32_t> patient = read(peer);
  EXPECT_EQ(failure(kj::mv(patient)).getType(), kj::Exception::Type::DISCONNECTED);
  EXPECT_EQ(time.elapsed() - before, 2 * kj::SECONDS) << "its deadline";
}

TEST_F(PeerTest, ThePayloadStaysValidAfterTheCallerIsGone) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  run(read(peer));
  {
    auto dropped = write(peer, PAYLOAD);
    auto droppedAsWell = write(peer, 64 << 10);
  }
  EXPECT_EQ(peer.callsInFlight(), 2u);
  pass(1 * kj::SECONDS);
  EXPECT_EQ(story, "hello(client 1) r0 w1048576 w65536 ") << "sent is sent";
  EXPECT_EQ(peer.callsInFlight(), 0u);
}

TEST_F(PeerTest, APayloadHalfWrittenWhenTheConnectionDiesIsNotReadAgain) {
  start();
  auto usedBefore = pool.usedBytes();
  {
    ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
    run(peer.connect());
    for (int i = 0; i < 8; ++i) (void)write(peer, PAYLOAD);
    pass(50 * kj::MICROSECONDS);
    EXPECT_GT(peer.queuedBytes(), 0u);
    kill();
    pass(1 * kj::SECONDS);
    EXPECT_EQ(peer.callsInFlight(), 0u);
  }
  EXPECT_LE(pool.usedBytes(), usedBefore) << "every payload went back to the pool";
}

TEST_F(PeerTest, ACallDroppedBeforeItWasSentIsNeverSent) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  {
    kj::Promise<uint32_t> dropped = read(peer, 1);
  }
  EXPECT_EQ(run(read(peer, 2)), 4096u);
  EXPECT_EQ(story, "hello(client 1) r2 ");
}

TEST_F(PeerTest, WhatTheHandlerThrowsReachesTheCallerAndTheConnectionStays) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  auto exception = failure(peer.call({"sync", 2 * kj::SECONDS}, [](rpc::ChunkServer::Client& server) {
    return server.syncRequest().send();
  }));
  EXPECT_EQ(exception.getType(), kj::Exception::Type::FAILED);
  EXPECT_EQ(run(read(peer)), 4096u);
  EXPECT_EQ(peer.generation(), ConnectionGeneration(1));
}

TEST_F(PeerTest, WhatMakingTheRequestThrowsReachesTheCallerAndTheConnectionStays) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  auto exception = failure(peer.call({"read", 2 * kj::SECONDS}, [](rpc::ChunkServer::Client& server) {
    KJ_REQUIRE(server.readRequest().getSize() > 0, "a caller's own mistake");
    return server.readRequest().send();
  }));
  EXPECT_EQ(exception.getType(), kj::Exception::Type::FAILED);
  EXPECT_TRUE(exception.getDescription().startsWith("expected")) << text(exception);
  EXPECT_EQ(run(read(peer)), 4096u);
  EXPECT_EQ(peer.generation(), ConnectionGeneration(1));
}

TEST_F(PeerTest, CallbacksRunOnTheSameConnection) {
  Epoch epoch{1};
  ClusterId cluster = CLUSTER;
  Acceptor acceptor({.timer = time.timer(),
                     .network = network.at("s"),
                     .pool = pool,
                     .name = "metaserver",
                     .cluster = cluster,
                     .epoch = epoch},
                    [](ConnectionInfo) -> capnp::Capability::Client { return kj::heap<Meta>(); });
  acceptor.listen("*:7001").wait(scope);
  Peer<rpc::Metaserver> meta(environment(), "metaserver", at("s:7001"));
  auto answer = run(meta.call({"register", 2 * kj::SECONDS}, [this](rpc::Metaserver::Client& server) {
    auto request = server.registerRequest();
    request.setOrders(kj::heap<Store>(pool, story));
    return request.send();
  }));
  EXPECT_EQ(answer.getServer(), 42u);
  EXPECT_EQ(story, "r0 ");
  EXPECT_EQ(acceptor.connectionCount(), 1u);
}

TEST_F(PeerTest, TheServerLearnsThatACallerIsGone) {
  start();
  {
    ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
    run(read(peer));
  }
  pass(1 * kj::SECONDS);
  EXPECT_EQ(story, "hello(client 1) r0 bye ");
  EXPECT_EQ(KJ_ASSERT_NONNULL(daemon)->acceptor.connectionCount(), 0u);
}

TEST_F(PeerTest, GarbageAndSilenceAtConnectDisturbNobody) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  run(read(peer));
  auto address = network.at("x").parseAddress("s:7000").wait(scope);
  auto silent = address->connect().wait(scope);
  auto half = address->connect().wait(scope);
  kj::byte header[8] = {0, 0, 0, 0, 200, 0, 0, 0};
  run(half->write(header, sizeof(header)));
  kj::Vector<kj::Own<kj::AsyncIoStream>> noisy;
  sim::SeededEntropy noise(9);
  for (int i = 0; i < 50; ++i) {
    auto& stream = *noisy.add(address->connect().wait(scope));
    kj::byte bytes[256];
    noise.generate(bytes);
    if (i % 2 == 0) memcpy(bytes, header, sizeof(header));
    stream.write(bytes, sizeof(bytes)).catch_([](kj::Exception&&) {}).wait(scope);
  }
  EXPECT_EQ(run(read(peer)), 4096u);
  pass(11 * kj::SECONDS);
  EXPECT_EQ(KJ_ASSERT_NONNULL(daemon)->acceptor.connectionCount(), 1u) << "who has not said hello is closed";
  EXPECT_EQ(run(read(peer)), 4096u);
  EXPECT_EQ(peer.generation(), ConnectionGeneration(1));
}

class Recorder final : public kj::AsyncIoStream {
  // Passes on what is written and remembers it; passes on what is read once it listens.
 public:
  Recorder(kj::Own<kj::AsyncIoStream> inner, kj::Vector<kj::byte>& bytes,
           kj::Promise<void> listens = kj::READY_NOW)
      : inner(kj::mv(inner)), bytes(bytes), listens(listens.fork()) {}
  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
    return listens.addBranch().then([=, this]() { return inner->tryRead(buffer, least, most); });
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    bytes.addAll(kj::arrayPtr(static_cast<const kj::byte*>(buffer), size));
    return inner->write(buffer, size);
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    for (auto piece : pieces) bytes.addAll(piece);
    return inner->write(pieces);
  }
  kj::Promise<void> whenWriteDisconnected() override { return inner->whenWriteDisconnected(); }
  void shutdownWrite() override { inner->shutdownWrite(); }

 private:
  kj::Own<kj::AsyncIoStream> inner;
  kj::Vector<kj::byte>& bytes;
  kj::ForkedPromise<void> listens;
};

TEST_F(PeerTest, ADamagedConversationEndsThatConnectionAndNoOther) {
  // What a client says in hello, a read and a write, with bits flipped: every layer gets its share of
  // nonsense.
  start();
  kj::Vector<kj::byte> said;
  auto address = network.at("c").parseAddress("s:7000").wait(scope);
  {
    Connection connection(kj::heap<Recorder>(address->connect().wait(scope), said), pool, time.timer());
    auto request = connection.bootstrap().castAs<rpc::Gate>().helloRequest();
    request.setProtocol(rpc::PROTOCOL_VERSION);
    request.setCaller("recorded");
    auto service = run(request.send().then([](auto&& answer) { return answer.getService(); }));
    auto store = service.castAs<rpc::ChunkServer>();
    auto read = store.readRequest();
    read.setSize(100);
    run(read.send().ignoreResult());
    auto write = store.writeRequest();
    memset(write.initData(200).begin(), 0x77, 200);
    run(write.send().ignoreResult());
  }
  ASSERT_GT(said.size(), 500u);
  ChunkPeer healthy(environment(), "chunkd-1", at("s:7000"));
  run(read(healthy));
  sim::SeededEntropy random(20261123);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    auto damaged = kj::heapArray<kj::byte>(said.asPtr());
    for (auto flips = random.between(1, 6); flips > 0; --flips) {
      damaged[random.below(damaged.size())] ^= 1 << random.below(8);
    }
    auto stream = address->connect().wait(scope);
    stream->write(damaged.begin(), damaged.size()).catch_([](kj::Exception&&) {}).wait(scope);
    pass(20 * kj::MILLISECONDS);
  }
  EXPECT_EQ(run(read(healthy)), 4096u);
  EXPECT_EQ(healthy.generation(), ConnectionGeneration(1));
  pass(1 * kj::SECONDS);
  EXPECT_EQ(KJ_ASSERT_NONNULL(daemon)->acceptor.connectionCount(), 1u);
}

TEST_F(PeerTest, TheSameHostIsReachedByItsLocalAddressElseByTheNetwork) {
  start();
  ChunkPeer far(environment("s"), "chunkd-1",
                {kj::str("s:7000"), kj::str("unix-abstract:cairn-1"), kj::str("s")});
  EXPECT_EQ(run(read(far)), 4096u) << "nothing listens there: another network namespace of that host";
  KJ_ASSERT_NONNULL(daemon)->acceptor.listen("unix-abstract:cairn-1").wait(scope);
  ChunkPeer near(environment("s"), "chunkd-1",
                 {kj::str("s:9"), kj::str("unix-abstract:cairn-1"), kj::str("s")});
  EXPECT_EQ(run(read(near)), 4096u);
}

TEST_F(PeerTest, ACallMadeWhileOthersStillWaitDoesNotOvertakeThem) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  kj::Maybe<kj::Promise<uint32_t>> inner;
  auto outer = peer.call({"read", 2 * kj::SECONDS}, [&](rpc::ChunkServer::Client& server) {
    inner = read(peer, 9);
    auto request = server.readRequest();
    request.setOffset(1);
    return request.send();
  });
  kj::Promise<uint32_t> second = read(peer, 2);
  run(outer.ignoreResult());
  run(kj::mv(second));
  run(kj::mv(KJ_ASSERT_NONNULL(inner)));
  EXPECT_EQ(story, "hello(client 1) r1 r2 r9 ");
}

TEST_F(PeerTest, CallsFailAsDisconnectedWhenTheirPeerIsDestroyed) {
  start();
  kj::Maybe<kj::Promise<uint32_t>> sent, queued;
  {
    ChunkPeer connected(environment(), "chunkd-1", at("s:7000")),
        nowhere(environment(), "chunkd-2", at("s:7002"));
    run(connected.connect());
    sent = read(connected);
    queued = read(nowhere);
    pass(1 * kj::MICROSECONDS);
  }
  EXPECT_EQ(failure(kj::mv(KJ_ASSERT_NONNULL(sent))).getType(), kj::Exception::Type::DISCONNECTED);
  EXPECT_EQ(failure(kj::mv(KJ_ASSERT_NONNULL(queued))).getType(), kj::Exception::Type::DISCONNECTED);
}

TEST_F(PeerTest, AMachineThatLostPowerIsFoundByDeadlinesAndComesBack) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  run(read(peer));
  network.powerOff("s");
  kill();
  EXPECT_EQ(failure(read(peer)).getType(), kj::Exception::Type::OVERLOADED);
  EXPECT_EQ(failure(read(peer)).getType(), kj::Exception::Type::OVERLOADED);
  EXPECT_EQ(failure(read(peer)).getType(), kj::Exception::Type::DISCONNECTED);
  network.powerOn("s");
  start();
  EXPECT_EQ(run(read(peer)), 4096u);
}

class PipeNetwork final : public kj::Network, private kj::NetworkAddress {
  // Every address leads to one acceptor, without delay: for tests that move the clock themselves.
 public:
  kj::Maybe<Acceptor&> acceptor;
  kj::ForkedPromise<void> running =
      kj::Promise<void>(kj::READY_NOW).fork();  // else bytes wait in the caller's socket
  kj::Promise<kj::Own<kj::NetworkAddress>> parseAddress(kj::StringPtr, unsigned) override { return clone(); }
  kj::Own<kj::NetworkAddress> getSockaddr(const void*, unsigned) override { return clone(); }
  kj::Own<kj::Network> restrictPeers(kj::ArrayPtr<const kj::StringPtr>,
                                     kj::ArrayPtr<const kj::StringPtr>) override {
    KJ_UNIMPLEMENTED("not needed");
  }

 private:
  kj::Promise<kj::Own<kj::AsyncIoStream>> connect() override {
    auto pipe = kj::newTwoWayPipe();
    KJ_ASSERT_NONNULL(acceptor).accept(kj::mv(pipe.ends[0]));
    return kj::Own<kj::AsyncIoStream>(kj::heap<Socket>(kj::mv(pipe.ends[1]), running));
  }
  class Socket final : public kj::AsyncIoStream {
   public:
    Socket(kj::Own<kj::AsyncIoStream> inner, kj::ForkedPromise<void>& running)
        : inner(kj::mv(inner)), running(running) {}
    kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
      return readWhileRunning(buffer, least, most);
    }
    kj::Promise<void> write(const void* buffer, size_t size) override { return inner->write(buffer, size); }
    kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
      return inner->write(pieces);
    }
    kj::Promise<void> whenWriteDisconnected() override { return inner->whenWriteDisconnected(); }
    void shutdownWrite() override { inner->shutdownWrite(); }

   private:
    Async<size_t> readWhileRunning(void* buffer, size_t least, size_t most) {
      auto size = co_await inner->tryRead(buffer, least, most);
      co_await running.addBranch();
      co_return size;
    }

    kj::Own<kj::AsyncIoStream> inner;
    kj::ForkedPromise<void>& running;
  };
  kj::Own<kj::ConnectionReceiver> listen() override { KJ_UNIMPLEMENTED("not needed"); }
  kj::Own<kj::NetworkAddress> clone() override {
    return kj::Own<kj::NetworkAddress>(static_cast<kj::NetworkAddress*>(this), kj::NullDisposer::instance);
  }
  kj::String toString() override { return kj::str("pipe"); }
};

class OwnPause : public testing::Test {
 public:
  ~OwnPause() noexcept override {}
};

TEST_F(OwnPause, AnswersThatWaitInTheSocketCountAlthoughTheirDeadlineHasPassed) {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  BufferPool pool;
  PipeNetwork network;
  sim::SeededEntropy entropy(1);
  ClusterId cluster;
  std::string story;
  Daemon daemon(timer, network, pool, story);
  network.acceptor = daemon.acceptor;
  Peer<rpc::ChunkServer> peer({.timer = timer,
                               .network = network,
                               .pool = pool,
                               .entropy = entropy,
                               .cluster = cluster,
                               .caller = "test"},
                              "chunkd-1", {kj::str("x"), kj::str(), kj::str()});
  peer.connect().wait(scope);
  auto call = peer.call({"read", 2 * kj::SECONDS},
                        [](rpc::ChunkServer::Client& server) { return server.readRequest().send(); });
  auto stopped = kj::newPromiseAndFulfiller<void>();
  network.running = stopped.promise.fork();
  EXPECT_FALSE(call.poll(scope));
  timer.advanceTo(timer.now() + 60 * kj::SECONDS);
  stopped.fulfiller->fulfill();
  call.wait(scope);
  EXPECT_EQ(peer.suspectSince(), nullptr);
  EXPECT_EQ(peer.generation(), ConnectionGeneration(1));
}

class RealSockets : public testing::Test {
 public:
  ~RealSockets() noexcept override {}
};

TEST_F(RealSockets, TcpAndUnixCarryPayloadsAndSurviveARestart) {
  auto io = kj::setupAsyncIo();
  auto& timer = io.provider->getTimer();
  BufferPool pool;
  sim::SeededEntropy entropy(1);
  ClusterId cluster;
  std::string story;
  auto socket = kj::str("unix-abstract:cairn-peer-test-", getpid());
  PeerEnvironment environment{.timer = timer,
                              .network = io.provider->getNetwork(),
                              .pool = pool,
                              .entropy = entropy,
                              .cluster = cluster,
                              .caller = "test",
                              .host = "here"};
  auto daemon = kj::heap<Daemon>(timer, io.provider->getNetwork(), pool, story);
  auto port = daemon->acceptor.listen("127.0.0.1:0").wait(io.waitScope);
  daemon->acceptor.listen(socket).wait(io.waitScope);
  auto network = kj::str("127.0.0.1:", port);
  Peer<rpc::ChunkServer> remote(environment, "remote", {kj::str(network), kj::str(), kj::str("there")});
  Peer<rpc::ChunkServer> local(environment, "local",
                               {kj::str("127.0.0.1:1"), kj::str(socket), kj::str("here")});
  auto payload = pool.take(PAYLOAD);
  memset(payload.begin(), 0x77, PAYLOAD);
  auto writeAndRead = [&](Peer<rpc::ChunkServer>& peer) {
    kj::Vector<kj::Promise<void>> calls;
    for (int i = 0; i < 8; ++i) {
      calls.add(peer.call({"write", 20 * kj::SECONDS},
                          [&](rpc::ChunkServer::Client& server) {
                            auto request = server.writeRequest();
                            request.adoptData(capnp::Orphanage::getForMessageContaining(
                                                  rpc::ChunkServer::WriteParams::Builder(request))
                                                  .referenceExternalData(payload.bytes()));
                            return request.send();
                          })
                    .ignoreResult());
      calls.add(peer.call({"read", 20 * kj::SECONDS},
                          [](rpc::ChunkServer::Client& server) {
                            auto request = server.readRequest();
                            request.setSize(PAYLOAD);
                            return request.send();
                          })
                    .ignoreResult());
    }
    for (auto& call : calls) call.wait(io.waitScope);
  };
  writeAndRead(remote);
  writeAndRead(local);
  EXPECT_EQ(daemon->acceptor.connectionCount(), 2u);

  kj::Vector<kj::Promise<void>> lost;
  for (auto peer : {&remote, &local}) {
    auto paf = kj::newPromiseAndFulfiller<void>();
    peer->onDisconnect([fulfiller = kj::mv(paf.fulfiller)](
                           ConnectionGeneration, const kj::Exception&) mutable { fulfiller->fulfill(); });
    lost.add(kj::mv(paf.promise));
  }
  daemon = nullptr;
  daemon = kj::heap<Daemon>(timer, io.provider->getNetwork(), pool, story);
  daemon->acceptor.listen(network).wait(io.waitScope);
  daemon->acceptor.listen(socket).wait(io.waitScope);
  for (auto& promise : lost) promise.wait(io.waitScope);
  writeAndRead(remote);
  writeAndRead(local);
  EXPECT_EQ(daemon->acceptor.connectionCount(), 2u);
}

TEST_F(RealSockets, WithoutADescriptorLeftACallerWaitsAndIsServedOnceThereIsOne) {
  if (!test::ResourceLimit::DESCRIPTORS_ARE_OURS) GTEST_SKIP() << "a sanitizer needs descriptors, too";
  auto io = kj::setupAsyncIo();
  auto& timer = io.provider->getTimer();
  BufferPool pool;
  std::string story;
  auto said = kj::newPromiseAndFulfiller<kj::String>();
  auto sink = env::newFunctionSink([&](kj::Date, env::LogLevel, kj::StringPtr, kj::StringPtr text) {
    if (said.fulfiller->isWaiting()) said.fulfiller->fulfill(kj::str(text));
  });
  ClusterId cluster = CLUSTER;
  Epoch epoch{7};
  Acceptor acceptor(
      {.timer = timer,
       .network = io.provider->getNetwork(),
       .pool = pool,
       .name = "chunk daemon",
       .cluster = cluster,
       .epoch = epoch,
       .log = env::Logger(sink, kj::systemPreciseCalendarClock(), env::LogLevel::WARNING, "acceptor")},
      [&](ConnectionInfo) -> capnp::Capability::Client { return kj::heap<Store>(pool, story); });
  auto port = acceptor.listen("127.0.0.1:0").wait(io.waitScope);
  int caller = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // The kernel takes it before anybody accepts it.
  ASSERT_EQ(connect(caller, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  Connection connection(
      io.lowLevelProvider->wrapSocketFd(caller, kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP), pool, timer);
  auto request = connection.bootstrap().castAs<rpc::Gate>().helloRequest();
  request.setProtocol(rpc::PROTOCOL_VERSION);
  auto answer = request.send();
  {
    auto limit = test::ResourceLimit::noDescriptors();
    auto text = said.promise.wait(io.waitScope);
    EXPECT_NE(std::string(text.cStr()).find("try again in 100 ms"), std::string::npos) << text.cStr();
    EXPECT_EQ(acceptor.connectionCount(), 0u);
  }
  EXPECT_EQ(answer.wait(io.waitScope).getStatus(), Status::OK);
}

TEST_F(PeerTest, ACallerThatDoesNotListenFillsNobodysMemory) {
  auto pipe = kj::newTwoWayPipe();
  auto ear = kj::newPromiseAndFulfiller<void>();
  Connection server(kj::mv(pipe.ends[0]), pool, time.timer(), kj::heap<Store>(pool, story));
  kj::Vector<kj::byte> said;
  auto stream = kj::heap<Recorder>(kj::mv(pipe.ends[1]), said, kj::mv(ear.promise));
  Connection client(kj::mv(stream), pool, time.timer());
  auto store = client.bootstrap().castAs<rpc::ChunkServer>();
  auto answers = kj::heapArrayBuilder<kj::Promise<void>>(80);
  for (size_t i = 0; i < answers.capacity(); ++i) {
    auto request = store.readRequest();
    request.setSize(PAYLOAD);
    answers.add(request.send().ignoreResult());
  }
  auto all = kj::joinPromises(answers.finish());
  EXPECT_FALSE(all.poll(scope));
  EXPECT_GT(pool.usedBytes(), 30u << 20);
  EXPECT_LT(pool.usedBytes(), 45u << 20);
  ear.fulfiller->fulfill();
  all.wait(scope);
}

TEST_F(PeerTest, AHookThatFailsIsAFailedAttempt) {
  start();
  ChunkPeer peer(environment(), "chunkd-1", at("s:7000"));
  int attempts = 0;
  peer.onConnect([&](rpc::ChunkServer::Client, ConnectionGeneration) -> kj::Promise<void> {
    if (++attempts < 3) return KJ_EXCEPTION(FAILED, "not now");
    return kj::READY_NOW;
  });
  EXPECT_EQ(run(read(peer, 1)), 4096u);
  EXPECT_EQ(attempts, 3);
  EXPECT_EQ(story, "hello(client 1) bye hello(client 1) bye hello(client 1) r1 ");
}

}  // namespace
}  // namespace cairn
