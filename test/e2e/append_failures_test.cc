// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Appends while the primary of their chunk is killed again and again, in a chunk and at the boundary of two:
// with O_APPEND each record is in the file once, whole, without padding; a record append is there at least
// once, whole, at the offset that was answered; no writer sees an error. CAIRN_APPEND_ROUNDS (1): for longer.
#include <sstream>

#include "test/e2e/append_writers.h"
#include "test/e2e/mounts_fixture.h"

namespace cairn::e2e {
namespace {

constexpr uint64_t CHUNK = 64 << 20;  // bytes

class AppendFailures : public Mounts {
 protected:
  static constexpr unsigned CHUNKDS = 4;

  LocalCluster& startFour() {
    return start({.chunkds = CHUNKDS, .replicas = 3, .more = {"--metaserver-options", "--repair-grace 2"}});
  }

  std::string primaryOfEnd(const std::string& name, size_t chunks = 1) {
    // The name of the process, of the last chunk, once there are so many. Somebody must be writing there, or
    // it is none.
    std::string found;
    auto find = [&]() {
      auto all = cluster->json({"info", *cluster / name}).at("chunks").items();
      if (all.size() < chunks) return false;
      auto primary = all.back().at("primary").number();
      for (auto& replica : all.back().at("replicas").items()) {
        if (primary != 0 && replica.at("server").number() == primary)
          found = "chunkd-" + std::to_string(cluster->chunkdAt(replica.at("address").text()));
      }
      return !found.empty();
    };
    EXPECT_TRUE(eventually(20s, find)) << "no primary of the last chunk of " << name;
    return found;
  }

