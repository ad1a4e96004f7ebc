// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn`: the command line. What each command does is in a file of its own.
#include <CLI/CLI.hpp>
#include <iostream>

#include "cli/commands.h"
#include "env/daemon.h"

namespace cairn::cli {
namespace {

constexpr const char* ABOUT =
    "CairnFS: a distributed filesystem to be mounted as a directory. Runs a cluster on this machine, and "
    "looks at any.";
constexpr const char* FOOTER =
    "Exit codes: 0 done; 1 failed, a sentence on stderr says why; 2 wrong usage; 3 up, status --check: it is "
    "up, but not everything is\n"
    "well;\n"
    "4 the mount is in use. Everything that is printed is also there as JSON: --json.\n"
    "Clusters over several machines: docs/operating.md.";

class CommandLine {
 public:
  CommandLine() : app(ABOUT, "cairn") {
    app.footer(FOOTER);
    app.require_subcommand(1);
    app.set_version_flag("--version", "cairn " CAIRN_VERSION);
    defineUp();
    defineDown();
    defineStatus();
    defineInfo();
    defineDrain();
    defineRebalance();
    defineReplicas();
    defineQuota();
    defineSnapshot();
    defineTrash();
    defineBackup();
    defineFsck();
    defineAppend();
  }

  ExitCode run(int count, char** words) {
    try {
      app.parse(count, words);
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? ExitCode::DONE : ExitCode::USAGE;
    }
    auto* chosen = app.get_subcommands().at(0);
    auto name = chosen->get_name();
    for (auto* inner : chosen->get_subcommands()) name += " " + inner->get_name();
    try {
      return actions.at(name)();
    } catch (const Failure& failure) {
      std::cerr << "cairn " << name << ": " << failure.what() << std::endl;
      return failure.code;
    }
  }

 private:
  CLI::App app;
  std::map<std::string, std::function<ExitCode()>> actions;
  UpOptions upOptions;
  DownOptions downOptions;
  StatusOptions statusOptions;
  InfoOptions infoOptions;
  DrainOptions drainOptions;
  RebalanceOptions rebalanceOptions;
  ReplicasOptions replicasOptions;
  TrashListOptions trashListOptions;
  TrashRestoreOptions trashRestoreOptions;
  TrashPurgeOptions trashPurgeOptions;
  TrashKeepOptions trashKeepOptions;
  QuotaSetOptions quotaSetOptions, quotaClearOptions;
  QuotaGetOptions quotaGetOptions;
  QuotaListOptions quotaListOptions;
  SnapshotOptions snapshotOptions;
  BackupOptions backupOptions;
  CheckpointOptions checkpointOptions;
  FsckOptions fsckOptions;
  AppendOptions appendOptions;

  CLI::App* command(const std::string& name, const std::string& about, std::function<ExitCode()> action) {
    actions[name] = std::move(action);
    return app.add_subcommand(name, about);
  }

  CLI::App* group(const std::string& name, const std::string& about) {
    auto* result = app.add_subcommand(name, about);
    result->require_subcommand(1);
    return result;
  }
  CLI::App* command(CLI::App* in, const std::string& name, const std::string& about,
                    std::function<ExitCode()> action) {
    actions[in->get_name() + " " + name] = std::move(action);
    return in->add_subcommand(name, about);
  }

  static void addJson(CLI::App* command, Format& format) {
    command->add_flag_callback(
        "--json", [&format]() { format = Format::JSON; }, "print JSON instead of text");
  }

