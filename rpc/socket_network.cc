// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See socket_network.h.
#include "rpc/socket_network.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "rpc/coroutine.h"

namespace cairn {

namespace {

using Observer = kj::UnixEventPort::FdObserver;

kj::AutoCloseFd duplicate(int fd) {
  int copy;
  KJ_SYSCALL(copy = fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return kj::AutoCloseFd(copy);
}

class SocketStream final : public kj::AsyncIoStream {
 public:
  SocketStream(kj::AutoCloseFd socket, kj::UnixEventPort& events)
      : events(events), socket(kj::mv(socket)), incoming(events, this->socket, Observer::OBSERVE_READ) {
    watch();
  }

  // reading

  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
    return kj::evalNow([&]() -> kj::Promise<size_t> {
      auto bytes = kj::arrayPtr(static_cast<kj::byte*>(buffer), most);
      if (!watching) watch();
      if (!empty) {
        KJ_IF_MAYBE (got, readNow(bytes)) {
          if (*got >= least || ended) return *got;
          return readOn(bytes, least, *got);
        }
      }
      return readOn(bytes, least, 0);
    });
  }

  // writing

  kj::Promise<void> write(const void* buffer, size_t size) override {
    auto piece = kj::arrayPtr(static_cast<const kj::byte*>(buffer), size);
    return write(kj::arrayPtr(&piece, 1));
  }

  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    return kj::evalNow([&]() -> kj::Promise<void> {
      size_t piece = 0, within = 0;
      if (writeNow(pieces, piece, within)) return kj::READY_NOW;
      Pieces rest(pieces.begin() + piece, pieces.end());
      rest[0] = rest[0].slice(within, rest[0].size());
      return writeOn(std::move(rest));
    });
  }

  kj::Promise<void> whenWriteDisconnected() override {
    KJ_IF_MAYBE (watch, disconnection) return watch->observer.whenWriteDisconnected();
    return disconnection.emplace(duplicate(socket), events).observer.whenWriteDisconnected();
  }

  void shutdownWrite() override { KJ_SYSCALL(shutdown(socket, SHUT_WR)); }
  void abortRead() override { KJ_SYSCALL(shutdown(socket, SHUT_RD)); }

  void getsockopt(int level, int option, void* value, kj::uint* length) override {
    socklen_t size = *length;
    KJ_SYSCALL(::getsockopt(socket, level, option, value, &size));
    *length = size;
  }
  void setsockopt(int level, int option, const void* value, kj::uint length) override {
    KJ_SYSCALL(::setsockopt(socket, level, option, value, length));
  }
  void getsockname(struct sockaddr* address, kj::uint* length) override {
    socklen_t size = *length;
    KJ_SYSCALL(::getsockname(socket, address, &size));
    *length = size;
  }
  void getpeername(struct sockaddr* address, kj::uint* length) override {
    socklen_t size = *length;
    KJ_SYSCALL(::getpeername(socket, address, &size));
    *length = size;
  }
  kj::Maybe<int> getFd() const override { return socket.get(); }

 private:
  using Pieces = std::vector<kj::ArrayPtr<const kj::byte>>;
  struct Outlet {
    // One more watch on the same socket, by a descriptor of its own: epoll knows each descriptor once.
    Outlet(kj::AutoCloseFd fdParam, kj::UnixEventPort& events)
        : fd(kj::mv(fdParam)), observer(events, fd, Observer::OBSERVE_WRITE) {}
    kj::AutoCloseFd fd;
    Observer observer;
  };

  kj::UnixEventPort& events;
  kj::AutoCloseFd socket;
  Observer incoming;
  kj::Promise<void> edge = nullptr;  // the next one; waited for since before the last read
  bool watching = false;             // no: a read that waited for the edge was given up
  bool empty = false;                // the last read has taken all that was there
  bool ended = false;                // the peer has sent its last byte
  kj::Maybe<Outlet> disconnection;

  void watch() {
    edge = incoming.whenBecomesReadable();
    watching = true;
    empty = false;  // an edge may have been while nobody watched
  }

  kj::Maybe<size_t> readNow(kj::ArrayPtr<kj::byte> bytes) {
    // Null: nothing is there.
    if (bytes.size() == 0) return size_t(0);
    ssize_t got;
    KJ_NONBLOCKING_SYSCALL(got = ::read(socket, bytes.begin(), bytes.size()));
    if (got < 0) {
      empty = true;
      return nullptr;
    }
    ended = got == 0;
    // A short read of a stream socket has emptied it, and what comes makes an edge. But the end may have come
    // already, with an edge from before we watched.
    empty = !ended && size_t(got) < bytes.size() && !incoming.atEndHint().orDefault(false);
    return size_t(got);
  }

  Async<size_t> readOn(kj::ArrayPtr<kj::byte> bytes, size_t least, size_t got) {
    while (got < least) {
      if (empty) {
        watching = false;
        co_await edge;
        watch();
      }
      KJ_IF_MAYBE (more, readNow(bytes.slice(got, bytes.size()))) {
        if (ended) break;
        got += *more;
      }
    }
    co_return got;
  }

