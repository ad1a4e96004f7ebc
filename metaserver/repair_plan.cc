// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See repair_plan.h.
#include "metaserver/repair_plan.h"

#include <kj/debug.h>

#include <algorithm>
#include <tuple>

namespace cairn {

namespace {

constexpr kj::Duration DOUBT = 5 * kj::SECONDS;     // a grant may settle what a failed replica is worth
constexpr kj::Duration SETTLING = 2 * kj::SECONDS;  // before an excess replica goes
constexpr kj::Duration PAUSE_MIN = 1 * kj::SECONDS, PAUSE_MAX = 60 * kj::SECONDS;  // after failures
constexpr uint32_t TRIMS_AT_ONCE = 8;    // each is a new version for a chunk
constexpr uint32_t LOOKED_AT_MAX = 500;  // in one turn, while stores are busy
constexpr int64_t RATE_WINDOW = 10;      // seconds

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

uint32_t useOf(const RepairStore& store) {
  // In steps of 5 %: nearly equal stores share by chance.
  if (store.bytesTotal == 0) return 20;
  return uint32_t(20 * (store.bytesTotal - std::min(store.bytesFree, store.bytesTotal)) / store.bytesTotal);
}

kj::Maybe<const RepairStore&> find(kj::ArrayPtr<const RepairStore> stores, ServerId server) {
  for (auto& store : stores) {
    if (store.server == server) return store;
  }
  return nullptr;
}

bool isCopy(Urgency urgency) {
  return urgency < Urgency::EXCESS;
}

}  // namespace

kj::StringPtr KJ_STRINGIFY(Urgency urgency) {
  switch (urgency) {
    case Urgency::LAST_COPY:
      return "one copy is left";
    case Urgency::BLOCKING:
      return "too few to be written";
    case Urgency::UNDER:
      return "fewer than wanted";
    case Urgency::DRAIN:
      return "its store is drained";
    case Urgency::BALANCE:
      return "for balance";
    case Urgency::EXCESS:
      return "more than wanted";
    case Urgency::NONE:
      return "all is well";
  }
  KJ_UNREACHABLE;
}

bool RepairPlan::Place::operator<(const Place& other) const {
  return std::tie(urgency, present, since, chunk) <
         std::tie(other.urgency, other.present, other.since, other.chunk);
}

// ---------------------------------------------------------------------------------------------------------------
// What a chunk needs

RepairPlan::Assessment RepairPlan::assess(const Entry& entry, kj::TimePoint now) const {
  auto& facts = entry.facts;
  uint32_t good = 0, leaving = 0;
  for (auto& replica : facts.replicas) {
    good += replica.standing == Standing::GOOD;
    leaving += replica.standing == Standing::LEAVING;
  }
  Assessment result;
  result.present = good + leaving;
  result.due = now;
  if (result.present == 0) return result;  // nothing to copy from: not a matter of repair
  if (result.present < facts.wanted) {
    result.lacking = facts.wanted - result.present;
    result.urgency = result.present == 1              ? Urgency::LAST_COPY
                     : result.present < facts.minimum ? Urgency::BLOCKING
                                                      : Urgency::UNDER;
    // Of those that are missing some may only be away, or in doubt for a moment.
    auto grace = result.urgency == Urgency::LAST_COPY ? options.lastCopyGrace : options.grace;
    uint32_t hopeful = 0;
    auto until = now + grace;
    for (auto& replica : facts.replicas) {
      if (replica.standing == Standing::AWAY && replica.heard + grace > now) {
        ++hopeful;
        until = std::min(until, replica.heard + grace);
      }
      if (replica.standing == Standing::DOUBTFUL && entry.place.since + DOUBT > now) {
        ++hopeful;
        until = std::min(until, entry.place.since + DOUBT);
      }
    }
    if (hopeful >= result.lacking) {
      result.due = until;
      result.why = Entry::Why::GRACE;
    }
    return result;
  }
  if (good < facts.wanted) {
    result.urgency = Urgency::DRAIN;
    result.lacking = facts.wanted - good;
    return result;
  }
  KJ_IF_MAYBE (move, entry.move) {
    bool arrived = false, there = false;
    for (auto& replica : facts.replicas) {
      if (replica.standing != Standing::GOOD) continue;
      arrived |= replica.server == move->to;
      there |= replica.server == move->from;
    }
    if (there && !arrived && good == facts.wanted) {
      result.urgency = Urgency::BALANCE;
      result.lacking = 1;
      return result;
    }
  }
  if (result.present > facts.wanted) {
    result.urgency = Urgency::EXCESS;
    result.due = std::max(now, entry.place.since + SETTLING);
  }
  return result;
}

void RepairPlan::note(ChunkHandle chunk, const RepairFacts& facts, kj::TimePoint now) {
  auto found = entries.find(chunk);
  bool fresh = found == entries.end();
  if (fresh) {
    found = entries.try_emplace(chunk).first;
    found->second.place.chunk = chunk;
    found->second.place.since = now;
  } else if (found->second.state != Entry::State::RUNNING) {
    dequeue(found->second);
  }
  auto& entry = found->second;
  bool runs = entry.state == Entry::State::RUNNING && !fresh;
  if (!fresh) {
    --counts[size_t(entry.place.urgency)];
    bytesLeft -= bytesOf(entry);
  }
  entry.facts.wanted = facts.wanted;
  entry.facts.minimum = facts.minimum;
  entry.facts.length = facts.length;
  entry.facts.replicas.clear();
  entry.facts.replicas.addAll(facts.replicas);
  auto assessment = assess(entry, now);
  entry.place.urgency = assessment.urgency;
  entry.place.present = assessment.present;
  entry.lacking = assessment.lacking;
  ++counts[size_t(entry.place.urgency)];
  bytesLeft += bytesOf(entry);
  if (runs) return;  // ended() will look at it
  if (assessment.urgency == Urgency::NONE) {
    entry.state = Entry::State::WAITING;
    enqueue(entry, Entry::State::WAITING);
    erase(found);
    return;
  }
  bool paused = entry.failures > 0 && entry.due > now && entry.why == Entry::Why::PAUSE;
  if (!paused) {
    entry.due = assessment.due;
    entry.why = assessment.why;
  }
  enqueue(entry, entry.due > now ? Entry::State::WAITING : Entry::State::READY);
}

void RepairPlan::forget(ChunkHandle chunk) {
  auto found = entries.find(chunk);
  if (found == entries.end()) return;
  if (found->second.state == Entry::State::RUNNING) return;  // ended() and the note() after it see to it
  erase(found);
}

void RepairPlan::move(ChunkHandle chunk, ServerId from, ServerId to, kj::TimePoint now) {
  auto found = entries.find(chunk);
  if (found != entries.end()) return;
  auto& entry = entries.try_emplace(chunk).first->second;
  entry.place = {Urgency::NONE, 0, now, chunk};
  entry.move = Move{from, to};
  ++counts[size_t(Urgency::NONE)];
  enqueue(entry, Entry::State::WAITING);  // until note() tells whether it is possible
}

void RepairPlan::erase(std::unordered_map<ChunkHandle, Entry>::iterator at) {
  dequeue(at->second);
  --counts[size_t(at->second.place.urgency)];
  bytesLeft -= bytesOf(at->second);
  entries.erase(at);
}

void RepairPlan::enqueue(Entry& entry, Entry::State state) {
  entry.state = state;
  switch (state) {
    case Entry::State::READY:
      ready.insert(entry.place);
      break;
    case Entry::State::WAITING:
      waiting.emplace(entry.due, entry.place.chunk);
      inGrace += entry.why == Entry::Why::GRACE;
      break;
    case Entry::State::STUCK:
      stuck.insert(entry.place.chunk);
      break;
    case Entry::State::RUNNING:
      ++running;
      break;
  }
}

void RepairPlan::dequeue(Entry& entry) {
  switch (entry.state) {
    case Entry::State::READY:
      ready.erase(entry.place);
      break;
    case Entry::State::WAITING:
      if (waiting.erase({entry.due, entry.place.chunk}) > 0) inGrace -= entry.why == Entry::Why::GRACE;
      break;
    case Entry::State::STUCK:
      stuck.erase(entry.place.chunk);
      break;
    case Entry::State::RUNNING:
      --running;
      break;
  }
}

// ---------------------------------------------------------------------------------------------------------------
// What is done next

kj::Maybe<kj::TimePoint> RepairPlan::due() const {
  if (!ready.empty()) return kj::origin<kj::TimePoint>();
  if (!waiting.empty()) return waiting.begin()->first;
  return nullptr;
}

kj::Vector<RepairJob> RepairPlan::next(kj::ArrayPtr<const RepairStore> stores, kj::TimePoint now) {
  while (!waiting.empty() && waiting.begin()->first <= now) {
    auto& entry = entries.at(waiting.begin()->second);
    // What it waited for may have gone on: a second store that is away has a grace of its own.
    auto facts = kj::mv(entry.facts);
    entry.facts = RepairFacts();
    bytesLeft -= uint64_t(facts.length) * entry.lacking;
    entry.failures = entry.why == Entry::Why::PAUSE ? entry.failures : 0;
    note(entry.place.chunk, facts, now);
  }
  kj::Vector<RepairJob> jobs;
  auto taken = slots;
  uint32_t looked = 0, trims = trimming;
  kj::Vector<ChunkHandle> hopeless;
  for (auto& place : ready) {
    if (++looked > LOOKED_AT_MAX) break;
    auto& entry = entries.at(place.chunk);
    RepairJob job{isCopy(place.urgency) ? RepairJob::Kind::COPY : RepairJob::Kind::TRIM,
                  place.chunk,
                  place.urgency,
                  ServerId(),
                  {},
                  {}};
    if (job.kind == RepairJob::Kind::TRIM) {
      if (trims >= TRIMS_AT_ONCE) continue;
      job.leftBehind = chooseVictims(entry, stores);
      if (job.leftBehind.empty()) {
        hopeless.add(place.chunk);
      } else {
        ++trims;
        jobs.add(kj::mv(job));
      }
      continue;
    }
    switch (choose(entry, stores, job, taken)) {
      case Chosen::JOB:
        jobs.add(kj::mv(job));
        break;
      case Chosen::BUSY:
        break;
      case Chosen::STUCK:
        stuckBecause = kj::str("chunk ", place.chunk, " has ", place.present, " of ", entry.facts.wanted,
                               " good replicas, and no other store is up and has room");
        hopeless.add(place.chunk);
        break;
    }
  }
  for (auto chunk : hopeless) {
    auto& entry = entries.at(chunk);
    dequeue(entry);
    enqueue(entry, Entry::State::STUCK);
  }
  return jobs;
}

RepairPlan::Chosen RepairPlan::choose(const Entry& entry, kj::ArrayPtr<const RepairStore> stores,
                                      RepairJob& job, std::map<ServerId, Slots>& taken) const {
  auto standingAt = [&](ServerId server) -> kj::Maybe<Standing> {
    for (auto& replica : entry.facts.replicas) {
      if (replica.server == server) return replica.standing;
    }
    return nullptr;
  };
  auto keeps = [](Standing standing) {
    return standing == Standing::GOOD || standing == Standing::LEAVING || standing == Standing::AWAY;
  };
  using Cost = std::tuple<uint32_t, uint32_t, int, uint32_t, uint32_t, uint64_t>;
  kj::Maybe<Cost> best;
  bool possible = false;
  for (auto& store : stores) {
    if (!store.takes) continue;
    KJ_IF_MAYBE (move, entry.move) {
      if (entry.place.urgency == Urgency::BALANCE && store.server != move->to) continue;
    }
    int without = 1;  // something there that saves bytes
    KJ_IF_MAYBE (standing, standingAt(store.server)) {
      if (keeps(*standing)) continue;
      if (*standing != Standing::CORRUPT) without = 0;
    }
    possible = true;
    auto& slot = taken[store.server];
    if (slot.to >= options.copiesPerStore) continue;
    uint32_t sameHost = 0, sameRack = 0;
    for (auto& replica : entry.facts.replicas) {
      if (replica.standing != Standing::GOOD) continue;
      KJ_IF_MAYBE (other, find(stores, replica.server)) {
        sameHost += other->host == store.host;
        sameRack += other->rack == store.rack;
      }
    }
    Cost cost{sameHost, sameRack,     without,
              slot.to,  useOf(store), mix(store.server.value() ^ mix(entry.place.chunk.value()))};
    bool better = true;
    KJ_IF_MAYBE (known, best) better = cost < *known;
    if (!better) continue;
    best = cost;
    job.target = store.server;
  }
  if (!possible) return Chosen::STUCK;
  if (best == nullptr) return Chosen::BUSY;

  kj::Vector<ServerId> sources;
  for (auto& replica : entry.facts.replicas) {
    if (replica.standing == Standing::GOOD || replica.standing == Standing::LEAVING)
      sources.add(replica.server);
  }
  std::sort(sources.begin(), sources.end(), [&](ServerId a, ServerId b) {
    return std::make_tuple(taken[a].from, mix(a.value() ^ entry.place.chunk.value())) <
           std::make_tuple(taken[b].from, mix(b.value() ^ entry.place.chunk.value()));
  });
  if (sources.empty()) return Chosen::STUCK;
  if (taken[sources[0]].from >= options.copiesPerStore) return Chosen::BUSY;
  ++taken[sources[0]].from;
  ++taken[job.target].to;
  job.sources = kj::mv(sources);
  return Chosen::JOB;
}

kj::Vector<ServerId> RepairPlan::chooseVictims(const Entry& entry,
                                               kj::ArrayPtr<const RepairStore> stores) const {
  // Those on drained stores all go; of the others the one that was to be moved, then who shares its host with
  // another, then the fullest.
  kj::Vector<ServerId> victims;
  kj::Vector<ServerId> good;
  for (auto& replica : entry.facts.replicas) {
    if (replica.standing == Standing::GOOD) good.add(replica.server);
    if (replica.standing == Standing::LEAVING) victims.add(replica.server);
  }
  if (good.size() < entry.facts.wanted) return {};
  while (good.size() > entry.facts.wanted) {
    auto reluctance = [&](ServerId server) {
      bool moves = false;
      KJ_IF_MAYBE (move, entry.move) moves = move->from == server;
      uint32_t sameHost = 0, use = 0;
      KJ_IF_MAYBE (store, find(stores, server)) {
        use = useOf(*store);
        for (auto other : good) {
          KJ_IF_MAYBE (known, find(stores, other)) sameHost += other != server && known->host == store->host;
        }
      }
      return std::make_tuple(!moves, -int64_t(sameHost), -int64_t(use), server);
    };
    auto worst = std::min_element(good.begin(), good.end(),
                                  [&](ServerId a, ServerId b) { return reluctance(a) < reluctance(b); });
    victims.add(*worst);
    kj::Vector<ServerId> rest;
    for (auto server : good) {
      if (server != *worst) rest.add(server);
    }
    good = kj::mv(rest);
  }
  return victims;
}

void RepairPlan::began(const RepairJob& job) {
  auto found = entries.find(job.chunk);
  KJ_REQUIRE(found != entries.end() && found->second.state != Entry::State::RUNNING, "a job is begun once",
             job.chunk);
  dequeue(found->second);
  enqueue(found->second, Entry::State::RUNNING);
  if (job.kind == RepairJob::Kind::TRIM) {
    ++trimming;
    return;
  }
  ++slots[job.sources[0]].from;
  ++slots[job.target].to;
}

void RepairPlan::ended(const RepairJob& job, Outcome outcome, kj::TimePoint now) {
  if (job.kind == RepairJob::Kind::COPY) {
    --slots[job.sources[0]].from;
    --slots[job.target].to;
    copied += outcome == Outcome::DONE;
  } else {
    --trimming;
  }
  failed += outcome == Outcome::FAILED;
  auto found = entries.find(job.chunk);
  KJ_REQUIRE(found != entries.end() && found->second.state == Entry::State::RUNNING, "it has not begun",
             job.chunk);
  auto& entry = found->second;
  dequeue(entry);
  entry.why = Entry::Why::PAUSE;
  entry.failures = outcome == Outcome::FAILED ? entry.failures + 1 : 0;
  if (outcome == Outcome::FAILED && entry.place.urgency == Urgency::BALANCE)
    entry.move = nullptr;  // not worth it
  auto pause = std::min(PAUSE_MAX, PAUSE_MIN * (int64_t(1) << std::min(entry.failures, 7u)));
  entry.due = entry.failures > 0 ? now + pause : now;
  enqueue(entry, Entry::State::WAITING);
}

void RepairPlan::storesChanged(kj::TimePoint now) {
  auto all = kj::mv(stuck);
  stuck.clear();
  stuckBecause = kj::String();
  for (auto chunk : all) {
    auto& entry = entries.at(chunk);
    entry.due = now;
    entry.why = Entry::Why::PAUSE;
    enqueue(entry, Entry::State::WAITING);
  }
}

bool RepairPlan::underWay(ChunkHandle chunk) const {
  auto found = entries.find(chunk);
  return found != entries.end() && found->second.state == Entry::State::RUNNING;
}

uint32_t RepairPlan::copiesTo(ServerId server) const {
  auto found = slots.find(server);
  return found == slots.end() ? 0 : found->second.to;
}

// ---------------------------------------------------------------------------------------------------------------
// How fast

kj::TimePoint RepairPlan::reserve(ServerId source, ServerId target, uint64_t bytes, kj::TimePoint now) {
  auto& from = slots[source].freeFrom;
  auto& to = slots[target].freeTo;
  auto start = std::max(now, std::max(from, to));
  auto takes = options.bytesPerSecond == 0
                   ? 0 * kj::NANOSECONDS
                   : int64_t(double(bytes) * 1e9 / double(options.bytesPerSecond)) * kj::NANOSECONDS;
  from = to = start + takes;
  return start;
}

void RepairPlan::transferred(uint64_t bytes, kj::TimePoint now) {
  auto second = int64_t((now - kj::origin<kj::TimePoint>()) / kj::SECONDS);
  if (recent.empty() || recent.back().number != second) recent.push_back({second, 0});
  recent.back().bytes += bytes;
  while (recent.front().number <= second - RATE_WINDOW) recent.pop_front();
  copiedBytes += bytes;
}

RepairProgress RepairPlan::progress(kj::TimePoint now) const {
  RepairProgress result;
  result.lastCopy = counts[size_t(Urgency::LAST_COPY)];
  result.blocking = counts[size_t(Urgency::BLOCKING)];
  result.under = counts[size_t(Urgency::UNDER)];
  result.moving = counts[size_t(Urgency::DRAIN)] + counts[size_t(Urgency::BALANCE)];
  result.excess = counts[size_t(Urgency::EXCESS)];
  result.waiting = inGrace;
  result.stuck = stuck.size();
  for (auto& [server, slot] : slots) result.copying += slot.to;
  auto second = int64_t((now - kj::origin<kj::TimePoint>()) / kj::SECONDS);
  uint64_t bytes = 0;
  int64_t first = second;
  for (auto& one : recent) {
    if (one.number <= second - RATE_WINDOW) continue;
    bytes += one.bytes;
    first = std::min(first, one.number);
  }
  result.bytesPerSecond = bytes / uint64_t(second - first + 1);
  result.bytesLeft = bytesLeft;
  if (result.bytesPerSecond > 0)
    result.etaSeconds = (bytesLeft + result.bytesPerSecond - 1) / result.bytesPerSecond;
  result.copied = copied;
  result.copiedBytes = copiedBytes;
  result.failed = failed;
  if (!stuck.empty()) result.stuckBecause = kj::str(stuckBecause);
  return result;
}

void RepairPlan::checkInvariants() const {
  uint64_t seen[size_t(Urgency::NONE) + 1] = {}, bytes = 0, grace = 0;
  uint32_t runs = 0;
  for (auto& [chunk, entry] : entries) {
    ++seen[size_t(entry.place.urgency)];
    bytes += bytesOf(entry);
    runs += entry.state == Entry::State::RUNNING;
    grace += entry.state == Entry::State::WAITING && entry.why == Entry::Why::GRACE;
    KJ_ASSERT((ready.count(entry.place) > 0) == (entry.state == Entry::State::READY), chunk);
    KJ_ASSERT((waiting.count({entry.due, chunk}) > 0) == (entry.state == Entry::State::WAITING), chunk);
    KJ_ASSERT((stuck.count(chunk) > 0) == (entry.state == Entry::State::STUCK), chunk);
  }
  KJ_ASSERT(ready.size() + waiting.size() + stuck.size() + runs == entries.size());
  for (size_t i = 0; i <= size_t(Urgency::NONE); ++i) KJ_ASSERT(seen[i] == counts[i], i);
  KJ_ASSERT(bytes == bytesLeft && grace == inGrace && runs == running);
  for (auto& [server, slot] : slots) {
    KJ_ASSERT(slot.from <= options.copiesPerStore && slot.to <= options.copiesPerStore, server);
  }
}

}  // namespace cairn
