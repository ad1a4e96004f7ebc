// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What the session loop promises beyond POSIX: listings while names come and go, slow operations, callers
// that are killed, what another client changes, and that nothing the kernel gave back is kept.
#include "test/fuse/mounted.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <set>
#include <thread>

namespace cairn::fuse {
namespace {

class Session : public Mounted {
 protected:
  template <typename Condition>
  bool eventually(Condition condition) {
    // Waits on the other side of the kernel: there is no event for it here.
    for (auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
         std::chrono::steady_clock::now() < end;) {
      if (condition()) return true;
      std::this_thread::yield();
    }
    return condition();
  }
  size_t inodesKnown() {
    return onLoop([](MemoryFilesystem&, SessionLoop& session) {
      return session.requestHandlers().inodeTable().size();
    });
  }
  size_t filesOpen() {
    return onLoop(
        [](MemoryFilesystem&, SessionLoop& session) { return session.requestHandlers().openFiles(); });
  }
  uint64_t calls(const char* operation) {
    return onLoop([&](MemoryFilesystem& memory, SessionLoop&) { return memory.calls[operation]; });
  }
};

struct Listing {
  std::multiset<std::string> names;
  int error = 0;
};

Listing list(const std::string& path) {
  Listing result;
  auto directory = opendir(path.c_str());
  if (directory == nullptr) {
    result.error = errno;
    return result;
  }
  errno = 0;
  while (auto entry = readdir(directory)) result.names.insert(entry->d_name);
  result.error = errno;
  closedir(directory);
  return result;
}

// ---------------------------------------------------------------- listings

TEST_F(Session, AListingHasEachNameOnceAndDotAndDotDot) {
  for (int i = 0; i < 2500; ++i) {
    onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
      memory.makeElsewhere(ROOT_INODE, kj::str("file-", i, std::string(i % 200, 'x').c_str()));
    });
  }
  auto listing = list(path());
  EXPECT_EQ(listing.error, 0);
  EXPECT_EQ(listing.names.size(), 2502u);
  EXPECT_EQ(std::set<std::string>(listing.names.begin(), listing.names.end()).size(), 2502u);
  EXPECT_EQ(listing.names.count("."), 1u);
  EXPECT_EQ(listing.names.count(".."), 1u);
  EXPECT_LE(calls("readDirectory"), 6u) << "pages of 1,000, however little the kernel asks for";
}

TEST_F(Session, NamesThatStayAreListedOnceWhileOthersComeAndGo) {
  for (int i = 0; i < 5000; ++i) {
    onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
      memory.makeElsewhere(ROOT_INODE, kj::str("stays-", i));
    });
  }
  std::atomic<bool> stop = false;
  std::thread churn([&]() {
    for (int i = 0; !stop; ++i) {
      auto name = path("comes-" + std::to_string(i % 50));
      close(open(name.c_str(), O_CREAT | O_WRONLY, 0644));
      unlink(name.c_str());
    }
  });
  for (int round = 0; round < 5; ++round) {
    auto listing = list(path());
    EXPECT_EQ(listing.error, 0);
    size_t stayed = 0;
    for (auto& name : listing.names) stayed += name.starts_with("stays-");
    EXPECT_EQ(stayed, 5000u);
    for (int i = 0; i < 5000; i += 999) EXPECT_EQ(listing.names.count("stays-" + std::to_string(i)), 1u);
  }
  stop = true;
  churn.join();
}

TEST_F(Session, RemovingWhatIsListedMeanwhileRemovesAll) {
  for (int i = 0; i < 3000; ++i) {
    onLoop(
        [&](MemoryFilesystem& memory, SessionLoop&) { memory.makeElsewhere(ROOT_INODE, kj::str("f", i)); });
  }
  EXPECT_EQ(inChild([&]() { return system(("find " + path() + " -type f -delete").c_str()); }), 0);
  EXPECT_EQ(list(path()).names.size(), 2u);
}

TEST_F(Session, ALongListingGivesOneCallPerThousandAttributesAndNoStat) {
  for (int i = 0; i < 1500; ++i) {
    onLoop(
        [&](MemoryFilesystem& memory, SessionLoop&) { memory.makeElsewhere(ROOT_INODE, kj::str("f", i)); });
  }
  auto lookups = calls("lookup");
  EXPECT_EQ(inChild([&]() { return system(("ls -l " + path() + " > /dev/null").c_str()); }), 0);
  EXPECT_LE(calls("readDirectory"), 4u);
  EXPECT_LE(calls("lookup") - lookups, 100u)
      << "the first entries are looked up before the kernel sees the use of plus";
}

