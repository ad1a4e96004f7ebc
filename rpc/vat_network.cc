// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The glue between RpcSystem and MessageStream: see vat_network.h.
#include "rpc/vat_network.h"

#include <capnp/rpc.capnp.h>
#include <kj/debug.h>

#include "rpc/message_builder.h"

namespace cairn {

using capnp::rpc::twoparty::Side;
using capnp::rpc::twoparty::VatId;
using Base = capnp::TwoPartyVatNetworkBase;

namespace {
constexpr size_t STREAM_WINDOW = 4 << 20;  // bytes of streaming calls in flight
constexpr size_t ANSWERS_QUEUED_MAX = 32
                                      << 20;  // bytes; beyond, a server takes no more calls from that caller
}  // namespace

class VatNetwork::Outgoing final : public capnp::OutgoingRpcMessage,
                                   public MessageHold,
                                   public kj::Refcounted {
 public:
  Outgoing(VatNetwork& network, size_t firstSegmentWords)
      : network(network), message(network.pool, firstSegmentWords) {}

  capnp::AnyPointer::Builder getBody() override { return message.getRoot<capnp::AnyPointer>(); }
  void send() override {
    // Finish and Release only let the other side forget something: not worth waking it.
    auto kind = message.getRoot<capnp::rpc::Message>().which();
    bool tidies = kind == capnp::rpc::Message::FINISH || kind == capnp::rpc::Message::RELEASE;
    network.stream.send(message.getSegmentsForOutput(), kj::addRef(*this),
                        tidies ? MessageStream::Urgency::WITH_THE_NEXT : MessageStream::Urgency::NOW);
  }
  size_t sizeInWords() override { return message.sizeInWords(); }

 private:
  VatNetwork& network;  // only for send(), which is not called once the connection is gone
  PooledMessageBuilder message;
};

class VatNetwork::Incoming final : public capnp::IncomingRpcMessage {
 public:
  explicit Incoming(kj::Own<ReceivedMessage> message) : message(kj::mv(message)) {}
  capnp::AnyPointer::Reader getBody() override { return message->getRoot<capnp::AnyPointer>(); }
  size_t sizeInWords() override { return message->sizeInWords(); }

 private:
  kj::Own<ReceivedMessage> message;
};

VatNetwork::VatNetwork(kj::AsyncIoStream& stream, BufferPool& pool, kj::Timer& timer, Side side)
    : stream(stream, pool, timer), pool(pool), side(side), peerId(4) {
  peerId.initRoot<VatId>().setSide(side == Side::CLIENT ? Side::SERVER : Side::CLIENT);
  auto paf = kj::newPromiseAndFulfiller<void>();
  disconnected = paf.promise.fork();
  released.fulfiller = kj::mv(paf.fulfiller);
}

VatNetwork::~VatNetwork() noexcept(false) {}

void VatNetwork::Released::disposeImpl(void*) const {
  if (--references == 0) fulfiller->fulfill();
}

kj::Own<Base::Connection> VatNetwork::reference() {
  ++released.references;
  return kj::Own<Base::Connection>(this, released);
}

kj::Maybe<kj::Own<Base::Connection>> VatNetwork::connect(VatId::Reader peer) {
  if (peer.getSide() == side) return nullptr;
  return reference();
}

kj::Promise<kj::Own<Base::Connection>> VatNetwork::accept() {
  if (side == Side::SERVER && !accepted) {
    accepted = true;
    return reference();
  }
  auto paf = kj::newPromiseAndFulfiller<kj::Own<Base::Connection>>();  // there is no second connection
  secondAccept = kj::mv(paf.fulfiller);
  return kj::mv(paf.promise);
}

kj::Own<capnp::RpcFlowController> VatNetwork::newStream() {
  return capnp::RpcFlowController::newFixedWindowController(STREAM_WINDOW);
}

VatId::Reader VatNetwork::getPeerVatId() {
  return peerId.getRoot<VatId>();
}

kj::Own<capnp::OutgoingRpcMessage> VatNetwork::newOutgoingMessage(unsigned firstSegmentWords) {
  return kj::refcounted<Outgoing>(*this, firstSegmentWords);
}

kj::Promise<kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>> VatNetwork::receiveIncomingMessage() {
  // A caller that asks and does not listen (it may be stopped) must not fill our memory with answers. Only
  // the server holds back: were both sides to, neither would read and neither could write.
  if (side == Side::SERVER && stream.queuedBytes() > ANSWERS_QUEUED_MAX) {
    return stream.written().then([this]() { return receiveNow(); });
  }
  return receiveNow();
}

kj::Promise<kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>> VatNetwork::receiveNow() {
  using Result = kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>;
  return stream.receive().then(
      [this](kj::Maybe<kj::Own<ReceivedMessage>>&& message) -> Result {
        KJ_IF_MAYBE (received, message) {
          return kj::Own<capnp::IncomingRpcMessage>(kj::heap<Incoming>(kj::mv(*received)));
        }
        // Nobody reads at the other end any more: what is still queued is not worth the memory it holds.
        stream.abort(KJ_EXCEPTION(DISCONNECTED, "the peer closed the connection"));
        return nullptr;
      },
      [this](kj::Exception&& exception) -> Result {
        // After a malformed message the peer is still told why (RpcSystem sends Abort).
        if (exception.getType() == kj::Exception::Type::DISCONNECTED) stream.abort(kj::cp(exception));
        kj::throwFatalException(kj::mv(exception));
      });
}

kj::Promise<void> VatNetwork::shutdown() {
  return stream.end();
}

}  // namespace cairn
