// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn drain`, `cairn rebalance`, `cairn replicas`: what an operator may ask of a cluster. The work is the
// cluster's; these say what is wanted and watch.
#include <unistd.h>

#include <iostream>

#include "cli/cluster_target.h"
#include "cli/commands.h"
#include "cli/mounted_file.h"
#include "cli/operator_line.h"
#include "cli/output.h"
#include "cli/repair_view.h"

namespace cairn::cli {

namespace {

std::string str(Status status) {
  return kj::str(status).cStr();
}

uint32_t findServer(rpc::ClusterStatus::Reader cluster, const std::string& name) {
  std::string known;
  for (auto server : cluster.getServers()) {
    std::string address = server.getAddress().cStr();
    if (name == std::to_string(server.getServer()) || name == address) return server.getServer();
    known += (known.empty() ? "" : ", ") + std::to_string(server.getServer()) +
             (address.empty() ? "" : " (" + address + ")");
  }
  throw Failure("there is no store " + name + " in this cluster; it has " + (known.empty() ? "none" : known),
                ExitCode::USAGE);
}

struct Look {
  uint64_t leaving = 0;
  bool draining = false;
  std::string repair;  // lines
  std::string stuck;
};

Look lookAt(OperatorLine& cluster, uint32_t number) {
  auto answer = cluster.status();
  Look look;
  for (auto server : answer.getStatus().getServers()) {
    if (server.getServer() != number) continue;
    look.leaving = server.getLeaving();
    look.draining = server.getDraining();
  }
  auto repair = answer.getStatus().getRepair();
  look.repair = repairText(repair);
  if (repair.getStuck() > 0) look.stuck = repair.getStuckBecause().cStr();
  return look;
}

void watch(OperatorLine& cluster, uint32_t number) {
  // Until nothing counts on it. On a terminal as a bar that moves, else a line whenever something has
  // changed.
  bool terminal = ::isatty(STDOUT_FILENO) == 1;
  uint64_t most = 0, last = UINT64_MAX;
  for (;; cluster.pause()) {
    auto look = lookAt(cluster, number);
    if (!look.draining) throw Failure("somebody has undone it: store " + std::to_string(number) + " stays");
    most = std::max(most, look.leaving);
    if (look.leaving != last || terminal) {
      std::cout << (terminal ? "\r\033[K" : "") << progressBar(most - look.leaving, most) << "  "
                << plural(look.leaving, "chunk") << " left"
                << (look.stuck.empty() ? "" : "; CANNOT GO ON: " + look.stuck) << (terminal ? "" : "\n")
                << std::flush;
    }
    last = look.leaving;
    if (look.leaving == 0) break;
  }
  if (terminal) std::cout << '\n';
}

ExitCode forget(OperatorLine& cluster, uint32_t number, const DrainOptions& options) {
  auto answer = cluster.ask("remove", CHANGE_PATIENCE, [&](rpc::Administration::Client& administration) {
    auto request = administration.removeRequest();
    request.setServer(number);
    request.setForce(options.force == Force::YES);
    return request.send();
  });
  auto name = "store " + std::to_string(number);
  switch (answer.getStatus()) {
    case Status::OK:
      break;
    case Status::BUSY:
      throw Failure(name + " is connected. Nothing was changed; stop its daemon first");
    case Status::NOT_EMPTY:
      throw Failure(
          plural(answer.getChunks(), "chunk") + " may be on " + name +
          " and nowhere else. Nothing was changed. Bring it back and drain it; or give them up with --force");
    default:
      throw Failure("the metaserver answers " + str(answer.getStatus()));
  }
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject()
        .field("server", number)
        .field("removed", true)
        .field("chunks_lost", answer.getChunks());
    std::cout << json.endObject().text() << '\n';
  } else {
    std::cout << name << " is forgotten\n";
  }
  return ExitCode::DONE;
}

}  // namespace

ExitCode drain(const DrainOptions& options) {
  OperatorLine cluster(findCluster(options.cluster).metaserver);
  auto number = findServer(cluster.status().getStatus(), options.server);
  if (options.what == DrainOptions::What::REMOVE) return forget(cluster, number, options);
  bool undo = options.what == DrainOptions::What::UNDO;
  auto answer = cluster.ask("drain", ANSWER_PATIENCE, [&](rpc::Administration::Client& administration) {
    auto request = administration.drainRequest();
    request.setServer(number);
    request.setUndo(undo);
    return request.send();
  });
  if (!ok(answer.getStatus())) throw Failure("the metaserver answers " + str(answer.getStatus()));
  bool json = options.format == Format::JSON;
  if (!undo && options.wait == DrainOptions::Wait::YES) {
    if (json) {
      while (lookAt(cluster, number).leaving > 0) cluster.pause();
    } else {
      watch(cluster, number);
    }
  }
  auto left = undo ? 0 : lookAt(cluster, number).leaving;
  if (json) {
    JsonWriter writer;
    writer.beginObject().field("server", number).field("draining", !undo).field("left", left);
    std::cout << writer.endObject().text() << '\n';
  } else if (undo) {
    std::cout << "store " << number << " is one like any other\n";
  } else if (left == 0) {
    std::cout << "store " << number
              << " is empty: its daemon may be stopped and its directory removed; then `cairn drain "
              << number << " --remove`\n";
  } else {
    std::cout << "store " << number << " is being emptied, " << plural(left, "chunk") << " left\n";
  }
  return ExitCode::DONE;
}

ExitCode rebalance(const RebalanceOptions& options) {
  OperatorLine cluster(findCluster(options.cluster).metaserver);
  auto answer = cluster.ask("rebalance", ANSWER_PATIENCE, [&](rpc::Administration::Client& administration) {
    auto request = administration.rebalanceRequest();
    request.setStart(options.what == RebalanceOptions::What::BEGIN);
    return request.send();
  });
  if (!ok(answer.getStatus())) throw Failure("the metaserver answers " + str(answer.getStatus()));
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("running", bool(answer.getRunning())).field("moves", answer.getMoves());
    json.field("spread_percent", answer.getSpread() / 100);
    std::cout << json.endObject().text() << '\n';
  } else {
    std::cout << "the fullest and the emptiest store are " << answer.getSpread() / 100 << " % apart; "
              << (answer.getRunning() ? "chunks are being moved, " : "nothing is moved, ")
              << plural(answer.getMoves(), "chunk") << " so far\n";
  }
  return ExitCode::DONE;
}

ExitCode replicas(const ReplicasOptions& options) {
  auto file = findMountedFile(options.path);
  OperatorLine cluster(file.metaservers.at(0));
  auto answer = cluster.ask("setReplicas", CHANGE_PATIENCE, [&](rpc::Administration::Client& administration) {
    auto request = administration.setReplicasRequest();
    request.setInode(file.inode);
    request.setReplicas(uint8_t(options.replicas));
    request.setRecursive(options.below == ReplicasOptions::Below::YES);
    return request.send();
  });
  if (!ok(answer.getStatus())) {
    throw Failure(options.path + ": the metaserver answers " + str(answer.getStatus()) +
                  (answer.getStatus() == Status::INVALID ? "; only files and directories have copies" : ""));
  }
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("replicas", options.replicas).field("files", answer.getFiles());
    std::cout << json.field("chunks", answer.getChunks()).endObject().text() << '\n';
  } else {
    std::cout << plural(answer.getFiles(), "node") << " with " << plural(answer.getChunks(), "chunk") << ": "
              << options.replicas << (options.replicas == 1 ? " copy is" : " copies are")
              << " wanted from now on\n";
  }
  return ExitCode::DONE;
}

}  // namespace cairn::cli
