// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See local_cluster.h.
#include "test/e2e/local_cluster.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>

#include "test/support/crash_report.h"

namespace cairn::e2e {

namespace {

namespace fs = std::filesystem;

bool processRuns(pid_t pid) {
  // A zombie has ended: its parent has just not looked yet.
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (pid <= 0 || !std::getline(file, line)) return false;
  auto state = line.rfind(") ");
  return state != std::string::npos && line[state + 2] != 'Z' && line[state + 2] != 'X';
}

bool isOurs(pid_t pid) {
  // A pid file may be older than the process that has its number now.
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  return std::getline(file, name) && (name.starts_with("cairn") || name.starts_with("mount."));
}

bool isDaemon(const std::string& name) {
  return name.starts_with("metaserver-") || name.starts_with("chunkd-") || name.starts_with("fuse-");
}

}  // namespace

std::string programs() {
  if (const char* directory = std::getenv("CAIRN_PROGRAMS")) return directory;
  return CAIRN_BUILD_PROGRAMS;
}

std::string program(const std::string& name) {
  return programs() + "/" + name;
}

LocalCluster::LocalCluster(ClusterOptions options) : options(std::move(options)) {
  fs::create_directory(mount());
  fs::create_directory(directory());
  for (auto [number, megabytes] : this->options.smallStores) {
    fs::create_directory(store(number));
    auto size = "size=" + std::to_string(megabytes) + "m";
    if (::mount("cairn-test", store(number).c_str(), "tmpfs", 0, size.c_str()) != 0) {
      throw std::runtime_error("cannot mount a tmpfs at " + store(number));
    }
  }
  auto started = up();
  EXPECT_TRUE(started.ok()) << started.describe();
}

LocalCluster::~LocalCluster() {
  down();
  killEverything();
  expectNoCrash();
  for (auto& [number, megabytes] : options.smallStores) ::umount2(store(number).c_str(), MNT_DETACH);
}

Finished LocalCluster::up() {
  std::vector<std::string> words = {"up",
                                    "--dir",
                                    directory(),
                                    "--mount",
                                    mount(),
                                    "--chunkds",
                                    std::to_string(options.chunkds),
                                    "--replicas",
                                    std::to_string(options.replicas),
                                    "--detach"};
  words.insert(words.end(), options.more.begin(), options.more.end());
  return cairn(words);
}

Finished LocalCluster::down() {
  return cairn({"down", "--dir", directory()});
}

std::string LocalCluster::store(unsigned chunkd) const {
  return directory() + (chunkd == 0 ? "/metaserver-1" : "/chunkd-" + std::to_string(chunkd));
}

std::string LocalCluster::address() const {
  auto text = readFile(directory() + "/client.toml");
  for (size_t start = text.find('"'); start != std::string::npos; start = text.find('"', start + 1)) {
    auto end = text.find('"', start + 1);
    auto value = text.substr(start + 1, end - start - 1);
    if (value.find(':') != std::string::npos) return value;
    start = end;
  }
  throw std::runtime_error("no HOST:PORT in client.toml: " + text);
}

std::string LocalCluster::chunkFile(unsigned chunkd, uint64_t handle, const std::string& extension) const {
  return chunkFileIn(store(chunkd), handle, extension);
}

std::string LocalCluster::chunkdAddress(unsigned chunkd) const {
  for (auto& server : json({"status", "--dir", directory()}).at("servers").items()) {
    if (server.at("pid").number() == uint64_t(pid("chunkd-" + std::to_string(chunkd)))) {
      return server.at("address").text();
    }
  }
  throw std::runtime_error("no address of chunkd-" + std::to_string(chunkd));
}

unsigned LocalCluster::chunkdAt(const std::string& address) const {
  for (auto& server : json({"status", "--dir", directory()}).at("servers").items()) {
    if (server.at("address").text() != address) continue;
    for (unsigned i = 1; i <= options.chunkds; ++i) {
      if (server.at("pid").number() == uint64_t(pid("chunkd-" + std::to_string(i)))) return i;
    }
  }
  throw std::runtime_error("no chunk daemon at " + address);
}

std::vector<LocalCluster::Chunk> LocalCluster::chunks(const std::string& name) const {
  std::vector<Chunk> all;
  for (auto& chunk : json({"info", mount() + "/" + name}).at("chunks").items()) {
    all.push_back(
        {chunk.at("handle").number(), chunk.at("version").number(), chunk.at("replicas").items().size()});
  }
  return all;
}

pid_t LocalCluster::pid(const std::string& name) const {
  std::ifstream file(directory() + "/run/" + name + ".pid");
  pid_t pid = -1;
  file >> pid;
  return file ? pid : -1;
}

bool LocalCluster::alive(const std::string& name) const {
  return processRuns(pid(name));
}

void LocalCluster::kill(const std::string& name, int signal) {
  auto victim = pid(name);
  ASSERT_GT(victim, 0) << "no pid file of " << name;
  ASSERT_TRUE(processRuns(victim) && isOurs(victim)) << name << " does not run";
  ASSERT_EQ(::kill(victim, signal), 0);
  if (signal == SIGKILL) {
    ASSERT_TRUE(eventually(10s, [&]() { return !processRuns(victim); })) << name << " survives SIGKILL";
  }
}

std::vector<std::string> LocalCluster::processes() const {
  std::vector<std::string> names;
  std::error_code error;
  for (auto& entry : fs::directory_iterator(directory() + "/run", error)) {
    if (entry.path().extension() == ".pid") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void LocalCluster::killSupervisor() {
  for (auto& name : processes()) {
    if (!isDaemon(name)) kill(name);
  }
}

void LocalCluster::killEverything() {
  // The supervisor first, or it would start again what it sees die.
  auto names = processes();
  std::partition(names.begin(), names.end(), [](auto& name) { return !isDaemon(name); });
  for (auto& name : names) {
    auto victim = pid(name);
    if (!processRuns(victim) || !isOurs(victim)) continue;
    ::kill(victim, SIGKILL);
    eventually(10s, [&]() { return !processRuns(victim); });
  }
  while (::umount2(mount().c_str(), MNT_DETACH) == 0) continue;
}

void LocalCluster::expectNoCrash() const {
  std::error_code error;
  for (auto& entry : fs::directory_iterator(directory() + "/log", error)) {
    EXPECT_EQ(test::crashReport(readFile(entry.path())), "") << "in " << entry.path();
  }
}

std::string LocalCluster::log(const std::string& name) const {
  return readFile(directory() + "/log/" + name + ".log");
}

Finished LocalCluster::cairn(std::vector<std::string> words, RunOptions options) const {
  words.insert(words.begin(), program("cairn"));
  return test::run(std::move(words), std::move(options));
}

Json LocalCluster::json(std::vector<std::string> words) const {
  words.push_back("--json");
  auto finished = cairn(words);
  if (!finished.ok()) throw std::runtime_error("cairn " + words[0] + ": " + finished.describe());
  return Json::parse(finished.out);
}

Finished LocalCluster::sh(const std::string& script, RunOptions options) const {
  options.directory = mount();
  return shell(script, std::move(options));
}

bool LocalCluster::waitHealthy(unsigned daemons) const {
  return eventually(20s, [&]() {
    auto status = cairn({"status", "--dir", directory(), "--json"});
    if (!status.ok()) return false;
    unsigned up = 0;
    for (auto& server : Json::parse(status.out).at("servers").items())
      up += server.at("state").text() == "up";
    return up >= daemons && ::access((mount() + "/.").c_str(), R_OK) == 0;
  });
}

bool LocalCluster::waitWhole(std::chrono::milliseconds patience) const {
  return eventually(patience, [&]() { return isWhole(json({"status", "--dir", directory()})); });
}

std::string chunkFileIn(const std::string& store, uint64_t handle, const std::string& extension) {
  char name[32];
  std::snprintf(name, sizeof name, "%02x/%016llx.", unsigned(handle & 0xff),
                static_cast<unsigned long long>(handle));
  return store + "/chunks/" + name + extension;
}

void expectEqualReplicas(const Json& info, unsigned expected, const StoreAt& storeAt) {
  for (auto& chunk : info.at("chunks").items()) {
    auto handle = chunk.at("handle").number();
    std::string first;
    unsigned copies = 0;
    for (auto& replica : chunk.at("replicas").items()) {
      if (replica.at("state").text() != "current") continue;
      auto path = chunkFileIn(storeAt(replica.at("address").text()), handle, "data");
      auto content = readFile(path);
      EXPECT_TRUE(copies == 0 || content == first)
          << "the replicas of chunk " << handle << " differ: " << path;
      first = std::move(content);
      ++copies;
    }
    EXPECT_EQ(copies, expected) << "replicas of chunk " << handle;
  }
}

bool isWhole(const Json& status) {
  auto repair = status.at("repair");
  for (auto member : {"last_copy", "blocking", "under", "moving", "excess"}) {
    if (repair.at(member).number() > 0) return false;
  }
  return repair.at("surveyed").text() == "true" &&
         status.at("chunks").at("under").number() + status.at("chunks").at("missing").number() == 0;
}

void EndToEnd::SetUp() {
  if (!reasonToSkip().empty()) GTEST_SKIP() << reasonToSkip();
}

void EndToEnd::TearDown() {
  if (!HasFailure() || cluster == nullptr) return;
  for (auto& name : cluster->processes()) {
    auto text = cluster->log(name);
    if (text.size() > 6000) text = "...\n" + text.substr(text.size() - 6000);
    std::printf("---- log of %s\n%s\n", name.c_str(), text.c_str());
  }
}

LocalCluster& EndToEnd::start(ClusterOptions options) {
  cluster = nullptr;
  cluster = std::make_unique<LocalCluster>(std::move(options));
  return *cluster;
}

void writeFile(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path);
}

std::string readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string randomBytes(size_t size, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::string bytes(size, '\0');
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    auto word = generator();
    std::copy_n(reinterpret_cast<const char*>(&word), 8, bytes.data() + i);
  }
  for (; i < size; ++i) bytes[i] = char(generator());
  return bytes;
}

uint64_t numberFrom(const char* variable, uint64_t otherwise) {
  auto text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

int writeDurably(const std::string& path, const std::string& content) {
  // 0 when every call has succeeded, else the first errno.
  int fd = ::open(path.c_str(), O_CREAT | O_WRONLY, 0644);
  if (fd < 0) return errno;
  int error = 0;
  for (size_t done = 0; done < content.size() && error == 0;) {
    auto written = ::write(fd, content.data() + done, std::min<size_t>(content.size() - done, 1 << 20));
    if (written < 0)
      error = errno;
    else
      done += size_t(written);
  }
  if (::fsync(fd) != 0 && error == 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  return error;
}

}  // namespace cairn::e2e
