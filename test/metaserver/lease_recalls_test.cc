// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Mounts that cache, seen from the metaserver: what its answers grant, whom it asks before it carries out a
// change, and how long it waits for whom. The mounts are fake: they do what a test tells them.
#include <algorithm>

#include "test/metaserver/fleet_fixture.h"

namespace cairn {
namespace {

using Obeys = FakeMount::Obeys;

class LeaseRecallsTest : public FleetTest {
 protected:
  template <typename Results>
  using Response = kj::Promise<capnp::Response<Results>>;

  struct Told {
    // rpc::Attributes, as far as leases go.
    Status status = Status::OK;
    uint64_t inode = 0, size = 0, links = 0;
    LeaseKind lease = LeaseKind::NONE;
    uint64_t stamp = 0;
    bool unsure = false;
    LeaseKind directory = LeaseKind::NONE;
  };
  static Told told(Status status, rpc::Attributes::Reader attributes) {
    return {status,
            attributes.getInode(),
            attributes.getSize(),
            attributes.getLinks(),
            attributes.getLease(),
            attributes.getStamp(),
            attributes.getUnsure(),
            LeaseKind::NONE};
  }

  kj::Promise<Told> gettingAttributes(FakeMount& mount, uint64_t inode) {
    auto request = mount.session.getAttributesRequest();
    request.setInode(inode);
    return request.send()
        .then([](capnp::Response<rpc::Session::GetAttributesResults>&& response) {
          return told(response.getStatus(), response.getAttributes());
        })
        .eagerlyEvaluate(nullptr);
  }
  Told getAttributes(FakeMount& mount, uint64_t inode) { return await(gettingAttributes(mount, inode)); }
  Told lookup(FakeMount& mount, kj::StringPtr name, InodeId parent = ROOT_INODE) {
    auto request = mount.session.lookupRequest();
    request.setParent(parent.value());
    request.setName(name);
    auto response = await(Response<rpc::Session::LookupResults>(request.send()));
    auto result = told(response.getStatus(), response.getAttributes());
    result.directory = response.getDirectory().getKind();
    return result;
  }
  kj::Promise<Told> acquiring(FakeMount& mount, uint64_t inode, LeaseKind kind) {
    auto request = mount.session.acquireRequest();
    request.setInode(inode);
    request.setKind(kind);
    return request.send()
        .then([](capnp::Response<rpc::Session::AcquireResults>&& response) {
          return told(response.getStatus(), response.getAttributes());
        })
        .eagerlyEvaluate(nullptr);
  }
  Told acquire(FakeMount& mount, uint64_t inode, LeaseKind kind) {
    return await(acquiring(mount, inode, kind));
  }
  void giveBack(FakeMount& mount, uint64_t inode, LeaseKind kept, uint64_t stamp) {
    auto request = mount.session.giveBackRequest();
    auto lease = request.initLeases(1)[0];
    lease.setInode(inode);
    lease.setKind(kept);
    lease.setStamp(stamp);
    await(request.send().ignoreResult());
  }
  Told openFor(FakeMount& mount, uint64_t inode, For purpose) {
    auto request = mount.session.openRequest();
    request.setInode(inode);
    request.setForWrite(purpose == For::WRITE);
    auto response = await(Response<rpc::Session::OpenResults>(request.send()));
    return told(response.getStatus(), response.getAttributes());
  }
  template <typename Fill>
  kj::Promise<capnp::Response<rpc::Session::ChangeResults>> changing(FakeMount& mount, Fill fill) {
    auto request = mount.session.changeRequest();
    auto change = request.getChange();
    change.setSequence(++mount.sequence);
    fill(change);
    return Response<rpc::Session::ChangeResults>(request.send()).eagerlyEvaluate(nullptr);
  }
  static void fillMode(rpc::Change::Builder change, uint64_t inode) {
    auto set = change.initSetAttributes();
    set.setInode(inode);
    set.setSet(rpc::SET_MODE);
    set.setMode(0600);
  }
  auto changingMode(FakeMount& mount, uint64_t inode) {
    return changing(mount, [&](rpc::Change::Builder change) { fillMode(change, inode); });
  }
  static Status statusOf(const capnp::Response<rpc::Session::ChangeResults>& response) {
    return response.getOutcome().getStatus();
  }
  Status rename(FakeMount& mount, kj::StringPtr name, kj::StringPtr newName) {
    return statusOf(change(mount, [&](rpc::Change::Builder change) {
      auto rename = change.initRename();
      rename.setParent(ROOT_INODE.value());
      rename.setName(name);
      rename.setNewParent(ROOT_INODE.value());
      rename.setNewName(newName);
    }));
  }
  static std::vector<uint64_t> inodesOf(const FakeMount& mount) {
    std::vector<uint64_t> inodes;
    for (auto& recall : mount.recalls) inodes.push_back(recall.inode.value());
    std::sort(inodes.begin(), inodes.end());
    return inodes;
  }
  void live(std::initializer_list<FakeMount*> renewing, int64_t ms) {
    for (int64_t done = 0; done < ms; done += 1000) {
      advance(kj::min(int64_t(1000), ms - done));
      for (auto mount : renewing) EXPECT_EQ(renew(*mount), Status::OK);
    }
  }
  template <typename T>
  bool isDone(kj::Promise<T>& promise) {
    settle();
    return promise.poll(scope);
  }
  static constexpr auto NONE = LeaseKind::NONE, READ = LeaseKind::READ, APPEND = LeaseKind::APPEND,
                        WRITE = LeaseKind::WRITE;
};

// ---------------------------------------------------------------------------------------- what answers grant

TEST_F(LeaseRecallsTest, AnswersGrantWhatTakesNothingFromOthers) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f");
  EXPECT_EQ(getAttributes(one, inode).lease, WRITE) << "it was made open";
  auto seen = lookup(two, "f");
  EXPECT_EQ(seen.directory, READ);
  auto closed = createFile(two, "g", Create::CLOSED);
  EXPECT_EQ(getAttributes(two, closed).lease, READ);
  EXPECT_EQ(openFor(two, closed, For::WRITE).lease, WRITE);
  auto others = openFor(one, closed, For::WRITE);
  EXPECT_EQ(others.lease, NONE);
  EXPECT_TRUE(others.unsure);
  EXPECT_EQ(getAttributes(one, ROOT_INODE.value()).lease, READ);
  EXPECT_EQ(getAttributes(two, ROOT_INODE.value()).lease, READ);
}

TEST_F(LeaseRecallsTest, TheAbsenceOfANameIsLeasedWithItsDirectory) {
  auto& one = cachingMount();
  auto absent = lookup(one, "nothing");
  EXPECT_EQ(absent.status, Status::NOT_FOUND);
  EXPECT_EQ(absent.directory, READ);
}

TEST_F(LeaseRecallsTest, AListingGrantsItsDirectoryAndItsEntries) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  createFile(two, "written");
  createFile(two, "quiet", Create::CLOSED);
  auto request = one.session.readDirectoryRequest();
  request.setInode(ROOT_INODE.value());
  request.setLimit(100);
  request.setAttributes(true);
  auto response = await(Response<rpc::Session::ReadDirectoryResults>(request.send()));
  EXPECT_EQ(response.getDirectory().getKind(), READ);
  ASSERT_EQ(response.getEntries().size(), 2u);
  for (auto entry : response.getEntries()) {
    bool written = entry.getName() == "written";
    EXPECT_EQ(entry.getAttributes().getLease(), written ? NONE : READ);
    EXPECT_EQ(entry.getAttributes().getUnsure(), written);
  }
  EXPECT_EQ(two.described, 0u);
}

