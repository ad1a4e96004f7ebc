// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The framing (https://capnproto.org/encoding.html#serialization-over-a-stream): number of segments minus
// one, the size of each in words, all 32-bit little-endian, padded to a word; then the segments. Everything
// is a multiple of a word, so a read buffer that starts on a word keeps every message in it aligned.
#include "rpc/message_stream.h"

#include <kj/debug.h>
#include <string.h>
#include <sys/socket.h>

#include <bit>

#include "rpc/coroutine.h"

namespace cairn {

using capnp::word;
static_assert(std::endian::native == std::endian::little, "segment tables are used as they arrive");

namespace {

size_t headerBytesFor(size_t segments) {
  return (segments / 2 + 1) * sizeof(word);
}

size_t leadFor(kj::ArrayPtr<const uint32_t> segmentWords) {
  // Where in a page the body starts so that the largest segment's payload is page-aligned: at its start when
  // it is whole pages (external data), else behind one word (a landing pad).
  size_t before = 0, beforeLargest = 0, largest = 0;
  for (size_t words : segmentWords) {
    if (words > largest) {
      largest = words;
      beforeLargest = before;
    }
    before += words;
  }
  bool wholePages = largest * sizeof(word) % BufferPool::PAGE == 0;
  size_t wanted = wholePages ? 0 : BufferPool::PAGE - sizeof(word);
  return (wanted - beforeLargest * sizeof(word)) % BufferPool::PAGE;
}

}  // namespace

ReceivedMessage::ReceivedMessage(capnp::ReaderOptions options, Buffer bodyParam, const word* start,
                                 kj::ArrayPtr<const uint32_t> segmentWords)
    : capnp::MessageReader(options),
      body(kj::mv(bodyParam)),
      first(start, segmentWords[0]),
      total(first.size()) {
  if (segmentWords.size() == 1) return;
  more = kj::heapArray<kj::ArrayPtr<const word>>(segmentWords.size() - 1);
  for (size_t i = 0; i < more.size(); ++i) {
    more[i] = kj::arrayPtr(start + total, segmentWords[i + 1]);
    total += segmentWords[i + 1];
  }
}

kj::ArrayPtr<const word> ReceivedMessage::getSegment(unsigned id) {
  if (id == 0) return first;
  return id <= more.size() ? more[id - 1] : nullptr;
}

MessageStream::MessageStream(kj::AsyncIoStream& stream, BufferPool& pool, kj::Maybe<kj::Timer&> timer)
    : stream(stream), pool(pool), timer(timer), input(pool.take(READ_BUFFER_BYTES)) {}

MessageStream::~MessageStream() noexcept(false) {
  abort(KJ_EXCEPTION(DISCONNECTED, "the connection was closed on this side"));
}

capnp::ReaderOptions MessageStream::defaultOptions() {
  // The traversal limit counts each look at a payload again; a handler may look at 17 MiB thirty times.
  return {.traversalLimitInWords = 64 << 20, .nestingLimit = 64};
}

// -- receiving

size_t MessageStream::headerBytesWanted() const {
  if (buffered() < sizeof(word)) return sizeof(word);
  uint32_t last;
  memcpy(&last, input.begin() + begin_, sizeof(last));
  KJ_REQUIRE(last < MESSAGE_SEGMENTS_MAX,
             "refused a message with too many segments: the peer is damaged or does not speak Cap'n Proto",
             last);
  return headerBytesFor(size_t(last) + 1);
}

kj::Maybe<MessageStream::Frame> MessageStream::parseHeader() {
  size_t wanted = headerBytesWanted();
  if (buffered() < wanted) return nullptr;
  auto table = reinterpret_cast<const uint32_t*>(input.begin() + begin_);
  auto sizes = kj::arrayPtr(table + 1, size_t(table[0]) + 1);
  uint64_t words = 0;
  for (auto size : sizes) words += size;
  KJ_REQUIRE(words <= MESSAGE_SIZE_MAX / sizeof(word),
             "refused a message over the size limit: the peer is damaged or does not speak Cap'n Proto",
             words * sizeof(word), MESSAGE_SIZE_MAX);
  return Frame{sizes, wanted, size_t(words) * sizeof(word)};
}

kj::Own<ReceivedMessage> MessageStream::place(const Frame& frame, capnp::ReaderOptions options,
                                              kj::byte*& body) {
  // Takes the header from the buffer and finds room for the body, which the caller fills in.
  bool large = frame.bodyBytes >= BufferPool::LARGE;
  auto block = pool.take(frame.bodyBytes + (large ? BufferPool::PAGE : 0));
  body = block.begin() + (large ? leadFor(frame.segmentWords) : 0);
  auto message = kj::heap<ReceivedMessage>(options, kj::mv(block), reinterpret_cast<const word*>(body),
                                           frame.segmentWords);
  begin_ += frame.headerBytes;
  return message;
}

kj::Promise<kj::Maybe<kj::Own<ReceivedMessage>>> MessageStream::receive(capnp::ReaderOptions options) {
  KJ_IF_MAYBE (reason, failure) return kj::cp(*reason);
  if (truncated) return endedInside();
  try {
    KJ_IF_MAYBE (frame, parseHeader()) {
      if (frame->headerBytes + frame->bodyBytes <= buffered()) {
        kj::byte* body;
        size_t size = frame->bodyBytes;
        auto message = place(*frame, options, body);
        memcpy(body, input.begin() + begin_, size);
        begin_ += size;
        return kj::Maybe<kj::Own<ReceivedMessage>>(kj::mv(message));
      }
    }
  } catch (const kj::Exception& exception) {
    return kj::cp(exception);  // what is buffered stays: every later call says the same
  }
  return reading.wrap<kj::Maybe<kj::Own<ReceivedMessage>>>(receiveSlowly(options));
}

Async<kj::Maybe<kj::Own<ReceivedMessage>>> MessageStream::receiveSlowly(capnp::ReaderOptions options) {
  for (;;) {
    size_t wanted = headerBytesWanted();
    KJ_IF_MAYBE (frame, parseHeader()) {
      size_t size = frame->bodyBytes;
      size_t here = kj::min(buffered() - frame->headerBytes, size);
      wanted = frame->headerBytes + size;
      if (here == size || wanted > READ_BUFFER_BYTES || size - here >= READ_BUFFER_BYTES / 2) {
        kj::byte* body;
        auto message = place(*frame, options, body);
        memcpy(body, input.begin() + begin_, here);
        begin_ += here;
        if (here < size) {
          auto got = co_await stream.tryRead(body + here, size - here, size - here);
          if (got < size - here) kj::throwFatalException(endedInside());
        }
        co_return kj::mv(message);
      }
    }
    co_await fill(wanted);
    if (buffered() == 0) co_return nullptr;
    if (buffered() < wanted) kj::throwFatalException(endedInside());
  }
}

kj::Exception MessageStream::endedInside() {
  truncated = true;
  return KJ_EXCEPTION(DISCONNECTED, "the connection ended inside a message");
}

kj::Promise<void> MessageStream::fill(size_t wanted) {
  // Reads until `wanted` bytes are buffered, or the end of the stream.
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ + wanted > READ_BUFFER_BYTES) {
    memmove(input.begin(), input.begin() + begin_, buffered());
    end_ -= begin_;
    begin_ = 0;
  }
  return stream.tryRead(input.begin() + end_, wanted - buffered(), READ_BUFFER_BYTES - end_)
      .then([this](size_t got) { end_ += got; });
}

