// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The life of the cluster itself: its founding, epochs, sessions of clients and stores of chunk daemons.
//  - Session and server ids rise and are never given again, so a message from an old one cannot be taken for
//  a new one's.
//  - Inode numbers are never given again either, also not those that were given by operations which a loss
//  of power
//    has taken from the end of the log: a start skips more than there can have been.
//  - A store keeps the id that is on record for its UUID. If the record is lost (a metaserver restored from
//  an older
//    backup) the id that the store remembers is taken, unless another store has it.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/purge.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

namespace {
constexpr size_t HOST_MAX = 1024, CLIENT_NAME_MAX = 8192, STORE_NAME_MAX = 128;
}

Outcome found(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getFound();
  if (std::as_const(transaction).counters().nextInode != ROOT_INODE) return refusal(Status::EXISTS);
  ClusterId cluster{request.getClusterHigh(), request.getClusterLow()};
  if (!cluster) return refusal(Status::INVALID);

  auto& counters = transaction.counters();
  counters.cluster = cluster;
  counters.replicas = request.getReplicas();
  counters.nextInode = ROOT_INODE.next();
  counters.inodes = 1;
  Inode root;
  root.parent = ROOT_INODE;
  auto& attributes = root.attributes;
  attributes.inode = ROOT_INODE;
  attributes.type = FileType::DIRECTORY;
  attributes.mode = request.getMode() & 07777;
  attributes.uid = request.getUid();
  attributes.gid = request.getGid();
  attributes.links = 2;
  attributes.replicas = request.getReplicas();
  attributes.atime = attributes.mtime = attributes.ctime = transaction.now();
  Outcome outcome;
  outcome.attributes = transaction.put(root);
  return outcome;
}

Outcome startEpoch(rpc::Operation::Reader operation, Transaction& transaction) {
  auto& epoch = transaction.counters().epoch;
  epoch = epoch.next();
  auto& counters = transaction.counters();
  counters.boot = operation.getBoot();
  counters.skipTo(InodeId(counters.nextInode.value() + operation.getInodesSkipped()));
  Outcome outcome;
  outcome.number = epoch.value();
  return outcome;
}

Outcome openSession(rpc::Operation::Reader operation, Transaction& transaction, SessionAnswers& answers) {
  auto request = operation.getOpenSession();
  kj::StringPtr host = request.getHost(), name = request.getName();
  if (host.size() > HOST_MAX || name.size() > CLIENT_NAME_MAX) return refusal(Status::INVALID);

  auto& next = transaction.counters().nextSession;
  SessionRecord session;
  session.id = next;
  session.host = kj::str(host);
  session.name = kj::str(name);
  session.opened = transaction.now();
  next = next.next();
  transaction.putSession(session);
  answers.opened(session.id);
  Outcome outcome;
  outcome.number = session.id.value();
  return outcome;
}

Outcome closeSession(rpc::Operation::Reader operation, Transaction& transaction, SessionAnswers& answers) {
  auto request = operation.getCloseSession();
  SessionId session(request.getClosed());
  if (!answers.knows(session)) return refusal(Status::SESSION_EXPIRED);

  transaction.settle();
  Outcome outcome;
  transaction.dropSession(session);
  answers.closed(session, transaction);
  outcome.more = purgeOrphans(request.getPurge(), transaction);
  return outcome;
}

Outcome registerStore(rpc::Operation::Reader operation, Transaction& transaction) {
  auto request = operation.getRegisterStore();
  kj::StringPtr uuid = request.getStore();
  ServerId remembered(request.getServer());
  if (uuid.size() == 0 || uuid.size() > STORE_NAME_MAX) return refusal(Status::INVALID);
  Outcome outcome;
  KJ_IF_MAYBE (onRecord, transaction.store(uuid)) {
    outcome.number = onRecord->value();
    return outcome;
  }
  if (remembered) {
    transaction.settle();
    for (auto& [other, server] : transaction.allStores()) {
      if (server == remembered) return refusal(Status::INVALID);
    }
  }

  auto& next = transaction.counters().nextServer;
  ServerId server = remembered ? remembered : next;
  next = kj::max(next, server.next());
  transaction.putStore(uuid, server);
  outcome.number = server.value();
  return outcome;
}

Outcome unregisterStore(rpc::Operation::Reader operation, Transaction& transaction) {
  transaction.settle();
  for (auto& [uuid, server] : transaction.allStores()) {
    if (server.value() != operation.getUnregisterStore()) continue;
    transaction.dropStore(uuid);
    return Outcome();
  }
  return refusal(Status::NOT_FOUND);
}

}  // namespace cairn::ops
