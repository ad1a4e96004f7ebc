// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See chunk_grants.h.
#include "metaserver/chunk_grants.h"

#include <string.h>

#include <algorithm>

#include "metaserver/placement.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr ChunkVersion FIRST_VERSION{1};
constexpr uint32_t ATTEMPTS_MAX = 4;    // of one grant, when stores fail or truncates come between
constexpr uint32_t COMPLAINTS_MAX = 2;  // about a primary that answers us: then another takes over
constexpr kj::Duration READ_PATIENCE = 2 * kj::SECONDS;          // for a grant under way
constexpr kj::Duration SUSPECTS_ALONE_AFTER = 30 * kj::SECONDS;  // of silence of a good replica

template <typename List>
bool contains(const List& list, ServerId server) {
  return std::find(list.begin(), list.end(), server) != list.end();
}

kj::String describe(kj::ArrayPtr<const ServerId> servers) {
  return kj::strArray(servers, ",");
}

}  // namespace

ChunkGrants::ChunkGrants(ClusterView& view, StoreOrders& orders, OperationLog& log,
                         const NamespaceReader& names, kj::Timer& timer, kj::EntropySource& entropy,
                         env::Logger logger)
    : view(view),
      orders(orders),
      operations(log),
      names(names),
      timer(timer),
      entropy(entropy),
      log(kj::mv(logger)),
      handles(log),
      started(timer.now()),
      tasks(*this) {}

void ChunkGrants::taskFailed(kj::Exception&& exception) {
  log.error("a grant ended with a bug (", exception, ") -> the next locate makes another");
}

uint64_t ChunkGrants::random() {
  kj::byte bytes[sizeof(uint64_t)];
  entropy.generate(kj::arrayPtr(bytes, sizeof(bytes)));
  uint64_t value;
  memcpy(&value, bytes, sizeof(value));
  return value;
}

// ---------------------------------------------------------------------------------------------------------------
// Answers

kj::Maybe<ChunkLocation> ChunkGrants::leased(ChunkIndex index, ChunkHandle handle,
                                             const ChunkRecord& record) const {
  auto now = timer.now();
  if (record.validBytes != ALL_BYTES_VALID) return nullptr;  // a truncate that the replicas have not done
  if (names.isShared(handle, record)) return nullptr;        // by a grant that has only just ended
  KJ_IF_MAYBE (lease, view.leases.usable(handle, now)) {
    if (lease->version != record.version) return nullptr;
    KJ_IF_MAYBE (primary, view.servers.find(lease->primary)) {
      if (primary->state(now) == ServerState::DOWN)
        return nullptr;  // most likely it has died: do not send anyone there
    }
    // A member that has a new process, is a suspect or damaged takes no write of this lease any more.
    auto replicas = view.chunks.replicas(handle);
    for (auto member : lease->members) {
      bool good = std::any_of(replicas.begin(), replicas.end(), [&](auto& replica) {
        return replica.server == member && replica.version == lease->version &&
               replica.state == ReplicaFacts::State::GOOD;
      });
      if (!good) return nullptr;
    }
    ChunkLocation location;
    location.index = index;
    location.handle = handle;
    location.version = lease->version;
    location.replicas.addAll(lease->members);
    location.primary = lease->primary;
    location.lease = lease->usable - now;
    location.lostAt = record.lostAt;
    location.asOf = operations.last();
    location.complete = ChunkLocation::Complete::YES;
    return kj::mv(location);
  }
  return nullptr;
}