  void defineUp() {
    auto& o = upOptions;
    auto* up = command("up",
                       "Start a local cluster, or say that it is up. A directory used before is started "
                       "again with its data and "
                       "ports; options given now replace those from before. What has died is started again.",
                       [&o]() { return cli::up(o); });
    up->add_option("--dir", o.dir, "where data, logs and pid files are")->required()->type_name("D");
    up->add_option("--mount", o.mount,
                   "mount it here; made when missing. Left out: as before, else not mounted")
        ->type_name("M");
    up->add_option("--chunkds", o.chunkds, "chunk daemons (default 3; can grow, not shrink)");
    up->add_option("--metaservers", o.metaservers, "metaservers: 1 in this release");
    up->add_option("--replicas", o.replicas,
                   "copies of each chunk (default 3, or as many as there are chunk daemons)");
    up->add_option("--min-replicas", o.minReplicas,
                   "a write is acknowledged by no fewer than these (default 2, or 1 with one replica)");
    up->add_option("--commit", o.commit,
                   "when a change of the namespace is answered: `memory` (default): in the log, on disk at "
                   "the next fsync "
                   "or soon after; `disk`: on disk")
        ->check(CLI::IsMember({"memory", "disk"}));
    up->add_option("--trash-keep", o.trashKeep,
                   "how long deleted files stay in the trash (default 1d; 0: no trash), see `cairn trash`")
        ->check([](const std::string& text) { return env::durationProblem(text); });
    up->add_option("--host", o.host, "address the daemons listen on (default 127.0.0.1)");
    up->add_option("--mount-options", o.mountOptions, "for `mount -o`");
    up->add_option("--metaserver-options", o.metaserverOptions,
                   "further options of the metaserver, such as \"--repair-grace 10\"");
    up->add_option("--chunkd-options", o.chunkdOptions, "further options of all chunk daemons");
    up->add_flag_callback(
        "--detach", [&o]() { o.mode = Mode::DETACHED; }, "return once it is up; else Ctrl-C stops it");
    up->add_flag_callback(
        "--no-restart", [&o]() { o.restart = Restart::NO; },
        "leave a daemon that died down until `cairn up`; else it is back within a second");
    addJson(up, o.format);
  }

  void defineDown() {
    auto& o = downOptions;
    auto* down = command("down", "Stop a local cluster: unmount, then the daemons in order. The data stays.",
                         [&o]() { return cli::down(o); });
    down->add_option("--dir", o.dir, "the cluster's directory")->required()->type_name("D");
    down->add_flag_callback(
        "--force", [&o]() { o.force = Force::YES; }, "even while programs use the mount: they get errors");
    addJson(down, o.format);
  }

  void defineStatus() {
    auto& o = statusOptions;
    auto* status =
        command("status", "Daemons, space, and chunks by health.", [&o]() { return cli::status(o); });
    auto* dir =
        status->add_option("--dir", o.dir, "a local cluster's directory (default ./.cairn)")->type_name("D");
    status->add_option("--metaserver", o.metaserver, "any cluster, by its metaserver")
        ->type_name("HOST:PORT")
        ->excludes(dir);
    status->add_flag_callback(
        "--check", [&o]() { o.check = StatusOptions::Check::YES; },
        "exit with 3 when not everything is well");
    addJson(status, o.format);
  }

  static void addCluster(CLI::App* command, ClusterChoice& choice) {
    auto* dir = command->add_option("--dir", choice.dir, "a local cluster's directory (default ./.cairn)")
                    ->type_name("D");
    command->add_option("--metaserver", choice.metaserver, "any cluster, by its metaserver")
        ->type_name("HOST:PORT")
        ->excludes(dir);
  }

  void defineDrain() {
    auto& o = drainOptions;
    auto* drain = command(
        "drain",
        "Empty a store: it gets no new chunks, and those it has are copied to others. Returns when it may be "
        "taken away; interrupted, the cluster goes on with it.",
        [&o]() { return cli::drain(o); });
    drain->add_option("server", o.server, "the store, by its number or HOST:PORT as in `cairn status`")
        ->required()
        ->type_name("STORE");
    drain->add_flag_callback(
        "--undo", [&o]() { o.what = DrainOptions::What::UNDO; }, "it is a store like any other again");
    drain->add_flag_callback(
        "--remove", [&o]() { o.what = DrainOptions::What::REMOVE; },
        "it has been taken away and will not come back: forget it");
    drain->add_flag_callback(
        "--force", [&o]() { o.force = Force::YES; },
        "with --remove: even if chunks are lost by it that are nowhere else");
    drain->add_flag_callback(
        "--no-wait", [&o]() { o.wait = DrainOptions::Wait::NO; },
        "return at once; `cairn status` tells the rest");
    addCluster(drain, o.cluster);
    addJson(drain, o.format);
  }

  void defineRebalance() {
    auto& o = rebalanceOptions;
    auto* rebalance = command(
        "rebalance", "Move chunks from fuller stores to emptier ones until they are nearly equally full.",
        [&o]() { return cli::rebalance(o); });
    rebalance->add_flag_callback(
        "--status", [&o]() { o.what = RebalanceOptions::What::LOOK; }, "only tell how far it is");
    addCluster(rebalance, o.cluster);
    addJson(rebalance, o.format);
  }

