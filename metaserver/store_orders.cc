// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See store_orders.h.
#include "metaserver/store_orders.h"

#include <algorithm>

#include "rpc/coroutine.h"
#include "rpc/deadline.h"

namespace cairn {

bool AdoptAnswer::adopted() const {
  KJ_IF_MAYBE (answer, status) return ok(*answer);
  return false;
}

kj::Maybe<rpc::ChunkServer::Client> StoreOrders::capability(ServerId server) {
  auto found = view.orders.find(server);
  if (found == view.orders.end()) return nullptr;
  return found->second;
}

uint32_t StoreOrders::registrationOf(ServerId server) const {
  KJ_IF_MAYBE (known, view.servers.find(server)) return known->registration;
  return 0;
}

void StoreOrders::writeReplica(rpc::Replica::Builder replica, ServerId id) const {
  replica.setServer(id.value());
  KJ_IF_MAYBE (server, view.servers.find(id)) {
    auto address = replica.getAddress();
    address.setNetwork(server->address.network);
    address.setLocal(server->address.local);
    address.setHost(server->address.host);
  }
}

Async<void> StoreOrders::patience(ServerId server, kj::Duration most) {
  auto sent = timer.now();
  for (;;) {
    co_await timer.afterDelay(ORDER_DEADLINE);
    auto now = timer.now();
    if (now - sent >= most) co_return;
    bool lives = false;
    KJ_IF_MAYBE (known, view.servers.find(server)) {
      lives = known->connection == Server::Connection::OPEN && known->heard > sent &&
              now - known->heard < 2 * HEARTBEAT_INTERVAL;
    }
    if (!lives) co_return;
  }
}

template <typename T>
kj::Promise<T> StoreOrders::bounded(ServerId server, kj::Promise<T> promise, kj::Duration most) {
  return promise.exclusiveJoin(patience(server, most).then([]() -> kj::Promise<T> {
    return deadlinePassed("an order to a store", ORDER_DEADLINE);
  }));
}

void StoreOrders::noAnswer(ServerId server, uint32_t registration, kj::StringPtr what,
                           const kj::Exception& exception) {
  if (exception.getType() == kj::Exception::Type::OVERLOADED) view.servers.missed(server, registration);
  log.warning("store ", server, " did not answer ", what, " (", exception.getDescription(),
              ") -> go on without it");
}

Async<AdoptAnswer> StoreOrders::adopt(AdoptOrder order) {
  AdoptAnswer answer{order.server, nullptr, 0, registrationOf(order.server)};
  auto found = capability(order.server);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->adoptRequest();
      request.setEpoch(epoch.value());
      auto adoption = request.initChunks(1)[0];
      adoption.setHandle(order.chunk.value());
      adoption.setFrom(order.from.value());
      adoption.setVersion(order.version.value());
      adoption.setTruncate(order.truncate);
      kj::Promise<capnp::Response<rpc::ChunkServer::AdoptResults>> sent = request.send();
      auto response = co_await bounded(order.server, kj::mv(sent));
      view.servers.heard(order.server, answer.registration, timer.now());
      auto results = response.getResults();
      if (results.size() == 1 && results[0].getHandle() == order.chunk.value()) {
        answer.status = results[0].getStatus();
        answer.length = results[0].getLength();
        answer.content = {ChunkVersion(results[0].getWritten()), results[0].getSerial()};
        if (results[0].getSuspect()) answer.machine = AdoptAnswer::Machine::SUSPECT;
      } else {
        log.error("store ", order.server, " answered an adopt of chunk ", order.chunk, " with ",
                  results.size(), " results -> taken as a refusal");
        answer.status = Status::INVALID;
      }
    } catch (const kj::Exception& exception) {
      noAnswer(order.server, answer.registration, "adopt", exception);
    }
  }
  co_return kj::mv(answer);
}

