// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The stream under random splits, damage and loss, and what it promises about order, memory and syscalls.
#include "rpc/message_stream.h"

#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <string.h>

#include <string>

#include "rpc/chunkd.capnp.h"
#include "rpc/coroutine.h"
#include "rpc/message_builder.h"
#include "test/sim/seeded_entropy.h"

namespace cairn {
namespace {

using capnp::word;
using Words = kj::ArrayPtr<const word>;
using Message = kj::Vector<kj::Array<word>>;

class RandomStream final : public kj::AsyncIoStream {
  // Gives and takes bytes in pieces that have nothing to do with what was asked, as far as KJ allows. Seed 0:
  // as they come.
 public:
  RandomStream(kj::Own<kj::AsyncIoStream> inner, uint64_t seed)
      : inner(kj::mv(inner)), whole(seed == 0), random(seed) {}

  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
    ++reads;
    auto size = whole || random.percent(30) ? most : random.between(kj::max(least, size_t(1)), most);
    return inner->tryRead(buffer, least, size);
  }
  kj::Promise<void> write(const void* buffer, size_t size) override { return writeCut(buffer, size); }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    ++writes;
    if (whole) return inner->write(pieces);
    return writeAllCut(pieces);
  }
  kj::Promise<void> whenWriteDisconnected() override { return inner->whenWriteDisconnected(); }
  void shutdownWrite() override { inner->shutdownWrite(); }
  void abortRead() override { inner->abortRead(); }

  size_t reads = 0, writes = 0;

 private:
  Async<void> writeCut(const void* buffer, size_t size) {
    auto at = static_cast<const kj::byte*>(buffer);
    while (size > 0) {
      auto piece = random.percent(50) ? size : random.between(1, kj::min(size, size_t(5000)));
      co_await inner->write(at, piece);
      if (random.percent(10)) co_await kj::evalLater([]() {});
      at += piece;
      size -= piece;
    }
  }
  Async<void> writeAllCut(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) {
    for (auto piece : pieces) co_await writeCut(piece.begin(), piece.size());
  }

  kj::Own<kj::AsyncIoStream> inner;
  const bool whole;
  sim::SeededEntropy random;
};

uint64_t seedOfRun() {
  auto chosen = getenv("TEST_SEED");
  return chosen == nullptr ? 20261123 : strtoull(chosen, nullptr, 10);
}

class Stream : public testing::Test {
 public:
  ~Stream() noexcept override {}

 protected:
  void SetUp() override { RecordProperty("seed", std::to_string(seed)); }

  struct Ends {
    explicit Ends(BufferPool& pool, uint64_t seed, kj::TwoWayPipe pipe = kj::newTwoWayPipe())
        : bytesOut(kj::mv(pipe.ends[0]), seed),
          bytesIn(kj::mv(pipe.ends[1]), seed == 0 ? 0 : seed + 1),
          out(bytesOut, pool),
          in(bytesIn, pool) {}
    RandomStream bytesOut, bytesIn;
    MessageStream out, in;
  };

  size_t randomWords(sim::SeededEntropy& random) {
    // 0 to 2 MiB, every order of magnitude as likely as the next.
    auto most = uint64_t(1) << random.below(19);
    return random.percent(5) ? 0 : random.between(1, most);
  }
  Message randomMessage(sim::SeededEntropy& random) {
    Message message;
    auto count = random.percent(70) ? 1 : random.percent(95) ? random.between(2, 9) : random.between(10, 512);
    for (uint64_t i = 0; i < count; ++i) {
      auto& segment = message.add(kj::heapArray<word>(count > 9 ? random.below(20) : randomWords(random)));
      for (auto& slot : segment) {
        uint64_t content = random.next();
        memcpy(static_cast<void*>(&slot), &content, sizeof(content));
      }
    }
    return message;
  }
  static kj::Array<Words> segmentsOf(const Message& message) {
    return KJ_MAP(segment, message)->Words {
      return segment;
    };
  }
  static void expectSame(capnp::MessageReader& received, const Message& sent) {
    for (uint32_t i = 0; i < sent.size(); ++i) {
      auto segment = received.getSegment(i);
      ASSERT_EQ(segment.size(), sent[i].size()) << "segment " << i;
      ASSERT_EQ(memcmp(segment.begin(), sent[i].begin(), segment.size() * sizeof(word)), 0)
          << "segment " << i;
    }
    EXPECT_EQ(received.getSegment(sent.size()), nullptr);
  }