TEST_F(LeaseRecallsTest, AMountThatKnowsNoLeasesWaitsForOthersAndDelaysNobody) {
  auto& old = mount();
  auto& one = cachingMount();
  auto inode = createFile(one, "f", Create::CLOSED);
  EXPECT_EQ(getAttributes(old, inode).lease, NONE);
  EXPECT_EQ(unlink(old, "f"), Status::OK);
  EXPECT_EQ(inodesOf(one), (std::vector<uint64_t>{ROOT_INODE.value(), inode}));
}

// ------------------------------------------------------------------------------------------------ changes

TEST_F(LeaseRecallsTest, AChangeIsAnsweredWhenOthersHaveForgottenInOneMessageEach) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto& three = cachingMount();
  auto inode = createFile(one, "f", Create::CLOSED);
  for (auto mount : {&two, &three}) lookup(*mount, "f");
  two.obeys = Obeys::WHEN_TOLD;
  auto unlinking = changing(one, [&](rpc::Change::Builder change) {
    auto unlink = change.initUnlink();
    unlink.setParent(ROOT_INODE.value());
    unlink.setName("f");
  });
  advance(200);
  EXPECT_FALSE(isDone(unlinking));
  EXPECT_TRUE(names->read().lookup(ROOT_INODE, "f").ok()) << "not done before they have";
  EXPECT_EQ(getAttributes(three, inode).lease, NONE) << "a change is under way";
  two.obey();
  EXPECT_EQ(statusOf(await(kj::mv(unlinking))), Status::OK);
  EXPECT_EQ(inodesOf(two), (std::vector<uint64_t>{ROOT_INODE.value(), inode}));
  EXPECT_EQ(two.messages, 1u);
  EXPECT_EQ(three.messages, 1u);
  EXPECT_TRUE(one.recalls.empty());
  EXPECT_EQ(lookup(two, "f").status, Status::NOT_FOUND);
}