Result<ChunkLocation> ChunkGrants::readable(const ChunkReference& reference, const ChunkRecord& record,
                                            kj::StringPtr host, kj::ArrayPtr<const ServerId> suspects) {
  auto now = timer.now();
  auto handle = reference.handle;
  auto candidates = view.chunks.candidates(handle, record);
  ChunkLocation location;
  location.index = reference.index;
  location.handle = handle;
  location.validBytes = reference.validIn(record);
  location.lostAt = record.lostAt;
  location.asOf = operations.last();
  bool allGood = true, unsuspected = false;
  for (auto& replica : candidates) {
    allGood &= replica.state == ReplicaFacts::State::GOOD && replica.version == candidates[0].version;
    unsuspected |= replica.state == ReplicaFacts::State::GOOD;
  }
  auto confirmed = settled.find(handle);
  bool isSettled = confirmed != settled.end() && confirmed->second.version == record.version &&
                   confirmed->second.members == candidates.size();
  if (allGood && (isSettled || candidates.size() >= record.replicas))
    location.complete = ChunkLocation::Complete::YES;
  for (auto& replica : candidates) {
    if (replica.state == ReplicaFacts::State::SUSPECT) continue;  // it would refuse
    if (unsuspected && replica.state != ReplicaFacts::State::GOOD) continue;
    location.version = std::max(location.version, replica.version);
  }

  // Nearest first, but whoever may not answer last.
  struct Ranked {
    ServerId server;
    std::tuple<int, bool, bool, uint64_t> rank;
  };
  auto salt = random();
  kj::Vector<Ranked> ranked;
  for (auto& replica : candidates) {
    if (replica.version != location.version || replica.state == ReplicaFacts::State::SUSPECT) continue;
    if (unsuspected && replica.state != ReplicaFacts::State::GOOD) continue;
    KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
      auto state = server->state(now);
      int doubt = state == ServerState::DOWN ? 2 : state == ServerState::SILENT ? 1 : 0;
      bool far = host.size() == 0 || server->address.host != host;
      ranked.add(Ranked{replica.server,
                        {doubt, contains(suspects, replica.server), far,
                         (salt >> (replica.server.value() % 32)) ^ (salt * replica.server.value())}});
    }
  }
  if (ranked.empty()) {
    auto status = view.noneLeft(handle, record, now);
    log.warning("a reader wants chunk ", handle, " v", record.version, ", no good replica is known -> ",
                status);
    return status;
  }
  std::sort(ranked.begin(), ranked.end(), [](auto& a, auto& b) { return a.rank < b.rank; });
  for (auto& entry : ranked) location.replicas.add(entry.server);
  KJ_IF_MAYBE (lease, view.leases.usable(handle, now)) {
    location.primary = lease->primary;
    location.lease = lease->usable - now;
    if (lease->version == location.version && lease->members.size() == location.replicas.size())
      location.complete = ChunkLocation::Complete::YES;
  }
  return location;
}

Async<Result<ChunkLocation>> ChunkGrants::forReading(InodeId inode, ChunkIndex index, kj::StringPtr host,
                                                     kj::ArrayPtr<const ServerId> suspects) {
  auto handle = names.chunkAt(inode, index);
  if (handle == ChunkHandle()) {
    ChunkLocation hole;
    hole.index = index;
    co_return kj::mv(hole);
  }
  auto running = grants.find(handle);
  if (running != grants.end() && frozen.count(handle) == 0) {
    // Its versions are changing under us: what we could answer now would be refused by some of the replicas.
    auto ended = running->second.addBranch().then([](Status) {}, [](kj::Exception&&) {});
    co_await ended.exclusiveJoin(timer.afterDelay(READ_PATIENCE));
  }
  auto reference = names.referenceAt(inode, index);  // it may have got a clone meanwhile
  handle = reference.handle;
  auto record = names.chunk(handle);
  if (record == nullptr) co_return Status::STALE;  // dropped meanwhile
  auto replicas = view.chunks.candidates(handle, KJ_ASSERT_NONNULL(record));
  bool onlySuspects = replicas.size() > 0 && std::all_of(replicas.begin(), replicas.end(), [](auto& replica) {
                        return replica.state == ReplicaFacts::State::SUSPECT;
                      });
  if (onlySuspects || mayBeGone(handle, KJ_ASSERT_NONNULL(record))) {
    // None of them serves before they are equal.
    auto status = co_await settle(handle);
    if (!ok(status)) co_return status;
    record = names.chunk(handle);
  }
  KJ_IF_MAYBE (known, record) co_return readable(reference, *known, host, suspects);
  co_return Status::STALE;
}