// -- sending

void MessageStream::send(kj::ArrayPtr<const kj::ArrayPtr<const word>> segments, kj::Own<MessageHold> hold,
                         Urgency urgency) {
  ++sent;
  if (failure != nullptr) {
    settle();
    return;
  }
  size_t words = 0;
  for (auto& segment : segments) words += segment.size();
  KJ_REQUIRE(segments.size() > 0 && segments.size() <= MESSAGE_SEGMENTS_MAX &&
                 words * sizeof(word) <= MESSAGE_SIZE_MAX,
             "this message is too large to send: no peer would accept it", words * sizeof(word),
             segments.size());

  auto& message = queue.emplace_back();
  message.segments = segments;
  message.hold = kj::mv(hold);
  message.headerBytes = headerBytesFor(segments.size());
  message.bytes = message.headerBytes + words * sizeof(word);
  auto header = message.shortHeader;
  if (message.headerBytes > sizeof(message.shortHeader)) {
    message.longHeader = kj::heapArray<uint32_t>(message.headerBytes / sizeof(uint32_t));
    header = message.longHeader.begin();
  }
  header[0] = segments.size() - 1;
  for (size_t i = 0; i < segments.size(); ++i) header[i + 1] = segments[i].size();
  if (segments.size() % 2 == 0) header[segments.size() + 1] = 0;

  bytesQueued += message.bytes;
  KJ_IF_MAYBE (clock, timer) {
    if (urgency == Urgency::WITH_THE_NEXT && queue.size() < LINGERING_MAX) {
      if (lingering) return;
      lingering = true;
      linger = clock->afterDelay(LINGER)
                   .then([this]() {
                     lingering = false;
                     write();
                   })
                   .eagerlyEvaluate(nullptr);
      return;
    }
  }
  write();
}