TEST_F(Session, AnOldPageDoesNotBringBackARemovedNameOrAnOldSize) {
  for (int i = 0; i < 100; ++i) writeAll("f" + std::to_string(i), "");
  auto directory = opendir(path().c_str());
  for (int i = 0; i < 3; ++i)
    ASSERT_NE(readdir(directory), nullptr);  // the page is read, the rest is still to come
  writeAll("f90", "grown since");
  ASSERT_EQ(unlink(path("f95").c_str()), 0);
  while (readdir(directory) != nullptr) {
  }
  closedir(directory);
  struct stat status;
  ASSERT_EQ(stat(path("f90").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 11);
  EXPECT_EQ(readAll("f90"), "grown since");
  EXPECT_EQ(stat(path("f95").c_str(), &status), -1);
}

TEST_F(Session, SeekingInADirectoryComesBackToTheSameEntry) {
  for (int i = 0; i < 1200; ++i) {
    onLoop(
        [&](MemoryFilesystem& memory, SessionLoop&) { memory.makeElsewhere(ROOT_INODE, kj::str("f", i)); });
  }
  auto directory = opendir(path().c_str());
  std::vector<std::pair<long, std::string>> seen;
  for (auto at = telldir(directory); auto entry = readdir(directory); at = telldir(directory)) {
    seen.emplace_back(at, entry->d_name);
  }
  ASSERT_EQ(seen.size(), 1202u);
  for (size_t i : {1201, 0, 1, 2, 3, 700, 1100, 5}) {
    seekdir(directory, seen[i].first);
    auto entry = readdir(directory);
    ASSERT_NE(entry, nullptr) << i;
    EXPECT_EQ(entry->d_name, seen[i].second);
  }
  rewinddir(directory);
  EXPECT_STREQ(readdir(directory)->d_name, ".");
  closedir(directory);
}

// ---------------------------------------------------------------- slow operations

TEST_F(Session, ASlowOperationDoesNotHoldUpOthers) {
  writeAll("slow", "x"), writeAll("fast", "y");
  hold("getXattr");
  std::thread slow([&]() {
    char value[8];
    getxattr(path("slow").c_str(), "user.a", value, sizeof(value));
  });
  held();
  EXPECT_EQ(readAll("fast"), "y");
  EXPECT_EQ(list(path()).names.size(), 4u);
  release();
  slow.join();
}

TEST_F(Session, AKilledCallerIsFreedAtOnceAndItsOperationGoesOn) {
  writeAll("f", "before");
  hold("write");
  auto child = fork();
  if (child == 0) {
    int fd = open(path("f").c_str(), O_WRONLY);
    _exit(pwrite(fd, "AFTER", 5, 0) == 5 ? 0 : 1);
  }
  held();
  kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child) << "would hang here";
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  release();
  EXPECT_TRUE(eventually([&]() { return filesOpen() == 0; }));
  onLoop([](MemoryFilesystem& memory, SessionLoop& session) {
    EXPECT_EQ(memory.contentOf(memory.find("f")), "AFTERe");
    EXPECT_GE(session.requestInterrupts().answeredEarly(), 1u)
        << "the write; the flush of its exit may be another";
  });
}

TEST_F(Session, ACallerKilledAfterAHarmlessSignalIsFreedToo) {
  hold("lookup");
  auto child = fork();
  if (child == 0) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
    struct stat status;
    _exit(stat(path("nothing").c_str(), &status) == 0);
  }
  held();
  kill(child, SIGUSR1);  // the kernel tells us of this one only
  kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  release();
}

