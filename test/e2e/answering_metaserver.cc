// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See answering_metaserver.h. Each connection has one of its own to the real metaserver, and a membrane
// between the two, which sees every call, whichever capability it is made on. All of it runs in one thread.
#include "test/e2e/answering_metaserver.h"

#include <capnp/compat/json.h>
#include <capnp/dynamic.h>
#include <capnp/membrane.h>
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "rpc/common.capnp.h"

namespace cairn::e2e {

namespace {

using Context = capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>;

using Answer = AnsweringMetaserver::Answer;

class Answers {
  // Shared between the thread of the test and that of the connections.
 public:
  void set(const Answer& answer) {
    std::lock_guard lock(mutex);
    auto method = answer.interface.getMethodByName(answer.method.c_str());
    answers.insert_or_assign(Key{answer.interface.getProto().getId(), method.getOrdinal()},
                             Known{answer, connections});
  }
  void clear() {
    std::lock_guard lock(mutex);
    answers.clear();
  }
  uint64_t newConnection() {
    std::lock_guard lock(mutex);
    return connections++;
  }
  std::optional<Answer> take(uint64_t interface, uint16_t method, uint64_t connection) {
    std::lock_guard lock(mutex);
    auto found = answers.find({interface, method});
    if (found == answers.end()) return {};
    auto& [answer, since] = found->second;
    if (connection < since || answer.times == 0) return {};
    --answer.times;
    return answer;
  }

 private:
  using Key = std::pair<uint64_t, uint16_t>;
  struct Known {
    Answer answer;
    uint64_t since;  // number of the first connection that it is for
  };
  std::mutex mutex;
  std::map<Key, Known> answers;
  uint64_t connections = 0;
};

class Answering final : public capnp::Capability::Server {
  // In the place of whatever was called: for one call with its answer, or for all of an object that is not.
 public:
  Answering(Answers& answers, uint64_t connection, std::optional<Answer> answer = {})
      : answers(answers), connection(connection), known(std::move(answer)) {}

  DispatchCallResult dispatchCall(uint64_t interface, uint16_t method, Context context) override {
    auto answer = known ? known : answers.take(interface, method, connection);
    if (!answer) return {KJ_EXCEPTION(UNIMPLEMENTED, "the test has no answer to this"), false};
    return {respond(*answer, context), false};
  }

 private:
  Answers& answers;
  const uint64_t connection;
  const std::optional<Answer> known;

  kj::Promise<void> respond(const Answer& answer, Context& context) {
    if (answer.json == "breaks") return KJ_EXCEPTION(FAILED, "a bug, says the test");
    auto method = answer.interface.getMethodByName(answer.method.c_str());
    auto results = context.getResults().initAs<capnp::DynamicStruct>(method.getResultType());
    capnp::JsonCodec().decode(kj::arrayPtr(answer.json.data(), answer.json.size()), results);
    if (!answer.object.empty()) {
      auto field = results.getSchema().getFieldByName(answer.object.c_str());
      capnp::Capability::Client object = kj::heap<Answering>(answers, connection);
      results.set(field, object.castAs<capnp::DynamicCapability>(field.getType().asInterface()));
    }
    return kj::READY_NOW;
  }
};

class Policy final : public capnp::MembranePolicy, public kj::Refcounted {
 public:
  Policy(Answers& answers, uint64_t connection) : answers(answers), connection(connection) {}

  kj::Maybe<capnp::Capability::Client> inboundCall(uint64_t interface, uint16_t method,
                                                   capnp::Capability::Client) override {
    auto answer = answers.take(interface, method, connection);
    if (!answer) return nullptr;
    return capnp::Capability::Client(kj::heap<Answering>(answers, connection, std::move(answer)));
  }
  kj::Maybe<capnp::Capability::Client> outboundCall(uint64_t, uint16_t, capnp::Capability::Client) override {
    return nullptr;
  }
  kj::Own<capnp::MembranePolicy> addRef() override { return kj::addRef(*this); }
  bool shouldResolveBeforeRedirecting() override {
    return false;
  }  // calls are made before hello has answered

