// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Two parties on a MessageStream, for capnp::RpcSystem. In place of capnp::TwoPartyVatNetwork, which in 0.9
// allocates and zeroes each message, writes each by itself and chains a promise per write.
// INVARIANT: outlives the RpcSystem on it; messages in either direction may outlive it, but not the pool.
#pragma once

#include <capnp/rpc-twoparty.h>

#include "rpc/message_stream.h"

namespace cairn {

class VatNetwork final : public capnp::TwoPartyVatNetworkBase,
                         private capnp::TwoPartyVatNetworkBase::Connection {
 public:
  VatNetwork(kj::AsyncIoStream& stream, BufferPool& pool, kj::Timer& timer, capnp::rpc::twoparty::Side side);
  ~VatNetwork() noexcept(false);

  kj::Promise<void> onDisconnect() { return disconnected.addBranch(); }  // the RpcSystem has let go

  MessageStream& messages() { return stream; }
  const MessageStream& messages() const { return stream; }

  // VatNetwork, called by RpcSystem
  kj::Maybe<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>> connect(
      capnp::rpc::twoparty::VatId::Reader peer) override;
  kj::Promise<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>> accept() override;

 private:
  class Outgoing;
  class Incoming;
  class Released final : public kj::Disposer {
    // Of the references to `this` as a connection: the last one dropped means disconnected.
   public:
    void disposeImpl(void* pointer) const override;
    mutable kj::Own<kj::PromiseFulfiller<void>> fulfiller;
    mutable uint32_t references = 0;
  };

  kj::Own<capnp::TwoPartyVatNetworkBase::Connection> reference();

  kj::Own<capnp::RpcFlowController> newStream() override;
  capnp::rpc::twoparty::VatId::Reader getPeerVatId() override;
  kj::Own<capnp::OutgoingRpcMessage> newOutgoingMessage(unsigned firstSegmentWords) override;
  kj::Promise<kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>> receiveIncomingMessage() override;
  kj::Promise<void> shutdown() override;
  kj::Promise<kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>> receiveNow();

  MessageStream stream;
  BufferPool& pool;
  const capnp::rpc::twoparty::Side side;
  capnp::MallocMessageBuilder peerId;
  bool accepted = false;
  kj::Own<kj::PromiseFulfiller<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>>> secondAccept;
  Released released;
  kj::ForkedPromise<void> disconnected = nullptr;
};

}  // namespace cairn
