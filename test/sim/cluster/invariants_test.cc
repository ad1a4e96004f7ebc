// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Workloads with one strong invariant each, under misfortune from a seed: appended records are there, a ring
// of names stays a ring, garbage never takes what is shared, a snapshot is one moment of its tree and stays
// so. SIM_SEED=N runs one seed, SIM_SEEDS=N the seeds 1 to N.
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
constexpr uint32_t WORKERS = 4;   // two on each client

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
  explicit Invariants(SnapshotLimits snapshots = {})
      : cluster({.seed = GetParam(),
                 .chunkServers = 4,
                 .clients = 2,
                 .commit = SimClusterOptions::Commit::DISK,
                 .snapshots = snapshots}) {}
  ~Invariants() noexcept override {}

 protected:
  // The metaserver syncs before it answers, so that names are certain under power cuts, too.
  SimCluster cluster;
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
      Result<FileOffset> landed = Status::BUSY;
      if (how == How::RECORD_APPEND) {
        landed = co_await file->recordAppend(view);
      } else {
        landed = co_await file->append(Bytes{view, kj::mv(record)});
      }
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

// ------------------------------------------------------------------------------------------------ snapshots

class Snapshots : public Invariants {
  // Each writer makes files called WRITER-1, WRITER-2, ... in one directory, writes, syncs most of them,
  // changes old ones, and removes all but the last few. So a moment of the tree is, of each writer, some
  // files that follow each other; and a file that was made when another one had been is not there without it.
 protected:
  using Invariants::Invariants;
  static constexpr uint32_t COUNT = 25, KEPT = 4;
  struct File {
    FileOracle oracle;
    kj::Own<OpenFile> open;
    std::vector<uint32_t> seen;  // of each writer, the last file whose making had been answered before
    uint32_t writing = 0;        // calls under way
  };
  struct Tick {
    // A write of the writer's number so and so to a file of its own, in place.
    uint64_t begun = 0, returned = UINT64_MAX;  // moments: the count of what had happened anywhere before
    bool interrupted = false;                   // by a power cut
  };
  struct Progress {
    uint32_t makingBegun = 0, made = 0, removalBegun = 0, removed = 0;
  };
  struct Writer : Progress {
    std::map<uint32_t, File> files;  // all that there ever were
    std::vector<Tick> ticks{1};
  };
  using FileId = std::pair<uint32_t, uint32_t>;  // writer and number
  struct Attempt {
    // What a snapshot is judged by: how things were when it began, and what was done since.
    std::vector<Progress> before;
    struct Oracles {
      FileOracle always, withPower;  // the second one if no machine loses its power until all is read
    };
    std::map<FileId, Oracles> files;
    uint64_t began = 0;
    bool powerFailed = false;  // meanwhile
  };
  using Tree = std::map<std::string, std::pair<InodeId, std::string>>;  // name -> inode and content
  struct Taken {
    std::string name;
    Tree tree;
  };
  InodeId top;
  std::vector<Writer> writers{WORKERS};
  kj::Maybe<Attempt> attempt;  // the one under way
  std::vector<Taken> taken;
  WriteNumber lastWrite = 0;
  uint64_t moments = 0;
  bool isOver = false, isBusy = true;
  uint32_t givenUp = 0;              // snapshots, of a hundred, by who wants them, while they are made
  uint32_t refused = 0, losses = 0;  // snapshots that had to wait; syncs that said that bytes are lost

  // Whatever is done to a file is done to what the snapshot under way may have of it.
  template <typename Change>
  void change(uint32_t writer, uint32_t number, Change what) {
    what(writers[writer].files.at(number).oracle);
    KJ_IF_MAYBE (now, attempt) {
      auto& oracles = now->files[{writer, number}];
      what(oracles.always);
      what(oracles.withPower);
    }
  }
  void powerFails() {
    for (uint32_t writer = 0; writer < WORKERS; ++writer) {
      auto& self = writers[writer];
      for (auto it = self.files.upper_bound(self.removed); it != self.files.end(); ++it)
        it->second.oracle.interrupt();
    }
    KJ_IF_MAYBE (now, attempt) {
      for (auto& [id, oracles] : now->files) oracles.always.interrupt();
      now->powerFailed = true;
    }
    for (auto& writer : writers) {
      for (auto& tick : writer.ticks) tick.interrupted = true;
    }
  }

