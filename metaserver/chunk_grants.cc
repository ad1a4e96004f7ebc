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
constexpr kj::Duration READ_PATIENCE = 2 * kj::SECONDS;  // for a grant under way

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
    ChunkLocation location;
    location.index = index;
    location.handle = handle;
    location.version = lease->version;
    location.replicas.addAll(lease->members);
    location.primary = lease->primary;
    location.lease = lease->usable - now;
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
  bool unsuspected = false;
  for (auto& replica : candidates) unsuspected |= replica.state == ReplicaFacts::State::GOOD;
  for (auto& replica : candidates) {
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
    if (replica.version != location.version) continue;
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
    auto status = view.noneLeft(now);
    log.warning("a reader wants chunk ", handle, " v", record.version, ", no good replica is known -> ",
                status);
    return status;
  }
  std::sort(ranked.begin(), ranked.end(), [](auto& a, auto& b) { return a.rank < b.rank; });
  for (auto& entry : ranked) location.replicas.add(entry.server);
  KJ_IF_MAYBE (lease, view.leases.usable(handle, now)) {
    location.primary = lease->primary;
    location.lease = lease->usable - now;
  }
  return location;
}

kj::Promise<Result<ChunkLocation>> ChunkGrants::forReading(InodeId inode, ChunkIndex index,
                                                           kj::StringPtr host,
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
  auto record = names.chunk(reference.handle);
  KJ_IF_MAYBE (known, record) co_return readable(reference, *known, host, suspects);
  co_return Status::STALE;  // dropped meanwhile
}

kj::Promise<Result<ChunkLocation>> ChunkGrants::forWriting(GrantRequest request) {
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
    auto status = co_await joinGrant(handle, request.host, kj::mv(avoided));
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

kj::Promise<kj::Array<ServerId>> ChunkGrants::judgeSuspects(kj::ArrayPtr<const ServerId> suspects,
                                                            ChunkHandle handle) {
  // Which of them to do without: those who do not answer us either, and a primary that this client has
  // complained about repeatedly though it does (they may not reach each other, or it fails for this chunk
  // only).
  // What is known already costs no time: who is down or silent, and who has failed this chunk, which its
  // primary has told: the grant does without such a replica anyway.
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
                        : orders.probe(suspect));
  }
  auto lives = co_await kj::joinPromises(probes.finish());
  kj::Vector<ServerId> out;
  for (size_t i = 0; i < lives.size(); ++i) {
    if (lives[i] == Life::NO_ANSWER) out.add(suspects[i]);
  }
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

kj::Promise<Status> ChunkGrants::joinGrant(ChunkHandle handle, kj::StringPtr host,
                                           kj::Array<ServerId> avoided) {
  auto running = grants.find(handle);
  if (running == grants.end()) {
    auto work = kj::evalLater([this, handle, host = kj::str(host), avoided = kj::mv(avoided)]() mutable {
      return grant(handle, kj::mv(host), kj::mv(avoided));
    });
    running = grants.emplace(handle, work.fork()).first;
    tasks.add(running->second.addBranch().then([this, handle](Status) { grants.erase(handle); },
                                               [this, handle](kj::Exception&& exception) {
                                                 grants.erase(handle);
                                                 kj::throwRecoverableException(kj::mv(exception));
                                               }));
  }
  return running->second.addBranch();
}