  struct Hold final : public MessageHold {
    // Scribbles over the message when it goes, so that a stream that still reads it is found out.
    Hold(Message message, int& alive)
        : message(kj::mv(message)), segments(segmentsOf(this->message)), alive(alive) {
      ++alive;
    }
    ~Hold() noexcept(false) {
      --alive;
      for (auto& segment : message) memset(segment.asBytes().begin(), 0xee, segment.asBytes().size());
    }
    Message message;
    kj::Array<Words> segments;
    int& alive;
  };
  void send(MessageStream& out, Message message) {
    auto hold = kj::heap<Hold>(kj::mv(message), alive);
    auto segments = hold->segments.asPtr();
    out.send(segments, kj::mv(hold));
  }
  Message small(uint64_t content, size_t words = 2) {
    Message message;
    auto& segment = message.add(kj::heapArray<word>(words));
    memset(segment.begin(), 0, segment.asBytes().size());
    memcpy(segment.asBytes().begin(), &content, sizeof(content));
    return message;
  }
  Message copyOf(const Message& message) {
    Message copy;
    for (auto& segment : message) {
      auto& twin = copy.add(kj::heapArray<word>(segment.size()));
      memcpy(twin.begin(), segment.begin(), segment.asBytes().size());
    }
    return copy;
  }
  kj::Own<ReceivedMessage> receive(MessageStream& in) {
    return KJ_ASSERT_NONNULL(in.receive().wait(scope), "the stream ended");
  }
  void settle() {
    kj::evalLast([]() {}).wait(scope);
  }

  template <typename Func>
  kj::Exception failure(Func&& func) {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions(func)) return kj::mv(*exception);
    return KJ_EXCEPTION(UNIMPLEMENTED, "did not fail");
  }

  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  BufferPool pool;
  const uint64_t seed = seedOfRun();
  int alive = 0;
};

TEST_F(Stream, AnyMessagesSurviveAnySplits) {
  for (uint64_t round = 0; round < 12; ++round) {
    SCOPED_TRACE("replay with TEST_SEED=" + std::to_string(seed) + ", round " + std::to_string(round));
    sim::SeededEntropy random(seed + round);
    Ends ends(pool, random.next());
    std::deque<Message> expected;
    for (int i = 0; i < 40; ++i) {
      for (auto burst = random.below(6); burst > 0; --burst) {
        auto message = randomMessage(random);
        expected.push_back(copyOf(message));
        send(ends.out, kj::mv(message));
      }
      for (auto count = random.below(6); count > 0 && !expected.empty(); --count) {
        auto received = receive(ends.in);
        expectSame(*received, expected.front());
        expected.pop_front();
      }
    }
    ends.out.end().exclusiveJoin(kj::NEVER_DONE).poll(scope);
    while (!expected.empty()) {
      expectSame(*receive(ends.in), expected.front());
      expected.pop_front();
    }
    settle();
    EXPECT_EQ(ends.out.queuedBytes(), 0u);
    EXPECT_EQ(alive, 0) << "written messages have been let go";
  }
}