TEST_F(LeaseRecallsTest, ARenameIsAboutBothDirectoriesTheMovedAndTheReplaced) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto directory = createDirectory(one, "d");
  auto moved = createFile(one, "f", Create::CLOSED);
  auto replaced = createFile(one, "g", Create::CLOSED, InodeId(directory));
  for (auto inode : {ROOT_INODE.value(), directory, moved, replaced}) getAttributes(two, inode);
  auto response = change(one, [&](rpc::Change::Builder change) {
    auto rename = change.initRename();
    rename.setParent(ROOT_INODE.value());
    rename.setName("f");
    rename.setNewParent(directory);
    rename.setNewName("g");
  });
  auto outcome = response.getOutcome();
  ASSERT_EQ(outcome.getStatus(), Status::OK);
  EXPECT_EQ(inodesOf(two), (std::vector<uint64_t>{ROOT_INODE.value(), directory, moved, replaced}));
  EXPECT_EQ(outcome.getNewParent().getInode(), directory) << "its own leases stay: it is told of all of them";
  EXPECT_EQ(outcome.getNewParent().getLease(), READ);
  EXPECT_EQ(outcome.getLoser().getInode(), replaced);
  EXPECT_EQ(outcome.getLoser().getLinks(), 0u);
}

TEST_F(LeaseRecallsTest, ARefusedChangeRecallsNothing) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  createFile(one, "f", Create::CLOSED);
  lookup(two, "f");
  auto exclusive = change(one, [&](rpc::Change::Builder change) {
    auto create = change.initCreate();
    create.setParent(ROOT_INODE.value());
    create.setName("f");
    create.setType(FileType::REGULAR);
    create.setExclusive(true);
  });
  EXPECT_EQ(statusOf(exclusive), Status::EXISTS);
  createFile(one, "f");  // it is there: only opened
  EXPECT_TRUE(two.recalls.empty());
}

TEST_F(LeaseRecallsTest, ANameThatIsNotThereDoesNotAppearBeforeItsChangeIsRefused) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  createFile(one, "f", Create::CLOSED);
  lookup(two, "f");
  EXPECT_EQ(unlink(one, "g"), Status::NOT_FOUND);
  ASSERT_EQ(two.recalls.size(), 1u) << "others hold nothing of the directory while it is decided";
  EXPECT_EQ(two.recalls[0].inode, ROOT_INODE);
}

TEST_F(LeaseRecallsTest, WhenANameMovesWhileAChangeWaitsWhatItTouchedIsRecalledAfterIt) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto& three = cachingMount();
  createFile(one, "f", Create::CLOSED);
  auto other = createFile(one, "g", Create::CLOSED);
  getAttributes(three, ROOT_INODE.value());
  EXPECT_EQ(getAttributes(two, other).lease, READ);
  three.obeys = Obeys::WHEN_TOLD;
  // Of one mount, so they do not wait for each other: when `f` is unlinked it is what was `g`.
  auto unlinking = changing(one, [&](rpc::Change::Builder change) {
    auto unlink = change.initUnlink();
    unlink.setParent(ROOT_INODE.value());
    unlink.setName("f");
  });
  settle();
  capnp::MallocMessageBuilder message;  // the rename is applied in between
  auto renaming = message.initRoot<rpc::Change>();
  renaming.setSequence(++one.sequence);
  auto rename = renaming.initRename();
  rename.setParent(ROOT_INODE.value());
  rename.setName("g");
  rename.setNewParent(ROOT_INODE.value());
  rename.setNewName("f");
  ASSERT_TRUE(await(log->propose(LoggedOperation::of(SessionId(one.id), renaming.asReader()))).ok());
  two.recalls.clear();
  three.obey();
  EXPECT_EQ(statusOf(await(kj::mv(unlinking))), Status::OK);
  EXPECT_EQ(inodesOf(two), (std::vector<uint64_t>{other}));
}

