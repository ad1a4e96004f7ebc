// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See host_network.h. A host's interface is a TUN device: what the host sends we read, and it receives what
// we write.
#include "test/e2e/host_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <random>
#include <stdexcept>
#include <thread>

namespace cairn::e2e {

namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned HOSTS_MAX = 16;
constexpr size_t PACKET_MAX = 2000;  // bytes; that of an interface is 1,500
constexpr unsigned CONTROL = 224;    // addresses from 224.0.0.0 on are of groups, which nobody here is in

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + strerror(errno));
}

void configure(int request, struct ifreq& interface, const char* what) {
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool done = fd >= 0 && ::ioctl(fd, unsigned(request), &interface) == 0;
  int error = errno;
  if (fd >= 0) ::close(fd);
  errno = error;
  if (!done) fail(what);
}

struct ifreq named(const char* name) {
  struct ifreq interface = {};
  ::strncpy(interface.ifr_name, name, IFNAMSIZ - 1);
  return interface;
}

void setAddress(const char* name, int request, const std::string& address) {
  auto interface = named(name);
  struct sockaddr_in socket = {};
  socket.sin_family = AF_INET;
  ::inet_pton(AF_INET, address.c_str(), &socket.sin_addr);
  ::memcpy(&interface.ifr_addr, &socket, sizeof socket);
  configure(request, interface, "address of an interface");
}

void bringUp(const char* name) {
  auto interface = named(name);
  interface.ifr_flags = IFF_UP;
  configure(SIOCSIFFLAGS, interface, "bringing up an interface");
}

void makeHost(const std::string& address, int& space, int& device) {
  // In a thread of its own, which is in the new namespace for as long as it lives.
  if (::unshare(CLONE_NEWNET) != 0) fail("unshare of a network namespace");
  space = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  device = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (space < 0 || device < 0) fail("/dev/net/tun");
  auto interface = named("host0");
  interface.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (::ioctl(device, TUNSETIFF, &interface) != 0) fail("TUNSETIFF");
  bringUp("lo");
  setAddress("host0", SIOCSIFADDR, address);
  setAddress("host0", SIOCSIFNETMASK, "255.255.255.0");
  bringUp("host0");
}

}  // namespace

struct HostNetwork::Shared {
  // Set by the test, read by the process that carries packets.
  struct Link {
    std::atomic<unsigned> lost{0}, delayMsec{0};
    std::atomic<bool> cut{false};
    std::atomic<Clock::rep> until{0};  // of the clock that all processes share; 0: for good
    bool isOver() const { return until != 0 && Clock::now().time_since_epoch().count() >= until; }
  } links[HOSTS_MAX][HOSTS_MAX];
  std::atomic<uint64_t> passed{0}, lostCount{0}, delayed{0};
};

std::string HostNetwork::reasonToSkip() {
  try {
    HostNetwork tried(1);
    return "";
  } catch (const std::exception& exception) {
    return exception.what();
  }
}

HostNetwork::HostNetwork(unsigned hosts) : hosts(hosts), namespaces(hosts, -1), devices(hosts, -1) {
  if (hosts > HOSTS_MAX) throw std::runtime_error("too many hosts");
  for (unsigned host = 0; host < hosts; ++host) {
    std::string problem;
    std::thread([&]() {
      try {
        makeHost(address(host), namespaces[host], devices[host]);
      } catch (const std::exception& exception) {
        problem = exception.what();
      }
    }).join();
    if (problem.empty()) continue;
    for (auto fd : namespaces) ::close(fd);
    for (auto fd : devices) ::close(fd);
    throw std::runtime_error(problem);
  }
  auto page = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) fail("mmap");
  shared = new (page) Shared;
  carrier = ::fork();
  if (carrier < 0) fail("fork");
  if (carrier == 0) carry();
  // From here on the carrier alone has the devices.
  for (auto& device : devices) ::close(device), device = -1;
}

HostNetwork::~HostNetwork() {
  ::kill(carrier, SIGKILL);
  ::waitpid(carrier, nullptr, 0);
  for (auto space : namespaces) ::close(space);
  ::munmap(shared, sizeof(Shared));
}

