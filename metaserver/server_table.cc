// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See server_table.h.
#include "metaserver/server_table.h"

#include <kj/debug.h>

namespace cairn {

kj::StringPtr KJ_STRINGIFY(ServerState state) {
  switch (state) {
    case ServerState::DOWN:
      return "down";
    case ServerState::REPORTING:
      return "reporting";
    case ServerState::UP:
      return "up";
    case ServerState::SILENT:
      return "silent";
  }
  KJ_UNREACHABLE;
}

ServerState Server::state(kj::TimePoint now) const {
  if (connection == Connection::GONE) return ServerState::DOWN;
  if (orders == Orders::MISSED) return ServerState::SILENT;
  if (now - heard >= HEARTBEAT_INTERVAL * HEARTBEATS_MISSED_MAX) return ServerState::SILENT;
  return report == Report::COMPLETE ? ServerState::UP : ServerState::REPORTING;
}

bool Server::answers(kj::TimePoint now) const {
  auto now_ = state(now);
  return now_ == ServerState::UP || now_ == ServerState::REPORTING;
}

void ServerTable::known(ServerId id, kj::StringPtr store) {
  auto& server = servers[id];
  server.id = id;
  server.store = kj::str(store);
}

void ServerTable::removed(ServerId id) {
  servers.erase(id);
  everReported.erase(id);
}

ServerTable::Admission ServerTable::admits(ServerId id, const ServerIdentity& identity,
                                           kj::TimePoint now) const {
  auto found = servers.find(id);
  if (found == servers.end() || found->second.registration == 0) return Admission::NEW_PROCESS;
  auto& server = found->second;
  if (server.identity == identity) return Admission::SAME_PROCESS;
  if (server.answers(now)) return Admission::REFUSED;
  return Admission::NEW_PROCESS;
}

uint32_t ServerTable::registered(Registration registration, kj::TimePoint now) {
  auto found = servers.find(registration.id);
  KJ_REQUIRE(found != servers.end(), "a store is known before it registers", registration.id);
  auto& server = found->second;
  server.address = kj::mv(registration.address);
  server.rack = kj::mv(registration.rack);
  server.identity = registration.identity;
  server.space = registration.space;
  server.connection = Server::Connection::OPEN;
  server.report = Server::Report::PARTIAL;
  server.heard = server.registered = now;
  server.orders = Server::Orders::ANSWERED;
  return ++server.registration;
}

Server* ServerTable::current(ServerId id, uint32_t registration) {
  auto found = servers.find(id);
  if (found == servers.end() || found->second.registration != registration) return nullptr;
  return &found->second;
}

bool ServerTable::heartbeat(ServerId id, uint32_t registration, const ServerSpace& space, kj::TimePoint now) {
  auto server = current(id, registration);
  if (server == nullptr) return false;
  server->space = space;
  server->heard = now;
  server->orders = Server::Orders::ANSWERED;
  return true;
}

void ServerTable::scrubbed(ServerId id, const ServerScrub& scrub) {
  auto found = servers.find(id);
  if (found != servers.end()) found->second.scrub = scrub;
}

bool ServerTable::reportComplete(ServerId id, uint32_t registration, kj::TimePoint now) {
  auto server = current(id, registration);
  if (server == nullptr) return false;
  server->report = Server::Report::COMPLETE;
  server->heard = now;
  server->orders = Server::Orders::ANSWERED;
  everReported[id] = registration;
  return true;
}

bool ServerTable::heard(ServerId id, uint32_t registration, kj::TimePoint now) {
  auto server = current(id, registration);
  if (server == nullptr) return false;
  server->heard = now;
  server->orders = Server::Orders::ANSWERED;
  return true;
}

bool ServerTable::missed(ServerId id, uint32_t registration) {
  auto server = current(id, registration);
  if (server == nullptr) return false;
  server->orders = Server::Orders::MISSED;
  return true;
}

bool ServerTable::disconnected(ServerId id, uint32_t registration) {
  auto server = current(id, registration);
  if (server == nullptr) return false;
  server->connection = Server::Connection::GONE;
  return true;
}

void ServerTable::created(ServerId id, kj::TimePoint now) {
  auto found = servers.find(id);
  if (found != servers.end()) found->second.creations.add(now);
}

uint32_t ServerTable::recentCreations(ServerId id, kj::TimePoint now) {
  auto found = servers.find(id);
  if (found == servers.end()) return 0;
  auto& creations = found->second.creations;
  size_t old = 0;
  while (old < creations.size() && now - creations[old] >= CREATIONS_WINDOW) ++old;
  if (old > 0) {
    kj::Vector<kj::TimePoint> rest(creations.size() - old);
    rest.addAll(creations.begin() + old, creations.end());
    creations = kj::mv(rest);
  }
  return creations.size();
}

kj::Maybe<const Server&> ServerTable::find(ServerId id) const {
  auto found = servers.find(id);
  if (found == servers.end()) return nullptr;
  return found->second;
}

uint32_t ServerTable::reported() const {
  return everReported.size();
}

}  // namespace cairn