TEST_F(Stream, DamagedStreamsEndInAnExceptionAndNeverInACrash) {
  // The bytes of a few messages, then: bits flipped near the front (headers), or the end cut off.
  int refused = 0, ended = 0;
  for (uint64_t round = 0; round < 300; ++round) {
    SCOPED_TRACE("replay with TEST_SEED=" + std::to_string(seed) + ", round " + std::to_string(round));
    sim::SeededEntropy random(seed + round);
    kj::VectorOutputStream bytes;
    for (int i = 0; i < 3; ++i) {
      Message message;
      for (auto count = random.between(1, 5); count > 0; --count) {
        message.add(kj::heapArray<word>(random.below(random.percent(10) ? 20'000 : 60)));
        memset(message.back().asBytes().begin(), 1, message.back().asBytes().size());
      }
      capnp::writeMessage(bytes, segmentsOf(message));
    }
    auto stream = kj::heapArray(bytes.getArray());
    bool cut = random.percent(50);
    auto length = cut ? random.below(stream.size()) : stream.size();
    for (auto flips = cut ? 0 : random.between(1, 4); flips > 0; --flips) {
      stream[random.below(kj::min(stream.size(), size_t(64)))] ^= 1 << random.below(8);
    }

    auto pipe = kj::newTwoWayPipe();
    auto writer = kj::mv(pipe.ends[0]);
    RandomStream source(kj::mv(pipe.ends[1]), random.next());
    MessageStream in(source, pool);
    auto writing = writer->write(stream.begin(), length)
                       .then([&]() { writer->shutdownWrite(); })
                       .eagerlyEvaluate([](kj::Exception&&) {});
    auto exception = failure([&]() {
      while (in.receive().wait(scope) != nullptr) EXPECT_LT(pool.usedBytes(), 2 * MESSAGE_SIZE_MAX);
      ++ended;
    });
    if (exception.getType() != kj::Exception::Type::UNIMPLEMENTED) {
      ++refused;
      auto text = std::string(exception.getDescription().cStr());
      EXPECT_TRUE(text.find("refused a message") != text.npos || text.find("inside a message") != text.npos)
          << text;
      EXPECT_NE(failure([&]() { in.receive().wait(scope); }).getType(), kj::Exception::Type::UNIMPLEMENTED)
          << "a broken stream stays broken";
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(ended, 10);
}

TEST_F(Stream, TheSizeLimitHoldsInBothDirections) {
  struct Case {
    const char* what;
    std::vector<uint32_t> header;
    const char* text;
  };
  std::vector<uint32_t> overflow(514, 0xffffffff);
  overflow[0] = 511;
  for (auto& test :
       std::vector<Case>{{"one word too many", {0, MESSAGE_SIZE_MAX / 8 + 1}, "over the size limit"},
                         {"a sum that overflows 32 bits", overflow, "over the size limit"},
                         {"too many segments", {512, 0}, "too many segments"},
                         {"all ones", {0xffffffff, 0xffffffff}, "too many segments"}}) {
    auto pipe = kj::newTwoWayPipe();
    MessageStream in(*pipe.ends[1], pool);
    auto writing = pipe.ends[0]->write(test.header.data(), test.header.size() * 4).eagerlyEvaluate(nullptr);
    auto exception = failure([&]() { in.receive().wait(scope); });
    EXPECT_EQ(exception.getType(), kj::Exception::Type::FAILED) << test.what;
    EXPECT_NE(std::string(exception.getDescription().cStr()).find(test.text), std::string::npos) << test.what;
  }

  Ends ends(pool, seed);
  auto tooLarge = failure([&]() { send(ends.out, small(1, MESSAGE_SIZE_MAX / 8 + 1)); });
  EXPECT_NE(std::string(tooLarge.getDescription().cStr()).find("too large to send"), std::string::npos);
  send(ends.out, small(2, MESSAGE_SIZE_MAX / 8));
  EXPECT_EQ(receive(ends.in)->bytes(), MESSAGE_SIZE_MAX) << "the largest that may, does";
}

TEST_F(Stream, AllMessagesOfATurnLeaveInOneWriteAndShareReads) {
  Ends ends(pool, 0);
  for (uint64_t i = 0; i < 50; ++i) send(ends.out, small(i));
  for (uint64_t i = 0; i < 50; ++i) {
    auto received = receive(ends.in);
    EXPECT_EQ(memcmp(received->getSegment(0).begin(), &i, sizeof(i)), 0);
  }
  EXPECT_EQ(ends.bytesOut.writes, 1u);
  EXPECT_EQ(ends.bytesIn.reads, 1u);
}

TEST_F(Stream, AMessageThatCanWaitLeavesWithTheNextOrAfterAWhileInOrder) {
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  auto pipe = kj::newTwoWayPipe();
  RandomStream bytes(kj::mv(pipe.ends[0]), 0);
  MessageStream out(bytes, pool, timer), in(*pipe.ends[1], pool);
  auto sendLater = [&](uint64_t content) {
    auto hold = kj::heap<Hold>(small(content), alive);
    auto segments = hold->segments.asPtr();
    out.send(segments, kj::mv(hold), MessageStream::Urgency::WITH_THE_NEXT);
  };
  auto expectNext = [&](uint64_t content) {
    EXPECT_EQ(memcmp(receive(in)->getSegment(0).begin(), &content, sizeof(content)), 0);
  };
  sendLater(1);
  sendLater(2);
  settle();
  EXPECT_EQ(bytes.writes, 0u);
  send(out, small(3));
  for (uint64_t i = 1; i <= 3; ++i) expectNext(i);
  EXPECT_EQ(bytes.writes, 1u);

  sendLater(4);
  settle();
  EXPECT_EQ(bytes.writes, 1u);
  timer.advanceTo(timer.now() + 2 * kj::MILLISECONDS);
  expectNext(4);
  EXPECT_EQ(bytes.writes, 2u) << "nothing came after it";

  sendLater(5);
  auto written = out.written();
  expectNext(5);
  written.wait(scope);
  EXPECT_EQ(bytes.writes, 3u) << "somebody waits for it";

  for (uint64_t i = 100; i < 164; ++i) sendLater(i);
  for (uint64_t i = 100; i < 164; ++i) expectNext(i);
  EXPECT_EQ(bytes.writes, 4u) << "enough have come together";
}

TEST_F(Stream, AMessageLivesUntilItIsWrittenAndNoLonger) {
  Ends ends(pool, seed);
  send(ends.out, small(7, 1000));
  settle();
  EXPECT_EQ(alive, 1) << "nobody has read it";
  EXPECT_EQ(ends.out.queuedBytes(), 8008u);
  EXPECT_EQ(ends.out.queuedMessages(), 1u);
  auto written = ends.out.written();
  EXPECT_FALSE(written.poll(scope));
  receive(ends.in);
  written.wait(scope);
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(ends.out.queuedBytes(), 0u);
  ends.out.written().wait(scope);
}

TEST_F(Stream, AbortDropsWhatIsQueuedAndTellsTheReader) {
  Ends ends(pool, seed);
  auto reading = ends.out.receive();
  for (int i = 0; i < 3; ++i) send(ends.out, small(i, 100'000));
  settle();
  send(ends.out, small(4));
  EXPECT_EQ(alive, 4);
  auto written = ends.out.written();
  ends.out.abort(KJ_EXCEPTION(DISCONNECTED, "enough"));
  EXPECT_EQ(alive, 0) << "their memory is not read from here on";
  written.wait(scope);
  EXPECT_EQ(failure([&]() { reading.wait(scope); }).getDescription(), "enough");
  send(ends.out, small(5));
  EXPECT_EQ(alive, 0);
}

TEST_F(Stream, AMessageMayCallBackWhenItIsDestroyed) {
  // As capabilities do that a message held: they release others, which sends, or tear the connection down.
  struct CallsBack final : public MessageHold {
    explicit CallsBack(kj::Function<void()> func) : func(kj::mv(func)) {}
    ~CallsBack() noexcept(false) { func(); }
    kj::Function<void()> func;
  };
  Ends ends(pool, 0);
  auto message = small(1);
  auto segments = segmentsOf(message);
  for (int i = 0; i < 3; ++i) {
    ends.out.send(segments, kj::heap<CallsBack>([&]() { send(ends.out, small(2)); }));
  }
  for (int i = 0; i < 6; ++i) receive(ends.in);
  for (int i = 0; i < 3; ++i) {
    ends.out.send(segments,
                  kj::heap<CallsBack>([&]() { ends.out.abort(KJ_EXCEPTION(DISCONNECTED, "enough")); }));
  }
  for (int i = 0; i < 3; ++i) receive(ends.in);
  settle();
  EXPECT_EQ(ends.out.queuedMessages(), 0u);
  EXPECT_EQ(alive, 0);
}

TEST_F(Stream, AFailedWriteWakesTheReader) {
  auto pipe = kj::newTwoWayPipe();
  MessageStream out(*pipe.ends[0], pool);
  auto reading = out.receive();
  pipe.ends[1]->abortRead();
  send(out, small(1, 100));
  EXPECT_EQ(failure([&]() { reading.wait(scope); }).getType(), kj::Exception::Type::DISCONNECTED);
  EXPECT_EQ(alive, 0);
}

TEST_F(Stream, AnAbortedStreamSaysWhyToWhoeverReadsOrWritesLater) {
  Ends ends(pool, 0);
  ends.out.abort(KJ_EXCEPTION(DISCONNECTED, "enough"));
  auto message = small(1);
  auto read = kj::runCatchingExceptions([&]() { ends.out.receive().wait(scope); });
  auto written =
      kj::runCatchingExceptions([&]() { ends.out.writeMessage({}, segmentsOf(message)).wait(scope); });
  for (auto failure : {&read, &written}) {
    EXPECT_EQ(KJ_ASSERT_NONNULL(*failure).getType(), kj::Exception::Type::DISCONNECTED);
    EXPECT_EQ(KJ_ASSERT_NONNULL(*failure).getDescription(), "enough");
  }
}

TEST_F(Stream, EndOfStreamBetweenMessagesIsNull) {
  Ends ends(pool, seed);
  send(ends.out, small(1));
  auto end = ends.out.end().eagerlyEvaluate(nullptr);
  receive(ends.in);
  EXPECT_EQ(ends.in.receive().wait(scope), nullptr);
}

TEST_F(Stream, ServesAsACapnpMessageStream) {
  Ends ends(pool, seed);
  capnp::MessageStream& out = ends.out;
  capnp::MessageStream& in = ends.in;
  capnp::MallocMessageBuilder builder;
  builder.initRoot<rpc::ChunkId>().setHandle(77);
  auto writing = out.writeMessage(builder);
  auto received = in.readMessage().wait(scope);
  writing.wait(scope);
  EXPECT_EQ(received->getRoot<rpc::ChunkId>().getHandle(), 77u);
}

// -- messages to send

class Builder : public Stream {
 protected:
  void fillWithGarbage() {
    // Blocks of every size that the pool will hand out again, full of ones.
    kj::Vector<Buffer> buffers;
    for (size_t size = 512; size <= (4 << 20); size *= 2) {
      buffers.add(pool.take(size));
      memset(buffers.back().begin(), 0xff, size);
      if (size >= BufferPool::LARGE) {
        buffers.add(pool.take(size + BufferPool::PAGE));
        memset(buffers.back().begin(), 0xff, size + BufferPool::PAGE);
      }
    }
  }
  static size_t offsetInPage(const void* address) {
    return reinterpret_cast<uintptr_t>(address) % BufferPool::PAGE;
  }
};

TEST_F(Builder, APayloadStartsOnAPageHereAndThere) {
  for (uint32_t size : {64u << 10, 1u << 20, (1u << 20) + 5, 4096u * 33}) {
    PooledMessageBuilder message(pool);
    auto root = message.initRoot<rpc::ChunkServer::ReadResults>();
    root.initChecksums(size / 4096);
    auto data = initPayload(pool, [&]() { return root.initData(size); });
    EXPECT_EQ(offsetInPage(data.begin()), 0u);
    memset(data.begin(), 0x5a, size);

    Ends ends(pool, seed);
    ends.out.send(message.getSegmentsForOutput(), {});
    auto received = receive(ends.in);
    auto copy = received->getRoot<rpc::ChunkServer::ReadResults>().getData();
    EXPECT_EQ(offsetInPage(copy.begin()), 0u);
    ASSERT_EQ(copy.size(), size);
    for (auto byte : copy) ASSERT_EQ(byte, 0x5a);
  }
}

TEST_F(Builder, ExternalDataIsSentFromWhereItIsAndArrivesOnAPage) {
  auto buffer = pool.take(1 << 20);
  memset(buffer.begin(), 0x11, buffer.size());
  PooledMessageBuilder message(pool);
  auto root = message.initRoot<rpc::ChunkServer::ReadResults>();
  root.adoptData(message.getOrphanage().referenceExternalData(buffer.bytes()));
  bool found = false;
  for (auto segment : message.getSegmentsForOutput()) found |= segment.asBytes().begin() == buffer.begin();
  EXPECT_TRUE(found);
  Ends ends(pool, seed);
  ends.out.send(message.getSegmentsForOutput(), {});
  auto received = receive(ends.in);
  auto copy = received->getRoot<rpc::ChunkServer::ReadResults>().getData();
  EXPECT_EQ(offsetInPage(copy.begin()), 0u);
  EXPECT_EQ(memcmp(copy.begin(), buffer.begin(), buffer.size()), 0);
}

TEST_F(Builder, OnlyAPayloadSoMarkedIsNotZeroed) {
  for (int round = 0; round < 3; ++round) {
    fillWithGarbage();
    PooledMessageBuilder message(pool, round * 1000);
    auto root = message.initRoot<rpc::ChunkServer::DescribeResults>();
    auto reports = root.initChunks(10'000);  // 240 kB of structs: garbage in them would be pointers and flags
    for (auto report : reports) {
      ASSERT_EQ(report.getHandle() | report.getVersion() | report.getLength(), 0u);
      ASSERT_FALSE(report.getCorrupt());
    }
    auto more = message.getOrphanage().newOrphan<capnp::Data>(20'000);
    for (auto byte : more.get()) ASSERT_EQ(byte, 0);
  }
  fillWithGarbage();
  PooledMessageBuilder message(pool);
  auto root = message.initRoot<rpc::ChunkServer::ReadResults>();
  initPayload(pool, [&]() { return root.initData(100'001); });
  auto segment = message.getSegmentsForOutput()[1].asBytes();
  for (auto at = segment.size() - 7; at < segment.size(); ++at)
    EXPECT_EQ(segment[at], 0) << "padding leaks nothing";
  auto second = message.getOrphanage().newOrphan<capnp::Data>(200'000);
  for (auto byte : second.get()) ASSERT_EQ(byte, 0) << "the mark is good for one payload";
}

TEST_F(Builder, AFirstSegmentComesBackBlank) {
  sim::SeededEntropy random(seed);
  for (int round = 0; round < 200; ++round) {
    PooledMessageBuilder message(pool);
    auto data = message.initRoot<rpc::ChunkServer::ReadResults>().initData(random.below(3900));
    for (auto byte : data) ASSERT_EQ(byte, 0);
    memset(data.begin(), 0xff, data.size());
    if (random.percent(20)) message.getOrphanage().newOrphan<capnp::Data>(random.below(100'000));
  }
  auto blank = pool.takeBlank();
  for (auto byte : blank.bytes()) ASSERT_EQ(byte, 0);
}

TEST(BufferPool, KeepsWhatItIsAllowedToAndReusesIt) {
  BufferPool pool(3 << 20);
  {
    auto one = pool.take(1 << 20), two = pool.take(1 << 20), three = pool.take(1 << 20);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(three.begin()) % BufferPool::PAGE, 0u);
    EXPECT_EQ(pool.idleBytes(), 0u);
    EXPECT_GE(pool.usedBytes(), 3u << 20);
  }
  EXPECT_EQ(pool.usedBytes(), 0u);
  EXPECT_GT(pool.idleBytes(), 2u << 20);
  EXPECT_LE(pool.idleBytes(), 3u << 20) << "the bound";
  auto again = pool.take((1 << 20) + BufferPool::PAGE);
  EXPECT_LE(pool.idleBytes(), 2u << 20) << "taken from those kept, with room for the alignment";
  Buffer moved = kj::mv(again);
  EXPECT_EQ(again.size(), 0u);
  moved = Buffer();
  EXPECT_EQ(pool.usedBytes(), 0u);
}

TEST(BufferPool, EverySizeFitsItsBlock) {
  BufferPool pool;
  for (size_t size = 0; size < 300'000; size = size * 5 / 4 + 1) {
    auto buffer = pool.take(size);
    memset(buffer.begin(), 1, size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.begin()) % 16, 0u);
  }
}

}  // namespace
}  // namespace cairn
