// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Grants: how a chunk gets a version, replicas that are equal, and a primary (GFS paper, sections 3.1 and
// 4.5).
//
// A new chunk:    reserve a handle -> adopt(from 0, version 1) on the placed stores -> attach it to the file
// (one
//                 operation: version 1, floor 1) -> lease to the primary -> the client hears of it.
//                 If a store did not answer, it may hold an empty replica of version 1 for all we know: the
//                 handle is given up, and the chunk is made under another one without that store.
// A further grant: raiseVersion (version v + 1, floor v: on stable storage before anyone is told) -> adopt on
//                 every candidate -> reconcile those that are not known to be equal (reconcile_plan.h) ->
//                 confirmVersion (floor = version, a pending truncate is done: on stable storage as well) ->
//                 lease -> answer. A store that fails is out. It may have adopted without our hearing, so the
//                 version is raised once more for the others, until a whole round has adopted and is equal:
//                 the confirmed version is held by none but those who said so.
// INVARIANT: the replicas of a lease begin it equal. A replica of a version from the floor on that is no
// suspect
//                 has every acknowledged write.
// Gone:           a new chunk that no sync has covered, of which a loss of power has left nothing, is made
// anew
//                 (chunk_anew.cc).
// At rest:        the same without a lease, for a chunk that has suspects, or whose lease has ended in
// another
//                 way than by its primary's word (chunk_settling.cc).
//
// Crash table (metaserver dies after -> what the next start finds):
//   adopt of a new chunk       a handle that no file has: garbage after its grace
//   attach                     version 1 = floor 1, no lease: a further grant
//   raise, or some adopts      floor v, replicas at v and v + 1. Nobody got a lease under v + 1, so nothing
//   was written
//                              under it: all of them are candidates of the next grant, readers go to the
//                              highest
//   some of the reconciling    the same; each replica still has all acknowledged writes, or is still a
//   suspect.
//                              Whether they are equal is not known: the next round compares them
//   a raise as `lossy`         the same, and lostAt is that operation: told once more than need be, never
//   once less confirm                    floor v + 1, no lease: a further grant lease the primary acts for up
//   to LEASE_TERM unknown to us; the next grant's adopt ends it, and
//                              see granted_leases.h for why a primary that cannot be reached does no harm
//
// Never raise without need: a raise leaves every store behind that does not answer, and a replica left behind
// is lost. So first the candidates are counted; with fewer than the minimum, or with some that may only be
// late, the answer is notReady. One grant of a chunk runs at a time; whoever else asks waits for it. A grant
// runs to its end even when its caller has gone. Called by session_handlers.cc.
#pragma once

#include <kj/async.h>
#include <kj/compat/http.h>  // EntropySource
#include <kj/timer.h>

#include <map>
#include <unordered_map>
#include <unordered_set>

#include "env/log.h"
#include "metaserver/cluster_view.h"
#include "metaserver/handle_range.h"
#include "metaserver/namespace_reader.h"
#include "metaserver/placement.h"
#include "metaserver/store_orders.h"
#include "rpc/coroutine.h"
#include "rpc/result.h"

namespace cairn {

struct GrantRequest {
  InodeId inode;
  ChunkIndex index;
  kj::Array<ServerId> suspects;  // failed the caller just now
  kj::String host;               // machine of the caller
  kj::Array<ServerId> unsynced;  // replicas of `version` that have not synced for the caller
  ChunkVersion version;
};

struct ChunkLocation {
  // rpc::Location as a value.
  ChunkIndex index;
  ChunkHandle handle;  // 0: a hole
  ChunkVersion version;
  kj::Vector<ServerId> replicas;
  ServerId primary;  // 0: no lease is out
  kj::Duration lease = 0 * kj::SECONDS;
  uint32_t validBytes = ALL_BYTES_VALID;
  LogIndex lostAt, asOf;
  enum class Complete { NO, YES } complete = Complete::NO;
};

class ChunkFreeze {
  // A chunk that stands still: nobody can write it, and what it holds under `version` will never change.
 public:
  ChunkFreeze();
  ~ChunkFreeze() noexcept(false);  // lets the next grant go on
  KJ_DISALLOW_COPY(ChunkFreeze);
  Status status = Status::NOT_READY;  // with any other than ok it is not frozen
  ChunkVersion version;
  uint32_t truncated = ALL_BYTES_VALID;
  kj::Vector<ServerId> members;  // have adopted the version
  bool isMember(ServerId server) const;

 private:
  friend class ChunkGrants;
  class Release;
  kj::Own<Release> release;
};

class StillChunks {
  // Chunks on which no lease runs, and none is granted as long as this lives (chunk_share.cc).
 public:
  StillChunks();
  ~StillChunks() noexcept(false);
  KJ_DISALLOW_COPY(StillChunks);
  Status status = Status::OK;    // with any other than ok they are not
  void add(StillChunks&& more);  // of other chunks