  Async<void> write(uint32_t writer, uint32_t number, uint64_t offset, uint64_t size) {
    auto write = ++lastWrite;
    auto bytes = kj::heap<kj::Array<kj::byte>>(kj::heapArray<kj::byte>(size));
    fillWith(write, offset, *bytes);
    auto view = bytes->asPtr();
    change(writer, number, [&](FileOracle& oracle) { oracle.write(offset, size, write); });
    auto& file = writers[writer].files.at(number);
    ++file.writing;
    EXPECT_EQ(co_await file.open->write(FileOffset(offset), Bytes{view, kj::mv(bytes)}), Status::OK);
    --file.writing;
  }
  Async<void> tick(uint32_t writer, OpenFile& clock) {
    auto& ticks = writers[writer].ticks;
    auto text = kj::heap<kj::String>(kj::str(100'000'000 + ticks.size()));
    auto view = text->asBytes();
    auto place = ticks.size();
    ticks.push_back({++moments});
    EXPECT_EQ(co_await clock.write(FileOffset(0), Bytes{view, kj::mv(text)}), Status::OK);
    ticks[place].returned = ++moments;
  }
  Async<void> sync(uint32_t writer, uint32_t number) {
    auto& file = writers[writer].files.at(number);
    auto status = co_await file.open->sync();
    if (status == Status::OK) {
      file.oracle.settle();
    } else {
      EXPECT_EQ(status, Status::IO_ERROR);  // bytes are lost, and it says so
      file.oracle.giveUp();
      ++losses;
    }
  }
  Async<void> useTree(uint32_t writer) {
    auto& client = clientOf(writer);
    auto& self = writers[writer];
    auto clock = co_await client.create(top, kj::str("clock-", writer), 0644, {}, {}, true);
    EXPECT_EQ(clock.status(), Status::OK);
    if (!clock.ok()) co_return;
    while (!isOver && !HasFailure()) {
      co_await tick(writer, **clock);
      auto number = ++self.makingBegun;
      auto& file = self.files[number];
      for (auto& other : writers) file.seen.push_back(other.made);
      auto made = co_await client.create(top, kj::str(writer, "-", number), 0644, {}, {}, true);
      EXPECT_EQ(made.status(), Status::OK);
      if (!made.ok()) co_return;
      file.open = kj::mv(*made);
      self.made = number;
      co_await write(writer, number, 0, entropy.between(1, 9000));
      co_await pause(10 * kj::MILLISECONDS);
      co_await write(writer, number, 9000, entropy.between(1, 70'000));
      if (entropy.percent(70)) co_await sync(writer, number);
      auto older = number - uint32_t(entropy.below(kj::min(number, KEPT)));
      co_await write(writer, older, entropy.below(8000), entropy.between(1, 5000));
      if (entropy.percent(50)) co_await sync(writer, older);
      if (number > KEPT) {
        auto oldest = self.removalBegun = number - KEPT;
        EXPECT_EQ(co_await client.unlink(top, kj::str(writer, "-", oldest), Credentials{}), Status::OK);
        self.removed = oldest;
        self.files.at(oldest).open = nullptr;
      }
      co_await pause(isBusy ? 200 * kj::MILLISECONDS : 4 * kj::SECONDS);
    }
  }

  Async<Tree> readTree(InodeId directory) {
    Tree tree;
    auto& client = cluster.client(2);
    for (uint64_t cookie = 0, more = true; more;) {
      auto page = co_await client.readDirectory(directory, cookie, 100, Detail::ATTRIBUTES);
      EXPECT_EQ(page.status(), Status::OK);
      if (!page.ok()) co_return kj::mv(tree);
      more = page->more == DirectoryPage::More::YES;
      for (auto& entry : page->entries) {
        cookie = entry.cookie;
        if (entry.attributes.type == FileType::REGULAR)
          tree[entry.name.cStr()].first = entry.attributes.inode;
      }
    }
    for (auto& [name, found] : tree) {
      auto file = co_await client.open(found.first);
      EXPECT_EQ(file.status(), Status::OK) << name;
      if (!file.ok()) continue;
      auto content = co_await readAll(**file, 0, (*file)->attributes().size + 1);
      EXPECT_EQ(content.status(), Status::OK) << name;
      if (content.ok()) found.second = std::string(content->asChars().begin(), content->size());
    }
    co_return kj::mv(tree);
  }
  Async<void> syncTree(const Tree& tree) {
    // A sync of a file covers its chunks, whoever wrote them: from here on nothing is in doubt. What a power
    // cut has taken is told once.
    for (auto& [name, found] : tree) {
      auto file = co_await cluster.client(2).open(found.first);
      EXPECT_EQ(file.status(), Status::OK) << name;
      if (!file.ok()) continue;
      auto status = co_await (*file)->sync();
      while (status == Status::IO_ERROR && !isOver) status = co_await (*file)->sync();
      EXPECT_EQ(status, Status::OK) << name;
    }
  }

  void judge(const std::string& name, const Attempt& asOf, const Tree& tree) {
    std::vector<std::set<uint32_t>> there(WORKERS);
    std::vector<uint64_t> shown(WORKERS, 0);
    for (auto& [called, found] : tree) {
      if (called.starts_with("clock-")) {
        bool isWhole =
            found.second.size() == 9 && found.second.find_first_not_of("0123456789") == std::string::npos;
        EXPECT_TRUE(isWhole || found.second.empty() || asOf.powerFailed) << called << " of " << name;
        if (isWhole) shown[called[6] - '0'] = std::stoull(found.second) - 100'000'000;
        continue;
      }
      auto writer = uint32_t(called[0] - '0'), number = uint32_t(std::stoul(called.substr(2)));
      there[writer].insert(number);
      auto known = asOf.files.find({writer, number});
      auto oracle = FileOracle();  // nothing was written yet
      if (known != asOf.files.end())
        oracle = asOf.powerFailed ? known->second.always : known->second.withPower;
      auto content = kj::arrayPtr(found.second.data(), found.second.size()).asBytes();
      auto wrong = oracle.judge(Viewer::OTHER, 0, content.size() + 1, content);
      EXPECT_FALSE(wrong.has_value()) << called << " of " << name << ": " << wrong->cStr();
    }
    for (uint32_t writer = 0; writer < WORKERS; ++writer) {
      auto& numbers = there[writer];
      auto& before = asOf.before[writer];
      auto first = numbers.empty() ? 0 : *numbers.begin(), last = numbers.empty() ? 0 : *numbers.rbegin();
      auto where = "writer " + std::to_string(writer) + " in " + name;
      EXPECT_EQ(numbers.size(), numbers.empty() ? 0 : last - first + 1) << where << ": some are missing";
      EXPECT_GE(last, before.made) << where << ": what had been made before is missing";
      EXPECT_LE(last, writers[writer].makingBegun) << where;
      if (first == 0) continue;
      EXPECT_GT(first, before.removed) << where << ": what had been removed before is there";
      EXPECT_LE(first, writers[writer].removalBegun + 1) << where << ": what nobody has removed is missing";
      EXPECT_TRUE(last - first + 1 >= kj::min(last, KEPT) && last - first <= KEPT) << where << ": at no time";
      auto& seen = writers[writer].files.at(last).seen;
      for (uint32_t other = 0; other < WORKERS; ++other) {
        EXPECT_GE(there[other].empty() ? 0 : *there[other].rbegin(), seen[other])
            << where << ": its file " << last << " was made after that of writer " << other;
      }
    }
    if (!asOf.powerFailed) judgeOrder(name, asOf, shown);
  }

  void judgeOrder(const std::string& name, const Attempt& asOf, const std::vector<uint64_t>& shown) {
    // A tick that had returned when the snapshot began is in it, and one that had when another one began that
    // is.
    for (uint32_t writer = 0; writer < WORKERS; ++writer) {
      auto since = asOf.began;
      for (uint32_t other = 0; other < WORKERS; ++other) {
        if (other != writer) since = kj::max(since, writers[other].ticks.at(shown[other]).begun);
      }
      auto& ticks = writers[writer].ticks;
      for (auto later = shown[writer] + 1; later < ticks.size(); ++later) {
        EXPECT_FALSE(ticks[later].returned < since && !ticks[later].interrupted)
            << "tick " << later << " of writer " << writer << " had returned, and " << name << " has "
            << shown[writer];
      }
    }
  }

  void beginAttempt() {
    auto& now = attempt.emplace();
    now.began = ++moments;
    for (uint32_t writer = 0; writer < WORKERS; ++writer) {
      auto& self = writers[writer];
      now.before.push_back(self);
      for (auto it = self.files.upper_bound(self.removed); it != self.files.end(); ++it) {
        auto& oracles = now.files[{writer, it->first}];
        oracles.always = oracles.withPower = it->second.oracle;
        if (it->second.writing == 0 && !it->second.oracle.isInterrupted()) oracles.withPower.settle();
      }
    }
  }

  Async<void> takeSnapshots() {
    while (taken.size() < COUNT && !HasFailure()) {
      co_await pause(1 * kj::SECONDS);
      auto name = "snapshot-" + std::to_string(taken.size());
      if (attempt == nullptr) beginAttempt();
      kj::Maybe<kj::Duration> patience;
      if (entropy.percent(givenUp)) patience = entropy.between(1, 30) * kj::MILLISECONDS;
      auto status = co_await cluster.snapshot(top, ROOT_INODE, name.c_str(), patience);
      // A metaserver that has just started does not know who writes: it is quiet until it does.
      isBusy = status != Status::NOT_READY;
      if (status == Status::NOT_READY) {
        // Before its metaserver ended a call that was given up may have made it all the same.
        auto made = co_await cluster.client(2).lookup(ROOT_INODE, name.c_str());
        if (made.ok()) status = Status::EXISTS;
      }
      bool isTaken = status == Status::OK || status == Status::EXISTS;  // by a call whose answer was lost
      refused += !isTaken;
      if (status == Status::NOT_READY) attempt = nullptr;
      if (!isTaken) continue;
      auto directory = co_await cluster.client(2).lookup(ROOT_INODE, name.c_str());
      EXPECT_EQ(directory.status(), Status::OK);
      if (!directory.ok()) co_return;
      auto tree = co_await readTree(directory->inode);
      auto asOf = kj::mv(KJ_ASSERT_NONNULL(attempt));
      attempt = nullptr;
      judge(name, asOf, tree);
      co_await syncTree(tree);
      taken.push_back({name, co_await readTree(directory->inode)});
    }
    isOver = true;
  }
  void takeThemUnderFaults();
};

void Snapshots::takeThemUnderFaults() {
  if (std::getenv("SIM_ECHO")) cluster.transcript.echo();
  cluster.makeDirectory("/tree");
  top = cluster.find("/tree");
  // Stores have trouble all the time; what takes the metaserver, rarely: it takes no snapshot in its first
  // minute.
  auto options = powerCuts();
  options.cutAllPower = 0;
  options.spareMetaserver = true;
  options.powerFails = [this]() { powerFails(); };
  FaultOptions rare{.seed = entropy.next(), .pauseMax = 100 * kj::SECONDS, .killDaemon = 0, .cutLink = 0};
  rare.resetLink = rare.stopDaemon = 0;
  rare.cutMetaserverPower = rare.cutAllPower = 1;
  rare.powerFails = options.powerFails;
  Faults rareOnes(cluster, rare);
  rareOnes.begin();
  kj::Vector<kj::Promise<void>> all;
  for (uint32_t writer = 0; writer < WORKERS; ++writer) all.add(useTree(writer));
  all.add(takeSnapshots());
  during(options, kj::mv(all));
  cluster.run(rareOnes.end());
  cluster.waitHealthy();
  EXPECT_EQ(taken.size(), COUNT);
  std::printf(
      "%llu s simulated, %u snapshots, %u refused for a while, %u writes, %u losses told, %llu faults\n",
      static_cast<unsigned long long>(cluster.time.elapsed() / kj::SECONDS), COUNT, refused, lastWrite,
      losses, static_cast<unsigned long long>(rareOnes.count()));
  for (auto& snapshot : taken) {
    auto directory = cluster.find(kj::str("/", snapshot.name.c_str()), 2);
    EXPECT_TRUE(cluster.run(promiseOf(readTree(directory))) == snapshot.tree)
        << snapshot.name << " is not what it was\n"
        << cluster.transcript.last(60);
    for (auto& [name, found] : snapshot.tree) {
      for (auto& problem : cluster.compareReplicas(found.first))
        ADD_FAILURE() << name << ": " << problem.cStr();
    }
  }
}

TEST_P(Snapshots, AreOneMomentOfTheTreeAndStayAsTheyAre) {
  takeThemUnderFaults();
}

class SteppedSnapshots : public Snapshots {
  // The same, a file in each step.
 protected:
  SteppedSnapshots() : Snapshots({.inodes = 3, .chunks = 100, .step = 1}) { givenUp = 25; }

  void expectNothingIsLeftOver() {
    cluster.advance(30 * kj::SECONDS);
    EXPECT_EQ(cluster.inodes(), cluster.inodesWithNames());
    cluster.waitRepaired();
    EXPECT_EQ(cluster.findings(), "");
  }
};

TEST_P(SteppedSnapshots, AreOneMomentOfTheTreeAndStayAsTheyAre) {
  takeThemUnderFaults();
  expectNothingIsLeftOver();
}

TEST_P(SteppedSnapshots, OfAMetaserverThatDiesMeanwhileAreWholeOrNotThere) {
  constexpr uint32_t FILES = 60, ROUNDS = 16;
  cluster.makeDirectory("/tree");
  top = cluster.find("/tree");
  for (uint32_t i = 0; i < FILES; ++i) {
    auto file = cluster.run(cluster.client().create(top, kj::str("f", i), 0644, {}, {}, true));
    ASSERT_TRUE(file.ok());
    auto text = kj::heap<kj::String>(kj::str("content of ", i));
    auto bytes = text->asBytes();
    ASSERT_EQ(cluster.run((*file)->write(FileOffset(0), Bytes{bytes, kj::mv(text)})), Status::OK);
    ASSERT_EQ(cluster.run((*file)->sync()), Status::OK);
  }
  auto original = cluster.run(promiseOf(readTree(top)));
  uint32_t whole = 0;
  for (uint32_t round = 0; round < ROUNDS; ++round) {
    cluster.advance(61 * kj::SECONDS);  // from then on it knows who may be writing
    auto name = kj::str("copy-", round);
    kj::Promise<Status> taking = cluster.snapshot(top, ROOT_INODE, name);
    auto taken = taking.eagerlyEvaluate(nullptr);
    cluster.advance(int64_t(entropy.between(1, 12'000)) * kj::MICROSECONDS);
    entropy.percent(50) ? cluster.kill(METASERVER) : cluster.powerCut(METASERVER);
    cluster.restart(METASERVER);
    cluster.waitHealthy();
    auto status = cluster.run(kj::mv(taken));
    auto found = cluster.run(cluster.client().lookup(ROOT_INODE, name));
    EXPECT_TRUE(found.ok() || status != Status::OK) << "it was told to be there";
    if (!found.ok()) continue;
    ++whole;
    auto copy = cluster.run(promiseOf(readTree(found->inode)));
    ASSERT_EQ(copy.size(), original.size());
    for (auto& [file, content] : original) EXPECT_EQ(copy[file].second, content.second) << file;
  }
  std::printf("%u of %u are there\n", whole, ROUNDS);
  EXPECT_TRUE(cluster.transcript.contains("was given up -> its"));
  cluster.write("/later", "it can be changed again");
  expectNothingIsLeftOver();
}

INSTANTIATE_TEST_SUITE_P(Seed, SteppedSnapshots, testing::ValuesIn(seeds({1, 2, 3})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, Snapshots, testing::ValuesIn(seeds({1, 2, 3})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, Records, testing::ValuesIn(seeds({1, 2, 3})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, Ring, testing::ValuesIn(seeds({1, 2, 3})), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Seed, SharedChunks, testing::ValuesIn(seeds({1, 2})),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace cairn::sim