  void defineReplicas() {
    auto& o = replicasOptions;
    auto* replicas = command(
        "replicas", "How many copies a file shall have; of a directory: what is made in it from now on.",
        [&o]() { return cli::replicas(o); });
    replicas->add_option("count", o.replicas, "1 to 16")
        ->required()
        ->type_name("N")
        ->check(CLI::Range(1, 16));
    replicas->add_option("path", o.path, "a file or directory in a mounted CairnFS")
        ->required()
        ->type_name("PATH");
    replicas->add_flag_callback(
        "-r,--recursive", [&o]() { o.below = ReplicasOptions::Below::YES; }, "and all that is below it");
    addJson(replicas, o.format);
  }

  void defineTrash() {
    auto* trash =
        group("trash",
              "Deleted files: look at them, get them back, let them go, say how long they are kept. "
              "The cluster's time is an option of the metaserver, --trash-keep.");
    auto& l = trashListOptions;
    auto* list = command(trash, "ls", "What is in the trash, what goes next first.",
                         [&l]() { return cli::listTrash(l); });
    list->add_option("path", l.path, "only what was there, or below it")->type_name("PATH");
    addCluster(list, l.cluster);
    addJson(list, l.format);

    auto& r = trashRestoreOptions;
    auto* restore = command(trash, "restore", "Get a deleted file back, with all it had.",
                            [&r]() { return cli::restoreTrash(r); });
    restore
        ->add_option("what", r.what,
                     "its number as `cairn trash ls` shows it, or its path: then the one deleted last")
        ->required()
        ->type_name("FILE");
    restore->add_option("--to", r.to, "another place in a mount: a directory, or a new name")
        ->type_name("PATH");
    addCluster(restore, r.cluster);
    addJson(restore, r.format);

    auto& p = trashPurgeOptions;
    auto* purge = command(trash, "purge", "Let deleted files go for good, before their time.",
                          [&p]() { return cli::purgeTrash(p); });
    purge
        ->add_option("what", p.what,
                     "numbers as `cairn trash ls` shows them, or paths: what was there, or below")
        ->type_name("FILE");
    purge->add_flag_callback("--all", [&p]() { p.all = TrashPurgeOptions::All::YES; }, "everything");
    addCluster(purge, p.cluster);
    addJson(purge, p.format);

    auto& k = trashKeepOptions;
    auto* keep =
        command(trash, "keep",
                "How long what is deleted in a directory is kept: from now on, and in directories that are "
                "made in it. Without TIME: shows it.",
                [&k]() { return cli::keepTrash(k); });
    keep->add_option("path", k.path, "a directory in a mounted CairnFS")->required()->type_name("DIR");
    keep->add_option("time", k.time, "12h, 7d, ...; 0: it is gone at once; default: as the cluster says")
        ->type_name("TIME");
    keep->add_flag_callback(
        "-r,--recursive", [&k]() { k.below = TrashKeepOptions::Below::YES; }, "and all directories below it");
    addJson(keep, k.format);
  }

  void defineQuota() {
    auto* quota = group("quota", "How much may be below a directory.");
    auto& s = quotaSetOptions;
    auto* set = command(
        quota, "set",
        "Limit what is below a directory. Quotas of directories within it count as well. The first one of a "
        "cluster holds once the tree has been counted.",
        [&s]() { return cli::setQuota(s); });
    set->add_option("path", s.path, "a directory in a mounted CairnFS")->required()->type_name("DIR");
    set->add_option("--bytes", s.bytes, "of one copy, as `du` tells: 500M, 2T, ...; 0: no limit")
        ->type_name("N");
    set->add_option("--inodes", s.inodes, "files, directories and others: 10000, 2M, ...; 0: no limit")
        ->type_name("N");
    addJson(set, s.format);

    auto& c = quotaClearOptions;
    c.what = QuotaSetOptions::What::CLEAR;
    auto* clear = command(quota, "clear", "It has no limits any more.", [&c]() { return cli::setQuota(c); });
    clear->add_option("path", c.path, "a directory in a mounted CairnFS")->required()->type_name("DIR");
    addJson(clear, c.format);

    auto& g = quotaGetOptions;
    auto* get = command(quota, "get", "The limits of a directory, and what is used.",
                        [&g]() { return cli::getQuota(g); });
    get->add_option("path", g.path, "a directory in a mounted CairnFS")->required()->type_name("DIR");
    addJson(get, g.format);

    auto& l = quotaListOptions;
    auto* list = command(quota, "ls", "All quotas of a cluster.", [&l]() { return cli::listQuotas(l); });
    addCluster(list, l.cluster);
    addJson(list, l.format);
  }