TEST_F(Session, AHarmlessSignalDoesNotInterruptARead) {
  writeAll("f", "whole");
  hold("open");
  auto child = fork();
  if (child == 0) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    int fd = open(path("f").c_str(), O_RDONLY);
    char text[8];
    _exit(fd >= 0 && read(fd, text, 5) == 5 ? 0 : 1);
  }
  held();
  kill(child, SIGUSR1);
  release();
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(Session, AnOpenWhoseCallerWasKilledLeavesNothingOpen) {
  writeAll("f", "x");
  for (auto operation : {"open", "create"}) {
    hold(operation);
    auto child = fork();
    if (child == 0) {
      auto name = operation == std::string("open") ? "f" : "new";
      _exit(open(path(name).c_str(), O_RDWR | O_CREAT, 0644));
    }
    held();
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    release();
    EXPECT_TRUE(eventually([&]() {
      return filesOpen() == 0 &&
             onLoop([](MemoryFilesystem& memory, SessionLoop&) { return memory.openFiles(); }) == 0;
    })) << operation;
  }
}

// ---------------------------------------------------------------- bookkeeping

TEST_F(Session, WhatTheKernelForgetsIsForgotten) {
  for (int i = 0; i < 500; ++i) writeAll("f" + std::to_string(i), "x");
  EXPECT_EQ(inChild([&]() { return system(("ls -l " + path() + " > /dev/null").c_str()); }), 0);
  EXPECT_GE(inodesKnown(), 500u);
  for (int i = 0; i < 500; ++i) unlink(path("f" + std::to_string(i)).c_str());
  EXPECT_TRUE(eventually([&]() { return inodesKnown() == 1; })) << inodesKnown();
  EXPECT_EQ(filesOpen(), 0u);
}

TEST_F(Session, ManySmallFilesAreMadeReadAndRemoved) {
  ASSERT_EQ(mkdir(path("many").c_str(), 0755), 0);
  for (int i = 0; i < 2000; ++i) writeAll("many/" + std::to_string(i), std::to_string(i));
  for (int i = 0; i < 2000; i += 7) EXPECT_EQ(readAll("many/" + std::to_string(i)), std::to_string(i));
  EXPECT_EQ(inChild([&]() { return system(("rm -r " + path("many")).c_str()); }), 0);
  EXPECT_EQ(onLoop([](MemoryFilesystem& memory, SessionLoop&) { return memory.liveInodes(); }), 1u);
}

// ---------------------------------------------------------------- other clients

TEST_F(Session, PagesAreKeptFromOneOpenToTheNextWhileNobodyWrites) {
  writeAll("f", "cached");
  readAll("f");
  auto reads = calls("read");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(readAll("f"), "cached");
  EXPECT_EQ(calls("read"), reads);
}

class LongTimeouts : public Session {
 public:
  ~LongTimeouts() noexcept override {}

 protected:
  void SetUp() override {
    Session::SetUp();
    if (IsSkipped()) return;
    onLoop([](MemoryFilesystem& memory, SessionLoop&) { memory.keep = 600 * kj::SECONDS; });
  }
  // Another client changes it, once this one's kernel has been told to forget it.
  void elsewhere(kj::StringPtr what, std::function<void(MemoryFilesystem&)> change) {
    std::atomic<bool> done = false;
    onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
      auto inode = what.size() == 0 ? ROOT_INODE : memory.find(what);
      forgetting = memory.observer()
                       .forget(inode, {})
                       .then([&memory, &done, change]() {
                         change(memory);
                         done = true;
                       })
                       .eagerlyEvaluate(nullptr);
    });
    EXPECT_TRUE(eventually([&]() { return done.load(); }));
    onLoop([&](MemoryFilesystem&, SessionLoop&) { forgetting = nullptr; });
  }
  bool hasEpochs() {
    return onLoop(
        [](MemoryFilesystem&, SessionLoop& session) { return session.kernelNotifier().hasEpochs(); });
  }
  kj::Promise<void> forgetting = nullptr, others = nullptr;
};

TEST_F(LongTimeouts, AForgottenInodeIsReadAnewThoughItStaysOpen) {
  writeAll("f", "old!");
  int fd = open(path("f").c_str(), O_RDONLY);
  char text[8] = {};
  ASSERT_EQ(pread(fd, text, 8, 0), 4);
  elsewhere("f", [](MemoryFilesystem& memory) { memory.appendElsewhere(memory.find("f"), "new!"); });
  ASSERT_EQ(pread(fd, text, 8, 0), 8) << "the very next one";
  EXPECT_EQ(std::string(text, 8), "old!new!");
  struct stat status;
  EXPECT_EQ(fstat(fd, &status), 0);
  EXPECT_EQ(status.st_size, 8);
  close(fd);
}