TEST_F(LeaseRecallsTest, TwoMountsThatWaitForEachOtherBothGetThere) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto a = createFile(one, "a", Create::CLOSED), b = createFile(one, "b", Create::CLOSED);
  one.recalls.clear();
  for (auto mount : {&one, &two}) {
    for (auto inode : {a, b}) getAttributes(*mount, inode);
    mount->obeys = Obeys::WHEN_TOLD;
  }
  auto first = changingMode(one, a), second = changingMode(two, b);
  settle();
  EXPECT_EQ(one.held.size() + two.held.size(), 2u) << "each is asked while its own change waits";
  one.obey(), two.obey();
  EXPECT_EQ(statusOf(await(kj::mv(first))), Status::OK);
  EXPECT_EQ(statusOf(await(kj::mv(second))), Status::OK);
}

TEST_F(LeaseRecallsTest, AccessTimesRecallNobody) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f", Create::CLOSED);
  getAttributes(two, inode);
  two.recalls.clear();
  auto response = change(one, [&](rpc::Change::Builder change) {
    auto access = change.initAccessed(1)[0];
    access.setInode(inode);
    access.setTime(2'000'000'000);
  });
  EXPECT_EQ(statusOf(response), Status::OK);
  EXPECT_TRUE(two.recalls.empty());
}

TEST_F(LeaseRecallsTest, ARepeatedChangeIsToldHowThingsAreNow) {
  auto& one = cachingMount();
  auto inode = createFile(one, "f");
  EXPECT_EQ(resize(one, inode, 10), Status::OK);
  EXPECT_EQ(resize(one, inode, 20), Status::OK);
  --one.sequence, --one.sequence;
  auto again = change(one, [&](rpc::Change::Builder change) {
    auto set = change.initSetAttributes();
    set.setInode(inode);
    set.setSet(rpc::SET_SIZE);
    set.setSize(10);
  });
  EXPECT_EQ(again.getOutcome().getAttributes().getSize(), 20u) << "its stamp says that this is newer";
}

// ------------------------------------------------------------------------------------------------ writers

TEST_F(LeaseRecallsTest, TheWriterSaysHowLongItsFileIsAndKeepsItsLease) {
  auto& writer = cachingMount();
  auto& reader = cachingMount();
  auto inode = createFile(writer, "f");
  writer.sizes[inode] = 12345;
  writer.recalls.clear();
  auto seen = getAttributes(reader, inode);
  EXPECT_EQ(seen.size, 12345u);
  EXPECT_EQ(seen.lease, NONE);
  EXPECT_EQ(lookup(reader, "f").size, 12345u);
  EXPECT_EQ(writer.described, 2u);
  EXPECT_TRUE(writer.recalls.empty());
  EXPECT_EQ(getAttributes(writer, inode).lease, WRITE);
}

TEST_F(LeaseRecallsTest, AWriterThatDoesNotSayGivesItsLeaseBack) {
  auto& writer = cachingMount();
  auto& reader = cachingMount();
  auto inode = createFile(writer, "f");
  auto seen = getAttributes(reader, inode);
  EXPECT_EQ(seen.status, Status::OK);
  EXPECT_EQ(seen.lease, READ);
  ASSERT_EQ(inodesOf(writer), (std::vector<uint64_t>{inode}));
  EXPECT_EQ(writer.recalls[0].kind, READ) << "what it has cached is good";
}

TEST_F(LeaseRecallsTest, AWriterThatHangsIsAskedOnceAndThenItsLeaseIsRecalled) {
  auto& writer = cachingMount();
  auto& reader = cachingMount();
  auto inode = createFile(writer, "f");
  writer.obeys = Obeys::NEVER;
  auto began = timer.now();
  EXPECT_EQ(getAttributes(reader, inode).status, Status::NOT_READY);
  EXPECT_LT(timer.now() - began, 1700 * kj::MILLISECONDS) << "a client gives a call two seconds";
  EXPECT_EQ(writer.described, 1u);
  EXPECT_EQ(writer.messages, 1u);
}