  bool writeNow(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces, size_t& piece, size_t& within) {
    // Writes from there on; false: the socket is full.
    static constexpr size_t BATCH = 64;
    struct iovec vectors[BATCH];
    for (;;) {
      size_t count = 0, total = 0;
      for (size_t i = piece, skip = within; i < pieces.size() && count < BATCH; ++i, skip = 0) {
        if (pieces[i].size() == skip) continue;
        vectors[count++] = {const_cast<kj::byte*>(pieces[i].begin() + skip), pieces[i].size() - skip};
        total += pieces[i].size() - skip;
      }
      if (count == 0) return true;
      ssize_t done;
      KJ_NONBLOCKING_SYSCALL(done = ::writev(socket, vectors, int(count)));
      if (done < 0) return false;
      bool all = size_t(done) == total;
      for (size_t left = done; piece < pieces.size();) {
        size_t here = pieces[piece].size() - within;
        if (left < here) {
          within += left;
          break;
        }
        left -= here;
        ++piece;
        within = 0;
        if (left == 0 && !all) break;
      }
      if (!all) return false;
    }
  }

  Async<void> writeOn(Pieces pieces) {
    // A new watch tells at once if there is room already, so no edge since the write is missed.
    Outlet outlet(duplicate(socket), events);
    auto room = outlet.observer.whenBecomesWritable();
    for (size_t piece = 0, within = 0;;) {
      co_await room;
      room = outlet.observer.whenBecomesWritable();
      if (writeNow(kj::arrayPtr(pieces.data(), pieces.size()), piece, within)) co_return;
    }
  }
};

class SocketReceiver final : public kj::ConnectionReceiver {
 public:
  SocketReceiver(kj::Own<kj::ConnectionReceiver> inner, kj::UnixEventPort& events)
      : inner(kj::mv(inner)), events(events) {}

  kj::Promise<kj::Own<kj::AsyncIoStream>> accept() override;
  kj::uint getPort() override { return inner->getPort(); }
  void getsockopt(int level, int option, void* value, kj::uint* length) override {
    inner->getsockopt(level, option, value, length);
  }
  void setsockopt(int level, int option, const void* value, kj::uint length) override {
    inner->setsockopt(level, option, value, length);
  }

 private:
  kj::Own<kj::ConnectionReceiver> inner;
  kj::UnixEventPort& events;
};

kj::Own<kj::AsyncIoStream> converted(kj::Own<kj::AsyncIoStream> stream, kj::UnixEventPort& events) {
  KJ_IF_MAYBE (fd, stream->getFd()) {
    auto socket = duplicate(*fd);
    stream = nullptr;  // and with it KJ's watch
    return newSocketStream(kj::mv(socket), events);
  }
  return stream;
}

kj::Promise<kj::Own<kj::AsyncIoStream>> SocketReceiver::accept() {
  return inner->accept().then(
      [this](kj::Own<kj::AsyncIoStream>&& stream) { return converted(kj::mv(stream), events); });
}

class SocketAddress final : public kj::NetworkAddress {
 public:
  SocketAddress(kj::Own<kj::NetworkAddress> inner, kj::UnixEventPort& events)
      : inner(kj::mv(inner)), events(events) {}

  kj::Promise<kj::Own<kj::AsyncIoStream>> connect() override {
    return inner->connect().then([&events = events](kj::Own<kj::AsyncIoStream>&& stream) {
      return converted(kj::mv(stream), events);
    });
  }
  kj::Own<kj::ConnectionReceiver> listen() override {
    return kj::heap<SocketReceiver>(inner->listen(), events);
  }
  kj::Own<kj::NetworkAddress> clone() override { return kj::heap<SocketAddress>(inner->clone(), events); }
  kj::String toString() override { return inner->toString(); }

 private:
  kj::Own<kj::NetworkAddress> inner;
  kj::UnixEventPort& events;
};

class SocketNetwork final : public kj::Network {
 public:
  SocketNetwork(kj::Network& inner, kj::UnixEventPort& events) : inner(inner), events(events) {}

  kj::Promise<kj::Own<kj::NetworkAddress>> parseAddress(kj::StringPtr text, kj::uint portHint) override {
    return inner.parseAddress(text, portHint).then([&events = events](kj::Own<kj::NetworkAddress>&& address) {
      return kj::Own<kj::NetworkAddress>(kj::heap<SocketAddress>(kj::mv(address), events));
    });
  }
  kj::Own<kj::NetworkAddress> getSockaddr(const void* address, kj::uint length) override {
    return kj::heap<SocketAddress>(inner.getSockaddr(address, length), events);
  }
  kj::Own<kj::Network> restrictPeers(kj::ArrayPtr<const kj::StringPtr> allow,
                                     kj::ArrayPtr<const kj::StringPtr> deny) override {
    auto restricted = inner.restrictPeers(allow, deny);
    auto network = kj::heap<SocketNetwork>(*restricted, events);
    return network.attach(kj::mv(restricted));
  }

 private:
  kj::Network& inner;
  kj::UnixEventPort& events;
};

}  // namespace

kj::Own<kj::Network> newSocketNetwork(kj::Network& inner, kj::UnixEventPort& events) {
  return kj::heap<SocketNetwork>(inner, events);
}

kj::Own<kj::AsyncIoStream> newSocketStream(kj::AutoCloseFd socket, kj::UnixEventPort& events) {
  return kj::heap<SocketStream>(kj::mv(socket), events);
}

}  // namespace cairn
