// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn status`: the daemons of a local cluster as their supervisor knows them, and the cluster as the
// metaserver does.
#include <kj/debug.h>

#include <iostream>
#include <map>

#include "cli/cluster_target.h"
#include "cli/commands.h"
#include "cli/metaserver_line.h"
#include "cli/mount_table.h"
#include "cli/output.h"
#include "cli/repair_view.h"
#include "cli/snapshot_view.h"
#include "env/daemon.h"

namespace cairn::cli {

namespace {

namespace fs = std::filesystem;

constexpr kj::Duration ANSWER_PATIENCE = 5 * kj::SECONDS;

std::string str(capnp::Text::Reader text) {
  return std::string(text.begin(), text.size());
}

std::vector<DaemonRecord> localDaemons(const ClusterTarget& target) {
  // What is true now: the supervisor's view, corrected by which processes are alive.
  std::vector<DaemonRecord> records;
  if (!target.directory) return records;
  auto known = readState(*target.directory);
  for (auto& spec : target.directory->daemons(*target.plan, {})) {
    DaemonRecord record{spec.name, "down", 0, 0, "", ""};
    for (auto& one : known) {
      if (one.name == spec.name) record = one;
    }
    auto running = findRunning(spec);
    record.pid = running ? running->pid : 0;
    std::error_code error;
    if (running) record.state = fs::exists(spec.readyFile, error) ? "up" : "starting";
    if (!running && record.state == "up") record.state = "down";
    records.push_back(std::move(record));
  }
  return records;
}

struct View {
  ClusterTarget target;
  std::vector<DaemonRecord> daemons;
  bool supervised = false;
  std::string problem;  // why there is no answer from the metaserver
  kj::Maybe<capnp::Response<rpc::Metaserver::StatusResults>> answer;

