// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What write-behind costs a call and a byte, without checksums and messages. Run in a release build.
#include <benchmark/benchmark.h>
#include <string.h>

#include "client/write_buffer.h"

namespace cairn::client {
namespace {

struct Sink {
  // Takes whatever is to be sent and is done with it at once.
  BufferPool pool;
  kj::Own<BufferBudget> budget = kj::refcounted<BufferBudget>(pool, 64 << 20);
  WriteBuffer buffer{*budget, {}};
  kj::TimePoint now = kj::origin<kj::TimePoint>();
  uint64_t messages = 0;

  void send() {
    for (;;) {
      KJ_IF_MAYBE (outgoing, buffer.next(now, WriteBuffer::Urgency::NONE)) {
        ++messages;
        buffer.done(outgoing->id);
      } else {
        return;
      }
    }
  }
};

struct Keeper {};

void sequential(benchmark::State& state) {
  Sink sink;
  auto size = size_t(state.range(0));
  auto source = sink.pool.take(size);
  memset(source.begin(), 1, size);
  uint64_t offset = 0;
  for (auto _ : state) {
    sink.buffer.write(offset, Bytes{source.bytes().asConst(), kj::heap<Keeper>()}, sink.now);
    offset += size;
    sink.send();
  }
  state.SetBytesProcessed(int64_t(offset));
  state.counters["messages/MiB"] = double(sink.messages) / (double(offset) / (1 << 20));
  sink.buffer.truncate(0);
}
BENCHMARK(sequential)->Arg(4 << 10)->Arg(128 << 10)->Arg(1 << 20);

void scattered(benchmark::State& state) {
  // 4 KiB at random in 2 GiB: what waits is held down to its limit by sending the oldest.
  Sink sink;
  auto source = sink.pool.take(4096);
  memset(source.begin(), 1, 4096);
  uint64_t random = 1;
  for (auto _ : state) {
    random = random * 6364136223846793005 + 1442695040888963407;
    sink.buffer.write((random >> 45) * 4096, Bytes{source.bytes().asConst(), kj::heap<Keeper>()}, sink.now);
    sink.send();
  }
  state.SetItemsProcessed(state.iterations());
  sink.buffer.truncate(0);
}
BENCHMARK(scattered);

}  // namespace
}  // namespace cairn::client

BENCHMARK_MAIN();
