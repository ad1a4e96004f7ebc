// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A daemon as seen from another process: connects on first use, says hello, and connects again after a loss.
// Calls have deadlines and are never cancelled on the wire: when the caller goes away, the call and the
// buffers it sends from live on in the connection until it is answered or the connection is gone.
// INVARIANT: calls go out in the order in which call() was called; none goes out before hello was accepted
// and onConnect has run on that connection. Used by client, chunkd and metaserver; one loop, no locks.
#pragma once

#include <capnp/capability.h>
#include <kj/async-io.h>
#include <kj/function.h>
#include <kj/timer.h>

#include "env/log.h"
#include "rpc/result.h"
#include "rpc/retry.h"
#include "rpc/units.h"

namespace kj {
class EntropySource;  // kj/compat/http.h
}

namespace cairn {

class BufferPool;
using ConnectionGeneration =
    Strong<struct ConnectionGenerationTag, uint64_t>;  // of one Peer, from 1; 0 is none

struct PeerAddress {
  kj::String network, local, host;  // as rpc::Address
  static PeerAddress from(rpc::Address::Reader address);
  PeerAddress clone() const;
};

struct PeerEnvironment {
  // What all peers of a process share. It outlives them.
  kj::Timer& timer;
  kj::Network& network;
  BufferPool& pool;
  kj::EntropySource& entropy;
  ClusterId& cluster;       // all zero: not yet known, taken from the first hello; then enforced
  kj::StringPtr caller;     // who we are, for the other side's logs
  kj::StringPtr host = "";  // identity of our machine; a peer with the same is reached by its `local` address
  RetryPolicy retry = {};   // pauses between attempts to connect
  kj::Duration connectDeadline = 2 * kj::SECONDS;     // of connecting, and of hello
  kj::Duration onConnectDeadline = 10 * kj::SECONDS;  // of the hook
  uint32_t missedDeadlinesMax = 2;  // in a row, with no answer between: then the connection is dropped
  env::Logger log = env::Logger::silent();
};

enum class WhenDown { WAIT, FAIL };
// What a call does while there is no connection. WAIT: until its deadline. FAIL: DISCONNECTED at once while
// the last attempt failed and the pause after it lasts, else it waits for the attempt under way. For a caller
// that has another replica.

struct CallOptions {
  kj::StringPtr method;   // for messages; a literal
  kj::Duration deadline;  // from the call on
  WhenDown whenDown = WhenDown::WAIT;
};

struct Refusal {
  // The daemon answered hello with no: another protocol version or another cluster. Calls fail at once with
  // `message`, a sentence for the user; a new attempt is made at most every ten seconds.
  Status status;
  kj::String message;
};

class PeerCore {
  // Everything about a peer that does not depend on its interface. Use Peer<Service>. Not to be destroyed
  // from within a call that came in over its own connection (a callback), nor from its hooks.
 public:
  class Call : public kj::Refcounted {
    // From call() until answered, or until the connection is gone.
   public:
    virtual ~Call() noexcept(false) {}
    virtual bool wanted() = 0;
    virtual kj::Promise<kj::Maybe<kj::Exception>> send(capnp::Capability::Client& service) = 0;
    // Sends; resolves once answered, to what went wrong if anything did.
    virtual void fail(kj::Exception&& exception) = 0;
  };

  using OnConnect = kj::Function<kj::Promise<void>(capnp::Capability::Client, ConnectionGeneration)>;
  using OnDisconnect = kj::Function<void(ConnectionGeneration, const kj::Exception&)>;

  PeerCore(const PeerEnvironment& environment, kj::StringPtr name, PeerAddress address);
  ~PeerCore() noexcept(false);
  KJ_DISALLOW_COPY(PeerCore);

  kj::StringPtr name() const;
  const PeerAddress& address() const;
  void setAddress(PeerAddress address);  // for the next attempt; the present connection stays

  void onConnectUntyped(OnConnect hook);
  void onDisconnect(OnDisconnect hook);  // after a connection that had become usable is gone

  kj::Promise<void> connect();
  // Resolves once the peer is usable, and tries until it is; fails only when refused. call() does it by
  // itself.

  void disconnect(kj::Exception&& reason);
  // Drops the connection, if there is one: its calls fail with the reason, the next call connects again.

