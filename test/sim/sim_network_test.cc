// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the simulated network and clock promise to the programs that run on them.
#include "test/sim/sim_network.h"

#include <capnp/rpc-twoparty.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <string.h>

#include "rpc/coroutine.h"
#include "rpc/metaserver.capnp.h"

namespace cairn::sim {
namespace {

class World {
 public:
  explicit World(uint64_t seed = 1) : scope(loop), network(time.timer(), seed) {}

  VirtualTime time;
  kj::EventLoop loop{time};
  kj::WaitScope scope;
  SimNetwork network;

  struct Pair {
    kj::Own<kj::AsyncIoStream> client, server;
  };
  Pair connect(kj::StringPtr from = "a", kj::StringPtr to = "b") {
    auto receiver = network.at(to).parseAddress("*:7").wait(scope)->listen();
    auto address = network.at(from).parseAddress(kj::str(to, ":7")).wait(scope);
    auto client = address->connect().wait(scope);
    return {kj::mv(client), receiver->accept().wait(scope)};
  }
  void say(kj::AsyncIoStream& stream, kj::StringPtr text) {
    stream.write(text.begin(), text.size()).wait(scope);
  }
  kj::String hear(kj::AsyncIoStream& stream, size_t size) {
    auto text = kj::heapString(size);
    text = kj::heapString(text.begin(), stream.tryRead(text.begin(), size, size).wait(scope));
    return text;
  }
  void pass(kj::Duration duration) { time.timer().afterDelay(duration).wait(scope); }
};

class Network : public testing::Test, public World {
 public:
  ~Network() noexcept override {}
};

TEST_F(Network, TimeJumpsToTheNextTimerAndNowhereElse) {
  auto start = time.elapsed();
  pass(3 * kj::SECONDS);
  EXPECT_EQ(time.elapsed() - start, 3 * kj::SECONDS);
  EXPECT_EQ(kj::str(seconds(1'500 * kj::MILLISECONDS)), "[   1.500000]");
}

TEST_F(Network, WaitingForNothingIsAnErrorAndNotAHang) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  EXPECT_THROW(time.run(kj::mv(paf.promise), scope), kj::Exception);
}

TEST_F(Network, RunningPastTheLimitIsAnError) {
  time.limit(10 * kj::SECONDS);
  EXPECT_THROW(time.run(time.timer().afterDelay(11 * kj::SECONDS), scope), kj::Exception);
}

TEST_F(Network, AStoppedTimerFiresOnlyWhenItGoesOn) {
  ProcessTimer timer(time.timer());
  auto promise = timer.afterDelay(1 * kj::SECONDS);
  timer.stop();
  pass(5 * kj::SECONDS);
  EXPECT_FALSE(promise.poll(scope));
  timer.resume();
  promise.wait(scope);
  timer.afterDelay(1 * kj::SECONDS).wait(scope);
  EXPECT_EQ(time.elapsed(), 6 * kj::SECONDS);
}

TEST_F(Network, BytesArriveLaterInOrderAndWhole) {
  auto [client, server] = connect();
  auto sent = kj::heapArray<kj::byte>(3 << 20);
  SeededEntropy(9).generate(sent);
  auto before = time.elapsed();
  auto writing = client->write(sent.begin(), sent.size()).eagerlyEvaluate(nullptr);
  auto received = kj::heapArray<kj::byte>(sent.size());
  EXPECT_EQ(server->tryRead(received.begin(), received.size(), received.size()).wait(scope), sent.size());
  writing.wait(scope);
  EXPECT_TRUE(sent == received);
  EXPECT_GT(time.elapsed() - before, (3 << 20) / 1250 / 12 * kj::MICROSECONDS);
}

TEST_F(Network, AWriterFarAheadOfItsReaderWaits) {
  auto [client, server] = connect();
  auto bytes = kj::heapArray<kj::byte>(5 << 20);
  memset(bytes.begin(), 7, bytes.size());
  auto writing = client->write(bytes.begin(), bytes.size());
  pass(1 * kj::SECONDS);
  EXPECT_FALSE(writing.poll(scope));
  server->tryRead(bytes.begin(), 2 << 20, 2 << 20).wait(scope);
  writing.wait(scope);
}

TEST_F(Network, ClosingIsHeardAfterAllThatWasSaid) {
  auto [client, server] = connect();
  say(*client, "last words");
  client = nullptr;
  EXPECT_EQ(hear(*server, 100), "last words");
  pass(1 * kj::SECONDS);
  EXPECT_THROW(say(*server, "hello?"), kj::Exception);
  server->whenWriteDisconnected().wait(scope);
  server = nullptr;
  EXPECT_EQ(network.connections(), 0u);
}

TEST_F(Network, ConnectingWhereNobodyListensIsRefused) {
  auto address = network.at("a").parseAddress("b:9").wait(scope);
  auto type = address->connect()
                  .then([](auto) { return kj::Exception::Type::FAILED; },
                        [](kj::Exception&& exception) { return exception.getType(); })
                  .wait(scope);
  EXPECT_EQ(type, kj::Exception::Type::DISCONNECTED);
}

TEST_F(Network, TwoListenersOnOnePortAreRefused) {
  auto first = network.at("a").parseAddress("*:9").wait(scope)->listen();
  EXPECT_ANY_THROW(network.at("a").parseAddress("*:9").wait(scope)->listen());
  auto other = network.at("a").parseAddress("*:0").wait(scope)->listen();
  EXPECT_GT(other->getPort(), 0u);
  EXPECT_EQ(first->getPort(), 9u);
}

TEST_F(Network, ALocalNameReachesOnlyTheSameHost) {
  auto receiver = network.at("a").parseAddress("unix-abstract:cairn-1").wait(scope)->listen();
  network.at("a").parseAddress("unix-abstract:cairn-1").wait(scope)->connect().wait(scope);
  auto elsewhere = network.at("b").parseAddress("unix-abstract:cairn-1").wait(scope);
  EXPECT_ANY_THROW(elsewhere->connect().wait(scope));
}

TEST_F(Network, ACutLinkDelaysAndLosesNothing) {
  auto [client, server] = connect();
  network.cut("a", "b");
  say(*client, "one ");
  say(*client, "two");
  auto text = kj::heapString(7);
  auto reading = server->tryRead(text.begin(), 7, 7);
  pass(60 * kj::SECONDS);
  EXPECT_FALSE(reading.poll(scope));
  network.heal("a", "b");
  EXPECT_EQ(reading.wait(scope), 7u);
  EXPECT_EQ(text, "one two");
}

TEST_F(Network, ALinkCutOneWayCarriesTheOther) {
  auto [client, server] = connect();
  network.cutOneWay("a", "b");
  say(*server, "hello");
  EXPECT_EQ(hear(*client, 5), "hello");
  say(*client, "hello");
  auto text = kj::heapString(5);
  auto reading = server->tryRead(text.begin(), 5, 5);
  pass(1 * kj::SECONDS);
  EXPECT_FALSE(reading.poll(scope));
}

TEST_F(Network, ConnectingOverACutLinkWaitsForItToHeal) {
  auto receiver = network.at("b").parseAddress("*:7").wait(scope)->listen();
  network.cut("a", "b");
  auto connecting = network.at("a").parseAddress("b:7").wait(scope)->connect();
  pass(10 * kj::SECONDS);
  EXPECT_FALSE(connecting.poll(scope));
  network.healAll();
  connecting.wait(scope);
}

TEST_F(Network, AResetEndsBothSidesAtOnce) {
  auto [client, server] = connect();
  char byte;
  auto reading = server->tryRead(&byte, 1, 1);
  EXPECT_FALSE(reading.poll(scope));
  network.reset("b", "a");
  EXPECT_THROW(reading.wait(scope), kj::Exception);
  EXPECT_THROW(say(*client, "x"), kj::Exception);
}

TEST_F(Network, AMachineWithoutPowerIsSilentAndItsPeersLearnItWhenItIsBack) {
  auto [client, server] = connect();
  network.powerOff("b");
  server = nullptr;
  say(*client, "anyone?");
  char byte;
  auto reading = client->tryRead(&byte, 1, 1);
  pass(100 * kj::SECONDS);
  EXPECT_FALSE(reading.poll(scope)) << "no end, no error: nobody is there to send one";
  network.powerOn("b");
  EXPECT_THROW(reading.wait(scope), kj::Exception);
}

TEST_F(Network, AStoppedProcessTakesConnectionsAndReadsNothing) {
  auto [client, server] = connect();
  network.stop("b");
  say(*client, "x");
  char byte;
  auto reading = server->tryRead(&byte, 1, 1);
  pass(5 * kj::SECONDS);
  EXPECT_FALSE(reading.poll(scope));
  network.resume("b");
  EXPECT_EQ(reading.wait(scope), 1u);
}

kj::String conversation(uint64_t seed) {
  World world(seed);
  auto [client, server] = world.connect();
  kj::Vector<kj::String> lines;
  for (int i = 0; i < 20; ++i) {
    world.say(*client, "ping");
    world.hear(*server, 4);
    lines.add(seconds(world.time.elapsed()));
  }
  return kj::strArray(lines, "\n");
}

TEST_F(Network, TheSameSeedIsTheSameHistoryAndAnotherSeedAnother) {
  kj::String first, again, other;
  kj::Thread([&]() { first = conversation(5); });
  kj::Thread([&]() { again = conversation(5); });
  kj::Thread([&]() { other = conversation(6); });
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

class Echo final : public rpc::Session::Server {
 protected:
  kj::Promise<void> lookup(LookupContext context) override {
    context.getResults().getAttributes().setInode(context.getParams().getName().size());
    return kj::READY_NOW;
  }
};

TEST_F(Network, CarriesCapnProto) {
  capnp::TwoPartyServer server(kj::heap<Echo>());
  auto receiver = network.at("b").parseAddress("*:7").wait(scope)->listen();
  auto listening = server.listen(*receiver).eagerlyEvaluate(nullptr);
  auto stream = network.at("a").parseAddress("b:7").wait(scope)->connect().wait(scope);
  capnp::TwoPartyClient client(*stream);
  auto session = client.bootstrap().castAs<rpc::Session>();
  for (auto name : {"x", "four", ""}) {
    auto request = session.lookupRequest();
    request.setName(name);
    EXPECT_EQ(request.send().wait(scope).getAttributes().getInode(), strlen(name));
  }
}

}  // namespace
}  // namespace cairn::sim
