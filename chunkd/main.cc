// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// cairn-chunkd: options, signals, and for each store directory a thread with a loop of its own that shares
// nothing with the others. Nothing is decided here.
#include <kj/async-unix.h>
#include <kj/debug.h>
#include <kj/mutex.h>
#include <kj/thread.h>
#include <rocksdb/env.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <optional>

#include "chunkd/chunk_server.h"
#include "chunkd/inspect.h"
#include "env/daemon.h"
#include "env/entropy.h"
#include "env/machine.h"
#include "env/worker.h"
#include "rpc/coroutine.h"
#include "rpc/socket_network.h"

namespace cairn {
namespace {

constexpr const char* ABOUT =
    "The chunk daemon of CairnFS: keeps replicas of chunks in local directories and serves them. An empty or "
    "new\n"
    "directory becomes a new store and joins the metaserver's cluster.";
constexpr const char* FOOTER =
    "Options may also stand in a TOML file given with --config, named as here without the dashes.\n"
    "Exit codes: 0 stopped by a signal, 1 could not start or go on (a sentence says why), 2 wrong usage.";
constexpr unsigned STORES_MAX = 64;

struct CommandOptions {
  std::vector<std::string> stores;
  std::string metaserver = "127.0.0.1:9400";
  std::string listen = "127.0.0.1:0";
  std::string advertise, rack, readyFile, logFile, logLevel = "info", io = "auto";
  uint64_t reserveMib = 256;
  double scrubMib = 8;
  double scrubHours = 24;
};

env::IoEngineChoice engineOf(const std::string& name) {
  return name == "uring"  ? env::IoEngineChoice::URING
         : name == "pool" ? env::IoEngineChoice::POOL
                          : env::IoEngineChoice::AUTOMATIC;
}

std::string metaserverLocalOf(const std::string& address) {
  // A metaserver of this machine is reached by its Unix socket, if it is in our network namespace.
  auto colon = address.rfind(':');
  auto host = address.substr(0, colon);
  if (host != "127.0.0.1" && host != "localhost" && host != "[::1]") return "";
  return env::localAddress("metaserver", uint16_t(std::stoul(address.substr(colon + 1)))).cStr();
}

std::string listenOf(const CommandOptions& options, size_t number) {
  // The stores after the first listen on the ports after its port.
  auto colon = options.listen.rfind(':');
  auto port = std::stoul(options.listen.substr(colon + 1));
  return options.listen.substr(0, colon + 1) + std::to_string(port == 0 ? 0 : port + number);
}

struct Event {
  // What a store's thread tells the main thread.
  enum class Kind { READY, FAILED, ENDED } kind;
  size_t store;
  kj::String text;  // READY: its address; FAILED: a sentence. ENDED is the last one
};

class StoreThread {
  // INVARIANT: everything of the store is made, used and destroyed in this thread.
 public:
  StoreThread(const CommandOptions& options, size_t number, std::shared_ptr<env::LogSink> sink,
              const kj::Executor& main, kj::Function<void(Event)> tell)
      : options(options), number(number), sink(kj::mv(sink)), main(main), tell(kj::mv(tell)), thread([this] {
          run();
        }) {}

  void stop() {
    auto lock = stopper.lockExclusive();
    stopRequested = true;
    KJ_IF_MAYBE (fulfiller, *lock) fulfiller->get()->fulfill();
    *lock = nullptr;
  }

 private:
  const CommandOptions& options;
  size_t number;
  std::shared_ptr<env::LogSink> sink;
  const kj::Executor& main;
  kj::Function<void(Event)> tell;
  std::atomic<bool> stopRequested = false;
  kj::MutexGuarded<kj::Maybe<kj::Own<kj::CrossThreadPromiseFulfiller<void>>>> stopper;
  kj::Thread thread;  // last: it uses the rest, and its destructor waits for it

  void say(Event::Kind kind, kj::String text) {
    main.executeSync([&] { tell(Event{kind, number, kj::mv(text)}); });
  }

  void run() {
    auto problem = kj::runCatchingExceptions([&] { serve(); });
    KJ_IF_MAYBE (exception, problem) say(Event::Kind::FAILED, kj::str(exception->getDescription()));
    say(Event::Kind::ENDED, kj::String());
  }

