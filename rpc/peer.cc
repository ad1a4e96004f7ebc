// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The life of a peer: down -> attempt (dial, hello, onConnect) -> link -> lost -> pause -> attempt ...
// A flight is one call on its way: it waits for a link, or it is sent on one and stays there until answered.
#include "rpc/peer.h"

#include <kj/compat/http.h>
#include <kj/debug.h>

#include <deque>
#include <map>

#include "env/saying.h"
#include "rpc/common.capnp.h"
#include "rpc/connection.h"
#include "rpc/coroutine.h"
#include "rpc/deadline.h"

namespace cairn {

namespace {

constexpr kj::Duration REFUSAL_PAUSE =
    10 * kj::SECONDS;  // an upgrade of the other side heals without a restart here
constexpr kj::Duration FOR_EVER = 100 * 365 * kj::DAYS;  // of connect(): no deadline

kj::Promise<kj::Maybe<kj::Exception>> settled(kj::Promise<void> promise) {
  // For where a coroutine has more to do after a failure: C++ has no co_await in a catch block.
  return promise.then(
      []() -> kj::Maybe<kj::Exception> { return nullptr; },
      [](kj::Exception&& exception) -> kj::Maybe<kj::Exception> { return kj::mv(exception); });
}

}  // namespace

PeerAddress PeerAddress::from(rpc::Address::Reader address) {
  return {kj::str(address.getNetwork()), kj::str(address.getLocal()), kj::str(address.getHost())};
}

PeerAddress PeerAddress::clone() const {
  return {kj::str(network), kj::str(local), kj::str(host)};
}

class PeerCore::Body final : private kj::TaskSet::ErrorHandler {
 public:
  Body(const PeerEnvironment& environment, kj::StringPtr name, PeerAddress address)
      : environment(environment), name(kj::str(name)), address(kj::mv(address)), tasks(*this) {}
  ~Body() noexcept(false) {
    auto reason = KJ_EXCEPTION(DISCONNECTED, kj::str(name, ": we are shutting down"));
    failWaiting(reason, true);
    drop(kj::mv(reason), Report::NO);
  }

  void submit(kj::Own<Call> call, const CallOptions& options);
  kj::Promise<void> connect();
  void disconnect(kj::Exception&& reason) { drop(kj::mv(reason), Report::YES); }
  uint64_t queuedBytes() const;
  uint32_t callsInFlight() const;

  const PeerEnvironment environment;
  const kj::String name;
  PeerAddress address;
  kj::Maybe<OnConnect> connectHook;
  kj::Maybe<OnDisconnect> disconnectHook;
  ConnectionGeneration usable;  // generation of `link`, or none
  Epoch epoch;
  kj::Maybe<Refusal> refusal;
  kj::Maybe<kj::TimePoint> suspect;

 private:
  struct Link;
  struct Flight;
  class ConnectCall;
  enum class Report { YES, NO };

  kj::TimePoint now() const { return environment.timer.now(); }
  void send(kj::Own<Flight> flight);
  Async<void> fly(Link& on, kj::Own<Flight> flight);

  bool somebodyWaits();
  void startConnecting();
  Async<void> connectLoop();
  Async<void> attempt();
  Async<kj::Own<kj::AsyncIoStream>> dial();
  Async<void> greet(Link& fresh);
  void attemptFailed(kj::Exception&& exception);
  void failWaiting(const kj::Exception& exception, bool evenTheOnesWhoWait);
  kj::Exception refused();

  void drop(kj::Exception&& reason, Report report);
  void watchDeadlines();
  void deadlinesPassed();
  void heard() { suspect = nullptr; }
  void suspectNow() {
    if (suspect == nullptr) suspect = now();
  }

  void taskFailed(kj::Exception&& exception) override {
    environment.log.error(name, ": ", exception, " -> a bug; this peer may hang until its next deadline");
  }

  std::deque<kj::Own<Flight>> waiting;                              // in the order of submit()
  std::map<std::pair<kj::TimePoint, uint64_t>, Flight*> deadlines;  // of all flights that still have one
  uint64_t flights = 0;               // numbers them: of those that are due at one time the first goes first
  kj::Maybe<kj::TimePoint> watching;  // when deadlinesPassed() is due
  kj::Maybe<kj::Own<Link>> link;
  ConnectionGeneration lastGeneration;

