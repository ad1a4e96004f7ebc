// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See sim_network.h. A connection is two channels; a channel is what flies (sent, not arrived), what has
// arrived and is not yet read, and a pump that turns the one into the other as time passes.
#include "test/sim/sim_network.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "rpc/coroutine.h"

namespace cairn::sim {

namespace {

constexpr size_t WINDOW = 4 << 20;        // socket buffers of both ends: a writer further ahead waits
constexpr size_t PACKET_MAX = 256 << 10;  // what arrives at one moment

kj::Exception gone(kj::StringPtr from, kj::StringPtr to, kj::StringPtr why) {
  return KJ_EXCEPTION(DISCONNECTED, why, from, to);
}

class Signal {
  // Wakes the one who waits, if any.
 public:
  kj::Promise<void> wait() {
    auto paf = kj::newPromiseAndFulfiller<void>();
    fulfiller = kj::mv(paf.fulfiller);
    return kj::mv(paf.promise);
  }
  void raise() {
    if (fulfiller.get() == nullptr) return;
    auto one = kj::mv(fulfiller);
    one->fulfill();
  }

 private:
  kj::Own<kj::PromiseFulfiller<void>> fulfiller;
};

}  // namespace

class SimNetwork::Channel {
  // One direction of a connection.
 public:
  Channel(SimNetwork& network, std::string from, std::string to)
      : network(network), from(kj::mv(from)), to(kj::mv(to)) {
    auto paf = kj::newPromiseAndFulfiller<void>();
    deafFulfiller = kj::mv(paf.fulfiller);
    deaf = paf.promise.fork();
  }

  // Set once, by the connection.
  kj::Function<void()> onGone = []() {
  };  // word arrived that the sender has closed: it reads nothing any more
  kj::Function<void()> onVanished = []() {};  // something was sent to a machine that has lost this connection

  void start() { pumping = pump().eagerlyEvaluate(nullptr); }

  void send(kj::Array<kj::byte> bytes) {
    if (broken != nullptr) return;
    if (vanished) return onVanished();
    outstanding += bytes.size();
    auto delay = network.drawLatency(from, to, bytes.size());
    fly({Kind::DATA, network.timer.now(), kj::mv(bytes), 0}, delay);
  }
  void sendEnd() {
    if (ended || broken != nullptr || vanished) return;
    ended = true;
    fly({Kind::END, network.timer.now(), nullptr, 0}, network.drawLatency(from, to, 0));
  }
  void sendGone() {
    sendEnd();
    if (broken == nullptr && !vanished)
      fly({Kind::GONE, network.timer.now(), nullptr, 0}, 0 * kj::NANOSECONDS);
  }

  bool full() const { return outstanding > WINDOW; }
  bool hasEnded() const { return ended; }
  bool silent() const {
    return flying.empty() || broken != nullptr || vanished;
  }  // nothing of it will arrive any more
  void requireWritable() const {
    KJ_IF_MAYBE (exception, broken) kj::throwFatalException(kj::cp(*exception));
  }

  size_t take(kj::ArrayPtr<kj::byte> into) {
    size_t done = 0;
    while (done < into.size() && !arrived.empty()) {
      auto& packet = arrived.front();
      auto part = kj::min(into.size() - done, packet.bytes.size() - packet.taken);
      std::memcpy(into.begin() + done, packet.bytes.begin() + packet.taken, part);
      packet.taken += part;
      done += part;
      outstanding -= part;
      if (packet.taken == packet.bytes.size()) arrived.pop_front();
    }
    if (done > 0) writable.raise();
    return done;
  }
  bool atEnd() const { return endArrived && arrived.empty(); }

  void destroy(kj::Exception why) {
    // Torn down: both ends learn it now.
    if (broken != nullptr) return;
    broken = kj::mv(why);
    flying.clear();
    deafFulfiller->fulfill();
    readable.raise();
    writable.raise();
  }
  void vanish() {
    // One end's machine has lost power: nothing arrives any more, nobody learns it yet.
    vanished = true;
    flying.clear();
  }
  bool hasVanished() const { return vanished; }
  bool spoken() const { return outstanding > 0; }