void MessageStream::write() {
  if (writing || queue.empty()) return;
  writing = true;
  writer = writeQueue();
}

void MessageStream::gather(Outgoing& message) {
  auto header = message.longHeader == nullptr ? message.shortHeader : message.longHeader.begin();
  pieces.add(reinterpret_cast<const kj::byte*>(header), message.headerBytes);
  for (auto& segment : message.segments) {
    if (segment.size() > 0) pieces.add(segment.asBytes());
  }
}

Async<void> MessageStream::writeQueue() {
  co_await kj::evalLast([]() {});  // whatever else this turn of the loop has to say goes out with it
  while (!queue.empty()) {
    inFlight.swap(queue);
    for (auto& message : inFlight) gather(message);
    auto write = stream.write(pieces.asPtr())
                     .then([]() -> kj::Maybe<kj::Exception> { return nullptr; },
                           [](kj::Exception&& e) -> kj::Maybe<kj::Exception> { return kj::mv(e); });
    auto failed = co_await write;
    writeLoopOnStack = true;
    KJ_DEFER(writeLoopOnStack = false);
    pieces.clear();
    KJ_IF_MAYBE (exception, failed) {
      // The reader is told: calls that wait for answers must not wait on a connection that is half dead.
      abort(kj::mv(*exception));
    } else {
      for (auto& message : inFlight) bytesQueued -= message.bytes;
      settled += inFlight.size();
      settle();
      finished.swap(inFlight);  // destroying a message may call back into send() or abort()
      finished.clear();
    }
  }
  writing = false;
}

void MessageStream::dropQueue() {
  // Destroying a message may release capabilities, which may send: those find `failure` set and are dropped.
  auto drop = kj::mv(queue);
  queue.clear();
  if (!writeLoopOnStack) {
    writer = nullptr;
    writing = false;
    pieces.clear();
  }
  auto dropInFlight = kj::mv(inFlight);
  inFlight.clear();
  bytesQueued = 0;
}

void MessageStream::settle() {
  if (failure != nullptr) settled = sent;
  while (!waiters.empty() && waiters.front().sequence <= settled) {
    auto fulfiller = kj::mv(waiters.front().fulfiller);
    waiters.pop_front();
    fulfiller->fulfill();
  }
}

kj::Promise<void> MessageStream::written() {
  if (settled >= sent) return kj::READY_NOW;
  write();
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiters.push_back({sent, kj::mv(paf.fulfiller)});
  return kj::mv(paf.promise);
}

void MessageStream::abort(kj::Exception&& reason) {
  if (failure == nullptr) failure = kj::cp(reason);
  dropQueue();
  settle();
  reading.cancel(reason);
}

// -- capnp::MessageStream

kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> MessageStream::tryReadMessage(
    kj::ArrayPtr<kj::AutoCloseFd>, capnp::ReaderOptions options, kj::ArrayPtr<word>) {
  return receive(options).then(
      [](kj::Maybe<kj::Own<ReceivedMessage>>&& message) -> kj::Maybe<capnp::MessageReaderAndFds> {
        KJ_IF_MAYBE (received, message) return capnp::MessageReaderAndFds{kj::mv(*received), nullptr};
        return nullptr;
      });
}

kj::Promise<void> MessageStream::writeMessage(kj::ArrayPtr<const int>,
                                              kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
  send(segments, {});
  return written().then([this]() -> kj::Promise<void> {
    KJ_IF_MAYBE (reason, failure) return kj::cp(*reason);
    return kj::READY_NOW;
  });
}

kj::Promise<void> MessageStream::writeMessages(
    kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const word>>> messages) {
  kj::Promise<void> last = kj::READY_NOW;
  for (auto& message : messages) last = writeMessage(nullptr, message);
  return last;
}

kj::Maybe<int> MessageStream::getSendBufferSize() {
  KJ_IF_MAYBE (fd, stream.getFd()) {
    int size = 0;
    socklen_t length = sizeof(size);
    if (getsockopt(*fd, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0) return size;
  }
  return nullptr;
}

kj::Promise<void> MessageStream::end() {
  return written().then([this]() { stream.shutdownWrite(); });
}

}  // namespace cairn
