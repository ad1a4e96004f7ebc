// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See chunk_table.h.
#include "metaserver/chunk_table.h"

#include <algorithm>

namespace cairn {

bool ChunkTable::counts(const ReplicaFacts& replica) const {
  KJ_IF_MAYBE (server, servers.find(replica.server)) return server->registration == replica.registration;
  return false;
}

void ChunkTable::touch(ChunkHandle chunk) {
  constexpr size_t TOUCHED_MAX = 100'000;
  ++changed;
  if (touched.chunks.size() < TOUCHED_MAX) {
    touched.chunks.add(chunk);
  } else {
    touched.all = true;
  }
}

ChunkTable::Touched ChunkTable::takeTouched() {
  auto result = kj::mv(touched);
  touched = Touched();
  return result;
}

kj::ArrayPtr<const ReplicaFacts> ChunkTable::known(ChunkHandle chunk) const {
  auto found = table.find(chunk);
  if (found == table.end()) return nullptr;
  return found->second.asPtr();
}

void ChunkTable::put(ChunkHandle chunk, const ReplicaFacts& replica) {
  touch(chunk);
  auto& replicas = table[chunk];
  for (auto& known : replicas) {
    if (known.server == replica.server) {
      known = replica;
      return;
    }
  }
  replicas.add(replica);
  std::sort(replicas.begin(), replicas.end(), [](auto& a, auto& b) { return a.server < b.server; });
}

void ChunkTable::remove(ChunkHandle chunk, ServerId server) {
  auto found = table.find(chunk);
  if (found == table.end()) return;
  touch(chunk);
  kj::Vector<ReplicaFacts> rest;
  for (auto& replica : found->second) {
    if (replica.server != server) rest.add(replica);
  }
  if (rest.empty()) {
    table.erase(found);
  } else {
    found->second = kj::mv(rest);
  }
}

void ChunkTable::forget(ChunkHandle chunk) {
  changed += table.erase(chunk);
}

kj::Vector<ChunkHandle> ChunkTable::handlesAfter(ChunkHandle after, uint32_t limit) const {
  kj::Vector<ChunkHandle> result;
  for (auto it = table.upper_bound(after); it != table.end() && result.size() < limit; ++it)
    result.add(it->first);
  return result;
}

kj::Vector<ReplicaFacts> ChunkTable::replicas(ChunkHandle chunk) const {
  kj::Vector<ReplicaFacts> result;
  auto found = table.find(chunk);
  if (found == table.end()) return result;
  for (auto& replica : found->second) {
    if (counts(replica)) result.add(replica);
  }
  return result;
}

kj::Vector<ReplicaFacts> ChunkTable::candidates(ChunkHandle chunk, const ChunkRecord& record) const {
  kj::Vector<ReplicaFacts> result;
  for (auto& replica : replicas(chunk)) {
    if (replica.version < record.floor || replica.version > record.version) continue;
    if (replica.state == ReplicaFacts::State::CORRUPT) continue;
    result.add(replica);
  }
  return result;
}

uint32_t ChunkTable::currentElsewhere(ChunkHandle chunk, const ChunkRecord& record, ServerId except,
                                      kj::TimePoint now) const {
  uint32_t count = 0;
  for (auto& replica : candidates(chunk, record)) {
    if (replica.server == except || replica.state != ReplicaFacts::State::GOOD) continue;
    KJ_IF_MAYBE (server, servers.find(replica.server)) count += server->answers(now);
  }
  return count;
}

}  // namespace cairn