  Signal readable, writable;
  kj::ForkedPromise<void> deaf = nullptr;  // writing is pointless from now on
  const std::string& receiver() const { return to; }

 private:
  enum class Kind { DATA, END, GONE };
  struct Packet {
    Kind kind;
    kj::TimePoint arrival;
    kj::Array<kj::byte> bytes;
    size_t taken;
  };

  SimNetwork& network;
  std::string from, to;
  std::deque<Packet> flying, arrived;
  size_t outstanding = 0;  // bytes in both
  kj::TimePoint lastArrival = kj::origin<kj::TimePoint>();
  bool ended = false, endArrived = false, vanished = false;
  kj::Maybe<kj::Exception> broken;
  kj::Own<kj::PromiseFulfiller<void>> deafFulfiller;
  Signal work;
  kj::Promise<void> pumping = nullptr;  // last: goes first

  void fly(Packet packet, kj::Duration delay) {
    lastArrival = kj::max(lastArrival, network.timer.now() + delay);  // nothing overtakes
    packet.arrival = lastArrival;
    flying.push_back(kj::mv(packet));
    work.raise();
  }

  Async<void> pump() {
    for (;;) {
      if (flying.empty()) {
        co_await work.wait();
        continue;
      }
      if (flying.front().arrival > network.timer.now()) {
        co_await network.timer.atTime(flying.front().arrival);
        continue;
      }
      if (!network.passable(from, to)) {
        co_await network.untilPassable(from, to);
        co_await network.timer.afterDelay(network.drawLatency(from, to, 0));  // the retransmission
        continue;
      }
      auto packet = kj::mv(flying.front());
      flying.pop_front();
      deliver(kj::mv(packet));
    }
  }

  void deliver(Packet packet) {
    switch (packet.kind) {
      case Kind::DATA:
        arrived.push_back(kj::mv(packet));
        break;
      case Kind::END:
        endArrived = true;
        break;
      case Kind::GONE:
        onGone();
        break;
    }
    readable.raise();
  }
};

class SimNetwork::Connection {
  // Lives until both ends are closed and nothing is on its way any more.
 public:
  Connection(SimNetwork& network, std::string client, std::string server)
      : network(network),
        client(client),
        server(server),
        forth(network, client, server),
        back(network, server, client) {
    forth.onGone = [this]() {
      back.destroy(gone(this->server.c_str(), this->client.c_str(), "broken pipe"));
    };
    back.onGone = [this]() {
      forth.destroy(gone(this->client.c_str(), this->server.c_str(), "broken pipe"));
    };
    forth.onVanished = [this]() { spokeTo(this->server); };
    back.onVanished = [this]() { spokeTo(this->client); };
    forth.start();
    back.start();
  }

  SimNetwork& network;
  const std::string client, server;
  Channel forth, back;
  uint32_t endsOpen = 2;

  bool between(const std::string& a, const std::string& b) const {
    return (client == a && server == b) || (client == b && server == a);
  }
  bool touches(const std::string& host) const { return client == host || server == host; }
  bool finished() const { return endsOpen == 0 && forth.silent() && back.silent(); }

  void reset() {
    auto why = gone(client.c_str(), server.c_str(), "connection reset by peer");
    forth.destroy(kj::cp(why));
    back.destroy(kj::mv(why));
  }
  void vanish() {
    forth.vanish();
    back.vanish();
  }
  void powerOn(const std::string& host) {
    // What a peer had sent is sent again, and the machine that knows nothing of it answers with a reset.
    if (!forth.hasVanished()) return;
    if ((host == server && forth.spoken()) || (host == client && back.spoken())) spokeTo(host);
  }

 private:
  kj::Promise<void> answer = nullptr;

