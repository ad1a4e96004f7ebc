// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the metaserver knows of its chunk daemons, in one place: the volatile tables and deciders, and the
// capabilities through which stores take orders. Nothing of it is persistent; a restart learns it anew.
// Owned by meta_service.cc, used by the drivers (chunk_grants.cc, fleet_handlers.cc, chunk_survey.cc) and
// by reads.
#pragma once

#include <kj/timer.h>

#include <map>
#include <set>

#include "metaserver/chunk_table.h"
#include "metaserver/garbage_plan.h"
#include "metaserver/granted_leases.h"
#include "metaserver/safe_mode.h"
#include "metaserver/server_table.h"
#include "rpc/chunkd.capnp.h"
#include "rpc/result.h"

namespace cairn {

constexpr kj::Duration REPORT_PATIENCE =
    5 * kj::SECONDS;  // how long chunks of a store that reports are waited for

struct ClusterView {
  ClusterView(kj::TimePoint started, uint32_t minimumReplicas,
              SafeMode::WaitFor waitFor = SafeMode::WaitFor::ENOUGH)
      : safeMode(started, minimumReplicas, waitFor), minimumReplicas(minimumReplicas) {}
  KJ_DISALLOW_COPY(ClusterView);

  ServerTable servers;
  ChunkTable chunks{servers};
  GrantedLeases leases;
  SafeMode safeMode;
  GarbagePlan garbage;
  std::map<ServerId, rpc::ChunkServer::Client> orders;  // of connected stores
  std::set<ServerId> draining;                          // persistent in the namespace
  uint32_t minimumReplicas;

  uint32_t minimumOf(uint32_t wanted) const { return wanted < minimumReplicas ? wanted : minimumReplicas; }

  uint64_t standing(kj::TimePoint now) const;
  // A digest: another one when a store has come, gone, fallen silent, registered anew, been drained, or safe
  // mode has ended. What is known of chunks is worth another look then.

  bool moreMayCome(kj::TimePoint now) const;
  // Replicas that we miss may only not have been reported yet: worth a pause, not worth giving them up.

  Status noneLeft(ChunkHandle chunk, const ChunkRecord& record, kj::TimePoint now) const;
  // The answer for a chunk of which no good replica is known: NOT_READY, NO_REPLICA (a store is away that may
  // hold one), or IO_ERROR: every store of the cluster is here and has reported, so waiting brings none.

  enum class Nearness { SAME_HOST, SAME_RACK, ELSEWHERE };
  Nearness nearness(ServerId a, ServerId b) const;
};

}  // namespace cairn
