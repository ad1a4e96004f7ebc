// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/inspect.h"

#include <fstream>
#include <sstream>

#include "test/chunkd/store_house.h"

namespace cairn {
namespace {

struct Inspect : testing::Test {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  TemporaryDirectory directory;
  kj::Own<env::Disk> disk =
      env::newDisk(directory.path.c_str(), io.unixEventPort, kj::systemPreciseMonotonicClock());
  StoreHouse house{*disk, directory.path.c_str(), *rocksdb::Env::Default(), io.waitScope};
  std::ostringstream out, problems;
  ~Inspect() noexcept override { house.current = nullptr; }

  int look(std::string path, InspectOptions::Form form = InspectOptions::Form::TEXT,
           InspectOptions::Check check = InspectOptions::Check::BYTES) {
    out.str("");
    InspectOptions options;
    options.path = path.c_str();
    options.form = form;
    options.check = check;
    return inspect(options, out, problems);
  }
  bool says(const char* part) { return out.str().find(part) != std::string::npos; }
};

TEST_F(Inspect, PrintsTheWholeStoreAlsoBesideADaemonThatServesIt) {
  house.open();
  auto chunk = house.create(0x12ab, 4);
  ASSERT_EQ(house.write(chunk, 0, pattern(20000, 1)), Status::OK);
  EXPECT_EQ(look(directory.path), 0) << out.str();
  EXPECT_TRUE(says("uuid: ") && says("handle: 4779") && says("version: 4") && says("dataBytes: 20000"));
  EXPECT_TRUE(says("badBlocks: 0") && says("unsynced: yes")) << out.str();
}

TEST_F(Inspect, PrintsJson) {
  house.open();
  ASSERT_EQ(house.write(house.create(1), 0, pattern(10, 1)), Status::OK);
  EXPECT_EQ(look(directory.path, InspectOptions::Form::JSON), 0);
  EXPECT_TRUE(says("\"chunks\":[{\"handle\":1,\"version\":1,")) << out.str();
  EXPECT_TRUE(says("\"badBlocks\":0}],\"intents\":[]}")) << out.str();
}

TEST_F(Inspect, NamesDamageAndSaysSoWithItsExitCode) {
  house.open();
  auto chunk = house.create(1);
  ASSERT_EQ(house.write(chunk, 0, pattern(20000, 1)), Status::OK);
  auto path = directory.path + "/" + dataPath(chunk.handle).cStr();
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(5000);
    file.put('x').put('y').put('z');
  }
  EXPECT_EQ(look(path), 1);
  EXPECT_TRUE(says("1 blocks do not match their checksums, the first is 1")) << out.str();
  EXPECT_EQ(look(directory.path), 1);
  EXPECT_EQ(look(directory.path, InspectOptions::Form::TEXT, InspectOptions::Check::HEADERS), 0)
      << "headers alone do not tell";
  std::filesystem::remove(directory.path + "/" + sumPath(chunk.handle).cStr());
  EXPECT_EQ(look(directory.path), 1);
  EXPECT_TRUE(says("the checksum file is missing"));
  std::filesystem::remove(path);
  EXPECT_EQ(look(directory.path), 1);
  EXPECT_TRUE(says("the data file is missing"));
}

TEST_F(Inspect, RefusesWhatIsNoStore) {
  EXPECT_EQ(look(directory.path), 2);
  EXPECT_NE(problems.str().find("it is not a chunk store"), std::string::npos);
  EXPECT_EQ(look("/etc/passwd"), 2);
}

}  // namespace
}  // namespace cairn
