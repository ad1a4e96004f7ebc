// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/replication.h"

#include <capnp/orphan.h>
#include <kj/debug.h>

#include "rpc/chunkd.capnp.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::Duration APPLY_DEADLINE = 30 * kj::SECONDS;        // of a hop that is slow and alive
constexpr kj::Duration PROBE_INTERVAL = 350 * kj::MILLISECONDS;  // without an answer, then we ask
constexpr kj::Duration PROBE_DEADLINE = 550 * kj::MILLISECONDS;

struct Release {
  // Goes with the message that refers to the payload.
  kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  explicit Release(kj::Own<kj::PromiseFulfiller<void>> fulfiller) : fulfiller(kj::mv(fulfiller)) {}
  ~Release() noexcept(false) { fulfiller->fulfill(); }
};

void write(rpc::Address::Builder address, const ReplicaAddress& replica) {
  address.setNetwork(replica.network);
  address.setLocal(replica.local);
  address.setHost(replica.host);
}

}  // namespace

Replication::Hop& Replication::hopTo(const ReplicaAddress& replica) {
  auto& hop = hops[replica.server];
  PeerAddress address{kj::str(replica.network), kj::str(replica.local), kj::str(replica.host)};
  if (hop == nullptr) {
    hop = std::make_unique<Hop>(
        kj::heap<Peer<rpc::ChunkServer>>(environment, kj::str("chunkd-", replica.server), kj::mv(address)));
  } else if (hop->peer->address().network != replica.network) {
    hop->peer->setAddress(kj::mv(address));
    hop->peer->disconnect(
        KJ_EXCEPTION(DISCONNECTED, "the store has moved to another address", replica.network));
  }
  return *hop;
}

kj::Promise<ChainOutcome> Replication::forward(kj::ArrayPtr<const ReplicaAddress> chain,
                                               ForwardedWrite write) {
  if (chain.size() == 0) return ChainOutcome{};
  auto rest = kj::heapArrayBuilder<ReplicaAddress>(chain.size() - 1);
  for (auto& replica : chain.slice(1, chain.size())) rest.add(replica.clone());
  return forwardTo(hopTo(chain[0]), chain[0].server, rest.finish(), write);
}

Async<ChainOutcome> Replication::forwardTo(Hop& hop, ServerId server, kj::Array<ReplicaAddress> rest,
                                           ForwardedWrite write) {
  if (hop.underWay++ == 0) {
    hop.watch =
        watchHop(hop).eagerlyEvaluate([](kj::Exception&& e) { KJ_LOG(ERROR, "watching a replica", e); });
  }
  KJ_DEFER(hop.underWay--);
  auto released = kj::newPromiseAndFulfiller<void>();
  auto send = [&](rpc::ChunkServer::Client& client) {
    auto request = client.applyRequest();
    auto chunk = request.initChunk();
    chunk.setHandle(write.chunk.handle.value());
    chunk.setVersion(write.chunk.version.value());
    request.setSerial(write.serial);
    auto extents = request.initExtents(unsigned(write.extents.size()));
    for (unsigned i = 0; i < write.extents.size(); i++) {
      extents[i].setOffset(write.extents[i].offset);
      extents[i].setSize(uint32_t(write.extents[i].data.size()));
    }
    request.adoptData(
        capnp::Orphanage::getForMessageContaining(rpc::ChunkServer::ApplyParams::Builder(request))
            .referenceExternalData(write.data));
    request.setChecksums(write.checksums);
    auto list = request.initRest(unsigned(rest.size()));
    for (unsigned i = 0; i < rest.size(); i++) {
      list[i].setServer(rest[i].server.value());
      cairn::write(list[i].initAddress(), rest[i]);
    }
    return request.send();
  };
  ChainOutcome outcome;
  kj::Maybe<kj::Exception> problem;
  try {
    auto answer = co_await hop.peer->call(CallOptions{"apply", APPLY_DEADLINE, WhenDown::FAIL}, send,
                                          kj::heap<Release>(kj::mv(released.fulfiller)));
    hop.answers++;
    for (auto applied : answer.getApplied()) {
      outcome.applied.add(AppliedBy{ServerId(applied.getServer()), applied.getBoot()});
    }
    for (auto failed : answer.getFailed()) outcome.failed.add(ServerId(failed));
    if (!ok(answer.getStatus())) {
      outcome.onlyForSpace = answer.getStatus() == Status::NO_SPACE;
      if (outcome.failed.size() == 0) outcome.failed.add(server);
      log.warning("store ", server, " answered the write ", write.serial, " of ", write.chunk, " with ",
                  answer.getStatus(), " -> replicas that failed: ", kj::strArray(outcome.failed, ","));
    }
  } catch (const kj::Exception& exception) {
    problem = kj::cp(exception);
  }
  KJ_IF_MAYBE (exception, problem) {
    // What it did is not known, nor what those behind it did: the next version settles it.
    log.warning("store ", server, " did not answer the write ", write.serial, " of ", write.chunk, " (",
                exception->getDescription(), ") -> it counts as failed");
    outcome.failed.add(server);
    outcome.onlyForSpace = false;
    if (exception->getType() == kj::Exception::Type::OVERLOADED) {
      hop.peer->disconnect(KJ_EXCEPTION(DISCONNECTED, "it does not answer", server));
    }
  }
  co_await released.promise;  // only now nobody reads our caller's bytes any more
  co_return kj::mv(outcome);
}

Async<void> Replication::watchHop(Hop& hop) {
  // Slow is told from hung: a process that is alive answers an empty question at once.
  auto& timer = environment.timer;
  for (;;) {
    uint64_t answers = hop.answers;
    co_await timer.afterDelay(PROBE_INTERVAL);
    if (hop.underWay == 0) co_return;
    if (hop.answers != answers) continue;
    auto alive = co_await hop.peer
                     ->call(CallOptions{"describe", PROBE_DEADLINE, WhenDown::FAIL},
                            [](rpc::ChunkServer::Client& client) { return client.describeRequest().send(); })
                     .then([](auto&&) { return true; }, [](kj::Exception&&) { return false; });
    if (alive || hop.underWay == 0) continue;
    hop.peer->disconnect(KJ_EXCEPTION(DISCONNECTED, "it does not answer a probe"));
  }
}

}  // namespace cairn
