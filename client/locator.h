// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Where is this chunk? From the cache, else from the metaserver; questions that are already under way are not
// asked twice. Patient: while the metaserver is away or has no replica yet, it asks again.
// Called by reader.cc, writer.cc, appender.cc and chunk_sync.cc.
#pragma once

#include <list>
#include <set>
#include <vector>

#include "client/chunk_servers.h"
#include "client/location_cache.h"
#include "client/session.h"
#include "rpc/coroutine.h"

namespace cairn::client {

class Locator {
 public:
  Locator(kj::Timer& timer, Session& session, ChunkServers& servers)
      : timer(timer), session(session), servers(servers) {}
  KJ_DISALLOW_COPY(Locator);

  kj::Maybe<const ChunkLocation&> knownForReading(InodeId inode, ChunkIndex index) const {
    return cache.forReading(inode, index, timer.now());
  }
  // The patience is the caller's, who keeps it: the time for one call of the application is shared by all
  // that it takes.
  Async<Result<ChunkLocation>> forReading(InodeId inode, ChunkIndex index, uint64_t fileSize,
                                          Patience& patience);
  Async<Result<ChunkLocation>> forWriting(InodeId inode, ChunkIndex index, Patience& patience);
  // With a primary that holds a lease; the chunk is made when it is missing. NO_SPACE, NOT_FOUND, ... as
  // Session.locate.

  enum class MoreSpace { NONE, MAY_COME };
  Async<MoreSpace> moreSpace();
  // After NO_SPACE from anybody: whether it is worth trying again after a pause.

  Async<Result<ChunkLocation>> forSyncing(InodeId inode, ChunkIndex index, ChunkHandle handle,
                                          ChunkVersion version, const std::set<ServerId>& unable,
                                          Patience& patience);
  // All replicas that count; when some could not sync it, under a higher version than this one, without those
  // or with them made equal to the others. Another chunk, when that is in its place by now.

  void learn(InodeId inode, capnp::List<rpc::Location>::Reader locations);
  LocationCache& known() { return cache; }
  kj::TimePoint now() const { return timer.now(); }

 private:
  enum class Purpose { READING, WRITING };
  struct Question {
    InodeId inode;
    ChunkIndex first;
    uint32_t count;
    Purpose purpose;
    bool answered = false;  // then it waits for the next ask() to be cleared away
    kj::ForkedPromise<Status> answer = kj::Promise<Status>(Status::OK).fork();
  };

  kj::Timer& timer;
  Session& session;
  ChunkServers& servers;
  LocationCache cache;
  std::list<Question> questions;

  kj::Promise<Status> ask(InodeId inode, ChunkIndex index, Purpose purpose, uint64_t fileSize);
  Async<Status> askOnce(InodeId inode, ChunkIndex first, uint32_t count, Purpose purpose);
  Async<Status> askWithout(InodeId inode, ChunkIndex index, ChunkVersion version,
                           std::vector<ServerId> unable);
};

}  // namespace cairn::client
