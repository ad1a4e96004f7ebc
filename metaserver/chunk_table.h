// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The second of the two tables: chunk handle -> replicas. Volatile: learned from the reports of the stores,
// kept up to date by what they answer to orders. An entry counts only while it belongs to the store's current
// registration: when a store registers again, all that it had told before is void at once, without a walk.
// Which version is current is the namespace's to say (ChunkRecord.version and floor).
// Called by meta_service.cc, fleet_handlers.cc and chunk_grants.cc.
#pragma once

#include <kj/vector.h>

#include <map>

#include "metaserver/inode.h"
#include "metaserver/reconcile_plan.h"
#include "metaserver/server_table.h"
#include "rpc/units.h"

namespace cairn {

struct ReplicaFacts {
  ServerId server;
  uint32_t registration = 0;  // of the server, when it told us
  ChunkVersion version;
  uint32_t length = 0;  // bytes, as last told
  enum class State : uint8_t { GOOD, FAILED, SUSPECT, CORRUPT } state = State::GOOD;
  // FAILED: it did not apply a write that its primary applied; that write was not acknowledged.
  // SUSPECT: its machine went down while it had writes that were not on stable storage: it may lack some.
  ContentMark content{};  // as last told
};

class ChunkTable {
 public:
  explicit ChunkTable(const ServerTable& servers) : servers(servers) {}

  void put(ChunkHandle chunk, const ReplicaFacts& replica);  // replaces what was known of that server
  void remove(ChunkHandle chunk, ServerId server);
  void forget(ChunkHandle chunk);

  kj::Vector<ReplicaFacts> replicas(ChunkHandle chunk) const;
  // Of current registrations, whatever their version and state, by server id.

  kj::ArrayPtr<const ReplicaFacts> known(ChunkHandle chunk) const;
  // Of earlier registrations as well: void, but a hint of what a store that reports now is going to say.

  struct Touched {
    kj::Vector<ChunkHandle> chunks;
    bool all = false;  // more than could be remembered
  };
  bool anyTouched() const { return touched.all || !touched.chunks.empty(); }
  Touched takeTouched();  // chunks whose replicas have changed since the last call, some of them twice

  kj::Vector<ReplicaFacts> candidates(ChunkHandle chunk, const ChunkRecord& record) const;
  // Those that may have the latest content: version within [floor, version], not corrupt. A raise that was
  // not confirmed leaves several versions among them; nothing was written under the higher one, all are good.

  uint32_t currentElsewhere(ChunkHandle chunk, const ChunkRecord& record, ServerId except,
                            kj::TimePoint now) const;
  // Candidates on other stores that answer and that are no suspects.

  kj::Vector<ChunkHandle> handlesAfter(ChunkHandle after, uint32_t limit) const;

  size_t chunks() const { return table.size(); }
  uint64_t changes() const { return changed; }  // of replicas, since the start

 private:
  bool counts(const ReplicaFacts& replica) const;
  void touch(ChunkHandle chunk);
  const ServerTable& servers;
  std::map<ChunkHandle, kj::Vector<ReplicaFacts>> table;  // ordered, so that a survey can go on where it was
  Touched touched;
  uint64_t changed = 0;
};

}  // namespace cairn