kj::Promise<kj::Array<AdoptAnswer>> StoreOrders::adoptAll(kj::Array<AdoptOrder> orders) {
  auto promises = kj::heapArrayBuilder<kj::Promise<AdoptAnswer>>(orders.size());
  for (auto& order : orders) promises.add(adopt(order));
  return kj::joinPromises(promises.finish());
}

Async<kj::Maybe<Status>> StoreOrders::lease(ChunkHandle chunk, ChunkVersion version,
                                            kj::Array<ServerId> members) {
  auto primary = members[0];
  auto registration = registrationOf(primary);
  auto found = capability(primary);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->leaseRequest();
      request.setEpoch(epoch.value());
      auto grant = request.initLeases(1)[0];
      grant.getChunk().setHandle(chunk.value());
      grant.getChunk().setVersion(version.value());
      grant.setDurationMs(LEASE_TERM / kj::MILLISECONDS);
      auto secondaries = grant.initSecondaries(members.size() - 1);
      for (size_t i = 1; i < members.size(); ++i) writeReplica(secondaries[i - 1], members[i]);
      kj::Promise<capnp::Response<rpc::ChunkServer::LeaseResults>> sent = request.send();
      auto response = co_await bounded(primary, kj::mv(sent));
      view.servers.heard(primary, registration, timer.now());
      co_return kj::Maybe<Status>(response.getStatus());
    } catch (const kj::Exception& exception) {
      noAnswer(primary, registration, "lease", exception);
    }
  }
  co_return nullptr;
}

kj::Promise<kj::Maybe<Status>> StoreOrders::revoke(ServerId server, ChunkHandle chunk, ChunkVersion version) {
  auto chunks = kj::heapArray<ReplicaId>(1);
  chunks[0] = {chunk, version};
  return revokeAll(server, kj::mv(chunks));
}

Async<kj::Maybe<Status>> StoreOrders::revokeAll(ServerId server, kj::Array<ReplicaId> chunks) {
  auto registration = registrationOf(server);
  auto found = capability(server);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->revokeRequest();
      request.setEpoch(epoch.value());
      auto list = request.initChunks(chunks.size());
      for (size_t i = 0; i < chunks.size(); ++i) {
        list[i].setHandle(chunks[i].chunk.value());
        list[i].setVersion(chunks[i].version.value());
      }
      kj::Promise<capnp::Response<rpc::ChunkServer::RevokeResults>> sent = request.send();
      auto response = co_await bounded(server, kj::mv(sent));
      view.servers.heard(server, registration, timer.now());
      co_return kj::Maybe<Status>(response.getStatus());
    } catch (const kj::Exception& exception) {
      noAnswer(server, registration, "revoke", exception);
    }
  }
  co_return nullptr;
}

Async<CloneReport> StoreOrders::clone(ServerId server, ReplicaId source, ChunkHandle target, uint32_t bytes) {
  CloneReport report;
  report.registration = registrationOf(server);
  auto found = capability(server);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->cloneRequest();
      request.setEpoch(epoch.value());
      request.getChunk().setHandle(source.chunk.value());
      request.getChunk().setVersion(source.version.value());
      request.setClone(target.value());
      request.setBytes(bytes);
      kj::Promise<capnp::Response<rpc::ChunkServer::CloneResults>> sent = request.send();
      auto response = co_await bounded(server, kj::mv(sent), COPY_DEADLINE_MAX);
      view.servers.heard(server, report.registration, timer.now());
      report.status = response.getStatus();
      report.length = response.getLength();
    } catch (const kj::Exception& exception) {
      noAnswer(server, report.registration, "clone", exception);
    }
  }
  co_return kj::mv(report);
}

