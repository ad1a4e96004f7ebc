// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See sim_cluster.h.
#include "test/sim/cluster/sim_cluster.h"

#include <kj/debug.h>

#include <algorithm>
#include <set>

#include "env/checksum.h"
#include "metaserver/granted_leases.h"
#include "rpc/chunkd.capnp.h"
#include "rpc/coroutine.h"
#include "rpc/deadline.h"
#include "rpc/metaserver.capnp.h"
#include "test/sim/cluster/workload.h"

namespace cairn::sim {

struct SimCluster::Inspector {
  // A tool that asks daemons how they are, over the network like everybody.
  ClusterId cluster;
  PeerEnvironment environment;
  Peer<rpc::Metaserver> metaserver;
  std::map<std::string, kj::Own<Peer<rpc::ChunkServer>>> chunkds;

  Inspector(SimCluster& cluster)
      : environment{.timer = cluster.time.timer(),
                    .network = cluster.network.at("inspector"),
                    .pool = cluster.pool,
                    .entropy = cluster.entropy,
                    .cluster = this->cluster,
                    .caller = "inspector"},
        metaserver(environment, METASERVER, PeerAddress{kj::str(METASERVER_ADDRESS), nullptr, nullptr}) {}

  Peer<rpc::ChunkServer>& chunkd(const std::string& address) {
    auto& peer = chunkds[address];
    if (peer.get() == nullptr) {
      peer = kj::heap<Peer<rpc::ChunkServer>>(environment, address.c_str(),
                                              PeerAddress{kj::str(address.c_str()), nullptr, nullptr});
    }
    return *peer;
  }