  bool connecting = false, attempting = false;
  uint32_t failures = 0;  // attempts in a row
  kj::TimePoint nextAttempt = kj::origin<kj::TimePoint>();
  kj::Maybe<kj::Exception> lastFailure;

  kj::TaskSet tasks;  // last: its tasks use the rest
};

struct PeerCore::Body::Link {
  Link(Body& body, ConnectionGeneration generation, kj::Own<kj::AsyncIoStream> stream)
      : generation(generation),
        connection(kj::mv(stream), body.environment.pool, body.environment.timer),
        tasks(body) {}

  const ConnectionGeneration generation;
  Connection connection;
  capnp::Capability::Client service = nullptr;
  uint32_t missedDeadlines = 0;  // since the last answer
  uint32_t inFlight = 0;
  kj::Maybe<kj::Exception> dropReason;
  kj::TaskSet tasks;  // flights; destroyed before the connection
};

struct PeerCore::Body::Flight {
  Flight(Body& body, kj::Own<Call> call, const CallOptions& options)
      : body(body),
        call(kj::mv(call)),
        method(options.method),
        limit(options.deadline),
        whenDown(options.whenDown),
        deadline(body.now() + options.deadline),
        number(++body.flights) {
    if (limit < FOR_EVER) body.deadlines.emplace(std::make_pair(deadline, number), this);
  }
  ~Flight() noexcept(false) {
    landed();
    if (on == nullptr) return;
    --on->inFlight;
    KJ_IF_MAYBE (reason, on->dropReason) call->fail(kj::cp(*reason));  // no effect when it was answered
  }
  void landed() { body.deadlines.erase({deadline, number}); }

  Body& body;
  kj::Own<Call> call;
  const kj::StringPtr method;
  const kj::Duration limit;
  const WhenDown whenDown;
  const kj::TimePoint deadline;
  const uint64_t number;
  Link* on = nullptr;
};

// -- calls

void PeerCore::Body::submit(kj::Own<Call> call, const CallOptions& options) {
  auto flight = kj::heap<Flight>(*this, kj::mv(call), options);
  if (link != nullptr && waiting.empty()) {
    watchDeadlines();
    return send(kj::mv(flight));
  }
  bool pausing = link == nullptr && !attempting && now() < nextAttempt;
  if (refusal != nullptr && pausing) return flight->call->fail(refused());
  if (options.whenDown == WhenDown::FAIL && pausing) {
    auto reason = lastFailure == nullptr ? kj::str("connection lost")
                                         : kj::str(KJ_ASSERT_NONNULL(lastFailure).getDescription());
    return flight->call->fail(KJ_EXCEPTION(DISCONNECTED, kj::str(name, " is not reachable: ", reason)));
  }
  waiting.push_back(kj::mv(flight));
  watchDeadlines();
  startConnecting();
}

void PeerCore::Body::send(kj::Own<Flight> flight) {
  auto& on = *KJ_ASSERT_NONNULL(link);
  on.tasks.add(fly(on, kj::mv(flight)));
}

Async<void> PeerCore::Body::fly(Link& on, kj::Own<Flight> flight) {
  // Runs up to the first co_await at once: the request leaves in the order of submit(). `on` owns this frame.
  flight->on = &on;
  ++on.inFlight;
  kj::Promise<kj::Maybe<kj::Exception>> sent = nullptr;
  try {
    sent = flight->call->send(on.service);
  } catch (const kj::Exception& exception) {
    sent = kj::Maybe<kj::Exception>(kj::cp(exception));
  }
  auto failed = co_await sent;
  flight->landed();
  flight->on = nullptr;
  --on.inFlight;
  bool lost = false;
  KJ_IF_MAYBE (exception, failed) {
    lost = exception->getType() == kj::Exception::Type::DISCONNECTED;
    flight->call->fail(kj::mv(*exception));
  }
  if (!lost) {
    on.missedDeadlines = 0;
    heard();
  }
  // An answer to a request that is not yet written would be a peer's lie, but the payload must not be freed
  // under the write for it; after a loss the queue has been dropped.
  auto& messages = on.connection.network.messages();
  if (messages.queuedMessages() > 0) co_await messages.written();
}

class PeerCore::Body::ConnectCall final : public Call {
 public:
  explicit ConnectCall(kj::Own<kj::PromiseFulfiller<void>> fulfiller) : fulfiller(kj::mv(fulfiller)) {}
  bool wanted() override { return fulfiller->isWaiting(); }
  kj::Promise<kj::Maybe<kj::Exception>> send(capnp::Capability::Client&) override {
    fulfiller->fulfill();
    return kj::Maybe<kj::Exception>(nullptr);
  }
  void fail(kj::Exception&& exception) override { fulfiller->reject(kj::mv(exception)); }

