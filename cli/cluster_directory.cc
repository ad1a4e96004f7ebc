// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/cluster_directory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "cli/failure.h"

namespace cairn::cli {

namespace {

namespace fs = std::filesystem;

constexpr int64_t PLAN_FORMAT = 1;
constexpr uint32_t PORT_SEARCH_MAX = 2000;  // ports looked at above the first

uint16_t nextFreePort(uint16_t first, const std::set<uint16_t>& ours, const PortIsFree& isFree) {
  for (uint32_t port = first; port < std::min<uint32_t>(first + PORT_SEARCH_MAX, 65536); ++port) {
    if (!ours.contains(static_cast<uint16_t>(port)) && isFree(static_cast<uint16_t>(port))) {
      return static_cast<uint16_t>(port);
    }
  }
  throw Failure("no free port from " + std::to_string(first) + " on: is something else using all of them?");
}

uint16_t portFrom(const toml::node* node, std::string_view what) {
  auto value = node == nullptr ? std::nullopt : node->value<int64_t>();
  if (!value || *value < 1 || *value > 65535) throw Failure(std::string(what) + " is not a port");
  return static_cast<uint16_t>(*value);
}

}  // namespace

std::string toToml(const ClusterPlan& plan) {
  toml::array ports;
  for (auto port : plan.chunkdPorts) ports.push_back(int64_t(port));
  toml::table table{{"format", PLAN_FORMAT},
                    {"host", plan.host},
                    {"metaserver_port", int64_t(plan.metaserverPort)},
                    {"chunkd_ports", std::move(ports)},
                    {"replicas", int64_t(plan.replicas)},
                    {"min_replicas", int64_t(plan.minReplicas)},
                    {"commit", plan.commit},
                    {"trash_keep", plan.trashKeep},
                    {"mount", plan.mount},
                    {"mount_options", plan.mountOptions},
                    {"metaserver_options", plan.metaserverOptions},
                    {"chunkd_options", plan.chunkdOptions}};
  std::ostringstream text;
  text << "# Kept by `cairn up`: how this local cluster is started.\n" << table << '\n';
  return text.str();
}

ClusterPlan planFromToml(std::string_view text, std::string_view path) {
  try {
    auto table = toml::parse(text);
    auto format = table["format"].value_or<int64_t>(0);
    if (format != PLAN_FORMAT) {
      throw Failure("it has format " + std::to_string(format) + ", this program knows " +
                    std::to_string(PLAN_FORMAT) + ": use the `cairn` that wrote it. Nothing was changed");
    }
    ClusterPlan plan;
    plan.host = table["host"].value_or(plan.host);
    plan.metaserverPort = portFrom(table.get("metaserver_port"), "metaserver_port");
    if (auto* ports = table["chunkd_ports"].as_array()) {
      for (auto& port : *ports) plan.chunkdPorts.push_back(portFrom(&port, "an entry of chunkd_ports"));
    }
    if (plan.chunkdPorts.empty()) throw Failure("chunkd_ports is missing or empty");
    plan.replicas = table["replicas"].value_or(plan.replicas);
    plan.minReplicas = table["min_replicas"].value_or(plan.minReplicas);
    plan.commit = table["commit"].value_or(plan.commit);
    plan.trashKeep = table["trash_keep"].value_or(plan.trashKeep);
    plan.mount = table["mount"].value_or(plan.mount);
    plan.mountOptions = table["mount_options"].value_or(plan.mountOptions);
    plan.metaserverOptions = table["metaserver_options"].value_or(plan.metaserverOptions);
    plan.chunkdOptions = table["chunkd_options"].value_or(plan.chunkdOptions);
    return plan;
  } catch (const toml::parse_error& error) {
    std::ostringstream place;
    place << error.source().begin.line;
    throw Failure(std::string(path) + ", line " + place.str() + ": " + std::string(error.description()));
  } catch (const Failure& failure) {
    throw Failure(std::string(path) + ": " + failure.what());
  }
}

std::vector<std::string> choosePorts(ClusterPlan& plan, const PortIsFree& isFree) {
  struct Wish {
    uint16_t& port;
    uint16_t first;
    std::string name;
  };
  std::vector<Wish> wishes{{plan.metaserverPort, METASERVER_PORT, "metaserver-1"}};
  for (size_t i = 0; i < plan.chunkdPorts.size(); ++i) {
    wishes.push_back({plan.chunkdPorts[i], CHUNKD_PORT, "chunkd-" + std::to_string(i + 1)});
  }
  // Who can keep his port comes before who looks for one.
  std::set<uint16_t> ours;
  std::vector<Wish*> looking;
  for (auto& wish : wishes) {
    bool keeps = wish.port != 0 && !ours.contains(wish.port) && isFree(wish.port);
    keeps ? void(ours.insert(wish.port)) : looking.push_back(&wish);
  }
  std::vector<std::string> notices;
  for (auto* wish : looking) {
    auto before = wish->port;
    wish->port = nextFreePort(wish->first, ours, isFree);
    ours.insert(wish->port);
    if (before == 0) continue;
    notices.push_back("port " + std::to_string(before) + " of " + wish->name + " is taken; it uses " +
                      std::to_string(wish->port) + " from now on");
  }
  return notices;
}

bool canListen(const std::string& host, uint16_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  if (int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found)) {
    throw Failure("cannot listen on '" + host + "': " + gai_strerror(error));
  }
  int probe = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int one = 1;  // as the daemons do: a port whose last connections are still closing is free
  setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  bool bound = bind(probe, found->ai_addr, found->ai_addrlen) == 0;
  int problem = errno;
  close(probe);
  freeaddrinfo(found);
  if (!bound && problem == EADDRNOTAVAIL) throw Failure("this machine has no address " + host);
  return bound;
}