  void serve() {
    BufferPool pool;  // before the loop: calls of a gone connection end with it
    auto io = kj::setupAsyncIo();
    auto stopping = kj::newPromiseAndCrossThreadFulfiller<void>();
    *stopper.lockExclusive() = kj::mv(stopping.fulfiller);
    if (stopRequested) return;
    auto& directory = options.stores[number];
    auto level = KJ_ASSERT_NONNULL(env::parseLogLevel(options.logLevel.c_str()));
    auto name = options.stores.size() == 1 ? kj::str("chunkd") : kj::str("chunkd-", number + 1);
    env::Logger log(sink, kj::systemPreciseCalendarClock(), level, name);
    env::SystemEntropy entropy;
    auto disk = env::newDisk(directory.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock(),
                             engineOf(options.io));
    auto worker = env::newThreadWorker(io.unixEventPort, 1);

    ChunkServerOptions server;
    server.directory = kj::str(directory.c_str());
    server.boot = kj::str(env::bootIdentity());
    server.host = env::machineIdentity();
    server.metaserver = kj::str(options.metaserver.c_str());
    server.metaserverLocal = kj::str(metaserverLocalOf(options.metaserver).c_str());
    server.listen = kj::str(listenOf(options, number).c_str());
    server.advertise = kj::str(options.advertise.c_str());
    server.localPrefix = kj::str("unix-abstract:cairn-chunkd-");
    server.rack = kj::str(options.rack.c_str());
    server.pid = uint32_t(getpid());
    server.reserveBytes = options.reserveMib << 20;
    auto network = newSocketNetwork(io.provider->getNetwork(), io.unixEventPort);
    server.scrub.bytesPerSecond = uint64_t(options.scrubMib * (1 << 20));
    server.scrub.every = int64_t(options.scrubHours * 3600) * kj::SECONDS;
    auto started = ChunkServer::start({io.provider->getTimer(), *network, *disk, *rocksdb::Env::Default(),
                                       *worker, entropy, pool, log, kj::systemPreciseCalendarClock()},
                                      kj::mv(server))
                       .wait(io.waitScope);
    KJ_IF_MAYBE (running, started.server) {
      auto& chunkServer = **running;
      bool refused = false;
      auto announced = chunkServer.whenRegistered()
                           .then([&] { say(Event::Kind::READY, kj::str(chunkServer.address())); },
                                 [&](kj::Exception&& e) {
                                   refused = true;
                                   kj::throwFatalException(kj::mv(e));
                                 })
                           .eagerlyEvaluate([&](kj::Exception&& e) {
                             say(Event::Kind::FAILED, kj::str(e.getDescription()));
                           });
      stopping.promise.wait(io.waitScope);
      if (!refused) chunkServer.stop().wait(io.waitScope);
    } else {
      say(Event::Kind::FAILED, kj::mv(started.refusal));
    }
  }
};

int serve(const CommandOptions& options) {
  kj::UnixEventPort::captureSignal(SIGTERM);
  kj::UnixEventPort::captureSignal(SIGINT);
  signal(SIGPIPE, SIG_IGN);
  env::raiseDescriptorLimit();
  auto io = kj::setupAsyncIo();
  for (auto& store : options.stores) std::filesystem::create_directories(store);
  auto sink = options.logFile.empty() ? env::newStderrSink() : env::newFileSink(options.logFile.c_str());

  auto done = kj::newPromiseAndFulfiller<int>();
  std::vector<std::string> addresses(options.stores.size());
  auto allEnded = kj::newPromiseAndFulfiller<void>();
  size_t serving = 0, ended = 0;
  env::PresenceFile ready;
  auto tell = [&](Event event) {
    if (event.kind == Event::Kind::ENDED) {
      if (++ended == options.stores.size()) allEnded.fulfiller->fulfill();
      return;
    }
    if (event.kind == Event::Kind::FAILED) {
      std::cerr << "cairn-chunkd: " << event.text.cStr() << std::endl;
      done.fulfiller->fulfill(1);
      return;
    }
    addresses[event.store] = event.text.cStr();
    std::cout << "serving " << options.stores[event.store] << " on " << event.text.cStr() << std::endl;
    if (++serving < options.stores.size() || options.readyFile.empty()) return;
    std::string text;
    for (auto& address : addresses) text += address + "\n";
    ready = env::PresenceFile(options.readyFile, text);
  };
  auto finished = io.unixEventPort.onSignal(SIGTERM)
                      .exclusiveJoin(io.unixEventPort.onSignal(SIGINT))
                      .then([](siginfo_t&&) { return 0; })
                      .exclusiveJoin(kj::mv(done.promise))
                      .eagerlyEvaluate(nullptr);
  int status;
  {
    std::vector<std::unique_ptr<StoreThread>> threads;
    for (size_t i = 0; i < options.stores.size(); i++) {
      threads.push_back(std::make_unique<StoreThread>(options, i, sink, kj::getCurrentThreadExecutor(),
                                                      [&tell](Event event) { tell(kj::mv(event)); }));
    }
    status = finished.wait(io.waitScope);
    for (auto& thread : threads) thread->stop();
    allEnded.promise.wait(
        io.waitScope);  // joining a thread that still wants to say something would never end
  }
  return status;
}

int run(int argc, char** argv) {
  CommandOptions options;
  CLI::App app(ABOUT, "cairn-chunkd");
  app.footer(FOOTER);
  app.set_version_flag("--version", "cairn-chunkd " CAIRN_VERSION);
  app.set_config("--config", "", "TOML file with these options");
  auto stores = app.add_option("--store", options.stores,
                               "directory to keep chunks in; repeat it for several disks, each gets a "
                               "loop and a port of its own");
  app.add_option("--metaserver", options.metaserver, "HOST:PORT of the metaserver")
      ->capture_default_str()
      ->check(env::hostPortProblem);
  app.add_option("--listen", options.listen,
                 "HOST:PORT to listen on; port 0: any free one; further stores take the next ports")
      ->capture_default_str()
      ->check(env::hostPortProblem);
  app.add_option("--advertise", options.advertise,
                 "host name or address at which others reach us; default: that of --listen");
  app.add_option("--rack", options.rack, "name of the rack: replicas are spread over racks");
  app.add_option("--reserve-mib", options.reserveMib,
                 "free space in MiB that chunks leave to the rest of the disk")
      ->capture_default_str();
  app.add_option("--scrub-mib", options.scrubMib,
                 "MiB a second of chunks that are read to compare them with their checksums; 0: not at all")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e6));
  app.add_option(
         "--scrub-hours", options.scrubHours,
         "hours before a chunk is compared again, rounded up to threes; 0: as soon as all others have been")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 24.0 * 365));
  app.add_option("--io", options.io, "how the disk is reached")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "uring", "pool"}));
  app.add_option("--ready-file", options.readyFile,
                 "written with HOST:PORT of each store, a line each, once all serve; removed at the end");
  app.add_option("--log-file", options.logFile, "default: stderr");
  app.add_option("--log-level", options.logLevel, "debug, info, warning or error")
      ->capture_default_str()
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));

  std::string inspected;
  std::optional<uint64_t> chunk;
  bool json = false, verify = false;
  auto look = app.add_subcommand("inspect", "print what is in a store or a chunk's files; reads only");
  look->add_option("PATH", inspected, "a store directory, or a .data or .sum file in one")->required();
  look->add_option("--chunk", chunk, "only this chunk, with all its blocks (a number, 0x for hexadecimal)");
  look->add_flag("--verify", verify, "compare the bytes of all chunks with their checksums");
  look->add_flag("--json", json, "print JSON");
  try {
    app.parse(argc, argv);
    if (!look->parsed() && stores->count() == 0) throw CLI::RequiredError("--store");
    if (options.stores.size() > STORES_MAX) throw CLI::ValidationError("--store", "at most 64 stores");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return env::runDaemon("cairn-chunkd", [&] {
    if (!look->parsed()) return serve(options);
    InspectOptions inspection{inspected.c_str()};
    if (chunk) inspection.chunk = ChunkHandle(*chunk);
    if (json) inspection.form = InspectOptions::Form::JSON;
    if (verify) inspection.check = InspectOptions::Check::BYTES;
    return inspect(inspection, std::cout, std::cerr);
  });
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  return cairn::run(argc, argv);
}