Async<Result<ChunkLocation>> ChunkGrants::forWriting(GrantRequest request) {
  if (request.index.value() > FILE_SIZE_MAX / CHUNK_SIZE) co_return Status::TOO_BIG;
  for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX; ++attempt) {
    auto handle = names.chunkAt(request.inode, request.index);
    if (handle == ChunkHandle()) {
      auto status = co_await joinCreation({request.inode, request.index}, request.host);
      if (!ok(status) && status != Status::EXISTS) co_return status;
      handle = names.chunkAt(request.inode, request.index);
      if (handle == ChunkHandle()) co_return Status::STALE;  // truncated or deleted meanwhile
    }
    auto running = grants.find(handle);
    if (running != grants.end()) {
      auto status = co_await running->second.addBranch();
      if (!ok(status)) co_return status;
    }
    auto reference = names.referenceAt(request.inode, request.index);
    auto record = names.chunk(handle);
    if (record == nullptr || reference.handle != handle) continue;
    if (mustOwn(reference, KJ_ASSERT_NONNULL(record))) {
      auto status = co_await joinOwning({request.inode, request.index}, request.host);
      if (!ok(status) && status != Status::STALE_VERSION) co_return status;
      continue;
    }
    auto avoided = kj::Array<ServerId>();
    KJ_IF_MAYBE (location, leased(request.index, handle, KJ_ASSERT_NONNULL(record))) {
      bool doubted = false;
      for (auto suspect : request.suspects) doubted |= contains(location->replicas, suspect);
      if (!doubted) co_return kj::mv(*location);
      auto version = location->version;
      avoided = co_await judgeSuspects(request.suspects, handle);
      KJ_IF_MAYBE (still, leased(request.index, handle, KJ_ASSERT_NONNULL(record))) {
        if (avoided.size() == 0 || still->version != version) co_return kj::mv(*still);
      }
    } else if (request.suspects.size() > 0) {
      avoided = co_await judgeSuspects(request.suspects, handle);
    }
    Order order{kj::str(request.host), kj::mv(avoided), nullptr};
    auto status = co_await joinGrant(handle, kj::mv(order));
    if (!ok(status)) co_return status;
    request.suspects = nullptr;  // they have been judged
    if (names.chunkAt(request.inode, request.index) != handle) continue;
    record = names.chunk(handle);
    KJ_IF_MAYBE (known, record) {
      KJ_IF_MAYBE (location, leased(request.index, handle, *known)) co_return kj::mv(*location);
    }
  }
  co_return Status::NOT_READY;
}

Async<Result<ChunkLocation>> ChunkGrants::forSyncing(GrantRequest request) {
  for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX; ++attempt) {
    auto located = co_await forReading(request.inode, request.index, request.host, request.suspects);
    if (!located.ok() || located->handle == ChunkHandle()) co_return kj::mv(located);
    bool enough = located->version > request.version || request.unsynced.size() == 0;
    if (enough && located->complete == ChunkLocation::Complete::YES) co_return kj::mv(located);
    if (request.suspects.size() > 0)
      co_await probe(request.suspects, located->handle);  // the grant does without
    Order order;
    order.aim = Order::Aim::SYNC;
    if (!enough) order.without = kj::heapArray<ServerId>(request.unsynced.asPtr());
    auto status = co_await joinGrant(located->handle, kj::mv(order));
    if (!ok(status)) co_return status;
  }
  co_return Status::NOT_READY;
}

