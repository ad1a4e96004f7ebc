// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// How many operations a second one metaserver takes through its log on the real disk, without RPC around it:
// creates into one directory, lookups, getattr, listing, unlink. Not a test; run it on a quiet machine:
//   build-release/test/metaserver/namespace_bench [DIRECTORY] [operations]
#include <kj/async-io.h>
#include <kj/debug.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "metaserver/local_log.h"

namespace cairn {
namespace {

double cpuSeconds() {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

template <typename Work>
void measure(const char* what, size_t count, Work&& work) {
  auto& clock = kj::systemPreciseMonotonicClock();
  auto start = clock.now();
  double cpu = cpuSeconds();
  work();
  double seconds = double((clock.now() - start) / kj::MICROSECONDS) / 1e6;
  printf("%-34s %9.0f /s  %6.2f us each, %6.2f us CPU\n", what, double(count) / seconds,
         seconds / double(count) * 1e6, (cpuSeconds() - cpu) / double(count) * 1e6);
}

class Bench {
 public:
  Bench(kj::AsyncIoContext& io, const std::string& directory, CommitMode mode)
      : io(io),
        disk(env::newDisk(directory.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock())),
        path(directory + "/names"),
        names(Namespace::open({.path = path.c_str()})) {
    LocalLogOptions options;
    options.commit = mode;
    options.founding.cluster = {1, 1};
    log = LocalLog::open(*disk, "log", *names, kj::systemPreciseCalendarClock(), kj::mv(options),
                         env::Logger::silent())
              .wait(io.waitScope);
    auto operation = kj::heap<LoggedOperation>();
    operation->body().initOpenSession().setName("bench");
    session = log->propose(kj::mv(operation)).wait(io.waitScope).number;
  }

  kj::Own<LoggedOperation> creation(size_t i) {
    auto operation = kj::heap<LoggedOperation>();
    operation->body().setSession(session);
    auto change = operation->body().initChange();
    change.setSequence(++sequence);
    change.setAnswered(sequence > 256 ? sequence - 256 : 0);
    auto request = change.initCreate();
    request.setParent(1);
    request.setName(kj::str("some-file-name-", i));
    request.setMode(0644);
    return operation;
  }
  kj::Own<LoggedOperation> removal(size_t i) {
    auto operation = kj::heap<LoggedOperation>();
    operation->body().setSession(session);
    auto change = operation->body().initChange();
    change.setSequence(++sequence);
    change.setAnswered(sequence > 256 ? sequence - 256 : 0);
    auto request = change.initUnlink();
    request.setParent(1);
    request.setName(kj::str("some-file-name-", i));
    return operation;
  }

  template <typename Make>
  void run(size_t from, size_t count, size_t together, Make&& make) {
    for (size_t i = 0; i < count; i += together) {
      auto promises = kj::heapArrayBuilder<kj::Promise<Outcome>>(together);
      for (size_t j = 0; j < together; ++j) promises.add(log->propose(make(from + i + j)));
      for (auto& outcome : kj::joinPromises(promises.finish()).wait(io.waitScope))
        KJ_ASSERT(outcome.ok(), outcome.status);
    }
  }

  void all(size_t count) {
    auto create = [this](size_t i) { return creation(i); };
    size_t single = count / 10;
    measure("create, one at a time", single, [&]() { run(0, single, 1, create); });
    measure("create, 64 at a time", count, [&]() { run(single, count, 64, create); });
    auto& read = names->read();
    measure("lookup", count, [&]() {
      for (size_t i = 0; i < count; ++i)
        KJ_ASSERT(read.lookup(ROOT_INODE, kj::str("some-file-name-", i)).ok());
    });
    measure("lookup of a missing name", count, [&]() {
      for (size_t i = 0; i < count; ++i)
        KJ_ASSERT(!read.lookup(ROOT_INODE, kj::str("no-file-name-", i)).ok());
    });
    measure("getattr", count, [&]() {
      for (size_t i = 0; i < count; ++i) KJ_ASSERT(read.inode(InodeId(i + 2)).ok());
    });
    for (auto detail : {ListingDetail::NAMES, ListingDetail::ATTRIBUTES}) {
      measure(detail == ListingDetail::NAMES ? "entry of a listing, names" : "entry of a listing, attributes",
              count, [&]() {
                uint64_t cookie = 0;
                for (auto end = ListingEnd::NO; end == ListingEnd::NO;) {
                  auto page = read.list(ROOT_INODE, cookie, 1000, detail);
                  cookie = page->entries.back().cookie;
                  end = page->end;
                }
              });
    }
    measure("unlink (to orphan), 64 at a time", count,
            [&]() { run(single, count, 64, [this](size_t i) { return removal(i); }); });
    log->close().wait(io.waitScope);
  }

 private:
  kj::AsyncIoContext& io;
  kj::Own<env::Disk> disk;
  std::string path;
  kj::Own<Namespace> names;
  kj::Own<LocalLog> log;
  uint64_t session = 0, sequence = 0;
};

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  std::string root = std::string(argc > 1 ? argv[1] : "/tmp") + "/cairn-namespace-bench-XXXXXX";
  KJ_REQUIRE(mkdtemp(root.data()) != nullptr, root.c_str());
  size_t count = (argc > 2 ? strtoull(argv[2], nullptr, 10) : 128'000) / 640 * 640;
  auto io = kj::setupAsyncIo();
  for (auto mode : {cairn::CommitMode::MEMORY, cairn::CommitMode::DISK}) {
    auto directory = root + "/" + kj::str(mode).cStr();
    std::filesystem::create_directory(directory);
    printf("commit mode %s\n", kj::str(mode).cStr());
    cairn::Bench(io, directory, mode).all(count);
  }
  std::filesystem::remove_all(root);
}