  void killAndWait(const std::string& name) {
    auto before = cluster->pid(name);
    cluster->kill(name);
    EXPECT_TRUE(eventually(30s, [&]() { return cluster->alive(name) && cluster->pid(name) != before; }))
        << name << " is not started again";
    EXPECT_TRUE(cluster->waitHealthy(CHUNKDS)) << "after " << name;
  }
};

TEST_F(AppendFailures, RecordsOfTwoMountsAreThereOnceAndWholeThoughPrimariesDie) {
  auto& c = startFour();
  std::vector<std::string> all = {c.mount(), mountAnother()};
  uint64_t records = 0, kills = 0;
  for (uint64_t round = 0; round < numberFrom("CAIRN_APPEND_ROUNDS", 1) && !HasFailure(); ++round) {
    auto name = "log-" + std::to_string(round);
    ASSERT_EQ(put(c / name, ""), 0);
    AppendWriters writers(all, name);
    for (int i = 0; i < 5 && !HasFailure(); ++i, ++kills) {
      ASSERT_TRUE(writers.waitForMore(5)) << writers.errors();
      killAndWait(primaryOfEnd(name));
    }
    EXPECT_TRUE(writers.waitForMore(5)) << writers.errors();
    writers.finish();
    EXPECT_EQ(writers.errors(), "");
    expectRecordsOnce(all, name, 0, writers.counts());
    for (auto [writer, count] : writers.counts()) records += uint64_t(count);
    ASSERT_TRUE(c.waitWhole(120s)) << c.log("metaserver-1");
    ASSERT_OK(c.sh("sync " + name));
    expectEqualReplicas(name, 3);
  }
  std::printf("%lu records, %lu primaries killed\n", static_cast<unsigned long>(records),
              static_cast<unsigned long>(kills));
}

TEST_F(AppendFailures, RecordsAcrossTheBoundaryOfChunksAreThereOnceAndWholeThoughPrimariesDie) {
  auto& c = startFour();
  std::vector<std::string> all = {c.mount(), mountAnother()};
  constexpr uint64_t START = CHUNK - 200'000;
  for (uint64_t round = 0; round < numberFrom("CAIRN_APPEND_ROUNDS", 1) * 2 && !HasFailure(); ++round) {
    auto name = "log-" + std::to_string(round);
    ASSERT_EQ(put(c / name, ""), 0);
    ASSERT_EQ(::truncate((c / name).c_str(), START), 0);
    ASSERT_EQ(put(c / name, AppendRecord{9, 0, 5}.text(), O_APPEND), 0);  // so that there is a primary
    auto primary = primaryOfEnd(name);
    AppendWriters writers(all, name);
    // Close to the boundary, by a different number of bytes each time.
    auto near = CHUNK - 20'000 + round * 7'000 % 20'000;
    ASSERT_TRUE(eventually(60s, [&]() { return uint64_t(statusOf(c / name).st_size) > near; }));
    killAndWait(primary);
    ASSERT_TRUE(writers.waitForMore(5)) << writers.errors();
    killAndWait(primaryOfEnd(name, 2));
    EXPECT_TRUE(writers.waitForMore(5)) << writers.errors();
    writers.finish();
    EXPECT_EQ(writers.errors(), "");
    auto counts = writers.counts();
    counts[9] = 1;
    expectRecordsOnce(all, name, START, counts);
    ASSERT_TRUE(c.waitWhole(120s)) << c.log("metaserver-1");
    ASSERT_OK(c.sh("sync " + name));
    expectEqualReplicas(name, 3);
  }
}

TEST_F(AppendFailures, ARecordAppendIsWholeWhereItWasAnsweredThoughPrimariesDie) {
  // Each line of what a writer writes down: number and offset. The records fill a chunk and go on in the
  // next.
  auto& c = startFour();
  ASSERT_EQ(put(c / "log", ""), 0);
  constexpr int WRITERS = 3;
  constexpr size_t BODY = 600'000;
  std::vector<std::unique_ptr<test::Process>> writers;
  for (int writer = 0; writer < WRITERS; ++writer) {
    auto number = std::to_string(writer), letter = std::string(1, char('a' + writer));
    writeFile(c.scratch("body-" + number), std::string(BODY, letter[0]));
    auto script = "n=0; until [ -e " + c.scratch("stop") + " ]; do { printf '[" + number +
                  ":%d:" + std::to_string(BODY) + ":' $n; cat " + c.scratch("body-" + number) +
                  "; echo ]; } > " + c.scratch("record-" + number) + "; offset=$(" + program("cairn") +
                  " append " + (c / "log") + " < " + c.scratch("record-" + number) +
                  "); echo $n $offset >> " + c.scratch("answers-" + number) + "; n=$((n+1)); done";
    writeFile(c.scratch("answers-" + number), "");
    writers.push_back(std::make_unique<test::Process>(std::vector<std::string>{"sh", "-ec", script},
                                                      RunOptions{.patience = 300s}));
  }
  auto answers = [&]() {
    std::map<int, std::vector<uint64_t>> all;
    for (int writer = 0; writer < WRITERS; ++writer) {
      std::istringstream lines(readFile(c.scratch("answers-" + std::to_string(writer))));
      size_t number;
      uint64_t offset;
      while (lines >> number >> offset && number == all[writer].size()) all[writer].push_back(offset);
    }
    return all;
  };
  auto waitForMore = [&](size_t count) {
    auto before = answers();
    return eventually(60s, [&]() {
      auto now = answers();
      for (int writer = 0; writer < WRITERS; ++writer) {
        if (!writers[size_t(writer)]->running()) return true;
        if (now[writer].size() < before[writer].size() + count) return false;
      }
      return true;
    });
  };
  auto rounds = 5 * numberFrom("CAIRN_APPEND_ROUNDS", 1);
  for (uint64_t round = 0; round < rounds && !HasFailure(); ++round) {
    ASSERT_TRUE(waitForMore(3));
    killAndWait(primaryOfEnd("log"));
  }
  EXPECT_TRUE(eventually(60s, [&]() { return c.chunks("log").size() >= 2; })) << "it got to no second chunk";
  EXPECT_TRUE(waitForMore(3));
  writeFile(c.scratch("stop"), "");
  for (auto& writer : writers) EXPECT_OK(writer->wait());

  auto content = readFile(c / "log");
  auto found = recordsIn(content, 0, Padding::ZEROS);
  EXPECT_EQ(found.trouble, "");
  uint64_t acknowledged = 0;
  for (auto& [writer, offsets] : answers()) {
    for (size_t i = 0; i < offsets.size(); ++i, ++acknowledged) {
      auto text = AppendRecord{writer, int(i), BODY}.text();
      EXPECT_TRUE(offsets[i] <= content.size() && content.compare(offsets[i], text.size(), text) == 0)
          << "record " << i << " of writer " << writer << " is not at " << offsets[i];
    }
  }
  std::printf("%lu records acknowledged, %zu in the file, %lu primaries killed\n",
              static_cast<unsigned long>(acknowledged), found.records.size(),
              static_cast<unsigned long>(rounds));
  ASSERT_TRUE(c.waitWhole(120s)) << c.log("metaserver-1");
  ASSERT_OK(c.sh("sync log"));
  expectEqualReplicas("log", 3);
}

TEST(AppendRecords, AreJudgedByTheirBytes) {
  AppendRecord one{0, 0, 3}, two{1, 0, 4}, three{0, 1, 2};
  auto content = "xx" + one.text() + two.text() + three.text();
  auto found = recordsIn(content, 2, Padding::NONE);
  EXPECT_EQ(found.trouble, "");
  ASSERT_EQ(found.records.size(), 3u);
  EXPECT_EQ(found.records[1].writer, 1);
  EXPECT_EQ(found.records[1].offset, 2 + one.text().size());
  EXPECT_EQ(eachOnceInOrder(found.records, {{0, 2}, {1, 1}}), "");
  EXPECT_NE(eachOnceInOrder(found.records, {{0, 3}, {1, 1}}), "") << "one is missing";
  EXPECT_NE(eachOnceInOrder(found.records, {{0, 1}, {1, 1}}), "") << "one too many";

  EXPECT_NE(eachOnceInOrder(recordsIn(one.text() + one.text(), 0, Padding::NONE).records, {{0, 1}}), "");
  EXPECT_NE(eachOnceInOrder(recordsIn(three.text() + one.text(), 0, Padding::NONE).records, {{0, 2}}), "");
  auto padded = one.text() + std::string(5, '\0') + two.text();
  EXPECT_NE(recordsIn(padded, 0, Padding::NONE).trouble, "");
  EXPECT_EQ(recordsIn(padded, 0, Padding::ZEROS).records.size(), 2u);
  content[5] = 'b';
  EXPECT_NE(recordsIn(content, 2, Padding::ZEROS).trouble, "") << "a byte is wrong";
  EXPECT_NE(recordsIn(two.text().substr(0, two.text().size() - 1), 0, Padding::ZEROS).trouble, "") << "cut";
  EXPECT_NE(recordsIn("[1:2:999999999999:a", 0, Padding::ZEROS).trouble, "");
}

}  // namespace
}  // namespace cairn::e2e