  void spokeTo(const std::string& host) {
    if (network.dark.count(host) != 0) return;
    auto& peer = host == client ? server : client;
    answer = network.timer.afterDelay(network.drawLatency(host, peer, 0))
                 .then([this]() { reset(); })
                 .eagerlyEvaluate(nullptr);
  }
};

class SimNetwork::Stream final : public kj::AsyncIoStream {
 public:
  Stream(SimNetwork& network, Connection& connection, Channel& in, Channel& out, std::string self)
      : network(network), connection(connection), in(in), out(out), self(kj::mv(self)) {}
  ~Stream() noexcept(false) {
    out.sendGone();
    --connection.endsOpen;
  }

  kj::Promise<size_t> tryRead(void* buffer, size_t minBytes, size_t maxBytes) override {
    return receive(kj::arrayPtr(static_cast<kj::byte*>(buffer), maxBytes), minBytes);
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    auto piece = kj::arrayPtr(static_cast<const kj::byte*>(buffer), size);
    return write(kj::arrayPtr(&piece, 1));
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    return send(pieces);
  }

  kj::Promise<void> whenWriteDisconnected() override { return out.deaf.addBranch(); }
  void shutdownWrite() override { out.sendEnd(); }
  void abortRead() override {}

  void getsockopt(int, int, void* value, kj::uint* length) override { std::memset(value, 0, *length); }
  void setsockopt(int, int, const void*, kj::uint) override {}  // TCP_NODELAY and the like: no delay here
  void getsockname(struct sockaddr*, kj::uint* length) override { *length = 0; }
  void getpeername(struct sockaddr*, kj::uint* length) override { *length = 0; }

 private:
  Async<size_t> receive(kj::ArrayPtr<kj::byte> into, size_t minBytes) {
    size_t done = 0;
    for (;;) {
      if (network.stopped.count(self) != 0) co_await network.untilRunning(self);
      done += in.take(into.slice(done, into.size()));
      if (done >= minBytes || in.atEnd()) co_return done;
      in.requireWritable();  // not torn down
      co_await in.readable.wait();
    }
  }

  Async<void> send(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) {
    out.requireWritable();
    KJ_REQUIRE(!out.hasEnded(), "write after shutdownWrite");
    size_t left = 0;
    for (auto piece : pieces) left += piece.size();
    auto from = pieces.begin();
    size_t taken = 0;  // of *from
    while (left > 0) {
      auto most = kj::min(left, PACKET_MAX);
      auto packet = kj::heapArray<kj::byte>(
          network.entropy.percent(10) ? size_t(network.entropy.between(1, most)) : most);
      for (size_t filled = 0; filled < packet.size();) {
        auto part = kj::min(packet.size() - filled, from->size() - taken);
        if (part > 0) std::memcpy(packet.begin() + filled, from->begin() + taken, part);
        filled += part;
        taken += part;
        if (taken < from->size()) continue;
        ++from;
        taken = 0;
      }
      left -= packet.size();
      out.send(kj::mv(packet));
    }
    while (out.full()) {
      co_await out.writable.wait();
      out.requireWritable();
    }
  }

  SimNetwork& network;
  Connection& connection;
  Channel& in;
  Channel& out;
  std::string self;
};

class SimNetwork::Receiver final : public kj::ConnectionReceiver {
 public:
  Receiver(SimNetwork& network, Link key) : network(network), key(kj::mv(key)) {
    KJ_REQUIRE(network.listeners.count(this->key) == 0, "bind: address already in use",
               this->key.first.c_str(), this->key.second.c_str());
    network.listeners[this->key] = this;
  }
  ~Receiver() noexcept(false) { network.listeners.erase(key); }

  void arrived(kj::Own<kj::AsyncIoStream> stream) {
    waiting.push_back(kj::mv(stream));
    signal.raise();
  }

  kj::Promise<kj::Own<kj::AsyncIoStream>> accept() override { return nextArrived(); }

