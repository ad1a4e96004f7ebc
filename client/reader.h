// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Reads what the replicas have: cuts a range at chunk boundaries and at TRANSFER_SIZE_MAX, asks the nearest
// replica for each piece, several at a time, and gives back the bytes in the memory they arrived in.
// INVARIANT: no byte is given out whose checksum was not verified here. Another replica is asked when one
// fails, lies or is slow; only when none is left and patience has run out there is an error.
// Called by open_file.cc only.
#pragma once

#include <set>
#include <vector>

#include "client/filesystem.h"
#include "client/locator.h"
#include "rpc/coroutine.h"

namespace cairn::client {

struct FoundBytes {
  // Views in file order, and what holds them.
  kj::Vector<kj::ArrayPtr<const kj::byte>> views;
  kj::Vector<kj::Own<void>> keepers;

  void addZeros(uint64_t size);
  void append(FoundBytes&& more);
  ReadData release();
};

class Reader : private kj::TaskSet::ErrorHandler {
 public:
  Reader(kj::Timer& timer, kj::EntropySource& entropy, const Timing& timing, env::Logger log,
         Locator& locator, ChunkServers& servers, Session& session)
      : timer(timer),
        entropy(entropy),
        timing(timing),
        log(kj::mv(log)),
        locator(locator),
        servers(servers),
        session(session),
        reports(*this) {}
  KJ_DISALLOW_COPY(Reader);

  Async<Result<FoundBytes>> read(InodeId inode, uint64_t offset, uint64_t size, uint64_t fileSize);
  // Exactly `size` bytes; the caller has cut the range at the end of the file.

 private:
  class Race;
  friend class Race;
  using Answer = capnp::Response<rpc::ChunkServer::ReadResults>;

  kj::Timer& timer;
  kj::EntropySource& entropy;
  const Timing& timing;
  env::Logger log;
  Locator& locator;
  ChunkServers& servers;
  Session& session;
  kj::TaskSet reports;

  Async<Result<FoundBytes>> readPiece(InodeId inode, uint64_t offset, uint32_t size, uint64_t fileSize);
  Async<kj::Maybe<Answer>> ask(InodeId inode, const ChunkLocation& location, ServerId server, uint32_t from,
                               uint32_t size, kj::Duration deadline, std::set<ServerId>& damaged);
  bool verify(Answer& answer, uint32_t size) const;
  void reportCorrupt(const ChunkLocation& location, ServerId server);
  void taskFailed(kj::Exception&& exception) override;
  std::vector<ServerId> inOrder(const ChunkLocation& location) const;
};

}  // namespace cairn::client