Async<kj::Maybe<Status>> StoreOrders::remove(ServerId server, kj::Array<DoomedReplica> replicas) {
  auto registration = registrationOf(server);
  auto found = capability(server);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->deleteRequest();
      request.setEpoch(epoch.value());
      auto chunks = request.initChunks(replicas.size());
      for (size_t i = 0; i < replicas.size(); ++i) {
        chunks[i].setHandle(replicas[i].chunk.value());
        chunks[i].setVersion(replicas[i].version.value());
      }
      kj::Promise<capnp::Response<rpc::ChunkServer::DeleteResults>> sent = request.send();
      auto response = co_await bounded(server, kj::mv(sent));
      view.servers.heard(server, registration, timer.now());
      co_return kj::Maybe<Status>(response.getStatus());
    } catch (const kj::Exception& exception) {
      noAnswer(server, registration, "delete", exception);
    }
  }
  co_return nullptr;
}

Async<CopyReport> StoreOrders::copy(CopyRequest order) {
  CopyReport report;
  report.registration = registrationOf(order.target);
  auto found = capability(order.target);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->copyRequest();
      request.setEpoch(epoch.value());
      request.getChunk().setHandle(order.chunk.value());
      request.getChunk().setVersion(order.version.value());
      request.setReplace(order.replace.value());
      request.setLimit(order.limit);
      request.setCommit(order.end == CopyRequest::End::COMMIT);
      auto sources = request.initSources(order.sources.size());
      for (size_t i = 0; i < order.sources.size(); ++i) writeReplica(sources[i], order.sources[i]);
      kj::Promise<capnp::Response<rpc::ChunkServer::CopyResults>> sent = request.send();
      auto response = co_await bounded(order.target, kj::mv(sent), COPY_DEADLINE_MAX);
      view.servers.heard(order.target, report.registration, timer.now());
      report.status = response.getStatus();
      report.copied = response.getCopied();
      report.left = response.getLeft();
      report.length = response.getLength();
      for (auto server : response.getBad()) report.bad.add(ServerId(server));
    } catch (const kj::Exception& exception) {
      noAnswer(order.target, report.registration, "a copy", exception);
    }
  }
  co_return kj::mv(report);
}

Async<ReconcileReport> StoreOrders::reconcile(ReconcileRequest order) {
  ReconcileReport report{order.target, nullptr};
  report.registration = registrationOf(order.target);
  auto found = capability(order.target);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->reconcileRequest();
      request.setEpoch(epoch.value());
      request.getChunk().setHandle(order.chunk.value());
      request.getChunk().setVersion(order.version.value());
      KJ_IF_MAYBE (source, order.source) writeReplica(request.initSources(1)[0], *source);
      kj::Promise<capnp::Response<rpc::ChunkServer::ReconcileResults>> sent = request.send();
      auto response = co_await bounded(order.target, kj::mv(sent), COPY_DEADLINE_MAX);
      view.servers.heard(order.target, report.registration, timer.now());
      report.status = response.getStatus();
      report.copied = response.getCopied();
      report.length = response.getLength();
      for (auto server : response.getBad()) report.bad.add(ServerId(server));
    } catch (const kj::Exception& exception) {
      noAnswer(order.target, report.registration, "a reconcile", exception);
    }
  }
  co_return kj::mv(report);
}

Async<StoreOrders::Description> StoreOrders::describe(ServerId server, ChunkHandle chunk) {
  Description description;
  auto registration = registrationOf(server);
  auto found = capability(server);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->describeRequest();
      request.initChunks(1).set(0, chunk.value());
      kj::Promise<capnp::Response<rpc::ChunkServer::DescribeResults>> sent = request.send();
      auto response = co_await bounded(server, kj::mv(sent));
      view.servers.heard(server, registration, timer.now());
      description.answered = Description::Answered::YES;
      for (auto report : response.getChunks()) {
        if (report.getHandle() != chunk.value()) continue;
        auto state = report.getCorrupt()   ? ReplicaFacts::State::CORRUPT
                     : report.getSuspect() ? ReplicaFacts::State::SUSPECT
                                           : ReplicaFacts::State::GOOD;
        description.replica =
            ReplicaFacts{server, registration, ChunkVersion(report.getVersion()), report.getLength(), state};
      }
    } catch (const kj::Exception& exception) {
      noAnswer(server, registration, "a question", exception);
    }
  }
  co_return kj::mv(description);
}

