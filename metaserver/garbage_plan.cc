// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See garbage_plan.h.
#include "metaserver/garbage_plan.h"

namespace cairn {

kj::StringPtr KJ_STRINGIFY(Verdict verdict) {
  switch (verdict) {
    case Verdict::KEEP:
      return "keep";
    case Verdict::GARBAGE:
      return "of deleted files";
    case Verdict::STALE:
      return "of old versions";
    case Verdict::UNKNOWN:
      return "of no file";
    case Verdict::AHEAD:
      return "newer than the namespace";
    case Verdict::NEWER:
      return "written after the backup";
    case Verdict::KEPT:
      return "of no file, from before the restore";
  }
  KJ_UNREACHABLE;
}

Verdict judge(ChunkHandle chunk, ChunkVersion held, const ChunkFacts& facts) {
  KJ_IF_MAYBE (record, facts.record) {
    if (held > record->version) return facts.fromBefore(chunk, held) ? Verdict::NEWER : Verdict::AHEAD;
    if (held >= record->floor) return Verdict::KEEP;
    return facts.currentElsewhere > 0 ? Verdict::STALE : Verdict::KEEP;
  }
  if (chunk >= facts.nextHandle) return Verdict::AHEAD;
  bool before = facts.fromBefore(chunk, held);
  KJ_IF_MAYBE (dropped, facts.dropped) {
    if (held <= *dropped) return Verdict::GARBAGE;
    if (!before) return Verdict::AHEAD;
  }
  // No create of before the restore is under way any more, so what is let go needs no grace.
  if (before) return facts.restored == Restored::RELEASED ? Verdict::GARBAGE : Verdict::KEPT;
  return Verdict::UNKNOWN;
}

void GarbagePlan::reportBegins(ServerId server) {
  auto& store = stores[server];
  store.doomed.clear();
  store.reported = store.unknown = store.ahead = 0;
  store.kept.clear();
  store.brake = kj::String();
}

void GarbagePlan::seen(ServerId server, ChunkHandle chunk, ChunkVersion held, Verdict verdict, LogIndex asOf,
                       kj::TimePoint now) {
  auto& store = stores[server];
  ++store.reported;
  if (verdict == Verdict::UNKNOWN) ++store.unknown;
  if (verdict == Verdict::AHEAD) {
    ++store.ahead;
    store.aheadExample = chunk;
    pull(store, server);
  }
  if (verdict == Verdict::KEPT) {
    store.kept.insert(chunk);
  } else {
    store.kept.erase(chunk);
  }
  if (verdict == Verdict::KEEP || verdict == Verdict::AHEAD || verdict == Verdict::NEWER ||
      verdict == Verdict::KEPT) {
    store.doomed.erase(chunk);
    return;
  }
  auto [place, fresh] = store.doomed.try_emplace(chunk, Entry{held, verdict, asOf, now});
  if (!fresh && (place->second.version != held || place->second.verdict != verdict)) {
    place->second = Entry{held, verdict, asOf, now};
  }
}

GarbagePlan::Brake GarbagePlan::pull(Store& store, ServerId server) {
  if (store.ahead > 0) {
    store.brake =
        kj::str("store ", server, " holds ", store.ahead, " chunk(s) newer than this namespace, such as ",
                store.aheadExample,
                ": the metaserver runs on an old copy, or the store is another "
                "cluster's; nothing is deleted until that store has left or the newer namespace is back");
    return Brake::PULLED;
  }
  if (released == Released::NO && store.unknown >= BRAKE_CHUNKS_MIN && store.unknown * 2 > store.reported) {
    store.brake =
        kj::str("of the ", store.reported, " chunks of store ", server, ", ", store.unknown,
                " belong to no file: this looks like a wrong or empty metaserver; nothing is deleted. If "
                "they are garbage indeed, start the metaserver with --release-brake");
    return Brake::PULLED;
  }
  return Brake::OFF;
}

GarbagePlan::Brake GarbagePlan::reportEnds(ServerId server) {
  return pull(stores[server], server);
}

kj::Vector<DoomedReplica> GarbagePlan::due(ServerId server, kj::TimePoint now, LogIndex durable) {
  kj::Vector<DoomedReplica> result;
  auto found = stores.find(server);
  if (found == stores.end() || brake().size() > 0) return result;
  auto& store = found->second;
  if (store.doomed.empty()) return result;
  if (now - store.window >= 1 * kj::SECONDS || store.window > now) {
    store.window = now;
    store.sentInWindow = 0;
  }
  auto take = [&](auto from, auto to) {
    for (auto it = from; it != to && store.sentInWindow < DELETES_PER_SECOND; ++it) {
      auto& entry = it->second;
      if (entry.asOf > durable) continue;
      if (entry.verdict == Verdict::UNKNOWN && now - entry.since < UNKNOWN_GRACE) continue;
      result.add(DoomedReplica{it->first, entry.version, entry.verdict});
      store.cursor = it->first;
      ++store.sentInWindow;
    }
  };
  auto start = store.doomed.upper_bound(store.cursor);
  take(start, store.doomed.end());
  take(store.doomed.begin(), start);
  return result;
}

void GarbagePlan::done(ServerId server, ChunkHandle chunk) {
  auto found = stores.find(server);
  if (found == stores.end()) return;
  found->second.doomed.erase(chunk);
  found->second.kept.erase(chunk);
}

void GarbagePlan::forget(ServerId server) {
  stores.erase(server);
}

void GarbagePlan::releaseBrake() {
  released = Released::YES;
  for (auto& [server, store] : stores) {
    store.brake = kj::String();
    pull(store, server);
  }
}

kj::StringPtr GarbagePlan::brake() const {
  for (auto& [server, store] : stores) {
    if (store.brake.size() > 0) return store.brake;
  }
  return "";
}

uint64_t GarbagePlan::kept() const {
  uint64_t sum = 0;
  for (auto& [server, store] : stores) sum += store.kept.size();
  return sum;
}

bool GarbagePlan::anyWaiting(ServerId server) const {
  auto found = stores.find(server);
  return found != stores.end() && !found->second.doomed.empty();
}

uint64_t GarbagePlan::waiting() const {
  uint64_t sum = 0;
  for (auto& [server, store] : stores) sum += store.doomed.size();
  return sum;
}

}  // namespace cairn