 private:
  friend class ChunkGrants;
  kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> releases;
};

class ChunkGrants : private kj::TaskSet::ErrorHandler {
 public:
  ChunkGrants(ClusterView& view, StoreOrders& orders, OperationLog& log, const NamespaceReader& names,
              kj::Timer& timer, kj::EntropySource& entropy, env::Logger logger);
  KJ_DISALLOW_COPY(ChunkGrants);

  Async<Result<ChunkLocation>> forWriting(GrantRequest request);
  // With a lease that runs. NOT_READY, NO_SPACE, NO_REPLICA, STALE, NOT_FOUND, INVALID, TOO_BIG.

  Async<Result<ChunkLocation>> forReading(InodeId inode, ChunkIndex index, kj::StringPtr host,
                                          kj::ArrayPtr<const ServerId> suspects);
  // Waits for a grant under way, a little. NO_REPLICA, NOT_READY. Arguments live until it answers.

  Async<Result<ChunkLocation>> forSyncing(GrantRequest request);
  // As for reading, but complete; when some of `version` have not synced, of a higher one.

  Async<void> cut(ChunkHandle chunk);
  // A truncate has set validBytes: returns when no lease from before it can be written under any more.

  Async<void> fence(ChunkHandle chunk);
  // Returns when nothing that was sent under a version given out until now can be written any more.

  // -- for repair (chunk_freeze.cc)
  Async<kj::Own<ChunkFreeze>> freeze(ChunkHandle chunk, kj::Array<ServerId> without, kj::Duration most);
  // Waits for a grant under way, ends the lease, and has all good replicas but `without` adopt a version that
  // nobody writes under. Grants wait as long as the answer lives, at most `most`. NOT_READY, STALE (the chunk
  // is gone).

  kj::Promise<Status> confirmFrozen(ChunkHandle chunk, const ChunkFreeze& freeze);
  // Replicas of older versions are stale from now on. STALE_VERSION: somebody has raised it again.

  // -- for sharing (chunk_share.cc)
  Async<kj::Own<StillChunks>> standStill(kj::Array<ChunkHandle> chunks);
  // Ends their leases: what their primaries have accepted is applied on all replicas, and these are equal.
  // NOT_READY, NO_REPLICA, STALE (one is gone). Costs one order for each primary, unless a replica has failed
  // or does not answer.

  bool knowsAllLeases() const;  // since long enough after the start

  kj::Promise<Outcome> proposeStill(kj::Own<StillChunks> chunks, kj::Own<LoggedOperation> operation);
  // They stand still until the operation has been applied, whatever becomes of the caller.

  bool granting(ChunkHandle chunk) const { return grants.find(chunk) != grants.end(); }

  // -- replicas that may differ (chunk_settling.cc)
  void unsettled(ChunkHandle chunk);
  // Its replicas may differ in writes that nobody was told had succeeded, or some are suspects: they are made
  // equal after a while, if no grant has done so before.
  void told(ChunkHandle chunk, const ReplicaFacts& replica, bool unsynced);  // a store's report
  Async<void> settleForEver();
  size_t unsettledCount() const { return restless.size(); }

 private:
  using Place = std::pair<InodeId, ChunkIndex>;
  struct Order {
    // What a grant is for.
    kj::String host;              // of the writer
    kj::Array<ServerId> avoided;  // not as primary, if it can be helped
    kj::Array<ServerId> without;  // not as members, if there are enough others
    enum class Aim { LEASE, SYNC, REST } aim = Aim::LEASE;
  };
  struct Members {
    Status status = Status::OK;
    kj::Vector<ReplicaFacts> list;
  };
  struct Round {
    Status status = Status::OK;  // of the raise
    ChunkVersion version;
    uint32_t truncated = ALL_BYTES_VALID;
    kj::Vector<ReplicaFacts> members;  // have adopted it, and are equal
    uint32_t failed = 0;
  };
  struct Complaints {
    ChunkVersion version;
    uint32_t count = 0;
  };

  Result<ChunkLocation> readable(const ChunkReference& reference, const ChunkRecord& record,
                                 kj::StringPtr host, kj::ArrayPtr<const ServerId> suspects);
  kj::Maybe<ChunkLocation> leased(ChunkIndex index, ChunkHandle handle, const ChunkRecord& record) const;

  Async<Status> create(Place place, kj::String host);
  Async<Status> createOnce(Place place, kj::StringPtr host, kj::Vector<ServerId>& left);
  kj::Promise<void> abandon(ChunkHandle handle, kj::Array<AdoptAnswer> answers);
  Async<Status> grant(ChunkHandle handle, Order order);
  Async<Status> grantOnce(ChunkHandle handle, const Order& order);
  Members chooseMembers(ChunkHandle handle, const ChunkRecord& record, const Order& order);

