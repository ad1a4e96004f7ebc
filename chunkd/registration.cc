// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/registration.h"

#include <kj/debug.h>

#include "chunkd/scrubber.h"
#include "env/saying.h"
#include "rpc/coroutine.h"
#include "rpc/deadline.h"

namespace cairn {

namespace {

constexpr kj::Duration CONNECT_CHECK = 1 * kj::SECONDS;
constexpr kj::Duration BEAT_DEADLINE = 4 * kj::SECONDS;  // without an answer the line is taken for dead
constexpr kj::Duration REPORT_DEADLINE = 30 * kj::SECONDS;
constexpr kj::Duration FAILED_DEADLINE = 1 * kj::SECONDS;

}  // namespace

Registration::Registration(ChunkStore& store, PeerEnvironment& environment, RegistrationOptions options,
                           const env::Logger& log)
    : Registration(store, environment, kj::mv(options), log, kj::newPromiseAndFulfiller<void>()) {}

Registration::Registration(ChunkStore& store, PeerEnvironment& environment, RegistrationOptions optionsParam,
                           const env::Logger& log, kj::PromiseFulfillerPair<void> pair)
    : store(store),
      timer(environment.timer),
      options(kj::mv(optionsParam)),
      log(log),
      peer(kj::heap<Peer<rpc::Metaserver>>(environment, "metaserver", options.metaserver.clone())),
      registeredFulfiller(kj::mv(pair.fulfiller)),
      registered(pair.promise.fork()),
      tasks(kj::heap<kj::TaskSet>(static_cast<kj::TaskSet::ErrorHandler&>(*this))) {}

Registration::~Registration() noexcept(false) = default;

void Registration::taskFailed(kj::Exception&& exception) {
  log.error("the line to the metaserver failed in a way not foreseen: ", exception.getDescription());
}

void Registration::start(ChunkService& chunkService, const Scrubber& chunkScrubber, PeerAddress ourAddress) {
  service = chunkService;
  scrubber = &chunkScrubber;
  address = kj::mv(ourAddress);
  peer->onConnect([this](rpc::Metaserver::Client metaserver, ConnectionGeneration) {
    return registerWith(kj::mv(metaserver));
  });
  peer->onDisconnect([this](ConnectionGeneration, const kj::Exception& reason) {
    log.warning("the metaserver is gone (", reason.getDescription(),
                ") -> leases run out by themselves; connecting again");
    beating = nullptr;
    line = nullptr;
    if (lost.get() != nullptr) lost->fulfill();
  });
  tasks->add(stayConnected());
}

void Registration::stop() {
  tasks = nullptr;
  beating = nullptr;
  line = nullptr;
  peer = nullptr;  // with the orders under way on it
  service = nullptr;
}

kj::Promise<void> Registration::whenRegistered() {
  return registered.addBranch();
}

void Registration::refusedForGood(kj::StringPtr message) {
  if (registeredOnce) {
    log.error("the metaserver refuses us: ", message, " -> trying again");
  } else if (registeredFulfiller->isWaiting()) {
    registeredFulfiller->reject(env::saying(kj::Exception::Type::FAILED, kj::str(message)));
  }
}

Async<void> Registration::stayConnected() {
  for (;;) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    lost = kj::mv(pair.fulfiller);
    for (bool up = false; !up;) {
      auto connected = peer->connect().then([] { return true; }, [](kj::Exception&&) { return false; });
      auto patience = timer.afterDelay(CONNECT_CHECK).then([] { return false; });
      up = co_await connected.exclusiveJoin(kj::mv(patience));
      if (up) break;
      KJ_IF_MAYBE (refusal, peer->refusal()) {
        refusedForGood(refusal->message);
        co_await timer.afterDelay(CONNECT_CHECK);
      }
    }
    if (line != nullptr) {
      beating = runLine().eagerlyEvaluate([this](kj::Exception&& exception) {
        if (exception.getType() != kj::Exception::Type::DISCONNECTED) {
          log.warning("the line to the metaserver: ", exception.getDescription(), " -> a new one");
        }
        tasks->add(
            kj::evalLater([this] { peer->disconnect(KJ_EXCEPTION(DISCONNECTED, "it did not go on")); }));
      });
    }
    co_await pair.promise;
  }
}

Async<void> Registration::registerWith(rpc::Metaserver::Client metaserver) {
  auto request = metaserver.registerRequest();
  auto description = request.initStore();
  auto& self = store.identity();
  auto space = store.space();
  description.setStore(self.uuid);
  description.setServer(self.server.value());
  auto at = description.initAddress();
  at.setNetwork(address.network);
  at.setLocal(address.local);
  at.setHost(address.host);
  description.setRack(options.rack);
  description.setBoot(store.bootNumber());
  description.setBytesTotal(space.totalBytes);
  description.setBytesFree(space.freeBytes);
  description.setChunks(store.count());
  description.setPid(options.pid);
  description.setEpoch(self.epoch.value());
  request.setOrders(KJ_ASSERT_NONNULL(service).newOrderHandlers());
  auto answer = co_await request.send();
  if (!ok(answer.getStatus())) {
    auto sentence = kj::str("The metaserver does not take this store: ", answer.getMessage(), " (",
                            answer.getStatus(), "). Its chunks are untouched.");
    if (answer.getStatus() == Status::EXISTS || answer.getStatus() == Status::WRONG_CLUSTER)
      refusedForGood(sentence);
    kj::throwFatalException(env::saying(kj::Exception::Type::FAILED, kj::mv(sentence)));
  }
  log.info("registered as store ", answer.getServer(), " with ", store.count(), " chunks -> report them");
  line = Line{answer.getFleet(), answer.getHeartbeatMs() * kj::MILLISECONDS};
  auto cluster = KJ_ASSERT_NONNULL(service).cluster();
  auto joined = co_await store.join(cluster, ServerId(answer.getServer()), self.epoch);
  if (!ok(joined)) {
    refusedForGood(kj::str("The store cannot remember its cluster: ", joined));
    kj::throwFatalException(KJ_EXCEPTION(FAILED, "the store cannot remember its cluster", joined));
  }
}

