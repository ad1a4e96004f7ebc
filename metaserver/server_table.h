// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The chunk daemons: one entry per store, by its durable server id. Which stores exist is persistent (the
// namespace); what is known of them now (address, space, heartbeat) is learned when they register.
//   DOWN       its connection is gone, or it has not come since the start
//   REPORTING  connected; its list of chunks is not complete yet
//   UP         connected, complete, heartbeats in time
//   SILENT     connected, but HEARTBEATS_MISSED_MAX heartbeats are missing, or an order went unanswered and
//   nothing
//              was heard since: hung, stopped or cut off. It gets no new chunks and stands last in answers;
//              it is not dead, and may come back any moment.
// A registration counts up for each time a store registers: events of an old connection (its end may be
// noticed after the new one began) name the registration they belong to and are then ignored. Pure: the
// caller passes `now`. Called by meta_service.cc, fleet_handlers.cc and chunk_grants.cc.
#pragma once

#include <kj/string.h>
#include <kj/vector.h>

#include <map>

#include "rpc/units.h"

namespace cairn {

enum class ServerState { DOWN, REPORTING, UP, SILENT };
kj::StringPtr KJ_STRINGIFY(ServerState state);

struct ServerAddress {
  kj::String network, local, host;  // rpc/common.capnp Address
  ServerAddress clone() const { return {kj::str(network), kj::str(local), kj::str(host)}; }
};

struct ServerSpace {
  uint64_t bytesTotal = 0, bytesFree = 0, chunks = 0;
  uint32_t load = 0;  // operations in flight
};

struct ServerScrub {
  uint64_t oldestSeconds = 0, bytes = 0, damaged = 0, bytesPerSecond = 0;  // rpc/metaserver.capnp ScrubStatus
};

struct ServerIdentity {
  // The process that serves a store.
  uint64_t boot = 0;  // of its machine
  uint32_t pid = 0;
  bool operator==(const ServerIdentity&) const = default;
};

struct Server {
  ServerId id;
  kj::String store;  // UUID
  ServerAddress address;
  kj::String rack;
  ServerIdentity identity;
  ServerSpace space;
  ServerScrub scrub;
  uint32_t registration = 0;  // 0: not since the start
  enum class Connection { GONE, OPEN } connection = Connection::GONE;
  enum class Report { PARTIAL, COMPLETE } report = Report::PARTIAL;
  kj::TimePoint heard = kj::origin<kj::TimePoint>();
  enum class Orders {
    ANSWERED,
    MISSED
  } orders = Orders::ANSWERED;  // MISSED: one passed its deadline, nothing heard since
  kj::TimePoint registered = kj::origin<kj::TimePoint>();
  kj::Vector<kj::TimePoint> creations;  // of chunks, within CREATIONS_WINDOW

  ServerState state(kj::TimePoint now) const;
  bool answers(kj::TimePoint now) const;  // connected and not silent
};

constexpr kj::Duration CREATIONS_WINDOW = 60 * kj::SECONDS;

class ServerTable {
 public:
  void known(ServerId id, kj::StringPtr store);  // from the namespace, at the start or when it is new
  void removed(ServerId id);

  struct Registration {
    ServerId id;
    ServerAddress address;
    kj::String rack;
    ServerIdentity identity;
    ServerSpace space;
  };
  enum class Admission { NEW_PROCESS, SAME_PROCESS, REFUSED };
  Admission admits(ServerId id, const ServerIdentity& identity, kj::TimePoint now) const;
  // REFUSED: another process serves that store now, and its heartbeats arrive.

  uint32_t registered(Registration registration, kj::TimePoint now);  // answers its number
  bool heartbeat(ServerId id, uint32_t registration, const ServerSpace& space, kj::TimePoint now);
  void scrubbed(ServerId id, const ServerScrub& scrub);
  bool reportComplete(ServerId id, uint32_t registration, kj::TimePoint now);
  bool heard(ServerId id, uint32_t registration,
             kj::TimePoint now);                    // any sign of life: an order was answered
  bool missed(ServerId id, uint32_t registration);  // an order passed its deadline
  bool disconnected(ServerId id, uint32_t registration);
  // Each answers whether it was about the current registration.

  void created(ServerId id, kj::TimePoint now);  // a chunk was placed there
  uint32_t recentCreations(ServerId id, kj::TimePoint now);

  kj::Maybe<const Server&> find(ServerId id) const;
  const std::map<ServerId, Server>& all() const { return servers; }
  uint32_t reported() const;  // stores whose report was completed since the start
  uint32_t size() const { return servers.size(); }

 private:
  Server* current(ServerId id, uint32_t registration);
  std::map<ServerId, Server> servers;
  std::map<ServerId, uint32_t> everReported;
};

}  // namespace cairn
