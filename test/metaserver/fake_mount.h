// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A mount that does what a test tells it, and what the metaserver asks it for (FakeCallback).
#pragma once

#include <kj/async.h>

#include <map>
#include <vector>

#include "metaserver/cache_leases.h"
#include "rpc/metaserver.capnp.h"

namespace cairn {

struct FakeMount {
  rpc::Session::Client session = nullptr;
  uint64_t id = 0;
  uint64_t sequence = 0;
  std::vector<uint64_t> invalidated;
  bool breaks = false;  // at an invalidation

  // Cache leases.
  bool caching = false;
  bool tellsSyncs = true;
  std::vector<HeldLease> recalls;  // what it was asked for, in that order
  enum class Obeys { AT_ONCE, WHEN_TOLD, NEVER } obeys = Obeys::AT_ONCE;
  kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> held;  // with WHEN_TOLD: recalls that wait for obey()
  uint32_t messages = 0;                                 // of recalls
  std::map<uint64_t, uint64_t> sizes;                    // of files that it writes, for describe
  uint32_t described = 0;
  bool describesWhenTold = false;
  uint64_t voidUpTo = 0;
  std::vector<uint64_t> refused;

  void obey() {
    for (auto& recall : held) recall->fulfill();
    held.clear();
  }
};

class FakeCallback final : public rpc::ClientCallback::Server {
 public:
  explicit FakeCallback(FakeMount& mount) : mount(mount) {}
  kj::Promise<void> invalidate(InvalidateContext context) override {
    KJ_REQUIRE(!mount.breaks, "a bug of the mount");
    for (auto inode : context.getParams().getInodes()) mount.invalidated.push_back(inode);
    return kj::READY_NOW;
  }
  kj::Promise<void> recall(RecallContext context) override {
    ++mount.messages;
    for (auto lease : context.getParams().getLeases())
      mount.recalls.push_back({InodeId(lease.getInode()), lease.getKind(), LeaseStamp(lease.getStamp())});
    if (mount.obeys == FakeMount::Obeys::AT_ONCE) return kj::READY_NOW;
    if (mount.obeys == FakeMount::Obeys::NEVER) return kj::NEVER_DONE;
    auto paf = kj::newPromiseAndFulfiller<void>();
    mount.held.add(kj::mv(paf.fulfiller));
    return kj::mv(paf.promise);
  }
  kj::Promise<void> describe(DescribeContext context) override {
    ++mount.described;
    if (mount.obeys == FakeMount::Obeys::NEVER) return kj::NEVER_DONE;
    if (!mount.describesWhenTold) {
      tell(context);
      return kj::READY_NOW;
    }
    auto paf = kj::newPromiseAndFulfiller<void>();
    mount.held.add(kj::mv(paf.fulfiller));
    return paf.promise.then([this, context]() mutable { tell(context); });
  }

 private:
  FakeMount& mount;

  void tell(DescribeContext& context) {
    auto known = mount.sizes.find(context.getParams().getInode());
    auto results = context.getResults();
    results.setStatus(known == mount.sizes.end() ? Status::NOT_LEASED : Status::OK);
    if (known != mount.sizes.end()) {
      results.setSize(known->second);
      results.setMtime(77);
    }
  }
};

}  // namespace cairn
