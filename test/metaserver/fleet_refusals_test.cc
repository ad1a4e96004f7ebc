// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Any operation may be refused by the log, and any order by a store. A fleet lives through grants, shares,
// repair, trash, quotas, a snapshot and a drain again and again, with the refusal one further on each time.
// Each call ends; and afterwards every file can be written and read, no chunk has two leases, and none is
// lost.
#include "metaserver/namespace_scan.h"
#include "rpc/administration.capnp.h"
#include "test/metaserver/fleet_fixture.h"
#include "test/support/in_turn.h"

namespace cairn {
namespace {

enum class Whose { LOG, ITS_DISK, STORES };
using How = RefusedCalls::How;

struct Case {
  Whose whose;
  Status status = Status::OK;
  How how = How::STATUS;
};

class Life final : public FleetTest {
 public:
  Life(uint64_t number, Case refused) : refused(refused) {
    for (auto& store : stores) store.refusals = &refusals;
    service->scan = [this]() { return names->scan(); };
    joinAll();
    client = &mount();
    keepTrashFor(60);
    if (refused.whose == Whose::LOG) {
      log->refuseOnce(number, refused.status);
    } else if (refused.whose == Whose::ITS_DISK) {
      log->failSync = number;
    } else {
      refusals.refuse(number, refused.status, refused.how);
    }
    live();
    hit = refused.whose == Whose::STORES ? refusals.method() != "" : log->refused > 0;
    method = refusals.method().cStr();
    log->refuse = Status::OK;
    log->failSync = 0;
    refusals.stop();
    judge();
    TearDown();
  }
  void TestBody() override {}

  bool hit = false;
  std::string method;

 private:
  Case refused;
  RefusedCalls refusals;
  FakeMount* client = nullptr;
  std::map<std::string, uint64_t> files;

  template <typename Request>
  auto ask(Request request) {
    // What it answers is looked at elsewhere: here it has to answer, or to break in a way that a client
    // hears.
    using Results =
        decltype(await(kj::Promise<typename RemoteOf<decltype(request.send())>::Type>(request.send())));
    kj::Maybe<Results> answer;
    (void)kj::runCatchingExceptions([&]() {
      answer = await(kj::Promise<typename RemoteOf<decltype(request.send())>::Type>(request.send()));
    });
    return answer;
  }
  template <typename T>
  struct RemoteOf;
  template <typename Results>
  struct RemoteOf<capnp::RemotePromise<Results>> {
    using Type = capnp::Response<Results>;
  };

  template <typename Fill>
  Status changed(Fill fill) {
    // As a client does: the same change, under the same number, until it has an answer of the metaserver's
    // own.
    auto sequence = ++client->sequence;
    for (int attempt = 0;; ++attempt) {
      auto request = client->session.changeRequest();
      request.getChange().setSequence(sequence);
      fill(request.getChange());
      auto answer = ask(kj::mv(request));
      KJ_IF_MAYBE (response, answer) {
        auto status = response->getOutcome().getStatus();
        made = response->getOutcome().getAttributes().getInode();
        if (status != Status::NOT_READY || attempt == 20) return status;
      }
      advance(500);
      if (attempt == 20) return Status::IO_ERROR;
    }
  }
  uint64_t made = 0;

