// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Reconcile: which of the replicas that have just adopted a version are what the others are made equal to,
// and which are not known to be equal to it.
//
// A write is acknowledged when all replicas of its lease have applied it. So every replica that counts has
// every acknowledged write, unless its machine went down with writes that were not synced (a suspect); what
// they may differ in is writes that nobody was told had succeeded, and those may survive or vanish, but the
// same way everywhere. Therefore: any that is no suspect may be the reference, and the one that is known to
// have got furthest is taken. With suspects alone one of them is, and what was not synced may be lost.
//
// Equal without a look at their bytes: replicas that have applied the same writes of the same version, for
// they began it equal. That is all there is to compare after a clean hand-over. Pure. Called by
// chunk_grants.cc.
#pragma once

#include <kj/vector.h>

#include "rpc/units.h"

namespace cairn {

struct ContentMark {
  // How far a replica has come: Adopted.written and serial.
  ChunkVersion written;  // 0: not known
  uint64_t serial = 0;

  bool known() const { return written != ChunkVersion(); }
  constexpr auto operator<=>(const ContentMark&) const = default;
};

struct AdoptedReplica {
  ServerId server;
  ContentMark content;
  uint32_t length = 0;  // bytes
  enum class Machine { UNBROKEN, SUSPECT } machine = Machine::UNBROKEN;
};

struct ReconcilePlan {
  ServerId reference;            // none: all are equal
  kj::Vector<ServerId> unequal;  // to be made equal to it; those that are not in the list are
  enum class Reference { UNBROKEN, SUSPECT } kind = Reference::UNBROKEN;

  bool needed() const { return bool(reference); }
};

ReconcilePlan planReconcile(kj::ArrayPtr<const AdoptedReplica> replicas);

}  // namespace cairn