TEST_F(LongTimeouts, OfForgottenAttributesTheKernelAsksAndKeepsThePages) {
  writeAll("f", "old!");
  readAll("f");
  int fd = open(path("f").c_str(), O_RDONLY);
  auto reads = calls("read");
  std::atomic<bool> done = false;
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
    forgetting = memory.observer()
                     .forgetAttributes(memory.find("f"))
                     .then([&]() { done = true; })
                     .eagerlyEvaluate(nullptr);
  });
  EXPECT_TRUE(eventually([&]() { return done.load(); }));
  onLoop([&](MemoryFilesystem&, SessionLoop&) { forgetting = nullptr; });
  auto asked = calls("getAttributes");
  struct stat status;
  EXPECT_EQ(fstat(fd, &status), 0);
  EXPECT_EQ(calls("getAttributes"), asked + 1);
  EXPECT_EQ(fstat(fd, &status), 0);
  EXPECT_EQ(calls("getAttributes"), asked + 1) << "and keeps what it is told";
  char text[8] = {};
  EXPECT_EQ(pread(fd, text, 4, 0), 4);
  EXPECT_EQ(calls("read"), reads);
  close(fd);
}

TEST_F(LongTimeouts, TheKernelAnswersFromItsMemory) {
  writeAll("f", "x");
  struct stat status;
  stat(path("f").c_str(), &status);
  auto before = calls("lookup") + calls("getAttributes");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(stat(path("f").c_str(), &status), 0);
  EXPECT_EQ(calls("lookup") + calls("getAttributes") - before, hasEpochs() ? 0u : 20u);
}

TEST_F(LongTimeouts, AForgottenNameIsLookedUpAnew) {
  struct stat status;
  EXPECT_EQ(stat(path("f").c_str(), &status), -1);
  elsewhere("", [](MemoryFilesystem& memory) { memory.makeElsewhere(ROOT_INODE, "f"); });
  EXPECT_EQ(stat(path("f").c_str(), &status), 0) << "the very next one";
}

TEST_F(LongTimeouts, ANameThatIsMovedIsForgottenWithTheDirectoryItIsInThen) {
  ASSERT_EQ(mkdir(path("x").c_str(), 0755), 0);
  ASSERT_EQ(mkdir(path("y").c_str(), 0755), 0);
  auto keep = [&](kj::Duration time) {
    onLoop([&](MemoryFilesystem& memory, SessionLoop&) { memory.keep = time; });
  };
  struct stat status;
  for (unsigned flags : {0u, unsigned(RENAME_EXCHANGE)}) {
    // Of y nothing is kept until x/f is moved there: its lease is being recalled when the kernel looks there.
    writeAll("x/f", "f"), writeAll("y/f", "f");
    auto other = "other" + std::to_string(flags);  // or it would be seen that the inode is no more
    ASSERT_EQ(link(path("x/f").c_str(), path(other).c_str()), 0);
    elsewhere("y", [](MemoryFilesystem&) {});
    ASSERT_EQ(stat(path("x/f").c_str(), &status), 0);
    keep(0 * kj::SECONDS);
    ASSERT_EQ(renameat2(AT_FDCWD, path("x/f").c_str(), AT_FDCWD, path("y/f").c_str(), flags), 0);
    keep(600 * kj::SECONDS);
    elsewhere("y", [](MemoryFilesystem& memory) { memory.removeElsewhere(memory.find("y"), "f"); });
    EXPECT_EQ(stat(path("y/f").c_str(), &status), -1);
  }
}

TEST_F(LongTimeouts, ANameThatIsMovedIsNotKeptWhereNobodyTellsOfChanges) {
  ASSERT_EQ(mkdir(path("x").c_str(), 0755), 0);
  ASSERT_EQ(mkdir(path("y").c_str(), 0755), 0);
  onLoop([](MemoryFilesystem& memory, SessionLoop&) { memory.untold.insert(memory.find("y")); });
  struct stat status;
  for (unsigned flags : {0u, unsigned(RENAME_EXCHANGE)}) {
    for (auto [from, to] : {std::pair("x/f", "y/f"), std::pair("y/f", "x/f")}) {
      writeAll("x/f", "f"), writeAll("y/f", "f");
      auto other = "other" + std::to_string(flags) + from[0];
      ASSERT_EQ(link(path(from).c_str(), path(other).c_str()), 0);
      ASSERT_EQ(link(path(to).c_str(), path(other + "2").c_str()), 0);
      ASSERT_EQ(stat(path("x/f").c_str(), &status), 0);
      ASSERT_EQ(renameat2(AT_FDCWD, path(from).c_str(), AT_FDCWD, path(to).c_str(), flags), 0);
      bool isThere = stat(path("y/f").c_str(), &status) == 0;
      EXPECT_EQ(isThere, flags != 0 || to[0] == 'y');
      if (!isThere) continue;
      onLoop([](MemoryFilesystem& memory, SessionLoop&) { memory.removeElsewhere(memory.find("y"), "f"); });
      EXPECT_EQ(stat(path("y/f").c_str(), &status), -1) << from << " to " << to << ", flags " << flags;
    }
  }
}

