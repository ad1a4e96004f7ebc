// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A network of hosts on this machine, each a network namespace with one interface, every packet of which goes
// through a process of ours: it is lost, delayed or cut, for each pair of hosts and each direction by itself.
// So it needs no module of the kernel for that, only /dev/net/tun. INVARIANT: a fault that is set holds for
// every packet that is sent from then on; what is lost is lost silently, as on a cable.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace cairn::e2e {

class HostNetwork {
 public:
  static std::string reasonToSkip();  // why this machine cannot have one; empty: it can

  explicit HostNetwork(unsigned hosts);
  ~HostNetwork();
  HostNetwork(const HostNetwork&) = delete;

  static std::string address(unsigned host);  // hosts are numbered from 0
  std::vector<std::string> on(unsigned host, std::vector<std::string> words) const;
  // The words that run this program on that host, under a host name of its own.

  struct Fault {
    unsigned lost = 0;       // of a thousand packets
    unsigned delayMsec = 0;  // of each, and up to half as much again at random, so that they overtake
    bool cut = false;
    std::chrono::milliseconds lasts{0};  // then it is over by itself; 0: it lasts until heal()
  };
  void oneWay(unsigned from, unsigned to, Fault fault);
  void bothWays(unsigned one, unsigned other, Fault fault);
  void all(Fault fault);
  void heal() { all({}); }
  bool isWhole() const;  // no fault is left that is over by itself

  struct Counts {
    uint64_t passed, lost, delayed;
  };
  Counts counts() const;  // of packets, since the beginning

 private:
  struct Shared;
  const unsigned hosts;
  std::vector<int> namespaces, devices;  // file descriptors
  Shared* shared;
  pid_t carrier = -1;

  [[noreturn]] void carry();
};

}  // namespace cairn::e2e
