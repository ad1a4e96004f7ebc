// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A network of named hosts in memory, on virtual time: kj::Network for everyone in the simulator.
// It behaves as TCP does towards a program: bytes arrive in order, late, cut in pieces that have nothing to
// do with the writes; a cut link delays them until it is healed and never loses some of them; a process that
// dies ends its connections, a machine that loses power leaves its peers in silence until it is back.
// INVARIANT: everything that happens here is decided by the seed and by the calls below, in their order.
//
// Addresses: "HOST:PORT" (the host's name, or 127.0.0.1, localhost, 0.0.0.0, * for oneself; port 0 chooses
// one) and "unix-abstract:NAME", which only reaches the same host.
#pragma once

#include <kj/async-io.h>
#include <kj/map.h>
#include <kj/timer.h>

#include <map>
#include <set>
#include <string>

#include "rpc/coroutine.h"
#include "test/sim/seeded_entropy.h"
#include "test/sim/virtual_time.h"

namespace cairn::sim {

struct Latency {
  // One way, per delivery. The defaults are those of a rack: 30 to 130 us, one in a hundred delayed by a
  // switch's queue, 1.25 GB/s.
  kj::Duration least = 30 * kj::MICROSECONDS;
  kj::Duration spread = 100 * kj::MICROSECONDS;
  kj::Duration local = 10 * kj::MICROSECONDS;  // within a host
  uint32_t slowPercent = 1;
  kj::Duration slow = 5 * kj::MILLISECONDS;
  uint32_t bytesPerMicrosecond = 1250;
};

class SimNetwork {
 public:
  SimNetwork(kj::Timer& timer, uint64_t seed, Latency latency = {});
  ~SimNetwork() noexcept(false);
  KJ_DISALLOW_COPY(SimNetwork);

  kj::Network& at(kj::StringPtr host);  // the network as a process on `host` sees it

  // Links. Bytes that are on their way wait at a cut link; new connections do too.
  void cut(kj::StringPtr a, kj::StringPtr b);  // both ways
  void cutOneWay(kj::StringPtr from, kj::StringPtr to);
  void heal(kj::StringPtr a, kj::StringPtr b);
  void healAll();
  void reset(kj::StringPtr a,
             kj::StringPtr b);  // every connection between them is torn down, as by a firewall

  // Machines. A process that is killed needs no call: destroying its streams is what the kernel does for it.
  void powerOff(kj::StringPtr host);
  // Call before its processes are destroyed: their peers then hear nothing, and what was on its way is lost.
  void powerOn(kj::StringPtr host);
  // From now on the peers of connections from before learn, when they speak, that they are gone.

  // A stopped process (SIGSTOP) accepts connections and takes bytes, as its kernel does, and reads nothing.
  void stop(kj::StringPtr host);
  void resume(kj::StringPtr host);

  size_t connections();  // open at one end at least

 private:
  class Channel;
  class Connection;
  class Stream;
  class Receiver;
  class Address;
  class HostNetwork;
  friend class Channel;
  friend class Connection;
  friend class Stream;
  friend class Receiver;
  friend class Address;
  friend class HostNetwork;

  using Link = std::pair<std::string, std::string>;  // from, to

  kj::Timer& timer;
  SeededEntropy entropy;
  Latency latency;
  std::map<std::string, kj::Own<HostNetwork>> hosts;
  std::map<Link, Receiver*> listeners;  // by host and port or local name
  std::set<Link> cuts;
  std::set<std::string> dark;  // hosts without power
  std::set<std::string> stopped;
  kj::Vector<kj::Own<Connection>> open;
  kj::Own<kj::PromiseFulfiller<void>> changeFulfiller;
  kj::ForkedPromise<void> change = nullptr;
  uint32_t lastPort = 32768;

  bool passable(const std::string& from, const std::string& to) const;
  Async<void> untilPassable(std::string from, std::string to);
  Async<void> untilRunning(std::string host);
  void topologyChanged();
  kj::Duration drawLatency(const std::string& from, const std::string& to, size_t bytes);
  Async<kj::Own<kj::AsyncIoStream>> connect(std::string from, std::string to, std::string port);
  void sweep();
};

}  // namespace cairn::sim