fs::path ClusterDirectory::pidFile(std::string_view name) const {
  return runPath() / (std::string(name) + ".pid");
}

fs::path ClusterDirectory::logFile(std::string_view name) const {
  return root / "log" / (std::string(name) + ".log");
}

std::optional<ClusterPlan> ClusterDirectory::load() const {
  auto path = root / "cluster.toml";
  auto text = readWhole(path);
  if (!text) return std::nullopt;
  return planFromToml(*text, path.string());
}

void ClusterDirectory::prepare() const {
  for (auto& path : {root, runPath(), root / "log"}) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) throw Failure("cannot make the directory " + path.string() + ": " + error.message());
  }
}

void ClusterDirectory::save(const ClusterPlan& plan) const {
  writeWhole(root / "cluster.toml", toToml(plan));
  writeWhole(root / "client.toml", "metaservers = [\"" + plan.metaserver() + "\"]\n");
}

std::vector<DaemonSpec> ClusterDirectory::daemons(const ClusterPlan& plan, const fs::path& programs) const {
  std::vector<DaemonSpec> specs;
  auto add = [&](DaemonKind kind, const char* program, const std::string& name,
                 std::vector<std::string> arguments) {
    auto ready = runPath() / (name + ".ready");
    for (auto& word :
         {std::string("--ready-file"), ready.string(), std::string("--log-file"), logFile(name).string()}) {
      arguments.push_back(word);
    }
    specs.push_back(
        {kind, name, programs / program, std::move(arguments), pidFile(name), ready, logFile(name), {}});
  };
  auto at = [&](uint16_t port) { return plan.host + ':' + std::to_string(port); };

  auto addWords = [&](const std::string& text) {
    std::istringstream words(text);
    for (std::string word; words >> word;) specs.back().arguments.push_back(word);
  };

  add(DaemonKind::METASERVER, "cairn-metaserver", "metaserver-1",
      {"--dir", (root / "metaserver-1").string(), "--listen", plan.metaserver(), "--replicas",
       std::to_string(plan.replicas), "--min-replicas", std::to_string(plan.minReplicas), "--commit",
       plan.commit, "--trash-keep", plan.trashKeep});
  addWords(plan.metaserverOptions);
  for (size_t i = 0; i < plan.chunkdPorts.size(); ++i) {
    auto name = "chunkd-" + std::to_string(i + 1);
    add(DaemonKind::CHUNKD, "cairn-chunkd", name,
        {"--store", (root / name).string(), "--metaserver", plan.metaserver(), "--listen",
         at(plan.chunkdPorts[i])});
    addWords(plan.chunkdOptions);
  }
  if (!plan.mount.empty()) {
    add(DaemonKind::FUSE, "cairn-fuse", "fuse-1", {"--metaserver", plan.metaserver(), plan.mount, "-f"});
    specs.back().mount = plan.mount;
    if (!plan.mountOptions.empty()) {
      specs.back().arguments.insert(specs.back().arguments.end(), {"-o", plan.mountOptions});
    }
  }
  return specs;
}

void writeWhole(const fs::path& path, std::string_view content) {
  auto fresh = path;
  fresh += ".new";
  std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
  file << content << std::flush;
  std::error_code error;
  if (file) fs::rename(fresh, path, error);
  if (!file || error) {
    throw Failure("cannot write " + path.string() + ": " + (error ? error.message() : std::strerror(errno)));
  }
}

std::optional<std::string> readWhole(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> lastLines(const fs::path& path, size_t count) {
  constexpr std::streamoff TAIL_BYTES = 16 << 10;  // enough for any last lines worth showing
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  auto size = file ? static_cast<std::streamoff>(file.tellg()) : 0;
  file.seekg(std::max<std::streamoff>(0, size - TAIL_BYTES));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    if (lines.size() == count) lines.erase(lines.begin());
    lines.push_back(std::move(line));
  }
  return lines;
}

fs::path programsDirectory() {
  constexpr const char* SIBLING = "cairn-metaserver";
  if (const char* given = std::getenv("CAIRN_PROGRAMS")) return fs::absolute(given);
  std::error_code error;
  auto own = fs::read_symlink("/proc/self/exe", error).parent_path();
  if (fs::exists(own / SIBLING, error)) return own;
  std::istringstream path(std::getenv("PATH") == nullptr ? "" : std::getenv("PATH"));
  for (std::string directory; std::getline(path, directory, ':');) {
    if (!directory.empty() && fs::exists(fs::path(directory) / SIBLING, error))
      return fs::absolute(directory);
  }
  throw Failure("cannot find " + std::string(SIBLING) + ": it is neither beside " + own.string() +
                "/cairn nor in PATH. In a clone, `scripts/dev build` puts all programs into build/bin");
}

}  // namespace cairn::cli