 private:
  Answers& answers;
  const uint64_t connection;
};

class Listening final : private kj::TaskSet::ErrorHandler {
 public:
  Listening(kj::AsyncIoContext& io, Answers& answers, const std::string& metaserver)
      : answers(answers),
        real(io.provider->getNetwork().parseAddress(metaserver.c_str()).wait(io.waitScope)),
        receiver(io.provider->getNetwork().parseAddress("127.0.0.1:0").wait(io.waitScope)->listen()),
        tasks(*this) {
    tasks.add(acceptAll());
  }
  unsigned port() { return receiver->getPort(); }

 private:
  struct Connection {
    // Two that end with each other.
    Connection(Answers& answers, kj::Own<kj::AsyncIoStream> ours, kj::Own<kj::AsyncIoStream> theirs)
        : theirs(kj::mv(theirs)),
          client(*this->theirs),
          ours(kj::mv(ours)),
          network(*this->ours, capnp::rpc::twoparty::Side::SERVER),
          server(capnp::makeRpcServer(
              network, capnp::membrane(client.bootstrap(),
                                       kj::refcounted<Policy>(answers, answers.newConnection())))) {}
    kj::Promise<void> ended() { return network.onDisconnect().exclusiveJoin(client.onDisconnect()); }

    kj::Own<kj::AsyncIoStream> theirs;
    capnp::TwoPartyClient client;
    kj::Own<kj::AsyncIoStream> ours;
    capnp::TwoPartyVatNetwork network;
    capnp::RpcSystem<capnp::rpc::twoparty::VatId> server;
  };

  Answers& answers;
  kj::Own<kj::NetworkAddress> real;
  kj::Own<kj::ConnectionReceiver> receiver;
  kj::TaskSet tasks;

  kj::Promise<void> acceptAll() {
    return receiver->accept().then([this](kj::Own<kj::AsyncIoStream> ours) {
      tasks.add(real->connect().then([this, ours = kj::mv(ours)](kj::Own<kj::AsyncIoStream> theirs) mutable {
        auto connection = kj::heap<Connection>(answers, kj::mv(ours), kj::mv(theirs));
        auto ended = connection->ended();
        return ended.attach(kj::mv(connection));
      }));
      return acceptAll();
    });
  }
  void taskFailed(kj::Exception&&) override {}  // a connection, as when the real metaserver is down
};

}  // namespace

struct AnsweringMetaserver::Body {
  Answers answers;
  std::string address;
  const kj::Executor* executor = nullptr;  // of the thread, while it waits to be stopped
  kj::PromiseFulfiller<void>* stop = nullptr;
  std::thread thread;

  void run(const std::string& metaserver, std::promise<void>& serving) {
    auto io = kj::setupAsyncIo();
    Listening listening(io, answers, metaserver);
    auto paf = kj::newPromiseAndFulfiller<void>();
    address = "127.0.0.1:" + std::to_string(listening.port());
    executor = &kj::getCurrentThreadExecutor();
    stop = paf.fulfiller.get();
    serving.set_value();
    paf.promise.wait(io.waitScope);
  }
};

AnsweringMetaserver::AnsweringMetaserver(const std::string& metaserver) : body(std::make_unique<Body>()) {
  std::promise<void> serving;
  body->thread = std::thread([&, body = body.get()]() { body->run(metaserver, serving); });
  serving.get_future().wait();
}

AnsweringMetaserver::~AnsweringMetaserver() {
  body->executor->executeSync([this]() { body->stop->fulfill(); });
  body->thread.join();
}

std::string AnsweringMetaserver::address() const {
  return body->address;
}

void AnsweringMetaserver::passAll() {
  body->answers.clear();
}

void AnsweringMetaserver::answer(const Answer& answer) {
  body->answers.set(answer);
}

}  // namespace cairn::e2e
