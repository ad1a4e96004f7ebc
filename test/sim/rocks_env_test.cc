// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The disk under RocksDB loses what a real one may lose, and nothing else.
#include "test/sim/rocks_env.h"

#include <gtest/gtest.h>
#include <rocksdb/db.h>

namespace cairn::sim {
namespace {

class RocksEnv : public testing::Test {
 protected:
  RocksDisk disk;
  SeededEntropy entropy{3};
  std::unique_ptr<rocksdb::DB> db;

  void open() {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.env = disk.newLife();
    rocksdb::DB* raw = nullptr;
    auto status = rocksdb::DB::Open(options, "/db", &raw);
    ASSERT_TRUE(status.ok()) << status.ToString();
    db.reset(raw);
  }
  void put(const std::string& key, bool sync) {
    rocksdb::WriteOptions options;
    options.sync = sync;
    ASSERT_TRUE(db->Put(options, key, std::string(1000, 'v')).ok());
  }
  bool has(const std::string& key) {
    std::string value;
    return db->Get({}, key, &value).ok();
  }
};

TEST_F(RocksEnv, AKilledProcessKeepsWhatItWrote) {
  open();
  put("a", false);
  disk.killProcess();
  db.reset();
  open();
  EXPECT_TRUE(has("a"));
}

TEST_F(RocksEnv, NothingWrittenAfterTheDeathReachesTheDisk) {
  open();
  put("a", true);
  disk.killProcess();
  EXPECT_FALSE(db->Put({}, "b", "late").ok());
  db.reset();
  open();
  EXPECT_TRUE(has("a"));
  EXPECT_FALSE(has("b"));
}

TEST_F(RocksEnv, APowerCutKeepsWhatWasSyncedAndLosesSomeOfTheRest) {
  open();
  put("a", true);
  for (int i = 0; i < 100; ++i) put("b" + std::to_string(i), false);
  disk.losePower(entropy);
  db.reset();
  open();
  EXPECT_TRUE(has("a"));
  EXPECT_FALSE(has("b99"));
}

}  // namespace
}  // namespace cairn::sim