Async<kj::Vector<ServerId>> ChunkGrants::probe(kj::ArrayPtr<const ServerId> suspects, ChunkHandle handle) {
  // Which of them do not answer us either. What is known already costs no time: who is down or silent, and
  // who has failed this chunk, which its primary has told: the grant does without such a replica anyway.
  auto probes = kj::heapArrayBuilder<kj::Promise<Life>>(suspects.size());
  auto replicas = view.chunks.replicas(handle);
  for (auto suspect : suspects) {
    bool answers = false, failed = false;
    KJ_IF_MAYBE (server, view.servers.find(suspect)) answers = server->answers(timer.now());
    for (auto& replica : replicas) {
      failed |= replica.server == suspect && replica.state != ReplicaFacts::State::GOOD;
    }
    probes.add(!answers ? kj::Promise<Life>(Life::NO_ANSWER)
               : failed ? kj::Promise<Life>(Life::ALIVE)
                        : kj::Promise<Life>(orders.probe(suspect)));
  }
  auto lives = co_await kj::joinPromises(probes.finish());
  kj::Vector<ServerId> out;
  for (size_t i = 0; i < lives.size(); ++i) {
    if (lives[i] == Life::NO_ANSWER) out.add(suspects[i]);
  }
  co_return kj::mv(out);
}

Async<kj::Array<ServerId>> ChunkGrants::judgeSuspects(kj::ArrayPtr<const ServerId> suspects,
                                                      ChunkHandle handle) {
  // Which of them to do without: those who do not answer us either, and a primary that this client has
  // complained about repeatedly though it does (they may not reach each other, or it fails for this chunk
  // only).
  auto out = co_await probe(suspects, handle);
  KJ_IF_MAYBE (lease, view.leases.find(handle)) {
    if (out.empty() && contains(suspects, lease->primary)) {
      auto& about = complaints[handle];
      if (about.version != lease->version) about = Complaints{lease->version, 0};
      if (++about.count >= COMPLAINTS_MAX) {
        log.warning("clients cannot write chunk ", handle, " v", lease->version, " through store ",
                    lease->primary, ", which answers us -> another primary");
        out.add(lease->primary);
      }
    }
  }
  co_return out.releaseAsArray();
}

// ---------------------------------------------------------------------------------------------------------------
// One at a time

void ChunkGrants::occupy(ChunkHandle handle, kj::Promise<Status> work) {
  auto running = grants.emplace(handle, work.fork()).first;
  tasks.add(running->second.addBranch().then(
      [this, handle](Status) {
        grants.erase(handle);
        frozen.erase(handle);
      },
      [this, handle](kj::Exception&& exception) {
        grants.erase(handle);
        frozen.erase(handle);
        kj::throwRecoverableException(kj::mv(exception));
      }));
}

kj::Promise<Status> ChunkGrants::joinGrant(ChunkHandle handle, Order order) {
  if (!granting(handle)) {
    occupy(handle, kj::evalLater([this, handle, order = kj::mv(order)]() mutable -> kj::Promise<Status> {
             return grant(handle, kj::mv(order));
           }));
  }
  return grants.find(handle)->second.addBranch();
}

kj::Promise<Status> ChunkGrants::joinCreation(Place place, kj::StringPtr host) {
  auto running = creations.find(place);
  if (running == creations.end()) {
    auto work = kj::evalLater([this, place, host = kj::str(host)]() mutable -> kj::Promise<Status> {
      return create(place, kj::mv(host));
    });
    running = creations.emplace(place, work.fork()).first;
    tasks.add(running->second.addBranch().then([this, place](Status) { creations.erase(place); },
                                               [this, place](kj::Exception&& exception) {
                                                 creations.erase(place);
                                                 kj::throwRecoverableException(kj::mv(exception));
                                               }));
  }
  return running->second.addBranch();
}

// ---------------------------------------------------------------------------------------------------------------
// A new chunk