  kj::uint getPort() override {
    return key.second.find_first_not_of("0123456789") == std::string::npos ? kj::uint(std::stoul(key.second))
                                                                           : 0;
  }
  void getsockopt(int, int, void* value, kj::uint* length) override { std::memset(value, 0, *length); }
  void setsockopt(int, int, const void*, kj::uint) override {}

 private:
  Async<kj::Own<kj::AsyncIoStream>> nextArrived() {
    for (;;) {
      if (network.stopped.count(key.first) != 0) co_await network.untilRunning(key.first);
      if (!waiting.empty()) {
        auto stream = kj::mv(waiting.front());
        waiting.pop_front();
        co_return kj::mv(stream);
      }
      co_await signal.wait();
    }
  }

  SimNetwork& network;
  Link key;
  std::deque<kj::Own<kj::AsyncIoStream>> waiting;
  Signal signal;
};

class SimNetwork::Address final : public kj::NetworkAddress {
 public:
  Address(SimNetwork& network, std::string self, std::string host, std::string port)
      : network(network), self(kj::mv(self)), host(kj::mv(host)), port(kj::mv(port)) {}

  kj::Promise<kj::Own<kj::AsyncIoStream>> connect() override { return network.connect(self, host, port); }

  kj::Own<kj::ConnectionReceiver> listen() override {
    KJ_REQUIRE(host == self, "bind: cannot assign requested address", host.c_str(), self.c_str());
    if (port == "0") return kj::heap<Receiver>(network, Link{host, std::to_string(++network.lastPort)});
    return kj::heap<Receiver>(network, Link{host, port});
  }

  kj::Own<kj::NetworkAddress> clone() override { return kj::heap<Address>(network, self, host, port); }
  kj::String toString() override {
    if (port.starts_with("unix")) return kj::str(port.c_str());
    return kj::str(host.c_str(), ":", port.c_str());
  }

 private:
  SimNetwork& network;
  std::string self, host, port;
};

class SimNetwork::HostNetwork final : public kj::Network {
 public:
  HostNetwork(SimNetwork& network, std::string self) : network(network), self(kj::mv(self)) {}

  kj::Promise<kj::Own<kj::NetworkAddress>> parseAddress(kj::StringPtr text, kj::uint portHint) override {
    std::string address(text.begin(), text.size()), host = address, port = std::to_string(portHint);
    if (address.starts_with("unix")) {
      host = self;
      port = address;
    } else if (auto colon = address.rfind(':'); colon != std::string::npos) {
      host = address.substr(0, colon);
      port = address.substr(colon + 1);
      KJ_REQUIRE(!port.empty() && port.find_first_not_of("0123456789") == std::string::npos, "not a port",
                 text);
    }
    for (auto name : {"*", "0.0.0.0", "127.0.0.1", "localhost", "[::]", "[::1]"}) {
      if (host == name) host = self;
    }
    kj::Own<kj::NetworkAddress> result = kj::heap<Address>(network, self, host, port);
    return kj::mv(result);
  }
  kj::Own<kj::NetworkAddress> getSockaddr(const void*, kj::uint) override {
    KJ_UNIMPLEMENTED("the simulated network has no sockaddr");
  }
  kj::Own<kj::Network> restrictPeers(kj::ArrayPtr<const kj::StringPtr>,
                                     kj::ArrayPtr<const kj::StringPtr>) override {
    return kj::heap<HostNetwork>(network, self);
  }

