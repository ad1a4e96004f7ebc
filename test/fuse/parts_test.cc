// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The parts that need no mount: errnos, options, the mount table, what the kernel holds.
#include <errno.h>
#include <gtest/gtest.h>
#include <kj/async.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include "fuse/attributes.h"
#include "fuse/buffer_pool.h"
#include "fuse/inode_table.h"
#include "fuse/libfuse.h"
#include "fuse/listings_given.h"
#include "fuse/mount_command.h"
#include "fuse/mount_table.h"
#include "fuse/request.h"
#include "fuse/status_errno.h"

namespace cairn::fuse {
namespace {

TEST(StatusErrno, EachStatusHasTheErrnoTheSchemaPromises) {
  std::map<Status, int> promised = {
      {Status::OK, 0},
      {Status::NOT_FOUND, ENOENT},
      {Status::EXISTS, EEXIST},
      {Status::NOT_EMPTY, ENOTEMPTY},
      {Status::IS_DIRECTORY, EISDIR},
      {Status::NOT_DIRECTORY, ENOTDIR},
      {Status::NO_SPACE, ENOSPC},
      {Status::TOO_BIG, EFBIG},
      {Status::NAME_TOO_LONG, ENAMETOOLONG},
      {Status::TOO_MANY_LINKS, EMLINK},
      {Status::INVALID, EINVAL},
      {Status::NOT_PERMITTED, EPERM},
      {Status::ACCESS_DENIED, EACCES},
      {Status::STALE, ESTALE},
      {Status::NOT_SUPPORTED, EOPNOTSUPP},
      {Status::CROSS_DEVICE, EXDEV},
      {Status::BUSY, EBUSY},
      {Status::NO_DATA, ENODATA},
      {Status::RANGE, ERANGE},
      {Status::OVER_QUOTA, EDQUOT},
      {Status::SESSION_EXPIRED, ESTALE},
      {Status::LOOP, EINVAL},
      {Status::WOULD_BLOCK, EAGAIN},
      {Status::DEADLOCK, EDEADLK},
  };
  for (uint16_t number = 0; number <= uint16_t(Status::NOT_LEASED); ++number) {
    auto status = Status(number);
    auto found = promised.find(status);
    EXPECT_EQ(errnoOf(status), found == promised.end() ? EIO : found->second) << kj::str(status).cStr();
  }
  EXPECT_EQ(errnoOf(Status(999)), EIO) << "from a newer peer";
}

TEST(Attributes, TimesBefore1970HavePositiveNanoseconds) {
  FileAttributes attributes{.mtime = {-1}, .ctime = {1'500'000'000}};
  auto status = statOf(attributes);
  EXPECT_EQ(status.st_mtim.tv_sec, -1);
  EXPECT_EQ(status.st_mtim.tv_nsec, 999'999'999);
  EXPECT_EQ(status.st_ctim.tv_sec, 1);
  EXPECT_EQ(status.st_ctim.tv_nsec, 500'000'000);
}

TEST(Attributes, TimesBeyondNanosecondsStayAtTheEdge) {
  struct stat wanted = {};
  wanted.st_mtim = {.tv_sec = INT64_MAX, .tv_nsec = 0};
  wanted.st_atim = {.tv_sec = INT64_MIN, .tv_nsec = 0};
  auto change = changeOf(wanted, FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME);
  EXPECT_EQ(KJ_ASSERT_NONNULL(change.mtime).ns, INT64_MAX);
  EXPECT_EQ(KJ_ASSERT_NONNULL(change.atime).ns, INT64_MIN);
  EXPECT_TRUE(change.size == nullptr);
}

TEST(Attributes, SetgidWithoutGroupExecutionIsNotAPrivilege) {
  for (auto caller : {OfGroup::NO, OfGroup::YES}) {
    EXPECT_EQ(withoutPrivileges(06755, caller), 0755);
    EXPECT_EQ(withoutPrivileges(01777, caller), 01777);
  }
  EXPECT_EQ(withoutPrivileges(06644, OfGroup::YES), 02644);
  EXPECT_EQ(withoutPrivileges(06644, OfGroup::NO), 0644);
}

TEST(InodeTableTest, AnEntryLivesWhileItsLookupsAreNotForgotten) {
  InodeTable table;
  InodeId inode(7);
  table.lookedUp(inode), table.lookedUp(inode), table.lookedUp(inode);
  table.forget(inode, 2);
  EXPECT_EQ(table.lookupsOf(inode), 1u);
  table.forget(inode, 1);
  EXPECT_FALSE(table.knows(inode));
  table.forget(inode, 5);  // the kernel is not to be believed blindly
  table.forget(ROOT_INODE, 5);
  EXPECT_TRUE(table.knows(ROOT_INODE));
  EXPECT_EQ(table.size(), 1u);
}

TEST(InodeTableTest, NamesAreThereUntilTheyAreTakenAndPagesFromTheFirstOpenOn) {
  InodeTable table;
  InodeId inode(7), other(8);
  table.lookedUp(inode), table.lookedUp(other);
  table.namesKept(inode), table.namesKept(inode), table.namesKept(InodeId(9));
  EXPECT_FALSE(table.takeNames(other));
  EXPECT_TRUE(table.takeNames(inode));
  EXPECT_FALSE(table.takeNames(inode));
  table.opened(other), table.opened(InodeId(9));
  EXPECT_EQ(table.withPages(), std::vector<InodeId>{other});
  table.forget(other, 1);
  EXPECT_TRUE(table.withPages().empty());
}

TEST(ReceiveBuffers, ComeBackForReuseAndAreBounded) {
  auto pool = kj::refcounted<BufferPool>(8192);
  auto first = pool->take();
  auto memory = first->bytes().begin();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 4096, 0u);
  first = nullptr;
  EXPECT_EQ(pool->outstanding(), 0u);
  kj::Vector<kj::Own<BufferPool::Buffer>> out;
  out.add(pool->take());
  EXPECT_EQ(out[0]->bytes().begin(), memory);
  while (pool->mayLend()) out.add(pool->take());
  EXPECT_EQ(out.size(), BufferPool::LENT_MAX);
  pool = nullptr;  // a write may outlive the session
}

TEST(MountTable, TheTopmostMountAtAPathCounts) {
  auto table =
      "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
      "40 22 0:39 / /mnt/a\\040b rw,nosuid - fuse.cairn 10.0.0.1:9400 rw,user_id=0\n"
      "41 40 0:40 / /mnt/a\\040b rw shared:3 master:4 - tmpfs tmpfs rw\n";
  auto root = KJ_ASSERT_NONNULL(parseMountTable(table, "/"));
  EXPECT_STREQ(root.device.cStr(), "254:0");
  auto top = KJ_ASSERT_NONNULL(parseMountTable(table, "/mnt/a b"));
  EXPECT_STREQ(top.type.cStr(), "tmpfs");
  EXPECT_STREQ(top.device.cStr(), "0:40");
  EXPECT_TRUE(parseMountTable(table, "/mnt") == nullptr);
}

TEST(MountTable, WhatIsMountedBelowOursIsSeen) {
  std::string table =
      "22 1 254:0 / / rw shared:1 - ext4 /dev/root rw\n"
      "40 22 0:39 / /mnt/a rw,nosuid - fuse.cairn 10.0.0.1:9400 rw,user_id=0\n"
      "41 22 0:40 / /mnt/ab rw - tmpfs tmpfs rw\n";
  EXPECT_FALSE(hasNestedMounts(table.c_str(), "/mnt/a"));
  EXPECT_FALSE(hasNestedMounts(table.c_str(), "/mnt/nothing"));
  EXPECT_TRUE(
      hasNestedMounts((table + "42 40 0:41 / /mnt/a/deep/er rw - tmpfs tmpfs rw\n").c_str(), "/mnt/a"));
  auto bound = table + "43 22 0:39 /deep /home/bound rw - fuse.cairn 10.0.0.1:9400 rw\n";
  EXPECT_FALSE(hasNestedMounts(bound.c_str(), "/mnt/a"));
  bound += "44 43 0:41 / /home/bound/er rw - tmpfs tmpfs rw\n";
  EXPECT_TRUE(hasNestedMounts(bound.c_str(), "/mnt/a")) << "the same directory by another path";
}

std::string joined(const MountCommand& command) {
  std::string result;
  for (auto& option : command.mountOptions) result += (result.empty() ? "" : ",") + option;
  return result;
}

std::string refusal(std::vector<const char*> words) {
  try {
    parseMountCommand(int(words.size()), words.data());
    return "";
  } catch (const BadCommand& bad) {
    return bad.what();
  }
}

TEST(MountCommandTest, TakesWhatMount8AndFstabPass) {
  const char* words[] = {"/sbin/mount.cairn",
                         "10.0.0.1:9400",
                         "/mnt",
                         "-n",
                         "-o",
                         "rw,noatime,dev,suid,_netdev,x-systemd.automount,user=joe,attr_timeout=5"};
  auto command = parseMountCommand(6, words);
  EXPECT_EQ(command.metaserver, "10.0.0.1:9400");
  EXPECT_EQ(command.mountPoint, "/mnt");
  EXPECT_EQ(command.handlers.attributeTimeout, 5);
  EXPECT_EQ(command.where, MountCommand::Where::BACKGROUND);
  auto expected = std::string("rw,noatime,dev,suid,default_permissions,fsname=10.0.0.1:9400,subtype=cairn");
  EXPECT_EQ(joined(command), expected + (geteuid() == 0 ? ",allow_other" : ""));
}

TEST(MountCommandTest, OptionsMayBeGivenMoreThanOnce) {
  const char* words[] = {"cairn-fuse", "--metaserver",          "h:1", "/mnt", "-f", "-o", "ro",
                         "-o",         "entry_timeout=0.5,exec"};
  auto command = parseMountCommand(9, words);
  EXPECT_EQ(command.where, MountCommand::Where::FOREGROUND);
  EXPECT_EQ(command.handlers.entryTimeout, 0.5);
  EXPECT_EQ(joined(command).substr(0, 7), "ro,exec");
}

TEST(MountCommandTest, RefusesWithASentence) {
  EXPECT_NE(refusal({"cairn-fuse", "--metaserver", "nowhere", "/mnt"}).find("HOST:PORT"), std::string::npos);
  EXPECT_NE(refusal({"cairn-fuse", "--metaserver", "h:99999", "/mnt"}).find("HOST:PORT"), std::string::npos);
  EXPECT_NE(refusal({"cairn-fuse", "/mnt"}).find("--metaserver"), std::string::npos);
  EXPECT_NE(refusal({"mount.cairn", "h:1", "/mnt", "-o", "atr_timeout=1"}).find("atr_timeout"),
            std::string::npos);
  EXPECT_NE(refusal({"mount.cairn", "h:1", "/mnt", "-o", "attr_timeout=soon"}).find("seconds"),
            std::string::npos);
  EXPECT_NE(refusal({"cairn-fuse", "--help"}).find("/etc/fstab"), std::string::npos);
}

TEST(ProcCallersTest, AThreadThatIsNoMoreDoesNotWaitForAnAnswer) {
  auto child = fork();
  if (child == 0) _exit(0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  auto callers = procCallers();
  EXPECT_EQ(callers->fateOf(child), Callers::Fate::DIES);
  EXPECT_EQ(callers->fateOf(getpid()), Callers::Fate::LIVES);
  EXPECT_EQ(callers->fateOf(0), Callers::Fate::LIVES) << "of another pid namespace: who knows";
}

struct ListingsGivenTest : testing::Test {
  ~ListingsGivenTest() noexcept override {}
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  ListingsGiven listings{timer};
  int one = 0, other = 0;  // open directories
  void pass(kj::Duration time) { timer.advanceTo(timer.now() + time); }
};

TEST_F(ListingsGivenTest, AreTakenWhenTheirDirectoryComesBack) {
  EXPECT_FALSE(listings.any(nullptr));
  listings.given(&one, InodeId(7));
  listings.given(&other, InodeId(8));
  EXPECT_TRUE(listings.any(nullptr));
  EXPECT_TRUE(listings.any(InodeId(7)));
  EXPECT_FALSE(listings.any(InodeId(9)));
  kj::Promise<void> seven = listings.allTaken(InodeId(7)), all = listings.allTaken(nullptr),
                    nine = listings.allTaken(InodeId(9));
  EXPECT_TRUE(nine.poll(scope)) << "nobody has listed it";
  listings.taken(&other);
  EXPECT_FALSE(seven.poll(scope));
  listings.taken(&one);
  EXPECT_TRUE(seven.poll(scope));
  EXPECT_TRUE(all.poll(scope));
  EXPECT_FALSE(listings.any(nullptr));
}

TEST_F(ListingsGivenTest, AreTakenInTheEndWhateverTheirReaderDoes) {
  listings.given(&one, InodeId(7));
  kj::Promise<void> seven = listings.allTaken(InodeId(7));
  pass(ListingsGiven::TAKING_MAX - 1 * kj::MILLISECONDS);
  EXPECT_FALSE(seven.poll(scope));
  EXPECT_TRUE(listings.any(InodeId(7)));
  pass(1 * kj::MILLISECONDS);
  EXPECT_TRUE(seven.poll(scope));
  EXPECT_FALSE(listings.any(InodeId(7)));
}

TEST_F(ListingsGivenTest, NobodyWaitsAfterTheEnd) {
  listings.given(&one, InodeId(7));
  kj::Promise<void> seven = listings.allTaken(InodeId(7));
  listings.stop();
  EXPECT_TRUE(seven.poll(scope));
  seven.wait(scope);
}

}  // namespace
}  // namespace cairn::fuse