Async<Status> ChunkGrants::create(Place where, kj::String host) {
  kj::Vector<ServerId> left;  // stores that failed in this creation
  auto status = Status::NOT_READY;
  bool full = false;  // some failed for want of space
  for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX; ++attempt) {
    auto failed = left.size();
    status = co_await createOnce(where, host, left);
    if (ok(status) || left.size() == failed) break;  // else: the same without those that failed
    full |= status == Status::NO_SPACE;
  }
  co_return status == Status::NOT_READY&& full ? Status::NO_SPACE : status;
}

kj::Vector<PlacementCandidate> ChunkGrants::placementCandidates(kj::ArrayPtr<const ServerId> without) {
  auto now = timer.now();
  kj::Vector<PlacementCandidate> candidates;
  for (auto& [id, server] : view.servers.all()) {
    if (!server.answers(now) || view.draining.count(id) > 0 || contains(without, id)) continue;
    candidates.add(PlacementCandidate{id, server.address.host, server.rack, server.space.bytesTotal,
                                      server.space.bytesFree, view.servers.recentCreations(id, now)});
  }
  return candidates;
}

Async<Status> ChunkGrants::createOnce(Place where, kj::StringPtr host, kj::Vector<ServerId>& left) {
  auto inode = names.inode(where.first);
  if (!inode.ok()) co_return inode.status();
  if (!inode->attributes.isRegular()) co_return Status::INVALID;
  if (names.room(*inode).bytesLeft == 0) co_return Status::OVER_QUOTA;
  uint32_t wanted = inode->attributes.replicas;
  auto now = timer.now();

  auto all = placementCandidates(nullptr);
  auto alive = all.size();
  auto failedForSpace = std::count_if(all.begin(), all.end(), [](auto& candidate) {
    return !hasRoom(candidate.bytesTotal, candidate.bytesFree);
  });
  auto candidates = placementCandidates(left);
  auto chosen = place(PlacementRequest{wanted, host, random()}, candidates);
  if (chosen.size() < wanted && left.empty() && view.moreMayCome(now)) co_return Status::NOT_READY;
  if (chosen.size() < view.minimumOf(wanted)) {
    bool full = alive >= view.minimumOf(wanted) && failedForSpace > 0;
    log.warning("a new chunk of inode ", where.first, " needs ", view.minimumOf(wanted), " stores, ", alive,
                " answer, ", failedForSpace, " of them are full -> ", full ? "noSpace" : "notReady");
    co_return full ? Status::NO_SPACE : Status::NOT_READY;
  }

  auto taken = co_await handles.take();
  if (!taken.ok()) co_return taken.status();
  auto handle = *taken;
  auto round = kj::heapArrayBuilder<AdoptOrder>(chosen.size());
  for (auto server : chosen) {
    round.add(AdoptOrder{server, handle, ChunkVersion(), FIRST_VERSION});
    view.servers.created(server, now);
  }
  auto answers = co_await orders.adoptAll(round.finish());
  kj::Vector<ServerId> members;
  auto refused = Status::NOT_READY;
  for (auto& answer : answers) {
    if (answer.adopted()) {
      members.add(answer.server);
      continue;
    }
    left.add(answer.server);
    KJ_IF_MAYBE (status, answer.status) {
      if (*status == Status::NO_SPACE) refused = Status::NO_SPACE;
      log.warning("store ", answer.server, " refused new chunk ", handle, ": ", *status, " -> without it");
    }
  }
  if (members.size() < answers.size()) {
    co_await abandon(handle, kj::mv(answers));
    co_return refused;
  }

  auto operation = kj::heap<LoggedOperation>();
  auto attach = operation->body().initAttachChunk();
  attach.setInode(where.first.value());
  attach.setChunkIndex(where.second.value());
  attach.setHandle(handle.value());
  attach.setUncovered(true);
  auto outcome = co_await operations.propose(kj::mv(operation));
  if (!outcome.ok()) {
    co_await abandon(handle, kj::mv(answers));
    co_return outcome.status;
  }
  for (auto& answer : answers) {
    view.chunks.put(handle,
                    {answer.server, answer.registration, FIRST_VERSION, 0, ReplicaFacts::State::GOOD});
  }
  log.debug("chunk ", where.second, " of inode ", where.first, " is new -> chunk ", handle, " v1 on ",
            describe(members));
  // A lease that its primary does not take is no failure of the creation: the next step grants another.
  co_await lend(handle, FIRST_VERSION, members.releaseAsArray());
  co_return Status::OK;
}

