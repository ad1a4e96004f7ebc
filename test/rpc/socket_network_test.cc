// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Our sockets under load, congestion, closing and giving up, on the kernel's own: a lost edge shows as a
// hang.
#include "rpc/socket_network.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <sys/socket.h>

#include <cstring>

#include "rpc/coroutine.h"
#include "test/sim/seeded_entropy.h"

namespace cairn {
namespace {

using Stream = kj::Own<kj::AsyncIoStream>;

enum class Kind { TCP, UNIX };

kj::byte byteAt(uint64_t offset) {
  return kj::byte(offset * 2654435761u >> 13);
}

class SocketNetwork : public testing::TestWithParam<Kind> {
 public:
  ~SocketNetwork() noexcept override {}

 protected:
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<kj::Network> network = newSocketNetwork(io.provider->getNetwork(), io.unixEventPort);
  kj::Timer& timer = io.provider->getTimer();

  struct Pair {
    Stream client, server;
  };
  Pair connected() {
    static int count = 0;
    auto text = GetParam() == Kind::TCP
                    ? kj::str("127.0.0.1")
                    : kj::str("unix-abstract:cairn-socket-network-test-", getpid(), "-", ++count);
    auto address = network->parseAddress(text).wait(io.waitScope);
    auto receiver = address->listen();
    if (GetParam() == Kind::TCP) {
      address = network->parseAddress(text, receiver->getPort()).wait(io.waitScope);
    }
    auto accepted = receiver->accept();
    auto client = address->connect().wait(io.waitScope);
    return {kj::mv(client), accepted.wait(io.waitScope)};
  }
  template <typename Promise>
  auto within(Promise&& promise) {
    return timer.timeoutAfter(20 * kj::SECONDS, promiseOf(kj::mv(promise))).wait(io.waitScope);
  }

  static Async<void> sendAll(kj::AsyncIoStream& stream, uint64_t total, uint64_t seed) {
    sim::SeededEntropy random(seed);
    for (uint64_t at = 0; at < total;) {
      auto size = kj::min(total - at, random.between(1, uint64_t(1) << random.below(22)));
      auto bytes = kj::heapArray<kj::byte>(size);
      for (size_t i = 0; i < size; ++i) bytes[i] = byteAt(at + i);
      kj::Vector<kj::ArrayPtr<const kj::byte>> pieces;
      for (size_t i = 0; i < size;) {
        auto piece = kj::min(size - i, random.between(0, 1 + size / 3));
        pieces.add(bytes.slice(i, i + piece));
        i += piece;
      }
      co_await stream.write(pieces.asPtr());
      at += size;
      if (random.percent(20)) co_await kj::evalLast([]() {});
    }
    stream.shutdownWrite();
  }
  static Async<uint64_t> receiveAll(kj::AsyncIoStream& stream, uint64_t seed) {
    sim::SeededEntropy random(seed);
    auto buffer = kj::heapArray<kj::byte>(1 << 20);
    for (uint64_t at = 0;;) {
      auto most = random.between(1, uint64_t(1) << random.below(20));
      auto least = random.percent(50) ? 1 : random.between(1, most);
      auto got = co_await stream.tryRead(buffer.begin(), least, most);
      for (size_t i = 0; i < got; ++i) KJ_ASSERT(buffer[i] == byteAt(at + i), "wrong byte", at + i);
      at += got;
      if (got < least) co_return at;
      if (random.percent(20)) co_await kj::evalLast([]() {});
    }
  }
};

TEST_P(SocketNetwork, BytesOfAnySplitGoBothWaysAtOnceThroughFullSockets) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    auto pair = connected();
    constexpr uint64_t SIZE = 12 << 20;
    auto there = sendAll(*pair.client, SIZE, seed).eagerlyEvaluate(nullptr);
    auto back = sendAll(*pair.server, SIZE / 2, seed + 100).eagerlyEvaluate(nullptr);
    auto atServer = receiveAll(*pair.server, seed + 200).eagerlyEvaluate(nullptr);
    auto atClient = receiveAll(*pair.client, seed + 300).eagerlyEvaluate(nullptr);
    EXPECT_EQ(within(kj::mv(atServer)), SIZE) << "seed " << seed;
    EXPECT_EQ(within(kj::mv(atClient)), SIZE / 2) << "seed " << seed;
    within(kj::mv(there));
    within(kj::mv(back));
  }
}