  ConnectionGeneration generation() const;  // of the usable connection; none while there is none
  Epoch epoch() const;                      // the daemon's, from the last hello
  kj::Maybe<const Refusal&> refusal() const;

  kj::Maybe<kj::TimePoint> suspectSince() const;
  // Since when there is reason to prefer another replica: a deadline passed, the connection was lost or could
  // not be made, and nothing has been heard since.

  uint64_t queuedBytes() const;  // written by us and not yet taken by the kernel, for backpressure
  uint32_t callsInFlight() const;

  void submit(kj::Own<Call> call, const CallOptions& options);

 private:
  class Body;
  kj::Own<Body> body;
};

template <typename Results>
class PeerCall;

template <typename Service>
class Peer : public PeerCore {
  // A peer that serves `Service`, for example Peer<rpc::Metaserver>.
 public:
  using Client = typename Service::Client;
  using PeerCore::PeerCore;

  template <typename Send, typename... Payload>
  auto call(CallOptions options, Send&& send, Payload&&... payload)
      -> kj::Promise<typename PeerCall<decltype(send(kj::instance<Client&>()))>::Response>;
  // `send` makes the request and returns request.send(). It is called at once when the peer is connected,
  // else later while the returned promise is alive (so it may capture the caller's locals by reference), or
  // never. `payload`: what the request refers to as external data; it is kept until the call is answered and
  // the bytes are written, or the connection is gone. Fails with OVERLOADED when the deadline passes after
  // the request was sent (it may have been carried out), with DISCONNECTED when the connection was lost (it
  // may have been) or never came about (it has not), else with what the server threw.

  void onConnect(kj::Function<kj::Promise<void>(Client, ConnectionGeneration)> hook) {
    // Runs on each new connection before any call is let through, to register or to attach a session. It uses
    // the client it is given, not call(). When it fails the connection is dropped and tried again later.
    onConnectUntyped(
        [hook = kj::mv(hook)](capnp::Capability::Client service, ConnectionGeneration generation) mutable {
          return hook(service.castAs<Service>(), generation);
        });
  }
};

// --------------------------------------------------------------------------------------------------------------

template <typename Results>
class PeerCall<capnp::RemotePromise<Results>> {
 public:
  using Response = capnp::Response<Results>;

  template <typename Service, typename Send, typename Payload>
  class Typed final : public PeerCore::Call {
   public:
    Typed(kj::Own<kj::PromiseFulfiller<Response>> fulfiller, Send send, Payload payload)
        : fulfiller(kj::mv(fulfiller)), sender(kj::mv(send)), payload(kj::mv(payload)) {}
    bool wanted() override { return fulfiller->isWaiting(); }
    kj::Promise<kj::Maybe<kj::Exception>> send(capnp::Capability::Client& service) override {
      using Failure = kj::Maybe<kj::Exception>;
      auto client = service.castAs<Service>();
      return sender(client).then(
          [this](Response&& response) -> Failure {
            fulfiller->fulfill(kj::mv(response));
            return nullptr;
          },
          [](kj::Exception&& exception) -> Failure { return kj::mv(exception); });
    }
    void fail(kj::Exception&& exception) override { fulfiller->reject(kj::mv(exception)); }

   private:
    kj::Own<kj::PromiseFulfiller<Response>> fulfiller;
    Send sender;
    Payload payload;  // destroyed with the call
  };
};

template <typename Service>
template <typename Send, typename... Payload>
auto Peer<Service>::call(CallOptions options, Send&& send, Payload&&... payload)
    -> kj::Promise<typename PeerCall<decltype(send(kj::instance<Client&>()))>::Response> {
  using Typing = PeerCall<decltype(send(kj::instance<Client&>()))>;
  auto paf = kj::newPromiseAndFulfiller<typename Typing::Response>();
  auto kept = kj::tuple(kj::mv(payload)...);
  using Typed = typename Typing::template Typed<Service, kj::Decay<Send>, decltype(kept)>;
  submit(kj::refcounted<Typed>(kj::mv(paf.fulfiller), kj::fwd<Send>(send), kj::mv(kept)), options);
  return kj::mv(paf.promise);
}

}  // namespace cairn
