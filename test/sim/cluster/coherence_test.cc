// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// P6, clients see each other: contents, owners and names that several clients change and look at, each an
// atomic register. What is read was not overwritten before the reading began by something that had been
// completed: through which client, whether it is flushed, and what happens to the daemons meanwhile makes no
// difference. On virtual time, from one seed;
// `COHERENCE_SEED=n` repeats one.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <map>
#include <vector>

#include "rpc/coroutine.h"
#include "test/sim/cluster/faults.h"
#include "test/sim/cluster/sim_cluster.h"
#include "test/sim/cluster/workload.h"

namespace cairn::sim {
namespace {

class Register {
 public:
  explicit Register(std::string name) : name(kj::mv(name)) {}

  void begins(uint64_t value, kj::TimePoint now) { writes[value] = {now, nullptr}; }
  void ends(uint64_t value, kj::TimePoint now) { writes.at(value).end = now; }
  std::string judge(uint64_t value, kj::TimePoint readBegan) const {
    // Empty: it may have read that.
    auto found = writes.find(value);
    if (found == writes.end()) return name + " is " + std::to_string(value) + ", which nobody wrote";
    KJ_IF_MAYBE (end, found->second.end) {
      for (auto& [other, write] : writes) {
        KJ_IF_MAYBE (otherEnd, write.end) {
          if (write.begin > *end && *otherEnd < readBegan)
            return name + " is " + std::to_string(value) + ", which " + std::to_string(other) +
                   " had replaced " + kj::str((readBegan - *otherEnd) / kj::MICROSECONDS).cStr() +
                   " us before";
        }
      }
    }
    return "";
  }

 private:
  struct Write {
    kj::TimePoint begin = kj::origin<kj::TimePoint>();
    kj::Maybe<kj::TimePoint> end;
  };
  std::string name;
  std::map<uint64_t, Write> writes;
};

constexpr uint32_t FILES = 3, SLOTS = 2, WIDTH = 16;

class Users {
  // Two of each client, and what they find wrong.
 public:
  Users(SimCluster& cluster, uint64_t seed, uint32_t clients) : cluster(cluster), entropy(seed) {
    for (uint32_t i = 0; i < FILES; ++i) {
      auto name = "file" + std::to_string(i);
      cluster.write(("/" + name).c_str(), content(0).c_str());
      files.push_back(cluster.find(("/" + name).c_str()));
      contents.emplace_back("the content of " + name);
      owners.emplace_back("the owner of " + name);
      contents.back().begins(0, now()), contents.back().ends(0, now());
      owners.back().begins(0, now()), owners.back().ends(0, now());
    }
    for (uint32_t i = 0; i < SLOTS; ++i) {
      auto name = "slot" + std::to_string(i);
      cluster.write(("/" + name).c_str(), "x");
      slots.emplace_back("what is called " + name);
      auto inode = cluster.find(("/" + name).c_str()).value();
      slots.back().begins(inode, now()), slots.back().ends(inode, now());
    }
    for (uint32_t client = 1; client <= clients; ++client) {
      for (auto inode : files) {
        auto opened = cluster.run(cluster.client(client).open(inode));
        KJ_REQUIRE(opened.ok());
        open[{client, inode}] = kj::mv(*opened);
      }
    }
  }