  bool healthy() {
    if (target.directory && !supervised) return false;
    for (auto& daemon : daemons) {
      if (daemon.state != "up") return false;
    }
    KJ_IF_MAYBE (response, answer) {
      auto cluster = response->getStatus();
      for (auto server : cluster.getServers()) {
        if (server.getState() != "up") return false;
      }
      return cluster.getSafeMode().size() == 0 && cluster.getBrake().size() == 0 &&
             cluster.getChunksUnder() == 0 && cluster.getChunksMissing() == 0;
    }
    return false;
  }
};

void writeDaemons(JsonWriter& json, const std::vector<DaemonRecord>& daemons) {
  json.key("daemons").beginArray();
  for (auto& daemon : daemons) {
    json.beginObject().field("name", daemon.name).field("state", daemon.state).field("pid", daemon.pid);
    json.field("restarts", daemon.restarts)
        .field("address", daemon.address)
        .field("last_exit", daemon.lastExit);
    json.endObject();
  }
  json.endArray();
}

void writeMounts(JsonWriter& json, rpc::ClusterStatus::Reader cluster) {
  auto leases = cluster.getLeases();
  json.key("leases").beginObject().field("held", leases.getHeld()).field("writing", leases.getWriting());
  json.field("recalls", leases.getRecalls()).field("waiting", leases.getWaiting());
  json.field("oldest_recall_ms", leases.getOldestMs()).field("missing", leases.getMissing()).endObject();
  json.key("mounts").beginArray();
  for (auto mount : cluster.getMounts()) {
    json.beginObject().field("session", mount.getSession()).field("name", str(mount.getName()));
    json.field("host", str(mount.getHost())).field("silent_ms", mount.getSilentMs());
    json.field("leases", mount.getLeases())
        .field("writing", mount.getWriting())
        .field("recalls", mount.getRecalls());
    json.endObject();
  }
  json.endArray();
}

void writeCluster(JsonWriter& json, rpc::ClusterStatus::Reader cluster) {
  json.field("cluster", str(cluster.getCluster())).field("epoch", cluster.getEpoch());
  json.field("commit", str(cluster.getCommit())).field("replicas", cluster.getReplicas());
  json.field("safe_mode", str(cluster.getSafeMode())).field("brake", str(cluster.getBrake()));
  json.field("kept", cluster.getKept());
  json.field("sessions", cluster.getSessions()).field("inodes", cluster.getInodes());
  json.field("log_index", cluster.getLogIndex()).field("garbage", cluster.getGarbage());
  json.key("trash").beginObject().field("files", cluster.getTrashFiles());
  json.field("bytes", cluster.getTrashBytes()).field("keep_s", cluster.getTrashKeepS());
  json.field("reclaimed", cluster.getTrashReclaimed()).endObject();
  json.key("chunks")
      .beginObject()
      .field("total", cluster.getChunks())
      .field("healthy", cluster.getChunksHealthy());
  json.field("under", cluster.getChunksUnder()).field("missing", cluster.getChunksMissing()).endObject();
  writeMounts(json, cluster);
  writeSnapshot(json, cluster.getSnapshot());
  writeRepair(json, cluster.getRepair());
  json.key("servers").beginArray();
  for (auto server : cluster.getServers()) {
    json.beginObject().field("server", server.getServer()).field("address", str(server.getAddress()));
    json.field("rack", str(server.getRack()))
        .field("state", str(server.getState()))
        .field("pid", server.getPid());
    json.field("bytes_total", server.getBytesTotal()).field("bytes_free", server.getBytesFree());
    json.field("chunks", server.getChunks()).field("last_heartbeat_ms", server.getLastHeartbeatMs());
    json.field("copying", server.getCopying())
        .field("draining", server.getDraining())
        .field("leaving", server.getLeaving());
    auto scrub = server.getScrub();
    json.key("scrub").beginObject().field("oldest_s", scrub.getOldestS()).field("bytes", scrub.getBytes());
    json.field("damaged", scrub.getDamaged()).field("rate", scrub.getRate()).endObject();
    json.endObject();
  }
  json.endArray();
}

void printJson(View& view) {
  JsonWriter json;
  json.beginObject().field("healthy", view.healthy()).field("metaserver", view.target.metaserver);
  if (view.target.directory) {
    json.field("dir", view.target.directory->path().string()).field("mount", view.target.plan->mount);
    json.field("supervised", view.supervised);
    writeDaemons(json, view.daemons);
  }
  json.field("problem", view.problem);
  KJ_IF_MAYBE (response, view.answer) writeCluster(json, response->getStatus());
  std::cout << json.endObject().text() << std::endl;
}

void printMounts(rpc::ClusterStatus::Reader cluster) {
  auto list = cluster.getMounts();
  if (list.size() == 0) return;
  Table mounts({"SESSION", "MOUNT", "LEASES", "WRITING", "RECALLED", "LAST CALL"});
  for (auto mount : list) {
    mounts.add({std::to_string(mount.getSession()), str(mount.getName()), std::to_string(mount.getLeases()),
                std::to_string(mount.getWriting()), std::to_string(mount.getRecalls()),
                std::to_string(mount.getSilentMs()) + " ms ago"});
  }
  std::cout << '\n' << mounts.text();
  if (list.size() < cluster.getSessions())
    std::cout << "and " << cluster.getSessions() - list.size() << " more\n";
  auto leases = cluster.getLeases();
  if (leases.getWaiting() > 0) {
    std::cout << plural(leases.getWaiting(), "call") << " waiting for "
              << plural(leases.getRecalls(), "lease") << " to be given back, the oldest asked for "
              << leases.getOldestMs() << " ms ago\n";
  }
  if (leases.getMissing() > 0) {
    std::cout
        << plural(leases.getMissing(), "mount")
        << " from before the metaserver's start not back yet: what they may have cached is waited for\n";
  }
}

void printCluster(rpc::ClusterStatus::Reader cluster) {
  std::cout << "cluster " << str(cluster.getCluster()) << ", epoch " << cluster.getEpoch() << ", "
            << plural(cluster.getReplicas(), "replica") << " of each chunk, commit to "
            << str(cluster.getCommit()) << "\n\n";
  Table servers({"STORE", "ADDRESS", "STATE", "CHUNKS", "FREE", "OF", "HEARTBEAT", "CHECKED"});
  for (auto server : cluster.getServers()) {
    servers.add({std::to_string(server.getServer()), str(server.getAddress()), stateText(server),
                 std::to_string(server.getChunks()), humanBytes(server.getBytesFree()),
                 humanBytes(server.getBytesTotal()), std::to_string(server.getLastHeartbeatMs()) + " ms ago",
                 scrubText(server.getScrub())});
  }
  std::cout << servers.text() << '\n';
  std::cout << plural(cluster.getInodes(), "inode") << ", " << plural(cluster.getChunks(), "chunk") << ": "
            << cluster.getChunksHealthy() << " healthy, " << cluster.getChunksUnder()
            << " with too few replicas, " << cluster.getChunksMissing() << " missing; "
            << plural(cluster.getSessions(), "mount") << "\n";
  if (cluster.getTrashFiles() > 0) {
    std::cout << plural(cluster.getTrashFiles(), "deleted file") << " in the trash, "
              << humanBytes(cluster.getTrashBytes()) << " of a copy, kept for "
              << env::durationText(cluster.getTrashKeepS()) << '\n';
  }
  if (cluster.getTrashReclaimed() > 0) {
    std::cout << plural(cluster.getTrashReclaimed(), "file")
              << " left the trash before their time, for want of space\n";
  }
  std::cout << snapshotText(cluster.getSnapshot()) << repairText(cluster.getRepair());
  if (cluster.getSafeMode().size() > 0) std::cout << "SAFE MODE: " << str(cluster.getSafeMode()) << '\n';
  if (cluster.getKept() > 0) {
    std::cout << "KEPT SINCE A RESTORE: " << plural(cluster.getKept(), "replica")
              << " of chunks that no file has, perhaps of files made after the backup; see `cairn fsck`\n";
  }
  if (cluster.getBrake().size() > 0) std::cout << "DELETES HELD BACK: " << str(cluster.getBrake()) << '\n';
  if (cluster.getGarbage() > 0)
    std::cout << plural(cluster.getGarbage(), "chunk") << " waiting to be deleted\n";
  printMounts(cluster);
}

void printText(View& view) {
  if (view.target.directory) {
    auto& plan = *view.target.plan;
    std::cout << "local cluster in " << view.target.directory->path().string()
              << (plan.mount.empty() ? "" : ", mounted at " + plan.mount)
              << (view.supervised ? "" : "; NO SUPERVISOR: `cairn up` starts one") << "\n\n";
    Table daemons({"DAEMON", "STATE", "PID", "ADDRESS", "RESTARTS", "LAST END"});
    for (auto& daemon : view.daemons) {
      daemons.add({daemon.name, daemon.state, daemon.pid == 0 ? "-" : std::to_string(daemon.pid),
                   daemon.address, std::to_string(daemon.restarts), daemon.lastExit});
    }
    std::cout << daemons.text() << '\n';
  }
  KJ_IF_MAYBE (response, view.answer)
    printCluster(response->getStatus());
  else
    std::cout << view.problem << '\n';
  std::cout << std::flush;
}

}  // namespace

ExitCode status(const StatusOptions& options) {
  View view;
  view.target = findCluster({options.dir, options.metaserver});
  view.daemons = localDaemons(view.target);
  view.supervised = view.target.directory && findSupervisor(*view.target.directory);
  bool metaserverRuns = !view.target.directory || (!view.daemons.empty() && view.daemons[0].pid != 0);
  auto io = kj::setupAsyncIo();
  MetaserverLine line(io, view.target.metaserver);
  KJ_DEFER(view.answer = nullptr);  // it lies in memory of the line's
  if (metaserverRuns) {
    try {
      view.answer =
          line.ask(io.waitScope, "status", ANSWER_PATIENCE,
                   [](rpc::Metaserver::Client& metaserver) { return metaserver.statusRequest().send(); });
    } catch (const Failure& failure) {
      view.problem = failure.what();
    }
  } else {
    view.problem = "the metaserver is not running";
  }
  options.format == Format::JSON ? printJson(view) : printText(view);
  if (view.answer == nullptr && !view.target.directory) return ExitCode::FAILED;  // there was nothing to tell
  bool complain = options.check == StatusOptions::Check::YES && !view.healthy();
  return complain ? ExitCode::UNHEALTHY : ExitCode::DONE;
}

}  // namespace cairn::cli
