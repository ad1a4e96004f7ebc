// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The Administration interface: what an operator asks for is made an operation of the log, and repair does
// the rest. Made by metaserver_handlers.cc.
#pragma once

#include "metaserver/meta_service.h"
#include "rpc/administration.capnp.h"
#include "rpc/coroutine.h"

namespace cairn {

class AdministrationHandlers final : public rpc::Administration::Server {
 public:
  explicit AdministrationHandlers(MetaService& service) : service(service) {}

  kj::Promise<void> drain(DrainContext context) override { return service.guard(draining(context)); }
  kj::Promise<void> remove(RemoveContext context) override { return service.guard(removing(context)); }
  kj::Promise<void> rebalance(RebalanceContext context) override;
  kj::Promise<void> setReplicas(SetReplicasContext context) override {
    return service.guard(settingReplicas(context));
  }

  // snapshot_handlers.cc
  kj::Promise<void> snapshot(SnapshotContext context) override {
    return service.guard(takingSnapshot(context));
  }

  // archive_handlers.cc
  kj::Promise<void> image(ImageContext context) override { return service.guard(takingImage(context)); }
  kj::Promise<void> checkpoint(CheckpointContext context) override {
    return service.guard(checkpointing(context));
  }
  kj::Promise<void> releaseKept(ReleaseKeptContext context) override {
    return service.guard(releasingKept(context));
  }

  // check_handlers.cc
  kj::Promise<void> check(CheckContext context) override;

  // trash_handlers.cc
  kj::Promise<void> trash(TrashContext context) override { return service.guard(listingTrash(context)); }
  kj::Promise<void> restore(RestoreContext context) override { return service.guard(restoring(context)); }
  kj::Promise<void> purgeTrash(PurgeTrashContext context) override {
    return service.guard(purgingTrash(context));
  }
  kj::Promise<void> keepTrash(KeepTrashContext context) override {
    return service.guard(keepingTrash(context));
  }
  kj::Promise<void> trashOf(TrashOfContext context) override;

  // quota_handlers.cc
  kj::Promise<void> setQuota(SetQuotaContext context) override {
    return service.guard(settingQuota(context));
  }
  kj::Promise<void> quotas(QuotasContext context) override { return service.guard(listingQuotas(context)); }

 private:
  Async<void> takingSnapshot(SnapshotContext context);
  Async<void> takingImage(ImageContext context);
  Async<void> checkpointing(CheckpointContext context);
  Async<void> releasingKept(ReleaseKeptContext context);
  Async<void> listingTrash(TrashContext context);
  Async<void> restoring(RestoreContext context);
  Async<void> purgingTrash(PurgeTrashContext context);
  Async<void> keepingTrash(KeepTrashContext context);
  Async<void> settingQuota(SetQuotaContext context);
  Async<void> listingQuotas(QuotasContext context);
  Async<void> draining(DrainContext context);
  Async<void> removing(RemoveContext context);
  Async<void> settingReplicas(SetReplicasContext context);
  Async<Status> setOne(InodeId inode, uint8_t replicas, uint64_t& chunks);
  Async<uint64_t> countOn(ServerId server);

  MetaService& service;
};

}  // namespace cairn
