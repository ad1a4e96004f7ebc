// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The workload on a filesystem in memory: it finds nothing in a right one and what is wrong in a wrong one.
#include "test/sim/cluster/workload.h"

#include <gtest/gtest.h>

#include "test/fuse/memory_filesystem.h"

namespace cairn::sim {
namespace {

class Users : public testing::Test {
 public:
  ~Users() noexcept override {}

 protected:
  VirtualTime time;
  kj::EventLoop loop{time};
  kj::WaitScope scope{loop};
  Transcript transcript{time};
  fuse::MemoryFilesystem filesystem;

  kj::Own<Workload> workload(uint64_t seed) {
    auto result =
        kj::heap<Workload>(time.timer(), transcript, WorkloadOptions{.seed = seed, .operations = 300});
    result->addClient(filesystem);
    result->addClient(filesystem);
    return result;
  }
  void complete(Workload& workload) {
    time.run(workload.run(), scope);
    time.run(workload.verify(filesystem), scope);
  }
};

TEST_F(Users, FindNothingWrongInARightFilesystem) {
  for (uint64_t seed : {1, 2, 3}) {
    filesystem.~MemoryFilesystem();
    new (&filesystem) fuse::MemoryFilesystem();
    auto users = workload(seed);
    complete(*users);
    EXPECT_EQ(kj::str(kj::strArray(users->violations(), "\n")), "") << transcript.last(30);
    EXPECT_EQ(users->operationsDone(), 4 * 300u);
  }
}

TEST_F(Users, NoticeBytesThatNobodyWrote) {
  auto users = workload(1);
  uint32_t writes = 0;
  filesystem.before = [&](kj::StringPtr operation, InodeId inode) -> kj::Promise<void> {
    // Not once: the next write or truncate of that file may cover it before anybody reads.
    if (operation == "write" && ++writes % 5 == 0) filesystem.appendElsewhere(inode, "x");
    return kj::READY_NOW;
  };
  complete(*users);
  EXPECT_GT(users->violations().size(), 0u);
}

TEST_F(Users, NoticeANameThatAppears) {
  auto users = workload(1);
  uint32_t calls = 0;
  filesystem.before = [&](kj::StringPtr operation, InodeId inode) -> kj::Promise<void> {
    if (operation == "create" && ++calls == 5) filesystem.makeElsewhere(inode, "f99");
    return kj::READY_NOW;
  };
  complete(*users);
  EXPECT_GT(users->violations().size(), 0u);
}

TEST_F(Users, NoticeAFailedFlush) {
  auto users = workload(1);
  uint32_t calls = 0;
  filesystem.before = [&](kj::StringPtr operation, InodeId inode) -> kj::Promise<void> {
    if (operation == "write" && ++calls >= 5) filesystem.failNextFlush(inode, Status::IO_ERROR);
    return kj::READY_NOW;
  };
  complete(*users);
  EXPECT_GT(users->violations().size(), 0u);
}

TEST_F(Users, GoOnAfterTheDeathOfTheirClient) {
  auto users = workload(4);
  auto running = users->run();
  for (int i = 0; i < 10; ++i) {
    time.timer().afterDelay(200 * kj::MILLISECONDS).wait(scope);
    users->clientDies(1);
    users->clientIsBack(1, filesystem);
  }
  time.run(kj::mv(running), scope);
  time.run(users->verify(filesystem), scope);
  EXPECT_EQ(kj::str(kj::strArray(users->violations(), "\n")), "") << transcript.last(30);
}

}  // namespace
}  // namespace cairn::sim