TEST_F(LongTimeouts, ForgettingNamesWaitsForAListingThatTheKernelMayBeTaking) {
  if (!hasEpochs()) GTEST_SKIP() << "this kernel keeps no names";
  for (int i = 0; i < 100; ++i) writeAll("f" + std::to_string(i), "");
  auto directory = opendir(path().c_str());
  auto begun = std::chrono::steady_clock::now();
  ASSERT_NE(readdir(directory), nullptr);  // it has not come back for more
  elsewhere("", [](MemoryFilesystem& memory) { memory.makeElsewhere(ROOT_INODE, "g"); });
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(240));
  closedir(directory);
}

TEST_F(LongTimeouts, ForgettingNamesDoesNotWaitForABusyDirectory) {
  ASSERT_EQ(mkdir(path("d").c_str(), 0755), 0);
  struct stat status;
  EXPECT_EQ(stat(path("d/f").c_str(), &status), -1);
  hold("make");
  std::thread maker(
      [&]() { mkdir(path("d/new").c_str(), 0755); });  // holds the directory's lock in the kernel
  held();
  elsewhere("d", [](MemoryFilesystem& memory) { memory.makeElsewhere(memory.find("d"), "f"); });
  release();
  maker.join();
  EXPECT_EQ(stat(path("d/f").c_str(), &status), 0);
}

TEST_F(LongTimeouts, ForgettingPagesLeavesOutThoseThatARequestHasLocked) {
  writeAll("f", std::string(1 << 20, 'x'));
  int fd = open(path("f").c_str(), O_RDWR);
  ASSERT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  ASSERT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0);
  char byte;
  ASSERT_EQ(pread(fd, &byte, 1, 0), 1);
  hold("read");
  std::thread reader([&]() {
    char other;
    EXPECT_EQ(pread(fd, &other, 1, 512 << 10), 1);
    EXPECT_EQ(other, 'x');
  });
  held();
  std::atomic<bool> whole = false, rest = false;
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
    auto& observer = memory.observer();
    auto inode = memory.find("f");
    forgetting = observer.forget(inode, {}).then([&]() { whole = true; }).eagerlyEvaluate(nullptr);
    others =
        observer.forget(inode, {{512 << 10, 4096}}).then([&]() { rest = true; }).eagerlyEvaluate(nullptr);
  });
  EXPECT_TRUE(eventually([&]() { return rest.load(); })) << "it overtakes the one that waits for the page";
  EXPECT_FALSE(whole.load());
  release();
  reader.join();
  EXPECT_TRUE(eventually([&]() { return whole.load(); }));
  onLoop([&](MemoryFilesystem&, SessionLoop&) { forgetting = nullptr, others = nullptr; });
  close(fd);
}

TEST_F(LongTimeouts, WhatIsMountedInsideStaysThereAndNoNameIsKept) {
  onLoop([](MemoryFilesystem& memory, SessionLoop&) { memory.keep = 1 * kj::SECONDS; });
  ASSERT_EQ(mkdir(path("d").c_str(), 0755), 0);
  struct stat status;
  EXPECT_EQ(stat(path("f").c_str(), &status), -1);
  ASSERT_EQ(::mount("none", path("d").c_str(), "tmpfs", 0, nullptr), 0);
  elsewhere("", [](MemoryFilesystem& memory) { memory.makeElsewhere(ROOT_INODE, "f"); });
  EXPECT_EQ(stat(path("f").c_str(), &status), 0) << "what was kept before has been waited out";
  struct stat inside;
  ASSERT_EQ(stat(path("d").c_str(), &inside), 0);
  EXPECT_NE(inside.st_dev, status.st_dev) << "the mount is still there";
  elsewhere("", [](MemoryFilesystem& memory) { memory.makeElsewhere(ROOT_INODE, "g"); });
  EXPECT_EQ(stat(path("g").c_str(), &status), 0);
  EXPECT_EQ(::umount2(path("d").c_str(), 0), 0);
}

