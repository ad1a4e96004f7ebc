// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Whether the stores hold what the namespace says, and their files what their indexes say. What stores hold
// changes all the time, so whatever looks wrong is looked at again after a while, and told of only if it is
// still so. judge...() are pure; the class is their driver. Called by check_handlers.cc.
#pragma once

#include "metaserver/meta_service.h"
#include "metaserver/namespace_check.h"
#include "rpc/coroutine.h"

namespace cairn {

struct SeenReplica {
  ReplicaFacts facts;
  enum class Store { ANSWERS, AWAY } store = Store::ANSWERS;
};

std::vector<Finding> judgeReplicas(ChunkHandle chunk, const ChunkRecord& record,
                                   kj::ArrayPtr<const SeenReplica> replicas);
// Of a chunk that files have.

kj::Maybe<Finding> judgeForeign(ChunkHandle chunk, const ReplicaFacts& replica, const ChunkFacts& facts);
// Of a replica of a chunk that no file has, or of a version that is not on record.

std::vector<Finding> judgeContents(ChunkHandle chunk, kj::ArrayPtr<const ServerId> servers,
                                   kj::ArrayPtr<const kj::Maybe<StoreOrders::Content>> contents);
// Replicas of one version, at rest: those that differ from the first that answered.

struct FleetCheckOptions {
  enum class Data { NO, YES } data = Data::NO;  // read and compare all bytes
  kj::Duration secondLook = 3 * kj::SECONDS;
};

class FleetCheck {
 public:
  FleetCheck(MetaService& service, const NamespaceScan& scan, CheckSink& sink, FleetCheckOptions options)
      : service(service), scan(scan), sink(sink), options(options) {}
  KJ_DISALLOW_COPY(FleetCheck);
  Async<void> run();
  kj::StringPtr stage() const { return currentStage; }

 private:
  MetaService& service;
  const NamespaceScan& scan;
  CheckSink& sink;
  FleetCheckOptions options;
  kj::StringPtr currentStage = "chunks on stores"_kj;

  std::vector<Finding> look(ChunkHandle chunk) const;
  Async<void> confirm(std::vector<Finding>& suspects);
  Async<void> checkRecords();
  Async<void> checkForeign();
  Async<void> checkFiles();
  Async<void> checkFilesOf(ServerId server);
  Async<void> checkData();
  Async<void> readReplicas(ChunkHandle chunk);
  Async<std::vector<Finding>> compareReplicas(ChunkHandle chunk);
};

}  // namespace cairn