TEST_F(LeaseRecallsTest, TwoCallsOfOneMountThatWaitForTheSameAreBothAnswered) {
  auto& writer = cachingMount();
  auto& reader = cachingMount();
  auto inode = createFile(writer, "f");
  writer.obeys = Obeys::WHEN_TOLD;
  auto one = gettingAttributes(reader, inode), two = gettingAttributes(reader, inode);
  advance(100);
  EXPECT_FALSE(isDone(one) || isDone(two));
  writer.obey();
  EXPECT_EQ(await(kj::mv(one)).lease, READ);
  EXPECT_EQ(await(kj::mv(two)).lease, READ);
  EXPECT_EQ(writer.messages, 1u);
}

TEST_F(LeaseRecallsTest, WhoAcquiresWaitsForTheWriterToPublish) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f");
  one.obeys = Obeys::WHEN_TOLD;
  auto acquired = acquiring(two, inode, WRITE);
  advance(100);
  EXPECT_FALSE(isDone(acquired));
  EXPECT_EQ(publish(one, inode, 4096), Status::OK) << "while it is being recalled";
  one.obey();
  auto now = await(kj::mv(acquired));
  EXPECT_EQ(now.lease, WRITE);
  EXPECT_EQ(now.size, 4096u);
  EXPECT_EQ(publish(one, inode, 8192), Status::NOT_LEASED);
  EXPECT_EQ(getAttributes(two, inode).size, 4096u);
}

TEST_F(LeaseRecallsTest, APublishThatIsRepeatedIsAnsweredAsOfThenThoughItsLeaseIsGone) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f");
  auto publishAgain = [&]() {
    --one.sequence;
    return change(one, [&](rpc::Change::Builder change) {
      auto publish = change.initPublish();
      publish.setFile(inode);
      publish.setLength(4096);
    });
  };
  EXPECT_EQ(publish(one, inode, 4096), Status::OK);
  auto then = publishAgain().getOutcome().getAttributes().getDataVersion();
  EXPECT_EQ(acquire(two, inode, WRITE).lease, WRITE);
  EXPECT_EQ(publish(two, inode, 8192), Status::OK);
  // The answer was lost with the connection, and with it the lease.
  auto again = publishAgain();
  EXPECT_EQ(again.getOutcome().getStatus(), Status::OK);
  EXPECT_EQ(again.getOutcome().getAttributes().getDataVersion(), then)
      << "to tell others' changes from its own";
  EXPECT_EQ(again.getOutcome().getAttributes().getLease(), rpc::LeaseKind::NONE);
  EXPECT_EQ(publish(one, inode, 8192), Status::NOT_LEASED) << "one that is new";
  EXPECT_EQ(getAttributes(two, inode).size, 8192u);
}

TEST_F(LeaseRecallsTest, WhoHasNoLeaseMayNotLocateForWriting) {
  joinAll();
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f");
  EXPECT_EQ(locate(one, inode, For::WRITE).status, Status::OK);
  EXPECT_EQ(locate(two, inode, For::WRITE).status, Status::NOT_LEASED);
  EXPECT_EQ(locate(two, inode, For::READ).status, Status::OK);
  EXPECT_EQ(acquire(two, inode, APPEND).lease, APPEND);
  EXPECT_EQ(locate(two, inode, For::WRITE).status, Status::OK);
  EXPECT_EQ(locate(one, inode, For::WRITE).status, Status::NOT_LEASED);
}

TEST_F(LeaseRecallsTest, WhatIsNoRegularFileIsNotWritten) {
  auto& one = cachingMount();
  EXPECT_EQ(acquire(one, ROOT_INODE.value(), WRITE).status, Status::INVALID);
  EXPECT_EQ(acquire(one, ROOT_INODE.value(), READ).lease, READ);
  EXPECT_EQ(acquire(one, 99, READ).status, Status::NOT_FOUND);
  EXPECT_EQ(openFor(one, ROOT_INODE.value(), For::WRITE).lease, READ);
}

// ------------------------------------------------------------ who does not answer, or late

TEST_F(LeaseRecallsTest, ACallThatWaitsTooLongIsToldSoAndKeepsItsPlace) {
  auto& slow = cachingMount();
  auto& one = cachingMount();
  auto inode = createFile(slow, "f");
  slow.obeys = Obeys::WHEN_TOLD;
  auto first = changingMode(one, inode);
  advance(1050);
  EXPECT_EQ(statusOf(await(kj::mv(first))), Status::NOT_READY);
  slow.obey();
  settle();
  EXPECT_EQ(openFor(slow, inode, For::WRITE).lease, NONE) << "the other comes first";
  --one.sequence;
  EXPECT_EQ(statusOf(await(changingMode(one, inode))), Status::OK);
  EXPECT_EQ(slow.messages, 1u);
}

