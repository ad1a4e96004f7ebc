// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See meta_service.h.
#include "metaserver/meta_service.h"

#include "metaserver/metaserver_handlers.h"
#include "rpc/coroutine.h"
#include "rpc/deadline.h"

namespace cairn {

MetaService::MetaService(const MetaServiceOptions& options, OperationLog& operationLog,
                         const NamespaceReader& names, kj::Timer& timer, kj::EntropySource& entropy,
                         env::Logger logger)
    : names(names),
      timer(timer),
      log(kj::mv(logger)),
      gate(operationLog, timer, log),
      operations(gate),
      snapshotLimits(options.snapshots),
      view(timer.now(), options.minimumReplicas,
           names.state().restored == Restored::TAKING_OVER ? SafeMode::WaitFor::ALL
                                                           : SafeMode::WaitFor::ENOUGH),
      orders(view, timer, operations.epoch(), log),
      grants(view, orders, operations, names, timer, entropy, log),
      repair(options.repair, view, orders, grants, names, timer, log),
      rebalance(options.rebalance, view, repair, names, timer, log),
      survey(view, orders, operations, names, repair, timer, log),
      sessions(operations, names, timer, log),
      locks(sessions, names, timer, log),
      trash(view, operations, names, timer, log),
      leases(sessions, grants, names, timer, operations.epoch(), log),
      quotas(operations, names, trash, timer, log),
      stagings(gate, names, timer, log),
      tasks(*this) {
  for (auto& store : names.stores()) {
    view.servers.known(store.server, store.store);
    if (store.draining == Draining::YES) view.draining.insert(store.server);
  }
  survey.startAnew();
  if (options.brake == MetaServiceOptions::Brake::RELEASE) view.garbage.releaseBrake();
  reportsChanged();
  tasks.add(watch());
  tasks.add(repair.run());
  tasks.add(grants.settleForEver());
  tasks.add(rebalance.run());
  tasks.add(survey.run());
  tasks.add(sessions.run());
  tasks.add(trash.run());
  tasks.add(leases.run());
  tasks.add(quotas.run());
  tasks.add(stagings.run());
}

MetaService::~MetaService() noexcept(false) = default;

void MetaService::taskFailed(kj::Exception&& exception) {
  log.error("background work of the metaserver ended with a bug, restart it: ", exception);
}

rpc::Metaserver::Client MetaService::newConnection(kj::StringPtr caller) {
  return kj::heap<MetaserverHandlers>(*this, kj::str(caller));
}

void MetaService::reportsChanged() {
  auto change = view.safeMode.update(view.servers.size(), view.servers.reported(), timer.now());
  if (change == SafeMode::Change::LEFT) log.info(view.safeMode.leftBecause(), " -> safe mode is over");
}

Async<void> MetaService::watch() {
  for (;;) {
    co_await timer.afterDelay(HEARTBEAT_INTERVAL);
    reportsChanged();
    for (auto& [chunk, primary] : view.leases.expire(timer.now())) {
      KJ_IF_MAYBE (server, view.servers.find(primary)) {
        if (!server->answers(timer.now())) grants.unsettled(chunk);
      }
      log.debug("nobody can believe in the lease of chunk ", chunk, " any more -> forgotten");
    }
  }
}

Async<void> MetaService::learnEpoch(Epoch seen, kj::StringPtr store) {
  // The store obeys nobody of a lower epoch. Of a namespace that takes over after a restore that is to be
  // expected: the backup does not know of the starts after it. Of any other it means that the right
  // metaserver is elsewhere.
  if (names.state().restored != Restored::TAKING_OVER) {
    log.error("store ", store, " has obeyed epoch ", seen, ", ours is ", operations.epoch(),
              " -> it will not obey us: this metaserver's directory is an old copy, or the right one runs "
              "elsewhere. A backup becomes a namespace with `cairn-metaserver restore` only");
    co_return;
  }
  auto operation = kj::heap<LoggedOperation>();
  operation->body().setEpochSeen(seen.value());
  auto outcome = co_await operations.propose(kj::mv(operation));
  if (outcome.ok()) outcome.status = co_await operations.durable(outcome.index);
  if (!outcome.ok()) co_return;
  auto sentence = kj::str("this namespace was restored from a backup, and store ", store,
                          " has obeyed epoch ", seen, " meanwhile, ours is ", operations.epoch(),
                          ". It is noted, nothing is lost: start it again, and it begins a higher one.");
  log.warning(sentence);
  if (outrun.fulfiller->isWaiting()) outrun.fulfiller->reject(KJ_EXCEPTION(FAILED, kj::mv(sentence)));
}

Async<MetaService::Membership> MetaService::join(rpc::StoreDescription::Reader store,
                                                 rpc::ChunkServer::Client client) {
  Membership membership;
  auto uuid = store.getStore();
  ServerId id(store.getServer());
  bool known = false;
  KJ_IF_MAYBE (server, view.servers.find(id)) known = server->store == uuid;
  if (!known) {
    auto operation = kj::heap<LoggedOperation>();
    auto registration = operation->body().initRegisterStore();
    registration.setStore(uuid);
    registration.setServer(id.value());
    auto outcome = co_await operations.propose(kj::mv(operation));
    // The store will remember the id on its disk: a power cut must not make us forget it.
    if (outcome.ok()) outcome.status = co_await operations.durable(outcome.index);
    if (!outcome.ok()) {
      membership.status = outcome.status;
      membership.message = kj::str("store ", uuid, " cannot join: ", outcome.status,
                                   outcome.status == Status::INVALID
                                       ? " (another store has the id that it remembers: a copied directory?)"
                                       : "");
      co_return kj::mv(membership);
    }
    id = ServerId(outcome.number);
    view.servers.known(id, uuid);
  }
  if (Epoch(store.getEpoch()) > operations.epoch()) co_await learnEpoch(Epoch(store.getEpoch()), uuid);
  auto now = timer.now();
  ServerIdentity identity{store.getBoot(), store.getPid()};
  auto admission = view.servers.admits(id, identity, now);
  if (admission == ServerTable::Admission::REFUSED && hasRestarted(id, store)) {
    // The process that we take for alive went with its machine's power and could not say so: nobody answers.
    auto life = co_await orders.probe(id);
    now = timer.now();
    admission = view.servers.admits(id, identity, now);
    if (life == Life::NO_ANSWER && admission == ServerTable::Admission::REFUSED) {
      log.info("the machine of store ", id,
               " has restarted, and its process of before does not answer -> it is over");
      admission = ServerTable::Admission::NEW_PROCESS;
    }
  }
  if (admission == ServerTable::Admission::REFUSED) {
    auto& other = KJ_ASSERT_NONNULL(view.servers.find(id));
    membership.status = Status::EXISTS;
    membership.message =
        kj::str("process ", other.identity.pid, " at ", other.address.network, " serves store ", uuid,
                " (server ", id, ") now; stop it first, or is one directory a copy of the other?");
    log.warning(membership.message, " -> process ", identity.pid, " is refused");
    co_return kj::mv(membership);
  }
  if (admission == ServerTable::Admission::NEW_PROCESS) {
    auto ended = view.leases.processEnded(id);
    for (auto chunk : ended) grants.unsettled(chunk);
    if (ended.size() > 0)
      log.info("store ", id, " has a new process -> its ", ended.size(), " leases are over");
  }
  auto address = store.getAddress();
  membership.server = id;
  membership.registration = view.servers.registered(
      {id,
       {kj::str(address.getNetwork()), kj::str(address.getLocal()), kj::str(address.getHost())},
       kj::str(store.getRack()),
       identity,
       {store.getBytesTotal(), store.getBytesFree(), store.getChunks(), 0}},
      now);
  view.orders.erase(id);
  view.orders.emplace(id, kj::mv(client));
  view.garbage.reportBegins(id);
  log.info("store ", id, " (", uuid, ") joins from ", address.getNetwork(), ", process ", identity.pid,
           " -> waiting for its report of ", store.getChunks(), " chunks");
  reportsChanged();
  co_return kj::mv(membership);
}

bool MetaService::hasRestarted(ServerId id, rpc::StoreDescription::Reader newcomer) const {
  // The same machine in another boot. A copy of the directory on another machine is none.
  auto nameOf = [](kj::StringPtr host) {
    return host.slice(0, host.findFirst('/').orDefault(host.size()));  // env::machineIdentity()
  };
  KJ_IF_MAYBE (known, view.servers.find(id)) {
    return known->identity.boot != newcomer.getBoot() &&
           nameOf(known->address.host) == nameOf(newcomer.getAddress().getHost());
  }
  return false;
}

void MetaService::left(ServerId server, uint32_t registration) {
  if (!view.servers.disconnected(server, registration)) return;  // it has come back already
  view.orders.erase(server);
  log.warning("the connection of store ", server, " is gone -> it is down");
}

void MetaService::doubt(ServerId server) {
  KJ_IF_MAYBE (known, view.servers.find(server)) {
    if (known->answers(timer.now())) tasks.add(orders.probe(server).ignoreResult());
  }
}

kj::Maybe<ReplicaFacts> MetaService::replicaAt(ChunkHandle chunk, ServerId server) const {
  auto record = names.chunk(chunk);
  if (record == nullptr) return nullptr;
  for (auto& replica : view.chunks.candidates(chunk, KJ_ASSERT_NONNULL(record))) {
    if (replica.server == server) return replica;
  }
  return nullptr;
}

Async<Status> MetaService::corruptReplica(ChunkHandle chunk, ServerId server, kj::StringPtr why) {
  // A client's word alone takes nothing out: bytes may go bad on their way, too. The store reads them all.
  auto verifying = std::make_pair(chunk, server);
  if (!verified.insert(verifying).second) co_return Status::BUSY;  // asked already
  KJ_DEFER(verified.erase(verifying));
  auto found = replicaAt(chunk, server);
  if (found == nullptr) co_return Status::NO_REPLICA;
  auto facts = KJ_ASSERT_NONNULL(found);
  auto answer = co_await orders.verify(server, chunk, facts.version);
  auto status = answer.orDefault(Status::NOT_READY);
  if (status != Status::CORRUPT) {
    log.warning("chunk ", chunk, " v", facts.version, " on store ", server, ": ", why,
                "; the store finds: ", status,
                " -> it stays; damage on the way, or of memory, looks like this");
    co_return status;
  }
  KJ_IF_MAYBE (now, replicaAt(chunk, server)) {
    if (now->registration != facts.registration) co_return Status::STALE;
    now->state = ReplicaFacts::State::CORRUPT;
    view.chunks.put(chunk, *now);
    log.error("chunk ", chunk, " v", facts.version, " on store ", server, ": ", why,
              "; the store finds the same -> the replica is out");
  }
  co_return status;
}

}  // namespace cairn