  void defineSnapshot() {
    auto& o = snapshotOptions;
    auto* snapshot = command(
        "snapshot",
        "A directory with all below it a second time, as it is now, without a copy of its bytes: files "
        "share their chunks until one of them is written.",
        [&o]() { return cli::snapshot(o); });
    snapshot->add_option("source", o.source, "a directory in a mounted CairnFS")
        ->required()
        ->type_name("SRC");
    snapshot->add_option("target", o.target, "what does not exist yet, outside of SRC")
        ->required()
        ->type_name("DST");
    addJson(snapshot, o.format);
  }

  void defineBackup() {
    auto& o = backupOptions;
    auto* backup = command("backup",
                           "A copy of the metaserver's namespace, as it is at one moment, while it runs. "
                           "`cairn-metaserver restore` makes "
                           "a metaserver's directory of it.",
                           [&o]() { return cli::backup(o); });
    backup->add_option("backup", o.target, "a new or empty directory on this machine")
        ->required()
        ->type_name("BACKUP");
    addCluster(backup, o.cluster);
    addJson(backup, o.format);

    auto& c = checkpointOptions;
    auto* checkpoint = command("checkpoint",
                               "Bring the metaserver's log into its namespace store now: its next start has "
                               "nothing to catch up with.",
                               [&c]() { return cli::checkpoint(c); });
    addCluster(checkpoint, c.cluster);
    addJson(checkpoint, c.format);
  }

  void defineFsck() {
    auto& o = fsckOptions;
    auto* fsck = command(
        "fsck",
        "Check the whole cluster while it runs: names, links, counts and references; chunks against what "
        "stores hold; "
        "files of the stores. Says which files are affected, and what to do. Changes nothing without "
        "--repair. Exit codes as "
        "of fsck(8): 0 clean; 1 all that was found is repaired; 4 some is left; 8 it could not be done.",
        [&o]() { return cli::fsck(o); });
    fsck->add_flag_callback(
        "--repair", [&o]() { o.repair = FsckOptions::Repair::YES; },
        "put right what can be without a choice: counts and links are recounted, names that lead nowhere go, "
        "replicas are "
        "made again. Nothing that leads to data goes");
    fsck->add_flag_callback(
        "--data", [&o]() { o.data = FsckOptions::Data::YES; },
        "stores also read all bytes and compare them with their checksums, and replicas with each other: "
        "takes as long as "
        "that takes");
    auto* drop = fsck->add_flag_callback(
        "--drop-kept", [&o]() { o.kept = FsckOptions::Kept::DROP; },
        "after a restore from a backup: chunks that no file has may go, for good. Say so when nothing is "
        "missed any more");
    drop->needs("--repair");
    addCluster(fsck, o.cluster);
    addJson(fsck, o.format);
  }

  void defineInfo() {
    auto& o = infoOptions;
    auto* info = command(
        "info", "The chunks of a file in a mounted CairnFS: handles, versions, primaries, leases, replicas.",
        [&o]() { return cli::info(o); });
    info->add_option("path", o.path, "a file in the mount")->required()->type_name("PATH");
    addJson(info, o.format);
  }

  void defineAppend() {
    auto& o = appendOptions;
    auto* append = command("append",
                           "Append one record to a file, at least once, at an offset that the cluster picks "
                           "and prints. Any number of "
                           "writers may append to one file at a time. A record is at most 16 MiB.",
                           [&o]() { return cli::append(o); });
    append->add_option("file", o.file, "a file in a mounted CairnFS; made when missing")
        ->required()
        ->type_name("FILE");
    append->add_option("--data", o.data, "the record (default: all of standard input)");
    append->add_flag_callback(
        "--sync", [&o]() { o.sync = AppendOptions::Sync::YES; }, "return when it is on stable storage");
    addJson(append, o.format);
  }
};

}  // namespace
}  // namespace cairn::cli

int main(int count, char** words) {
  return static_cast<int>(cairn::cli::CommandLine().run(count, words));
}