kj::Promise<void> ChunkGrants::abandon(ChunkHandle handle, kj::Array<AdoptAnswer> answers) {
  // Tidiness only: without it the replicas would be collected as chunks of no file, after their grace.
  auto removals = kj::Vector<kj::Promise<void>>();
  for (auto& answer : answers) {
    if (!answer.adopted()) continue;
    auto doomed = kj::heapArray<DoomedReplica>(1);
    doomed[0] = {handle, ChunkVersion(1), Verdict::UNKNOWN};
    removals.add(orders.remove(answer.server, kj::mv(doomed)).ignoreResult());
  }
  return kj::joinPromises(removals.releaseAsArray());
}

// ---------------------------------------------------------------------------------------------------------------
// A further grant

Async<Status> ChunkGrants::grant(ChunkHandle handle, Order order) {
  for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX; ++attempt) {
    auto status = co_await grantOnce(handle, order);
    if (status != Status::REPLICA_FAILED) co_return status;
  }
  co_return Status::NOT_READY;
}

ChunkGrants::Members ChunkGrants::chooseMembers(ChunkHandle handle, const ChunkRecord& record,
                                                const Order& order) {
  // Who takes part. For a lease: the good ones; one that missed a write nobody was told had succeeded when
  // there are too few others, then suspects: both are made equal to a good one first. After a power cut of
  // everything there are only suspects, and any of them is better than none. At rest: all that answer.
  auto now = timer.now();
  Members members;
  auto candidates = view.chunks.candidates(handle, record);
  if (candidates.size() < record.replicas && view.moreMayCome(now)) return {Status::NOT_READY, {}};
  kj::Vector<ReplicaFacts> failed, unsynced, suspects;
  bool goodMayCome = false;
  for (auto& replica : candidates) {
    KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
      if (!server->answers(now)) {
        goodMayCome |=
            replica.state != ReplicaFacts::State::SUSPECT && now - server->heard < SUSPECTS_ALONE_AFTER;
        continue;
      }
      auto& list = replica.state == ReplicaFacts::State::SUSPECT  ? suspects
                   : contains(order.without, replica.server)      ? unsynced
                   : replica.state == ReplicaFacts::State::FAILED ? failed
                                                                  : members.list;
      list.add(replica);
    }
  }
  bool rest = order.aim == Order::Aim::REST;
  auto minimum = rest ? 1 : view.minimumOf(record.replicas);
  for (auto* more : {&failed, &unsynced, &suspects}) {
    bool alone = more == &suspects && members.list.empty();
    if (alone && goodMayCome) continue;
    if (rest || members.list.size() < minimum) members.list.addAll(*more);
  }
  if (members.list.size() < minimum || members.list.empty()) {
    log.warning("chunk ", handle, " v", record.version, " wants ", record.replicas, " replicas, ",
                candidates.size(), " are known, ", members.list.size(), " answer, the minimum is ", minimum,
                " -> no lease for now");
    members.status = candidates.empty() ? view.noneLeft(handle, record, now) : Status::NOT_READY;
  }
  return members;
}

