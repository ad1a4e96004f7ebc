// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See reconcile_plan.h.
#include "metaserver/reconcile_plan.h"

#include <tuple>

namespace cairn {

namespace {

bool isSuspect(const AdoptedReplica& replica) {
  return replica.machine == AdoptedReplica::Machine::SUSPECT;
}

}  // namespace

ReconcilePlan planReconcile(kj::ArrayPtr<const AdoptedReplica> replicas) {
  ReconcilePlan plan;
  const AdoptedReplica* reference = nullptr;
  auto merit = [](const AdoptedReplica& replica) {
    return std::make_tuple(!isSuspect(replica), replica.content, replica.length);
  };
  for (auto& replica : replicas) {
    if (reference == nullptr || merit(replica) > merit(*reference)) reference = &replica;
  }
  if (reference == nullptr) return plan;
  for (auto& replica : replicas) {
    if (&replica == reference) continue;
    bool equal = !isSuspect(replica) && !isSuspect(*reference) && replica.content.known() &&
                 replica.content == reference->content;
    if (!equal) plan.unequal.add(replica.server);
  }
  if (!plan.unequal.empty() || isSuspect(*reference)) plan.reference = reference->server;
  if (isSuspect(*reference)) plan.kind = ReconcilePlan::Reference::SUSPECT;
  return plan;
}

}  // namespace cairn