Async<void> Registration::runLine() {
  co_await beat();  // tells the epoch: nothing is deleted on the word of an older one
  co_await report();
  if (!registeredOnce) {
    registeredOnce = true;
    registeredFulfiller->fulfill();
  }
  for (;;) {
    auto interval = KJ_ASSERT_NONNULL(line).interval;
    co_await timer.afterDelay(interval);
    co_await beat();
  }
}

Async<void> Registration::beat() {
  auto& chunks = KJ_ASSERT_NONNULL(service);
  auto sent = timer.now();
  auto request = KJ_ASSERT_NONNULL(line).fleet.heartbeatRequest();
  auto space = store.space();
  request.setBytesTotal(space.totalBytes);
  request.setBytesFree(space.freeBytes);
  request.setChunks(store.count());
  request.setLoad(chunks.callsUnderWay());
  auto wanted = chunks.leases.toExtend(sent);
  auto extend = request.initExtend(unsigned(wanted.size()));
  for (unsigned i = 0; i < wanted.size(); i++) {
    extend[i].setHandle(wanted[i].handle.value());
    extend[i].setVersion(wanted[i].version.value());
  }
  auto lostReplicas = store.takeQuarantined();
  auto removed = request.initRemoved(unsigned(lostReplicas.size()));
  for (unsigned i = 0; i < lostReplicas.size(); i++) removed.set(i, lostReplicas[i].value());

  auto scrubbed = scrubber->progress();
  auto scrub = request.initScrub();
  scrub.setOldestS(scrubbed.oldestSeconds);
  scrub.setBytes(scrubbed.bytes);
  scrub.setDamaged(scrubbed.damaged);
  scrub.setRate(scrubbed.bytesPerSecond);

  auto answer = co_await withDeadline<capnp::Response<rpc::Fleet::HeartbeatResults>>(
      timer, request.send(), BEAT_DEADLINE, kj::str("heartbeat"));
  if (!ok(answer.getStatus())) {
    kj::throwFatalException(
        KJ_EXCEPTION(DISCONNECTED, "the metaserver wants us to register again", answer.getStatus()));
  }
  auto joined = co_await store.join(chunks.cluster(), ServerId(0), Epoch(answer.getEpoch()));
  if (!ok(joined)) {
    log.error("the metaserver is of epoch ", answer.getEpoch(), ", we have seen ", store.identity().epoch,
              " -> not obeyed: is it one that should be off?");
    kj::throwFatalException(KJ_EXCEPTION(FAILED, "a metaserver of an old epoch"));
  }
  for (auto handle : answer.getExtended()) {
    for (auto& chunk : wanted) {
      if (chunk.handle.value() == handle)
        chunks.leases.extend(chunk, sent + answer.getLeaseMs() * kj::MILLISECONDS);
    }
  }
  chunks.leases.dropExpired(sent);
  co_await removeAll(answer.getDelete());
}

Async<void> Registration::report() {
  ChunkHandle after(0);
  for (bool last = false; !last;) {
    auto batch = store.list(after, options.reportBatch);
    last = batch.size() < options.reportBatch;
    auto request = KJ_ASSERT_NONNULL(line).fleet.reportRequest();
    auto list = request.initChunks(unsigned(batch.size()));
    for (unsigned i = 0; i < batch.size(); i++) KJ_ASSERT_NONNULL(service).writeReport(list[i], batch[i]);
    request.setLast(last);
    if (batch.size() > 0) after = batch.back().handle;
    auto answer = co_await withDeadline<capnp::Response<rpc::Fleet::ReportResults>>(
        timer, request.send(), REPORT_DEADLINE, kj::str("report"));
    co_await removeAll(answer.getDelete());
  }
}

Async<void> Registration::removeAll(capnp::List<rpc::ChunkId>::Reader chunks) {
  if (chunks.size() == 0) co_return;
  log.info("the metaserver has ", chunks.size(), " replicas of this store dropped");
  for (auto chunk : chunks) {
    ChunkKey key{ChunkHandle(chunk.getHandle()), ChunkVersion(chunk.getVersion())};
    KJ_ASSERT_NONNULL(service).leases.endUpTo(key);
    auto removed = co_await store.remove(key);
    if (!ok(removed)) log.warning("dropping ", key, ": ", removed, " -> the metaserver will ask again");
  }
}

kj::Promise<void> Registration::reportFailed(ChunkKey chunk, kj::Array<ServerId> servers) {
  KJ_IF_MAYBE (current, line) {
    auto request = current->fleet.failedRequest();
    request.initChunk().setHandle(chunk.handle.value());
    request.getChunk().setVersion(chunk.version.value());
    auto list = request.initServers(unsigned(servers.size()));
    for (unsigned i = 0; i < servers.size(); i++) list.set(i, servers[i].value());
    log.warning("stores ", kj::strArray(servers, ","), " did not apply a write of ", chunk,
                " -> the lease is over, the metaserver is told");
    // Bounded: the writer also tells it whom it suspects.
    return withDeadline<capnp::Response<rpc::Fleet::FailedResults>>(timer, request.send(), FAILED_DEADLINE,
                                                                    kj::str("failed"))
        .ignoreResult()
        .catch_([this](kj::Exception&& e) { log.warning("telling the metaserver: ", e.getDescription()); });
  }
  return kj::READY_NOW;
}

}  // namespace cairn