  Async<void> use(uint32_t client, uint32_t operations) {
    for (uint32_t i = 0; i < operations; ++i) {
      co_await cluster.time.timer().afterDelay(int64_t(entropy.below(60'000)) * kj::MICROSECONDS);
      auto file = uint32_t(entropy.below(FILES));
      auto slot = uint32_t(entropy.below(SLOTS));
      switch (entropy.below(10)) {
        case 0:
        case 1:
          co_await write(client, file);
          break;
        case 2:
          co_await changeOwner(client, file);
          break;
        case 3:
          co_await replace(client, slot);
          break;
        case 4:
        case 5:
        case 6:
          co_await read(client, file);
          break;
        case 7:
        case 8:
          co_await look(client, file);
          break;
        case 9:
          co_await lookUp(client, slot);
          break;
      }
      ++done;
    }
  }

  std::vector<std::string> wrong;
  uint64_t done = 0;
  uint32_t unreliable = 0;  // a client that may lose what it has not flushed, and is told so by an error

 private:
  SimCluster& cluster;
  SeededEntropy entropy;
  std::vector<InodeId> files;
  std::vector<Register> contents, owners, slots;
  std::map<std::pair<uint32_t, InodeId>, kj::Own<OpenFile>> open;
  uint64_t values = 0;

  kj::TimePoint now() { return cluster.time.timer().now(); }
  static std::string content(uint64_t value) {
    auto digits = std::to_string(value);
    return std::string(WIDTH - digits.size(), '0') + digits;
  }
  void complain(uint32_t client, std::string what) {
    if (!what.empty()) wrong.push_back("client " + std::to_string(client) + ": " + what);
  }
  void complain(uint32_t client, kj::StringPtr what, Status status) {
    if (ok(status) || (client == unreliable && status == Status::IO_ERROR)) return;
    complain(client, kj::str(what, " answers ", status).cStr());
  }

  Async<void> write(uint32_t client, uint32_t file) {
    auto value = ++values;
    auto text = kj::heap<kj::String>(kj::str(content(value).c_str()));
    contents[file].begins(value, now());
    auto view = text->asBytes();
    auto& opened = *open.at({client, files[file]});
    auto status = co_await opened.write(FileOffset(0), Bytes{view, kj::mv(text)});
    complain(client, "write", status);
    if (!ok(status)) co_return;
    if (client != unreliable) contents[file].ends(value, now());
    if (entropy.below(3) != 0) co_return;
    status = co_await opened.flush();
    complain(client, "flush", status);
    if (ok(status)) contents[file].ends(value, now());
  }
  Async<void> read(uint32_t client, uint32_t file) {
    auto began = now();
    auto found = co_await readAll(*open.at({client, files[file]}), 0, WIDTH);
    complain(client, "read", found.status());
    if (!found.ok()) co_return;
    std::string text(found->asChars().begin(), found->size());
    if (text.size() != WIDTH || text.find_first_not_of("0123456789") != std::string::npos) {
      complain(client, "reads '" + text + "'");
      co_return;
    }
    complain(client, contents[file].judge(std::stoull(text), began));
  }
  Async<void> changeOwner(uint32_t client, uint32_t file) {
    auto value = ++values;
    owners[file].begins(value, now());
    AttributeChange change;
    change.uid = uint32_t(value);
    auto changed = co_await cluster.client(client).setAttributes(files[file], kj::mv(change));
    complain(client, "chown", changed.status());
    if (changed.ok()) owners[file].ends(value, now());
  }
  Async<void> look(uint32_t client, uint32_t file) {
    auto began = now();
    auto seen = co_await cluster.client(client).getAttributes(files[file]);
    complain(client, "stat", seen.status());
    if (seen.ok()) complain(client, owners[file].judge(seen->uid, began));
  }
  Async<void> replace(uint32_t client, uint32_t slot) {
    auto temporary = kj::str("new", ++values);
    auto& filesystem = cluster.client(client);
    auto made = co_await filesystem.make(ROOT_INODE, temporary, NewNode{}, Credentials{});
    complain(client, "make", made.status());
    if (!made.ok()) co_return;
    slots[slot].begins(made->inode.value(), now());
    auto status = co_await filesystem.rename(ROOT_INODE, temporary, ROOT_INODE, kj::str("slot", slot), 0, {});
    complain(client, "rename", status);
    if (ok(status)) slots[slot].ends(made->inode.value(), now());
  }
  Async<void> lookUp(uint32_t client, uint32_t slot) {
    auto began = now();
    auto found = co_await cluster.client(client).lookup(ROOT_INODE, kj::str("slot", slot));
    complain(client, "lookup", found.status());
    if (found.ok()) complain(client, slots[slot].judge(found->inode.value(), began));
  }
};

enum class Misfortune { NONE, DAEMONS_AND_LINKS, SILENCE };

void run(uint64_t seed, Misfortune misfortune) {
  constexpr uint32_t CLIENTS = 3, OPERATIONS = 150;
  SimCluster cluster({.seed = seed, .chunkServers = 4, .clients = CLIENTS});
  Users users(cluster, seed, CLIENTS);
  Faults faults(cluster, {.seed = seed});
  if (misfortune != Misfortune::NONE) faults.begin();
  kj::Vector<kj::Promise<void>> all;
  for (uint32_t client = 1; client <= CLIENTS; ++client) {
    for (uint32_t user = 0; user < 2; ++user) all.add(users.use(client, OPERATIONS));
  }
  cluster.run(kj::joinPromises(all.releaseAsArray()));
  if (misfortune != Misfortune::NONE) cluster.run(faults.end());
  EXPECT_EQ(users.done, uint64_t(CLIENTS) * 2 * OPERATIONS);
  for (size_t i = 0; i < users.wrong.size() && i < 5; ++i)
    ADD_FAILURE() << users.wrong[i] << " (seed " << seed << ")\n" << cluster.transcript.last(20);
}

Async<void> cutOff(SimCluster& cluster, uint64_t seed) {
  // For longer than the term of leases. From the metaserver only: it can still write what it has buffered to
  // the chunk daemons, if they let it; or from all: what it has buffered stays where it is, until it hears
  // the news.
  SeededEntropy entropy(seed);
  auto& timer = cluster.time.timer();
  for (uint32_t i = 0; i < 3; ++i) {
    co_await timer.afterDelay(int64_t(500 + entropy.below(3000)) * kj::MILLISECONDS);
    auto daemons = cluster.daemons();
    if (entropy.below(2) == 0) daemons.resize(1);
    for (auto& daemon : daemons) cluster.cut("client-1", daemon.c_str());
    co_await timer.afterDelay(int64_t(9'000 + entropy.below(9'000)) * kj::MILLISECONDS);
    for (auto& daemon : daemons) cluster.heal("client-1", daemon.c_str());
  }
}

void runSilence(uint64_t seed) {
  constexpr uint32_t CLIENTS = 3, OPERATIONS = 400;
  // The one that is cut off has the slowest clock, and the metaserver the fastest: it believes in its leases
  // for as long as anybody may.
  SimCluster cluster(
      {.seed = seed, .chunkServers = 4, .clients = CLIENTS, .clocks = clocksApart("client-1")});
  Users users(cluster, seed, CLIENTS);
  users.unreliable = 1;
  kj::Vector<kj::Promise<void>> all;
  all.add(cutOff(cluster, seed));
  for (uint32_t client = 1; client <= CLIENTS; ++client) {
    for (uint32_t user = 0; user < 2; ++user) all.add(users.use(client, OPERATIONS));
  }
  cluster.run(kj::joinPromises(all.releaseAsArray()));
  EXPECT_EQ(users.done, uint64_t(CLIENTS) * 2 * OPERATIONS);
  for (size_t i = 0; i < users.wrong.size() && i < 5; ++i)
    ADD_FAILURE() << users.wrong[i] << " (seed " << seed << ")\n" << cluster.transcript.last(20);
}

void runSeeds(uint64_t first, uint64_t count, Misfortune misfortune) {
  // COHERENCE_SEED=n: that one; COHERENCE_SEEDS=n: so many.
  if (auto given = getenv("COHERENCE_SEEDS")) count = strtoull(given, nullptr, 10);
  if (auto given = getenv("COHERENCE_SEED")) {
    first = strtoull(given, nullptr, 10);
    count = 1;
  }
  for (auto seed = first; seed < first + count && !testing::Test::HasFailure(); ++seed) {
    misfortune == Misfortune::SILENCE ? runSilence(seed) : run(seed, misfortune);
  }
}

TEST(Coherence, WhatOneClientHasDoneTheOthersSee) {
  runSeeds(1, 4, Misfortune::NONE);
}

TEST(Coherence, AlsoWhileDaemonsDieAndLinksBreak) {
  runSeeds(1001, 3, Misfortune::DAEMONS_AND_LINKS);
}

TEST(Coherence, AClientThatIsCutOffDoesNotReadWhatIsOldNorWriteOverWhatIsNew) {
  runSeeds(2001, 3, Misfortune::SILENCE);
}

TEST(Coherence, TheKernelForgetsTheLinksOfAFileThatLosesOneByItsOwnChange) {
  // It counts down those of the inode that it took the name for; the metaserver's name may lead elsewhere.
  struct Kernel : Filesystem::Observer {
    std::vector<InodeId> forgotten;
    kj::Promise<void> forgetAttributes(InodeId inode) override {
      forgotten.push_back(inode);
      return kj::READY_NOW;
    }
    bool hasForgotten(InodeId inode) {
      auto all = std::move(forgotten);
      forgotten.clear();
      return std::find(all.begin(), all.end(), inode) != all.end();
    }
  } kernel;
  SimCluster cluster({.seed = 1});
  auto& client = cluster.client();
  cluster.write("/f", "x"), cluster.write("/other", "x");
  auto inode = cluster.find("/f");
  ASSERT_TRUE(cluster.run(client.link(inode, ROOT_INODE, "g")).ok());
  ASSERT_TRUE(cluster.run(client.link(inode, ROOT_INODE, "h")).ok());
  client.setObserver(kernel);
  EXPECT_EQ(cluster.run(client.unlink(ROOT_INODE, "g", Credentials{})), Status::OK);
  EXPECT_TRUE(kernel.hasForgotten(inode));
  EXPECT_EQ(cluster.run(client.rename(ROOT_INODE, "other", ROOT_INODE, "h", 0, Credentials{})), Status::OK);
  EXPECT_TRUE(kernel.hasForgotten(inode));
  EXPECT_EQ(cluster.run(client.unlink(ROOT_INODE, "f", Credentials{})), Status::OK);
  EXPECT_FALSE(kernel.hasForgotten(inode)) << "nothing is left of it";
}

}  // namespace
}  // namespace cairn::sim
