// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Administration.check: one check of the whole system, as far on as its caller asks for more. Findings wait
// in a queue of bounded length; they are named, and mended if that is wanted, when they are told.
#include <kj/debug.h>

#include <deque>

#include "metaserver/administration_handlers.h"
#include "metaserver/finding_names.h"
#include "metaserver/fleet_check.h"
#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr size_t QUEUE_MAX = 1000;
constexpr kj::Duration ANSWER_AFTER = 1 * kj::SECONDS;  // so that the caller can show that it goes on

class SystemCheck final : public rpc::Check::Server, private CheckSink {
 public:
  SystemCheck(MetaService& service, kj::Own<NamespaceScan> scan, FleetCheckOptions options, bool repair)
      : service(service),
        scan(kj::mv(scan)),
        repair(repair),
        namespaceCheck(*this->scan, *this),
        fleetCheck(service, *this->scan, *this, options) {
    service.checking = true;
    running = service.guard(run()).eagerlyEvaluate([this](kj::Exception&& exception) {
      problem = kj::mv(exception);
      wake();
    });
  }
  ~SystemCheck() noexcept(false) { service.checking = false; }

  kj::Promise<void> next(NextContext context) override { return service.guard(telling(context)); }

 private:
  MetaService& service;
  kj::Own<NamespaceScan> scan;
  const bool repair;
  NamespaceCheck namespaceCheck;
  FleetCheck fleetCheck;
  std::deque<Finding> queue;
  uint64_t rows = 0;
  enum class Stage { NAMESPACE, FLEET, ENDED } stage = Stage::NAMESPACE;
  kj::Maybe<kj::Exception> problem;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> news, room;
  kj::Promise<void> running = nullptr;  // last: goes before what it uses

  Async<void> run() {
    co_await namespaceCheck.run();
    stage = Stage::FLEET;
    co_await fleetCheck.run();
    stage = Stage::ENDED;
    wake();
  }

  kj::Promise<void> found(Finding finding) override {
    queue.push_back(std::move(finding));
    if (queue.size() < QUEUE_MAX) return kj::READY_NOW;
    wake();
    auto paf = kj::newPromiseAndFulfiller<void>();
    room = kj::mv(paf.fulfiller);
    return kj::mv(paf.promise);
  }
  kj::Promise<void> rest(uint64_t more) override {
    rows += more;
    return turn();
  }
  kj::Promise<void> turn() {
    // By the timer, so that the loop also looks at its connections.
    return service.timer.afterDelay(0 * kj::SECONDS);
  }
  void wake() {
    KJ_IF_MAYBE (waiting, news) (*waiting)->fulfill();
    news = nullptr;
  }

  Async<void> telling(NextContext context) {
    auto self = thisCap();
    bool ended = stage == Stage::ENDED || problem != nullptr;
    if (!ended && queue.size() < QUEUE_MAX) {
      auto paf = kj::newPromiseAndFulfiller<void>();
      news = kj::mv(paf.fulfiller);
      co_await paf.promise.exclusiveJoin(service.timer.afterDelay(ANSWER_AFTER));
    }
    KJ_IF_MAYBE (exception, problem) kj::throwFatalException(kj::cp(*exception));
    bool end = stage == Stage::ENDED;
    std::vector<Finding> told(std::make_move_iterator(queue.begin()), std::make_move_iterator(queue.end()));
    queue.clear();
    KJ_IF_MAYBE (waiting, room) (*waiting)->fulfill();
    room = nullptr;

    if (!told.empty()) {
      auto now = KJ_ASSERT_NONNULL(service.scan)();
      co_await FindingNames(*now, service.names, [this]() { return turn(); }).fillIn(told);
    }
    auto results = context.getResults();
    auto list = results.initFindings(told.size());
    LogIndex last;
    for (size_t i = 0; i < told.size(); ++i) {
      write(list[i], told[i]);
      if (repair) list[i].setRepair(co_await mend(told[i], last));
    }
    if (last) {
      auto durable = co_await service.operations.durable(last);
      KJ_REQUIRE(ok(durable), "what was repaired is not on stable storage", durable);
    }
    results.setEnd(end);
    results.setRows(rows);
    results.setStage(stage == Stage::NAMESPACE ? "namespace"_kj : fleetCheck.stage());
  }

