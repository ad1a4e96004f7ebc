// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Messages over a byte stream, in Cap'n Proto's standard framing, with few syscalls and copies. Reads go
// through a buffer, so that small messages share a read; the body of a large one is read straight into a
// pooled block in which the largest segment's payload starts on a page. All messages sent during one turn of
// the loop leave in one writev, from where they are. A message that can wait (the end of a call that has its
// answer) leaves with the next one, so that it does not wake the other side for itself. INVARIANT: messages
// leave in the order they were sent, and the memory of a message is not read after its hold was dropped. Used
// by rpc_network.h; a capnp::MessageStream for others.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize-async.h>
#include <kj/async-io.h>
#include <kj/timer.h>

#include <deque>
#include <vector>

#include "rpc/buffer_pool.h"
#include "rpc/coroutine.h"

namespace cairn {

constexpr size_t MESSAGE_SIZE_MAX = 17 << 20;   // bytes: the largest record (16 MiB) and what goes around it
constexpr uint32_t MESSAGE_SEGMENTS_MAX = 512;  // as Cap'n Proto's own reader

class ReceivedMessage final : public capnp::MessageReader {
  // A message in a pooled block, which goes back when the message does.
 public:
  ReceivedMessage(capnp::ReaderOptions options, Buffer body, const capnp::word* start,
                  kj::ArrayPtr<const uint32_t> segmentWords);
  ~ReceivedMessage() noexcept(false) {}
  kj::ArrayPtr<const capnp::word> getSegment(unsigned id) override;
  size_t bytes() const { return total * sizeof(capnp::word); }

 private:
  Buffer body;
  kj::ArrayPtr<const capnp::word> first;
  kj::Array<kj::ArrayPtr<const capnp::word>> more;
  size_t total;
};

class MessageHold {
  // What keeps the segments of a message to send alive. Destroyed once they are written or never will be.
 public:
  virtual ~MessageHold() noexcept(false) {}
};

class MessageStream final : public capnp::MessageStream {
 public:
  MessageStream(kj::AsyncIoStream& stream, BufferPool& pool, kj::Maybe<kj::Timer&> timer = nullptr);
  // Without a timer no message waits for the next.
  ~MessageStream() noexcept(false);
  KJ_DISALLOW_COPY(MessageStream);

  static capnp::ReaderOptions defaultOptions();

  kj::Promise<kj::Maybe<kj::Own<ReceivedMessage>>> receive(capnp::ReaderOptions options = defaultOptions());
  // The next message; null when the peer ended the stream between messages. One at a time. An oversized or
  // malformed message breaks the stream: this and all later calls throw.

  enum class Urgency { NOW, WITH_THE_NEXT };
  void send(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments, kj::Own<MessageHold> hold,
            Urgency urgency = Urgency::NOW);
  // Queues a message, to be written at the end of this turn of the loop; or with the next message, at the
  // latest after LINGER. Never blocks, never fails: after a failed write or abort() the message is dropped.

  kj::Promise<void> written();
  // Resolves once all that has been sent so far is written, or never will be.

  void abort(kj::Exception&& reason);
  // Drops what is queued and writes no more; receive() throws the reason.

  size_t queuedBytes() const { return bytesQueued; }
  size_t queuedMessages() const { return queue.size() + inFlight.size(); }

  // capnp::MessageStream. File descriptors are not carried.
  using capnp::MessageStream::tryReadMessage;
  using capnp::MessageStream::writeMessage;
  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
      kj::ArrayPtr<kj::AutoCloseFd> fdSpace, capnp::ReaderOptions options,
      kj::ArrayPtr<capnp::word> scratchSpace) override;
  kj::Promise<void> writeMessage(kj::ArrayPtr<const int> fds,
                                 kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override;
  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override;
  kj::Maybe<int> getSendBufferSize() override;
  kj::Promise<void> end() override;

 private:
  static constexpr kj::Duration LINGER = 2 * kj::MILLISECONDS;
  static constexpr size_t LINGERING_MAX = 64;  // messages
  static constexpr size_t READ_BUFFER_BYTES = 32 << 10;
  static constexpr size_t INLINE_HEADER = 6;  // table of up to 5 segments

  struct Outgoing {
    kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments;
    kj::Own<MessageHold> hold;
    size_t bytes, headerBytes;
    uint32_t shortHeader[INLINE_HEADER];
    kj::Array<uint32_t> longHeader;  // instead, when there are more segments
  };
  struct Frame {
    kj::ArrayPtr<const uint32_t> segmentWords;  // in the read buffer
    size_t headerBytes, bodyBytes;
  };
  struct Waiter {
    uint64_t sequence;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };

  size_t buffered() const { return end_ - begin_; }
  size_t headerBytesWanted() const;  // to know the header's size, or, once known, that
  kj::Maybe<Frame> parseHeader();    // null: not all of it is buffered
  kj::Own<ReceivedMessage> place(const Frame& frame, capnp::ReaderOptions options, kj::byte*& body);
  Async<kj::Maybe<kj::Own<ReceivedMessage>>> receiveSlowly(capnp::ReaderOptions options);
  kj::Promise<void> fill(size_t wanted);
  kj::Exception endedInside();

  void write();
  Async<void> writeQueue();
  void gather(Outgoing& message);
  void dropQueue();
  void settle();

  kj::AsyncIoStream& stream;
  BufferPool& pool;
  kj::Maybe<kj::Timer&> timer;
  kj::Maybe<kj::Exception> failure;

  Buffer input;
  size_t begin_ = 0, end_ = 0;  // of what is buffered and not yet consumed
  bool truncated = false;

  std::vector<Outgoing> queue, inFlight, finished;
  kj::Vector<kj::ArrayPtr<const kj::byte>> pieces;
  size_t bytesQueued = 0;
  uint64_t sent = 0, settled = 0;  // counts of messages; settled: written, or dropped for ever
  std::deque<Waiter> waiters;
  bool writing = false;
  bool lingering = false;  // a timer runs; what it finds unwritten it writes
  bool writeLoopOnStack = false;
  kj::Canceler reading;
  kj::Promise<void> writer = nullptr;
  kj::Promise<void> linger = nullptr;
};

}  // namespace cairn
