// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The operations on chunks, sessions and stores.
#include "test/metaserver/operation_fixture.h"

namespace cairn {
namespace {

// ------------------------------------------------------------ chunks

TEST_F(OperationTest, AChunkIsAttachedOnceUnderAReservedHandle) {
  auto f = client->file(ROOT_INODE, "f");
  auto first = world.own([](auto body) { body.setReserveHandles(10); }).number;
  EXPECT_EQ(world.own([](auto body) { body.setReserveHandles(1); }).number, first + 10);
  EXPECT_TRUE(world.attach(f, 0, first).ok());
  auto again = world.attach(f, 0, first + 1);
  EXPECT_EQ(again.status, Status::EXISTS);
  EXPECT_EQ(again.chunk, ChunkHandle(first));
  EXPECT_EQ(world.attach(f, 1, first).status, Status::INVALID) << "in use";
  EXPECT_EQ(world.attach(f, 1, first + 100).status, Status::INVALID) << "not reserved";
  EXPECT_EQ(world.attach(f, 1, 0).status, Status::INVALID);
  EXPECT_EQ(world.attach(ROOT_INODE, 0, first + 2).status, Status::INVALID);
  EXPECT_EQ(world.attach(f, UINT64_MAX, first + 2).status, Status::TOO_BIG);
  EXPECT_EQ(world.attach(InodeId(99), 0, first + 2).status, Status::NOT_FOUND);
  auto record = KJ_REQUIRE_NONNULL(world.read().chunk(ChunkHandle(first)));
  EXPECT_EQ(record.version, ChunkVersion(1));
  EXPECT_EQ(record.floor, ChunkVersion(1));
  EXPECT_EQ(record.replicas, 3);
  client->truncate(f, 0);
  EXPECT_EQ(world.attach(f, 0, first).status, Status::INVALID) << "garbage is not given a second life";
}

TEST_F(OperationTest, VersionsRiseAndTheFloorFollowsWhenConfirmed) {
  auto f = client->file(ROOT_INODE, "f");
  auto chunk = world.attach(f, 0);
  EXPECT_EQ(world.raise(chunk, 1).number, 2u);
  EXPECT_EQ(world.raise(chunk, 1).status, Status::STALE_VERSION);
  EXPECT_EQ(world.raise(chunk, 2).number, 3u);
  EXPECT_EQ(KJ_REQUIRE_NONNULL(world.read().chunk(chunk)).floor, ChunkVersion(1));
  EXPECT_EQ(world.confirm(chunk, 2).status, Status::STALE_VERSION);
  EXPECT_TRUE(world.confirm(chunk, 3).ok());
  EXPECT_EQ(KJ_REQUIRE_NONNULL(world.read().chunk(chunk)).floor, ChunkVersion(3));
  EXPECT_EQ(world.raise(ChunkHandle(99), 1).status, Status::NOT_FOUND);
  EXPECT_EQ(world.confirm(ChunkHandle(99), 1).status, Status::NOT_FOUND);
}

TEST_F(OperationTest, ATruncateIsDoneWhenARoundThatToldItIsConfirmed) {
  auto f = client->file(ROOT_INODE, "f");
  auto chunk = world.attach(f, 0);
  client->publish(f, 10000);
  client->truncate(f, 5000);
  ASSERT_TRUE(world.raise(chunk, 1).ok());
  EXPECT_EQ(world.confirm(chunk, 2).status, Status::STALE_VERSION) << "the replicas were not told";
  client->truncate(f, 3000);
  EXPECT_EQ(world.confirm(chunk, 2, 5000).status, Status::STALE_VERSION) << "another cut came between";
  EXPECT_TRUE(world.confirm(chunk, 2, 3000).ok());
  EXPECT_EQ(KJ_REQUIRE_NONNULL(world.read().chunk(chunk)).validBytes, ALL_BYTES_VALID);
}

// ------------------------------------------------------------ sessions and stores

TEST_F(OperationTest, ARepeatedChangeGetsTheFirstAnswerAlsoAfterARestart) {
  auto ask = [&](uint64_t sequence, uint64_t answered) {
    client->sequence = sequence - 1;
    client->acknowledge = false;
    auto operation = client->prepare([&](auto change) {
      change.setAnswered(answered);
      auto request = change.initCreate();
      request.setParent(1);
      request.setName("once");
      request.setExclusive(true);
    });
    return world.propose(kj::mv(operation));
  };
  auto first = ask(1, 0);
  ASSERT_TRUE(first.ok());
  tick();
  auto again = ask(1, 0);
  EXPECT_TRUE(again.ok());
  EXPECT_EQ(again.index, first.index);
  EXPECT_TRUE(KJ_REQUIRE_NONNULL(again.attributes) == KJ_REQUIRE_NONNULL(first.attributes));
  EXPECT_TRUE(KJ_REQUIRE_NONNULL(again.parent) == KJ_REQUIRE_NONNULL(first.parent));
  EXPECT_EQ(ask(2, 0).status, Status::EXISTS);
  world.killAndRestart();
  EXPECT_EQ(ask(1, 0).index, first.index) << "from the log";
  world.stop();
  world.start();
  EXPECT_EQ(ask(1, 0).index, first.index) << "from the store";
  EXPECT_EQ(ask(2, 0).status, Status::EXISTS) << "a refusal is remembered as well";
  EXPECT_EQ(ask(3, 1).status, Status::EXISTS);
  EXPECT_EQ(ask(1, 0).status, Status::INVALID) << "it said that it has the answer";
  EXPECT_EQ(ask(2, 0).status, Status::EXISTS);
  world.stop();
  world.start();
  EXPECT_EQ(ask(1, 0).status, Status::INVALID);
  EXPECT_EQ(world.state().inodes, 2u);
}

TEST_F(OperationTest, AnswersGoWhenTheyAreAcknowledgedAndWithTheirSession) {
  for (int i = 0; i < 20; ++i) client->file(ROOT_INODE, kj::str(i));
  auto count = [&]() {
    auto dump = world.theNames().dump();
    size_t found = 0;
    for (size_t at = 0; (at = std::string(dump.cStr()).find("answer of session", at)) != std::string::npos;
         ++at)
      ++found;
    return found;
  };
  EXPECT_EQ(count(), 1u);
  auto f = client->file(ROOT_INODE, "orphan");
  client->unlink(ROOT_INODE, "orphan");
  auto close = [&]() {
    return world
        .own([&](auto body) {
          auto request = body.initCloseSession();
          request.setClosed(client->session.value());
          request.initPurge(1).set(0, f.value());
        })
        .status;
  };
  EXPECT_EQ(close(), Status::OK);
  EXPECT_EQ(count(), 0u);
  EXPECT_EQ(statusOf(f), Status::STALE);
  EXPECT_TRUE(world.read().session(client->session) == nullptr);
  EXPECT_EQ(close(), Status::SESSION_EXPIRED);
  EXPECT_EQ(client->create(ROOT_INODE, "late").status, Status::SESSION_EXPIRED);
}

TEST_F(OperationTest, SessionIdsAreNeverGivenAgain) {
  auto second = world.openSession("second");
  EXPECT_EQ(second.value(), client->session.value() + 1);
  world.own([&](auto body) { body.initCloseSession().setClosed(second.value()); });
  world.killAndRestart();
  EXPECT_EQ(world.openSession("third").value(), second.value() + 1);
  auto sessions = world.read().sessions();
  ASSERT_EQ(sessions.size(), 2u);
  EXPECT_EQ(sessions[1].name, "third");
}

TEST_F(OperationTest, AStoreKeepsItsServerId) {
  auto registerStore = [&](kj::StringPtr uuid, uint32_t remembered) {
    return world.own([&](auto body) {
      auto request = body.initRegisterStore();
      request.setStore(uuid);
      request.setServer(remembered);
    });
  };
  EXPECT_EQ(registerStore("uuid-a", 0).number, 1u);
  EXPECT_EQ(registerStore("uuid-b", 0).number, 2u);
  EXPECT_EQ(registerStore("uuid-a", 1).number, 1u);
  EXPECT_EQ(registerStore("uuid-a", 9).number, 1u) << "what is on record counts";
  EXPECT_EQ(registerStore("uuid-c", 7).number, 7u) << "the record was lost: the store knows";
  EXPECT_EQ(registerStore("uuid-d", 0).number, 8u);
  EXPECT_EQ(registerStore("uuid-e", 2).status, Status::INVALID) << "another store has it";
  EXPECT_EQ(registerStore("", 0).status, Status::INVALID);
  EXPECT_EQ(world.read().stores().size(), 4u);
  EXPECT_TRUE(world.own([](auto body) { body.setUnregisterStore(8); }).ok());
  EXPECT_EQ(world.own([](auto body) { body.setUnregisterStore(8); }).status, Status::NOT_FOUND);
  EXPECT_EQ(registerStore("uuid-f", 0).number, 9u) << "an id is not given again";
}

TEST_F(OperationTest, AMessageWithoutItsClosingZeroIsRefusedAlsoWhenReplayed) {
  auto operation = client->prepare([&](auto change) {
    auto request = change.initUnlink();
    request.setParent(1);
    auto name = request.initName(3);
    memcpy(name.begin(), "abc", 3);
    const_cast<char*>(name.end())[0] = 'x';
  });
  EXPECT_EQ(world.propose(kj::mv(operation)).status, Status::INVALID);
  world.killAndRestart();
  EXPECT_TRUE(client->create(ROOT_INODE, "goes on").ok());
}

}  // namespace
}  // namespace cairn