TEST_F(LeaseRecallsTest, AMountThatIsCutOffDelaysOthersByItsTerm) {
  auto& gone = cachingMount();
  auto& one = cachingMount();
  auto inode = createFile(gone, "f", Create::CLOSED);
  lookup(gone, "f");
  gone.obeys = Obeys::NEVER;
  auto began = timer.now();
  Status status = Status::NOT_READY;
  while (status == Status::NOT_READY) {
    status = statusOf(await(changingMode(one, inode)));
    --one.sequence;
    EXPECT_EQ(renew(one), Status::OK);
  }
  ++one.sequence;
  EXPECT_EQ(status, Status::OK);
  auto delay = timer.now() - began;
  EXPECT_GE(delay, LEASE_CACHE_TERM - 500 * kj::MILLISECONDS);
  EXPECT_LE(delay, LEASE_CACHE_TERM + CLOCK_ERROR_MAX + 100 * kj::MILLISECONDS);
  auto response = await(Response<rpc::Session::RenewResults>(gone.session.renewRequest().send()));
  EXPECT_EQ(response.getStatus(), Status::OK) << "it is not fenced for that";
  EXPECT_GT(response.getVoidUpTo(), 0u);
  EXPECT_GT(getAttributes(gone, inode).stamp, response.getVoidUpTo());
}

TEST_F(LeaseRecallsTest, AMountThatRenewsAndDoesNotObeyIsFenced) {
  auto& stuck = cachingMount();
  auto& one = cachingMount();
  auto inode = createFile(stuck, "f", Create::CLOSED);
  stuck.obeys = Obeys::NEVER;
  getAttributes(stuck, inode);
  auto status = Status::NOT_READY;
  for (uint32_t second = 0; second < 58 && status == Status::NOT_READY; ++second) {
    status = statusOf(await(changingMode(one, inode)));
    --one.sequence;
    EXPECT_EQ(renew(one), Status::OK);
    EXPECT_EQ(renew(stuck), second < 44 ? Status::OK : Status::SESSION_EXPIRED) << second;
  }
  EXPECT_EQ(status, Status::OK) << "within the minute for which a client is patient";
}

TEST_F(LeaseRecallsTest, WhatALostWriterHadOnItsWayMeetsNoLeaseAnyMore) {
  joinAll();
  auto& lost = cachingMount();
  auto& one = cachingMount();
  auto inode = createFile(lost, "f");
  auto before = locate(lost, inode, For::WRITE);
  ASSERT_EQ(before.status, Status::OK);
  lost.obeys = Obeys::NEVER;
  auto acquired = acquire(one, inode, READ);
  for (uint32_t second = 0; second < 12 && acquired.status == Status::NOT_READY; ++second) {
    EXPECT_EQ(byId(before.primary).leases.count(before.handle.value()), 1u);
    acquired = acquire(one, inode, READ);
    EXPECT_EQ(renew(one), Status::OK);
  }
  EXPECT_EQ(acquired.lease, READ);
  EXPECT_EQ(byId(before.primary).leases.count(before.handle.value()), 0u) << "taken back before others read";
  EXPECT_EQ(locate(lost, inode, For::WRITE).status, Status::NOT_LEASED);
  EXPECT_EQ(publish(lost, inode, 1 << 20), Status::NOT_LEASED);
}

TEST_F(LeaseRecallsTest, ARecallIsSentAgainOnANewConnection) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f");
  auto stamp = getAttributes(one, inode).stamp;
  one.obeys = Obeys::NEVER;
  auto acquired = acquiring(two, inode, READ);
  settle();
  one.obeys = Obeys::AT_ONCE;
  EXPECT_EQ(openSession(one, {inode}, {{InodeId(inode), WRITE, LeaseStamp(stamp)}}), Status::OK);
  EXPECT_EQ(await(kj::mv(acquired)).lease, READ);
  EXPECT_EQ(one.messages, 2u);
  EXPECT_TRUE(one.refused.empty());
}

TEST_F(LeaseRecallsTest, WhatIsGivenBackIsNotRecalled) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f");
  giveBack(one, inode, NONE, getAttributes(one, inode).stamp);
  EXPECT_EQ(acquire(two, inode, WRITE).lease, WRITE);
  EXPECT_TRUE(one.recalls.empty());
}

