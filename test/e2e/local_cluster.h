// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A cluster of real processes with a real mount, as `cairn up --detach` makes it, for one test or one suite.
// INVARIANT: processes are only ever ended through the pid files of this cluster's own directory; when the
// object goes, none of them runs and nothing is mounted. A daemon that crashed fails the test, though the
// supervisor has started it again.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "test/e2e/isolation.h"
#include "test/e2e/json.h"
#include "test/support/eventually.h"
#include "test/support/process.h"
#include "test/support/temporary_directory.h"

namespace cairn::e2e {

using test::eventually;
using test::Finished;
using test::quoted;
using test::RunOptions;
using test::shell;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

struct ClusterOptions {
  unsigned chunkds = 3;
  unsigned replicas = 3;
  std::vector<std::string> more;  // further words for `cairn up`
  // Size of a tmpfs put under the store of a chunk daemon, in MiB, by number from 1; 0: under the metaserver.
  std::map<unsigned, unsigned> smallStores;
};

class LocalCluster {
 public:
  explicit LocalCluster(ClusterOptions options = {});  // is up when it returns, or the test has failed
  ~LocalCluster();

  Finished up();  // also after a crash: goes on with the same data
  Finished down();

  std::string mount() const { return temporary / "mnt"; }
  std::string operator/(const std::string& name) const { return mount() + "/" + name; }
  std::string directory() const { return temporary / "cluster"; }
  std::string scratch(const std::string& name) const { return temporary / name; }  // on the local disk
  std::string store(unsigned chunkd) const;  // 0: the metaserver's directory
  std::string chunkFile(unsigned chunkd, uint64_t handle,
                        const std::string& extension) const;  // docs/disk-format
  std::string address() const;                                // of the metaserver, from client.toml
  std::string chunkdAddress(unsigned chunkd) const;
  unsigned chunkdAt(const std::string& address) const;  // the other way

  struct Chunk {
    uint64_t handle, version;
    size_t replicas;
  };
  std::vector<Chunk> chunks(const std::string& name) const;  // of a file in the mount, from `cairn info`

  pid_t pid(const std::string& name) const;  // of "metaserver-1", "chunkd-2", "fuse-1"; -1: no pid file
  bool alive(const std::string& name) const;
  void kill(const std::string& name, int signal = SIGKILL);
  void killSupervisor();                       // the daemons go on, and nobody starts them again
  void killEverything();                       // the supervisor first; unmounts what is left
  std::vector<std::string> processes() const;  // those with a pid file, supervisor included
  std::string log(const std::string& name) const;

  Finished cairn(std::vector<std::string> words, RunOptions options = {}) const;
  Json json(std::vector<std::string> words) const;  // of `cairn ... --json`, which must succeed
  Finished sh(const std::string& script, RunOptions options = {}) const;  // in the mounted directory
  bool waitHealthy(unsigned daemons) const;  // until so many chunk daemons are up and the mount answers
  bool waitWhole(std::chrono::milliseconds patience) const;
  // Until every chunk has as many copies as it should, and no more.

 private:
  ClusterOptions options;
  test::TemporaryDirectory temporary;

  void expectNoCrash() const;
};

bool isWhole(const Json& status);  // every chunk has as many copies as it should, and no more

std::string chunkFileIn(const std::string& store, uint64_t handle, const std::string& extension);
// Of a chunk, as docs/disk-format says.

using StoreAt = std::function<std::string(const std::string& address)>;
void expectEqualReplicas(const Json& info, unsigned expected, const StoreAt& storeAt);
// Of a file, from `cairn info`: each chunk has so many that are current (an old one may still wait to be
// deleted), and they hold the same bytes.

std::string programs();  // the directory with our programs: $CAIRN_PROGRAMS, else bin/ of the build
std::string program(const std::string& name);

class EndToEnd : public testing::Test {
  // Every end-to-end test is one: skipped, with the reason, where the machine cannot run it.
 protected:
  void SetUp() override;
  void TearDown() override;  // a test that failed leaves the daemons' logs in its output

  LocalCluster& start(ClusterOptions options = {});
  std::unique_ptr<LocalCluster> cluster;
};

void writeFile(const std::string& path, const std::string& content);
std::string readFile(const std::string& path);
int writeDurably(const std::string& path, const std::string& content);
// open, write, fsync, close: 0 when each has succeeded, else the first errno.
std::string randomBytes(size_t size, uint64_t seed);
uint64_t numberFrom(const char* variable, uint64_t otherwise);  // of the environment: seeds, lengths

}  // namespace cairn::e2e