  struct Copy {
    Status status = Status::OK;
    uint32_t length = 0;
    kj::Array<kj::byte> table;
    std::map<uint32_t, std::vector<kj::byte>> blocks;  // those that are not zeros
    kj::Vector<kj::String> problems;
  };
  Async<Copy> fetch(std::string address, ChunkHandle handle, ChunkVersion version);
  Async<Copy> fetchOnce(std::string address, ChunkHandle handle, ChunkVersion version);
};

Async<SimCluster::Inspector::Copy> SimCluster::Inspector::fetch(std::string address, ChunkHandle handle,
                                                                ChunkVersion version) {
  for (int attempt = 1;; ++attempt) {
    try {
      co_return co_await fetchOnce(address, handle, version);
    } catch (const kj::Exception& exception) {
      // A connection from before its machine lost power breaks once.
      if (exception.getType() != kj::Exception::Type::DISCONNECTED || attempt == 3) throw;
    }
  }
}

Async<SimCluster::Inspector::Copy> SimCluster::Inspector::fetchOnce(std::string address, ChunkHandle handle,
                                                                    ChunkVersion version) {
  Copy copy;
  auto& peer = chunkd(address);
  auto table = co_await peer.call({"checksums", 10 * kj::SECONDS}, [&](rpc::ChunkServer::Client& service) {
    auto request = service.checksumsRequest();
    request.getChunk().setHandle(handle.value());
    request.getChunk().setVersion(version.value());
    return request.send();
  });
  copy.status = table.getStatus();
  if (copy.status != Status::OK) co_return kj::mv(copy);
  copy.length = table.getLength();
  copy.table = kj::heapArray<kj::byte>(table.getChecksums());
  auto sumOf = [&copy](uint32_t block) {
    auto bytes = copy.table.slice(block * 4, block * 4 + 4);
    return uint32_t(bytes[0]) | uint32_t(bytes[1]) << 8 | uint32_t(bytes[2]) << 16 | uint32_t(bytes[3]) << 24;
  };
  uint32_t blocks = uint32_t(copy.table.size() / 4);
  for (uint32_t block = 0; block < blocks; ++block) {
    if (sumOf(block) == env::ZERO_BLOCK_CRC) continue;  // what a hole has; its bytes are not fetched
    uint32_t end = block;
    while (end < blocks && end - block < TRANSFER_SIZE_MAX / BLOCK_SIZE && sumOf(end) != env::ZERO_BLOCK_CRC)
      ++end;
    auto answer = co_await peer.call({"read", 10 * kj::SECONDS}, [&](rpc::ChunkServer::Client& service) {
      auto request = service.readRequest();
      request.getChunk().setHandle(handle.value());
      request.getChunk().setVersion(version.value());
      request.setOffset(block * BLOCK_SIZE);
      request.setSize((end - block) * BLOCK_SIZE);
      return request.send();
    });
    copy.status = answer.getStatus();
    if (copy.status != Status::OK) co_return kj::mv(copy);
    auto data = answer.getData();
    for (uint32_t i = block; i < end; ++i) {
      auto from = kj::min(data.size(), size_t(i - block) * BLOCK_SIZE),
           to = kj::min(data.size(), from + BLOCK_SIZE);
      auto bytes = data.slice(from, to);
      if (env::blockChecksum(bytes) != sumOf(i)) {
        copy.problems.add(kj::str("block ", i, " does not match its checksum"));
      }
      copy.blocks[i] = std::vector<kj::byte>(bytes.begin(), bytes.end());
    }
    block = end - 1;
  }
  co_return kj::mv(copy);
}

std::function<ClockError(kj::StringPtr host)> clocksApart(std::string slow) {
  return [slow](kj::StringPtr host) {
    if (host == METASERVER) return ClockError{CLOCK_DRIFT_MAX};
    return ClockError{host == slow.c_str() ? -CLOCK_DRIFT_MAX : 0};
  };
}

SimCluster::SimCluster(SimClusterOptions options)
    : entropy(options.seed), network(time.timer(), entropy.next()), options(options) {
  World world{time, network, transcript, pool, options.clocks};
  time.limit(options.lifeMax);
  hosts.push_back(newMetaserverHost(world, entropy.next(), this->options));
  for (uint32_t i = 1; i <= options.chunkServers; ++i) {
    hosts.push_back(newChunkdHost(world, i, entropy.next(), this->options));
  }
  for (auto& host : hosts) run(host->start());
  inspector = kj::heap<Inspector>(*this);
  waitHealthy();
  for (uint32_t i = 1; i <= options.clients; ++i) {
    kj::Own<SimHost> host = newClientHost(world, i, entropy.next());
    run(host->start());
    hosts.push_back(kj::mv(host));
  }
}

SimCluster::~SimCluster() noexcept(false) {
  // Clients first: they are allowed to be surprised, but not here.
  inspector = nullptr;
  while (!hosts.empty()) {
    hosts.back()->kill();
    hosts.pop_back();
  }
}

SimHost& SimCluster::host(kj::StringPtr name) {
  for (auto& host : hosts) {
    if (host->name() == name) return *host;
  }
  KJ_FAIL_REQUIRE("no such host", name);
}

std::vector<std::string> SimCluster::daemons() const {
  std::vector<std::string> names;
  for (auto& host : hosts) {
    if (!host->name().startsWith("client")) names.push_back(host->name().cStr());
  }
  return names;
}

std::vector<std::string> SimCluster::hostNames() const {
  std::vector<std::string> names;
  for (auto& host : hosts) names.push_back(host->name().cStr());
  return names;
}

void SimCluster::kill(kj::StringPtr name) {
  host(name).kill();
}
void SimCluster::powerCut(kj::StringPtr name) {
  host(name).cutPower();
}
void SimCluster::powerCutAll() {
  for (auto& name : daemons()) host(name.c_str()).cutPower();
}
void SimCluster::restart(kj::StringPtr name) {
  run(host(name).start());
}
void SimCluster::misdeliverDelete(kj::StringPtr name, ChunkHandle chunk, ChunkVersion version) {
  auto& store = dynamic_cast<StoreHost&>(host(name));
  auto request = store.orders().deleteRequest();
  request.setEpoch(store.epoch().value());
  auto doomed = request.initChunks(1)[0];
  doomed.setHandle(chunk.value());
  doomed.setVersion(version.value());
  run(kj::Promise<capnp::Response<rpc::ChunkServer::DeleteResults>>(request.send()));
}
void SimCluster::stop(kj::StringPtr name) {
  host(name).stop();
}
void SimCluster::resume(kj::StringPtr name) {
  host(name).resume();
}

Filesystem& SimCluster::client(uint32_t number) {
  return dynamic_cast<ClientHost&>(host(kj::str("client-", number))).filesystem();
}

InodeId SimCluster::find(kj::StringPtr path, uint32_t number) {
  auto at = ROOT_INODE;
  auto rest = path.slice(1);
  while (rest.size() > 0) {
    kj::String name;
    KJ_IF_MAYBE (slash, rest.findFirst('/')) {
      name = kj::heapString(rest.slice(0, *slash));
      rest = rest.slice(*slash + 1);
    } else {
      name = kj::heapString(rest);
      rest = "";
    }
    auto found = run(client(number).lookup(at, name));
    KJ_REQUIRE(found.ok(), "lookup", path, found.status());
    at = found->inode;
  }
  return at;
}

Async<kj::Own<OpenFile>> SimCluster::openOrCreate(kj::StringPtr path) {
  auto opened = co_await client().create(ROOT_INODE, path.slice(1), 0644, {}, {}, false);
  KJ_REQUIRE(opened.ok(), "create", path, opened.status());
  co_return kj::mv(*opened);
}

Status SimCluster::tryWrite(kj::StringPtr path, kj::StringPtr content, uint64_t offset) {
  auto file = run(openOrCreate(path));
  auto bytes = kj::heap<kj::String>(kj::heapString(content));
  auto view = bytes->asBytes();
  auto status = run(file->write(FileOffset(offset), Bytes{view, kj::mv(bytes)}));
  if (status == Status::OK) status = run(file->flush());
  return status;
}

void SimCluster::write(kj::StringPtr path, kj::StringPtr content, uint64_t offset) {
  EXPECT_EQ(tryWrite(path, content, offset), Status::OK) << path.cStr();
}

kj::Own<OpenFile> SimCluster::open(kj::StringPtr path) {
  return run(openOrCreate(path));
}

void SimCluster::sync(kj::StringPtr path) {
  auto file = run(openOrCreate(path));
  EXPECT_EQ(run(file->sync()), Status::OK) << path.cStr();
}

std::string SimCluster::read(kj::StringPtr path, uint32_t number) {
  auto file = run(client(number).open(find(path, number)));
  EXPECT_EQ(file.status(), Status::OK) << path.cStr();
  if (!file.ok()) return "";
  auto size = (*file)->attributes().size;
  auto bytes = run(readAll(**file, 0, size));
  EXPECT_EQ(bytes.status(), Status::OK) << path.cStr();
  return bytes.ok() ? std::string(bytes->asPtr().asChars().begin(), bytes->size()) : "";
}

void SimCluster::makeDirectory(kj::StringPtr path) {
  auto made = run(client().make(ROOT_INODE, path.slice(1), {.type = FileType::DIRECTORY, .mode = 0755}, {}));
  EXPECT_EQ(made.status(), Status::OK) << path.cStr();
}

Async<bool> SimCluster::isHealthy() {
  try {
    auto answer = co_await inspector->metaserver.call(
        {"status", 5 * kj::SECONDS},
        [](rpc::Metaserver::Client& service) { return service.statusRequest().send(); });
    auto status = answer.getStatus();
    uint32_t up = 0;
    for (auto server : status.getServers()) up += server.getState() == "up";
    co_return up >= options.chunkServers&& status.getSafeMode().size() == 0;
  } catch (const kj::Exception& exception) {
    // Not there yet, or a connection from before it was.
    if (exception.getType() == kj::Exception::Type::FAILED) throw;
    co_return false;
  }
}

SimCluster::Repair SimCluster::repair() {
  auto answer =
      run(inspector->metaserver.call({"status", 60 * kj::SECONDS}, [](rpc::Metaserver::Client& service) {
        return service.statusRequest().send();
      }));
  auto status = answer.getStatus().getRepair();
  return {status.getLastCopy() + status.getBlocking() + status.getUnder(), status.getExcess(),
          status.getMoving(), status.getCopied(), status.getSurveyed()};
}

void SimCluster::drain(kj::StringPtr host) {
  auto look = [&]() {
    auto answer =
        run(inspector->metaserver.call({"status", 60 * kj::SECONDS}, [](rpc::Metaserver::Client& service) {
          return service.statusRequest().send();
        }));
    for (auto server : answer.getStatus().getServers()) {
      if (kj::StringPtr(server.getAddress()).startsWith(kj::str(host, ":")))
        return std::make_pair(server.getServer(), server.getLeaving());
    }
    KJ_FAIL_REQUIRE("no such store", host);
  };
  auto number = look().first;
  auto administration = run(inspector->metaserver.call({"administration", 60 * kj::SECONDS},
                                                       [](rpc::Metaserver::Client& service) {
                                                         return service.administrationRequest().send();
                                                       }))
                            .getAdministration();
  auto request = administration.drainRequest();
  request.setServer(number);
  auto answer = run(kj::Promise<capnp::Response<rpc::Administration::DrainResults>>(request.send()));
  KJ_REQUIRE(answer.getStatus() == Status::OK, answer.getStatus());
  while (look().second > 0) advance(500 * kj::MILLISECONDS);
}

Async<Status> SimCluster::snapshot(InodeId original, InodeId directory, kj::StringPtr name,
                                   kj::Maybe<kj::Duration> patience) {
  auto began = time.timer().now();
  try {
    auto line = co_await inspector->metaserver.call(
        {"administration", 5 * kj::SECONDS},
        [](rpc::Metaserver::Client& service) { return service.administrationRequest().send(); });
    auto request = line.getAdministration().snapshotRequest();
    request.setOriginal(original.value());
    request.setDirectory(directory.value());
    request.setName(name);
    request.setSteps(true);
    kj::Promise<capnp::Response<rpc::Administration::SnapshotResults>> sent = request.send();
    auto answer =
        co_await withDeadline(time.timer(), kj::mv(sent), 60 * kj::SECONDS, kj::str("snapshot ", name));
    if (!answer.hasCopy()) co_return answer.getStatus();
    auto copy = answer.getCopy();
    for (;;) {
      kj::Promise<capnp::Response<rpc::TreeCopy::NextResults>> asked = copy.nextRequest().send();
      auto deadline = patience.map([&](kj::Duration most) { return began + most - time.timer().now(); })
                          .orDefault(60 * kj::SECONDS);
      auto told = co_await withDeadline(time.timer(), kj::mv(asked), kj::max(deadline, 0 * kj::SECONDS),
                                        kj::str("steps of snapshot ", name));
      if (told.getDone()) co_return told.getStatus();
    }
  } catch (const kj::Exception& exception) {
    if (exception.getType() == kj::Exception::Type::FAILED) throw;
    co_return Status::BUSY;
  }
}

std::string SimCluster::findings() {
  for (;;) {
    auto administration = run(inspector->metaserver.call({"administration", 60 * kj::SECONDS},
                                                         [](rpc::Metaserver::Client& service) {
                                                           return service.administrationRequest().send();
                                                         }))
                              .getAdministration();
    auto begun = run(kj::Promise<capnp::Response<rpc::Administration::CheckResults>>(
        administration.checkRequest().send()));
    if (begun.getStatus() != Status::OK) {
      advance(500 * kj::MILLISECONDS);
      continue;
    }
    auto check = begun.getCheck();
    std::string text;
    for (bool end = false; !end;) {
      auto told = run(kj::Promise<capnp::Response<rpc::Check::NextResults>>(check.nextRequest().send()));
      for (auto finding : told.getFindings()) {
        if (finding.getSeverity() > 0) text += std::string(finding.getSentence().cStr()) + "\n";
      }
      end = told.getEnd();
    }
    return text;
  }
}

uint64_t SimCluster::inodes() {
  return run(inspector->metaserver.call(
                 {"status", 60 * kj::SECONDS},
                 [](rpc::Metaserver::Client& service) { return service.statusRequest().send(); }))
      .getStatus()
      .getInodes();
}

uint64_t SimCluster::inodesWithNames() {
  std::set<InodeId> found{ROOT_INODE};
  std::vector<InodeId> directories{ROOT_INODE};
  while (!directories.empty()) {
    auto directory = directories.back();
    directories.pop_back();
    for (uint64_t cookie = 0, more = true; more;) {
      auto page = run(client().readDirectory(directory, cookie, 100, Detail::ATTRIBUTES));
      KJ_REQUIRE(page.ok(), page.status());
      more = page->more == DirectoryPage::More::YES;
      for (auto& entry : page->entries) {
        cookie = entry.cookie;
        found.insert(entry.attributes.inode);
        if (entry.attributes.type == FileType::DIRECTORY) directories.push_back(entry.attributes.inode);
      }
    }
  }
  return found.size();
}

void SimCluster::waitRepaired() {
  for (;;) {
    auto now = repair();
    if (now.surveyed && now.under + now.excess + now.moving == 0) return;
    advance(500 * kj::MILLISECONDS);
  }
}

void SimCluster::waitHealthy() {
  while (!run(isHealthy())) advance(100 * kj::MILLISECONDS);
}

std::vector<SimCluster::Chunk> SimCluster::chunks(InodeId inode) {
  std::vector<Chunk> all;
  for (uint64_t first = 0;;) {
    auto answer = run(
        inspector->metaserver.call({"describeFile", 60 * kj::SECONDS}, [&](rpc::Metaserver::Client& service) {
          auto request = service.describeFileRequest();
          request.setInode(inode.value());
          request.setFirst(first);
          request.setCount(100);
          return request.send();
        }));
    KJ_REQUIRE(answer.getStatus() == Status::OK, "describeFile", inode, answer.getStatus());
    for (auto detail : answer.getChunks()) {
      Chunk chunk{ChunkIndex(detail.getIndex()),
                  ChunkHandle(detail.getChunk().getHandle()),
                  ChunkVersion(detail.getChunk().getVersion()),
                  ServerId(detail.getPrimary()),
                  {}};
      for (auto replica : detail.getReplicas()) {
        chunk.replicas.push_back({ServerId(replica.getServer()), replica.getAddress().cStr(),
                                  ChunkVersion(replica.getVersion()), replica.getState().cStr()});
      }
      first = detail.getIndex() + 1;
      all.push_back(kj::mv(chunk));
    }
    if (!answer.getMore()) return all;
  }
}

kj::Vector<kj::String> SimCluster::compareReplicas(InodeId inode) {
  kj::Vector<kj::String> problems;
  for (auto& chunk : chunks(inode)) {
    kj::Maybe<Inspector::Copy> first;
    for (auto& replica : chunk.replicas) {
      if (replica.state != "current") continue;
      auto say = [&](auto&&... parts) {
        problems.add(kj::str("chunk ", chunk.handle, " v", chunk.version, " on ", replica.host.c_str(), ": ",
                             parts...));
      };
      auto copy = run(inspector->fetch(replica.host, chunk.handle, chunk.version));
      if (copy.status != Status::OK) {
        say("is called current and answers ", copy.status);
        continue;
      }
      for (auto& problem : copy.problems) say(problem);
      KJ_IF_MAYBE (other, first) {
        if (copy.length != other->length) say("length ", copy.length, " and not ", other->length);
        if (copy.table != other->table) say("its checksums differ");
        if (copy.blocks != other->blocks) say("its bytes differ");
      } else {
        first = kj::mv(copy);
      }
    }
    if (first == nullptr) problems.add(kj::str("chunk ", chunk.handle, ": no current replica"));
  }
  return problems;
}

}  // namespace cairn::sim