std::string HostNetwork::address(unsigned host) {
  return "10.77.0." + std::to_string(host + 1);
}

std::vector<std::string> HostNetwork::on(unsigned host, std::vector<std::string> words) const {
  std::vector<std::string> all = {
      "nsenter",
      "--net=/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(namespaces.at(host)),
      "unshare",
      "--uts",
      "sh",
      "-c",
      "hostname \"$0\"; exec \"$@\"",
      "host-" + std::to_string(host)};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

void HostNetwork::oneWay(unsigned from, unsigned to, Fault fault) {
  auto& link = shared->links[from][to];
  link.lost = fault.lost;
  link.delayMsec = fault.delayMsec;
  link.cut = fault.cut;
  link.until =
      fault.lasts.count() == 0 ? 0 : Clock::duration(Clock::now().time_since_epoch() + fault.lasts).count();
}

bool HostNetwork::isWhole() const {
  for (unsigned from = 0; from < hosts; ++from) {
    for (unsigned to = 0; to < hosts; ++to) {
      auto& link = shared->links[from][to];
      if (link.until != 0 && !link.isOver()) return false;
    }
  }
  return true;
}

void HostNetwork::bothWays(unsigned one, unsigned other, Fault fault) {
  oneWay(one, other, fault);
  oneWay(other, one, fault);
}

void HostNetwork::all(Fault fault) {
  for (unsigned from = 0; from < hosts; ++from) {
    for (unsigned to = 0; to < hosts; ++to) oneWay(from, to, fault);
  }
}

HostNetwork::Counts HostNetwork::counts() const {
  return {shared->passed, shared->lostCount, shared->delayed};
}

void HostNetwork::carry() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::mt19937 random(1);
  struct Waiting {
    unsigned to;
    std::string packet;
  };
  std::multimap<Clock::time_point, Waiting> delayed;
  std::vector<struct pollfd> polled;
  for (auto device : devices) polled.push_back({.fd = device, .events = POLLIN, .revents = 0});
  auto deliver = [&](unsigned to, const char* packet, size_t size) {
    // A host that cannot take it has lost it.
    if (::write(devices[to], packet, size) == ssize_t(size)) ++shared->passed;
  };
  auto carryOne = [&](unsigned from, const char* packet, size_t size) {
    bool isVersion4 = size >= 20 && (uint8_t(packet[0]) >> 4) == 4;
    if (!isVersion4 || uint8_t(packet[16]) >= CONTROL) return;
    auto to = unsigned(uint8_t(packet[19])) - 1;
    if (to >= hosts) return;
    auto& link = shared->links[from][to];
    if (link.isOver()) {
      deliver(to, packet, size);
    } else if (link.cut || random() % 1000 < link.lost) {
      ++shared->lostCount;
    } else if (auto delay = link.delayMsec.load()) {
      auto late = std::chrono::microseconds(delay * 1000 + random() % (delay * 500));
      delayed.emplace(Clock::now() + late, Waiting{to, std::string(packet, size)});
      ++shared->delayed;
    } else {
      deliver(to, packet, size);
    }
  };
  for (;;) {
    struct timespec timeout = {};
    if (!delayed.empty()) {
      auto left = std::max(delayed.begin()->first - Clock::now(), Clock::duration(0));
      timeout.tv_nsec = long(std::min<int64_t>(left / std::chrono::nanoseconds(1), 999'999'999));
    }
    ::ppoll(polled.data(), polled.size(), delayed.empty() ? nullptr : &timeout, nullptr);
    while (!delayed.empty() && delayed.begin()->first <= Clock::now()) {
      auto& waiting = delayed.begin()->second;
      deliver(waiting.to, waiting.packet.data(), waiting.packet.size());
      delayed.erase(delayed.begin());
    }
    char packet[PACKET_MAX];
    for (unsigned from = 0; from < hosts; ++from) {
      // A few at a time, so that no host is heard alone.
      for (int i = 0; i < 64; ++i) {
        auto size = ::read(devices[from], packet, sizeof packet);
        if (size <= 0) break;
        carryOne(from, packet, size_t(size));
      }
    }
  }
}

}  // namespace cairn::e2e
