// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The metaserver's directory is lost, and comes back from a backup: what the backup knows is there, as it was
// last written; no store has lost anything.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

namespace fs = std::filesystem;

class BackupAndRestore : public EndToEnd {
 protected:
  std::string metaserver(LocalCluster& c) { return c.directory() + "/metaserver-1"; }
  void loseAndRestore(LocalCluster& c, const std::string& backup) {
    ASSERT_OK(c.down());
    fs::remove_all(metaserver(c));
    ASSERT_OK(test::run({program("cairn-metaserver"), "restore", "--dir", metaserver(c), backup}));
    ASSERT_OK(c.up());
    ASSERT_TRUE(c.waitHealthy(3));
  }
  static size_t dataFiles(LocalCluster& c) {
    size_t count = 0;
    for (unsigned store = 1; store <= 3; ++store) {
      for (auto& entry : fs::recursive_directory_iterator(c.store(store) + "/chunks")) {
        count += entry.path().extension() == ".data";
      }
    }
    return count;
  }
};

TEST_F(BackupAndRestore, FilesOfTheBackupAreThereAndNoStoreLosesAnything) {
  auto& c = start({.more = {"--metaserver-options", "--trash-age 0"}});
  std::map<std::string, std::string> content;
  for (int i = 0; i < 20; ++i) content["f" + std::to_string(i)] = randomBytes(100'000 + 7'000 * i, i);
  for (auto& [name, bytes] : content) writeFile(c / name, bytes);
  ASSERT_OK(c.sh("sync f*; mkdir d; ln f1 d/link; ln -s f2 d/symlink; setfattr -n user.x -v y f3"));
  auto backup = c.scratch("backup");
  ASSERT_OK(c.cairn({"backup", backup, "--dir", c.directory()}));
  EXPECT_REFUSES(c.cairn({"backup", backup, "--dir", c.directory()}), "is not empty");

  content["f5"] =
      randomBytes(content["f5"].size(), 99);  // written again in place: a file that the backup knows
  ASSERT_OK(c.sh("sync f5"));
  for (auto daemon : {"chunkd-1", "chunkd-2", "chunkd-3"}) c.kill(daemon);  // so that its version is raised
  ASSERT_TRUE(c.waitHealthy(3));
  {
    auto fresh = content["f5"];
    int fd = ::open((c / "f5").c_str(), O_WRONLY);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(::pwrite(fd, fresh.data(), fresh.size(), 0), ssize_t(fresh.size()));
    ASSERT_EQ(::fsync(fd), 0);
    ::close(fd);
  }
  for (int i = 0; i < 20; ++i) writeFile(c / ("after" + std::to_string(i)), randomBytes(50'000, 1000 + i));
  ASSERT_OK(c.sh("sync after*; rm f19"));  // f19 is in the trash, its chunks are there
  auto files = dataFiles(c);

  loseAndRestore(c, backup);
  for (auto& [name, bytes] : content) EXPECT_TRUE(readFile(c / name) == bytes) << name;
  EXPECT_OK(
      c.sh("test ! -e after0 && test d/link -ef f1 && test \"$(readlink d/symlink)\" = f2 && "
           "getfattr --only-values -n user.x f3 | grep -q y"));
  EXPECT_EQ(dataFiles(c), files) << "a store has lost what the backup does not know";

  writeFile(c / "new", "written after the restore");
  ASSERT_OK(c.sh("sync new; echo more >> f4; sync f4"));
  EXPECT_EQ(readFile(c / "f4"), content["f4"] + "more\n");
  EXPECT_EQ(c.json({"status", "--dir", c.directory()}).at("brake").text(), "");

  // And once more from the same old backup.
  loseAndRestore(c, backup);
  for (auto& [name, bytes] : content) {
    if (name != "f4") EXPECT_TRUE(readFile(c / name) == bytes) << name << ", the second time";
  }
  EXPECT_OK(c.sh("test ! -e new; echo again > new; sync new"));
}

TEST_F(BackupAndRestore, ADamagedDirectoryIsRefusedWithTheCommandThatHelps) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  ASSERT_OK(c.sh("for i in $(seq 50); do echo $i > f$i; done; sync f1"));
  auto backup = c.scratch("backup");
  ASSERT_OK(c.cairn({"checkpoint", "--dir", c.directory()}));
  ASSERT_OK(c.down());
  ASSERT_OK(test::run({program("cairn-metaserver"), "backup", "--dir", metaserver(c), backup}));
  ASSERT_OK(test::run({program("cairn-metaserver"), "checkpoint", "--dir", metaserver(c)}));
  fs::path table;
  for (auto& entry : fs::directory_iterator(metaserver(c) + "/names")) {
    if (entry.path().extension() == ".sst") table = entry.path();
  }
  ASSERT_FALSE(table.empty());
  auto bytes = readFile(table);
  bytes[bytes.size() / 4] ^= 1;
  writeFile(table, bytes);
  auto refused = test::run({program("cairn-metaserver"), "--dir", metaserver(c), "--listen", "127.0.0.1:0"},
                           {.patience = 20s});
  EXPECT_REFUSES(refused, "cairn-metaserver restore --dir");
  EXPECT_REFUSES(refused, table.filename().string());

  fs::rename(metaserver(c), c.scratch("damaged"));
  ASSERT_OK(test::run({program("cairn-metaserver"), "restore", "--dir", metaserver(c), backup}));
  ASSERT_OK(c.up());
  ASSERT_TRUE(c.waitHealthy(1));
  EXPECT_EQ(readFile(c / "f50"), "50\n");
}

}  // namespace
}  // namespace cairn::e2e