 private:
  kj::Own<kj::PromiseFulfiller<void>> fulfiller;
};

kj::Promise<void> PeerCore::Body::connect() {
  if (link != nullptr) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  submit(kj::refcounted<ConnectCall>(kj::mv(paf.fulfiller)), {"connect", FOR_EVER, WhenDown::WAIT});
  return kj::mv(paf.promise);
}

uint64_t PeerCore::Body::queuedBytes() const {
  KJ_IF_MAYBE (present, link) return (*present)->connection.network.messages().queuedBytes();
  return 0;
}

uint32_t PeerCore::Body::callsInFlight() const {
  KJ_IF_MAYBE (present, link) return (*present)->inFlight;
  return 0;
}

// -- deadlines

void PeerCore::Body::watchDeadlines() {
  // One timer for the earliest deadline. Those of answered calls are gone from the set when it fires.
  if (deadlines.empty()) return;
  auto first = deadlines.begin()->first.first;
  KJ_IF_MAYBE (due, watching) {
    if (*due <= first) return;
  }
  watching = first;
  // After a pause of our own process (stopped, swapped, suspended) answers may be waiting in the socket: they
  // are read before anyone is told that there was none.
  auto due = environment.timer.atTime(first).then([]() { return kj::evalLast([]() {}); });
  tasks.add(due.then([this, first]() {
    KJ_IF_MAYBE (next, watching) {
      if (*next == first) deadlinesPassed();
    }
  }));
}

void PeerCore::Body::deadlinesPassed() {
  watching = nullptr;
  auto time = now();
  while (!deadlines.empty() && deadlines.begin()->first.first <= time) {
    auto& flight = *deadlines.begin()->second;
    deadlines.erase(deadlines.begin());
    if (flight.on == nullptr) {  // it stays in `waiting`, where nobody wants it any more
      auto why = lastFailure == nullptr ? kj::str("still connecting")
                                        : kj::str(KJ_ASSERT_NONNULL(lastFailure).getDescription());
      flight.call->fail(
          KJ_EXCEPTION(DISCONNECTED, kj::str(name, ": ", flight.method, ": not connected within ",
                                             flight.limit / kj::MILLISECONDS, " ms: ", why)));
      continue;
    }
    suspectNow();
    if (flight.on->dropReason == nullptr) ++flight.on->missedDeadlines;
    flight.call->fail(deadlinePassed(kj::str(name, ": ", flight.method), flight.limit));
  }
  watchDeadlines();
  KJ_IF_MAYBE (present, link) {
    auto missed = (*present)->missedDeadlines;
    if (missed >= environment.missedDeadlinesMax) {
      environment.log.warning(name, ": ", missed,
                              " deadlines passed without an answer between -> drop the connection");
      drop(KJ_EXCEPTION(DISCONNECTED, kj::str(name, " stopped answering")), Report::YES);
    }
  }
}

// -- connecting

bool PeerCore::Body::somebodyWaits() {
  while (!waiting.empty() && !waiting.front()->call->wanted()) waiting.pop_front();
  return !waiting.empty();
}

void PeerCore::Body::startConnecting() {
  if (connecting || link != nullptr) return;
  connecting = true;
  tasks.add(connectLoop());
}

Async<void> PeerCore::Body::connectLoop() {
  // Runs while somebody waits: a peer nobody calls is left alone.
  while (link == nullptr && somebodyWaits()) {
    if (now() < nextAttempt) {
      co_await environment.timer.atTime(nextAttempt);
      continue;
    }
    attempting = true;
    auto failed = co_await settled(attempt());
    attempting = false;
    KJ_IF_MAYBE (exception, failed) attemptFailed(kj::mv(*exception));
  }
  connecting = false;
  while (link != nullptr && somebodyWaits()) {
    auto flight = kj::mv(waiting.front());
    waiting.pop_front();
    send(kj::mv(flight));
  }
}

Async<void> PeerCore::Body::attempt() {
  auto& timer = environment.timer;
  refusal = nullptr;
  auto stream = co_await withDeadline<kj::Own<kj::AsyncIoStream>>(
      timer, dial(), environment.connectDeadline, kj::str(name, ": connecting to ", address.network));
  lastGeneration = lastGeneration.next();
  auto fresh = kj::heap<Link>(*this, lastGeneration, kj::mv(stream));
  co_await withDeadline<void>(timer, greet(*fresh), environment.connectDeadline, kj::str(name, ": hello"));
  KJ_IF_MAYBE (hook, connectHook) {
    co_await withDeadline(timer, (*hook)(fresh->service, fresh->generation), environment.onConnectDeadline,
                          kj::str(name, ": registering on a new connection"));
  }

  environment.log.info(name, ": connected to ", address.network, ", epoch ", epoch, " -> usable");
  failures = 0;
  lastFailure = nullptr;
  heard();
  usable = fresh->generation;
  tasks.add(fresh->connection.network.onDisconnect().then([this, generation = usable]() {
    if (usable != generation) return;
    environment.log.info(name, ": the connection is gone -> connect again when needed");
    drop(KJ_EXCEPTION(DISCONNECTED, kj::str(name, ": connection lost")), Report::YES);
  }));
  link = kj::mv(fresh);
}

Async<kj::Own<kj::AsyncIoStream>> PeerCore::Body::dial() {
  using Dialled = kj::Maybe<kj::Own<kj::AsyncIoStream>>;
  if (address.local != "" && address.host == environment.host) {
    auto local = kj::str(address.local);
    auto stream = co_await environment.network.parseAddress(local)
                      .then([](kj::Own<kj::NetworkAddress>&& parsed) {
                        auto promise = parsed->connect();
                        return promise.attach(kj::mv(parsed));
                      })
                      .then([](kj::Own<kj::AsyncIoStream>&& stream) -> Dialled { return kj::mv(stream); },
                            [](kj::Exception&&) -> Dialled { return nullptr; });  // another network namespace
    KJ_IF_MAYBE (present, stream) co_return kj::mv(*present);
  }
  auto network = kj::str(address.network);
  auto parsed = co_await environment.network.parseAddress(network);
  co_return co_await parsed->connect();
}

Async<void> PeerCore::Body::greet(Link& fresh) {
  auto gate = fresh.connection.bootstrap().castAs<rpc::Gate>();
  auto request = gate.helloRequest();
  request.setProtocol(rpc::PROTOCOL_VERSION);
  request.getCluster().setHigh(environment.cluster.high);
  request.getCluster().setLow(environment.cluster.low);
  request.setCaller(environment.caller);
  auto answer = co_await request.send();

  ClusterId theirs{answer.getCluster().getHigh(), answer.getCluster().getLow()};
  auto status = answer.getStatus();
  auto message = kj::str(answer.getMessage());
  if (status == Status::OK && environment.cluster && theirs != environment.cluster) {
    // Another peer told us the cluster since we sent hello, or the daemon does not check.
    status = Status::WRONG_CLUSTER;
    message = kj::str("this ", environment.caller, " belongs to cluster ", environment.cluster, ", ", name,
                      " to ", theirs, ": check the address, and the directory each was started on");
  }
  if (status == Status::WRONG_PROTOCOL || status == Status::WRONG_CLUSTER) {
    refusal = Refusal{status, kj::mv(message)};
    kj::throwFatalException(refused());
  }
  if (status != Status::OK) {
    kj::throwFatalException(env::saying(kj::Exception::Type::DISCONNECTED, kj::mv(message)));
  }
  if (!environment.cluster) environment.cluster = theirs;
  epoch = Epoch(answer.getEpoch());
  fresh.service = answer.getService();
}

kj::Exception PeerCore::Body::refused() {
  return KJ_EXCEPTION(FAILED, kj::str(name, " refused us: ", KJ_ASSERT_NONNULL(refusal).message));
}

void PeerCore::Body::attemptFailed(kj::Exception&& exception) {
  suspectNow();
  ++failures;
  uint32_t random;
  environment.entropy.generate(kj::arrayPtr(reinterpret_cast<kj::byte*>(&random), sizeof(random)));
  auto pause = refusal != nullptr ? REFUSAL_PAUSE : environment.retry.delay(failures, random);
  nextAttempt = now() + pause;
  if (failures == 1 || refusal != nullptr) {
    environment.log.warning(name, ": ", exception.getDescription(), " -> next attempt in ",
                            pause / kj::MILLISECONDS, " ms");
  }
  bool final = refusal != nullptr;
  failWaiting(
      final ? kj::cp(exception)
            : KJ_EXCEPTION(DISCONNECTED, kj::str(name, " is not reachable: ", exception.getDescription())),
      final);
  lastFailure = kj::mv(exception);
}

void PeerCore::Body::failWaiting(const kj::Exception& exception, bool evenTheOnesWhoWait) {
  std::deque<kj::Own<Flight>> stay;
  for (auto& flight : waiting) {
    if (evenTheOnesWhoWait || flight->whenDown == WhenDown::FAIL) {
      flight->call->fail(kj::cp(exception));
    } else {
      stay.push_back(kj::mv(flight));
    }
  }
  waiting = kj::mv(stay);
}

void PeerCore::Body::drop(kj::Exception&& reason, Report report) {
  KJ_IF_MAYBE (present, link) {
    auto dying = kj::mv(*present);
    link = nullptr;
    auto generation = usable;
    usable = ConnectionGeneration();
    dying->dropReason = kj::cp(reason);
    dying->connection.network.messages().abort(kj::cp(reason));  // reads no payload from here on
    if (report == Report::NO) return;
    suspectNow();
    nextAttempt = now() + environment.retry.first;
    lastFailure = kj::cp(reason);
    // Not destroyed here: we may have been called from one of its own callbacks.
    tasks.add(kj::evalLater([dying = kj::mv(dying)]() mutable { dying = nullptr; }));
    KJ_IF_MAYBE (hook, disconnectHook) (*hook)(generation, reason);
    if (somebodyWaits()) startConnecting();
  }
}

// --------------------------------------------------------------------------------------------------------------

PeerCore::PeerCore(const PeerEnvironment& environment, kj::StringPtr name, PeerAddress address)
    : body(kj::heap<Body>(environment, name, kj::mv(address))) {}
PeerCore::~PeerCore() noexcept(false) {}
kj::StringPtr PeerCore::name() const {
  return body->name;
}
const PeerAddress& PeerCore::address() const {
  return body->address;
}
void PeerCore::setAddress(PeerAddress address) {
  body->address = kj::mv(address);
}
void PeerCore::onConnectUntyped(OnConnect hook) {
  body->connectHook = kj::mv(hook);
}
void PeerCore::onDisconnect(OnDisconnect hook) {
  body->disconnectHook = kj::mv(hook);
}
kj::Promise<void> PeerCore::connect() {
  return body->connect();
}
void PeerCore::disconnect(kj::Exception&& reason) {
  body->disconnect(kj::mv(reason));
}
ConnectionGeneration PeerCore::generation() const {
  return body->usable;
}
Epoch PeerCore::epoch() const {
  return body->epoch;
}
kj::Maybe<const Refusal&> PeerCore::refusal() const {
  return body->refusal;
}
kj::Maybe<kj::TimePoint> PeerCore::suspectSince() const {
  return body->suspect;
}
uint64_t PeerCore::queuedBytes() const {
  return body->queuedBytes();
}
uint32_t PeerCore::callsInFlight() const {
  return body->callsInFlight();
}
void PeerCore::submit(kj::Own<Call> call, const CallOptions& options) {
  body->submit(kj::mv(call), options);
}

}  // namespace cairn