TEST_P(SocketNetwork, QuestionsAndAnswersNeverWaitForAnEdgeThatWas) {
  auto pair = connected();
  for (uint32_t i = 0; i < 20'000; ++i) {
    uint32_t asked = 0, answered = 0;
    auto ask = pair.client->write(&i, sizeof(i));
    if (i % 3 == 0) kj::evalLast([]() {}).wait(io.waitScope);  // events are looked at between write and read
    within(pair.server->read(&asked, sizeof(asked)));
    within(kj::mv(ask));
    within(pair.server->write(&asked, sizeof(asked)));
    if (i % 5 == 0) io.unixEventPort.poll();
    within(pair.client->read(&answered, sizeof(answered)));
    ASSERT_EQ(answered, i);
  }
}

TEST_P(SocketNetwork, AReadThatWasGivenUpLosesNothing) {
  auto pair = connected();
  char buffer[8] = {};
  for (int i = 0; i < 100; ++i) {
    {
      auto abandoned = pair.server->tryRead(buffer, 1, 8);
      EXPECT_FALSE(abandoned.poll(io.waitScope));
      if (i % 2 == 0) within(pair.client->write("x", 1));
    }
    if (i % 2 != 0) within(pair.client->write("x", 1));
    EXPECT_EQ(within(pair.server->tryRead(buffer, 1, 8)), 1u);
  }
}

TEST_P(SocketNetwork, TheEndIsReadAsOftenAsOneLikes) {
  auto pair = connected();
  within(pair.client->write("last", 4));
  pair.client = nullptr;
  char buffer[8];
  EXPECT_EQ(within(pair.server->tryRead(buffer, 8, 8)), 4u);
  EXPECT_EQ(within(pair.server->tryRead(buffer, 1, 8)), 0u);
  EXPECT_EQ(within(pair.server->tryRead(buffer, 1, 8)), 0u);
}

TEST_P(SocketNetwork, WritingToWhoHasGoneIsARejectedPromise) {
  auto pair = connected();
  pair.server = nullptr;
  if (GetParam() == Kind::UNIX) {  // TCP knows only once it has sent something
    within(pair.client->whenWriteDisconnected());
  }
  auto bytes = kj::heapArray<kj::byte>(1 << 20);
  memset(bytes.begin(), 0, bytes.size());
  for (int i = 0;; ++i) {
    ASSERT_LT(i, 100) << "the kernel takes everything";
    auto promise = pair.client->write(bytes.begin(), bytes.size());  // does not throw
    auto problem = kj::runCatchingExceptions([&]() { within(kj::mv(promise)); });
    KJ_IF_MAYBE (exception, problem) {
      EXPECT_EQ(exception->getType(), kj::Exception::Type::DISCONNECTED);
      break;
    }
  }
}

TEST_P(SocketNetwork, AWriteThatWaitsForRoomEndsWithItsReader) {
  auto pair = connected();
  auto bytes = kj::heapArray<kj::byte>(64 << 20);
  memset(bytes.begin(), 7, bytes.size());
  auto write = pair.client->write(bytes.begin(), bytes.size());
  EXPECT_FALSE(write.poll(io.waitScope));
  pair.server = nullptr;
  EXPECT_TRUE(kj::runCatchingExceptions([&]() { within(kj::mv(write)); }) != nullptr);
}

INSTANTIATE_TEST_SUITE_P(Sockets, SocketNetwork, testing::Values(Kind::TCP, Kind::UNIX),
                         [](auto& info) { return info.param == Kind::TCP ? "Tcp" : "Unix"; });

}  // namespace
}  // namespace cairn