  kj::Vector<PlacementCandidate> placementCandidates(kj::ArrayPtr<const ServerId> without);

  // chunk_anew.cc
  bool mayBeGone(ChunkHandle handle, const ChunkRecord& record) const;
  Async<bool> isGone(ChunkHandle handle);
  Async<Members> placeAnew(ChunkHandle handle, kj::StringPtr host);

  // chunk_rounds.cc
  Async<Round> round(ChunkHandle handle, ChunkVersion from, kj::Array<ReplicaFacts> members);
  Async<void> adopt(ChunkHandle handle, Round& round, kj::ArrayPtr<const ReplicaFacts> members,
                    kj::Vector<AdoptedReplica>& adopted);
  Async<void> makeEqual(ChunkHandle handle, Round& round, kj::ArrayPtr<const AdoptedReplica> adopted);
  void judge(ChunkHandle handle, Round& round, const ReconcileReport& report);
  Async<Status> confirm(ChunkHandle handle, ChunkVersion version, uint32_t truncated);

  // chunk_settling.cc
  kj::Promise<Status> settle(ChunkHandle handle);
  Async<void> settleOne(ChunkHandle handle);
  enum class Rest { EQUAL, UNEQUAL, NOT_KNOWN };
  Async<Rest> compare(ChunkHandle handle);
  Async<Status> lend(ChunkHandle handle, ChunkVersion version, kj::Array<ServerId> members);
  kj::Array<ServerId> chain(kj::ArrayPtr<const ReplicaFacts> members, ChunkHandle handle, kj::StringPtr host,
                            kj::ArrayPtr<const ServerId> avoided) const;

  void occupy(ChunkHandle handle, kj::Promise<Status> work);
  Async<Status> holdStill(ChunkHandle handle, kj::Array<ServerId> without, kj::Duration most,
                          kj::Own<kj::PromiseFulfiller<kj::Own<ChunkFreeze>>> fulfiller);
  Async<Status> makeStill(ChunkHandle handle, kj::ArrayPtr<const ServerId> without, ChunkFreeze& result);

  // chunk_share.cc
  bool allGood(ChunkHandle handle, const ChunkRecord& record) const;
  Async<void> endLeases(ServerId primary, kj::Array<ReplicaId> chunks, kj::Vector<ChunkHandle>& left);
  Async<void> stillByVersion(ChunkHandle handle, Status& worst);

  // chunk_clone.cc
  bool mustOwn(const ChunkReference& reference, const ChunkRecord& record) const;
  kj::Promise<Status> joinOwning(Place place, kj::StringPtr host);
  Async<Status> own(Place place, kj::String host);
  Async<Status> ownOnce(Place place, kj::StringPtr host, kj::Vector<ServerId>& left);
  Async<Status> proposeOwn(Place place, ReplicaId shared, ChunkHandle clone);

  kj::Promise<Status> joinGrant(ChunkHandle handle, Order order);
  kj::Promise<Status> joinCreation(Place place, kj::StringPtr host);
  Async<kj::Vector<ServerId>> probe(kj::ArrayPtr<const ServerId> suspects, ChunkHandle handle);
  Async<kj::Array<ServerId>> judgeSuspects(kj::ArrayPtr<const ServerId> suspects, ChunkHandle handle);
  uint64_t random();
  void taskFailed(kj::Exception&& exception) override;

  ClusterView& view;
  StoreOrders& orders;
  OperationLog& operations;
  const NamespaceReader& names;
  kj::Timer& timer;
  kj::EntropySource& entropy;
  env::Logger log;
  HandleRange handles;
  kj::TimePoint started;
  std::map<ChunkHandle, kj::ForkedPromise<Status>> grants;
  std::unordered_set<ChunkHandle> still;   // of `grants`: no lease may be given until they are let go
  std::unordered_set<ChunkHandle> frozen;  // of `grants`: their versions are settled, readers need not wait
  std::map<Place, kj::ForkedPromise<Status>> creations;    // of new chunks, and of clones of shared ones
  std::unordered_map<ChunkHandle, Complaints> complaints;  // of clients about a lease whose primary lives
  std::map<ChunkHandle, kj::TimePoint> restless;           // unsettled, and from when on to be settled
  kj::Own<kj::PromiseFulfiller<void>> wakeSettling;        // while none is
  uint32_t settling = 0;                                   // at this moment
  struct Settled {
    ChunkVersion version;
    size_t members = 0;
  };
  std::unordered_map<ChunkHandle, Settled> settled;  // versions confirmed for a sync, and how many hold them
  kj::TaskSet tasks;
};

}  // namespace cairn