  static void write(rpc::Finding::Builder builder, const Finding& finding) {
    builder.setTrouble(kj::str(finding.trouble));
    builder.setSeverity(uint8_t(severityOf(finding.trouble)));
    auto paths = builder.initPaths(finding.paths.size());
    for (size_t i = 0; i < finding.paths.size(); ++i) paths.set(i, finding.paths[i].c_str());
    builder.setInode(finding.inode.value());
    builder.setChunk(finding.chunk.value());
    builder.setServer(finding.server.value());
    builder.setSentence(cairn::describe(finding).c_str());
    builder.setAdvice(advise(finding).c_str());
  }

  Async<rpc::Repaired> mend(const Finding& finding, LogIndex& last) {
    switch (remedyOf(finding)) {
      case Remedy::MEND:
        break;
      case Remedy::REPLICATE:
        co_return co_await replicate(finding);
      case Remedy::NONE:
      case Remedy::RELEASE:
      case Remedy::WAIT:
        co_return rpc::Repaired::NO;
    }
    auto operation = kj::heap<LoggedOperation>();
    auto mend = operation->body().initMend();
    mend.setAsOf(scan->state().applied.value());
    auto mending = mend.initMendings(1)[0];
    mending.setTrouble(uint16_t(finding.trouble));
    mending.setInode(finding.inode.value());
    mending.setDirectory(finding.directory.value());
    mending.setName(kj::StringPtr(finding.name.c_str(), finding.name.size()).asBytes());
    mending.setChunk(finding.chunk.value());
    mending.setFound(finding.found);
    mending.setRight(finding.right);
    auto outcome = co_await service.operations.propose(kj::mv(operation));
    bool done = outcome.ok() && outcome.number == 1;
    service.log.warning("a check finds: ", cairn::describe(finding).c_str(), " -> ",
                        done ? kj::str("mended") : kj::str("not mended: ", outcome.status));
    if (done) last = outcome.index;
    co_return done ? rpc::Repaired::YES : rpc::Repaired::NO;
  }

  Async<rpc::Repaired> replicate(const Finding& finding) {
    if (finding.trouble == Trouble::REPLICAS_DIFFER) {
      service.grants.unsettled(finding.chunk);
    } else if (finding.trouble == Trouble::DATA_FILE) {
      // The store reads it, and quarantines what it finds damaged; then it counts no more, and is replaced.
      // One that it can still read, from a file that it has open, stays: it may be the last.
      auto status =
          co_await service.corruptReplica(finding.chunk, finding.server, "a check finds its files wrong");
      if (status != Status::CORRUPT) co_return rpc::Repaired::NO;
    }
    service.repair.look(finding.chunk);
    co_return rpc::Repaired::BEGUN;
  }
};

}  // namespace

kj::Promise<void> AdministrationHandlers::check(CheckContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  KJ_IF_MAYBE (scan, service.scan) {
    if (service.checking || service.view.safeMode.on()) {
      results.setStatus(service.checking ? Status::BUSY : Status::NOT_READY);
      return kj::READY_NOW;
    }
    FleetCheckOptions options;
    if (params.getData()) options.data = FleetCheckOptions::Data::YES;
    service.log.info("an operator wants a check", params.getRepair() ? ", with repairs" : "",
                     " -> of the namespace as of operation ", service.operations.last());
    results.setCheck(kj::heap<SystemCheck>(service, (*scan)(), options, params.getRepair()));
  } else {
    results.setStatus(Status::NOT_SUPPORTED);
  }
  return kj::READY_NOW;
}

}  // namespace cairn