TEST_F(LongTimeouts, AnAppendGoesToTheEndThatIsTrue) {
  writeAll("f", "one ");
  int fd = open(path("f").c_str(), O_WRONLY | O_APPEND);
  elsewhere("f", [](MemoryFilesystem& memory) { memory.appendElsewhere(memory.find("f"), "two "); });
  ASSERT_EQ(::write(fd, "three", 5), 5);
  struct stat status;
  EXPECT_EQ(fstat(fd, &status), 0);
  EXPECT_EQ(status.st_size, 13);
  EXPECT_EQ(readAll("f"), "one two three");
  close(fd);
}

TEST_F(LongTimeouts, AnAppendThatTheKernelCutsSaysThatMoreFollows) {
  int fd = open(path("f").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644);
  std::string record(2'500'000, 'r');
  ASSERT_EQ(::write(fd, record.data(), record.size()), ssize_t(record.size()));
  EXPECT_EQ(calls("append piece"), 2u);
  EXPECT_EQ(calls("append"), 1u);
  close(fd);
  EXPECT_EQ(readAll("f"), record);
}

TEST_F(LongTimeouts, AFileOpenForAppendingIsMappedWhereTheKernelCan) {
  writeAll("f", "mapped");
  int fd = open(path("f").c_str(), O_RDWR | O_APPEND);
  auto map = ::mmap(nullptr, 6, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) {
    EXPECT_EQ(errno, ENODEV) << "before Linux 6.6";
  } else {
    EXPECT_EQ(std::string(static_cast<const char*>(map), 6), "mapped");
    ::munmap(map, 6);
  }
  close(fd);
}

TEST_F(LongTimeouts, AKernelThatHasLetGoIsToldToForgetNothing) {
  mkdir(path("d").c_str(), 0755);
  int fd = open(path("d/f").c_str(), O_CREAT | O_RDWR, 0644);
  struct stat status;
  ASSERT_EQ(stat(path("d/f").c_str(), &status), 0);
  abandon();
  elsewhere("", [](MemoryFilesystem& memory) { memory.makeElsewhere(ROOT_INODE, "g"); });
  elsewhere("d", [](MemoryFilesystem& memory) { memory.makeElsewhere(memory.find("d"), "g"); });
  elsewhere("d/f", [](MemoryFilesystem& memory) { memory.appendElsewhere(memory.find("d/f"), "x"); });
  EXPECT_EQ(logged(), "");
  close(fd);
}

// ---------------------------------------------------------------- the end

TEST_F(Session, ABusyMountIsNotTakenAway) {
  int fd = open(path("f").c_str(), O_CREAT | O_RDWR, 0644);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(umount2(path().c_str(), 0), -1);
  EXPECT_EQ(errno, EBUSY);
  ASSERT_EQ(pwrite(fd, "still served", 12, 0), 12);
  close(fd);
}

TEST_F(Session, UnmountingWhileARequestIsOutAnswersIt) {
  hold("lookup");
  std::thread caller([&]() {
    struct stat status;
    EXPECT_EQ(stat(path("x").c_str(), &status), -1);
  });
  held();
  ASSERT_EQ(umount2(path().c_str(), MNT_DETACH), 0);
  release();
  caller.join();
}

TEST_F(Session, AnOperationThatIsStillOutWhenTheConnectionEndsDiesWithTheSession) {
  writeAll("f", "x");
  hold("flush");
  std::thread closer([&]() { close(open(path("f").c_str(), O_WRONLY)); });
  held();
  umount2(path().c_str(), MNT_FORCE);  // aborts the connection, and fails: the file is open
  closer.join();
  unmount();  // the flush is never released: the session has it when it goes
}

TEST_F(Session, AnAbortedConnectionIsAnEnd) {
  abortConnection(path());
  EXPECT_EQ(open(path("f").c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, ENOTCONN);
  unmount();  // throws what the loop has ended with
}

}  // namespace
}  // namespace cairn::fuse
