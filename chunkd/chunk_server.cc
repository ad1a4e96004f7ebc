// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/chunk_server.h"

#include <kj/compat/http.h>
#include <kj/debug.h>

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint32_t SCRUB_LOAD_MAX = 4;  // calls under way with which it goes on

kj::String hostPart(kj::StringPtr address) {
  KJ_IF_MAYBE (colon, address.findLast(':')) return kj::str(address.slice(0, *colon));
  return kj::str(address);
}

}  // namespace

ChunkServer::ChunkServer(ChunkServerEnvironment environmentParam, ChunkServerOptions optionsParam,
                         kj::Own<ChunkStore> storeParam)
    : environment(environmentParam),
      options(kj::mv(optionsParam)),
      log(environment.log),
      store(kj::mv(storeParam)),
      cluster(store->identity().cluster),
      epoch(store->identity().epoch),
      callerName(kj::str("chunkd ", options.directory)),
      peers{environment.timer, environment.network, environment.pool, environment.entropy,
            cluster,           callerName,          options.host},
      replication(peers, log),
      copier(*store, peers, log) {
  registration = kj::heap<Registration>(
      *store, peers,
      RegistrationOptions{
          PeerAddress{kj::str(options.metaserver), kj::str(options.metaserverLocal),
                      options.metaserverLocal.size() > 0 ? kj::str(options.host) : kj::String()},
          kj::str(options.rack), options.pid},
      log);
  service = kj::heap<ChunkService>(*store, replication, copier, *registration, cluster, environment.timer,
                                   environment.pool, log);
}

ChunkServer::~ChunkServer() noexcept(false) {
  scrubbing = nullptr;
  // Callers first, then the line to the metaserver, then the work under way, then what it stands on.
  acceptor = nullptr;
  registration->stop();
  service = nullptr;
}

Async<ChunkServer::Started> ChunkServer::start(ChunkServerEnvironment environment,
                                               ChunkServerOptions options) {
  StoreOptions storeOptions;
  storeOptions.path = options.directory;
  storeOptions.boot = options.boot;
  KJ_IF_MAYBE (bytes, options.reserveBytes) storeOptions.reserveBytes = *bytes;
  auto opened = co_await ChunkStore::open({environment.disk, environment.rocksdb, environment.worker,
                                           environment.timer, environment.entropy, environment.log},
                                          storeOptions);
  KJ_IF_MAYBE (store, opened.store) {
    kj::Own<ChunkServer> server(new ChunkServer(environment, kj::mv(options), kj::mv(*store)),
                                kj::_::HeapDisposer<ChunkServer>::instance);
    auto problem = co_await server->listen();
    KJ_IF_MAYBE (sentence, problem) co_return Started{nullptr, kj::mv(*sentence)};
    co_return Started{kj::mv(server), kj::String()};
  }
  co_return Started{nullptr, kj::mv(opened.refusal)};
}

Async<kj::Maybe<kj::String>> ChunkServer::listen() {
  acceptor = kj::heap<Acceptor>(
      AcceptorOptions{environment.timer, environment.network, environment.pool, "chunk daemon", cluster,
                      epoch},
      [this](ConnectionInfo) -> capnp::Capability::Client { return service->newHandlers(); });
  uint16_t port = 0;
  kj::Maybe<kj::String> problem;
  try {
    port = co_await acceptor->listen(options.listen);
  } catch (const kj::Exception& exception) {
    problem = kj::str("Cannot listen on ", options.listen, ": ", exception.getDescription(),
                      ". The store is untouched. Choose another --listen address.");
  }
  if (problem != nullptr) co_return problem;
  auto host = options.advertise.size() > 0 ? kj::str(options.advertise) : hostPart(options.listen);
  networkAddress = kj::str(host, ":", port);
  kj::String local;
  if (options.localPrefix.size() > 0) {
    local = kj::str(options.localPrefix, port);
    try {
      co_await acceptor->listen(local);
    } catch (const kj::Exception& exception) {
      // Another daemon of this machine has the same port, in another network namespace: the network will do.
      log.warning("cannot listen on ", local, ": ", exception.getDescription(), " -> over the network only");
      local = kj::String();
    }
  }
  log.info("store ", options.directory, " (", store->count(), " chunks) listens on ", networkAddress,
           local.size() > 0 ? " and " : "", local);
  scrubber = kj::heap<Scrubber>(*store, options.scrub, environment.timer, environment.clock,
                                [this] { return service->callsUnderWay() > SCRUB_LOAD_MAX; });
  scrubbing = scrubber->run().eagerlyEvaluate([this](kj::Exception&& exception) {
    log.error("scrubbing has failed (", exception.getDescription(), ") -> not checked until the next start");
  });
  registration->start(*service, *scrubber,
                      PeerAddress{kj::str(networkAddress), kj::mv(local), kj::str(options.host)});
  co_return nullptr;
}

kj::Promise<void> ChunkServer::stop() {
  acceptor->stop();
  return store->whenIdle();
}

}  // namespace cairn