  void create(std::string name, uint64_t parent = ROOT_INODE.value(), FileType type = FileType::REGULAR) {
    for (int attempt = 0; attempt < 2; ++attempt) {
      auto status = changed([&](rpc::Change::Builder change) {
        auto create = change.initCreate();
        create.setParent(parent);
        create.setName(name.c_str());
        create.setType(type);
        create.setMode(0755);
        create.setOpen(type == FileType::REGULAR);
      });
      if (ok(status)) files[name] = made;
      if (ok(status)) return;
    }
    ADD_FAILURE() << name << " cannot be made";
  }
  Located write(const std::string& name) {
    Located located;
    for (int attempt = 0; attempt < 30; ++attempt) {
      (void)kj::runCatchingExceptions([&]() { located = locate(*client, files[name], For::WRITE); });
      if (located.status == Status::OK && located.primary != 0) break;
      advance(500);
    }
    publishLength(files[name]);
    return located;
  }
  void publishLength(uint64_t inode) {
    (void)changed([&](rpc::Change::Builder change) {
      auto publish = change.initPublish();
      publish.setFile(inode);
      publish.setLength(5000);
    });
  }
  void cut(const std::string& name, uint64_t size) {
    (void)changed([&](rpc::Change::Builder change) {
      auto set = change.initSetAttributes();
      set.setInode(files[name]);
      set.setSet(rpc::SET_SIZE);
      set.setSize(size);
    });
  }
  void rest(int64_t seconds) {
    for (int64_t done = 0; done < seconds; done += 5) {
      advance(5'000);
      (void)ask(client->session.renewRequest());
    }
  }
  void live();
  void administer();
  void judge();
};

void Life::live() {
  create("a"), create("b"), create("gone");
  create("tree", ROOT_INODE.value(), FileType::DIRECTORY);
  create("inner", files["tree"]);
  auto first = write("a");
  write("inner");
  write("gone");
  (void)kj::runCatchingExceptions([&]() { sync(*client, {first.handle}); });
  // Shared, and cloned by who writes first.
  (void)changed([&](rpc::Change::Builder change) {
    auto share = change.initShare();
    share.setSource(files["a"]);
    share.setTarget(files["b"]);
    share.setBytes(5000);
  });
  write("b");
  cut("a", 100);
  write("a");
  // One that does not answer any more, and a fourth in its place.
  auto lost = locate(*client, files["a"], For::READ);
  if (!lost.replicas.empty()) kill(byId(lost.replicas.back()));
  bool isIn = false;
  for (int attempt = 0; attempt < 2 && !isIn; ++attempt) isIn = ok(connect(store(4)));
  ASSERT_TRUE(isIn);
  report(store(4));
  write("a");
  rest(45);
  administer();
  (void)changed([&](rpc::Change::Builder change) {
    auto unlink = change.initUnlink();
    unlink.setParent(ROOT_INODE.value());
    unlink.setName("gone");
  });
  (void)ask([&]() {
    auto request = client->session.releaseRequest();
    request.initInodes(1).set(0, files["gone"]);
    return request;
  }());
  log->time += int64_t(200) * 1'000'000'000;
  rest(90);
  (void)ask(client->session.needSpaceRequest());
  rest(10);
}

void Life::administer() {
  auto cli = administration();
  auto setReplicas = cli.setReplicasRequest();
  setReplicas.setPath("/tree");
  setReplicas.setReplicas(2);
  setReplicas.setRecursive(true);
  (void)ask(kj::mv(setReplicas));
  auto quota = cli.setQuotaRequest();
  quota.setDirectory(files["tree"]);
  quota.setBytes(1 << 30);
  quota.setInodes(1000);
  (void)ask(kj::mv(quota));
  auto snapshot = cli.snapshotRequest();
  snapshot.setOriginal(files["tree"]);
  snapshot.setDirectory(ROOT_INODE.value());
  snapshot.setName("copy");
  (void)ask(kj::mv(snapshot));
  auto keep = cli.keepTrashRequest();
  keep.setDirectory(files["tree"]);
  keep.setSeconds(100);
  keep.setRecursive(true);
  (void)ask(kj::mv(keep));
  (void)ask(cli.trashRequest());
  auto drain = cli.drainRequest();
  drain.setServer(store(1).server);
  (void)ask(kj::mv(drain));
  rest(30);
  auto undo = cli.drainRequest();
  undo.setServer(store(1).server);
  undo.setUndo(true);
  (void)ask(kj::mv(undo));
  (void)ask(cli.releaseKeptRequest());
  auto check = cli.checkRequest();
  check.setRepair(true);
  auto begun = ask(kj::mv(check));
  KJ_IF_MAYBE (answer, begun) {
    if (!ok(answer->getStatus())) return;
    auto checking = answer->getCheck();
    for (bool end = false; !end;) {
      auto next = ask(checking.nextRequest());
      end = next == nullptr;
      KJ_IF_MAYBE (told, next) end = told->getEnd();
    }
  }
}

void Life::judge() {
  SCOPED_TRACE("refused: " + method);
  rest(120);
  if (client->id != 0 && renew(*client) == Status::SESSION_EXPIRED) {
    client->id = 0, client->sequence = 0;
    EXPECT_EQ(openSession(*client), Status::OK);
  }
  for (auto name : {"a", "b", "inner"}) {
    auto located = write(name);
    EXPECT_EQ(located.status, Status::OK) << name;
    ASSERT_NE(located.primary, 0u) << name;
    EXPECT_GE(located.replicas.size(), 2u) << name;
    for (auto server : located.replicas) {
      EXPECT_EQ(byId(server).versionOf(located.handle), located.version.value()) << name << " on " << server;
    }
    unsigned holders = 0;
    for (auto& store : stores) {
      auto lease = store.leases.find(located.handle.value());
      holders += lease != store.leases.end() && lease->second == located.version.value();
    }
    EXPECT_EQ(holders, 1u) << name;
    EXPECT_GE(record(located.handle).version, record(located.handle).floor) << name;
    auto read = locate(*client, files[name], For::READ);
    EXPECT_EQ(read.status, Status::OK) << name;
    EXPECT_EQ(read.handle, located.handle) << name;
  }
}

void everyOneIsRefused(Case refused, uint64_t least) {
  SCOPED_TRACE(kj::str(refused.status).cStr());
  eachInTurn(least, [&](uint64_t number) { return Life(number, refused).hit; });
}

TEST(FleetRefusals, AnOperationThatTheLogHasNoRoomForLeavesEveryFileInOrder) {
  everyOneIsRefused({Whose::LOG, Status::NO_SPACE}, 30);
}
TEST(FleetRefusals, AnOperationThatTheLogRefusesLeavesEveryFileInOrder) {
  everyOneIsRefused({Whose::LOG, Status::IO_ERROR}, 30);
}
TEST(FleetRefusals, AnOperationThatTheDiskDoesNotSyncLeavesEveryFileInOrder) {
  everyOneIsRefused({Whose::ITS_DISK, Status::IO_ERROR}, 10);
}
TEST(FleetRefusals, AnOrderThatAStoreRefusesLeavesEveryFileInOrder) {
  for (auto status : {Status::IO_ERROR, Status::NO_REPLICA, Status::STALE_EPOCH})
    everyOneIsRefused({Whose::STORES, status}, 30);
}
TEST(FleetRefusals, AnOrderThatMeetsABugOfAStoreLeavesEveryFileInOrder) {
  everyOneIsRefused({Whose::STORES, Status::OK, How::EXCEPTION}, 30);
}

}  // namespace
}  // namespace cairn