Async<Status> ChunkGrants::grantOnce(ChunkHandle handle, const Order& order) {
  // REPLICA_FAILED: try again, the tables have changed.
  auto record = names.chunk(handle);
  if (record == nullptr) co_return Status::STALE;
  auto known = KJ_ASSERT_NONNULL(record);
  bool shared = names.isShared(handle, known);
  if (shared && order.aim == Order::Aim::LEASE)
    co_return Status::OK;  // who wants to write it gets a clone first
  auto minimum = order.aim == Order::Aim::REST ? 1 : view.minimumOf(known.replicas);
  Members chosen;
  if (mayBeGone(handle, known)) {
    chosen = co_await placeAnew(handle, order.host);
  } else {
    chosen = chooseMembers(handle, known, order);
  }
  if (!ok(chosen.status)) co_return chosen.status;
  auto members = kj::mv(chosen.list);
  kj::Vector<ServerId> reachable;
  for (auto& replica : members) reachable.add(replica.server);
  if (view.leases.mayReplace(handle, reachable, timer.now()).verdict != GrantedLeases::Replace::NOW) {
    co_return Status::NOT_READY;  // a sole holder that cannot be reached: its lease must run out first
  }

  view.leases.recall(handle);
  auto version = known.version;
  for (;;) {
    auto made = co_await round(handle, version, members.releaseAsArray());
    if (!ok(made.status)) co_return made.status;
    version = made.version;
    members = kj::mv(made.members);
    if (members.size() < minimum || members.empty()) {
      log.warning("chunk ", handle, ": only ", members.size(), " of the minimum of ", minimum, " adopted v",
                  version, " and are equal -> no lease for now");
      co_return Status::NOT_READY;
    }
    if (made.failed > 0) continue;
    auto status = co_await confirm(handle, version, made.truncated);
    if (status == Status::STALE_VERSION) continue;  // a truncate came between: adopt it as well
    if (!ok(status)) co_return status;
    break;
  }
  restless.erase(handle);
  if (order.aim != Order::Aim::LEASE) {
    view.leases.ended(handle, ChunkVersion(version.value() - 1));
    if (order.aim == Order::Aim::SYNC) settled[handle] = {version, members.size()};
    log.info("chunk ", handle, " v", version, ": its ", members.size(), " replicas are equal -> ",
             order.aim == Order::Aim::REST ? "at rest" : "to be synced");
    co_return Status::OK;
  }

  settled.erase(handle);
  auto line = chain(members, handle, order.host, order.avoided);
  auto status = co_await lend(handle, version, kj::mv(line));
  complaints.erase(handle);
  co_return status;
}

Async<Status> ChunkGrants::lend(ChunkHandle handle, ChunkVersion version, kj::Array<ServerId> members) {
  auto record = names.chunk(handle);
  bool shared = record != nullptr && names.isShared(handle, KJ_ASSERT_NONNULL(record));
  if (shared || still.count(handle) > 0) co_return Status::REPLICA_FAILED;  // a new chunk, and shared at once
  view.leases.ordered(handle, version, members, timer.now());
  auto line = describe(members);
  auto primary = members[0];
  auto answer = co_await orders.lease(handle, version, kj::mv(members));
  KJ_IF_MAYBE (status, answer) {
    if (ok(*status)) {
      view.leases.confirmed(handle, version, timer.now());
      // For each new chunk that is one for each file: only what comes after a change of hands is news.
      if (version > FIRST_VERSION) {
        log.info("chunk ", handle, " v", version, " is to be written -> lease to store ", primary, ", chain ",
                 line);
      }
      co_return Status::OK;
    }
    view.leases.ended(handle, version);
    if (*status == Status::NO_REPLICA) view.chunks.remove(handle, primary);
    log.warning("store ", primary, " refused the lease of chunk ", handle, " v", version, ": ", *status,
                " -> another grant");
  }
  co_return Status::REPLICA_FAILED;
}

