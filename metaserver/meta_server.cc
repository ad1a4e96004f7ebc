// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See meta_server.h.
#include "metaserver/meta_server.h"

#include <rocksdb/env.h>

#include "metaserver/damage.h"
#include "metaserver/namespace_scan.h"
#include "rpc/acceptor.h"
#include "rpc/buffer_pool.h"
#include "rpc/coroutine.h"

namespace cairn {

MetaServer::MetaServer(MetaServerEnvironment environment) : environment(kj::mv(environment)) {}

MetaServer::~MetaServer() noexcept(false) = default;

Async<kj::Own<MetaServer>> MetaServer::start(MetaServerEnvironment environment, MetaServerOptions options) {
  auto server = kj::heap<MetaServer>(kj::mv(environment));
  auto& world = server->environment;
  server->identity = co_await claimDirectory(world.disk, options.directory, world.entropy);
  auto path = kj::str(options.directory, "/names");
  NamespaceOptions namespaceOptions;
  namespaceOptions.path = path;
  namespaceOptions.env = world.rocks;
  namespaceOptions.verifiedBytes = options.verifiedBytes;
  server->names = Namespace::open(namespaceOptions);
  server->names->witness().tell = [log = world.log.named("names")](kj::StringPtr problem) mutable {
    log.error("the namespace store cannot be read: ", problem, " -> that call fails, others go on. ",
              HOW_TO_RESTORE);
  };

  LocalLogOptions logOptions;
  logOptions.commit = options.commit;
  logOptions.boot = options.boot;
  logOptions.cluster = server->identity.cluster;
  logOptions.founding.cluster = server->identity.cluster;
  logOptions.founding.replicas = options.replicas;
  server->log = co_await LocalLog::open(world.disk, "log", *server->names, world.clock, logOptions,
                                        world.log.named("log"));
  server->currentEpoch = server->log->epoch();

  auto& state = server->names->state();
  if (server->identity.age == DirectoryIdentity::Age::NEW) {
    world.log.info(options.directory, " was empty -> cluster ", server->identity.cluster, ", ",
                   options.replicas, " replicas");
  } else if (state.replicas != options.replicas) {
    world.log.warning("the cluster was made with ", uint32_t(state.replicas), " replicas, not ",
                      uint32_t(options.replicas), " -> new files want ", uint32_t(state.replicas));
  }
  KJ_IF_MAYBE (wanted, options.trash) co_await server->configureTrash(*wanted);
  MetaServiceOptions serviceOptions;
  serviceOptions.minimumReplicas = options.minimumReplicas.orDefault(kj::min(2u, uint32_t(state.replicas)));
  serviceOptions.brake = options.brake;
  serviceOptions.repair = options.repair;
  serviceOptions.rebalance = options.rebalance;
  serviceOptions.snapshots = options.snapshots;
  server->metaService = kj::heap<MetaService>(serviceOptions, *server->log, server->names->read(),
                                              world.timer, world.entropy, world.log);
  auto& service = *server->metaService;
  server->inlineWorker = env::newInlineWorker();
  auto& rocks = world.rocks == nullptr ? *rocksdb::Env::Default() : *world.rocks;
  server->ownArchive =
      kj::heap<Archive>(*server->names, *server->log, rocks, options.directory,
                        world.worker.orDefault(*server->inlineWorker), world.log.named("archive"));
  service.archive = *server->ownArchive;
  service.scan = [&names = *server->names]() { return names.scan(); };
  if (!server->names->verified()) server->checking = server->verifyInBackground().eagerlyEvaluate(nullptr);
  server->acceptor = kj::heap<Acceptor>(
      AcceptorOptions{world.timer, world.network, world.pool, "metaserver", server->identity.cluster,
                      server->currentEpoch, 10 * kj::SECONDS, world.log.named("port")},
      [&service](ConnectionInfo info) -> capnp::Capability::Client {
        return service.newConnection(info.caller);
      });
  world.log.info("epoch ", server->currentEpoch, " of cluster ", server->identity.cluster, " begins with ",
                 state.inodes, " inodes, ", state.chunks, " chunks, log at ", state.applied, " -> serve");
  co_return kj::mv(server);
}

Async<void> MetaServer::verifyInBackground() {
  // A store that is too big for it at the start. Whatever is read meanwhile is compared all the same.
  KJ_IF_MAYBE (worker, environment.worker) {
    bool damaged = co_await worker->run([this]() { names->verify(); })
                       .then([]() { return false; },
                             [this](kj::Exception&& exception) {
                               environment.log.error(exception.getDescription(),
                                                     " -> what lies there fails, the rest is served");
                               return true;
                             });
    if (!damaged) environment.log.info("every block of the namespace store matches its checksum -> go on");
  }
}

Async<void> MetaServer::configureTrash(TrashOptions wanted) {
  // Kept in the namespace: what is deleted must go where it went when the log is applied once more.
  auto& state = names->state();
  if (state.trashKeep == wanted.keepSeconds && state.trashAge == wanted.ageSeconds) co_return;
  auto operation = kj::heap<LoggedOperation>();
  auto configure = operation->body().initConfigureTrash();
  configure.setKeepS(wanted.keepSeconds);
  configure.setAgeS(wanted.ageSeconds);
  auto outcome = co_await log->propose(kj::mv(operation));
  if (!outcome.ok()) {
    environment.log.warning("the trash could not be configured: ", outcome.status, " -> it is as it was");
    co_return;
  }
  environment.log.info("deleted files that have lived for ", wanted.ageSeconds, " s are to be kept for ",
                       wanted.keepSeconds, " s -> ", wanted.keepSeconds == 0 ? "no trash" : "trash");
}

kj::Promise<uint16_t> MetaServer::listen(kj::StringPtr address) {
  return acceptor->listen(address);
}

kj::Promise<void> MetaServer::whenBroken() {
  return log->whenBroken().exclusiveJoin(metaService->whenOutrun());
}

Async<void> MetaServer::stop() {
  acceptor = nullptr;
  co_await log->close();
}

}  // namespace cairn