 private:
  SimNetwork& network;
  std::string self;
};

SimNetwork::SimNetwork(kj::Timer& timer, uint64_t seed, Latency latency)
    : timer(timer), entropy(seed), latency(latency) {
  topologyChanged();
}
SimNetwork::~SimNetwork() noexcept(false) {}

kj::Network& SimNetwork::at(kj::StringPtr host) {
  auto& entry = hosts[host.cStr()];
  if (entry.get() == nullptr) entry = kj::heap<HostNetwork>(*this, host.cStr());
  return *entry;
}

void SimNetwork::cut(kj::StringPtr a, kj::StringPtr b) {
  cutOneWay(a, b);
  cutOneWay(b, a);
}
void SimNetwork::cutOneWay(kj::StringPtr from, kj::StringPtr to) {
  cuts.insert({from.cStr(), to.cStr()});
}

void SimNetwork::heal(kj::StringPtr a, kj::StringPtr b) {
  cuts.erase({a.cStr(), b.cStr()});
  cuts.erase({b.cStr(), a.cStr()});
  topologyChanged();
}
void SimNetwork::healAll() {
  cuts.clear();
  topologyChanged();
}

void SimNetwork::reset(kj::StringPtr a, kj::StringPtr b) {
  for (auto& connection : open) {
    if (connection->between(a.cStr(), b.cStr())) connection->reset();
  }
}

void SimNetwork::powerOff(kj::StringPtr host) {
  dark.insert(host.cStr());
  for (auto& connection : open) {
    if (connection->touches(host.cStr())) connection->vanish();
  }
}
void SimNetwork::powerOn(kj::StringPtr host) {
  dark.erase(host.cStr());
  for (auto& connection : open) {
    if (connection->touches(host.cStr())) connection->powerOn(host.cStr());
  }
  topologyChanged();
}

void SimNetwork::stop(kj::StringPtr host) {
  stopped.insert(host.cStr());
}
void SimNetwork::resume(kj::StringPtr host) {
  stopped.erase(host.cStr());
  topologyChanged();
}

size_t SimNetwork::connections() {
  sweep();
  return open.size();
}

bool SimNetwork::passable(const std::string& from, const std::string& to) const {
  return cuts.empty() || cuts.count({from, to}) == 0;
}

Async<void> SimNetwork::untilPassable(std::string from, std::string to) {
  while (!passable(from, to)) co_await change.addBranch();
}

Async<void> SimNetwork::untilRunning(std::string host) {
  while (stopped.count(host) != 0) co_await change.addBranch();
}

void SimNetwork::topologyChanged() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  if (changeFulfiller.get() != nullptr) changeFulfiller->fulfill();
  changeFulfiller = kj::mv(paf.fulfiller);
  change = paf.promise.fork();
}

kj::Duration SimNetwork::drawLatency(const std::string& from, const std::string& to, size_t bytes) {
  auto transfer = int64_t(bytes) / latency.bytesPerMicrosecond * kj::MICROSECONDS;
  if (from == to) return latency.local + transfer;
  auto spread = uint64_t(latency.spread / kj::NANOSECONDS);
  auto delay = latency.least + int64_t(spread == 0 ? 0 : entropy.below(spread)) * kj::NANOSECONDS;
  if (entropy.percent(latency.slowPercent)) delay += latency.slow;
  return delay + transfer;
}

Async<kj::Own<kj::AsyncIoStream>> SimNetwork::connect(std::string from, std::string to, std::string port) {
  co_await timer.afterDelay(drawLatency(from, to, 0) + drawLatency(to, from, 0));
  while (!passable(from, to) || !passable(to, from) || dark.count(to) != 0) co_await change.addBranch();
  auto listener = listeners.find({to, port});
  if (listener == listeners.end()) {
    kj::throwFatalException(
        KJ_EXCEPTION(DISCONNECTED, "connect: connection refused", to.c_str(), port.c_str()));
  }
  sweep();
  auto& connection = *open.add(kj::heap<Connection>(*this, from, to));
  listener->second->arrived(kj::heap<Stream>(*this, connection, connection.forth, connection.back, to));
  kj::Own<kj::AsyncIoStream> mine =
      kj::heap<Stream>(*this, connection, connection.back, connection.forth, from);
  co_return kj::mv(mine);
}

void SimNetwork::sweep() {
  kj::Vector<kj::Own<Connection>> kept;
  for (auto& connection : open) {
    if (!connection->finished()) kept.add(kj::mv(connection));
  }
  open = kj::mv(kept);
}

}  // namespace cairn::sim