kj::Array<ServerId> ChunkGrants::chain(kj::ArrayPtr<const ReplicaFacts> members, ChunkHandle handle,
                                       kj::StringPtr host, kj::ArrayPtr<const ServerId> avoided) const {
  // The primary: the one of before (its page cache is warm), else on the writer's host, else by handle, so
  // that the chunks of a file spread. Then its neighbours.
  ServerId before;
  KJ_IF_MAYBE (lease, view.leases.find(handle)) before = lease->primary;
  auto rank = [&](const ReplicaFacts& replica) {
    bool far = true;
    KJ_IF_MAYBE (server, view.servers.find(replica.server))
      far = host.size() == 0 || server->address.host != host;
    return std::make_tuple(
        contains(avoided, replica.server), replica.server != before, far,
        (handle.value() * 0x9e3779b97f4a7c15ull) ^ (replica.server.value() * 0xbf58476d1ce4e5b9ull));
  };
  kj::Vector<ReplicaFacts> order;
  order.addAll(members);
  std::sort(order.begin(), order.end(), [&](auto& a, auto& b) { return rank(a) < rank(b); });
  kj::Vector<ServerId> line;
  for (auto& replica : order) line.add(replica.server);
  std::stable_sort(line.begin() + 1, line.end(), [&](ServerId a, ServerId b) {
    return view.nearness(line[0], a) < view.nearness(line[0], b);
  });
  return line.releaseAsArray();
}

// ---------------------------------------------------------------------------------------------------------------
// Truncate

Async<void> ChunkGrants::cut(ChunkHandle handle) {
  for (;;) {
    auto running = grants.find(handle);
    if (running != grants.end()) co_await running->second.addBranch();
    auto record = names.chunk(handle);
    if (record == nullptr) co_return;
    if (KJ_ASSERT_NONNULL(record).validBytes == ALL_BYTES_VALID)
      co_return;  // that grant has done the truncate
    ServerId primary;
    ChunkVersion version;
    KJ_IF_MAYBE (lease, view.leases.find(handle)) {
      primary = lease->primary;
      version = lease->version;
    } else {
      co_return;
    }
    view.leases.recall(handle);
    auto answer = co_await orders.revoke(primary, handle, version);
    KJ_IF_MAYBE (status, answer) {
      if (ok(*status) || *status == Status::STALE_VERSION || *status == Status::NO_REPLICA) {
        view.leases.ended(handle, version);
        co_return;
      }
    }
    // Its holder cannot be reached: a higher version on the others takes its power away, else it is waited
    // out.
    auto status = co_await joinGrant(handle, Order{});
    if (!ok(status)) co_await timer.afterDelay(HEARTBEAT_INTERVAL);
    view.leases.expire(timer.now());
  }
}

Async<void> ChunkGrants::fence(ChunkHandle handle) {
  ChunkVersion given;
  {
    auto record = names.chunk(handle);
    KJ_IF_MAYBE (known, record) given = known->version;
  }
  for (;;) {
    auto running = grants.find(handle);
    if (running != grants.end()) co_await running->second.addBranch().ignoreResult();
    if (names.chunk(handle) == nullptr) co_return;
    ServerId primary;
    ChunkVersion version;
    KJ_IF_MAYBE (lease, view.leases.find(handle)) {
      primary = lease->primary;
      version = lease->version;
    }
    if (version > given) co_return;  // its replicas have adopted that, and take nothing older
    if (!primary && timer.now() >= started + LEASE_TERM + CLOCK_ERROR_MAX) co_return;
    if (primary) {
      view.leases.recall(handle);
      auto answer = co_await orders.revoke(primary, handle, version);
      auto status = answer.orDefault(Status::REPLICA_FAILED);
      if (ok(status) || status == Status::STALE_VERSION || status == Status::NO_REPLICA) {
        view.leases.ended(handle, version);
        co_return;
      }
    }
    // A lease whose primary cannot be reached, or one from before our start that we may not know of: a higher
    // version takes its power away.
    auto status = co_await joinGrant(handle, Order{});
    if (ok(status)) co_return;
    co_await timer.afterDelay(HEARTBEAT_INTERVAL);
    view.leases.expire(timer.now());
  }
}

}  // namespace cairn