TEST_F(LeaseRecallsTest, AMountThatClosesHasGivenAllBack) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f");
  one.obeys = Obeys::NEVER;
  await(one.session.closeRequest().send().ignoreResult());
  EXPECT_EQ(acquire(two, inode, WRITE).lease, WRITE);
}

// ------------------------------------------------------------------------------------------------- restart

TEST_F(LeaseRecallsTest, AfterARestartOthersWaitForTheWriterToComeBack) {
  auto& writer = cachingMount();
  auto& reader = cachingMount();
  auto inode = createFile(writer, "f");
  auto stamp = getAttributes(writer, inode).stamp;
  writer.obeys = Obeys::WHEN_TOLD;
  restart();
  EXPECT_EQ(openSession(reader), Status::OK);
  auto seen = gettingAttributes(reader, inode);
  advance(500);
  EXPECT_FALSE(isDone(seen)) << "the one who knows is missing";
  EXPECT_EQ(openSession(writer, {inode}, {{InodeId(inode), WRITE, LeaseStamp(stamp)}}), Status::OK);
  EXPECT_EQ(publish(writer, inode, 777), Status::OK);
  settle();
  writer.obey();
  auto now = await(kj::mv(seen));
  EXPECT_EQ(now.status, Status::OK);
  EXPECT_EQ(now.size, 777u);
  EXPECT_GT(getAttributes(writer, inode).stamp, stamp);
}

TEST_F(LeaseRecallsTest, AfterARestartAMissingMountIsWaitedForForItsTerm) {
  auto& gone = cachingMount();
  auto& one = cachingMount();
  auto inode = createFile(gone, "f", Create::CLOSED);
  restart();
  EXPECT_EQ(openSession(one), Status::OK);
  EXPECT_EQ(statusOf(await(changingMode(one, inode))), Status::NOT_READY);
  live({&one}, 8'000);
  --one.sequence;
  EXPECT_EQ(statusOf(await(changingMode(one, inode))), Status::NOT_READY);
  live({&one}, 1'000);
  --one.sequence;
  EXPECT_EQ(statusOf(await(changingMode(one, inode))), Status::OK);
}

TEST_F(LeaseRecallsTest, AfterARestartWithEverybodyBackNobodyWaits) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f", Create::CLOSED);
  restart();
  EXPECT_EQ(openSession(one), Status::OK);
  EXPECT_EQ(openSession(two), Status::OK);
  auto began = timer.now();
  EXPECT_EQ(statusOf(await(changingMode(two, inode))), Status::OK);
  EXPECT_EQ(getAttributes(one, inode).lease, READ);
  EXPECT_EQ(timer.now(), began);
}

// -------------------------------------------------------------------------------------------------- status

TEST_F(LeaseRecallsTest, TheStatusShowsWhoHasWhatAndWhoIsWaitedFor) {
  auto& one = cachingMount();
  auto& two = cachingMount();
  auto inode = createFile(one, "f");
  one.obeys = Obeys::NEVER;
  auto acquired = acquiring(two, inode, READ);
  advance(300);
  auto status = service->newConnection("a tool").statusRequest();
  auto response = await(Response<rpc::Metaserver::StatusResults>(status.send()));
  auto leases = response.getStatus().getLeases();
  EXPECT_EQ(leases.getWriting(), 1u);
  EXPECT_EQ(leases.getRecalls(), 1u);
  EXPECT_EQ(leases.getWaiting(), 1u);
  EXPECT_GE(leases.getOldestMs(), 250u);
  auto mounts = response.getStatus().getMounts();
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].getSession(), one.id);
  EXPECT_EQ(mounts[0].getRecalls(), 1u);
  EXPECT_EQ(mounts[1].getRecalls(), 0u);
}

TEST_F(LeaseRecallsTest, AFileThatIsGoneTakesItsLeasesAlong) {
  auto& one = cachingMount();
  auto inode = createFile(one, "f", Create::CLOSED);
  auto before = service->leases.counts().held;
  EXPECT_EQ(unlink(one, "f"), Status::OK);
  advance(3000);
  EXPECT_FALSE(names->read().inode(InodeId(inode)).ok());
  EXPECT_EQ(service->leases.counts().held, before - 1);
}

}  // namespace
}  // namespace cairn
