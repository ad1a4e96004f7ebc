// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Accepting connections and answering hello: see acceptor.h.
#include "rpc/acceptor.h"

#include <kj/debug.h>

#include "rpc/common.capnp.h"
#include "rpc/connection.h"
#include "rpc/coroutine.h"
#include "rpc/result.h"

namespace cairn {

namespace {

constexpr kj::Duration ACCEPT_PAUSE =
    100 * kj::MILLISECONDS;  // after accept() failed, as it does without free fds

}  // namespace

class Acceptor::Body final : public kj::TaskSet::ErrorHandler {
 public:
  Body(const AcceptorOptions& options, ServiceFactory factory)
      : options(options),
        factory(kj::mv(factory)),
        connections(*this),
        listening(kj::heap<kj::TaskSet>(*this)) {}

  Async<uint16_t> listen(kj::StringPtr text) {
    auto address = co_await options.network.parseAddress(text);
    auto receiver = address->listen();
    auto port = receiver->getPort();
    listening->add(acceptLoop(kj::mv(receiver)));
    co_return uint16_t(port);
  }

  void accept(kj::Own<kj::AsyncIoStream> stream);
  void stop() { listening = kj::heap<kj::TaskSet>(*this); }
  size_t connectionCount() const { return count; }

 private:
  class Served;
  class Gate;

  Async<void> acceptLoop(kj::Own<kj::ConnectionReceiver> receiver) {
    using Accepted = kj::Maybe<kj::Own<kj::AsyncIoStream>>;
    for (;;) {
      auto accepted = co_await receiver->accept().then(
          [](kj::Own<kj::AsyncIoStream>&& stream) -> Accepted { return kj::mv(stream); },
          [this](kj::Exception&& exception) -> Accepted {
            options.log.warning("accepting a connection failed: ", exception.getDescription(),
                                " -> try again in ", ACCEPT_PAUSE / kj::MILLISECONDS, " ms");
            return nullptr;
          });
      KJ_IF_MAYBE (stream, accepted) {
        accept(kj::mv(*stream));
      } else {
        co_await options.timer.afterDelay(ACCEPT_PAUSE);
      }
    }
  }

  Async<void> serve(kj::Own<Served> connection);
  void taskFailed(kj::Exception&& exception) override {
    options.log.warning("a connection failed: ", exception.getDescription(), " -> closed");
  }

  AcceptorOptions options;
  ServiceFactory factory;
  uint64_t lastId = 0;
  size_t count = 0;
  kj::TaskSet connections;
  kj::Own<kj::TaskSet> listening;
};

class Acceptor::Body::Gate final : public rpc::Gate::Server {
  // The bootstrap object of one connection.
 public:
  Gate(Body& body, Served& connection) : body(body), connection(connection) {}

 protected:
  kj::Promise<void> hello(HelloContext context) override;

 private:
  Body& body;
  Served& connection;  // owns the RpcSystem that owns us
};

class Acceptor::Body::Served {
 public:
  Served(Body& body, uint64_t id, kj::Own<kj::AsyncIoStream> stream)
      : id(id),
        body(body),
        connection(kj::mv(stream), body.options.pool, body.options.timer, kj::heap<Gate>(body, *this)) {
    ++body.count;
  }
  ~Served() noexcept(false) { --body.count; }

  kj::Promise<void> gone() { return connection.network.onDisconnect(); }

  capnp::Capability::Client serviceFor(kj::StringPtr caller) {
    KJ_IF_MAYBE (present, service) return *present;
    return service.emplace(body.factory({id, kj::str(caller), gone()}));
  }

  const uint64_t id;
  bool greeted = false;

 private:
  Body& body;
  kj::Maybe<capnp::Capability::Client> service;
  Connection connection;
};

kj::Promise<void> Acceptor::Body::Gate::hello(HelloContext context) {
  auto request = context.getParams();
  auto answer = context.getResults();
  auto& options = body.options;
  ClusterId theirs{request.getCluster().getHigh(), request.getCluster().getLow()};
  answer.setProtocol(rpc::PROTOCOL_VERSION);
  auto refuse = [&](Status status, kj::String message) {
    answer.setStatus(status);
    answer.setMessage(message);
  };

  if (request.getProtocol() != rpc::PROTOCOL_VERSION) {
    refuse(Status::WRONG_PROTOCOL,
           kj::str("this ", request.getCaller(), " speaks protocol ", request.getProtocol(), ", the ",
                   options.name, " speaks ", rpc::PROTOCOL_VERSION, ": install the same release on both"));
  } else if (!options.cluster) {
    refuse(Status::NOT_READY,
           kj::str("the ", options.name, " does not belong to a cluster yet: it joins when it ",
                   "first reaches its metaserver"));
  } else if (theirs && theirs != options.cluster) {
    refuse(Status::WRONG_CLUSTER,
           kj::str("this ", request.getCaller(), " belongs to cluster ", theirs, ", the ", options.name,
                   " to ", options.cluster, ": check the address, and the directory each was started on"));
  } else {
    connection.greeted = true;
    answer.setStatus(Status::OK);
    answer.getCluster().setHigh(options.cluster.high);
    answer.getCluster().setLow(options.cluster.low);
    answer.setEpoch(options.epoch.value());
    answer.setService(connection.serviceFor(request.getCaller()));
    return kj::READY_NOW;
  }
  options.log.warning(answer.getMessage(), " -> refused");
  return kj::READY_NOW;
}

void Acceptor::Body::accept(kj::Own<kj::AsyncIoStream> stream) {
  connections.add(serve(kj::heap<Served>(*this, ++lastId, kj::mv(stream))));
}

Async<void> Acceptor::Body::serve(kj::Own<Served> connection) {
  bool gone =
      co_await connection->gone()
          .then([]() { return true; })
          .exclusiveJoin(options.timer.afterDelay(options.helloDeadline).then([]() { return false; }));
  if (!gone && connection->greeted) co_await connection->gone();
}

Acceptor::Acceptor(const AcceptorOptions& options, ServiceFactory factory)
    : body(kj::heap<Body>(options, kj::mv(factory))) {}
Acceptor::~Acceptor() noexcept(false) {}
kj::Promise<uint16_t> Acceptor::listen(kj::StringPtr address) {
  return body->listen(address);
}
void Acceptor::accept(kj::Own<kj::AsyncIoStream> connection) {
  body->accept(kj::mv(connection));
}
void Acceptor::stop() {
  body->stop();
}
size_t Acceptor::connectionCount() const {
  return body->connectionCount();
}

}  // namespace cairn
