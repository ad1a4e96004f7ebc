// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// cairn-metaserver: options, signals, and the world that a MetaServer runs in. Nothing is decided here.
#include <capnp/message.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <filesystem>
#include <iostream>

#include "env/daemon.h"
#include "env/disk.h"
#include "env/entropy.h"
#include "env/log.h"
#include "env/machine.h"
#include "env/worker.h"
#include "metaserver/fsck.h"
#include "metaserver/inspect.h"
#include "metaserver/meta_server.h"
#include "metaserver/restore.h"
#include "rpc/buffer_pool.h"
#include "rpc/coroutine.h"
#include "rpc/socket_network.h"

namespace cairn {
namespace {

constexpr const char* ABOUT =
    "The metaserver of a CairnFS cluster: keeps the names and versions of everything, and tells clients "
    "which\n"
    "chunk daemons hold it. An empty or new directory becomes a new cluster.";
constexpr const char* FOOTER =
    "Options may also stand in a TOML file given with --config, named as here without the dashes.\n"
    "Exit codes: 0 stopped by a signal, 1 could not start or go on (a sentence says why), 2 wrong usage.";

struct CommandOptions {
  std::string directory;
  std::string listen = "127.0.0.1:9400";
  std::string commit = "memory";
  std::string readyFile, logFile, logLevel = "info";
  uint32_t replicas = 3;
  uint32_t minimumReplicas = 0;
  bool releaseBrake = false;
  double repairGrace = 30;
  uint64_t repairRateMib = 100;
  uint32_t repairCopies = 2;
  bool manualRebalance = false;
  std::string trashKeep = "1d", trashAge = "60s";
};

Async<env::PresenceFile> announce(MetaServer& server, const CommandOptions& options) {
  auto port = co_await server.listen(options.listen.c_str());
  auto local = env::localAddress("metaserver", port);
  // Refused only when the same port is in use on another address of this machine: then callers use the
  // network.
  auto problem = co_await server.listen(local).then(
      [](uint16_t) -> kj::Maybe<kj::Exception> { return nullptr; },
      [](kj::Exception&& e) -> kj::Maybe<kj::Exception> { return kj::mv(e); });
  KJ_IF_MAYBE (exception, problem) {
    server.service().log.warning("cannot listen on ", local, " (", exception->getDescription(),
                                 ") -> only on the network");
  }
  auto host = options.listen.substr(0, options.listen.rfind(':'));
  auto address = host + ":" + std::to_string(port);
  server.service().log.info("listening on ", address, " and ", local);
  co_return env::PresenceFile(options.readyFile, address + "\n");
}

int serve(const CommandOptions& options) {
  BufferPool pool;  // before the loop: calls of a gone connection end with it
  auto io = kj::setupAsyncIo();
  kj::UnixEventPort::captureSignal(SIGTERM);
  kj::UnixEventPort::captureSignal(SIGINT);
  signal(SIGPIPE, SIG_IGN);
  env::raiseDescriptorLimit();
  std::filesystem::create_directories(options.directory);
  auto& clock = kj::systemPreciseCalendarClock();
  auto sink = options.logFile.empty() ? env::newStderrSink() : env::newFileSink(options.logFile.c_str());
  env::Logger log(sink, clock, KJ_ASSERT_NONNULL(env::parseLogLevel(options.logLevel.c_str())), "metaserver");
  env::SystemEntropy entropy;
  auto disk = env::newDisk(options.directory.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock());
  auto worker = env::newThreadWorker(io.unixEventPort, 2);

  auto stopped = io.unixEventPort.onSignal(SIGTERM)
                     .exclusiveJoin(io.unixEventPort.onSignal(SIGINT))
                     .then([](siginfo_t&& info) { return info.si_signo; })
                     .eagerlyEvaluate(nullptr);
  MetaServerOptions serverOptions;
  serverOptions.directory = options.directory.c_str();
  serverOptions.commit = KJ_ASSERT_NONNULL(parseCommitMode(options.commit.c_str()));
  serverOptions.replicas = options.replicas;
  serverOptions.boot = env::bootIdentity();
  if (options.minimumReplicas > 0) serverOptions.minimumReplicas = options.minimumReplicas;
  if (options.releaseBrake) serverOptions.brake = MetaServiceOptions::Brake::RELEASE;
  auto network = newSocketNetwork(io.provider->getNetwork(), io.unixEventPort);
  serverOptions.repair.grace = int64_t(options.repairGrace * 1000) * kj::MILLISECONDS;
  serverOptions.repair.lastCopyGrace =
      kj::min(serverOptions.repair.lastCopyGrace, serverOptions.repair.grace);
  serverOptions.repair.bytesPerSecond = options.repairRateMib << 20;
  serverOptions.repair.copiesPerStore = options.repairCopies;
  if (options.manualRebalance) serverOptions.rebalance = RebalancePlan::Automatic::NO;
  serverOptions.trash =
      TrashOptions{env::durationSeconds(options.trashKeep), env::durationSeconds(options.trashAge)};
  auto server = MetaServer::start(
                    {io.provider->getTimer(), clock, *network, *disk, nullptr, entropy, pool, log, *worker},
                    serverOptions)
                    .wait(io.waitScope);
  auto ready = announce(*server, options).wait(io.waitScope);
  auto broken = server->whenBroken().then([]() -> int { KJ_UNREACHABLE; });
  auto signo = stopped.exclusiveJoin(kj::mv(broken)).wait(io.waitScope);
  log.info("signal ", signo, " -> make everything durable and stop");
  server->stop().wait(io.waitScope);
  return 0;
}

enum class Task { BACKUP, CHECKPOINT };

int whileStopped(Task task, const std::string& directory, const std::string& target) {
  // What an operator may ask of a running metaserver, of one that does not run: it is started, and serves
  // nobody.
  BufferPool pool;
  auto io = kj::setupAsyncIo();
  KJ_REQUIRE(std::filesystem::exists(directory + "/IDENTITY"),
             kj::str(directory.c_str(), " is no metaserver directory: it has no IDENTITY"));
  auto& clock = kj::systemPreciseCalendarClock();
  env::Logger log(env::newStderrSink(), clock, env::LogLevel::WARNING, "metaserver");
  env::SystemEntropy entropy;
  auto disk = env::newDisk(directory.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock());
  auto network = newSocketNetwork(io.provider->getNetwork(), io.unixEventPort);
  MetaServerOptions options;
  options.directory = directory.c_str();
  auto opened = Namespace::open(
      {.path = kj::str(directory.c_str(), "/names"), .access = NamespaceOptions::Access::READ});
  options.replicas = opened->state().replicas;
  opened = nullptr;
  kj::Maybe<kj::Own<BackupWriter>> into;
  if (task == Task::BACKUP) into = kj::heap<BackupWriter>(target.c_str());
  auto server = MetaServer::start(
                    {io.provider->getTimer(), clock, *network, *disk, nullptr, entropy, pool, log}, options)
                    .wait(io.waitScope);
  KJ_IF_MAYBE (writer, into) {
    auto manifest = server->archive().backup(**writer).wait(io.waitScope);
    std::cout << "backup of cluster " << kj::str(manifest.cluster).cStr() << " as of operation "
              << manifest.operation.value() << ", " << manifest.inodes << " inodes, " << manifest.chunks
              << " chunks -> " << target << std::endl;
  } else {
    auto done = server->archive().checkpoint().wait(io.waitScope);
    KJ_REQUIRE(ok(done.status), "no checkpoint could be made", done.status);
    std::cout << "all operations up to " << done.operation.value() << " are in the namespace store"
              << std::endl;
  }
  server->stop().wait(io.waitScope);
  return 0;
}

int restoreFrom(const std::string& backup, const std::string& directory) {
  auto manifest = restoreBackup(backup.c_str(), directory.c_str(), kj::systemPreciseCalendarClock().now());
  std::cout << "restored cluster " << kj::str(manifest.cluster).cStr() << " as of operation "
            << manifest.operation.value() << ", " << manifest.inodes << " inodes, " << manifest.chunks
            << " chunks -> " << directory
            << "\nWhat was done after that is lost. Start it as before, on the address that stores and "
               "mounts know:\n"
               "  cairn-metaserver --dir "
            << directory
            << " ...\nIt waits until every store that it knows has told what it holds. Chunks of files made "
               "after the "
               "backup are\nkept; `cairn fsck` names what is missing and what is left over."
            << std::endl;
  return 0;
}

int run(int argc, char** argv) {
  CommandOptions options;
  CLI::App app(ABOUT, "cairn-metaserver");
  app.footer(FOOTER);
  app.set_version_flag("--version", "cairn-metaserver " CAIRN_VERSION);
  app.set_config("--config", "", "TOML file with these options");
  auto directory = app.add_option("--dir", options.directory, "where it keeps its data; made when missing");
  app.add_option("--listen", options.listen, "HOST:PORT, port 0: any free one")
      ->capture_default_str()
      ->check(env::hostPortProblem);
  app.add_option("--commit", options.commit,
                 "when a change is answered: memory (in the log's page cache, on disk soon after; fsync "
                 "waits) or disk")
      ->capture_default_str()
      ->check(CLI::IsMember({"memory", "disk"}));
  app.add_option("--replicas", options.replicas, "copies that files of a new cluster want")
      ->capture_default_str()
      ->check(CLI::Range(1, 16));
  app.add_option("--min-replicas", options.minimumReplicas,
                 "fewest copies with which a chunk may be written (default 2, or 1 with --replicas 1)")
      ->check(CLI::Range(1, 16));
  app.add_option("--repair-grace", options.repairGrace,
                 "seconds that a lost chunk daemon has to come back before its chunks are copied to others")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
  app.add_option("--repair-mib", options.repairRateMib,
                 "MiB a second that repair may read from a store, and write to one; 0: no limit")
      ->capture_default_str();
  app.add_option("--repair-copies", options.repairCopies, "copies at a time from a store, and to one")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  app.add_flag(
      "--manual-rebalance", options.manualRebalance,
      "move chunks between stores for balance only when `cairn rebalance` says so; else also when the "
      "fullest and the emptiest are a quarter apart");
  app.add_option(
         "--trash-keep", options.trashKeep,
         "how long deleted files stay in the trash, where `cairn trash keep` has set nothing else for "
         "their directory: 12h, 7d, ...; 0: no trash. Given back earlier when space runs out")
      ->capture_default_str()
      ->check(env::durationProblem);
  app.add_option("--trash-age", options.trashAge,
                 "what has lived less than this when it is deleted is scratch: it does not go to the trash")
      ->capture_default_str()
      ->check(env::durationProblem);
  app.add_option("--ready-file", options.readyFile,
                 "written with HOST:PORT once it serves, removed when it stops");
  app.add_option("--log-file", options.logFile, "default: stderr");
  app.add_option("--log-level", options.logLevel, "debug, info, warning or error")
      ->capture_default_str()
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_flag("--release-brake", options.releaseBrake,
               "delete chunks of no file even if they are most of a store: after you have looked why");

  std::string inspected;
  bool json = false;
  auto inspect = app.add_subcommand("inspect", "print what is in a directory, also one in use or damaged");
  inspect->add_option("DIR", inspected, "a metaserver's directory")->required();
  inspect->add_flag("--json", json, "one JSON object");

  std::string subject, backupDirectory;
  auto subcommand = [&](const char* name, const char* about) {
    auto command = app.add_subcommand(name, about);
    command->add_option("--dir", subject, "the metaserver's directory")->required()->type_name("DIR");
    return command;
  };
  auto backup = subcommand(
      "backup", "a backup of a metaserver that does not run; of one that does: `cairn backup BACKUP`");
  backup->add_option("BACKUP", backupDirectory, "a new or empty directory")->required();
  auto checkpoint =
      subcommand("checkpoint",
                 "bring the log of a metaserver that does not run into its namespace store, so that it "
                 "starts at once; of one that does: `cairn checkpoint`");
  auto restore =
      subcommand("restore",
                 "make a metaserver's directory from a backup. It checks the whole backup first, and "
                 "refuses a directory that is not empty");
  restore->add_option("BACKUP", backupDirectory, "what `cairn backup` has made")->required();
  auto fsck = subcommand(
      "fsck",
      "check the namespace of a metaserver that does not run; of one that does, and its stores: `cairn "
      "fsck`. Changes nothing. Exit codes: 0 clean, 4 problems were found");
  auto serves = [&]() { return app.get_subcommands().empty(); };
  try {
    app.parse(argc, argv);
    if (serves() && directory->count() == 0) throw CLI::RequiredError("--dir");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return env::runDaemon("cairn-metaserver", [&]() {
    if (inspect->parsed()) {
      return inspectDirectory(inspected.c_str(), json ? InspectFormat::JSON : InspectFormat::TEXT);
    }
    if (backup->parsed()) return whileStopped(Task::BACKUP, subject, backupDirectory);
    if (checkpoint->parsed()) return whileStopped(Task::CHECKPOINT, subject, "");
    if (restore->parsed()) return restoreFrom(backupDirectory, subject);
    if (fsck->parsed()) return checkDirectory(subject.c_str(), kj::setupAsyncIo().waitScope);
    return serve(options);
  });
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  return cairn::run(argc, argv);
}