kj::Promise<Status> ChunkGrants::joinCreation(Place place, kj::StringPtr host) {
  auto running = creations.find(place);
  if (running == creations.end()) {
    auto work =
        kj::evalLater([this, place, host = kj::str(host)]() mutable { return create(place, kj::mv(host)); });
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

kj::Promise<Status> ChunkGrants::create(Place where, kj::String host) {
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

kj::Promise<Status> ChunkGrants::createOnce(Place where, kj::StringPtr host, kj::Vector<ServerId>& left) {
  auto inode = names.inode(where.first);
  if (!inode.ok()) co_return inode.status();
  if (!inode->attributes.isRegular()) co_return Status::INVALID;
  if (names.room(*inode).bytesLeft == 0) co_return Status::OVER_QUOTA;
  uint32_t wanted = inode->attributes.replicas;
  auto now = timer.now();

  kj::Vector<PlacementCandidate> candidates;
  uint32_t alive = 0, failedForSpace = 0;
  for (auto& [id, server] : view.servers.all()) {
    if (!server.answers(now) || view.draining.count(id) > 0) continue;
    ++alive;
    if (!hasRoom(server.space.bytesTotal, server.space.bytesFree)) ++failedForSpace;
    if (contains(left, id)) continue;
    candidates.add(PlacementCandidate{id, server.address.host, server.rack, server.space.bytesTotal,
                                      server.space.bytesFree, view.servers.recentCreations(id, now)});
  }
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

kj::Promise<Status> ChunkGrants::grant(ChunkHandle handle, kj::String host, kj::Array<ServerId> avoided) {
  for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX; ++attempt) {
    auto status = co_await grantOnce(handle, host, avoided);
    if (status != Status::REPLICA_FAILED) co_return status;
  }
  co_return Status::NOT_READY;
}

kj::Promise<Status> ChunkGrants::grantOnce(ChunkHandle handle, kj::StringPtr host,
                                           kj::Array<ServerId>& avoided) {
  // REPLICA_FAILED: try again, the tables have changed.
  auto record = names.chunk(handle);
  if (record == nullptr) co_return Status::STALE;
  auto known = KJ_ASSERT_NONNULL(record);
  if (names.isShared(handle, known)) co_return Status::OK;  // whoever wants to write it gets a clone first
  auto now = timer.now();
  auto minimum = view.minimumOf(known.replicas);

  auto candidates = view.chunks.candidates(handle, known);
  if (candidates.size() < known.replicas && view.moreMayCome(now)) co_return Status::NOT_READY;
  kj::Vector<ReplicaFacts> members, failed, doubtful;
  for (auto& replica : candidates) {
    KJ_IF_MAYBE (server, view.servers.find(replica.server)) {
      if (!server->answers(now)) continue;
      auto& list = replica.state == ReplicaFacts::State::SUSPECT  ? doubtful
                   : replica.state == ReplicaFacts::State::FAILED ? failed
                                                                  : members;
      list.add(replica);
    }
  }
  // One that missed a write nobody was told had succeeded is good enough when there are too few others. After
  // a power cut of everything there are only suspects, and any of them is better than none.
  if (members.size() < minimum) members.addAll(failed);
  if (members.empty()) members = kj::mv(doubtful);
  if (members.size() < minimum || members.empty()) {
    log.warning("chunk ", handle, " v", known.version, " wants ", known.replicas, " replicas, ",
                candidates.size(), " are known, ", members.size(), " answer, the minimum is ", minimum,
                " -> no lease for now");
    co_return candidates.empty() ? view.noneLeft(now) : Status::NOT_READY;
  }
  kj::Vector<ServerId> reachable;
  for (auto& replica : members) reachable.add(replica.server);
  if (view.leases.mayReplace(handle, reachable, now).verdict != GrantedLeases::Replace::NOW) {
    co_return Status::NOT_READY;  // a sole holder that cannot be reached: its lease must run out first
  }

  view.leases.recall(handle);
  auto version = known.version;
  for (;;) {
    auto operation = kj::heap<LoggedOperation>();
    auto raise = operation->body().initRaiseVersion();
    raise.setRaised(handle.value());
    raise.setFrom(version.value());
    auto outcome = co_await operations.propose(kj::mv(operation));
    if (!outcome.ok()) co_return outcome.status == Status::NOT_FOUND ? Status::STALE : Status::REPLICA_FAILED;
    version = ChunkVersion(outcome.number);

    record = names.chunk(handle);
    if (record == nullptr) co_return Status::STALE;
    auto truncate = KJ_ASSERT_NONNULL(record).validBytes;
    auto round = co_await adoptRound(handle, version, truncate, members);
    members = kj::mv(round.adopted);
    if (members.size() < minimum || members.empty()) {
      log.warning("chunk ", handle, ": only ", members.size(), " of the minimum of ", minimum, " adopted v",
                  version, " -> no lease for now");
      co_return Status::NOT_READY;
    }
    if (round.failed > 0) continue;

    auto confirmation = kj::heap<LoggedOperation>();
    auto confirm = confirmation->body().initConfirmVersion();
    confirm.setConfirmed(handle.value());
    confirm.setVersion(version.value());
    confirm.setTruncated(truncate);
    outcome = co_await operations.propose(kj::mv(confirmation));
    if (outcome.status == Status::STALE_VERSION) continue;  // a truncate came between: adopt it as well
    if (!outcome.ok()) co_return outcome.status == Status::NOT_FOUND ? Status::STALE : outcome.status;
    break;
  }

  auto line = chain(members, handle, host, avoided);
  auto status = co_await lend(handle, version, kj::mv(line));
  complaints.erase(handle);
  co_return status;
}

kj::Promise<ChunkGrants::Round> ChunkGrants::adoptRound(ChunkHandle handle, ChunkVersion version,
                                                        uint32_t truncate,
                                                        kj::ArrayPtr<const ReplicaFacts> members) {
  auto round = kj::heapArrayBuilder<AdoptOrder>(members.size());
  kj::Vector<ReplicaFacts> asked;
  for (auto& replica : members) {
    round.add(AdoptOrder{replica.server, handle, replica.version, version, truncate});
    asked.add(replica);
  }
  auto answers = co_await orders.adoptAll(round.finish());
  Round result;
  for (size_t i = 0; i < answers.size(); ++i) {
    auto& answer = answers[i];
    if (answer.adopted()) {
      auto state = asked[i].state;
      if (state == ReplicaFacts::State::FAILED) state = ReplicaFacts::State::GOOD;
      ReplicaFacts facts{answer.server, answer.registration, version, answer.length, state};
      view.chunks.put(handle, facts);
      result.adopted.add(facts);
      continue;
    }
    ++result.failed;
    KJ_IF_MAYBE (status, answer.status) {
      log.warning("store ", answer.server, " refused chunk ", handle, " v", asked[i].version, " -> v",
                  version, ": ", *status, " -> without it");
      if (*status == Status::NO_REPLICA) view.chunks.remove(handle, answer.server);
      if (*status == Status::CORRUPT || *status == Status::IO_ERROR) {
        view.chunks.put(
            handle, {answer.server, answer.registration, asked[i].version, 0, ReplicaFacts::State::CORRUPT});
      }
    }
  }
  co_return kj::mv(result);
}

kj::Promise<Status> ChunkGrants::lend(ChunkHandle handle, ChunkVersion version, kj::Array<ServerId> members) {
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

kj::Promise<void> ChunkGrants::cut(ChunkHandle handle) {
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
    auto status = co_await joinGrant(handle, "", nullptr);
    if (!ok(status)) co_await timer.afterDelay(HEARTBEAT_INTERVAL);
    view.leases.expire(timer.now());
  }
}

kj::Promise<void> ChunkGrants::fence(ChunkHandle handle) {
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
    auto status = co_await joinGrant(handle, "", nullptr);
    if (ok(status)) co_return;
    co_await timer.afterDelay(HEARTBEAT_INTERVAL);
    view.leases.expire(timer.now());
  }
}

}  // namespace cairn
