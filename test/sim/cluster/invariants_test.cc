// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Workloads with one strong invariant each, under misfortune from a seed: appended records are there, a ring
// of names stays a ring, garbage never takes what is shared. SIM_SEED=N runs one seed, SIM_SEEDS=N the seeds
// 1 to N.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "env/checksum.h"
#include "rpc/coroutine.h"
#include "test/sim/cluster/faults.h"
#include "test/sim/cluster/workload.h"

namespace cairn::sim {
namespace {

constexpr uint32_t EXCHANGE = 2;  // renameat2(2)
constexpr uint32_t WORKERS = 4;  // two on each client

std::vector<uint64_t> seeds(std::vector<uint64_t> fixed) {
  if (auto one = std::getenv("SIM_SEED")) return {std::strtoull(one, nullptr, 10)};
  auto many = std::getenv("SIM_SEEDS");
  if (many == nullptr) return fixed;
  std::vector<uint64_t> all;
  for (uint64_t seed = 1; seed <= std::strtoull(many, nullptr, 10); ++seed) all.push_back(seed);
  return all;
}

struct RecordId {
  uint32_t worker = 0, number = 0;
  constexpr auto operator<=>(const RecordId&) const = default;
};

struct RecordHead {
  // A record: this, and then bytes that follow from it.
  char magic[8];
  RecordId id;
  uint32_t size, sum;  // of all of it; of what follows the head
};

std::string recordOf(RecordId id) {
  uint32_t size = uint32_t(sizeof(RecordHead)) + 40 + (id.worker * 7919 + id.number * 104'729) % 6000;
  std::string record(size, '\0');
  fillWith(id.worker * 100'000 + id.number + 1, 0, kj::arrayPtr(record.data(), size).asBytes());
  auto rest = kj::arrayPtr(record.data() + sizeof(RecordHead), size - sizeof(RecordHead)).asBytes();
  RecordHead head{{'a', ' ', 'r', 'e', 'c', 'o', 'r', 'd'}, id, size, env::crc32c(rest)};
  std::memcpy(record.data(), &head, sizeof head);
  return record;
}

std::optional<RecordHead> recordAt(const std::string& content, size_t at) {
  RecordHead head;
  if (content.size() - at < sizeof head) return {};
  std::memcpy(&head, content.data() + at, sizeof head);
  if (std::memcmp(head.magic, "a record", 8) != 0 || content.size() - at < head.size) return {};
  if (recordOf(head.id) != content.substr(at, head.size)) return {};
  return head;
}

class Invariants : public testing::TestWithParam<uint64_t> {
 public:
  ~Invariants() noexcept override {}

 protected:
  // The metaserver syncs before it answers, so that names are certain under power cuts, too.
  SimCluster cluster{
      {.seed = GetParam(), .chunkServers = 4, .clients = 2, .commit = SimClusterOptions::Commit::DISK}};
  SeededEntropy entropy{GetParam() * 977};

  Filesystem& clientOf(uint32_t worker) { return cluster.client(1 + worker % 2); }

  void during(FaultOptions options, kj::Vector<kj::Promise<void>> workers) {
    options.seed = entropy.next();
    Faults faults(cluster, options);
    faults.begin();
    cluster.run(kj::joinPromises(workers.releaseAsArray()));
    cluster.run(faults.end());
    cluster.waitHealthy();
    EXPECT_GT(faults.count(), 0u);
  }
  static FaultOptions powerCuts() {
    FaultOptions options;
    options.pauseMax = 1500 * kj::MILLISECONDS;
    options.cutPower = 20;
    options.cutAllPower = 20;
    return options;
  }
  Async<void> pause(kj::Duration most) {
    auto micros = entropy.below(uint64_t(most / kj::MICROSECONDS)) + 1;
    co_await cluster.time.timer().afterDelay(int64_t(micros) * kj::MICROSECONDS);
  }
  kj::Own<OpenFile> openOn(uint32_t worker, InodeId inode) {
    auto opened = cluster.run(clientOf(worker).open(inode, Access::WRITE));
    KJ_REQUIRE(opened.ok(), opened.status());
    return kj::mv(*opened);
  }
  void expectEqualReplicas(InodeId inode) {
    cluster.advance(20 * kj::SECONDS);
    for (auto& problem : cluster.compareReplicas(inode))
      ADD_FAILURE() << problem.cStr() << "\n" << cluster.transcript.last(60);
  }
};

// ------------------------------------------------------------------------------------------------ records

class Records : public Invariants {
 protected:
  static constexpr uint32_t EACH = 40;
  std::map<uint64_t, RecordId> acknowledged;  // by offset

  enum class How { RECORD_APPEND, O_APPEND };
  Async<void> append(kj::Own<OpenFile> file, uint32_t worker, How how) {
    for (uint32_t number = 0; number < EACH; ++number) {
      RecordId id{worker, number};
      auto record = kj::heap<std::string>(recordOf(id));
      auto view = kj::arrayPtr(record->data(), record->size()).asBytes();
      auto landed = how == How::RECORD_APPEND ? co_await file->recordAppend(view)
                                              : co_await file->append(Bytes{view, kj::mv(record)});
      EXPECT_EQ(landed.status(), Status::OK) << worker << '/' << number;
      if (!landed.ok()) co_return;
      EXPECT_TRUE(acknowledged.emplace(landed->value(), id).second)
          << "two records were told to be at " << landed->value();
      co_await pause(120 * kj::MILLISECONDS);
    }
    EXPECT_EQ(co_await file->sync(), Status::OK);
  }
  InodeId appendAll(How how, FaultOptions faults) {
    auto inode = cluster.open("/log")->inode();
    kj::Vector<kj::Promise<void>> workers;
    for (uint32_t worker = 0; worker < WORKERS; ++worker)
      workers.add(append(openOn(worker, inode), worker, how));
    during(faults, kj::mv(workers));
    return inode;
  }
};

TEST_P(Records, EachThatRecordAppendAcknowledgedIsThereWholeAtTheOffsetThatWasAnswered) {
  auto inode = appendAll(How::RECORD_APPEND, {});
  auto content = cluster.read("/log", 2);
  EXPECT_EQ(acknowledged.size(), WORKERS * EACH);
  for (auto& [offset, id] : acknowledged) {
    auto found = offset < content.size() ? recordAt(content, offset) : std::nullopt;
    EXPECT_TRUE(found && found->id == id) << "record " << id.worker << '/' << id.number << " at " << offset;
  }
  expectEqualReplicas(inode);
}

TEST_P(Records, EachOfOAppendIsThereExactlyOnceAndNothingElseIs) {
  auto inode = appendAll(How::O_APPEND, {});
  auto content = cluster.read("/log", 2);
  std::set<RecordId> seen;
  size_t at = 0;
  while (at < content.size()) {
    auto found = recordAt(content, at);
    ASSERT_TRUE(found.has_value()) << "no record at " << at << " of " << content.size();
    EXPECT_TRUE(seen.insert(found->id).second) << "twice";
    EXPECT_TRUE(acknowledged.count(at) != 0 && acknowledged.at(at) == found->id) << "at " << at;
    at += found->size;
  }
  EXPECT_EQ(seen.size(), WORKERS * EACH);
  expectEqualReplicas(inode);
}

// --------------------------------------------------------------------------------------------------- names

class Ring : public Invariants {
 protected:
  static constexpr uint32_t NAMES = 7, SWAPS = 60;
  std::set<InodeId> members;

  static kj::String nameOf(uint64_t place) { return kj::str("place-", place); }

  Async<bool> isWhole(Filesystem& client) {
    auto page = co_await client.readDirectory(ROOT_INODE, 0, 100, Detail::NAMES);
    EXPECT_EQ(page.status(), Status::OK);
    if (!page.ok()) co_return false;
    std::set<InodeId> found;
    for (auto& entry : page->entries) {
      if (entry.name.startsWith("place-")) found.insert(entry.attributes.inode);
    }
    co_return found == members;
  }
  Async<void> swap(uint32_t worker) {
    auto& client = clientOf(worker);
    for (uint32_t i = 0; i < SWAPS; ++i) {
      auto from = nameOf(entropy.below(NAMES)), to = nameOf(entropy.below(NAMES));
      auto status = co_await client.rename(ROOT_INODE, from, ROOT_INODE, to, EXCHANGE, Credentials{});
      EXPECT_EQ(status, Status::OK) << from.cStr() << ' ' << to.cStr();
      EXPECT_TRUE(co_await isWhole(client)) << "after swap " << i << " of worker " << worker;
      co_await pause(80 * kj::MILLISECONDS);
    }
  }
};

TEST_P(Ring, OfNamesThatAreExchangedStaysARingWhateverHappens) {
  for (uint32_t i = 0; i < NAMES; ++i) {
    auto path = kj::str("/", nameOf(i));
    cluster.write(path, path);
    cluster.sync(path);
    members.insert(cluster.find(path));
  }
  kj::Vector<kj::Promise<void>> workers;
  for (uint32_t worker = 0; worker < WORKERS; ++worker) workers.add(swap(worker));
  during(powerCuts(), kj::mv(workers));
  EXPECT_TRUE(cluster.run(promiseOf(isWhole(cluster.client(2)))));
  std::set<std::string> contents;
  for (uint32_t i = 0; i < NAMES; ++i) contents.insert(cluster.read(kj::str("/", nameOf(i)), 2));
  EXPECT_EQ(contents.size(), NAMES) << "each file has what was synced in it";
}

// ------------------------------------------------------------------------------------------------- garbage

class SharedChunks : public Invariants {
 protected:
  static constexpr uint32_t ROUNDS = 8;
  std::map<std::string, std::string> expected;  // by name

  Async<void> copyAndDelete(uint32_t worker) {
    // A file, copies of it, of which one is changed, and the original goes: its chunks must stay.
    auto& client = clientOf(worker);
    for (uint32_t round = 0; round < ROUNDS; ++round) {
      auto base = kj::str("w", worker, "-", round);
      std::string content(200'000, char('a' + (worker + round) % 26));
      auto made = co_await client.create(ROOT_INODE, base, 0644, {}, {}, true);
      EXPECT_EQ(made.status(), Status::OK);
      if (!made.ok()) co_return;
      co_await write(**made, content);
      for (uint32_t copy = 0; copy < 2; ++copy) {
        auto name = kj::str(base, "-copy-", copy);
        auto target = co_await client.create(ROOT_INODE, name, 0644, {}, {}, true);
        EXPECT_EQ(target.status(), Status::OK);
        if (!target.ok()) co_return;
        for (uint64_t done = 0; done < content.size();) {
          auto copied = co_await (*target)->copyFrom(
              **made, {FileOffset(done), FileOffset(done), uint32_t(content.size() - done)});
          EXPECT_EQ(copied.status(), Status::OK);
          if (!copied.ok() || *copied == 0) co_return;
          done += *copied;
        }
        expected[name.cStr()] = content;
        if (copy == 0) continue;
        co_await write(**target, "changed");
        expected[name.cStr()].replace(0, 7, "changed");
      }
      EXPECT_EQ(co_await client.unlink(ROOT_INODE, base, Credentials{}), Status::OK);
      co_await pause(200 * kj::MILLISECONDS);
    }
  }
  static Async<void> write(OpenFile& file, std::string text) {
    auto bytes = kj::heap<kj::String>(kj::heapString(text.data(), text.size()));
    auto view = bytes->asBytes();
    EXPECT_EQ(co_await file.write(FileOffset(0), Bytes{view, kj::mv(bytes)}), Status::OK);
    EXPECT_EQ(co_await file.sync(), Status::OK);
  }
};

TEST_P(SharedChunks, StayWhenOneOfTheirFilesGoesAndGarbageIsCollected) {
  kj::Vector<kj::Promise<void>> workers;
  for (uint32_t worker = 0; worker < WORKERS; ++worker) workers.add(copyAndDelete(worker));
  during({}, kj::mv(workers));
  cluster.advance(3 * kj::MINUTES);  // all graces are over
  for (auto& [name, content] : expected) {
    EXPECT_TRUE(cluster.read(kj::str("/", name.c_str()), 2) == content) << name;
    for (auto& problem : cluster.compareReplicas(cluster.find(kj::str("/", name.c_str()), 2)))
      ADD_FAILURE() << name << ": " << problem.cStr();
  }
}

INSTANTIATE_TEST_SUITE_P(Seed, Records, testing::ValuesIn(seeds({1, 2, 3})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, Ring, testing::ValuesIn(seeds({1, 2, 3})), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, SharedChunks, testing::ValuesIn(seeds({1, 2})),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace cairn::sim