Async<kj::Maybe<StoreOrders::Content>> StoreOrders::content(ServerId server, ChunkHandle chunk,
                                                            ChunkVersion version) {
  auto registration = registrationOf(server);
  auto found = capability(server);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->checksumsRequest();
      request.getChunk().setHandle(chunk.value());
      request.getChunk().setVersion(version.value());
      kj::Promise<capnp::Response<rpc::ChunkServer::ChecksumsResults>> sent = request.send();
      auto response = co_await bounded(server, kj::mv(sent));
      view.servers.heard(server, registration, timer.now());
      if (!ok(response.getStatus())) co_return nullptr;
      co_return Content{response.getLength(), kj::heapArray<kj::byte>(response.getChecksums())};
    } catch (const kj::Exception& exception) {
      noAnswer(server, registration, "a question for checksums", exception);
    }
  }
  co_return nullptr;
}

Async<Life> StoreOrders::probe(ServerId server) {
  auto registration = registrationOf(server);
  auto found = capability(server);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->describeRequest();
      request.initChunks(0);
      kj::Promise<capnp::Response<rpc::ChunkServer::DescribeResults>> sent = request.send();
      co_await withDeadline(timer, kj::mv(sent), PROBE_DEADLINE, kj::str("probe of store ", server));
      view.servers.heard(server, registration, timer.now());
      co_return Life::ALIVE;
    } catch (const kj::Exception& exception) {
      noAnswer(server, registration, "a probe", exception);
    }
  }
  co_return Life::NO_ANSWER;
}

Async<kj::Maybe<StoreOrders::FileCheck>> StoreOrders::checkFiles(ServerId server, ChunkHandle after,
                                                                 uint32_t limit) {
  auto registration = registrationOf(server);
  auto found = capability(server);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->checkFilesRequest();
      request.setAfter(after.value());
      request.setLimit(limit);
      kj::Promise<capnp::Response<rpc::ChunkServer::CheckFilesResults>> sent = request.send();
      auto response = co_await withDeadline(timer, kj::mv(sent), VERIFY_DEADLINE,
                                            kj::str("a check of files at store ", server));
      view.servers.heard(server, registration, timer.now());
      FileCheck check;
      for (auto problem : response.getProblems()) {
        check.problems.push_back({ChunkHandle(problem.getHandle()), problem.getProblem().cStr()});
      }
      check.next = ChunkHandle(response.getNext());
      check.checked = response.getChecked();
      check.end = response.getEnd();
      co_return kj::mv(check);
    } catch (const kj::Exception& exception) {
      if (exception.getType() != kj::Exception::Type::UNIMPLEMENTED) {
        noAnswer(server, registration, "a check of files", exception);
      }
    }
  }
  co_return nullptr;
}

Async<kj::Maybe<Status>> StoreOrders::verify(ServerId server, ChunkHandle chunk, ChunkVersion version) {
  auto registration = registrationOf(server);
  auto found = capability(server);
  KJ_IF_MAYBE (store, found) {
    try {
      auto request = store->verifyRequest();
      request.getChunk().setHandle(chunk.value());
      request.getChunk().setVersion(version.value());
      kj::Promise<capnp::Response<rpc::ChunkServer::VerifyResults>> sent = request.send();
      auto response =
          co_await withDeadline(timer, kj::mv(sent), VERIFY_DEADLINE, kj::str("verify at store ", server));
      view.servers.heard(server, registration, timer.now());
      co_return kj::Maybe<Status>(response.getStatus());
    } catch (const kj::Exception& exception) {
      noAnswer(server, registration, "verify", exception);
    }
  }
  co_return nullptr;
}

}  // namespace cairn
