// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Our message path against Cap'n Proto's own two-party network, over a Unix socket pair in one thread (so
// both sides' CPU is counted): small calls, one at a time and 16 in flight, and 1 MiB payloads in both
// directions.
//   build/test/rpc/message_path_bench
#include <benchmark/benchmark.h>
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <string.h>
#include <unistd.h>

#include "rpc/acceptor.h"
#include "rpc/chunkd.capnp.h"
#include "rpc/connection.h"
#include "rpc/message_builder.h"
#include "rpc/peer.h"
#include "test/sim/seeded_entropy.h"

namespace cairn {
namespace {

constexpr uint32_t PAYLOAD = 1 << 20;

class Store final : public rpc::ChunkServer::Server {
 public:
  explicit Store(BufferPool& pool) : pool(pool) {}

 protected:
  kj::Promise<void> describe(DescribeContext context) override {
    context.getResults().initChunks(1)[0].setHandle(context.getParams().getChunks()[0]);
    return kj::READY_NOW;
  }
  kj::Promise<void> read(ReadContext context) override {
    auto size = context.getParams().getSize();
    auto data = initPayload(pool, [&]() { return context.getResults().initData(size); });
    benchmark::DoNotOptimize(data.begin());
    return kj::READY_NOW;
  }
  kj::Promise<void> write(WriteContext context) override {
    benchmark::DoNotOptimize(context.getParams().getData().begin());
    return kj::READY_NOW;
  }

 private:
  BufferPool& pool;
};

struct World {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  BufferPool pool;
};

struct Ours : World {
  rpc::ChunkServer::Client connect() { return client.bootstrap().castAs<rpc::ChunkServer>(); }
  kj::TwoWayPipe pipe = io.provider->newTwoWayPipe();
  Connection server{kj::mv(pipe.ends[0]), pool, kj::heap<Store>(pool)};
  Connection client{kj::mv(pipe.ends[1]), pool};
};

struct Stock : World {
  kj::TwoWayPipe pipe = io.provider->newTwoWayPipe();
  capnp::TwoPartyServer server{kj::heap<Store>(pool)};
  capnp::TwoPartyClient client{*pipe.ends[1]};
  kj::Promise<void> serving = server.accept(*pipe.ends[0]).eagerlyEvaluate(nullptr);
  rpc::ChunkServer::Client connect() { return client.bootstrap().castAs<rpc::ChunkServer>(); }
};

template <typename Path>
void smallCalls(benchmark::State& state) {
  Path path;
  auto server = path.connect();
  auto inFlight = state.range(0);
  for (auto _ : state) {
    auto answers = kj::heapArrayBuilder<kj::Promise<void>>(inFlight);
    for (int64_t i = 0; i < inFlight; ++i) {
      auto request = server.describeRequest();
      request.initChunks(1).set(0, 77);
      answers.add(request.send().ignoreResult());
    }
    kj::joinPromises(answers.finish()).wait(path.io.waitScope);
  }
  state.SetItemsProcessed(state.iterations() * inFlight);
}

void smallCallsThroughPeer(benchmark::State& state) {
  // What deadlines, order and payload keeping add to smallCalls<Ours>.
  World world;
  sim::SeededEntropy entropy(1);
  ClusterId cluster{1, 2}, learned;
  Epoch epoch;
  auto& timer = world.io.provider->getTimer();
  auto& network = world.io.provider->getNetwork();
  Acceptor acceptor({.timer = timer,
                     .network = network,
                     .pool = world.pool,
                     .name = "bench",
                     .cluster = cluster,
                     .epoch = epoch},
                    [&](ConnectionInfo) -> capnp::Capability::Client { return kj::heap<Store>(world.pool); });
  auto socket = kj::str("unix-abstract:cairn-bench-", getpid());
  acceptor.listen(socket).wait(world.io.waitScope);
  PeerEnvironment environment{.timer = timer,
                              .network = network,
                              .pool = world.pool,
                              .entropy = entropy,
                              .cluster = learned,
                              .caller = "bench",
                              .host = "here"};
  Peer<rpc::ChunkServer> peer(environment, "bench", {kj::str(), kj::str(socket), kj::str("here")});
  auto inFlight = state.range(0);
  for (auto _ : state) {
    auto answers = kj::heapArrayBuilder<kj::Promise<void>>(inFlight);
    for (int64_t i = 0; i < inFlight; ++i) {
      answers.add(peer.call({"describe", 2 * kj::SECONDS},
                            [](rpc::ChunkServer::Client& server) {
                              auto request = server.describeRequest();
                              request.initChunks(1).set(0, 77);
                              return request.send();
                            })
                      .ignoreResult());
    }
    kj::joinPromises(answers.finish()).wait(world.io.waitScope);
  }
  state.SetItemsProcessed(state.iterations() * inFlight);
}

template <typename Path>
void reads(benchmark::State& state) {
  Path path;
  auto server = path.connect();
  for (auto _ : state) {
    auto answers = kj::heapArrayBuilder<kj::Promise<void>>(4);
    for (int i = 0; i < 4; ++i) {
      auto request = server.readRequest();
      request.setSize(state.range(0));
      answers.add(request.send().ignoreResult());
    }
    kj::joinPromises(answers.finish()).wait(path.io.waitScope);
  }
  state.SetBytesProcessed(state.iterations() * 4 * state.range(0));
}

template <typename Path>
void writes(benchmark::State& state) {
  Path path;
  auto server = path.connect();
  auto payload = path.pool.take(state.range(0));
  memset(payload.begin(), 1, payload.size());
  for (auto _ : state) {
    auto answers = kj::heapArrayBuilder<kj::Promise<void>>(4);
    for (int i = 0; i < 4; ++i) {
      auto request = server.writeRequest();
      request.adoptData(
          capnp::Orphanage::getForMessageContaining(rpc::ChunkServer::WriteParams::Builder(request))
              .referenceExternalData(payload.bytes()));
      answers.add(request.send().ignoreResult());
    }
    kj::joinPromises(answers.finish()).wait(path.io.waitScope);
  }
  state.SetBytesProcessed(state.iterations() * 4 * state.range(0));
}

BENCHMARK(smallCalls<Ours>)->Arg(1)->Arg(16)->MinTime(0.5);
BENCHMARK(smallCallsThroughPeer)->Arg(1)->Arg(16)->MinTime(0.5);
BENCHMARK(smallCalls<Stock>)->Arg(1)->Arg(16)->MinTime(0.5);
BENCHMARK(reads<Ours>)->Arg(4096)->Arg(PAYLOAD)->MinTime(0.5);
BENCHMARK(reads<Stock>)->Arg(4096)->Arg(PAYLOAD)->MinTime(0.5);
BENCHMARK(writes<Ours>)->Arg(4096)->Arg(PAYLOAD)->MinTime(0.5);
BENCHMARK(writes<Stock>)->Arg(4096)->Arg(PAYLOAD)->MinTime(0.5);

}  // namespace
}  // namespace cairn

BENCHMARK_MAIN();
